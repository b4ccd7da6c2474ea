"""Balanced softmax ensemble: the mean prediction of networks from different seeds.

Lakshminarayanan, Pritzel, Blundell, "Simple and Scalable Predictive Uncertainty Estimation using
Deep Ensembles", NeurIPS 2017 (arXiv:1612.01474).

    p(y | x) = 1/M sum_m p_m(y | x)          (section 2.4)   in `softmax_ensemble`

Members are networks of `balanced_softmax`; all else is as in `softmax_ensemble`.
"""

from ltbench.methods.ensembles.softmax_ensemble import SoftmaxEnsemble, members_of
from ltbench.methods.rebalancing.balanced_softmax import BalancedSoftmax


class BalancedSoftmaxEnsemble(SoftmaxEnsemble):
    """Three networks of balanced softmax that predict by their mean probabilities."""

    title = "Balanced softmax ensemble"
    reduces_to = "softmax_ensemble"
    teachers = members_of("balanced_softmax")
    member = BalancedSoftmax
