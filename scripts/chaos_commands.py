"""The commands that `chaos.py` kills: how each is prepared, and how its files are read again.

All commands work on the same tiny dataset, in the same folder. They share what earlier commands made:
`STAGES` says which, in order. Everything that a command writes is listed in docs/explanation/kills.md.
"""

from __future__ import annotations

import csv
import json
import re
import shutil
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
from PIL import Image
from pyarrow import parquet

from mien.model.checkpoint import read_tensors

__all__ = ["COMMANDS", "STAGES", "Command", "fingerprint", "make_dataset", "serve"]

RECIPE: Final = """
name = "tiny"
data = { name = "manifest", root = "people.jsonl", label_set = "caers" }
features = { vision = "playhouse", tokenizer = "playhouse" }
train = { epochs = 3, batch_size = 4, lr = 0.003, missing_descriptions = "image_only" }
evaluate = { bootstrap = 20 }
run = { threads = 1, batch_size = 3, keep_last = true, out = "run" }
[describe]
engine = "fake"
options = { refuse = ["s3"], poison = ["s5"], delay = 0.01 }
[model]
fusion = "qformer"
width = 8
heads = 2
layers = 1
num_queries = 2
cross_every = 1
"""
GRID: Final = """
name = "grid"
base = "recipe.toml"
reference = "both"
seeds = [0]
[variants.both]
[variants.text]
set = ["model.fusion=text_only"]
"""
_LABELS: Final = ("Anger", "Disgust", "Fear", "Happy", "Neutral", "Sad", "Surprise")
_IMPORTED: Final = ("--set", "describe.engine=imported", "--set", 'describe.options={name="elsewhere"}')
_REMOTE: Final = (
    "--set", "describe.engine=remote", "--set", "describe.model=answers", "--set", "describe.options={}",
    "--set", 'run.endpoints=["{server}"]',
)  # fmt: skip
_LOCAL: Final = (
    "--set", "describe.engine=local", "--set", "describe.model=playhouse", "--set", "describe.options={}",
    "--set", "describe.max_new_tokens=8",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Command:
    """A command line; `stage`: the commands before it. `codes`: how it may end when nothing is killed.

    `share`: kills relative to other commands, less for slow ones. `repeats`: whether it can be run again when
    it is complete; otherwise its refusal is expected. `{server}` stands for the address of a server.
    """

    name: str
    line: tuple[str, ...]
    stage: str = "new"
    codes: tuple[int, ...] = (0,)
    share: float = 1.0
    repeats: bool = True


def _command(name: str, line: str, *more: str, **options: Any) -> Command:
    return Command(name=name, line=(*line.split(), *more), **options)


_SIZES: Final = ("--train", "4", "--val", "2", "--test", "2")
_OTHER: Final = ("--out", "other", "--set", "run.store=run/descriptions.sqlite", "--set", "train.seed=1")
_SHARDS: Final = tuple(f"shards/descriptions.sqlite.shard-{number}-of-2" for number in (1, 2))

# Each stage is the one before it, plus these command lines.
STAGES: Final[dict[str, tuple[tuple[str, ...], ...]]] = {
    "new": (),
    "described": (("describe", "recipe.toml"),),
    "trained": (("train", "recipe.toml"),),
    "evaluated": (("evaluate", "run"),),
    "compared": (("train", "recipe.toml", *_OTHER), ("evaluate", "other")),
    "shards": (
        ("describe", "recipe.toml", "--out", "shards", "--shard", "1/2"),
        ("describe", "recipe.toml", "--out", "shards", "--shard", "2/2"),
    ),
    "layouts": tuple(
        ("data", "playhouse", layout, "--out", layout, *_SIZES) for layout in ("emotic", "caers", "bold")
    ),
}
COMMANDS: Final = (
    _command("describe", "describe recipe.toml", codes=(3,)),
    _command("describe --shard", "describe recipe.toml --shard 1/2", codes=(0, 3)),
    _command("describe --retry-failed", "describe recipe.toml --retry-failed", stage="described", codes=(3,)),
    _command("describe (remote)", "describe recipe.toml", *_REMOTE, share=0.7),
    _command("describe (local)", "describe recipe.toml", *_LOCAL, share=0.3),
    _command("describe export .csv", "describe export recipe.toml --out out.csv", stage="described"),
    _command("describe export .jsonl", "describe export recipe.toml --out out.jsonl", stage="described"),
    _command("describe export .parquet", "describe export recipe.toml --out out.parquet", stage="described"),
    _command("describe import", "describe import recipe.toml texts.jsonl --out imported", *_IMPORTED),
    _command("describe merge", "describe merge --out merged.sqlite", *_SHARDS, stage="shards"),
    _command("describe audit", "describe audit recipe.toml", stage="described"),
    _command("data verify", "data verify recipe.toml --out audit", codes=(0, 4)),
    _command("data export", "data export recipe.toml --split train --out out.jsonl"),
    _command("data dedup", "data dedup recipe.toml --out splits.jsonl"),
    _command("data summary", "data summary emotic --root emotic", stage="layouts"),
    _command("doctor", "doctor caers --root caers", stage="layouts", codes=(0, 4)),
    _command("data playhouse emotic", "data playhouse emotic --out new", *_SIZES, repeats=False),
    _command("data playhouse caers", "data playhouse caers --out new", *_SIZES, repeats=False),
    _command("data playhouse bold", "data playhouse bold --out new", *_SIZES, repeats=False),
    _command("train", "train recipe.toml", stage="described", share=3),
    _command("evaluate", "evaluate run", stage="trained", share=2),
    _command("compare", "compare run other", stage="compared", share=0.5),
    _command("report", "report run", stage="evaluated"),
    _command("predict", "predict 0.png 1.png --run run --json", stage="trained", share=0.5),
    _command("ablate", "ablate grid.toml --out grid", stage="described", share=1.5),
    _command("demo", "demo --out demo", share=0.7),
)


def make_dataset(folder: Path, count: int = 21) -> None:
    """Writes images of people, a manifest, a recipe, a grid and descriptions to import."""
    rng = np.random.default_rng(1)
    people, texts = [], []
    for number in range(count):
        Image.fromarray(rng.integers(0, 255, (24, 32, 3), dtype=np.uint8)).save(folder / f"{number}.png")
        split = ("train", "train", "val", "test")[number % 4]
        people.append({"id": f"s{number}", "image": f"{number}.png", "box": [2, 2, 20, 20], "split": split,
                       "labels": [_LABELS[number % 7]]})  # fmt: skip
        texts.append({"id": f"s{number}", "text": f"The person {number} appears calm, =1+1"})
    for name, rows in (("people.jsonl", people), ("texts.jsonl", texts)):
        (folder / name).write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    (folder / "recipe.toml").write_text(RECIPE)
    (folder / "grid.toml").write_text(GRID)


# --- A server ------------------------------------------------------------------------------------------


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that are killed close their connections."""


class _Answers(BaseHTTPRequestHandler):
    """Answers every request with a text that depends on its image."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        message = {"role": "assistant", "content": f"The person appears calm, in {len(body)} bytes."}
        self._reply({"id": "1", "object": "chat.completion", "created": 1, "model": "answers",
                     "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]})  # fmt: skip

    def do_GET(self) -> None:
        self._reply({"object": "list", "data": [{"id": "answers", "object": "model"}]})

    def _reply(self, document: object) -> None:
        data = json.dumps(document).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None: ...


def serve() -> str:
    """Starts a server in a thread; returns its address."""
    server = _Server(("127.0.0.1", 0), _Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_address[1]}/v1"


# --- Reading what was written --------------------------------------------------------------------------

# What differs from run to run: times, durations, and how often a run was interrupted.
_MAX_CUT_LINES: Final = 4
_TIMES: Final = re.compile(
    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?(\.\d+)?(\+00:00|Z| UTC)?"
    r"|\"(seconds|per_second|times)\": [\d.e-]+"  # times: how often a split was scored
)


def fingerprint(path: Path, folder: Path) -> object:
    """What a file holds, without times; raises an error if it is not whole."""
    if ".sqlite" in path.name and not path.name.endswith((".jsonl", ".lock")):
        return _read_store(path)
    reader = _READERS.get(path.suffix)
    if reader is None:
        raise ValueError(f"{path.name} is of an unknown kind")
    return reader(path)


def _read_text(path: Path) -> object:
    return _TIMES.sub("TIME", path.read_text(encoding="utf-8"))


def _read_json(path: Path) -> object:
    json.loads(path.read_bytes())
    return _read_text(path)


def _read_jsonl(path: Path) -> object:
    lines = path.read_bytes().split(b"\n")
    if path.name.endswith("events.jsonl"):
        # Grows line by line; a kill may cut the last one, which readers skip. A resumed run has more of them.
        cut = sum(not _is_json(line) for line in lines[:-1])
        assert cut <= _MAX_CUT_LINES, f"{cut} cut lines"
        return None
    assert lines[-1] == b"", "the last line is cut"
    for line in lines[:-1]:
        json.loads(line)
    return _read_text(path)


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


def _read_csv(path: Path) -> object:
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file, strict=True))
    assert len({len(row) for row in rows}) == 1, "rows of different lengths"
    return rows


def _read_html(path: Path) -> object:
    text = _read_text(path)
    assert isinstance(text, str)
    assert text.rstrip().endswith("</html>"), "the page is cut"
    return text


def _read_store(path: Path) -> object:
    """The rows of a store, from a copy, because reading in place would tidy up."""
    with (
        TemporaryDirectory() as folder,
        closing(sqlite3.connect(_copy_store(path, Path(folder)))) as connection,
    ):
        assert connection.execute("pragma integrity_check").fetchone() == ("ok",)
        tables = connection.execute("select name from sqlite_master where type = 'table'").fetchall()
        return {
            table: sorted(map(repr, connection.execute(f"select * from {table}")))  # noqa: S608
            for (table,) in tables
        }


def _copy_store(path: Path, folder: Path) -> Path:
    for part in (path, Path(f"{path}-wal")):
        if part.exists():
            shutil.copy(part, folder)
    return folder / path.name


def _read_tensors(path: Path) -> object:
    tensors, about = read_tensors(path)
    return {name: tensor.numpy().tobytes() for name, tensor in tensors.items()}, json.dumps(about)


def _read_arrays(path: Path) -> object:
    with np.load(path, allow_pickle=False) as file:
        return {name: (file[name].shape, file[name].tobytes()) for name in file.files}


def _read_array(path: Path) -> object:
    array = np.load(path, allow_pickle=False)
    return array.shape, array.tobytes()


def _read_image(path: Path) -> object:
    with Image.open(path) as image:
        image.load()
        return image.tobytes()


def _read_parquet(path: Path) -> object:
    return parquet.read_table(path).to_pylist()


def _read_clip(path: Path) -> object:
    import av

    with av.open(str(path)) as file:
        return sum(1 for _ in file.decode(video=0))


def _read_mat(path: Path) -> object:
    from scipy.io import loadmat

    loadmat(path)
    return path.stat().st_size


def _read_nothing(path: Path) -> object:
    """A lock, which says who held it last."""
    return None


_READERS: Final[dict[str, Callable[[Path], object]]] = {
    ".json": _read_json,
    ".jsonl": _read_jsonl,
    ".csv": _read_csv,
    ".html": _read_html,
    ".safetensors": _read_tensors,
    ".npz": _read_arrays,
    ".npy": _read_array,
    ".png": _read_image,
    ".jpg": _read_image,
    ".parquet": _read_parquet,
    ".mp4": _read_clip,
    ".mat": _read_mat,
    ".toml": _read_text,
    ".txt": _read_text,
    ".lock": _read_nothing,
}
