"""Predictions of people drawn in plain colors, written to a file by processes that are killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tests.factories.color_people import ColorDetector

from mien.errors import DataError, MienError
from mien.predict.annotated_folder import AnnotatedFolder
from mien.predict.base import SubjectPredictor
from mien.predict.output.journal import Journal
from mien.predict.output.write import Outcome, write_results
from mien.predict.sources.open import SourceOptions, open_sources
from mien.predict.track.tracker import TrackOptions
from mien.types import Description, Prediction, Subject

LABELS = ("calm", "=afraid")


class Counting(SubjectPredictor):
    """Scores that differ from person to person and depend on nothing else; some people fail."""

    def __init__(self) -> None:
        self.detector = ColorDetector(one_per_color=True)
        self.tracking = TrackOptions(describe_every=0.4, time_constant=0.5)

    def each(
        self, subjects: Iterable[Subject], *, batch_size: int | None = None
    ) -> Iterator[Prediction | MienError]:
        for subject in subjects:
            box = subject.boxes[0]
            share = 0.0 if box is None else (box.left % 97) / 97
            if 0.4 < share < 0.5:
                yield DataError(f"{subject.id} failed", hint="try again")
                continue
            text = f'=HYPERLINK("{share}")\nsecond line'
            yield Prediction(
                subject_id=subject.id,
                label_set="own",
                scores=dict(zip(LABELS, (share, 1 - share), strict=True)),
                dimensions={"valence": share, "arousal": 0.5, "dominance": 0.25},
                description=Description(
                    key="k", subject_id=subject.id, text=text, prompt_id="p", engine="e", finish="stop"
                ),
                status="uncalibrated",
                thresholds=dict.fromkeys(LABELS, 0.3),
                min_confidence=0.7,
                prediction_set=LABELS,
                coverage=0.9,
            )


def predict(sources: Path, out: Path, request: str = "r", annotate: Path | None = None) -> Iterator[int]:
    """Writes; yields after each result."""
    with Journal(out, request=request, command="mien predict") as journal:
        if journal.is_finished:
            return
        found = write_results(
            Counting(),
            open_sources(sources, SourceOptions(fps=12.5)),
            Outcome(),
            journal=journal,
            annotate=None if annotate is None else AnnotatedFolder(annotate),
        )
        for count, _ in enumerate(found):
            yield count


def killed(sources: Path, out: Path, *kills: int, annotate: Path | None = None) -> None:
    """Predicts in one process after the other; each is killed after so many results, at -1 before the end."""
    arguments = json.dumps([str(sources), str(out), kills, annotate and str(annotate)])
    subprocess.run([sys.executable, "-m", __name__, arguments], check=True, timeout=60)


def _main() -> None:
    sources, out, kills, annotate = json.loads(sys.argv[1])
    for after in kills:
        child = os.fork()  # of a process that has decoded nothing yet
        if child == 0:
            try:
                _work(Path(sources), Path(out), after, annotate and Path(annotate))
            finally:
                os._exit(1)
        assert os.waitpid(child, 0)[1] == signal.SIGKILL


def _work(sources: Path, out: Path, after: int, annotate: Path | None) -> None:
    if after < 0:
        Journal.remove = _kill  # type: ignore[method-assign, assignment]
    for count in predict(sources, out, annotate=annotate):
        if count == after:
            _kill()


def _kill(*_: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    _main()
