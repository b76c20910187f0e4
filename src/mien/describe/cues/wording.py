"""The sentences of a scene: only what was found, and with a hedge where a score is low.

Everyone is "they", because no model here tells who someone is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from mien.describe.cues.coco import count_noun, join_words, number_word
from mien.describe.cues.expression import Expression
from mien.describe.cues.geometry import Depth, Edges, Nearness, Relation, area
from mien.describe.cues.posture import Posture
from mien.describe.cues.scene import Face, Neighbor, Portrait, Scene

__all__ = ["WORDING_VERSION", "describe_scene"]

# Raise this when the same models give another text: by other words, limits or reading of their outputs.
WORDING_VERSION: Final = 1

_BOXED: Final = "the person in the red box"  # as prompts call the subject
_MAIN: Final = "the main person"

_UNSURE: Final = 0.5  # scores below get a hedge
_LIKELY: Final = 0.75  # probabilities from here on are stated plainly, from `_UNSURE` on as probable
_MAX_NAMED: Final = 3  # other people who are described one by one
# Of the image.
_LARGE: Final = 0.4
_MEDIUM: Final = 0.12
_SMALL: Final = 0.03
_LEFT: Final = 0.38
_RIGHT: Final = 0.62

_DEPTHS: Final[Mapping[Depth, str]] = {
    "front": "{} in front of them",
    "same": "{} them",
    "behind": "{} behind them",
}
_NEXT_TO: Final[Mapping[Nearness, str]] = {
    "touching": "right next to",
    "close": "close to",
    "apart": "at some distance from",
    "far": "far from",
}
_NEARNESS: Final[Mapping[Nearness, str]] = {
    "touching": "right",
    "close": "close",
    "apart": "at some distance",
    "far": "far",
}
_ANYWHERE: Final[tuple[Nearness, ...]] = ("touching", "close", "apart", "far")
_GROUPS: Final[Sequence[tuple[str, tuple[Nearness, ...]]]] = (
    ("Right by them", ("touching",)),
    ("Close to them", ("close",)),
    ("Elsewhere in the image", ("apart", "far")),
)


def describe_scene(scene: Scene, *, boxed_name: bool = True) -> str:
    """The text about a scene.

    Args:
        scene: What was found.
        boxed_name: Whether a subject with a box is called the person in the red box.
    """
    subject = scene.subject
    if subject is None:
        return " ".join(["No person was found in the image.", *_things(scene.things, is_placed=False)])
    name = _BOXED if subject.is_boxed and boxed_name else _MAIN
    where = "in the red box" if name == _BOXED else "at the marked place"
    sentences = [
        *_presence(subject, name, where, scene.size),
        *_face(subject, reads_faces=scene.reads_faces),
        *_posture(subject, reads_postures=scene.reads_postures),
        *_company(scene.people),
        *_things(scene.things, is_placed=True),
    ]
    return " ".join(sentences)


# --- The subject ---------------------------------------------------------------------------------------


def _presence(subject: Portrait, name: str, where: str, size: tuple[int, int]) -> list[str]:
    place = _place(subject.box, size)
    if subject.score is None:
        seen = "only a face was found" if subject.face is not None else "no person was found"
        return [f"{_capitalize(seen)} {where}, which is {place}."]
    seen = "is" if subject.score >= _UNSURE else "is hard to make out, and is"
    return [f"{_capitalize(name)} {seen} {place}."]


def _capitalize(text: str) -> str:
    return text[0].upper() + text[1:]


def _place(box: Edges, size: tuple[int, int]) -> str:
    share = area(box) / (size[0] * size[1])
    middle = (box[0] + box[2]) / 2 / size[0]
    side = "on the left" if middle < _LEFT else "on the right" if middle > _RIGHT else "in the middle"
    if share >= _LARGE:
        return "close up, and fills much of the image"
    how = "large" if share >= _MEDIUM else "of medium size" if share >= _SMALL else "small"
    return f"{how}, {side} of the image"


def _face(subject: Portrait, *, reads_faces: bool) -> list[str]:
    if subject.face is not None:
        return [f"Their face {_look(subject.face)}."]
    return ["Their face was not found."] if reads_faces and subject.score is not None else []


def _look(face: Face) -> str:
    """How a face looks, as a predicate."""
    if face.is_small:
        return "is too small to read"
    return "can be seen" if face.expression is None else _expression(face.expression)


def _expression(expression: Expression) -> str:
    if expression.first_probability >= _LIKELY:
        return f"looks {expression.first}"
    if expression.first_probability >= _UNSURE:
        return f"probably looks {expression.first}, or else {expression.second}"
    return f"may look {expression.first} or {expression.second}"


def _posture(subject: Portrait, *, reads_postures: bool) -> list[str]:
    if not reads_postures or subject.score is None:
        return []
    posture = subject.posture
    if posture is None or not (posture.stance or posture.details):
        return ["Their posture cannot be made out."]
    return [f"They {_hold(posture)}."]


def _hold(posture: Posture) -> str:
    details = join_words(list(posture.details))
    if posture.stance is None:
        return f"{'have' if posture.is_sure else 'seem to have'} {details}"
    stance = posture.stance if posture.is_sure else f"seem to {posture.stance}"
    return f"{stance} with {details}" if details else stance


# --- Around --------------------------------------------------------------------------------------------


def _company(people: Sequence[Neighbor]) -> list[str]:
    if not people:
        return ["No one else was found."]
    named = [f"{_where(one.relation)}{_with_face(one.face)}" for one in people[:_MAX_NAMED]]
    sure = sum(one.found.score >= _UNSURE for one in people)
    if len(people) == 1:
        return [f"{'One' if sure else 'Perhaps one'} other person is {named[0]}."]
    counted = f"{number_word(sure)} other {'person' if sure == 1 else 'people'}" if sure else ""
    if sure < len(people):
        unsure = number_word(len(people) - sure)
        counted = f"{counted}, and perhaps {unsure} more" if sure else f"perhaps {unsure} other people"
    nearest = "; ".join(f"one is {place}" for place in named)
    start = nearest[0].upper() if len(named) == len(people) else "Of the nearest, o"
    return [f"There {'is' if sure == 1 else 'are'} {counted}.", f"{start}{nearest[1:]}."]


def _where(relation: Relation) -> str:
    words = _NEXT_TO if relation.depth == "same" else _NEARNESS
    place = _DEPTHS[relation.depth].format(words[relation.nearness])
    return place if relation.side == "same" else f"{place} on the {relation.side}"


def _with_face(face: Face | None) -> str:
    return "" if face is None or face.is_small else f", with a face that {_look(face)}"


def _things(things: Sequence[Neighbor], *, is_placed: bool) -> list[str]:
    if not things:
        return ["No other objects were found."]
    sentences = []
    for where, kinds in _GROUPS if is_placed else [("In the image", _ANYWHERE)]:
        here = [one for one in things if one.relation.nearness in kinds]
        if here:
            names = [_count_things(here, name) for name in dict.fromkeys(one.found.name for one in here)]
            is_one = len(here) == 1
            sentences.append(f"{where} {'is' if is_one else 'are'} {join_words(names)}.")
    return sentences


def _count_things(things: Sequence[Neighbor], name: str) -> str:
    scores = [one.found.score for one in things if one.found.name == name]
    sure = sum(score >= _UNSURE for score in scores)
    if not sure:
        return f"perhaps {count_noun(name, len(scores))}"
    return f"{'at least ' if sure < len(scores) else ''}{count_noun(name, sure)}"
