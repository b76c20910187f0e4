"""The section on valence, arousal and dominance: errors in a table, and where predictions lie by annotation.

People are counted in cells of the plane, so that a page of thousands of people stays small: each shade of a
figure is one path.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final

import numpy as np
from jaxtyping import Float, Int

from mien.evaluate.results.results import DimensionRow, Evaluation
from mien.evaluate.scores import SplitScores
from mien.report.formatting import count_noun, format_number
from mien.report.run.tables import TextTable, dimension_table
from mien.types import DIMENSIONS

__all__ = ["CELLS", "DensityFigure", "DimensionSection", "dimension_section"]

CELLS: Final = 21  # per side; centers at 0, 0.05, ..., 1, where annotators' tenths lie
_SHADES: Final = 5
_VALENCE, _AROUSAL = 0, 1
_Values = Float[np.ndarray, " person"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DensityFigure:
    """How many people lie in each cell of a plane from 0 to 1.

    Attributes:
        title: What it shows.
        detail: Its numbers in words.
        across: What goes to the right.
        up: What goes upward.
        shades: An SVG path per shade, from few people to many, in cells from the top left.
        has_diagonal: Whether a right prediction lies on the diagonal.
        text: The figure in words.
    """

    title: str
    detail: str
    across: str
    up: str
    shades: tuple[str, ...]
    has_diagonal: bool
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DimensionSection:
    """Errors by dimension, predictions by annotation, and the plane of valence and arousal.

    Attributes:
        split: The split that is shown; "" if the errors are of several.
        table: The errors.
        agreement: A figure per dimension.
        planes: What annotators chose, and what the model predicts.
        bounded: How many predictions are drawn at the end of the scale, in words; "" for none.
    """

    split: str
    table: TextTable
    agreement: tuple[DensityFigure, ...]
    planes: tuple[DensityFigure, ...]
    bounded: str


def dimension_section(results: Evaluation, scores: SplitScores | None) -> DimensionSection | None:
    """The section for the shown split; None without any error of a dimension."""
    table = dimension_table(results, None if scores is None else scores.split)
    if table is None:
        return None
    figures: tuple[DensityFigure, ...] = ()
    planes: tuple[DensityFigure, ...] = ()
    bounded = 0
    if scores is not None and scores.dimensions is not None and scores.dimension_targets is not None:
        rows = {row.dimension: row for row in results.dimensions if row.split == scores.split}
        predicted, annotated = scores.dimensions, scores.dimension_targets
        figures = tuple(
            _agreement(name, predicted[:, index], annotated[:, index], rows[name])
            for index, name in enumerate(DIMENSIONS)
            if name in rows
        )
        planes = _planes(predicted, annotated)
        shown = predicted[np.isfinite(annotated)]
        bounded = int(((shown < 0) | (shown > 1)).sum())
    return DimensionSection(
        split="" if scores is None else scores.split,
        table=table,
        agreement=figures,
        planes=planes,
        bounded=f"{count_noun(bounded, 'prediction')} outside of the scale" if bounded else "",
    )


def _agreement(name: str, predicted: _Values, annotated: _Values, row: DimensionRow) -> DensityFigure:
    known = np.isfinite(annotated)
    truth, values = annotated[known].astype(np.float64), predicted[known].astype(np.float64)
    r2 = "not defined" if row.r2 is None else format_number(row.r2)
    spreads = f"spread {_two_digits(values.std())}, of annotations {_two_digits(truth.std())}"
    means = "; ".join(
        f"annotated {low:.1f} to {high:.1f}: predicted {_two_digits(values[inside].mean())} on average"
        for low, high, inside in _fifths(truth)
    )
    return DensityFigure(
        title=name.capitalize(),
        detail=f"error {format_number(row.value)}, R2 {r2}; {spreads}",
        across="annotated",
        up="predicted",
        shades=_shades(_count(truth, values)),
        has_diagonal=True,
        text=means,
    )


def _two_digits(value: np.floating[Any]) -> str:
    return format_number(float(value), 2)


def _fifths(truth: _Values) -> list[tuple[float, float, np.ndarray]]:
    """The fifths of the scale that someone was annotated in."""
    cuts = np.clip((truth * 5).astype(int), 0, 4)
    return [(cut / 5, (cut + 1) / 5, cuts == cut) for cut in range(5) if (cuts == cut).any()]


def _planes(
    predicted: Float[np.ndarray, "person dimension"], annotated: Float[np.ndarray, "person dimension"]
) -> tuple[DensityFigure, ...]:
    """Both are of the people whose valence and arousal were annotated."""
    known = np.isfinite(annotated[:, [_VALENCE, _AROUSAL]]).all(axis=1)
    if not known.any():
        return ()
    return tuple(
        _plane(title, values[known, _VALENCE].astype(np.float64), values[known, _AROUSAL].astype(np.float64))
        for title, values in (("As annotated", annotated), ("As predicted", predicted))
    )


def _plane(title: str, valence: _Values, arousal: _Values) -> DensityFigure:
    means = f"mean valence {_two_digits(valence.mean())}, arousal {_two_digits(arousal.mean())}"
    quarters = "; ".join(
        f"{name}: {(((valence >= 0.5) == is_pleasant) & ((arousal >= 0.5) == is_excited)).mean():.0%}"
        for name, is_pleasant, is_excited in (
            ("pleasant and excited", True, True),
            ("pleasant and calm", True, False),
            ("unpleasant and excited", False, True),
            ("unpleasant and calm", False, False),
        )
    )
    return DensityFigure(
        title=title,
        detail=means,
        across="valence",
        up="arousal",
        shades=_shades(_count(valence, arousal)),
        has_diagonal=False,
        text=f"{means}; {quarters}",
    )


def _count(across: _Values, up: _Values) -> Int[np.ndarray, "row column"]:
    """How many people are in each cell, the top row first; values off the scale are in the last cells."""
    columns, rows = (
        np.clip(np.rint(values * (CELLS - 1)), 0, CELLS - 1).astype(int) for values in (across, up)
    )
    counts = np.zeros((CELLS, CELLS), dtype=np.int64)
    np.add.at(counts, (CELLS - 1 - rows, columns), 1)
    return counts


def _shades(counts: Int[np.ndarray, "row column"]) -> tuple[str, ...]:
    """Square roots of counts, so that few people stay visible next to many."""
    levels = np.ceil(_SHADES * np.sqrt(counts / max(1, counts.max()))).astype(int)
    paths = ["" for _ in range(_SHADES)]
    for top, row in enumerate(levels.tolist()):
        left = 0
        for level, cells in groupby(row):
            width = len(list(cells))
            if level:
                paths[level - 1] += f"M{left} {top}h{width}v1h-{width}z"
            left += width
    return tuple(paths)
