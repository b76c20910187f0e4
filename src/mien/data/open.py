"""Opens a dataset by name: a built-in one, or a class from your own package."""

from __future__ import annotations

import logging
from pathlib import Path

from mien.data.dataset import Dataset
from mien.data.splits import ResplitDataset
from mien.errors import ConfigError
from mien.recipe import DataOptions
from mien.registry import resolve

__all__ = ["dataset_class", "open_dataset"]

log = logging.getLogger(__name__)


def dataset_class(name: str) -> type[Dataset]:
    """The class of the dataset `name`, or of a "package.module:Class" of your own.

    Raises:
        UnknownNameError: No dataset has this name.
        ConfigError: The name refers to something other than a dataset.
    """
    found = resolve("dataset", name)
    if not (isinstance(found, type) and issubclass(found, Dataset)):
        raise ConfigError(f"{name!r} is not a dataset", hint="name a subclass of mien.data.dataset.Dataset")
    return found


def open_dataset(options: DataOptions, *, cache: Path) -> Dataset:
    """The dataset that `[data]` names, re-split if `data.split_file` is set.

    Args:
        options: The `[data]` section of a recipe.
        cache: A directory for files that can be regenerated.
    """
    dataset = dataset_class(options.name)(options, cache)
    if options.split_file is not None:
        dataset = ResplitDataset(dataset, options.split_file)
    log.debug("opened dataset %s with splits %s", dataset.card.name, dataset.splits)
    return dataset
