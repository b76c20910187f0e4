"""Learning curves on a page: a table, and a figure with a line per model, drawn in percent.

One color, one marker and one dash style for each model: the lines differ for everyone, and in gray.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from mien.evaluate.metrics.table import find_metric
from mien.evaluate.results.learning_curve import LearningCurve
from mien.evaluate.results.results import Difference, ResultRow
from mien.report.charts import Scale, Tick, scale_over
from mien.report.formatting import NO_VALUE, format_count, format_interval, format_number
from mien.report.template import render_page

__all__ = [
    "CurveCell",
    "CurveFigure",
    "CurveMarker",
    "CurveSection",
    "CurveSeries",
    "CurveTable",
    "curve_section",
    "render_curve",
    "spread",
]

_NUM_STYLES: Final = 6  # markers and colors
_MARGIN: Final = 5.0  # percent of the width at both ends
_LEAST_GAP: Final = 5.0  # percent of the height between two labels
_LEAST_TICK: Final = 12.0  # percent of the width between two numbers
_DODGE: Final = 5.0  # pixels between two models, so that their intervals do not cover each other
_LONGEST_NAME: Final = 18
_WIDTH: Final = 760  # pixels of the file
_HEIGHT: Final = 540
_MAX_TICKS: Final = 9
# What XML does not allow, even escaped.
_NOT_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class CurveMarker:
    """A score: its position from the left and the top in percent, and the ends of its interval."""

    left: float
    top: float
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CurveSeries:
    """The line of one model; `number` chooses its style, and `label_top` is where its name stands."""

    name: str
    number: int
    dash: int
    shift: float
    markers: tuple[CurveMarker, ...]
    label_top: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CurveFigure:
    """A figure. `text` says the same in words, and `name_width` is the length of the longest name."""

    scale: Scale
    sizes: tuple[Tick, ...]
    series: tuple[CurveSeries, ...]
    chance_top: float
    chance_label_top: float
    name_width: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CurveCell:
    """A score or a difference with its interval."""

    value: str
    interval: str
    is_clear: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CurveTable:
    """A line per number of training images: its number, the models, chance, and the differences."""

    models: tuple[tuple[int, str], ...]
    pairs: tuple[tuple[str, str], ...]
    lines: tuple[tuple[str, tuple[CurveCell, ...], str, tuple[CurveCell, ...]], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CurveSection:
    """One metric on one split. `conclusions` has a sentence per difference."""

    metric: str
    title: str
    direction: str
    split: str
    subjects: str
    seeds: str
    figure: CurveFigure
    table: CurveTable
    conclusions: tuple[str, ...]


def curve_section(curve: LearningCurve) -> CurveSection:
    """The section of a curve."""
    metric = find_metric(curve.metric)
    first = next(row for point in curve.points for row in point.rows if row is not None)
    is_higher_better = metric is None or metric.higher_is_better
    return CurveSection(
        metric=curve.metric,
        title=curve.metric if metric is None else metric.title,
        direction="higher is better" if is_higher_better else "lower is better",
        split=curve.split,
        subjects=format_count(first.n),
        seeds="one training seed" if len(first.seeds) == 1 else f"mean of {len(first.seeds)} training seeds",
        figure=_figure(curve, chance=first.chance),
        table=_table(curve),
        conclusions=tuple(
            _conclusion(*pair, sizes, is_higher_better=is_higher_better)
            for pair, sizes in _differences(curve).items()
        ),
    )


def render_curve(section: CurveSection, interval_name: str = "95% interval") -> str:
    """The figure as an SVG file, which calls its intervals by this name."""
    left, top, name_width = 52, 66, round(7.6 * section.figure.name_width) + 20
    values = {
        "curve": section,
        "title": f"{section.metric} on {section.split} by the number of training images",
        "subtitle": f"{section.subjects} subjects, {section.seeds}; vertical lines: {interval_name}s",
        "width": _WIDTH,
        "height": _HEIGHT,
        "left": left,
        "top": top,
        "plot_width": _WIDTH - left - name_width,
        "plot_height": _HEIGHT - top - 54,
    }
    text = render_page("run/curve.svg", values, styles=("run/curves.css",)).strip()
    return _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text) + "\n"


# --- The figure --------------------------------------------------------------------------------------


def _figure(curve: LearningCurve, *, chance: float) -> CurveFigure:
    rows = [row for point in curve.points for row in point.rows if row is not None]
    values = [value for row in rows for value in (row.low, row.high, row.value)]
    scale = scale_over([*values, chance], with_zero=False, max_ticks=_MAX_TICKS)
    lines = {name: _markers(curve, index, scale) for index, name in enumerate(curve.models)}
    chance_top = _top(scale, chance)
    *tops, chance_label_top = spread([*(markers[-1].top for markers in lines.values()), chance_top])
    names = [_short(name) for name in curve.models]
    return CurveFigure(
        scale=scale,
        sizes=_ticks(curve),
        series=tuple(
            CurveSeries(
                name=name,
                number=index % _NUM_STYLES,
                dash=index % (_NUM_STYLES - 1),  # so that 30 models have different styles
                shift=(index - (len(lines) - 1) / 2) * _DODGE,
                markers=markers,
                label_top=top,
            )
            for index, (name, markers, top) in enumerate(zip(names, lines.values(), tops, strict=True))
        ),
        chance_top=chance_top,
        chance_label_top=chance_label_top,
        name_width=max(len("chance"), *map(len, names)),
        text=_text(curve, chance),
    )


def _markers(curve: LearningCurve, index: int, scale: Scale) -> tuple[CurveMarker, ...]:
    """The points of one model."""
    return tuple(
        CurveMarker(
            left=_left(curve, point.train_size),
            top=_top(scale, row.value),
            low=None if row.low is None else _top(scale, row.low),
            high=None if row.high is None else _top(scale, row.high),
        )
        for point in curve.points
        if (row := point.rows[index]) is not None
    )


def _left(curve: LearningCurve, size: int) -> float:
    """The position of a number of images on a log scale."""
    low, high = (math.log(curve.points[index].train_size) for index in (0, -1))
    share = (math.log(size) - low) / (high - low) if high > low else 0.5
    return round(_MARGIN + (100 - 2 * _MARGIN) * share, 2)


def _top(scale: Scale, value: float) -> float:
    return round(100 - scale.at(value), 2)


def _ticks(curve: LearningCurve) -> tuple[Tick, ...]:
    """The numbers of images; those without space for their text have a line only."""
    ticks: list[Tick] = []
    next_free = math.inf
    for point in reversed(curve.points):  # the largest has its text in any case
        at = _left(curve, point.train_size)
        is_free = at <= next_free
        ticks.append(Tick(at=at, text=format_count(point.train_size) if is_free else ""))
        next_free = at - _LEAST_TICK if is_free else next_free
    return tuple(reversed(ticks))


def spread(tops: Sequence[float]) -> list[float]:
    """Positions in percent, moved apart as little as needed for a line of text each, in the same order."""
    gap = min(_LEAST_GAP, 100 / max(1, len(tops) - 1))
    order = sorted(range(len(tops)), key=lambda index: tops[index])
    places = [tops[index] for index in order]
    for index in range(1, len(places)):
        places[index] = max(places[index], places[index - 1] + gap)
    places[-1:] = [min(place, 100.0) for place in places[-1:]]
    for index in reversed(range(len(places) - 1)):
        places[index] = min(places[index], places[index + 1] - gap)
    found = dict(zip(order, places, strict=True))
    return [round(found[index], 2) for index in range(len(tops))]


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}\N{HORIZONTAL ELLIPSIS}"


def _text(curve: LearningCurve, chance: float) -> str:
    """The scores at the smallest and the largest number of images."""
    parts = []
    for point in dict.fromkeys((curve.points[0], curve.points[-1])):
        scores = ", ".join(
            f"{_short(name)} {format_number(row.value)}"
            for name, row in zip(curve.models, point.rows, strict=True)
            if row is not None
        )
        parts.append(f"with {format_count(point.train_size)} training images: {scores}")
    return f"{curve.metric} on {curve.split} {'; '.join(parts)}; chance {format_number(chance)}"


# --- The table ---------------------------------------------------------------------------------------


def _table(curve: LearningCurve) -> CurveTable:
    return CurveTable(
        models=tuple((index % _NUM_STYLES, name) for index, name in enumerate(curve.models)),
        pairs=curve.pairs,
        lines=tuple(
            (
                format_count(point.train_size),
                tuple(_cell(row) for row in point.rows),
                format_number(next(row.chance for row in point.rows if row is not None)),
                tuple(_cell(item, signed=True) for item in point.differences),
            )
            for point in curve.points
        ),
    )


def _cell(item: ResultRow | Difference | None, *, signed: bool = False) -> CurveCell:
    if item is None:
        return CurveCell(value=NO_VALUE, interval="")
    return CurveCell(
        value=format_number(item.value, signed=signed),
        interval=format_interval(item.low, item.high, signed=signed),
        is_clear=isinstance(item, Difference) and item.excludes_zero,
    )


def _differences(curve: LearningCurve) -> dict[tuple[str, str], list[tuple[int, Difference]]]:
    return {
        pair: [
            (point.train_size, item)
            for point in curve.points
            if (item := point.differences[index]) is not None
        ]
        for index, pair in enumerate(curve.pairs)
    }


def _conclusion(a: str, b: str, items: Sequence[tuple[int, Difference]], *, is_higher_better: bool) -> str:
    """At which sizes one of two models is better."""
    kinds: Mapping[str, list[str]] = {f"{a} is better": [], f"{b} is better": [], "no clear difference": []}
    better, worse, unclear = kinds
    for size, item in items:
        clear = better if (item.value > 0) == is_higher_better else worse
        kinds[clear if item.excludes_zero else unclear].append(format_count(size))
    found = "; ".join(f"{kind} with {_list(sizes)}" for kind, sizes in kinds.items() if sizes)
    return f"{a} \N{MINUS SIGN} {b}: {found} training images."


def _list(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
