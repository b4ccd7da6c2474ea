"""tau-normalized classifier: class weights divided by a power of their norm.

Kang, Xie, Rohrbach, Yan, Gordo, Feng, Kalantidis, "Decoupling Representation and Classifier for
Long-Tailed Recognition", ICLR 2020 (arXiv:1910.09217), section 4.

    w~_i = w_i / ||w_i||^tau    (3)    implemented

The bias is dropped, as in the paper and its code. Here tau is a fixed hyper-parameter, for values
that were found on validation images. The paper chooses it on validation images of each dataset, as
`tau_norm_validated` does; `tau_norm_learned` learns it.
"""

from typing import cast

import torch
from pydantic import Field
from torch import nn

from ltbench.classifiers import tau_normalized
from ltbench.methods.contract import HParams, Method, Stage
from ltbench.methods.papers import DECOUPLING
from ltbench.networks import Network


class TauNormHParams(HParams):
    """Hyper-parameters of tau-normalization."""

    tau: float = Field(
        0.7, ge=0, le=1, description="power of the norm, to be chosen on validation images"
    )


class TauNorm(Method):
    """A trained network with rescaled class weights."""

    title = "tau-norm"
    paper = DECOUPLING
    category = "decoupled"
    stages = (Stage("rescale", is_trained=False, recipe_stage="stage2"),)
    init_from = "softmax"
    required_init_tensors = ("weight",)
    oracle = "classifiers"
    HParams = TauNormHParams
    hparams: TauNormHParams
    network: Network

    @torch.no_grad()
    def on_stage_start(self, stage: Stage) -> None:  # noqa: ARG002 - the only stage
        """Normalize the weights and drop the bias."""
        classifier = cast("nn.Linear", self.network.classifier)
        classifier.weight.copy_(tau_normalized(classifier.weight, self.hparams.tau))
        classifier.bias.zero_()
