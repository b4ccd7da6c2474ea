"""Losses: functions of logits, labels and class counts.

They are averaged over the global batch. Labels, counts, shapes and numbers that they cannot take
are a TypeError or ValueError.
"""

from ltbench.losses.adaptive_class_suppression import adaptive_class_suppression
from ltbench.losses.arcface import arcface_logits
from ltbench.losses.balanced_binary import balanced_binary, log_odds
from ltbench.losses.balanced_contrast import balanced_contrast
from ltbench.losses.balanced_softmax import balanced_softmax
from ltbench.losses.balancing_weights import balancing_weights
from ltbench.losses.base_loss import BaseLoss, base_loss
from ltbench.losses.binary import binary, one_vs_all_targets
from ltbench.losses.class_balanced import class_balanced
from ltbench.losses.class_rectification import class_imbalance, class_rectification
from ltbench.losses.class_weights import (
    cost_sensitive_weights,
    effective_number_weights,
    inverse_weights,
    scaled_to_classes,
    survey_weights,
)
from ltbench.losses.complementary_experts import complementary_experts, fused_logits
from ltbench.losses.contrast import contrast
from ltbench.losses.cross_entropy import cross_entropy
from ltbench.losses.disc_centroids import disc_centroids
from ltbench.losses.distillation import distillation, mutual_distillation
from ltbench.losses.distribution_balanced import (
    class_bias,
    distribution_balanced,
    rebalanced_weights,
)
from ltbench.losses.diversity import class_temperatures, diversity
from ltbench.losses.dro_lt import dro_lt
from ltbench.losses.equalization import equalization, sigmoid_equalization
from ltbench.losses.equalization_v2 import gradient_guided_weights, gradient_sums
from ltbench.losses.focal import focal, sigmoid_focal
from ltbench.losses.group_softmax import (
    counted_samples,
    group_log_softmax,
    group_softmax,
    size_groups,
)
from ltbench.losses.hardest_negative import hardest_negative
from ltbench.losses.influence_balanced import influence_balanced
from ltbench.losses.info_nce import info_nce
from ltbench.losses.inverse_softmax import inverse_counts, inverse_softmax
from ltbench.losses.isda import isda_logits
from ltbench.losses.k_positive import draw_positives, k_positive
from ltbench.losses.label_aware_smoothing import label_aware_smoothing, label_smoothing
from ltbench.losses.lade import lader
from ltbench.losses.ldam import ldam, ldam_margins
from ltbench.losses.log_prior import log_prior
from ltbench.losses.logit_adjustment import logit_adjustment, posthoc_adjustment
from ltbench.losses.nested_collaborative import (
    adjusted_logits,
    collaborative_loss,
    hard_classes,
)
from ltbench.losses.paco import paco
from ltbench.losses.prior_rebalancing import prior_rebalancing
from ltbench.losses.quintuplet import quintuplet
from ltbench.losses.range_loss import range_loss
from ltbench.losses.residual_branches import branch_loss, nested_groups
from ltbench.losses.robal import robal, robal_margins
from ltbench.losses.seesaw import seesaw
from ltbench.losses.self_paced import curriculum_weights, ease_within_classes, expert_weight
from ltbench.losses.softmax_binary import softmax_binary
from ltbench.losses.supervised_contrast import prototype_contrast, supervised_contrast
from ltbench.losses.tree_softmax import (
    node_conditional,
    node_log_softmax,
    sure_nodes,
    tree_sampling,
    tree_scores,
)
from ltbench.losses.unequal_training import center_dispersion, noise_resistant
from ltbench.losses.vector_scaling import vector_scaling, vs_loss

__all__ = [
    "BaseLoss",
    "adaptive_class_suppression",
    "adjusted_logits",
    "arcface_logits",
    "balanced_binary",
    "balanced_contrast",
    "balanced_softmax",
    "balancing_weights",
    "base_loss",
    "binary",
    "branch_loss",
    "center_dispersion",
    "class_balanced",
    "class_bias",
    "class_imbalance",
    "class_rectification",
    "class_temperatures",
    "collaborative_loss",
    "complementary_experts",
    "contrast",
    "cost_sensitive_weights",
    "counted_samples",
    "cross_entropy",
    "curriculum_weights",
    "disc_centroids",
    "distillation",
    "distribution_balanced",
    "diversity",
    "draw_positives",
    "dro_lt",
    "ease_within_classes",
    "effective_number_weights",
    "equalization",
    "expert_weight",
    "focal",
    "fused_logits",
    "gradient_guided_weights",
    "gradient_sums",
    "group_log_softmax",
    "group_softmax",
    "hard_classes",
    "hardest_negative",
    "influence_balanced",
    "info_nce",
    "inverse_counts",
    "inverse_softmax",
    "inverse_weights",
    "isda_logits",
    "k_positive",
    "label_aware_smoothing",
    "label_smoothing",
    "lader",
    "ldam",
    "ldam_margins",
    "log_odds",
    "log_prior",
    "logit_adjustment",
    "mutual_distillation",
    "nested_groups",
    "node_conditional",
    "node_log_softmax",
    "noise_resistant",
    "one_vs_all_targets",
    "paco",
    "posthoc_adjustment",
    "prior_rebalancing",
    "prototype_contrast",
    "quintuplet",
    "range_loss",
    "rebalanced_weights",
    "robal",
    "robal_margins",
    "scaled_to_classes",
    "seesaw",
    "sigmoid_equalization",
    "sigmoid_focal",
    "size_groups",
    "softmax_binary",
    "supervised_contrast",
    "sure_nodes",
    "survey_weights",
    "tree_sampling",
    "tree_scores",
    "vector_scaling",
    "vs_loss",
]
