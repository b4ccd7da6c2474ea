"""OLTR: features enriched by a memory of class centroids, and modulated attention.

Liu, Miao, Zhan, Wang, Gong, Yu, "Large-Scale Long-Tailed Recognition in an Open World", CVPR 2019
(arXiv:1904.05160).

    v_meta = (1/gamma) (v + e * v_memory), gamma the distance to the nearest centroid    implemented
    v_memory = o^T M, o and e from the feature                                           implemented
    f_att = f + MA(f) * SA(f), after the last stage of a ResNet                          implemented
    logits: cosines of the squashed v_meta                                               implemented
    L = CE + lambda L_LM, centroids attract their class and repel others                 implemented
    a fully connected layer (512) between features and memory         left out: features as they are
    rejection of unknown classes by a threshold            in the test of every method (open sets)

Stage 1 of the paper is any trained network, softmax by default. Its class means are the initial
centroids, its linear classifier, if it has one, is the initial o; then everything is trained with
class-aware batches of four images of a class at a time. As in the authors' code 1/gamma is ten over
the distance, features are squashed by ||v|| / (1 + ||v||) (the paper squares the norms) and
centroids are trained by L_LM only. Backbone and centroids have a tenth of the classifier's learning
rate. Attention is for ResNets and FastNets; other backbones have none.

On Places-LT (`freeze_backbone`) the authors fix the weights of the backbone, while its BatchNorm
is updated; their code selects layers by name and so fixes the convolutions of the attention too,
which stays the identity. Ours is trained.
"""

from collections.abc import Mapping
from functools import partial
from typing import cast

from pydantic import Field
from torch import Tensor, nn

from ltbench.classifiers import MetaEmbedding
from ltbench.losses import cross_entropy, disc_centroids
from ltbench.methods.contract import Batch, HParams, Loss, Paper, Stage
from ltbench.methods.shared import FeatureMeans
from ltbench.methods.weight_transfer import CLASSIFIER
from ltbench.networks import NetworkSpec, build_backbone
from ltbench.networks.attentive import AttentiveNetwork
from ltbench.networks.modulated_attention import ModulatedAttention

HALLUCINATOR = f"{CLASSIFIER}hallucinator."


class OLTRHParams(HParams):
    """Hyper-parameters of OLTR."""

    centroid_weight: float = Field(0.01, ge=0, description="weight of the centroids' loss (lambda)")
    margin: float = Field(10.0, ge=0, description="squared distance at which repulsion ends")
    feature_lr: float = Field(
        0.1, ge=0, description="learning rate of the backbone, relative to the classifier's"
    )
    centroid_lr: float = Field(
        0.1, ge=0, description="learning rate of the centroids, relative to the classifier's"
    )
    lr: float = Field(1.0, gt=0, description="learning rate, relative to the recipe's")
    freeze_backbone: bool = Field(False, description="whether the backbone's weights are fixed")


class OLTR(FeatureMeans):
    """Meta-embeddings: centroids from class means, then training with them."""

    title = "OLTR"
    paper = Paper(
        title="Large-Scale Long-Tailed Recognition in an Open World",
        authors="Ziwei Liu, Zhongqi Miao, Xiaohang Zhan, Jiayun Wang, Boqing Gong, Stella X. Yu",
        venue="CVPR",
        year=2019,
        arxiv="1904.05160",
    )
    category = "representation"
    version = 4
    stages = (
        Stage("centroids", is_trained=False, needs_statistics_pass=True),
        Stage("memory", samplers=("class_aware(per_class=4)",)),
    )
    init_from = "softmax"
    batch_dependence = "gathered"
    oracle = "oltr"
    HParams = OLTRHParams
    hparams: OLTRHParams
    network: AttentiveNetwork

    def build_network(self, spec: NetworkSpec) -> nn.Module:
        """Return a network with attention and a memory of centroids."""
        backbone, width = build_backbone(spec)
        memory = MetaEmbedding(width, spec.classes)
        return AttentiveNetwork(backbone, memory, partial(ModulatedAttention, width))

    @property
    def memory(self) -> MetaEmbedding:
        """The classifier."""
        return cast("MetaEmbedding", self.network.classifier)

    def init_from_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Initialize from weights; a linear classifier becomes the hallucinator."""
        linear = {f"{HALLUCINATOR}{part}": f"{CLASSIFIER}{part}" for part in ("weight", "bias")}
        renamed = {ours: weights[theirs] for ours, theirs in linear.items() if theirs in weights}
        super().init_from_weights({**renamed, **weights})

    def on_stage_start(self, stage: Stage) -> None:
        """Begin class means, or freeze the backbone."""
        super().on_stage_start(stage)
        if not stage.needs_statistics_pass and self.hparams.freeze_backbone:
            self.freeze(self.network.backbone, update_bn=True)

    def finalize_statistics(self) -> None:
        """Set the centroids to the class means."""
        self.memory.centroids.copy_(self.means.means())

    def lr_scale(self, parameter: str) -> float:
        """Return a parameter's learning rate, relative to the recipe's."""
        hparams = self.hparams
        if parameter == f"{CLASSIFIER}centroids":
            return hparams.lr * hparams.centroid_lr
        return hparams.lr * (1.0 if parameter.startswith(CLASSIFIER) else hparams.feature_lr)

    def training_loss(self, batch: Batch) -> Loss:
        """Return the cross-entropy and the centroids' loss."""
        features = self.network.features(batch.images)
        pull = disc_centroids(features, batch.labels, self.memory.centroids, self.hparams.margin)
        return {
            "classes": cross_entropy(self.memory(features), batch.labels),
            "centroids": self.hparams.centroid_weight * pull,
        }
