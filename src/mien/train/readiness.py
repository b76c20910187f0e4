"""Which inputs of a training exist, which are missing, and the shapes that the model will read.

Reads images to find out whether their features exist; encodes none.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from mien.batches.batch import TextInputs
from mien.batches.builder import Descriptions, InputBuilder
from mien.errors import WeightsError
from mien.features.cache import FeatureFile
from mien.features.encode import common_num_frames
from mien.labels import LabelSet
from mien.model.build import InputSpec
from mien.model.label_names import LabelTokens
from mien.train.plan import PlanInputs, SplitInputs
from mien.types import Sample, Subject

__all__ = ["check_inputs"]

# Assumed for an encoder or tokenizer that is not available: CLIP ViT-L/14 at 224 pixels, and BERT.
_TOKENS: Final = 257
_DIM: Final = 1024
_VOCABULARY: Final = 30522
_FEATURE_BYTES: Final = 2  # per number


def check_inputs(
    builder: InputBuilder,
    samples: Mapping[str, Sequence[Sample]],
    label_set: LabelSet,
    *,
    image: bool,
    descriptions: Mapping[str, Descriptions] | None,
) -> PlanInputs:
    """Check which inputs of a training exist.

    Args:
        builder: Builds the inputs of the training.
        samples: The samples by split; the first split is the one to train on.
        label_set: The labels of the dataset.
        image: Whether the fusion uses the image.
        descriptions: The existing descriptions by split; None if the fusion does not use them.
    """
    notes: list[str] = []
    train_split, train_samples = next(iter(samples.items()))
    subjects = [sample.subject for sample in train_samples]
    tokens, dim = _image_shape(builder, train_split, subjects, notes) if image else (0, None)
    text_tokens, vocabulary = 0, None
    label_tokens: LabelTokens = ()
    if descriptions is not None:
        texts = list(descriptions[train_split].values())
        text_tokens, vocabulary, label_tokens = _text_shape(builder, texts, label_set, notes)
    num_views = len(builder.options.views)
    spec = InputSpec(
        label_set=label_set,
        image_dim=dim,
        vocab_size=vocabulary,
        label_tokens=label_tokens,
        num_frames=common_num_frames(subjects),
        num_views=num_views,
        dimensions=any(sample.target and sample.target.dimensions for sample in train_samples),
    )
    splits = tuple(
        _count_inputs(
            builder, split, [sample.subject for sample in found], image=image, descriptions=descriptions
        )
        for split, found in samples.items()
    )
    notes += _notes_on_missing(
        splits, builder.allow_missing_descriptions, _FEATURE_BYTES * tokens * (dim or 0)
    )
    if image and builder.trains_encoder:
        notes.append("the encoder is trained, so every epoch reads the images again; that takes time, too")
    return PlanInputs(
        spec=spec,
        num_samples=len(train_samples),
        image_tokens=tokens * num_views,
        text_tokens=text_tokens,
        splits=splits,
        notes=tuple(notes),
    )


def _count_inputs(
    builder: InputBuilder,
    split: str,
    subjects: Sequence[Subject],
    *,
    image: bool,
    descriptions: Mapping[str, Descriptions] | None,
) -> SplitInputs:
    features = wanted = described = None
    if image and not builder.trains_encoder:
        try:
            missing, wanted = builder.missing_features(split, subjects)
            features = wanted - missing
        except WeightsError:
            features, wanted = 0, len(subjects)  # without the encoder, its features cannot be recognized
    if descriptions is not None:
        described = sum(subject.id in descriptions[split] for subject in subjects)
    return SplitInputs(
        split=split,
        samples=len(subjects),
        features=features,
        features_wanted=wanted,
        descriptions=described,
    )


def _notes_on_missing(splits: Sequence[SplitInputs], may_lack: bool, bytes_per_image: int) -> list[str]:
    notes = []
    lacking = sum(one.samples - one.descriptions for one in splits if one.descriptions is not None)
    if lacking:
        then = "the image alone is used" if may_lack else "create them with: mien describe RECIPE"
        notes.append(f"{lacking} subjects have no description: {then}")
    images = sum((one.features_wanted or 0) - (one.features or 0) for one in splits)
    if images:
        size = f"{images * bytes_per_image / 2**30:,.2f} GiB on disk"
        notes.append(f"{images} images must be encoded first ({size}), which the time does not include")
    return notes


def _image_shape(
    builder: InputBuilder, split: str, subjects: Sequence[Subject], notes: list[str]
) -> tuple[int, int]:
    """(tokens, dim) of one view of a subject: of its features if they exist, else of the encoder."""
    try:
        source = builder.vision_encoder
        shape = FeatureFile.open(
            builder.feature_cache.path(split, common_num_frames(subjects)), signature=source.signature
        ).shape
        if shape is None:
            shape = common_num_frames(subjects) * source.shape[0], source.shape[1]
    except WeightsError as error:
        notes.append(f"{error}; assuming {_TOKENS} tokens of {_DIM} numbers, as in CLIP ViT-L/14")
        shape = common_num_frames(subjects) * _TOKENS, _DIM
    return shape


def _text_shape(
    builder: InputBuilder, found: Sequence[object], label_set: LabelSet, notes: list[str]
) -> tuple[int, int, LabelTokens]:
    """Tokens of the longest description (the limit if there is none), vocabulary size, tokens of labels."""
    limit = builder.options.max_text_tokens
    try:
        tokenizer = builder.tokenizer
    except WeightsError as error:
        notes.append(f"{error}; assuming a vocabulary of {_VOCABULARY}, as in BERT")
        return limit, _VOCABULARY, [[[0]]] * len(label_set)
    texts = [text if isinstance(text, str) else getattr(text, "text", "") for text in found]
    longest = int(TextInputs.encode(texts, tokenizer).lengths.max()) if texts else limit
    return longest, tokenizer.vocab_size, tuple(map(tokenizer.name_tokens, label_set.labels))
