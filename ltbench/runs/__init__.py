"""Run folders, job locks, records and the states of jobs.

Imports no torch.
"""
