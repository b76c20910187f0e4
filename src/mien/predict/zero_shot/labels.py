"""The labels to score, and what each one means in words.

Definitions and word forms are data; their digest is in the signature of every scorer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from mien.digests import digest
from mien.documents import read_json
from mien.errors import DataError
from mien.labels import CAERS_DEFINITIONS, EMOTIC_DEFINITIONS, LABEL_SETS, LabelSet, label_set

__all__ = ["OWN_LABELS", "ZeroShotLabels", "open_labels", "read_data", "words_of"]

OWN_LABELS: Final = "own"  # the name of a label set of the user's

# Without an entry, a label stands for its own words.
_DEFINITIONS: Final[Mapping[str, Mapping[str, str]]] = MappingProxyType(
    {"emotic": EMOTIC_DEFINITIONS, "bold": EMOTIC_DEFINITIONS, "caers": CAERS_DEFINITIONS}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ZeroShotLabels:
    """Labels with definitions.

    Attributes:
        label_set: The labels, in order.
        definitions: What each label means, as "fond, loving or tender towards someone"; a label without an
            entry stands for its own words.
    """

    label_set: LabelSet
    definitions: Mapping[str, str]

    def digest(self) -> str:
        """A digest of the labels, their order and their definitions."""
        names = self.label_set
        return digest(
            {
                "labels": list(names.labels),
                "exclusive": names.exclusive,
                "definitions": {label: self.definitions.get(label) for label in names.labels},
            }
        )

    def definition(self, label: str) -> str:
        """What a label means; its own words if it has no definition."""
        return self.definitions.get(label) or words_of(label)

    def forms(self, label: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The forms of a label's own words, such as "affectionate", and words of nearly the same meaning."""
        entry = read_data("word_forms.json")["labels"].get(label, {})
        own = {part.strip().lower() for part in (label, *label.split("/"))}
        return tuple(sorted({*own, *entry.get("forms", ())} - {""})), tuple(entry.get("synonyms", ()))


def words_of(label: str) -> str:
    """A label as it stands in a sentence: "doubt or confusion"."""
    return label.replace("/", " or ").replace("_", " ").strip().lower()


def open_labels(
    labels: str | Iterable[str] | Mapping[str, str] | ZeroShotLabels, *, exclusive: bool | None = None
) -> ZeroShotLabels:
    """The labels of a known set, or of the user's own.

    Args:
        labels: The name of a label set ("emotic", "bold", "caers"), a list of names, or a mapping from each
            name to its definition.
        exclusive: Whether exactly one of them holds; by default as the set says, and False for a user's own.

    Raises:
        UnknownNameError: No label set has this name.
        DataError: The labels are empty or not distinct, or `exclusive` contradicts the set.
    """
    if isinstance(labels, ZeroShotLabels):
        return labels
    if isinstance(labels, str):
        known = label_set(labels)
        if exclusive not in (None, known.exclusive):
            holds = "exactly one label" if known.exclusive else "any number of labels"
            raise DataError(
                f"in label set {labels!r}, {holds} may hold", hint="leave out exclusive, or list the labels"
            )
        return ZeroShotLabels(label_set=known, definitions=_DEFINITIONS[labels])
    definitions = dict(labels) if isinstance(labels, Mapping) else {}
    names = tuple(labels)
    if any(not str(name).strip() for name in names):
        raise DataError(f"labels {list(names)!r} are not all words", hint="give each label a name")
    found = LabelSet(name=OWN_LABELS, labels=names, exclusive=bool(exclusive))
    known_set = next((one for one in LABEL_SETS.values() if one.labels == names), None)
    if known_set is not None and not definitions and exclusive in (None, known_set.exclusive):
        return open_labels(known_set.name)
    return ZeroShotLabels(label_set=found, definitions=MappingProxyType(definitions))


@cache
def read_data(name: str) -> Any:
    """The JSON value of a file of this package. Do not change it."""
    return read_json(Path(__file__).with_name(name))
