"""An experiment: a recipe with its dataset opened and its folders resolved, on which every step works."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mien.data import Dataset, open_dataset
from mien.describe.open import open_engine
from mien.describe.prompts import resolve_prompt
from mien.describe.requests import RequestBuilder
from mien.describe.store.lookup import DescriptionLookup, lookup_descriptions
from mien.describe.store.store import Store
from mien.errors import ConfigError
from mien.media.images import Marking
from mien.names import plain_name
from mien.recipe import Recipe, load_recipe
from mien.recipe.places import MODEL_PLACES, recorded_recipe, require_places
from mien.recipe.zero_shot import NO_ENCODER
from mien.types import Sample
from mien.workflow.dtypes import record_dtypes, resolve_dtypes

if TYPE_CHECKING:
    from mien.batches.builder import InputBuilder
    from mien.evaluate.scores import SplitScores

__all__ = [
    "EMBEDDED_MODEL_WARNING",
    "Experiment",
    "embedded_model_warning",
    "find_descriptions",
    "find_texts",
    "load_experiment",
    "open_experiment",
    "open_recipe_dataset",
    "recorded_recipe",
    "save_scored",
]

_EMBEDDED: Final = "playhouse"
_MODEL_NAMES: Final = (_EMBEDDED, "random", NO_ENCODER)  # these are never paths
EMBEDDED_MODEL_WARNING: Final = (
    "note: the embedded models know only Playhouse, a small drawn world; what they say about photographs is "
    "a dry run, not a result"
)


@dataclass(frozen=True, kw_only=True)  # no slots, because cached properties need a __dict__
class Experiment:
    """A recipe with its dataset opened and its folders resolved. Make one with `open_experiment`.

    Attributes:
        recipe: With absolute paths.
        dataset: The dataset of the recipe.
        out: The run directory.
        cache: The folder for what can be computed again, shared by all runs.
        sample_filter: Chooses from the samples of a split those that the experiment uses; it is called with
            the split's name and its samples. None uses all of them.
        stated_dtypes: By key, the types that stand in the recipe in place of `auto`.
        all_samples: The samples of each split that was read, unfiltered; experiments on the same data may
            share them.
    """

    recipe: Recipe
    dataset: Dataset
    out: Path
    cache: Path
    sample_filter: Callable[[str, Sequence[Sample]], Sequence[Sample]] | None = None
    stated_dtypes: Mapping[str, str] = field(default_factory=dict)
    all_samples: dict[str, list[Sample]] = field(default_factory=dict)

    @property
    def store(self) -> Path:
        """The store of descriptions; runs may share one."""
        return self.recipe.run.store or self.out / "descriptions.sqlite"

    @property
    def features(self) -> Path:
        """The folder of cached features; runs may share one."""
        return self.recipe.run.cache or self.out / "features"

    def samples(self, split: str) -> list[Sample]:
        """The samples of a split, read once."""
        if split not in self._samples:
            if split not in self.all_samples:
                self.all_samples[split] = list(self.dataset.samples(split))
            samples = self.all_samples[split]
            self._samples[split] = list(self.sample_filter(split, samples) if self.sample_filter else samples)
        return self._samples[split]

    @cached_property
    def _samples(self) -> dict[str, list[Sample]]:
        return {}

    @property
    def resolved_recipe(self) -> Recipe:
        """The recipe with its folders filled in, so that a run directory finds them again."""
        folders = {"out": self.out, "store": self.store, "cache": self.features}
        return self.recipe.model_copy(update={"run": self.recipe.run.model_copy(update=folders)})

    def record_dtypes(self) -> None:
        """Records the types that `auto` became, before anything is made with them."""
        record_dtypes(self.out, self.stated_dtypes)

    @cached_property
    def input_builder(self) -> InputBuilder:
        """Builds the classifier's inputs; loads the encoder and the tokenizer when they are first needed."""
        from mien.batches.builder import InputBuilder

        return InputBuilder.from_recipe(self.recipe, self.features)

    def open_request_builder(self) -> RequestBuilder:
        """Opens the recipe's engine, and builds requests as the recipe asks.

        Everything that describes or looks up descriptions uses this, so that the keys agree. A caller that
        calls the engine closes it.

        Raises:
            ConfigError: The engine, its options or the prompt are wrong.
            WeightsError: The engine's model is not available here.
        """
        recipe = self.recipe
        return RequestBuilder(
            engine=open_engine(recipe.describe, recipe.run),
            prompt=resolve_prompt(recipe.describe),
            label_set=self.dataset.label_set,
            marking=Marking(style=recipe.describe.marking),
            clip=recipe.describe.clip,
        )


def open_experiment(recipe: Recipe | Path | str, *, cache: Path, out: Path | None = None) -> Experiment:
    """Opens the experiment of a recipe.

    Args:
        recipe: A recipe, or the path of one in TOML.
        cache: The folder for what can be computed again, shared by all runs.
        out: The run directory; by default the one in the recipe, or else runs/NAME.

    Raises:
        ConfigError: The recipe is missing or wrong.
        DataError: The dataset cannot be opened.
    """
    if not isinstance(recipe, Recipe):
        recipe = load_recipe(Path(recipe))
    recipe = _absolute_paths(recipe)
    run_directory = (out or recipe.run.out or _default_folder(recipe)).absolute()
    recipe, stated_dtypes = resolve_dtypes(recipe, run_directory)
    return Experiment(
        recipe=recipe,
        dataset=open_recipe_dataset(recipe, cache=cache),
        out=run_directory,
        cache=cache,
        stated_dtypes=stated_dtypes,
    )


def _default_folder(recipe: Recipe) -> Path:
    return Path("runs") / plain_name(recipe.name, "the recipe's name", error=ConfigError)


def load_experiment(run: Path, *, cache: Path, overrides: Sequence[str] = ()) -> Experiment:
    """The experiment that a run directory records.

    Args:
        run: The run directory; it may have been moved or copied.
        cache: The folder for what can be computed again, shared by all runs.
        overrides: New places of what lies outside of the run, such as "data.root=/data/EMOTIC".

    Raises:
        RunError: The directory is not a run.
        DataError: The data, the store or the cache of the run is not where it was.
        WeightsError: A model's folder is not where it was.
    """
    recipe = _absolute_paths(recorded_recipe(run, overrides))
    require_places(recipe, run, but=("model.init",))  # trained already
    return open_experiment(recipe, cache=cache, out=run)


def open_recipe_dataset(recipe: Recipe, *, cache: Path) -> Dataset:
    """The dataset of a recipe; relative paths are taken from the working directory."""
    return open_dataset(_absolute_paths(recipe).data, cache=cache)


def _absolute_paths(recipe: Recipe) -> Recipe:
    """The recipe with absolute paths, so that a run is the same run from any working directory."""
    data, describe, features, model = recipe.data, recipe.describe, recipe.features, recipe.model
    zero_shot = recipe.zero_shot
    data_paths = {
        "root": None if data.root is None else data.root.absolute(),
        "split_file": None if data.split_file is None else data.split_file.absolute(),
    }
    feature_paths = {
        "vision": _absolute_if_path(features.vision),
        "tokenizer": _absolute_if_path(features.tokenizer),
    }
    describe_paths = {
        "model": _absolute_if_path(describe.model),
        "options": {
            key: _absolute_if_path(value)
            if f"describe.options.{key}" in MODEL_PLACES and isinstance(value, str)
            else value
            for key, value in describe.options.items()
        },
    }
    folders = {
        "store": None if recipe.run.store is None else recipe.run.store.absolute(),
        "cache": None if recipe.run.cache is None else recipe.run.cache.absolute(),
    }
    sections = {
        "run": recipe.run.model_copy(update=folders),
        "data": data.model_copy(update=data_paths),
        "describe": describe.model_copy(update=describe_paths),
        "features": features.model_copy(update=feature_paths),
        "model": model.model_copy(update={"init": _absolute_if_path(model.init)}),
        "zero_shot": zero_shot.model_copy(update={"encoder": _absolute_if_path(zero_shot.encoder)}),
    }
    return recipe.model_copy(update=sections)


def _absolute_if_path(name: str) -> str:
    return str(Path(name).absolute()) if name not in _MODEL_NAMES and Path(name).exists() else name


def embedded_model_warning(recipe: Recipe, *, photographs: bool = False) -> str | None:
    """The warning to show where an embedded model meets images that are not Playhouse's, or None.

    Args:
        recipe: Names the models and the dataset.
        photographs: Whether the images are not those of the recipe's dataset.
    """
    seen_by = (recipe.describe.model, recipe.features.vision)
    is_embedded = _EMBEDDED in (seen_by if recipe.zero_shot.method is None else seen_by[:1])
    meets_photographs = photographs or recipe.data.name != _EMBEDDED
    return EMBEDDED_MODEL_WARNING if is_embedded and meets_photographs else None


def find_descriptions(experiment: Experiment, samples: Sequence[Sample]) -> DescriptionLookup:
    """What the store holds about samples; StoreError if there is no store."""
    request_builder = experiment.open_request_builder()
    with Store(experiment.store, writable=False) as store:
        return lookup_descriptions((sample.subject for sample in samples), request_builder, store)


def find_texts(experiment: Experiment, samples: Sequence[Sample]) -> dict[str, str]:
    """The texts of samples, by subject id; empty if there is no store yet."""
    return find_descriptions(experiment, samples).texts if experiment.store.exists() else {}


def save_scored(
    experiment: Experiment,
    scores: SplitScores,
    samples: Sequence[Sample],
    texts: Mapping[str, str],
    out: Path,
) -> None:
    """Saves a scored split in a run directory, with what a report shows of its people.

    Args:
        experiment: Where the people come from.
        scores: One row per sample.
        samples: The people.
        texts: Their descriptions by subject id.
        out: The run directory.
    """
    from mien.evaluate.analysis.groups import collect_attributes
    from mien.evaluate.evaluation import save_split
    from mien.evaluate.results.votes import count_votes

    records = list(experiment.dataset.records(scores.split))
    attributes = collect_attributes(records, experiment.dataset.card.attributes)
    save_split(out, scores, samples, texts, votes=count_votes(records), attributes=attributes)
