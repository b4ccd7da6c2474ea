"""DRO-LT: features close to their class means, robust to the means' error.

Samuel, Chechik, "Distributional Robustness Loss for Long-tail Learning", ICCV 2021
(arXiv:2104.03066), sections 4 and 5, and the code in dvirsamuel/DRO-LT.

    L_c = mean over images i of c of -log softmax_j(s_cj / T)                        implemented
    s_cj = -||mu_c - f_j|| - epsilon_c 1[y_j = c], epsilon learned by class          implemented
    L = CE + L_robust on features, with the classifier fixed                         implemented
    then the classifier alone, by CE                                                 implemented
    class weights of L_robust                      left out: an option of the code, off by default

As in the authors' code training starts from softmax, batches have four images of a class at a time,
the cross-entropy of the features has class weights n / n_max, class means are those of the whole
training set, anew before each epoch, epsilon starts at 1 with the learning rate of the features,
and nothing keeps it positive. Of their 100 epochs the last 20 are the classifier's; their rates are
0.005, then 0.01. Ours are 0.8 and 0.2 of the recipe's epochs, at 0.05 and 0.1 of its rates.

Where ours is not theirs: their code adds epsilon in the order of the batch to distances in the
order of the classes, so that images get the epsilon of other classes; here each has its own. Their
means are those of augmented, class-aware batches; ours are those of the training images, each once,
with the test's transform. Their code keeps the features of the epoch that is best on the test
images, which is not offered here: features are those of the last epoch. Their rates are constant,
ours follow the recipe's schedule. AutoAugment and Cutout are left to the recipe.
"""

import torch
from pydantic import Field
from torch import Tensor, nn

from ltbench.classifiers import linear
from ltbench.losses import cross_entropy, dro_lt
from ltbench.methods.contract import Batch, HParams, Loss, Method, Paper, Stage
from ltbench.networks import Network, NetworkSpec, build_backbone
from ltbench.networks.class_statistics import ClassMeans

FOUR_A_CLASS = ("class_aware(per_class=4)",)


class DROLTHParams(HParams):
    """Hyper-parameters of DRO-LT."""

    weight: float = Field(1.0, ge=0, description="weight of the robust loss")
    temperature: float = Field(1.0, gt=0, description="of the distances (T)")
    epsilon: float = Field(1.0, ge=0, description="initial error of class means (epsilon)")


class DROLT(Method):
    """Features by a distributionally robust loss, then the classifier."""

    title = "DRO-LT"
    paper = Paper(
        title="Distributional Robustness Loss for Long-tail Learning",
        authors="Dvir Samuel, Gal Chechik",
        venue="ICCV",
        year=2021,
        arxiv="2104.03066",
    )
    category = "representation"
    stages = (
        Stage(
            "features",
            samplers=FOUR_A_CLASS,
            needs_statistics_pass=True,
            epochs_scale=0.8,
            lr_scale=0.05,
            forward_passes=1,
        ),
        Stage(
            "classifier",
            samplers=FOUR_A_CLASS,
            epochs_scale=0.2,
            lr_scale=0.1,
            passes=0,
            forward_passes=1,
        ),
    )
    init_from = "softmax"
    required_init_tensors = ("weight", "bias")
    batch_dependence = "gathered"
    oracle = "dro_lt"
    metric_terms = ("robust",)
    HParams = DROLTHParams
    hparams: DROLTHParams
    network: Network

    def build_network(self, spec: NetworkSpec) -> nn.Module:
        """Return a network; register class means and their errors."""
        backbone, width = build_backbone(spec)
        self.epsilons = nn.Parameter(torch.full((spec.classes,), self.hparams.epsilon))
        self.means: Tensor
        self.register_buffer("means", torch.zeros(spec.classes, width, dtype=torch.float64))
        return Network(backbone, linear(width, spec.classes))

    def on_stage_start(self, stage: Stage) -> None:
        """Freeze the classifier, or all but the classifier."""
        self.sums = ClassMeans(self.spec.classes)
        if stage.needs_statistics_pass:
            self.freeze(self.network.classifier)
        else:
            self.freeze(self.network.backbone)
            self.epsilons.requires_grad = False

    def needs_statistics_now(self) -> bool:
        """Return True: class means are taken anew before each epoch."""
        return True

    def update_statistics(self, batch: Batch) -> None:
        """Add a batch's features to the means of their classes."""
        self.sums.add(self.network.features(batch.images), batch.labels)

    def finalize_statistics(self) -> None:
        """Set the class means."""
        self.means.copy_(self.sums.means())
        self.sums = ClassMeans(self.spec.classes)

    def training_loss(self, batch: Batch) -> Loss:
        """Return the weighted cross-entropy and the robust loss; last the cross-entropy alone."""
        features = self.network.features(batch.images)
        logits = self.network.classifier(features)
        if not self.stage.needs_statistics_pass:
            return cross_entropy(logits, batch.labels)
        radii = self.epsilons[batch.labels]
        robust = dro_lt(features, batch.labels, self.means, radii, self.hparams.temperature)
        return {
            "classes": cross_entropy(logits, batch.labels, self.counts / self.counts.max()),
            "robust": self.hparams.weight * robust,
        }
