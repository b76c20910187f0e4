"""Subjects for tests."""

from mien.types import Box

__all__ = ["MARKED_BOX"]

# Lies inside an image of 32 x 24 pixels.
MARKED_BOX = Box(left=4, top=4, right=20, bottom=20)
