"""What commands show people: results, predictions, summaries and verdicts as text.

In: values of the rooms. Out: lines.
Knows nothing about: streams, JSON, where any of it comes from.
"""

from __future__ import annotations

import json
import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from mien.data.summary import Summary
    from mien.data.verify import Verified
    from mien.describe.preflight import Preflight
    from mien.describe.status import Stock
    from mien.evaluate.comparison import Comparison
    from mien.evaluate.results import Results
    from mien.evaluate.words import WordsAudit
    from mien.train.plan import Plan
    from mien.types import Prediction

__all__ = [
    "show_comparison",
    "show_models",
    "show_plan",
    "show_prediction",
    "show_preflight",
    "show_prompts",
    "show_results",
    "show_status",
    "show_summary",
    "show_verdict",
    "show_words",
]


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


def show_summary(summary: Summary) -> str:
    """A line a split, then what reading the annotation files found wrong."""
    lines = [
        f"{summary.dataset}, labels of {summary.label_set!r}",
        f"{'split':8}{'images':>9}{'subjects':>10}{'labels each':>13}{'chance mAP':>12}{'with VAD':>10}",
    ]
    for split in summary.splits:
        lines.append(
            f"{split.split:8}{split.images:9d}{split.subjects:10d}{_number(split.labels_per_subject, 2):>13}"
            f"{_number(split.chance_map, 3):>12}{split.with_dimensions:10d}"
        )
    if len(summary.splits) > 1:
        lines.append("Chance differs between splits: compare scores within one split only.")
    lines += ["", "problems" if summary.problems else "no problems found without opening pictures"]
    lines += [f"  {kind:18}{count:7d}" for kind, count in summary.problems.items()]
    return "\n".join(lines)


def show_verdict(verified: Verified, page: Path) -> str:
    """How many problems of which kind, the first few of each, and where all are."""
    lines = [
        f"checked {verified.num_images} files and {verified.num_subjects} subjects "
        f"in {verified.seconds:.1f} s: {len(verified.problems) or 'no'} problems"
    ]
    for kind, count in Counter(one.kind for one in verified.problems).most_common():
        lines.append(f"{kind} ({count})")
        shown = [one for one in verified.problems if one.kind == kind][:_SHOWN_PROBLEMS]
        lines += [f"  {one.file}: {one.message}" for one in shown]
        if count > len(shown):
            lines.append(f"  and {count - len(shown)} more")
    return "\n".join([*lines, f"report: {page}"])


def show_words(audit: WordsAudit) -> str:
    """What was found in the words, the alarms first and loud; then how often each label is named."""
    lines = [f"words about {audit.n} subjects, labels of {audit.label_set!r}: {audit.verdict.upper()}"]
    ranked = sorted(audit.findings, key=lambda one: one.level != "alarm")
    lines += [
        f"{f'!! {one.level.upper()} !!' if one.level == 'alarm' else one.level:12}{one.about:10}{one.text}"
        for one in ranked
    ]
    if audit.naming is not None:
        lines += ["", f"{'label':18}{'gold':>7}{'named if gold':>15}{'if not':>8}{'lift':>7}"]
        lines += [
            f"{row.label:18}{row.gold:7d}{_number(row.named_if_gold, 3):>15}"
            f"{_number(row.named_if_not, 3):>8}{_number(row.lift, 2):>7}"
            for row in audit.naming.labels
        ]
        lines.append("A negated label counts as named; synonyms do not.")
    return "\n".join(lines)


def show_preflight(found: Preflight) -> str:
    """What a run will take, in a line or two; what nobody knows yet is left out."""
    about = "" if found.exact else "about "
    if not found.open:
        return f"{about}all of {found.total} subjects are settled: nothing to describe"
    parts = [
        f"{about}{found.open} of {found.total} subjects to describe",
        f"some {_large(found.tokens_in).strip()} tokens in and {_large(found.tokens_out).strip()} out",
    ]
    if found.seconds is not None:
        parts.append(f"{_duration(found.seconds)} at the rate of the last run")
    if found.cost is not None:
        parts.append(f"{found.cost:,.2f} to pay")
    parts.append(f"{_large(found.disk)}B of {_large(found.disk_free)}B free on the disk")
    warning = "" if found.fits else "\nwarning: the disk has not enough room for that"
    return ", ".join(parts) + warning


def show_status(stocks: Mapping[str, Stock]) -> str:
    """A line a split, then the reasons of failures."""
    lines = [f"{'split':10}{'subjects':>10}{'described':>11}{'failed':>8}{'missing':>9}"]
    lines += [
        f"{split:10}{stock.subjects:10d}{stock.described:11d}{stock.num_failed:8d}{stock.missing:9d}"
        for split, stock in stocks.items()
    ]
    reasons: Counter[str] = Counter()
    for stock in stocks.values():
        reasons.update(stock.failed)
    if reasons:
        lines += ["", "failed because"]
        lines += [f"  {count:7d}  {reason}" for reason, count in reasons.most_common(_SHOWN_PROBLEMS)]
    return "\n".join(lines)


def show_prompts(prompts: Sequence[Mapping[str, Any]]) -> str:
    """A paragraph a prompt: its id, the beginning of its digest, whether it needs a box, its words."""
    return "\n\n".join(
        f"{one['id']}  {one['digest'][:12]}{'  needs a red box' if one['needs_box'] else ''}\n"
        + textwrap.fill(one["template"], _WIDTH, initial_indent="  ", subsequent_indent="  ")
        for one in prompts
    )


def _large(value: float) -> str:
    """A number a person can read at a glance: 1.2 M."""
    for size, name in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.1f} {name}"
    return f"{value:.0f} "


def _duration(seconds: float) -> str:
    for size, name in ((86_400, "days"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {name}"
    return f"{seconds:.0f} s"


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def show_models(models: Sequence[Mapping[str, Any]]) -> str:
    """A line a model: size, memory of its weights, licence, what it needs."""
    lines = [f"{'model':38}{'parameters':>11}{'memory':>10}  {'licence':34}needs"]
    for model in models:
        needs = f"mien[{model['extra']}]" if model["extra"] else ""
        notes = ", ".join(text for text in (needs, model["note"]) if text)
        lines.append(
            f"{model['name']:38}{model['parameters']:>10g}B{model['memory_gb']:>7.1f} GB  "
            f"{model['licence']:34}{notes}".rstrip()
        )
    return "\n".join([*lines, "Sizes and licences are those of the models' own cards: read them before use."])
