"""Merging: each row of all stores once, conflicts found before anything is written, sources unchanged."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.factories.descriptions import description, failure

from mien.describe.store.merge import merge_stores
from mien.describe.store.store import Store
from mien.errors import StoreError, StoreLockedError, UsageError
from mien.types import Description, Failure


def stored(path: Path, *rows: Description | Failure) -> Path:
    with Store(path) as store:
        store.put(
            [row for row in rows if isinstance(row, Description)],
            [row for row in rows if isinstance(row, Failure)],
        )
    return path


def rows(path: Path) -> list[Description | Failure]:
    with Store(path, writable=False) as store:
        return [*store, *store.failures()]


def test_the_result_has_each_row_once(tmp_path: Path) -> None:
    a = stored(tmp_path / "a", description("1"), description("2"), failure("8"))
    b = stored(tmp_path / "b", description("2"), description("3"), failure("8", "later"), failure("9"))
    out = stored(tmp_path / "out", description("0"))
    found = merge_stores([a, b], out)
    assert rows(out) == [*(description(key) for key in "0123"), failure("8"), failure("9")]
    assert (found.descriptions, found.failures, found.num_conflicts, found.written) == (4, 2, 0, True)
    assert merge_stores([a, b], out) == found


def test_many_rows_are_merged_in_groups(tmp_path: Path) -> None:
    a = stored(tmp_path / "a", *(description(f"{n:05}") for n in range(0, 2000, 2)))
    b = stored(tmp_path / "b", *(description(f"{n:05}") for n in range(1, 2000, 2)))
    assert merge_stores([a, b], tmp_path / "out").descriptions == 2000


def test_a_description_wins_over_a_failure(tmp_path: Path) -> None:
    a = stored(tmp_path / "a", failure("1"), description("2"))
    b = stored(tmp_path / "b", description("1"), failure("2"))
    merge_stores([a, b], stored(tmp_path / "out", failure("1"), failure("2")))
    assert rows(tmp_path / "out") == [description("1"), description("2")]


@pytest.mark.parametrize("other", [description("2", "tense"), description("2", finish="length")])
@pytest.mark.parametrize("into", [False, True], ids=["two sources", "a source and the target"])
def test_a_conflict_is_found_before_anything_is_written(
    tmp_path: Path, other: Description, into: bool
) -> None:
    a = stored(tmp_path / "a", description("1"), description("2", subject_id="anna"))
    b, out = tmp_path / "b", tmp_path / "out"
    stored(out if into else b, other, description("3"))
    sources = [a] if into else [a, b]
    before = rows(out) if into else None
    found = merge_stores(sources, out)
    assert (found.written, found.num_conflicts) == (False, 1)
    [conflict] = found.conflicts
    assert conflict.key == "2"
    assert {conflict.first, conflict.second} == {a, out if into else b}
    assert (rows(out) if out.exists() else None) == before


def test_the_first_store_can_be_preferred(tmp_path: Path) -> None:
    a = stored(tmp_path / "a", description("1", "calm"))
    b = stored(tmp_path / "b", description("1", "tense"), description("2"))
    found = merge_stores([a, b], tmp_path / "ab", prefer_first=True)
    assert (found.written, found.num_conflicts) == (True, 1)
    assert rows(tmp_path / "ab") == [description("1", "calm"), description("2")]
    merge_stores([b, a], tmp_path / "ba", prefer_first=True)
    assert rows(tmp_path / "ba") == [description("1", "tense"), description("2")]


def test_all_conflicts_are_counted_and_the_first_are_listed(tmp_path: Path) -> None:
    a = stored(tmp_path / "a", *(description(f"{n:03}") for n in range(100)))
    b = stored(tmp_path / "b", *(description(f"{n:03}", "tense") for n in range(100)))
    found = merge_stores([a, b], tmp_path / "out")
    assert found.num_conflicts == 100
    assert 0 < len(found.conflicts) < 100


def test_a_source_is_only_read(tmp_path: Path) -> None:
    a = stored(tmp_path / "a", description("1"))
    before = a.read_bytes()
    with Store(a):  # as another process does
        merge_stores([a], tmp_path / "out")
    assert a.read_bytes() == before


def test_the_target_is_locked(tmp_path: Path) -> None:
    a = stored(tmp_path / "a", description("1"))
    with Store(tmp_path / "out"), pytest.raises(StoreLockedError):
        merge_stores([a], tmp_path / "out")


def test_the_target_is_ignored_among_the_sources(tmp_path: Path) -> None:
    a, out = stored(tmp_path / "a", description("1")), stored(tmp_path / "out", description("2"))
    assert merge_stores([a, out, a], out).descriptions == 2
    with pytest.raises(UsageError, match="nothing to merge"):
        merge_stores([out], out)


def test_a_missing_source_creates_no_target(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no store"):
        merge_stores([tmp_path / "a"], tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_rows_in_the_journal_of_a_killed_writer_are_merged(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path\n"
        "from mien.describe.store.store import Store; from mien.types import Description\n"
        "store = Store(Path(sys.argv[1]))\n"
        "store.put([Description(key='1', subject_id='s', text='calm', prompt_id='paper', engine='fake@1',\n"
        "                       finish='stop')])\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    path = tmp_path / "killed"
    done = subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert os.stat(f"{path}-wal").st_size > 0  # noqa: PTH116  the row is nowhere else
    assert merge_stores([path], tmp_path / "out").descriptions == 1
    assert rows(tmp_path / "out") == [description("1")]
