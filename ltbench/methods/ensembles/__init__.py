"""Ensembles: experts and branches on a shared trunk."""
