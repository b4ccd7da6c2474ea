"""A training step through the ordinary runner against the field's usual loop, images a second.

ResNet-32, batch 128, images of CIFAR's shape. Ours is the whole way of a job: data module,
Lightning, the suite's stepping. The usual loop is fp32, contiguous, fed by PIL and DataLoader, and
reads the loss and top-k back every step.
"""

import argparse

import torch
from rounds import interleaved, report
from work import COUNTS, SPEC, data_module, network, pool, recipe, usual_steps

from ltbench.config.models import Job, Recipe, Schedule
from ltbench.methods import METHODS
from ltbench.networks import NetworkSpec
from ltbench.training.fit import make_trainer
from ltbench.training.module import TrainingModule

STEPS = 16


def job(settings: Recipe) -> Job:
    """Return a softmax job of one epoch."""
    once = {"epochs": 1, "schedule": Schedule(kind="constant"), "defer": None}
    return Job(
        label="Softmax",
        recipe_name=settings.name,
        dataset=SPEC,
        split="longtailed",
        method="softmax",
        version=1,
        stage="train",
        hyper={},
        recipe=settings,
        stage_recipe=settings.first.model_copy(update=once),
        seed=0,
    )


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network", default="resnet32")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--bf16", action="store_true", help="also bf16, where the hardware has it")
    words = parser.parse_args()
    torch.set_num_threads(1)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    images = pool(128 * STEPS)

    def ours(**changes: object) -> float:
        settings = recipe(network=words.network, **changes)
        method = METHODS["softmax"](NetworkSpec(words.network, 10), torch.tensor(COUNTS))
        if settings.channels_last:
            method.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        module = TrainingModule(method, job(settings), lambda _: None)
        make_trainer(module.job, device).fit(module, datamodule=data_module(settings, images))
        return module.history.images / module.history.seconds

    variants = {
        "usual loop": lambda: usual_steps(images, network(words.network), device, STEPS),
        "ours, fp32": ours,
        "ours, fp32 channels last": lambda: ours(channels_last=True),
    }
    if words.bf16:
        variants["ours, bf16 channels last"] = lambda: ours(channels_last=True, precision="bf16")
    report(
        f"steps_{words.network}",
        "images a second",
        interleaved(variants, words.rounds),
        "usual loop",
    )


if __name__ == "__main__":
    main()
