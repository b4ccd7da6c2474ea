"""The optimisation step, owned by the suite: many short ones fit into one Lightning step."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.optim import Optimizer

Loss = Tensor | dict[str, Tensor]


def total_loss(loss: Loss) -> Tensor:
    """Return the scalar to differentiate: the loss itself, or the sum of the named losses."""
    if isinstance(loss, Tensor):
        return loss
    return torch.stack(list(loss.values())).sum()


class Stepper:
    """Takes optimisation steps and sums their losses on the device.

    No value is read back to the host in a step; `mean_loss` reads once a reporting interval.
    """

    def __init__(self, optimizer: Optimizer, backward: Callable[[Tensor], None]) -> None:
        self.optimizer = optimizer
        self.backward = backward
        self.steps = 0
        self._sum: Tensor | None = None

    def step(self, loss: Loss) -> None:
        """Move the parameters against the gradient of a loss."""
        total = total_loss(loss)
        self.optimizer.zero_grad(set_to_none=True)
        self.backward(total)
        self.optimizer.step()
        self.steps += 1
        value = total.detach().double()
        self._sum = value if self._sum is None else self._sum + value

    def resume(self, steps: int, loss_sum: float) -> None:
        """Count as if these steps had been taken here, for an epoch that began elsewhere."""
        self.steps = steps
        parameter = self.optimizer.param_groups[0]["params"][0]
        self._sum = torch.tensor(loss_sum, dtype=torch.float64, device=parameter.device)

    def loss_sum(self) -> float:
        """Return the sum of losses since the last mean."""
        return 0.0 if self._sum is None else float(self._sum)

    def mean_loss(self) -> float:
        """Return the mean loss since the last call, not finite if any was not, and begin anew."""
        mean = float("nan") if self._sum is None else float(self._sum) / self.steps
        self.steps, self._sum = 0, None
        return mean
