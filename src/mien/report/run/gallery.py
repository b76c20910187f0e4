"""The examples of a page: where a model did best and worst, with the picture, the text and the truth.

Goes in: scores of a split and what was shown of it. Comes out: cards, each with its picture as a data URI.
Knows nothing about: HTML, other splits, how a description was made.

A sample is rated by how far its true labels stand above the others: label-ranking average precision
(Tsoumakas et al. 2010), 1 where every true label outranks every other one; among equals the one with the
wider margin of scores is the better.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Bool, Float

from mien.errors import MienError
from mien.evaluate.metrics.targets import positives
from mien.evaluate.results.examples import Example
from mien.evaluate.scores import SplitScores
from mien.media.images import Marking
from mien.media.views import prepare_image
from mien.report.charts import Scale
from mien.report.embedded_images import data_uri
from mien.types import DIMENSIONS, ImageRef, Subject

__all__ = ["Card", "DimensionLine", "Guess", "best_and_worst", "rate"]

log = logging.getLogger(__name__)

_SHOWN_GUESSES: Final = 5
_BOX: Final = Marking(style="red_box")
_SCALE: Final = Scale(low=0.0, high=1.0, step=0.2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Guess:
    """A label with its score, its rank (from 1), and whether annotators chose it."""

    label: str
    score: str
    at: float
    rank: int
    true: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class DimensionLine:
    """One of valence, arousal, dominance: what the model says, what annotators said ("" if nothing)."""

    name: str
    estimated: str
    annotated: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """One example. `picture` is a data URI, or "" with the reason in `no_picture`."""

    id: str
    rating: str
    picture: str
    no_picture: str
    description: str | None
    truth: tuple[str, ...]
    guesses: tuple[Guess, ...]
    missed: tuple[Guess, ...]
    dimensions: tuple[DimensionLine, ...]


def best_and_worst(
    scores: SplitScores, examples: Mapping[str, Example], count: int
) -> tuple[tuple[Card, ...], tuple[Card, ...]]:
    """Up to `count` cards of the best samples, best first, and of the worst, worst first; never one in both.

    Samples without a true label, and those of which nothing was kept, cannot be shown.
    """
    if not scores.has_labels:
        return (), ()  # they are rated by their labels
    ratings, margins = rate(scores.scores, positives(scores.targets))
    rows = [row for row, id in enumerate(scores.ids) if id in examples and not np.isnan(ratings[row])]
    ranked = sorted(rows, key=lambda row: (-ratings[row], -margins[row], row))
    count = min(count, len(ranked) // 2) if len(ranked) > 1 else len(ranked)
    worst = ranked[len(ranked) - count :][::-1] if len(ranked) > 1 else []

    def cards(chosen: Sequence[int]) -> tuple[Card, ...]:
        return tuple(_card(scores, row, float(ratings[row]), examples[scores.ids[row]]) for row in chosen)

    return cards(ranked[:count]), cards(worst)


def rate(
    scores: Float[np.ndarray, "sample label"], truth: Bool[np.ndarray, "sample label"]
) -> tuple[Float[np.ndarray, " sample"], Float[np.ndarray, " sample"]]:
    """Label-ranking average precision of each sample, and the margin between its labels' mean scores.

    NaN where a sample has no true label; the margin is to 0 where it has no false one.
    """
    ratings, margins = np.full(len(scores), np.nan), np.full(len(scores), np.nan)
    for row in np.flatnonzero(truth.any(axis=1)):
        of_true, of_false = scores[row][truth[row]], scores[row][~truth[row]]
        # For a true label: of the labels that score as high or higher, the share that is true.
        above = (scores[row][None, :] >= of_true[:, None]).sum(axis=1)
        true_above = (of_true[None, :] >= of_true[:, None]).sum(axis=1)
        ratings[row] = np.mean(true_above / above)
        margins[row] = of_true.mean() - (of_false.mean() if len(of_false) else 0.0)
    return ratings, margins


def _card(scores: SplitScores, row: int, rating: float, example: Example) -> Card:
    guesses = _guesses(scores, row)
    picture, reason = _picture(example)
    return Card(
        id=example.id,
        rating=f"{rating:.2f}",
        picture=picture,
        no_picture=reason,
        description=example.description,
        truth=tuple(guess.label for guess in guesses if guess.true),
        guesses=tuple(guesses[:_SHOWN_GUESSES]),
        missed=tuple(guess for guess in guesses[_SHOWN_GUESSES:] if guess.true),
        dimensions=_dimensions(scores, row),
    )


def _guesses(scores: SplitScores, row: int) -> list[Guess]:
    """All labels, the highest score first."""
    values, truth = scores.scores[row], positives(scores.targets[row : row + 1])[0]
    order = np.argsort(-values, kind="stable")
    return [
        Guess(
            label=scores.label_set.labels[index],
            score=f"{values[index]:.2f}",
            at=_SCALE.at(float(values[index])),
            rank=rank,
            true=bool(truth[index]),
        )
        for rank, index in enumerate(order, start=1)
    ]


def _dimensions(scores: SplitScores, row: int) -> tuple[DimensionLine, ...]:
    if scores.dimensions is None:
        return ()
    seen = np.full(len(DIMENSIONS), np.nan)
    if scores.dimension_targets is not None:
        seen = scores.dimension_targets[row]
    return tuple(
        DimensionLine(
            name=name,
            estimated=f"{value:.2f}",
            annotated="" if np.isnan(truth) else f"{truth:.2f}",
        )
        for name, value, truth in zip(DIMENSIONS, scores.dimensions[row], seen, strict=True)
    )


def _picture(example: Example) -> tuple[str, str]:
    """The picture with its box, of a clip the frame in the middle, as a data URI; or "" and why there is
    none."""
    images = tuple(
        ImageRef(path=path, frame=frame) for path, frame in zip(example.images, example.frames, strict=True)
    )
    try:
        image = prepare_image(Subject(id=example.id, images=images, boxes=example.boxes), marking=_BOX)
    except MienError as error:
        # In ASCII: an id may hold anything, control characters and halves of characters included.
        log.warning("example %a is shown without its picture: %a", example.id, str(error))
        return "", str(error)
    return data_uri(image), ""
