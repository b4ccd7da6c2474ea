"""Class-balanced loss: classes weighted by the inverse effective number of images.

Cui, Jia, Lin, Song, Belongie, "Class-Balanced Loss Based on Effective Number of Samples", CVPR 2019
(arXiv:1901.05555).

    E_n = (1 - beta^n) / (1 - beta)                  proposition 1   implemented
    L = (1 / E_{n_y}) L(p, y), weights scaled to sum C   section 4   implemented
    L(p, y) softmax cross-entropy                            4.1     implemented: the default
    L(p, y) sum over classes of binary cross-entropies       4.2     implemented: `form: sigmoid`
    L(p, y) sum over classes of binary focal losses          4.3     implemented: `form: focal`
    one-vs-all classifiers start at probability 1 / C                implemented: bias -ln(C - 1)
    no weight decay on their bias                            implemented: `decay_bias: false`

As in the authors' code the mean divides by the size of the batch, not by the sum of its weights. A
widely used port has another "softmax" form, binary cross-entropy of softmax probabilities: that of
`weight_balancing`. The paper chooses form, beta (0.9 to 0.9999) and gamma (0.5, 1, 2) by dataset;
our defaults are its code's for CIFAR-10. With beta 0 all weights are 1, and `form: focal` is the
focal loss of Lin et al. as in their paper.
"""

from pydantic import Field
from torch import nn

from ltbench.classifiers import linear, one_vs_all
from ltbench.losses import class_balanced
from ltbench.losses.class_balanced import ClassBalancedForm
from ltbench.methods.contract import LATER, Batch, HParams, Loss, Method, Paper
from ltbench.networks import Network, NetworkSpec, build_backbone


class ClassBalancedHParams(HParams):
    """Hyper-parameters of the class-balanced loss."""

    form: ClassBalancedForm = Field(
        "softmax", description="weighted loss: softmax, or one-vs-all sigmoid or focal"
    )
    beta: float = Field(
        0.9999, ge=0, lt=1, description="0: no weights; towards 1: inverse class frequency"
    )
    gamma: float = Field(
        1.0,
        ge=0,
        description="focusing exponent of the focal form",
        json_schema_extra={"only_with": {"form": "focal"}},
    )
    decay_bias: bool = Field(
        True,
        description="whether the classifier's bias has weight decay; not in one-vs-all forms of "
        "the paper",
        json_schema_extra=LATER,
    )


class ClassBalanced(Method):
    """Losses weighted by the effective number of images."""

    title = "Class-balanced loss"
    paper = Paper(
        title="Class-Balanced Loss Based on Effective Number of Samples",
        authors="Yin Cui, Menglin Jia, Tsung-Yi Lin, Yang Song, Serge Belongie",
        venue="CVPR",
        year=2019,
        arxiv="1901.05555",
    )
    category = "cost-sensitive"
    oracle = "class_balanced"
    HParams = ClassBalancedHParams
    hparams: ClassBalancedHParams

    def build_network(self, spec: NetworkSpec) -> nn.Module:
        """Return a network; one-vs-all classifiers start at probability 1 / C."""
        backbone, width = build_backbone(spec)
        classifier = linear if self.hparams.form == "softmax" else one_vs_all
        return Network(backbone, classifier(width, spec.classes))

    def weight_decay_scale(self, parameter: str) -> float:
        """Return a parameter's weight decay, relative to the recipe's."""
        is_bias = parameter == "network.classifier.bias"
        return 0.0 if is_bias and not self.hparams.decay_bias else 1.0

    def training_loss(self, batch: Batch) -> Loss:
        """Return the class-balanced loss."""
        hparams = self.hparams
        logits = self.network(batch.images)
        return class_balanced(
            logits, batch.labels, self.counts, hparams.beta, hparams.form, hparams.gamma
        )
