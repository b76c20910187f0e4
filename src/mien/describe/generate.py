"""Describes subjects: each once, in batches, with every description on disk before the next batch begins.

Memory does not grow with the number of subjects. A run that is killed at any point and started again
continues with the subjects that the store lacks.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from itertools import chain, islice, takewhile
from typing import Final

from mien.describe.engine import MAX_BATCH_SIZE, AbandonedError, Engine, Reply, Request
from mien.describe.progress import DescribeSummary, Progress, ProgressCounter
from mien.describe.requests import KEYED_AT_ONCE, DescriptionRequest, RequestBuilder
from mien.describe.retry import Outcome, describe_with_retries
from mien.describe.store.store import Store
from mien.errors import DataError, EngineError, MienError
from mien.media.memory import Reservation
from mien.media.views import OpenedPhoto
from mien.prefetch import batched, groups_in_memory, prefetch, runs, thread_pool
from mien.recipe.run import DEFAULT_BATCH_SIZE
from mien.types import Description, Failure, Subject

__all__ = ["describe"]

_log = logging.getLogger(__name__)

_STOP_INTERVAL: Final = 0.1  # seconds between two looks at `stop`
_MAX_GROUP_BYTES: Final = 330_000_000  # one image of 80 megapixels
# The fewest subjects that are looked up in the store at once.
_MIN_LOOKUP: Final = 64
# So many consecutive items that each made the engine fail are not bad items: the engine is broken.
_BROKEN_AFTER: Final = 16
# Fewer are enough if the engine has not worked for any item of the run.
_BROKEN_FROM_START: Final = 4


def describe(
    subjects: Iterable[Subject],
    request_builder: RequestBuilder,
    store: Store,
    *,
    batch_size: int | None = DEFAULT_BATCH_SIZE,
    workers: int = 0,
    max_attempts: int = 3,
    retry_failed: bool = False,
    total: int | None = None,
    skipped: int = 0,
    failed: int = 0,
    on_progress: Callable[[Progress], None] | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> DescribeSummary:
    """Describes every subject that the store lacks, and writes the descriptions after each batch.

    A subject that fails is stored as a Failure and skipped by later runs.

    Args:
        subjects: Read once, a bounded number ahead of the engine.
        request_builder: Determines the prompts and keys, and holds the engine.
        store: Open for writing.
        batch_size: Requests per call of the engine; None if it may choose.
        workers: Threads that prepare images ahead of the engine; 0 prepares them in this thread.
        max_attempts: How often an item is tried if its error is retryable.
        retry_failed: Whether subjects that failed in an earlier run are tried again.
        total: The number of subjects if it is known, for `on_progress`.
        skipped: Subjects that are described and not among `subjects`, for the counts.
        failed: The same of those that failed before.
        on_progress: Called after each batch.
        stop: Once it returns true, batches in flight are finished and written, and no other is begun.

    Raises:
        EngineError: The engine fails for every subject. Nothing is stored as failed because of it.
    """
    engine = request_builder.engine
    progress = ProgressCounter(total, on_progress, skipped=skipped, failed=failed)
    run = _DescribeRun(request_builder, store, progress, max_attempts=max_attempts, retry_failed=retry_failed)
    # Some engines take several calls at once. Only this thread writes.
    num_calls = engine.calls_at_once
    most = batch_size or MAX_BATCH_SIZE
    with (
        _passing_on(stop, engine),
        thread_pool(workers) as pool,
        thread_pool(num_calls if num_calls > 1 else 0) as callers,
    ):
        remaining = takewhile(lambda _: not stop(), subjects)
        requests = run.open_requests(remaining, chunk=max(_MIN_LOOKUP, 4 * most), pool=pool)
        # Those in preparation, being sorted, in calls, and in the batches before and after a call.
        num_held = (num_calls + 7) * most
        for group in groups_in_memory(requests, request_builder.num_bytes, num_held, _MAX_GROUP_BYTES):
            of_one_photo = runs(group, lambda request: request.subject.images, max_length=most)
            prepared: Iterator[_Prepared] = chain.from_iterable(
                prefetch(run.prepare, of_one_photo, pool=pool, window=2 * most, weight=len)
            )
            if engine.image_size is None:
                prepared = _sort_by_size(prepared, lambda: 2 * run.batch_size)
            # After a stop no batch is begun, but calls in flight are awaited: they may have cost money.
            batches = takewhile(lambda _: not stop(), run.batches(prepared, batch_size))
            for batch, outcomes in prefetch(run.call_engine, batches, pool=callers, window=num_calls):
                run.write_outcomes(batch, outcomes)
                del batch, outcomes  # their images, before those of the next group are decoded
            if stop():
                break
    if not stop():
        run.finish()
    return progress.summary(run.batch_size)


@contextmanager
def _passing_on(stop: Callable[[], bool], engine: Engine) -> Iterator[None]:
    """Tells the engine when `stop` begins to return true, because it may be in the middle of a pause."""
    done = threading.Event()

    def watch() -> None:
        while not done.wait(_STOP_INTERVAL):
            if stop():
                engine.stop()
                return

    thread = threading.Thread(target=watch, name="stop", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


# A subject with its key, or with the reason why it has none.
_Keyed = tuple[Subject, str | DataError]
# A request with its prepared form, or with the reason why it has none.
_Prepared = tuple[DescriptionRequest, Request | DataError]


def _sort_by_size(prepared: Iterable[_Prepared], window: Callable[[], int]) -> Iterator[_Prepared]:
    """Brings requests of similar size together within a window, because a batch is padded to its longest.

    A model that takes images of any shape makes more tokens of larger ones.
    """
    remaining = iter(prepared)
    while group := list(islice(remaining, window())):
        yield from sorted(group, key=_size)


def _size(item: _Prepared) -> tuple[int, int]:
    request = item[1]
    if isinstance(request, DataError):
        return (0, 0)
    return sum(image.width * image.height for image in request.images), len(request.prompt)


class _DescribeRun:
    """One call of `describe`."""

    def __init__(
        self,
        request_builder: RequestBuilder,
        store: Store,
        progress: ProgressCounter,
        *,
        max_attempts: int,
        retry_failed: bool,
    ) -> None:
        self._request_builder = request_builder
        self._engine = request_builder.engine
        self._store = store
        self._progress = progress
        self._max_attempts = max_attempts
        self._retry_failed = retry_failed
        # Keys that are requested and not yet written, with the number of subjects that wait for each.
        self._pending: Counter[str] = Counter()
        # Failures held back until it is clear that the items cause them, and not a broken engine.
        self._suspects: list[Failure] = []
        self._engine_has_worked = False
        self._has_warned = False
        self.batch_size = DEFAULT_BATCH_SIZE  # of the last batch

    # --- Which requests are open ---

    def open_requests(
        self, subjects: Iterable[Subject], *, chunk: int, pool: ThreadPoolExecutor | None
    ) -> Iterator[DescriptionRequest]:
        """The requests that are neither stored nor pending."""
        parts = batched(subjects, KEYED_AT_ONCE)
        keyed = prefetch(self._find_keys, parts, pool=pool, window=chunk // KEYED_AT_ONCE)
        for group in batched(chain.from_iterable(keyed), chunk):
            self._store_unreadable(group)
            yield from self._select_open(group)
            self._progress.report()

    def _find_keys(self, subjects: Sequence[Subject]) -> list[_Keyed]:
        return list(zip(subjects, self._request_builder.keys(subjects), strict=True))

    def _store_unreadable(self, keyed: Sequence[_Keyed]) -> None:
        failures = [
            _failure(self._request_builder.unreadable_key(subject), subject, error)
            for subject, error in keyed
            if isinstance(error, DataError)
        ]
        if failures:
            self._store.put(failures=failures)
            self._progress.failed += len(failures)

    def _select_open(self, keyed: Sequence[_Keyed]) -> list[DescriptionRequest]:
        # Decided for all of them at once, because the store changes while they are answered.
        selected = []
        keys = {key for _, key in keyed if isinstance(key, str)}
        described = self._store.described_keys(keys)
        failed = set() if self._retry_failed else {failure.key for failure in self._store.failures(keys)}
        for subject, key in keyed:
            if isinstance(key, DataError):
                continue
            if key in self._pending:
                self._pending[key] += 1
            elif key in described:
                self._progress.skipped += 1
            elif key in failed:
                self._progress.failed += 1
            else:
                self._pending[key] = 1
                selected.append(self._request_builder.request(subject, key))
        self._warn_about_full_size(selected)
        return selected

    def _warn_about_full_size(self, requests: Sequence[DescriptionRequest]) -> None:
        """Warns once that descriptions of large photos by an earlier version are made again."""
        if self._has_warned or not requests:
            return
        former = set[str]()
        with suppress(DataError):  # a file that was removed meanwhile
            former.update(self._request_builder.full_size_key(request.subject) for request in requests)
        if self._store.described_keys(former - {request.key for request in requests}):
            self._has_warned = True
            _log.warning(
                "the store has descriptions of large photos that an earlier version decoded at full size; "
                "they are decoded at a smaller size now, and described again"
            )

    # --- Calling the engine ---

    def batches(self, prepared: Iterable[_Prepared], size: int | None) -> Iterator[list[_Prepared]]:
        """Batches of this size; with None, the engine chooses the size of each, by its first request."""
        batch: list[_Prepared] = []
        self.batch_size = size or self.batch_size
        for item in prepared:
            if all(isinstance(earlier, DataError) for _, earlier in batch) and isinstance(item[1], Request):
                self.batch_size = size or self._engine.best_batch_size(item[1]) or DEFAULT_BATCH_SIZE
            batch.append(item)
            if len(batch) >= self.batch_size:
                yield batch
                batch = []
        if batch:
            yield batch

    def prepare(self, requests: Sequence[DescriptionRequest]) -> list[_Prepared]:
        """Requests about one photo, which is opened once: each with its images, or why it has none."""
        with Reservation() as memory:
            photo = OpenedPhoto(memory)
            return [self._prepare_one(request, photo) for request in requests]

    def _prepare_one(self, request: DescriptionRequest, photo: OpenedPhoto) -> _Prepared:
        try:
            return request, self._request_builder.prepare(request, photo)
        except DataError as error:
            return request, error

    def call_engine(self, batch: Sequence[_Prepared]) -> tuple[Sequence[_Prepared], list[Outcome]]:
        """Calls the engine and changes nothing else, so that several calls may run at once."""
        requests = [item for _, item in batch if isinstance(item, Request)]
        return batch, describe_with_retries(self._engine, requests, max_attempts=self._max_attempts)

    def write_outcomes(self, batch: Sequence[_Prepared], outcomes: Sequence[Outcome]) -> None:
        """Writes the descriptions and failures of a batch; EngineError if the engine is broken."""
        descriptions: list[Description] = []
        failures = [
            _failure(it.key, it.subject, error) for it, error in batch if isinstance(error, DataError)
        ]
        sent = [request for request, item in batch if isinstance(item, Request)]
        causes = []
        for request, outcome in zip(sent, outcomes, strict=True):
            if isinstance(outcome.result, AbandonedError):
                self._pending.pop(request.key)
                causes.append(outcome.result.cause)
            else:
                self._add_outcome(request, outcome, descriptions, failures)
        # Their images could be read, so earlier failures to read them are resolved.
        resolved = [self._request_builder.unreadable_key(request.subject) for request in sent]
        self._progress.num_requests += len(sent)
        self._write(descriptions, failures, resolved)
        cause = next(filter(None, causes), None)
        if cause is not None:
            raise cause
        if len(self._suspects) >= _BROKEN_AFTER:
            raise _broken_engine_error(self._engine, self._suspects)

    def finish(self) -> None:
        """Writes the failures that are held back, or raises EngineError if the engine never worked."""
        suspects, self._suspects = self._suspects, []
        if len(suspects) >= _BROKEN_FROM_START and not self._engine_has_worked:
            raise _broken_engine_error(self._engine, suspects)
        self._write([], suspects, [])

    def _add_outcome(
        self,
        request: DescriptionRequest,
        outcome: Outcome,
        descriptions: list[Description],
        failures: list[Failure],
    ) -> None:
        if isinstance(outcome.result, Reply) and outcome.result.usage is not None:
            self._progress.tokens += outcome.result.usage
        result = self._request_builder.check(outcome.result)
        if isinstance(result, EngineError):
            failure = _failure(request.key, request.subject, result, outcome.attempts)
            (self._suspects if outcome.engine_failed else failures).append(failure)
        else:
            descriptions.append(self._request_builder.description(request, result))
        if not outcome.engine_failed:
            # The engine works, so the items themselves caused the failures that are held back.
            self._engine_has_worked = True
            failures += self._suspects
            self._suspects = []

    def _write(
        self, descriptions: Sequence[Description], failures: Sequence[Failure], resolved: Sequence[str]
    ) -> None:
        self._store.put(descriptions, failures, resolved=resolved)
        self._progress.done += sum(self._pending.pop(item.key) for item in descriptions)
        self._progress.failed += sum(self._pending.pop(item.key) for item in failures)
        self._progress.report()


def _failure(key: str, subject: Subject, error: MienError, attempts: int = 1) -> Failure:
    """The failure to store; with the hint, because the error itself is gone when someone reads it."""
    text = f"{error} ({error.hint})" if error.hint else str(error)
    return Failure(key=key, subject_id=subject.id, error=text, retryable=error.retryable, attempts=attempts)


def _broken_engine_error(engine: Engine, failures: Sequence[Failure]) -> EngineError:
    last = failures[-1]
    return EngineError(
        f"engine {engine.name} failed on {len(failures)} subjects in a row, last on {last.subject_id!r}: "
        f"{last.error}",
        hint="fix the engine and run again; descriptions are kept, and no subject is stored as failed",
        retryable=last.retryable,
    )
