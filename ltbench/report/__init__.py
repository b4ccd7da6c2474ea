"""Tables, figures, the page and the README, made of what `analysis` computes. Imports no torch."""
