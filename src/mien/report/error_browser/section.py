"""The section of a page with everyone of a split, the worst rated first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Bool
from markupsafe import Markup

from mien.evaluate.calibration.calibrate import Calibration
from mien.evaluate.explanations.stored import ExplainedPerson
from mien.evaluate.metrics.targets import positives
from mien.evaluate.results.examples import Example
from mien.evaluate.scores import SplitScores
from mien.report.error_browser.filters import filter_rules
from mien.report.error_browser.people import (
    AGREEMENTS,
    KINDS,
    PersonEntry,
    person_entry,
)
from mien.report.error_browser.thumbnails import Thumbnail, make_thumbnails
from mien.report.explained import Why, why
from mien.report.formatting import format_count
from mien.report.photos import PhotoReader
from mien.report.predictions import Predictions, predict_labels
from mien.report.run.gallery import rate_samples

__all__ = ["ErrorBrowser", "LabelOption", "error_browser"]

PAGE_BYTES: Final = 29_000_000  # of the page with everything else on it
_MAP_SIDE: Final = 300  # pixels
_OTHER_BYTES: Final = 1_500_000  # of everything else on it
_TEXT_BYTES: Final = 14_000_000  # of what is said about people; who comes after that is left out


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelOption:
    """A label in the menu, with the numbers of people who have it, miss it, and are given it wrongly."""

    name: str
    chosen: str
    missed: str
    false_alarms: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorBrowser:
    """The section.

    Attributes:
        people: With their images, the worst rated first; those whom annotators gave no label come last.
        num_people: Of the split.
        num_left_out: Of those, who do not fit onto the page.
        num_images: Who has a image.
        has_agreement: Whether it is known how far annotators agree.
        has_explanations: Whether someone's scores are explained.
        style: The rules of the filters.
    """

    split: str
    rule: str
    people: tuple[tuple[PersonEntry, Thumbnail, Why | None], ...]
    num_people: str
    num_left_out: str
    num_images: str
    budget: str
    labels: tuple[LabelOption, ...]
    kinds: Mapping[str, str]
    agreements: Mapping[str, str]
    has_agreement: bool
    has_explanations: bool
    style: Markup


def error_browser(
    scores: SplitScores,
    examples: Mapping[str, Example],
    calibration: Calibration | None,
    photos: PhotoReader,
    explanations: Mapping[str, ExplainedPerson],
) -> ErrorBrowser | None:
    """The section, or None if no labels were predicted or no examples were stored.

    Args:
        scores: Of the split.
        examples: Of the same split, by id.
        calibration: What was fitted on another split; None if nothing was.
        photos: Opens photos.
        explanations: Of some of them, by id.
    """
    if not scores.has_labels or not any(id in examples for id in scores.ids):
        return None
    truth = positives(scores.targets)
    found = predict_labels(scores, calibration)
    rows = _worst_first(scores, truth, examples)
    entries = [person_entry(row, scores, found, examples[scores.ids[row]], rating) for row, rating in rows]
    shown = _that_fit(entries)
    num_text = sum(entry.num_bytes for entry in shown)
    ids = {entry.id for entry in shown}
    in_order = [examples[id] for id in scores.ids if id in ids]
    reasons = {
        id: why(explanations[id], photos.read(examples[id]), max_side=_MAP_SIDE, max_maps=1)
        for id in ids & explanations.keys()
    }
    num_maps = sum(
        len(drawn.image) for reason in reasons.values() for item in reason.labels for drawn in item.maps
    )
    thumbnails = make_thumbnails(photos, in_order, PAGE_BYTES - _OTHER_BYTES - num_text - num_maps)
    people = tuple((entry, thumbnails[entry.id], reasons.get(entry.id)) for entry in shown)
    return ErrorBrowser(
        split=scores.split,
        rule=found.rule,
        people=people,
        num_people=format_count(len(entries)),
        num_left_out=format_count(len(entries) - len(shown)) if len(shown) < len(entries) else "",
        num_images=format_count(sum(bool(image.source) for _, image, _ in people)),
        budget=f"{PAGE_BYTES // 1_000_000} MB",
        labels=_options(scores, truth, found, [row for row, _ in rows[: len(shown)]]),
        kinds=KINDS,
        agreements=AGREEMENTS,
        has_agreement=any("g0" not in entry.classes.split() for entry in shown),
        has_explanations=bool(reasons),
        style=Markup(filter_rules(len(scores.label_set))),  # noqa: S704 - numbers and our own words
    )


def _worst_first(
    scores: SplitScores, truth: Bool[np.ndarray, "sample label"], examples: Mapping[str, Example]
) -> list[tuple[int, float]]:
    """Rows with their ratings; those of the gallery, so that both sections have the same order."""
    ratings, margins = rate_samples(scores.scores, truth)
    rows = [row for row, id in enumerate(scores.ids) if id in examples]
    values, gaps = np.nan_to_num(ratings), np.nan_to_num(margins)
    ordered = sorted(rows, key=lambda row: (np.isnan(ratings[row]), values[row], gaps[row], -row))
    return [(row, float(ratings[row])) for row in ordered]


def _that_fit(entries: Sequence[PersonEntry]) -> list[PersonEntry]:
    total = 0
    shown: list[PersonEntry] = []
    for entry in entries:
        total += entry.num_bytes
        if total > _TEXT_BYTES and shown:
            break
        shown.append(entry)
    return shown


def _options(
    scores: SplitScores, truth: Bool[np.ndarray, "sample label"], found: Predictions, rows: Sequence[int]
) -> tuple[LabelOption, ...]:
    truth, predicted = truth[list(rows)], found.predicted[list(rows)]
    counts = (truth.sum(0), (truth & ~predicted).sum(0), (~truth & predicted).sum(0))
    return tuple(
        LabelOption(
            name=name,
            chosen=format_count(int(chosen)),
            missed=format_count(int(missed)),
            false_alarms=format_count(int(false_alarms)),
        )
        for name, chosen, missed, false_alarms in zip(scores.label_set.labels, *counts, strict=True)
    )
