"""A run that was moved, renamed or copied is a whole run, and never touches the one it was copied from."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tests.factories.playhouse_1 import use_playhouse_1

from mien.cli import main
from mien.recipe import Recipe
from mien.recipe.places import (
    OutsidePlace,
    is_same_recipe,
    outside_places,
    recorded_recipe,
    relative_to_run,
    resolve_in_run,
)
from mien.train import loop
from mien.train.trainer import Trainer

FIXTURES = Path(__file__).parents[1] / "fixtures" / "0.1.0"
RECIPE = """
name = "tiny"
data = { name = "manifest", root = "photos/people.jsonl" }
describe = { engine = "fake", model = "none" }
model = { width = 16, heads = 2, num_queries = 2 }
train = { epochs = 3, batch_size = 4 }
evaluate = { bootstrap = 20 }
run = { threads = 1 }
"""
GRID = """
name = "two"
base = "tiny.toml"
seeds = [0]
reference = "fused"
set = ["train.epochs=1"]
[variants.fused]
[variants.text]
set = ["model.fusion=text_only"]
"""
NAMES = ("plain", "with a space", "ü 漢", "%41 #1", 'it\'s "so"', "back\\slash", "-dash", "a[b]*?")
Mien = Callable[..., tuple[int, str]]


def write_photos(folder: Path) -> None:
    """Twelve photos and their manifest."""
    folder.mkdir()
    rows = []
    for number in range(12):
        split = ("train", "train", "val", "test")[number % 4]
        Image.new("RGB", (64, 48), (20 * number, 90, 255 - 20 * number)).save(folder / f"{number}.png")
        label = ("Anger", "Peace", "Fear")[number % 3]
        box = [4, 4, 40, 40]
        rows.append({"image": f"{number}.png", "box": box, "labels": [label], "split": split})
    (folder / "people.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with photos, a recipe, a finished run and a finished ablation; the working directory."""
    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        write_photos(folder / "photos")
        (folder / "tiny.toml").write_text(RECIPE)
        (folder / "grid.toml").write_text(GRID)
        for arguments in (("describe", "tiny.toml"), ("train", "tiny.toml"), ("evaluate", "runs/tiny")):
            assert main(list(arguments)) == 0
        assert main(["ablate", "grid.toml", "--out", "runs/study"]) == 0
        yield folder


@pytest.fixture
def place(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of its own, from whose subfolder commands are called."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "other cache"))
    return tmp_path


@pytest.fixture
def mien(capsys: pytest.CaptureFixture[str]) -> Mien:
    """mien("evaluate", run): the exit code, and what the command prints to stderr."""

    def call(*arguments: object) -> tuple[int, str]:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        return code, capsys.readouterr().err

    return call


def content(folder: Path) -> dict[str, bytes]:
    files = (file for file in folder.rglob("*") if file.is_file() and file.suffix != ".lock")
    return {str(file.relative_to(folder)): file.read_bytes() for file in files}


def rows(run: Path) -> Any:
    return json.loads((run / "evaluation.json").read_text())["rows"]


def test_no_file_of_a_run_names_the_place_of_the_run(made: Path) -> None:
    for name in ("tiny", "study"):
        for file, data in content(made / "runs" / name).items():
            assert str(made / "runs").encode() not in data, file
    for run in ("tiny", "study/fused/seed-0"):
        assert recorded_recipe(made / "runs" / run).run.out == made / "runs" / run


@pytest.mark.parametrize("name", NAMES)
def test_a_copy_with_any_name_is_a_whole_run(made: Path, place: Path, mien: Mien, name: str) -> None:
    copy = place / name
    shutil.copytree(made / "runs" / "tiny", copy)
    before = content(made / "runs" / "tiny")
    expected = rows(copy)
    # Reading the store or features of the original would fail.
    hidden = made / "runs" / "hidden"
    (made / "runs" / "tiny").rename(hidden)
    try:
        assert mien("evaluate", copy)[0] == 0
        assert rows(copy) == expected
        assert mien("report", copy)[0] == 0
        assert mien("compare", copy, "--", hidden)[0] == 0
        assert mien("predict", made / "photos" / "3.png", "--run", copy)[0] == 0
        assert not (made / "runs" / "tiny").exists()
    finally:
        hidden.rename(made / "runs" / "tiny")
    assert content(made / "runs" / "tiny") == before


def test_a_copy_does_not_touch_an_original_that_is_still_there(made: Path, place: Path, mien: Mien) -> None:
    original, copy = place / "original", place / "copy"
    for run in (original, copy):
        shutil.copytree(made / "runs" / "tiny", run)
    shutil.rmtree(copy / "features")
    for file in copy.glob("descriptions.sqlite*"):
        file.unlink()
    before = content(original)
    code, error = mien("evaluate", copy)
    assert code == 4
    assert "description" in error
    assert content(original) == before
    root = f"data.root={made}/photos/people.jsonl"
    assert mien("describe", made / "tiny.toml", "--out", copy, "--set", root)[0] == 0
    assert mien("evaluate", copy)[0] == 0
    assert content(original) == before


def test_a_run_is_found_through_links_and_from_any_working_directory(
    made: Path, place: Path, mien: Mien, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(made / "runs" / "study", place / "study")
    (place / "link").symlink_to(place / "study" / "fused" / "seed-0")
    assert mien("evaluate", place / "link")[0] == 0
    monkeypatch.chdir(place / "study" / "fused")
    assert mien("evaluate", "seed-0")[0] == 0
    monkeypatch.chdir(place / "study" / "fused" / "seed-0")
    assert mien("evaluate", ".")[0] == 0
    assert sorted(path.name for path in Path.cwd().iterdir() if path.suffix == ".sqlite") == []


def test_a_moved_ablation_is_finished_and_its_runs_are_whole(
    made: Path, place: Path, mien: Mien, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = place / "moved study"
    shutil.copytree(made / "runs" / "study", study)
    before = content(made / "runs" / "study")
    weights = content(study)["text/seed-0/model.safetensors"]
    monkeypatch.chdir(made)
    hidden = made / "runs" / "hidden"
    (made / "runs" / "study").rename(hidden)
    try:
        code, error = mien("ablate", "grid.toml", "--out", study)
        assert code == 0, error
        assert "training" not in error
        assert mien("evaluate", study / "fused" / "seed-0")[0] == 0
        assert mien("report", study)[0] == 0
        assert not (made / "runs" / "study").exists()
    finally:
        hidden.rename(made / "runs" / "study")
    assert content(study)["text/seed-0/model.safetensors"] == weights
    assert content(made / "runs" / "study") == before


def test_a_run_that_was_taken_out_of_its_ablation_names_what_it_lacks(
    made: Path, place: Path, mien: Mien
) -> None:
    shutil.copytree(made / "runs" / "study" / "fused" / "seed-0", place / "alone")
    code, error = mien("evaluate", place / "alone")
    assert code == 4
    assert "descriptions.sqlite (run.store), and there is nothing" in error
    assert "--set run.store=PATH" in error
    study = made / "runs" / "study"
    store, cache = f"run.store={study / 'descriptions.sqlite'}", f"run.cache={study / 'features'}"
    code, error = mien("evaluate", place / "alone", "--set", store, "--set", cache)
    assert code == 0
    assert f"uses {study / 'descriptions.sqlite'} (run.store), " in error


@pytest.mark.parametrize("name", ["tiny", "views"])
def test_a_run_of_version_0_1_0_opens_where_it_was_moved(
    tmp_path: Path, mien: Mien, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    use_playhouse_1(monkeypatch)
    run = tmp_path / "moved" / "run"
    shutil.copytree(FIXTURES / name, run)
    shutil.rmtree(run / "features")  # the arrays are not committed
    recorded = json.loads((run / "manifest.json").read_text())["recipe"]["run"]
    assert recorded["store"].startswith("/data/mien-0.1.0/runs/")
    tower = f"features.vision={FIXTURES / 'tower'}"
    assert mien("evaluate", run, "--split", "test", "--set", tower)[0] == 0
    assert (run / "features").is_dir()
    assert recorded_recipe(run).run.store == run / "descriptions.sqlite"


def test_data_that_moved_are_named_and_found_with_the_option(made: Path, place: Path, mien: Mien) -> None:
    shutil.copytree(made / "runs" / "tiny", place / "run")
    shutil.copytree(made / "photos", place / "new photos")
    expected = rows(place / "run")
    (made / "photos").rename(made / "gone")
    try:
        code, error = mien("evaluate", place / "run")
        assert code == 4
        assert f"uses {made / 'photos' / 'people.jsonl'} (data.root), and there is nothing" in error
        assert "--set data.root=PATH" in error
        moved = f"data.root={place / 'new photos' / 'people.jsonl'}"
        code, error = mien("evaluate", place / "run", "--set", moved)
        assert code == 0, error
        assert f"uses {place / 'new photos' / 'people.jsonl'} (data.root), outside of it" in error
        assert rows(place / "run") == expected
        code, error = mien("evaluate", place / "run", "--set", "train.lr=0.5")
        assert code == 2
        assert "override only [run] and the places data.root" in error
        # A prediction reads no data.
        assert mien("predict", place / "new photos" / "3.png", "--run", place / "run")[0] == 0
    finally:
        (made / "gone").rename(made / "photos")


def test_a_training_goes_on_in_a_copy_with_data_at_another_place(
    made: Path, place: Path, mien: Mien, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, copy = place / "run", place / "copy"
    run.mkdir()
    shutil.copy(made / "runs" / "tiny" / "descriptions.sqlite", run)
    train_step = Trainer.train_step

    def stop(self: Trainer, parts: Any) -> float:
        if self.state.step == 3:
            raise KeyboardInterrupt
        return train_step(self, parts)

    assert loop.train.__kwdefaults__ is not None
    root = f"data.root={made / 'photos' / 'people.jsonl'}"
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "train_step", stop)
        patch.setitem(loop.train.__kwdefaults__, "save_seconds", 0.0)
        assert mien("train", made / "tiny.toml", "--out", run, "--set", root)[0] == 130
    shutil.copytree(run, copy)
    shutil.copytree(made / "photos", place / "new photos")
    before = content(run)
    moved = f"data.root={place / 'new photos' / 'people.jsonl'}"
    code, error = mien("train", made / "tiny.toml", "--out", copy, "--set", moved)
    assert code == 0, error
    assert content(run) == before
    assert recorded_recipe(copy).data.root == place / "new photos" / "people.jsonl"
    assert mien("evaluate", copy)[0] == 0
    weights = [(folder / "model.safetensors").read_bytes() for folder in (copy, made / "runs" / "tiny")]
    assert weights[0][-1000:] == weights[1][-1000:]
    # Other data at the other place are still refused.
    shutil.copytree(run, place / "third")
    lines = (place / "new photos" / "people.jsonl").read_text().splitlines(keepends=True)
    (place / "new photos" / "people.jsonl").write_text("".join(lines).replace("Peace", "Esteem"))
    code, error = mien("train", made / "tiny.toml", "--out", place / "third", "--set", moved)
    assert code == 4
    assert "other samples, descriptions or features" in error


def test_an_ablation_goes_on_with_data_at_another_place(made: Path, place: Path, mien: Mien) -> None:
    study, people = place / "study", place / "new photos" / "people.jsonl"
    shutil.copytree(made / "runs" / "study", study)
    shutil.copytree(made / "photos", people.parent)
    (place / "tiny.toml").write_text(RECIPE.replace("photos/people.jsonl", str(people)))
    (place / "grid.toml").write_text(GRID)
    weights = content(study)["text/seed-0/model.safetensors"]
    (made / "photos").rename(made / "gone")
    try:
        code, error = mien("ablate", place / "grid.toml", "--out", study)
        assert code == 0, error
        assert content(study)["text/seed-0/model.safetensors"] == weights
        assert recorded_recipe(study).data.root == people
        assert mien("compare", study / "fused" / "seed-0", study / "text" / "seed-0")[0] == 0
        people.write_text(people.read_text().replace("Peace", "Esteem"))
        (study / "text" / "seed-0" / "variant.json").unlink()
        code, error = mien("ablate", place / "grid.toml", "--out", study)
        assert code == 4
        assert "other samples, descriptions or features" in error
    finally:
        (made / "gone").rename(made / "photos")


def test_runs_of_data_that_moved_are_seeds_of_one_model(
    made: Path, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = place / "first", place / "second"
    for run in (first, second):
        shutil.copytree(made / "runs" / "tiny", run)
    manifest = json.loads((second / "manifest.json").read_text())
    manifest["recipe"]["train"]["seed"] = 1
    manifest["recipe"]["data"]["root"] = "/elsewhere/people.jsonl"
    (second / "manifest.json").write_text(json.dumps(manifest))
    assert main(["compare", str(first), str(second), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [row["seeds"] for row in found["rows"]] == [[0, 1]]


def test_a_manifest_of_something_else_above_a_run_makes_it_no_part_of_it(tmp_path: Path) -> None:
    run = tmp_path / "dataset" / "runs" / "x"
    run.mkdir(parents=True)
    (tmp_path / "dataset" / "manifest.json").write_text("{}")
    root = str(tmp_path / "dataset" / "people.jsonl")
    assert relative_to_run({"data": {"root": root}}, run) == {"data": {"root": root}}


def test_parts_of_an_engine_are_places(tmp_path: Path) -> None:
    run, pose = tmp_path / "run", str(tmp_path / "models" / "pose.onnx")
    options = {"faces": str(tmp_path / "run" / "faces.onnx"), "pose": pose, "expression_labels": ["calm"]}
    table = relative_to_run({"describe": {"engine": "cues", "options": options}}, run)
    assert table["describe"]["options"] == options | {"faces": "./faces.onnx"}
    assert resolve_in_run(table, run)["describe"]["options"] == options

    def recipe(**changed: str) -> Recipe:
        describe = {"engine": "cues", "options": options | changed}
        table = {"name": "a", "data": {"name": "playhouse"}, "describe": describe}
        return Recipe.parse(table, where="test")

    one, moved = recipe(), recipe(pose="/new/pose.onnx")
    assert is_same_recipe(one, moved)
    assert OutsidePlace("describe.options.pose", Path(pose)) in outside_places(one, run)


@pytest.mark.parametrize("store", ["", "inside/texts.sqlite", "../shared.sqlite", "/other/texts.sqlite"])
def test_places_are_relative_inside_of_a_run_and_absolute_outside(tmp_path: Path, store: str) -> None:
    run = tmp_path / "runs" / "x"
    places = {"out": str(run), "store": os.path.normpath(run / store)}
    table: dict[str, Any] = {"run": places, "data": {"root": None}}
    written = relative_to_run(table, run)
    assert written["run"]["out"] == "."
    assert written["run"]["store"].startswith(".") == (not store.startswith(("/", "..")))
    assert table["run"]["out"] == str(run)  # unchanged
    assert resolve_in_run(written, run) == table
    moved = resolve_in_run(written, tmp_path / "y")["run"]
    assert moved["out"] == str(tmp_path / "y")


def test_options_of_a_dataset_are_places_below_its_root(tmp_path: Path) -> None:
    table = {
        "name": "x",
        "data": {"name": "caers", "root": str(tmp_path / "CAER-S"), "options": {"faces": "boxes"}},
    }
    (place, other) = outside_places(Recipe.parse(table, where="a test"), tmp_path / "run")
    assert place == OutsidePlace("data.root", tmp_path / "CAER-S")
    assert other == OutsidePlace("data.options.faces", tmp_path / "CAER-S" / "boxes")
