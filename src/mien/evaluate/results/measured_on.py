"""What the images of a run are, in words: a dataset, its layout alone, or a part of it.

The name of a dataset proves nothing, because drawn scenes can use EMOTIC's layout. Pages and model cards say
so where models know only drawn scenes, or where a split has another number of people than the published one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from mien.data.dataset import DatasetCard
from mien.data.open import dataset_class
from mien.errors import MienError

__all__ = ["dataset_ids", "dataset_text", "embedded_notice", "find_card", "size_notice"]

_EMBEDDED: Final = "playhouse"
_PLAYHOUSE: Final = (
    "Playhouse is a small drawn world whose labels follow written rules. It is a demonstration and "
    "a test bed: its numbers say nothing about real photographs."
)
_OTHER: Final = (
    "This run used the models that are embedded in mien, which were trained only on the drawn scenes "
    "of Playhouse. Their output on other images shows that the programs work, and nothing else."
)


def find_card(name: object) -> DatasetCard | None:
    """What is known of a dataset; None if it is not installed here."""
    try:
        return dataset_class(str(name)).card
    except MienError:
        return None


def dataset_text(recipe: Mapping[str, Any]) -> str:
    """The images of a run in words, given its recipe's table.

    With embedded models these are images in the layout of a dataset: it may be drawn.
    """
    name = _get(recipe, "data", "name")
    card = find_card(name)
    if name == "manifest":
        return "a dataset of its own, as a manifest"
    if card is None:
        return str(name)
    return (
        card.title
        if name == _EMBEDDED or not embedded_notice(recipe)
        else f"images in the layout of {card.title}"
    )


def dataset_ids(recipe: Mapping[str, Any]) -> tuple[str, str]:
    """An identifier and a short name of the images of a run, for tables that programs read."""
    name = str(_get(recipe, "data", "name"))
    if name in (_EMBEDDED, "manifest") or not embedded_notice(recipe):
        return name, name
    return f"{name}-layout", f"images in the layout of {name}"


def embedded_notice(recipe: Mapping[str, Any]) -> str:
    """The limitation that applies to every number of a run on Playhouse or with embedded models; or ""."""
    if _get(recipe, "data", "name") == _EMBEDDED:
        return _PLAYHOUSE
    models = [_get(recipe, "describe", "model")]
    if _get(recipe, "zero_shot", "method") is None:
        models += [_get(recipe, "features", key) for key in ("vision", "tokenizer")]
    return _OTHER if _EMBEDDED in models else ""


def size_notice(name: object, split: str, n: int) -> str:
    """Why a split with more or fewer people than the published one is not it; "" if it may be."""
    card = find_card(name)
    published = None if card is None else card.num_subjects.get(split)
    if published is None or published == n:
        return ""
    what = (
        "a part, another version, or other images in its layout"
        if n < published
        else "another version, or counts people whom published results leave out (see the dataset's options)"
    )
    return (
        f"split {split} has {n:,} people here, and {published:,} in the published dataset: it is {what}; "
        "do not compare its scores with published ones"
    )


def _get(recipe: Mapping[str, Any], section: str, key: str) -> object:
    table = recipe.get(section)
    return table.get(key) if isinstance(table, Mapping) else None
