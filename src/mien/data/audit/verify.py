"""Verifies a dataset on disk: opens every image and clip once and reports what is wrong with it.

A file that several people share is decoded once, in threads: decoders release the interpreter lock. Memory
grows by one row per subject and one fingerprint per image.
"""

from __future__ import annotations

import time
import warnings
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Final

from PIL import Image

from mien.data.audit.fingerprint_cache import num_threads
from mien.data.audit.fingerprints import Fingerprint
from mien.data.audit.image_checks import FileSubject, OutsideBox, check_boxes, check_file
from mien.data.audit.image_info import ImageInfo, ImageProblem, inspect_clip, inspect_image
from mien.data.audit.near_duplicates import group_exact_duplicates, group_near_duplicates
from mien.data.dataset import Dataset, Record
from mien.types import Problem

__all__ = ["NearDuplicate", "Verification", "VerifyProgress", "verify"]

_FILES_PER_TASK: Final = 16  # most images take less time than handing over a task
_TASKS_PER_THREAD: Final = 4  # in flight, so that no thread waits and results do not pile up

_Inspection = ImageInfo | ImageProblem


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyProgress:
    """How many of the files have been checked."""

    done: int
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NearDuplicate:
    """A file that looks like others.

    Attributes:
        split: The first split that uses it.
        digest: SHA-256 of its bytes, in hex.
    """

    path: Path
    split: str
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What was found.

    Attributes:
        problems: Each problem once, in the dataset's order.
        num_images: Number of files, images and clips.
        near_duplicates: Groups of files that look alike, exact copies included, also within a split, where
            they are not a problem.
        outside_boxes: Boxes that extend outside their images, the farthest first.
    """

    problems: tuple[Problem, ...]
    num_images: int
    num_subjects: int
    seconds: float
    near_duplicates: tuple[tuple[NearDuplicate, ...], ...]
    outside_boxes: tuple[OutsideBox, ...]


@dataclass(slots=True)
class _File:
    """A file, the splits and subjects that use it, and what is wrong with it."""

    path: str  # a Path takes ten times as much memory, because it caches its parts
    splits: list[str] = field(default_factory=list)
    subjects: list[FileSubject] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    @property
    def split(self) -> str:
        return self.splits[0]

    @property
    def is_clip(self) -> bool:
        return any(frame is not None for subject in self.subjects for frame, _ in subject.frame_boxes)


def verify(
    dataset: Dataset,
    *,
    workers: int | None = None,
    on_progress: Callable[[VerifyProgress], None] | None = None,
) -> Verification:
    """Checks the annotations and opens every file.

    Args:
        workers: Number of threads; one per core by default.
        on_progress: Called after each file.
    """
    start = time.perf_counter()
    files, num_subjects = _collect_files(dataset)
    annotation_problems = [*dataset.problems(), *dataset.sidecar_problems()]
    reported = {(problem.kind, problem.file) for problem in annotation_problems}
    fingerprints: list[Fingerprint | None] = []
    outside_boxes: list[OutsideBox] = []
    for file, found in _inspect_files(files, num_threads(workers)):
        problems, outside = _check(file, found)
        file.problems += (problem for problem in problems if (problem.kind, problem.file) not in reported)
        outside_boxes += outside
        fingerprints.append(None if isinstance(found, ImageProblem) else found.fingerprint)
        if on_progress is not None:
            on_progress(VerifyProgress(done=len(fingerprints), total=len(files)))
    near_duplicates = _report_near_duplicates(files, fingerprints)
    # A truncated clip also lacks its later frames, which is not a separate problem.
    broken = {file.path for file, print_ in zip(files, fingerprints, strict=True) if print_ is None}
    kept = (
        problem
        for problem in annotation_problems
        if problem.kind != "frame_range" or problem.file not in broken
    )
    return Verification(
        problems=(*kept, *(problem for file in files for problem in file.problems)),
        num_images=len(files),
        num_subjects=num_subjects,
        seconds=time.perf_counter() - start,
        near_duplicates=near_duplicates,
        outside_boxes=tuple(sorted(outside_boxes, key=lambda box: -box.outside)),
    )


# --- Collecting the files ----------------------------------------------------------------------------


def _collect_files(dataset: Dataset) -> tuple[list[_File], int]:
    """The files in order of first use, and the number of subjects; also reports repeated ids."""
    found: dict[str, list[Mapping[str, FileSubject]]] = {split: [] for split in dataset.splits}
    for split, record in dataset.all_records():
        found[split].append(_subject_by_file(record))
    files: dict[str, _File] = {}
    first_splits: dict[str, str] = {}
    num_subjects = 0
    for split, people in found.items():
        num_subjects += len(people)
        for by_file in people:
            for path, file_subject in by_file.items():
                if path not in files:
                    files[path] = _File(path)
                file = files[path]
                if file.splits[-1:] != [split]:
                    file.splits.append(split)
                file.subjects.append(file_subject)
            path, subject = next(iter(by_file.items()))
            if subject.subject_id in first_splits:
                first_split = first_splits[subject.subject_id]
                message = f"the id {subject.subject_id!r} is in {first_split} and again in {split}"
                files[path].problems.append(Problem(kind="repeated_id", file=path, message=message))
            else:
                first_splits[subject.subject_id] = split
    for file in files.values():
        if len(file.splits) > 1:
            message = f"it is used in {' and '.join(file.splits)}"
            file.problems.append(Problem(kind="split_overlap", file=file.path, message=message))
    return list(files.values()), num_subjects


def _subject_by_file(record: Record) -> Mapping[str, FileSubject]:
    subject = record.sample.subject
    frame_boxes = defaultdict(list)
    for ref, box in zip(subject.images, subject.boxes, strict=True):
        frame_boxes[str(ref.path)].append((ref.frame, box))
    return {path: FileSubject(subject.id, tuple(found), record.size) for path, found in frame_boxes.items()}


# --- Opening them ------------------------------------------------------------------------------------


def _inspect_files(files: Sequence[_File], workers: int) -> Iterator[tuple[_File, _Inspection]]:
    """Each file with its inspection, in order; the number of tasks in flight is bounded."""
    batches = iter(
        [files[begin : begin + _FILES_PER_TASK] for begin in range(0, len(files), _FILES_PER_TASK)]
    )
    with warnings.catch_warnings(), ThreadPoolExecutor(workers) as pool:
        # Pillow warns about large images; `inspect_image` decides what to do with them.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        in_flight: deque[Future[list[tuple[_File, _Inspection]]]] = deque(
            pool.submit(_inspect_batch, batch) for batch in islice(batches, _TASKS_PER_THREAD * workers)
        )
        while in_flight:
            done = in_flight.popleft().result()
            in_flight.extend(pool.submit(_inspect_batch, batch) for batch in islice(batches, 1))
            yield from done


def _inspect_batch(files: Sequence[_File]) -> list[tuple[_File, _Inspection]]:
    return [(file, (inspect_clip if file.is_clip else inspect_image)(Path(file.path))) for file in files]


def _check(file: _File, found: _Inspection) -> tuple[list[Problem], list[OutsideBox]]:
    path = Path(file.path)
    problems = list(check_file(path, file.subjects, found))
    if isinstance(found, ImageProblem):
        return problems, []
    checked = [check_boxes(path, subject, found) for subject in file.subjects]
    box_problems = chain.from_iterable(of_subject for of_subject, _ in checked)
    return [*problems, *box_problems], [box for _, box in checked if box is not None]


# --- Near-duplicates ---------------------------------------------------------------------------------


def _report_near_duplicates(
    files: Sequence[_File], fingerprints: Sequence[Fingerprint | None]
) -> tuple[tuple[NearDuplicate, ...], ...]:
    """The groups of near-duplicates; adds a problem to each file with a duplicate in an earlier split."""
    exact = group_exact_duplicates(fingerprints)
    first_copy: dict[int, _File] = {}
    for file, number in zip(files, exact, strict=True):
        first_copy.setdefault(number, file)
    members = defaultdict(list)
    for index, number in enumerate(group_near_duplicates(fingerprints)):
        members[number].append(index)
    groups = [group for group in members.values() if len(group) > 1]
    for group in groups:
        for index in group:
            files[index].problems += _across_splits(files[index], first_copy[exact[index]], files[group[0]])
    return tuple(
        tuple(
            NearDuplicate(path=Path(files[index].path), split=files[index].split, digest=print_.digest.hex())
            for index in group
            if (print_ := fingerprints[index]) is not None
        )
        for group in groups
    )


def _across_splits(file: _File, first_copy: _File, first_similar: _File) -> Iterator[Problem]:
    """At most one problem, given the first file with the same bytes and the first near-duplicate.

    Files are ordered by split, so the first is in the earliest split.
    """
    pairs = (
        (first_copy, "duplicate", "has the same bytes as"),
        (first_similar, "near_duplicate", "looks like"),
    )
    for other, kind, relation in pairs:
        if other.split != file.split:
            message = f"in {file.split}, {relation} {other.path} in {other.split}"
            yield Problem(kind=kind, file=file.path, message=message)
            return
