"""1. Data: who is in which picture, and what annotators saw.

Comes out: `Sample`s, one subject each, from every known data set or a manifest of the user's own.
Knows nothing about descriptions, features or models.
"""

from mien.data.dataset import Card, Dataset, open_dataset

__all__ = ["Card", "Dataset", "open_dataset"]
