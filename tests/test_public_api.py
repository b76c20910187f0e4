"""`import mien`: what it offers is exact, lazy, documented, and does what the commands do."""

from __future__ import annotations

import doctest
import inspect
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import FunctionType

import pytest
from PIL import Image

import mien
from mien.cli import main

NAMES = [
    "Ablation",
    "Box",
    "Client",
    "Dataset",
    "MienError",
    "Person",
    "Predictor",
    "Recipe",
    "Results",
    "TrainedRun",
    "__version__",
    "ablate",
    "calibrate",
    "compare",
    "describe",
    "evaluate",
    "load_dataset",
    "load_recipe",
    "train",
]
RECIPE = """
name = "tiny"
data = { name = "playhouse", options = { train = 16, val = 8, test = 8, seed = 3 } }
describe = { engine = "fake" }
model = { fusion = "concat", width = 8, heads = 2, layers = 1 }
train = { epochs = 1, batch_size = 8 }
evaluate = { bootstrap = 20 }
run = { threads = 1 }
"""


def test_the_names_are_exact() -> None:
    assert mien.__all__ == NAMES
    assert dir(mien) == sorted(NAMES)


def test_every_name_is_there_and_documented() -> None:
    for name in set(NAMES) - {"__version__"}:
        value = getattr(mien, name)
        assert callable(value), name
        assert inspect.getdoc(value), name
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        mien.nothing  # noqa: B018  the attribute is the test


def test_functions_explain_their_arguments() -> None:
    functions: list[Callable[..., object]] = [
        mien.ablate,
        mien.calibrate,
        mien.compare,
        mien.load_dataset,
        mien.describe,
        mien.train,
        mien.evaluate,
    ]
    for value in functions:
        function = inspect.unwrap(value)
        assert isinstance(function, FunctionType)
        text = inspect.getdoc(function) or ""
        assert "Args:" in text, function
        assert "Raises:" in text, function
        for name in inspect.signature(function).parameters:
            assert f"{name}:" in text, (function, name)


def test_importing_the_package_imports_no_other_library() -> None:
    code = "import sys; before = set(sys.modules); import mien; print(*sorted(set(sys.modules) - before))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    others = {name.partition(".")[0] for name in loaded.split()} - sys.stdlib_module_names
    assert others == {"mien"}


def test_a_step_is_callable_before_and_after_its_package_is_imported() -> None:
    code = (
        "import mien\n"
        "assert callable(mien.train) and callable(mien.describe) and callable(mien.evaluate)\n"
        "import mien.train.losses, mien.describe.engine, mien.evaluate.scores\n"
        "assert callable(mien.train) and callable(mien.describe) and callable(mien.evaluate)\n"
        "assert mien.train.losses.__name__ == 'mien.train.losses'\n"
        "import mien.describe.engine as engine\n"
        "print(engine.Engine.__name__)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "Engine\n"


def test_examples_in_docstrings_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    results = []
    for name in set(NAMES) - {"__version__"}:
        value = inspect.unwrap(getattr(mien, name))
        for test in doctest.DocTestFinder(recurse=False).find(value, name, globs={}):
            results.append(doctest.DocTestRunner().run(test))
    assert sum(result.attempted for result in results) >= 5
    assert [result.failed for result in results] == [0] * len(results)


def test_from_a_recipe_to_a_prediction(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe_file = tmp_path / "tiny.toml"
    recipe_file.write_text(RECIPE)
    recipe = mien.load_recipe(recipe_file, ["train.epochs=2"])
    assert recipe.train.epochs == 2

    described = mien.describe(recipe, out=tmp_path / "run", cache=tmp_path / "cache")
    assert (described.done, described.failed) == (32, 0)
    trained = mien.train(recipe, out=tmp_path / "run", cache=tmp_path / "cache")
    assert (trained.path, trained.steps) == (tmp_path / "run", 4)
    evaluation = mien.evaluate(trained, cache=tmp_path / "cache")
    assert {row.metric for row in evaluation.rows} == {"mAP", "vad_mae"}

    other = mien.train(
        mien.load_recipe(recipe_file, ["model.fusion=image_only", "name=other"]),
        out=tmp_path / "other",
        cache=tmp_path / "cache",
    )
    mien.evaluate(other, cache=tmp_path / "cache")
    comparison = mien.compare([trained, other])
    assert {row.name for row in comparison.results.rows} == {"tiny", "other"}

    # The command says the same.
    capsys.readouterr()
    assert main(["compare", str(trained.path), str(other.path), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert [row["value"] for row in printed["rows"]] == [row.value for row in comparison.results.rows]

    predictor = mien.Predictor.from_pretrained(trained, device="cpu")
    results = predictor(Image.new("RGB", (64, 64)), boxes=[(4, 4, 40, 60)])
    assert isinstance(results, mien.Results)
    assert isinstance(results[0], mien.Person)
    assert results[0].box == mien.Box(left=4, top=4, right=40, bottom=60)


def test_datasets_open_by_name(tmp_path: Path) -> None:
    with pytest.raises(mien.MienError, match="emotix"):
        mien.load_dataset("emotix", cache=tmp_path)
    with pytest.raises(mien.MienError, match="unknown key"):
        mien.load_dataset("playhouse", options={"trian": 4}, cache=tmp_path)
    (tmp_path / "people.csv").write_text("id,image,labels\na,a.jpg,tense\n")
    dataset = mien.load_dataset(
        "manifest",
        tmp_path / "people.csv",
        label_set="mine",
        options={"labels": ["tense", "calm"], "exclusive": True},
        cache=tmp_path,
    )
    assert isinstance(dataset, mien.Dataset)
    assert dataset.label_set.labels == ("tense", "calm")
