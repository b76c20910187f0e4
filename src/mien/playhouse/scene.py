"""What can happen on the stage: places, people, company, and how a scene is drawn by lot.

In: a seeded `random.Random`. Out: frozen `Scene` values.
Knows nothing about pixels, words or emotions.
"""

import random
from dataclasses import dataclass

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
COLOURS = ("blue", "green", "yellow", "purple", "white", "black", "orange", "pink")
SKINS = ("porcelain", "light", "tan", "brown", "dark", "deep")
HAIRS = ("short", "long", "bun", "curly", "cap")
HAIR_COLOURS = ("black", "brown", "blond", "ginger", "grey")

# What the others on stage do to, or with, a person.
ROLES = ("alone", "accompanied", "comforted", "comforting", "shouted_at", "shouting", "cheering")
COMPANIES = ("accompanied", "comfort", "shouting", "cheering")

# How likely a face is at a place, where it is not simply possible (weight 1).
_LIKELY = {
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

# A third of all pairs of place and face: no training scene shows its subject so; validation and test scenes
# do.
ABSENT_FROM_TRAIN = frozenset(
    (place, EXPRESSIONS[(index + shift) % len(EXPRESSIONS)])
    for index, place in enumerate(PLACES)
    for shift in (1, 4)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """One figure. `centre` and `height` are fractions of the stage's width and height; `lift` is added to
    the floor."""

    expression: str
    strong: bool
    pose: str
    garment: str
    colour: str
    skin: str
    hair: str
    hair_colour: str
    centre: float
    height: float
    lift: float
    role: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """A moment on the stage: `people` from left to right, `subject` indexes the one that is asked about.

    `look` seeds everything that is only decoration (shades, where a balloon hangs).
    """

    place: str
    company: str
    people: tuple[Person, ...]
    subject: int
    look: int

    @property
    def person(self) -> Person:
        """The one in the box."""
        return self.people[self.subject]


def sample_scene(
    rng: random.Random, *, even: bool = False, absent: frozenset[tuple[str, str]] = frozenset()
) -> Scene:
    """One scene by lot. `even`: every face is as likely at every place. Pairs in `absent` never befall the
    subject.

    Who is the subject is decided last and by lot alone, so that nothing but the box tells.
    """
    while True:
        scene = _one_scene(rng, even)
        if (scene.place, scene.person.expression) not in absent:
            return scene


def _one_scene(rng: random.Random, even: bool) -> Scene:
    place = rng.choice(PLACES)
    count = rng.choices((1, 2, 3), (35, 40, 25))[0]
    company = "alone" if count == 1 else rng.choices(COMPANIES, (40, 20, 20, 20))[0]
    roles = _roles(rng, count, company)
    colours = rng.sample(COLOURS, count)
    people = tuple(
        _person(rng, place=place, role=role, colour=colour, slot=slot, count=count, even=even)
        for slot, (role, colour) in enumerate(zip(roles, colours, strict=True))
    )
    return Scene(
        place=place, company=company, people=people, subject=rng.randrange(count), look=rng.randrange(2**31)
    )


def _roles(rng: random.Random, count: int, company: str) -> list[str]:
    """The giver and the receiver of comfort or of shouting stand side by side; a third person looks on."""
    if company in ("alone", "accompanied", "cheering"):
        return [company] * count
    pair = ["comforting", "comforted"] if company == "comfort" else ["shouting", "shouted_at"]
    rng.shuffle(pair)
    if count == 3:
        pair.insert(rng.choice((0, 2)), "accompanied")
    return pair


def _person(
    rng: random.Random, *, place: str, role: str, colour: str, slot: int, count: int, even: bool
) -> Person:
    weights = [1 if even else _LIKELY[place].get(face, 1) for face in EXPRESSIONS]
    margin = 0.19 if count < 3 else 0.165
    room = (1 - 2 * margin) / max(count - 1, 1)
    centre = (
        rng.uniform(margin, 1 - margin) if count == 1 else margin + slot * room + rng.uniform(-0.02, 0.02)
    )
    return Person(
        expression=rng.choices(EXPRESSIONS, weights)[0],
        strong=rng.random() < 0.5,
        pose=rng.choice(POSES),
        garment=rng.choice(GARMENTS),
        colour=colour,
        skin=rng.choice(SKINS),
        hair=rng.choice(HAIRS),
        hair_colour=rng.choice(HAIR_COLOURS),
        centre=centre,
        height=rng.uniform(0.78, 0.92) if count < 3 else rng.uniform(0.72, 0.80),
        lift=rng.uniform(0.0, 0.05),
        role=role,
    )
