"""Trackers: mirrors of a job for people who watch many. Records are the source, never these."""
