"""What is sent to a chat-completions server, and what its response means."""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, Literal

from PIL import Image
from pydantic import JsonValue

from mien.describe.engine import Reply, Request, TokenUsage
from mien.describe.reasoning import THINKING_HINT, remove_reasoning
from mien.describe.remote.api_key import ApiKey
from mien.describe.remote.completion import (
    Completion,
    NotACompletionError,
    decode_json,
    name_content,
    read_completion,
)
from mien.describe.remote.errors import (
    ChatError,
    SentFields,
    ServerError,
    error_kind,
    find_error,
    hint_for,
    is_refusal,
    quote,
)
from mien.errors import EngineError

__all__ = ["ChatProtocol", "ImageEncoding", "RequestFields", "is_same_model"]

_MAX_TOKENS: Final = 10**9  # of a question or an answer; a server may say anything
_MAX_TEXT: Final = 200_000  # characters, reasoning included
_NOT_AN_API: Final = (
    "check that run.endpoints name an OpenAI-compatible server (often ending in /v1), and that no proxy or "
    "login page answers in its place"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestFields:
    """The fields of a request besides its messages, and the options that determine them.

    Attributes:
        limit: the field with the largest number of tokens, and that number.
        decoding: other fields that the engine sets, with the model and the field that turns streaming off.
        extra: fields that the user adds.
        thinking: fields that turn reasoning on or off.
        omit: fields to leave out.
        rename: other names for fields.
    """

    limit: tuple[str, int]
    decoding: Mapping[str, JsonValue]
    extra: Mapping[str, JsonValue]
    thinking: Mapping[str, JsonValue]
    omit: tuple[str, ...] = ()
    rename: Mapping[str, str]

    def body(self, model: str) -> dict[str, JsonValue]:
        """All fields of a request to a model except for its messages."""
        return self._named({"model": model, "stream": False, **self._decoding()})

    def identity(self) -> dict[str, JsonValue]:
        """The fields that may change the text."""
        return self._named(self._decoding())

    def sent(self) -> SentFields:
        """Their names by option, for hints."""
        fields = self.body("")
        name, _ = self.limit
        limit = self.rename.get(name, name)
        return SentFields(
            limit=limit if limit in fields else "",
            extra=tuple(name for name in self.extra if name in fields),
            thinking=next((self.rename.get(name, name) for name in self.thinking), ""),
            others=tuple(
                name for name in fields if name not in (limit, "model", *self.extra, *self.thinking)
            ),
        )

    def _decoding(self) -> dict[str, JsonValue]:
        name, number = self.limit
        fields = {**self.decoding, name: number, **self.extra}
        for name, value in self.thinking.items():
            own = self.extra.get(name)  # what the user adds wins
            both = isinstance(own, dict) and isinstance(value, dict)
            fields[name] = {**value, **own} if both else fields.get(name, value)  # type: ignore[dict-item]
        return fields

    def _named(self, fields: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
        return {self.rename.get(name, name): value for name, value in fields.items() if name not in self.omit}


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageEncoding:
    """How images are sent: PNG unchanged, JPEG smaller, without subsampling, which would blur red boxes."""

    format: Literal["png", "jpeg"] = "png"
    quality: int = 95
    detail: Literal["auto", "low", "high"] | None = None

    def identity(self) -> Mapping[str, JsonValue]:
        """The settings that change the pixels that arrive."""
        detail: Mapping[str, JsonValue] = {} if self.detail is None else {"detail": self.detail}
        if self.format == "png":
            return {"format": "png", **detail}
        return {"format": "jpeg", "quality": self.quality, **detail}

    def part(self, image: Image.Image) -> dict[str, JsonValue]:
        """The part of a message that shows the image; ChatError if it cannot be encoded."""
        shown: dict[str, JsonValue] = {"url": self.data_url(image)}
        if self.detail is not None:
            shown["detail"] = self.detail
        return {"type": "image_url", "image_url": shown}

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
        fields: the other fields of a request.
        encoding: how images are sent.
        max_new_tokens: length at which a text counts as cut off, if the server does not say.
        aliases: other names under which the server may report the model.
        key: API key, for which every response is searched.
    """

    def __init__(
        self,
        *,
        model: str,
        fields: RequestFields,
        encoding: ImageEncoding,
        max_new_tokens: int,
        aliases: tuple[str, ...] = (),
        key: ApiKey | None = None,
    ) -> None:
        self._model = model
        self._fields = fields.body(model)
        self._sent = fields.sent()
        self._encoding = encoding
        self._max_new_tokens = max_new_tokens
        self._aliases = aliases
        self._key = key

    def body(self, request: Request) -> bytes:
        """The body to post: first the images, then the prompt, as LLaVA and similar models were trained."""
        content: list[JsonValue] = [self._encoding.part(image) for image in request.images]
        content.append({"type": "text", "text": request.prompt})
        message: JsonValue = {"role": "user", "content": content}
        return json.dumps({**self._fields, "messages": [message]}).encode()

    def reply(
        self,
        status: int,
        content: bytes,
        headers: Mapping[str, str] = MappingProxyType({}),
        *,
        has_access: bool = False,
    ) -> Reply:
        """Reads a response.

        Args:
            status: HTTP status.
            content: body of the response.
            headers: of the response, by lowercase name.
            has_access: whether the server has described before; "forbidden" is then about this image, as
                with moderation.

        Raises:
            ChatError: the response holds no description.
        """
        if not 200 <= status < 300:
            raise self._status_error(status, content, headers, has_access)
        try:
            value = decode_json(content)
        except NotACompletionError as error:
            raise self._not_a_completion(str(error), content, status) from None
        try:
            completion = read_completion(value)
        except NotACompletionError as error:
            found = find_error(value)
            if found is None:
                raise self._not_a_completion(str(error), content, status) from None
            raise self._server_error(found, None, headers.get("retry-after"), has_access) from None
        return self._reply(
            completion, find_error({"error": completion.error or _outer_error(value)}), has_access
        )

    def _reply(self, completion: Completion, error: ServerError | None, has_access: bool) -> Reply:
        """The text of a completion; ChatError if it is not an answer of this model."""
        if error is not None:
            raise self._server_error(error, None, None, has_access)
        if completion.model and not is_same_model(self._model, completion.model, self._aliases):
            raise ChatError(
                "server",
                f"model {self._quote(completion.model)!r} answered instead of {self._model!r}",
                hint="if this is another name of the model, add it to describe.options.aliases",
            )
        if completion.refusal or completion.end == "refusal":
            reason = self._quote(completion.refusal or completion.reason)
            raise ChatError("item", f"the server withheld its answer: {reason}", is_refusal=True)
        if completion.end == "other":
            raise ChatError(
                "server", f"the answer ended for an unknown reason: {self._quote(completion.reason)}"
            )
        if Reply(text=completion.text).is_empty:
            raise self._empty_error(completion)
        if len(completion.text) > _MAX_TEXT:
            raise ChatError(
                "item",
                f"the answer has {len(completion.text)} characters, which no description has",
                hint="lower describe.max_new_tokens, or try another model",
            )
        if self._key is not None and self._key.is_in(completion.text):
            raise ChatError(
                "item",
                "the answer repeats the API key, or a part of it, and is thrown away",
                hint="do not use this server; revoke the key if others can read what it says",
            )
        reply = remove_reasoning(
            Reply(
                text=completion.text.strip(),
                finish=self._finish(completion),
                first_words=completion.first_words,
                usage=_usage(completion),
            )
        )
        if isinstance(reply, EngineError):
            raise ChatError("item", str(reply), hint=reply.hint)
        return reply

    def _finish(self, completion: Completion) -> Literal["stop", "length"]:
        if completion.end == "unknown":  # the number of tokens tells
            is_cut = completion.num_tokens is not None and completion.num_tokens >= self._max_new_tokens
            return "length" if is_cut else "stop"
        return "length" if completion.end == "length" else "stop"

    def _empty_error(self, completion: Completion) -> ChatError:
        if completion.end == "tool":
            return ChatError(
                "item", "the model called a tool instead of answering", hint="try another prompt"
            )
        if completion.reasoning_field:
            ended = ", and ended at the limit of tokens" if self._finish(completion) == "length" else ""
            return ChatError(
                "item",
                f"the answer is empty: the model wrote only reasoning ({completion.reasoning_field}){ended}",
                hint=THINKING_HINT,
            )
        if self._finish(completion) == "length":
            return ChatError(
                "item", "the answer is empty, and ended at the limit of tokens", hint=THINKING_HINT
            )
        return ChatError("item", "the answer is empty", hint="try another prompt or model")

    # --- Errors ---

    def _status_error(
        self, status: int, content: bytes, headers: Mapping[str, str], has_access: bool
    ) -> ChatError:
        try:
            value = decode_json(content)
        except NotACompletionError:
            value = None
        found = find_error(value)
        if found is None:
            words = value if isinstance(value, str) else self._excerpt(content)
            if 300 <= status < 400 and "location" in headers:
                words = f"a redirect to {headers['location']}"
            found = ServerError(words=words)
        return self._server_error(found, status, headers.get("retry-after"), has_access)

    def _server_error(
        self, error: ServerError, status: int | None, retry_after: str | None, has_access: bool
    ) -> ChatError:
        """An error in the server's words; without a status if it came with status 200."""
        kind, code = error_kind(status, error)
        hint, is_general = hint_for(code, error, self._sent)
        refused = is_refusal(error)
        if refused or (status == 403 and has_access):
            kind, hint = "item", ""
        elif is_general and kind == "item" and not has_access:
            kind = "rejected"  # a field that every request has
        shown = status or error.status
        return ChatError(
            kind,
            f"{f'status {shown}' if shown else 'the server reports an error'}: {self._quote(error.words)}",
            hint=hint,
            retry_after=retry_after,
            is_refusal=refused,
        )

    def _not_a_completion(self, what: str, content: bytes, status: int) -> ChatError:
        is_binary = name_content(content) == "binary data"
        excerpt = f" (status {status})" if is_binary or not content.strip() else f": {self._excerpt(content)}"
        hint = _NOT_AN_API
        if "stream" in what:
            hint = (
                "make the server answer in one piece, as the field 'stream' of the request says; it may be a "
                "gateway that streams always"
            )
        return ChatError(
            "server", f"the response is not a chat completion: {self._quote(what)}{excerpt}", hint=hint
        )

    def _excerpt(self, content: bytes) -> str:
        """The beginning of a body, or what a web page says."""
        text = content[:16_000].decode(errors="replace")
        if name_content(content).startswith("a web page"):
            text = re.sub(
                r"<(script|style)\b.*?(</\1>|\Z)|<[^>]{0,1000}>", " ", text, flags=re.DOTALL | re.IGNORECASE
            )
        return self._quote(text)

    def _quote(self, text: str) -> str:
        return quote(text, self._key)


def _usage(completion: Completion) -> TokenUsage | None:
    """What a server says that a completion took; None if that cannot be."""
    counts = completion.prompt_tokens, completion.num_tokens
    prompt, written = (count if count is not None and 0 <= count <= _MAX_TOKENS else None for count in counts)
    if prompt is None or written is None:
        return None
    return TokenUsage(prompt=round(prompt), completion=round(written))


def _outer_error(value: Any) -> Any:
    """An error next to the choices."""
    return value.get("error") if isinstance(value, dict) else None


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
