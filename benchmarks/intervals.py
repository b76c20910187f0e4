"""How often 95 % intervals cover what they are about, and how many people it takes to see a difference.

    python benchmarks/intervals.py coverage [--out coverage.json] [--sets 300] [--resamples 300] [--only NAME]
    python benchmarks/intervals.py power [--out power.json] [--sets 300]

Test sets are drawn from populations whose scores are known: normal scores that are higher by a separation
where a label holds, for labels that are as rare as those of EMOTIC's test split, for six labels, for seven
exclusive classes, and for valence, arousal and dominance. In "groups", one to four people share an image, and
a part of their labels and errors.

"coverage" compares ways to make an interval of the same resamples. Each is held against two truths: the mean
score of test sets of the same size ("same_size"), and the score of endlessly many people ("limit").

"power" finds how many people it takes until the paired interval of a true difference excludes zero in 80 % of
test sets, for pairs of models whose scores correlate by .8, .5 and .2 where the labels are the same.

Both write their results after each part, and continue a file that they find.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Final

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from scipy.special import ndtr, ndtri
from scipy.stats import norm, t

from mien.evaluate.bootstrap import resample_weights
from mien.evaluate.metrics.dimensions import mean_r2, vad_mae
from mien.evaluate.metrics.metric import unit_weight
from mien.evaluate.metrics.ranking import ranking_values
from mien.evaluate.metrics.table import resolve_metric
from mien.files import atomic_write_json
from mien.labels import CAERS

# Label frequencies of EMOTIC's test split, from Engagement down to Embarrassment.
EMOTIC_SHARES: Final = (
    *(0.776, 0.482, 0.481, 0.478, 0.473, 0.29, 0.154, 0.147, 0.145, 0.137, 0.133, 0.124, 0.084),
    *(0.065, 0.061, 0.059, 0.051, 0.047, 0.043, 0.033, 0.032, 0.029, 0.029, 0.024, 0.019, 0.019),
)
SIZES: Final = (50, 100, 200, 400, 800, 1600)
LIMIT: Final = 100_000  # people who stand for endlessly many
_MOST_LABELS: Final = 6  # of a population whose labels are shown one by one
_MIN_INTERVALS: Final = 100  # that a share in a table comes from
POSITIVES: Final = ((5, 9), (10, 19), (20, 49), (50, 1600))  # bins of labels, by how many people have them

Array = np.ndarray
Quantities = dict[str, Array]  # name: one value per column of the weights


@dataclass(slots=True)
class Labels:
    """Multi-label test sets and two models of known quality, the first one better.

    Attributes:
        shares: How frequent each label is.
        separation: How much higher the first model scores where a label holds, in standard deviations.
        gap: How much smaller the separation of the second model is.
        correlation: Of both models' scores, given the labels.
        group: The most people in an image; they share half of the variance of labels and errors.
    """

    shares: Sequence[float]
    separation: Array | float
    gap: float = 0.15
    correlation: float = 0.64
    group: int = 1
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))

    def draw(self, people: int) -> tuple[Array, Array, Array, Array]:
        """Targets, the scores of both models, and the image of each person."""
        images = np.arange(people)
        if self.group > 1:
            images = np.repeat(images, self.rng.integers(1, self.group + 1, people))[:people]
        mood = self._normal(images, 1) * np.random.default_rng(99).choice([-1, 1], len(self.shares))
        latent = np.sqrt(0.4) * mood + np.sqrt(0.6) * self._normal(images, len(self.shares))
        targets = (latent > norm.isf(np.asarray(self.shares))).astype(np.float32)
        both, first, second = (self._normal(images, len(self.shares)) for _ in range(3))
        shared, own = np.sqrt(self.correlation), np.sqrt(1 - self.correlation)
        better = self.separation * targets + shared * both + own * first
        poorer = (self.separation - self.gap) * targets + shared * both + own * second
        return targets, better.astype(np.float32), poorer.astype(np.float32), images

    def quantities(self, drawn: tuple[Array, ...], weight: Array) -> Quantities:
        targets, better, poorer, _ = drawn
        first, second = (
            ranking_values(targets, scores, weight).average_precision for scores in (better, poorer)
        )
        found = {"mAP": np.nanmean(first, axis=0)}
        found["difference of mAP"] = found["mAP"] - np.nanmean(second, axis=0)
        if len(self.shares) > _MOST_LABELS:
            return found
        return found | {f"AP {label}": values for label, values in enumerate(first)}

    def _normal(self, images: Array, columns: int) -> Array:
        """[person, column], standard normal; people in one image share half of the variance."""
        own = self.rng.normal(size=(len(images), columns))
        if self.group == 1:
            return own
        shared: Array = self.rng.normal(size=(images[-1] + 1, columns))[images]
        both: Array = np.sqrt(0.5) * (shared + own)
        return both


@dataclass(slots=True)
class Classes:
    """Seven classes of which one holds, and two models; the first one is right for about three in four."""

    separation: float = 2.35
    gap: float = 0.15
    correlation: float = 0.64
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))

    def draw(self, people: int) -> tuple[Array, Array, Array, Array]:
        shape = (people, len(CAERS))
        targets = np.eye(len(CAERS), dtype=np.float32)[self.rng.integers(len(CAERS), size=people)]
        both, first, second = self.rng.normal(size=(3, *shape))
        shared, own = np.sqrt(self.correlation), np.sqrt(1 - self.correlation)
        better = self.separation * targets + shared * both + own * first
        poorer = (self.separation - self.gap) * targets + shared * both + own * second
        return targets, better, poorer, np.arange(people)

    def quantities(self, drawn: tuple[Array, ...], weight: Array) -> Quantities:
        targets, better, poorer, _ = drawn
        accuracy, f1 = (resolve_metric(name, CAERS).values for name in ("accuracy", "macro_f1"))
        found = {"accuracy": accuracy(targets, better, weight), "macro-F1": f1(targets, better, weight)}
        found["difference of accuracy"] = found["accuracy"] - accuracy(targets, poorer, weight)
        return found


@dataclass(slots=True)
class Dimensions:
    """Valence, arousal and dominance, and two models that explain about 40 and 35 % of their variance."""

    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))

    def draw(self, people: int) -> tuple[Array, Array, Array, Array]:
        truth, both, first, second = self.rng.normal(size=(4, people, 3))
        better, poorer = (
            0.5 + 0.15 * (share * truth + np.sqrt(share * (1 - share)) * (0.8 * both + 0.6 * noise))
            for share, noise in ((0.40, first), (0.35, second))
        )
        return 0.5 + 0.15 * truth, better, poorer, np.arange(people)

    def quantities(self, drawn: tuple[Array, ...], weight: Array) -> Quantities:
        targets, better, poorer, _ = drawn
        found = {"VAD error": vad_mae(targets, better, weight), "mR2": mean_r2(targets, better, weight)}
        found["difference of mR2"] = found["mR2"] - mean_r2(targets, poorer, weight)
        return found


Population = Labels | Classes | Dimensions


def populations(seed: int) -> Mapping[str, Population]:
    """By name; equal seeds give equal draws."""
    rng = np.random.default_rng(seed)
    weak, strong = np.linspace(0.4, 1.2, 26), np.linspace(1.2, 2.4, 26)
    six = (0.3, 0.25, 0.2, 0.1, 0.1, 0.05)
    return {
        "EMOTIC's labels, weak model": Labels(EMOTIC_SHARES, weak, rng=rng),
        "EMOTIC's labels, strong model": Labels(EMOTIC_SHARES, strong, rng=rng),
        "EMOTIC's labels, groups": Labels(EMOTIC_SHARES, np.linspace(0.6, 1.6, 26), group=4, rng=rng),
        "six labels": Labels(six, np.linspace(0.6, 1.6, 6), rng=rng),
        "seven classes": Classes(rng=rng),
        "dimensions": Dimensions(rng=rng),
    }


# --- Coverage ----------------------------------------------------------------------------------------


def bounds(value: float, drawn: Array, images: int) -> dict[str, tuple[float, float]]:
    """The interval of each kind, from the values of all resamples."""
    drawn = drawn[~np.isnan(drawn)]
    low, high = np.percentile(drawn, (2.5, 97.5))
    mean = drawn.mean()
    shift = ndtri(np.clip((drawn < value).mean(), 0.5 / len(drawn), 1 - 0.5 / len(drawn)))
    corrected = np.percentile(drawn, 100 * ndtr(2 * shift + np.array([-1.96, 1.96])))
    widening = _widening(images)
    return {
        "percentile": (low, high),
        "basic": (2 * value - high, 2 * value - low),
        "bias_corrected": (corrected[0], corrected[1]),
        "centered": (value + low - mean, value + high - mean),
        "centered_mirrored": (value + mean - high, value + mean - low),
        "centered_widened": (value + widening * (low - mean), value + widening * (high - mean)),
    }


@cache
def _widening(images: int) -> float:
    """By how much Hesterberg (2015) widens a percentile interval: Student's t, and a variance by n - 1."""
    return float(t.ppf(0.975, images - 1) / norm.ppf(0.975) * np.sqrt(images / (images - 1)))


def coverage(options: argparse.Namespace) -> None:
    """One part per population and size; each says how many test sets it has."""
    found = _continued(options.out, {"resamples": options.resamples})
    for people in SIZES:
        for name in options.only or populations(0):
            part = f"{name}, {people} people"
            if part not in found["parts"]:
                found["parts"][part] = _coverage(name, people, options)
                atomic_write_json(options.out, found)
                print(part, file=sys.stderr, flush=True)
    print("\n".join([*bias_table(found), "", *coverage_table(found)]))


def _coverage(name: str, people: int, options: argparse.Namespace) -> list[dict[str, Any]]:
    """One row per quantity: both truths, and for each kind of interval its coverage and width."""
    limit = _limit(name)
    other = populations(2)[name]
    sets = [_values(other, people) for _ in range(3 * options.sets)]
    same_size = {key: float(np.nanmean([one[key] for one in sets])) for key in limit}
    population = populations(3)[name]
    rows: dict[str, list[dict[str, Any]]] = {}
    for _ in range(options.sets):
        drawn = population.draw(people)
        images = drawn[-1]
        values = population.quantities(drawn, unit_weight(people))
        blocks = [
            population.quantities(drawn, weight)
            for weight in resample_weights(images.astype(str).tolist(), options.resamples, 0)
        ]
        for key, value in values.items():
            row = _row_name(key, drawn[0])
            if row is not None:
                one = np.concatenate([block[key] for block in blocks])
                kinds = bounds(float(value[0]), one, len(np.unique(images)))
                rows.setdefault(row, []).append(
                    {
                        "value": float(value[0]),
                        "limit": float(limit[key]),
                        "same_size": same_size[key],
                        "resamples": (float(np.nanmean(one)), float(np.nanstd(one))),
                        "kinds": kinds,
                    }
                )
    return [_summary(row, cases) for row, cases in rows.items()]


@cache
def _limit(name: str) -> dict[str, float]:
    return _values(populations(1)[name], LIMIT)


def _values(population: Population, people: int) -> dict[str, float]:
    drawn = population.draw(people)
    return {key: float(one[0]) for key, one in population.quantities(drawn, unit_weight(people)).items()}


def _row_name(key: str, targets: Array) -> str | None:
    """Labels are put together by how many people have them; None for fewer than `POSITIVES` begins with."""
    if not key.startswith("AP "):
        return key
    count = targets[:, int(key.removeprefix("AP "))].sum()
    bins = [f"AP of a label of {low} to {high} people" for low, high in POSITIVES if low <= count <= high]
    return bins[0].replace("of 50 to 1600", "of 50 or more") if bins else None


def _summary(row: str, cases: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    value, limit, same_size = (
        np.array([case[key] for case in cases]) for key in ("value", "limit", "same_size")
    )
    center, spread = np.array([case["resamples"] for case in cases]).T
    kinds = {}
    for kind in cases[0]["kinds"]:
        low, high = np.array([case["kinds"][kind] for case in cases]).T
        kinds[kind] = {
            "same_size": _share((low <= same_size) & (same_size <= high)),
            "limit": _share((low <= limit) & (limit <= high)),
            "width": round(float(np.mean(high - low)), 4),
        }
    return {
        "quantity": row,
        "intervals": len(cases),
        "limit": round(float(limit.mean()), 4),
        "bias": round(float(np.mean(value - limit)), 4),
        "bias_of_resamples": round(float(np.mean(center - value)), 4),
        "deviation": round(float(np.std(value - same_size)), 4),
        "deviation_of_resamples": round(float(np.sqrt(np.mean(spread**2))), 4),
        "kinds": kinds,
    }


def _share(holds: Array) -> float:
    return round(float(np.mean(holds)), 4)


# --- Power -------------------------------------------------------------------------------------------

DIFFERENCES: Final = (0.01, 0.02, 0.05)
CORRELATIONS: Final = (0.8, 0.5, 0.2)
POWER: Final = 0.8
_SIGMAS: Final = float(norm.ppf(0.975) + norm.ppf(POWER))  # the difference, in standard deviations
_MEASURED: Final = (100, 400, 1600)  # people; the standard deviation in between is interpolated


def power(options: argparse.Namespace) -> None:
    """One part per metric, model and correlation."""
    found = _continued(options.out, {"sets": options.sets, "power": POWER})
    for name, make, quantity in _comparisons():
        for correlation in CORRELATIONS:
            part = f"{name}, correlation {correlation}"
            if part not in found["parts"]:
                found["parts"][part] = _power(make, quantity, correlation, options)
                atomic_write_json(options.out, found)
                print(part, found["parts"][part]["people"], file=sys.stderr, flush=True)
    print("\n".join(power_table(found)))


def _comparisons() -> Iterator[tuple[str, Callable[[float, float, int], Labels | Classes], str]]:
    """Name, how to make the population of a gap, a correlation and a seed, and the quantity."""

    def labels(separation: Array) -> Callable[[float, float, int], Labels]:
        return lambda gap, correlation, seed: Labels(
            EMOTIC_SHARES, separation, gap=gap, correlation=correlation, rng=np.random.default_rng(seed)
        )

    def classes(gap: float, correlation: float, seed: int) -> Classes:
        return Classes(gap=gap, correlation=correlation, rng=np.random.default_rng(seed))

    yield "mAP of EMOTIC's labels, weak models", labels(np.linspace(0.4, 1.2, 26)), "difference of mAP"
    yield "mAP of EMOTIC's labels, strong models", labels(np.linspace(1.2, 2.4, 26)), "difference of mAP"
    yield "accuracy of seven classes", classes, "difference of accuracy"


def _power(
    make: Callable[[float, float, int], Labels | Classes], quantity: str, correlation: float, options: Any
) -> dict[str, Any]:
    gaps = _gaps(make, quantity, correlation)
    population = make(gaps["0.05"], correlation, 4)
    sets = [[_values(population, people)[quantity] for _ in range(options.sets)] for people in _MEASURED]
    deviations, means = [float(np.std(one)) for one in sets], [float(np.mean(one)) for one in sets]
    people = np.geomspace(20, 200_000, 2000)
    measured = np.log(_MEASURED)
    deviation = np.exp(np.interp(np.log(people), measured, np.log(deviations)))
    # Beyond what was measured, it falls with the square root.
    deviation *= np.sqrt(np.clip(people, _MEASURED[0], _MEASURED[-1]) / people)
    share = np.interp(np.log(people), measured, np.array(means) / 0.05)  # of the difference, at this size
    needed = {
        str(one): round(float(people[np.argmax(one * share >= _SIGMAS * deviation)]), -1)
        for one in DIFFERENCES
    }
    check = int(needed["0.05"])
    return {
        "people": needed,
        "gaps": gaps,
        "deviations": dict(zip(map(str, _MEASURED), [round(one, 5) for one in deviations], strict=True)),
        "means": dict(zip(map(str, _MEASURED), [round(one, 5) for one in means], strict=True)),
        "check": {"people": check, **_excludes_zero(make(gaps["0.05"], correlation, 5), quantity, check)},
    }


def _gaps(
    make: Callable[[float, float, int], Labels | Classes], quantity: str, correlation: float
) -> dict[str, float]:
    """The gaps of separations that make these differences of endlessly many people."""
    tried = (0.0, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5)
    found = np.array([_values(make(gap, correlation, 6), 60_000)[quantity] for gap in tried])
    found -= found[0]  # noise: without a gap there is no difference
    return {str(one): round(float(np.interp(one, found, tried)), 4) for one in DIFFERENCES}


def _excludes_zero(population: Labels | Classes, quantity: str, people: int) -> dict[str, float]:
    """How often the paired interval lies above zero, in 100 test sets with 200 resamples."""
    above = []
    for _ in range(100):
        drawn = population.draw(people)
        value = population.quantities(drawn, unit_weight(people))[quantity][0]
        one = np.concatenate(
            [
                population.quantities(drawn, weight)[quantity]
                for weight in resample_weights(drawn[-1].astype(str).tolist(), 200, 0)
            ]
        )
        above.append(bounds(float(value), one, people)["percentile"][0] > 0)
    return {"above_zero": _share(np.array(above))}


# --- Tables of docs/explanation/intervals.md ------------------------------------------------------------

_WEAK: Final = "EMOTIC's labels, weak model"
_BIAS_ROWS: Final = (
    ("percentile: covers endlessly many, %", "percentile", "limit"),
    ("basic: covers endlessly many, %", "basic", "limit"),
    ("bias-corrected: covers endlessly many, %", "bias_corrected", "limit"),
    ("centered: covers endlessly many, %", "centered", "limit"),
    ("centered: covers sets of this size, %", "centered", "same_size"),
)
_MULTI_LABEL: Final = (_WEAK, "EMOTIC's labels, strong model", "EMOTIC's labels, groups", "six labels")
_COVERAGE_ROWS: Final = (
    *((f"mAP, {name}", name, "mAP") for name in _MULTI_LABEL),
    *((f"difference of mAP, {name}", name, "difference of mAP") for name in _MULTI_LABEL),
    *((one, "seven classes", one) for one in ("accuracy", "macro-F1", "difference of accuracy")),
    *((one, "dimensions", one) for one in ("VAD error", "mR2", "difference of mR2")),
    *(
        (name, "six labels", name)
        for low, high in POSITIVES[:3]
        for name in [f"AP of a label of {low} to {high} people"]
    ),
)


def bias_table(found: Mapping[str, Any]) -> list[str]:
    """What mAP of few people is off by, and which kind of interval covers what."""
    rows = [_row(found["parts"], _WEAK, "mAP", people) for people in SIZES]
    cells = [
        (title, [f"{row[key]:+.3f}" if row else "" for row in rows])
        for title, key in (
            ("mAP minus that of endlessly many people", "bias"),
            ("of this bias, what resamples show", "bias_of_resamples"),
        )
    ]
    cells += [
        (title, [_percent(row, kind, truth) if row else "" for row in rows])
        for title, kind, truth in _BIAS_ROWS
    ]
    return _markdown("people", [f"{people:,}" for people in SIZES], cells)


def coverage_table(found: Mapping[str, Any]) -> list[str]:
    """How often the intervals that mien makes cover the mean of test sets of the same size.

    Percentile intervals of differences, centered ones of scores; nothing where there are few cases.
    """
    cells = []
    for title, name, quantity in _COVERAGE_ROWS:
        rows = [_row(found["parts"], name, quantity, people) for people in SIZES]
        shown = [row if row and row["intervals"] >= _MIN_INTERVALS else None for row in rows]
        kind = "percentile" if quantity.startswith("difference") else "centered"
        cells.append((title, [_percent(row, kind, "same_size") if row else "" for row in shown]))
    return _markdown("people", [f"{people:,}" for people in SIZES], cells)


def power_table(found: Mapping[str, Any]) -> list[str]:
    """How many people show a difference, by metric and correlation."""
    cells = [
        (part, [f"{one['people'][str(difference)]:,.0f}" for difference in DIFFERENCES])
        for part, one in found["parts"].items()
    ]
    return _markdown("difference of", [f"{one:g}".removeprefix("0") for one in DIFFERENCES], cells)


def _row(parts: Mapping[str, Any], name: str, quantity: str, people: int) -> Mapping[str, Any] | None:
    rows = parts.get(f"{name}, {people} people", ())
    return next((row for row in rows if row["quantity"] == quantity), None)


def _percent(row: Mapping[str, Any], kind: str, truth: str) -> str:
    return f"{100 * row['kinds'][kind][truth]:.0f}"


def _markdown(first: str, header: Sequence[str], cells: Sequence[tuple[str, Sequence[str]]]) -> list[str]:
    lines = [f"| {first} | {' | '.join(header)} |", f"|---|{'--:|' * len(header)}"]
    return lines + [f"| {title} | {' | '.join(values)} |" for title, values in cells]


# --- The file ----------------------------------------------------------------------------------------


def _continued(out: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """The results so far; an error if they are those of other settings."""
    if not out.exists():
        date = datetime.now(UTC).date().isoformat()
        return {"date": date, "settings": settings, "parts": {}}
    found: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
    if found["settings"] != settings:
        raise SystemExit(f"{out} has the settings {found['settings']}, not {settings}")
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what the results lack, then print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("coverage", "power"))
    parser.add_argument("--out", type=Path)
    parser.add_argument("--sets", type=int, default=300, help="test sets")
    parser.add_argument("--resamples", type=int, default=300)
    parser.add_argument("--only", action="append", help="coverage of this population; repeatable")
    options = parser.parse_args(arguments)
    options.out = options.out or Path(f"intervals-{options.what}.json")
    warnings.filterwarnings("ignore", message="Mean of empty slice")  # a label that no one has
    warnings.filterwarnings("ignore", message="Degrees of freedom <= 0")
    {"coverage": coverage, "power": power}[options.what](options)


if __name__ == "__main__":
    main()
