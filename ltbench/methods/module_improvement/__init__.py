"""Module improvement: representation, classifier design, decoupled training."""
