"""Module improvement: representations, classifier design, decoupled training."""
