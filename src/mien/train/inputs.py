"""Samples and descriptions to what a model is trained on; several trainings share one of these.

Goes in: samples, their descriptions by subject id, a folder for the cache. Comes out: `SplitData`.
Knows nothing about: models, losses, how descriptions came to be.

The encoder and the tokenizer are loaded when they are first needed, and once; the encoder not at all
where the cache has every picture.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path

from mien.errors import DataError
from mien.features.encode import EncodeProgress, FeatureCache
from mien.features.text import TextTokenizer, load_tokenizer
from mien.features.vision import VisionSource, find_vision
from mien.images import Marking
from mien.labels import LabelSet
from mien.recipe import FeatureOptions, Recipe
from mien.train.batch import Images, SplitData, Texts, make_split, require_samples
from mien.types import Description, Sample, Subject

__all__ = ["InputBuilder", "descriptions_of"]

Descriptions = Mapping[str, Description | str]


class InputBuilder:
    """Makes the splits of one data set; features that are in the cache are not made again."""

    def __init__(
        self,
        options: FeatureOptions,
        *,
        marking: Marking,
        cache: Path,
        device: str = "cpu",
        batch_size: int = 8,
        workers: int = 0,
    ) -> None:
        self.options = options
        self.marking = marking
        self.cache = cache
        self.device = device
        self.batch_size = batch_size
        self.workers = workers

    @classmethod
    def from_recipe(cls, recipe: Recipe, cache: Path) -> "InputBuilder":
        """As a recipe says: encoder, tokenizer, marking, and the speed that `[run]` allows."""
        return cls(
            recipe.features,
            marking=Marking(style=recipe.feature_marking),
            cache=cache,
            device=recipe.run.device,
            batch_size=recipe.run.batch_size,
            workers=recipe.run.workers,
        )

    @cached_property
    def vision(self) -> VisionSource:
        """The frozen encoder that `[features]` names; built only if a picture is not in the cache."""
        options = self.options
        return find_vision(options.vision, layer=options.layer, fit=options.fit, device=self.device)

    @cached_property
    def tokenizer(self) -> TextTokenizer:
        """The tokenizer that `[features]` names."""
        return load_tokenizer(self.options.tokenizer, self.options.max_text_tokens)

    def split(
        self,
        split: str,
        samples: Sequence[Sample],
        label_set: LabelSet,
        *,
        image: bool = True,
        descriptions: Descriptions | None = None,
        on_progress: Callable[[EncodeProgress], None] | None = None,
    ) -> SplitData:
        """A split with image features if `image`, and with texts if there are `descriptions`.

        Raises DataError if a description is missing or a picture cannot be read.
        """
        require_samples(split, samples)
        subjects = [sample.subject for sample in samples]
        # Texts first: a missing one is found in no time, before hours of encoding.
        texts = None
        if descriptions is not None:
            texts = Texts.of(descriptions_of(split, subjects, descriptions), self.tokenizer)
        images = self._images(split, subjects, on_progress) if image else None
        return make_split(split, samples, label_set, images=images, texts=texts)

    def _images(
        self, split: str, subjects: Sequence[Subject], on_progress: Callable[[EncodeProgress], None] | None
    ) -> Images:
        cache = FeatureCache(
            folder=self.cache, source=self.vision, batch_size=self.batch_size, workers=self.workers
        )
        return Images(cache.features(split, subjects, self.marking, on_progress), self.vision.signature)


def descriptions_of(split: str, subjects: Sequence[Subject], descriptions: Descriptions) -> list[str]:
    """The text of each subject, in order; DataError with their number if some have none."""
    missing = [subject.id for subject in subjects if subject.id not in descriptions]
    if missing:
        raise DataError(
            f"{len(missing)} of {len(subjects)} subjects of split {split!r} have no description, "
            f"such as {missing[0]!r}",
            hint="make them with: mien describe RECIPE",
        )
    found = [descriptions[subject.id] for subject in subjects]
    return [text if isinstance(text, str) else text.text for text in found]
