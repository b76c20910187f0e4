"""Moved to tests/checks."""
