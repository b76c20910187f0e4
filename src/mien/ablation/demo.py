"""The demo: the whole method on Playhouse, with controls, in minutes and without a download.

It is an ablation with a fixed recipe. Variants: the fused model; the image alone; the description alone; and
three controls that should score worse than the fused model: no box in either stage, descriptions shuffled
between subjects, and a plain caption instead of the description. Further rows show what the embedded models
reach without training.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mien.ablation.grid import Grid, Variant
from mien.ablation.study import ablate
from mien.describe.progress import Progress
from mien.evaluate.results.results import Evaluation
from mien.types import Prediction
from mien.workflow import steps
from mien.workflow.experiment import load_experiment

__all__ = ["SEEDS", "VARIANTS", "Demo", "run_demo"]

SEEDS: Final = (0, 1, 2)
SIZES: Final = {"train": 640, "val": 120, "test": 400}
SPLIT: Final = "test"
METRIC: Final = "mAP"
FUSED: Final = "fused"

RECIPE: Final[Mapping[str, Any]] = {
    "name": "demo",
    "data": {"name": "playhouse", "options": {**SIZES, "seed": 2024}},
    "describe": {"engine": "local", "model": "playhouse", "prompt": "paper", "max_new_tokens": 120},
    "features": {"vision": "playhouse", "tokenizer": "playhouse", "max_text_tokens": 112},
    "model": {
        "fusion": "qformer",
        "width": 96,
        "layers": 2,
        "heads": 4,
        "num_queries": 8,
        "cross_every": 1,
        "label_names": True,
        "options": {"feedforward": 2},
    },
    "train": {"epochs": 6, "batch_size": 16, "lr": 3e-3, "patience": 4},
    "run": {"batch_size": 32},
}
VARIANTS: Final = (
    Variant(name=FUSED),
    Variant(name="image_only", overrides=("model.fusion=image_only",)),
    Variant(name="text_only", overrides=("model.fusion=text_only",)),
    Variant(name="no_box", overrides=("describe.marking=none",)),
    Variant(name="shuffled", texts="shuffled"),
    Variant(name="caption", overrides=("describe.prompt=caption",)),
    Variant(name="likelihood", overrides=("zero_shot.method=likelihood",)),
    Variant(name="words", overrides=("zero_shot.method=words", "zero_shot.encoder=none")),
    Variant(name="similarity", overrides=("zero_shot.method=similarity",)),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Demo:
    """The results and the page; a trained run, a test image, and what the run predicts for it."""

    results: Evaluation
    report: Path
    run: Path
    image: Path
    prediction: Prediction


def run_demo(
    out: Path,
    *,
    cache: Path,
    note: Callable[[str], None] = lambda _: None,
    on_describe: Callable[[Progress], None] | None = None,
    seeds: Sequence[int] = SEEDS,
    overrides: Sequence[str] = (),
) -> Demo:
    """Run the demo; reuses what an earlier, interrupted demo left in `out`.

    Args:
        out: The directory for the runs, `results.json` and the page.
        cache: A directory for files that can be regenerated.
        note: Called with a sentence when a stage starts.
        on_describe: Called with the progress of describing.
        seeds: The seeds to train every variant with.
        overrides: Changes to the recipe of every variant, as in `--set`.
    """
    grid = Grid(
        name="demo",
        table=RECIPE,
        where="demo",
        variants=VARIANTS,
        seeds=tuple(seeds),
        reference=FUSED,
        metric=METRIC,
        split=SPLIT,
        overrides=tuple(overrides),
    )
    ablation = ablate(grid, out, cache=cache, command="demo", note=note, on_describe=on_describe)
    run = ablation.out / FUSED / f"seed-{seeds[0]}"
    (first, *_) = load_experiment(run, cache=cache).samples(SPLIT)
    (prediction,) = steps.predict(run, [first.subject])
    return Demo(
        results=ablation.results,
        report=ablation.report,
        run=run,
        image=first.subject.images[0].path,
        prediction=prediction,
    )
