"""From a plan to trained jobs: what is missing, what it costs, who trains it."""
