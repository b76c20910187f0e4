"""Describes subjects: each once, in batches, with every answer on disk before the next batch is asked.

Goes in: subjects one after another, an engine, a store. Comes out: rows in the store, and a summary.
Knows nothing about: data sets, labels of subjects, what kind of engine it is.

Nothing here grows with the number of subjects. Killed at any point and run again, it goes on with what
is not in the store.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import takewhile
from typing import Final

from mien.describe.engine import Engine, Reply, Request
from mien.describe.progress import DescribeSummary, Progress, Tally
from mien.describe.prompts import Prompt
from mien.describe.requests import Question, Questioner
from mien.describe.retry import Outcome, describe_with_retries
from mien.describe.store.store import Store
from mien.errors import DataError, EngineError, MienError
from mien.labels import LabelSet
from mien.media.images import Marking
from mien.prefetch import ahead, groups, threads
from mien.recipe.describe import ClipView
from mien.recipe.features import FitMode
from mien.types import Description, Failure, Subject

__all__ = ["DescribeSummary", "Progress", "describe"]

# Subjects looked up in the store at once, at least.
_CHUNK: Final = 64
# So many items in a row that each took the engine down are no poison items: the engine is broken.
_BROKEN_AFTER: Final = 16
# Fewer will do where it has not worked for any item of the run.
_BROKEN_FROM_THE_START: Final = 4


def describe(
    subjects: Iterable[Subject],
    *,
    engine: Engine,
    prompt: Prompt,
    label_set: LabelSet,
    marking: Marking,
    store: Store,
    fit: FitMode = "letterbox",
    clip: ClipView = "middle_frame",
    batch_size: int = 8,
    workers: int = 0,
    max_attempts: int = 3,
    retry_failed: bool = False,
    total: int | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> DescribeSummary:
    """Describes every subject that is not in the store yet; writes after each batch.

    What fails is kept as a Failure and left alone from then on, unless `retry_failed`. `workers` threads
    prepare pictures ahead of the engine. Once `stop` says so, the batch that was asked is written and no
    other is begun. Raises EngineError if the engine fails on everything.
    """
    questioner = Questioner(
        engine=engine, prompt=prompt, label_set=label_set, marking=marking, fit=fit, clip=clip
    )
    tally = Tally(total, on_progress)
    job = _Job(questioner, engine, store, tally, max_attempts=max_attempts, retry_failed=retry_failed)
    # Calls run side by side where the engine likes that; this thread alone writes.
    calls = engine.calls_at_once
    with threads(workers) as pool, threads(calls if calls > 1 else 0) as callers:
        wanted = takewhile(lambda _: not stop(), subjects)
        questions = job.open_questions(wanted, chunk=max(_CHUNK, 4 * batch_size), pool=pool)
        ready = ahead(pool, job.prepare, questions, window=2 * batch_size)
        if engine.image_size is None:
            ready = _alike(ready, 2 * batch_size)
        # Told to stop, no batch is begun, and what was asked is waited for: it may have cost money.
        batches = takewhile(lambda _: not stop(), groups(ready, batch_size))
        for batch, outcomes in ahead(callers, job.ask, batches, window=calls):
            job.answer(batch, outcomes)
    if not stop():
        job.finish()
    return tally.summary()


def _alike(ready: Iterable[_Ready], window: int) -> Iterator[_Ready]:
    """Those of like size side by side, within a window: a batch is padded to its longest.

    A model that sees pictures of any shape makes more tokens of larger ones.
    """
    for group in groups(ready, window):
        yield from sorted(group, key=_size)


def _size(item: _Ready) -> tuple[int, int]:
    request = item[1]
    if isinstance(request, DataError):
        return (0, 0)
    return sum(image.width * image.height for image in request.images), len(request.prompt)


# A question with its request, or with the reason why there is none.
_Ready = tuple[Question, Request | DataError]


class _Job:
    """One call of `describe`."""

    def __init__(
        self,
        questioner: Questioner,
        engine: Engine,
        store: Store,
        tally: Tally,
        *,
        max_attempts: int,
        retry_failed: bool,
    ) -> None:
        self._questioner = questioner
        self._engine = engine
        self._store = store
        self._tally = tally
        self._max_attempts = max_attempts
        self._retry_failed = retry_failed
        # Keys that are asked for and not yet written, and how many subjects wait for each.
        self._waiting: Counter[str] = Counter()
        # Failures held back until it is clear that they are the items' own and not a broken engine's.
        self._suspects: list[Failure] = []
        self._has_worked = False  # the engine has, for some item

    # --- Which questions are open ---

    def open_questions(
        self, subjects: Iterable[Subject], *, chunk: int, pool: ThreadPoolExecutor | None
    ) -> Iterator[Question]:
        """The questions that neither the store holds nor the batches on their way to it."""
        for group in groups(ahead(pool, self._question, subjects, window=chunk), chunk):
            self._keep_unreadable([item for item in group if isinstance(item, Failure)])
            yield from self._unsettled([item for item in group if isinstance(item, Question)])
            self._tally.tell()

    def _question(self, subject: Subject) -> Question | Failure:
        try:
            return self._questioner.question(subject)
        except DataError as error:
            return _failure(self._questioner.unreadable_key(subject), subject, error)

    def _keep_unreadable(self, failures: Sequence[Failure]) -> None:
        if failures:
            self._store.put(failures=failures)
            self._tally.failed += len(failures)

    def _unsettled(self, questions: Sequence[Question]) -> list[Question]:
        # Decided for all of them at once: while they are answered, what the store holds changes.
        unsettled = []
        keys = {question.key for question in questions}
        described = self._store.described(keys)
        failed = set() if self._retry_failed else {failure.key for failure in self._store.failures(keys)}
        for question in questions:
            if question.key in self._waiting:
                self._waiting[question.key] += 1
            elif question.key in described:
                self._tally.skipped += 1
            elif question.key in failed:
                self._tally.failed += 1
            else:
                self._waiting[question.key] = 1
                unsettled.append(question)
        return unsettled

    # --- Answering them ---

    def prepare(self, question: Question) -> _Ready:
        """The request of a question, or the reason why there is none."""
        try:
            return question, self._questioner.request(question)
        except DataError as error:
            return question, error

    def ask(self, batch: Sequence[_Ready]) -> tuple[Sequence[_Ready], list[Outcome]]:
        """Asks the engine; touches nothing else, so that several calls may run side by side."""
        requests = [item for _, item in batch if isinstance(item, Request)]
        return batch, describe_with_retries(self._engine, requests, max_attempts=self._max_attempts)

    def answer(self, batch: Sequence[_Ready], outcomes: Sequence[Outcome]) -> None:
        """Writes what came of asking."""
        asked = [(question, item) for question, item in batch if isinstance(item, Request)]
        descriptions: list[Description] = []
        failures = [_failure(q.key, q.subject, item) for q, item in batch if isinstance(item, DataError)]
        for (question, _), outcome in zip(asked, outcomes, strict=True):
            self._sort(question, outcome, descriptions, failures)
        over = [self._questioner.unreadable_key(question.subject) for question, _ in asked]
        self._tally.asked += len(asked)
        self._write(descriptions, failures, over)
        if len(self._suspects) >= _BROKEN_AFTER:
            raise _broken(self._engine, self._suspects)

    def finish(self) -> None:
        """Writes the failures that were held back: the subjects ended before the engine looked broken."""
        held, self._suspects = self._suspects, []
        if len(held) >= _BROKEN_FROM_THE_START and not self._has_worked:
            raise _broken(self._engine, held)
        self._write([], held, [])

    def _sort(
        self, question: Question, outcome: Outcome, descriptions: list[Description], failures: list[Failure]
    ) -> None:
        result = self._questioner.checked(outcome.result)
        if isinstance(result, EngineError):
            failure = _failure(question.key, question.subject, result, outcome.attempts)
            (self._suspects if outcome.engine_failed else failures).append(failure)
        else:
            descriptions.append(self._description(question, result))
        if not outcome.engine_failed:
            # The engine works, so what took it down before was the items' own doing.
            self._has_worked = True
            failures += self._suspects
            self._suspects = []

    def _description(self, question: Question, reply: Reply) -> Description:
        return Description(
            key=question.key,
            subject_id=question.subject.id,
            text=reply.text,
            prompt_id=question.prompt_id,
            engine=self._questioner.engine,
            finish=reply.finish,
        )

    def _write(
        self, descriptions: Sequence[Description], failures: Sequence[Failure], over: Sequence[str]
    ) -> None:
        self._store.put(descriptions, failures, resolved=over)
        self._tally.done += sum(self._waiting.pop(item.key) for item in descriptions)
        self._tally.failed += sum(self._waiting.pop(item.key) for item in failures)
        self._tally.tell()


def _failure(key: str, subject: Subject, error: MienError, attempts: int = 1) -> Failure:
    return Failure(
        key=key, subject_id=subject.id, error=str(error), retryable=error.retryable, attempts=attempts
    )


def _broken(engine: Engine, failures: Sequence[Failure]) -> EngineError:
    last = failures[-1]
    return EngineError(
        f"engine {engine.name} failed on {len(failures)} subjects in a row, last on {last.subject_id!r}: "
        f"{last.error}",
        hint="mend the engine and run again: what was described is kept, nothing failed for good",
        retryable=last.retryable,
    )
