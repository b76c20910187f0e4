"""Builds splits for training and evaluation from samples and descriptions.

The encoder and the tokenizer are loaded once, when they are first needed. The encoder is not loaded if the
cache has every feature. Several trainings can share one builder.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Final

from mien.batches.batch import ImageInputs, SplitData, TextInputs, build_split, require_samples
from mien.errors import DataError
from mien.features.cache import FeatureReader
from mien.features.encode import EncodeProgress, FeatureCache, common_num_frames
from mien.features.image_reader import ImageReader
from mien.features.text import TextTokenizer, load_tokenizer
from mien.features.vision_encoder import VisionEncoderSpec
from mien.labels import LabelSet
from mien.media.images import Marking
from mien.model.encoder import resolve_vision_encoder, trains_encoder
from mien.recipe import FeatureOptions, Recipe
from mien.types import Description, Sample, Subject

__all__ = ["InputBuilder", "match_descriptions", "view_markings"]

log = logging.getLogger(__name__)

_AUGMENTED: Final = "train"  # the only split whose images vary

Descriptions = Mapping[str, Description | str]


class InputBuilder:
    """Builds the splits of one dataset. Features in the cache are not computed again.

    Args:
        options: The recipe's `[features]`.
        marking: How the subject is marked in the view "marked".
        cache: The folder of cached features.
        device: Where the encoder runs.
        batch_size: Images per forward pass of the encoder.
        workers: Threads that read images.
        allow_missing_descriptions: Whether a subject may lack a description.
        trains_encoder: Whether the encoder is trained: splits then have images, and no features are made.
    """

    def __init__(
        self,
        options: FeatureOptions,
        *,
        marking: Marking,
        cache: Path,
        device: str = "cpu",
        batch_size: int = 8,
        workers: int = 0,
        allow_missing_descriptions: bool = False,
        trains_encoder: bool = False,
    ) -> None:
        self.options = options
        self.marking = marking
        self.cache = cache
        self.device = device
        self.batch_size = batch_size
        self.workers = workers
        self.allow_missing_descriptions = allow_missing_descriptions
        self.trains_encoder = trains_encoder

    @classmethod
    def from_recipe(cls, recipe: Recipe, cache: Path) -> "InputBuilder":
        """A builder with a recipe's encoder, tokenizer, marking, and speed settings of `[run]`."""
        return cls(
            recipe.features,
            marking=Marking(style=recipe.feature_marking),
            cache=cache,
            device=recipe.run.device,
            batch_size=recipe.run.fixed_batch_size,
            workers=recipe.run.workers,
            allow_missing_descriptions=recipe.train.missing_descriptions == "image_only",
            trains_encoder=trains_encoder(recipe),
        )

    @cached_property
    def vision_encoder(self) -> VisionEncoderSpec:
        """The encoder of `[features]`."""
        return resolve_vision_encoder(self.options, self.device)

    @cached_property
    def tokenizer(self) -> TextTokenizer:
        """The tokenizer of `[features]`."""
        options = self.options
        return load_tokenizer(options.tokenizer, options.max_text_tokens, options.truncate)

    def build_split(
        self,
        split: str,
        samples: Sequence[Sample],
        label_set: LabelSet,
        *,
        image: bool = True,
        descriptions: Descriptions | None = None,
        on_progress: Callable[[EncodeProgress], None] | None = None,
    ) -> SplitData:
        """Builds a split, encoding images that the cache lacks.

        Args:
            split: The name of the split. Images of "train" vary, if the recipe augments them.
            samples: Its samples, in order.
            label_set: The labels.
            image: Whether to include images.
            descriptions: Descriptions by subject id; None for a split without text.
            on_progress: Called after each batch of encoded images.

        Raises:
            DataError: If an image cannot be read, or a description is missing and must not be.
        """
        require_samples(split, samples)
        subjects = [sample.subject for sample in samples]
        # Texts first: a missing one is found at once, not after hours of encoding.
        texts = None
        if descriptions is not None:
            found = match_descriptions(
                split, subjects, descriptions, allow_missing=self.allow_missing_descriptions
            )
            texts = TextInputs.encode(found, self.tokenizer, label_set.labels)
        images = self._images(split, subjects, on_progress) if image else None
        return build_split(split, samples, label_set, images=images, texts=texts)

    def _images(
        self, split: str, subjects: Sequence[Subject], on_progress: Callable[[EncodeProgress], None] | None
    ) -> ImageInputs:
        markings = view_markings(self.options, self.marking)
        num_frames, num_views = common_num_frames(subjects), len(markings)
        reader: FeatureReader | ImageReader
        if self.trains_encoder:
            num_tokens, dim = self.vision_encoder.shape
            reader = ImageReader(
                subjects,
                markings,
                self.vision_encoder.square,
                signature=self.vision_encoder.signature,
                num_tokens=num_frames * num_views * num_tokens,
                dim=dim,
                augment=self.options.augment if split == _AUGMENTED else (),
                workers=self.workers,
            )
        else:
            reader = self.feature_cache.features(
                split,
                subjects,
                markings,
                on_progress,
                augment=self.options.augment,
                num_variants=self._num_variants(split),
            )
        return ImageInputs(reader, self.vision_encoder.signature, num_frames=num_frames, num_views=num_views)

    @property
    def feature_cache(self) -> FeatureCache:
        """The cache of the encoder's features."""
        return FeatureCache(
            folder=self.cache, spec=self.vision_encoder, batch_size=self.batch_size, workers=self.workers
        )

    def missing_features(self, split: str, subjects: Sequence[Subject]) -> tuple[int, int]:
        """(missing, total): how many views of a split the cache lacks; (0, 0) for a trained encoder."""
        if self.trains_encoder:
            return 0, 0
        return self.feature_cache.missing(
            split,
            subjects,
            view_markings(self.options, self.marking),
            augment=self.options.augment,
            num_variants=self._num_variants(split),
        )

    def _num_variants(self, split: str) -> int:
        return self.options.augment_views if self.options.augment and split == _AUGMENTED else 1


def view_markings(options: FeatureOptions, marking: Marking) -> tuple[Marking, ...]:
    """How the subject is marked in each of `features.views`; `marking` is that of the view "marked"."""
    return tuple(marking if view == "marked" else Marking(style=view) for view in options.views)


def match_descriptions(
    split: str, subjects: Sequence[Subject], descriptions: Descriptions, *, allow_missing: bool = False
) -> list[str | None]:
    """The text of each subject, in order; None for a missing one if `allow_missing`.

    Raises:
        DataError: If descriptions are missing and must not be; it says how many.
    """
    missing = [subject.id for subject in subjects if subject.id not in descriptions]
    if missing:
        message = (
            f"{len(missing)} of {len(subjects)} subjects of split {split!r} have no description, "
            f"such as {missing[0]!r}"
        )
        if not allow_missing:
            raise DataError(
                message,
                hint="make them with: mien describe RECIPE; set run.store if they are in another file; "
                "or set train.missing_descriptions=image_only",
            )
        log.warning("%s; they are judged by the image alone", message)
    found = [descriptions.get(subject.id) for subject in subjects]
    return [text.text if isinstance(text, Description) else text for text in found]
