"""Training: from splits of inputs to a run directory with weights."""
