"""Label sets: the only module that knows the index of a label.

EMOTIC and BoLD use the same 26 words in different orders; mixing them up raises no error and gives wrong
numbers. So vectors are encoded and decoded only here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from mien.errors import DataError, unknown_name

__all__ = [
    "BOLD",
    "CAERS",
    "CAERS_DEFINITIONS",
    "EMOTIC",
    "EMOTIC_DEFINITIONS",
    "LABEL_SETS",
    "LabelSet",
    "label_set",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelSet:
    """Labels in a fixed order; `exclusive` if exactly one holds per subject, otherwise any number can."""

    name: str
    labels: tuple[str, ...]
    exclusive: bool

    def __post_init__(self) -> None:
        if not self.labels:
            raise DataError(f"label set {self.name!r} has no labels", hint="name at least one label")
        label, count = Counter(self.labels).most_common(1)[0]
        if count > 1:
            raise DataError(f"label set {self.name!r} names {label!r} twice", hint="name each label once")

    def __len__(self) -> int:
        return len(self.labels)

    def index(self, name: str) -> int:
        """The index of a label; UnknownNameError, with the nearest label, if it is not in the set."""
        try:
            return self.labels.index(name)
        except ValueError:
            raise unknown_name(f"label of set {self.name!r}:", name, self.labels) from None

    def encode(self, labels: Mapping[str, float] | Iterable[str]) -> list[float]:
        """A vector in the set's order: the scores of a mapping, or 1 for each name; 0 for all others."""
        scores = labels if isinstance(labels, Mapping) else dict.fromkeys(labels, 1.0)
        vector = [0.0] * len(self)
        for name, score in scores.items():
            vector[self.index(name)] = float(score)
        return vector

    def decode(self, vector: Sequence[float]) -> dict[str, float]:
        """The score per label of a vector in the set's order."""
        if len(vector) != len(self):
            raise DataError(f"{len(vector)} scores for the {len(self)} labels of set {self.name!r}")
        return {label: float(score) for label, score in zip(self.labels, vector, strict=True)}


# In the order of the EMOTIC release; short definitions, for prompts and pages.
EMOTIC_DEFINITIONS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "Affection": "fond, loving or tender towards someone",
        "Anger": "enraged or full of resentment",
        "Annoyance": "irritated, impatient or frustrated",
        "Anticipation": "looking forward to something and getting ready for it",
        "Aversion": "disgusted by something, or disliking it strongly",
        "Confidence": "sure of the outcome; proud and encouraged",
        "Disapproval": "contemptuous or hostile, finding something wrong",
        "Disconnection": "indifferent, bored or with the mind elsewhere",
        "Disquietment": "nervous, worried or tense",
        "Doubt/Confusion": "unable to decide or to understand",
        "Embarrassment": "ashamed or guilty",
        "Engagement": "absorbed, attentive and curious",
        "Esteem": "full of respect, admiration or gratitude",
        "Excitement": "energetic and enthusiastic",
        "Fatigue": "weary or sleepy",
        "Fear": "feeling threatened, or horrified",
        "Happiness": "delighted or amused",
        "Pain": "suffering physically",
        "Peace": "relaxed and satisfied",
        "Pleasure": "delighted by what the senses offer",
        "Sadness": "unhappy or disappointed",
        "Sensitivity": "vulnerable or emotionally wounded",
        "Suffering": "distressed or in anguish",
        "Surprise": "met by something unexpected",
        "Sympathy": "sharing what another feels, and supporting them",
        "Yearning": "wanting something strongly; jealous or envious",
    }
)

EMOTIC: Final = LabelSet(name="emotic", labels=tuple(EMOTIC_DEFINITIONS), exclusive=False)

CAERS_DEFINITIONS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "Anger": "enraged, irritated or ready to quarrel",
        "Disgust": "repelled by something unpleasant",
        "Fear": "frightened, anxious or horrified",
        "Happy": "cheerful, pleased or amused",
        "Neutral": "calm, without an emotion that shows",
        "Sad": "unhappy, grieving or disappointed",
        "Surprise": "amazed or startled by something unexpected",
    }
)

CAERS: Final = LabelSet(name="caers", labels=tuple(CAERS_DEFINITIONS), exclusive=True)

# EMOTIC's words in the order of the columns of BoLD's annotation files.
BOLD: Final = LabelSet(
    name="bold",
    labels=(
        *("Peace", "Affection", "Esteem", "Anticipation", "Engagement", "Confidence", "Happiness"),
        *("Pleasure", "Excitement", "Surprise", "Sympathy", "Doubt/Confusion", "Disconnection"),
        *("Fatigue", "Embarrassment", "Yearning", "Disapproval", "Aversion", "Annoyance", "Anger"),
        *("Sensitivity", "Sadness", "Disquietment", "Fear", "Pain", "Suffering"),
    ),
    exclusive=False,
)

LABEL_SETS: Final = {label_set.name: label_set for label_set in (EMOTIC, CAERS, BOLD)}


def label_set(name: str) -> LabelSet:
    """The label set of this name. A dataset with other labels builds its own `LabelSet`."""
    if name not in LABEL_SETS:
        raise unknown_name("label set", name, LABEL_SETS)
    return LABEL_SETS[name]
