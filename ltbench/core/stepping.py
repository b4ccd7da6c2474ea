"""The optimization step; one Lightning step holds many."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.optim import Optimizer

Loss = Tensor | dict[str, Tensor]


def total_loss(loss: Loss) -> Tensor:
    """Return the scalar loss, or the sum of named losses."""
    if isinstance(loss, Tensor):
        return loss
    return torch.stack(list(loss.values())).sum()


class Stepper:
    """Takes optimization steps and sums their losses on the device.

    A step reads no value back to the host; `mean_loss` does, once per epoch.
    """

    def __init__(self, optimizer: Optimizer, backward: Callable[[Tensor], None]) -> None:
        self.optimizer = optimizer
        self.backward = backward
        self.steps = 0
        self._sum: Tensor | None = None

    def step(self, loss: Loss) -> None:
        """Take one optimization step on a loss."""
        total = total_loss(loss)
        self.optimizer.zero_grad(set_to_none=True)
        self.backward(total)
        self.optimizer.step()
        self.steps += 1
        value = total.detach().double()
        self._sum = value if self._sum is None else self._sum + value

    def resume(self, steps: int, loss_sum: float) -> None:
        """Continue an epoch of which some steps are done."""
        self.steps = steps
        parameter = self.optimizer.param_groups[0]["params"][0]
        self._sum = torch.tensor(loss_sum, dtype=torch.float64, device=parameter.device)

    def loss_sum(self) -> float:
        """Return the sum of losses since the last `mean_loss`."""
        return 0.0 if self._sum is None else float(self._sum)

    def mean_loss(self) -> float:
        """Return the mean loss since the last call, and reset.

        Not finite if the loss of any step was not.
        """
        mean = float("nan") if self._sum is None else float(self._sum) / self.steps
        self.steps, self._sum = 0, None
        return mean
