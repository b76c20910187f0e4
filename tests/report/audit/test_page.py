"""The audit page: correct, sorted by severity, self-contained, and safe with hostile names."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pytest
from PIL import Image, ImageDraw
from tests.factories.chromium import chromium, open_page, serious_faults
from tests.factories.datasets import InMemoryDataset, image_record
from tests.factories.html_pages import PageReader, read_page

from mien.data import Dataset, open_dataset
from mien.data.audit.agreement import measure_agreement
from mien.data.audit.summary import summarize
from mien.data.audit.verify import Verification, verify
from mien.data.dataset import DatasetCard, Record
from mien.errors import DataError
from mien.labels import CAERS, LabelSet
from mien.recipe import DataOptions
from mien.report.audit.page import write_audit_report
from mien.report.audit.problem_kinds import SEVERITIES, problem_kind, severity_rank
from mien.report.page_images import draw_box
from mien.types import Box, Problem, Target

_HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</style></title></section></main><h1>mine",
    "{{ 7 * 7 }}{% raw %}",
    "\u202edesrever \u2028 half \ud83d",
)
KINDS = (
    *("missing", "unknown_label", "no_label", "box_degenerate", "box_not_finite", "dimension_range"),
    *("repeated_id", "bad_row", "name_collision", "unknown_folder", "joints_missing", "no_person"),
    *("joints_gap", "frame_range", "empty", "truncated", "unreadable", "color_mode", "too_large"),
    *("box_outside", "box_clipped", "image_size", "clip_unreadable", "clip_truncated", "duplicate"),
    *("near_duplicate", "split_overlap", "image_note"),
)


def _write(
    out: Path, dataset: Dataset, verified: Verification | None = None
) -> tuple[PageReader, dict[str, Any]]:
    found = verify(dataset, workers=1) if verified is None else verified
    page, table = write_audit_report(out, dataset, summarize(dataset), measure_agreement(dataset), found)
    reader = read_page(page)
    document: dict[str, Any] = json.loads(table.read_text(encoding="utf-8"))
    assert document["schema"] == 1
    return reader, document


def _scene(path: Path, seed: int) -> Path:
    """An image without near-duplicates."""
    image = Image.new("RGB", (120, 90), (seed * 40 % 256, 90, 160))
    draw = ImageDraw.Draw(image)
    for index in range(8):
        corner = ((seed * 37 + index * 53) % 100, (seed * 61 + index * 29) % 70)
        draw.rectangle((*corner, corner[0] + 20, corner[1] + 15), fill=(index * 30, (seed * 50) % 256, 20))
    image.save(path)
    return path


def _dataset(
    tmp_path: Path, records: Mapping[str, Sequence[Record]] | None = None, **options: Any
) -> InMemoryDataset:
    if records is None:
        vad = {"valence": 0.3, "arousal": 0.6, "dominance": 0.5}
        said = [Target(labels={"calm": 1.0}, dimensions=vad), Target(labels={"glad": 1.0}, dimensions=vad)]
        train, test = (_scene(tmp_path / f"{index}.png", index) for index in (1, 2))
        records = {
            "train": [image_record("a", train, "calm", "glad"), image_record("b", train, "calm")],
            "test": [image_record("c", test, "glad", split="test", dimensions=vad, annotations=said)],
        }
    return InMemoryDataset(records, **options)


def test_a_clean_dataset_has_no_problem_section(tmp_path: Path) -> None:
    page, table = _write(tmp_path / "out", _dataset(tmp_path))
    assert "No problems found in 2 files with 3 people." in page.text
    assert "Problems" not in page.text
    assert (table["problems"], table["found"]) == ({}, [])


def test_the_page_is_self_contained(tmp_path: Path) -> None:
    page, _ = _write(tmp_path / "out", _dataset(tmp_path))
    assert not {"script", "link", "iframe", "object", "form"} & {tag for tag, _ in page.tags}
    for tag, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on")]
        assert "href" not in attributes
        if tag == "img":
            assert str(attributes["src"]).startswith("data:image/jpeg;base64,")
    policy = [a for tag, a in page.tags if tag == "meta" and a.get("http-equiv")]
    assert str(policy[0]["content"]).startswith("default-src 'none'")


def test_chance_is_shown_by_split_with_a_warning_if_it_differs(tmp_path: Path) -> None:
    page, table = _write(tmp_path / "out", _dataset(tmp_path))
    # train: calm for 2 of 2, glad for 1 of 2; test: glad for 1 of 1.
    assert "mAP differs between splits: 0.875 on train, 1.000 on test" in page.text
    assert "Compare scores only on the same split" in page.text
    assert table["splits"]["train"]["chance_map"] == 0.875


def test_the_page_shows_the_notice_the_license_and_access(tmp_path: Path) -> None:
    class Gated(InMemoryDataset):
        card = DatasetCard(
            name="x",
            title="x",
            license="by request only",
            homepage="https://example.org",
            task="t",
            access="write to them",
        )

    people = {"train": [image_record("a", _scene(tmp_path / "a.png", 1), "calm")]}
    page, _ = _write(tmp_path / "out", Gated(people))
    for text in ("Apparent emotion.", "by request only", "write to them", "https://example.org"):
        assert text in page.text


def test_agreement_dimensions_and_cooccurrence_are_shown_if_known(tmp_path: Path) -> None:
    page, table = _write(tmp_path / "out", _dataset(tmp_path))
    for heading in ("Agreement of annotators", "Valence, arousal, dominance", "Co-occurrence of labels"):
        assert heading in page.text
    assert table["agreement"]["test"]["kappa"]["calm"] == -1.0
    # Of the two calm people, one is also glad.
    assert re.search(r'<td class="h5">50</td>', (tmp_path / "out" / "audit.html").read_text())


def test_empty_sections_are_omitted(tmp_path: Path) -> None:
    image = _scene(tmp_path / "a.png", 1)
    people = {"test": [image_record("a", image, is_labeled=False, split="test", box=None)]}
    page, table = _write(tmp_path / "out", _dataset(tmp_path, people))
    for heading in (
        "Agreement of",
        "Valence",
        "Co-occurrence",
        "Label frequency",
        "Splits cannot be compared",
    ):
        assert heading not in page.text
    assert table["splits"]["test"]["chance_map"] is None


def test_an_exclusive_set_has_accuracy_and_no_heat_map(tmp_path: Path) -> None:
    labels = ["Sad", "Happy", "Happy", "Fear"]
    people = [image_record(f"{i}", _scene(tmp_path / f"{i}.png", i), label) for i, label in enumerate(labels)]
    page, _ = _write(tmp_path / "out", _dataset(tmp_path, {"train": people}, label_set=CAERS))
    assert "Chance accuracy" in page.text
    assert "Co-occurrence" not in page.text
    assert "No one has: Anger, Disgust, Neutral, Surprise." in page.text


def test_the_most_severe_kind_comes_first_and_the_json_file_lists_all_problems(tmp_path: Path) -> None:
    problems = [Problem(kind="box_clipped", file=f"{i}.png", message="sticks out") for i in range(40)]
    problems += [Problem(kind="duplicate", file="a.png", message="as b.png")]
    problems += [Problem(kind="truncated", file="b.png", message="cut")]
    dataset = _dataset(tmp_path)
    verified = dataclasses.replace(verify(dataset, workers=1), problems=tuple(problems))
    page, table = _write(tmp_path / "out", dataset, verified)
    assert (
        "42 problems in 2 files with 3 people: truncated images (1), exact duplicates across splits (1), "
        "boxes partly outside their image (40)." in page.text
    )
    assert list(table["problems"].items()) == [("truncated", 1), ("duplicate", 1), ("box_clipped", 40)]
    assert len(table["found"]) == 42
    assert "28 more in audit.json." in page.text


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_problem_is_explained(kind: str) -> None:
    found = problem_kind(kind)
    assert (found.name, found.severity in SEVERITIES) == (kind, True)
    assert found.meaning != problem_kind("unheard_of").meaning
    assert severity_rank(kind) < severity_rank("unheard_of")


def test_an_unknown_kind_is_shown_by_name() -> None:
    assert problem_kind("moon_phase").heading == "Moon phase"


def test_near_duplicates_are_counted_and_shown(tmp_path: Path) -> None:
    original = _scene(tmp_path / "a.png", 5)
    for name in ("b.png", "c.png"):
        (tmp_path / name).write_bytes(original.read_bytes())
    people = {
        "train": [image_record("a", original, "calm"), image_record("b", tmp_path / "b.png", "calm")],
        "test": [image_record("c", tmp_path / "c.png", "calm", split="test")],
    }
    page, table = _write(tmp_path / "out", _dataset(tmp_path, people))
    assert table["problems"] == {"duplicate": 1}
    assert "Identical files across splits" in page.text
    assert sorted(file["split"] for file in table["near_duplicates"][0]) == ["test", "train", "train"]
    assert len(page.image_sources()) >= 3


def test_boxes_outside_their_image_are_shown_before_the_smallest(tmp_path: Path) -> None:
    image = _scene(tmp_path / "a.png", 1)
    people = [
        image_record("inside", image, "calm", box=(1, 1, 5, 5)),
        image_record("half", image, "calm", box=(-40, 0, 40, 90)),
        image_record("far", image, "calm", box=(9000, 0, 9040, 90)),
    ]
    page, table = _write(tmp_path / "out", _dataset(tmp_path, {"train": people}))
    places = [
        page.text.index(f"{text}") for text in ("entirely outside", "50% outside", "one of the smallest")
    ]
    assert places == sorted(places)
    assert [box["id"] for box in table["boxes"]] == ["far", "half"]


@pytest.mark.parametrize(
    ("box", "size"),
    [
        ((10, 10, 30, 30), (100, 60)),
        ((-20, 10, 30, 30), (120, 60)),
        ((90, 50, 110, 80), (110, 80)),
        ((-900, -900, 900, 900), (200, 120)),
        ((500, 500, 510, 510), (150, 90)),
    ],
)
def test_a_box_is_drawn_on_a_limited_margin(box: tuple[float, ...], size: tuple[int, int]) -> None:
    left, top, right, bottom = box
    drawn = draw_box(
        Image.new("RGB", (100, 60), "white"), Box(left=left, top=top, right=right, bottom=bottom)
    )
    assert drawn.size == size


def test_attributes_are_counted_unless_they_have_too_many_values(tmp_path: Path) -> None:
    image = _scene(tmp_path / "a.png", 1)
    people = [
        image_record(
            f"{i}", image, "calm", attributes={"age": "Kid" if i else "Adult", "confidence": f"0.{i:03}"}
        )
        for i in range(30)
    ]
    page, _ = _write(tmp_path / "out", _dataset(tmp_path, {"train": people}))
    assert "age SplitKidAdult train291" in page.text
    assert "Not shown, because they have too many values: confidence." in page.text


def test_hostile_names_are_escaped(tmp_path: Path) -> None:
    image = _scene(tmp_path / "a.png", 3)
    labels = LabelSet(name=_HOSTILE[0], labels=_HOSTILE, exclusive=False)
    people = [
        image_record(
            f"{name}{i}",
            image,
            *_HOSTILE,
            split=name,
            box=(-5, 0, 20, 20),
            attributes={name: name},
            annotations=[Target(labels={name: 1.0}), Target(labels={})],
        )
        for i, name in enumerate(_HOSTILE)
    ]
    problems = [Problem(kind=name, file=name, message=name) for name in _HOSTILE]
    dataset = _dataset(
        tmp_path,
        {name: [one] for name, one in zip(_HOSTILE, people, strict=True)},
        label_set=labels,
        problems=problems,
    )
    page, table = _write(tmp_path / "out", dataset)
    assert "script" not in {tag for tag, _ in page.tags}
    assert "49" not in re.findall(r"\w+", page.text.split("Problems")[0])
    assert len([tag for tag, _ in page.tags if tag == "h1"]) == 1
    assert all(source.startswith("data:") for source in page.image_sources())
    assert {problem["kind"] for problem in table["found"]} >= set(_HOSTILE)


def test_a_missing_image_is_replaced_by_the_reason(tmp_path: Path) -> None:
    page, table = _write(
        tmp_path / "out", _dataset(tmp_path, {"train": [image_record("a", tmp_path / "none.png", "calm")]})
    )
    assert table["problems"] == {"missing": 1}
    assert "Image unavailable: " in page.text


def test_an_output_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    dataset = _dataset(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="cannot be written"):
        _write(tmp_path / "file" / "out", dataset)


def test_an_empty_split_and_playhouse_have_pages(tmp_path: Path, paint: Callable[..., Path]) -> None:
    _write(tmp_path / "1", _dataset(tmp_path, {"train": []}))
    options = DataOptions(name="playhouse", options={"train": 3, "val": 4, "test": 4})
    page, table = _write(tmp_path / "2", open_dataset(options, cache=tmp_path / "cache"))
    assert "says nothing about real photographs" in page.text
    assert set(table["agreement"]) == {"val", "test"}


@pytest.mark.parametrize("width", [360, 1100])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_fault(tmp_path: Path, scheme: Literal["light", "dark"], width: int) -> None:
    _write(tmp_path / "out", _dataset(tmp_path))
    with (
        chromium() as browser,
        open_page(browser, tmp_path / "out" / "audit.html", scripts=True, scheme=scheme, width=width) as (
            page,
            _,
        ),
    ):
        assert serious_faults(page) == []
