"""Re-balancing: sampling, weights, margins and logit adjustment."""
