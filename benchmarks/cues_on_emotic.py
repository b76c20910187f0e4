"""What the texts of the engine `cues` say about EMOTIC's labels, alone and fused with the image.

    python benchmarks/cues_on_emotic.py --manifest people.jsonl --weights DIR --text-weights all-MiniLM-L6-v2
        [--work DIR] [--out results.json] [--only 1]

The manifest has one row per person (JSON Lines with "id", "image", "labels", and "box" or null); DIR has the
models that `benchmarks/cues.py` names. Everyone is described through a store. Then these models are trained:

- "small": `text_only`, `image_only` and `qformer` of the size in `recipes/photos.toml`, from random
  weights;
- "minilm": `text_only` of the size in `recipes/emotic-small.toml`, from the weights of MiniLM, in few
  epochs.

The image encoder is the embedded one, which knows only drawn scenes. Five folds are grouped by photo, so
everyone is tested once, by a model that saw no one in that photo. The weights of the last epoch count:
nothing is selected on what is tested.

Scores are pooled over the folds. The metric is the mean average precision over the labels with at least 30
people, with a 95 % interval over photos, next to its chance level. `--only` trains so many models and stops;
the next call continues.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from cues import open_cues, read_people

from mien.batches.builder import InputBuilder
from mien.describe.generate import describe
from mien.describe.prompts import get_prompt
from mien.describe.requests import RequestBuilder
from mien.describe.store.lookup import lookup_descriptions
from mien.describe.store.store import Store
from mien.evaluate.bootstrap import difference, interval
from mien.evaluate.metrics.metric_inputs import MetricInput
from mien.evaluate.metrics.table import resolve_metric
from mien.evaluate.scorer import score_split
from mien.files import atomic_write_json
from mien.labels import EMOTIC
from mien.media.images import Marking
from mien.recipe import Recipe
from mien.train.trainer import Trainer
from mien.types import Sample, Target

FOLDS: Final = 5
MIN_PEOPLE: Final = 30  # of a label that is scored
MODELS: Final = ("small text_only", "small image_only", "small qformer", "minilm text_only")
_PAIRS: Final = (
    ("small qformer", "small image_only"),
    ("small qformer", "small text_only"),
    ("small text_only", "small image_only"),
    ("minilm text_only", "small text_only"),
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train what the results lack, then print them."""
    options = _parser().parse_args(arguments)
    torch.set_num_threads(1)
    options.work.mkdir(parents=True, exist_ok=True)
    people = read_people(options.manifest)
    samples = [
        Sample(subject=subject, target=Target(labels=dict.fromkeys(labels, 1.0)), split="all")
        for subject, labels in people
    ]
    texts = _describe(options, samples)
    found = _continued(options, samples, texts)
    fold = folds(samples)
    trained = 0
    for model in MODELS:
        for number in range(FOLDS):
            name = f"{model} fold {number}"
            if name in found["trainings"]:
                continue
            if trained == options.only:
                return
            found["trainings"][name] = _train(options, samples, texts, fold == number, model)
            found["table"] = _table(samples, found["trainings"])
            atomic_write_json(options.out, found)
            trained += 1
            print(name, {**found["trainings"][name], "scores": "..."}, file=sys.stderr, flush=True)
    print(json.dumps({name: value for name, value in found.items() if name != "trainings"}, indent=2))


def folds(samples: Sequence[Sample]) -> np.ndarray:
    """The fold of each person; everyone in a photo is in the same, and folds have as many photos."""
    photos = sorted({sample.subject.images[0].path for sample in samples})
    shuffled = np.random.default_rng(0).permutation(len(photos))
    fold = {photos[index]: place % FOLDS for place, index in enumerate(shuffled)}
    return np.array([fold[sample.subject.images[0].path] for sample in samples])


def _describe(options: argparse.Namespace, samples: Sequence[Sample]) -> Mapping[str, str]:
    """The texts by subject id, from the store."""
    builder = RequestBuilder(
        engine=open_cues(options.weights),
        prompt=get_prompt("paper"),
        label_set=EMOTIC,
        marking=Marking(style="red_box"),
    )
    subjects = [sample.subject for sample in samples]
    with Store(options.work / "descriptions.sqlite") as store:
        describe(subjects, builder, store)
        looked_up = lookup_descriptions(subjects, builder, store)
    return {id: description.text for id, description in looked_up.descriptions.items()}


def _train(
    options: argparse.Namespace,
    samples: Sequence[Sample],
    texts: Mapping[str, str],
    tested: np.ndarray,
    model: str,
) -> dict[str, Any]:
    """One training: the scores of the people in the test fold."""
    began = time.process_time()
    recipe = _recipe(options, model)
    fusion = recipe.model.fusion
    builder = InputBuilder.from_recipe(recipe, options.work / "features")
    train, test = (
        builder.build_split(
            name,
            [sample for sample, one in zip(samples, chosen, strict=True) if one],
            EMOTIC,
            image=fusion != "text_only",
            descriptions=None if fusion == "image_only" else texts,
        )
        for name, chosen in (("train", ~tested), ("test", tested))
    )
    trainer = Trainer(recipe, train, train, torch.device("cpu"))  # nothing is selected by validation
    losses = []
    for _ in range(recipe.train.epochs):
        epoch = [trainer.train_step(micro_batches) for micro_batches in trainer.remaining_steps()]
        losses.append(round(float(np.mean(epoch)), 4))
    scored = score_split(trainer.classifier, test)
    return {
        "losses": losses,
        "cpu_seconds": round(time.process_time() - began, 1),
        "scores": {
            id: [round(float(value), 5) for value in row]
            for id, row in zip(scored.ids, scored.scores, strict=True)
        },
    }


def _recipe(options: argparse.Namespace, model: str) -> Recipe:
    """Labels only, without selection; rates and epochs were chosen before any model was scored."""
    kind, fusion = model.split()
    weights = str(options.text_weights)
    shape: dict[str, Any] = {"width": 96, "layers": 2, "cross_every": 1}
    training: dict[str, Any] = {"epochs": 12, "lr": 1e-3}
    if kind == "minilm":
        shape = {"init": weights, "width": 384, "layers": 6, "heads": 12, "num_queries": 8}
        training = {"epochs": 2, "lr": 3e-4, "lr_scale": {"head": 5.0}}
    table = {
        "name": "cues-on-emotic",
        "data": {"name": "manifest", "label_set": "emotic"},
        "features": {"vision": "playhouse", "tokenizer": weights, "max_text_tokens": 128},
        "model": {"fusion": fusion, **shape},
        "train": {"seed": 0, "batch_size": 16, "heads": "labels", **training},
    }
    return Recipe.parse(table, where="benchmark")


def _table(samples: Sequence[Sample], trainings: Mapping[str, Any]) -> dict[str, Any]:
    """Scores, intervals and differences of the models whose folds are all trained."""
    counts = Counter(label for sample in samples for label in sample.target.labels)
    columns = [index for index, label in enumerate(EMOTIC.labels) if counts[label] >= MIN_PEOPLE]
    targets = np.array(
        [[float(EMOTIC.labels[index] in sample.target.labels) for index in columns] for sample in samples]
    )
    groups = [str(sample.subject.images[0].path) for sample in samples]
    metric = resolve_metric("mAP", EMOTIC)
    inputs = {}
    for model in MODELS:
        scores: dict[str, list[float]] = {}
        for number in range(FOLDS):
            scores |= trainings.get(f"{model} fold {number}", {}).get("scores", {})
        if len(scores) == len(samples):
            rows = np.array([[scores[sample.subject.id][index] for index in columns] for sample in samples])
            inputs[model] = MetricInput(metric=metric, targets=targets, scores=(rows,))
    by_model = {
        model: {
            **_rounded(interval(item, groups=groups)),
            "by_label": {
                EMOTIC.labels[index]: round(
                    metric.value(targets[:, [column]], item.scores[0][:, [column]]), 3
                )
                for column, index in enumerate(columns)
            },
        }
        for model, item in inputs.items()
    }
    return {
        "labels": {EMOTIC.labels[index]: counts[EMOTIC.labels[index]] for index in columns},
        "chance": round(metric.chance(targets), 4),
        "mAP": by_model,
        "differences": {
            f"{one} - {other}": _rounded(difference(inputs[one], inputs[other], groups=groups))
            for one, other in _PAIRS
            if one in inputs and other in inputs
        },
    }


def _rounded(interval: Any) -> dict[str, float]:
    return {name: round(value, 4) for name, value in asdict(interval).items()}


def _continued(
    options: argparse.Namespace, samples: Sequence[Sample], texts: Mapping[str, str]
) -> dict[str, Any]:
    """The results so far; an error if they are those of other settings."""
    settings = {"models": list(MODELS), "folds": FOLDS, "people": len(samples), "described": len(texts)}
    if not options.out.exists():
        return {
            "date": datetime.now(UTC).date().isoformat(),
            "settings": settings,
            "torch": torch.__version__,
            "table": {},
            "trainings": {},
        }
    found: dict[str, Any] = json.loads(options.out.read_text(encoding="utf-8"))
    if found["settings"] != settings:
        raise SystemExit(f"{options.out} has the settings {found['settings']}, not {settings}")
    return found


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--manifest", type=Path, required=True, help="JSON Lines")
    parser.add_argument("--weights", type=Path, required=True, help="folder of ONNX files")
    parser.add_argument("--text-weights", type=Path, required=True, help="folder of all-MiniLM-L6-v2")
    parser.add_argument("--work", type=Path, default=Path("cues-on-emotic"), help="store and features")
    parser.add_argument("--out", type=Path, default=Path("cues-on-emotic.json"))
    parser.add_argument("--only", type=int, default=-1, help="train so many models and stop")
    return parser


if __name__ == "__main__":
    main()
