"""Methods and batches for single steps, without data or training."""

from collections.abc import Iterator, Mapping
from typing import Any, Literal

import torch
from torch import Tensor

from ltbench.core.batch import Batch
from ltbench.core.distributed import all_sum, rank, world_size
from ltbench.core.groups import subset_classes
from ltbench.core.rng import GlobalBatchRNG
from ltbench.core.seeding import make_generator
from ltbench.core.stepping import total_loss
from ltbench.methods.contract import Method, Progress, TrainedTeacher
from ltbench.methods.step_input import step_input
from ltbench.networks import NetworkSpec
from ltbench.testing.jobs import Case, shares
from ltbench.training.build import untrained_teacher

CLASSES, CHANNELS = 4, 3
COUNTS = (40, 12, 5, 2)
BATCH_SIZE = 8

Norm = Literal["batch", "group"]


def build(case: Case, counts: tuple[int, ...] = COUNTS, *, norm: Norm = "group") -> Method:
    """Return a new method on a small network with fixed weights."""
    torch.manual_seed(0)
    return _untrained(case, case.key, case.hparams, counts, norm)


def begin(
    case: Case,
    stage: int = 0,
    counts: tuple[int, ...] = COUNTS,
    *,
    norm: Norm = "group",
    weights: Mapping[str, Tensor] | None = None,
) -> Method:
    """Return a method at the start of a stage, on untrained weights.

    Args:
        case: the method.
        stage: position of the stage.
        counts: training images of each class.
        norm: of the network.
        weights: of the stage before; those of an untrained one by default.
    """
    kind, method = case.method, build(case, counts, norm=norm)
    if stage == 0 and kind.init_from is not None:
        torch.manual_seed(5)
        weights = _untrained(case, kind.init_from, {}, counts, norm).state_dict()
    elif stage > 0 and weights is None:
        weights = finish(begin(case, stage - 1, counts, norm=norm)).state_dict()
    if weights is not None:
        method.init_from_weights(weights)
    if teachers := list(_teachers(case, method, counts)):
        method.load_teachers(teachers)
    start_stage(method, stage)
    return method


def start_stage(method: Method, stage: int) -> None:
    """Let a method begin a stage with fixed random numbers."""
    method.stage = method.stage_of(type(method).stages[stage].name)
    torch.manual_seed(7)
    method.on_stage_start(method.stage)
    if method.stage.is_trained:
        gather_statistics(method)
    method.train()


def gather_statistics(method: Method) -> None:
    """Show a method the training images where its stage needs them."""
    if method.stage.needs_statistics_pass:
        method.eval()
        with torch.inference_mode():
            for seed in range(2):
                method.update_statistics(evaluation_batch(method, seed))
            method.finalize_statistics()


def finish(method: Method) -> Method:
    """Return a method in evaluation mode, as tests get it."""
    method.eval()
    if not method.stage.is_trained:
        gather_statistics(method)
    if method.stage.tunes_on_validation != "never":
        with torch.inference_mode():
            method.tune_on_validation([evaluation_batch(method)])
    return method


def _untrained(
    case: Case, key: str, hparams: Mapping[str, object], counts: tuple[int, ...], norm: Norm
) -> Method:
    kind = case.find(key)
    spec = NetworkSpec("resnet8", CLASSES, CHANNELS, norm)
    return kind(spec, torch.tensor(counts), kind.HParams(**hparams))


def _teachers(case: Case, student: Method, counts: tuple[int, ...]) -> Iterator[TrainedTeacher]:
    """Yield untrained teachers."""
    for teacher in student.own_teachers():
        if classes := subset_classes(teacher.subset, counts, "rank_thirds"):  # else it has none
            kind = case.find(teacher.method)
            yield untrained_teacher(student, teacher, kind, torch.tensor(classes))


def training_batch(method: Method) -> Batch:
    """Return a batch of noise in the views of a method's stage."""
    batch = evaluation_batch(method)
    views = [batch.images.roll(view, dims=3) for view in range(len(method.stage.views))]
    images = torch.stack(views) if len(views) > 1 else batch.images
    return Batch(images, torch.tensor([0, 0, 0, 0, 0, 1, 2, 3]), batch.index)


def evaluation_batch(method: Method, seed: int = 1) -> Batch:
    """Return a batch of noise, two images of each class."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(BATCH_SIZE, CHANNELS, 8, 8, generator=generator)
    labels = torch.arange(BATCH_SIZE) % CLASSES
    index = torch.arange(BATCH_SIZE) % int(method.counts.sum())
    return Batch(images.to(next(method.parameters()).dtype), labels, index)


def begin_epoch(method: Method, epoch: int = 0) -> None:
    """Let a method begin an epoch with fixed random numbers."""
    torch.manual_seed(epoch)
    method.progress = Progress(epoch, 2, deferred=epoch == 1, lr=0.1)
    method.rng = GlobalBatchRNG(make_generator(0, "method", epoch))
    method.on_epoch_start(method.progress)


def loss_of(method: Method, batch: Batch, epoch: int = 0) -> Tensor:
    """Return the loss of a batch at the start of an epoch."""
    begin_epoch(method, epoch)
    return total_loss(method.training_loss(step_input(method, batch)))


def rng_states(method: Method) -> Tensor:
    """Return the states of the generators that a loss draws from."""
    return torch.cat([method.rng.generator.get_state(), torch.get_rng_state()])


def has_drawn(method: Method) -> bool:
    """Return whether a loss draws random numbers."""
    shared, torchs = make_generator(0, "method", 0), torch.Generator().manual_seed(0)
    return not rng_states(method).equal(torch.cat([shared.get_state(), torchs.get_state()]))


def gradients(method: Method, loss: Tensor) -> dict[str, Tensor]:
    """Return the gradients of a loss by parameter."""
    method.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    return {n: p.grad for n, p in method.named_parameters() if p.grad is not None}


def descend(method: Method, grads: Mapping[str, Tensor], size: float) -> None:
    """Move parameters by a step against their gradients."""
    with torch.no_grad():
        for name, parameter in method.named_parameters():
            if name in grads:
                parameter.sub_(size * grads[name])


def mean_over_ranks(method: Method) -> tuple[float, dict[str, Any]]:
    """Return the mean loss over the ranks, and its gradients.

    Every rank calls this, or one process that has the whole batch as its share.
    """
    share: Batch = shares(training_batch(method), world_size())[rank()]
    loss = loss_of(method, share)
    grads = gradients(method, loss)
    mean = {name: (all_sum(grad) / world_size()).numpy() for name, grad in grads.items()}
    return float(all_sum(loss.detach())) / world_size(), mean


def mean_of_stage(case: Case, stage: int) -> tuple[float, dict[str, Any]]:
    """Return `mean_over_ranks` of a method at the start of a stage."""
    return mean_over_ranks(begin(case, stage).double())


def tensors(arrays: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return numpy arrays as tensors."""
    return {name: torch.from_numpy(array) for name, array in arrays.items()}
