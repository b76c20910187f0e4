"""Sections of the page of a run: dimensions, errors of labels, annotators, groups, and how it was made."""
