"""Writes WebDataset shards: tar files whose members of one sample share a name and differ in the suffix."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from mien.prefetch import batched

__all__ = ["write_shards"]

_MODE: Final = 0o644


def write_shards(folder: Path, samples: Iterable[Mapping[str, bytes]], *, per_shard: int = 1000) -> int:
    """Writes samples in order, as 000000.tar and so on; the same samples give the same bytes.

    Args:
        folder: An existing folder.
        samples: The content of each sample by suffix, such as "png", "txt" and "json".
        per_shard: Samples per file.

    Returns:
        The number of samples.
    """
    count = 0
    for shard, batch in enumerate(batched(samples, per_shard)):
        with tarfile.open(folder / f"{shard:06d}.tar", "w", format=tarfile.USTAR_FORMAT) as tar:
            for members in batch:
                for suffix, content in members.items():
                    # The number, not the id: a dot in a name begins the suffix, and a slash is a folder.
                    about = tarfile.TarInfo(f"{count:09d}.{suffix}")
                    about.size, about.mode = len(content), _MODE
                    tar.addfile(about, io.BytesIO(content))
                count += 1
    return count
