"""Experiment tracking: mirrors of jobs, never the source of results."""
