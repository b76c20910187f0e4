"""Runs side by side: their scores, and what they differ by on the same samples.

Goes in: run directories that were scored on a split. Comes out: a `Comparison`, with rows and differences
in the form of `results.json`.
Knows nothing about: models, data sets, pages, how tables are printed.

Runs whose recipes differ only in the training seed are one row: the mean over seeds. Each row is compared
with the first, on the same resamples.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mien.digests import digest
from mien.errors import DataError, UsageError
from mien.evaluate.bootstrap import RESAMPLES
from mien.evaluate.results.build import Look, ResultRow, Results, compare, score_rows
from mien.evaluate.results.published import Published
from mien.evaluate.results.split_accesses import read_looks
from mien.evaluate.scores import SplitScores, scores_file
from mien.runs import Run

__all__ = ["Comparison", "compare_runs"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """`settings`: by row, the knobs in which the rows differ. `looks`: by run, how often it saw the split.

    `published` rows stand beside `results` on request, each with what speaks against it.
    """

    results: Results
    split: str
    settings: Mapping[str, Mapping[str, Any]]
    looks: Mapping[str, Look]
    published: tuple[tuple[Published, str], ...] = ()

    def to_json(self) -> dict[str, Any]:
        """`rows` and `differences` as in `results.json`, and the rest beside them, as plain JSON values."""
        return {
            **asdict(self.results),
            "split": self.split,
            "settings": {name: dict(knobs) for name, knobs in self.settings.items()},
            "seen": {run: asdict(look) for run, look in self.looks.items()},
            "published": [{**asdict(row), "doubts": doubt} for row, doubt in self.published],
        }


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Scored:
    """One run: its recipe, and its scores on the split."""

    path: Path
    recipe: Mapping[str, Any]
    scores: SplitScores

    @property
    def seed(self) -> int:
        return int(self.recipe.get("train", {}).get("seed", 0))

    @property
    def knobs(self) -> dict[str, Any]:
        """What changed the model: not the place, the seed, or how it was evaluated."""
        return {
            f"{section}.{knob}": value
            for section, knobs in self.recipe.items()
            if isinstance(knobs, dict) and section not in ("run", "evaluate")
            for knob, value in knobs.items()
            if (section, knob) != ("train", "seed")
        }


def compare_runs(
    runs: Sequence[Path],
    *,
    split: str = "test",
    metrics: Sequence[str] | None = None,
    resamples: int = RESAMPLES,
) -> Comparison:
    """The runs side by side; UsageError for none or one twice, DataError where samples are not the same.

    `metrics` None: those that the label set asks for, the differences in the first of them.
    """
    scored = [_read(path, split) for path in _distinct(runs)]
    for other in scored[1:]:
        _require_same_samples(scored[0], other)
    rows = _named(_grouped(scored))
    results = [
        score_rows(
            name,
            [run.scores for run in group],
            seeds=[run.seed for run in group],
            metrics=metrics or "auto",
            resamples=resamples,
        )
        for name, group in rows.items()
    ]
    wanted = metrics or [_in_common(results)]
    (first, own), *others = [(name, [run.scores for run in group]) for name, group in rows.items()]
    differences = tuple(
        compare((first, own), other, metric_name=metric, resamples=resamples)
        for metric in wanted
        for other in others
    )
    return Comparison(
        results=Results(rows=tuple(row for found in results for row in found), differences=differences),
        split=split,
        settings=_settings(rows),
        looks={str(run.path): look for run in scored for look in read_looks(run.path) if look.split == split},
    )


def _in_common(rows: Sequence[Sequence[ResultRow]]) -> str:
    """The first metric that all of them have."""
    named = [[row.metric for row in found] for found in rows]
    for name in named[0]:
        if all(name in names for names in named):
            return name
    raise DataError(
        f"the runs have no metric in common: {', '.join(named[0])} of the first",
        hint="compare models that estimate the same: labels, or valence, arousal and dominance",
    )


def _distinct(runs: Sequence[Path]) -> Sequence[Path]:
    if not runs:
        raise UsageError("no runs to compare", hint="name run directories that mien evaluate has scored")
    twice = [path for path, count in Counter(path.resolve() for path in runs).items() if count > 1]
    if twice:
        raise UsageError(f"run {twice[0]} is given twice", hint="name each run once")
    return runs


def _read(path: Path, split: str) -> _Scored:
    manifest = Run.open(path).manifest
    return _Scored(path=path, recipe=manifest.recipe, scores=SplitScores.load(scores_file(path, split)))


def _grouped(scored: Sequence[_Scored]) -> list[list[_Scored]]:
    """Runs that differ only in the seed together; apart, where a seed comes twice and so is no seed."""
    groups: dict[str, list[_Scored]] = {}
    for run in scored:
        groups.setdefault(digest({"name": run.recipe.get("name"), **run.knobs}), []).append(run)
    found: list[list[_Scored]] = []
    for group in groups.values():
        distinct = len({run.seed for run in group}) == len(group)
        found += [sorted(group, key=lambda run: run.seed)] if distinct else [[run] for run in group]
    return found


def _named(groups: Sequence[list[_Scored]]) -> dict[str, list[_Scored]]:
    """By the recipe's name; by the folder where two have the same name."""
    names = [str(group[0].recipe.get("name") or group[0].path) for group in groups]
    counts = Counter(names)
    return {
        name if counts[name] == 1 else str(group[0].path): group
        for name, group in zip(names, groups, strict=True)
    }


def _settings(rows: Mapping[str, Sequence[_Scored]]) -> dict[str, dict[str, Any]]:
    """The knobs that do not have the same value in all rows."""
    knobs = {name: group[0].knobs for name, group in rows.items()}
    every = dict.fromkeys(knob for values in knobs.values() for knob in values)
    differing = [knob for knob in every if len({digest(values.get(knob)) for values in knobs.values()}) > 1]
    return {name: {knob: values.get(knob) for knob in differing} for name, values in knobs.items()}


def _require_same_samples(first: _Scored, other: _Scored) -> None:
    """DataError that shows both, and the first thing in which they differ."""
    here, there = first.scores, other.scores
    why = _difference(here, there)
    if why:
        raise DataError(
            f"{first.path} ({_size(here)}) and {other.path} ({_size(there)}) were not scored on the same "
            f"samples: {why}",
            hint="compare runs that were evaluated on the same split of the same data",
        )


def _difference(here: SplitScores, there: SplitScores) -> str:
    if here.label_set != there.label_set:
        return f"their label sets are {here.label_set.name!r} and {there.label_set.name!r}, or not equal"
    if here.ids != there.ids:
        ours, theirs = set(here.ids), set(there.ids)
        only = [
            f"{len(more)} only in {which}, such as {min(more)!r}"
            for which, more in (("the first", ours - theirs), ("the second", theirs - ours))
            if more
        ]
        return ", ".join(only) or "the same ids in another order"
    different = (here.targets != there.targets).any(axis=1)
    if different.any():
        return f"the targets of {int(different.sum())}, such as {here.ids[int(different.argmax())]!r}"
    # By name they may differ: a copy of the same data elsewhere.
    pairs = set(zip(here.groups, there.groups, strict=True))
    same = len(pairs) == len(set(here.groups)) == len(set(there.groups))
    return "" if same else "other subjects share a picture"


def _size(scores: SplitScores) -> str:
    return f"{len(scores):,} samples of {scores.split!r}"
