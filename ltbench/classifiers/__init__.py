"""Classifiers: features [B, D] -> logits [B, C]."""

from ltbench.classifiers.aligned import AlignedClassifier
from ltbench.classifiers.causal_norm import CausalNormClassifier
from ltbench.classifiers.choice import classifier_for
from ltbench.classifiers.constellation import ConstellationClassifier
from ltbench.classifiers.cosine import CosineClassifier
from ltbench.classifiers.learnable_scale import LearnableScale
from ltbench.classifiers.linear import linear, one_vs_all, reset_linear
from ltbench.classifiers.max_norm import bounded, norm_bound
from ltbench.classifiers.meta_embedding import MetaEmbedding
from ltbench.classifiers.nearest_centroids import NearestCentroids
from ltbench.classifiers.nearest_mean import NearestClassMean
from ltbench.classifiers.tau_norm import TauNormalized, tau_normalized

__all__ = [
    "AlignedClassifier",
    "CausalNormClassifier",
    "ConstellationClassifier",
    "CosineClassifier",
    "LearnableScale",
    "MetaEmbedding",
    "NearestCentroids",
    "NearestClassMean",
    "TauNormalized",
    "bounded",
    "classifier_for",
    "linear",
    "norm_bound",
    "one_vs_all",
    "reset_linear",
    "tau_normalized",
]
