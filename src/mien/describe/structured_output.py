"""Parses replies that are JSON: a score from 0 to 1 for each label.

Tolerated, because it changes no score: text and a Markdown fence around the object, commas before a closing
bracket, the case and the order of labels. Rejected: a label that is missing or named twice, and a value that
is not a number from 0 to 1. Labels that are not in the set are ignored with a warning.
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

__all__ = ["check_reply", "parse_scores"]

_log = logging.getLogger(__name__)

_HINT: Final = "ask for one JSON object with a number from 0 to 1 for every label"
_MAX_SHOWN: Final = 60  # characters of a reply in a message
_TRAILING_COMMA: Final = re.compile(r",(?=\s*[}\]])")


def parse_scores(text: str, label_set: LabelSet) -> dict[str, float]:
    """The scores in a reply, by label in the order of the set; DataError if a score is missing or invalid."""
    label_of = {label.casefold(): label for label in label_set.labels}
    scores: dict[str, float] = {}
    unknown = []
    for key, value in _parse_object(text):
        label = label_of.get(key.strip().casefold())
        if label is None:
            unknown.append(key)
        elif label in scores:
            raise _error(f"scores {label!r} twice")
        else:
            scores[label] = _parse_score(label, value)
    missing = [label for label in label_set.labels if label not in scores]
    if missing:
        but = f", and scores {_join(unknown)}, which the label set does not have" if unknown else ""
        raise _error(f"has no score for {_join(missing)}{but}")
    if unknown:
        _log.warning("ignored scores for %s, which the label set does not have", _join(unknown))
    return {label: scores[label] for label in label_set.labels}


def check_reply(result: Reply | EngineError, prompt: Prompt, label_set: LabelSet) -> Reply | EngineError:
    """The reply unchanged, or an error if it does not have the format that the prompt asks for.

    The error is not retryable, because the same request gets the same reply.
    """
    if prompt.reply_format == "text" or isinstance(result, EngineError):
        return result
    try:
        parse_scores(result.text, label_set)
    except DataError as error:
        if result.finish == "length":
            reason = f"{error}; it was cut off at the length limit"
            return EngineError(reason, hint="raise max_new_tokens in [describe]")
        return EngineError(str(error), hint=error.hint)
    return result


def _parse_object(text: str) -> list[tuple[str, Any]]:
    """The keys and values of the one JSON object in a text, repeated keys included."""
    start, end = text.find("{"), text.rfind("}")
    if not 0 <= start < end:
        raise _error(f"has no complete JSON object: {text.strip()[:_MAX_SHOWN]!r}")
    body = text[start : end + 1]
    try:
        found = json.loads(_TRAILING_COMMA.sub("", body), object_pairs_hook=_Pairs)
    except (ValueError, RecursionError) as error:
        raise _error(f"is not JSON ({error}): {body[:_MAX_SHOWN]!r}") from error
    return list(found)


class _Pairs(list[tuple[str, Any]]):
    """An object as pairs, so that repeated keys are not lost."""


def _parse_score(label: str, value: object) -> float:
    # In Python a bool is an int, but it is not a score.
    if isinstance(value, bool) or not isinstance(value, int | float):
        shown = "a list or an object" if isinstance(value, list) else repr(value)[:_MAX_SHOWN]
        raise _error(f"scores {label!r} with {shown}, which is not a number")
    # NaN fails this comparison, so it is rejected as well.
    if not 0 <= value <= 1:
        raise _error(f"scores {label!r} with {str(value)[:_MAX_SHOWN]}, which is not from 0 to 1")
    return float(value)


def _join(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(repr(name[:_MAX_SHOWN]) for name in names[:3]) + more


def _error(what: str) -> DataError:
    return DataError(f"the reply {what}", hint=_HINT)
