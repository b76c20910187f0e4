"""Scenes of Playhouse (a place, its people, their company), and how they are sampled."""

import random
from dataclasses import dataclass

__all__ = [
    "ABSENT_FROM_TRAIN",
    "COLORS",
    "COMPANIES",
    "EXPRESSIONS",
    "GARMENTS",
    "HAIRS",
    "HAIR_COLORS",
    "PLACES",
    "POSES",
    "ROLES",
    "SKINS",
    "DrawnPerson",
    "Scene",
    "sample_scene",
]

PLACES = (
    "party",
    "funeral",
    "stadium",
    "exam",
    "hospital",
    "beach",
    "forest",
    "award",
    "kitchen",
    "home",
    "station",
    "street",
)
EXPRESSIONS = ("smiling", "crying", "scowling", "gaping", "blank", "drowsy")
POSES = ("raised", "crossed", "hips", "pointing", "head", "hanging")
GARMENTS = ("shirt", "dress", "sweater")
COLORS = ("blue", "green", "yellow", "purple", "white", "black", "orange", "pink")
SKINS = ("porcelain", "light", "tan", "brown", "dark", "deep")
HAIRS = ("short", "long", "bun", "curly", "cap")
HAIR_COLORS = ("black", "brown", "blond", "ginger", "gray")

# What the other people do to, or with, a person.
ROLES = ("alone", "accompanied", "comforted", "comforting", "shouted_at", "shouting", "cheering")
COMPANIES = ("accompanied", "comfort", "shouting", "cheering")

# Weights of expressions at a place; those not listed have weight 1.
_EXPRESSION_WEIGHTS = {
    "party": {"smiling": 5, "gaping": 2},
    "funeral": {"crying": 5, "blank": 2},
    "stadium": {"smiling": 3, "scowling": 3, "gaping": 2},
    "exam": {"blank": 3, "drowsy": 3, "scowling": 2},
    "hospital": {"crying": 2, "drowsy": 3, "blank": 2},
    "beach": {"smiling": 5, "drowsy": 3},
    "forest": {"gaping": 5, "crying": 2},
    "award": {"smiling": 4, "crying": 2, "gaping": 2},
    "kitchen": {"scowling": 5, "crying": 2},
    "home": {"blank": 3, "drowsy": 3, "smiling": 2},
    "station": {"crying": 3, "blank": 3, "smiling": 2},
    "street": {"scowling": 2, "blank": 4},
}

# A third of all pairs of place and expression, which occur for subjects of validation and test scenes only.
ABSENT_FROM_TRAIN = frozenset(
    (place, EXPRESSIONS[(index + shift) % len(EXPRESSIONS)])
    for index, place in enumerate(PLACES)
    for shift in (1, 4)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnPerson:
    """A person in a scene.

    Attributes:
        center: Horizontal position, as a fraction of the image's width.
        height: As a fraction of the image's height.
        lift: How far above the floor the person stands, as a fraction of the image's height.
        role: One of `ROLES`.
    """

    expression: str
    strong: bool
    pose: str
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
        place: One of `PLACES`.
        company: "alone", or one of `COMPANIES`.
        people: From left to right.
        subject: Index of the person who is described and labeled.
        decoration_seed: Seeds what is only decoration: shades, the positions of balloons.
    """

    place: str
    company: str
    people: tuple[DrawnPerson, ...]
    subject: int
    decoration_seed: int

    @property
    def person(self) -> DrawnPerson:
        """The subject."""
        return self.people[self.subject]


def sample_scene(
    rng: random.Random, *, even: bool = False, absent: frozenset[tuple[str, str]] = frozenset()
) -> Scene:
    """Samples a scene.

    The subject is chosen last and uniformly, so that nothing but the box tells who it is.

    Args:
        rng: The source of randomness.
        even: Whether all expressions are equally likely at every place.
        absent: Pairs of place and expression that the subject never has.
    """
    while True:
        scene = _sample_any_scene(rng, even)
        if (scene.place, scene.person.expression) not in absent:
            return scene


def _sample_any_scene(rng: random.Random, even: bool) -> Scene:
    place = rng.choice(PLACES)
    count = rng.choices((1, 2, 3), (35, 40, 25))[0]
    company = "alone" if count == 1 else rng.choices(COMPANIES, (40, 20, 20, 20))[0]
    roles = _sample_roles(rng, count, company)
    colors = rng.sample(COLORS, count)
    people = tuple(
        _sample_person(rng, place=place, role=role, color=color, slot=slot, count=count, even=even)
        for slot, (role, color) in enumerate(zip(roles, colors, strict=True))
    )
    return Scene(
        place=place,
        company=company,
        people=people,
        subject=rng.randrange(count),
        decoration_seed=rng.randrange(2**31),
    )


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
    rng: random.Random, *, place: str, role: str, color: str, slot: int, count: int, even: bool
) -> DrawnPerson:
    weights = [1 if even else _EXPRESSION_WEIGHTS[place].get(expression, 1) for expression in EXPRESSIONS]
    margin = 0.19 if count < 3 else 0.165
    spacing = (1 - 2 * margin) / max(count - 1, 1)
    center = (
        rng.uniform(margin, 1 - margin) if count == 1 else margin + slot * spacing + rng.uniform(-0.02, 0.02)
    )
    return DrawnPerson(
        expression=rng.choices(EXPRESSIONS, weights)[0],
        strong=rng.random() < 0.5,
        pose=rng.choice(POSES),
        garment=rng.choice(GARMENTS),
        color=color,
        skin=rng.choice(SKINS),
        hair=rng.choice(HAIRS),
        hair_color=rng.choice(HAIR_COLORS),
        center=center,
        height=rng.uniform(0.78, 0.92) if count < 3 else rng.uniform(0.72, 0.80),
        lift=rng.uniform(0.0, 0.05),
        role=role,
    )
