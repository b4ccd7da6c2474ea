"""Steps within a step: virtual steps, and parameters that learn from them.

Virtual steps are differentiable. Gradients of both are averaged over ranks, as DDP averages those
of real steps. Losses are those of the contract: `core.distributed.global_mean`, or others whose
mean over ranks is that of the global batch.
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call

from ltbench.core.distributed import all_sum, world_size

BETAS = (0.9, 0.999)
EPSILON = 1e-8
MOMENTUM = 0.9

InnerOptimizer = Literal["adam", "sgd"]


class _RankMean(torch.autograd.Function):
    """Mean over ranks of values, and of gradients, of any order."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:  # noqa: ARG004
        return all_sum(value) / world_size()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # noqa: ARG004
        mean: Tensor = _RankMean.apply(gradient)
        return mean


def rank_mean(value: Tensor) -> Tensor:
    """Return the mean over ranks, with gradients of any order.

    Every rank must use the result in its backward pass.

    Args:
        value: of equal shape on every rank.
    """
    if world_size() == 1:
        return value
    mean: Tensor = _RankMean.apply(value)
    return mean


def functional(
    network: nn.Module,
) -> tuple[dict[str, Tensor], Callable[[Mapping[str, Tensor], Tensor], Tensor]]:
    """Return a network's parameters, and its forward pass under others.

    The pass takes parameters by name and images. It leaves the network's buffers as they are: what
    passes do to BatchNorm's running statistics goes to a copy, which they share.
    """
    buffers = {name: value.clone() for name, value in network.named_buffers()}

    def forward(parameters: Mapping[str, Tensor], images: Tensor) -> Tensor:
        output: Tensor = functional_call(network, (dict(parameters), buffers), (images,))
        return output

    return dict(network.named_parameters()), forward


def virtual_step(
    loss: Tensor,
    parameters: Mapping[str, Tensor],
    lr: float | Callable[[str], float],
    weight_decay: float = 0.0,
) -> dict[str, Tensor]:
    """Return parameters after a plain gradient step, with gradient, without momentum.

    They are functions of all that the loss depends on, also through its gradient.

    Args:
        loss: scalar, computed with gradient.
        parameters: by name, those that the loss was computed with.
        lr: learning rate, of all parameters or by name.
        weight_decay: factor of the parameters that is added to their gradient.
    """
    gradients = torch.autograd.grad(loss, list(parameters.values()), create_graph=True)
    rate = lr if callable(lr) else lambda _: lr
    return {
        name: value - rate(name) * (rank_mean(gradient) + weight_decay * value)
        for (name, value), gradient in zip(parameters.items(), gradients, strict=True)
    }


class Learned(nn.Module):
    """A module whose parameters a method moves itself.

    They require no gradient: the recipe's optimizer does not see them, and DDP does not wait for
    theirs. Parameters and the optimizer's state are part of checkpoints.

    Args:
        module: with its initial parameters.
        lr: learning rate.
        weight_decay: factor of the parameters that is added to their gradient.
        optimizer: Adam, or SGD with Nesterov's momentum of 0.9.
    """

    def __init__(
        self,
        module: nn.Module,
        lr: float,
        weight_decay: float = 0.0,
        optimizer: InnerOptimizer = "adam",
    ) -> None:
        super().__init__()
        self.module = module.requires_grad_(requires_grad=False)
        self.lr, self.weight_decay, self.optimizer = lr, weight_decay, optimizer
        self.steps: Tensor
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        for number, value in enumerate(module.parameters()):
            self.register_buffer(f"mean{number}", torch.zeros_like(value))
            if optimizer == "adam":
                self.register_buffer(f"square{number}", torch.zeros_like(value))

    def variables(self) -> dict[str, Tensor]:
        """Return the parameters by name as new leaves with gradients."""
        named = self.module.named_parameters()
        return {name: value.detach().clone().requires_grad_() for name, value in named}

    def step(self, loss: Tensor, variables: Mapping[str, Tensor]) -> None:
        """Take a step of the optimizer.

        Args:
            loss: scalar, a function of the variables.
            variables: of `variables`.
        """
        gradients = torch.autograd.grad(loss, list(variables.values()))
        self.steps += 1
        unbiased = [1 - beta ** self.steps.double() for beta in BETAS]
        pairs = zip(self.module.parameters(), gradients, strict=True)
        for number, (value, own) in enumerate(pairs):
            gradient = rank_mean(own) + self.weight_decay * value
            mean = self.get_buffer(f"mean{number}")
            if self.optimizer == "sgd":
                mean.mul_(MOMENTUM).add_(gradient)
                value.sub_(self.lr * (gradient + MOMENTUM * mean))
                continue
            square = self.get_buffer(f"square{number}")
            mean.lerp_(gradient, 1 - BETAS[0])
            square.lerp_(gradient.square(), 1 - BETAS[1])
            root = (square / unbiased[1]).sqrt() + EPSILON
            value.sub_(self.lr * (mean / unbiased[0]) / root)
