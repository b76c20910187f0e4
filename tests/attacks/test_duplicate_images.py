"""Images of a scored split that training saw, under any name, are said by evaluate and in its report."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import mien
from mien.cli import main
from mien.evaluate.shared_images import TRAINING_IMAGES

RECIPE = """
name = "tiny"
data = { name = "manifest", root = "rows.jsonl" }
describe = { engine = "fake", model = "none" }
model = { width = 16, heads = 2, num_queries = 2 }
train = { epochs = 1, batch_size = 4 }
evaluate = { bootstrap = 20 }
run = { threads = 1 }
"""
NOTE = "3 of 5 images of test (4 of 6 samples) are also in train, byte for byte"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A trained run, whose test split has a copy, a link and an image of train, and an image of val."""
    folder = tmp_path_factory.mktemp("duplicates")
    for number in range(9):
        # All of one size in bytes.
        Image.new("RGB", (64, 64), (number, 0, 0)).save(
            folder / f"{number}.bmp", format="PNG", compress_level=0
        )
    shutil.copy(folder / "0.bmp", folder / "copy.bmp")
    (folder / "link.bmp").symlink_to("1.bmp")
    images = {
        "train": ("0", "1", "2", "3"),
        "val": ("4", "5"),
        "test": ("copy", "copy", "link", "2", "5", "6"),
    }
    rows = [
        {"id": f"{split}{index}", "image": f"{name}.bmp", "labels": ["Peace"], "split": split}
        for split, names in images.items()
        for index, name in enumerate(names)
    ]
    (folder / "rows.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    (folder / "tiny.toml").write_text(RECIPE)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        assert [main(["describe", "tiny.toml"]), main(["train", "tiny.toml"])] == [0, 0]
        yield folder


def shared(document: Any) -> list[tuple[str, str, int, int, int, int]]:
    return [
        tuple(item[name] for name in ("split", "other", "images", "of_images", "samples", "n"))
        for item in document["shared_images"]
    ]


def test_they_are_counted_in_text_json_report_and_results(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert main(["evaluate", "runs/tiny"]) == 0
    printed = capsys.readouterr().out
    assert f"note: {NOTE}; the scores may be too good\n" in printed
    assert "1 of 5 images of test (1 of 6 samples) are also in val" in printed
    assert main(["evaluate", "runs/tiny", "--json"]) == 0
    expected = [("test", "train", 3, 5, 4, 6), ("test", "val", 1, 5, 1, 6)]
    assert shared(json.loads(capsys.readouterr().out)) == expected
    assert shared(json.loads(Path("runs/tiny/evaluation.json").read_text())) == expected
    assert [item.samples for item in mien.evaluate("runs/tiny").shared_images] == [4, 1]
    assert main(["report", "runs/tiny"]) == 0
    assert NOTE in Path("runs/tiny/report.html").read_text()


def test_a_split_of_training_is_compared_with_the_other_one_only(folder: Path) -> None:
    assert mien.evaluate("runs/tiny", splits=["val"]).shared_images == ()


def test_images_of_training_need_not_exist_any_more(folder: Path, tmp_path: Path) -> None:
    for name in ("0.bmp", "3.bmp"):
        (folder / name).rename(tmp_path / name)
    assert [item.samples for item in mien.evaluate("runs/tiny").shared_images] == [4, 1]
    for name in ("0.bmp", "3.bmp"):
        (tmp_path / name).rename(folder / name)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"schema": 1}', '{"schema": 1, "model": 3, "images": 1}']
)
def test_a_damaged_record_costs_the_note_only(text: str, folder: Path) -> None:
    record = Path("runs/tiny") / TRAINING_IMAGES
    kept = record.read_bytes()
    try:
        record.write_text(text)
        assert mien.evaluate("runs/tiny").shared_images == ()
    finally:
        record.write_bytes(kept)


def test_a_run_without_a_record_gets_one_from_its_next_training_command(folder: Path) -> None:
    (Path("runs/tiny") / TRAINING_IMAGES).unlink()
    assert mien.evaluate("runs/tiny").shared_images == ()
    assert main(["train", "tiny.toml"]) == 0
    assert mien.evaluate("runs/tiny").shared_images != ()
