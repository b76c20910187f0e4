"""Everything wrong with a data set on disk: every picture and clip is opened, once.

In: a `Dataset`. Out: a `Verified`: problems, each once, in the order of the data set; and which pictures are
there twice. Knows nothing about any data set's files, and mends nothing (see `dedup`).

A file that several people share is decoded once, in threads: decoders let others work meanwhile. What grows
with the data set is a row a subject and a fingerprint a picture.
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
from mien.data.audit.fingerprints import Fingerprint, ImageInfo, ImageProblem, inspect_clip, inspect_image
from mien.data.audit.image_checks import OutsideBox, Use, check_boxes, check_file
from mien.data.audit.near_duplicates import group_exact_duplicates, group_near_duplicates
from mien.data.dataset import Dataset, Record
from mien.types import Problem

__all__ = ["NearDuplicate", "OutsideBox", "Verification", "VerifyProgress", "verify"]

_FILES_AT_ONCE: Final = 16  # of one task for a thread: many pictures take less time than handing one over
_TASKS_AHEAD: Final = 4  # a thread, so that none waits, and results do not pile up

Found = ImageInfo | ImageProblem


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyProgress:
    """How many of the files have been checked."""

    done: int
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NearDuplicate:
    """A picture that others are like. `digest` is SHA-256 of its bytes, in hex; `split` that which it is
    used in first."""

    path: Path
    split: str
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What was found. `num_images` counts files, be they pictures or clips.

    `near_duplicates`: groups of files that look alike, exact copies included, also within a split (where
    they are not a problem). `outside_boxes`: the boxes that leave their images, the worst first.
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

    path: str  # a Path, with what it remembers, takes ten times as much memory
    splits: list[str] = field(default_factory=list)
    uses: list[Use] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    @property
    def split(self) -> str:
        return self.splits[0]

    @property
    def is_clip(self) -> bool:
        return any(frame is not None for use in self.uses for frame, _ in use.marks)


def verify(
    dataset: Dataset,
    *,
    workers: int | None = None,
    on_progress: Callable[[VerifyProgress], None] | None = None,
) -> Verification:
    """Checks the annotations and opens every file; `workers` threads, one a core if not told."""
    start = time.perf_counter()
    reading = [*dataset.problems(), *dataset.sidecar_problems()]
    files, num_subjects = _gather(dataset)
    known = {(problem.kind, problem.file) for problem in reading}
    prints: list[Fingerprint | None] = []
    faults: list[OutsideBox] = []
    for file, found in _look_at(files, num_threads(workers)):
        problems, worst = _check(file, found)
        file.problems += (problem for problem in problems if (problem.kind, problem.file) not in known)
        faults += worst
        prints.append(None if isinstance(found, ImageProblem) else found.fingerprint)
        if on_progress is not None:
            on_progress(VerifyProgress(done=len(prints), total=len(files)))
    near_duplicates = _report_near_duplicates(files, prints)
    # Of a clip that is cut short, later frames are missing: that is no further fault.
    flawed = {file.path for file, print_ in zip(files, prints, strict=True) if print_ is None}
    told = (problem for problem in reading if problem.kind != "frame_range" or problem.file not in flawed)
    return Verification(
        problems=(*told, *(problem for file in files for problem in file.problems)),
        num_images=len(files),
        num_subjects=num_subjects,
        seconds=time.perf_counter() - start,
        near_duplicates=near_duplicates,
        outside_boxes=tuple(sorted(faults, key=lambda fault: -fault.outside)),
    )


# --- Who is in which file ----------------------------------------------------------------------------


def _gather(dataset: Dataset) -> tuple[list[_File], int]:
    """The files in the order in which the data set first names them; also finds ids that repeat."""
    files: dict[str, _File] = {}
    seen: dict[str, str] = {}
    count = 0
    for split in dataset.splits:
        for record in dataset.records(split):
            count += 1
            subject = record.sample.subject
            for path, use in _uses(record).items():
                file = files.setdefault(path, _File(path))
                if split not in file.splits:
                    file.splits.append(split)
                file.uses.append(use)
            if subject.id in seen:
                message = f"the id {subject.id!r} occurs in {seen[subject.id]} and again in {split}"
                first = files[str(subject.images[0].path)]
                first.problems.append(Problem(kind="repeated_id", file=first.path, message=message))
            seen.setdefault(subject.id, split)
    for file in files.values():
        if len(file.splits) > 1:
            message = f"it is used in {' and '.join(file.splits)}"
            file.problems.append(Problem(kind="split_overlap", file=file.path, message=message))
    return list(files.values()), count


def _uses(record: Record) -> Mapping[str, Use]:
    subject = record.sample.subject
    marks = defaultdict(list)
    for ref, box in zip(subject.images, subject.boxes, strict=True):
        marks[str(ref.path)].append((ref.frame, box))
    return {path: Use(subject.id, tuple(found), record.size) for path, found in marks.items()}


# --- Opening -----------------------------------------------------------------------------------------


def _look_at(files: Sequence[_File], workers: int) -> Iterator[tuple[_File, Found]]:
    """Each file with what was seen, in order; a bounded number of tasks is ahead of the caller."""
    rest = iter([files[begin : begin + _FILES_AT_ONCE] for begin in range(0, len(files), _FILES_AT_ONCE)])
    with warnings.catch_warnings(), ThreadPoolExecutor(workers) as pool:
        # Pillow warns of large pictures; `look` decides about them.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        ahead: deque[Future[list[tuple[_File, Found]]]] = deque(
            pool.submit(_look_at_some, some) for some in islice(rest, _TASKS_AHEAD * workers)
        )
        while ahead:
            done = ahead.popleft().result()
            ahead.extend(pool.submit(_look_at_some, some) for some in islice(rest, 1))
            yield from done


def _look_at_some(files: Sequence[_File]) -> list[tuple[_File, Found]]:
    return [(file, (inspect_clip if file.is_clip else inspect_image)(Path(file.path))) for file in files]


def _check(file: _File, found: Found) -> tuple[list[Problem], list[OutsideBox]]:
    path = Path(file.path)
    problems = list(check_file(path, file.uses, found))
    if isinstance(found, ImageProblem):
        return problems, []
    checked = [check_boxes(path, use, found) for use in file.uses]
    of_subjects = chain.from_iterable(of_subject for of_subject, _ in checked)
    return [*problems, *of_subjects], [fault for _, fault in checked if fault is not None]


# --- Twice -------------------------------------------------------------------------------------------


def _report_near_duplicates(
    files: Sequence[_File], prints: Sequence[Fingerprint | None]
) -> tuple[tuple[NearDuplicate, ...], ...]:
    """The groups that look alike; a file whose like is in an earlier split gets a problem."""
    equal = group_exact_duplicates(prints)
    first: dict[int, _File] = {}
    for file, number in zip(files, equal, strict=True):
        first.setdefault(number, file)
    groups = defaultdict(list)
    for index, number in enumerate(group_near_duplicates(prints)):
        groups[number].append(index)
    alike = [group for group in groups.values() if len(group) > 1]
    for group in alike:
        for index in group:
            files[index].problems += _across(files[index], first[equal[index]], files[group[0]])
    return tuple(
        tuple(
            NearDuplicate(path=Path(files[index].path), split=files[index].split, digest=print_.digest.hex())
            for index in group
            if (print_ := prints[index]) is not None
        )
        for group in alike
    )


def _across(file: _File, same: _File, like: _File) -> Iterator[Problem]:
    """At most one problem. `same` and `like`: the first file with these bytes, and the first that is alike.

    Files come split by split, so that the first is in the earliest split.
    """
    pairs = ((same, "duplicate", "has the same bytes as"), (like, "near_duplicate", "looks like"))
    for other, kind, what in pairs:
        if other.split != file.split:
            message = f"in {file.split}, {what} {other.path} in {other.split}"
            yield Problem(kind=kind, file=file.path, message=message)
            return
