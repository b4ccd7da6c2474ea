"""The leaderboard as one file that opens from disk: every table, figure and method."""
