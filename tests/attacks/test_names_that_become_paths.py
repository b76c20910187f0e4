"""A name from a file never leads out of the folder that it belongs to, in any reader or writer."""

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet
from tests.attacks.hostile_names import MANIFESTS, NAMES

import mien
from mien.ablation.grid import load_grid
from mien.ablation.study import default_folder
from mien.cli import main
from mien.data.open import open_dataset
from mien.data.table_cache import CachedTables, ParsedTables
from mien.errors import ConfigError, DataError, MienError
from mien.evaluate.results.examples import read_examples
from mien.evaluate.scores import SplitScores, scores_file
from mien.features.cache import FeatureFile
from mien.recipe import DataOptions, Recipe, load_recipe
from mien.workflow.experiment import open_experiment, recorded_recipe

DATA = 'name = "playhouse", options = { train = 10, val = 6, test = 6, seed = 3 }'
OWN_DATA = 'name = "manifest", root = "rows.jsonl", skip_broken = true'
RECIPE = """
name = "tiny"
data = { DATA }
describe = { engine = "fake", model = "none" }
model = { width = 16, heads = 2, num_queries = 2 }
train = { epochs = 1, batch_size = 4 }
evaluate = { bootstrap = 20 }
run = { threads = 1 }
"""
SPLITS = [name for name in NAMES if name]


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a recipe, and its run: trained and evaluated."""
    folder = tmp_path_factory.mktemp("names")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        (folder / "tiny.toml").write_text(RECIPE.replace("DATA", DATA))
        for command in (["describe", "tiny.toml"], ["train", "tiny.toml"], ["evaluate", "runs/tiny"]):
            assert main(command) == 0
        yield folder


@pytest.fixture
def run(evaluated: Path, tmp_path: Path) -> Path:
    """A copy of that run, to be edited."""
    return Path(shutil.copytree(evaluated / "runs" / "tiny", tmp_path / "run"))


def files(folder: Path) -> dict[Path, bytes]:
    found = (path for path in folder.rglob("*") if path.is_file() and path.name != "run.lock")
    return {path: path.read_bytes() for path in found}


# --- Manifests and other datasets --------------------------------------------------------------------


@pytest.mark.parametrize("file", MANIFESTS)
@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_a_split_in_a_manifest_costs_its_own_row_only(file: str, name: str, tmp_path: Path) -> None:
    if "\0" in name and file == "rows.csv":
        pytest.skip("not in CSV")
    MANIFESTS[file](tmp_path / file, name)
    options = DataOptions(name="manifest", root=tmp_path / file, skip_broken=True)
    dataset = open_dataset(options, cache=tmp_path / "cache")
    assert dataset.splits == ("test",)
    assert [sample.subject.id for sample in dataset.samples("test")] == ["good"]
    (problem,) = dataset.problems()
    assert re.search(r"the split .* cannot be the name of a file", problem.message)
    assert problem.message.isprintable()


def test_a_split_cannot_overwrite_a_file_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("a.png", "b.png"):
        Image.new("RGB", (64, 64)).save(tmp_path / name)
    foreign = tmp_path / "foreign" / "data.npy"
    foreign.parent.mkdir()
    foreign.write_bytes(b"not yours")
    rows = [
        {"image": image, "labels": ["Peace"], "split": split, "id": f"{split} {image}"}
        for split in ("train", "val", "test", str(foreign.with_suffix("")), "../../../foreign/data")
        for image in ("a.png", "b.png")
    ]
    (tmp_path / "rows.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    (tmp_path / "own.toml").write_text(RECIPE.replace("DATA", OWN_DATA))
    before = files(foreign.parent)
    assert main(["describe", "own.toml"]) == 0
    assert main(["train", "own.toml"]) == 0
    for split in (str(foreign.with_suffix("")), "../../../foreign/data"):
        capsys.readouterr()
        assert main(["evaluate", "runs/tiny", "--split", split]) == 4
        assert "has no split" in capsys.readouterr().err
        assert main(["compare", "runs/tiny", "--split", split]) in (2, 4)
    assert main(["evaluate", "runs/tiny", "--split", "test"]) == 0
    assert files(foreign.parent) == before


@pytest.mark.parametrize("name", SPLITS, ids=ascii)
def test_a_split_in_a_split_file_is_refused(name: str, tmp_path: Path) -> None:
    file = tmp_path / "splits.jsonl"
    file.write_text(json.dumps({"id": "test/00000", "split": name}) + "\n")
    options = DataOptions(split_file=file, options={"train": 1, "val": 1, "test": 1})
    with pytest.raises(DataError, match=r"splits.jsonl, line 1: the split .* cannot be the name of a file"):
        open_dataset(options, cache=tmp_path / "cache")


@pytest.mark.parametrize("name", SPLITS, ids=ascii)
def test_a_split_or_file_that_a_hugging_face_folder_lists_is_refused(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "set"
    (folder / "train").mkdir(parents=True)
    options = DataOptions(name="manifest", root=folder)
    (folder / "dataset_dict.json").write_text(json.dumps({"splits": [name]}))
    with pytest.raises(DataError, match=r"the split .* cannot be the name of a file"):
        open_dataset(options, cache=tmp_path / "cache")
    (folder / "dataset_dict.json").write_text(json.dumps({"splits": ["train"]}))
    (folder / "train" / "state.json").write_text(json.dumps({"_data_files": [{"filename": name}]}))
    with pytest.raises(DataError, match=r"the file .* cannot be the name of a file"):
        open_dataset(options, cache=tmp_path / "cache")


@pytest.mark.parametrize("path", ["/etc/passwd", "../a.png", "b/../../a.png", "..\\a.png", "C:\\a.png"])
def test_an_image_of_a_hugging_face_folder_lies_in_it(path: str, tmp_path: Path) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    rows = [{"image": {"bytes": None, "path": name}} for name in (path, "a.png")]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    parquet.write_table(
        pa.table({"image": pa.array([r["image"] for r in rows], kind)}), folder / "test.parquet"
    )
    options = DataOptions(name="manifest", root=folder, skip_broken=True)
    dataset = open_dataset(options, cache=tmp_path / "cache")
    (sample,) = dataset.samples("test")
    assert sample.subject.images[0].path == folder / "a.png"
    (problem,) = dataset.problems()
    assert "is not a path below the folder" in problem.message


def test_a_manifest_of_your_own_may_name_images_anywhere(tmp_path: Path) -> None:
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "rows.jsonl").write_text('{"image": "../a.png"}\n{"image": "/data/b.png"}\n')
    options = DataOptions(name="manifest", root=tmp_path / "lists" / "rows.jsonl")
    found = [sample.subject.images[0].path for sample in open_dataset(options, cache=tmp_path).samples("all")]
    assert found == [tmp_path / "lists" / "../a.png", Path("/data/b.png")]


def test_an_edited_cache_of_tables_is_parsed_again(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_text("x")

    def tables() -> CachedTables:
        return CachedTables.open(
            tmp_path,
            name="t",
            version=1,
            sources=[source],
            parse=lambda: ParsedTables({"train": pa.table({"n": [1]})}),
        )

    tables()
    parquet.write_table(pa.table({"n": [1]}), tmp_path / "evil.parquet")
    (index,) = tmp_path.glob("tables/*/index.json")
    index.write_text(json.dumps({**json.loads(index.read_text()), "../../evil": 1}))
    assert tables().splits == ("train",)


# --- Recipes and grids -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_the_name_of_a_recipe_is_plain(name: str, tmp_path: Path) -> None:
    file = tmp_path / "r.toml"
    file.write_text(f"name = {json.dumps(name)}\n")
    with pytest.raises(
        ConfigError, match=r"r.toml: (the name .* cannot be the name of a file|name contains a NUL)"
    ):
        load_recipe(file)
    file.write_text('name = "fine"\n')
    with pytest.raises(ConfigError, match=r"cannot be the name of a file|contains a NUL"):
        load_recipe(file, [f"name={json.dumps(name)}"])
    with pytest.raises(ConfigError, match="cannot be the name of a file"):
        open_experiment(Recipe(name=name), cache=tmp_path)
    with pytest.raises(MienError, match="cannot be the name of a file"):
        mien.train(Recipe(name=name))


def test_a_run_of_version_0_1_0_with_a_name_that_was_two_folders_still_opens(run: Path) -> None:
    manifest = json.loads((run / "manifest.json").read_text())
    manifest["recipe"]["name"] = "emotic/first"
    (run / "manifest.json").write_text(json.dumps(manifest))
    assert recorded_recipe(run).name == "emotic/first"


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_the_names_of_a_grid_are_plain(name: str, tmp_path: Path) -> None:
    text = 'name = "{grid}"\nbase = "base.toml"\nreference = "a"\n[variants.a]\n[variants.{variant}]\n'
    quoted = json.dumps(name)
    for base, grid, variant in ((quoted, "g", "b"), ('"r"', quoted[1:-1], "b"), ('"r"', "g", quoted)):
        (tmp_path / "base.toml").write_text(f"name = {base}\n")
        (tmp_path / "grid.toml").write_text(text.format(grid=grid, variant=variant))
        try:
            loaded = load_grid(tmp_path / "grid.toml")
        except ConfigError:
            continue
        # Only part of a longer name, which is plain.
        assert default_folder(loaded).parent == Path("runs")
        assert variant == "b"


# --- Edited runs -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_scores_with_the_name_of_another_place_are_refused(name: str, run: Path) -> None:
    scores = SplitScores.load(scores_file(run, "test"))
    with pytest.raises(DataError, match="cannot be the name of a file"):
        replace(scores, split=name)
    with pytest.raises(DataError, match="cannot be the name of a file"):
        scores_file(run, name)
    with pytest.raises(MienError, match="cannot be the name of a file"):
        mien.compare([run], split=name)
    with np.load(scores_file(run, "test")) as arrays:
        content = dict(arrays)
    meta = json.loads(bytes(content["meta"])) | {"split": name}
    content["meta"] = np.frombuffer(json.dumps(meta).encode(), dtype=np.uint8)
    np.savez_compressed(scores_file(run, "test"), **content)
    before = files(run.parent)
    assert main(["report", str(run)]) == 4
    assert main(["compare", str(run)]) == 4
    assert files(run.parent) == before


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_results_of_the_split_of_another_place_are_refused(
    name: str, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluation = json.loads((run / "evaluation.json").read_text())
    for row in evaluation["rows"]:
        row["split"] = name
    (run / "evaluation.json").write_text(json.dumps(evaluation))
    before = files(run.parent)
    assert main(["report", str(run)]) == 4
    assert "cannot be the name of a file" in capsys.readouterr().err
    assert files(run.parent) == before


@pytest.mark.parametrize("image", ["../secret.png", "features/../../secret.png", "..\\secret.png"])
def test_an_image_that_leaves_an_edited_run_is_refused(image: str, run: Path) -> None:
    file = run / "samples-test.jsonl"
    lines = [{**json.loads(line), "images": [image]} for line in file.read_text().splitlines()]
    file.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    with pytest.raises(DataError, match="is not in the run"):
        list(read_examples(file))


def test_features_are_not_written_through_a_link(tmp_path: Path) -> None:
    foreign = tmp_path / "data.npy"
    foreign.write_bytes(b"not yours")
    path = tmp_path / "run" / "features" / "test.npy"
    path.parent.mkdir(parents=True)
    for target in (foreign, tmp_path / "new.npy"):
        path.unlink(missing_ok=True)
        path.symlink_to(target)
        file = FeatureFile.open(path, signature="s")
        with pytest.raises(DataError, match="is a link"), file.writing(["k"], (1, 2)):
            pass
    assert foreign.read_bytes() == b"not yours"
    assert not (tmp_path / "new.npy").exists()
