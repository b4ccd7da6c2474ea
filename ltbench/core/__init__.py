"""Shared types, the optimization step, sums over ranks, and named random streams."""
