"""Around a store: its journal is lost, others write to it or to its rows, it is something else."""

import json
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
from contextlib import closing
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from PIL import Image
from tests.attacks.flipped_bits import descriptions, failures, kill_while_writing, write_store

from mien.cli import main
from mien.describe.store.check import check_store
from mien.describe.store.export import read_export
from mien.describe.store.merge import merge_stores
from mien.describe.store.store import Store
from mien.errors import DamagedStoreError, StoreError

ROWS = descriptions(24)
GROUPS = [ROWS[:8], ROWS[8:16], ROWS[16:]]
FAILURES = failures(3)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.sqlite"


def sibling(path: Path, suffix: str) -> Path:
    return path.with_name(f"{path.name}{suffix}")


def read(path: Path) -> list[object]:
    with Store(path, writable=False) as store:
        return [*store, *store.iterate_failures()]


def change(path: Path, *statements: str) -> None:
    """Changes rows as another program would, with correct SQLite."""
    with closing(sqlite3.connect(path)) as connection, connection:
        for statement in statements:
            connection.execute(statement, {"first": ROWS[0].key, "second": ROWS[1].key})


# --- The journal and its index


def test_a_deleted_journal_is_said_and_its_rows_are_described_again(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kill_while_writing(path, GROUPS[1:], closed=GROUPS[0])
    assert read(path) == ROWS
    sibling(path, "-wal").unlink()
    assert read(path) == GROUPS[0]
    assert "its last writer was killed, and its journal store.sqlite-wal is gone" in caplog.text
    with Store(path) as store:
        assert store.described_keys(row.key for row in ROWS) == {row.key for row in GROUPS[0]}
        store.put(ROWS)
    caplog.clear()
    assert read(path) == ROWS
    assert not caplog.text


@pytest.mark.parametrize("content", [None, b"", b"\xff" * 32768], ids=["missing", "empty", "other bytes"])
def test_the_index_of_the_journal_is_not_needed(path: Path, content: bytes | None) -> None:
    kill_while_writing(path, GROUPS)
    if content is None:
        sibling(path, "-shm").unlink()
    else:
        sibling(path, "-shm").write_bytes(content)
    assert read(path) == ROWS
    with Store(path) as store:
        assert list(store) == ROWS


@pytest.mark.skipif(os.getuid() != 0, reason="another user is needed, to whom files are read-only")
@pytest.mark.parametrize("suffix", ["-shm", "-wal"])
def test_a_read_only_journal_is_read_or_refused(suffix: str) -> None:
    # What pathlib imports late, the other user may not be able to read.
    code = (
        "import os, sys, urllib.parse; from pathlib import Path\n"
        "from mien.describe.store.check import check_store\n"
        "os.setuid(65534); print(check_store(Path(sys.argv[1])).descriptions)"
    )
    with TemporaryDirectory() as name:  # pytest's folder is not accessible to other users
        path = Path(name) / "store.sqlite"
        kill_while_writing(path, GROUPS)
        Path(name).chmod(0o777)
        for file in Path(name).iterdir():
            file.chmod(0o666)
        sibling(path, suffix).chmod(0o444)
        command = [sys.executable, "-c", code, str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout == f"{len(ROWS)}\n" or "StoreError" in done.stderr, done.stderr


def test_the_journal_of_another_store_is_refused(path: Path) -> None:
    other = path.parent / "other" / "store.sqlite"
    kill_while_writing(path, GROUPS)
    kill_while_writing(other, GROUPS[::-1])
    with Store(path) as store:  # now all of it is in the file
        store.put()
    shutil.copy(sibling(other, "-wal"), sibling(path, "-wal"))
    with pytest.raises(DamagedStoreError, match="journal") as caught:
        read(path)
    assert "mien describe merge" in caught.value.hint


def test_a_store_that_is_a_link_has_its_journal_where_its_file_is(path: Path, tmp_path: Path) -> None:
    kill_while_writing(path, GROUPS)
    link = tmp_path / "links" / "link.sqlite"
    link.parent.mkdir()
    link.symlink_to(path)
    assert read(link) == ROWS
    sibling(path, "-wal").write_bytes(sibling(path, "-wal").read_bytes()[:-1] + b"!")
    with pytest.raises(DamagedStoreError, match="journal"):
        read(link)


# --- Two writers

DESCRIBER = """
import sys, time
from pathlib import Path
from tests.attacks.flipped_bits import descriptions
from mien.describe.store.store import Store
from mien.errors import StoreLockedError
rows = descriptions(24)
for start in range(0, 24, 4):
    while True:
        try:
            with Store(Path(sys.argv[1])) as store:
                described = store.described_keys(row.key for row in rows)
                store.put(row for row in rows[start : start + 8] if row.key not in described)
            break
        except StoreLockedError:
            time.sleep(0.001)
"""


def test_two_describers_lose_and_double_nothing(path: Path) -> None:
    command = [sys.executable, "-c", DESCRIBER, str(path)]
    root = Path(__file__).parents[2]
    environment = os.environ | {"PYTHONPATH": f"{root}:{os.environ.get('PYTHONPATH', '')}"}
    processes = [subprocess.Popen(command, env=environment) for _ in range(2)]
    assert [process.wait(60) for process in processes] == [0, 0]
    assert read(path) == ROWS
    assert not check_store(path).is_damaged


def test_a_reader_while_failures_are_removed_finds_no_damage(path: Path) -> None:
    write_store(path, ROWS, FAILURES)
    with Store(path) as writer, Store(path, writable=False) as reader:
        rows = reader.iterate_failures()
        assert next(rows) == FAILURES[0]
        writer.put(resolved=[FAILURES[1].key, FAILURES[2].key])
        assert list(rows) == FAILURES[1:]  # unchanged since reading began
        assert reader.failures() == FAILURES[:1]


def test_a_second_name_of_a_store_is_said(
    path: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_store(path, ROWS)
    (tmp_path / "other.sqlite").hardlink_to(path)
    with Store(path):
        pass
    assert "has a second name" in caplog.text


# --- Rows that another program has changed

FIRST, SECOND = ROWS[0], ROWS[1]
SWAP = (
    "create table old as select * from descriptions where key in (:first, :second)",
    "update descriptions set (COLUMNS) = (select COLUMNS from old where key = :second) where key = :first",
    "update descriptions set (COLUMNS) = (select COLUMNS from old where key = :first) where key = :second",
    "drop table old",
)
SWAPS = {
    "texts": "text",
    "ids": "subject_id",
    "texts and ids": "text, subject_id",
    "all but the key": "subject_id, text, prompt_id, engine, finish, digest",
}


@pytest.mark.parametrize("columns", SWAPS.values(), ids=SWAPS)
def test_an_answer_of_another_subject_is_not_handed_out(path: Path, columns: str) -> None:
    write_store(path, ROWS, FAILURES)
    change(path, *(statement.replace("COLUMNS", columns) for statement in SWAP))
    with Store(path, writable=False) as store:
        assert store.get(FIRST.key) is None
        assert store.described_keys([FIRST.key, SECOND.key, ROWS[2].key]) == {ROWS[2].key}
        assert list(store) == ROWS[2:]
        assert {row.key for row in store.damaged_rows} == {FIRST.key, SECOND.key}
    with Store(path) as store:
        store.put([FIRST, SECOND])
    assert read(path) == [*ROWS, *FAILURES]


CHANGES = {
    "a text": "update descriptions set text = text || '.' where key = :first",
    "an engine": "update descriptions set engine = 'other' where key = :first",
    "a key": "update descriptions set key = 'f00' where key = :first",
    "a digest": "update descriptions set digest = null where key = :first",
    "a copy under another key": "insert into descriptions select 'f00', subject_id, text, prompt_id, engine, "
    "finish, digest from descriptions where key = :first",
    "a failure": "update failures set attempts = attempts + 1",
}
LOSSES = {
    "a description": "delete from descriptions where key = :first",
    "all descriptions": "delete from descriptions",
    "all failures": "delete from failures",
    "the number of rows": "delete from row_counts",
    "the index": "drop index described",
    "a table": "drop table failures",
    "the steps": "delete from meta",
    "the mark": "pragma application_id = 7",
}


@pytest.mark.parametrize("statement", CHANGES.values(), ids=CHANGES)
def test_a_changed_row_is_named_by_the_check(
    path: Path, statement: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_store(path, ROWS, FAILURES)
    change(path, statement)
    assert set(read(path)) <= {*ROWS, *FAILURES}
    assert main(["describe", "check", str(path), "--json"]) == 4
    shown = capsys.readouterr()
    report = json.loads(shown.out)
    assert report["damaged"] == len(report["listed"]) > 0
    assert "its digest does not match" in shown.err
    assert main(["describe", "check", str(path)]) == 4
    assert "damaged" in capsys.readouterr().out


@pytest.mark.parametrize("statement", LOSSES.values(), ids=LOSSES)
def test_a_lost_part_is_refused_and_the_rest_recovered(path: Path, statement: str) -> None:
    write_store(path, ROWS, FAILURES)
    change(path, statement)
    with pytest.raises(StoreError) as caught:
        read(path)
    assert caught.value.hint
    out = path.with_name("recovered.sqlite")
    if isinstance(caught.value, DamagedStoreError):
        assert check_store(path).problems
        merge_stores([path], out)
        assert set(read(out)) <= set(ROWS)
        assert not list(path.parent.glob(".*"))  # what was recovered on the way
    else:
        assert "not a store" in str(caught.value)


def test_a_damaged_index_of_keys_is_said_and_built_again(path: Path) -> None:
    write_store(path, ROWS)
    content = path.read_bytes()
    key = ROWS[5].key.encode()  # first in the table's row, then in the index, or the other way round
    places = [at for at in range(len(content)) if content.startswith(key, at)]
    damaged_keys = 0
    for at in places:
        path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        report = check_store(path)
        assert report.is_damaged
        assert report.repair == "mien describe RECIPE"
        damaged_keys += report.has_damaged_index
        with Store(path, writable=False) as store:
            # The row is intact where only the index is not; by its key it may not be found.
            assert store.descriptions([ROWS[5].key]) in ({}, {ROWS[5].key: ROWS[5]})
        with Store(path) as store:
            store.put(ROWS)
        assert read(path) == ROWS
        assert not check_store(path).is_damaged
    assert (len(places), damaged_keys) == (2, 1)


# --- Files that are not stores


def make_database(path: Path) -> None:
    change(path, "create table recipes (name text)", "insert into recipes values ('soup')")


def make_socket(path: Path) -> None:
    os.chdir(path.parent)  # a socket's path has at most 107 bytes
    socket.socket(socket.AF_UNIX).bind(path.name)


KINDS = {
    "a database": make_database,
    "a folder": Path.mkdir,
    "a pipe": os.mkfifo,
    "a socket": make_socket,
    "a device": lambda path: path.symlink_to("/dev/zero"),
    "a link to itself": lambda path: path.symlink_to(path.name),
    "a text": lambda path: path.write_text("Dear diary, " * 500),
    "zeros": lambda path: path.write_bytes(bytes(8192)),
}


@pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)
def test_other_files_are_refused_and_kept(
    path: Path,
    make: object,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(path.parent)
    make(path)  # type: ignore[operator]
    before = path.read_bytes() if path.is_file() else None
    write_store(path.with_name("good.sqlite"), ROWS)
    for arguments in (
        ("check", str(path)),
        ("export", str(path), "--out", "out.csv"),
        ("merge", "good.sqlite", str(path), "--out", "merged.sqlite"),
        ("merge", "good.sqlite", "--out", str(path)),
    ):
        assert main(["describe", *arguments]) == 4, arguments
        shown = capsys.readouterr().err
        assert path.name in shown
        assert "hint" in shown
    assert not Path("out.csv").exists()
    assert (path.read_bytes() if path.is_file() else None) == before


@pytest.mark.parametrize("suffix", ["-wal", "-shm", ".lock"])
@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo], ids=["folder", "pipe"])
def test_a_folder_or_pipe_in_place_of_a_file_of_sqlite_is_refused(
    path: Path, suffix: str, make: object
) -> None:
    write_store(path, ROWS)
    sibling(path, suffix).unlink(missing_ok=True)
    make(sibling(path, suffix))  # type: ignore[operator]
    for writable in (False, True):
        if suffix == ".lock" and (not writable or make is os.mkfifo):  # a pipe can be locked, too
            assert read(path) == ROWS
        else:
            with pytest.raises(StoreError) as caught:
                Store(path, writable=writable)
            assert caught.value.hint


# --- The clock


def test_a_clock_that_goes_backwards_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with Path("people.jsonl").open("w") as file:
        for number in range(9):
            Image.new("RGB", (9, 9), (number, 0, 0)).save(f"{number}.png")
            split = ("train", "val", "test")[number // 3]
            row = {"id": f"{number}", "image": f"{number}.png", "labels": ["Sad"], "split": split}
            file.write(f"{json.dumps(row)}\n")
    Path("tiny.toml").write_text(
        'name = "tiny"\ndata = { name = "manifest", root = "people.jsonl", label_set = "caers" }\n'
        'describe = { engine = "fake", model = "none" }\nrun = { threads = 1, store = "store.sqlite" }\n'
    )
    hours = count(500_000, -1)
    monkeypatch.setattr("time.time", lambda: next(hours) * 3600.0)
    monkeypatch.setattr("mien.runs._now", lambda: f"{3000 - next(hours) % 1000}-01-01T00:00:00.000+00:00")
    for split in ("train", "val", "test"):
        assert main(["describe", "tiny.toml", "--split", split, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["seconds"] >= 0
    assert main(["describe", "export", "store.sqlite", "--out", "out.jsonl"]) == 0
    assert len(list(read_export(Path("out.jsonl")))) == 9
    events = [json.loads(line) for line in Path("store.sqlite.events.jsonl").read_text().splitlines()]
    assert [event["done"] for event in events] == [3, 3, 3]
    assert all(event["seconds"] >= 0 for event in events)
    with closing(sqlite3.connect("store.sqlite")) as connection:  # no row depends on a clock
        names = [row[1] for row in connection.execute("pragma table_info(descriptions)")]
    assert names == ["key", "subject_id", "text", "prompt_id", "engine", "finish", "digest"]


# --- Code in a store: views and triggers run whenever a table is read or written


HOSTILE = {
    "a view without end": [
        "alter table meta rename to steps",
        """create view meta as with recursive n(step) as (select 1 union all select step + 1 from n)
        select step, 'x' as name from n""",
    ],
    "a trigger that drops rows": [
        "create trigger quiet before insert on descriptions begin select raise(ignore); end"
    ],
    "a trigger that changes texts": [
        "create trigger loud after insert on descriptions begin update descriptions set text = 'x'; end"
    ],
    "a view of its own": ["create view own as select 1"],
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_store_with_code_in_it_is_refused(path: Path, kind: str) -> None:
    write_store(path, ROWS)
    change(path, *HOSTILE[kind])
    before = path.read_bytes()
    for writable in (False, True):
        with pytest.raises(DamagedStoreError, match=r"it has a (view|trigger)"):
            Store(path, writable=writable).close()
    assert path.read_bytes() == before
