"""Checks of a dataset on disk: missing and broken files, near-duplicates, statistics."""
