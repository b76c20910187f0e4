"""Errors of the service: the error tree as HTTP statuses and codes, and back.

A code is the name of a class of `mien.errors` in small letters, such as "image_error", or one of `OWN_CODES`.
Without the web stack, because the client needs it as well.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from mien import errors
from mien.errors import (
    BoxError,
    ConfigError,
    DataError,
    EngineDownError,
    EngineError,
    ImageError,
    MienError,
    RunError,
    StoreError,
    UsageError,
    WeightsError,
    nearest_hint,
)

__all__ = [
    "OWN_CODES",
    "RequestError",
    "as_request_error",
    "code_of",
    "error_answer",
    "from_code",
    "public",
    "unknown_field",
]

# Codes that are not names of errors, and the class that the client raises.
OWN_CODES: Final[dict[str, type[MienError]]] = {
    "invalid_request": UsageError,
    "unauthorized": UsageError,
    "forbidden": UsageError,
    "not_found": UsageError,
    "method_not_allowed": UsageError,
    "slow_request": UsageError,
    "too_large": UsageError,
    "unsupported_media_type": UsageError,
    "overloaded": EngineError,
    "not_ready": EngineError,
    "deadline_exceeded": EngineError,
    "internal_error": EngineError,
}
_LATER: Final = 5  # seconds after which a client may try again
_MAX_NAME: Final = 100  # characters of a field's name that are repeated
_OURS: Final = "the service cannot answer now"
_OUR_HINT: Final = "try again later; the operator finds the request id in the log"

# The first class that an error belongs to decides. Errors of a run or a store are not the client's.
_STATUSES: Final[tuple[tuple[type[MienError], int], ...]] = (
    (RunError, 500),
    (StoreError, 500),
    (DataError, 422),
    (ConfigError, 500),
    (UsageError, 422),
    (WeightsError, 503),
    (EngineDownError, 503),
)


class RequestError(MienError):
    """Why a request gets no answer.

    Attributes:
        status: The HTTP status.
        code: What happened, in one word.
        field: The part of the request that is wrong, such as "boxes.0"; None if it is not one part.
        retry_after: Seconds after which the client may try again; None if that does not help.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        hint: str,
        field: str | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.code = code
        self.field = field
        self.retry_after = retry_after
        self.retryable = retry_after is not None


def unknown_field(name: str, known: Iterable[str]) -> RequestError:
    """The error for a field that a request may not have, with the nearest of those that it may."""
    shown = name[:_MAX_NAME]
    hint = nearest_hint(shown, known, kind="fields")
    return RequestError(422, "invalid_request", f"unknown field {shown!r}", hint=hint, field=shown)


def as_request_error(error: Exception, field: str | None = None) -> RequestError:
    """An error as a client sees it, without the message of one that is not about the request."""
    if isinstance(error, RequestError):
        return error
    if not isinstance(error, MienError):
        return RequestError(500, "internal_error", _OURS, hint=_OUR_HINT)
    status = next((status for kind, status in _STATUSES if isinstance(error, kind)), 500)
    if status == 422:
        return RequestError(status, code_of(error), str(error), hint=error.hint, field=field)
    is_temporary = status == 503 or error.retryable
    return RequestError(
        503 if is_temporary else 500,
        code_of(error),
        _OURS,
        hint=_OUR_HINT,
        retry_after=_LATER if is_temporary else None,
    )


def error_answer(error: RequestError, request_id: str) -> tuple[dict[str, object], dict[str, str]]:
    """The body and the headers of the answer to a request that failed."""
    detail = {"code": error.code, "message": str(error), "hint": error.hint, "field": error.field}
    headers: dict[str, str] = {}
    if error.retry_after is not None:
        headers["retry-after"] = str(error.retry_after)
    if error.status == 401:
        headers["www-authenticate"] = "Bearer"
    return {"error": detail, "request_id": request_id}, headers


def public(error: MienError) -> MienError:
    """An error as an answer may show it, in the place of an image or a person."""
    if isinstance(error, ImageError | BoxError):
        return error
    request = as_request_error(error)
    return error if request.status == 422 else type(error)(_OURS, hint=_OUR_HINT)


def code_of(error: MienError) -> str:
    """The code of an error, by the name of its class."""
    if isinstance(error, RequestError):
        return error.code
    return _snake_case(type(error).__name__)


def _snake_case(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()


_BY_CODE: Final[dict[str, type[MienError]]] = {
    _snake_case(name): getattr(errors, name) for name in errors.__all__ if name.endswith("Error")
}


def from_code(code: str, message: str, hint: str = "") -> MienError:
    """The error that a client raises for a code; EngineError for an unknown one."""
    return (_BY_CODE | OWN_CODES).get(code, EngineError)(message, hint=hint)
