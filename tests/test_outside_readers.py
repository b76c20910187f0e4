"""Files that mien writes are read by standard readers of other projects, which find what was written."""

import json
import math
import sqlite3
import tomllib
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file
from tests.factories.tiny_runs import train_tiny_run

from mien.cli import main
from mien.describe.store.export import COLUMNS, write_export
from mien.describe.store.store import Store
from mien.types import Description

TEXTS = (
    'two\nlines, a comma and "quotes"',
    "**Sad**\r\n\r\n- item\ttab",
    "café 😀 \u2028 日本語",
    "NaN",
    "007",
    "null",
    "",
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was trained, evaluated and reported."""
    folder = tmp_path_factory.mktemp("outside")
    trained = train_tiny_run(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        assert main(["evaluate", str(trained)]) == 0
        assert main(["report", str(trained)]) == 0
        out = str(folder / "test.jsonl")
        assert main(["data", "export", str(folder / "tiny.toml"), "--split", "test", "--out", out]) == 0
    return trained


def strict_json(text: str) -> Any:
    """Parses JSON as RFC 8259 defines it; Python's own NaN and Infinity are errors, as in other languages."""

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    return json.loads(text, parse_constant=refuse)


@pytest.mark.parametrize("suffix", ["parquet", "jsonl", "csv"])
def test_pandas_reads_exported_descriptions(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"out.{suffix}"
    write_export(
        path,
        [
            Description(
                key=f"{n:02}", subject_id=f"s{n}", text=text, prompt_id="paper", engine="e", finish="stop"
            )
            for n, text in enumerate(TEXTS)
        ],
    )
    if suffix == "parquet":
        table = pd.read_parquet(path)
    elif suffix == "jsonl":
        table = pd.read_json(path, lines=True, dtype=False)
    else:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    assert list(table.columns) == list(COLUMNS)
    assert list(table["text"]) == list(TEXTS)
    assert list(table["key"]) == [f"{n:02}" for n in range(len(TEXTS))]


def test_every_file_of_a_run_has_a_standard_reader(run: Path) -> None:
    seen = set()
    for path in sorted(path for path in run.rglob("*") if path.is_file()):
        seen.add(path.suffix)
        if path.suffix in (".json", ".lock"):
            strict_json(path.read_text("utf-8"))
        elif path.suffix == ".jsonl":
            rows = [strict_json(line) for line in path.read_text("utf-8").splitlines()]
            assert rows
            assert all(isinstance(row, dict) for row in rows)
        elif path.suffix == ".npy":
            assert np.isfinite(np.load(path, allow_pickle=False)).all()
        elif path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                assert {name: arrays[name].size for name in arrays.files}
        elif path.suffix == ".safetensors":
            assert all(np.isfinite(weights).all() for weights in load_file(path).values())
        elif path.suffix == ".html":
            parser = HTMLParser()
            parser.feed(path.read_text("utf-8"))
            parser.close()
        else:
            pytest.fail(f"{path.name} has no reader here")
    assert seen == {".json", ".jsonl", ".lock", ".npy", ".npz", ".safetensors", ".html"}


def test_pandas_reads_an_exported_split(run: Path) -> None:
    table = pd.read_json(run.parent / "test.jsonl", lines=True, dtype=False)
    assert len(table) == 4
    assert all(Path(images[0]).is_file() for images in table["images"])
    assert all(len(box) == 4 and all(map(math.isfinite, box)) for boxes in table["boxes"] for box in boxes)
    assert all(0 <= value <= 1 for row in table["dimensions"] for value in row.values())


def test_sqlite_reads_a_store(tmp_path: Path) -> None:
    with Store(tmp_path / "store.sqlite") as store:
        store.put(
            Description(key=f"k{n}", subject_id="s", text=text, prompt_id="paper", engine="e", finish="stop")
            for n, text in enumerate(TEXTS)
        )
    connection = sqlite3.connect(f"file:{tmp_path / 'store.sqlite'}?mode=ro", uri=True)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    found = connection.execute("SELECT text FROM descriptions ORDER BY key").fetchall()
    connection.close()
    assert [text for (text,) in found] == list(TEXTS)


def test_the_recipe_in_a_manifest_is_a_recipe_again(run: Path) -> None:
    manifest = strict_json((run / "manifest.json").read_text("utf-8"))
    assert manifest["recipe"]["name"] == tomllib.loads((run.parent / "tiny.toml").read_text())["name"]
