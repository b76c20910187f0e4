"""Fixtures for tiny trainings."""

from tests.factories.training import make, one_thread, recipe

__all__ = ["make", "one_thread", "recipe"]
