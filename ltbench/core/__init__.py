"""What everyone shares: nouns, the optimisation step, sums over ranks, named random streams."""
