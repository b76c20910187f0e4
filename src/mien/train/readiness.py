"""What a training finds there already, and the sizes of what it will read.

Goes in: the samples of each split, their descriptions, an `InputBuilder`. Comes out: counts and sizes.
Knows nothing about: models, training. It reads pictures to tell whether their features are there; it
encodes none.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from mien.batches.batch import Texts
from mien.batches.builder import Descriptions, InputBuilder
from mien.errors import WeightsError
from mien.features.cache import FeatureFile
from mien.features.encode import num_frames_of
from mien.labels import LabelSet
from mien.model.build import InputSpec
from mien.train.plan import Stock
from mien.types import Sample, Subject

__all__ = ["Found", "take_stock"]

# CLIP ViT-L/14 at 224 pixels, and BERT: what is assumed of an encoder or tokenizer that is not here.
_TOKENS: Final = 257
_DIM: Final = 1024
_VOCABULARY: Final = 30522
_BYTES: Final = 2  # of a number of a feature


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What `plan` wants to know of the data."""

    sizes: InputSpec
    num_samples: int
    image_tokens: int
    text_tokens: int
    stock: tuple[Stock, ...]
    notes: tuple[str, ...]


def take_stock(
    builder: InputBuilder,
    samples: Mapping[str, Sequence[Sample]],
    label_set: LabelSet,
    *,
    image: bool,
    descriptions: Mapping[str, Descriptions] | None,
) -> Found:
    """The first of the splits is the one that is learned from. `descriptions` by split, None if not used."""
    notes: list[str] = []
    first, learned_from = next(iter(samples.items()))
    subjects = [sample.subject for sample in learned_from]
    tokens, dim = _image_shape(builder, first, subjects, notes) if image else (0, None)
    texts, vocabulary = 0, None
    if descriptions is not None:
        texts, vocabulary = _text_shape(builder, list(descriptions[first].values()), notes)
    views = len(builder.options.views)
    sizes = InputSpec(
        label_set=label_set,
        image_dim=dim,
        vocab_size=vocabulary,
        num_frames=num_frames_of(subjects),
        num_views=views,
        dimensions=any(sample.target and sample.target.dimensions for sample in learned_from),
    )
    stock = [
        _stock(builder, split, [sample.subject for sample in found], image=image, descriptions=descriptions)
        for split, found in samples.items()
    ]
    notes += _what_is_missing(stock, builder.may_lack_descriptions, _BYTES * tokens * (dim or 0))
    if image and builder.live:
        notes.append(
            "the encoder learns along: pictures are opened anew in every epoch, which takes time, too"
        )
    return Found(
        sizes=sizes,
        num_samples=len(learned_from),
        image_tokens=tokens * views,
        text_tokens=texts,
        stock=tuple(stock),
        notes=tuple(notes),
    )


def _stock(
    builder: InputBuilder,
    split: str,
    subjects: Sequence[Subject],
    *,
    image: bool,
    descriptions: Mapping[str, Descriptions] | None,
) -> Stock:
    have = wanted = described = None
    if image and not builder.live:
        try:
            missing, wanted = builder.missing_features(split, subjects)
            have = wanted - missing
        except WeightsError:
            have, wanted = 0, len(subjects)  # whose features they would be, nobody knows
    if descriptions is not None:
        described = sum(subject.id in descriptions[split] for subject in subjects)
    return Stock(
        split=split, samples=len(subjects), features=have, features_wanted=wanted, descriptions=described
    )


def _what_is_missing(stock: Sequence[Stock], may_lack: bool, bytes_each: int) -> list[str]:
    notes = []
    lacking = sum(one.samples - one.descriptions for one in stock if one.descriptions is not None)
    if lacking:
        then = "they are judged by the image alone" if may_lack else "make them with: mien describe RECIPE"
        notes.append(f"{lacking} subjects have no description: {then}")
    pictures = sum((one.features_wanted or 0) - (one.features or 0) for one in stock)
    if pictures:
        size = f"{pictures * bytes_each / 2**30:,.2f} GiB on disk"
        notes.append(f"{pictures} pictures are to be encoded first ({size}), which is not in the time below")
    return notes


def _image_shape(
    builder: InputBuilder, split: str, subjects: Sequence[Subject], notes: list[str]
) -> tuple[int, int]:
    """(tokens, dim) of one view of a subject: of its features if there are some, else of the encoder."""
    try:
        source = builder.vision
        shape = FeatureFile.open(
            builder.features.path(split, num_frames_of(subjects)), signature=source.signature
        ).shape
        if shape is None:
            shape = num_frames_of(subjects) * source.shape[0], source.shape[1]
    except WeightsError as error:
        notes.append(f"{error}; assumed: {_TOKENS} tokens of {_DIM} numbers, as of CLIP ViT-L/14")
        shape = num_frames_of(subjects) * _TOKENS, _DIM
    return shape


def _text_shape(builder: InputBuilder, found: Sequence[object], notes: list[str]) -> tuple[int, int]:
    """The longest text's tokens, and the size of the vocabulary; as long as may be where there is no text."""
    limit = builder.options.max_text_tokens
    try:
        tokenizer = builder.tokenizer
    except WeightsError as error:
        notes.append(f"{error}; assumed: {_VOCABULARY} words, as of BERT")
        return limit, _VOCABULARY
    texts = [text if isinstance(text, str) else getattr(text, "text", "") for text in found]
    longest = int(Texts.of(texts, tokenizer).lengths.max()) if texts else limit
    return longest, tokenizer.vocab_size
