"""Separates what a model thought from what it answered; only the answer is a description.

Reasoning models write their reasoning between markers that differ by family. A closing marker alone counts,
because many chat templates open the reasoning themselves. An opening marker alone means that the text was cut
off within the reasoning, before any answer.
"""

from __future__ import annotations

import html
import re
from typing import Final

from pydantic import JsonValue

from mien.describe.engine import Reply
from mien.errors import EngineError

__all__ = ["THINKING_HINT", "is_reasoning_marker", "open_marker", "remove_reasoning", "thinking_switches"]

THINKING_HINT: Final = (
    "raise describe.max_new_tokens, or turn thinking off with describe.options.thinking = false"
)

_NAMES: Final = (
    r"think|thinking|thoughts?|reason|reasoning|reasoning_content|reflection|analysis|scratchpad|"
    r"chain_of_thought|cot|inner_monologue|redacted_thinking|redacted_reasoning|begin_of_thought|"
    r"end_of_thought|start_thinking|end_thinking|inner_prefix|inner_suffix|think_start|think_end"
)
_CLOSING_NAMES: Final = frozenset({"end_of_thought", "end_thinking", "inner_suffix", "think_end"})
# <think>, </THINK>, <seed:think>, <think time="3">, <|START_THINKING|>, [THINK], and Kimi's triangles.
_TAG: Final = re.compile(
    rf"""
    (?: \\?< \s{{0,4}} \|? | \[ | \u25c1 | <\uff5c )
    \s{{0,4}} (?P<slash>/?) \s{{0,4}} (?:\w{{1,20}}:)? (?P<name>{_NAMES})
    (?:\s [^<>\[\]]{{0,300}}? | \s{{0,4}})
    (?P<empty>/?) (?: \|? \\?> | \] | \u25b7 | \uff5c> )
    | (?P<details><details\b[^>]{{0,300}}\btype\s*=\s*["']?reasoning[^>]{{0,300}}>)
    | (?P<details_end></details\s*>)
    """,
    re.IGNORECASE | re.VERBOSE,
)
# In square brackets, these words may be part of a text.
_BRACKETED: Final = re.compile(r"\[\s*/?\s*(think|thinking|reasoning)\s*\]", re.IGNORECASE)

# gpt-oss (harmony): <|channel|>analysis<|message|>... and <|channel|>final<|message|>...
_CHANNEL: Final = re.compile(
    r"<\|channel\|>\s*(?P<name>\w+)[^<]*(?:<\|constrain\|>[^<]*)?<\|message\|>(?P<text>.*?)"
    r"(?=<\|(?:end|return|call|start|channel)\|>|\Z)",
    re.IGNORECASE | re.DOTALL,
)
_CHANNEL_MARK: Final = re.compile(r"<\|channel\|>", re.IGNORECASE)
# The same without its special tokens, as decoders print it.
_BARE_CHANNEL: Final = re.compile(r"(?:analysis|commentary)(?=[A-Z\"'\d])")
_BARE_FINAL: Final = re.compile(r"assistant\s*final(?=[^a-z]|\Z)")
# Gemma: <|channel>thought ... <channel|>
_GEMMA: Final = re.compile(r"<\|channel>\s*(?:thought|thinking|analysis)\b.*?(?:<channel\|>|\Z)", re.DOTALL)
_GEMMA_END: Final = "<channel|>"
# Granite writes plain words.
_GRANITE: Final = re.compile(
    r"\s*Here(?:'s| is) my (?:thought|thinking|reasoning) process\s*:", re.IGNORECASE
)
_GRANITE_END: Final = re.compile(r"\bHere(?:'s| is) my (?:response|answer)\s*:", re.IGNORECASE)

# What some models put around the answer that follows their reasoning.
_ANSWER: Final = re.compile(
    r"<\|?(?P<name>answer|response|final|final_answer|conclusion|output|solution|begin_of_solution|start_response)"
    r"\|?>(?P<text>.*?)(?:</(?P=name)>|<\|(?:end_of_solution|end_response)\|>|\Z)",
    re.IGNORECASE | re.DOTALL,
)
_MARKER_TOKEN: Final = re.compile(r"<\|(?:channel|message)\|>|<\|channel>|<channel\|>", re.IGNORECASE)


def remove_reasoning(reply: Reply) -> Reply | EngineError:
    """The reply without reasoning, or an error if nothing is left.

    A text without markers of reasoning is returned unchanged.
    """
    answer = _answer(reply.text)
    if answer == reply.text:
        return reply
    if answer is None:
        return EngineError(
            "the answer ended within its reasoning, before the description", hint=THINKING_HINT
        )
    if not answer.strip():
        return EngineError("the answer holds only reasoning and no description", hint=THINKING_HINT)
    return Reply(text=answer.strip(), finish=reply.finish, usage=reply.usage)


def is_reasoning_marker(token: str) -> bool:
    """Whether a special token marks reasoning; decoding must keep it."""
    return bool(_TAG.fullmatch(token.strip()) or _MARKER_TOKEN.fullmatch(token.strip()))


def open_marker(prompt: str) -> str:
    """The marker with which a prompt opens the reasoning that the model continues; "" if there is none."""
    end = prompt.rstrip()
    for match in _TAG.finditer(end, max(0, len(end) - 400)):
        if match.end() == len(end) and not _is_closing(match):
            return match[0]
    tail = re.search(
        r"<\|channel\|>\s*analysis\s*<\|message\|>\Z|<\|channel>\s*thought\Z", end, re.IGNORECASE
    )
    return f"{tail[0]}\n" if tail else ""


def thinking_switches(thinking: bool | None) -> dict[str, JsonValue]:
    """The variables of chat templates that turn reasoning on or off; templates ignore those of others."""
    # Qwen, GLM, SmolLM and Gemma read the first; DeepSeek, Granite and Kimi the second.
    return {} if thinking is None else {"enable_thinking": thinking, "thinking": thinking}


def _answer(text: str) -> str | None:
    """The text without reasoning; None if it ends within the reasoning."""
    answer: str | None = text
    for step in (_without_channels, _without_bare_channels, _without_gemma, _without_granite, _without_tags):
        answer = None if answer is None else step(answer)
    if answer is None or answer == text:
        return answer
    answers = [match["text"] for match in _ANSWER.finditer(answer)]
    return answers[-1] if answers else answer


def _without_channels(text: str) -> str | None:
    if not _CHANNEL_MARK.search(text):
        return text
    final = [match["text"].strip() for match in _CHANNEL.finditer(text) if match["name"].lower() == "final"]
    return " ".join(final) if final else None


def _without_bare_channels(text: str) -> str | None:
    if not _BARE_CHANNEL.match(text.lstrip()):
        return text
    ends = [match.end() for match in _BARE_FINAL.finditer(text)]
    return text[ends[-1] :] if ends else None


def _without_gemma(text: str) -> str | None:
    if "<|channel>" not in text and _GEMMA_END not in text:
        return text
    if text.rfind("<|channel>") > text.rfind(_GEMMA_END):
        return None
    kept = _GEMMA.sub(" ", text)
    return kept.rpartition(_GEMMA_END)[2]  # a closing marker alone


def _without_granite(text: str) -> str | None:
    if not _GRANITE.match(text):
        return text
    end = _GRANITE_END.search(text)
    return None if end is None else text[end.end() :]


def _without_tags(text: str) -> str | None:
    """Removes what is between tags, also nested ones; a closing tag alone ends reasoning from the start."""
    if "&lt;" in text and _TAG.search(html.unescape(text)):
        text = html.unescape(text)
    kept: list[str] = []
    open_names: list[str] = []
    start = 0
    for match in _TAG.finditer(text):
        if _is_plain(match, open_names):
            continue
        if not open_names:
            kept.append(text[start : match.start()])
            if _is_closing(match):
                kept.clear()
        if not match["empty"]:
            _follow(match, open_names)
        start = match.end()
    if not start:
        return text
    if open_names:
        return None
    kept.append(text[start:])
    return " ".join(part.strip() for part in kept if part.strip())


def _is_plain(match: re.Match[str], open_names: list[str]) -> bool:
    """Whether a match is part of a text: another word in brackets, or the end of other details."""
    if match["details_end"]:
        return "details" not in open_names
    return match[0].startswith("[") and not _BRACKETED.fullmatch(match[0])


def _follow(match: re.Match[str], open_names: list[str]) -> None:
    """Opens or closes an element; a closing tag of another spelling closes the innermost one."""
    name = _name(match)
    if not _is_closing(match):
        open_names.append(name)
    elif name in open_names:
        del open_names[len(open_names) - 1 - open_names[::-1].index(name) :]
    elif open_names:
        open_names.pop()


def _name(match: re.Match[str]) -> str:
    if match["details"] or match["details_end"]:
        return "details"
    name = match["name"].lower()
    for prefix in ("begin_of_", "end_of_", "start_", "end_"):
        name = name.removeprefix(prefix)
    return name


def _is_closing(match: re.Match[str]) -> bool:
    if match["details"] or match["details_end"]:
        return bool(match["details_end"])
    return bool(match["slash"]) or match["name"].lower() in _CLOSING_NAMES
