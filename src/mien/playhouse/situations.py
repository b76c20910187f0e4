"""Situations of Playhouse: a setting, an occasion, and an item of a person, with what they mean together.

What a situation means is said in appraisals, the terms in which appraisal theory explains emotions (Smith
and Ellsworth 1985; Ortony, Clore and Collins 1988; Scherer 2001): whether it is a gain or a loss, a threat,
an offense, a success, a parting, and so on. An occasion has a meaning of its own; a setting and an item
change it in a way that differs from occasion to occasion. A gift at a birthday is a joy to come, and at a
funeral it is a memory. So a situation cannot be understood from its parts alone.

Most situations are rare, and a quarter of them never occurs in the training split.
"""

import hashlib
from dataclasses import dataclass
from functools import cache
from typing import Final, NamedTuple

__all__ = [
    "APPRAISALS",
    "INDOORS",
    "ITEMS",
    "NOTHING",
    "OCCASIONS",
    "SETTINGS",
    "SITUATIONS",
    "Situation",
    "appraise",
    "frequency",
    "is_absent_from_train",
    "items_at",
]

NOTHING: Final = "nothing"
APPRAISALS: Final = (
    *("gain", "loss", "threat", "offense", "success", "failure", "bond", "parting", "novelty", "promise"),
    *("rest", "tedium", "effort", "pain", "disgust", "honor"),
)

SETTINGS: Final = (
    *("hall", "graveyard", "stadium", "classroom", "ward", "beach", "forest", "stage", "kitchen"),
    *("living_room", "platform", "street", "airport", "office", "church", "park"),
)
INDOORS: Final = frozenset(
    {"hall", "classroom", "ward", "stage", "kitchen", "living_room", "airport", "office", "church"}
)
ITEMS: Final = (
    NOTHING,
    *("gift", "cake", "flowers", "ring", "letter", "diploma", "trophy", "suitcase", "ticket", "phone"),
    *("broken_vase", "wallet", "umbrella", "ball", "book", "crutch", "teddy", "photograph", "candle", "key"),
    "medicine",
)


@dataclass(frozen=True, slots=True)
class _Occasion:
    """What an occasion means; where it happens and what people hold, with what each adds to the meaning."""

    base: str
    settings: dict[str, str]
    items: dict[str, str]


class Situation(NamedTuple):
    """A setting in `SETTINGS`, an occasion in `OCCASIONS` and an item in `ITEMS`."""

    setting: str
    occasion: str
    item: str


_OCCASIONS: Final = {
    "ordinary": _Occasion(
        "rest .6 tedium .4",
        {
            "living_room": "rest .4",
            "kitchen": "effort .4",
            "street": "tedium .3 rest -.3",
            "park": "rest .5 tedium -.3",
            "office": "effort .7 rest -.5",
            "platform": "tedium .6 promise .3",
            "beach": "rest .5 gain .3",
        },
        {
            "gift": "gain .9 bond .5",
            "letter": "novelty .6 promise .6",
            "phone": "tedium .5 bond .2",
            "broken_vase": "failure .9 offense .4 rest -.5",
            "wallet": "loss 1.1 rest -.5",
            "book": "effort .5 rest .3",
            "key": "promise .6 gain .3",
            "medicine": "pain .9 rest -.3",
            "photograph": "parting .9 bond .4",
            "ball": "gain .5 novelty .3 tedium -.4",
        },
    ),
    "birthday": _Occasion(
        "gain .9 bond .5",
        {
            "living_room": "bond .2",
            "hall": "novelty .4",
            "ward": "pain .7 loss .3 gain -.4",
            "office": "tedium .6 bond -.3",
            "park": "rest .4",
        },
        {
            "gift": "promise .9 gain .2",
            "cake": "gain .4 bond .2",
            "letter": "parting .8 bond .2 gain -.3",
            "phone": "parting .6 tedium .5 gain -.5",
            "broken_vase": "failure 1 gain -.5",
            "photograph": "loss .9 gain -.5",
            "teddy": "bond .6",
            "suitcase": "novelty .9 promise .6",
            "wallet": "offense .8 loss .4 gain -.4",
        },
    ),
    "wedding": _Occasion(
        "bond 1 gain .6 honor .3",
        {
            "church": "honor .5",
            "hall": "gain .3",
            "beach": "rest .6 honor -.2",
            "park": "rest .3",
            "street": "threat .3 novelty .5",
        },
        {
            "ring": "promise .9 bond .3",
            "flowers": "gain .4",
            "letter": "loss 1 offense .6 gain -.6",
            "suitcase": "parting 1 offense .5 bond -.5",
            "phone": "tedium .6 offense .4",
            "photograph": "parting .8 bond .2",
            "broken_vase": "failure .9 novelty .3",
            "cake": "gain .4",
            "umbrella": "tedium .4 novelty .3",
        },
    ),
    "funeral": _Occasion(
        "loss 1.3 honor .6",
        {
            "graveyard": "loss .2",
            "church": "honor .4",
            "hall": "bond .5 loss -.3",
            "forest": "threat .5 rest .3",
            "beach": "rest .6 parting .4",
        },
        {
            "flowers": "honor .5 bond .4",
            "photograph": "bond .7 parting .5",
            "candle": "rest .6",
            "letter": "novelty .6 offense .5",
            "key": "gain .7 offense .4 loss -.4",
            "gift": "bond .9 parting .4",
            "phone": "offense .7 honor -.4",
            "teddy": "loss .6 pain .5",
            "umbrella": "tedium .4",
            "wallet": "threat .6 loss .2",
        },
    ),
    "graduation": _Occasion(
        "success 1 promise .5",
        {
            "stage": "honor .4",
            "hall": "gain .4",
            "park": "rest .4",
            "classroom": "parting .5 bond .3",
            "stadium": "novelty .5",
        },
        {
            "diploma": "success .4 honor .4",
            "flowers": "bond .5",
            "suitcase": "parting .9",
            "letter": "failure .9 threat .4 success -.6",
            "photograph": "loss .7 bond .4",
            "phone": "tedium .5",
            "book": "effort .6",
            "gift": "gain .6",
            "crutch": "pain .6 success .3",
        },
    ),
    "exam": _Occasion(
        "effort 1 threat .5",
        {
            "classroom": "tedium .2",
            "hall": "threat .3",
            "office": "honor .3",
            "stage": "failure .5 novelty .3",
            "stadium": "promise .5",
        },
        {
            "book": "effort .4",
            "letter": "success 1 threat -.5",
            "phone": "failure .6 threat .6",
            "ticket": "promise .6",
            "medicine": "pain .9 effort -.3",
            "teddy": "rest .6 bond .3 threat -.3",
            "diploma": "success .9 effort -.5",
            "candle": "tedium .7",
            "broken_vase": "failure .8 novelty .5",
        },
    ),
    "match": _Occasion(
        "promise .8 effort .6",
        {
            "stadium": "gain .4 novelty .3",
            "park": "rest .4",
            "street": "offense .5",
            "living_room": "rest .5 effort -.4",
            "beach": "gain .4 rest .3",
        },
        {
            "ball": "effort .4 success .3",
            "trophy": "success 1 gain .4 promise -.5",
            "crutch": "pain 1 loss .5 promise -.4",
            "ticket": "promise .4 gain .3",
            "phone": "tedium .7 promise -.3",
            "broken_vase": "failure .9 offense .5",
            "medicine": "pain .8 disgust .4",
            "wallet": "loss .8 offense .6",
            "umbrella": "tedium .5",
        },
    ),
    "award": _Occasion(
        "success .8 honor .7",
        {
            "stage": "gain .3",
            "hall": "promise .4",
            "office": "tedium .3 gain .2",
            "stadium": "gain .5 novelty .3",
            "church": "rest .4",
        },
        {
            "trophy": "success .5 gain .4",
            "flowers": "failure .6 bond .3 success -.5",
            "letter": "promise .7 threat .3",
            "gift": "gain .5",
            "phone": "offense .5 tedium .4",
            "photograph": "bond .7 loss .6",
            "candle": "loss .8 honor .4 success -.4",
            "diploma": "effort .4 success .3",
            "wallet": "offense .7 disgust .5 success -.4",
        },
    ),
    "farewell": _Occasion(
        "parting 1.1 bond .5",
        {
            "platform": "promise .3",
            "airport": "promise .5 novelty .3",
            "office": "honor .4 bond -.2",
            "ward": "loss .9 pain .3",
            "living_room": "bond .4",
            "beach": "rest .5 bond .3",
        },
        {
            "suitcase": "promise .5",
            "ticket": "promise .8 novelty .3",
            "flowers": "bond .5 honor .3",
            "letter": "offense .7 loss .6 bond -.3",
            "ring": "promise .9 bond .5",
            "teddy": "bond .7 loss .3",
            "photograph": "bond .5",
            "key": "gain .5 offense .4",
            "medicine": "pain .8 loss .5",
            "trophy": "success .7 honor .5",
        },
    ),
    "homecoming": _Occasion(
        "bond 1 gain .6",
        {
            "living_room": "rest .5",
            "platform": "promise .5",
            "airport": "novelty .5",
            "street": "novelty .6 threat .3",
            "ward": "pain .6 gain -.2",
        },
        {
            "suitcase": "rest .6",
            "flowers": "bond .4",
            "crutch": "pain .9 honor .4",
            "letter": "parting .8 threat .4 gain -.5",
            "key": "rest .6 gain .3",
            "teddy": "bond .5 gain .3",
            "wallet": "loss .8 failure .5 gain -.4",
            "ring": "promise .9",
            "phone": "tedium .7 bond -.5",
        },
    ),
    "inspection": _Occasion(
        "threat .6 tedium .7",
        {
            "airport": "promise .3",
            "platform": "tedium .3",
            "street": "offense .6",
            "office": "failure .5",
            "forest": "threat .5 novelty .4",
        },
        {
            "suitcase": "threat .6",
            "ticket": "promise .5 threat -.3",
            "wallet": "offense .6 loss .4",
            "phone": "offense .5",
            "medicine": "threat .9 failure .4",
            "gift": "offense .8 failure .3",
            "teddy": "novelty .7 bond .3 threat -.4",
            "key": "threat .7 novelty .4",
            "trophy": "success .6 offense .4",
        },
    ),
    "accident": _Occasion(
        "threat .7 pain .8",
        {
            "street": "offense .4",
            "kitchen": "failure .5 threat -.2",
            "beach": "threat .4",
            "forest": "threat .4 novelty .2",
            "stage": "failure .7 novelty .4",
            "ward": "rest .4 threat -.3",
        },
        {
            "phone": "failure .5 promise .3",
            "crutch": "pain .4 rest .3",
            "broken_vase": "failure .8 loss .5 pain -.3",
            "medicine": "rest .5 pain .2",
            "teddy": "loss .9",
            "flowers": "bond .8 rest .3 threat -.4",
            "wallet": "loss .6 offense .4",
            "umbrella": "tedium .3",
            "ball": "failure .7 offense .3",
        },
    ),
    "fire": _Occasion(
        "threat 1.3 loss .4",
        {
            "kitchen": "failure .6 threat -.3",
            "forest": "novelty .4",
            "street": "novelty .5 bond .2",
            "living_room": "loss .5",
            "church": "honor -.2 loss .5",
            "office": "novelty .4 gain .3",
        },
        {
            "candle": "failure 1",
            "photograph": "loss .7 bond .4",
            "suitcase": "parting .7",
            "phone": "effort .5",
            "teddy": "loss .6 bond .4",
            "cake": "failure .6 novelty .4 threat -.6",
            "trophy": "honor .7 success .7 threat -.5",
            "key": "failure .6 effort .3",
            "wallet": "gain .4 disgust .4",
        },
    ),
    "storm": _Occasion(
        "threat .8 novelty .5",
        {
            "beach": "threat .3",
            "street": "tedium .4",
            "forest": "threat .4",
            "living_room": "rest .9 threat -.5",
            "platform": "tedium .8 threat -.3",
            "park": "disgust .3",
        },
        {
            "umbrella": "effort .6 threat -.3",
            "suitcase": "tedium .6",
            "candle": "rest .7 bond .3 threat -.4",
            "phone": "tedium .4 threat .3",
            "ball": "gain .7 novelty .4",
            "broken_vase": "loss .8",
            "book": "rest .9 threat -.5",
            "ticket": "failure .5 tedium .5",
            "flowers": "failure .5 bond .4",
        },
    ),
    "burglary": _Occasion(
        "loss .8 offense .8",
        {
            "living_room": "threat .4",
            "office": "failure .3",
            "church": "disgust .8",
            "kitchen": "threat .5",
            "classroom": "novelty .6",
        },
        {
            "wallet": "loss .3 disgust .2",
            "broken_vase": "loss .4 disgust .3",
            "phone": "effort .5",
            "key": "failure .9",
            "teddy": "gain .7 rest .4 loss -.4",
            "photograph": "loss .5 bond .4",
            "ring": "gain .9 loss -.6 bond .4",
            "trophy": "loss .4 honor .3",
            "gift": "disgust .7 novelty .4",
        },
    ),
    "performance": _Occasion(
        "novelty .7 effort .4 promise .3",
        {
            "stage": "success .4",
            "street": "gain .4",
            "park": "rest .4 gain .3",
            "church": "honor .7",
            "classroom": "tedium .5",
            "stadium": "gain .6 novelty .3",
        },
        {
            "flowers": "success .8 honor .3",
            "ticket": "promise .6",
            "book": "effort .6",
            "phone": "offense .6 tedium .5",
            "candle": "rest .6 honor .3",
            "broken_vase": "failure 1",
            "ball": "novelty .5 gain .3",
            "wallet": "tedium .4 loss .5",
            "letter": "failure .6 offense .5",
        },
    ),
}
OCCASIONS: Final = tuple(_OCCASIONS)
SITUATIONS: Final = tuple(
    Situation(setting, name, item)
    for name, occasion in _OCCASIONS.items()
    for setting in occasion.settings
    for item in (NOTHING, *occasion.items)
)

# How fast situations become rare: the frequency of rank r is proportional to 1 / (r + this).
_FLATTENING: Final = 4
_ABSENT_SHARE: Final = 0.25


def items_at(occasion: str) -> tuple[str, ...]:
    """The items that someone may hold at an occasion, without `NOTHING`."""
    return tuple(_OCCASIONS[occasion].items)


@cache
def appraise(situation: Situation) -> dict[str, float]:
    """What a situation means: a weight for every appraisal that applies, mostly between 0 and 1.5."""
    occasion = _OCCASIONS[situation.occasion]
    meaning: dict[str, float] = {}
    for text in (
        occasion.base,
        occasion.settings.get(situation.setting, ""),
        occasion.items.get(situation.item, ""),
    ):
        words = text.split()
        for name, weight in zip(words[::2], words[1::2], strict=True):
            meaning[name] = meaning.get(name, 0.0) + float(weight)
    return {name: weight for name, weight in meaning.items() if weight > 0}


@cache
def frequency(situation: Situation) -> float:
    """How often a situation occurs, by a fixed arbitrary ranking; the frequencies do not sum to 1."""
    return 1 / (_ranking()[situation] + _FLATTENING)


@cache
def is_absent_from_train(situation: Situation) -> bool:
    """Whether no subject of the training split is in this situation: a quarter of all, frequent and rare."""
    return _hash("absent", situation) < _ABSENT_SHARE


@cache
def _ranking() -> dict[Situation, int]:
    return {
        situation: rank
        for rank, situation in enumerate(sorted(SITUATIONS, key=lambda situation: _hash("rank", situation)))
    }


def _hash(purpose: str, situation: Situation) -> float:
    """A number from 0 to 1 that depends on nothing else."""
    name = "/".join((purpose, *situation))
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8]) / 2**64
