"""Sections of the page of a run: dimensions, errors of labels, groups of people, and how the run was made."""
