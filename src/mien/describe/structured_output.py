"""Reads answers that are JSON: a score from 0 to 1 for each label.

Goes in: the text of an answer, a label set. Comes out: scores in the set's order, or what is wrong.
Knows nothing about: engines, stores, what is done with the scores; the text itself is kept as it came.

Forgiven, because it changes no score: words and a Markdown fence around the object, commas before a
closing bracket, the case of a label, the order of the labels. Refused: anything that leaves a score
open, such as a label that is missing or named twice, or a value that is no number from 0 to 1. A label
that was not asked for is left out, with a word in the log.
"""

from __future__ import annotations

import json
import logging
import re
from typing import Any, Final

from mien.describe.engine import Reply
from mien.describe.prompts import Prompt
from mien.errors import DataError, EngineError
from mien.labels import LabelSet

__all__ = ["checked", "read_scores"]

_log = logging.getLogger(__name__)

_HINT: Final = "ask for one JSON object with a number from 0 to 1 for every label"
_SHOWN: Final = 60
_LAST_COMMA: Final = re.compile(r",(?=\s*[}\]])")


def read_scores(text: str, label_set: LabelSet) -> dict[str, float]:
    """The scores of an answer, one for each label, in the set's order; DataError where it has none."""
    found = _object(text)
    by_folded = {label.casefold(): label for label in label_set.labels}
    scores: dict[str, float] = {}
    unknown = []
    for key, value in found:
        label = by_folded.get(key.strip().casefold())
        if label is None:
            unknown.append(key)
        elif label in scores:
            raise _error(f"scores {label!r} twice")
        else:
            scores[label] = _score(label, value)
    missing = [label for label in label_set.labels if label not in scores]
    if missing:
        but = f", and scores {_list(unknown)}, which was not asked for" if unknown else ""
        raise _error(f"has no score for {_list(missing)}{but}")
    if unknown:
        _log.warning("an answer also scores %s, which was not asked for; left out", _list(unknown))
    return {label: scores[label] for label in label_set.labels}


def checked(result: Reply | EngineError, prompt: Prompt, label_set: LabelSet) -> Reply | EngineError:
    """The reply as it is, or in its place the error that it is not the kind of answer the prompt asks for.

    Asking again would bring the same answer, so the error says that it is of no use.
    """
    if prompt.answer == "words" or isinstance(result, EngineError):
        return result
    try:
        read_scores(result.text, label_set)
    except DataError as error:
        if result.finish == "length":
            reason = f"{error}; it was cut at the limit on its length"
            return EngineError(reason, hint="raise max_new_tokens in [describe]")
        return EngineError(str(error), hint=error.hint)
    return result


def _object(text: str) -> list[tuple[str, Any]]:
    """The keys and values of the one JSON object in a text, also those that come twice."""
    start, end = text.find("{"), text.rfind("}")
    if not 0 <= start < end:
        raise _error(f"holds no whole JSON object: {text.strip()[:_SHOWN]!r}")
    body = text[start : end + 1]
    try:
        found = json.loads(_LAST_COMMA.sub("", body), object_pairs_hook=_Pairs)
    except (ValueError, RecursionError) as error:
        raise _error(f"is not JSON ({error}): {body[:_SHOWN]!r}") from error
    return list(found)


class _Pairs(list[tuple[str, Any]]):
    """An object as pairs, so that a key that comes twice is seen."""


def _score(label: str, value: object) -> float:
    # A bool is an int to Python, and no score to anybody.
    if isinstance(value, bool) or not isinstance(value, int | float):
        shown = "a list or an object" if isinstance(value, list) else repr(value)[:_SHOWN]
        raise _error(f"scores {label!r} with {shown}, which is no number")
    # Written so that NaN, which compares false with everything, is refused as well.
    if not 0 <= value <= 1:
        raise _error(f"scores {label!r} with {str(value)[:_SHOWN]}, which is not from 0 to 1")
    return float(value)


def _list(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(repr(name[:_SHOWN]) for name in names[:3]) + more


def _error(what: str) -> DataError:
    return DataError(f"the answer {what}", hint=_HINT)
