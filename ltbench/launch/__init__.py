"""Launching: missing jobs, their cost, and local, Slurm and Ray runners."""
