"""Every command prints, and every file has, what the JSON schemas of the documentation say."""

from __future__ import annotations

import functools
import json
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import jsonschema
import pytest
import typer
from pydantic import TypeAdapter
from scripts.docs.json_keys import definitions, keys_page, text_of, type_words
from scripts.docs.schemas import COMMANDS, FILES, INTERNAL_FILES, RENAMED, SCHEMAS, TABLES
from scripts.docs.schemas_page import schemas_page
from tests.factories.hub_server import GRANTED, HubServer, own_hub
from tests.factories.json_documents import check_document, check_printed, command_of, with_known_keys_only
from tests.factories.playhouse_video import film_playhouse

from mien.ablation import demo
from mien.cli import main
from mien.cli.entry_point import app
from mien.predict.output.tables import COLUMNS
from mien.predict.results import ImageRow, PersonRow

__all__ = ["own_hub"]  # a fixture

ROOT = Path(__file__).parents[2]
DETECTOR = "tests.factories.playhouse_video:StageDetector"
DATA = "{ name = 'playhouse', options = { train = 8, val = 6, test = 6, seed = 3 } }"
RECIPE = f"""
name = "words"
data = {DATA}
describe = {{ engine = "fake" }}
model = {{ fusion = "qformer", width = 16, heads = 2, layers = 1, num_queries = 2 }}
train = {{ epochs = 1, batch_size = 4 }}
evaluate = {{ bootstrap = 20 }}
run = {{ threads = 1 }}
"""
GRID = """
name = "small"
reference = "fused"
base = "words.toml"
seeds = [0]
[variants.fused]
[variants.image]
set = ["model.fusion=image_only"]
"""
DEMO = (
    "data.options.train=8", "data.options.val=6", "data.options.test=6", "train.epochs=1",
    "describe.max_new_tokens=4", "evaluate.bootstrap=20", "run.threads=1",
)  # fmt: skip


@dataclass(frozen=True)
class Made:
    """A folder with recipes, drawn data, and an evaluated run of descriptions and images."""

    folder: Path

    @property
    def photo(self) -> Path:
        return sorted((self.folder / "cache").rglob("*.png"))[0]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("documents")
    (folder / "words.toml").write_text(RECIPE)
    (folder / "grid.toml").write_text(GRID)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        patch.chdir(folder)
        for arguments in (
            ("describe", "words.toml", "--out", "run"),
            ("describe", "audit", "words.toml", "--out", "run"),
            ("train", "words.toml", "--out", "run"),
            ("evaluate", "run"),
            ("report", "run", "--explain", "1"),
            ("data", "playhouse", "caers", "--train", "2", "--val", "1", "--test", "1", "--out", "caers"),
        ):
            assert main(arguments) == 0
    return Made(folder)


@pytest.fixture
def printed(
    made: Made, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., list[Any]]:
    """printed("evaluate", "run"): the documents that a command prints, which were checked on the way."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(made.folder / "cache"))
    monkeypatch.chdir(made.folder)

    def run(*arguments: str, code: int = 0) -> list[Any]:
        capsys.readouterr()
        assert main([*arguments, "--json"]) == code, capsys.readouterr().err
        lines = capsys.readouterr().out.splitlines()
        documents = [json.loads(line) for line in lines]
        assert documents
        for document in documents:
            assert document["schema"] == 1
            check_printed(" ".join(["mien", *arguments]), document)
        return documents

    return run


Printed = Callable[..., list[Any]]

# --- Commands ------------------------------------------------------------------------------------------

# By command, command lines that cover the keys of its documents. Places: {photo}, {out} (a new name).
LINES: dict[str, Sequence[str]] = {
    "mien ablate": ["ablate grid.toml --out {out}"],
    "mien calibrate": [
        "calibrate playhouse --zero-shot playhouse --method similarity --out {out} "
        "--set data.options.train=2 --set data.options.val=6 --set data.options.test=4"
    ],
    "mien compare": ["compare run run-2", "compare run run-2 --published"],
    "mien data dedup": ["data dedup words.toml --out {out}.jsonl"],
    "mien data export": [
        "data export words.toml --split test --out {out}.jsonl",
        "data export run --images --out {out}",
    ],
    "mien data playhouse": ["data playhouse caers --train 2 --val 1 --test 1 --out {out}"],
    "mien data summary": ["data summary words.toml"],
    "mien data verify": ["data verify words.toml --out {out}"],
    "mien demo": ["demo --out {out}"],
    "mien describe run": [
        "describe words.toml --out {out} --dry-run",
        "describe words.toml --out {out}",
    ],
    "mien describe status": ["describe status words.toml --out run"],
    "mien describe check": ["describe check run/descriptions.sqlite"],
    "mien describe export": ["describe export run/descriptions.sqlite --out {out}.jsonl"],
    "mien describe import": [
        "describe import words.toml answers.jsonl --out {out} --set describe.engine=imported "
        "--set describe.options.name=me"
    ],
    "mien describe merge": ["describe merge run/descriptions.sqlite --out {out}.sqlite"],
    "mien describe models": ["describe models"],
    "mien describe prompts": ["describe prompts"],
    "mien describe audit": ["describe audit words.toml --out run"],
    "mien doctor": ["doctor caers --root caers"],
    "mien evaluate": ["evaluate run"],
    "mien explain": ["explain {photo} --run run --top 1 --cells 2 --random-orders 1 --out {out}"],
    "mien export descriptions": ["export descriptions words.toml --run run --out {out}"],
    "mien export features": ["export features words.toml --run run --split test --out {out}"],
    "mien export hub": ["export hub run --out {out}"],
    "mien export onnx": ["export onnx run --out {out}"],
    "mien predict": ["predict {photo} --run run --detector none"],
    "mien push": ["push run lab/words"],
    "mien report": ["report run", "report run run-2 --compare --out {out}.html --tables {out}"],
    "mien serve": ["serve run --port 0"],
    "mien train": ["train words.toml --out run --dry-run", "train words.toml --out run"],
}


def commands_with_json(command: Any, name: str) -> Iterator[str]:
    for child, below in getattr(command, "commands", {}).items():
        yield from commands_with_json(below, f"{name} {child}")
    if any("--json" in parameter.opts for parameter in command.params):
        yield name


def test_every_command_with_a_document_has_a_schema_and_is_run_here() -> None:
    found = sorted(commands_with_json(typer.main.get_command(app), "mien"))
    assert len(found) > 20
    assert sorted(COMMANDS) == found
    assert sorted(LINES) == found


@pytest.fixture
def prepared(made: Made, own_hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """What single commands need: a second run, answers, a Hub, a service that ends, a small demo."""
    monkeypatch.setenv("HF_TOKEN", GRANTED)
    (made.folder / "answers.jsonl").write_text('{"id": "stranger", "text": "They smile."}\n')
    if not (made.folder / "run-2").exists():
        shutil.copytree(made.folder / "run", made.folder / "run-2")
    monkeypatch.setattr("mien.serve.server.run_service", lambda *_, on_ready, **__: on_ready())
    monkeypatch.setattr(demo, "run_demo", functools.partial(demo.run_demo, seeds=(0,), overrides=DEMO))
    monkeypatch.setattr("mien.ablation.study._NUM_WORKERS", 1)


@pytest.mark.usefixtures("prepared")
@pytest.mark.parametrize("command", list(COMMANDS))
def test_documents_match_their_schemas(command: str, made: Made, printed: Printed, tmp_path: Path) -> None:
    for number, line in enumerate(LINES[command]):
        words = line.format(photo=made.photo, out=tmp_path / f"out-{number}").split()
        assert command_of(f"mien {line}") == command
        printed(*words, code=3 if command == "mien describe import" else 0)


def test_a_document_that_is_not_as_its_schema_says_is_found(printed: Printed) -> None:
    (document,) = printed("describe", "status", "words.toml", "--out", "run")
    check_document("mien-describe-status", document)
    splits = {**document["splits"], "test": {**document["splits"]["test"], "described": "six"}}
    for changed in (
        {**document, "new": 1},
        {**document, "schema": 2},
        {**document, "splits": splits},
        {name: value for name, value in document.items() if name != "store"},
    ):
        with pytest.raises(jsonschema.ValidationError):
            check_document("mien-describe-status", changed)
    # The published schema lets later versions add keys.
    jsonschema.validate({**document, "new": 1}, SCHEMAS["mien-describe-status"].document())


def test_people_and_images_without_any_are_rows(made: Made, printed: Printed, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"no image")
    paths = [str(made.photo), str(tmp_path / "bad.png")]
    person, image = printed("predict", *paths, "--run", "run", "--detector", "none", code=3)
    assert set(person) == {"schema", *PersonRow.__annotations__}
    assert set(image) == {"schema", *ImageRow.__annotations__}


def test_the_problem_of_an_unreadable_dataset_is_a_document(printed: Printed, tmp_path: Path) -> None:
    (document,) = printed("data", "verify", "emotic", "--root", str(tmp_path), code=4)
    assert [problem["kind"] for problem in document["problems"]] == ["unreadable"]


def test_a_training_has_scores_by_metric_and_may_get_keys_of_other_types(printed: Printed) -> None:
    (document,) = printed("train", "words.toml", "--out", "run")
    schema = SCHEMAS["mien-train"].document()
    jsonschema.validate({**document, "stopped_by": "SIGTERM", "peak_memory": None}, schema)
    check_document("mien-train", {**document, "my-val_mAP_emotic": 0.5})
    for changed in ({**document, "val_mAP": "high"}, {**document, "val_seconds": 2.5}):
        with pytest.raises(jsonschema.ValidationError):
            check_document("mien-train", changed)


# --- Files ---------------------------------------------------------------------------------------------


def schema_of(file: Path) -> str | None:
    """The schema of a file by its name; None for an internal one."""
    patterns = {
        re.sub("SPLIT", r"[\\w-]+", re.escape(name)): schema
        for schema, found in FILES.items()
        for name in found.files
        if name != "SPLIT.jsonl"
    }
    found = [schema for pattern, schema in patterns.items() if re.fullmatch(pattern, file.name)]
    if not found and file.name in INTERNAL_FILES:
        return None
    (schema,) = found
    return schema


def documents_in(file: Path) -> list[Any]:
    text = file.read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()] if file.suffix == ".jsonl" else [json.loads(text)]


def test_files_of_a_run_match_their_schemas(made: Made, printed: Printed, tmp_path: Path) -> None:
    printed("explain", str(made.photo), "--run", "run", "--top", "1", "--out", str(tmp_path / "why"))
    printed("data", "verify", "words.toml", "--out", str(tmp_path / "audit"))
    printed("export", "hub", "run", "--out", str(tmp_path / "saved"))
    folders = [made.folder / "run", tmp_path / "why", tmp_path / "audit", tmp_path / "saved"]
    files = [
        path
        for folder in folders
        for path in folder.rglob("*.json*")
        if "features" not in path.parts and "models" not in path.parts
    ]
    seen = set()
    for file in files:
        schema = schema_of(file)
        seen.add(schema)
        for document in documents_in(file) if schema else ():
            check_document(schema or "", document)
    assert seen >= {
        "manifest", "event", "evaluation", "calibration", "sample", "explanations", "training_images",
        "description_audit", "explanation", "audit", "saved_config", "saved_recipe", "saved_files",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("schema", "arguments"),
    [
        ("subject", "data export words.toml --split test --out"),
        ("split", "data dedup words.toml --out"),
        ("description", "describe export run/descriptions.sqlite --out"),
        ("predictions", "predict cache --recursive --run run --detector none --out"),
    ],
)
def test_files_of_rows_match_their_schemas(
    schema: str, arguments: str, made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(made.folder / "cache"))
    monkeypatch.chdir(made.folder)
    file = tmp_path / "rows.jsonl"
    assert main([*arguments.split(), str(file)]) == 0
    rows = documents_in(file)
    assert len(rows) > 3
    for row in rows:
        check_document(schema, row)


def test_rows_of_videos_match_their_schemas(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(made.folder)
    film_playhouse(tmp_path / "clip.mp4", 1)
    words = f"predict {tmp_path / 'clip.mp4'} --run run --detector {DETECTOR} --out {tmp_path / 'rows.jsonl'}"
    assert main(words.split()) == 0
    for schema, name in (("predictions", "rows.jsonl"), ("tracks", "rows.tracks.jsonl")):
        rows = documents_in(tmp_path / name)
        assert any(row["track"] is not None for row in rows)
        for row in rows:
            check_document(schema, row)


@pytest.mark.parametrize("run", ["tiny", "views", "failing"])
def test_files_of_version_0_1_0_match_but_for_keys_with_other_names(run: str) -> None:
    folder = ROOT / "tests" / "fixtures" / "0.1.0" / run
    files = {file.name: file for file in folder.glob("*.json*")}
    assert run == "failing" or {"manifest.json", "calibration.json", "evaluation.json"} <= set(files)
    for file in files.values():
        name = schema_of(file) or ""
        renamed = RENAMED.get(name, {})
        for document in documents_in(file):
            assert set(renamed) <= set(document)
            check_document(name, {renamed.get(key, key): value for key, value in document.items()})


def test_the_number_in_schema_is_one_that_mien_reads(made: Made) -> None:
    for name, numbers in (("manifest", (1, 2)), ("description_audit", (1,))):
        document = json.loads((made.folder / "run" / f"{name}.json").read_text(encoding="utf-8"))
        for number in numbers:
            check_document(name, {**document, "schema": number})
        with pytest.raises(jsonschema.ValidationError):
            check_document(name, {**document, "schema": max(numbers) + 1})


def test_every_file_of_the_reference_has_a_schema_or_a_reason() -> None:
    page = (ROOT / "docs" / "reference" / "files.md").read_text(encoding="utf-8")
    named = set(re.findall(r"[\w.-]+\.jsonl?\b", page))
    assert {"manifest.json", "events.jsonl", "samples-SPLIT.jsonl"} <= named
    with_schema = {name for schema in FILES.values() for name in schema.files}
    assert named - with_schema - set(INTERNAL_FILES) == set()
    assert with_schema & set(INTERNAL_FILES) == set()
    assert all(INTERNAL_FILES.values())


# --- Schemas -------------------------------------------------------------------------------------------


def unexplained(schema: Any, path: str = "") -> Iterator[str]:
    if isinstance(schema, list):
        for part in schema:
            yield from unexplained(part, path)
    elif isinstance(schema, dict):
        for name, part in schema.get("properties", {}).items():
            if not part.get("description"):
                yield f"{path}.{name}"
        for name, part in schema.items():
            yield from unexplained(part, f"{path}.{name}")


@pytest.mark.parametrize("name", list(SCHEMAS))
def test_every_key_of_a_document_is_explained(name: str) -> None:
    assert list(unexplained(SCHEMAS[name].document())) == []


def test_each_text_makes_sense_without_its_neighbors() -> None:
    pages = keys_page() + schemas_page()
    rows = [line.removesuffix(" |").split(" | ") for line in pages.splitlines() if line.startswith("| `")]
    headless = re.compile(r"(Of|Those|These|When,|Its name|null)\b|.*\blikewise\b|(How many|How often)\.$")
    assert [row for row in rows if headless.match(row[-1])] == []


def test_a_name_stands_for_the_same_object_in_all_documents() -> None:
    found = definitions()
    assert {"ResultRow", "LabelExplanation", "SplitSummary"} <= set(found)
    page = keys_page()
    assert all(f"\n### {name}\n" in page for name in found)
    assert all(f"\n### `{command}`\n" in page for command in COMMANDS)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (list[int | None], "array of (integer or null)"),
        (list[int] | None, "array of integer, or null"),
        (dict[str, float | None], "object of (number or null)"),
        (dict[str, list[float] | None] | None, "object of (array of number, or null), or null"),
        (list[Literal["a", "b"]], 'array of (`"a"`, `"b"`)'),
        (list[tuple[int, int, float]], "array of [integer, integer, number]"),
        (dict[str, dict[str, Any]], "object of object"),
        (str | None, "string or null"),
    ],
)
def test_types_in_words_have_one_meaning(kind: Any, words: str) -> None:
    assert type_words(TypeAdapter(kind).json_schema()) == words


def test_texts_are_escaped_outside_of_code_alone() -> None:
    assert text_of({"description": "a < b, with `<names>` | c"}) == "a &lt; b, with `<names>` \\| c"


def test_closing_a_schema_keeps_maps_and_free_values() -> None:
    schema = {
        "properties": {"a": {"properties": {"properties": {"type": "string"}}}},
        "anyOf": [{"properties": {"b": {}}, "additionalProperties": {"type": "number"}}, {"type": "null"}],
        "$defs": {"properties": {"type": "object", "additionalProperties": {"type": "string"}}},
    }
    assert with_known_keys_only(schema) == {
        "additionalProperties": False,
        "properties": {
            "a": {"additionalProperties": False, "properties": {"properties": {"type": "string"}}}
        },
        "anyOf": [{"properties": {"b": {}}, "additionalProperties": {"type": "number"}}, {"type": "null"}],
        "$defs": {"properties": {"type": "object", "additionalProperties": {"type": "string"}}},
    }


def test_columns_of_predictions_are_keys_of_rows() -> None:
    assert set(COLUMNS) <= set(PersonRow.__annotations__)
    for schema in TABLES.values():
        assert schema.columns is not None
        assert list(schema.document()["properties"]) == list(schema.columns)
