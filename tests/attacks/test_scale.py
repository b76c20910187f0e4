"""Work and memory grow in proportion to the data: counted, because no test measures time."""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from mien.data import Dataset, open_dataset
from mien.data.audit import directory_listing, image_checks
from mien.data.audit.agreement import measure_agreement
from mien.data.audit.fingerprints import Fingerprint
from mien.data.audit.image_info import ImageInfo
from mien.data.audit.near_duplicate_splits import assign_splits
from mien.data.audit.summary import summarize
from mien.data.audit.verify import verify
from mien.data.json_text import parse_strict_json
from mien.data.manifest.embedded_images import EmbeddedImages
from mien.data.manifest.row_parser import RowParser
from mien.data.splits import write_splits
from mien.data.text_files import MAX_LINE
from mien.errors import ManifestError
from mien.recipe import DataOptions
from mien.report.audit.suspicious_boxes import suspicious_boxes

Paint = Callable[..., Path]


def write_rows(path: Path, rows: Iterable[dict[str, Any]]) -> Path:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path


def open_manifest(path: Path, **options: Any) -> Dataset:
    return open_dataset(DataOptions(name="manifest", root=path, **options), cache=path.parent / "cache")


def count_calls(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str) -> list[object]:
    """Has one item for each later call of `owner.name`."""
    calls: list[object] = []
    real = getattr(owner, name)

    def counted(*arguments: Any, **named: Any) -> Any:
        calls.append(name)
        return real(*arguments, **named)

    monkeypatch.setattr(owner, name, counted)
    return calls


# --- Rows


@pytest.mark.parametrize("num_splits", [1, 40])
@pytest.mark.parametrize(
    "audit",
    [
        summarize,
        measure_agreement,
        lambda dataset: verify(dataset, workers=1),
        lambda dataset: list(suspicious_boxes(dataset, [])),
    ],
    ids=["summarize", "measure_agreement", "verify", "suspicious_boxes"],
)
def test_an_audit_parses_each_row_once_in_any_number_of_splits(
    audit: Callable[[Dataset], object], num_splits: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [{"image": "a.png", "split": f"part {number % num_splits}"} for number in range(120)]
    dataset = open_manifest(write_rows(tmp_path / "rows.jsonl", rows))
    parsed = count_calls(monkeypatch, RowParser, "parse")
    audit(dataset)
    assert len(parsed) == len(rows)
    audit(dataset)
    assert len(parsed) == 2 * len(rows)


def test_a_split_file_does_not_multiply_the_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"image": "a.png", "id": str(number), "split": f"s{number % 4}"} for number in range(80)]
    path = write_rows(tmp_path / "rows.jsonl", rows)
    plain = open_manifest(path)
    assigned = assign_splits(plain, [])
    assert list(assigned) == [str(number) for first in range(4) for number in range(first, 80, 4)]
    write_splits(tmp_path / "splits.jsonl", {name: f"new {int(name) % 20}" for name in assigned})
    dataset = open_manifest(path, split_file=tmp_path / "splits.jsonl")
    parsed = count_calls(monkeypatch, RowParser, "parse")
    summary = summarize(dataset)
    assert len(parsed) == len(rows)
    assert sum(split.num_subjects for split in summary.splits) == len(rows)


def test_all_records_are_those_of_the_splits(tmp_path: Path) -> None:
    rows = [
        {"image": f"{number}.png", "id": str(number // 2), "split": ("train", "test")[number % 2]}
        for number in range(20)
    ] + [{"image": "x.png", "labels": ["Piece"]}]
    path = write_rows(tmp_path / "rows.jsonl", rows)
    for limit in (None, 3):
        one, other = (open_manifest(path, options={"limit": limit} if limit else {}) for _ in range(2))
        records = list(one.all_records())
        assert one.problems() == other.problems()
        assert {problem.kind for problem in one.problems()} == {"repeated_id", "unknown_label"}
        for split in ("train", "test"):
            assert [record for name, record in records if name == split] == list(other.records(split))


def test_more_splits_than_anyone_has_are_refused(tmp_path: Path) -> None:
    rows = [{"image": f"{number}.png", "split": f"{number}.png"} for number in range(1_001)]
    with pytest.raises(ManifestError, match=r"more than 1,000 splits, such as '1000.png'"):
        open_manifest(write_rows(tmp_path / "rows.jsonl", rows))


def test_unknown_labels_are_compared_with_the_known_ones_only_at_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared = count_calls(monkeypatch, difflib, "get_close_matches")
    rows = [{"image": "a.png", "labels": ["Piece"]} for _ in range(50)]
    problems = open_manifest(write_rows(tmp_path / "same.jsonl", rows)).problems()
    assert len(compared) == 1
    assert [problem.message for problem in problems[:1]] == [problem.message for problem in problems[-1:]]
    assert "unknown label of set 'emotic': 'Piece'; did you mean 'Peace'?" in problems[0].message

    compared.clear()
    rows = [{"image": "a.png", "labels": [f"caption {number}"]} for number in range(1_200)]
    problems = open_manifest(write_rows(tmp_path / "captions.jsonl", rows)).problems()
    assert len(compared) == 1_000
    assert problems[-1].message == "unknown label of set 'emotic': 'caption 1199'"


def test_keys_of_an_object_are_not_compared_in_pairs() -> None:
    keys = ", ".join(f'"{number}": 0' for number in range(20_000))
    with pytest.raises(ValueError, match="the key 'a' occurs twice"):
        parse_strict_json(f'{{{keys}, "a": 1, "a": 2}}')


# --- Images


def test_missing_images_are_found_by_listing_their_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, paint: Paint
) -> None:
    paint("here.png")
    rows = [{"image": f"{number}.png"} for number in range(200)] + [{"image": "here.png"}]
    rows += [{"image": f"nowhere/{number}.png"} for number in range(200)]
    dataset = open_manifest(write_rows(tmp_path / "rows.jsonl", rows))
    listed = count_calls(monkeypatch, os, "scandir")
    queried = count_calls(monkeypatch, directory_listing, "is_file")
    assert summarize(dataset).problems == {"missing": 400}
    assert (len(listed), len(queried)) == (4, 0)  # each folder once more, in case it was drawn meanwhile


def test_a_name_that_only_differs_in_case_is_still_queried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, paint: Paint
) -> None:
    paint("photo.png")
    monkeypatch.setattr(directory_listing, "is_file", lambda path: True)  # as a system that ignores case
    listing = directory_listing.DirectoryListing()
    assert listing.has_file(tmp_path / "Photo.PNG")
    assert not listing.has_file(tmp_path / "other.png")


def test_an_image_that_a_row_embeds_is_hashed_once_for_all_its_people(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, paint: Paint
) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    people = [{"id": str(number), "labels": ["Peace"]} for number in range(100)]
    row = {"image": {"bytes": paint("a.png").read_bytes()}, "people": people}
    parquet.write_table(pa.Table.from_pylist([row]), tmp_path / "rows.parquet")
    dataset = open_manifest(tmp_path / "rows.parquet")
    written = count_calls(monkeypatch, EmbeddedImages, "path")
    assert len(list(dataset.all_records())) == 100
    assert len(written) == 1


def test_the_sizes_that_people_of_one_image_state_are_not_compared_with_each_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = ImageInfo(
        size=(40, 30), stored_size=(30, 40), mode="RGB", fingerprint=Fingerprint(b"", None, None)
    )
    people = [image_checks.FileSubject(str(number), (), (30, 40)) for number in range(300)]
    people += [image_checks.FileSubject("last", (), (1, 1))]

    def compare(self: object, other: object) -> bool:
        raise AssertionError("two people were compared")

    monkeypatch.setattr(image_checks.FileSubject, "__eq__", compare)
    (problem,) = image_checks.check_file(Path("a.png"), people, found)
    assert problem.kind == "image_size"
    assert "last" in problem.message


# --- Lines


@pytest.mark.parametrize("newline", ["\n", ""])
def test_a_line_that_is_too_long_is_named_with_the_limit(newline: str, tmp_path: Path) -> None:
    long = "x" * (MAX_LINE + 1)
    path = tmp_path / "rows.jsonl"
    path.write_text(f'{{"image": "a.png"}}\n{{"image": "{long}"}}{newline}', encoding="utf-8")
    dataset = open_manifest(path)
    (problem,) = dataset.problems()
    assert problem.file.endswith("rows.jsonl, row 2")
    assert problem.message == f"the line has more than {MAX_LINE:,} characters"
    assert sum(1 for _ in dataset.all_records()) == 1

    table = tmp_path / "rows.csv"
    table.write_text(f"image,labels\na.png,\nb.png,{long}{newline}", encoding="utf-8")
    with pytest.raises(ManifestError, match=f"line 3: a row has more than {MAX_LINE:,} characters"):
        open_manifest(table)
