"""tau-normalized classifier whose tau is learned with class-balanced sampling.

Kang, Xie, Rohrbach, Yan, Gordo, Feng, Kalantidis, "Decoupling Representation and Classifier for
Long-Tailed Recognition", ICLR 2020 (arXiv:1910.09217), section 4.

    w~_i = w_i / ||w_i||^tau    (3)                                          implemented
    tau learned on training images, classes alike, by cross-entropy          implemented

For data without validation images, where `tau_norm_validated` would choose it. Backbone and weights
are fixed, the bias is dropped, and tau begins at 0, the weights as they were trained. The authors
have published no code for this; BatchNorm keeps the statistics of stage 1, as where tau is chosen,
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
    """LWS whose factors are a power of the weights' norms, of which only the power is trained."""

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
