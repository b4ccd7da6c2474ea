"""Bal-BCE: binary cross-entropy of one-vs-all classifiers with the log prior odds added.

Xu, Liu, Yang, Chai, Yuan, "Learning Imbalanced Data with Vision Transformers" (LiVT), CVPR 2023
(arXiv:2212.02015), section 3.4.

    z'_c = z_c + log pi_c - log(1 - pi_c)                                    implemented
    L = -sum_c [t_c log sigmoid(z'_c) + (1 - t_c) log(1 - sigmoid(z'_c))]    implemented
    smoothed labels t, smoothing 0.1                                         implemented
    masked autoencoder on the long-tailed images, for 800 epochs             left out
    ViT-B/16, fine-tuned with AdamW and a rate that decays by layer          left out

So it is the loss of LiVT alone, on the network and with the optimizer of the recipe, and its
numbers are not those of LiVT. As in the authors' code the losses of the classes are summed, the
bias has no factor tau (theirs belongs to their softmax form, which is `logit_adjustment`), and the
test uses the plain logits z.

The biases start at zero, so that every sigmoid starts near the prior of its class. With equal
counts the bias is -ln(C - 1), that of one-vs-all classifiers which start at probability 1 / C.
"""

from pydantic import Field

from ltbench.losses import balanced_binary
from ltbench.methods.contract import Batch, HParams, Loss, Method, Paper


class BalBCEHParams(HParams):
    """Hyper-parameters of Bal-BCE."""

    smoothing: float = Field(0.1, ge=0, lt=1, description="of the labels")


class BalBCE(Method):
    """Binary cross-entropy of logits with the log prior odds added."""

    title = "Bal-BCE"
    paper = Paper(
        title="Learning Imbalanced Data with Vision Transformers",
        authors="Zhengzhuo Xu, Ruikang Liu, Shuo Yang, Zenghao Chai, Chun Yuan",
        venue="CVPR",
        year=2023,
        arxiv="2212.02015",
    )
    category = "cost-sensitive"
    oracle = "livt"
    HParams = BalBCEHParams
    hparams: BalBCEHParams

    def training_loss(self, batch: Batch) -> Loss:
        """Return the balanced binary cross-entropy."""
        logits = self.network(batch.images)
        return balanced_binary(logits, batch.labels, self.counts, self.hparams.smoothing)
