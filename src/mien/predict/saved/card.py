"""The model card of a saved model, filled from its run: what is measured on what, and what no one may do.

All names are of others: of labels, models and recipes. They are escaped, so that none becomes a heading, a
link or HTML on the Hub's page.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from mien.data.open import dataset_class
from mien.evaluate.metrics.table import find_metric
from mien.evaluate.results.measured_on import dataset_ids, dataset_text, size_notice
from mien.evaluate.results.results import EVALUATION, Evaluation, LabelRow, ResultRow, read_results
from mien.evaluate.results.run_history import carbon_emissions, duration_text, training_seconds
from mien.evaluate.scores import SplitScores
from mien.evaluate.shared_images import count_training_images
from mien.files import atomic_write_text
from mien.model.checkpoint import TrainedModel, model_digest
from mien.predict.saved.layout import CARD
from mien.predict.saved.models import UsedModel
from mien.registry import registered_names
from mien.runs import MANIFEST
from mien.version import __version__

__all__ = ["markdown_text", "write_card"]

_TEMPLATE: Final = Path(__file__).with_name("card.md")
_PLAYHOUSE: Final = "playhouse"
_SPECIAL: Final = re.compile(r"([\\`*_{}\[\]<>#|!&~$])")
_NONE: Final = "-"
_PARTS: Final = {
    "features.vision": "vision encoder",
    "features.tokenizer": "tokenizer",
    "describe.model": "describing model",
}


def write_card(
    folder: Path, *, run: Path, trained: TrainedModel, config: Mapping[str, Any], models: Sequence[UsedModel]
) -> None:
    """Writes the model card, `README.md`.

    Args:
        folder: The saved folder.
        run: The run directory, for its results and its history.
        trained: The model.
        config: What `model_config` says of it.
        models: The models of others that it uses.
    """
    from huggingface_hub import ModelCard

    results = read_results(run / EVALUATION) if (run / EVALUATION).exists() else Evaluation()
    dataset = _dataset(trained)
    values: dict[str, Any] = {
        "name": _text(trained.recipe.name),
        "version": __version__,
        "warning": _warning(trained, models),
        "facts": _facts(trained, config, models),
        "prompt": _quoted(config["describing"]["prompt"]["text"]) if config["describing"] else "",
        "dataset": dataset["title"],
        "images": _image_counts(run),
        "data": _data(trained, dataset, run),
        "results": _results(results),
        "notes": _notes(results, trained.recipe.data.name),
        "labels": [_label(row) for row in _shown_labels(results)],
        "labels_split": next((_text(row.split) for row in _shown_labels(results)), ""),
        "threshold_split": _threshold_split(config),
        "calibrated": _calibrated(config),
        "parts": _parts(dataset, models),
        "training": _training(trained, run),
    }
    data = _metadata(trained, dataset, models, run, results)
    card = ModelCard.from_template(data, template_path=str(_TEMPLATE), **values)
    atomic_write_text(folder / CARD, str(card).strip() + "\n")


def markdown_text(value: object) -> str:
    """Text of others on one line of Markdown, in which it is nothing but text."""
    line = "".join(character if character.isprintable() else " " for character in str(value))
    return _SPECIAL.sub(r"\\\1", " ".join(line.split())) or _NONE


_text = markdown_text  # short, because each value needs it


def _quoted(text: str) -> str:
    """Text of others as a code block."""
    lines = "".join(character if character.isprintable() else " " for character in text)
    return f"    {lines}"


def _number(value: float | None) -> str:
    return _NONE if value is None or not math.isfinite(value) else f"{value:.3f}"


def _interval(low: float | None, high: float | None) -> str:
    return "too few people" if low is None or high is None else f"{low:.3f} to {high:.3f}"


# --- What it is ----------------------------------------------------------------------------------------


def _warning(trained: TrainedModel, models: Sequence[UsedModel]) -> str:
    if trained.recipe.data.name == _PLAYHOUSE:
        return (
            "A demonstration. Playhouse is a small drawn world whose labels follow written rules: its "
            "numbers say nothing about real photographs."
        )
    if any(model.kind == "embedded" for model in models):
        return (
            "A dry run. It uses the models that are embedded in mien, which know only the drawn scenes of "
            "Playhouse; what they say about photographs is not a result."
        )
    return ""


def _facts(
    trained: TrainedModel, config: Mapping[str, Any], models: Sequence[UsedModel]
) -> list[tuple[str, str]]:
    labels, recipe = trained.label_set, trained.recipe
    rule = "exactly one holds" if labels.exclusive else "any number can hold"
    facts = []
    if config["labels"]["predicted"]:
        facts.append(
            ("Labels", f"{len(labels)} ({_text(labels.name)}; {rule}): {_text(', '.join(labels.labels))}")
        )
    if config["dimensions"]:
        facts.append(("Dimensions", f"{', '.join(config['dimensions'])}, on a scale of 0 to 1"))
    facts += [(_PARTS.get(model.key, _text(model.key)).capitalize(), _used(model)) for model in models]
    if config["describing"]:
        facts.append(
            ("Description", f"engine {_text(recipe.describe.engine)}, prompt {_text(recipe.describe.prompt)}")
        )
    marking = recipe.describe.marking if config["describing"] else recipe.feature_marking
    return [*facts, ("Marking of the person", _text(marking)), ("Fusion", _text(recipe.model.fusion))]


def _used(model: UsedModel) -> str:
    kinds = {
        "embedded": ", embedded in mien",
        "included": ", in this folder",
        "server": ", on a server",
        "hub": "",
    }
    revision = f" at revision {_text(model.revision)}" if model.revision else ""
    return f"{_text(model.name)}{revision}{kinds[model.kind]}"


def _threshold_split(config: Mapping[str, Any]) -> str:
    """The split on which thresholds were fitted; "" without thresholds."""
    calibration = config["calibration"]
    return "" if calibration is None or not calibration["thresholds"] else _text(calibration["fitted_on"])


def _calibrated(config: Mapping[str, Any]) -> str:
    calibration = config["calibration"]
    if calibration is None:
        return "Scores are not calibrated: they rank people and labels, and are not probabilities."
    split = _text(calibration["fitted_on"])
    return f"Scores are calibrated on the split {split}, for images like those of the dataset."


# --- Data and results ----------------------------------------------------------------------------------


def _dataset(trained: TrainedModel) -> dict[str, str]:
    """Title, terms and address of the dataset, escaped."""
    name = trained.recipe.data.name
    if name not in registered_names("dataset"):
        return {"title": _text(name), "license": "not known", "homepage": ""}
    card = dataset_class(name).card
    title = _text(dataset_text(trained.recipe.to_json()))
    license = "as its author says" if name == "manifest" else _text(card.license)
    return {"title": title, "license": license, "homepage": card.homepage}


def _data(trained: TrainedModel, dataset: Mapping[str, str], run: Path) -> list[tuple[str, str]]:
    home = f" ({dataset['homepage']})" if dataset["homepage"] else ""
    found = [("Dataset", f"{dataset['title']}{home}"), ("Terms", dataset["license"])]
    if (run / MANIFEST).exists():
        counts = count_training_images(run, model=model_digest(run))
        found += [(f"Split {_text(split)}", f"{count:,} different images") for split, count in counts.items()]
    chosen = f"{_text(trained.result.metric)} on the split {_text(trained.recipe.train.select_on)}"
    return [*found, ("Weights chosen by", chosen)]


def _image_counts(run: Path) -> dict[str, str]:
    """How many images the people of each scored split are in, by the split's escaped name."""
    scored = [SplitScores.load(file) for file in sorted(run.glob("scores-*.npz"))]
    return {_text(scores.split): f"{len(set(scores.groups)):,}" for scores in scored}


def _results(results: Evaluation) -> list[tuple[str, list[dict[str, str]]]]:
    splits = dict.fromkeys(row.split for row in results.rows)
    return [(_text(split), [_row(row) for row in results.rows if row.split == split]) for split in splits]


def _row(row: ResultRow) -> dict[str, str]:
    metric = find_metric(row.metric) if row.metric in registered_names("metric") else None
    is_named = metric is None or metric.title == row.metric
    title = row.metric if metric is None or is_named else f"{row.metric}: {metric.title}"
    return {
        "metric": _text(title),
        "value": _number(row.value),
        "interval": _interval(row.low, row.high),
        "chance": _number(row.chance),
        "n": f"{row.n:,}",
    }


def _shown_labels(results: Evaluation) -> list[LabelRow]:
    split = next((row.split for row in results.labels), None)
    return [row for row in results.labels if row.split == split]


def _label(row: LabelRow) -> dict[str, str]:
    return {
        "label": _text(row.label),
        "n": f"{row.positives:,}",
        "value": _number(row.value),
        "interval": _interval(row.low, row.high),
        "chance": _number(row.prevalence),
        "threshold": _number(row.threshold),
    }


def _notes(results: Evaluation, dataset: str) -> list[str]:
    """What limits the numbers: who was scored, the kind of intervals, repeated evaluations, shared images."""
    seeds = "Variation between training seeds is not included."
    notes = [f"Intervals: {_text(results.interval)}. {seeds}"] if results.interval else []
    for split, n in dict.fromkeys((row.split, row.n) for row in results.rows):
        if notice := size_notice(dataset, split, n):
            notes.append(_text(f"{notice[:1].upper()}{notice[1:]}."))
    for access in results.split_accesses:
        notes.append(
            f"This run scored the split {_text(access.split)} {_count(access.times, 'time')}, with "
            f"{_count(access.weights, 'set')} of weights."
        )
    notes += [_text(f"{shared}.") for shared in results.shared_images]
    if results.unscored:
        notes.append(f"{len(results.unscored):,} samples could not be scored, and are left out.")
    return notes + [_text(f"{note[:1].upper()}{note[1:]}") for note in results.notes]


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


# --- Licenses and training -----------------------------------------------------------------------------


def _parts(dataset: Mapping[str, str], models: Sequence[UsedModel]) -> list[dict[str, str]]:
    rows = [{"part": "dataset", "name": dataset["title"], "revision": _NONE, "license": dataset["license"]}]
    for model in models:
        rows.append(
            {
                "part": _PARTS.get(model.key, _text(model.key)),
                "name": _text(model.name),
                "revision": _text(
                    model.revision or (f"mien {__version__}" if model.kind == "embedded" else _NONE)
                ),
                "license": _text(model.license or "not known: ask its authors"),
            }
        )
    return [*rows, {"part": "program", "name": "mien", "revision": __version__, "license": "Apache-2.0"}]


def _training(trained: TrainedModel, run: Path) -> list[tuple[str, str]]:
    result = trained.result
    found = [
        ("Steps", f"{result.steps:,}; the weights are those of epoch {result.best_epoch}"),
        ("Seed", str(trained.recipe.train.seed)),
        ("Recipe", f"`recipe.json`, digest {trained.recipe.digest()[:12]}"),
    ]
    seconds = training_seconds(run)
    found.append(("Time", f"{duration_text(seconds)} of training steps" if seconds else "not recorded"))
    emissions = carbon_emissions(run)
    measured = (
        "not measured" if emissions is None else f"{emissions:.3f} kg of CO2 equivalents, by CodeCarbon"
    )
    return [*found, ("Carbon", f"{measured}; descriptions and features not counted")]


def _metadata(
    trained: TrainedModel,
    dataset: Mapping[str, str],
    models: Sequence[UsedModel],
    run: Path,
    results: Evaluation,
) -> Any:
    """What the Hub reads from the card."""
    from huggingface_hub import EvalResult, ModelCardData

    is_free = trained.recipe.data.name == _PLAYHOUSE and all(
        model.license == "Apache-2.0" for model in models
    )
    terms: dict[str, Any] = (
        {"license": "apache-2.0"} if is_free else {"license": "other", "license_name": "see-the-model-card"}
    )
    dataset_type, dataset_name = dataset_ids(trained.recipe.to_json())
    emissions = carbon_emissions(run)
    more: dict[str, Any] = (
        {}
        if emissions is None
        else {"co2_eq_emissions": {"emissions": 1000 * emissions, "source": "CodeCarbon"}}
    )
    rows = [row for row in results.rows if math.isfinite(row.value)]
    return ModelCardData(
        library_name="mien",
        tags=["apparent-emotion", "affective-computing", "vision-language"],
        pipeline_tag="image-classification",
        base_model=sorted({model.name for model in models if model.kind == "hub"}) or None,
        model_name=trained.recipe.name,
        eval_results=[
            EvalResult(
                task_type="image-classification",
                dataset_type=dataset_type,
                dataset_name=dataset_name,
                dataset_split=row.split,
                metric_type=row.metric,
                metric_value=round(row.value, 4),
            )
            for row in rows
        ]
        or None,
        **terms,
        **more,
    )
