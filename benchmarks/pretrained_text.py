"""Accuracy of text alone when the Q-Former starts from a pretrained BERT, and when it starts at random.

    python benchmarks/pretrained_text.py --answers caers_1600.jsonl --weights all-MiniLM-L6-v2
        [--out results.json] [--seeds 5] [--rates 1e-4,5e-4] [--epochs 3] [--max-tokens 40]

The texts are real answers of a VLM about frames of CAER-S (JSON Lines with "id" and "description"). The label
is the first emotion that an answer names. The paragraph that says so is left out, and all other words for the
labels are masked, so that a model must read the reasons. Seed k tests on fold k of five and trains on the
others, so five seeds test every answer once. The weights of the last epoch count. Both starts see the same
batches at each learning rate.

Writes the results after each training, and continues a file that it finds. The last table has, for each
learning rate, the accuracy of both starts, and their paired difference with a 95 % interval over answers.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch

from mien.batches.batch import SplitData
from mien.batches.builder import InputBuilder
from mien.evaluate.bootstrap import difference
from mien.evaluate.descriptions.label_naming import LabelNamer
from mien.evaluate.metrics.metric_inputs import MetricInput
from mien.evaluate.metrics.table import resolve_metric
from mien.evaluate.scorer import score_split
from mien.files import atomic_write_json
from mien.labels import CAERS
from mien.model.pretrained import RANDOM
from mien.recipe import Recipe
from mien.train.trainer import Trainer
from mien.types import Sample, Subject, Target

FOLDS: Final = 5
BATCH: Final = 16
MASK: Final = "[MASK]"
_WORD: Final = re.compile(r"\w+")
_MARKDOWN: Final = re.compile(r"[*#]+|^\s*-+", re.MULTILINE)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train what the results lack, then print them."""
    options = _parser().parse_args(arguments)
    torch.set_num_threads(1)
    answers = read_answers(options.answers)
    found = _continued(options, answers)
    for seed in range(options.seeds):
        for rate in options.rates:
            for start in ("pretrained", RANDOM):
                name = f"{start} lr {rate:g} seed {seed}"
                if name in found["trainings"]:
                    continue
                found["trainings"][name] = _train(options, answers, start=start, rate=rate, seed=seed)
                found["table"] = _table(options, answers, found["trainings"])
                atomic_write_json(options.out, found)
                print(name, found["trainings"][name]["accuracy"], file=sys.stderr, flush=True)
    print(json.dumps({name: value for name, value in found.items() if name != "trainings"}, indent=2))


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The reasons that an answer gives, with masked emotion words, and the emotion that it named first."""

    id: str
    text: str
    label: str


def read_answers(file: Path) -> list[Answer]:
    """The answers that name an emotion of the label set."""
    namer = LabelNamer(CAERS)

    def mask(word: re.Match[str]) -> str:
        return MASK if namer.named(word[0]) else word[0]

    answers = []
    for line in file.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        text = str(row["description"])
        named = namer.named(text)
        if named:
            answers.append(Answer(id=str(row["id"]), text=_WORD.sub(mask, _reasons(text)), label=named[0]))
    return answers


def _reasons(text: str) -> str:
    """The text without Markdown, its first paragraph, and a heading such as "Here's a breakdown:"."""
    paragraphs = _MARKDOWN.sub("", text).split("\n\n")[1:]
    if paragraphs and paragraphs[0].strip().endswith(":"):
        paragraphs = paragraphs[1:]
    return "\n\n".join(paragraphs)


def folds(answers: Sequence[Answer]) -> np.ndarray:
    """The fold of each answer, drawn once; every label is spread evenly over the folds."""
    labels = np.array([CAERS.index(answer.label) for answer in answers])
    shuffled = np.random.default_rng(0).permutation(len(answers))
    order = shuffled[np.argsort(labels[shuffled], kind="stable")]
    fold = np.empty(len(answers), dtype=int)
    fold[order] = np.arange(len(answers)) % FOLDS
    return fold


def _train(
    options: argparse.Namespace, answers: Sequence[Answer], *, start: str, rate: float, seed: int
) -> dict[str, Any]:
    """One training: the accuracy on the test fold, and whether each answer of it was right."""
    began = time.process_time()
    recipe = _recipe(options, init=RANDOM if start == RANDOM else str(options.weights), rate=rate, seed=seed)
    tested = folds(answers) == seed
    train, test = (
        _split(recipe, name, [answer for answer, one in zip(answers, chosen, strict=True) if one])
        for name, chosen in (("train", ~tested), ("test", tested))
    )
    trainer = Trainer(recipe, train, train, torch.device("cpu"))  # nothing is selected by validation
    losses = []
    for _ in range(recipe.train.epochs):
        epoch = [trainer.train_step(micro_batches) for micro_batches in trainer.remaining_steps()]
        losses.append(round(float(np.mean(epoch)), 4))
    scored = score_split(trainer.classifier, test)
    right = scored.scores.argmax(axis=1) == scored.targets.argmax(axis=1)
    return {
        "accuracy": round(float(right.mean()), 4),
        "losses": losses,
        "right": dict(zip(scored.ids, right.astype(int).tolist(), strict=True)),
        "cpu_seconds": round(time.process_time() - began, 1),
    }


def _recipe(options: argparse.Namespace, *, init: str, rate: float, seed: int) -> Recipe:
    """MiniLM's shape and tokenizer, with either start."""
    table = {
        "name": "pretrained-text",
        "data": {"name": "caers", "label_set": "caers"},
        "features": {"tokenizer": str(options.weights), "max_text_tokens": options.max_tokens},
        "model": {
            "fusion": "text_only", "init": init, "width": 384, "layers": 6, "heads": 12, "num_queries": 8,
        },
        "train": {
            "seed": seed, "epochs": options.epochs, "batch_size": BATCH, "lr": rate, "heads": "labels",
        },
    }  # fmt: skip
    return Recipe.parse(table, where="benchmark")


def _split(recipe: Recipe, name: str, answers: Sequence[Answer]) -> SplitData:
    samples = [
        Sample(
            subject=Subject.still(answer.id, Path(f"{answer.id}.png")),
            target=Target(labels={answer.label: 1.0}),
            split=name,
        )
        for answer in answers
    ]
    texts = {answer.id: answer.text for answer in answers}
    builder = InputBuilder.from_recipe(recipe, Path("unused"))
    return builder.build_split(name, samples, CAERS, image=False, descriptions=texts)


def _table(
    options: argparse.Namespace, answers: Sequence[Answer], trainings: dict[str, Any]
) -> list[dict[str, Any]]:
    """One row per learning rate, of the seeds that both starts have finished."""
    metric = resolve_metric("accuracy", CAERS)
    fold = dict(zip((answer.id for answer in answers), folds(answers), strict=True))
    rows = []
    for rate in options.rates:
        names = [
            (f"pretrained lr {rate:g} seed {seed}", f"{RANDOM} lr {rate:g} seed {seed}")
            for seed in range(options.seeds)
        ]
        pairs = [(trainings[a], trainings[b]) for a, b in names if a in trainings and b in trainings]
        if not pairs:
            continue
        ids = sorted({one for pair in pairs for one in pair[0]["right"]})
        gap = difference(
            *(
                MetricInput(metric=metric, targets=_right(ids), scores=(_right(ids, pairs, side),))
                for side in (0, 1)
            ),
            groups=ids,
        )
        rows.append(
            {
                "lr": rate,
                "seeds": len(pairs),
                "answers": len(ids),
                "folds": sorted({int(fold[one]) for one in ids}),
                "pretrained": [pair[0]["accuracy"] for pair in pairs],
                "random": [pair[1]["accuracy"] for pair in pairs],
                "difference": {name: round(value, 4) for name, value in asdict(gap).items()
                               if isinstance(value, float)},
                "seconds": [round(sum(pair[side]["cpu_seconds"] for pair in pairs)) for side in (0, 1)],
            }
        )  # fmt: skip
    return rows


def _right(ids: Sequence[str], pairs: Sequence[Any] = (), side: int = 0) -> np.ndarray:
    """One-hot columns in which class 1 is "right"; without pairs, the target, which is always right."""
    right = {one: value for pair in pairs for one, value in pair[side]["right"].items()}
    return np.eye(2)[[right.get(one, 1) for one in ids]]


def _continued(options: argparse.Namespace, answers: Sequence[Answer]) -> dict[str, Any]:
    """The results so far; an error if they are those of other settings."""
    settings = {
        "seeds": options.seeds, "epochs": options.epochs, "max_tokens": options.max_tokens,
        "batch_size": BATCH, "answers": len(answers), "rates": options.rates,
    }  # fmt: skip
    counts = {label: sum(answer.label == label for answer in answers) for label in CAERS.labels}
    new = {
        "date": datetime.now(UTC).date().isoformat(),
        "settings": settings,
        "torch": torch.__version__,
        "labels": counts,
        "most_frequent": round(max(counts.values()) / len(answers), 4),
        "table": [],
        "trainings": {},
    }
    if not options.out.exists():
        return new
    found: dict[str, Any] = json.loads(options.out.read_text(encoding="utf-8"))
    if found["settings"] != settings:
        raise SystemExit(f"{options.out} has the settings {found['settings']}, not {settings}")
    if any("right" not in training for training in found["trainings"].values()):
        raise SystemExit(f"{options.out} lacks single answers, as published results do; name a new file")
    return found


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--answers", type=Path, required=True, help="JSON Lines")
    parser.add_argument("--weights", type=Path, required=True, help="folder of all-MiniLM-L6-v2")
    parser.add_argument("--out", type=Path, default=Path("pretrained-text.json"))
    parser.add_argument("--seeds", type=int, default=FOLDS, choices=range(1, FOLDS + 1))
    parser.add_argument("--rates", type=lambda text: [float(one) for one in text.split(",")],
                        default=[1e-4, 5e-4])  # fmt: skip
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--max-tokens", type=int, default=40)
    return parser


if __name__ == "__main__":
    main()
