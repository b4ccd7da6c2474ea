"""Workloads of benchmarks: CIFAR-shaped images, our loop and the usual one.

Ours is that of a job: data module, Lightning, the suite's stepping. The usual loop is fp32,
contiguous, fed by PIL and DataLoader, and reads loss and top-k accuracy back in every step.
"""

import time
from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from ltbench.config.job import Job
from ltbench.config.load import load_dataset, load_recipe
from ltbench.config.recipe import Recipe, Schedule
from ltbench.core.groups import subset_classes
from ltbench.core.types import Stage
from ltbench.data.datamodule import DataModule
from ltbench.data.images import Images, InMemoryImages
from ltbench.data.imbalance import exponential_counts
from ltbench.data.raw_dataset import RawDataset
from ltbench.methods import METHODS
from ltbench.methods.contract import Method
from ltbench.networks import Network, NetworkSpec, build_backbone
from ltbench.training.build import untrained_teacher
from ltbench.training.fit import make_trainer
from ltbench.training.module import TrainingModule

COUNTS = exponential_counts(10, 5000, 100)  # CIFAR-10-LT, ratio 100: 12,406 images
SPEC = load_dataset("cifar10").model_copy(
    update={"imbalance_type": "natural", "imbalance_ratio": None, "max_per_class": None}
)
"""A dataset whose long-tailed split has all training images."""
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)


def noise_dataset(train: int = sum(COUNTS), test: int = 1000) -> RawDataset:
    """Return noise images of CIFAR's shape, which cost what real ones do."""
    noise = np.random.default_rng(0)
    labels, test_labels = np.arange(train) % 10, np.arange(test) % 10
    images = [noise.integers(0, 256, (n, 3, 32, 32), np.uint8) for n in (len(labels), test)]
    names = tuple(map(str, range(10)))
    train_images, test_images = map(InMemoryImages, images)
    return RawDataset(train_images, labels, test_images, test_labels, names, "0" * 64)


def recipe(name: str = "cifar_200", **changes: object) -> Recipe:
    """Return a recipe with fields changed."""
    return load_recipe(name).model_copy(update=changes)


def data_module(settings: Recipe, images: RawDataset) -> DataModule:
    """Return our data module on a raw dataset."""
    return DataModule(SPEC, "longtailed", settings, seed=0, raw=images)


def job(settings: Recipe, method: str = "softmax", stage: str = "train", epochs: int = 1) -> Job:
    """Return a job of a few epochs with a constant learning rate."""
    changes = {"epochs": epochs, "schedule": Schedule(kind="constant"), "deferred_from_epoch": None}
    return Job(
        label=method,
        recipe_name=settings.name,
        dataset=SPEC,
        split="longtailed",
        method=method,
        version=1,
        stage=stage,
        hparams={},
        recipe=settings,
        stage_recipe=settings.stage1.model_copy(update=changes),
        seed=0,
    )


def ready(
    settings: Recipe, kind: type[Method] = METHODS["softmax"], stage: Stage | None = None
) -> Method:
    """Return a method at the start of a stage, with random weights."""
    spec, counts = NetworkSpec(settings.network, 10), torch.tensor(COUNTS)
    method, teachers = kind(spec, counts), []
    for teacher in method.own_teachers():
        classes = torch.tensor(subset_classes(teacher.subset, COUNTS, SPEC.shot_rule))
        teachers.append(untrained_teacher(method, teacher, METHODS[teacher.method], classes))
    if teachers:
        method.load_teachers(teachers)
    method.stage = stage or method.stages[0]
    method.on_stage_start(method.stage)
    if settings.channels_last:
        method.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return method


def our_steps(
    settings: Recipe, images: RawDataset, device: torch.device, method: Method, epochs: int = 1
) -> float:
    """Return images per second of a method's steps in a job."""
    one = job(settings, epochs=epochs)
    module = TrainingModule(method, one, lambda _: None)
    data = data_module(settings, images)
    data.epoch_indices, data.views = method.epoch_indices, method.stage.views
    make_trainer(one, device).fit(module, datamodule=data)
    return module.history.images / module.history.seconds


class PilDataset(Dataset[tuple[Tensor, int]]):
    """The usual CIFAR dataset: PIL images, and transforms one by one."""

    def __init__(
        self,
        images: Images,
        labels: NDArray[np.int64],
        *policy: nn.Module,
        train: bool,
    ) -> None:
        self.images = np.stack(images.read(range(len(images))))
        self.labels = labels.tolist()
        crop = [transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip(), *policy]
        normalize = [transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
        self.transform = transforms.Compose((crop if train else []) + normalize)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        image: Tensor = self.transform(Image.fromarray(self.images[i]))
        return image, self.labels[i]


def network(name: str = "resnet32") -> nn.Module:
    """Return a backbone with a linear classifier of ten classes."""
    backbone, width = build_backbone(NetworkSpec(name, 10))
    return Network(backbone, nn.Linear(width, 10))


def usual_loader(
    images: RawDataset, *policy: nn.Module, train: bool = True
) -> "DataLoader[tuple[Tensor, int]]":
    """Return the usual DataLoader, shuffled and augmented for training."""
    if train:
        dataset = PilDataset(images.train_images, images.train_labels, *policy, train=True)
    else:
        dataset = PilDataset(images.test_images, images.test_labels, train=False)
    return DataLoader(dataset, batch_size=128, shuffle=train, num_workers=0)


def usual_steps(images: RawDataset, model: nn.Module, device: torch.device, steps: int) -> float:
    """Return images per second of the usual training loop.

    It is fp32, with `.item()` and top-k in each step.
    """
    model.to(device).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=2e-4)
    batches = _endless(usual_loader(images))
    began, seen, losses, hits = time.perf_counter(), 0, 0.0, 0.0
    for _ in range(steps):
        inputs, labels = (t.to(device) for t in next(batches))
        logits = model(inputs)
        loss = F.cross_entropy(logits, labels)
        losses += loss.item() * len(labels)
        hits += (logits.topk(5, 1).indices == labels[:, None]).sum().item()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        seen += len(labels)
    return seen / (time.perf_counter() - began)


@torch.no_grad()
def usual_validation(images: RawDataset, model: nn.Module, device: torch.device) -> float:
    """Return test images per second of the usual validation loop."""
    model.to(device).eval()
    began, seen, losses, hits = time.perf_counter(), 0, 0.0, 0.0
    for batch in usual_loader(images, train=False):
        inputs, labels = (t.to(device) for t in batch)
        logits = model(inputs)
        losses += F.cross_entropy(logits, labels).item() * len(labels)
        hits += (logits.topk(5, 1).indices == labels[:, None]).sum().item()
        seen += len(labels)
    return seen / (time.perf_counter() - began)


def device() -> torch.device:
    """Return the first GPU, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _endless(loader: "DataLoader[tuple[Tensor, int]]") -> Iterator[tuple[Tensor, Tensor]]:
    while True:
        yield from loader  # type: ignore[misc]
