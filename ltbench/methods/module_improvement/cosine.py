"""Cosine classifier: logits independent of the norms of features and class weights.

Gidaris, Komodakis, "Dynamic Few-Shot Visual Learning without Forgetting", CVPR 2018
(arXiv:1804.09458), section 3.2; for long tails Wu, Liu, Huang, Wang, Lin, "Adversarial Robustness
under Long-Tailed Distribution", CVPR 2021 (arXiv:2104.02703).

    z_c = scale cos(x, w_c)                                            (5)    implemented
    features squashed to ||x|| / (1 + ||x||), as in OLTR's code        implemented: `squash`
    a learned scale (initially 10), no ReLU after the last convolution left out, as in RoBal's code

The survey's formula adds a bias to the cosine; neither the authors' codes that we compared with nor
ours has one. Trained with cross-entropy; the scale of 16 is RoBal's and OLTR's.
"""

from pydantic import Field
from torch import nn

from ltbench.classifiers import CosineClassifier
from ltbench.losses import cross_entropy
from ltbench.methods.contract import Batch, HParams, Loss, Method, Paper
from ltbench.networks import Network, NetworkSpec, build_backbone


class CosineHParams(HParams):
    """Hyper-parameters of the cosine classifier."""

    scale: float = Field(16.0, gt=0, description="factor of the cosines")
    squash: bool = Field(
        False, description="whether features of small norm have small logits, as in OLTR"
    )


class Cosine(Method):
    """Cross-entropy on scaled cosines."""

    title = "Cosine classifier"
    paper = Paper(
        title="Dynamic Few-Shot Visual Learning without Forgetting",
        authors="Spyros Gidaris, Nikos Komodakis",
        venue="CVPR",
        year=2018,
        arxiv="1804.09458",
    )
    category = "classifier design"
    oracle = "classifiers"
    HParams = CosineHParams
    hparams: CosineHParams

    def build_network(self, spec: NetworkSpec) -> nn.Module:
        """Return a network with a cosine classifier."""
        backbone, width = build_backbone(spec)
        scale, squash = self.hparams.scale, self.hparams.squash
        return Network(backbone, CosineClassifier(width, spec.classes, scale, squash=squash))

    def training_loss(self, batch: Batch) -> Loss:
        """Return the cross-entropy."""
        return cross_entropy(self.network(batch.images), batch.labels)
