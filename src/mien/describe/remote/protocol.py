"""What is sent to a chat-completions server, and what its response means.

A response may be anything. What a server says about an error is quoted in part, in one line, and without the
API key, in case the server repeats it.
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

__all__ = ["ChatError", "ChatProtocol", "ErrorKind", "ImageEncoding", "is_same_model"]

# item: concerns this item, and a retry cannot help. server: a retry may help. busy: the same, but later.
# unreachable: no connection. rejected: the server accepts nothing with this key, model or address.
ErrorKind = Literal["item", "server", "busy", "unreachable", "rejected"]

_KINDS: Final[Mapping[int, ErrorKind]] = {
    **dict.fromkeys((408, 409, 425), "server"),
    **dict.fromkeys((429, 503, 529), "busy"),
    **dict.fromkeys((401, 402, 403, 404, 405, 410), "rejected"),
}
_HINTS: Final[Mapping[int, str]] = {
    400: "the server refuses such requests: check [describe.options] and the model's context length",
    413: "set describe.options.image_size, or image_format to jpeg",
    401: "set MIEN_API_KEY (or OPENAI_API_KEY) in the environment to a key that the server accepts",
    402: "add credit to the account",
    403: "set MIEN_API_KEY (or OPENAI_API_KEY) in the environment to a key that may use this model",
    404: "check that run.endpoints ends as the server's manual says (often /v1), and that the server has "
    "describe.model under exactly this name",
}
_LENGTH_REASONS: Final = frozenset({"length", "max_tokens"})
_REFUSAL_REASONS: Final = frozenset({"content_filter", "refusal", "safety"})
_STOP_REASONS: Final = frozenset({"stop", "eos", "eos_token", "end_turn", "stop_sequence"})
_MAX_QUOTED: Final = 200  # characters of a server's message


class ChatError(Exception):
    """A request that gave no description.

    Attributes:
        kind: what caused it, and whether a retry may help.
        hint: what the user can do.
        retry_after: the `Retry-After` header of the response, if any.
    """

    def __init__(
        self, kind: ErrorKind, message: str, *, hint: str = "", retry_after: str | None = None
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.hint = hint
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageEncoding:
    """How images are sent: PNG unchanged, JPEG smaller, without subsampling, which would blur red boxes."""

    format: Literal["png", "jpeg"] = "png"
    quality: int = 95

    def identity(self) -> Mapping[str, JsonValue]:
        """The settings that change the pixels that arrive."""
        return {"format": "png"} if self.format == "png" else {"format": "jpeg", "quality": self.quality}

    def data_url(self, image: Image.Image) -> str:
        """The image as a data URL; ChatError if it cannot be encoded."""
        stream = io.BytesIO()
        is_png = self.format == "png"
        options = {"compress_level": 1} if is_png else {"quality": self.quality, "subsampling": 0}
        try:
            image.convert("RGB").save(stream, self.format, **options)
        except (OSError, ValueError) as error:  # JPEG is limited to 65,500 pixels
            raise ChatError(
                "item",
                f"an image of {image.size} cannot be sent: {error}",
                hint="set describe.options.image_size",
            ) from error
        return f"data:image/{self.format};base64,{base64.b64encode(stream.getvalue()).decode()}"


class ChatProtocol:
    """Requests to one model with fixed settings.

    Args:
        model: name of the model, as the server knows it.
        decoding: fields of the body that control decoding.
        encoding: how images are sent.
        max_new_tokens: length at which a text counts as cut off, if the server does not say.
        aliases: other names under which the server may report the model.
        key: API key, used only to remove it from quoted messages.
    """

    def __init__(
        self,
        *,
        model: str,
        decoding: Mapping[str, JsonValue],
        encoding: ImageEncoding,
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
        """The body to post: first the images, then the prompt, as LLaVA and similar models were trained."""
        content: list[JsonValue] = [
            {"type": "image_url", "image_url": {"url": self._encoding.data_url(image)}}
            for image in request.images
        ]
        content.append({"type": "text", "text": request.prompt})
        message: JsonValue = {"role": "user", "content": content}
        body = {"model": self._model, "messages": [message], "stream": False, **self._decoding}
        return json.dumps(body).encode()

    def reply(
        self, status: int, content: bytes, *, retry_after: str | None = None, has_access: bool = False
    ) -> Reply:
        """Reads a response.

        Args:
            status: HTTP status.
            content: body of the response.
            retry_after: `Retry-After` header.
            has_access: whether the server has described before; "forbidden" is then about this image, as
                with moderation.

        Raises:
            ChatError: the response holds no description.
        """
        if status == 403 and has_access:
            raise ChatError("item", f"status {status}: {self._error_message(content)}")
        if not 200 <= status < 300:
            raise self._status_error(status, content, retry_after)
        completion = self._parse(content)
        if completion.model and not is_same_model(self._model, completion.model, self._aliases):
            raise ChatError(
                "server",
                f"model {self._quote(completion.model)!r} answered instead of {self._model!r}",
                hint="if this is another name of the model, add it to describe.options.aliases",
            )
        [choice, *_] = completion.choices
        if choice.message.refusal or choice.finish_reason in _REFUSAL_REASONS:
            reason = choice.message.refusal or choice.finish_reason or ""
            raise ChatError("item", f"the server withheld its answer: {self._quote(reason)}")
        return Reply(text=choice.message.text.strip(), finish=self._finish(choice, completion.usage))

    def _finish(self, choice: _Choice, usage: _Usage | None) -> Literal["stop", "length"]:
        reason = choice.finish_reason
        if not reason:  # the number of tokens tells
            is_cut = usage is not None and usage.completion_tokens >= self._max_new_tokens
            return "length" if is_cut else "stop"
        if reason in _LENGTH_REASONS:
            return "length"
        if reason in _STOP_REASONS:
            return "stop"
        raise ChatError("server", f"the answer ended for an unknown reason: {self._quote(reason)}")

    def _parse(self, content: bytes) -> _Completion:
        try:
            return _Completion.model_validate_json(content)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            place = ".".join(map(str, first["loc"])) or "top level"
            raise ChatError(
                "server",
                f"the response is not a chat completion ({place}: {first['msg']}): "
                f"{self._error_message(content)}",
                hint="check that run.endpoints name an OpenAI-compatible server",
            ) from error

    def _status_error(self, status: int, content: bytes, retry_after: str | None) -> ChatError:
        kind = _KINDS.get(status)
        if kind is None:
            kind = "server" if status >= 500 else "item" if status >= 400 else "rejected"
        return ChatError(
            kind,
            f"status {status}: {self._error_message(content)}",
            hint=_HINTS.get(
                status, "" if status >= 400 else "set run.endpoints to the target of the redirect"
            ),
            retry_after=retry_after,
        )

    def _error_message(self, content: bytes) -> str:
        """The reason in the body of an error, wherever a server puts it; otherwise the start of the body."""
        try:
            value = json.loads(content)
        except (ValueError, RecursionError):
            value = content.decode(errors="replace")
        for name in ("error", "detail", "message"):
            if isinstance(value, dict):
                value = value.get(name) or value
        return self._quote(value if isinstance(value, str) else json.dumps(value))

    def _quote(self, text: str) -> str:
        line = " ".join(text.split())
        if self._key:  # before truncation, which might leave half a key
            line = line.replace(self._key, "***")
        return f"{line[:_MAX_QUOTED]}..." if len(line) > _MAX_QUOTED else line or "nothing"


# --- The response ---


class _TextPart(BaseModel):
    text: str = ""


class _Message(BaseModel):
    content: str | list[_TextPart] | None = None
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


class _Completion(BaseModel):
    choices: list[_Choice] = Field(min_length=1)
    model: str | None = None
    usage: _Usage | None = None


# --- Model names ---

# After a name, these only say which build or date of a model it is: -2024-08-06, -0613.
_DATE_SUFFIX: Final = re.compile(r"-(\d{4}-\d{2}-\d{2}|\d{8}|\d{4})")


def is_same_model(requested: str, reported: str, aliases: tuple[str, ...] = ()) -> bool:
    """Whether a server that reports one name may have answered with the requested model.

    Folders, revisions, ".gguf", ":latest" and dates are ignored, because servers add or drop them. Any other
    difference counts (7b is not 13b), unless the reported name is one of the `aliases`.
    """
    if reported in aliases:
        return True
    ours, theirs = _base_name(requested), _base_name(reported)
    return theirs == ours or (
        theirs.startswith(ours) and _DATE_SUFFIX.fullmatch(theirs[len(ours) :]) is not None
    )


def _base_name(name: str) -> str:
    last = re.split(r"[/\\]", name.strip().rstrip("/\\").casefold())[-1]
    return last.partition("@")[0].removesuffix(":latest").removesuffix(".gguf")
