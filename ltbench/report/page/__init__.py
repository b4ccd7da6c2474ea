"""The leaderboard page: one HTML file with every table, figure and method."""
