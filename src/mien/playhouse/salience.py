"""Which of all that is seen gets said: the most salient details, as people and VLMs choose them.

A paragraph leaves most of an image unsaid. It names who and where, what is going on, and the face; of the
other details it says the few that catch the eye, whether or not they matter for the emotions. A slight
expression passes for a neutral one.
"""

from dataclasses import dataclass, replace
from typing import Final

from mien.playhouse.rules import Observation
from mien.playhouse.scene import Scene
from mien.playhouse.situations import NOTHING

__all__ = ["NUM_DETAILS", "Mention", "mention"]

NUM_DETAILS: Final = 3

# The larger, the more salient; details without a value are never said.
_SALIENCE: Final = {
    "role shouting": 3.2,
    "role shouted_at": 3.1,
    "role cheering": 2.9,
    "role comforting": 2.8,
    "role comforted": 2.7,
    "pose raised": 2.6,
    "pose head": 2.5,
    "weather snow": 2.0,
    "pose pointing": 1.9,
    "weather rain": 1.8,
    "age child": 1.7,
    "light night": 1.6,
    "age old": 1.5,
    "sign tears": 1.4,
    "role accompanied": 1.3,
    "pose crossed": 1.2,
    "pose hips": 1.1,
    "role alone": 1.0,
    "tilt bowed": 0.9,
    "sign blush": 0.8,
    "gaze down": 0.7,
    "sign sweat": 0.6,
    "closeness close": 0.5,
    "light dusk": 0.4,
    "pose hanging": 0.3,
    "gaze neighbor": 0.2,
}
_ITEM_SALIENCE: Final = {
    "suitcase": 2.8,
    "umbrella": 2.7,
    "cake": 2.4,
    "crutch": 2.3,
    "trophy": 2.2,
    "flowers": 2.1,
    "teddy": 2.05,
    "gift": 1.95,
    "ball": 1.85,
    "photograph": 1.75,
    "broken_vase": 1.65,
    "book": 1.45,
    "diploma": 1.25,
    "candle": 1.05,
    "letter": 0.95,
    "phone": 0.85,
    "medicine": 0.75,
    "wallet": 0.65,
    "ticket": 0.55,
    "ring": 0.45,
    "key": 0.35,
}
_LOOKS_NEUTRAL: Final = ("smiling", "crying", "scowling", "gaping")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mention:
    """What a description says of a person.

    Attributes:
        observation: What is said; everything unsaid is left out, so that emotions can be argued from it.
        details: The cues that are said, and "item", from the most to the least salient.
    """

    observation: Observation
    details: tuple[str, ...]


def mention(scene: Scene, seen: Observation) -> Mention:
    """Selects what a description of the scene's subject says of all that is seen."""
    ranked = {cue: _SALIENCE[cue] for cue in seen.cues if cue in _SALIENCE}
    if scene.person.item != NOTHING:
        ranked["item"] = _ITEM_SALIENCE[scene.person.item]
    details = tuple(sorted(ranked, key=lambda name: -ranked[name])[:NUM_DETAILS])
    strength = scene.person.strength
    slight = strength == 1 and seen.expression in _LOOKS_NEUTRAL
    said = [cue for cue in details if cue != "item"]
    if strength == 3 and seen.expression in _LOOKS_NEUTRAL:
        said.append("strength 3")  # a strong expression is put into words, and a clear one is not
    return Mention(
        observation=replace(
            seen,
            situation=seen.situation if "item" in details else seen.situation._replace(item=NOTHING),
            expression="blank" if slight else seen.expression,
            cues=tuple(said),
        ),
        details=details,
    )
