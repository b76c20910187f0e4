"""`mien predict`: several images, one of which cannot be read, in any order."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest
from PIL import Image
from tests.factories.tiny_runs import train_tiny_run

from mien.cli import main


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_tiny_run(tmp_path_factory.mktemp("predict"))


@pytest.fixture
def images(tmp_path: Path) -> dict[str, Path]:
    made = {name: tmp_path / f"{name}.png" for name in ("one", "two", "bad")}
    for index, name in enumerate(("one", "two")):
        Image.new("RGB", (64, 48), (90 * index, 120, 30)).save(made[name])
    made["bad"].write_bytes(made["one"].read_bytes()[:60])
    return made


@pytest.mark.parametrize("order", list(itertools.permutations(["one", "two", "bad"])), ids=" ".join)
def test_a_bad_image_does_not_cost_the_others(
    run: Path, images: dict[str, Path], order: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [str(images[name]) for name in order]
    assert main(["predict", *paths, "--run", str(run), "--json"]) == 3
    printed = capsys.readouterr()
    predictions = json.loads(printed.out)["predictions"]
    assert [item["subject_id"] for item in predictions] == paths
    assert [item["status"] for item in predictions] == ["failed" if n == "bad" else "ok" for n in order]
    for name, item in zip(order, predictions, strict=True):
        assert ("bad.png" in item["error"]) if name == "bad" else (len(item["scores"]) == 26)
    assert "1 of 3 images failed" in printed.err


def test_a_single_bad_image_is_an_error(
    run: Path, images: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", str(images["bad"]), "--run", str(run)]) == 4
    assert "bad.png" in capsys.readouterr().err
    assert main(["predict", str(images["one"]), "--run", str(run), "--box", "100,100,120,120"]) == 4
    assert "outside the image" in capsys.readouterr().err


def test_a_box_is_for_a_single_image(
    run: Path, images: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["predict", str(images["one"]), str(images["two"]), "--run", str(run), "--box", "1,1,9,9"]
    assert main(arguments) == 2
    assert "one box for 2 images" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ("0.35,0.10,0.65,0.98", (4, "looks like shares of the image; multiply by width and height")),
        ("1,1,1e308,5", (4, "is outside any image")),
        ("1,1,nan,5", (4, "is not finite")),
        ("1,2,3", (2, "write it as left,top,right,bottom")),
    ],
)
def test_normalized_box_of_predict_is_refused(
    run: Path,
    images: dict[str, Path],
    box: str,
    expected: tuple[int, str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, said = expected
    assert main(["predict", str(images["one"]), "--run", str(run), "--box", box]) == code
    assert said in capsys.readouterr().err
