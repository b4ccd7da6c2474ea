"""Nouns that everyone shares, the optimisation step, distributed helpers and named random streams."""
