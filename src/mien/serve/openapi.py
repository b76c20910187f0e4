"""What the OpenAPI document says beyond the models of answers: bodies of requests, errors, examples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pydantic import BaseModel

from mien.serve.schemas import ErrorAnswer

__all__ = ["DESCRIPTION", "error_responses", "request_body"]

DESCRIPTION: Final = """\
People in uploaded photos are found, described and scored: how they *appear* to feel. Images come as bytes, in
a form or as Base64. An address or a path is never opened, and nothing is stored.

An image that cannot be read has its `error` in the place of its people, and costs the others nothing; the
status of the answer is then still 200.
"""

_ERRORS: Final[Mapping[int, tuple[str, str, str, str]]] = {
    401: ("The token is missing or wrong.", "unauthorized", "the token is missing or wrong", ""),
    403: ("The request comes from a page of another site, or names another host.", "forbidden", "", ""),
    404: ("The model cannot do this.", "not_found", "the model writes no descriptions", ""),
    408: ("The body comes too slowly.", "slow_request", "the body of the request comes too slowly", ""),
    413: ("The body is too large.", "too_large", "the request is larger than 32 MiB", ""),
    415: ("The body is neither a form nor JSON.", "unsupported_media_type", "", ""),
    422: ("A field is wrong.", "box_error", "box (9, 9, 9, 9) is empty", "boxes.0.0"),
    429: ("The service has too many requests.", "overloaded", "the service has too many requests", ""),
    500: ("The service failed.", "internal_error", "the service cannot answer now", ""),
    503: ("The service is not ready, or its model fails.", "not_ready", "the service is shutting down", ""),
    504: ("The answer is late.", "deadline_exceeded", "the request was not answered in time", ""),
}  # fmt: skip
_RETRY_AFTER: Final = {
    "Retry-After": {"description": "Seconds to wait before the next try.", "schema": {"type": "integer"}}
}
_REPEATABLE: Final = (429, 503, 504)
_FILE: Final = {"type": "string", "format": "binary"}
_BOXES_OF_IMAGE: Final = {
    "type": "string",
    "description": "The boxes of one image as JSON; empty to find the people.",
    "examples": ["[[40, 30, 210, 380]]"],
}


def error_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The errors of an endpoint, with an example each."""
    found: dict[int | str, dict[str, Any]] = {}
    for status in statuses:
        description, code, message, field = _ERRORS[status]
        example = {
            "error": {"code": code, "message": message or code, "hint": "", "field": field or None},
            "request_id": "4f1c2a90",
        }
        found[status] = {
            "model": ErrorAnswer,
            "description": description,
            "content": {"application/json": {"example": example}},
        }
        if status in _REPEATABLE:
            found[status]["headers"] = _RETRY_AFTER
    return found


def request_body(model: type[BaseModel]) -> dict[str, Any]:
    """The body that an endpoint reads: a form, or JSON with the same fields."""
    schema = model.model_json_schema()
    properties = {name: _as_form_field(name, part) for name, part in schema["properties"].items()}
    form = {
        "type": "object",
        "required": schema["required"],
        "properties": properties,
        "additionalProperties": False,
    }
    return {
        "requestBody": {
            "required": True,
            "content": {"multipart/form-data": {"schema": form}, "application/json": {"schema": schema}},
        }
    }


def _as_form_field(name: str, part: Mapping[str, Any]) -> dict[str, Any]:
    if name == "images":
        counts = {key: part[key] for key in ("minItems", "maxItems") if key in part}
        return {"type": "array", "items": _FILE, "description": "Images.", **counts}
    if name == "boxes":
        return {"type": "array", "items": _BOXES_OF_IMAGE, "description": "Once per image, in their order."}
    return dict(part)
