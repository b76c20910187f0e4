"""A batch size that is chosen by itself: it grows until the time per item stops falling, or memory is short.

The choice is remembered in the cache directory, by what it depends on. It never changes a text.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from pydantic import JsonValue

from mien.describe.engine import MAX_BATCH_SIZE
from mien.digests import digest
from mien.documents import read_json
from mien.errors import DataError, MienError
from mien.files import atomic_write_json, cache_directory, make_folder

__all__ = ["AutoBatchSize"]

_log = logging.getLogger(__name__)
_CALLS: Final = 2  # per size, unless the first is clearly faster: other processes disturb some
_CLEARLY: Final = 0.9
_PATIENCE: Final = 2  # sizes that may be slower per item than a smaller one before the search ends
_NEARLY: Final = 1.03  # a smaller batch that is nearly as fast takes less memory, and loses less at a kill
_FILE: Final = "batch_sizes.json"


class AutoBatchSize:
    """The batch size of a model on a device.

    Args:
        settings: What the choice depends on: model, device, data type, shape of the prompts.

    Attributes:
        size: Items of the next batch: 1, 2, 4 and so on, or what an earlier run has chosen.
    """

    def __init__(self, settings: Mapping[str, JsonValue]) -> None:
        self._key = digest(dict(settings))
        self._seconds: dict[int, list[float]] = {}  # per item, by batch size
        self._first_peak: int | None = None
        found = _read().get(self._key)
        self._is_chosen = isinstance(found, int) and 1 <= found <= MAX_BATCH_SIZE
        self.size = found if isinstance(found, int) and self._is_chosen else 1

    def record(self, num_items: int, seconds: float) -> None:
        """Takes the time of a batch into account; only batches of the current size tell anything."""
        if self._is_chosen or num_items != self.size:
            return
        times = self._seconds.setdefault(self.size, [])
        times.append(seconds / num_items)
        if self._first_peak is None:
            self._first_peak = _peak_memory()  # with the model and a batch of 1
        earlier = [min(times) for size, times in self._seconds.items() if size != self.size]
        if len(times) >= _CALLS or times[-1] <= _CLEARLY * min(earlier, default=times[-1] / _CLEARLY):
            self._advance()

    def limit(self, size: int) -> None:
        """Chooses a size because a larger batch did not fit into memory."""
        self._choose(size)

    def _advance(self) -> None:
        fastest = {size: min(times) for size, times in self._seconds.items()}
        best = min(fastest, key=lambda size: fastest[size])
        num_slower = sum(size > best for size in fastest)
        if self.size < MAX_BATCH_SIZE and num_slower < _PATIENCE and self._next_fits():
            self.size *= 2
        else:
            self._choose(min(size for size, one in fastest.items() if one <= _NEARLY * fastest[best]))

    def _next_fits(self) -> bool:
        """Whether twice the batch will take at most half of the memory that is available."""
        peak, available = _peak_memory(), _available_memory()
        if peak is None or self._first_peak is None or available is None:
            return True
        return 2 * (peak - self._first_peak) <= available // 2

    def _choose(self, size: int) -> None:
        self.size, self._is_chosen = size, True
        _log.debug("batch size %d; seconds per item by size: %s", size, self._seconds)
        with suppress(MienError, OSError):  # without it, the next run chooses again
            make_folder(cache_directory())
            atomic_write_json(cache_directory() / _FILE, {**_read(), self._key: size})


def _read() -> dict[str, object]:
    """The sizes that were chosen, by digest of the settings; empty if there are none."""
    try:
        found = read_json(cache_directory() / _FILE)
    except (DataError, OSError, ValueError):  # ValueError: it is not JSON
        return {}
    return found if isinstance(found, dict) else {}


# --- Memory, where Linux tells it ---


def _peak_memory() -> int | None:
    """The most memory that this process has had, in bytes."""
    return _read_size(Path("/proc/self/status"), "VmHWM:")


def _available_memory() -> int | None:
    """Memory that can be had, in bytes: of the machine, and within the limit of a container."""
    available = _read_size(Path("/proc/meminfo"), "MemAvailable:")
    with suppress(OSError, ValueError):
        group = Path("/sys/fs/cgroup")
        free = int((group / "memory.max").read_text()) - int((group / "memory.current").read_text())
        return free if available is None else min(free, available)
    return available


def _read_size(file: Path, name: str) -> int | None:
    with suppress(OSError, ValueError, IndexError):
        for line in file.read_text().splitlines():
            if line.startswith(name):
                return int(line.split()[1]) * 1024
    return None
