"""What commands show: progress and notes for people on stderr, tables or JSON on stdout.

In: progress events, results, predictions. Out: text.
Knows nothing about: where any of it comes from, the environment, exit codes.
"""

from __future__ import annotations

import json
import textwrap
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from mien.data.summary import Summary
    from mien.data.verify import Verified, VerifyProgress
    from mien.describe.preflight import Preflight
    from mien.describe.progress import Progress
    from mien.describe.status import Stock
    from mien.evaluate.results import Results
    from mien.evaluate.words import WordsAudit
    from mien.train.loop import TrainProgress
    from mien.types import Prediction

__all__ = [
    "Console",
    "show_models",
    "show_prediction",
    "show_preflight",
    "show_prompts",
    "show_results",
    "show_status",
    "show_summary",
    "show_verdict",
    "show_words",
]

_SECONDS_BETWEEN_LINES: Final = 10.0
_BAR: Final = 24
_SHOWN_PROBLEMS: Final = 5
_WIDTH: Final = 100


class Console:
    """Notes and progress go to stderr; the result to stdout, as JSON if asked.

    `live`: stderr is a terminal, so that one line may be rewritten; otherwise a line comes now and then.
    """

    def __init__(self, *, as_json: bool, schema: int, live: bool, out: Callable[..., None]) -> None:
        self._as_json, self._schema, self._live, self._out = as_json, schema, live, out
        self._last = time.monotonic()
        self._open = False

    def note(self, text: str | None) -> None:
        """A line for people, if there is one to say."""
        if text:
            self.settle()
            self._out(text, err=True)

    def describing(self, progress: Progress) -> None:
        """How far describing is."""
        total = f"/{progress.total}" if progress.total is not None else ""
        parts = [f"described {progress.seen}{total}", f"{progress.rate:.1f}/s"]
        if progress.skipped:
            parts.append(f"{progress.skipped} were there")
        if progress.failed:
            parts.append(f"{progress.failed} failed")
        self._progress(", ".join(parts), last=progress.seen == progress.total)

    def checking(self, progress: VerifyProgress) -> None:
        """How far verifying is."""
        self._progress(f"checked {progress.done}/{progress.total}", last=progress.done == progress.total)

    def training(self, progress: TrainProgress) -> None:
        """How far training is."""
        best = "" if progress.best_score is None else f", best val {progress.best_score:.4f}"
        self._progress(
            f"epoch {progress.epoch}/{progress.epochs}, step {progress.step}/{progress.steps}, "
            f"loss {progress.loss:.4f}{best}",
            last=progress.step == progress.steps,
        )

    def _progress(self, text: str, *, last: bool) -> None:
        now = time.monotonic()
        if self._live:
            self._out(f"\r\x1b[K{text}", err=True, nl=False)
            self._open = True
        elif last or now - self._last >= _SECONDS_BETWEEN_LINES:
            self._out(text, err=True)
            self._last = now

    def settle(self) -> None:
        """Ends a line that was being rewritten."""
        if self._open:
            self._out("", err=True)
            self._open = False

    def result(self, document: Mapping[str, Any], table: Mapping[str, Any] | None) -> None:
        """The document as JSON if that was asked for, else the table, if any, as aligned lines."""
        self.settle()
        if self._as_json:
            self._out(json.dumps({"schema": self._schema, **document}, ensure_ascii=False))
        elif table is not None:
            width = max(len(name) for name in table)
            for name, value in table.items():
                self._out(f"{name.replace('_', ' '):<{width}}  {value}")


def show_results(results: Results) -> str:
    """A table of scores with their intervals and chance levels, then the differences."""
    lines = [
        f"{'':16}{'metric':14}{'split':7}{'score':>7}  {'95 % interval':17}{'chance':>7}{'n':>7}{'seeds':>7}"
    ]
    lines += [
        f"{row.name:16}{row.metric:14}{row.split:7}{row.value:7.3f}  "
        f"{f'{row.low:.3f} to {row.high:.3f}':17}{row.chance:7.3f}{row.n:7d}{len(row.seeds):7d}"
        for row in results.rows
    ]
    if results.differences:
        lines += ["", f"{'difference (paired)':30}{'metric':14}{'score':>7}  {'95 % interval':19}"]
        lines += [
            f"{f'{item.a} - {item.b}':30}{item.metric:14}{item.value:+7.3f}  "
            f"{f'{item.low:+.3f} to {item.high:+.3f}':19}"
            f"{'' if item.low > 0 or item.high < 0 else ' (includes zero)'}".rstrip()
            for item in results.differences
        ]
    return "\n".join(lines)


def show_prediction(prediction: Prediction, top: int) -> str:
    """The labels with a bar each, the dimensions if there are any, the description."""
    lines = [f"{prediction.subject_id}: appears to feel"]
    lines += [f"  {name:18}{score:6.3f}  {'#' * round(score * _BAR)}" for name, score in prediction.top(top)]
    if prediction.dimensions is not None:
        lines.append(
            "  " + ", ".join(f"{name} {10 * value:.1f}/10" for name, value in prediction.dimensions.items())
        )
    if prediction.description is not None:
        lines += ["", f"  {prediction.description.text}"]
    if prediction.status != "ok":
        lines.append(f"  status: {prediction.status}")
    return "\n".join(lines)


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
