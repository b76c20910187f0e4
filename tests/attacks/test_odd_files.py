"""A folder, a pipe, a device or a document without data, where a file of a run belongs.

Each is named in an error with a hint. None blocks, fills the memory, or is called a defect of mien.
"""

import json
import os
import re
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.attacks.odd_files import NO_DOCUMENTS, NO_FILES, replace
from torch import nn

from mien.cli import main
from mien.describe.local.processor import load_processor
from mien.documents import parse_json, read_bytes, read_json, require_file
from mien.errors import DataError, RunError, WeightsError
from mien.features.vision_encoder import find_vision_encoder
from mien.features.vision_tower import load_tower
from mien.files import atomic_write_text
from mien.model.checkpoint import MODEL_FILE, load_trained, read_tensors, write_tensors
from mien.playhouse.embedded_models import embedded_model_folder
from mien.weights.build_limits import OversizedError, check_size
from mien.weights.model_folder import find_model

RECIPE = """
name = "tiny"
data = { name = "playhouse", options = { train = 6, val = 4, test = 6, seed = 3 } }
describe = { engine = "fake", model = "none" }
model = { width = 16, heads = 2, num_queries = 2 }
train = { epochs = 1, batch_size = 4 }
evaluate = { bootstrap = 5 }
run = { threads = 1 }
"""

# Each file of a run, and a command that reads it.
READERS = {
    "manifest.json": ("report", "run"),
    "evaluation.json": ("report", "run"),
    "calibration.json": ("report", "run"),
    "samples-test.jsonl": ("report", "run"),
    "scores-test.npz": ("compare", "run", "other"),
    "model.safetensors": ("evaluate", "run"),
    "events.jsonl": ("compare", "run", "other"),
    "tiny.toml": ("train", "run/tiny.toml", "--out", "new"),
}


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an evaluated run."""
    folder = tmp_path_factory.mktemp("odd")
    recipe = folder / "tiny.toml"
    recipe.write_text(RECIPE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        for command in ("describe", "train"):
            assert main([command, str(recipe), "--out", str(folder / "run")]) == 0
        assert main(["evaluate", str(folder / "run")]) == 0
    shutil.copy(recipe, folder / "run")
    return folder


@pytest.fixture
def copies(evaluated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with the copies `run` and `other` of the run."""
    for name in ("run", "other"):
        shutil.copytree(evaluated / "run", tmp_path / name, ignore=shutil.ignore_patterns("features"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(evaluated / "cache"))
    return tmp_path


@pytest.fixture(autouse=True)
def never_blocks() -> Iterator[None]:
    signal.alarm(60)  # ends the process: a blocked one would never end
    yield
    signal.alarm(0)


@pytest.mark.parametrize(
    "kind", ["folder", "pipe", "hole of a terabyte", "nested arrays", "number of 5,000 digits"]
)
@pytest.mark.parametrize("name", READERS)
def test_each_file_of_a_run_may_be_anything(
    name: str, kind: str, copies: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    replace(copies / "run" / name, {**NO_FILES, **NO_DOCUMENTS}[kind])
    capsys.readouterr()
    code = main(READERS[name])
    out, err = capsys.readouterr()
    if kind in NO_DOCUMENTS and name == "events.jsonl" and kind != "hole of a terabyte":
        assert code == 0, err  # lines without an event are skipped, as after a crash
        return
    assert code in (2, 4), err
    assert out == ""
    error, hint = (line for line in err.splitlines() if not line.startswith("note: "))
    assert error.startswith("error: ")
    assert name in error
    assert hint.startswith("hint: ")
    assert "defect" not in hint


HEADERS: list[tuple[str, Any]] = [
    *(("layers", value) for value in (10**6, 10**12, 10**400)),
    *((key, 10**9) for key in ("width", "num_queries", "image_dim", "vocab_size", "num_frames")),
    ("vocab_size", -1),
    ("vocab_size", "many"),
    ("vocab_size", 10**400),
    ("recipe", {}),
    ("label_set", {"name": "a", "labels": 3, "exclusive": 1}),
]


@pytest.mark.parametrize(("key", "value"), HEADERS, ids=lambda value: str(value)[:20])
def test_a_header_may_ask_for_anything(key: str, value: Any, copies: Path) -> None:
    file = copies / "run" / MODEL_FILE
    tensors, about = read_tensors(file)
    (about["recipe"]["model"] if key in about["recipe"]["model"] else about)[key] = value
    write_tensors(file, tensors, about)  # with the right digest
    with pytest.raises(RunError, match="does not hold what its header says"):
        load_trained(copies / "run")


def test_a_header_of_safetensors_may_say_anything(copies: Path) -> None:
    file = copies / "run" / MODEL_FILE
    headers: tuple[object, ...] = (
        {"a": {"dtype": "F32", "shape": [1 << 40, 1 << 40], "data_offsets": [0, 4]}},
        {"a": {"dtype": "F32", "shape": [1 << 38], "data_offsets": [0, 1 << 40]}},
        {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
         "b": {"dtype": "F32", "shape": [2], "data_offsets": [4, 12]}},
        {"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, -4]}},
        {f"a{number}": {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]} for number in range(20_000)},
        [[]],
    )  # fmt: skip
    for header in headers:
        text = json.dumps(header).encode()
        file.write_bytes(len(text).to_bytes(8, "little") + text + bytes(12))
        with pytest.raises(RunError, match=re.escape(str(file))):
            load_trained(copies / "run")
    file.write_bytes((1 << 62).to_bytes(8, "little") + b"{}")
    with pytest.raises(RunError, match=re.escape(str(file))):
        load_trained(copies / "run")


MODEL_FILES = ["config.json", "tokenizer.json", "model.safetensors", "preprocessor_config.json"]


@pytest.mark.parametrize("kind", ["folder", "pipe", "socket"])
@pytest.mark.parametrize("name", MODEL_FILES)
def test_each_file_of_a_model_may_be_no_file(name: str, kind: str, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(embedded_model_folder("llava"), folder)
    (folder / name).touch()
    replace(folder / name, NO_FILES[kind])
    with pytest.raises(WeightsError, match=re.escape(name)):
        find_model(str(folder))
    with pytest.raises(WeightsError, match=re.escape(name)):
        find_vision_encoder(folder)


@pytest.mark.parametrize("kind", NO_DOCUMENTS)
@pytest.mark.parametrize("name", MODEL_FILES[:2])
def test_each_file_of_a_model_may_hold_anything(name: str, kind: str, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(embedded_model_folder("llava"), folder)
    replace(folder / name, NO_DOCUMENTS[kind])
    with pytest.raises(WeightsError, match=re.escape(str(folder))):
        load_processor(find_model(str(folder)))
    if name == "config.json":
        with pytest.raises(WeightsError, match=re.escape(str(folder))):
            load_tower(folder)


@pytest.mark.parametrize(
    ("key", "value"),
    [("num_hidden_layers", 10**12), ("intermediate_size", 10**12), ("image_size", 10**6), ("patch_size", 0)],
)
def test_a_config_may_ask_for_anything(key: str, value: int, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(embedded_model_folder("llava"), folder)
    config = json.loads((folder / "config.json").read_text())
    config["vision_config"][key] = value
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(WeightsError, match=re.escape(str(folder))):
        load_tower(folder)


def test_a_model_is_built_in_part_to_know_that_it_is_too_large() -> None:
    def build() -> None:
        for _ in range(10**9):
            built.append(nn.Linear(10, 10))

    built: list[nn.Module] = []
    with pytest.raises(OversizedError, match="more than 110 tensors"):
        check_size(build, [100] * 5)
    assert len(built) < 100
    with pytest.raises(OversizedError, match="values"):
        check_size(lambda: nn.Linear(10**9, 10**9), [100] * 5)
    check_size(lambda: nn.Linear(10, 10), [100, 10])


@pytest.mark.parametrize("kind", NO_FILES)
def test_a_place_without_a_file_is_an_error_of_the_file_system(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "place"
    NO_FILES[kind](path)
    for read in (require_file, read_bytes, read_json):
        with pytest.raises(OSError, match=re.escape(str(path))) as caught:
            read(path)
        assert caught.value.strerror


def test_a_file_longer_than_the_limit_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "long"
    path.write_bytes(b"12345")
    assert read_bytes(path, max_bytes=5) == b"12345"
    with pytest.raises(OSError, match="longer than 4 bytes"):
        read_bytes(path, max_bytes=4)


def test_a_path_with_a_nul_is_an_error_of_the_file_system() -> None:
    for read in (require_file, read_bytes):
        with pytest.raises(OSError, match="NUL"):
            read(Path("a\0b"))


def test_a_pipe_of_the_shell_is_read() -> None:
    reading, writing = os.pipe()
    os.write(writing, b'{"a": 1}')
    os.close(writing)
    assert read_json(Path(f"/dev/fd/{reading}")) == {"a": 1}
    os.close(reading)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "1" + "0" * 5000])
def test_a_document_that_python_cannot_hold_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        parse_json(text)


def test_a_recipe_nested_too_deeply_or_with_a_nul_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "r.toml"
    for text, message in (
        ("a = " + "[" * 100_000, "is not TOML"),
        ("a = " + "1" * 5000, "is not TOML"),
        (RECIPE + 'describe.options = { a = "x\\u0000y" }', "not TOML"),
        ('name = "a"\ndata = { name = "playhouse", root = "a\\u0000b" }', "data.root contains a NUL"),
    ):
        recipe.write_text(text)
        assert main(["train", str(recipe)]) == 2
        assert message in capsys.readouterr().err
    recipe.write_text(RECIPE)
    for override in ("train.lr=" + "[" * 100_000, "train.lr=" + "1" * 5000, 'data.root="a\\u0000b"'):
        assert main(["train", str(recipe), "--set", override]) == 2
        assert "defect" not in capsys.readouterr().err


@pytest.mark.parametrize(
    "key", ["model.width", "model.layers", "model.num_queries", "run.threads", "train.seed"]
)
def test_a_number_that_no_library_takes_is_refused(
    key: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "r.toml"
    recipe.write_text(RECIPE)
    for value in ("1e308", "inf", str(10**18 if key != "train.seed" else 10**19), str(10**30)):
        assert main(["train", str(recipe), "--dry-run", "--set", f"{key}={value}"]) == 2
        assert key.rpartition(".")[2] in capsys.readouterr().err


@pytest.mark.parametrize("kind", NO_FILES)
def test_what_is_not_a_file_is_never_replaced(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "place"
    NO_FILES[kind](path)
    before = path.lstat()
    with pytest.raises(DataError, match="cannot be written: is a"):
        atomic_write_text(path, "text")
    assert path.lstat().st_mode == before.st_mode
    assert [one.name for one in tmp_path.iterdir()] == ["place"]


def test_a_link_to_itself_and_a_path_without_a_name_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    Path("loop").symlink_to("loop")
    Path("r.toml").write_text(RECIPE)
    for line in (
        "compare loop loop",
        "report loop",
        "train loop",
        "describe r.toml --out loop",
        "data dedup r.toml --out .",
        "data export r.toml --split test --out .",
        "doctor caers --root loop",
        "data summary manifest --root loop",
    ):
        assert main(line.split()) in (2, 4), line
        assert "defect" not in capsys.readouterr().err, line


def test_a_nul_in_an_argument_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["doctor", "emotic", "--root", "a\0b"], ["report", "a\0b"], ["a\0b"]):
        assert main(arguments) == 2
        assert "NUL" in capsys.readouterr().err
