"""LADE, label distribution disentangling: logits without the training prior.

Hong, Han, Choi, Seo, Kim, Chang, "Disentangling Label Distribution for Long-tailed Visual
Recognition", CVPR 2021 (arXiv:2012.00321).

    z - log pi_train + log pi_test of a softmax model (PC softmax)    in `posthoc_logit_adjustment`
    L_CE = -log softmax(z + log pi_train)_y                           implemented
    LADER = -sum_c pi_c (A_c - B_c - lambda B_c^2)                    implemented
        A_c: mean of z_c over images of class c; B_c: log of the mean of exp(z_c) over all images,
        each weighted by uniform over training prior
    L = L_CE + alpha LADER                                            implemented
    test: softmax(z + log pi_test)                                    implemented

The paper derives the weight in B_c for the prior of an image's class; the authors' code uses that
of the logit's class c, and so does ours. Both means are over the global batch; a class without
images in it has A_c = 0. The default lambda and alpha are those that the survey and the authors
share; the authors' values by dataset are in configs/methods/lade.yaml.
"""

from pydantic import Field
from torch import Tensor

from ltbench.losses import lader, logit_adjustment
from ltbench.losses.lade import PRIOR_EPSILON
from ltbench.methods.contract import Batch, HParams, Loss, Method, Paper


class LADEHParams(HParams):
    """Hyper-parameters of LADE."""

    penalty: float = Field(0.1, ge=0, description="weight of the squared term in LADER (lambda)")
    alpha: float = Field(0.1, ge=0, description="weight of LADER")


class LADE(Method):
    """Logit-adjusted cross-entropy with a regularizer of the logits."""

    title = "LADE"
    paper = Paper(
        title="Disentangling Label Distribution for Long-tailed Visual Recognition",
        authors="Youngkyu Hong, Seungju Han, Kwanghee Choi, Seokjun Seo, Beomsu Kim, Buru Chang",
        venue="CVPR",
        year=2021,
        arxiv="2012.00321",
    )
    category = "logit adjustment"
    batch_dependence = "gathered"
    test_time = "known_test_prior"
    oracle = "lade"
    HParams = LADEHParams
    hparams: LADEHParams

    def training_loss(self, batch: Batch) -> Loss:
        """Return the cross-entropy and the regularizer."""
        logits, labels = self.network(batch.images), batch.labels
        regularizer = lader(logits, labels, self.counts, self.hparams.penalty)
        return {
            "cross_entropy": logit_adjustment(logits, labels, self.counts, epsilon=PRIOR_EPSILON),
            "lader": self.hparams.alpha * regularizer,
        }

    def predict(self, images: Tensor, target_prior: Tensor | None = None) -> Tensor:
        """Return logits [B, classes] for a uniform or a known test prior."""
        logits = super().predict(images)
        return logits if target_prior is None else logits + target_prior.log().to(logits.dtype)
