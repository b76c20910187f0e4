"""Requests as JSON or as multipart forms become checked values; images come as bytes only.

An image is never an address or a path. Names of files are not read, only whether there is one.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError
from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header

from mien.documents import parse_json
from mien.errors import DataError
from mien.media.boxes import parse_box
from mien.media.formats import FOLDER_SUFFIXES
from mien.serve.errors import RequestError, as_request_error, unknown_field
from mien.serve.limits import BodyReader
from mien.serve.schemas import ExplainRequest, ImagesRequest
from mien.serve.settings import ServiceOptions
from mien.types import Box

__all__ = ["Upload", "read_request", "uploads_of"]

Body = TypeVar("Body", bound=BaseModel)

_IMAGES: Final = "images"
_MAX_VALUE: Final = 64 * 2**10  # bytes of a field that is not an image
_MAX_VALUES: Final = 100  # of all fields but images
_TEXTS: Final = ("labels", "descriptions")  # fields of plain text, once per value
_LARGE: Final = 2**18  # bytes, from which on JSON is parsed in another thread
_HINT: Final = "see /openapi.json for what a request may hold"
_HINTS: Final = {  # of the fields that are easily mistaken
    _IMAGES: "send the bytes of a file: curl -F images=@photo.jpg, or Base64 in JSON",
    "boxes": "give each image a list of boxes: [[left, top, right, bottom], ...], in pixels",
}
_NOT_LISTS: Final = (  # by depth
    "boxes are not a list with the boxes of each image",
    "the boxes of an image are not a list",
    "a box is not a list of four numbers",
)
_MAX_PLACE: Final = 4096  # bytes of a text that is taken for a path
_ADDRESS: Final = re.compile(rb"\s*(https?|ftp|file|data|s3|gs|hf):", re.IGNORECASE)
_PATH: Final = re.compile(r"(\.{0,2}/|~|[A-Za-z]:[\\/]|\\\\)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """The bytes of an image, and the boxes of the people in it; without any, they are found."""

    content: bytes = field(repr=False)
    boxes: tuple[Box, ...] = ()


async def read_request(
    reader: BodyReader, content_type: str, model: type[Body], options: ServiceOptions
) -> Body:
    """The body of a request, read within its limits.

    Args:
        reader: Reads the body.
        content_type: The header of that name.
        model: What the request may hold.
        options: The limits.

    Raises:
        RequestError: It is too large or too slow, or not what the model says.
        ClientLeftError: The client has closed the connection.
    """
    kind, parameters = parse_options_header(content_type)
    if kind == b"application/json":
        content = await reader.read()
        if len(content) < _LARGE:
            return _validated(lambda: model.model_validate_json(content))
        return await asyncio.to_thread(_validated, lambda: model.model_validate_json(content))
    if kind == b"multipart/form-data":
        form = _Form(parameters.get(b"boundary", b""), options, model.model_fields)
        async for piece in reader.pieces():
            form.feed(piece)
        values = form.finish()
        return _validated(lambda: model.model_validate(values))
    raise RequestError(
        415,
        "unsupported_media_type",
        "the request is neither a form nor JSON",
        hint="send multipart/form-data with the field images, or application/json",
    )


def uploads_of(body: ImagesRequest | ExplainRequest, options: ServiceOptions) -> list[Upload]:
    """The images of a request with their boxes; RequestError if there are too many, or a box cannot be."""
    count = len(body.images)
    if count > options.max_images:
        raise _invalid(f"{count} images, more than the {options.max_images} allowed", _IMAGES)
    boxes = body.boxes if body.boxes is not None else [None] * count
    if len(boxes) != count:
        raise _invalid(f"boxes for {len(boxes)} images, and {count} images", "boxes", _HINTS["boxes"])
    uploads = []
    for index, (content, edges) in enumerate(zip(body.images, boxes, strict=True)):
        if edges is not None and len(edges) > options.max_boxes:
            raise _invalid(f"{len(edges)} boxes, more than the {options.max_boxes} allowed", f"boxes.{index}")
        checked = [_box(value, f"boxes.{index}.{number}") for number, value in enumerate(edges or ())]
        uploads.append(Upload(content=content, boxes=tuple(checked)))
    return uploads


def _box(value: list[float], where: str) -> Box:
    try:
        return parse_box(value)
    except DataError as error:
        raise as_request_error(error, where) from error


def _invalid(message: str, where: str, hint: str = _HINT) -> RequestError:
    return RequestError(422, "invalid_request", message, hint=hint, field=where)


def _validated(read: Callable[[], Body]) -> Body:
    """What a model reads; its first complaint as a RequestError, without the value that caused it."""
    try:
        return read()
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "body"
        message = first["msg"].removeprefix("Value error, ")
        if first["type"] == "list_type" and first["loc"][0] == "boxes":
            message = _NOT_LISTS[len(first["loc"]) - 1]
        raise _invalid(message, where, _hint_of(where)) from None


def _hint_of(where: str) -> str:
    return _HINTS.get(where.partition(".")[0], _HINT)


# --- Forms ---------------------------------------------------------------------------------------------


class _Form:
    """Takes a multipart form apart as it arrives, within limits on the number and size of its parts.

    Args:
        boundary: What separates the parts.
        options: The limits.
        fields: The names that its parts may have.
    """

    def __init__(self, boundary: bytes, options: ServiceOptions, fields: Collection[str]) -> None:
        self._options = options
        self._fields = fields
        self._images: list[bytes] = []
        self._values: dict[str, list[str]] = {}
        self._header = [bytearray(), bytearray()]  # the name of the current one, and its value
        self._name = ""
        self._is_file = False
        self._part = bytearray()
        self._has_ended = False
        if not boundary:
            raise _invalid("the form has no boundary", "body", "let a library write the form")
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._begin,
                    "on_header_field": self._add_header_name,
                    "on_header_value": self._add_header_value,
                    "on_header_end": self._end_header,
                    "on_headers_finished": self._end_headers,
                    "on_part_data": self._add_data,
                    "on_part_end": self._end,
                    "on_end": self._end_form,
                },
            )
        except FormParserError as error:
            raise _malformed() from error

    def feed(self, piece: bytes) -> None:
        """Takes the next piece of the body; RequestError if the form is malformed or exceeds a limit."""
        try:
            self._parser.write(piece)
        except FormParserError as error:
            raise _malformed() from error

    def finish(self) -> Mapping[str, Any]:
        """The values of the form, for a model; RequestError if it is cut short."""
        if not self._has_ended:
            raise _invalid("the form is cut short", "body", "send the request again")
        values: dict[str, Any] = {_IMAGES: self._images} if self._images else {}
        for name, texts in self._values.items():
            if name in _TEXTS:
                values[name] = texts
            elif name == "boxes":
                values[name] = [_json(text, f"boxes.{index}") for index, text in enumerate(texts)]
            elif len(texts) > 1:
                raise _invalid("the field is given more than once", name)
            else:
                values[name] = _json(texts[0], name)
        return values

    # --- What the parser calls ---

    def _begin(self) -> None:
        self._name, self._is_file, self._part = "", False, bytearray()
        self._clear_header()

    def _clear_header(self) -> None:
        self._header = [bytearray(), bytearray()]

    def _add_header_name(self, data: bytes, start: int, end: int) -> None:
        self._header[0] += data[start:end]

    def _add_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header[1] += data[start:end]

    def _end_header(self) -> None:
        name, value = self._header
        if bytes(name).strip().lower() == b"content-disposition":
            _, parameters = parse_options_header(bytes(value))
            self._name = parameters.get(b"name", b"").decode("utf-8", "replace")
            self._is_file = b"filename" in parameters
        self._clear_header()

    def _end_headers(self) -> None:
        if not self._name or len(self._name) > 100:
            raise _invalid("a part of the form has no name", "body")
        if self._name not in self._fields:
            raise unknown_field(self._name, self._fields)
        if self._name == _IMAGES and len(self._images) >= self._options.max_images:
            raise _invalid(f"more than the {self._options.max_images} images allowed", _IMAGES)
        if self._name != _IMAGES and sum(map(len, self._values.values())) >= _MAX_VALUES:
            raise _invalid(f"more than {_MAX_VALUES} fields", self._name)

    def _add_data(self, data: bytes, start: int, end: int) -> None:
        self._part += data[start:end]
        if self._name != _IMAGES and len(self._part) > _MAX_VALUE:
            raise _invalid(f"the field is longer than {_MAX_VALUE:,} bytes", self._name)

    def _end(self) -> None:
        if self._name == _IMAGES:
            content = bytes(self._part)
            if not self._is_file and _is_place(content):
                where = f"{_IMAGES}.{len(self._images)}"
                raise _invalid(
                    "an image is an address or a path, which is not opened", where, _hint_of(where)
                )
            self._images.append(content)
        else:
            try:
                text = self._part.decode()
            except UnicodeDecodeError as error:
                raise _invalid("the field is not UTF-8", self._name) from error
            self._values.setdefault(self._name, []).append(text)
        self._part = bytearray()

    def _end_form(self) -> None:
        self._has_ended = True


def _malformed() -> RequestError:
    return _invalid("the form is malformed", "body", "let a library write the form")


def _is_place(content: bytes) -> bool:
    """Whether the value of a field is where an image is, and not the image."""
    if _ADDRESS.match(content):
        return True
    if len(content) > _MAX_PLACE:
        return False
    text = content.decode("utf-8", "replace").strip()
    return text.isprintable() and bool(_PATH.match(text) or text.lower().endswith(FOLDER_SUFFIXES))


def _json(text: str, name: str) -> Any:
    """The value of a field of a form; None for an empty one."""
    if not text.strip():
        return None
    try:
        return parse_json(text)
    except ValueError as error:
        raise _invalid("the field is not JSON", name, _hint_of(name)) from error
