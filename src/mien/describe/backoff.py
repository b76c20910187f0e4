"""How long to wait before asking a server again.

Goes in: how often it failed, or what it said of when to come back. Comes out: seconds.
Knows nothing about: servers, requests, sleeping.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

__all__ = ["Backoff", "retry_after"]

_MAX_DOUBLINGS = 32  # beyond any cap; and a float ends at 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Exponential with full jitter: anything up to a bound that doubles, so that clients do not come in step.

    `base` and `cap` in seconds; `longest` is the most that a server's own wish is granted.
    """

    base: float = 0.5
    cap: float = 30.0
    longest: float = 120.0

    def pause(self, failures: int) -> float:
        """Seconds after so many failures in a row, from 1 on."""
        bound = self.base * 2 ** min(max(failures, 1) - 1, _MAX_DOUBLINGS)
        return random.uniform(0.0, min(self.cap, bound))

    def granted(self, asked: str | None) -> float | None:
        """Seconds that a `Retry-After` header asks for, within reason; None if it is not legible."""
        seconds = retry_after(asked, datetime.now(UTC))
        return None if seconds is None else min(seconds, self.longest)


def retry_after(value: str | None, now: datetime) -> float | None:
    """Seconds that `Retry-After` means (RFC 9110, 10.2.3: a number, or a date); None if it is neither."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        return _until(value, now)
    return max(0.0, seconds) if math.isfinite(seconds) else None


def _until(date: str, now: datetime) -> float | None:
    try:
        then = parsedate_to_datetime(date)
    except ValueError:
        return None
    # A date whose zone is "-0000" comes without one; the standard allows only GMT.
    return max(0.0, (then.replace(tzinfo=then.tzinfo or UTC) - now).total_seconds())
