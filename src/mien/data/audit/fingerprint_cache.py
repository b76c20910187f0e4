"""Fingerprints of pictures, kept as Parquet in the cache, so that a picture is decoded once.

In: paths, a cache folder. Out: a `Fingerprint` for each, None for a file that cannot be shown.
Knows nothing about which pictures are alike. A picture is known by its path, size and time of change; what
must hold of the very bytes now is asked of `fingerprints.look`, never of this.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Final
from uuid import uuid4

from PIL import Image

from mien.data.audit.fingerprints import Fingerprint, ImageProblem, inspect_image
from mien.digests import digest
from mien.errors import DataError

if TYPE_CHECKING:
    import pyarrow

__all__ = ["cached_fingerprints", "num_threads"]

log = logging.getLogger(__name__)

# Raised when the same picture gets another fingerprint.
_VERSION: Final = 1

# Path, size in bytes, time of change in nanoseconds.
_Key = tuple[str, int, int]


def cached_fingerprints(paths: Sequence[Path], *, cache: Path) -> list[Fingerprint | None]:
    """One fingerprint a path, in order; pictures that the cache does not know are decoded in threads."""
    keys = [_key(path) for path in paths]
    if not any(keys):
        return [None] * len(paths)
    file = cache / "fingerprints" / f"{digest([_VERSION, _above(paths)])[:20]}.parquet"
    known = _load(file)
    new = {key: path for key, path in zip(keys, paths, strict=True) if key is not None and key not in known}
    if new:
        log.info("fingerprints of %d pictures", len(new))
        made = dict(zip(new, _look_at_all(list(new.values())), strict=True))
        known |= {key: made[key] for key in made}
        _save(file, known)
    return [None if key is None else known[key] for key in keys]


def num_threads(workers: int | None = None) -> int:
    """So many as asked for, else one a core."""
    return workers or os.cpu_count() or 1


def _key(path: Path) -> _Key | None:
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return (str(path), status.st_size, status.st_mtime_ns)


def _above(paths: Sequence[Path]) -> str:
    """The folder above them all, by which one data set's fingerprints are told from another's."""
    return os.path.commonpath([path.parent.absolute() for path in paths])


def _look_at_all(paths: Sequence[Path]) -> list[Fingerprint | None]:
    with warnings.catch_warnings(), ThreadPoolExecutor(num_threads()) as pool:
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        seen = pool.map(inspect_image, paths, chunksize=16)
        return [None if isinstance(found, ImageProblem) else found.fingerprint for found in seen]


# --- The file ----------------------------------------------------------------------------------------


def _schema() -> pyarrow.Schema:
    import pyarrow as pa

    kinds = (pa.string(), pa.int64(), pa.int64(), pa.binary(), pa.uint64(), pa.binary())
    names = ("path", "size", "changed", "digest", "hash", "thumb")
    return pa.schema(list(zip(names, kinds, strict=True)))


def _load(file: Path) -> dict[_Key, Fingerprint | None]:
    """What the cache knows; nothing if there is no file, or it is torn: it is only a cache."""
    import pyarrow as pa
    from pyarrow import parquet

    if not file.is_file():
        return {}
    try:
        columns = [column.to_pylist() for column in parquet.read_table(file, schema=_schema()).columns]
    except (pa.ArrowException, OSError) as error:
        log.warning("%s cannot be read, and is made anew: %s", file, error)
        return {}
    return {
        (path, size, changed): None if sha is None else Fingerprint(sha, bits, thumb)
        for path, size, changed, sha, bits, thumb in zip(*columns, strict=True)
    }


def _save(file: Path, known: Mapping[_Key, Fingerprint | None]) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    none = Fingerprint(b"", None, None)
    rows = [
        (*key, print_ and print_.digest, (print_ or none).hash, (print_ or none).thumb)
        for key, print_ in known.items()
    ]
    columns = [list(column) for column in zip(*rows, strict=True)]
    part = file.with_suffix(f".{uuid4().hex}.part")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        parquet.write_table(pa.table(columns, schema=_schema()), part)
        part.replace(file)
    except OSError as error:
        raise DataError(f"{file} cannot be written: {error}", hint="see to the cache folder") from error
    finally:
        part.unlink(missing_ok=True)
