"""Ablations: one experiment in several variants and seeds, in one command, with paired differences.

Goes in: a grid, as in recipes/ablations. Comes out: a run for each variant and seed, a table, a page.
Knows nothing about: printing, the environment, how any room works.
"""
