"""Calls an engine until every request has a reply or the reason why it has none.

If a whole batch fails, it is halved until the item that spoils it is alone; the other items get their
replies. A single item is tried at most `max_attempts` times, and only while its error says that a retry may
help. There are no pauses here: each engine waits where it knows what it waits for (see `backoff`).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from mien.describe.engine import Engine, Reply, Request
from mien.errors import EngineDownError, EngineError

__all__ = ["Outcome", "describe_with_retries"]

_log = logging.getLogger(__name__)


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
    if isinstance(reply, Reply) and not reply.text.strip():
        return EngineError("the reply is empty", hint="try another prompt or model")
    return reply
