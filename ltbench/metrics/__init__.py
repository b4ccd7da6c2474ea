"""Metrics: exact counts from predictions."""

from ltbench.metrics.calibration import CalibrationBins, calibration_bins
from ltbench.metrics.per_class import hits_and_totals

__all__ = ["CalibrationBins", "calibration_bins", "hits_and_totals"]
