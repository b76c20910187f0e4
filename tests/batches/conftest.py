"""Fixtures for splits."""

from tests.factories.training import make

__all__ = ["make"]
