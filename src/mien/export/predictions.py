"""Gathers predictions with what is known about them: of an evaluated run, or of a file of `mien predict`."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from mien.data.dataset import DatasetCard
from mien.data.open import dataset_class
from mien.describe.store.store import Store
from mien.documents import parse_json, require_file
from mien.errors import DataError, MienError, RunError, UsageError, first_line
from mien.evaluate.calibration.calibrate import Calibration, read_own_calibration
from mien.evaluate.results.examples import Example, examples_file, read_examples
from mien.evaluate.scores import SplitScores, scores_file
from mien.recipe import Recipe
from mien.recipe.data import lowest_dimension
from mien.recipe.places import recorded_recipe
from mien.recipe.split_names import resolve_split
from mien.types import DIMENSIONS, Box, ImageRef, Target
from mien.workflow.experiment import open_recipe_dataset

__all__ = ["PredictedPerson", "Predictions", "read_predictions"]

_STORE: Final = "descriptions.sqlite"
_OF_FILE: Final = "predictions"  # the split of a file, which has none
_FORMATS: Final = (".jsonl", ".parquet")

# (prompt id, engine, finish) of a description.
_Origin = tuple[str, str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictedPerson:
    """A person with scores; None where something is not known.

    Attributes:
        id: Unique within a split.
        images: The photo, or the frames of the clip.
        names: The same as text, without the folders of this machine.
        boxes: One per image.
        target: The combined answer of the annotators, as the run was evaluated on it.
        annotators: The answer of each annotator.
        scores: By label; calibrated if the run is.
        above: The labels that reach their thresholds.
        dimensions: As predicted, within their scale.
        description: What the model read.
        origin: (prompt id, engine, finish) of the description.
    """

    id: str
    images: tuple[ImageRef, ...]
    names: tuple[str, ...]
    boxes: tuple[Box | None, ...]
    target: Target | None
    annotators: tuple[Target, ...] | None
    scores: Mapping[str, float] | None
    above: tuple[str, ...] | None
    dimensions: Mapping[str, float] | None
    description: str | None
    origin: _Origin | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Predictions:
    """The people of each split, and where all of it comes from.

    Attributes:
        name: Of the recipe, or of the file.
        labels: In their order.
        people: By split.
        recipe: Of the run; None for a file.
        card: Of the dataset; None if it has none.
        is_calibrated: Whether scores are calibrated; None if that is not known.
        left_out: Rows without scores, which are in no split.
        notes: What is missing, and why.
    """

    name: str
    labels: tuple[str, ...]
    people: Mapping[str, Sequence[PredictedPerson]]
    recipe: Recipe | None = None
    card: DatasetCard | None = None
    is_calibrated: bool | None = None
    left_out: int = 0
    notes: tuple[str, ...] = ()


def read_predictions(
    source: Path, *, cache: Path, splits: Sequence[str] | None = None, overrides: Sequence[str] = ()
) -> Predictions:
    """The predictions of an evaluated run, or of a file that `mien predict --out` wrote.

    Args:
        source: A run directory, or a .jsonl or .parquet file.
        cache: The cache directory; the dataset is opened for the answers of its annotators.
        splits: Which splits of a run; all that were scored by default.
        overrides: New places of a run's data, such as "data.root=/data/EMOTIC".

    Raises:
        RunError: The run was not evaluated, or its files are damaged.
        DataError: The run has no scores of a split, or the file has other contents.
        UsageError: The file is of another format, or has no splits.
    """
    if source.is_dir():
        return _read_run(source, cache=cache, splits=splits, overrides=overrides)
    if splits:
        raise UsageError(f"{source} has no splits", hint="leave out --split")
    return _read_file(source)


# --- A run -----------------------------------------------------------------------------------------------


def _read_run(
    run: Path, *, cache: Path, splits: Sequence[str] | None, overrides: Sequence[str]
) -> Predictions:
    recipe = recorded_recipe(run, overrides)
    chosen = _chosen_splits(run, splits)
    annotators, notes = _annotators(recipe, chosen, cache)
    labels = SplitScores.load(scores_file(run, chosen[0])).label_set.labels
    reader = _RunReader(
        run=run,
        recipe=recipe,
        calibration=read_own_calibration(run, labels),
        origins=_Origins(recipe.run.store or run / _STORE),
    )
    people = {split: list(reader.people(split, annotators.get(split, {}))) for split in chosen}
    calibration, note = reader.calibration, reader.origins.note
    if calibration is not None and calibration.split in chosen:
        split = calibration.split
        notes.append(f"Calibration and thresholds were fitted to split {split}, so they look better there")
    return Predictions(
        name=recipe.name,
        labels=labels,
        people=people,
        recipe=recipe,
        card=dataset_class(recipe.data.name).card,
        is_calibrated=calibration is not None and calibration.method != "none",
        notes=(*notes, *([note] if note else ())),
    )


def _chosen_splits(run: Path, asked: Sequence[str] | None) -> tuple[str, ...]:
    known = sorted(
        file.stem.removeprefix("scores-")
        for file in run.glob("scores-*.npz")
        if examples_file(run, file.stem.removeprefix("scores-")).exists()
    )
    if not known:
        raise RunError(f"{run} has no scores", hint=f"score its splits first: mien evaluate {run}")
    chosen = []
    for name in asked or known:
        split = resolve_split(name, known)
        if split is None:
            raise DataError(
                f"{run} has no scores of the split {name!r}",
                hint=f"it has those of {', '.join(known)}; score others with mien evaluate",
            )
        chosen.append(split)
    return tuple(dict.fromkeys(chosen))


@dataclass(frozen=True, slots=True, kw_only=True)
class _RunReader:
    """Joins the scores of a run with its samples and with the descriptions in its store."""

    run: Path
    recipe: Recipe
    calibration: Calibration | None
    origins: _Origins

    def people(self, split: str, annotators: Mapping[str, tuple[Target, ...]]) -> Iterator[PredictedPerson]:
        """The people of a split, in the order of the scores."""
        scores = SplitScores.load(scores_file(self.run, split))
        examples = {example.id: example for example in read_examples(examples_file(self.run, split))}
        values = scores.scores if self.calibration is None else self.calibration.apply(scores.scores)
        images = [path for example in examples.values() for path in example.images]
        names = _names(self.recipe.data.root, images)
        for row, id in enumerate(scores.ids):
            example = examples.get(id)
            if example is None:
                raise RunError(
                    f"{examples_file(self.run, split)} lacks {id!r}", hint="run mien evaluate again"
                )
            text = example.description
            yield PredictedPerson(
                id=id,
                images=tuple(
                    ImageRef(path=path, frame=frame)
                    for path, frame in zip(example.images, example.frames, strict=True)
                ),
                names=tuple(names[path] for path in example.images),
                boxes=example.boxes,
                target=_target(scores, row, example),
                annotators=annotators.get(id) or None,
                scores=_by_label(scores, values[row]) if scores.has_labels else None,
                above=self._above(scores, values[row]),
                dimensions=self._dimensions(scores, row),
                description=text,
                origin=None if text is None else self.origins.find(id, text),
            )

    def _above(self, scores: SplitScores, values: np.ndarray) -> tuple[str, ...] | None:
        thresholds = None if self.calibration is None else self.calibration.thresholds
        if thresholds is None or not scores.has_labels:
            return None
        return tuple(
            label
            for label, value, threshold in zip(scores.label_set.labels, values, thresholds, strict=True)
            if value >= threshold
        )

    def _dimensions(self, scores: SplitScores, row: int) -> dict[str, float] | None:
        if scores.dimensions is None:
            return None
        bounded = scores.dimensions[row].clip(lowest_dimension(self.recipe.data.name), 1.0)
        return dict(zip(DIMENSIONS, map(float, bounded), strict=True))


def _by_label(scores: SplitScores, values: np.ndarray) -> dict[str, float]:
    return dict(zip(scores.label_set.labels, map(float, values), strict=True))


def _target(scores: SplitScores, row: int, example: Example) -> Target:
    """What the scores were rated on."""
    labels = {label: value for label, value in _by_label(scores, scores.targets[row]).items() if value}
    return Target(labels=labels, dimensions=example.dimensions)


def _annotators(
    recipe: Recipe, splits: Sequence[str], cache: Path
) -> tuple[dict[str, dict[str, tuple[Target, ...]]], list[str]]:
    """The answers of annotators by split and id; a note if the dataset is not here."""
    try:
        dataset = open_recipe_dataset(recipe, cache=cache)
        return {
            split: {record.sample.subject.id: record.annotations for record in dataset.records(split)}
            for split in splits
        }, []
    except MienError as error:
        return {}, [f"The answers of single annotators are left out: {first_line(error)}"]


class _Origins:
    """Finds which prompt and engine a text is of, without the engine, whose model may be gone."""

    def __init__(self, store: Path) -> None:
        self.note = ""
        self._by_text: dict[str, list[tuple[str, _Origin]]] = defaultdict(list)
        try:
            with Store(store, writable=False) as opened:
                for item in opened:
                    origin = (item.prompt_id, item.engine, item.finish)
                    self._by_text[item.text].append((item.subject_id, origin))
        except MienError as error:
            self.note = f"Prompt and engine of the descriptions are not known: {first_line(error)}"

    def find(self, id: str, text: str) -> _Origin | None:
        """People with the same image and box share a row under one id, and a text may be written twice."""
        found = self._by_text.get(text, ())
        own = {origin for subject_id, origin in found if subject_id == id}
        (*candidates,) = own or {origin for _, origin in found}
        return candidates[0] if len(candidates) == 1 else None


# --- A file of `mien predict` ----------------------------------------------------------------------------


def _read_file(path: Path) -> Predictions:
    if path.suffix.lower() not in _FORMATS:
        raise UsageError(
            f"{path} is neither a run nor a file of predictions",
            hint="name a run directory, or what mien predict --out FILE.jsonl or FILE.parquet wrote",
        )
    try:
        require_file(path)
        rows = list(_parquet_rows(path) if path.suffix.lower() == ".parquet" else _json_rows(path))
        scored = [row for row in rows if row["scores"]]
        names = _names(None, [Path(row["source"]) for row in rows])
        people = [_person(row, names) for row in scored]
    except FileNotFoundError as error:
        raise DataError(f"no file {path}", hint="name a run directory, or a file of mien predict") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError, MienError) as error:
        raise DataError(
            f"{path} is not a file of predictions: {first_line(error, with_type=True)}",
            hint="write one with mien predict --out",
        ) from error
    if not people:
        raise DataError(f"{path} has no person with scores", hint="see its column error")
    return Predictions(
        name=path.stem,
        labels=tuple(dict.fromkeys(label for person in people for label in person.scores or ())),
        people={_OF_FILE: people},
        left_out=len(rows) - len(people),
        notes=("A file of predictions does not say which prompt and engine made the descriptions.",),
    )


def _json_rows(path: Path) -> Iterator[Mapping[str, Any]]:
    with path.open(encoding="utf-8") as file:
        for line in file:
            yield parse_json(line)


def _parquet_rows(path: Path) -> Iterator[Mapping[str, Any]]:
    import pyarrow
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches():
                yield from batch.to_pylist()
    except pyarrow.ArrowException as error:
        raise ValueError(first_line(error)) from error


def _person(row: Mapping[str, Any], names: Mapping[Path, str]) -> PredictedPerson:
    path, frame, box = Path(row["source"]), row["frame"], row["box"]
    place = names[path] if frame is None else f"{names[path]}@{frame}"
    scores = {str(label): float(value) for label, value in row["scores"].items() if value is not None}
    dimensions = {name: float(row[name]) for name in DIMENSIONS if row[name] is not None}
    return PredictedPerson(
        id=f"{place}#{row['person']}",
        images=(ImageRef(path=path, frame=frame),),
        names=(names[path],),
        boxes=(None if box is None else Box.from_tuple(tuple(box)),),
        target=None,
        annotators=None,
        scores=scores,
        above=None if row["above"] is None else tuple(row["above"]),
        dimensions=dimensions or None,
        description=row["description"],
        origin=None,
    )


def _names(root: Path | None, paths: Sequence[Path]) -> dict[Path, str]:
    """Paths relative to the folder of the dataset, or else to the folder that holds all of them."""
    absolute = {path: Path(os.path.abspath(path)) for path in paths}  # noqa: PTH100  keeps links
    if root is None or not all(path.is_relative_to(root) for path in absolute.values()):
        root = Path(os.path.commonpath([path.parent for path in absolute.values()])) if paths else Path()
    return {path: found.relative_to(root).as_posix() for path, found in absolute.items()}
