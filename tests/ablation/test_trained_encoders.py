"""Ablations with trained encoders: which images are encoded in advance, and how reuse is counted."""

from pathlib import Path

import pytest

from mien.ablation.grid import load_grid
from mien.ablation.jobs import build_jobs
from mien.ablation.prepare import encode_missing, open_variants

BASE = """name = "tiny"
[data]
name = "playhouse"
options = { train = 6, val = 4, test = 4, seed = 3 }
[model]
fusion = "image_only"
width = 16
heads = 2
num_queries = 2
"""
ENCODERS = {"frozen": "frozen", "lora": "lora", "full": "full", "again": "frozen"}


@pytest.mark.parametrize(
    "order",
    [("lora", "full", "frozen", "again"), ("frozen", "lora", "again", "full")],
    ids="-".join,
)
def test_only_features_of_frozen_encoders_are_encoded_and_counted(
    tmp_path: Path, order: tuple[str, ...]
) -> None:
    (tmp_path / "tiny.toml").write_text(BASE)
    variants = "".join(f'[variants.{name}]\nset = ["train.encoder={ENCODERS[name]}"]\n' for name in order)
    (tmp_path / "grid.toml").write_text(
        f'name = "encoders"\nbase = "tiny.toml"\nseeds = [0]\nreference = "frozen"\n{variants}'
    )
    grid = load_grid(tmp_path / "grid.toml")
    jobs = build_jobs(grid, out=tmp_path / "out", cache=tmp_path / "cache", split="test")
    opened = open_variants(jobs)
    samples = sum(len(opened[0].experiment.samples(split)) for split in opened[0].splits)
    notes: list[str] = []
    count = encode_missing(opened, note=notes.append)
    assert notes == ["encoding the images: frozen"]
    assert (count.reused, count.total) == (samples, 2 * samples)
    again = encode_missing(opened, note=notes.append)
    assert (again.reused, again.total) == (2 * samples, 2 * samples)
    assert len(notes) == 1
