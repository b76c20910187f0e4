"""The people whose outcome differs most between two models, with photo, words and the scores of both.

An outcome is the label-ranking average precision of a person, averaged over training seeds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float

from mien.evaluate.metrics.targets import positives
from mien.evaluate.results.examples import Example
from mien.evaluate.scores import SplitScores
from mien.media.images import draw_mark
from mien.report.formatting import format_number
from mien.report.page_images import RED_BOX, data_uri
from mien.report.photos import PhotoReader
from mien.report.run.gallery import LabelScore, rank_labels, rate_samples

__all__ = ["ChangedPerson", "ModelView", "changed_people", "ratings"]

_NUM_SCORES: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelView:
    """What one model said of a person; `description` is None if none was stored."""

    name: str
    rating: str
    scores: tuple[LabelScore, ...]
    description: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedPerson:
    """One person. `image` is a data URI, or "" with the reason in `error`."""

    id: str
    change: str
    image: str
    error: str
    true_labels: tuple[str, ...]
    views: tuple[ModelView, ModelView]

    @property
    def shared_description(self) -> str | None:
        """The description, if both models have the same one."""
        first, second = self.views
        return first.description if first.description == second.description else None


def ratings(runs: Sequence[SplitScores]) -> Float[np.ndarray, " sample"]:
    """The rating of each person, the mean over seeds; NaN for a person without a label."""
    found = [rate_samples(run.scores, positives(run.targets))[0] for run in runs]
    mean: np.ndarray = np.mean(found, axis=0)
    return mean


def changed_people(
    a: tuple[str, Sequence[SplitScores]],
    b: tuple[str, Sequence[SplitScores]],
    examples: tuple[Mapping[str, Example], Mapping[str, Example]],
    *,
    count: int,
    photos: PhotoReader,
) -> tuple[tuple[ChangedPerson, ...], tuple[ChangedPerson, ...]]:
    """Up to `count` people for whom model a is better, and for whom model b is, largest change first.

    Args:
        a: A model's name and its scores, one per seed; the scores of the first seed are shown.
        b: Another model's, of the same people.
        examples: The stored people of each, by id. People whom neither stored are not shown.
        count: How many of each.
        photos: Reads photos as the page may show them.
    """
    if not all(run.has_labels for run in (*a[1], *b[1])):
        return (), ()
    of_a, of_b = ratings(a[1]), ratings(b[1])
    change = of_a - of_b
    known = [
        row
        for row, subject_id in enumerate(a[1][0].ids)
        if not np.isnan(change[row]) and any(subject_id in found for found in examples)
    ]
    ranked = sorted(known, key=lambda row: (-change[row], row))

    def cards(rows: Sequence[int]) -> tuple[ChangedPerson, ...]:
        return tuple(_person(row, (a, b), (of_a, of_b), examples, photos) for row in rows)

    better = [row for row in ranked[:count] if change[row] > 0]
    worse = [row for row in ranked[::-1][:count] if change[row] < 0]
    return cards(better), cards(worse)


def _person(
    row: int,
    models: tuple[tuple[str, Sequence[SplitScores]], tuple[str, Sequence[SplitScores]]],
    rated: tuple[Float[np.ndarray, " sample"], Float[np.ndarray, " sample"]],
    examples: tuple[Mapping[str, Example], Mapping[str, Example]],
    photos: PhotoReader,
) -> ChangedPerson:
    scores = models[0][1][0]
    subject_id = scores.ids[row]
    example = next(found[subject_id] for found in examples if subject_id in found)
    photo = photos.read(example)
    views = [
        ModelView(
            name=name,
            rating=format_number(float(rating[row]), 2),
            scores=tuple(rank_labels(runs[0], row)[:_NUM_SCORES]),
            description=found[subject_id].description if subject_id in found else None,
        )
        for (name, runs), rating, found in zip(models, rated, examples, strict=True)
    ]
    return ChangedPerson(
        id=subject_id,
        change=format_number(float(rated[0][row] - rated[1][row]), 2, signed=True),
        image="" if photo.image is None else data_uri(draw_mark(photo.image, photo.box, RED_BOX)),
        error=photo.reason,
        true_labels=tuple(
            label
            for label, holds in zip(
                scores.label_set.labels, positives(scores.targets[row : row + 1])[0], strict=True
            )
            if holds
        ),
        views=(views[0], views[1]),
    )
