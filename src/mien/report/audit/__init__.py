"""The HTML report of a dataset audit."""
