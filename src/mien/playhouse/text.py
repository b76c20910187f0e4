"""Descriptions of scenes, which the embedded VLM learns to write, and a parser for them.

Each phrase has two wordings. Which one is used follows from the scene, so that a scene always has the same
description.
"""

from collections.abc import Mapping, Sequence

from mien.playhouse.scene import EXPRESSIONS, PLACES, POSES, DrawnPerson, Scene

__all__ = [
    "WHO_BOXED",
    "WHO_MAIN",
    "describe_clothes",
    "describe_emotions",
    "describe_scene",
    "parse_description",
]

PLACE_PHRASES = {
    "party": ("at a party with balloons", "at a birthday party"),
    "funeral": ("at a funeral, near a coffin", "by a coffin in a graveyard"),
    "stadium": ("in a crowded stadium", "on the grass of a stadium"),
    "exam": ("in an exam room with a blackboard", "in a classroom during an exam"),
    "hospital": ("in a hospital ward", "beside a hospital bed"),
    "beach": ("on a sunny beach", "on a beach by the sea"),
    "forest": ("in a dark forest with a monster", "in front of a monster among dark trees"),
    "award": ("on an award stage with a trophy", "beside a trophy on a stage"),
    "kitchen": ("in a kitchen full of broken dishes", "among broken plates in a kitchen"),
    "home": ("in a living room with a sofa", "at home in front of a sofa"),
    "station": ("on a platform beside a train", "at a station where a train waits"),
    "street": ("in a rainy street", "in the rain on a city street"),
}
EXPRESSION_PHRASES = {
    "smiling": ("smiles", "wears a smile"),
    "crying": ("cries, with tears on the cheeks", "is in tears"),
    "scowling": ("scowls with lowered brows", "frowns with lowered brows"),
    "gaping": ("stares with wide eyes and an open mouth", "gapes with wide eyes"),
    "blank": ("shows a blank face", "keeps a blank expression"),
    "drowsy": ("has closed eyes", "keeps the eyes closed"),
}
POSE_PHRASES = {
    "raised": ("with both arms raised", "with raised arms"),
    "crossed": ("with crossed arms", "with arms crossed"),
    "hips": ("with hands on the hips", "with both hands on the hips"),
    "pointing": ("pointing at something", "pointing to the side"),
    "head": ("holding the head with both hands", "with both hands on the head"),
    "hanging": ("with arms hanging down", "with arms at the sides"),
}
GARMENT_PHRASES = {"shirt": "shirt", "dress": "dress", "sweater": "striped sweater"}
ROLE_PHRASES = {
    "alone": ("Nobody else is there", "The person is alone"),
    "accompanied": ("Others stand nearby", "There is company"),
    "comforted": ("Someone offers comfort", "Someone nearby gives comfort"),
    "comforting": ("The person comforts someone", "The person gives comfort to someone"),
    "shouted_at": ("Someone is shouting at the person", "The person is being shouted at"),
    "shouting": ("The person shouts at someone", "The person is shouting at someone"),
    "cheering": ("Everyone is cheering together", "The person cheers with others"),
}
# For parsing: a text with any of these words means the value.
_PLACE_CUES = {
    "party": "party",
    "funeral": "coffin",
    "stadium": "stadium",
    "exam": "exam",
    "hospital": "hospital",
    "beach": "beach",
    "forest": "monster",
    "award": "trophy",
    "kitchen": "kitchen",
    "home": "sofa",
    "station": "train",
    "street": "street",
}
_EXPRESSION_CUES = {
    "smiling": ("smile",),
    "crying": ("tears",),
    "scowling": ("lowered brows",),
    "gaping": ("wide eyes",),
    "blank": ("blank",),
    "drowsy": ("closed",),
}
_POSE_CUES = {
    "raised": ("raised",),
    "crossed": ("crossed",),
    "hips": ("hips",),
    "pointing": ("pointing",),
    "head": ("the head",),
    "hanging": ("hanging", "at the sides"),
}

WHO_BOXED, WHO_MAIN = "person in the red box", "main person"


def describe_clothes(person: DrawnPerson) -> str:
    """For example "yellow striped sweater"."""
    return f"{person.color} {GARMENT_PHRASES[person.garment]}"


def _article(words: str) -> str:
    return f"an {words}" if words[0] in "aeiou" else f"a {words}"


def _wording(scene: Scene) -> int:
    """0 or 1, by what the image shows, so that a model can learn which wording a scene has."""
    return (
        PLACES.index(scene.place)
        + POSES.index(scene.person.pose)
        + EXPRESSIONS.index(scene.person.expression)
    ) % 2


def describe_emotions(scene: Scene, scores: Mapping[str, float], who: str = WHO_BOXED) -> str:
    """The ideal answer to a prompt for emotions: clothes, place, pose, expression, company, emotions.

    Args:
        scene: The scene.
        scores: The emotions that may be named, with scores. Those below 1.2 are not named.
        who: How the subject is called.
    """
    wording, person = _wording(scene), scene.person
    place, face = PLACE_PHRASES[scene.place][wording], EXPRESSION_PHRASES[person.expression][wording]
    pose, role = POSE_PHRASES[person.pose][wording], ROLE_PHRASES[person.role][wording]
    first = f"The {who} wears {_article(describe_clothes(person))} and stands {place} {pose}."
    second = f"The person {face}."
    third = f"{role}." if wording else f"{role} in this scene."
    return " ".join((first, second, third, _emotion_sentence(scores, wording)))


def _emotion_sentence(scores: Mapping[str, float], wording: int) -> str:
    """Names up to three emotions, and a fourth with "perhaps"."""
    ranked = sorted((label for label in scores if scores[label] >= 1.2), key=lambda label: -scores[label])[:4]
    ranked = ranked or [max(scores, key=scores.__getitem__)]
    sure, unsure = ranked[:3], ranked[3:]
    named = _enumerate(sure)
    suits = "suits" if len(sure) == 1 else "suit"
    maybe = f", and perhaps {unsure[0]}" if unsure else ""
    if wording:
        return f"In this context, {named} {suits} best{maybe}."
    return f"So the most fitting emotions appear to be {named}{maybe}."


def _enumerate(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def describe_scene(scene: Scene) -> str:
    """A plain caption: the place, and the clothes of the people from left to right."""
    number = ("One person", "Two people", "Three people")[len(scene.people) - 1]
    stands = "stands" if len(scene.people) == 1 else "stand"
    first = f"{number} {stands} {PLACE_PHRASES[scene.place][0]}."
    worn = _enumerate([f"one wears {_article(describe_clothes(person))}" for person in scene.people])
    return f"{first} From left to right, {worn}."


def parse_description(text: str) -> dict[str, str | None]:
    """The "place", "expression", "pose" and "clothes" in a description; None for what it does not mention.

    If a text mentions several, the first counts. The text is read up to where the emotions begin.
    """
    factual = text.split("emotions appear", maxsplit=1)[0].split("In this context", maxsplit=1)[0]
    found: dict[str, str | None] = {
        "place": _first(factual, {name: (cue,) for name, cue in _PLACE_CUES.items()}),
        "expression": _first(factual, _EXPRESSION_CUES),
        "pose": _first(factual, _POSE_CUES),
    }
    found["clothes"] = _between(factual, ("wears a ", "wears an "), " and stands")
    return found


def _first(text: str, cues: Mapping[str, Sequence[str]]) -> str | None:
    spots = {
        name: min((text.find(cue) for cue in words if cue in text), default=-1)
        for name, words in cues.items()
    }
    present = {name: spot for name, spot in spots.items() if spot >= 0}
    return min(present, key=present.__getitem__) if present else None


def _between(text: str, starts: Sequence[str], end: str) -> str | None:
    for start in starts:
        _, found, rest = text.partition(start)
        if found and end in rest:
            return rest.partition(end)[0]
    return None
