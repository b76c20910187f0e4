"""Writes one page that compares runs, and its tables.

Names, ids, descriptions and messages are untrusted: the template engine escapes them all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from mien.errors import UsageError
from mien.evaluate.analysis.label_differences import LabelDifference, build_label_differences
from mien.evaluate.bootstrap import RESAMPLES
from mien.evaluate.results.comparison import Comparison, compare_runs
from mien.evaluate.results.examples import Example, examples_file, read_examples
from mien.evaluate.results.measured_on import dataset_text, embedded_notice, size_notice
from mien.evaluate.scores import SplitScores
from mien.files import atomic_write_bytes
from mien.report.comparison.labels import label_difference_table
from mien.report.comparison.people import changed_people
from mien.report.formatting import format_count
from mien.report.photos import FaceFinder, PhotoMode, PhotoReader
from mien.report.run.tables import difference_tables, headline, interval_name, score_tables
from mien.report.tables.of_run import difference_table, score_table
from mien.report.tables.table import Column, Table, build_table
from mien.report.template import render_page
from mien.runs import Run
from mien.version import __version__

__all__ = ["COMPARISON", "RunsToCompare", "comparison_tables", "load_comparison", "write_comparison"]

COMPARISON: Final = "comparison.html"
_STYLES: Final = (
    *("base.css", "run/page.css", "run/curves.css"),
    *("sections/sections.css", "comparison/page.css"),
)
_NUM_PEOPLE: Final = 4  # in either direction, for each pair
_MAX_PAIRS: Final = 3  # with photos


@dataclass(frozen=True, slots=True, kw_only=True)
class RunsToCompare:
    """Runs that were scored on the same people.

    Attributes:
        comparison: Scores and differences.
        labels: Differences by label, of the first row from each other one.
        recipe: The table of the first run's recipe.
    """

    comparison: Comparison
    labels: tuple[tuple[LabelDifference, ...], ...]
    recipe: Mapping[str, Any]

    @property
    def models(self) -> Mapping[str, list[SplitScores]]:
        """The scores of each row's seeds."""
        return {name: [scores for _, scores in runs] for name, runs in self.comparison.scored.items()}


def load_comparison(
    runs: Sequence[Path], *, split: str | None = None, resamples: int = RESAMPLES
) -> RunsToCompare:
    """Compares runs on a split.

    Args:
        runs: The run directories; the first is the reference. Seeds of one recipe form one row.
        split: The split; by default "test", or else the first one that all runs have scored.
        resamples: How many resamples of images the intervals come from.

    Raises:
        UsageError: There are fewer than two runs, or one is given twice.
        RunError: A directory is not a run, or was not scored on the split.
        DataError: The runs were scored on different people, labels or targets.
    """
    if len(runs) < 2:
        raise UsageError("a comparison needs two runs or more", hint="name another run directory")
    recipe = Run.open(runs[0]).manifest.recipe
    found = compare_runs(runs, split=split or _common_split(runs), resamples=resamples, all_differences=True)
    names = list(found.scored)
    models = {name: [scores for _, scores in scored] for name, scored in found.scored.items()}
    labels = [
        build_label_differences((names[0], models[names[0]]), (other, models[other]), resamples=resamples)
        for other in names[1:]
    ]
    return RunsToCompare(
        comparison=found,
        labels=tuple(rows for rows in labels if rows),
        recipe=recipe,
    )


def _common_split(runs: Sequence[Path]) -> str:
    """A split that all runs have scored; "test" if there is none, for an error that says what is missing."""
    splits = [{file.stem.removeprefix("scores-") for file in run.glob("scores-*.npz")} for run in runs]
    common = set.intersection(*splits)
    return "test" if "test" in common or not common else min(common)


def write_comparison(
    found: RunsToCompare, path: Path, *, photos: PhotoMode = "full", find_faces: FaceFinder | None = None
) -> Path:
    """Writes the page, and returns its path.

    Args:
        found: From `load_comparison`.
        path: The file.
        photos: Whether photos are shown as they are, with heads blurred, or not at all.
        find_faces: Finds further faces to blur.

    Raises:
        DataError: The page cannot be written.
        RunError: The stored samples of a run are damaged.
    """
    html = render_page("comparison/page.html", _page_values(found, photos, find_faces), styles=_STYLES)
    atomic_write_bytes(path, html.encode("utf-8", "replace"))
    return path


def comparison_tables(found: RunsToCompare) -> tuple[Table, ...]:
    """The tables of the page that have rows."""
    results = found.comparison.results
    tables = (
        score_table(results.rows),
        difference_table(results.differences),
        _label_table(found.labels),
        _settings_table(found.comparison),
    )
    return tuple(table for table in tables if table.rows)


# --- The page ------------------------------------------------------------------------------------------


def _page_values(found: RunsToCompare, photos: PhotoMode, find_faces: FaceFinder | None) -> dict[str, object]:
    comparison, models = found.comparison, found.models
    results, split = comparison.results, comparison.split
    tables = score_tables(results.rows)
    examples = {name: _examples(comparison, name) for name in models}
    everyone = {example.id: example for some in examples.values() for example in some.values()}
    reader = PhotoReader(photos, everyone.values(), find_faces)
    reference, *others = models
    changes = [
        (
            other,
            *changed_people(
                (reference, models[reference]),
                (other, models[other]),
                (examples[reference], examples[other]),
                count=_NUM_PEOPLE,
                photos=reader,
            ),
        )
        for other in others[:_MAX_PAIRS]
    ]
    first = models[reference][0]
    data = found.recipe.get("data")
    size = size_notice(data.get("name") if isinstance(data, Mapping) else None, split, len(first))
    return {
        "version": __version__,
        "facts": (
            ("Dataset", f"{dataset_text(found.recipe)} (labels: {first.label_set.name})"),
            ("Split", split),
            ("People", format_count(len(first))),
            ("Images", format_count(len(set(first.groups)))),
        ),
        "notice": _notice(comparison),
        "reference": reference,
        "runs": _run_lines(comparison),
        "settings": _setting_lines(comparison),
        "headline": headline(tables[0], interval_name(results, split)),
        "interval_name": partial(interval_name, results),
        "interval_kind": results.interval,
        "tables": tables,
        "differences": difference_tables(results.differences),
        "notes": (*results.notes, *([size] if size else [])),
        "labels": [label_difference_table(rows) for rows in found.labels],
        "changes": [change for change in changes if change[1] or change[2]],
        "not_shown": others[_MAX_PAIRS:],
        "photos_note": reader.note,
    }


def _notice(comparison: Comparison) -> str:
    """The limitation of the first run that has one."""
    recipes = (Run.open(run).manifest.recipe for scored in comparison.scored.values() for run, _ in scored)
    return next((notice for recipe in recipes if (notice := embedded_notice(recipe))), "")


def _examples(comparison: Comparison, name: str) -> dict[str, Example]:
    """The stored people of the first seed of a row, by id."""
    (run, _), *_ = comparison.scored[name]
    path = examples_file(run, comparison.split)
    return {example.id: example for example in read_examples(path)} if path.exists() else {}


def _run_lines(comparison: Comparison) -> list[tuple[str, str, str, str]]:
    """Name, directory, training seed, and how often the split was scored, of each run."""
    lines = []
    seeds = {row.name: row.seeds for row in comparison.results.rows}
    for name, scored in comparison.scored.items():
        for index, (run, _) in enumerate(scored):
            access = comparison.split_accesses.get(str(run))
            times = "unknown" if access is None else format_count(access.times)
            lines.append((name, str(run), str(seeds[name][index]), times))
    return lines


def _setting_lines(comparison: Comparison) -> list[tuple[str, tuple[str, ...]]]:
    """The settings in which the rows differ, with the value of each row."""
    names = list(comparison.settings)
    keys = dict.fromkeys(key for values in comparison.settings.values() for key in values)
    return [(key, tuple(_shown(comparison.settings[name].get(key)) for name in names)) for key in keys]


def _shown(value: Any) -> str:
    return "not set" if value is None else str(value)


# --- Files ---------------------------------------------------------------------------------------------


def _label_table(labels: Sequence[Sequence[LabelDifference]]) -> Table:
    return build_table(
        "label-differences",
        "Average precision by label, and paired differences with 95% intervals.",
        [row for rows in labels for row in rows],
        [
            (Column(name="Label"), lambda row: row.label),
            (Column(name="First"), lambda row: row.a),
            (Column(name="Second"), lambda row: row.b),
            (Column(name="AP of the first", kind="number"), lambda row: row.value_a),
            (Column(name="AP of the second", kind="number"), lambda row: row.value_b),
            (Column(name="First minus second", kind="number", signed=True), lambda row: row.difference),
            (Column(name="95% interval", kind="interval", signed=True), lambda row: (row.low, row.high)),
            (Column(name="Subjects", kind="count"), lambda row: row.positives),
        ],
    )


def _settings_table(comparison: Comparison) -> Table:
    return Table(
        name="settings",
        caption="Settings in which the runs differ.",
        columns=(Column(name="Setting"), *(Column(name=name) for name in comparison.settings)),
        rows=tuple((key, *values) for key, values in _setting_lines(comparison)),
    )
