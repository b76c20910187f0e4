"""Scores, predictions and plans as text for people.

In: values of the rooms. Out: lines.
Knows nothing about: streams, JSON, where any of it comes from.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from mien.ablation.study import Ablation
    from mien.evaluate.results.build import Results
    from mien.evaluate.results.comparison import Comparison
    from mien.train.plan import Plan
    from mien.types import Prediction

__all__ = ["show_ablation", "show_comparison", "show_plan", "show_prediction", "show_results"]


_BAR: Final = 24
_SHOWN_PROBLEMS: Final = 5
_WIDTH: Final = 100


def show_results(results: Results) -> str:
    """A table of scores with their intervals and chance levels, then differences and what was fitted."""
    names = [row.name for row in results.rows]
    wide = max([16, *(len(name) + 2 for name in names)])
    head = f"{'metric':14}{'split':7}{'score':>7}  {'95 % interval':17}{'chance':>7}{'n':>7}{'seeds':>7}"
    lines = [f"{'':{wide}}{head}"]
    lines += [
        f"{row.name:{wide}}{row.metric:14}{row.split:7}{row.value:7.3f}  "
        f"{f'{row.low:.3f} to {row.high:.3f}':17}{row.chance:7.3f}{row.n:7d}{len(row.seeds):7d}"
        for row in results.rows
    ]
    if results.differences:
        pairs = {id(item): f"{item.a} - {item.b}" for item in results.differences}
        wide = max([30, *(len(pair) + 2 for pair in pairs.values())])
        lines += ["", f"{'difference (paired)':{wide}}{'metric':14}{'score':>7}  {'95 % interval':19}"]
        lines += [
            f"{pairs[id(item)]:{wide}}{item.metric:14}{item.value:+7.3f}  "
            f"{f'{item.low:+.3f} to {item.high:+.3f}':19}"
            f"{'' if item.low > 0 or item.high < 0 else ' (includes zero)'}".rstrip()
            for item in results.differences
        ]
    if results.calibration:
        lines += [
            "",
            f"{'fitted on another split':30}{'split':7}{'before':>7}{'after':>7}  95 % of the change",
        ]
        lines += [
            f"{f'{row.metric}, by {row.fitted_on}':30}{row.split:7}{row.before:7.3f}{row.after:7.3f}  "
            f"{row.low:+.3f} to {row.high:+.3f}"
            for row in results.calibration
        ]
    return "\n".join([*lines, *_looks(results)])


def _looks(results: Results) -> list[str]:
    """What must be said of a split that was looked at more than once."""
    seen = [look for look in results.looks if look.times > 1]
    return [""] * bool(seen) + [
        f"note: {look.split} was scored {look.times} times by this run, with {look.weights} different "
        f"{'model' if look.weights == 1 else 'models'}"
        for look in seen
    ]


def show_comparison(found: Comparison) -> str:
    """The runs' scores and differences, the knobs in which they differ, what others reported."""
    lines = [show_results(found.results)]
    if any(found.settings.values()):
        lines += ["", "what differs"]
        lines += [
            f"  {name}: " + ", ".join(f"{knob} = {json.dumps(value)}" for knob, value in knobs.items())
            for name, knobs in found.settings.items()
        ]
    lines += [
        f"note: {run} has scored {look.split} {look.times} times"
        for run, look in found.looks.items()
        if look.times > 1
    ]
    if found.published:
        lines += ["", f"{'reported by others':28}{'metric':10}{'split':7}{'score':>7}  source; caveats"]
        lines += [
            f"{row.name:28}{row.metric:10}{row.split:7}{row.value:7.3f}  "
            + "; ".join(part for part in (row.source, doubt) if part)
            for row, doubt in found.published
        ]
    return "\n".join(lines)


def show_prediction(prediction: Prediction, top: int) -> str:
    """The labels with a bar each, the dimensions if there are any, the description."""
    lines = [f"{prediction.subject_id}: appears to feel"]
    above = None if prediction.thresholds is None else prediction.above(prediction.thresholds)
    lines += [f"  {name:18}{score:6.3f}  {'#' * round(score * _BAR)}" for name, score in prediction.top(top)]
    if above is not None:
        lines.append(f"  above their thresholds: {', '.join(above) or 'none'}")
    if prediction.dimensions is not None:
        lines.append(
            "  " + ", ".join(f"{name} {10 * value:.1f}/10" for name, value in prediction.dimensions.items())
        )
    if prediction.description is not None:
        lines += ["", f"  {prediction.description.text}"]
    if prediction.status != "ok":
        lines.append(f"  status: {prediction.status}")
    return "\n".join(lines)


def show_plan(plan: Plan) -> str:
    """What a training would be: its parts, its memory, its steps and time, what is there already."""
    lines = [
        f"{plan.recipe} ({plan.digest[:12]}): {plan.fusion} on {plan.device}, {plan.precision}; "
        "nothing is trained",
        f"{plan.image_tokens} image tokens, {plan.text_tokens} text tokens at most",
        f"{'part':20}{'parameters':>14}{'trained':>14}",
    ]
    lines += [
        f"{part:20}{count:14,d}{plan.trained.get(part, 0):14,d}" for part, count in plan.parameters.items()
    ]
    lines.append(f"{'all':20}{sum(plan.parameters.values()):14,d}{sum(plan.trained.values()):14,d}")
    lines += ["", "memory, roughly"]
    lines += [f"  {what.replace('_', ' '):18}{size / 2**20:12,.1f} MiB" for what, size in plan.memory.items()]
    lines.append(f"  {'all':18}{sum(plan.memory.values()) / 2**20:12,.1f} MiB")
    lines += [
        "",
        f"{plan.steps:,d} steps of {plan.batch} samples ({plan.epochs} epochs of {plan.steps_per_epoch:,d}), "
        f"{plan.seconds_per_step:.3g} s each: {_duration(plan.seconds)} at most",
        "",
        f"{'split':8}{'samples':>9}{'features':>18}{'descriptions':>14}",
    ]
    for one in plan.stock:
        features = "-" if one.features is None else f"{one.features}/{one.features_wanted}"
        described = "-" if one.descriptions is None else str(one.descriptions)
        lines.append(f"{one.split:8}{one.samples:9d}{features:>18}{described:>14}")
    return "\n".join([*lines, *(f"note: {note}" for note in plan.notes)])


def _duration(seconds: float) -> str:
    for size, name in ((86_400, "days"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {name}"
    return f"{seconds:.0f} s"


def show_ablation(found: Ablation) -> str:
    """A line for each variant and metric, with the paired difference from the reference."""
    wide = max(len(row.name) for row in found.results.rows) + 2
    against = {(item.b, item.metric): item for item in found.results.differences}
    lines = []
    for metric in dict.fromkeys(row.metric for row in found.results.rows):
        rows = [row for row in found.results.rows if row.metric == metric]
        head = f"{'score':>7}  {'95 % interval':17}{'chance':>7}{'n':>7}{'seeds':>7}"
        beside = f"  {found.reference} minus it, paired" if metric == found.metric else ""
        lines += [f"{f'{metric}, {found.split}':{wide}}{head}{beside}"]
        for row in rows:
            item = against.get((row.name, metric))
            zero = "" if item is None or item.excludes_zero else " (includes zero)"
            delta = "" if item is None else f"  {item.value:+.3f}, {item.low:+.3f} to {item.high:+.3f}{zero}"
            lines += [
                f"{row.name:{wide}}{row.value:7.3f}  {f'{row.low:.3f} to {row.high:.3f}':17}{row.chance:7.3f}"
                f"{row.n:7d}{len(row.seeds):7d}{delta}"
            ]
        lines += [""]
    reused = ", ".join(f"{one} {kind}" for kind, one in found.reused.items())
    return "\n".join([*lines, f"reused: {reused}", f"report: {found.report}"])
