"""Builds the releases and tries the wheel as a user gets it: in a clean environment, without the source tree.

    python scripts/wheel_test.py [--uv PROGRAM] [--extras remote onnx ...] [--demo]

1. The source release has every file of the repository; the wheel, built from it, has every file of the
   package and is smaller than 12 MB.
2. In an environment with nothing but the wheel and what it requires: the package is imported from there, all
   commands answer, completion works, and the examples of the README run.
3. For each extra, an environment with it, and what it is for is imported. Extras that need a GPU or gigabytes
   are resolved, not installed.

With `--demo` it also runs `mien demo` from the wheel, which takes minutes.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
MAX_WHEEL: Final = 12_000_000  # bytes
# What each extra brings; its import shows that the extra names the right package.
IMPORTS: Final = {
    "vlm": "import num2words",
    "onnx": "import onnxruntime; import mien.detection.onnx_model",
    "onnx-export": "import onnx, onnxruntime, onnxscript; import mien.export.onnx",
    "remote": "import httpx2; import mien.describe.remote.client",
    "ray": "import ray; import mien.describe.ray.connection",
    "pandas": "import pandas",
    "quantize": "import accelerate, bitsandbytes",
    "serve": "import fastapi, httpx2, prometheus_client, uvicorn; import mien.serve.app, mien.serve.client",
    "serve-ray": "import ray.serve; from mien.serve.ray import app; import mien.serve.ray.proxy",
}
RESOLVED_ONLY: Final = {"vllm": "needs a GPU, or a build of its own"}
NOT_SHIPPED: Final = {"dev"}
# Smaller than in the recipe, so that the README's commands take seconds.
SMALL: Final = "options = { train = 16, val = 8, test = 8, seed = 3 }"
_PHOTO: Final = """
import random
from mien.playhouse.draw import draw_scene
from mien.playhouse.scene import sample_scene
draw_scene(sample_scene(random.Random(1))).image.resize((400, 400)).save("photo.jpg")
"""


class ReleaseError(Exception):
    """Something that a user would meet."""


def run(command: Sequence[str | Path], *, cwd: Path, env: Mapping[str, str] | None = None) -> str:
    """Runs a command and returns its output; ReleaseError if it fails."""
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ReleaseError(
            f"{shlex.join(map(str, command))} ended with {done.returncode}\n{done.stdout}{done.stderr}"
        )
    return done.stdout


def build(uv: str, out: Path) -> tuple[Path, Path]:
    """The source release, and the wheel that is built from it."""
    run(
        [uv, "build", "--quiet", "--no-build-isolation", "--python", sys.executable, "--out-dir", out, ROOT],
        cwd=out,
    )
    (source,), (wheel,) = out.glob("*.tar.gz"), out.glob("*.whl")
    return source, wheel


def check_files(source: Path, wheel: Path) -> None:
    """ReleaseError if a release lacks a file, or has one that it should not have."""
    tracked = set(run(["git", "ls-files"], cwd=ROOT).split("\n")) - {""}
    with tarfile.open(source) as archive:
        in_source = {member.name.partition("/")[2] for member in archive if member.isfile()}
    if missing := tracked - in_source:
        raise ReleaseError(f"the source release lacks {sorted(missing)}")
    added = {
        name for name in in_source - tracked if not re.match(r"PKG-INFO|setup\.cfg|src/mien\.egg-info/", name)
    }
    if added:
        raise ReleaseError(
            f"the source release has files that the repository does not track: {sorted(added)}"
        )
    with zipfile.ZipFile(wheel) as archive:
        in_wheel = set(archive.namelist())
    package = {name.removeprefix("src/") for name in tracked if name.startswith("src/mien/")}
    if different := package ^ {name for name in in_wheel if name.startswith("mien/")}:
        raise ReleaseError(f"the wheel and the package differ in {sorted(different)}")
    if (size := wheel.stat().st_size) >= MAX_WHEEL:
        raise ReleaseError(f"the wheel has {size:,} bytes")
    print(f"wheel: {size:,} bytes, {len(package)} files; source release: {source.stat().st_size:,} bytes")


class Installed:
    """An environment with the wheel."""

    def __init__(self, uv: str, folder: Path, wheel: Path, extra: str | None = None) -> None:
        self.folder = folder / (extra or "plain")
        self.folder.mkdir()
        self.bin = self.folder / "env" / "bin"
        # Not PYTHONPATH and the like, which could lead to the source tree.
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("PYTHON", "VIRTUAL_ENV"))
        }
        self.env = {
            **kept,
            "XDG_CACHE_HOME": str(self.folder / "cache"),
            "PATH": f"{self.bin}:{kept['PATH']}",
        }
        run([uv, "venv", "--quiet", "--python", sys.executable, self.folder / "env"], cwd=self.folder)
        what = f"{wheel}[{extra}]" if extra else str(wheel)
        locked = [f"--constraint={ROOT / 'requirements' / name}" for name in ("dev.txt", "torch.txt")]
        python = self.bin / "python"
        run(
            [uv, "pip", "install", "--quiet", "--python", python, *locked, what],
            cwd=self.folder,
            env=self.env,
        )

    def run(self, *command: str) -> str:
        return run(command, cwd=self.folder, env=self.env)


def check_plain(uv: str, folder: Path, wheel: Path, *, demo: bool) -> None:
    """The commands, completion, and the README's examples."""
    installed = Installed(uv, folder, wheel)
    place = installed.run("python", "-c", "import mien; print(mien.__file__)").strip()
    if not Path(place).is_relative_to(installed.folder / "env"):
        raise ReleaseError(f"mien was imported from {place}")
    installed.run("mien", "--version")
    commands = re.findall(
        r"^  (\w+) ", installed.run("mien", "--help").partition("Commands:")[2], re.MULTILINE
    )
    for command in commands:
        installed.run("mien", command, "--help")
    installed.env |= {"_MIEN_COMPLETE": "complete_bash", "COMP_WORDS": "mien pre", "COMP_CWORD": "1"}
    if installed.run("mien").split() != ["predict"]:
        raise ReleaseError("bash does not complete mien pre")
    del installed.env["_MIEN_COMPLETE"]

    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    recipe = (ROOT / "recipes" / "playhouse.toml").read_text(encoding="utf-8")
    (installed.folder / "recipes").mkdir()
    small = re.sub(r"^options = \{ train.*\}$", SMALL, recipe, flags=re.MULTILINE)
    (installed.folder / "recipes" / "playhouse.toml").write_text(small, encoding="utf-8")
    installed.run("python", "-c", _PHOTO)
    lines = re.findall(r"^\$ (mien (?:describe|train|evaluate|predict) .*)$", readme, re.MULTILINE)
    for line in lines:
        installed.run(*shlex.split(line, comments=True))
    (example,) = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    installed.run("python", "-c", example)
    print(f"plain: {len(commands)} commands answer, {len(lines)} lines and the Python of the README run")
    if demo:
        print(installed.run("mien", "demo"))


def check_extra(uv: str, folder: Path, wheel: Path, extra: str) -> None:
    """An environment with this extra, or what it would consist of."""
    if extra in RESOLVED_ONLY:
        run([uv, "pip", "compile", "--quiet", "--extra", extra, ROOT / "pyproject.toml"], cwd=folder)
        print(f"[{extra}]: resolved; not installed, because it {RESOLVED_ONLY[extra]}")
        return
    installed = Installed(uv, folder, wheel, extra)
    installed.run("python", "-c", IMPORTS[extra])
    installed.run("mien", "--version")
    print(f"[{extra}]: {IMPORTS[extra]}")


def extras_of_project() -> list[str]:
    """The extras for users."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return [extra for extra in project["optional-dependencies"] if extra not in NOT_SHIPPED]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--uv", default="uv", help="the program uv")
    parser.add_argument("--extras", nargs="*", default=extras_of_project(), help="by default all")
    parser.add_argument("--demo", action="store_true", help="run mien demo, too")
    given = parser.parse_args()
    uv = str(Path(given.uv).absolute()) if os.sep in given.uv else given.uv
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        try:
            (folder / "dist").mkdir()
            source, wheel = build(uv, folder / "dist")
            check_files(source, wheel)
            check_plain(uv, folder, wheel, demo=given.demo)
            for extra in given.extras:
                check_extra(uv, folder, wheel, extra)
        except ReleaseError as error:
            print(error, file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
