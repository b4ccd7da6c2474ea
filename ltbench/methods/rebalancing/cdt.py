"""Class-dependent temperatures: logits divided by temperatures that fall with class size.

Ye, Chen, Zhan, Chao, "Identifying and Compensating for Feature Deviation in Imbalanced Deep
Learning", 2020 (arXiv:2001.01385).

    L = -log( exp(z_y / a_y) / sum_c exp(z_c / a_c) )                implemented
    a_c = (n_max / n_c)^gamma                                        implemented
    prediction by the plain logits z                                 implemented

In training a small class needs larger logits for the same probability, so that the test, without
temperatures, makes up for the smaller logits that its unseen images get.

Where ours is not theirs: nothing of the loss; the numbers that we compare with are those of the
Bag of Tricks (Zhang et al., AAAI 2021), whose classifier has a bias as ours has. The paper chooses
gamma on held-out images, by dataset; ours is the 0.2 of the Bag of Tricks on CIFAR-10-LT and
CIFAR-100-LT.
"""

from pydantic import Field

from ltbench.losses import vs_loss
from ltbench.methods.contract import Batch, HParams, Loss, Method, Paper


class CDTHParams(HParams):
    """Hyper-parameters of class-dependent temperatures."""

    gamma: float = Field(
        0.2, ge=0, description="exponent of the class temperatures; 0 is cross-entropy"
    )


class CDT(Method):
    """Cross-entropy of logits with class temperatures."""

    title = "CDT"
    paper = Paper(
        title="Identifying and Compensating for Feature Deviation in Imbalanced Deep Learning",
        authors="Han-Jia Ye, Hong-You Chen, De-Chuan Zhan, Wei-Lun Chao",
        venue="arXiv",
        year=2020,
        arxiv="2001.01385",
    )
    category = "cost-sensitive"
    reduces_to = "softmax"
    oracle = "cdt"
    oracle_by_others = True
    HParams = CDTHParams
    hparams: CDTHParams

    def training_loss(self, batch: Batch) -> Loss:
        """Return the cross-entropy with class temperatures."""
        logits = self.network(batch.images)
        return vs_loss(logits, batch.labels, self.counts, self.hparams.gamma, tau=0.0)
