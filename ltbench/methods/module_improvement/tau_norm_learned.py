"""tau-normalized classifier, tau learned with class-balanced sampling.

Kang, Xie, Rohrbach, Yan, Gordo, Feng, Kalantidis, "Decoupling Representation and Classifier for
Long-Tailed Recognition", ICLR 2020 (arXiv:1910.09217), section 4.

    w~_i = w_i / ||w_i||^tau    (3)                                          implemented
    tau learned on class-balanced training images by cross-entropy           implemented

For data without validation images; with them `tau_norm_validated` chooses tau. Backbone and weights
are fixed, the bias is dropped, and tau starts at 0, which leaves the weights unchanged. The authors
have published no code for this. BatchNorm keeps the statistics of stage 1, as in tau-normalization,
while their cRT and LWS update them (`update_bn`).
"""

from pydantic import Field

from ltbench.classifiers import TauNormalized
from ltbench.methods.contract import Stage
from ltbench.methods.module_improvement.crt import DecouplingHParams
from ltbench.methods.module_improvement.lws import LWS


class TauNormLearnedHParams(DecouplingHParams):
    """Hyper-parameters of tau-normalization with a learned tau."""

    update_bn: bool = Field(
        False, description="whether BatchNorm uses and updates statistics of the balanced batches"
    )


class TauNormLearned(LWS):
    """LWS with a learned power of the weights' norms as factors."""

    title = "tau-norm (learned)"
    stages = (
        Stage(
            "tau", samplers=("class_balanced",), recipe_stage="stage2", passes=0, forward_passes=1
        ),
    )
    HParams = TauNormLearnedHParams
    hparams: TauNormLearnedHParams
    classifier = TauNormalized
    learned = "tau"
