"""The tables of the ablations on Playhouse in each official layout: what is shown there, and what is not.

    python benchmarks/layout_tables.py --work DIR [--layouts emotic caers bold] [--grids modality box ...]

Draws the layouts, runs the grids of recipes/ablations on the recipes of the same names, and fits on the split
that stops training what may be fitted there: a temperature, and thresholds. All grids of a layout share their
descriptions and features. Broken off, the same command goes on. Prints one JSON document: for each layout and
grid "rows" and "differences" as `mien ablate` gives them, some more differences, and for the grid "loss" the
rarest labels one by one and what was fitted.

What this leaves open is measured once more with --again, in another DIR: other scenes, and twice the test
pictures, or more.

Sizes, seeds and changes stand below; they were settled on other scenes, before any score of these was seen. A
few labels are so rare that a test split of this size says little of them: that is what the intervals are for.
About an hour on two cores. The play is a test bed: none of its numbers says anything about real photographs.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any, Final

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy is loaded

import numpy as np

from mien.ablation.grid import Grid, load_grid
from mien.ablation.study import ablate
from mien.evaluate.bootstrap import difference
from mien.evaluate.calibration.calibrate import fit_calibration
from mien.evaluate.calibration.thresholds import decide, fit_thresholds
from mien.evaluate.metrics.metric_inputs import MetricInput
from mien.evaluate.metrics.ranking import tail_labels
from mien.evaluate.metrics.table import resolve_metric
from mien.evaluate.results.build import build_difference
from mien.evaluate.results.results import LabelRow
from mien.evaluate.scores import SplitScores, scores_file
from mien.workflow import steps
from mien.workflow.experiment import load_experiment

RECIPES: Final = Path(__file__).resolve().parent.parent / "recipes"
GRIDS: Final = ("modality", "words", "box", "missing", "loss")
EPOCHS: Final = 6
DRAWN_BY: Final = 7  # the seed of the scenes
DRAWN_AGAIN_BY: Final = 8
Sizes = Mapping[str, int]

# The variants that the claims are about, where there is no time for the others.
CLAIMS: Final = {
    "modality": {"fused", "image_only", "text_only"},
    "words": {"description", "caption", "shuffled"},
    "box": {"both_stages", "none"},
    "missing": {"image_only", "fused", "fused_without", "dropout", "dropout_without"},
    "loss": {"plain", "asl", "class_balanced"},
}
# Beside the differences from the reference: the other claims that a grid is about.
PAIRS: Final[Mapping[str, Sequence[tuple[str, str]]]] = {
    "words": [("caption", "shuffled")],
    "missing": [("dropout", "fused"), ("dropout_without", "fused_without")],
}
FITTED: Final = "loss"  # the grid whose models are calibrated: losses differ in what their scores mean


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How many scenes are drawn, the first time and again, and changes to the recipe of the same name.

    `primary`: by which losses are compared, too, whose grid names another metric.
    """

    first: Sizes
    again: Sizes
    primary: str
    overrides: tuple[str, ...] = ()


LAYOUTS: Final = {
    "emotic": Layout(
        first={"train": 260, "val": 80, "test": 170},
        again={"train": 260, "val": 80, "test": 340},
        primary="mAP",
    ),
    # One face a picture is annotated; a list of faces is what there is of boxes. Of val and test together,
    # a third becomes val.
    "caers": Layout(
        first={"train": 450, "val": 150, "test": 300},
        again={"train": 450, "val": 300, "test": 600},
        primary="accuracy",
        overrides=('data.options={ protocol = "7:1:2", faces = "faces" }',),
    ),
    # Val is what is scored; a fifth of train's films is what training stops by. The boxes of joints leave out
    # hair and hands: with the margin the VLM named the first emotion right in 82 % of other scenes, not 71 %.
    "bold": Layout(
        first={"train": 270, "val": 160, "test": 1},
        again={"train": 270, "val": 400, "test": 1},
        primary="mAP",
        overrides=("data.options={ num_frames = 2, dev_share = 0.2, margin = 0.15 }",),
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a layout's files go, and what is drawn there."""

    name: str
    folder: Path
    sizes: Sizes
    drawn_by: int


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs what is not done yet, and prints one JSON document."""
    options = _parser().parse_args(arguments)
    places = [_place(name, options) for name in options.layouts]
    found: dict[str, Any] = {one.name: {"drawn": one.sizes, "grids": {}} for one in places}
    # Grid by grid, so that a broken-off run has something of every layout.
    for grid in options.grids:
        for place in places:
            print(f"{datetime.now(UTC):%H:%M:%S} {place.name}, {grid}", file=sys.stderr, flush=True)
            found[place.name]["grids"][grid] = _table(place, grid, claims=options.claims)
    document = {
        "schema": 1,
        "date": datetime.now(UTC).date().isoformat(),
        "hardware": f"{platform.machine()}, {os.cpu_count()} cores",
        "epochs": EPOCHS,
        "drawn_by": places[0].drawn_by,
        "layouts": found,
    }
    print(json.dumps(_rounded(document), indent=1))


def _place(name: str, options: argparse.Namespace) -> Place:
    layout = LAYOUTS[name]
    return Place(
        name=name,
        folder=options.work.absolute() / name,
        sizes=layout.again if options.again else layout.first,
        drawn_by=DRAWN_AGAIN_BY if options.again else DRAWN_BY,
    )


# --- One grid in one layout --------------------------------------------------------------------------


def _table(place: Place, name: str, *, claims: bool) -> dict[str, Any]:
    """Rows and differences of a grid, which is run as far as it is not finished."""
    grid = load_grid(
        RECIPES / "ablations" / f"{name}.toml",
        base=RECIPES / f"{place.name}.toml",
        overrides=_overrides(place),
    )
    if claims:
        grid = replace(grid, variants=tuple(one for one in grid.variants if one.name in CLAIMS[name]))
    out = place.folder / name
    done = ablate(
        grid, out, cache=place.folder / "cache", note=lambda text: print(f"  {text}", file=sys.stderr)
    )
    scores = {
        variant.name: [_scores(out, variant.name, seed, done.split) for seed in grid.seeds]
        for variant in grid.variants
    }
    primary = LAYOUTS[place.name].primary
    others = [(grid.reference, one) for one in scores if one != grid.reference]
    pairs = [(pair, done.metric) for pair in PAIRS.get(name, ())]
    if name == FITTED:  # rankings apart, a loss moves scores over the half at which labels are named
        pairs += [(pair, by) for by in (primary, "macro_f1") for pair in others]
    more = [build_difference((a, scores[a]), (b, scores[b]), metric=by) for (a, b), by in pairs]
    table: dict[str, Any] = {
        "reference": done.reference,
        "metric": done.metric,
        "split": done.split,
        "rows": [asdict(row) for row in done.results.rows],
        "differences": [asdict(row) for row in (*done.results.differences, *more)],
    }
    if name == FITTED:
        table["tail"] = _tail(done.results.labels, scores[grid.reference][0])
        table["fitted"] = {one: _fitted(place, grid, out, one, done.split) for one in scores}
    return table


def _overrides(place: Place) -> list[str]:
    root = place.folder / "drawn"
    if not root.exists():
        part = place.folder / "drawn.part"
        shutil.rmtree(part, ignore_errors=True)
        import_module(f"mien.playhouse.layouts.{place.name}").write(part, **place.sizes, seed=place.drawn_by)
        part.rename(root)
    return [
        f"data.root={root}",
        *LAYOUTS[place.name].overrides,
        f"train.epochs={EPOCHS}",
        f"run.store={place.folder / 'descriptions.sqlite'}",
        f"run.cache={place.folder / 'features'}",
        "run.threads=1",  # two wait for each other where something else runs; training has two processes
    ]


def _scores(out: Path, variant: str, seed: int, split: str) -> SplitScores:
    return SplitScores.load(scores_file(out / variant / f"seed-{seed}", split))


def _tail(labels: Sequence[LabelRow], scores: SplitScores) -> list[dict[str, Any]]:
    """The rarest labels: average precision and F1 by each variant."""
    rarest = {scores.label_set.labels[at] for at in tail_labels(scores.targets)}
    kept = ("name", "label", "positives", "value", "low", "high", "f1")
    return [{key: getattr(row, key) for key in kept} for row in labels if row.label in rarest]


# --- What is fitted on the split that stops training -------------------------------------------------


def _fitted(place: Place, grid: Grid, out: Path, variant: str, split: str) -> dict[str, Any]:
    """What a temperature and thresholds, fitted by each seed's model, change on the scored split.

    Thresholds "fitted_on_it" saw the scored split itself: no score, but the ceiling of what fitting can give.
    """
    runs = [_scores(out, variant, seed, split) for seed in grid.seeds]
    stopped_by = grid.recipe(grid.variant(variant)).train.select_on
    fits = [
        fit_calibration(_stop_scores(out / variant / f"seed-{seed}", stopped_by, place.folder / "cache"))
        for seed in grid.seeds
    ]
    plain = [run.scores for run in runs]
    calibrated = [fit.apply(run.scores) for fit, run in zip(fits, runs, strict=True)]
    found: dict[str, Any] = {
        "fitted_on": stopped_by,
        "temperatures": [fit.temperature for fit in fits],
        "changes": [_change(runs[0], name, calibrated, plain) for name in ("ECE", "Brier")],
    }
    if runs[0].label_set.exclusive:
        return found  # the highest score decides, and a temperature leaves it the highest
    carried = [decide(scores, np.array(fit.thresholds)) for scores, fit in zip(calibrated, fits, strict=True)]
    ceiling = [
        decide(scores, fit_thresholds(runs[0].targets, scores, rule=fit.rule)[0])
        for scores, fit in zip(calibrated, fits, strict=True)
    ]
    found["changes"] += [
        _change(runs[0], "macro_f1", carried, plain) | {"what": f"{stopped_by}, not a half"},
        _change(runs[0], "macro_f1", ceiling, carried) | {"what": f"fitted_on_it, not {stopped_by}"},
    ]
    return found


def _stop_scores(run: Path, split: str, cache: Path) -> SplitScores:
    """The scores of the split that stopped a run's training, made once."""
    if not scores_file(run, split).exists():
        return steps.score(load_experiment(run, cache=cache), split)
    return SplitScores.load(scores_file(run, split))


def _change(
    of: SplitScores, name: str, after: Sequence[np.ndarray], before: Sequence[np.ndarray]
) -> dict[str, Any]:
    metric = resolve_metric(name, of.label_set)
    first, second = (
        MetricInput(metric=metric, targets=of.targets, scores=scores) for scores in (after, before)
    )
    found = difference(first, second, groups=of.groups)
    return {
        "metric": name,
        "before": second.value(),
        "after": first.value(),
        "low": found.low,
        "high": found.high,
    }


# --- The document ------------------------------------------------------------------------------------


def _rounded(value: Any) -> Any:
    """Five digits are more than the intervals allow."""
    if isinstance(value, float):
        return round(value, 5)
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, list | tuple) else value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, required=True, help="where all is kept")
    parser.add_argument("--layouts", nargs="+", choices=tuple(LAYOUTS), default=tuple(LAYOUTS))
    parser.add_argument("--grids", nargs="+", choices=GRIDS, default=GRIDS)
    parser.add_argument("--again", action="store_true", help="other scenes, twice the test pictures")
    parser.add_argument("--claims", action="store_true", help="only the variants that the claims are about")
    return parser


if __name__ == "__main__":
    main()
