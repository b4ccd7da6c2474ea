"""Ensembles: experts and branches that share a network."""
