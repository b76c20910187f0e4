"""Predicts on sources and writes the results to a file and annotated copies; a killed run goes on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from typing import Any

from mien.errors import ItemsFailedError, MienError
from mien.predict.annotated_folder import AnnotatedFolder
from mien.predict.base import SubjectPredictor
from mien.predict.output.journal import Journal
from mien.predict.output.records import error_of_kind
from mien.predict.output.tables import COLUMNS, write_rows
from mien.predict.results import Results
from mien.predict.sources.image import Source
from mien.predict.track.summary import TRACK_COLUMNS, summarize_tracks

__all__ = ["Outcome", "write_results"]


@dataclass(slots=True)
class Outcome:
    """What became of the sources.

    Attributes:
        num_results: Images and frames.
        num_people: People in them.
        num_failed: Images and frames of which something failed.
        num_lost: Those of which everything failed.
        example: What happened to the first one that failed.
        hint: What to do about it.
        kind: The name of that error's class.
        files: What was written.
    """

    num_results: int = 0
    num_people: int = 0
    num_failed: int = 0
    num_lost: int = 0
    example: str = ""
    hint: str = ""
    kind: str = ""
    files: list[str] = field(default_factory=list)

    def add(self, results: Results) -> None:
        self.num_results += 1
        self.num_people += len(results)
        self.num_lost += results.status == "failed"
        if results.errors:
            self.num_failed += 1
            if not self.example:
                error = results.errors[0]
                self.example, self.hint, self.kind = str(error), error.hint, type(error).__name__

    @property
    def error(self) -> MienError | None:
        """What the command ends with, which is the error of an only image if all of it failed; or None."""
        if not self.num_failed:
            return None
        if self.num_results == self.num_lost == 1:
            return error_of_kind(self.kind, self.example, self.hint)
        failed = f"{self.num_failed} of {self.num_results} images failed"
        if not self.num_lost:
            failed += " in part"
        return ItemsFailedError(f"{failed}, for example {self.example}", hint=self.hint)


def write_results(
    predictor: SubjectPredictor,
    sources: Iterable[Source],
    outcome: Outcome,
    *,
    journal: Journal | None = None,
    annotate: AnnotatedFolder | None = None,
) -> Iterator[Results]:
    """The results of all sources, while they are written; those of an earlier run that was killed come first.

    Args:
        predictor: Predicts.
        sources: Images, frames and errors.
        outcome: Is brought up to date before each result is returned.
        journal: Holds the results until their file is complete; None to write none.
        annotate: Gets a copy of each image and video with the people marked; None to draw none.

    Raises:
        DataError: The sources have changed since the earlier run, or a file cannot be written.
    """
    num_done = 0 if journal is None else journal.num_results
    with ExitStack() as stack:
        if annotate is not None:
            stack.enter_context(annotate)
        earlier = () if journal is None else journal.results(num_done)
        found = predictor.run(sources, done=earlier, keep_pixels=annotate is not None)
        for index, (source, results, ends_round) in enumerate(found):
            if journal is not None and index >= num_done:
                journal.append(results, ends_round=ends_round)
            if annotate is not None:
                annotate.add(source, results)
            outcome.add(results)
            yield results
    if journal is not None:
        journal.finish()
        outcome.files += _publish(journal)
        journal.remove(asdict(outcome))


def _publish(journal: Journal) -> list[str]:
    """Writes the file of a complete journal, and the one of its tracks if there are videos."""
    target = journal.target
    labels: dict[str, None] = {}
    has_videos = False
    for results in journal.results():
        has_videos = has_videos or results.time is not None
        for person in results:
            labels |= dict.fromkeys(person.scores)
    files = [target]
    if has_videos:
        files.append(target.with_name(f"{target.stem}.tracks{target.suffix}"))
        write_rows(files[-1], summarize_tracks(journal.results()), tuple(labels), TRACK_COLUMNS)
    write_rows(target, _rows(journal), tuple(labels), COLUMNS)
    return [str(file) for file in files]


def _rows(journal: Journal) -> Iterator[dict[str, Any]]:
    for results in journal.results():
        yield from results.rows()
