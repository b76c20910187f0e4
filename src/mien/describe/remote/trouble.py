"""What has gone wrong with the servers since the last description: says it, and decides when it is enough.

A single bad item never stops a run. Servers that answer no one do, after a small number of requests.
"""

from __future__ import annotations

import logging
import re
import time
from typing import Final

from mien.describe.remote.errors import ChatError
from mien.errors import EngineDownError

__all__ = ["MAX_USELESS", "Trouble"]

_log = logging.getLogger(__name__)

# Replies in a row without a description, for at least two subjects, before there was any.
MAX_USELESS: Final = 16
# The same in a run that has had descriptions: faults of servers, or replies that fail alike.
_MAX_USELESS_LATER: Final = 48
# In a row, after the servers described others: a quota or a permission is gone.
_MAX_FORBIDDEN: Final = 16
# Before there was any description: rounds of requests that a busy server sends away, seconds spent on pauses
# for it and for a failing one, and rounds of requests that it does not complete in time.
_MAX_BUSY_ROUNDS: Final = 6
_MAX_BUSY_PAUSES: Final = 120.0
_MAX_PAUSES: Final = 30.0
_MAX_SLOW_ROUNDS: Final = 2
_MIN_SUBJECTS: Final = 2
# Of messages: at once if they are new, but not more often than this, and again after this time.
_SECONDS_BETWEEN: Final = 2.0
_SECONDS_UNTIL_AGAIN: Final = 30.0
_KEPT: Final = "descriptions so far are kept"


class Trouble:
    """Counts replies in a row without a description.

    Attributes:
        has_worked: whether any server has given a description.
    """

    def __init__(self) -> None:
        self.has_worked = False
        self._said: dict[str, float] = {}
        self._last_said = -_SECONDS_UNTIL_AGAIN
        self.reset()

    def reset(self) -> None:
        """Begins to count anew."""
        self._num_failures = self._num_useless = self._num_alike = self._num_forbidden = 0
        self._num_busy_rounds = self._num_slow_rounds = 0
        self._round_began = -1.0
        self._pauses = 0.0
        self._subject_ids: set[str] = set()
        self._alike = ""

    def record_description(self) -> None:
        """A server has given a description."""
        self.has_worked = True
        self.reset()

    def record(self, url: str, subject_id: str, error: ChatError, *, began: float, pause: float) -> None:
        """A request failed.

        Args:
            url: the server's address.
            subject_id: whom the request was about.
            error: what became of it.
            began: when it was sent; requests that were in flight together are one round.
            pause: seconds until the server gets the next request.
        """
        self._say_failure(url, error, pause)
        if error.kind in ("unreachable", "rejected"):
            return  # no reply; or one after which the server gets no more requests
        self._subject_ids.add(subject_id)
        self._num_failures += 1
        is_new_round = began >= self._round_began
        if is_new_round:
            self._round_began = time.monotonic()
        self._pauses += pause if is_new_round else 0.0
        if error.kind == "busy":
            self._num_busy_rounds += is_new_round
        elif error.kind == "slow":
            self._num_slow_rounds += is_new_round
        # Of busy servers, rounds count, because one that loads its model may answer soon.
        self._num_useless += error.kind != "busy" or self.has_worked
        self._num_forbidden += str(error).startswith("status 403")
        likeness = re.sub(r"\d+", "0", str(error))[:80]
        is_alike = likeness == self._alike and not error.is_refusal
        self._num_alike, self._alike = self._num_alike * is_alike + 1, likeness

    def final_error(self, url: str, error: ChatError) -> EngineDownError | None:
        """The error that ends the run, or None if the servers deserve more requests."""
        if self._num_forbidden >= _MAX_FORBIDDEN and self.has_worked:
            return EngineDownError(
                f"the servers forbade {self._num_forbidden} requests in a row ({url}: {error})",
                hint=f"check the quota and permissions of the key; {_KEPT}",
            )
        if not self._is_enough(error):
            return None
        what = (
            "the servers gave no description"
            if not self.has_worked
            else "the servers stopped describing: none"
        )
        return EngineDownError(
            f"{what} for {self._num_failures} requests in a row; the last: {url}: {error}",
            hint=f"{error.hint or 'check the server'}; {_KEPT}",
            retryable=error.kind != "item",
        )

    def _is_enough(self, error: ChatError) -> bool:
        if error.kind == "busy" and not self.has_worked:  # no item's fault, so one is enough
            return self._num_busy_rounds >= _MAX_BUSY_ROUNDS or self._pauses >= _MAX_BUSY_PAUSES
        if len(self._subject_ids) < _MIN_SUBJECTS:
            return False
        if self.has_worked:
            count = self._num_alike if error.kind == "item" else self._num_useless
            return count >= _MAX_USELESS_LATER
        return (
            self._num_useless >= MAX_USELESS
            or self._pauses >= _MAX_PAUSES
            or self._num_slow_rounds >= _MAX_SLOW_ROUNDS
        )

    # --- Messages ---

    def say_waiting(self, url: str, seconds: float, timeout: float) -> None:
        """Says that the first reply takes long."""
        self._say(
            "waiting",
            f"{url}: no reply for {seconds:.0f} s; waiting at most {timeout:.0f} s (run.timeout)",
        )

    def _say_failure(self, url: str, error: ChatError, pause: float) -> None:
        if error.kind == "rejected" or (error.kind == "item" and self.has_worked):
            return  # said elsewhere: that the server is down; with the subject
        then = f"; waiting {pause:.0f} s" if pause >= 1 else "" if error.kind == "item" else "; trying again"
        hint = f" ({error.hint})" if error.hint and not self.has_worked else ""
        self._say(f"{url} {re.sub(r'[0-9]+', '0', str(error))[:80]}", f"{url}: {error}{then}{hint}")

    def _say(self, key: str, text: str) -> None:
        now = time.monotonic()
        if now - self._said.get(key, -_SECONDS_UNTIL_AGAIN) < _SECONDS_UNTIL_AGAIN:
            return
        if now - self._last_said < _SECONDS_BETWEEN:
            return
        if len(self._said) > 100:
            self._said.clear()
        self._said[key] = self._last_said = now
        _log.warning("%s", text)
