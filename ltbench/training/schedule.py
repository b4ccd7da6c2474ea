"""Optimizer and learning rate schedule of a recipe."""

import math

from torch import Tensor
from torch.optim import SGD

from ltbench.config.recipe import Optimizer, Schedule
from ltbench.methods.contract import Method


def build_optimizer(settings: Optimizer, method: Method) -> SGD:
    """Return SGD over the trainable parameters.

    Parameters with one learning rate and one weight decay are one group.
    """
    groups: dict[tuple[float, float], list[Tensor]] = {}
    for name, parameter in method.named_parameters():
        if parameter.requires_grad:
            scale = settings.backbone_lr if name.startswith("network.backbone.") else 1.0
            lr = settings.lr * scale * method.lr_scale(name)
            decay = method.weight_decay(name, settings.weight_decay)
            groups.setdefault((lr, decay), []).append(parameter)
    return SGD(
        [
            {"params": parameters, "lr": lr, "weight_decay": decay}
            for (lr, decay), parameters in groups.items()
        ],
        lr=settings.lr,
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
        nesterov=settings.nesterov,
    )


def schedule_factor(schedule: Schedule, epoch: int, epochs: int) -> float:
    """Return the learning rate factor of an epoch, counted from 1.

    Warm-up epochs use `epoch / warmup`. A step schedule multiplies by `gamma` once after each
    milestone, from the epoch behind it; a cosine one is half a period over all epochs; a linear one
    falls from 1 in the last warm-up epoch to 0 in the epoch after the last.
    """
    if epoch <= schedule.warmup:
        return epoch / schedule.warmup
    if schedule.kind == "step":
        return schedule.gamma ** sum(epoch > milestone for milestone in schedule.milestones)
    if schedule.kind == "cosine":
        return 0.5 * (1 + math.cos(math.pi * (epoch - 1) / epochs))
    if schedule.kind == "linear":
        return (epochs + 1 - epoch) / (epochs + 1 - max(schedule.warmup, 1))
    return 1.0
