"""The 80 classes of COCO in the order of detectors trained on it, as nouns in a sentence."""

from __future__ import annotations

from typing import Final

__all__ = ["CLASSES", "count_noun", "join_words", "number_word"]

CLASSES: Final = (
    *("person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat"),
    *("traffic light", "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog", "horse"),
    *("sheep", "cow", "elephant", "bear", "zebra", "giraffe", "backpack", "umbrella", "handbag", "tie"),
    *("suitcase", "frisbee", "pair of skis", "snowboard", "ball", "kite", "baseball bat", "baseball glove"),
    *("skateboard", "surfboard", "tennis racket", "bottle", "wine glass", "cup", "fork", "knife", "spoon"),
    *("bowl", "banana", "apple", "sandwich", "orange", "piece of broccoli", "carrot", "hot dog", "pizza"),
    *("donut", "cake", "chair", "couch", "potted plant", "bed", "dining table", "toilet", "TV", "laptop"),
    *("computer mouse", "remote control", "keyboard", "cell phone", "microwave", "oven", "toaster", "sink"),
    *("refrigerator", "book", "clock", "vase", "pair of scissors", "teddy bear", "hair dryer", "toothbrush"),
)
_PLURALS: Final = {
    "person": "people",
    "sheep": "sheep",
    "knife": "knives",
    "toothbrush": "toothbrushes",
    "computer mouse": "computer mice",
}
_NUMBERS: Final = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_MANY: Final = 10


def count_noun(noun: str, count: int) -> str:
    """A noun with its article or number: "a dog", "three dogs", "many dogs"."""
    if count == 1:
        return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"
    return f"{number_word(count)} {_plural(noun)}"


def number_word(count: int) -> str:
    """A number as a word; "many" beyond ten."""
    return _NUMBERS[count] if count <= _MANY else "many"


def join_words(parts: list[str]) -> str:
    """The parts of a list with commas and "and"."""
    return " and ".join([*([", ".join(parts[:-1])] if parts[:-1] else []), *parts[-1:]])


def _plural(noun: str) -> str:
    first, of, rest = noun.partition(" of ")
    if of:
        return f"{first}s{of}{rest}"
    if noun in _PLURALS:
        return _PLURALS[noun]
    return f"{noun}es" if noun.endswith(("s", "sh", "ch", "x")) else f"{noun}s"
