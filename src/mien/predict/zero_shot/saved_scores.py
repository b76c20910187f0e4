"""Scores that are kept in a file as they come, so that a killed command goes on and nothing is scored twice.

The file has one line per person: a key of all that determines the scores, and the scores. The content of the
image and the box are part of the key, and paths and ids are not. People who could not be scored have no line.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from mien.describe.progress import Progress, ProgressCounter
from mien.digests import digest
from mien.errors import DataError, MienError
from mien.media.images import image_digest, pixel_digest
from mien.media.views import select_frames
from mien.predict.zero_shot.predictor import ZeroShotPredictor
from mien.runs import append_event, read_events
from mien.types import ImageRef, Subject

__all__ = ["score_once"]

log = logging.getLogger(__name__)

_EVENT: Final = "scores"


def score_once(
    predictor: ZeroShotPredictor,
    subjects: Sequence[Subject],
    file: Path,
    *,
    batch_size: int | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> list[Sequence[float] | MienError]:
    """One score per label for each subject, in order, or in its place why there are none.

    Args:
        predictor: Scores those that the file lacks. It has no calibration.
        subjects: Who.
        file: Where scores are kept; only this process may write to it.
        batch_size: Subjects that are loaded at a time.
        on_progress: Called after each subject.
    """
    known = _read(file, len(predictor.scorer.labels.label_set))
    keys = _keys(predictor, subjects)
    missing = {
        key: subject
        for key, subject in zip(keys, subjects, strict=True)
        if isinstance(key, str) and key not in known
    }
    errors: dict[str, MienError] = {}
    unreadable = sum(not isinstance(key, str) for key in keys)
    skipped = sum(isinstance(key, str) and key not in missing for key in keys)
    counter = ProgressCounter(
        len(missing) + skipped + unreadable, on_progress, skipped=skipped, failed=unreadable
    )
    answers = predictor.each(missing.values(), batch_size=batch_size)
    for key, answer in zip(missing, answers, strict=True):
        if isinstance(answer, MienError):
            errors[key] = answer
            counter.failed += 1
        else:
            known[key] = list(answer.scores.values())
            append_event(file, _EVENT, key=key, scores=known[key])
            counter.done += 1
        counter.report()
    return [key if isinstance(key, DataError) else known.get(key) or errors[key] for key in keys]


def _keys(predictor: ZeroShotPredictor, subjects: Sequence[Subject]) -> list[str | DataError]:
    """The key of each subject, or in its place why its image cannot be read; a shared file is read once."""
    model, digests = predictor.model_digest, dict[Path, str]()
    keys: list[str | DataError] = []
    for subject in subjects:
        shown = select_frames(subject, "middle_frame")
        image, box = shown.images[0], shown.boxes[0]
        try:
            content = _content(image, digests)
        except DataError as error:
            keys.append(error)
            continue
        parts = {"scorer": model, "image": content, "frame": image.frame}
        keys.append(digest({**parts, "box": None if box is None else list(box.as_tuple())}))
    return keys


def _content(image: ImageRef, digests: dict[Path, str]) -> str:
    if image.pixels is not None:
        return pixel_digest(image.pixels)
    if image.path not in digests:
        digests[image.path] = image_digest(image.path)
    return digests[image.path]


def _read(file: Path, count: int) -> dict[str, Sequence[float]]:
    """The scores in the file, by key; lines that are damaged are left out."""
    found = read_events(file)
    scores = {
        event["key"]: event["scores"]
        for event in found.named(_EVENT)
        if isinstance(event.get("key"), str) and _is_valid(event.get("scores"), count)
    }
    if found.torn_lines:
        log.info("%s has %d incomplete lines, which are scored again", file, len(found.torn_lines))
    return scores


def _is_valid(scores: Any, count: int) -> bool:
    return (
        isinstance(scores, list)
        and len(scores) == count
        and all(isinstance(score, int | float) and 0 <= score <= 1 for score in scores)
    )
