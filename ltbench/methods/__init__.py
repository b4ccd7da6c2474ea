"""METHODS: every method by its key.

The key also names its file and the folder of its records.
"""

from ltbench.methods.augmentation.cmo import CMO
from ltbench.methods.augmentation.cutmix import CutMix
from ltbench.methods.augmentation.dive import DiVE
from ltbench.methods.augmentation.dstl import DSTL
from ltbench.methods.augmentation.fasa import FASA
from ltbench.methods.augmentation.ftl import FTL
from ltbench.methods.augmentation.gist import GIST
from ltbench.methods.augmentation.glmc import GLMC
from ltbench.methods.augmentation.leap import LEAP
from ltbench.methods.augmentation.lfme import LFME
from ltbench.methods.augmentation.m2m import M2m
from ltbench.methods.augmentation.metamodelnet import MetaModelNet
from ltbench.methods.augmentation.metasaug import MetaSAug
from ltbench.methods.augmentation.mixup import Mixup
from ltbench.methods.augmentation.ofa import OFA
from ltbench.methods.augmentation.remix import Remix
from ltbench.methods.augmentation.rsg import RSG
from ltbench.methods.augmentation.ssd import SSD
from ltbench.methods.augmentation.ssp import SSP
from ltbench.methods.contract import Method
from ltbench.methods.ensembles.ace import ACE
from ltbench.methods.ensembles.balanced_softmax_ensemble import BalancedSoftmaxEnsemble
from ltbench.methods.ensembles.bbn import BBN
from ltbench.methods.ensembles.ltml import LTML
from ltbench.methods.ensembles.ncl import NCL
from ltbench.methods.ensembles.reslt import ResLT
from ltbench.methods.ensembles.ride import RIDE
from ltbench.methods.ensembles.ride_distill import RIDEDistill
from ltbench.methods.ensembles.ride_router import RIDERouter
from ltbench.methods.ensembles.sade import SADE
from ltbench.methods.ensembles.shike import SHIKE
from ltbench.methods.ensembles.softmax_ensemble import SoftmaxEnsemble
from ltbench.methods.module_improvement.bcl import BCL
from ltbench.methods.module_improvement.causal_tde import CausalTDE
from ltbench.methods.module_improvement.cosine import Cosine
from ltbench.methods.module_improvement.crl import CRL
from ltbench.methods.module_improvement.crt import CRT
from ltbench.methods.module_improvement.disalign import DisAlign
from ltbench.methods.module_improvement.dro_lt import DROLT
from ltbench.methods.module_improvement.gpaco import GPaCo
from ltbench.methods.module_improvement.hfl import HFL
from ltbench.methods.module_improvement.hybrid_psc import HybridPSC
from ltbench.methods.module_improvement.hybrid_sc import HybridSC
from ltbench.methods.module_improvement.iem import IEM
from ltbench.methods.module_improvement.kcl import KCL
from ltbench.methods.module_improvement.lmle import LMLE
from ltbench.methods.module_improvement.lws import LWS
from ltbench.methods.module_improvement.mislas import MiSLAS
from ltbench.methods.module_improvement.ncm import NCM
from ltbench.methods.module_improvement.oltr import OLTR
from ltbench.methods.module_improvement.paco import PaCo
from ltbench.methods.module_improvement.range_loss import RangeLoss
from ltbench.methods.module_improvement.realistic_taxonomic import RealisticTaxonomic
from ltbench.methods.module_improvement.tau_norm import TauNorm
from ltbench.methods.module_improvement.tau_norm_learned import TauNormLearned
from ltbench.methods.module_improvement.tau_norm_validated import TauNormValidated
from ltbench.methods.module_improvement.tsc import TSC
from ltbench.methods.module_improvement.unequal_training import UnequalTraining
from ltbench.methods.module_improvement.weight_balancing import WeightBalancing
from ltbench.methods.rebalancing.acsl import ACSL
from ltbench.methods.rebalancing.bags import BAGS
from ltbench.methods.rebalancing.bal_bce import BalBCE
from ltbench.methods.rebalancing.balanced_meta_softmax import BalancedMetaSoftmax
from ltbench.methods.rebalancing.balanced_softmax import BalancedSoftmax
from ltbench.methods.rebalancing.bayesian_uncertainty import BayesianUncertainty
from ltbench.methods.rebalancing.cdt import CDT
from ltbench.methods.rebalancing.class_balanced import ClassBalanced
from ltbench.methods.rebalancing.class_balanced_sampling import ClassBalancedSampling
from ltbench.methods.rebalancing.distribution_balanced import DistributionBalanced
from ltbench.methods.rebalancing.domain_balancing import DomainBalancing
from ltbench.methods.rebalancing.dynamic_curriculum import DynamicCurriculum
from ltbench.methods.rebalancing.eql_v2 import EQLv2
from ltbench.methods.rebalancing.equalization import Equalization
from ltbench.methods.rebalancing.focal import Focal
from ltbench.methods.rebalancing.ib_loss import IBLoss
from ltbench.methods.rebalancing.lade import LADE
from ltbench.methods.rebalancing.ldam_drw import LDAMDRW
from ltbench.methods.rebalancing.loce import LOCE
from ltbench.methods.rebalancing.logit_adjustment import LogitAdjustment
from ltbench.methods.rebalancing.meta_weight_net import MetaWeightNet
from ltbench.methods.rebalancing.oversampling import Oversampling
from ltbench.methods.rebalancing.partitioning_reservoir import PartitioningReservoirSampling
from ltbench.methods.rebalancing.posthoc_logit_adjustment import PosthocLogitAdjustment
from ltbench.methods.rebalancing.progressive_margin import ProgressiveMargin
from ltbench.methods.rebalancing.progressively_balanced_sampling import (
    ProgressivelyBalancedSampling,
)
from ltbench.methods.rebalancing.robal import RoBal
from ltbench.methods.rebalancing.seesaw import Seesaw
from ltbench.methods.rebalancing.sigmoid_equalization import SigmoidEqualization
from ltbench.methods.rebalancing.simcal import SimCal
from ltbench.methods.rebalancing.softmax import Softmax
from ltbench.methods.rebalancing.square_root_sampling import SquareRootSampling
from ltbench.methods.rebalancing.undersampling import Undersampling
from ltbench.methods.rebalancing.uno_ic import UNOIC
from ltbench.methods.rebalancing.vs_loss import VSLoss
from ltbench.methods.rebalancing.weighted_softmax import WeightedSoftmax

METHODS: dict[str, type[Method]] = {
    "softmax": Softmax,
    "weighted_softmax": WeightedSoftmax,
    "focal": Focal,
    "class_balanced": ClassBalanced,
    "equalization": Equalization,
    "sigmoid_equalization": SigmoidEqualization,
    "eql_v2": EQLv2,
    "distribution_balanced": DistributionBalanced,
    "acsl": ACSL,
    "bags": BAGS,
    "simcal": SimCal,
    "loce": LOCE,
    "balanced_softmax": BalancedSoftmax,
    "bal_bce": BalBCE,
    "ldam_drw": LDAMDRW,
    "lade": LADE,
    "logit_adjustment": LogitAdjustment,
    "posthoc_logit_adjustment": PosthocLogitAdjustment,
    "vs_loss": VSLoss,
    "cdt": CDT,
    "ib_loss": IBLoss,
    "robal": RoBal,
    "seesaw": Seesaw,
    "meta_weight_net": MetaWeightNet,
    "domain_balancing": DomainBalancing,
    "progressive_margin": ProgressiveMargin,
    "dynamic_curriculum": DynamicCurriculum,
    "bayesian_uncertainty": BayesianUncertainty,
    "balanced_meta_softmax": BalancedMetaSoftmax,
    "uno_ic": UNOIC,
    "oversampling": Oversampling,
    "undersampling": Undersampling,
    "class_balanced_sampling": ClassBalancedSampling,
    "square_root_sampling": SquareRootSampling,
    "progressively_balanced_sampling": ProgressivelyBalancedSampling,
    "partitioning_reservoir": PartitioningReservoirSampling,
    "crt": CRT,
    "lws": LWS,
    "ncm": NCM,
    "tau_norm": TauNorm,
    "tau_norm_validated": TauNormValidated,
    "tau_norm_learned": TauNormLearned,
    "disalign": DisAlign,
    "mixup": Mixup,
    "cutmix": CutMix,
    "remix": Remix,
    "cmo": CMO,
    "rsg": RSG,
    "metasaug": MetaSAug,
    "lfme": LFME,
    "dive": DiVE,
    "ssd": SSD,
    "dstl": DSTL,
    "fasa": FASA,
    "ftl": FTL,
    "leap": LEAP,
    "gist": GIST,
    "m2m": M2m,
    "metamodelnet": MetaModelNet,
    "ofa": OFA,
    "ssp": SSP,
    "cosine": Cosine,
    "mislas": MiSLAS,
    "weight_balancing": WeightBalancing,
    "causal_tde": CausalTDE,
    "softmax_ensemble": SoftmaxEnsemble,
    "balanced_softmax_ensemble": BalancedSoftmaxEnsemble,
    "bbn": BBN,
    "ride": RIDE,
    "ride_router": RIDERouter,
    "ride_distill": RIDEDistill,
    "sade": SADE,
    "reslt": ResLT,
    "ace": ACE,
    "ltml": LTML,
    "ncl": NCL,
    "shike": SHIKE,
    "glmc": GLMC,
    "paco": PaCo,
    "gpaco": GPaCo,
    "bcl": BCL,
    "kcl": KCL,
    "tsc": TSC,
    "oltr": OLTR,
    "crl": CRL,
    "range_loss": RangeLoss,
    "realistic_taxonomic": RealisticTaxonomic,
    "unequal_training": UnequalTraining,
    "iem": IEM,
    "hybrid_psc": HybridPSC,
    "hybrid_sc": HybridSC,
    "dro_lt": DROLT,
    "hfl": HFL,
    "lmle": LMLE,
}
