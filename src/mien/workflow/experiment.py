"""A recipe with its data set opened and its folders settled: what the pipeline's verbs work on.

In: a recipe, or a run directory that records one. Out: an `Experiment`.
Knows nothing about: printing, the environment, how any room works.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mien.data import Dataset, open_dataset
from mien.describe.open import open_engine
from mien.describe.prompts import asked
from mien.describe.store.lookup import Found, look_up
from mien.describe.store.store import Store
from mien.media.images import Marking
from mien.recipe import Recipe
from mien.runs import Run
from mien.types import Sample

if TYPE_CHECKING:
    from mien.batches.builder import InputBuilder

__all__ = ["Experiment", "find_descriptions", "notice", "open_data", "open_experiment", "reopen"]

_EMBEDDED: Final = "playhouse"
_WORDS: Final = (_EMBEDDED, "random")  # that stand where a path may stand
NOTICE: Final = (
    "note: the embedded models know only Playhouse, a drawn theatre; what they say of photographs is a "
    "dry run, not a result"
)


@dataclass(frozen=True, kw_only=True)  # no slots: cached properties need a place
class Experiment:
    """A recipe with its data set opened and its folders settled."""

    recipe: Recipe
    dataset: Dataset
    out: Path
    cache: Path

    @property
    def store(self) -> Path:
        """The file of descriptions; runs may share one."""
        return self.recipe.run.store or self.out / "descriptions.sqlite"

    @property
    def features(self) -> Path:
        """The folder of cached features; runs may share one."""
        return self.recipe.run.cache or self.out / "features"

    def samples(self, split: str) -> list[Sample]:
        """The samples of a split, read once."""
        if split not in self._samples:
            self._samples[split] = list(self.dataset.samples(split))
        return self._samples[split]

    @cached_property
    def _samples(self) -> dict[str, list[Sample]]:
        return {}

    @property
    def settled(self) -> Recipe:
        """The recipe with its folders as they are here, so that a run directory finds them again."""
        folders = {"out": self.out, "store": self.store, "cache": self.features}
        return self.recipe.model_copy(update={"run": self.recipe.run.model_copy(update=folders)})

    @cached_property
    def builder(self) -> InputBuilder:
        """Makes the classifier's inputs; loads an encoder and a tokenizer once, when they are needed."""
        from mien.batches.builder import InputBuilder

        return InputBuilder.from_recipe(self.recipe, self.features)

    @property
    def asking(self) -> dict[str, Any]:
        """What describing and looking up descriptions must agree on."""
        recipe = self.recipe
        return {
            "engine": open_engine(recipe.describe, recipe.run),
            "prompt": asked(recipe.describe),
            "label_set": self.dataset.label_set,
            "marking": Marking(style=recipe.describe.marking),
            "clip": recipe.describe.clip,
        }


def open_experiment(recipe: Recipe, *, cache: Path, out: Path | None = None) -> Experiment:
    """The experiment of a recipe; its run directory is `out`, else the recipe's, else runs/NAME."""
    recipe = _anchored(recipe)
    folder = (out or recipe.run.out or Path("runs") / recipe.name).absolute()
    dataset = open_data(recipe, cache=cache)
    return Experiment(recipe=recipe, dataset=dataset, out=folder, cache=cache)


def open_data(recipe: Recipe, *, cache: Path) -> Dataset:
    """The data set of a recipe, its relative folders taken from where we are."""
    return open_dataset(_anchored(recipe).data, cache=cache)


def _anchored(recipe: Recipe) -> Recipe:
    """Relative folders made absolute, so that a run is the same run from wherever it is looked at."""
    data, describe, features, model = recipe.data, recipe.describe, recipe.features, recipe.model
    places = {
        "root": None if data.root is None else data.root.absolute(),
        "split_file": None if data.split_file is None else data.split_file.absolute(),
    }
    names = {"vision": _anchored_name(features.vision), "tokenizer": _anchored_name(features.tokenizer)}
    parts = {
        "data": data.model_copy(update=places),
        "describe": describe.model_copy(update={"model": _anchored_name(describe.model)}),
        "features": features.model_copy(update=names),
        "model": model.model_copy(update={"init": _anchored_name(model.init)}),
    }
    return recipe.model_copy(update=parts)


def _anchored_name(name: str) -> str:
    return str(Path(name).absolute()) if name not in _WORDS and Path(name).exists() else name


def notice(recipe: Recipe, *, photographs: bool = False) -> str | None:
    """What must be said where embedded models meet other pictures than their own; `photographs`: they do."""
    embedded = _EMBEDDED in (recipe.describe.model, recipe.features.vision)
    return NOTICE if embedded and (photographs or recipe.data.name != _EMBEDDED) else None


def reopen(run: Path, *, cache: Path) -> Experiment:
    """The experiment that a run directory records."""
    return open_experiment(recorded_recipe(run), cache=cache, out=run)


def recorded_recipe(run: Path) -> Recipe:
    """The recipe that a run directory records; RunError if it is no run."""
    return Recipe.parse(Run.open(run).manifest.recipe, where=str(run))


def find_descriptions(experiment: Experiment, samples: Sequence[Sample]) -> Found:
    """The descriptions of samples, as this recipe would have them made."""
    with Store(experiment.store, writable=False) as store:
        return look_up((sample.subject for sample in samples), **experiment.asking, store=store)
