"""Finds what was described, for the rooms that use the words.

Goes in: subjects, and how they were asked about. Comes out: a description by subject id, and who has none.
Knows nothing about: how to describe. It never asks an engine; it needs the engine's signature only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from mien.describe.engine import Engine
from mien.describe.prompts import Prompt
from mien.describe.requests import Questioner
from mien.describe.store.store import Store
from mien.labels import LabelSet
from mien.media.images import Marking
from mien.prefetch import groups
from mien.recipe.describe import ClipView
from mien.recipe.features import FitMode
from mien.types import Description, Failure, Subject

__all__ = ["Found", "look_up"]

_GROUP = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Descriptions by subject id; the ids that were never asked about; the failures of the others."""

    descriptions: Mapping[str, Description]
    missing: tuple[str, ...]
    failures: tuple[Failure, ...]

    @property
    def texts(self) -> dict[str, str]:
        """The text of each description, by subject id."""
        return {subject_id: item.text for subject_id, item in self.descriptions.items()}


def look_up(
    subjects: Iterable[Subject],
    *,
    engine: Engine,
    prompt: Prompt,
    label_set: LabelSet,
    marking: Marking,
    store: Store,
    fit: FitMode = "letterbox",
    clip: ClipView = "middle_frame",
) -> Found:
    """The descriptions that `describe` made, or would find made, with the same arguments.

    A description that two subjects share (one photo, one box) is given to both, each with its own id.
    """
    questioner = Questioner(
        engine=engine, prompt=prompt, label_set=label_set, marking=marking, fit=fit, clip=clip
    )
    descriptions: dict[str, Description] = {}
    failures: dict[str, Failure] = {}
    missing: list[str] = []
    for group in groups(subjects, _GROUP):
        keys = [questioner.key(subject) for subject in group]
        described = store.descriptions(keys)
        failed = {failure.key: failure for failure in store.failures(keys)}
        for subject, key in zip(group, keys, strict=True):
            if key in described:
                descriptions[subject.id] = replace(described[key], subject_id=subject.id)
            elif key in failed:
                failures[subject.id] = replace(failed[key], subject_id=subject.id)
            else:
                missing.append(subject.id)
    return Found(descriptions=descriptions, missing=tuple(missing), failures=tuple(failures.values()))
