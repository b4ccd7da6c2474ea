"""Metrics: exact counts from predictions, calibration, choices by score."""

from ltbench.metrics.calibration import CalibrationBins, calibration_bins, fit_temperature
from ltbench.metrics.per_class import hits_and_totals, mean_class_accuracy
from ltbench.metrics.selection import grid_search

__all__ = [
    "CalibrationBins",
    "calibration_bins",
    "fit_temperature",
    "grid_search",
    "hits_and_totals",
    "mean_class_accuracy",
]
