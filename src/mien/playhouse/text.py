"""Descriptions of scenes, which the embedded VLM learns to write, and a parser for them.

A description is a paragraph of 40 to 120 words, as VLMs write them: who and where, the face, the most
salient details, and then emotions that are argued from what was said, with hedges. Each phrase has two
wordings. Which one is used follows from what the image shows, so that a scene always has the same
description.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from mien.playhouse.rules import Observation, observe, score_basic_emotions, score_emotions
from mien.playhouse.salience import mention
from mien.playhouse.scene import EXPRESSIONS, POSES, DrawnPerson, Scene
from mien.playhouse.situations import SETTINGS

__all__ = [
    "WHO_BOXED",
    "WHO_MAIN",
    "ask_rating",
    "ask_yes_no",
    "describe_clothes",
    "describe_emotions",
    "describe_scene",
    "parse_description",
]

Wordings = tuple[str, str]

SETTING_PHRASES: Final[Mapping[str, Wordings]] = {
    "hall": ("in a festive hall with a chandelier", "in a large hall"),
    "graveyard": ("in a graveyard", "among the stones of a graveyard"),
    "stadium": ("in a crowded stadium", "on the grass of a stadium"),
    "classroom": ("in a classroom with a blackboard", "in front of the blackboard of a classroom"),
    "ward": ("in a hospital ward", "by a bed in a hospital ward"),
    "beach": ("on a beach by the sea", "on a sandy beach"),
    "forest": ("in a forest", "among the trees of a forest"),
    "stage": ("on a stage with red curtains", "on a stage"),
    "kitchen": ("in a kitchen", "at the counter of a kitchen"),
    "living_room": ("in a living room with a sofa", "in front of the sofa of a living room"),
    "platform": ("on a platform by a train", "on a station platform"),
    "street": ("in a city street", "on a street between houses"),
    "airport": ("in an airport", "at the counter of an airport"),
    "office": ("in an office", "at a desk in an office"),
    "church": ("in a church with colored windows", "in a church"),
    "park": ("in a park", "by a bench in a park"),
}
OCCASION_PHRASES: Final[Mapping[str, Wordings]] = {
    "ordinary": ("It looks like an ordinary day", "Nothing special seems to be going on"),
    "birthday": ("A birthday is being celebrated", "There seems to be a birthday party"),
    "wedding": ("A wedding is taking place", "This appears to be a wedding"),
    "funeral": ("A funeral is being held", "There is a coffin, so this seems to be a funeral"),
    "graduation": ("A graduation is being celebrated", "This looks like a graduation"),
    "exam": ("An exam is going on", "This appears to be an exam"),
    "match": ("A match is being played", "There seems to be a match between two teams"),
    "award": ("An award is being presented", "This looks like an award ceremony"),
    "farewell": ("People are saying farewell", "This seems to be a farewell"),
    "homecoming": ("Someone is welcomed home", "This looks like a homecoming"),
    "inspection": ("An inspection by officers is going on", "This appears to be an inspection"),
    "accident": ("An accident has happened", "There seems to have been an accident"),
    "fire": ("A fire is burning", "There is a fire with smoke"),
    "storm": ("A storm is raging", "There is a storm with lightning"),
    "burglary": ("There has been a burglary", "Drawers are open as after a burglary"),
    "performance": ("A performance is going on", "This looks like a performance with music"),
}
ITEM_PHRASES: Final = {
    "gift": "a wrapped gift",
    "cake": "a cake with candles",
    "flowers": "a bunch of flowers",
    "ring": "a ring in a box",
    "letter": "a letter",
    "diploma": "a diploma",
    "trophy": "a golden trophy",
    "suitcase": "a suitcase",
    "ticket": "a ticket",
    "phone": "a phone",
    "broken_vase": "a broken vase",
    "wallet": "an empty wallet",
    "umbrella": "an umbrella",
    "ball": "a ball",
    "book": "an open book",
    "crutch": "a crutch",
    "teddy": "a teddy bear",
    "photograph": "a framed photograph",
    "candle": "a burning candle",
    "key": "a key",
    "medicine": "a bottle of medicine",
}
EXPRESSION_PHRASES: Final[Mapping[str, Wordings]] = {
    "smiling": ("The person appears to smile", "There is a smile on the face"),
    "crying": ("The person appears to cry", "The mouth and brows are those of someone who cries"),
    "scowling": ("The brows are lowered in a scowl", "The person appears to scowl"),
    "gaping": ("The eyes are wide and the mouth is open", "The person gapes with wide eyes"),
    "blank": (
        "The face shows a fairly neutral expression",
        "The expression is hard to read and seems neutral",
    ),
    "drowsy": ("The eyes are closed, as if drowsy", "The person keeps the eyes closed and looks drowsy"),
}
STRONG_PHRASES: Final[Mapping[str, Wordings]] = {
    "smiling": ("The person appears to smile broadly", "There is a broad smile on the face"),
    "crying": ("The person appears to cry hard", "The mouth and brows are those of someone who cries hard"),
    "scowling": ("The brows are lowered in a fierce scowl", "The person appears to scowl fiercely"),
    "gaping": (
        "The eyes are very wide and the mouth is open",
        "The person gapes with very wide eyes",
    ),
}
CUE_PHRASES: Final[Mapping[str, Wordings]] = {
    "pose raised": ("both arms are raised", "the arms are thrown up"),
    "pose crossed": ("the arms are crossed", "the person has crossed arms"),
    "pose hips": ("the hands are on the hips", "the person has both hands on the hips"),
    "pose pointing": ("the person is pointing to the side", "one arm is pointing at something"),
    "pose head": ("both hands hold the head", "the hands are on the head"),
    "pose hanging": ("the arms are hanging down", "the arms are hanging at the sides"),
    "gaze neighbor": ("the eyes are on someone else", "the person looks at someone nearby"),
    "gaze down": ("the gaze is lowered", "the eyes look down"),
    "tilt bowed": ("the head is bowed", "the person bows the head"),
    "sign tears": ("there are tears on the cheeks", "tears can be seen on the cheeks"),
    "sign sweat": ("there are drops of sweat on the forehead", "sweat can be seen on the forehead"),
    "sign blush": ("the cheeks are flushed", "there is a blush on the cheeks"),
    "age child": ("this seems to be a child", "the person appears to be a child"),
    "age old": ("this seems to be an elderly person", "the person appears to be elderly"),
    "closeness close": ("someone stands very close", "another person is very close"),
    "light dusk": ("it seems to be dusk", "the light is that of dusk"),
    "light night": ("it is night", "it seems to be night"),
    "weather rain": ("it is raining", "rain is falling"),
    "weather snow": ("it is snowing", "snow is falling"),
    "role alone": ("nobody else is there", "the person is alone"),
    "role accompanied": ("others stand nearby", "there is company"),
    "role comforted": ("someone offers comfort", "someone nearby gives comfort"),
    "role comforting": ("the person comforts someone", "the person gives comfort to someone"),
    "role shouted_at": ("someone is shouting at the person", "the person is being shouted at"),
    "role shouting": ("the person shouts at someone", "the person is shouting at someone"),
    "role cheering": ("everyone is cheering together", "the person cheers with others"),
}
_ITEM_WORDINGS: Final = ("the person is holding {}", "in one hand there is {}")
_JOINS: Final[Mapping[int, Sequence[str]]] = {
    0: ("",),
    1: ("It can also be seen that {}.", "One notices that {}."),
    2: ("It can also be seen that {} and that {}.", "One notices that {}, and {}."),
    3: (
        "It can also be seen that {}, that {} and that {}.",
        "One notices that {}, that {}, and also that {}.",
    ),
}
# For parsing: a text with any of these words means the value.
_SETTING_CUES: Final = {
    "hall": " hall",
    "graveyard": "graveyard",
    "stadium": "stadium",
    "classroom": "classroom",
    "ward": "ward",
    "beach": "beach",
    "forest": "forest",
    "stage": " stage",
    "kitchen": "kitchen",
    "living_room": "sofa",
    "platform": "platform",
    "street": "street",
    "airport": "airport",
    "office": " office",
    "church": "church",
    "park": " park",
}
_OCCASION_CUES: Final = {
    "ordinary": ("ordinary day", "Nothing special"),
    "birthday": ("birthday",),
    "wedding": ("wedding",),
    "funeral": ("funeral",),
    "graduation": ("graduation",),
    "exam": ("exam",),
    "match": ("match",),
    "award": ("award",),
    "farewell": ("farewell",),
    "homecoming": ("welcomed home", "homecoming"),
    "inspection": ("inspection",),
    "accident": ("accident",),
    "fire": (" fire ",),
    "storm": ("storm",),
    "burglary": ("burglary",),
    "performance": ("performance",),
}
_EXPRESSION_CUES: Final = {
    "smiling": ("smile",),
    "crying": (" cry ", " cries", "cry."),
    "scowling": ("scowl",),
    "gaping": ("mouth is open", "gapes"),
    "blank": ("neutral",),
    "drowsy": ("drowsy",),
}
_POSE_CUES: Final = {
    "raised": ("raised", "thrown up"),
    "crossed": ("crossed",),
    "hips": ("hips",),
    "pointing": ("pointing",),
    "head": ("hold the head", "on the head"),
    "hanging": ("hanging",),
}
_CONCLUSIONS: Final = ("Given all this", "In this context")

WHO_BOXED: Final = "person in the red box"
WHO_MAIN: Final = "main person"

_NAMED: Final = 3  # emotions that are named, and one more with "perhaps"
_MIN_SCORE: Final = 1.2


def describe_clothes(person: DrawnPerson) -> str:
    """For example "yellow striped sweater"."""
    garment = "striped sweater" if person.garment == "sweater" else person.garment
    return f"{person.color} {garment}"


def describe_emotions(scene: Scene, who: str = WHO_BOXED, *, basic: bool = False) -> str:
    """The ideal answer to a prompt for emotions.

    Args:
        scene: The scene.
        who: How the subject is called.
        basic: Whether the emotions are CAER-S's classes instead of EMOTIC's labels.
    """
    wording, person = _wording(scene), scene.person
    said = mention(scene, observe(scene))
    scores = score_emotions(said.observation)
    sentences = [
        f"The {who} wears {_article(describe_clothes(person))} and stands "
        f"{SETTING_PHRASES[scene.setting][wording]}.",
        f"{OCCASION_PHRASES[scene.occasion][wording]}.",
        f"{_face(said.observation)[wording]}.",
        _say_details(said.details, person, wording),
        _conclude(score_basic_emotions(scores) if basic else scores, wording, basic=basic),
    ]
    return " ".join(sentence for sentence in sentences if sentence)


def _wording(scene: Scene) -> int:
    """0 or 1, by what the image shows, so that a model can learn which wording a scene has."""
    return (
        SETTINGS.index(scene.setting)
        + POSES.index(scene.person.pose)
        + EXPRESSIONS.index(scene.person.expression)
    ) % 2


def _article(words: str) -> str:
    return f"an {words}" if words[0] in "aeiou" else f"a {words}"


def _face(said: Observation) -> Wordings:
    phrases = STRONG_PHRASES if "strength 3" in said.cues else EXPRESSION_PHRASES
    return phrases[said.expression]


def _say_details(details: Sequence[str], person: DrawnPerson, wording: int) -> str:
    phrases = [
        _ITEM_WORDINGS[wording].format(ITEM_PHRASES[person.item])
        if detail == "item"
        else CUE_PHRASES[detail][wording]
        for detail in details
    ]
    return _JOINS[len(phrases)][wording if phrases else 0].format(*phrases)


def _conclude(scores: Mapping[str, float], wording: int, *, basic: bool) -> str:
    """Names the most fitting emotions: one of CAER-S's classes, or up to three of EMOTIC's labels."""
    most = 1 if basic else _NAMED
    ranked = sorted(
        (label for label in scores if scores[label] >= _MIN_SCORE), key=lambda label: -scores[label]
    )
    ranked = ranked[: most + 1] or [max(scores, key=scores.__getitem__)]
    sure, unsure = ranked[:most], ranked[most:]
    named = _enumerate(sure)
    maybe = f", and perhaps {unsure[0]}" if unsure else ""
    if wording:
        suits = "suits" if len(sure) == 1 else "suit"
        return f"In this context, {named} probably {suits} best{maybe}."
    return f"Given all this, the person most likely feels {named}{maybe}, though it is hard to be sure."


def _enumerate(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def ask_yes_no(label: str, who: str = WHO_BOXED) -> str:
    """The question whose answer the embedded VLM gives as "yes" or "no"."""
    return f"Does the {who} appear to feel {label}? Answer yes or no."


def ask_rating(label: str, who: str = WHO_BOXED) -> str:
    """The question whose answer the embedded VLM gives as a number from 0 to 9."""
    return f"How strongly does the {who} appear to feel {label}? Answer with a number from 0 to 9."


def describe_scene(scene: Scene) -> str:
    """A plain caption: setting, occasion, and the clothes of the people from left to right."""
    number = ("One person", "Two people", "Three people")[len(scene.people) - 1]
    stands = "stands" if len(scene.people) == 1 else "stand"
    first = f"{number} {stands} {SETTING_PHRASES[scene.setting][0]}. {OCCASION_PHRASES[scene.occasion][0]}."
    worn = _enumerate([f"one wears {_article(describe_clothes(person))}" for person in scene.people])
    return f"{first} From left to right, {worn}."


def parse_description(text: str) -> dict[str, str | None]:
    """The "setting", "occasion", "item", "expression", "pose" and "clothes" in a description.

    None for what it does not mention. If a text mentions several, the first counts. The text is read up to
    where the emotions begin.
    """
    factual = text
    for conclusion in _CONCLUSIONS:
        factual = factual.partition(conclusion)[0]
    return {
        "setting": _first(factual, {name: (cue,) for name, cue in _SETTING_CUES.items()}),
        "occasion": _first(factual, _OCCASION_CUES),
        "item": _first(factual, {name: (phrase,) for name, phrase in ITEM_PHRASES.items()}),
        "expression": _first(factual, _EXPRESSION_CUES),
        "pose": _first(factual, _POSE_CUES),
        "clothes": _between(factual, ("wears a ", "wears an "), " and stands"),
    }


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
