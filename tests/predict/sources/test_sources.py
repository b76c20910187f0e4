"""What images come from: every kind of source, in order, and each bad item in its place."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tests.factories.numbered_clips import encode

from mien.errors import ClipError, ConfigError, DataError, ImageError, ManifestError
from mien.predict.sources.open import SourceOptions, open_sources
from mien.types import Box


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Photos a.png and b.png, sub/c.png, and a clip d.mp4 of four frames."""
    (tmp_path / "sub").mkdir()
    for name in ("a.png", "b.png", "sub/c.png"):
        Image.new("RGB", (16, 12), "gray").save(tmp_path / name)
    encode(tmp_path / "d.mp4", times=range(4))
    return tmp_path


def names(found: object, folder: Path, **options: object) -> list[str]:
    """Each source by its path, its frame and whether it is an error."""
    sources = open_sources(found, SourceOptions(**options))  # type: ignore[arg-type]
    return [
        str(Path(source.name).relative_to(folder))
        + ("" if source.frame is None else f"@{source.frame}")
        + ("" if source.error is None else "!")
        for source in sources
    ]


def test_a_folder_is_read_in_the_order_of_paths_and_deeper_only_on_request(folder: Path) -> None:
    assert names(folder, folder, fps=25) == ["a.png", "b.png", *(f"d.mp4@{n}" for n in range(4))]
    assert names(folder, folder, recursive=True, every=3) == [
        "a.png",
        "b.png",
        "d.mp4@0",
        "d.mp4@3",
        "sub/c.png",
    ]
    (folder / "only").mkdir()
    (folder / "only" / "deeper").mkdir()
    with pytest.raises(DataError, match="no image in") as raised:
        names(folder / "only", folder)
    assert "only on request" in raised.value.hint


def test_a_list_names_paths_relative_to_itself(folder: Path) -> None:
    (folder / "sub" / "list.txt").write_text("../b.png\n\n../*.png\nmissing*.png\nc.png\r\n")
    found = [path.replace("sub/../", "") for path in names(folder / "sub" / "list.txt", folder)]
    assert found == ["b.png", "a.png", "b.png", "sub/missing*.png!", "sub/c.png"]


def test_paths_come_from_the_standard_input(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{folder}/b.png\n{folder}/none/*\n{folder}/a.png\n"))
    assert names(["-"], folder) == ["b.png", "none/*!", "a.png"]
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n"))
    with pytest.raises(DataError, match="names nothing"):
        names("-", folder)


@pytest.mark.parametrize("suffix", ["jsonl", "json", "csv"])
def test_a_manifest_gives_the_people_of_a_photo_together(folder: Path, suffix: str) -> None:
    rows: list[dict[str, Any]] = [
        {"image": "a.png", "box": [1, 1, 5, 5], "labels": ["of no known set"], "valence": 7},
        {"image": "a.png", "box": [6, 1, 9, 9], "labels": [], "valence": ""},
        {"image": "b.png", "box": "", "labels": [], "valence": ""},
        {"image": "b.png", "box": [5, 5, 1, 1], "labels": [], "valence": ""},
        {"clip": "d.mp4"} if suffix != "csv" else {"image": "d.mp4", "box": "", "labels": [], "valence": ""},
    ]
    manifest = folder / f"people.{suffix}"
    if suffix == "csv":
        lines = ["image,box,labels,valence"]
        lines += [
            f'{row["image"]},"{json.dumps(row["box"]) if row["box"] else ""}",x,{row["valence"]}'
            for row in rows
        ]
        manifest.write_text("\n".join(lines))
    elif suffix == "json":
        manifest.write_text(json.dumps(rows))
    else:
        manifest.write_text("\n".join(map(json.dumps, rows)))
    found = list(open_sources(manifest, SourceOptions(every=4)))
    assert [Path(source.name).name for source in found] == [
        "a.png",
        "b.png",
        manifest.name,
        "d.mp4",
    ]
    assert found[0].boxes == (
        Box(left=1, top=1, right=5, bottom=5),
        Box(left=6, top=1, right=9, bottom=9),
    )
    assert (found[1].boxes, found[3].frame) == ((), 0)
    assert isinstance(found[2].error, ManifestError)


def test_boxes_apply_to_every_frame_of_a_video(folder: Path) -> None:
    sources = list(open_sources([(folder / "d.mp4", [(1, 1, 9, 9)])], SourceOptions(every=2)))
    assert [(source.frame, len(source.boxes)) for source in sources] == [(0, 1), (2, 1)]


def test_sources_of_all_kinds_mix_and_a_bad_one_stays_in_its_place(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{folder}/a.png\n"))
    (folder / "list.txt").write_text("b.png\n")
    (folder / "empty.txt").write_text("\n")
    (folder / "people.jsonl").write_text('{"image": "a.png"}\n')
    (folder / "broken.jsonl").write_bytes(b"\xff\xfe\xff")
    (folder / "broken.mp4").write_bytes((folder / "d.mp4").read_bytes()[:64])
    paths = ["missing/*.png", "-", "empty.txt", "list.txt", "broken.jsonl", "people.jsonl", "broken.mp4"]
    found = names(
        [path if path == "-" else folder / path for path in [*paths, "sub", "d.mp4"]], folder, every=9
    )
    assert found == [
        "missing/*.png!",
        "a.png",
        "empty.txt!",
        "b.png",
        "broken.jsonl!",
        "a.png",
        "broken.mp4!",
        "sub/c.png",
        "d.mp4@0",
    ]


@pytest.mark.parametrize(
    ("name", "make", "error"),
    [
        ("list.txt", lambda path: path.write_text(""), ManifestError),
        ("list.txt", lambda path: path.write_bytes(b"\x89PNG\r\n\x1a\n"), ManifestError),
        ("people.csv", lambda path: path.write_text("photograph\na.png\n"), ManifestError),
        ("people.parquet", lambda path: path.write_bytes(b"PAR1"), ManifestError),
        ("people.json", lambda path: path.write_text("[]"), ManifestError),
    ],
)
def test_a_single_source_that_lists_nothing_is_an_error(
    tmp_path: Path, name: str, make: Callable[[Path], object], error: type[DataError]
) -> None:
    make(tmp_path / name)
    with pytest.raises(error):
        list(open_sources(tmp_path / name))


@pytest.mark.parametrize("options", [{"fps": 0}, {"fps": -1}, {"every": 0}, {"fps": 2, "every": 2}])
def test_options_that_make_no_sense_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(ConfigError):
        SourceOptions(**options)  # type: ignore[arg-type]


def test_a_video_that_cannot_be_read_is_one_error(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"\0\0\0\x18ftypmp42" + bytes(100))
    (source,) = open_sources(path)
    assert isinstance(source.error, ClipError)
    assert (source.frame, source.time) == (None, None)


def test_an_unreadable_photo_is_found_when_it_is_opened(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"")
    (source,) = open_sources(tmp_path / "a.jpg")
    assert source.error is None
    assert not isinstance(source.image.pixels, ImageError)


# --- Addresses ---


@pytest.mark.parametrize("place", ["https://example.org/a.jpg", Path("https://example.org/a.jpg")])
def test_an_address_is_named_in_full_and_not_opened(place: str | Path) -> None:
    for given in (place, [(place, None)]):
        try:
            (error,) = [source.error for source in open_sources(given)]
        except ImageError as raised:
            error = raised
        assert isinstance(error, ImageError)
        assert str(error) == "addresses are not opened: https://example.org/a.jpg"
        assert "download the image first" in error.hint


def test_a_long_address_is_cut() -> None:
    with pytest.raises(ImageError) as caught:
        list(open_sources("data:image/png;base64," + "A" * 100_000))
    assert len(str(caught.value)) < 200


def test_a_file_whose_name_looks_like_an_address_is_read(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "http:").mkdir()
    (tmp_path / "http:" / "a.png").write_bytes((folder / "a.png").read_bytes())
    monkeypatch.chdir(tmp_path)
    (source,) = open_sources("http://a.png")
    assert source.error is None
