"""Records, and everything computed from them. Imports no torch."""
