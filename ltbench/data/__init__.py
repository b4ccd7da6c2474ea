"""Datasets, their long-tailed splits, and batches on the device."""
