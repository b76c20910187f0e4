"""The chart that a kind stands for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, get_args

from mien.errors import UsageError, unknown_name
from mien.predict.charts.bar import bar_chart
from mien.predict.charts.chart import Chart, ChartKind
from mien.predict.charts.plane import dimension_chart
from mien.predict.charts.radar import radar_chart
from mien.predict.charts.timeline import timeline_chart

if TYPE_CHECKING:
    from mien.predict.results import Results

__all__ = ["draw_results"]


def draw_results(
    results: Results, kind: ChartKind, *, top: int, frames: Iterable[Results] | None = None
) -> Chart:
    """Draws what `Results.plot` describes."""
    if kind not in get_args(ChartKind):
        raise unknown_name("kind of chart", kind, get_args(ChartKind))
    if top < 1:
        raise UsageError(f"a chart of {top} labels", hint="give at least 1")
    if kind == "radar":
        return radar_chart(results.people, top=top)
    if kind == "vad":
        return dimension_chart(results.people)
    if kind == "timeline":
        if frames is None:
            raise UsageError(
                "a timeline needs the frames of a video",
                hint='pass what stream returned: frames[0].plot("timeline", frames=frames)',
            )
        return timeline_chart((item for item in frames if item.source == results.source), top=top)
    return bar_chart(results.people, top=top)
