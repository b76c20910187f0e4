"""What the figures about descriptions mean: findings in words, the worst of them an alarm.

Goes in: the figures. Comes out: one `Finding` for each question that was put to the texts.
Knows nothing about: texts, how figures are measured, how findings are shown.

The alarm that matters is the leak: descriptions that were made from the label. Published "descriptions"
contained the class that they were to predict in 62,988 of 63,000 cases and gave an mAP of 1.0; real
answers of a VLM about CAER-S name the right class first in three of ten. The embedded model on its own
drawn scenes, whose labels follow rules that it has learned, names a right one first in more than nine of
ten. So the alarm is for texts that are as good as never wrong, and not by luck.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from mien.evaluate.descriptions.label_agreement import Naming
from mien.evaluate.descriptions.near_duplicate_texts import Sameness
from mien.evaluate.descriptions.probe import Probe
from mien.evaluate.descriptions.text_statistics import Prose

__all__ = ["Finding", "Level", "judge_gold", "judge_texts", "worst"]

Level = Literal["ok", "note", "alarm"]
_ORDER: Final[tuple[Level, ...]] = ("ok", "note", "alarm")

# As good as always, and so often at least within the interval, as far as few texts can tell.
_ALWAYS: Final = 0.97
_SURELY: Final = 0.8
# Gold labels are named that much more often than others; who names all labels names the gold ones too.
_MORE: Final = 0.3
# Of the way from chance to always right: more than real descriptions of photographs are known to reach.
_HIGH: Final = 0.5

# Shares of the texts from which something is worth a note, and from which the texts are of little use.
_FEW: Final = 0.01
_SOME: Final = 0.05
_MANY: Final = 0.2
_MOST: Final = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What was looked at, what was found, and how much it matters."""

    about: str
    level: Level
    text: str


def worst(findings: tuple[Finding, ...]) -> Level:
    """The level of the worst finding."""
    return max((finding.level for finding in findings), key=_ORDER.index, default="ok")


# --- Texts by themselves -----------------------------------------------------------------------------


def judge_texts(
    *, n: int, without: int, prose: Prose | None, sameness: Sameness | None
) -> tuple[Finding, ...]:
    """Of `n` subjects, `without` have no text: nothing was written, or describing failed."""
    findings = [_finding("coverage", without / n if n else 1.0, _FEW / 10, _MANY, _coverage(n, without))]
    if prose is not None:
        findings += [
            _finding(
                "refusals", prose.refusals, _FEW, _MANY, f"{_percent(prose.refusals)} decline to answer"
            ),
            _language(prose),
            _finding(
                "length",
                prose.cut,
                _SOME,
                2.0,  # a cut text still says most of what it has to say
                f"{prose.lengths.q50:.0f} words in the middle, {prose.lengths.q05:.0f} to "
                f"{prose.lengths.q95:.0f} in nine of ten; {_percent(prose.cut)} end in mid-sentence"
                + (f" ({_percent(prose.hit_limit)} at the limit)" if prose.hit_limit else ""),
            ),
            _finding(
                "subject",
                prose.nobody,
                _SOME,
                _MOST,
                f"{_percent(prose.nobody)} never speak of the person or the box",
            ),
        ]
    return (*findings, *([] if sameness is None else [_sameness(sameness)]))


def _coverage(n: int, without: int) -> str:
    return f"{n - without} of {n} subjects have a text" if n else "there is no subject"


def _language(prose: Prose) -> Finding:
    if prose.english is None:
        return Finding(about="language", level="ok", text="the texts are too short to tell their language")
    share = 1 - prose.english
    return _finding("language", share, _SOME, 2.0, f"{_percent(prose.english)} look English")


def _sameness(found: Sameness) -> Finding:
    most = f"; the commonest comes {found.times} times" if found.times > 1 else ""
    text = (
        f"{found.distinct} different texts of {found.n}; {_percent(found.identical)} have a twin word for "
        f"word, {_percent(found.near)} one that is nearly the same{most}"
    )
    # Two people who look alike may get the same words; a text that most people get says nothing of any.
    level: Level = "note" if found.near >= _SOME else "ok"
    if found.n >= 20 and found.times >= _MOST * found.n:
        level = "alarm"
    return Finding(about="sameness", level=level, text=text)


# --- Texts against gold labels -----------------------------------------------------------------------


def judge_gold(naming: Naming | None, probe: Probe | None) -> tuple[Finding, ...]:
    """Whether the words know the labels: too little to be of use, or so well that they were told."""
    return (_naming(naming), _probe(probe), _leak(naming, probe))


def _naming(naming: Naming | None) -> Finding:
    if naming is None:
        return Finding(about="naming", level="ok", text="no gold labels to compare with")
    if naming.first is None or naming.chance is None:
        return Finding(about="naming", level="note", text=f"none of {naming.n} texts names a label")
    silent = f"; {naming.silent} name none" if naming.silent else ""
    first = naming.first
    text = (
        f"the label named first is right in {_percent(first.value)} ({_percent(first.low)} to "
        f"{_percent(first.high)}) of {first.n} texts, chance {_percent(naming.chance)}{silent}"
    )
    return _against_chance("naming", first.low, first.high, naming.chance, text)


def _probe(probe: Probe | None) -> Finding:
    if probe is None:
        return Finding(about="probe", level="ok", text="too few labelled texts for a probe")
    text = (
        f"counting words alone reaches {probe.metric} {probe.value:.3f} ({probe.low:.3f} to "
        f"{probe.high:.3f}), chance {probe.chance:.3f}"
    )
    return _against_chance("probe", probe.low, probe.high, probe.chance, text)


def _against_chance(about: str, low: float, high: float, chance: float, text: str) -> Finding:
    if low <= chance:
        return Finding(about=about, level="note", text=f"{text}: not clearly better than chance")
    if _skill(low, chance) >= _HIGH:
        more = "more than descriptions of photographs are known to reach; see how they were made"
        return Finding(about=about, level="note", text=f"{text}: {more}")
    return Finding(about=about, level="ok", text=text)


def _leak(naming: Naming | None, probe: Probe | None) -> Finding:
    """The loud one."""
    signs = [*_signs_in_names(naming), *_signs_in_words(probe)]
    if not signs:
        return Finding(about="leak", level="ok", text="no sign that the texts were made from the labels")
    return Finding(
        about="leak",
        level="alarm",
        text=f"the texts encode the labels: {'; '.join(signs)}. Descriptions made from pictures do not; "
        "scores that rest on these say nothing about pictures",
    )


def _signs_in_names(naming: Naming | None) -> list[str]:
    if naming is None:
        return []
    signs = []
    first, gold, other = naming.first, naming.named_if_gold, naming.named_if_not
    if first and naming.chance is not None and _is_sure(first.value, first.low, naming.chance):
        signs.append(f"the label named first is right in {_percent(first.value)}")
    if gold and other and _is_sure(gold.value, gold.low) and gold.value - other.value >= _MORE:
        signs.append(f"gold labels are named in {_percent(gold.value)}, others in {_percent(other.value)}")
    return signs


def _signs_in_words(probe: Probe | None) -> list[str]:
    if probe is None:
        return []
    if _is_sure(probe.value, probe.low, probe.chance):
        return [f"counting words alone reaches {probe.metric} {probe.value:.3f}{_told_by(probe)}"]
    # A code word in a long text: counting drowns it among the others.
    if probe.told >= _ALWAYS:
        return [f"labels have words of their own{_told_by(probe)}"]
    return []


def _is_sure(value: float, low: float, chance: float = 0.0) -> bool:
    return _skill(value, chance) >= _ALWAYS and _skill(low, chance) >= _SURELY


def _told_by(probe: Probe) -> str:
    """The words that give most away."""
    clear = sorted(probe.telling, key=lambda one: -one.gap)[:3]
    return f" (most telling: {', '.join(repr(one.word) for one in clear)})"


def _skill(value: float, chance: float) -> float:
    """The share of the way from chance to always right."""
    return (value - chance) / (1 - chance) if chance < 1 else 0.0


def _finding(about: str, share: float, note: float, alarm: float, text: str) -> Finding:
    level: Level = "alarm" if share >= alarm else "note" if share >= note else "ok"
    return Finding(about=about, level=level, text=text)


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
