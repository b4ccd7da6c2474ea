"""DisAlign: learned calibration of a trained network's logits, by a re-weighted loss.

Zhang, Li, Yan, He, Sun, "Distribution Alignment: A Unified Framework for Long-tail Visual
Recognition", CVPR 2021 (arXiv:2103.16370), section 4.

    z^_j = alpha_j z_j + beta_j                                         implemented
    s = sigmoid(v x), confidence of an image                            implemented
    z' = s z^ + (1 - s) z                                               implemented: `form: paper`
    z' = z + s z^, the authors' code for classification                 implemented: the default
    weights w_c ~ pi_c^-rho of the cross-entropy                        implemented
    alpha, beta and v trained on instance-balanced batches, all else fixed    implemented
    a cosine classifier in stage 1                                      left out

The cross-entropy is divided by the sum of its weights, so that only their proportions matter: ours
are (n_min / n)^rho. The authors' code starts alpha at 1, beta at 0 and v at 0.1, and fixes the
network's weights, but keeps it in training mode: BatchNorm uses and updates statistics of the
batches. So does ours by default; `update_bn: false` keeps those of stage 1. rho is that of their
ImageNet-LT configuration, 10 epochs with a cosine from 0.1; for other datasets they give none, and
ours is the same everywhere, with the epochs and rates of the stage-2 recipe.
"""

from pydantic import Field
from torch import nn

from ltbench.classifiers import AlignedClassifier
from ltbench.classifiers.aligned import Form
from ltbench.losses import cost_sensitive_weights, cross_entropy
from ltbench.methods.contract import Batch, HParams, Loss, Method, Paper, Stage
from ltbench.networks import Network, NetworkSpec, build_backbone


class DisAlignHParams(HParams):
    """Hyper-parameters of DisAlign."""

    rho: float = Field(1.2, ge=0, description="exponent of the class weights, 0 for none")
    form: Form = Field(
        "classification",
        description="z + s (a z + c) as in the code, or (1 - s) z + s (a z + c) as in the paper",
    )
    update_bn: bool = Field(
        True, description="whether BatchNorm uses and updates statistics of the batches"
    )


class DisAlign(Method):
    """A learned calibration of logits on a frozen network."""

    title = "DisAlign"
    paper = Paper(
        title="Distribution Alignment: A Unified Framework for Long-tail Visual Recognition",
        authors="Songyang Zhang, Zeming Li, Shipeng Yan, Xuming He, Jian Sun",
        venue="CVPR",
        year=2021,
        arxiv="2103.16370",
    )
    category = "decoupled"
    stages = (Stage("calibration", recipe_stage="stage2", passes=0, forward_passes=1),)
    init_from = "softmax"
    required_init_tensors = ("weight", "bias")
    batch_dependence = "gathered"
    oracle = "disalign"
    HParams = DisAlignHParams
    hparams: DisAlignHParams
    network: Network

    def build_network(self, spec: NetworkSpec) -> nn.Module:
        """Return a network with a classifier that calibrates its logits."""
        backbone, width = build_backbone(spec)
        return Network(backbone, AlignedClassifier(width, spec.classes, self.hparams.form))

    def on_stage_start(self, stage: Stage) -> None:  # noqa: ARG002 - the only stage
        """Freeze everything but the calibration."""
        self.freeze(self.network, update_bn=self.hparams.update_bn)
        for name, parameter in self.network.classifier.named_parameters():
            parameter.requires_grad = name not in ("weight", "bias")

    def training_loss(self, batch: Batch) -> Loss:
        """Return the re-weighted cross-entropy."""
        weights = cost_sensitive_weights(self.counts, self.hparams.rho)
        return cross_entropy(self.network(batch.images), batch.labels, weights)
