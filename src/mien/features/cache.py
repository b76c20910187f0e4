"""Features on disk: one float16 array, one row a picture, found by content.

Goes in: rows under keys. Comes out: rows by key, in any order, also after a crash in between.
Knows nothing about: pictures, encoders, what makes a key.

`NAME.npy` is an ordinary array of (row, token, dim) that is read through a memory map; `NAME.json` beside it
says which encoder made it, which key stands in which row, and which rows are done. A row counts as done
only after its numbers are on disk, so whatever a crash interrupts is made again, and nothing else is.
"""

import fcntl
import io
import json
import math
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from jaxtyping import Float, Int

from mien.digests import digest
from mien.errors import DataError, StoreLockedError
from mien.runs import atomic_write_json

__all__ = ["FeatureFile", "FeatureReader", "FeatureWriter"]

_SCHEMA: Final = 1
_TYPE: Final = np.dtype("<f2")
_REMEDY: Final = "delete it and the .json beside it; they are made again"

_Map = np.memmap[Any, np.dtype[np.float16]]


class FeatureReader:
    """The features of a list of subjects, in its order; rows are copied out of the file when asked for.

    A subject has a row for each of its variants and views; the tokens of its views come as one.
    """

    def __init__(
        self,
        array: Float[np.ndarray, "row token dim"],
        rows: Int[np.ndarray, "subject variant view"],
        digest: str = "",
    ) -> None:
        self._array = array
        self._rows = rows
        self.digest = digest  # changes with any of the keys and with their order

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def num_tokens(self) -> int:
        """Tokens of a subject, of all its views."""
        return int(self._array.shape[1] * self._rows.shape[2])

    @property
    def num_variants(self) -> int:
        """Variants of a subject, of which the first is its picture as it is."""
        return int(self._rows.shape[1])

    @property
    def num_views(self) -> int:
        """Views of a subject."""
        return int(self._rows.shape[2])

    @property
    def dim(self) -> int:
        """Numbers of a token."""
        return int(self._array.shape[2])

    def read(
        self, indices: Int[np.ndarray, " batch"], variants: Int[np.ndarray, " batch"] | None = None
    ) -> Float[np.ndarray, "batch token dim"]:
        """The features (float16) of the subjects at these places of the list, by default as they are."""
        rows = self._rows[indices, 0 if variants is None else variants]
        taken: np.ndarray = np.take(self._array, rows, axis=0)  # (batch, view, token, dim)
        return taken.reshape(len(indices), self.num_tokens, self.dim)


class FeatureWriter:
    """Puts rows into a feature file; they count once `flush` has run. Comes from `FeatureFile.writing`."""

    def __init__(self, index: "_Index", array: _Map | None) -> None:
        self._index = index
        self._array = array
        self._pending: list[str] = []

    def write(self, keys: Sequence[str], features: Float[np.ndarray, "batch token dim"]) -> None:
        """One row for each key; DataError if a number is too large for float16, or none."""
        assert self._array is not None, "no room was reserved"
        with np.errstate(over="ignore"):
            rows = features.astype(_TYPE)
        if not np.isfinite(rows).all():
            raise DataError(
                f"the encoder gives {np.abs(features).max():g}, which float16 cannot hold",
                hint="choose another features.layer",
            )
        self._array[[self._index.rows[key] for key in keys]] = rows
        self._pending += keys

    def flush(self) -> None:
        """Brings what was written to the disk, then says so in the sidecar."""
        if self._array is None or not self._pending:
            return
        self._array.flush()
        self._index.mark_done(self._pending)
        self._index.save()
        self._pending = []


class FeatureFile:
    """The features of one encoder at one place. Make one with `open`."""

    def __init__(self, path: Path, index: "_Index") -> None:
        self.path = path
        self._index = index

    @classmethod
    def open(cls, path: Path, *, signature: str) -> "FeatureFile":
        """The file at `path` (".npy"), which need not exist yet, of the encoder with this signature.

        Raises DataError if what is there is damaged, or another encoder's.
        """
        file = cls(path, _Index(path.with_suffix(".json"), signature=signature))
        file._load()
        return file

    @property
    def shape(self) -> tuple[int, int] | None:
        """(token, dim) of a row; None as long as there is none."""
        return self._index.shape

    def missing(self, keys: Iterable[str]) -> list[str]:
        """The keys that have no features yet, each once, in order."""
        return [key for key in dict.fromkeys(keys) if not self._index.is_done(key)]

    def reader(self, keys: Sequence[str], *, num_variants: int = 1, num_views: int = 1) -> FeatureReader:
        """The features under these keys, which must be there: for each subject in turn, and for each of its
        variants, one for each view."""
        lacking = self.missing(keys)
        if lacking:
            raise DataError(
                f"{self.path} lacks {len(lacking)} of {len(keys)} features", hint="encode them first"
            )
        rows = np.array([self._index.rows[key] for key in keys], dtype=np.int64)
        shaped = rows.reshape(-1, num_variants, num_views)
        name = list(keys) if num_variants * num_views == 1 else [num_variants, num_views, *keys]
        return FeatureReader(self._map("r"), shaped, digest(name))

    @contextmanager
    def writing(self, keys: Iterable[str], shape: tuple[int, int]) -> Iterator[FeatureWriter]:
        """A writer with room for these keys, each of shape (token, dim); StoreLockedError if another writes.

        What was written is flushed at the end, also when an error ends it.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.with_suffix(".lock").open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise StoreLockedError(
                    f"another process writes to {self.path}", hint="wait for it, or name another cache"
                ) from error
            self._load()  # that process may have added rows since
            self._reserve(keys, shape)
            writer = FeatureWriter(self._index, self._map("r+") if self._index.rows else None)
            try:
                yield writer
            finally:
                writer.flush()

    def _load(self) -> None:
        try:
            self._index.load()
            if self._index.rows and len(self._map("r")) < len(self._index.rows):
                raise ValueError(f"{self.path.name} is too short")
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"the features at {self.path} are damaged: {error!r}", hint=_REMEDY) from error

    def _reserve(self, keys: Iterable[str], shape: tuple[int, int]) -> None:
        """Rows at the end for new keys: first in the array, then in the sidecar."""
        if self._index.shape not in {None, shape}:
            raise DataError(
                f"{self.path} has features of shape {self._index.shape}, not {shape}", hint=_REMEDY
            )
        new = [key for key in dict.fromkeys(keys) if key not in self._index.rows]
        if new:
            self._index.shape = shape
            self._grow((len(self._index.rows) + len(new), *shape))
            self._index.add(new)
            self._index.save()

    def _grow(self, shape: tuple[int, int, int]) -> None:
        """Makes the array longer in place: numpy's header leaves room for any number of rows."""
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(
            header, {"descr": _TYPE.str, "fortran_order": False, "shape": shape}
        )
        size = header.tell() + math.prod(shape) * _TYPE.itemsize
        is_new = not self.path.exists()
        with self.path.open("w+b" if is_new else "r+b") as file:
            # Room first: what is written to a map of a file without room on the disk kills the process.
            try:
                _allocate(file.fileno(), size)
            except OSError as error:
                if is_new:
                    self.path.unlink()
                free = shutil.disk_usage(self.path.parent).free
                raise DataError(
                    f"{self.path} needs {_told(size)}, which cannot be had ({error.strerror}); "
                    f"{_told(free)} are free",
                    hint="name another place with run.cache, or choose fewer tokens: features.tokens, "
                    "features.views, a smaller encoder",
                ) from error
            file.write(header.getvalue())

    def _map(self, mode: Literal["r", "r+"]) -> _Map:
        mapped = np.lib.format.open_memmap(self.path, mode=mode)
        if mapped.dtype != _TYPE or mapped.shape[1:] != self._index.shape:
            raise ValueError(f"{self.path.name} holds {mapped.dtype} of shape {mapped.shape}")
        return mapped


def _allocate(descriptor: int, size: int) -> None:
    """Makes a file so many bytes long, with room for all of them; OSError if there is none."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, size)
    else:
        os.ftruncate(descriptor, size)


def _told(num_bytes: int) -> str:
    """A number of bytes as people read it."""
    if num_bytes < 2**30:
        return f"{num_bytes / 2**20:,.1f} MiB"
    return f"{num_bytes / 2**30:,.1f} GiB"


class _Index:
    """The sidecar: which key stands in which row, and which rows are done."""

    def __init__(self, path: Path, *, signature: str) -> None:
        self.path = path
        self.signature = signature
        self.shape: tuple[int, int] | None = None  # (token, dim), once there are rows
        self.rows: dict[str, int] = {}
        self._done = np.zeros(0, dtype=np.bool_)

    def is_done(self, key: str) -> bool:
        row = self.rows.get(key)
        return row is not None and bool(self._done[row])

    def add(self, keys: Sequence[str]) -> None:
        for key in keys:
            self.rows[key] = len(self.rows)
        self._done = np.concatenate((self._done, np.zeros(len(keys), dtype=np.bool_)))

    def mark_done(self, keys: Sequence[str]) -> None:
        self._done[[self.rows[key] for key in keys]] = True

    def load(self) -> None:
        """What is on disk, nothing if there is none; ValueError, KeyError or TypeError if it is damaged."""
        state = json.loads(self.path.read_text(encoding="utf-8")) if self.path.exists() else self._state()
        if state["schema"] != _SCHEMA:
            raise DataError(f"{self.path} has schema {state['schema']!r}, not {_SCHEMA}", hint=_REMEDY)
        if state["signature"] != self.signature:
            raise DataError(
                f"{self.path} is of another encoder ({state['signature'][:12]}, not {self.signature[:12]})",
                hint="name another cache for this encoder",
            )
        self.shape = None
        if state["shape"] is not None:
            num_tokens, dim = state["shape"]
            self.shape = (int(num_tokens), int(dim))
        self.rows = {key: row for row, key in enumerate(state["keys"])}
        bits = np.frombuffer(bytes.fromhex(state["done"]), dtype=np.uint8)
        self._done = np.unpackbits(bits)[: len(self.rows)].astype(np.bool_)
        if len(self._done) != len(state["keys"]):
            raise ValueError(f"{len(state['keys'])} keys, {len(self._done)} marks")

    def save(self) -> None:
        atomic_write_json(self.path, self._state())

    def _state(self) -> dict[str, Any]:
        return {
            "schema": _SCHEMA,
            "signature": self.signature,
            "shape": self.shape,
            "done": np.packbits(self._done).tobytes().hex(),
            "keys": list(self.rows),
        }
