"""The public functions for single steps: `mien.load_dataset`, `describe`, `train`, `evaluate`, `calibrate`,
`compare`."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mien.data.dataset import Dataset
from mien.data.open import dataset_class, open_dataset
from mien.errors import UsageError
from mien.files import cache_directory
from mien.recipe import DataOptions, Recipe, load_recipe
from mien.recipe.load import parse_recipe
from mien.workflow import steps
from mien.workflow.experiment import Experiment, load_experiment, open_experiment, recorded_recipe

if TYPE_CHECKING:
    from mien.describe.progress import DescribeSummary, Progress
    from mien.evaluate.calibration.calibrate import Calibration, CalibrationMethod
    from mien.evaluate.results.comparison import Comparison
    from mien.evaluate.results.results import Evaluation
    from mien.recipe.zero_shot import ZeroShotMethod
    from mien.train.loop import TrainProgress

__all__ = ["TrainedRun", "calibrate", "compare", "describe", "evaluate", "load_dataset", "train"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedRun(os.PathLike[str]):
    """A run directory with a trained model; accepted wherever the path of a run is.

    Attributes:
        path: The run directory.
        best_epoch: The epoch whose weights were kept, from 1.
        best_score: The score of these weights on the split that stops training.
        metric: The name of the metric of `best_score`.
        steps: The number of optimizer steps.
    """

    path: Path
    best_epoch: int
    best_score: float
    metric: str
    steps: int

    def __fspath__(self) -> str:
        return str(self.path)


def load_dataset(
    name: str,
    root: str | Path | None = None,
    *,
    label_set: str | None = None,
    options: Mapping[str, Any] | None = None,
    cache: str | Path | None = None,
) -> Dataset:
    """Opens a dataset.

    Args:
        name: "emotic", "caers", "bold", "manifest", "playhouse", or "package.module:Class" of your own.
        root: The folder of the dataset, or the file of a manifest. Playhouse needs none.
        label_set: The labels of a manifest: "emotic", "caers", "bold", or your own with `options`.
        options: Options of the dataset, as in `[data.options]` of a recipe.
        cache: The directory for parsed annotations; by default `$XDG_CACHE_HOME/mien` or `~/.cache/mien`.

    Raises:
        UnknownNameError: No dataset has this name.
        ConfigError: An option is unknown or invalid.
        DataError: Files are missing or invalid.

    Example:
        >>> import mien
        >>> dataset = mien.load_dataset("playhouse", options={"train": 4, "val": 2, "test": 2})
        >>> dataset.splits
        ('train', 'val', 'test')
        >>> sample = next(iter(dataset.samples("test")))
        >>> sample.subject.id
        'test/00000'
    """
    data: dict[str, Any] = {"name": name, "options": dict(options or {})}
    if root is not None:
        data["root"] = str(root)
    if label_set is not None:
        data["label_set"] = label_set
    dataset_class(name)  # an unknown name is an error before an unknown option is
    return open_dataset(DataOptions.parse(data, where="load_dataset"), cache=_cache(cache))


def describe(
    recipe: str | Path | Recipe,
    *,
    splits: Sequence[str] | None = None,
    out: str | Path | None = None,
    retry_failed: bool = False,
    cache: str | Path | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> DescribeSummary:
    """Describes all subjects of a recipe that have no description yet. Run it again to resume.

    Args:
        recipe: The path of a TOML file, or a recipe from `load_recipe`.
        splits: The splits to describe; all by default.
        out: The run directory; by default `run.out` of the recipe, else `runs/NAME`.
        retry_failed: Try subjects again that failed in an earlier run.
        cache: The cache directory.
        on_progress: Called after each batch.

    Returns:
        The number of subjects that were described, were described before, and failed.

    Raises:
        ConfigError: The recipe is invalid.
        WeightsError: The describing model is not available.
        EngineError: The engine fails on every subject.
        StoreLockedError: Another process writes to the same store.
    """
    experiment = _open(recipe, out, cache)
    return steps.describe(experiment, splits=splits, retry_failed=retry_failed, on_progress=on_progress)


def train(
    recipe: str | Path | Recipe,
    *,
    out: str | Path | None = None,
    cache: str | Path | None = None,
    on_progress: Callable[[TrainProgress], None] | None = None,
) -> TrainedRun:
    """Trains the model of a recipe. Run it again to resume an interrupted training.

    Args:
        recipe: The path of a TOML file, or a recipe from `load_recipe`.
        out: The run directory; by default `run.out` of the recipe, else `runs/NAME`.
        cache: The cache directory.
        on_progress: Called after each step.

    Raises:
        ConfigError: The recipe is invalid or does not fit the dataset.
        DataError: Descriptions are missing, or data are invalid.
        DivergedError: The training diverges.
        RunError: The run directory belongs to another recipe.
    """
    experiment = _open(recipe, out, cache)
    result = steps.train(experiment, on_progress=on_progress)
    return TrainedRun(
        path=experiment.out,
        best_epoch=result.best_epoch,
        best_score=result.best_score,
        metric=result.metric,
        steps=result.steps,
    )


def evaluate(
    run: str | os.PathLike[str] | Recipe,
    *,
    splits: Sequence[str] | None = None,
    overrides: Sequence[str] = (),
    zero_shot: str | None = None,
    method: ZeroShotMethod | None = None,
    calibration: Calibration | str | os.PathLike[str] | None = None,
    out: str | Path | None = None,
    cache: str | Path | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> Evaluation:
    """Scores a run, with 95 % intervals and chance levels.

    A trained run gets a calibration. A recipe is scored without training, into a run of its own: run it again
    to go on after an interruption. Without a calibration its results are marked uncalibrated.

    Args:
        run: A run directory, or what `train` returned; or a recipe, whose data are scored without training.
        splits: The splits to score; by default those of the recipe.
        overrides: New places of what lies outside of a run, such as "data.root=/data/EMOTIC".
        zero_shot: The model that scores the data of a recipe, by name or folder.
        method: "likelihood", "words" or "similarity"; see `Predictor.zero_shot`.
        calibration: Of scores without training: a `Calibration`, or the run or file that has it.
        out: The run directory of a recipe; by default runs/NAME-METHOD-MODEL.
        cache: The cache directory.
        on_progress: Called as people are scored without training.

    Raises:
        RunError: The directory holds no trained model, or the calibration is of other scores.
        DataError: The split has no labels.
        ConfigError: The recipe does not say how to score without training, and neither do the arguments.
    """
    experiment = _open_zero_shot(run, zero_shot, method, overrides=overrides, out=out, cache=cache)
    if experiment is not None:
        from mien.predict.zero_shot.open import load_calibration
        from mien.workflow.zero_shot import evaluate_zero_shot

        if isinstance(calibration, str | os.PathLike):
            calibration = load_calibration(Path(calibration))
        return evaluate_zero_shot(experiment, splits=splits, calibration=calibration, on_progress=on_progress)
    if calibration is not None:
        raise UsageError(f"{run} is a trained run, which has its calibration", hint="leave out calibration")
    assert not isinstance(run, Recipe)
    return steps.evaluate(Path(run), cache=_cache(cache), splits=splits, overrides=overrides)


def calibrate(
    run: str | os.PathLike[str] | Recipe,
    *,
    split: str | None = None,
    fit: CalibrationMethod | None = None,
    overrides: Sequence[str] = (),
    zero_shot: str | None = None,
    method: ZeroShotMethod | None = None,
    out: str | Path | None = None,
    cache: str | Path | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> Calibration:
    """Fits probabilities and thresholds to scores without training, and saves them in the run.

    Args:
        run: A run that `evaluate` made without training, or a recipe that is to become one.
        split: The split with labels to fit on; by default the one that stops training.
        fit: "platt", a slope and an offset per label; or "temperature", the default where exactly one label
            holds.
        overrides: New places of what lies outside of a run.
        zero_shot: The model that scores the data of a recipe.
        method: "likelihood", "words" or "similarity".
        out: The run directory of a recipe; by default runs/NAME-METHOD-MODEL.
        cache: The cache directory.
        on_progress: Called as people are scored.

    Raises:
        DataError: The split is "test" or "train", or has no labels.
        UsageError: The run is a trained one.
    """
    from mien.workflow.zero_shot import calibrate_zero_shot

    experiment = _open_zero_shot(run, zero_shot, method, overrides=overrides, out=out, cache=cache)
    if experiment is None:
        raise UsageError(f"{run} is a trained run", hint="mien evaluate calibrates it")
    return calibrate_zero_shot(experiment, split=split, method=fit, on_progress=on_progress)


def compare(
    runs: Sequence[str | os.PathLike[str]],
    *,
    metrics: Sequence[str] | None = None,
    split: str = "test",
    published: bool = False,
) -> Comparison:
    """Compares evaluated runs on the same bootstrap resamples; each is compared with the first.

    Args:
        runs: Run directories that `evaluate` has scored. Seeds of one recipe become one row.
        metrics: Names of metrics; by default those that all runs have.
        split: The split on which the runs are compared.
        published: Add results that others reported for the same dataset and metric.

    Raises:
        RunError: A run is not evaluated on the split, or runs were scored on different subjects.
    """
    return steps.compare([Path(run) for run in runs], metrics=metrics, split=split, published=published)


def _open_zero_shot(
    run: str | os.PathLike[str] | Recipe,
    model: str | None,
    method: ZeroShotMethod | None,
    *,
    overrides: Sequence[str],
    out: str | Path | None,
    cache: str | Path | None,
) -> Experiment | None:
    """The experiment of a run without training, or of a recipe that becomes one; None for a trained run."""
    from mien.workflow.zero_shot import zero_shot_recipe

    if isinstance(run, Recipe) or os.fspath(run).endswith(".toml"):
        recipe = run if isinstance(run, Recipe) else load_recipe(Path(run))
        recipe = parse_recipe(recipe.to_json(), overrides, where="overrides") if overrides else recipe
        return _open(zero_shot_recipe(recipe, model=model, method=method), out, cache)
    if not (model is method is out is None):
        raise UsageError(
            f"{run} is a run, which has its model and its folder",
            hint="give a recipe to score its data without training",
        )
    if recorded_recipe(Path(run)).zero_shot.method is None:
        return None
    return load_experiment(Path(run), cache=_cache(cache), overrides=overrides)


def _open(recipe: str | Path | Recipe, out: str | Path | None, cache: str | Path | None) -> Experiment:
    loaded = recipe if isinstance(recipe, Recipe) else load_recipe(Path(recipe))
    return open_experiment(loaded, cache=_cache(cache), out=None if out is None else Path(out))


def _cache(cache: str | Path | None) -> Path:
    return cache_directory() if cache is None else Path(cache)
