"""Metrics: exact counts, rankings, calibration, and grid search by a score."""

from ltbench.metrics.calibration import CalibrationBins, calibration_bins, fit_temperature
from ltbench.metrics.per_class import confusion_rows, hits_and_totals, mean_class_accuracy
from ltbench.metrics.ranking import ClassRanking, rank_class
from ltbench.metrics.selection import grid_search

__all__ = [
    "CalibrationBins",
    "ClassRanking",
    "calibration_bins",
    "confusion_rows",
    "fit_temperature",
    "grid_search",
    "hits_and_totals",
    "mean_class_accuracy",
    "rank_class",
]
