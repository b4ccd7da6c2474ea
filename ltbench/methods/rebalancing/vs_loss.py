"""Vector-scaling loss: logits divided by class temperatures, and the log prior added.

Kini, Paraskevas, Oymak, Thrampoulidis, "Label-Imbalanced and Group-Sensitive Classification under
Overparameterization", NeurIPS 2021 (arXiv:2103.01550).

    L = -w_y log( exp(Delta_y z_y + iota_y) / sum_c exp(Delta_c z_c + iota_c) )    implemented
    Delta_c = (n_c / n_max)^gamma, iota_c = tau log pi_c                           implemented
    w_c, class weights                           left out: the authors' sample command has none
    deferred re-weighting, re-sampling           left out: options of their code for any loss
    binary form, group-sensitive form            left out: for two classes, for groups in a class

The paper multiplies by Delta, its code divides by 1 / Delta: the same. The test uses the plain
logits z. gamma 0 is logit adjustment, tau 0 is CDT.

Where ours is not theirs: the log prior is centered, a constant in softmax, so that with equal
counts the loss is cross-entropy bit for bit. The paper tunes gamma and tau by dataset and ratio;
our defaults are those of its code, and for few classes those of its sample command.
"""

from pydantic import Field

from ltbench.losses import vs_loss
from ltbench.methods.contract import Batch, HParams, Loss, Method, Paper


class VSLossHParams(HParams):
    """Hyper-parameters of the vector-scaling loss."""

    gamma: float = Field(
        0.3, ge=0, description="exponent of the class temperatures; 0 is logit adjustment"
    )
    tau: float = Field(1.0, ge=0, description="strength of the log prior; 0 is CDT")


class VSLoss(Method):
    """Cross-entropy of logits with class temperatures and the log prior added."""

    title = "VS loss"
    paper = Paper(
        title="Label-Imbalanced and Group-Sensitive Classification under Overparameterization",
        authors="Ganesh Ramachandra Kini, Orestis Paraskevas, Samet Oymak, Christos Thrampoulidis",
        venue="NeurIPS",
        year=2021,
        arxiv="2103.01550",
    )
    category = "cost-sensitive"
    reduces_to = "softmax"
    oracle = "vs_loss"
    HParams = VSLossHParams
    hparams: VSLossHParams

    def training_loss(self, batch: Batch) -> Loss:
        """Return the vector-scaling loss."""
        gamma, tau = self.hparams.gamma, self.hparams.tau
        return vs_loss(self.network(batch.images), batch.labels, self.counts, gamma, tau)
