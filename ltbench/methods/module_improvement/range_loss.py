"""Range loss: cross-entropy, a pull within classes and a push between means.

Zhang, Fang, Wen, Li, Qiao, "Range Loss for Deep Face Recognition With Long-Tailed Training Data",
ICCV 2017 (arXiv:1611.08976), section 3.

    L = L_softmax + alpha L_intra + beta L_inter                                     implemented
    L_intra = sum_c k / sum_(j <= k) 1 / D_cj, the k largest distances of a class    implemented
    L_inter = max(0, m - D), of the two nearest class means of a batch               implemented
    verification of faces by distances of features           left out: the classifier predicts

Distances are squared, as in the paper; `distance: euclidean` takes plain ones, as a public port
does. Batches have four images of a class at a time; a class with a single image in a batch has no
L_intra, and counts in L_inter.

Where ours is not theirs: the authors have published no code. Weights and margin are those of a
public Caffe layer for faces (k 2, alpha 1e-4, beta 1e-3, m 2e4), not tuned for classification:
features of a classifier are shorter, so that the margin is never reached and L_inter pushes the two
nearest classes apart in every step. Features are those of the backbone; means and distances are
those of the global batch.
"""

from typing import Literal

from pydantic import Field

from ltbench.core.distributed import gather, gather_with_gradient
from ltbench.losses import cross_entropy, range_loss
from ltbench.methods.contract import Batch, HParams, Loss, Method, Paper, Stage
from ltbench.networks import Network


class RangeLossHParams(HParams):
    """Hyper-parameters of the range loss."""

    intra_weight: float = Field(1e-4, ge=0, description="weight of the range of classes (alpha)")
    inter_weight: float = Field(1e-3, ge=0, description="weight of nearby class means (beta)")
    margin: float = Field(2e4, ge=0, description="distance of class means that is enough (m)")
    hardest: int = Field(2, ge=1, description="largest distances of a class (k)")
    distance: Literal["squared", "euclidean"] = Field(
        "squared", description="squared as in the paper, or plain"
    )


class RangeLoss(Method):
    """Cross-entropy with losses of distances within and between classes."""

    title = "Range loss"
    paper = Paper(
        title="Range Loss for Deep Face Recognition With Long-Tailed Training Data",
        authors="Xiao Zhang, Zhiyuan Fang, Yandong Wen, Zhifeng Li, Yu Qiao",
        venue="ICCV",
        year=2017,
        arxiv="1611.08976",
    )
    category = "representation"
    stages = (Stage("train", samplers=("class_aware(per_class=4)",)),)
    batch_dependence = "gathered"
    oracle = "range_loss"
    oracle_by_others = True
    metric_terms = ("intra", "inter")
    HParams = RangeLossHParams
    hparams: RangeLossHParams
    network: Network

    def training_loss(self, batch: Batch) -> Loss:
        """Return the cross-entropy and the losses of distances."""
        hparams = self.hparams
        features = self.network.features(batch.images)
        intra, inter = range_loss(
            gather_with_gradient(features),
            gather(batch.labels),
            hparams.margin,
            hardest=hparams.hardest,
            squared=hparams.distance == "squared",
        )
        return {
            "classes": cross_entropy(self.network.classifier(features), batch.labels),
            "intra": hparams.intra_weight * intra,
            "inter": hparams.inter_weight * inter,
        }
