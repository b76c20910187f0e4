"""Kills every command that writes, again and again, and checks what it leaves; docs/explanation/kills.md.

    python scripts/chaos.py [--kills 500] [--seed 1] [--command NAME ...] [--state FILE]

The parent imports everything once and forks a child per attempt, which runs a command line in a process group
of its own. It is killed with `kill -9` (sometimes one of its workers instead) at a random moment, or just
before a random call that opens, renames or removes a file. Checked are

    torn    a file under its final name that is not whole
    lost    files or contents that an uninterrupted run has, and the run after the kills has not
    extra   what only the run after the kills has: leftovers, rows twice
    broken  a run after a kill that fails, or processes that stay

The exit code is 0 only if all are 0. With --state, finished commands are skipped when it is started again.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import asdict, dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

from chaos_commands import COMMANDS, STAGES, Command, fingerprint, make_dataset, serve

import mien.ablation.demo as demo_module
import mien.ablation.workers as worker_module
from mien.cli import main as run_command_line
from mien.files import _is_temporary_name
from mien.train import loop

_KILLS_IN_A_ROW: Final = 3  # of one run, at most
_TIMEOUT: Final = 300  # seconds per attempt
_JOURNALS: Final = ("-wal", "-shm", "-journal")
# Stores and features are written row by row, the states of a training one after another.
_GROWING: Final = re.compile(r"\.sqlite|events\.jsonl|features/|resume|\.lock")
_EVENTS: Final = {
    "open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.truncate", "shutil.rmtree",
    "sqlite3.connect",
}  # fmt: skip
_WARM_UP: Final = (
    ("describe", "export", "recipe.toml", "--out", "out.parquet"),
    ("describe", "audit", "recipe.toml"),
    ("data", "verify", "recipe.toml"),
    ("report", "run"),
    ("predict", "0.png", "--run", "run"),
)
_KINDS: Final = ("torn", "lost", "extra", "broken")


@dataclass
class Result:
    """What was found for one command."""

    command: str
    kills: int = 0
    seconds: float = 0.0  # of an uninterrupted run
    found: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_KINDS, 0))
    notes: list[str] = field(default_factory=list)

    def add(self, kind: str, note: str) -> None:
        self.found[kind] += 1
        self.notes.append(f"{self.command}, after kill {self.kills}: {kind}: {note}")


# --- The child -----------------------------------------------------------------------------------------


def _child(line: Sequence[str], folder: Path, at_event: int | None, output: Path, events: Path) -> None:
    """Runs a command line, and ends the process; `at_event`: dies before this access to a file."""
    os.setsid()
    signal.alarm(_TIMEOUT)
    os.chdir(folder)
    with output.open("wb") as file:
        for descriptor in (1, 2):
            os.dup2(file.fileno(), descriptor)
    os.environ |= {"XDG_CACHE_HOME": str(folder / "cache"), "TMPDIR": str(folder / "tmp")}
    tempfile.tempdir = None
    # Save the state of a training after each step; fork workers, because spawning takes seconds of imports.
    assert loop.train.__kwdefaults__ is not None
    loop.train.__kwdefaults__["save_seconds"] = 0.0
    worker_module.get_context = lambda _: get_context("fork")  # type: ignore[assignment]
    count = 0

    def die_at_event(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count
        if event in _EVENTS and arguments and str(folder) in str(arguments[0]).replace("b'", ""):
            count += 1
            if count == at_event:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(die_at_event)
    try:
        code = run_command_line(list(line))
    except SystemExit as error:
        code = int(error.code or 0)
    except BaseException:  # noqa: BLE001  the child must never return into the parent's loop
        traceback.print_exc()
        code = 99
    if at_event is None:
        events.write_text(str(count))
    os._exit(code)


# --- The parent ----------------------------------------------------------------------------------------


def _descendants(pid: int) -> list[int]:
    """The processes of a session."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and os.getsid(int(entry.name)) == pid:
                state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
                found += [int(entry.name)] if state != "Z" else []
        except (OSError, ProcessLookupError):
            continue
    return found


class KillTest:
    """Runs commands in one folder, from copies of what earlier commands made."""

    def __init__(self, root: Path, rng: random.Random) -> None:
        self._work, self._stages, self._rng = root / "work", root / "stages", rng
        # Not in the root, which may be a full disk.
        self._output, self._events = Path(f"{root}.output"), Path(f"{root}.events")
        root.mkdir(exist_ok=True)
        self._server = serve()

    def prepare(self, last: str) -> None:
        """Makes these stages; at first in this process, so that children spend no time on imports."""
        names = list(STAGES)
        stages = {name: STAGES[name] for name in names[: names.index(last) + 1]}
        self._make_work()
        os.chdir(self._work)
        with self._output.open("w") as output, redirect_stdout(output), redirect_stderr(output):
            for line in (*(line for lines in stages.values() for line in lines), *_WARM_UP):
                run_command_line(line)
        os.chdir("/")
        shutil.rmtree(self._work)
        self._make_work()
        for stage, lines in stages.items():
            for line in lines:
                code, _ = self._run(line)
                if code not in {0, 3}:
                    raise SystemExit(f"{' '.join(line)} ends with {code}: {self._output.read_text()}")
            shutil.copytree(self._work, self._stages / stage)

    def _make_work(self) -> None:
        self._work.mkdir()
        (self._work / "tmp").mkdir()
        make_dataset(self._work)

    def run(self, command: Command, kills: int) -> Result:
        """Kills a command this many times."""
        result = Result(command.name)
        line = [part.format(server=self._server) if "{server}" in part else part for part in command.line]
        self._reset(command)
        start = time.monotonic()
        code, _ = self._run(line)
        result.seconds = time.monotonic() - start
        num_events = int(self._events.read_text())
        if code not in command.codes:
            result.add("broken", f"it ends with {code} without a kill: {self._output.read_text()[-900:]}")
            return result
        complete = self._snapshot(result, is_complete=True)
        for name in complete:
            if name.endswith(_JOURNALS) or any(map(_is_temporary_name, Path(name).parts)):
                result.add("extra", f"{name}, without a kill")
        while result.kills < kills:
            self._reset(command)
            before = self._snapshot(result)
            for _ in range(self._rng.randint(1, _KILLS_IN_A_ROW)):
                result.kills += self._kill(line, result.seconds, num_events)
                self._check_whole(result, before, complete)
            self._finish(command, line, result, complete)
        return result

    def _reset(self, command: Command) -> None:
        shutil.rmtree(self._work)
        shutil.copytree(self._stages / command.stage, self._work)

    def _run(
        self, line: Sequence[str], at_event: int | None = None, seconds: float | None = None
    ) -> tuple[int, bool]:
        """The exit code (negative: a signal), and whether it was killed."""
        child = os.fork()
        if child == 0:
            _child(line, self._work, at_event, self._output, self._events)
        victim = child
        if seconds is not None:
            time.sleep(seconds)
            others = _descendants(child)
            if self._rng.random() < 0.3 and others:
                victim = self._rng.choice(others)
            os.kill(victim, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        code = os.waitstatus_to_exitcode(status)
        self._wait_for_descendants(child)
        return code, victim != child or code == -signal.SIGKILL

    def _wait_for_descendants(self, child: int) -> None:
        deadline = time.monotonic() + 5
        while left := _descendants(child):
            if time.monotonic() > deadline:
                for pid in left:
                    os.kill(pid, signal.SIGKILL)
                raise RuntimeError(f"{len(left)} processes stay")
            time.sleep(0.01)

    def _kill(self, line: Sequence[str], seconds: float, num_events: int) -> bool:
        """Whether an attempt was killed before its end."""
        if num_events and self._rng.random() < 0.5:
            return self._run(line, at_event=self._rng.randint(1, num_events))[1]
        return self._run(line, seconds=self._rng.uniform(0, seconds))[1]

    def _check_whole(self, result: Result, before: dict[str, object], complete: dict[str, object]) -> None:
        """A file has what it had before, or what it has in the end, unless it grows."""
        for name, content in self._snapshot(result).items():
            if (
                not _GROWING.search(name)
                and name in complete
                and content not in (before.get(name, complete[name]), complete[name])
            ):
                result.add("torn", f"{name} is neither old nor new: {_difference(complete[name], content)}")

    def _finish(
        self, command: Command, line: Sequence[str], result: Result, complete: dict[str, object]
    ) -> None:
        """Runs to the end, and compares with an uninterrupted run."""
        try:
            code, _ = self._run(line)
        except RuntimeError as error:
            result.add("broken", str(error))
            return
        refused = not command.repeats and code == 4
        if code not in command.codes and not refused:
            result.add("broken", f"the next run ends with {code}: {self._output.read_text()[-900:]}")
        found = self._snapshot(result, is_complete=True)
        for name in sorted(complete.keys() - found.keys()):
            # How fast descriptions were made is recorded at the end, if any were made.
            if not name.endswith(".events.jsonl"):
                result.add("lost", name)
        for name in sorted(found.keys() - complete.keys()):
            result.add("extra", name)
        for name in sorted(found.keys() & complete.keys()):
            if found[name] != complete[name]:
                result.add("lost", f"{name} differs: {_difference(complete[name], found[name])}")

    def _snapshot(self, result: Result, *, is_complete: bool = False) -> dict[str, object]:
        """What each file holds; a file that is not whole is torn."""
        found: dict[str, object] = {}
        for path in _files(self._work):
            name = str(path.relative_to(self._work))
            if path.name.endswith(_JOURNALS) or any(map(_is_temporary_name, path.parts)):
                if is_complete:
                    found[name] = None
                continue
            try:
                found[name] = fingerprint(path, self._work)
            except Exception as error:  # noqa: BLE001  a torn file can raise anything
                result.add("torn", f"{name}: {error!r}")
        return found


def _files(folder: Path) -> Iterator[Path]:
    """All files, and folders that are empty."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() or (path.is_dir() and not any(path.iterdir()) and _is_temporary_name(path.name)):
            yield path


def _difference(expected: object, found: object) -> str:
    one, other = str(expected), str(found)
    at = next(
        (i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other))
    )
    return f"{one[max(0, at - 40) : at + 80]!r} became {other[max(0, at - 40) : at + 80]!r}"


def _quota(commands: Sequence[Command], kills: int) -> dict[str, int]:
    total = sum(command.share for command in commands)
    return {command.name: max(1, round(kills * command.share / total)) for command in commands}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--command", action="append", choices=[command.name for command in COMMANDS])
    parser.add_argument("--state", type=Path, help="file that remembers finished commands")
    arguments = parser.parse_args()
    demo_module.RECIPE["data"]["options"].update(train=8, val=6, test=6)
    demo_module.RECIPE["train"]["epochs"] = 1
    assert demo_module.run_demo.__kwdefaults__ is not None
    demo_module.run_demo.__kwdefaults__["seeds"] = (0,)
    chosen = [one for one in COMMANDS if arguments.command is None or one.name in arguments.command]
    state: dict[str, Any] = {}
    if arguments.state is not None and arguments.state.exists():
        state = json.loads(arguments.state.read_text())
    memory = Path("/dev/shm")  # noqa: S108  faster, and only the order of the calls matters
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as name:
        test = KillTest(Path(name).resolve() / "test", random.Random(arguments.seed))
        test.prepare(max((one.stage for one in chosen), key=list(STAGES).index))
        for command_name, kills in _quota(chosen, arguments.kills).items():
            if command_name not in state:
                command = next(one for one in chosen if one.name == command_name)
                state[command_name] = asdict(test.run(command, kills))
                print(_row(state[command_name]), *state[command_name]["notes"], sep="\n", flush=True)
            if arguments.state is not None:
                arguments.state.write_text(json.dumps(state))
    total: Counter[str] = Counter()
    for found in state.values():
        total += Counter({"kills": found["kills"], **found["found"]})
    print(*(f"{kind}={total[kind]}" for kind in ("kills", *_KINDS)))
    return 1 if any(total[kind] for kind in _KINDS) else 0


def _row(found: dict[str, Any]) -> str:
    counts = " ".join(f"{kind}={number}" for kind, number in found["found"].items())
    return f"{found['command']:<26} {found['seconds']:5.2f} s  kills={found['kills']:<4} {counts}"


if __name__ == "__main__":
    sys.exit(main())
