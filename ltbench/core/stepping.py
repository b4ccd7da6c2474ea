"""The optimization step; one Lightning step holds many."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor
from torch.optim import Optimizer

from ltbench.core.distributed import all_sum

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


class ActiveSteps:
    """Counts an epoch's steps in which named losses are not zero.

    Equal under any number of ranks. A step reads no value back to the host; `counts` does, once per
    epoch.

    Args:
        terms: names of the losses.
    """

    def __init__(self, terms: Iterable[str]) -> None:
        self._flags: dict[str, list[Tensor]] = {term: [] for term in terms}
        self._counts: dict[str, list[int]] = {}

    def add(self, loss: Loss) -> None:
        """Add a step to the counts of the losses that it has."""
        if isinstance(loss, dict):
            for term in self._flags.keys() & loss.keys():
                self._flags[term].append(loss[term].detach() != 0)

    def counts(self) -> dict[str, list[int]]:
        """Return the active steps and all steps of each loss.

        All ranks must call this.
        """
        for term, flags in self._flags.items():
            if flags:
                active = int((all_sum(torch.stack(flags).long()) > 0).sum())
                before = self._counts.get(term, [0, 0])
                self._counts[term] = [before[0] + active, before[1] + len(flags)]
                flags.clear()
        return self._counts

    def resume(self, counts: dict[str, list[int]]) -> None:
        """Continue an epoch of which some steps are counted."""
        self._counts = {term: [*count] for term, count in counts.items()}

    def reset(self) -> None:
        """Begin a new epoch."""
        self._counts = {}
