"""Finds what a describe run has to do, and estimates what it will take: tokens, time, cost, disk space.

No image is decoded and no engine is called.
"""

from __future__ import annotations

import math
import random
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain, count, islice
from operator import itemgetter
from pathlib import Path
from typing import Final

from mien.describe.progress import Progress, ProgressCounter
from mien.describe.requests import KEYED_AT_ONCE, RequestBuilder
from mien.describe.store.store import Store
from mien.errors import DataError
from mien.prefetch import batched, prefetch, thread_pool
from mien.startup import pause_collector
from mien.types import Subject

__all__ = ["Preflight", "Rates", "Survey", "estimate", "survey"]

_MAX_REMEMBERED: Final = 500  # open subjects, but for those of the group with the last one
_GROUP: Final = 500  # subjects that are looked up at once
_SAMPLE_SIZE: Final = 500  # of the others; a share is then known to about 2 %
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
        total: How many subjects there are.
        open: Subjects that will be described; extrapolated from a sample unless `exact`.
        exact: Whether every subject was looked up.
        tokens_in: Input tokens, images included.
        tokens_out: Output tokens.
        seconds: How many seconds describing takes; None if no earlier run tells the rate.
        cost: The cost, in the currency of the prices; None without prices.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """The subjects of a run, and what a store holds about them.

    Attributes:
        total: How many subjects there are.
        open: Subjects that will be described; extrapolated from a sample unless `exact`.
        exact: Whether every subject was looked up.
        described: Subjects that were looked up, have a description, and are not among the `remaining`.
        failed: The same of those that failed before and are not tried again.
        remaining: All other subjects, in order. To be read once.
    """

    total: int
    open: int
    exact: bool
    described: int
    failed: int
    remaining: Iterable[Subject]


def survey(
    subjects: Callable[[], Iterable[Subject]],
    request_builder: RequestBuilder,
    store: Store | None,
    *,
    retry_failed: bool = False,
    all_looked_up: bool = False,
    workers: int = 0,
    on_progress: Callable[[Progress], None] | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Survey:
    """Looks up subjects in order until many open ones are found, and a sample of the others.

    Making the subjects of a large dataset takes long. They are made once, unless many are open: in a second
    pass only those after the remembered ones are left.

    Args:
        subjects: Makes the subjects, the same ones on each call.
        request_builder: Determines the keys to look up.
        store: None if it does not exist yet.
        retry_failed: Whether subjects that failed before count as open.
        all_looked_up: Whether to look up all subjects, and to remember none of them.
        workers: Threads that read image files; 0 reads them in this thread.
        on_progress: Called after each group that was looked up, once some are described.
        stop: Once it returns true, the rest is neither looked up nor counted.
    """
    found = _Survey(request_builder, store, retry_failed=retry_failed)
    progress = ProgressCounter(None, on_progress)
    stream = iter(subjects())
    with thread_pool(workers) as pool:
        while len(found.remaining) < _MAX_REMEMBERED and not stop():
            if not found.look_up(islice(stream, _GROUP), pool):
                break
            if all_looked_up:
                found.remaining.clear()
            progress.skipped, progress.failed = found.described, found.failed
            if found.described:
                progress.report()
        sample, num_others = ([], 0) if stop() else _sample(stream, _SAMPLE_SIZE)
        others = _Survey(request_builder, store, retry_failed=retry_failed)
        others.look_up(sample, pool)
    return Survey(
        total=found.total + num_others,
        open=found.open + round(num_others * others.open / max(1, len(sample))),
        exact=num_others == len(sample),
        described=found.described,
        failed=found.failed,
        remaining=chain(found.remaining, _after(subjects, found.total) if num_others else ()),
    )


class _Survey:
    """Subjects that were looked up: how many there are, and those of them that remain."""

    def __init__(self, request_builder: RequestBuilder, store: Store | None, *, retry_failed: bool) -> None:
        self._request_builder, self._store, self._retry_failed = request_builder, store, retry_failed
        self.total = self.open = self.described = self.failed = 0
        self.remaining: list[Subject] = []

    def look_up(self, subjects: Iterable[Subject], pool: ThreadPoolExecutor | None) -> bool:
        """Looks up a group; whether there were any."""
        with pause_collector():  # it would visit all subjects of a group several times
            group = list(subjects)
            self._look_up(group, pool)
        return bool(group)

    def _look_up(self, subjects: Sequence[Subject], pool: ThreadPoolExecutor | None) -> None:
        parts = [subjects] if pool is None else batched(subjects, KEYED_AT_ONCE)
        found = prefetch(self._request_builder.keys, parts, pool=pool, window=len(subjects))
        keys = list(chain.from_iterable(found))
        looked_up = [key for key in keys if isinstance(key, str)]
        described = set() if self._store is None else self._store.described_keys(looked_up)
        self.total += len(subjects)
        if described.issuperset(keys):  # as mostly in a run that is resumed
            self.described += len(subjects)
            return
        self._look_up_failures(subjects, keys, described)

    def _look_up_failures(
        self, subjects: Sequence[Subject], keys: Sequence[str | DataError], described: set[str]
    ) -> None:
        rest = [(subject, key) for subject, key in zip(subjects, keys, strict=True) if key not in described]
        stored = [self._request_builder.stored_key(subject, key) for subject, key in rest]
        failures = [] if self._store is None else self._store.failures(stored)
        failed = set() if self._retry_failed else {failure.key for failure in failures}
        self.described += len(subjects) - len(rest)
        self.open += sum(key not in failed for key in stored)
        # Whether an image that could not be read can be read now is seen when it is described.
        self.remaining += [subject for subject, key in rest if key not in failed]
        self.failed += sum(key in failed for _, key in rest)


def _after(subjects: Callable[[], Iterable[Subject]], count: int) -> Iterator[Subject]:
    """The subjects after the first `count`, which are made when the first one is read."""
    yield from islice(subjects(), count, None)


def estimate(
    found: Survey, request_builder: RequestBuilder, store: Store | None, *, store_path: Path, rates: Rates
) -> Preflight:
    """Estimates what it takes to describe the open subjects.

    Args:
        found: What there is to describe.
        request_builder: Determines the prompt.
        store: None if it does not exist yet.
        store_path: Where the store is or will be.
        rates: Converts the number of subjects into tokens, time and cost.
    """
    length = _mean_length(store)
    reply_tokens = rates.max_new_tokens if length is None else max(1, round(length / _CHARACTERS_PER_TOKEN))
    tokens_in, tokens_out = found.open * _request_tokens(request_builder, rates), found.open * reply_tokens
    return Preflight(
        total=found.total,
        open=found.open,
        exact=found.exact,
        tokens_in=tokens_in,
        tokens_out=tokens_out,
        seconds=found.open / rates.per_second if rates.per_second else None,
        cost=None if rates.price is None else _cost(rates.price, tokens_in, tokens_out),
        disk=found.open * (_ROW_OVERHEAD + reply_tokens * _CHARACTERS_PER_TOKEN),
        disk_free=shutil.disk_usage(_nearest_existing(store_path.absolute().parent)).free,
    )


def _sample(subjects: Iterable[Subject], size: int) -> tuple[list[Subject], int]:
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
