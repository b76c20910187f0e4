"""Whether explanations are faithful, and whether they find what tells, on Playhouse.

    python benchmarks/explain_faithfulness.py [--run RUN --store STORE] [--people 100] [--pairs 250]
        [--orders 8] [--minutes 60] [--out results.json]

Without --run, the recipe of the demo (640 training scenes, seed 0, with the embedded models) is described,
trained and evaluated first, in --work or in a temporary folder. With --store, descriptions of the test split
that are in it are not made again. After --minutes, what was measured so far is reported; two thirds of the
time are for 1 and 2. People are taken in the order of the split.

1. Deletion and insertion. For people of the test split and the label with the highest score: the area under
   the curves by occlusion, by attention and by gradient times input, minus that of random orders of the same
   parts, each of which counts in both directions.
2. Where. The share of attention, and of positive occlusion, inside the subject (with what they hold), and
   inside the subject, the things of the occasion and the symbols of company; minus the share of the area,
   which is what a map without information has.
3. The box. In scenes of several people, the box is moved from the subject to another person. Truth is what
   the rules of Playhouse say of each person, without noise: the labels over the threshold of an average
   annotator. Only pairs with different labels count. The margin of a prediction for the other person is the
   mean score of the labels that only the other has, minus that of the labels that only the subject has, 0
   where there are none. "moved": the margin rises when the box moves. "closer": the margin is above 0
   afterwards.

Intervals of means are 95 % percentile intervals of the bootstrap over scenes, 4,000 resamples; those of
shares of scenes are Clopper and Pearson's. The numbers say nothing about photographs.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from scipy import stats

import mien
from mien.ablation.demo import RECIPE
from mien.data.playhouse import Playhouse
from mien.describe.store.lookup import lookup_descriptions
from mien.describe.store.store import Store
from mien.files import atomic_write_json, cache_directory
from mien.playhouse.draw import OCCASION, SYMBOL, draw_with_cue_map, person_boxes
from mien.playhouse.rules import THRESHOLD, observe, score_emotions
from mien.playhouse.scene import Scene
from mien.predict.explain.explainer import ExplainOptions, explain_subject
from mien.predict.explain.explanation import Explanation
from mien.predict.predictor import Predictor
from mien.recipe.load import parse_recipe
from mien.types import Subject

Scores = Mapping[str, float]

_RESAMPLES: Final = 4_000
_SPLIT: Final = "test"
_SHARE: Final = 2 / 3  # of the time for words and regions


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run", type=Path, help="a trained run of Playhouse with descriptions")
    parser.add_argument("--people", type=int, default=100, help="people of test that are explained")
    parser.add_argument("--pairs", type=int, default=250, help="at most so many scenes with another box")
    parser.add_argument("--store", type=Path, help="its descriptions")
    parser.add_argument("--orders", type=int, default=8, help="pairs of random orders per person")
    parser.add_argument("--minutes", type=float, default=60, help="at most so long, without the training")
    parser.add_argument("--work", type=Path, help="the folder for the run, if none is given")
    parser.add_argument("--out", type=Path, help="write the results as JSON")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    started = time.process_time()
    with tempfile.TemporaryDirectory() as temporary:
        run = options.run or train(options.work or Path(temporary))
        predictor = Predictor.from_pretrained(run, device="cpu")
        data = Playhouse(predictor.trained.recipe.data, cache_directory())
        store = options.store or (run.parent / "store.sqlite" if options.run is None else None)
        measure = Measurement(predictor, data, store, orders=options.orders)
        found = measure.run(people=options.people, pairs=options.pairs, seconds=60 * options.minutes)
    found = {
        "date": datetime.now(UTC).date().isoformat(),
        "hardware": f"{platform.machine()}, one core",
        "recipe": predictor.trained.recipe.model_dump(mode="json", include={"data", "model", "train"}),
        "cpu_seconds": round(time.process_time() - started),
        **found,
    }
    if options.out is not None:
        atomic_write_json(options.out, found)
    print(json.dumps(found, indent=2))


def train(work: Path) -> Path:
    """Describes, trains and evaluates the fused model of the demo; goes on where it was."""
    places = [
        f"run.out={json.dumps(str(work / 'run'))}",
        f"run.store={json.dumps(str(work / 'store.sqlite'))}",
    ]
    recipe = parse_recipe(dict(RECIPE), [*places, "run.threads=1"], where="the demo")
    mien.describe(recipe)
    mien.train(recipe)
    mien.evaluate(work / "run")
    return work / "run"


class Measurement:
    """Measures a run on the test split."""

    def __init__(self, predictor: Predictor, data: Playhouse, store: Path | None, *, orders: int) -> None:
        self.predictor, self.orders = predictor, orders
        self.subjects = [sample.subject for sample in data.samples(_SPLIT)]
        self.scenes = [data.scene(_SPLIT, index)[0] for index in range(len(self.subjects))]
        assert predictor.text_stage is not None, "the run reads descriptions"
        self._texts: dict[str, str] = {}
        if store is not None:
            builder = predictor.text_stage.request_builder
            with Store(store) as opened:
                found = lookup_descriptions(self.subjects, builder, opened).descriptions
            self._texts = {id: item.text for id, item in found.items()}

    def run(self, *, people: int, pairs: int, seconds: float) -> dict[str, Any]:
        """All measures, of as many people and pairs as there is time for."""
        start = time.monotonic()
        explained: list[Explanation] = []
        for subject in self.subjects[:people]:
            if time.monotonic() - start > _SHARE * seconds and explained:
                break
            explained.append(self.explain(subject))
        return {
            "split": _SPLIT,
            "people": len(explained),
            "random_orders": 2 * self.orders,
            "faithfulness": measure_curves(explained),
            "where": measure_shares(explained, self.scenes),
            "attention": measure_attention(explained),
            "box": measure_boxes(self, pairs, until=start + seconds),
        }

    def explain(self, subject: Subject) -> Explanation:
        """The highest label of a person, without counterfactuals."""
        options = ExplainOptions(top=1, counterfactuals=(), random_orders=self.orders)
        explanation = explain_subject(
            self.predictor, subject, description=self.describe(subject), options=options
        )
        print(subject.id, flush=True, file=sys.stderr)
        return explanation

    def describe(self, subject: Subject) -> str:
        """The description in the store, or a new one."""
        if subject.id not in self._texts:
            (prediction,) = self.predictor.predict([subject])
            assert prediction.description is not None, "the run reads descriptions"
            self._texts[subject.id] = prediction.description.text
        return self._texts[subject.id]


# --- Curves ------------------------------------------------------------------------------------------------


def measure_curves(explained: Sequence[Explanation]) -> dict[str, Any]:
    """For each method: how much lower deletion and how much higher insertion is than at random."""
    found: dict[str, Any] = {}
    for parts in ("regions", "words"):
        by_method: dict[str, list[Any]] = {}
        for item in explained:
            label = item.labels[0]
            measured = label.region_faithfulness if parts == "regions" else label.word_faithfulness
            for faithfulness in measured:
                by_method.setdefault(faithfulness.method, []).append(faithfulness)
        found[parts] = {
            method: {
                "n": len(items),
                "deletion_below_random": _interval(
                    [item.random_deletion.area - item.deletion.area for item in items]
                ),
                "insertion_above_random": _interval(
                    [item.insertion.area - item.random_insertion.area for item in items]
                ),
                "gain": _interval([item.gain for item in items]),
                "is_faithful_in": _share([item.is_faithful for item in items]),
                "mean_deletion_area": float(np.mean([item.deletion.area for item in items])),
                "mean_insertion_area": float(np.mean([item.insertion.area for item in items])),
                "mean_random_area": float(np.mean([item.random_deletion.area for item in items])),
            }
            for method, items in by_method.items()
        }
    return found


def measure_attention(explained: Sequence[Explanation]) -> dict[str, Any]:
    """Where the queries look on average, and how often attention is the map to look at first."""
    shares = [item.attention_shares.to_dict() for item in explained if item.attention_shares is not None]
    leads = [item.labels[0].leading for item in explained]
    return {
        "mean_shares": {name: float(np.mean([share[name] for share in shares])) for name in shares[0]},
        "leads_in": _share([heat_map is not None and heat_map.method == "attention" for heat_map in leads]),
    }


# --- Where -------------------------------------------------------------------------------------------------


def measure_shares(explained: Sequence[Explanation], scenes: Sequence[Scene]) -> dict[str, Any]:
    """The share of each map inside what tells, next to the share of the area."""
    rows: dict[str, dict[str, list[float]]] = {}
    for item, scene in zip(explained, scenes, strict=False):
        cues = np.asarray(draw_with_cue_map(scene)[1])
        subject = cues == scene.subject + 1
        others = (cues > 0) & (cues < OCCASION) & ~subject
        areas = {"subject": subject, "telling": subject | (cues == OCCASION) | (cues == SYMBOL)}
        if others.any():
            areas["other_people"] = others
        maps = {"attention": item.labels[0].attention, "occlusion": item.labels[0].occlusion}
        for name, area in areas.items():
            values = rows.setdefault(name, {})
            values.setdefault("area", []).append(float(area.mean()))
            for method, heat_map in maps.items():
                share = float("nan") if heat_map is None else heat_map.share(area)
                values.setdefault(method, []).append(share)
    return {name: _summary(values) for name, values in rows.items()}


def _summary(values: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    area = np.array(values["area"])
    found: dict[str, Any] = {"n": len(area), "chance": _interval(area)}
    for method in ("attention", "occlusion"):
        share = np.array(values[method])
        known = ~np.isnan(share)
        found[method] = {
            "share": _interval(share[known]),
            "above_chance": _interval((share - area)[known]),
        }
    return found


# --- The box -----------------------------------------------------------------------------------------------


def measure_boxes(measurement: Measurement, pairs: int, *, until: float) -> dict[str, Any]:
    """What moving the box to another person does to the prediction."""
    before, both, image_alone, truths = [], [], [], []
    for subject, scene in zip(measurement.subjects, measurement.scenes, strict=True):
        other = next((index for index in range(len(scene.people)) if index != scene.subject), None)
        if other is None or len(truths) == pairs or (time.monotonic() > until and truths):
            continue
        first, second = _truth(scene, scene.subject), _truth(scene, other)
        if first == second:
            continue
        truths.append((first, second))
        text = measurement.describe(subject)
        options = ExplainOptions(counterfactuals=("other_box",), random_orders=0, top=1, cells=2)
        explanation = explain_subject(
            measurement.predictor,
            subject,
            others={other: person_boxes(scene)[other]},
            description=text,
            options=options,
        )
        (answer,) = explanation.counterfactuals
        assert answer.scores_of_same_words is not None, "the run reads both"
        before.append(explanation.scores)
        both.append(answer.scores)
        image_alone.append(answer.scores_of_same_words)
        print(subject.id, "moved", flush=True, file=sys.stderr)
    return {
        "scenes": len(truths),
        "both": _movement(before, both, truths),
        "image_alone": _movement(before, image_alone, truths),
    }


def _truth(scene: Scene, person: int) -> frozenset[str]:
    scores = score_emotions(observe(replace(scene, subject=person)))
    return frozenset(label for label, score in scores.items() if score > THRESHOLD)


def _movement(
    before: Sequence[Scores], after: Sequence[Scores], truths: Sequence[tuple[frozenset[str], ...]]
) -> dict[str, Any]:
    margins = np.array(
        [
            [_margin(first, *truth), _margin(second, *truth)]
            for first, second, truth in zip(before, after, truths, strict=True)
        ]
    )
    differing = np.array([len(first ^ second) for first, second in truths])
    found = {
        "margin_before": _interval(margins[:, 0]),
        "margin_after": _interval(margins[:, 1]),
        "moved_in": _share(margins[:, 1] > margins[:, 0]),
        "closer_in": _share(margins[:, 1] > 0),
    }
    for least in (2, 4, 6):
        chosen = differing >= least
        if chosen.any():
            found[f"moved_in_of_{least}_or_more_labels"] = _share((margins[:, 1] > margins[:, 0])[chosen])
    return found


def _margin(scores: Mapping[str, float], first: frozenset[str], second: frozenset[str]) -> float:
    def mean(labels: frozenset[str]) -> float:
        return float(np.mean([scores[label] for label in labels])) if labels else 0.0

    return mean(second - first) - mean(first - second)


# --- Intervals -----------------------------------------------------------------------------


def _interval(values: Sequence[float] | np.ndarray) -> dict[str, float]:
    """The mean with its interval."""
    given, rng = np.asarray(values, dtype=np.float64), np.random.default_rng(0)
    means = given[rng.integers(0, len(given), (_RESAMPLES, len(given)))].mean(axis=1)
    low, high = np.quantile(means, (0.025, 0.975))
    return {"value": float(given.mean()), "low": float(low), "high": float(high)}


def _share(values: Sequence[bool] | np.ndarray) -> dict[str, float]:
    """A share with Clopper and Pearson's interval."""
    given = np.asarray(values, dtype=bool)
    result = stats.binomtest(int(given.sum()), len(given)).proportion_ci(method="exact")
    return {"value": float(given.mean()), "low": float(result.low), "high": float(result.high)}


if __name__ == "__main__":
    main()
