"""Features on disk: one float16 array with one row per key.

`NAME.npy` is an ordinary array of shape (row, token, dim), read through a memory map. `NAME.json` next to it
says which encoder made it, which key each row has, and which rows are done. A row counts as done only after
its numbers are on disk, so only the rows that a crash interrupts are made again.
"""

import io
import math
import os
import shutil
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from jaxtyping import Float, Int

from mien.digests import digest
from mien.documents import MAX_TABLE_BYTES, read_json
from mien.errors import DataError, StoreLockedError
from mien.files import atomic_write_json, format_bytes, make_folder
from mien.locks import FileLock, LockHolder, try_lock

__all__ = ["FeatureFile", "FeatureReader", "FeatureWriter"]

_SCHEMA: Final = 1
_TYPE: Final = np.dtype("<f2")
_DELETE: Final = "delete it and its .json; the features are encoded again"

_Map = np.memmap[Any, np.dtype[np.float16]]


class FeatureReader:
    """The features of a list of subjects, in its order; rows are copied out of the file on demand.

    Args:
        array: All rows of the file, shape (row, token, dim).
        rows: The row of each subject, variant and view. The tokens of a subject's views are concatenated.
        digest: Identifies the features; changes with any key and with the order of keys.
        checksums: Of each row of the file, checked when it is first read; None where it is not known.
        path: The file, for messages.
    """

    def __init__(
        self,
        array: Float[np.ndarray, "row token dim"],
        rows: Int[np.ndarray, "subject variant view"],
        digest: str = "",
        checksums: Sequence[int | None] = (),
        path: Path | None = None,
    ) -> None:
        self._array = array
        self._rows = rows
        self._unchecked = {row: value for row, value in enumerate(checksums) if value is not None}
        self._path = path
        self.digest = digest

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def num_tokens(self) -> int:
        """Tokens per subject, of all its views together."""
        return int(self._array.shape[1] * self._rows.shape[2])

    @property
    def num_variants(self) -> int:
        """Variants per subject, of which the first is the image as it is."""
        return int(self._rows.shape[1])

    @property
    def num_views(self) -> int:
        """Views per subject."""
        return int(self._rows.shape[2])

    @property
    def dim(self) -> int:
        """Width of a token."""
        return int(self._array.shape[2])

    def read(
        self, indices: Int[np.ndarray, " batch"], variants: Int[np.ndarray, " batch"] | None = None
    ) -> Float[np.ndarray, "batch token dim"]:
        """The features (float16) of some subjects, by index; `variants`: which of each, 0 by default.

        Raises:
            DataError: The file has changed since the features were encoded.
        """
        rows = self._rows[indices, 0 if variants is None else variants]
        taken: np.ndarray = np.take(self._array, rows, axis=0)  # (batch, view, token, dim)
        if self._unchecked:
            self._check(rows.ravel(), taken.reshape(-1, *taken.shape[-2:]))
        return taken.reshape(len(indices), self.num_tokens, self.dim)

    def _check(self, rows: Int[np.ndarray, " row"], features: Float[np.ndarray, "row token dim"]) -> None:
        for row, one in zip(rows.tolist(), features, strict=True):
            expected = self._unchecked.pop(row, None)
            if expected is not None and expected != _checksum(one):
                raise DataError(f"the features at {self._path} have changed, in row {row}", hint=_DELETE)


def _checksum(row: Float[np.ndarray, "token dim"]) -> int:
    return zlib.crc32(np.ascontiguousarray(row).view(np.uint8).data)


class FeatureWriter:
    """Writes rows into a feature file; they count as done after `flush`. Made by `FeatureFile.writing`."""

    def __init__(self, index: "_Index", array: _Map | None) -> None:
        self._index = index
        self._array = array
        self._pending: dict[str, int] = {}  # with checksums

    def write(self, keys: Sequence[str], features: Float[np.ndarray, "batch token dim"]) -> None:
        """Writes one row per key; DataError if a number does not fit float16, or is not finite."""
        assert self._array is not None, "no rows were reserved"
        with np.errstate(over="ignore"):
            rows = features.astype(_TYPE)
        if not np.isfinite(rows).all():
            raise DataError(
                f"the encoder gives {np.abs(features).max():g}, which does not fit float16",
                hint="choose another features.layer",
            )
        self._array[[self._index.rows[key] for key in keys]] = rows
        self._pending.update(zip(keys, map(_checksum, rows), strict=True))

    def flush(self) -> None:
        """Flushes the rows to disk, then marks them as done in the sidecar."""
        if self._array is None or not self._pending:
            return
        self._array.flush()
        self._index.mark_done(self._pending)
        self._index.save()
        self._pending = {}


class FeatureFile:
    """A file of features of one encoder. Made by `open`."""

    def __init__(self, path: Path, index: "_Index") -> None:
        self.path = path
        self._index = index

    @classmethod
    def open(cls, path: Path, *, signature: str) -> "FeatureFile":
        """Opens the file at `path` (".npy"), which need not exist.

        Raises:
            DataError: If the file is damaged, or has features of an encoder with another signature.
        """
        file = cls(path, _Index(path.with_suffix(".json"), signature=signature))
        file._load()
        return file

    @property
    def shape(self) -> tuple[int, int] | None:
        """(token, dim) of a row; None if the file has no rows."""
        return self._index.shape

    def missing(self, keys: Iterable[str]) -> list[str]:
        """The keys without features, each once, in order."""
        return [key for key in dict.fromkeys(keys) if not self._index.is_done(key)]

    def reader(self, keys: Sequence[str], *, num_variants: int = 1, num_views: int = 1) -> FeatureReader:
        """A reader of the features of these keys.

        Args:
            keys: Subject after subject, in each variant after variant, and in each view after view.
            num_variants: Variants per subject.
            num_views: Views per variant.

        Raises:
            DataError: If features are missing.
        """
        missing = self.missing(keys)
        if missing:
            raise DataError(
                f"{self.path} lacks {len(missing)} of {len(keys)} features", hint="encode them first"
            )
        rows = np.array([self._index.rows[key] for key in keys], dtype=np.int64)
        shaped = rows.reshape(-1, num_variants, num_views)
        name = list(keys) if num_variants * num_views == 1 else [num_variants, num_views, *keys]
        return FeatureReader(self._map("r"), shaped, digest(name), self._index.checksums, self.path)

    @contextmanager
    def writing(self, keys: Iterable[str], shape: tuple[int, int]) -> Iterator[FeatureWriter]:
        """A writer with space for these keys, whose rows have the shape (token, dim).

        Rows are flushed at the end, also after an error.

        Raises:
            StoreLockedError: If another process writes to the file.
            DataError: If the file has rows of another shape or is a link, or the disk is full.
        """
        make_folder(self.path.parent)
        if self.path.is_symlink():
            # It is written in place: a link in a run of someone else would change a file elsewhere.
            raise DataError(f"{self.path} is a link, which is not written through", hint=_DELETE)
        lock = self._acquire_lock()
        try:
            self._load()  # another process may have added rows since
            self._reserve(keys, shape)
            writer = FeatureWriter(self._index, self._map("r+") if self._index.rows else None)
            try:
                yield writer
            finally:
                writer.flush()
        finally:
            lock.release()

    def _acquire_lock(self) -> FileLock:
        path = self.path.with_suffix(".lock")
        try:
            lock = try_lock(path)
        except OSError as error:
            raise DataError(
                f"{path} cannot be locked: {error.strerror}", hint="set run.cache to another folder"
            ) from error
        if isinstance(lock, LockHolder):
            raise StoreLockedError(
                f"{self.path} is being written by {lock}", hint="wait for it, or set another run.cache"
            )
        return lock

    def _load(self) -> None:
        try:
            self._index.load()
            if self._index.rows and len(self._map("r")) < len(self._index.rows):
                raise ValueError(f"{self.path.name} is too short")
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"the features at {self.path} are damaged: {error!r}", hint=_DELETE) from error

    def _reserve(self, keys: Iterable[str], shape: tuple[int, int]) -> None:
        """Adds rows for new keys at the end: first to the array, then to the sidecar."""
        if self._index.shape not in {None, shape}:
            raise DataError(
                f"{self.path} has features of shape {self._index.shape}, not {shape}", hint=_DELETE
            )
        new = [key for key in dict.fromkeys(keys) if key not in self._index.rows]
        if new:
            self._index.shape = shape
            self._grow((len(self._index.rows) + len(new), *shape))
            self._index.add(new)
            self._index.save()

    def _grow(self, shape: tuple[int, int, int]) -> None:
        """Makes the array longer in place: NumPy's header leaves space for any number of rows."""
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(
            header, {"descr": _TYPE.str, "fortran_order": False, "shape": shape}
        )
        size = header.tell() + math.prod(shape) * _TYPE.itemsize
        is_new = not self.path.exists()
        with self.path.open("w+b" if is_new else "r+b") as file:
            # Allocate first: writing to the map of a file that does not fit on the disk kills the process.
            try:
                _allocate(file.fileno(), size)
            except OSError as error:
                if is_new:
                    self.path.unlink()
                free = shutil.disk_usage(self.path.parent).free
                raise DataError(
                    f"{self.path} needs {format_bytes(size)}, which could not be allocated "
                    f"({error.strerror}); {format_bytes(free)} are free",
                    hint="set run.cache to another folder, or use fewer tokens: features.tokens, "
                    "features.views, a smaller encoder",
                ) from error
            file.write(header.getvalue())

    def _map(self, mode: Literal["r", "r+"]) -> _Map:
        try:
            mapped = np.lib.format.open_memmap(self.path, mode=mode)
        except OSError:
            raise
        except Exception as error:  # NumPy parses the header as Python, which raises almost anything
            raise ValueError(f"its header cannot be read: {error}") from error
        if mapped.dtype != _TYPE or mapped.shape[1:] != self._index.shape:
            raise ValueError(f"{self.path.name} holds {mapped.dtype} of shape {mapped.shape}")
        return mapped


def _allocate(descriptor: int, size: int) -> None:
    """Makes a file `size` bytes long, allocated on disk; OSError if it does not fit."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, size)
    else:
        os.ftruncate(descriptor, size)


class _Index:
    """The sidecar: the key of each row, and which rows are done."""

    def __init__(self, path: Path, *, signature: str) -> None:
        self.path = path
        self.signature = signature
        self.shape: tuple[int, int] | None = None  # (token, dim), once there are rows
        self.rows: dict[str, int] = {}
        self._done = np.zeros(0, dtype=np.bool_)
        self.checksums: list[int | None] = []  # mien 0.1.0 wrote none

    def is_done(self, key: str) -> bool:
        row = self.rows.get(key)
        return row is not None and bool(self._done[row])

    def add(self, keys: Sequence[str]) -> None:
        for key in keys:
            self.rows[key] = len(self.rows)
        self.checksums += [None] * len(keys)
        self._done = np.concatenate((self._done, np.zeros(len(keys), dtype=np.bool_)))

    def mark_done(self, checksums: Mapping[str, int]) -> None:
        self._done[[self.rows[key] for key in checksums]] = True
        for key, value in checksums.items():
            self.checksums[self.rows[key]] = value

    def load(self) -> None:
        """Reads the file, if there is one; ValueError, KeyError or TypeError if it is damaged."""
        state = read_json(self.path, max_bytes=MAX_TABLE_BYTES) if self.path.exists() else self._state()
        if state["schema"] != _SCHEMA:
            raise DataError(f"{self.path} has schema {state['schema']!r}, not {_SCHEMA}", hint=_DELETE)
        if state["signature"] != self.signature:
            raise DataError(
                f"{self.path} has features of another encoder ({state['signature'][:12]}, not "
                f"{self.signature[:12]})",
                hint="set another run.cache for this encoder",
            )
        self.shape = None
        if state["shape"] is not None:
            num_tokens, dim = state["shape"]
            self.shape = (int(num_tokens), int(dim))
        self.rows = {key: row for row, key in enumerate(state["keys"])}
        bits = np.frombuffer(bytes.fromhex(state["done"]), dtype=np.uint8)
        self._done = np.unpackbits(bits)[: len(self.rows)].astype(np.bool_)
        self.checksums = list(state.get("checksums") or [None] * len(self.rows))
        if len(self.checksums) != len(self.rows):
            raise ValueError(f"{len(self.rows)} keys, {len(self.checksums)} checksums")
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
            "checksums": self.checksums,
        }
