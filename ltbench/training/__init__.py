"""One job: its data, its method, its test, its record."""
