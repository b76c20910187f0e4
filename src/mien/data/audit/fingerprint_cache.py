"""Fingerprints of images, cached as Parquet so that each image is decoded once.

A cached image is identified by its path, size and modification time. To check the current bytes, call
`image_info.inspect_image` instead.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Final

from PIL import Image

from mien.data.audit.fingerprints import Fingerprint
from mien.data.audit.image_info import ImageProblem, inspect_image
from mien.digests import digest
from mien.files import atomic_file, make_folder

if TYPE_CHECKING:
    import pyarrow

__all__ = ["cached_fingerprints", "num_threads"]

log = logging.getLogger(__name__)

# Increase this when the same image gets a different fingerprint.
_VERSION: Final = 1

# Path, size in bytes, modification time in nanoseconds.
_Key = tuple[str, int, int]


def cached_fingerprints(paths: Sequence[Path], *, cache: Path) -> list[Fingerprint | None]:
    """One fingerprint per path, None if the file cannot be decoded. Decodes uncached images in threads."""
    keys = [_key(path) for path in paths]
    if not any(keys):
        return [None] * len(paths)
    file = cache / "fingerprints" / f"{digest([_VERSION, _common_folder(paths)])[:20]}.parquet"
    known = _load(file)
    new = {key: path for key, path in zip(keys, paths, strict=True) if key is not None and key not in known}
    if new:
        log.info("computing fingerprints of %d images", len(new))
        known |= dict(zip(new, _compute_all(list(new.values())), strict=True))
        _save(file, known)
    return [None if key is None else known[key] for key in keys]


def num_threads(workers: int | None = None) -> int:
    """The requested number, or one per core."""
    return workers or os.cpu_count() or 1


def _key(path: Path) -> _Key | None:
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return (str(path), status.st_size, status.st_mtime_ns)


def _common_folder(paths: Sequence[Path]) -> str:
    """The folder that contains them all, which distinguishes the datasets in the cache."""
    return os.path.commonpath([path.parent.absolute() for path in paths])


def _compute_all(paths: Sequence[Path]) -> list[Fingerprint | None]:
    with warnings.catch_warnings(), ThreadPoolExecutor(num_threads()) as pool:
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        results = pool.map(inspect_image, paths, chunksize=16)
        return [None if isinstance(result, ImageProblem) else result.fingerprint for result in results]


# --- The file ----------------------------------------------------------------------------------------


def _schema() -> pyarrow.Schema:
    import pyarrow as pa

    types = (pa.string(), pa.int64(), pa.int64(), pa.binary(), pa.uint64(), pa.binary())
    names = ("path", "size", "changed", "digest", "hash", "thumb")
    return pa.schema(list(zip(names, types, strict=True)))


def _load(file: Path) -> dict[_Key, Fingerprint | None]:
    """The cached fingerprints; empty if there is no file or it is damaged, because it can be recomputed."""
    import pyarrow as pa
    from pyarrow import parquet

    if not file.is_file():
        return {}
    try:
        columns = [column.to_pylist() for column in parquet.read_table(file, schema=_schema()).columns]
    except (pa.ArrowException, OSError) as error:
        log.warning("%s cannot be read and is written again: %s", file, error)
        return {}
    return {
        (path, size, changed): None if sha is None else Fingerprint(sha, bits, thumbnail)
        for path, size, changed, sha, bits, thumbnail in zip(*columns, strict=True)
    }


def _save(file: Path, known: Mapping[_Key, Fingerprint | None]) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    rows = [
        (*key, None, None, None) if print_ is None else (*key, print_.digest, print_.hash, print_.thumbnail)
        for key, print_ in known.items()
    ]
    columns = [list(column) for column in zip(*rows, strict=True)]
    make_folder(file.parent)
    with atomic_file(file, sync=False) as opened:
        parquet.write_table(pa.table(columns, schema=_schema()), opened)
