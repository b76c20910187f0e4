"""Names and texts of others with terminal escapes: shown as escapes, and kept exactly in files and JSON."""

import json
import logging
import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tests.factories.chat_server import Handler, Server

from mien.cli import main
from mien.cli.render.console import Console
from mien.cli.render.text import LogFormatter, escape_logs, escape_text, format_json, join_lines
from mien.predict.results import Person
from mien.types import Prediction

# Sets the window's title, clears the screen, colors, rewrites the line, forges another, and turns the rest.
HOSTILE = "a\x1b]0;owned\x07\x1b[2J\x9b31m\x7f\rb\u202ec\u2066d\u2028e"
FORGED = HOSTILE + "\nerror: forged"
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


class Run:
    """The output of a command. Fails if any of it could control a terminal."""

    def __init__(self, arguments: Sequence[str], capsys: pytest.CaptureFixture[str]) -> None:
        capsys.readouterr()
        self.code = main(list(arguments))
        self.out, self.err = capsys.readouterr()
        both = self.out + self.err
        assert not CONTROL.search(both), ascii(both)
        assert not re.search("^error: forged", both, re.MULTILINE), both
        assert "defect" not in both

    @property
    def document(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.out)
        return document


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    Image.new("RGB", (40, 40), "gray").save(tmp_path / "good.png")
    return tmp_path


class HostileHandler(Handler):
    """Refuses each request in its own words."""

    def do_GET(self) -> None:  # noqa: N802
        self.answer(200, {"data": [{"id": "m"}]})

    def do_POST(self) -> None:  # noqa: N802
        self.content()
        self.answer(400, {"error": {"message": FORGED}})


def write_manifest(path: Path, *rows: Mapping[str, object]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


ROW = {"image": "good.png", "labels": ["Peace"], "split": "train"}


def test_names_in_a_dataset(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = folder / "m.jsonl"
    write_manifest(
        manifest,
        {**ROW, "id": FORGED},
        {**ROW, "labels": [HOSTILE]},
        {**ROW, "image": f"{HOSTILE}.png"},
        {**ROW, "split": HOSTILE},
        {**ROW, "box": FORGED},
    )
    options = ["--root", str(manifest)]
    for command in (["data", "summary", "manifest"], ["doctor", "manifest"], ["data", "verify", "manifest"]):
        text = Run([*command, *options], capsys)
        assert text.code in (0, 4), text.err
        Run([*command, *options, "--json"], capsys)


def test_json_holds_the_names_exactly(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = folder / "m.jsonl"
    write_manifest(manifest, {**ROW, "image": f"{HOSTILE}.png", "id": HOSTILE}, ROW)
    problems = Run(["data", "verify", "manifest", "--root", str(manifest), "--json"], capsys).document[
        "problems"
    ]
    assert any(HOSTILE in one["file"] for one in problems), problems


@pytest.mark.parametrize(
    "arguments",
    [
        ["report", FORGED],
        ["train", FORGED],
        ["evaluate", HOSTILE],
        ["compare", HOSTILE, HOSTILE],
        ["predict", HOSTILE, HOSTILE, "--run", HOSTILE],
        ["predict", HOSTILE, "good.png", "--box", FORGED],
        ["doctor", FORGED],
        ["doctor", "emotic", "--root", HOSTILE],
        ["data", "summary", FORGED],
        ["data", "playhouse", HOSTILE, "--out", "x"],
        ["describe", "audit", "--answers", HOSTILE, "--label-set", HOSTILE],
        ["describe", "export", HOSTILE, "--out", HOSTILE],
        ["ablate", HOSTILE],
        [HOSTILE],
        ["train", "r.toml", f"--{HOSTILE}"],
        ["train", "r.toml", "--set", f"train.{HOSTILE}=1"],
        ["train", "r.toml", "--set", f'name="{HOSTILE}"'],
    ],
    ids=lambda arguments: " ".join(arguments).split(HOSTILE)[0],
)
def test_arguments(arguments: list[str], folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "r.toml").write_text('name = "r"\ndata = { name = "playhouse" }\n')
    run = Run(arguments, capsys)
    assert run.code != 0
    assert (run.out == "") == (arguments[1:2] != ["emotic"])  # the doctor's findings are a result
    assert [line.partition(":")[0] for line in run.err.splitlines()] == ["error", "hint"]


def test_names_in_a_recipe(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    quoted = json.dumps(FORGED)
    for text in (
        f"name = {quoted}\ndata = {{ name = 'playhouse' }}",
        f"name = 'a'\ndata = {{ name = {quoted} }}",
        f"name = 'a'\n{quoted} = 1\ndata = {{ name = 'playhouse' }}",
        f"name = 'a'\ndata = {{ name = 'playhouse' }}\ntrain = {{ {quoted} = 1 }}",
        f"name = 'a'\ndata = {{ name = 'manifest', root = {quoted} }}",
        f"name = \x1b[2J{quoted}",
    ):
        (folder / "r.toml").write_text(text)
        assert Run(["train", "r.toml", "--dry-run"], capsys).code in (2, 4)


def test_replies_of_a_server(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "r.toml").write_text(
        "name = 'r'\ndata = { name = 'playhouse', options = { train = 2, val = 1, test = 1, seed = 3 } }\n"
    )
    server = Server(HostileHandler)
    command = [
        *("describe", "r.toml", "--out", "run", "--split", "test"),
        *("--set", "describe.engine=remote", "--set", "describe.model=m"),
        *("--set", f'run.endpoints=["{server.url}"]'),
    ]
    try:
        assert Run(command, capsys).code == 3
        Run(["describe", "status", *command[1:]], capsys)
    finally:
        server.close()


def test_descriptions_with_escapes_are_audited(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = folder / "texts.jsonl"
    rows = [{"id": FORGED, "text": f"{FORGED} {number % 3}", "label": "Peace"} for number in range(8)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    Run(["describe", "audit", "--answers", "texts.jsonl", "--label-set", "emotic"], capsys)
    path.write_text(json.dumps({"id": "a", "text": "b", "label": FORGED}))
    assert Run(["describe", "audit", "--answers", "texts.jsonl", "--label-set", "emotic"], capsys).code == 2


def test_a_traceback(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIEN_DEBUG", "1")
    assert "Traceback" in Run(["report", HOSTILE], capsys).err


def test_a_message_of_megabytes_is_cut(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert len(Run(["report", "a/" * 2_000_000], capsys).err) < 10_000


def test_notes_progress_and_results() -> None:
    printed: list[str] = []
    console = Console(as_json=False, live=True, out=lambda text, **_: printed.append(text))
    console.note(FORGED)
    console.print_result({}, join_lines([FORGED, "\ttab"]))
    console.print_table({HOSTILE: FORGED})
    both = "\n".join(printed)
    assert not CONTROL.search(both)
    assert printed[0].count("\n") == 0
    assert printed[1].split("\n")[1] == "\ttab"
    assert "\\x1b]0;owned\\x07" in printed[0]
    assert "\\u202e" in printed[0]


def test_logs_and_warnings(capsys: pytest.CaptureFixture[str]) -> None:
    record = logging.LogRecord("mien", logging.WARNING, "", 1, "a %s", (FORGED,), None)
    line = LogFormatter().format(record)
    assert not CONTROL.search(line)
    assert "\n" not in line
    with escape_logs():
        text = warnings.formatwarning(HOSTILE, UserWarning, "file.py", 1, "code")
        assert logging.lastResort is not None
        assert isinstance(logging.lastResort.formatter, LogFormatter)
    assert not CONTROL.search(text)
    assert not isinstance(logging.lastResort.formatter, LogFormatter)


def test_an_escape_keeps_every_other_character() -> None:
    text = "Ünïcode \N{GRINNING FACE} 日本語\t\u05e2\u05d1\u200d \n"
    assert escape_text(text) == text
    assert escape_text("é\x1b", "ascii") == "\\xe9\\x1b"
    everything = "".join(map(chr, range(0x3000))) + "\udfff\ufeff\N{GRINNING FACE}"
    for encoding in (None, "utf-8", "ascii", "latin-1"):
        line = format_json({"text": everything}, encoding)
        assert json.loads(line) == {"text": everything}
        assert not CONTROL.search(line)
        assert "\n" not in line
        line.encode(encoding or "utf-8")


def test_a_person_is_shown_without_escapes() -> None:
    prediction = Prediction(subject_id="a", label_set="own", scores={HOSTILE: 0.5})
    shown = repr(Person(id=0, box=None, box_source="whole", prediction=prediction))
    assert not CONTROL.search(shown)
