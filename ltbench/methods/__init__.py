"""METHODS: every method by its key, which is also its file name and its record folder."""

from ltbench.methods.base import Method
from ltbench.methods.module_improvement.crt import CRT
from ltbench.methods.module_improvement.lws import LWS
from ltbench.methods.module_improvement.ncm import NCM
from ltbench.methods.module_improvement.tau_norm import TauNorm
from ltbench.methods.rebalancing.balanced_softmax import BalancedSoftmax
from ltbench.methods.rebalancing.class_balanced_sampling import ClassBalancedSampling
from ltbench.methods.rebalancing.ldam_drw import LDAMDRW
from ltbench.methods.rebalancing.logit_adjustment import LogitAdjustment
from ltbench.methods.rebalancing.posthoc_logit_adjustment import PosthocLogitAdjustment
from ltbench.methods.rebalancing.softmax import Softmax
from ltbench.methods.rebalancing.weighted_softmax import WeightedSoftmax

METHODS: dict[str, type[Method]] = {
    "softmax": Softmax,
    "weighted_softmax": WeightedSoftmax,
    "balanced_softmax": BalancedSoftmax,
    "ldam_drw": LDAMDRW,
    "logit_adjustment": LogitAdjustment,
    "posthoc_logit_adjustment": PosthocLogitAdjustment,
    "class_balanced_sampling": ClassBalancedSampling,
    "crt": CRT,
    "lws": LWS,
    "ncm": NCM,
    "tau_norm": TauNorm,
}
