"""Finds which labels a text names, and in which order.

A label is named by its own word or a plain form of it: Happiness by "happy", Fear by "afraid". Synonyms
("joyful") do not count. Negation is not understood: "not angry" names Anger. A text that recites most of the
list, as when it repeats the question, does not name labels by that. If a reply is JSON with a score for each
label, it names those from 0.5 on, the highest first.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Final

from mien.describe.structured_output import parse_scores
from mien.errors import DataError
from mien.labels import LabelSet

__all__ = ["LabelNamer", "normalize_text"]

# Plain forms of the words that datasets use as labels; each row is one label.
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
# Idioms in which such a word does not refer to a feeling.
_IDIOMS: Final = re.compile(r"\b(no|without( a| any)?|beyond( a| any)?) doubt\b|\bundoubtedly\b")
_MARKDOWN: Final = re.compile(r"[*_#`>~]+")
_APOSTROPHE: Final = "\N{RIGHT SINGLE QUOTATION MARK}"
_WORD: Final = re.compile(r"[^\W_]+")
_BETWEEN_NAMES: Final = re.compile(r"[\s,;:/|()\[\]\"'.&+\-0-9]*(and|or)?[\s,;:/|()\[\]\"'.&+\-0-9]*")
# A recital has this share of the labels, one after another, and at least this many.
_RECITAL_SHARE: Final = 0.6
_RECITAL_MIN: Final = 4
_NAMED_FROM: Final = 0.5


def normalize_text(text: str) -> str:
    """The text in lower case, without Markdown marks; sentences and lines are kept."""
    return _MARKDOWN.sub(" ", text.replace(_APOSTROPHE, "'")).casefold()


class LabelNamer:
    """Finds the labels of one set in texts."""

    def __init__(self, label_set: LabelSet) -> None:
        self._label_set = label_set
        self._labels = _labels_by_form(label_set)
        # Matching any word and looking it up is many times faster than trying each form. Names of several
        # words come before their parts, the longest first.
        phrases = sorted((form for form in self._labels if not _WORD.fullmatch(form)), key=len, reverse=True)
        names = [rf"(?<!\w){re.escape(form)}(?!\w)" for form in phrases]
        self._pattern = re.compile("|".join([*names, _WORD.pattern]))
        self._recital = max(_RECITAL_MIN, round(_RECITAL_SHARE * len(label_set)))

    def named(self, text: str) -> tuple[str, ...]:
        """The labels that a text names, each once, in the order of first occurrence."""
        scores = self.scores(text)
        if scores is not None:
            ranked = sorted(scores, key=lambda label: -scores[label])
            return tuple(label for label in ranked if scores[label] >= _NAMED_FROM)
        normalized = _IDIOMS.sub(" ", normalize_text(text))
        return tuple(dict.fromkeys(label for run in self._runs(normalized) for label in run))

    def label(self, name: str) -> str:
        """The label that has this name or a plain form of it; UnknownNameError if there is none."""
        if name in self._label_set.labels:
            return name
        return self._labels.get(name.casefold()) or self._label_set.labels[self._label_set.index(name)]

    def scores(self, text: str) -> Mapping[str, float] | None:
        """The scores in a reply that is JSON; None if it is prose."""
        if not text.lstrip().startswith(("{", "`")):
            return None
        try:
            return parse_scores(text, self._label_set)
        except DataError:
            return None

    def _runs(self, text: str) -> Iterable[list[str]]:
        """Names that follow one another without a word between them, except recitals."""
        found = [match for match in self._pattern.finditer(text) if match[0] in self._labels]
        if not found:
            return
        run = [self._labels[found[0][0]]]
        for previous, current in pairwise(found):
            if not _BETWEEN_NAMES.fullmatch(text, previous.end(), current.start()):
                yield from self._unless_recital(run)
                run = []
            run.append(self._labels[current[0]])
        yield from self._unless_recital(run)

    def _unless_recital(self, run: list[str]) -> Iterable[list[str]]:
        if len(set(run)) < self._recital:
            yield run


def _labels_by_form(label_set: LabelSet) -> dict[str, str]:
    """The label of each form; a form that two labels share names neither, unless it is the name of one."""
    families = {word: family.split() for family in _FORMS for word in family.split()}
    names = {label.casefold(): label for label in label_set.labels}
    claims: dict[str, set[str]] = {}
    for label in label_set.labels:
        parts = [part.strip() for part in label.casefold().split("/")]
        for part in filter(None, parts):
            for form in families.get(part, [part]):
                claims.setdefault(form, set()).add(label)
    unique = {form: labels.pop() for form, labels in claims.items() if len(labels) == 1}
    return unique | names
