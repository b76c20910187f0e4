"""Samples and descriptions to what a model is trained on; several trainings share one of these.

Goes in: samples, their descriptions by subject id, a folder for the cache. Comes out: `SplitData`.
Knows nothing about: models, losses, how descriptions came to be.

The encoder and the tokenizer are loaded when they are first needed, and once; the encoder not at all
where the cache has every picture.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from mien.batches.batch import Images, SplitData, Texts, make_split, require_samples
from mien.errors import DataError
from mien.features.cache import FeatureReader
from mien.features.encode import EncodeProgress, FeatureCache, num_frames_of
from mien.features.image_reader import PictureReader
from mien.features.text import TextTokenizer, load_tokenizer
from mien.features.vision import VisionSource
from mien.labels import LabelSet
from mien.media.images import Marking
from mien.model.encoder import learns_pictures, vision_of
from mien.recipe import FeatureOptions, Recipe
from mien.types import Description, Sample, Subject

__all__ = ["InputBuilder", "descriptions_of", "view_markings"]

log = logging.getLogger(__name__)

_VARIED: Final = "train"  # whose pictures vary; those of other splits are seen as they are

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
        may_lack_descriptions: bool = False,
        live: bool = False,
    ) -> None:
        self.options = options
        self.marking = marking
        self.cache = cache
        self.device = device
        self.batch_size = batch_size
        self.workers = workers
        self.may_lack_descriptions = may_lack_descriptions
        self.live = live  # the encoder learns: pictures are handed on, and no features are made

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
            may_lack_descriptions=recipe.train.missing_descriptions == "image_only",
            live=learns_pictures(recipe),
        )

    @cached_property
    def vision(self) -> VisionSource:
        """The encoder that `[features]` names; built only if a picture is not in the cache."""
        return vision_of(self.options, self.device)

    @cached_property
    def tokenizer(self) -> TextTokenizer:
        """The tokenizer that `[features]` names."""
        options = self.options
        return load_tokenizer(options.tokenizer, options.max_text_tokens, options.truncate)

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

        Raises DataError if a picture cannot be read, or a description is missing and must not be.
        """
        require_samples(split, samples)
        subjects = [sample.subject for sample in samples]
        # Texts first: a missing one is found in no time, before hours of encoding.
        texts = None
        if descriptions is not None:
            found = descriptions_of(split, subjects, descriptions, may_lack=self.may_lack_descriptions)
            texts = Texts.of(found, self.tokenizer)
        images = self._images(split, subjects, on_progress) if image else None
        return make_split(split, samples, label_set, images=images, texts=texts)

    def _images(
        self, split: str, subjects: Sequence[Subject], on_progress: Callable[[EncodeProgress], None] | None
    ) -> Images:
        markings = view_markings(self.options, self.marking)
        frames, views = num_frames_of(subjects), len(markings)
        reader: FeatureReader | PictureReader
        if self.live:
            num_tokens, dim = self.vision.shape
            reader = PictureReader(
                subjects,
                markings,
                self.vision.fit,
                signature=self.vision.signature,
                num_tokens=frames * views * num_tokens,
                dim=dim,
                augment=self.options.augment if split == _VARIED else (),
                workers=self.workers,
            )
        else:
            reader = self.features.features(split, subjects, markings, on_progress, **self._varied(split))
        return Images(reader, self.vision.signature, num_frames=frames, num_views=views)

    @property
    def features(self) -> FeatureCache:
        """Where features are kept and, where they are missing, made."""
        return FeatureCache(
            folder=self.cache, source=self.vision, batch_size=self.batch_size, workers=self.workers
        )

    def missing_features(self, split: str, subjects: Sequence[Subject]) -> tuple[int, int]:
        """How many pictures of a split would have to be encoded, of how many; none where encoders learn."""
        if self.live:
            return 0, 0
        markings = view_markings(self.options, self.marking)
        return self.features.missing(split, subjects, markings, **self._varied(split))

    def _varied(self, split: str) -> dict[str, Any]:
        """How often and how the pictures of a split vary."""
        varied = bool(self.options.augment) and split == _VARIED
        return {
            "augment": self.options.augment,
            "num_variants": self.options.augment_views if varied else 1,
        }


def view_markings(options: FeatureOptions, marking: Marking) -> tuple[Marking, ...]:
    """How the subject is marked in each view; `marking` is that of the whole picture."""
    return tuple(marking if view == "marked" else Marking(style=view) for view in options.views)


def descriptions_of(
    split: str, subjects: Sequence[Subject], descriptions: Descriptions, *, may_lack: bool = False
) -> list[str | None]:
    """The text of each subject, in order.

    Where some have none: DataError with their number, or, if they `may_lack` one, None in its place.
    """
    missing = [subject.id for subject in subjects if subject.id not in descriptions]
    if missing:
        message = (
            f"{len(missing)} of {len(subjects)} subjects of split {split!r} have no description, "
            f"such as {missing[0]!r}"
        )
        if not may_lack:
            raise DataError(
                message,
                hint="make them with: mien describe RECIPE; run.store names their file, if elsewhere; "
                "or set train.missing_descriptions=image_only",
            )
        log.warning("%s; they are judged by the image alone", message)
    found = [descriptions.get(subject.id) for subject in subjects]
    return [text.text if isinstance(text, Description) else text for text in found]
