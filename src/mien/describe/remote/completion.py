"""Reads a chat completion, in the many forms that servers give it.

Only what a description needs is read. Anything else may be missing, null, or of another type: it must not
cost a good answer.
"""

from __future__ import annotations

import gzip
import io
import json
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

__all__ = ["Completion", "End", "NotACompletionError", "decode_json", "name_content", "read_completion"]

_MAX_BYTES: Final = 4 * 2**20
# How a text ended. Other: for no reason that allows to use it.
End = Literal["stop", "length", "refusal", "tool", "unknown", "other"]


class NotACompletionError(Exception):
    """A response is not a chat completion; the message says what it is instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """What a description needs of a completion.

    Attributes:
        text: the answer.
        reasoning_field: the field that holds reasoning next to the answer; "" if there is none.
        end: how the answer ended.
        reason: the server's word for it.
        refusal: why the answer was withheld; "" if it was not.
        model: the model that answered, as the server names it; "" if it does not.
        num_tokens: length of the answer, reasoning included; None if the server does not say.
        prompt_tokens: length of the question, images included; None if the server does not say.
        error: an error inside of the choice.
        first_words: the likeliest first words with their log-probabilities, if the server was asked.
    """

    text: str
    reasoning_field: str
    end: End
    reason: str
    refusal: str
    model: str
    num_tokens: float | None
    prompt_tokens: float | None
    error: Any
    first_words: tuple[tuple[str, float], ...] = ()


# --- JSON ---


def decode_json(content: bytes) -> Any:
    """The JSON value of a body in any Unicode encoding, also compressed without saying so.

    Raises:
        NotACompletionError: it is not JSON.
    """
    if content[:2] == b"\x1f\x8b":
        content = _decompress(content)
    try:
        return json.loads(content.lstrip() if content[:1] in b" \r\n\t" else content)
    except UnicodeDecodeError:
        try:  # a broken character within a text does not break the answer
            return json.loads(content.decode("utf-8-sig", errors="replace"))
        except (ValueError, RecursionError) as error:
            raise NotACompletionError(f"{name_content(content)} instead of JSON") from error
    except (ValueError, RecursionError):
        raise NotACompletionError(f"{name_content(content)} instead of JSON") from None


def _decompress(content: bytes) -> bytes:
    try:
        with gzip.open(io.BytesIO(content)) as stream:
            return stream.read(_MAX_BYTES)
    except (OSError, EOFError, zlib.error):
        return content


def name_content(content: bytes) -> str:
    """What a body is that is not JSON, in words."""
    start = content[:100_000].decode(errors="replace").lstrip("\ufeff \r\n\t")
    lowered = start[:2_000].lower()
    if not start:
        return "an empty response"
    if lowered.startswith(("<!doctype html", "<html", "<head", "<body", "<script", "<p", "<title")) or (
        lowered.startswith("<") and "<html" in lowered
    ):
        title = re.search(r"<title[^>]{0,200}>([^<]{0,200})", start, re.IGNORECASE)
        name = f" titled {' '.join(title[1].split())!r}" if title and title[1].strip() else ""
        return f"a web page{name}"
    if re.match(r"(data|event|id|retry)?:", start):
        return "a stream of events"
    if lowered.startswith("<"):
        return "XML"
    if start[0] in "{[":
        return "several JSON values (a stream)" if _is_stream(start) else "incomplete JSON"
    is_text = sum(not one.isprintable() and one not in "\r\n\t" for one in start[:200]) < 5
    return "text" if is_text else "binary data"


def _is_stream(start: str) -> bool:
    try:
        json.JSONDecoder().raw_decode(start)
    except (ValueError, RecursionError):
        return False
    return True


# --- Completions ---


def read_completion(value: Any) -> Completion:
    """What a completion says.

    Raises:
        NotACompletionError: there is no choice in it.
    """
    choice = _first_choice(value)
    message = choice.get("message")
    if not isinstance(message, dict):
        if isinstance(choice.get("delta"), dict):
            raise NotACompletionError("a part of a stream instead of a chat completion")
        message = {"content": choice.get("text") if message is None else message}
    text, refused = _text(message.get("content"))
    reason = _reason(choice)
    return Completion(
        text=text,
        reasoning_field=_reasoning_field(message),
        end=_end(reason),
        reason=reason,
        refusal=_string(message.get("refusal")) or refused,
        model=_string(value.get("model")),
        num_tokens=_num_tokens(value.get("usage"), "completion_tokens", "output_tokens"),
        prompt_tokens=_num_tokens(value.get("usage"), "prompt_tokens", "input_tokens"),
        error=choice.get("error") or message.get("error"),
        first_words=_first_words(choice.get("logprobs")),
    )


def _first_choice(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        kind = {list: "a list", str: "a text", type(None): "null"}.get(type(value), "a number")
        raise NotACompletionError(f"{kind} instead of a chat completion")
    choices = value.get("choices")
    if isinstance(choices, dict):
        choices = [choices]
    if not isinstance(choices, list):
        raise NotACompletionError("a response without 'choices'")
    choice = next((choice for choice in choices if isinstance(choice, dict)), None)
    if choice is None:
        raise NotACompletionError("a response whose 'choices' are empty")
    return choice


_REASONING_PARTS: Final = (
    "thinking",
    "reasoning",
    "redacted_thinking",
    "reasoning_content",
    "thought",
    "analysis",
)
_REASONING_FIELDS: Final = (
    *("reasoning_content", "reasoning", "reasoning_text", "thinking", "thinking_content", "thinking_blocks"),
    *("reasoning_details", "thought"),
)


def _text(content: Any) -> tuple[str, str]:
    """The text of a message's content, which may be a list of parts; and a refusal among them."""
    if isinstance(content, str):
        return content, ""
    if isinstance(content, dict):
        content = content.get("parts", [content])
    if not isinstance(content, list):
        return "", ""
    texts, refusals = [], []
    for part in content:
        if isinstance(part, str):
            texts.append(part)
        elif isinstance(part, dict):
            kind = _string(part.get("type")).lower()
            if kind == "refusal":
                refusals.append(_string(part.get("refusal")) or _string(part.get("text")))
            elif kind not in _REASONING_PARTS and part.get("thought") is not True:
                texts.append(_part_text(part.get("text", part.get("content"))))
    return "".join(texts), " ".join(refusals)


def _part_text(text: Any) -> str:
    return _string(text.get("value")) if isinstance(text, dict) else _string(text)


def _reasoning_field(message: Mapping[str, Any]) -> str:
    return next((name for name in _REASONING_FIELDS if message.get(name)), "")


def _num_tokens(usage: Any, *names: str) -> float | None:
    if not isinstance(usage, dict):
        return None
    for name in names:
        count = usage.get(name)
        if isinstance(count, str):
            count = float(count) if re.fullmatch(r"\d{1,12}(\.\d{1,12})?", count.strip()) else None
        if isinstance(count, int | float) and not isinstance(count, bool):
            return count
    return None


def _first_words(value: Any) -> tuple[tuple[str, float], ...]:
    """The alternatives to the first token that is not blank, each a text and a log-probability."""
    tokens = value.get("content") if isinstance(value, dict) else None
    for token in tokens if isinstance(tokens, list) else ():
        if isinstance(token, dict) and _string(token.get("token")).strip():
            alternatives = token.get("top_logprobs")
            found = alternatives if isinstance(alternatives, list) and alternatives else [token]
            return tuple(
                (_string(one.get("token")), float(one["logprob"]))
                for one in found
                if isinstance(one, dict) and _is_log_probability(one.get("logprob"))
            )
    return ()


def _is_log_probability(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value <= 1e-3


def _string(value: Any) -> str:
    return value if isinstance(value, str) else ""


# --- How a text ended ---

_ENDS: Final[tuple[tuple[End, str], ...]] = (
    (
        "stop",
        r"(end_of_)?(stop|eos|eot|turn)(_(token|sequence|string|word|found|id|token_id))*|end(_?turn|ed)?|complete(d)?|"
        r"done|finish(ed)?|normal|success|stopped",
    ),
    (
        "length",
        r"(max|model|token|context|output|completion|text)?_?(new_|output_|completion_|context_|model_|input_)*"
        r"(length|limit|tokens?|window)(_(length|limit|exceeded|reached|window|tokens?))*|"
        r"truncated|too_long|incomplete|cut_?off|limit_reached|model_context_window_exceeded",
    ),
    (
        "refusal",
        r".*(filter|refus|safety|moderat|prohibit|block|recitation|spii|sensitive|guardrail|policy|violat).*|risk",
    ),
    ("tool", r"(tool|function)_?(calls?|use)?|malformed_function_call"),
    ("unknown", r"(null|none|unknown|unspecified|undefined|other)?"),
)


def _reason(choice: Mapping[str, Any]) -> str:
    for name in ("finish_reason", "finishReason", "stop_reason", "done_reason"):
        reason = choice.get(name)
        if isinstance(reason, dict):
            reason = reason.get("type")
        if isinstance(reason, str):
            return reason
    return ""


def _end(reason: str) -> End:
    # maxTokens, MAX-TOKENS and FINISH_REASON_MAX_TOKENS are max_tokens.
    word = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", reason.strip()[:100])
    word = re.sub(r"[\s.:-]+", "_", word).lower().removeprefix("finish_reason_")
    return next((end for end, pattern in _ENDS if re.fullmatch(pattern, word)), "other")
