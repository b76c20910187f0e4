"""The report of a run: scores, differences, labels, calibration, descriptions and examples."""
