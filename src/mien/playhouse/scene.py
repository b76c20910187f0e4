"""Scenes of Playhouse: people in a setting, on an occasion, in company; and how they are sampled.

More can be seen of a person than a short description says: how strong the expression is, where they look,
whom they turn to, signs such as tears or sweat, and how the others feel.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from mien.playhouse.situations import (
    INDOORS,
    NOTHING,
    SITUATIONS,
    Situation,
    appraise,
    frequency,
    is_absent_from_train,
    items_at,
)

__all__ = [
    "AGES",
    "CLOSENESS",
    "COLORS",
    "COMPANIES",
    "EXPRESSIONS",
    "GARMENTS",
    "GAZES",
    "HAIRS",
    "HAIR_COLORS",
    "LIGHTS",
    "POSES",
    "ROLES",
    "SIGNS",
    "SKINS",
    "STRENGTHS",
    "TILTS",
    "TURNS",
    "WEATHERS",
    "DrawnPerson",
    "Scene",
    "sample_scene",
]

EXPRESSIONS: Final = ("smiling", "crying", "scowling", "gaping", "blank", "drowsy")
STRENGTHS: Final = (1, 2, 3)  # slight, clear, strong; a blank or drowsy face looks the same at each
POSES: Final = ("raised", "crossed", "hips", "pointing", "head", "hanging")
GAZES: Final = ("viewer", "neighbor", "item", "aside", "down")
TURNS: Final = ("front", "toward", "away")
TILTS: Final = ("upright", "tilted", "bowed")
SIGNS: Final = ("tears", "sweat", "blush")
AGES: Final = ("child", "adult", "old")
CLOSENESS: Final = ("alone", "close", "apart")
LIGHTS: Final = ("day", "dusk", "night")
WEATHERS: Final = ("dry", "rain", "snow")
GARMENTS: Final = ("shirt", "dress", "sweater")
COLORS: Final = ("blue", "green", "yellow", "purple", "white", "black", "orange", "pink")
SKINS: Final = ("porcelain", "light", "tan", "brown", "dark", "deep")
HAIRS: Final = ("short", "long", "bun", "curly", "cap")
HAIR_COLORS: Final = ("black", "brown", "blond", "ginger", "gray")

# What the other people do to, or with, a person.
ROLES: Final = ("alone", "accompanied", "comforted", "comforting", "shouted_at", "shouting", "cheering")
COMPANIES: Final = ("accompanied", "comfort", "shouting", "cheering")

# People whose centers are nearer than this, as a fraction of the image's width, are close.
_CLOSE: Final = 0.33

# How appraisals of the situation draw expressions; every expression has a weight of at least 1.
_EXPRESSION_WEIGHTS: Final[Mapping[str, Mapping[str, float]]] = {
    "smiling": {"gain": 3, "success": 3, "bond": 2, "rest": 2, "promise": 2},
    "crying": {"loss": 3, "parting": 2.5, "pain": 2, "failure": 1},
    "scowling": {"offense": 4, "tedium": 1.5, "failure": 1.5, "disgust": 4},
    "gaping": {"novelty": 2.5, "threat": 2.5, "promise": 1},
    "blank": {"effort": 2, "tedium": 2, "honor": 2, "threat": 0.5},
    "drowsy": {"rest": 1.5, "tedium": 1.5, "effort": 0.5},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnPerson:
    """A person in a scene.

    Attributes:
        strength: How strong the expression is, one of `STRENGTHS`.
        gaze: Where the person looks; "item" only with an item, "neighbor" only with company. The eyes of a
            drowsy person are closed, so their gaze is "down".
        turn: Whether the face is turned to the nearest person, away from them, or to the front.
        signs: Of `SIGNS`, those that the face shows.
        item: What the person holds, one of `situations.ITEMS`.
        center: Horizontal position, as a fraction of the image's width.
        height: As a fraction of the image's height.
        lift: How far above the floor the person stands, as a fraction of the image's height.
        role: One of `ROLES`.
    """

    expression: str
    strength: int
    pose: str
    gaze: str
    turn: str
    tilt: str
    signs: frozenset[str]
    age: str
    item: str
    garment: str
    color: str
    skin: str
    hair: str
    hair_color: str
    center: float
    height: float
    lift: float
    role: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """A scene.

    Attributes:
        setting: One of `situations.SETTINGS`.
        occasion: One of `situations.OCCASIONS`.
        light: One of `LIGHTS`.
        weather: One of `WEATHERS`; always "dry" indoors.
        company: "alone", or one of `COMPANIES`.
        people: From left to right.
        subject: Index of the person who is described and labeled.
        decoration_seed: Seeds what is only decoration: shades, the positions of balloons.
    """

    setting: str
    occasion: str
    light: str
    weather: str
    company: str
    people: tuple[DrawnPerson, ...]
    subject: int
    decoration_seed: int

    @property
    def person(self) -> DrawnPerson:
        """The subject."""
        return self.people[self.subject]

    @property
    def situation(self) -> Situation:
        """The subject's situation."""
        return Situation(self.setting, self.occasion, self.person.item)

    def neighbor(self, index: int) -> int | None:
        """Index of the person nearest to the person at `index`; None for a person alone."""
        others = [other for other in range(len(self.people)) if other != index]
        return min(others, key=lambda other: self._distance(index, other)) if others else None

    def closeness(self, index: int) -> str:
        """How near the nearest person is to the person at `index`: one of `CLOSENESS`."""
        neighbor = self.neighbor(index)
        if neighbor is None:
            return "alone"
        return "close" if self._distance(index, neighbor) < _CLOSE else "apart"

    def _distance(self, index: int, other: int) -> float:
        return abs(self.people[index].center - self.people[other].center)


def sample_scene(rng: random.Random, *, even: bool = False, training: bool = False) -> Scene:
    """Samples a scene.

    The subject is chosen last and uniformly, so that nothing but the box tells who it is.

    Args:
        rng: The source of randomness.
        even: Whether all situations, and all expressions in them, are equally likely.
        training: Whether the subject is never in a situation that is absent from the training split.
    """
    while True:
        scene = _sample_any_scene(rng, even)
        if not (training and is_absent_from_train(scene.situation)):
            return scene


def _sample_any_scene(rng: random.Random, even: bool) -> Scene:
    weights = None if even else _FREQUENCIES
    (situation,) = rng.choices(SITUATIONS, weights)
    count = rng.choices((1, 2, 3), (35, 40, 25))[0]
    company = "alone" if count == 1 else rng.choices(COMPANIES, (40, 20, 20, 20))[0]
    roles = _sample_roles(rng, count, company)
    colors = rng.sample(COLORS, count)
    items = _sample_items(rng, situation, count)
    centers = _sample_centers(rng, count)
    people = tuple(
        _sample_person(
            rng,
            situation=situation._replace(item=items[slot]),
            role=roles[slot],
            color=colors[slot],
            center=centers[slot],
            count=count,
            even=even,
        )
        for slot in range(count)
    )
    outdoors = situation.setting not in INDOORS
    return Scene(
        setting=situation.setting,
        occasion=situation.occasion,
        light=rng.choices(LIGHTS, (60, 20, 20))[0],
        weather=_sample_weather(rng, situation.occasion) if outdoors else "dry",
        company=company,
        people=people,
        subject=rng.randrange(count),
        decoration_seed=rng.randrange(2**31),
    )


_FREQUENCIES: Final = [frequency(situation) for situation in SITUATIONS]


def _sample_weather(rng: random.Random, occasion: str) -> str:
    return rng.choices(WEATHERS, (20, 60, 20) if occasion == "storm" else (70, 18, 12))[0]


def _sample_items(rng: random.Random, situation: Situation, count: int) -> list[str]:
    """The situation's item for one person, at random; the others mostly hold nothing."""
    items = [
        rng.choice(items_at(situation.occasion)) if rng.random() < 0.35 else NOTHING for _ in range(count)
    ]
    items[rng.randrange(count)] = situation.item
    return items


def _sample_centers(rng: random.Random, count: int) -> list[float]:
    """Positions from left to right: two people close or apart, three with one pair closer than the other."""
    if count == 1:
        return [rng.uniform(0.22, 0.78)]
    if count == 2:
        gap = rng.uniform(0.27, 0.31) if rng.random() < 0.5 else rng.uniform(0.46, 0.58)
        left = rng.uniform(0.2, 0.8 - gap)
        return [left, left + gap]
    narrow, wide = rng.uniform(0.26, 0.29), rng.uniform(0.36, 0.39)
    first, second = (narrow, wide) if rng.random() < 0.5 else (wide, narrow)
    left = rng.uniform(0.15, 0.85 - first - second)
    return [left, left + first, left + first + second]


def _sample_roles(rng: random.Random, count: int, company: str) -> list[str]:
    """Giver and receiver of comfort or of a shout stand next to each other; a third person stands outside."""
    if company in ("alone", "accompanied", "cheering"):
        return [company] * count
    pair = ["comforting", "comforted"] if company == "comfort" else ["shouting", "shouted_at"]
    rng.shuffle(pair)
    if count == 3:
        pair.insert(rng.choice((0, 2)), "accompanied")
    return pair


def _sample_person(
    rng: random.Random,
    *,
    situation: Situation,
    role: str,
    color: str,
    center: float,
    count: int,
    even: bool,
) -> DrawnPerson:
    meaning = appraise(situation)
    expression = rng.choices(EXPRESSIONS, None if even else _weigh_expressions(meaning))[0]
    strength = rng.choice(STRENGTHS)
    age = rng.choices(AGES, (20, 60, 20))[0]
    height = rng.uniform(0.78, 0.92) if count < 3 else rng.uniform(0.72, 0.80)
    return DrawnPerson(
        expression=expression,
        strength=strength,
        pose=rng.choice(POSES),
        gaze=_sample_gaze(rng, expression, situation.item, count),
        turn=rng.choices(TURNS, (40, 35, 25))[0] if count > 1 else "front",
        tilt=rng.choices(TILTS, (60, 20, 20))[0],
        signs=_sample_signs(rng, expression, strength, meaning),
        age=age,
        item=situation.item,
        garment=rng.choice(GARMENTS),
        color=color,
        skin=rng.choice(SKINS),
        hair=rng.choice(HAIRS),
        hair_color="gray" if age == "old" else rng.choice(HAIR_COLORS[:-1]),
        center=center,
        height=height * 0.78 if age == "child" else height,
        lift=rng.uniform(0.0, 0.05),
        role=role,
    )


def _weigh_expressions(meaning: dict[str, float]) -> list[float]:
    return [
        1 + sum(factor * meaning.get(name, 0.0) for name, factor in _EXPRESSION_WEIGHTS[expression].items())
        for expression in EXPRESSIONS
    ]


def _sample_gaze(rng: random.Random, expression: str, item: str, count: int) -> str:
    weights = {
        "viewer": 30,
        "neighbor": 30 if count > 1 else 0,
        "item": 25 if item != NOTHING else 0,
        "aside": 20,
        "down": 20,
    }
    gaze = rng.choices(GAZES, [weights[gaze] for gaze in GAZES])[0]
    return "down" if expression == "drowsy" else gaze


def _sample_signs(
    rng: random.Random, expression: str, strength: int, meaning: dict[str, float]
) -> frozenset[str]:
    """Tears come with crying, seldom with joy; sweat with strain; a blush with failure and affection."""
    strain = max(meaning.get(name, 0.0) for name in ("threat", "effort", "pain"))
    warmth = max(meaning.get(name, 0.0) for name in ("failure", "bond", "offense"))
    chances = {
        "tears": (0.25, 0.7, 0.95)[strength - 1] if expression == "crying" else 0.06,
        "sweat": min(0.6, 0.08 + 0.35 * strain),
        "blush": min(0.6, 0.08 + 0.3 * warmth),
    }
    return frozenset(sign for sign in SIGNS if rng.random() < chances[sign])
