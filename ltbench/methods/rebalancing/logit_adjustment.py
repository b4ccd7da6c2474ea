"""Logit adjustment (loss): cross-entropy of logits with the log prior added.

Menon, Jayasumana, Rawat, Jain, Veit, Kumar, "Long-tail learning via logit adjustment", ICLR 2021
(arXiv:2007.07314).

    argmax_y z_y - tau log pi_y              (9)     in `posthoc_logit_adjustment`
    L = -log softmax(z + tau log pi)_y       (10)    implemented
    pairwise margins Delta_{yy'}, weights    (11)    left out: (10) is its consistent member

The authors' code adds log(pi^tau + 1e-12); ours subtracts its maximum, a constant in softmax.
"""

from pydantic import Field

from ltbench.losses import logit_adjustment
from ltbench.methods.contract import Batch, HParams, Loss, Method
from ltbench.methods.papers import LOGIT_ADJUSTMENT


class LogitAdjustmentHParams(HParams):
    """Hyper-parameters of logit adjustment."""

    tau: float = Field(1.0, ge=0, description="strength; 1 is consistent for the balanced error")


class LogitAdjustment(Method):
    """Cross-entropy of logits with the log prior added."""

    title = "Logit adjustment (loss)"
    paper = LOGIT_ADJUSTMENT
    category = "logit adjustment"
    reduces_to = "softmax"
    oracle = "logit_adjustment"
    HParams = LogitAdjustmentHParams
    hparams: LogitAdjustmentHParams

    def training_loss(self, batch: Batch) -> Loss:
        """Return the logit-adjusted cross-entropy."""
        logits = self.network(batch.images)
        return logit_adjustment(logits, batch.labels, self.counts, self.hparams.tau)
