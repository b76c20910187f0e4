"""Estimates what a describe run will take before it begins: subjects, tokens, time, cost, disk space.

One pass over the subjects is enough. No image is decoded and no engine is called.
"""

from __future__ import annotations

import math
import random
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import count, islice
from operator import itemgetter
from pathlib import Path
from typing import Final

from mien.describe.requests import RequestBuilder
from mien.describe.store.lookup import iterate_status
from mien.describe.store.store import Store
from mien.types import Failure, Subject

__all__ = ["SAMPLE_SIZE", "Preflight", "Rates", "estimate"]

SAMPLE_SIZE: Final = 500  # subjects that are looked up before a run; a share is then known to about 2 %
_CHARACTERS_PER_TOKEN: Final = 4  # of English text, with current tokenizers
_PATCH_SIZE: Final = 14  # side in pixels of the patch behind one token, in CLIP's and SigLIP's large models
_IMAGE_TOKENS: Final = 1_000  # for engines that take images of any shape; models differ by some hundreds
_ROWS_READ: Final = 200  # stored descriptions from which the length of new ones is estimated
_ROW_OVERHEAD: Final = 400  # bytes per row in addition to its text, with the write-ahead log


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """What turns a number of subjects into tokens, time and cost.

    Attributes:
        image_size: Side in pixels of the engine's square image; None if it takes images of any shape.
        max_new_tokens: The longest description, in tokens.
        per_second: Subjects described per second in an earlier run; None before the first run.
        price: Price of a million input tokens and of a million output tokens.
    """

    image_size: int | None
    max_new_tokens: int
    per_second: float | None = None
    price: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Preflight:
    """Estimates for a describe run.

    Attributes:
        total: Number of subjects.
        open: Subjects that will be described; extrapolated from a sample unless `exact`.
        exact: Whether every subject was looked up.
        tokens_in: Input tokens, images included.
        tokens_out: Output tokens.
        seconds: Duration; None if no earlier run tells the rate.
        cost: In the currency of the prices; None without prices.
        disk: Bytes to be written.
        disk_free: Bytes free on the disk of the store.
    """

    total: int
    open: int
    exact: bool
    tokens_in: int
    tokens_out: int
    seconds: float | None
    cost: float | None
    disk: int
    disk_free: int

    @property
    def fits(self) -> bool:
        """Whether the disk has enough free space."""
        return self.disk <= self.disk_free


def estimate(
    subjects: Iterable[Subject],
    request_builder: RequestBuilder,
    store: Store | None,
    *,
    store_path: Path,
    rates: Rates,
    retry_failed: bool = False,
    sample_size: int | None = SAMPLE_SIZE,
) -> Preflight:
    """Estimates what it takes to describe the subjects that a store lacks.

    Args:
        subjects: Read once.
        request_builder: Determines the keys to look up.
        store: None if it does not exist yet.
        store_path: Where the store is or will be.
        rates: Converts the number of subjects into tokens, time and cost.
        retry_failed: Whether subjects that failed before count as open.
        sample_size: How many subjects, chosen evenly, are looked up; None looks up all.
    """
    survey = _survey(subjects, request_builder, store, retry_failed, sample_size)
    num_open = round(survey.total * survey.num_open / max(1, survey.num_looked_up))
    length = _mean_length(store)
    reply_tokens = rates.max_new_tokens if length is None else max(1, round(length / _CHARACTERS_PER_TOKEN))
    tokens_in, tokens_out = num_open * _request_tokens(request_builder, rates), num_open * reply_tokens
    return Preflight(
        total=survey.total,
        open=num_open,
        exact=survey.num_looked_up == survey.total,
        tokens_in=tokens_in,
        tokens_out=tokens_out,
        seconds=num_open / rates.per_second if rates.per_second else None,
        cost=None if rates.price is None else _cost(rates.price, tokens_in, tokens_out),
        disk=num_open * (_ROW_OVERHEAD + reply_tokens * _CHARACTERS_PER_TOKEN),
        disk_free=shutil.disk_usage(_nearest_existing(store_path.absolute().parent)).free,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Survey:
    """How many subjects there are, how many were looked up, and how many of those are open."""

    total: int
    num_looked_up: int
    num_open: int


def _survey(
    subjects: Iterable[Subject],
    request_builder: RequestBuilder,
    store: Store | None,
    retry_failed: bool,
    sample_size: int | None,
) -> _Survey:
    chosen, total = (subjects, None) if sample_size is None else _sample(subjects, sample_size)
    num_looked_up = num_open = 0
    for _, status in iterate_status(chosen, request_builder, store):
        num_looked_up += 1
        num_open += status is not True and (retry_failed or not isinstance(status, Failure))
    return _Survey(
        total=num_looked_up if total is None else total, num_looked_up=num_looked_up, num_open=num_open
    )


def _sample(subjects: Iterable[Subject], size: int) -> tuple[Iterable[Subject], int]:
    """A uniform sample of the subjects (reservoir sampling by Li's algorithm L), and how many there are."""
    remaining, counter = iter(subjects), count()
    # Counts the subjects that are skipped, which are nearly all of a large dataset.
    stream = map(itemgetter(0), zip(remaining, counter, strict=False))
    chosen, weight, rng = list(islice(stream, size)), 1.0, random.Random(0)
    while len(chosen) == size:
        weight *= rng.random() ** (1 / size)
        num_skipped = int(math.log(rng.random()) / math.log1p(-weight))
        subject = next(islice(stream, num_skipped, None), None)
        if subject is None:
            break
        chosen[rng.randrange(size)] = subject
    return chosen, next(counter)


def _request_tokens(request_builder: RequestBuilder, rates: Rates) -> int:
    """Tokens of one request: its image and its prompt."""
    image = (rates.image_size // _PATCH_SIZE) ** 2 if rates.image_size else _IMAGE_TOKENS
    return image + len(request_builder.prompt_text) // _CHARACTERS_PER_TOKEN


def _mean_length(store: Store | None) -> float | None:
    lengths = [len(item.text) for item in islice(store, _ROWS_READ)] if store is not None else []
    return sum(lengths) / len(lengths) if lengths else None


def _cost(price: tuple[float, float], tokens_in: int, tokens_out: int) -> float:
    return (price[0] * tokens_in + price[1] * tokens_out) / 1e6


def _nearest_existing(folder: Path) -> Path:
    """The folder, or its nearest parent that exists."""
    return next(path for path in (folder, *folder.parents) if path.exists())
