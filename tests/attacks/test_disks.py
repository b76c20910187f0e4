"""Full disks and read-only folders: a clear error, nothing half-written, and the next run goes on."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from mien.cli import main
from mien.files import _is_temporary_name

ROOT = Path(__file__).parents[2]
RECIPE = """
name = "tiny"
data = { name = "playhouse", options = { train = 6, val = 4, test = 6, seed = 3 } }
describe = { engine = "fake", model = "none" }
"""
# A command that writes, and the file that it makes.
COMMANDS = {
    "describe": ("describe tiny.toml --out run", "run/descriptions.sqlite"),
    "describe export": ("describe export tiny.toml --out out.csv --set run.store=store.sqlite", "out.csv"),
    "describe merge": ("describe merge store.sqlite --out merged.sqlite", "merged.sqlite"),
    "data export": ("data export tiny.toml --split test --out out.jsonl", "out.jsonl"),
    "data dedup": ("data dedup tiny.toml --out splits.jsonl", "splits.jsonl"),
    "data verify": ("data verify tiny.toml --out audit", "audit/audit.html"),
    "data playhouse": ("data playhouse caers --out drawn --train 2 --val 2 --test 2", "drawn"),
}
PROGRAM = """
import contextlib, io, json, sys
from mien.cli import main

results = []
for line in json.loads(sys.argv[1]):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(line)
    results.append((code, err.getvalue()))
print(json.dumps(results))
"""


def prepare(folder: Path) -> None:
    (folder / "tiny.toml").write_text(RECIPE)
    assert main(["describe", "tiny.toml", "--out", "first"]) == 0
    (folder / "first" / "descriptions.sqlite").rename(folder / "store.sqlite")
    shutil.rmtree(folder / "first")


def assert_clear(code: int, error: str, words: str) -> None:
    assert code == 4, error
    *_, line, hint = (line for line in error.splitlines() if not line.startswith("note: "))
    assert line.startswith("error: ")
    assert words in line
    assert hint.startswith("hint: ")


@pytest.fixture(scope="module")
def small_disk() -> Iterator[Path]:
    """A disk of 8 MiB, in memory."""
    with tempfile.TemporaryDirectory() as name:
        disk = Path(name)
        mount = [shutil.which("mount") or "mount", "-t", "tmpfs", "-o", "size=8m", "none", name]
        if subprocess.run(mount, capture_output=True, check=False).returncode:
            pytest.skip("this user may not mount a disk")
        try:
            with pytest.MonkeyPatch.context() as patch:
                patch.chdir(disk)
                patch.setenv("XDG_CACHE_HOME", str(disk / "cache"))
                prepare(disk)
                yield disk
        finally:
            subprocess.run([shutil.which("umount") or "umount", "-l", name], check=True)


def fill(path: Path, free: int) -> None:
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(b"\0" * 4096) == 4096:
            pass
    os.truncate(path, max(0, path.stat().st_size - free))


@pytest.mark.parametrize("name", COMMANDS)
def test_on_a_full_disk(
    name: str, small_disk: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(small_disk)
    monkeypatch.setenv("XDG_CACHE_HOME", str(small_disk / "cache"))
    line, made = COMMANDS[name]
    filler = small_disk / "filler"
    for free in (0, 8192):
        fill(filler, free)
        capsys.readouterr()
        code = main(line.split())
        error = capsys.readouterr().err
        filler.unlink()
        if free == 0 or code:
            assert_clear(code, error, "No space left" if "No space left" in error else "disk is full")
        assert not [path for path in small_disk.rglob("*") if _is_temporary_name(path.name)]
        if not code:
            break
    assert main(line.split()) in (0, 4)  # 4: drawn already, with room for it
    assert (small_disk / made).exists()


@pytest.mark.parametrize("name", ["describe", "data export", "data playhouse"])
def test_with_a_limit_on_the_size_of_files(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resource = pytest.importorskip("resource")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    prepare(tmp_path)
    line, made = COMMANDS[name]
    done = subprocess.run(
        [sys.executable, "-m", "mien", *line.split()],
        capture_output=True, text=True, check=False, timeout=100,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1024, 1024)),
    )  # fmt: skip
    assert_clear(done.returncode, done.stderr, "")
    assert "defect" not in done.stderr
    assert not [path for path in tmp_path.rglob("*") if _is_temporary_name(path.name)]
    assert main(line.split()) == 0
    assert (tmp_path / made).exists()


def test_in_the_folder_of_someone_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prefix: list[str] = []
    if os.geteuid() == 0:
        if shutil.which("setpriv") is None:
            pytest.skip("root may write anywhere, and setpriv is not installed")
        prefix = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]  # rights hold for root, too
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    prepare(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    for path in (tmp_path, *tmp_path.rglob("*")):
        if os.geteuid() == 0:
            os.chown(path, 65534, -1)
            path.chmod(0o755 if path.is_dir() else 0o644)
        else:
            path.chmod(0o555 if path.is_dir() else 0o444)
    lines = [
        ["describe", "status", "tiny.toml", "--set", "run.store=store.sqlite"],  # only reads
        *(line.split() for line, _ in COMMANDS.values()),
    ]
    try:
        done = subprocess.run(
            [*prefix, sys.executable, "-c", PROGRAM, json.dumps(lines)],
            capture_output=True, text=True, check=False, timeout=100,
            env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        )  # fmt: skip
    finally:
        for path in (tmp_path, *tmp_path.rglob("*")):
            path.chmod(0o755)
    if prefix and done.returncode and "setpriv" in done.stderr:
        pytest.skip(f"setpriv is not allowed: {done.stderr}")
    assert done.returncode == 0, done.stderr
    (first, first_error), *others = json.loads(done.stdout)
    assert first == 0, first_error
    for code, error in others:
        assert_clear(code, error, "Permission denied")
    assert sorted(tmp_path.rglob("*")) == before
