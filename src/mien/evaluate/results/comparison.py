"""Compares runs that were scored on the same split.

Runs whose recipes differ only in the training seed are one row: the mean over seeds. Each row is compared
with the first, on the same resamples.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, TypedDict

from mien.digests import digest
from mien.errors import DataError, UsageError
from mien.evaluate.bootstrap import RESAMPLES
from mien.evaluate.calibration.calibrate import read_calibration
from mien.evaluate.results.build import (
    build_difference,
    build_score_rows,
    describe_intervals,
    mark_uncalibrated,
)
from mien.evaluate.results.published import Published
from mien.evaluate.results.results import Evaluation, ResultRow, SplitAccess
from mien.evaluate.results.split_accesses import read_split_accesses
from mien.evaluate.scores import SplitScores, scores_file
from mien.recipe.places import DATA_PLACES
from mien.runs import Run

__all__ = ["Comparison", "ComparisonFacts", "compare_runs"]

_ZERO_SHOT: Final = ("data", "describe", "zero_shot")  # the sections that count without training


class SplitAccessDict(TypedDict):
    """`SplitAccess` as plain values."""

    split: str
    times: int
    weights: int


class PublishedRow(TypedDict):
    """A score that others reported, on a scale from 0 to 1.

    Attributes:
        name: The model.
        dataset: The dataset.
        metric: The metric.
        value: The score.
        split: The split that it is reported on.
        source: Where it is reported.
        caveat: What is doubtful about the score; empty if nothing is.
        caveats: Why it may not be comparable with these runs; empty if nothing speaks against it.
    """

    name: str
    dataset: str
    metric: str
    value: float
    split: str
    source: str
    caveat: str
    caveats: str


class ComparisonFacts(TypedDict):
    """What a comparison says beyond rows and differences.

    Attributes:
        split: The split.
        settings: The recipe settings in which the rows differ, by row.
        split_accesses_by_run: How often each run has scored the split, by run directory.
        published: Scores that others reported on the same dataset; empty unless asked for.
    """

    split: str
    settings: dict[str, dict[str, Any]]
    split_accesses_by_run: dict[str, SplitAccessDict]
    published: list[PublishedRow]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Runs side by side on one split.

    Attributes:
        results: Rows of each model in each metric, and differences of each model from the first, in the form
            of `results.json`.
        split: The split.
        settings: The recipe settings in which the rows differ, by row.
        split_accesses: How often each run has scored the split, by run directory.
        scored: The run directories and the scores of each row's seeds.
        published: Scores that others reported on the same dataset, if requested, each with the reasons why it
            may not be comparable.
    """

    results: Evaluation
    split: str
    settings: Mapping[str, Mapping[str, Any]]
    split_accesses: Mapping[str, SplitAccess]
    scored: Mapping[str, tuple[tuple[Path, SplitScores], ...]] = field(default_factory=dict)
    published: tuple[tuple[Published, str], ...] = ()

    def to_json(self) -> dict[str, Any]:
        """`rows` and `differences` as in `results.json`, and the other attributes, as plain JSON values."""
        facts: ComparisonFacts = {
            "split": self.split,
            "settings": {name: dict(settings) for name, settings in self.settings.items()},
            "split_accesses_by_run": {
                run: {"split": access.split, "times": access.times, "weights": access.weights}
                for run, access in self.split_accesses.items()
            },
            "published": [
                {
                    "name": row.name,
                    "dataset": row.dataset,
                    "metric": row.metric,
                    "value": row.value,
                    "split": row.split,
                    "source": row.source,
                    "caveat": row.caveat,
                    "caveats": caveats,
                }
                for row, caveats in self.published
            ],
        }
        return {**asdict(self.results), **facts}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _ScoredRun:
    """A run, its recipe, and its scores on the split."""

    path: Path
    recipe: Mapping[str, Any]
    scores: SplitScores

    @property
    def seed(self) -> int:
        return int(self.recipe.get("train", {}).get("seed", 0))

    @property
    def is_zero_shot(self) -> bool:
        return self.recipe.get("zero_shot", {}).get("method") is not None

    @property
    def model_settings(self) -> dict[str, Any]:
        """The settings that change the model: not the seed, how it is evaluated, or where things lie.

        That the data are the same is checked by their samples. Without training, only the data, the model
        that scores and the method count; with it, the method does not.
        """
        return {
            f"{section}.{key}": value
            for section, settings in self.recipe.items()
            if isinstance(settings, dict) and section not in ("run", "evaluate")
            if (section in _ZERO_SHOT if self.is_zero_shot else section != "zero_shot")
            for key, value in settings.items()
            if f"{section}.{key}" not in ("train.seed", *DATA_PLACES)
        }


def compare_runs(
    runs: Sequence[Path],
    *,
    split: str = "test",
    metrics: Sequence[str] | None = None,
    resamples: int = RESAMPLES,
    all_differences: bool = False,
) -> Comparison:
    """Compares run directories that `mien evaluate` has scored on the same split.

    Args:
        runs: The run directories; the first is the reference.
        split: The split.
        metrics: The metrics of rows and differences. None: those that the label set asks for, and differences
            in the first of them that all runs have.
        resamples: How many resamples the intervals come from.
        all_differences: Whether there are differences in all metrics that all runs have.

    Raises:
        UsageError: There are no runs, or one is given twice.
        DataError: The runs were not scored on the same samples, or have no metric in common.
        RunError: A run was not scored on the split.
    """
    scored = [_load(path, split) for path in _require_distinct(runs)]
    for other in scored[1:]:
        _require_same_samples(scored[0], other)
    groups = _by_name(_group_seeds(scored))
    rows = [
        build_score_rows(
            name,
            [run.scores for run in group],
            seeds=[run.seed for run in group],
            metrics=metrics or "auto",
            resamples=resamples,
        )
        for name, group in groups.items()
    ]
    reference, *others = [(name, [run.scores for run in group]) for name, group in groups.items()]
    common = _common_metrics(rows)
    differences = tuple(
        build_difference(reference, other, metric=metric, resamples=resamples)
        for metric in (common if metrics or all_differences else common[:1])
        for other in others
    )
    return Comparison(
        results=Evaluation(
            rows=tuple(row for found in rows for row in found),
            differences=differences,
        )
        + mark_uncalibrated(
            [
                name
                for name, group in groups.items()
                if any(run.is_zero_shot and read_calibration(run.path) is None for run in group)
            ]
        )
        + describe_intervals(scored[0].scores),
        split=split,
        settings=_differing_settings(groups),
        scored={name: tuple((run.path, run.scores) for run in group) for name, group in groups.items()},
        split_accesses={
            str(run.path): access
            for run in scored
            for access in read_split_accesses(run.path)
            if access.split == split
        },
    )


def _common_metrics(rows: Sequence[Sequence[ResultRow]]) -> list[str]:
    """The metrics that all models have."""
    names = [[row.metric for row in found] for found in rows]
    if common := [name for name in names[0] if all(name in others for others in names)]:
        return common
    raise DataError(
        f"the runs have no metric in common: {', '.join(names[0])} of the first",
        hint="compare models that predict the same: labels, or valence, arousal and dominance",
    )


def _require_distinct(runs: Sequence[Path]) -> Sequence[Path]:
    if not runs:
        raise UsageError("no runs to compare", hint="name run directories that mien evaluate has scored")
    repeated = [path for path, count in Counter(path.resolve() for path in runs).items() if count > 1]
    if repeated:
        raise UsageError(f"run {repeated[0]} is given twice", hint="name each run once")
    return runs


def _load(path: Path, split: str) -> _ScoredRun:
    manifest = Run.open(path).manifest
    return _ScoredRun(path=path, recipe=manifest.recipe, scores=SplitScores.load(scores_file(path, split)))


def _group_seeds(scored: Sequence[_ScoredRun]) -> list[list[_ScoredRun]]:
    """Groups runs that differ only in the seed; where a seed occurs twice, each run is a group."""
    groups: dict[str, list[_ScoredRun]] = {}
    for run in scored:
        key = digest({"name": run.recipe.get("name"), **run.model_settings})
        groups.setdefault(key, []).append(run)
    found: list[list[_ScoredRun]] = []
    for group in groups.values():
        distinct = len({run.seed for run in group}) == len(group)
        found += [sorted(group, key=lambda run: run.seed)] if distinct else [[run] for run in group]
    return found


def _by_name(groups: Sequence[list[_ScoredRun]]) -> dict[str, list[_ScoredRun]]:
    """Names groups by their recipe, or by their directory where two recipes have the same name."""
    names = [str(group[0].recipe.get("name") or group[0].path) for group in groups]
    counts = Counter(names)
    return {
        name if counts[name] == 1 else str(group[0].path): group
        for name, group in zip(names, groups, strict=True)
    }


def _differing_settings(groups: Mapping[str, Sequence[_ScoredRun]]) -> dict[str, dict[str, Any]]:
    """The settings that do not have the same value in all rows."""
    settings = {name: group[0].model_settings for name, group in groups.items()}
    keys = dict.fromkeys(key for values in settings.values() for key in values)
    differing = [key for key in keys if len({digest(values.get(key)) for values in settings.values()}) > 1]
    return {name: {key: values.get(key) for key in differing} for name, values in settings.items()}


def _require_same_samples(first: _ScoredRun, other: _ScoredRun) -> None:
    """DataError with the sizes of both and the first thing in which they differ."""
    difference = _difference(first.scores, other.scores)
    if difference:
        raise DataError(
            f"{first.path} ({_size(first.scores)}) and {other.path} ({_size(other.scores)}) were not scored "
            f"on the same samples: {difference}",
            hint="compare runs that were evaluated on the same split of the same data",
        )


def _difference(first: SplitScores, second: SplitScores) -> str:
    if first.label_set != second.label_set:
        return f"their label sets are {first.label_set.name!r} and {second.label_set.name!r}, or not equal"
    if first.ids != second.ids:
        ours, theirs = set(first.ids), set(second.ids)
        only = [
            f"{len(more)} only in {which}, such as {min(more)!r}"
            for which, more in (("the first", ours - theirs), ("the second", theirs - ours))
            if more
        ]
        return ", ".join(only) or "the same ids in another order"
    different = (first.targets != second.targets).any(axis=1)
    if different.any():
        return f"the targets of {int(different.sum())}, such as {first.ids[int(different.argmax())]!r}"
    # Their names may differ in a copy of the same data elsewhere.
    pairs = set(zip(first.groups, second.groups, strict=True))
    same = len(pairs) == len(set(first.groups)) == len(set(second.groups))
    return "" if same else "other subjects share an image"


def _size(scores: SplitScores) -> str:
    return f"{len(scores):,} samples of {scores.split!r}"
