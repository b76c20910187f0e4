"""Training curves for TensorBoard and Weights & Biases, in addition to `events.jsonl`.

Both are optional and imported only if `run.log_to` names them.
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
    """A service that shows curves."""

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Record values by name, after a step."""

    def close(self) -> None:
        """Flush and close; no more values follow."""


class Trackers:
    """Any number of trackers as one."""

    def __init__(self, trackers: Sequence[Tracker] = ()) -> None:
        self._trackers = tuple(trackers)

    @classmethod
    def open(cls, recipe: Recipe, folder: Path) -> "Trackers":
        """The trackers of `run.log_to` for a run directory; raises ConfigError if one is not installed."""
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
            # Stable when a run directory is resumed, different for every other one.
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
            hint=f"install it with: pip install {package}; or remove it from run.log_to",
        ) from error
