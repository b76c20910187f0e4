"""Runs every command that writes on a full disk, makes room, and runs it again.

    python scripts/full_disk.py [--command NAME ...]

The disk is a small one in memory, which needs the right to mount; without it, the script exits with 77. A
file leaves 0 bytes free, then 8 KiB, and so on, until the command succeeds. Each failure must be an error of
mien that says that the disk is full; every file must be whole, and no temporary file may stay. Then the first
file is removed, and the command must end as if nothing had happened.
"""

from __future__ import annotations

import argparse
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from chaos import KillTest, Result, _files
from chaos_commands import COMMANDS, STAGES, Command

from mien.files import _is_temporary_name

NOT_ALLOWED: Final = 77  # the exit code by which test harnesses recognize a skipped test
_DISK: Final = 64 * 2**20
_FREE: Final = tuple(kib * 1024 for kib in (0, 8, 24, 64, 160, 320, 640, 1280, 2560, 5120))
_WORDS: Final = ("No space left", "disk is full", "could not be allocated")


class FullDiskTest(KillTest):
    """Runs commands on a disk with little free space."""

    def try_command(self, command: Command) -> tuple[Result, list[str]]:
        """What was found, and the messages."""
        result, messages = Result(command.name), []
        line = [part.format(server=self._server) if "{server}" in part else part for part in command.line]
        self._reset(command)
        self._run(line)
        complete = self._snapshot(result, is_complete=True)
        for free in _FREE:
            self._reset(command)
            before = self._snapshot(result)
            filler = self._work.parent / "filler"
            _fill(filler, free)
            code, _ = self._run(line)
            output = self._output.read_text(errors="replace")
            filler.unlink()
            if code in command.codes and not any(word in output for word in _WORDS):
                break
            if code in command.codes:
                continue  # a warning: nothing that matters is missing
            result.kills += 1
            error = next((text for text in output.splitlines() if text.startswith("error:")), "")
            messages.append(f"{free // 1024} KiB: exit {code}: {error}")
            if code != 4 or not any(word in error for word in _WORDS) or "hint: " not in output:
                result.add("broken", f"with {free} bytes it ends with {code}: {output[-700:]}")
            for path in _files(self._work):
                if any(map(_is_temporary_name, path.parts)):
                    result.add("extra", f"{path.name}, with {free} bytes")
            self._check_whole(result, before, complete)
            self._finish(command, line, result, complete)
        return result, messages


def _fill(path: Path, free: int) -> None:
    """Fills the disk but for some bytes."""
    with path.open("wb", buffering=0) as file:
        try:
            while file.write(b"\0" * 4096) == 4096:
                pass
        except OSError:
            pass
        size = path.stat().st_size
        file.truncate(max(0, size - free))


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--command", action="append", choices=[command.name for command in COMMANDS])
    names = parser.parse_args().command
    chosen = [one for one in COMMANDS if names is None or one.name in names]
    total: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as name:
        disk = Path(name).resolve() / "disk"
        disk.mkdir()
        mount = [shutil.which("mount") or "mount", "-t", "tmpfs", "-o", f"size={_DISK}", "none", str(disk)]
        if subprocess.run(mount, capture_output=True, check=False).returncode:
            print("this user may not mount a disk", file=sys.stderr)
            return NOT_ALLOWED
        try:
            test = FullDiskTest(disk, random.Random(1))
            test.prepare(max((one.stage for one in chosen), key=list(STAGES).index))
            for command in chosen:
                result, messages = test.try_command(command)
                counts: dict[str, Any] = {"full": result.kills, **result.found}
                print(f"{command.name:<26}", *(f"{kind}={count}" for kind, count in counts.items()))
                print(
                    *(f"    {text}" for text in (*messages[:1], *messages[-1:], *result.notes)),
                    sep="\n",
                    flush=True,
                )
                total = {kind: total.get(kind, 0) + count for kind, count in counts.items()}
        finally:
            subprocess.run([shutil.which("umount") or "umount", "-l", str(disk)], check=True)
    print(*(f"{kind}={count}" for kind, count in total.items()))
    return 1 if any(count for kind, count in total.items() if kind != "full") else 0


if __name__ == "__main__":
    sys.exit(main())
