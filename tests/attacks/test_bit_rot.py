"""Stores in which bits have changed: no changed row is ever handed out, and what is lost is said."""

import json
import random
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from PIL import Image
from tests.attacks.flipped_bits import descriptions, failures, flip, kill_while_writing, write_store

from mien.cli import descriptions as commands
from mien.cli import main
from mien.describe.store.check import check_store
from mien.describe.store.export import read_export
from mien.describe.store.merge import merge_stores
from mien.describe.store.store import Store
from mien.errors import MienError
from mien.types import Description

NUM_STORES = 50  # of each kind
ROWS = descriptions(24)
FAILURES = failures(6)
MEMORY = Path("/dev/shm")  # a folder where syncing takes no time
Capture = pytest.CaptureFixture[str]


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder for many stores."""
    with TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else tmp_path) as name:
        yield Path(name)


def export(path: Path, capsys: Capture) -> tuple[int, list[Description], dict[str, Any]]:
    """Exit code, rows and document of `mien describe export`."""
    out = path.with_name("out.jsonl")
    code = 0
    try:
        commands.export(path, out, as_json=True)
    except MienError as error:
        code = error.exit_code if str(path) in str(error) and error.hint else -1
    shown = capsys.readouterr().out
    return code, list(read_export(out)) if out.exists() else [], json.loads(shown) if shown else {}


def check_export(path: Path, capsys: Capture) -> str:
    """Checks what a store with changed bits gives; returns its outcome."""
    code, rows, found = export(path, capsys)
    assert set(rows) <= set(ROWS)
    report = check_store(path)
    if code == 0:
        assert rows == ROWS  # a failure may be lost, or a part of the file that no row needs
        return "intact"
    assert report.is_damaged
    if code == 3:
        assert len(rows) + len(found["left_out"]) == len(ROWS)
        assert [row["key"] for row in found["left_out"]] == [row.key for row in report.damaged]
        return "rows"
    assert code == 4
    assert not rows
    assert report.problems
    return "refused"


def check_repair(path: Path) -> None:
    """After the repair that the check names, only changed rows are missing; they can be written again."""
    report = check_store(path)
    target = path
    if report.problems:
        target = path.with_name("recovered.sqlite")
        merge_stores([path], target)
    with Store(target) as store:
        assert set(store) <= set(ROWS)
        store.put(ROWS)
    with Store(target, writable=False) as store:
        assert list(store) == ROWS
        assert set(store.failures()) <= set(FAILURES)
    assert not check_store(target).is_damaged


def try_flips(name: str, source: Path, folder: Path, capsys: Capture) -> Counter[str]:
    outcomes: Counter[str] = Counter()
    for seed in range(NUM_STORES):
        rng = random.Random(f"{name} {seed}")
        case = folder / str(seed)
        shutil.copytree(source.parent, case)
        flip(case / name, rng, rng.randint(1, 3))
        outcomes[check_export(case / "store.sqlite", capsys)] += 1
        if seed % 3 == 0:
            check_repair(case / "store.sqlite")
        shutil.rmtree(case)
    return outcomes


def test_no_changed_row_is_exported_and_what_is_lost_is_said(folder: Path, capsys: Capture) -> None:
    source = folder / "source" / "store.sqlite"
    write_store(source, ROWS, FAILURES)
    outcomes = try_flips("store.sqlite", source, folder, capsys)
    assert outcomes["rows"] > 10  # the attack reached rows


def test_changed_bits_in_a_journal_lose_no_row_silently(folder: Path, capsys: Capture) -> None:
    source = folder / "source" / "store.sqlite"
    kill_while_writing(source, [ROWS[start : start + 8] for start in range(0, len(ROWS), 8)])
    outcomes = try_flips("store.sqlite-wal", source, folder, capsys)
    assert outcomes["refused"] > 10


# --- The whole way

RECIPE = """
name = "people"
data = { name = "manifest", root = "people.jsonl", label_set = "caers" }
describe = { engine = "fake", model = "none" }
run = { store = "store.sqlite" }
"""


def ask(capsys: Capture, *arguments: str) -> tuple[int, dict[str, Any], str]:
    code = main([*arguments, "--json"])
    shown = capsys.readouterr()
    return code, json.loads(shown.out) if shown.out else {}, shown.err


def test_exactly_the_damaged_rows_are_described_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("recipe.toml").write_text(RECIPE)
    with Path("people.jsonl").open("w") as file:
        for number in range(9):
            Image.new("RGB", (9, 9), (number, 0, 0)).save(f"{number}.png")
            split = "train" if number < 5 else "val"
            row = {"id": f"person-{number}", "image": f"{number}.png", "labels": ["Sad"], "split": split}
            file.write(f"{json.dumps(row)}\n")
    assert ask(capsys, "describe", "recipe.toml")[0] == 0
    path = Path("store.sqlite")
    with Store(path, writable=False) as store:
        before = list(store)
    changed = [item for item in before if item.subject_id in {"person-3", "person-7"}]
    content = path.read_bytes()
    for item in changed:
        at = content.index(item.text.encode()) + 5
        content = content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]
    path.write_bytes(content)

    code, found, _ = ask(capsys, "describe", "status", "recipe.toml")
    assert (code, found["to_describe"], found["damaged"]) == (0, 2, 2)
    assert "the row of 'person-3' (key " in caplog.text
    code, found, _ = ask(capsys, "describe", "check", "store.sqlite")
    assert (code, found["descriptions"], found["damaged"]) == (4, 7, 2)
    assert {row["id"] for row in found["listed"]} == {"person-3", "person-7"}
    assert {row["key"] for row in found["listed"]} == {item.key for item in changed}
    code, found, errors = ask(capsys, "describe", "export", "store.sqlite", "--out", "out.csv")
    assert (code, found["descriptions"], found["damaged"]) == (3, 7, 2)
    assert "2 damaged rows of store.sqlite were left out" in errors
    # Nothing was changed so far; training needs descriptions of all.
    assert path.read_bytes() == content
    caplog.clear()
    code, _, errors = ask(capsys, "train", "recipe.toml")
    assert code != 0
    assert "mien describe" in errors
    assert "the row of 'person-3'" in caplog.text

    code, found, _ = ask(capsys, "describe", "recipe.toml")
    assert (code, found["described"], found["already_described"]) == (0, 2, 7)
    assert "it is removed and counts as missing" in caplog.text
    with Store(path, writable=False) as store:
        assert list(store) == before
    assert ask(capsys, "describe", "check", "store.sqlite")[:1] == (0,)
