"""The public function `mien.ablate`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mien.ablation.grid import load_grid
from mien.ablation.study import Ablation, default_folder
from mien.ablation.study import ablate as run_grid
from mien.files import cache_directory

if TYPE_CHECKING:
    from mien.describe.progress import Progress

__all__ = ["ablate"]


def ablate(
    grid: str | Path,
    *,
    base: str | Path | None = None,
    overrides: Sequence[str] = (),
    seeds: Sequence[int] = (),
    out: str | Path | None = None,
    cache: str | Path | None = None,
    note: Callable[[str], None] = lambda _: None,
    on_describe: Callable[[Progress], None] | None = None,
) -> Ablation:
    """Trains variants of a recipe with several seeds and compares each with a reference.

    Existing and shared results are reused; run it again to resume.

    Args:
        grid: The path of a TOML file, as in `recipes/ablations`.
        base: The path of a recipe that replaces the base recipe of the grid.
        overrides: Changes for all variants, such as "train.epochs=12".
        seeds: Seeds that replace those of the grid.
        out: The folder of the runs; by default `runs/RECIPE-GRID`.
        cache: The cache directory.
        note: Called with one line per step.
        on_describe: Called after each batch of descriptions.

    Raises:
        ConfigError: The grid, its base, or a variant is invalid.
        DataError: Data are missing or invalid.
    """
    loaded = load_grid(
        Path(grid), base=None if base is None else Path(base), overrides=overrides, seeds=seeds
    )
    return run_grid(
        loaded,
        default_folder(loaded) if out is None else Path(out),
        cache=cache_directory() if cache is None else Path(cache),
        note=note,
        on_describe=on_describe,
    )
