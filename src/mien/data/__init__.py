"""Datasets: who is in which image, and what annotators said."""

from mien.data.dataset import Dataset, DatasetCard
from mien.data.open import open_dataset

__all__ = ["Dataset", "DatasetCard", "open_dataset"]
