"""RoBal: a cosine classifier with class margins, offsets and adjusted predictions.

Wu, Liu, Huang, Wang, Lin, "Adversarial Robustness under Long-Tailed Distribution", CVPR 2021
(arXiv:2104.02703).

    cos_c = w_c . x / ((||w_c|| + gamma) ||x||), without bias                         implemented
    L = -log softmax(s (cos_c - m_c [c = y]) + b_c)_y                                 implemented
    m_c = m + tau_m / s log(n_c / n_min), larger for larger classes                   implemented
    b_c = tau_b log n_c                                                               implemented
    prediction: s cos_c - tau_p log n_c                                               implemented
    adversarial images, TRADES' regularization   left out: the images here are natural ones

With tau_b the boundary is moved in training, with tau_p in tests: by our reading of the authors'
configurations RoBal-R has the one on CIFAR-10-LT and the other on CIFAR-100-LT. The margin grows
with class size, as in paper and code.

Where ours is not theirs: their numbers are of adversarial training. Ours take the values of RoBal-R
(RoBal-N has tau_b 1.2, tau_m 0, tau_p 0.1 on CIFAR-10-LT and m 0.2, gamma 1/32, tau_p 1.5 on
CIFAR-100-LT). The log prior is centered, a constant in softmax.
"""

from pydantic import Field
from torch import Tensor, nn

from ltbench.classifiers import CausalNormClassifier
from ltbench.losses import posthoc_adjustment, robal
from ltbench.methods.contract import Batch, HParams, Loss, Method, Paper
from ltbench.networks import Network, NetworkSpec, build_backbone


class RoBalHParams(HParams):
    """Hyper-parameters of RoBal."""

    margin: float = Field(0.1, ge=0, description="margin of the smallest class, on cosines (m)")
    tau_margin: float = Field(
        0.3, ge=0, description="growth of the margins with the logarithm of class size (tau_m)"
    )
    tau_bias: float = Field(1.5, ge=0, description="strength of the log prior in the loss (tau_b)")
    tau_posthoc: float = Field(
        0.0, ge=0, description="strength of the log prior removed in tests (tau_p)"
    )
    scale: float = Field(10.0, gt=0, description="factor of the cosines (s)")
    gamma: float = Field(1 / 32, ge=0, description="added to the norms of class weights")


class RoBal(Method):
    """Cross-entropy with class margins and offsets on a cosine classifier."""

    title = "RoBal"
    paper = Paper(
        title="Adversarial Robustness under Long-Tailed Distribution",
        authors="Tong Wu, Ziwei Liu, Qingqiu Huang, Yu Wang, Dahua Lin",
        venue="CVPR",
        year=2021,
        arxiv="2104.02703",
    )
    category = "re-margining"
    oracle = "robal"
    HParams = RoBalHParams
    hparams: RoBalHParams

    def build_network(self, spec: NetworkSpec) -> nn.Module:
        """Return a network with a normalized classifier of scale 1."""
        backbone, width = build_backbone(spec)
        gamma = self.hparams.gamma
        return Network(
            backbone, CausalNormClassifier(width, spec.classes, heads=1, scale=1.0, gamma=gamma)
        )

    def training_loss(self, batch: Batch) -> Loss:
        """Return the loss with class margins and offsets."""
        hparams = self.hparams
        return robal(
            self.network(batch.images),
            batch.labels,
            self.counts,
            hparams.margin,
            hparams.tau_margin,
            hparams.tau_bias,
            hparams.scale,
        )

    def predict(self, images: Tensor, target_prior: Tensor | None = None) -> Tensor:
        """Return scaled cosines [B, classes], less a part of the log prior."""
        logits = self.hparams.scale * super().predict(images, target_prior)
        return posthoc_adjustment(logits, self.counts, self.hparams.tau_posthoc, epsilon=0.0)
