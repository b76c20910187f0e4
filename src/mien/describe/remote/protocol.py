"""What is sent to a chat-completions server, and what its answer means.

Goes in: a request, then a status and content. Comes out: content to send, then a reply or `ExchangeError`.
Knows nothing about: connections, endpoints, when to try again.

The server is a stranger: its answer may be anything. What it says of an error is quoted in part, in one
line, and without the key if it gives that away.
"""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from PIL import Image
from pydantic import BaseModel, Field, JsonValue, ValidationError

from mien.describe.engine import Reply, Request

__all__ = ["Encoding", "Exchange", "ExchangeError", "Kind", "is_same_model"]

# item: its own, trying again is of no use. server: trying again may help. busy: the same, later.
# away: it cannot be reached. shut: it lets nobody in with this key, model or address.
Kind = Literal["item", "server", "busy", "away", "shut"]

_KINDS: Final[Mapping[int, Kind]] = {
    **dict.fromkeys((408, 409, 425), "server"),
    **dict.fromkeys((429, 503, 529), "busy"),
    **dict.fromkeys((401, 402, 403, 404, 405, 410), "shut"),
}
_HINTS: Final[Mapping[int, str]] = {
    400: "the server refuses such requests: see [describe.options] and the model's context length",
    413: "set describe.options.image_size, or image_format to jpeg",
    401: "set MIEN_API_KEY (or OPENAI_API_KEY) in the environment to a key that the server takes",
    402: "the account has no credit",
    403: "the key may not use this model: set MIEN_API_KEY (or OPENAI_API_KEY) in the environment",
    404: "see whether run.endpoints ends as the server's manual says (often /v1), and whether it serves "
    "describe.model under this very name",
}
_CUT: Final = frozenset({"length", "max_tokens"})
_WITHHELD: Final = frozenset({"content_filter", "refusal", "safety"})
_ENDED: Final = frozenset({"stop", "eos", "eos_token", "end_turn", "stop_sequence"})
_MAX_QUOTED: Final = 200  # characters of what a server says


class ExchangeError(Exception):
    """An exchange that gave no description: whose fault it is, and the wait that the server asks for."""

    def __init__(self, kind: Kind, message: str, *, hint: str = "", retry_after: str | None = None) -> None:
        super().__init__(message)
        self.kind = kind
        self.hint = hint
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """How pictures travel: PNG whole, JPEG smaller. Colour is never thinned out, or red boxes would blur."""

    format: Literal["png", "jpeg"] = "png"
    quality: int = 95

    def identity(self) -> Mapping[str, JsonValue]:
        """What of this changes the pixels that arrive."""
        return {"format": "png"} if self.format == "png" else {"format": "jpeg", "quality": self.quality}

    def url(self, image: Image.Image) -> str:
        """The picture as a data URL; ExchangeError if it has no such form."""
        stream = io.BytesIO()
        how = {"compress_level": 1} if self.format == "png" else {"quality": self.quality, "subsampling": 0}
        try:
            image.convert("RGB").save(stream, self.format, **how)
        except (OSError, ValueError) as error:  # JPEG ends at 65,500 pixels
            raise ExchangeError(
                "item", f"a picture of {image.size} cannot be sent: {error}", hint="set options.image_size"
            ) from error
        return f"data:image/{self.format};base64,{base64.b64encode(stream.getvalue()).decode()}"


class Exchange:
    """Asks one model in one way; `decoding` goes into the body as it is. `key` is only ever struck out."""

    def __init__(
        self,
        *,
        model: str,
        decoding: Mapping[str, JsonValue],
        encoding: Encoding,
        max_new_tokens: int,
        aliases: tuple[str, ...] = (),
        key: str | None = None,
    ) -> None:
        self._model = model
        self._decoding = dict(decoding)
        self._encoding = encoding
        self._max_new_tokens = max_new_tokens
        self._aliases = aliases
        self._key = key

    def body(self, request: Request) -> bytes:
        """The pictures, then the question, as LLaVA and its kin were taught."""
        content: list[JsonValue] = [
            {"type": "image_url", "image_url": {"url": self._encoding.url(image)}} for image in request.images
        ]
        content.append({"type": "text", "text": request.prompt})
        message: JsonValue = {"role": "user", "content": content}
        body = {"model": self._model, "messages": [message], "stream": False, **self._decoding}
        return json.dumps(body).encode()

    def reply(
        self, status: int, content: bytes, *, retry_after: str | None = None, admitted: bool = False
    ) -> Reply:
        """What the server wrote; ExchangeError where it wrote no description.

        `admitted`: it has answered before, so that "forbidden" is about this picture, as with moderation.
        """
        if status == 403 and admitted:
            raise ExchangeError("item", f"status {status}: {self._said(content)}")
        if not 200 <= status < 300:
            raise self._refusal(status, content, retry_after)
        answer = self._parsed(content)
        if answer.model and not is_same_model(self._model, answer.model, self._aliases):
            raise ExchangeError(
                "server",
                f"model {self._quoted(answer.model)!r} answered instead of {self._model!r}",
                hint="if this is the model's other name, add it to describe.options.aliases",
            )
        [choice, *_] = answer.choices
        if choice.message.refusal or choice.finish_reason in _WITHHELD:
            why = choice.message.refusal or choice.finish_reason or ""
            raise ExchangeError("item", f"the server withheld its answer: {self._quoted(why)}")
        return Reply(text=choice.message.text.strip(), finish=self._finish(choice, answer.usage))

    def _finish(self, choice: _Choice, usage: _Usage | None) -> Literal["stop", "length"]:
        reason = choice.finish_reason
        if not reason:  # not said; by the count of tokens, then
            cut = usage is not None and usage.completion_tokens >= self._max_new_tokens
            return "length" if cut else "stop"
        if reason in _CUT:
            return "length"
        if reason in _ENDED:
            return "stop"
        raise ExchangeError("server", f"the answer ended for an unknown reason: {self._quoted(reason)}")

    def _parsed(self, content: bytes) -> _Answer:
        try:
            return _Answer.model_validate_json(content)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            place = ".".join(map(str, first["loc"])) or "the whole"
            raise ExchangeError(
                "server",
                f"the answer is no chat completion ({place}: {first['msg']}): {self._said(content)}",
                hint="see whether run.endpoints name an OpenAI-compatible server",
            ) from error

    def _refusal(self, status: int, content: bytes, retry_after: str | None) -> ExchangeError:
        kind = _KINDS.get(status)
        if kind is None:
            kind = "server" if status >= 500 else "item" if status >= 400 else "shut"
        return ExchangeError(
            kind,
            f"status {status}: {self._said(content)}",
            hint=_HINTS.get(status, "" if status >= 400 else "name the address that it redirects to"),
            retry_after=retry_after,
        )

    def _said(self, content: bytes) -> str:
        """The reason that an error's body gives, wherever servers put it; else how it begins."""
        try:
            value = json.loads(content)
        except (ValueError, RecursionError):
            value = content.decode(errors="replace")
        for name in ("error", "detail", "message"):
            if isinstance(value, dict):
                value = value.get(name) or value
        return self._quoted(value if isinstance(value, str) else json.dumps(value))

    def _quoted(self, text: str) -> str:
        line = " ".join(text.split())
        if self._key:  # before it is cut, or half a key would be left
            line = line.replace(self._key, "***")
        return f"{line[:_MAX_QUOTED]}..." if len(line) > _MAX_QUOTED else line or "nothing"


# --- Answers -------------------------------------------------------------------------------------------


class _Part(BaseModel):
    text: str = ""


class _Message(BaseModel):
    content: str | list[_Part] | None = None
    refusal: str | None = None

    @property
    def text(self) -> str:
        if isinstance(self.content, list):
            return "".join(part.text for part in self.content)
        return self.content or ""


class _Choice(BaseModel):
    message: _Message
    finish_reason: str | None = None


class _Usage(BaseModel):
    completion_tokens: int = 0


class _Answer(BaseModel):
    choices: list[_Choice] = Field(min_length=1)
    model: str | None = None
    usage: _Usage | None = None


# --- Names ---------------------------------------------------------------------------------------------

# Behind a name, these tell only which build or day of a model it is: -2024-08-06, -0613.
_DATED: Final = re.compile(r"-(\d{4}-\d{2}-\d{2}|\d{8}|\d{4})")


def is_same_model(asked: str, told: str, aliases: tuple[str, ...] = ()) -> bool:
    """Whether a server that reports `told` may be answering with the model `asked`.

    Folders, revisions, ".gguf", ":latest" and dates do not count, as servers add or drop them; any other
    difference does (7b is not 13b), unless it is one of the `aliases`.
    """
    if told in aliases:
        return True
    wanted, found = _bare(asked), _bare(told)
    return found == wanted or (
        found.startswith(wanted) and _DATED.fullmatch(found[len(wanted) :]) is not None
    )


def _bare(name: str) -> str:
    last = re.split(r"[/\\]", name.strip().rstrip("/\\").casefold())[-1]
    return last.partition("@")[0].removesuffix(":latest").removesuffix(".gguf")
