"""Calls an engine until every request has a reply or the reason why it has none.

If a whole batch fails, it is halved until the item that spoils it is alone; the other items get their
replies. A single item is tried at most `max_attempts` times, and only while its error says that a retry may
help. There are no pauses here: each engine waits where it knows what it waits for, for as long as a `Backoff`
says.
"""

from __future__ import annotations

import logging
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

from mien.describe.engine import Engine, Reply, Request
from mien.errors import EngineDownError, EngineError

__all__ = ["Backoff", "Outcome", "describe_with_retries", "parse_retry_after"]

_log = logging.getLogger(__name__)
_MAX_DOUBLINGS: Final = 32  # beyond any cap, and well below 1024, where a float overflows


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one request.

    Attributes:
        result: the reply, or the last error.
        attempts: how often the item was tried, alone or with its batch.
        engine_failed: whether the last attempt made the engine itself fail.
    """

    result: Reply | EngineError
    attempts: int = 1
    engine_failed: bool = False


def describe_with_retries(
    engine: Engine, requests: Sequence[Request], *, max_attempts: int = 3
) -> list[Outcome]:
    """Returns one outcome per request, in order.

    Raises:
        EngineDownError: the engine cannot work at all, so neither halves nor retries can help.
        MienError: any other error that is not an EngineError.
    """
    if not requests:
        return []
    try:
        replies = _describe(engine, requests)
    except EngineDownError:
        raise
    except EngineError as error:
        if len(requests) == 1:
            return [_retry(engine, requests[0], error, max_attempts, engine_failed=True)]
        _log.info("a batch of %d failed (%s); trying its halves", len(requests), error)
        middle = len(requests) // 2
        return [
            *describe_with_retries(engine, requests[:middle], max_attempts=max_attempts),
            *describe_with_retries(engine, requests[middle:], max_attempts=max_attempts),
        ]
    return [
        _retry(engine, request, reply, max_attempts)
        if isinstance(reply, EngineError)
        else Outcome(result=reply)
        for request, reply in zip(requests, replies, strict=True)
    ]


def _retry(
    engine: Engine, request: Request, error: EngineError, max_attempts: int, *, engine_failed: bool = False
) -> Outcome:
    """Tries an item alone after its first failure, as long as that may help."""
    for attempt in range(1, max_attempts):
        if not error.retryable:
            return Outcome(result=error, attempts=attempt, engine_failed=engine_failed)
        try:
            reply, engine_failed = _describe(engine, [request])[0], False
        except EngineDownError:
            raise
        except EngineError as raised:
            reply, engine_failed = raised, True
        if isinstance(reply, Reply):
            return Outcome(result=reply, attempts=attempt + 1)
        error = reply
    return Outcome(result=error, attempts=max_attempts, engine_failed=engine_failed)


def _describe(engine: Engine, requests: Sequence[Request]) -> list[Reply | EngineError]:
    replies = [_refuse_empty(reply) for reply in engine.describe(requests)]
    if len(replies) != len(requests):
        raise EngineError(
            f"engine {engine.name} gave {len(replies)} replies to {len(requests)} requests",
            hint="fix the engine: it must return one reply per request, in order",
        )
    return replies


def _refuse_empty(reply: Reply | EngineError) -> Reply | EngineError:
    """An empty text is not a description; stored as one, it would look like an answer forever."""
    if isinstance(reply, Reply) and reply.is_empty:
        if reply.finish == "length":
            return EngineError(
                "the reply is empty, and ended at the limit of tokens", hint="raise describe.max_new_tokens"
            )
        return EngineError("the reply is empty", hint="try another prompt or model")
    return reply


# --- How long to wait ---


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Exponential backoff with full jitter: uniform up to a bound that doubles, so that clients spread out.

    Attributes:
        base: bound in seconds after the first failure.
        cap: largest bound, in seconds.
        max_retry_after: longest pause that a `Retry-After` causes, in seconds.
        max_asked: a server that asks for a longer pause than this many seconds is not waited for at all.
    """

    base: float = 0.5
    cap: float = 30.0
    max_retry_after: float = 120.0
    max_asked: float = 600.0

    def pause(self, num_failures: int) -> float:
        """Seconds to wait after this many failures in a row (1 or more)."""
        bound = self.base * 2 ** min(max(num_failures, 1) - 1, _MAX_DOUBLINGS)
        return random.uniform(0.0, min(self.cap, bound))

    def retry_after(self, header: str | None) -> float | None:
        """Seconds that a `Retry-After` header asks for, up to `max_retry_after`; None if it is unreadable."""
        seconds = parse_retry_after(header, datetime.now(UTC))
        return None if seconds is None else min(seconds, self.max_retry_after)

    def asks_too_much(self, header: str | None) -> float | None:
        """The seconds that a `Retry-After` header asks for if they are more than `max_asked`."""
        seconds = parse_retry_after(header, datetime.now(UTC))
        return seconds if seconds is not None and seconds > self.max_asked else None


def parse_retry_after(header: str | None, now: datetime) -> float | None:
    """Seconds in a `Retry-After` header (RFC 9110, 10.2.3: a number or a date); None if it is neither."""
    if header is None:
        return None
    try:
        seconds = float(header)
    except ValueError:
        return _seconds_until(header, now)
    return max(0.0, seconds) if math.isfinite(seconds) else None


def _seconds_until(date: str, now: datetime) -> float | None:
    try:
        then = parsedate_to_datetime(date)
    except (ValueError, OverflowError):
        return None
    # A date with zone "-0000" is parsed without a zone; the standard allows only GMT.
    return max(0.0, (then.replace(tzinfo=then.tzinfo or UTC) - now).total_seconds())
