"""The memory that images may take while they are decoded and prepared, in all threads together.

A small file can decode to gigabytes. So the bytes that an image will take are estimated from its header. An
image that would take more than the limit is refused, and a thread waits while others take too much.
"""

from __future__ import annotations

import threading
from typing import Final, Self

__all__ = ["MAX_BYTES", "Reservation", "image_bytes"]

# Enough for 80 megapixels as RGB, twice: as decoded, and turned upright or marked.
MAX_BYTES: Final = 800_000_000

_ROW: Final = 8  # bytes: Pillow holds a pointer to each row
_PIXEL: Final = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2, "I;16N": 2}  # all others: 4


class _Shared:
    """What all threads have reserved, in bytes."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.reserved = 0


_shared: Final = _Shared()


class Reservation:
    """Bytes that one thread may take; a context that gives them back.

    A thread must have only one at a time: two threads that wait for a second one would wait forever.
    """

    def __init__(self) -> None:
        self._held = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.hold(0)

    def hold(self, count: int) -> None:
        """Gives back what is held and takes `count` bytes, when the other threads leave room for them."""
        with _shared.changed:
            _shared.reserved -= self._held
            self._held = 0
            _shared.changed.notify_all()
            # What takes more than the limit by itself is taken alone.
            _shared.changed.wait_for(lambda: not _shared.reserved or _shared.reserved + count <= MAX_BYTES)
            _shared.reserved += count
            self._held = count


def image_bytes(mode: str, width: int, height: int) -> int:
    """The memory of a Pillow image, in bytes."""
    return height * (_ROW + width * _PIXEL.get(mode, 4))
