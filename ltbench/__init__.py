"""ltbench: every method of deep long-tailed learning behind one contract, one split, one table."""

__version__ = "0.1.0"
