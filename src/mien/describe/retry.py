"""Asks an engine until every question has an answer or a reason why it has none.

Goes in: a batch of requests. Comes out: one outcome for each, in order.
Knows nothing about: keys, the store, where requests come from.

When a whole batch fails, it is halved until the item that spoils it stands alone; the others are
answered. An item is tried alone at most `max_attempts` times, and only while its error says that
trying again may help.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from mien.describe.engine import Engine, Reply, Request
from mien.errors import EngineDownError, EngineError

__all__ = ["Outcome", "ask"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """An answer or the last error, how often the item was tried, and whether it took the engine down."""

    result: Reply | EngineError
    attempts: int = 1
    engine_failed: bool = False


def ask(engine: Engine, requests: Sequence[Request], *, max_attempts: int = 3) -> list[Outcome]:
    """One outcome for each request, in order; EngineDownError and errors of other kinds pass through."""
    if not requests:
        return []
    try:
        replies = _replies(engine, requests)
    except EngineDownError:
        raise  # the halves would fare no better
    except EngineError as error:
        if len(requests) == 1:
            return [_insist(engine, requests[0], error, max_attempts, engine_failed=True)]
        _log.info("a batch of %d failed (%s); trying its halves", len(requests), error)
        middle = len(requests) // 2
        return [
            *ask(engine, requests[:middle], max_attempts=max_attempts),
            *ask(engine, requests[middle:], max_attempts=max_attempts),
        ]
    return [
        _insist(engine, request, reply, max_attempts)
        if isinstance(reply, EngineError)
        else Outcome(result=reply)
        for request, reply in zip(requests, replies, strict=True)
    ]


def _insist(
    engine: Engine, request: Request, error: EngineError, max_attempts: int, *, engine_failed: bool = False
) -> Outcome:
    """Tries an item alone, after its first failure, as long as that may help."""
    for attempt in range(1, max_attempts):
        if not error.retryable:
            return Outcome(result=error, attempts=attempt, engine_failed=engine_failed)
        try:
            reply, engine_failed = _replies(engine, [request])[0], False
        except EngineDownError:
            raise
        except EngineError as raised:
            reply, engine_failed = raised, True
        if isinstance(reply, Reply):
            return Outcome(result=reply, attempts=attempt + 1)
        error = reply
    return Outcome(result=error, attempts=max_attempts, engine_failed=engine_failed)


def _replies(engine: Engine, requests: Sequence[Request]) -> list[Reply | EngineError]:
    replies = [_not_empty(reply) for reply in engine.describe(requests)]
    if len(replies) != len(requests):
        raise EngineError(
            f"engine {engine.name} gave {len(replies)} replies to {len(requests)} requests",
            hint="this is a defect of the engine: one reply for each request, in order",
        )
    return replies


def _not_empty(reply: Reply | EngineError) -> Reply | EngineError:
    """Nothing is no description; kept as one, it would look like an answer for ever."""
    if isinstance(reply, Reply) and not reply.text.strip():
        return EngineError("the answer is empty", hint="try another prompt or model")
    return reply
