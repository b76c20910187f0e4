"""What a run of describing will take, told before it begins: subjects, tokens, time, money, disk.

Goes in: the subjects, how they are asked about, the store so far, what earlier runs took.
Comes out: estimates, from one pass over the subjects. No picture is decoded and no model asked.
Knows nothing about: terminals; whoever asks decides what to do with the answer.
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

from mien.describe.requests import Questioner
from mien.describe.store.status import outcomes
from mien.describe.store.store import Store
from mien.types import Failure, Subject

__all__ = ["SAMPLE", "Preflight", "Rates", "look_ahead"]

SAMPLE: Final = 500  # subjects that are looked up before a run; a share is then known to about 2 %
_CHARACTERS_A_TOKEN: Final = 4  # of English, for the tokenizers in use
_PATCH: Final = 14  # pixels of the side of what becomes one token, in CLIP's and SigLIP's large models
_IMAGE_TOKENS: Final = 1_000  # of a picture of any shape; models differ by some hundreds
_ROWS_READ: Final = 200  # descriptions whose length is taken for that of those to come
_ROW_OVERHEAD: Final = 400  # bytes a row besides its text, journal included


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """What turns counts into tokens, time and money: `price` is of a million tokens in and out."""

    image_size: int | None
    max_new_tokens: int
    per_second: float | None = None
    price: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Preflight:
    """Estimates for what is to do; `exact`: the count is none. None: not known before a first run."""

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
        """Whether the disk has room for what will be written."""
        return self.disk <= self.disk_free


def look_ahead(
    subjects: Iterable[Subject],
    *,
    questioner: Questioner,
    store: Store | None,
    path: Path,
    rates: Rates,
    retry_failed: bool = False,
    sample: int | None = SAMPLE,
) -> Preflight:
    """What describing these subjects into the store at `path` (None: it is not there yet) will take.

    At most `sample` subjects, chosen evenly, are looked up in the store, and all if that is None.
    """
    survey = _survey(subjects, questioner, store, retry_failed, sample)
    length = _mean_length(store)
    todo = round(survey.total * survey.num_open / max(1, survey.num_seen))
    answer = rates.max_new_tokens if length is None else max(1, round(length / _CHARACTERS_A_TOKEN))
    tokens_in, tokens_out = todo * _tokens_in(questioner, rates), todo * answer
    return Preflight(
        total=survey.total,
        open=todo,
        exact=survey.num_seen == survey.total,
        tokens_in=tokens_in,
        tokens_out=tokens_out,
        seconds=todo / rates.per_second if rates.per_second else None,
        cost=None if rates.price is None else _cost(rates.price, tokens_in, tokens_out),
        disk=todo * (_ROW_OVERHEAD + answer * _CHARACTERS_A_TOKEN),
        disk_free=shutil.disk_usage(_existing(path.absolute().parent)).free,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Survey:
    """Of how many subjects how many were looked up, and how many of those are open."""

    total: int
    num_seen: int
    num_open: int


def _survey(
    subjects: Iterable[Subject],
    questioner: Questioner,
    store: Store | None,
    retry_failed: bool,
    sample: int | None,
) -> _Survey:
    chosen, total = (subjects, None) if sample is None else _chosen(subjects, sample)
    seen = num_open = 0
    for _, outcome in outcomes(chosen, questioner=questioner, store=store):
        seen += 1
        num_open += outcome is False or (retry_failed and isinstance(outcome, Failure))
    return _Survey(total=seen if total is None else total, num_seen=seen, num_open=num_open)


def _chosen(subjects: Iterable[Subject], size: int) -> tuple[Iterable[Subject], int]:
    """So many of the subjects, each as likely as any other (Li's algorithm L), and how many there are."""
    remaining, passed = iter(subjects), count()
    # Numbers those that go by; of a large set nearly all do.
    stream = map(itemgetter(0), zip(remaining, passed, strict=False))
    chosen, weight, lots = list(islice(stream, size)), 1.0, random.Random(0)
    while len(chosen) == size:
        weight *= lots.random() ** (1 / size)
        skipped = int(math.log(lots.random()) / math.log1p(-weight))
        subject = next(islice(stream, skipped, None), None)
        if subject is None:
            break
        chosen[lots.randrange(size)] = subject
    return chosen, next(passed)


def _tokens_in(questioner: Questioner, rates: Rates) -> int:
    """Of one question: its text, and the picture."""
    picture = (rates.image_size // _PATCH) ** 2 if rates.image_size else _IMAGE_TOKENS
    return picture + len(questioner.wording) // _CHARACTERS_A_TOKEN


def _mean_length(store: Store | None) -> float | None:
    lengths = [len(item.text) for item in islice(store, _ROWS_READ)] if store is not None else []
    return sum(lengths) / len(lengths) if lengths else None


def _cost(price: tuple[float, float], tokens_in: int, tokens_out: int) -> float:
    return (price[0] * tokens_in + price[1] * tokens_out) / 1e6


def _existing(folder: Path) -> Path:
    """The folder itself, or the nearest above it that is there."""
    return next(place for place in (folder, *folder.parents) if place.exists())
