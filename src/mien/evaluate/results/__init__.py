"""Results of runs, with confidence intervals, and their comparison."""
