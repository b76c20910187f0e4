"""Curves for those who watch: TensorBoard and Weights & Biases, beside `events.jsonl`.

Goes in: numbers with the step they belong to. Comes out: what these services show.
Knows nothing about: training. Both are optional, and imported when a recipe names them.
"""

import importlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Final, Protocol

from mien.digests import digest
from mien.errors import ConfigError
from mien.recipe import Recipe

__all__ = ["Tracker", "Trackers"]

_PACKAGES: Final[Mapping[str, str]] = {"torch.utils.tensorboard": "tensorboard", "wandb": "wandb"}


class Tracker(Protocol):
    """Where curves go."""

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Numbers by name, after a step."""

    def close(self) -> None:
        """Nothing more comes."""


class Trackers:
    """All that a recipe names, as one; none at all is fine."""

    def __init__(self, trackers: Sequence[Tracker] = ()) -> None:
        self._trackers = tuple(trackers)

    @classmethod
    def open(cls, recipe: Recipe, folder: Path) -> "Trackers":
        """Those of `run.log_to`, for a run directory; ConfigError if one is not installed."""
        openers: dict[str, Callable[[Recipe, Path], Tracker]] = {
            "tensorboard": _TensorBoard,
            "wandb": _WeightsAndBiases,
        }
        return cls([openers[name](recipe, folder) for name in dict.fromkeys(recipe.run.log_to)])

    def log(self, values: Mapping[str, float], step: int) -> None:
        for tracker in self._trackers:
            tracker.log(values, step)

    def close(self) -> None:
        for tracker in self._trackers:
            tracker.close()


class _TensorBoard:
    def __init__(self, recipe: Recipe, folder: Path) -> None:
        module = _import("torch.utils.tensorboard")
        self._writer: Any = module.SummaryWriter(log_dir=str(folder / "tensorboard"))

    def log(self, values: Mapping[str, float], step: int) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        self._writer.close()


class _WeightsAndBiases:
    def __init__(self, recipe: Recipe, folder: Path) -> None:
        self._run: Any = _import("wandb").init(
            project="mien",
            name=recipe.name,
            # The same for a run directory that is continued, another for any other.
            id=digest([str(folder.absolute()), recipe.digest()])[:16],
            resume="allow",
            dir=str(folder),
            config=recipe.to_json(),
        )

    def log(self, values: Mapping[str, float], step: int) -> None:
        self._run.log(dict(values), step=step)

    def close(self) -> None:
        self._run.finish()


def _import(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        package = _PACKAGES[name]
        raise ConfigError(
            f"run.log_to names {package}, which is not installed",
            hint=f"install it with: pip install {package}; or leave it out of run.log_to",
        ) from error
