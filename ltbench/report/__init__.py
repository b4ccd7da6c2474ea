"""Tables, figures, the leaderboard page and the README. Imports no torch."""
