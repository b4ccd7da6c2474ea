"""Weighted softmax: cross-entropy with larger weights for smaller classes.

Zhang, Kang, Hooi, Yan, Feng, "Deep Long-Tailed Learning: A Survey", TPAMI 2023 (arXiv:2110.04596).

    L = -(1 / pi_y) log p_y          the survey's table of losses   implemented: `weights: inverse`
    L = -(1 + ln(n_max / n_y)) log p_y    the survey's code         implemented: the default

The survey's text has the inverse prior, but its code, which gave its results, has the logarithmic
weights; so does ours. The mean over a batch divides by the sum of its weights, as PyTorch's
weighted cross-entropy does, so that a common factor of the weights has no effect.
"""

from typing import Literal

from pydantic import Field

from ltbench.losses import cross_entropy, inverse_weights, survey_weights
from ltbench.methods.contract import Batch, HParams, Loss, Method, Paper

WEIGHTS = {"survey": survey_weights, "inverse": inverse_weights}


class WeightedSoftmaxHParams(HParams):
    """Hyper-parameters of weighted softmax."""

    weights: Literal["survey", "inverse"] = Field(
        "survey", description="class weights: 1 + ln(n_max / n), or the inverse prior"
    )


class WeightedSoftmax(Method):
    """Class-weighted cross-entropy."""

    title = "Weighted Softmax"
    paper = Paper(
        title="Deep Long-Tailed Learning: A Survey",
        authors="Yifan Zhang, Bingyi Kang, Bryan Hooi, Shuicheng Yan, Jiashi Feng",
        venue="TPAMI",
        year=2023,
        arxiv="2110.04596",
    )
    category = "cost-sensitive"
    batch_dependence = "gathered"
    reduces_to = "softmax"
    oracle = "weighted_ce"
    HParams = WeightedSoftmaxHParams
    hparams: WeightedSoftmaxHParams

    def training_loss(self, batch: Batch) -> Loss:
        """Return the weighted cross-entropy."""
        weights = WEIGHTS[self.hparams.weights](self.counts)
        return cross_entropy(self.network(batch.images), batch.labels, weights)
