"""Configuration: from YAML files to checked grids and jobs. Imports no torch."""
