"""How long to wait before a retry: exponential backoff with full jitter, and `Retry-After` headers.

It only computes seconds. Each caller waits in its own way, one of them in an event loop and one of them
interruptibly.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

__all__ = ["Backoff", "parse_retry_after"]

_MAX_DOUBLINGS: Final = 32  # beyond any cap, and well below 1024, where a float overflows


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Exponential backoff with full jitter: uniform up to a bound that doubles, so that clients spread out.

    Attributes:
        base: bound in seconds after the first failure.
        cap: largest bound, in seconds.
        max_retry_after: longest `Retry-After` that is honored, in seconds.
    """

    base: float = 0.5
    cap: float = 30.0
    max_retry_after: float = 120.0

    def pause(self, num_failures: int) -> float:
        """Seconds to wait after this many failures in a row (1 or more)."""
        bound = self.base * 2 ** min(max(num_failures, 1) - 1, _MAX_DOUBLINGS)
        return random.uniform(0.0, min(self.cap, bound))

    def retry_after(self, header: str | None) -> float | None:
        """Seconds that a `Retry-After` header asks for, up to `max_retry_after`; None if it is unreadable."""
        seconds = parse_retry_after(header, datetime.now(UTC))
        return None if seconds is None else min(seconds, self.max_retry_after)


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
    except ValueError:
        return None
    # A date with zone "-0000" is parsed without a zone; the standard allows only GMT.
    return max(0.0, (then.replace(tzinfo=then.tzinfo or UTC) - now).total_seconds())
