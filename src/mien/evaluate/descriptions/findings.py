"""Turns the statistics of descriptions into findings, the worst of them an alarm.

The alarm that matters is the leak: descriptions that were made from the label. Published "descriptions"
contained the class that they were to predict in 62,988 of 63,000 cases, and gave an mAP of 1.0. Real replies
of a VLM about CAER-S name the right class first in three of ten. The embedded model, on its own drawn scenes
whose labels follow rules that it has learned, names a right one first in more than nine of ten. So the alarm
is for texts that are almost never wrong, and not by chance.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from mien.evaluate.descriptions.label_agreement import LabelAgreement
from mien.evaluate.descriptions.near_duplicate_texts import NearDuplicates
from mien.evaluate.descriptions.probe import Probe
from mien.evaluate.descriptions.text_statistics import TextStatistics

__all__ = ["Finding", "Level", "assess_labels", "assess_texts", "worst_level"]

Level = Literal["ok", "note", "alarm"]
_LEVELS: Final[tuple[Level, ...]] = ("ok", "note", "alarm")

# Almost always, with a lower bound of the interval that even a few texts can reach.
_ALWAYS: Final = 0.97
_ALWAYS_LOW: Final = 0.8
# Gold labels are named this much more often than others; a text that names all labels names the gold ones
# too.
_MIN_CONTRAST: Final = 0.3
# Of the way from chance to always right: more than real descriptions of photographs are known to reach.
_HIGH_SKILL: Final = 0.5

# Shares of the texts from which something is worth a note, and from which the texts are of little use.
_FEW: Final = 0.01
_SOME: Final = 0.05
_MANY: Final = 0.2
_MOST: Final = 0.5
_NEVER: Final = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What was found, and how serious it is.

    Attributes:
        about: What was checked, in a word.
        level: "ok", "note", or "alarm": do not use the descriptions as they are.
        text: What was found, in a sentence.
    """

    about: str
    level: Level
    text: str


def worst_level(findings: tuple[Finding, ...]) -> Level:
    """The level of the worst finding."""
    return max((finding.level for finding in findings), key=_LEVELS.index, default="ok")


# --- Texts alone -------------------------------------------------------------------------------------


def assess_texts(
    *, n: int, without: int, statistics: TextStatistics | None, near_duplicates: NearDuplicates | None
) -> tuple[Finding, ...]:
    """Findings about the texts of `n` subjects; `without` of them have none."""
    findings = [_finding("coverage", without / n if n else 1.0, _FEW / 10, _MANY, _coverage(n, without))]
    if statistics is not None:
        findings += [
            _finding(
                "refusals",
                statistics.refusals,
                _FEW,
                _MANY,
                f"{_percent(statistics.refusals)} decline to answer",
            ),
            _language(statistics),
            # A truncated text still contains most of the description, so it is never an alarm.
            _finding("length", statistics.truncated, _SOME, _NEVER, _length(statistics)),
            _finding(
                "subject",
                statistics.without_person,
                _SOME,
                _MOST,
                f"{_percent(statistics.without_person)} never mention the person or the box",
            ),
        ]
    return (*findings, *([] if near_duplicates is None else [_near_duplicates(near_duplicates)]))


def _coverage(n: int, without: int) -> str:
    return f"{n - without} of {n} subjects have a text" if n else "there are no subjects"


def _language(statistics: TextStatistics) -> Finding:
    if statistics.english is None:
        return Finding(about="language", level="ok", text="the texts are too short to detect their language")
    text = f"{_percent(statistics.english)} look English"
    return _finding("language", 1 - statistics.english, _SOME, _NEVER, text)


def _length(statistics: TextStatistics) -> str:
    lengths = statistics.lengths
    limit = f" ({_percent(statistics.hit_limit)} at the limit)" if statistics.hit_limit else ""
    return (
        f"median {lengths.q50:.0f} words, {lengths.q05:.0f} to {lengths.q95:.0f} in nine of ten; "
        f"{_percent(statistics.truncated)} end in mid-sentence{limit}{_hedges(statistics)}"
    )


def _hedges(statistics: TextStatistics) -> str:
    return "" if statistics.hedges is None else f"; {statistics.hedges:.1f} hedges per 100 words"


def _near_duplicates(found: NearDuplicates) -> Finding:
    count = found.most_common_count
    most_common = f"; the most common one occurs {count} times" if count > 1 else ""
    text = (
        f"{found.distinct} different texts of {found.n}; {_percent(found.identical)} have an exact "
        f"duplicate, {_percent(found.near)} a near-duplicate{most_common}"
    )
    # Two people who look alike may get the same text; a text that most people get describes none of them.
    level: Level = "note" if found.near >= _SOME else "ok"
    if found.n >= 20 and count >= _MOST * found.n:
        level = "alarm"
    return Finding(about="near-duplicates", level=level, text=text)


# --- Texts against gold labels -----------------------------------------------------------------------


def assess_labels(agreement: LabelAgreement | None, probe: Probe | None) -> tuple[Finding, ...]:
    """Whether the texts know the labels: too little to be useful, or too well to be made without them."""
    return (_naming(agreement), _probe(probe), _leak(agreement, probe))


def _naming(agreement: LabelAgreement | None) -> Finding:
    if agreement is None:
        return Finding(about="naming", level="ok", text="no gold labels to compare with")
    first = agreement.first
    if first is None or agreement.chance is None:
        return Finding(about="naming", level="note", text=f"none of {agreement.n} texts names a label")
    unlabeled = f"; {agreement.unlabeled} name none" if agreement.unlabeled else ""
    text = (
        f"the label named first is right in {_percent(first.value)} ({_percent(first.low)} to "
        f"{_percent(first.high)}) of {first.n} texts, chance {_percent(agreement.chance)}{unlabeled}"
    )
    return _compare_with_chance("naming", first.low, agreement.chance, text)


def _probe(probe: Probe | None) -> Finding:
    if probe is None:
        return Finding(about="probe", level="ok", text="too few labeled texts for a probe")
    text = (
        f"counting words alone reaches {probe.metric} {probe.value:.3f} ({probe.low:.3f} to "
        f"{probe.high:.3f}), chance {probe.chance:.3f}"
    )
    return _compare_with_chance("probe", probe.low, probe.chance, text)


def _compare_with_chance(about: str, low: float, chance: float, text: str) -> Finding:
    if low <= chance:
        return Finding(about=about, level="note", text=f"{text}: not clearly better than chance")
    if _skill(low, chance) >= _HIGH_SKILL:
        suspicion = "more than descriptions of photographs are known to reach; check how they were made"
        return Finding(about=about, level="note", text=f"{text}: {suspicion}")
    return Finding(about=about, level="ok", text=text)


def _leak(agreement: LabelAgreement | None, probe: Probe | None) -> Finding:
    signs = [*_leaks_in_names(agreement), *_leaks_in_words(probe)]
    if not signs:
        return Finding(about="leak", level="ok", text="no sign that the texts were made from the labels")
    return Finding(
        about="leak",
        level="alarm",
        text=f"the texts encode the labels: {'; '.join(signs)}. Descriptions made from images do not; "
        "scores based on these say nothing about images",
    )


def _leaks_in_names(agreement: LabelAgreement | None) -> list[str]:
    if agreement is None:
        return []
    signs = []
    first, gold, other = agreement.first, agreement.named_if_gold, agreement.named_if_not
    if first and agreement.chance is not None and _is_always(first.value, first.low, agreement.chance):
        signs.append(f"the label named first is right in {_percent(first.value)}")
    if gold and other and _is_always(gold.value, gold.low) and gold.value - other.value >= _MIN_CONTRAST:
        signs.append(f"gold labels are named in {_percent(gold.value)}, others in {_percent(other.value)}")
    return signs


def _leaks_in_words(probe: Probe | None) -> list[str]:
    if probe is None:
        return []
    if _is_always(probe.value, probe.low, probe.chance):
        return [f"counting words alone reaches {probe.metric} {probe.value:.3f}{_most_telling(probe)}"]
    # A code word in a long text: among the other words, counting does not weigh it enough.
    if probe.min_gap >= _ALWAYS:
        return [f"each label has a word of its own{_most_telling(probe)}"]
    return []


def _is_always(value: float, low: float, chance: float = 0.0) -> bool:
    return _skill(value, chance) >= _ALWAYS and _skill(low, chance) >= _ALWAYS_LOW


def _most_telling(probe: Probe) -> str:
    words = sorted(probe.telling_words, key=lambda word: -word.gap)[:3]
    return f" (most telling: {', '.join(repr(word.word) for word in words)})"


def _skill(value: float, chance: float) -> float:
    """The share of the way from chance to always right."""
    return (value - chance) / (1 - chance) if chance < 1 else 0.0


def _finding(about: str, share: float, note: float, alarm: float, text: str) -> Finding:
    level: Level = "alarm" if share >= alarm else "note" if share >= note else "ok"
    return Finding(about=about, level=level, text=text)


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
