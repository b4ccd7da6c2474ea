"""What to run: YAML in, typed and checked grids and jobs out. Imports no torch."""
