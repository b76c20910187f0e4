"""EMOTIC from its official file: all annotations, and the pitfalls of the format."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from tests.factories.emotic_copies import (
    MAT,
    Population,
    annotated_image,
    expected,
    open_emotic,
    populations,
    tamper,
    ticked,
)

from mien.data.emotic.mat_subprocess import read_mat_in_subprocess
from mien.errors import ConfigError, DataError
from mien.playhouse.layouts.emotic import Missing, folder_of, write, write_emotic
from mien.types import Box


@settings(max_examples=35)
@given(population=populations, missing=st.sampled_from(("nan", "empty")))
def test_a_copy_is_read_back_as_written(population: Population, missing: Missing) -> None:
    with tempfile.TemporaryDirectory() as name:
        root = Path(name) / "emotic data"
        write_emotic(root, population, missing=missing)
        dataset = open_emotic(root)
        assert dataset.splits == ("train", "val", "test")
        assert dataset.problems() == []
        for split, annotated_images in population.items():
            records = iter(dataset.records(split))
            for index, photo in enumerate(annotated_images):
                folder = folder_of(index)
                for number, person in enumerate(photo.people):
                    record = next(records)
                    subject = record.sample.subject
                    assert subject.id == f"{split}/{folder}/{photo.name}#{number}"
                    assert subject.images[0].path == root / "emotic" / folder / photo.name
                    assert subject.images[0].path.is_file()
                    assert subject.boxes == (person.box,)
                    assert record.sample.target == expected(person.annotations)
                    assert record.annotations == tuple(
                        expected((annotation,)) for annotation in person.annotations
                    )
                    assert record.attributes == {"gender": person.gender, "age": person.age}
                    assert record.size == photo.image.size
            assert next(records, None) is None


def test_playhouse_in_the_official_layout(tmp_path: Path) -> None:
    write(tmp_path / "copy", train=5, val=4, test=4, seed=3)
    dataset = open_emotic(tmp_path / "copy")
    for split, (photos, annotators) in {"train": (5, 1), "val": (4, 5), "test": (4, 3)}.items():
        records = list(dataset.records(split))
        assert len({record.sample.subject.images[0].path for record in records}) == photos
        assert {len(record.annotations) for record in records} == {annotators}
        for record in records:
            with Image.open(record.sample.subject.images[0].path) as image:
                assert record.size == image.size
                # Where the release stores (row, column), images are wider than high, so that a swap shows.
                is_swapped = "emodb_small" in str(record.sample.subject.images[0].path)
                assert (image.size[0] > image.size[1]) == is_swapped
                (box,) = record.sample.subject.boxes
                assert box is not None
                assert box.clip(*image.size) == box


# --- Pitfalls -------------------------------------------------------------------------------------------


def test_a_swapped_image_size_does_not_change_boxes(tmp_path: Path) -> None:
    """The official box [146 76 379 317] of an image of 380 x 317 pixels, which other readers clip to 317."""
    box = Box(left=146, top=76, right=379, bottom=317)
    shown = [
        annotated_image(f"{index}.jpg", [ticked("Peace")], size=(380, 317), box=box) for index in range(4)
    ]
    write_emotic(tmp_path / "copy", {"val": shown}, swap_sizes_of=("emodb_small/images",))
    for record in open_emotic(tmp_path / "copy").records("val"):
        assert record.sample.subject.boxes == (box,)
        assert record.size == (380, 317)


def test_a_single_person_and_a_single_label_stay_whole(tmp_path: Path) -> None:
    write_emotic(tmp_path / "copy", {"train": [annotated_image("1.jpg", [ticked("Fear")])]})
    (record,) = open_emotic(tmp_path / "copy").records("train")
    assert record.sample.target is not None
    assert record.sample.target.labels == {"Fear": 1.0}
    assert record.sample.target.dimensions == {"valence": 0.5, "arousal": 0.6, "dominance": 0.7}


def test_a_single_label_may_lack_its_cell(tmp_path: Path) -> None:
    write_emotic(tmp_path / "copy", {"train": [annotated_image("1.jpg", [ticked("Fear")])]})

    def unwrap(variables: dict[str, object]) -> None:
        person = variables["train"][0, 0]["person"][0, 0]  # type: ignore[index]
        person["annotations_categories"][0, 0]["categories"] = "Fear"

    tamper(tmp_path / "copy", unwrap)
    (sample,) = open_emotic(tmp_path / "copy").samples("train")
    assert sample.target is not None
    assert sample.target.labels == {"Fear": 1.0}


def test_val_and_test_do_not_mix(tmp_path: Path) -> None:
    """The same file in both, with different annotators: two subjects with their own labels."""
    shown = {"val": "Peace|Fear|Pain", "test": "Anger"}
    write_emotic(
        tmp_path / "copy",
        {split: [annotated_image("1.jpg", [ticked(text)])] for split, text in shown.items()},
    )
    dataset = open_emotic(tmp_path / "copy")
    assert dataset.splits == ("val", "test")
    for split, text in shown.items():
        (sample,) = dataset.samples(split)
        assert sample.split == split
        assert sample.subject.id.startswith(f"{split}/")
        assert sample.target is not None
        assert set(sample.target.labels) == set(text.split("|"))
    with pytest.raises(DataError, match="no split 'train'"):
        dataset.samples("train")


def test_file_names_in_utf_16_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SciPy writes UTF-8; MATLAB itself writes two bytes per character."""
    from scipy.io.matlab import _mio5

    def write_utf_16(self: _mio5.VarWriter5, arr: object, codec: str = "") -> None:
        text = str(arr.item())  # type: ignore[attr-defined]
        units = np.frombuffer(text.encode("utf-16-le"), dtype="<u2")
        self.write_header((1, len(units)), _mio5.mxCHAR_CLASS)
        self.write_element(units, mdtype=4)  # miUINT16

    monkeypatch.setattr(_mio5.VarWriter5, "write_char", write_utf_16)
    write_emotic(tmp_path / "copy", {"train": [annotated_image("été 日本.jpg", [ticked("Peace")])]})
    (sample,) = open_emotic(tmp_path / "copy").samples("train")
    assert sample.subject.images[0].path.name == "été 日本.jpg"
    assert sample.subject.images[0].path.is_file()


# --- Targets -----------------------------------------------------------------------------------------

THREE = [
    ticked("Peace|Fear", (2, 4, 6)),
    ticked("Peace", None),
    ticked("Pain", (4, 4, 4)),
]
DISAGREEING = [ticked("Peace|Fear", (2, 4, 6)), ticked("Pain", (4, 4, 4))]


def _targets(tmp_path: Path, **options: object) -> dict[str, set[str]]:
    population = {"val": [annotated_image("1.jpg", THREE, DISAGREEING, [ticked("Anger", None)])]}
    write_emotic(tmp_path / "copy", population)
    samples = open_emotic(tmp_path / "copy", **options).samples("val")
    return {
        sample.subject.id.rpartition("#")[2]: set(sample.target.labels)
        for sample in samples
        if sample.target is not None
    }


def test_combined_is_the_union_and_the_mean_of_given_dimensions(tmp_path: Path) -> None:
    assert _targets(tmp_path) == {
        "0": {"Peace", "Fear", "Pain"},
        "1": {"Peace", "Fear", "Pain"},
        "2": {"Anger"},
    }
    first, _, last = open_emotic(tmp_path / "copy").samples("val")
    assert first.target is not None
    assert first.target.dimensions == pytest.approx({"valence": 0.3, "arousal": 0.4, "dominance": 0.5})
    assert last.target is not None
    assert last.target.dimensions is None


def test_majority_is_the_labels_of_more_than_half_or_else_the_most_frequent(tmp_path: Path) -> None:
    labels = _targets(tmp_path, target="majority")
    assert labels == {"0": {"Peace"}, "1": {"Peace", "Fear", "Pain"}, "2": {"Anger"}}
    first = next(iter(open_emotic(tmp_path / "copy", target="majority").records("val")))
    assert first.sample.target is not None
    assert first.sample.target.dimensions == pytest.approx({"valence": 0.3, "arousal": 0.4, "dominance": 0.5})
    assert len(first.annotations) == 3


def test_soft_is_the_share_of_the_annotators_who_chose_a_label(tmp_path: Path) -> None:
    assert _targets(tmp_path, target="soft").keys() == {"0", "1", "2"}
    dataset = open_emotic(tmp_path / "copy", target="soft")
    first, second, last = dataset.records("val")
    found = [dict(one.sample.target.labels) for one in (first, second, last) if one.sample.target]
    assert found == [
        {"Fear": pytest.approx(1 / 3), "Pain": pytest.approx(1 / 3), "Peace": pytest.approx(2 / 3)},
        {"Fear": 0.5, "Pain": 0.5, "Peace": 0.5},
        {"Anger": 1.0},
    ]
    assert first.sample.target is not None
    assert first.sample.target.dimensions == pytest.approx({"valence": 0.3, "arousal": 0.4, "dominance": 0.5})
    assert [len(one.annotations) for one in (first, second, last)] == [3, 2, 1]
    assert dataset.has_annotators
    assert not open_emotic(tmp_path / "copy", target="annotator").has_annotators


def test_annotator_gives_one_sample_per_annotator(tmp_path: Path) -> None:
    assert _targets(tmp_path, target="annotator") == {
        "0@annotator-0": {"Peace", "Fear"},
        "0@annotator-1": {"Peace"},
        "0@annotator-2": {"Pain"},
        "1@annotator-0": {"Peace", "Fear"},
        "1@annotator-1": {"Pain"},
        "2@annotator-0": {"Anger"},
    }
    second = list(open_emotic(tmp_path / "copy", target="annotator").records("val"))[1]
    assert second.sample.target is not None
    assert second.sample.target.dimensions is None
    assert second.annotations == (second.sample.target,)


def test_people_without_dimensions_are_left_out_on_request(tmp_path: Path) -> None:
    assert set(_targets(tmp_path)) == {"0", "1", "2"}
    assert set(_targets(tmp_path, drop_without_vad=True)) == {"0", "1"}
    by_annotator = _targets(tmp_path, drop_without_vad=True, target="annotator")
    assert set(by_annotator) == {"0@annotator-0", "0@annotator-2", "1@annotator-0", "1@annotator-1"}


# --- The table ---------------------------------------------------------------------------------------


def test_the_file_is_parsed_once_and_again_when_it_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed = []

    def count(path: Path, *, image_root: Path) -> object:
        parsed.append(path)
        return read_mat_in_subprocess(path, image_root=image_root)

    monkeypatch.setattr("mien.data.emotic.annotation_files.read_mat_in_subprocess", count)
    root = tmp_path / "copy"
    write_emotic(root, {"train": [annotated_image("1.jpg", [ticked("Fear")])]})
    first = list(open_emotic(root).samples("train"))
    assert list(open_emotic(root, target="majority").samples("train")) == first
    assert len(parsed) == 1
    write_emotic(root, {"train": [annotated_image("1.jpg", [ticked("Peace")])]})
    assert list(open_emotic(root).samples("train")) != first
    assert len(parsed) == 2
    assert {path.name for path in root.iterdir()} == {"Annotations", "emotic"}


def test_the_image_folder_may_be_elsewhere(tmp_path: Path) -> None:
    write_emotic(tmp_path / "copy", {"train": [annotated_image("1.jpg", [ticked("Fear")])]})
    (tmp_path / "copy" / "emotic").rename(tmp_path / "photos")
    (sample,) = open_emotic(tmp_path / "copy", images=str(tmp_path / "photos")).samples("train")
    assert sample.subject.images[0].path.is_file()


def test_a_missing_copy_is_an_error_that_says_how_to_request_it(tmp_path: Path) -> None:
    for root in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(DataError) as caught:
            open_emotic(root)
        assert str(root) in str(caught.value)
        assert "download.html" in caught.value.hint
    with pytest.raises(DataError, match=r"Annotations\.mat.*train\.csv.*train_cat_arr\.npy"):
        open_emotic(tmp_path)
    with pytest.raises(ConfigError, match="traget"):
        open_emotic(tmp_path, traget="majority")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(b"", "cannot be read", id="empty"),
        pytest.param(b"no matlab file at all" * 30, "cannot be read|MATLAB", id="not-matlab"),
        pytest.param(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM", "7.3", id="hdf5"),
    ],
)
def test_a_file_in_another_format_is_an_error(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "copy" / MAT).parent.mkdir(parents=True)
    (tmp_path / "copy" / MAT).write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        open_emotic(tmp_path / "copy")
    assert caught.value.hint


def test_a_truncated_matlab_file_is_an_error(tmp_path: Path) -> None:
    write_emotic(
        tmp_path / "copy",
        {"train": [annotated_image(f"{i}.jpg", [ticked("Fear")]) for i in range(9)]},
    )
    path = tmp_path / "copy" / MAT
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match="cannot be read"):
        open_emotic(tmp_path / "copy")
