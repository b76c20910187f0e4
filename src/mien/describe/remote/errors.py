"""What a server's error means: its own words, whether a retry may help, and what to do.

Servers put errors in different places and shapes: OpenAI, Azure, vLLM, SGLang, FastAPI, Ollama, llama.cpp, LM
Studio, Gemini, TGI, and gateways in front of them. What they say is quoted in part, in one line, without
control characters and without the API key.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from mien.describe.remote.api_key import ApiKey

__all__ = [
    "ChatError",
    "ErrorKind",
    "SentFields",
    "ServerError",
    "error_kind",
    "find_error",
    "hint_for",
    "quote",
]

# item: concerns this item, and a retry cannot help. server: a retry may help. slow: the same, after a time
# limit. busy: the same, but later. unreachable: no connection. rejected: the server accepts nothing as it is
# asked.
ErrorKind = Literal["item", "server", "slow", "busy", "unreachable", "rejected"]

_MAX_QUOTED: Final = 200  # characters of a server's message
_MAX_READ: Final = 4_000  # characters that are searched for the key before the rest is cut off


class ChatError(Exception):
    """A request that gave no description.

    Attributes:
        kind: what caused it, and whether a retry may help.
        hint: what the user can do.
        retry_after: the `Retry-After` header of the response, if any.
        is_refusal: whether the server withheld its answer because of the content.
    """

    def __init__(
        self,
        kind: ErrorKind,
        message: str,
        *,
        hint: str = "",
        retry_after: str | None = None,
        is_refusal: bool = False,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.hint = hint
        self.retry_after = retry_after
        self.is_refusal = is_refusal


def quote(text: str, key: ApiKey | None) -> str:
    """The beginning of a foreign text, in one line that is safe to show."""
    cut = text[:_MAX_READ]
    line = " ".join("".join(one if one.isprintable() else " " for one in cut).split())
    if key is not None:  # before it is cut off, which might leave half a key
        line = key.redact(line)
    return f"{line[:_MAX_QUOTED]}..." if len(line) > _MAX_QUOTED else line or "nothing"


# --- Finding an error ---


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerError:
    """An error as a server reports it.

    Attributes:
        words: what it says.
        status: the status code that it names, if it names one.
        names: other codes and types, in lowercase.
        field: the field of the request that it concerns, if it names one.
    """

    words: str
    status: int | None = None
    names: tuple[str, ...] = ()
    field: str | None = None

    def __post_init__(self) -> None:
        # Patterns are searched for in them; that time may grow with the square of their length.
        object.__setattr__(self, "words", self.words[:_MAX_READ])


_WORDS: Final = (
    "message",
    "msg",
    "detail",
    "error_description",
    "error",
    "errors",
    "title",
    "reason",
    "description",
)
_CODES: Final = ("code", "status", "status_code", "http_code", "type", "error_type")


def find_error(value: Any, depth: int = 0) -> ServerError | None:
    """The error in a JSON value, wherever a server puts it; None if there is none."""
    if isinstance(value, list):
        # Gemini wraps an error in one list; a hostile server in a thousand.
        inner_errors = (find_error(item, depth + 1) for item in value[:3] if depth < 4)
        return next((found for found in inner_errors if found is not None), None)
    if not isinstance(value, dict):
        return None
    for name in ("error", "errors", "detail"):
        inner = value.get(name)
        if inner:
            return None if _is_success(inner) else _server_error(inner, value)
    if value.get("object") == "error" or any(isinstance(value.get(name), str) for name in ("message", "msg")):
        return _server_error(value, value)
    if isinstance(value.get("error_message"), str):
        return _server_error(value["error_message"], value)
    return None


def _is_success(inner: Any) -> bool:
    """Whether an "error" says that there is none, as some gateways write."""
    if not isinstance(inner, dict):
        return isinstance(inner, str) and inner.strip().lower() in ("none", "null", "success", "ok")
    return inner.get("code") in (0, 200, "0", "200", "success") or not any(inner.values())


def _server_error(inner: Any, outer: dict[str, Any]) -> ServerError:
    tables = [table for table in (inner, outer) if isinstance(table, dict)]
    if isinstance(inner, list):
        tables = [*(item for item in inner[:3] if isinstance(item, dict)), *tables]
    codes = [code for table in tables for code in _codes(table)]
    statuses = [int(code) for code in codes if code.isdecimal() and 400 <= int(code[:6]) <= 599]
    field = next((table["param"] for table in tables if isinstance(table.get("param"), str)), None)
    if isinstance(inner, list) and field is None:
        field = next((item["loc"][-1] for item in tables if _has_location(item)), None)
    return ServerError(
        words=_words(inner),
        status=statuses[0] if statuses else None,
        names=tuple(code.lower() for code in codes if not code.isdecimal()),
        field=field,
    )


def _codes(table: dict[str, Any]) -> Iterator[str]:
    values = [table.get(name) for name in _CODES]
    inner = table.get("innererror") or table.get("metadata")
    values += [inner.get(name) for name in ("code", "error_type")] if isinstance(inner, dict) else []
    yield from (
        str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)[:100]
        for value in values
        if isinstance(value, str | int | float) and not isinstance(value, bool)
    )


def _has_location(item: dict[str, Any]) -> bool:
    location = item.get("loc")
    return isinstance(location, list) and bool(location) and isinstance(location[-1], str)


def _words(value: Any, depth: int = 0) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list) and value and depth < 4:
        return "; ".join(_words(item, depth + 1) for item in value[:3])
    if isinstance(value, dict) and depth < 4:
        location = value.get("loc")
        place = ".".join(map(str, location[:9])) + ": " if isinstance(location, list) else ""
        words = next((value[name] for name in _WORDS if value.get(name)), None)
        if words is not None:
            return place + _words(words, depth + 1)
    try:
        return json.dumps(value, ensure_ascii=False)
    except RecursionError:
        return "a deeply nested value"


# --- What it means ---

_KINDS: Final[Mapping[int, ErrorKind]] = {
    **dict.fromkeys((408, 409, 425), "server"),
    **dict.fromkeys((429, 503, 529), "busy"),
    **dict.fromkeys((401, 402, 403, 404, 405, 407, 410), "rejected"),
}
# In order: the first that occurs in a code or type of the error.
_NAMED_KINDS: Final[tuple[tuple[str, int], ...]] = (
    (r"insufficient_quota|insufficient_credit|billing|payment", 402),
    (r"rate.?limit|too.?many.?requests|resource.?exhausted|throttl", 429),
    (r"overload|unavailable|capacity", 503),
    (r"authenticat|unauthorized|api.?key", 401),
    (r"permission|forbidden", 403),
    (r"not.?found|unexpected.?endpoint", 404),
    (r"internal|server.?error|bad.?gateway|deadline|aborted", 500),
    (r"time.?out", 408),
    (r"invalid|bad.?request|unsupported|value.?error", 400),
)
_REFUSAL: Final = re.compile(
    r"content.?(filter|policy)|responsible.?ai|moderation|safety|sensitive", re.IGNORECASE
)
_UNKNOWN_PATH: Final = re.compile(r"unexpected endpoint|unknown (url|path|route)|no route", re.IGNORECASE)

_HINTS: Final[Mapping[int, str]] = {
    400: "the server refuses such requests: check [describe.options] and the model's context length",
    422: "leave out a field that the server does not know with describe.options.omit",
    413: "set describe.options.image_size, or image_format to jpeg",
    401: "set MIEN_API_KEY (or OPENAI_API_KEY) in the environment to a key that the server accepts",
    402: "add credit to the account",
    403: "set MIEN_API_KEY (or OPENAI_API_KEY) in the environment to a key that may use this model",
    404: "check that run.endpoints ends as the server's manual says (often /v1), and that the server has "
    "describe.model under exactly this name",
    407: "give the proxy's user and password in the variable that holds its address, or set "
    "run.use_proxies = false",
    429: "lower run.concurrency, or run again later",
}


def error_kind(status: int | None, error: ServerError | None) -> tuple[ErrorKind, int | None]:
    """What an error is about, by the status of the response or the one that the error names.

    Returns:
        The kind, and the status that decided it; an error that names no code is about its item.
    """
    code = status
    if error is not None:
        code = status or error.status
        named = next(
            (meant for pattern, meant in _NAMED_KINDS if any(re.search(pattern, one) for one in error.names)),
            None,
        )
        if _UNKNOWN_PATH.search(error.words):
            named = 404
        # A quota that is used up is reported with the status of a rate limit.
        if code is None or (code == 429 and named == 402) or (code == 400 and named == 401):
            code = named
    if code is None:
        return "item", None
    kind = _KINDS.get(code)
    if kind is None:
        kind = "server" if code >= 500 else "item" if code >= 400 else "rejected"
    return kind, code


def is_refusal(error: ServerError) -> bool:
    """Whether a server withheld its answer because of the content."""
    return any(_REFUSAL.search(name) for name in error.names)


# --- What to do ---


@dataclass(frozen=True, slots=True, kw_only=True)
class SentFields:
    """Names of the fields of a request, by the option that determines them.

    Attributes:
        limit: the field with the largest number of tokens.
        extra: fields from `describe.options.extra`.
        thinking: the field that turns reasoning on or off.
        others: fields that `describe.options.omit` leaves out.
    """

    limit: str
    extra: tuple[str, ...] = ()
    thinking: str = ""
    others: tuple[str, ...] = ()


_TOO_LONG: Final = re.compile(
    r"context.?(length|window|size)|maximum.*(context|prompt)|prompt.*too long|too many tokens|"
    r"input.*(too long|longer than)|exceeds.*(context|n_ctx|model.len)",
    re.IGNORECASE,
)
_TOO_LARGE: Final = re.compile(
    r"too (large|high|big|long)|at most|less than|exceed|maximum|up to", re.IGNORECASE
)
_NO_IMAGES: Final = re.compile(
    r"(image|vision|multi.?modal)\S*( input)?s?\b.*(not|n't) (support|accept|enabl)|"
    r"not (support|accept|a) ?.{0,20}(image|vision|multi.?modal)|not a multimodal|"
    r"mmproj|unknown variant .?image_url",
    re.IGNORECASE,
)


def hint_for(status: int | None, error: ServerError | None, sent: SentFields) -> tuple[str, bool]:
    """What to do about an error, and whether every request of this run will meet it."""
    if error is not None and status in (400, 404, 415, 422, 500, None):
        found = _field_hint(error, sent)
        if found:
            return found, status in (400, 422, None)
        if _TOO_LONG.search(error.words):
            return (
                "lower describe.max_new_tokens, set describe.options.image_size to send smaller images, or "
                "start the server with a longer context",
                False,
            )
        if _NO_IMAGES.search(error.words):
            return "set describe.model to a vision-language model that the server has with image input", False
    if status is not None and 300 <= status < 400:
        return "set run.endpoints to the target of the redirect, or log in where it leads", False
    return _HINTS.get(status or 0, ""), False


def _field_hint(error: ServerError, sent: SentFields) -> str:
    """The option, with its value, that leaves out or renames a field that the error names."""
    named = _named_field(error, (sent.limit, sent.thinking, *sent.extra, *sent.others))
    if named is None or _TOO_LONG.search(error.words):
        return ""
    if named == sent.limit:
        return _limit_hint(named, error)
    if named == sent.thinking:
        return "remove describe.options.thinking; this server has another switch, for describe.options.extra"
    if named in sent.extra:
        return f"remove {named} from describe.options.extra"
    return f'set describe.options.omit = ["{named}"] to leave the field out'


def _limit_hint(named: str, error: ServerError) -> str:
    other = "max_tokens" if named == "max_completion_tokens" else "max_completion_tokens"
    if re.search(rf"\b{other}\b", error.words):
        return f'set describe.options.limit = "{other}"'
    if _TOO_LARGE.search(error.words):
        return "lower describe.max_new_tokens"
    return f'set describe.options.limit = "{other}", or describe.options.omit = ["{named}"]'


def _named_field(error: ServerError, names: tuple[str, ...]) -> str | None:
    known = sorted(filter(None, names), key=len, reverse=True)
    if error.field is not None:
        last = re.split(r"[.\[\]/]", error.field)
        return next((name for name in known if name in last), None)
    words = error.words
    # A name that is also a plain word counts only if it looks like a name.
    return next(
        (
            name
            for name in known
            if re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", words)
            and (
                "_" in name
                or name in ("temperature", "seed")
                or re.search(rf"[`'\".]{re.escape(name)}\b", words)
            )
        ),
        None,
    )
