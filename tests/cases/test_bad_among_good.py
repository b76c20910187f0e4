"""One bad item among good ones: a result for each good one, one named failure, exit code 3."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from tests.factories.odd_media import OTHER_FILES, draw_photo, encode, write_clip
from tests.factories.tiny_runs import train_tiny_run

from mien.cli import main
from mien.describe.store.store import Store
from mien.errors import DataError, ImageError
from mien.predict.predictor import Predictor

JPEG = encode(draw_photo(64, 48), "JPEG")


def cut(path: Path) -> None:
    path.write_bytes(JPEG[: len(JPEG) // 2])


def unreadable(path: Path) -> None:
    path.write_bytes(JPEG)
    path.chmod(0)


# How a file is bad, and words of its failure.
BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "cut": (cut, "cut short"),
    "empty": (Path.touch, "0 bytes"),
    "missing": (lambda path: None, "no image at"),
    "a web page": (lambda path: path.write_bytes(OTHER_FILES["web_page"][0]), "a web page"),
    "a photo of an iPhone": (lambda path: path.write_bytes(OTHER_FILES["heic"][0]), "a HEIC photo"),
    "a clip": (lambda path: write_clip(path, "mp4"), "an MP4 clip"),
    "a folder": (Path.mkdir, "is a folder"),
    "a pipe": (os.mkfifo, "not a regular file"),
    "a link to nothing": (lambda path: path.symlink_to("nowhere"), "no image at"),
    "a link to itself": (lambda path: path.symlink_to(path.name), "cannot be read"),
}
if os.geteuid():  # the superuser can read everything
    BAD["unreadable"] = (unreadable, "Permission denied")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_tiny_run(tmp_path_factory.mktemp("predict"))


@pytest.fixture(scope="module")
def predictor(run: Path) -> Predictor:
    return Predictor.from_pretrained(run, device="cpu")


@pytest.fixture(autouse=True)
def one_predictor(predictor: Predictor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands use the model that is in memory already."""
    monkeypatch.setattr(Predictor, "from_pretrained", lambda *_, **__: predictor)
    monkeypatch.setattr(predictor, "detector", None)  # a command may give it one


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "photos").mkdir()
    for name in ("a.jpg", "c.jpg"):
        (tmp_path / "photos" / name).write_bytes(JPEG)
    return tmp_path / "photos"


def check(code: int, printed: str, error: str, *, order: list[str], reason: str) -> None:
    """Two predictions and one failure, in order, with the reason once in each place."""
    predictions = [json.loads(line) for line in printed.splitlines()]
    assert code == 3
    assert [Path(item["source"]).name for item in predictions] == order
    for item in predictions:
        is_bad = Path(item["source"]).name == "b.jpg"
        assert item["status"] == ("failed" if is_bad else "ok")
        assert (
            ("b.jpg" in item["error"] and reason in item["error"] and item["hint"])
            if is_bad
            else item["scores"]
        )
    assert "error: 1 of 3 images failed" in error
    assert reason in error
    assert "hint: " in error


@pytest.mark.parametrize("kind", BAD)
def test_predict_ok_cut_phone(
    run: Path, folder: Path, kind: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    make, reason = BAD[kind]
    make(folder / "b.jpg")
    options = ["--run", str(run), "--detector", "none"]
    paths = {name: str(folder / name) for name in ("a.jpg", "b.jpg", "c.jpg")}
    permutations = list(itertools.permutations(paths))
    orders: list[tuple[list[str], list[str]]] = [
        ([paths[name] for name in order], list(order)) for order in permutations[:: 1 if kind == "cut" else 4]
    ]
    if kind != "a folder":  # a folder in a list stands for the images in it
        in_order = list(paths)
        if kind != "missing":
            orders.append(([str(folder)], in_order))
        if kind == "cut":
            orders.append(([str(folder / "*.jpg")], in_order))
            orders.append(([str(folder.parent / "**" / "*.jpg")], in_order))
            orders.append(([str(folder / "[bc].jpg"), paths["a.jpg"]], ["b.jpg", "c.jpg", "a.jpg"]))
        for arguments, order in orders:
            code = main(["predict", *arguments, *options, "--json"])
            printed = capsys.readouterr()
            check(code, printed.out, printed.err, order=order, reason=reason)
    assert main(["predict", *orders[0][0], *options]) == 3
    printed = capsys.readouterr()
    assert printed.out.count("appears to feel") == 2
    assert printed.out.count("b.jpg: failed: ") == 1
    monkeypatch.chdir(folder)
    assert main(["predict", "c.jpg", "b.jpg", "a.jpg", *options]) == 3


def test_every_source_of_the_python_api(predictor: Predictor, folder: Path) -> None:
    cut(folder / "b.jpg")
    good, bad = Image.open(folder / "a.jpg"), Image.open(folder / "b.jpg")
    box = [(1, 1, 40, 40)]
    sources: dict[str, object] = {
        "folder": folder,
        "folder as text": str(folder),
        "pattern": f"{folder}/*.jpg",
        "paths": [folder / "a.jpg", folder / "b.jpg", folder / "c.jpg"],
        "generator": (str(folder / f"{name}.jpg") for name in "abc"),
        "with boxes": [(folder / f"{name}.jpg", box) for name in "abc"],
        "images": [good, bad, good],
        "images with boxes": [(good, box), (bad, box), (good, box)],
        "mixed": [good, folder / "b.jpg", str(folder / "c.jpg")],
        "a list of folders": [folder / "a.jpg", folder.parent / "none" / "*.jpg", folder / "c.jpg"],
    }
    for name, source in sources.items():
        results = list(predictor.stream(source, batch_size=2))  # type: ignore[arg-type]
        assert [item.status for item in results] == ["ok", "failed", "ok"], name
        assert isinstance(results[1].error, DataError), name
        assert results[1].error.hint, name
    with pytest.raises(ImageError, match="cut short"):
        predictor(folder / "b.jpg")


def test_a_folder_or_pattern_without_images_says_so(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty.jpg").mkdir()
    (tmp_path / "notes.txt").write_text("no image")
    for arguments, message in (
        ([str(tmp_path / "empty.jpg")], "no image in"),
        ([str(tmp_path / "*.jpg")], "no file matches"),
        ([str(tmp_path / ("n" * 300))], "cannot be read"),
    ):
        assert main(["predict", *arguments, "--run", str(run)]) == 4
        assert message in capsys.readouterr().err


def test_a_folder_is_searched_by_content(predictor: Predictor, folder: Path) -> None:
    (folder / "notes.txt").write_text("no image")
    (folder / "._a.jpg").write_bytes(OTHER_FILES["companion"][0])
    (folder / "no ending").write_bytes(JPEG)
    write_clip(folder / "clip.MTS", "mpegts")
    (folder / "phone.HEIC").write_bytes(OTHER_FILES["heic"][0])
    statuses = {Path(item.source).name: item.status for item in predictor.stream(folder)}
    assert statuses == {
        "a.jpg": "ok", "c.jpg": "ok", "clip.MTS": "ok", "no ending": "ok", "phone.HEIC": "failed",
    }  # fmt: skip


def test_describe_and_evaluate_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    for side, name in enumerate("acd", start=40):
        (tmp_path / f"{name}.jpg").write_bytes(encode(draw_photo(side, 40), "JPEG"))
    cut(tmp_path / "b.jpg")
    rows = [{"image": f"{name}.jpg", "id": name, "labels": ["Peace"], "split": "train"} for name in "abcd"]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "tiny.toml").write_text(
        'name = "t"\ndata = { name = "manifest", root = "rows.jsonl" }\ndescribe = { engine = "fake" }\n'
    )
    for workers in (0, 2):
        store = tmp_path / f"store{workers}.sqlite"
        arguments = [
            "describe",
            "tiny.toml",
            "--set",
            f"run.workers={workers}",
            "--set",
            f"run.store={store}",
        ]
        assert main(arguments) == 3
        with Store(store, writable=False) as opened:
            assert {item.subject_id for item in opened} == {"a", "c", "d"}
            (failure,) = opened.failures()
        assert failure.subject_id == "b"
        assert "b.jpg is cut short" in failure.error
    capsys.readouterr()
