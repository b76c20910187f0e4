"""A run directory becomes one HTML page that needs nothing else."""
