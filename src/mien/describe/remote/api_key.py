"""The API key: read from the environment, sent to the servers, and kept out of everything else.

A server may repeat the key that it got, whole or in part. So each text of a server is searched for it before
it is stored or shown.
"""

from __future__ import annotations

import base64
import html
import os
import re
import unicodedata
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Final
from urllib.parse import unquote

from mien.errors import EngineDownError

__all__ = ["ApiKey", "read_api_key"]

_FRAGMENT: Final = 8  # characters; a shorter part of a key is of no use to anyone
_MAX_LENGTH: Final = 4096
_MASK: Final = "***"
_NOT_SHOWN: Final = "(not shown, because it repeats the API key)"
# What people set for servers that want any key; these are words, not secrets.
_DUMMY_KEYS: Final = frozenset(
    {"not-needed", "notneeded", "no-key-required", "sk-no-key-required", "lm-studio", "token-abc123"}
    | {"placeholder", "anything", "not-required", "no-key-needed", "sk-no-key-needed"}
)
_MAX_ESCAPES: Final = 4  # one inside the other
_ESCAPE: Final = re.compile(r"\\(?:u\{?([0-9a-fA-F]{2,6})\}?|x([0-9a-fA-F]{2}))")


class ApiKey:
    """A key whose text is only in its `header`.

    Found in any text are the whole key and each part of 8 characters or more: in upper or lower case, with
    spaces or punctuation between its characters, backward, URL-encoded, escaped as in JSON or HTML, and as
    Base64 or hexadecimal digits. A key of fewer than 8 letters and digits is not searched for.
    """

    def __init__(self, value: str) -> None:
        self._value = value

    def __repr__(self) -> str:
        return f"ApiKey({_MASK})"

    @property
    def header(self) -> str:
        """The value of the header `Authorization`."""
        return f"Bearer {self._value}"

    def __reduce__(self) -> str:
        raise TypeError("a key is not written down")

    @cached_property
    def _patterns(self) -> tuple[_Fragments, ...]:
        """What to search for, in texts as they are and in their letters and digits alone."""
        folded = _fold(self._value)
        if len(folded) < _FRAGMENT or self._value.casefold() in _DUMMY_KEYS:
            return ()
        data = self._value.encode()
        # Where the key begins within a group of three bytes determines its Base64.
        in_base64 = [
            _fold(base64.b64encode(bytes(offset) + data).decode().rstrip("=")[(0, 2, 3)[offset] : -1])
            for offset in range(3)
        ]
        return (
            _Fragments(_lower, _FRAGMENT, [self._value.lower()]),
            _Fragments(_fold, _FRAGMENT, [folded, folded[::-1]]),
            _Fragments(_fold, _FRAGMENT * 4 // 3 + 1, in_base64),
            _Fragments(_fold, _FRAGMENT * 2, [data.hex()]),
        )

    def is_in(self, text: str) -> bool:
        """Whether a text holds the key or a part of it."""
        for _ in range(_MAX_ESCAPES if self._patterns else 0):
            if self._may_be_in(text) and any(pattern.is_in(text) for pattern in self._patterns):
                return True
            unescaped = _unescape(text)
            if unescaped == text:
                return False
            text = unescaped
        return False

    def _may_be_in(self, text: str) -> bool:
        """False for nearly all texts, after one look at each place instead of one per pattern."""
        return any(
            not self._beginnings.isdisjoint(_parts(read, _FRAGMENT)) for read in {_lower(text), _fold(text)}
        )

    @cached_property
    def _beginnings(self) -> frozenset[str]:
        return frozenset(part[:_FRAGMENT] for pattern in self._patterns for part in pattern.parts)

    def redact(self, text: str) -> str:
        """The text with `***` in place of each part of the key."""
        if not self.is_in(text):
            return text
        for pattern in self._patterns:
            text = pattern.mask(text)
        return _NOT_SHOWN if self.is_in(text) else text


class _Fragments:
    """All parts of some texts with one length, and how a text is read when it is searched for them."""

    def __init__(self, read: Callable[[str], str], length: int, texts: Sequence[str]) -> None:
        self._read = read
        self._length = length
        self.parts = frozenset(part for text in texts for part in _parts(text, length))

    def is_in(self, text: str) -> bool:
        return not self.parts.isdisjoint(_parts(self._read(text), self._length))

    def mask(self, text: str) -> str:
        read = [(plain, place) for place, character in enumerate(text) for plain in self._read(character)]
        shown: list[str] = []
        end = 0
        plain_text = "".join(plain for plain, _ in read)
        for start in range(len(plain_text) - self._length + 1):
            if plain_text[start : start + self._length] in self.parts:
                first, last = read[start][1], read[start + self._length - 1][1]
                shown += [text[end:first], _MASK] if first > end or not shown else []
                end = last + 1
        return "".join([*shown, text[end:]])


def _parts(text: str, length: int) -> set[str]:
    return {text[start : start + length] for start in range(len(text) - length + 1)}


def _lower(text: str) -> str:
    return text.lower()


def _fold(text: str) -> str:
    """Lowercase letters and digits of a text."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    return "".join(filter(str.isalnum, text.casefold()))


def _unescape(text: str) -> str:
    def character(match: re.Match[str]) -> str:
        number = int(match[1] or match[2], 16)
        return chr(number) if number < 0x110000 else match[0]

    return _ESCAPE.sub(character, html.unescape(unquote(text)))


def read_api_key() -> ApiKey | None:
    """The key in MIEN_API_KEY, else in OPENAI_API_KEY; None if neither is set.

    Raises:
        EngineDownError: It cannot be a key. The message does not show it.
    """
    for name in ("MIEN_API_KEY", "OPENAI_API_KEY"):
        value = os.environ.get(name, "").strip()
        if value:
            problem = _problem(value)
            if problem:
                raise EngineDownError(
                    f"the API key in the environment ({name}) {problem}",
                    hint=f"set {name} again, to the key alone: without quotes, spaces or line breaks",
                )
            return ApiKey(value)
    return None


def _problem(key: str) -> str | None:
    if re.match(r"['\"]?(bearer|authorization)\b[\s:]", key, re.IGNORECASE):
        return "begins with 'Bearer', which is added automatically"
    if key[0] in "'\"`" or key[-1] in "'\"`":
        return "has quotes around it"
    if any(character.isspace() for character in key):
        return "contains spaces or line breaks"
    if not key.isascii() or not key.isprintable():
        return "contains characters that are not allowed in a key"
    return "is too long" if len(key) > _MAX_LENGTH else None
