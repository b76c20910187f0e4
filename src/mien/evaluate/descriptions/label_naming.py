"""Which labels a text names, and in which order.

Goes in: a label set, texts. Comes out: for each text the labels that it names, the first one first.
Knows nothing about: which labels are right, or how texts came about.

A label is named by its own word or a plain form of it: Happiness by "happy", Fear by "afraid"; synonyms
("joyful") do not count. Negation is not understood: "not angry" names Anger. A text that recites most of
the list, as a question repeated does, names none by it. Where an answer is JSON with a score for each
label, those from 0.5 are named, the highest first.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Final

from mien.describe.structured_output import parse_scores
from mien.errors import DataError
from mien.labels import LabelSet

__all__ = ["Namer", "plain"]

# Plain forms of the words that data sets use as labels; each row is one label under any of its names.
_FORMS: Final = (
    "affection affections affectionate affectionately",
    "anger angry angrily angered angrier",
    "annoyance annoyed annoying annoyingly annoy annoys",
    "anticipation anticipating anticipates anticipate anticipated anticipatory",
    "aversion averse",
    "confidence confident confidently",
    "disapproval disapproving disapprovingly disapproves disapprove disapproved",
    "disconnection disconnected",
    "disgust disgusted disgusting disgustedly",
    "disquietment disquiet disquieted disquieting",
    "doubt doubts doubtful doubtfully doubting",
    "confusion confused confusing confusedly",
    "embarrassment embarrassed embarrassing",
    "engagement engaged engaging",
    "esteem esteemed",
    "excitement excited excitedly exciting",
    "fatigue fatigued",
    "fear fears fearful fearfully fearing afraid",
    "happiness happy happily happier",
    "neutral neutrality neutrally",
    "pain pained painful painfully pains",
    "peace peaceful peacefully",
    "pleasure pleased pleasurable pleasures",
    "sadness sad sadly sadder saddened",
    "sensitivity sensitive",
    "suffering suffers suffer suffered",
    "surprise surprised surprises surprising surprisingly",
    "sympathy sympathetic sympathetically",
    "yearning yearns yearn yearned",
)
# Turns of speech in which such a word says nothing of a feeling.
_IDIOMS: Final = re.compile(r"\b(no|without( a| any)?|beyond( a| any)?) doubt\b|\bundoubtedly\b")
_MARKS: Final = re.compile(r"[*_#`>~]+")
_APOSTROPHE: Final = "\N{RIGHT SINGLE QUOTATION MARK}"
_WORD: Final = re.compile(r"[^\W_]+")
_BETWEEN_NAMES: Final = re.compile(r"[\s,;:/|()\[\]\"'.&+\-0-9]*(and|or)?[\s,;:/|()\[\]\"'.&+\-0-9]*")
# A recital holds this share of the labels, one after another, and at least so many of them.
_RECITED: Final = 0.6
_RECITED_LEAST: Final = 4
_NAMED_FROM: Final = 0.5


def plain(text: str) -> str:
    """The text without Markdown's signs, in lower case; sentences and lines stay."""
    return _MARKS.sub(" ", text.replace(_APOSTROPHE, "'")).casefold()


class Namer:
    """Reads texts for the labels of one set."""

    def __init__(self, label_set: LabelSet) -> None:
        self._label_set = label_set
        self._labels = _labels_by_form(label_set)
        # Any word, looked up afterwards: many times as fast as to try each form. Names of several words
        # come before their parts, the longest first.
        several = sorted((form for form in self._labels if not _WORD.fullmatch(form)), key=len, reverse=True)
        names = [rf"(?<!\w){re.escape(form)}(?!\w)" for form in several]
        self._pattern = re.compile("|".join([*names, _WORD.pattern]))
        self._recital = max(_RECITED_LEAST, round(_RECITED * len(label_set)))

    def named(self, text: str) -> tuple[str, ...]:
        """The labels that a text names, each once, in the order in which they first come."""
        scores = self.scores(text)
        if scores is not None:
            ranked = sorted(scores, key=lambda label: -scores[label])
            return tuple(label for label in ranked if scores[label] >= _NAMED_FROM)
        told = _IDIOMS.sub(" ", plain(text))
        return tuple(dict.fromkeys(label for run in self._runs(told) for label in run))

    def label(self, name: str) -> str:
        """The label of this name, or the one that it is a plain form of; UnknownNameError if neither."""
        if name in self._label_set.labels:
            return name
        return self._labels.get(name.casefold()) or self._label_set.labels[self._label_set.index(name)]

    def scores(self, text: str) -> Mapping[str, float] | None:
        """The scores of an answer that is JSON; None if it is prose."""
        if not text.lstrip().startswith(("{", "`")):
            return None
        try:
            return parse_scores(text, self._label_set)
        except DataError:
            return None

    def _runs(self, told: str) -> Iterable[list[str]]:
        """Names that follow one another without a word between them, except where that is a recital."""
        found = [match for match in self._pattern.finditer(told) if match[0] in self._labels]
        if not found:
            return
        run = [self._labels[found[0][0]]]
        for before, here in pairwise(found):
            if not _BETWEEN_NAMES.fullmatch(told, before.end(), here.start()):
                yield from self._unless_recited(run)
                run = []
            run.append(self._labels[here[0]])
        yield from self._unless_recited(run)

    def _unless_recited(self, run: list[str]) -> Iterable[list[str]]:
        if len(set(run)) < self._recital:
            yield run


def _labels_by_form(label_set: LabelSet) -> dict[str, str]:
    """The label of each form; a form that two labels claim is nobody's, unless it is one's own name."""
    families = {word: family.split() for family in _FORMS for word in family.split()}
    own = {label.casefold(): label for label in label_set.labels}
    claims: dict[str, set[str]] = {}
    for label in label_set.labels:
        parts = [part.strip() for part in label.casefold().split("/")]
        for part in filter(None, parts):
            for form in families.get(part, [part]):
                claims.setdefault(form, set()).add(label)
    settled = {form: labels.pop() for form, labels in claims.items() if len(labels) == 1}
    return settled | own
