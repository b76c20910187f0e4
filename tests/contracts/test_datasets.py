"""The dataset contract. A new dataset is one more entry in `DATASETS`; wrappers are in `WRAPPERS`."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from mien.data import Dataset, open_dataset
from mien.data.audit.verify import verify
from mien.data.splits import ResplitDataset, write_splits
from mien.errors import DataError
from mien.playhouse.layouts import bold as bold_layout
from mien.playhouse.layouts import caers as caers_layout
from mien.playhouse.layouts import emotic as emotic_layout
from mien.recipe import DataOptions
from mien.types import DIMENSIONS


def _playhouse(root: Path) -> Dataset:
    options = DataOptions(name="playhouse", options={"train": 6, "val": 4, "test": 5})
    return open_dataset(options, cache=root)


def _manifest(root: Path) -> Dataset:
    rows = []
    for index in range(6):
        Image.new("RGB", (60, 40), (index * 40, 80, 120)).save(root / f"{index}.png")
        split = "train" if index < 3 else "test"
        rows.append(
            {
                "id": f"p{index}",
                "image": f"{index}.png",
                "labels": ["Peace"],
                "box": [1, 2, 30, 40],
                "split": split,
            }
        )
    path = root / "people.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return open_dataset(DataOptions(name="manifest", root=path), cache=root)


def _caers(root: Path) -> Dataset:
    caers_layout.write(root / "caers", train=6, val=1, test=4, seed=1)
    options = DataOptions(name="caers", root=root / "caers", options={"faces": "faces"})
    return open_dataset(options, cache=root / "cache")


def _bold(root: Path) -> Dataset:
    counts = {"train": 2, "val": 2, "test": 1}
    clips = {
        split: bold_layout.sample_clips(split, count, 1, num_frames=16) for split, count in counts.items()
    }
    bold_layout.write_bold(root / "bold", clips)
    return open_dataset(DataOptions(name="bold", root=root / "bold"), cache=root / "cache")


def _emotic(root: Path) -> Dataset:
    emotic_layout.write(root / "emotic", train=4, val=2, test=3, seed=1)
    return open_dataset(DataOptions(name="emotic", root=root / "emotic"), cache=root / "cache")


def _resplit(open_inner: Callable[[Path], Dataset]) -> Callable[[Path], Dataset]:
    """The same dataset behind a split file that assigns every subject to its own split."""

    def open_wrapper(root: Path) -> Dataset:
        inner = open_inner(root)
        ids = {sample.subject.id: split for split in inner.splits for sample in inner.samples(split)}
        write_splits(root / "splits.jsonl", ids)
        return ResplitDataset(inner, root / "splits.jsonl")

    return open_wrapper


DATASETS: dict[str, Callable[[Path], Dataset]] = {
    "bold": _bold,
    "caers": _caers,
    "emotic": _emotic,
    "manifest": _manifest,
    "playhouse": _playhouse,
}
WRAPPERS = {f"resplit {name}": _resplit(open_inner) for name, open_inner in DATASETS.items()}


@pytest.fixture(params=[*DATASETS, *WRAPPERS])
def dataset(request: pytest.FixtureRequest, tmp_path: Path) -> Dataset:
    return (DATASETS | WRAPPERS)[request.param](tmp_path)


def test_the_card_is_filled_in(dataset: Dataset) -> None:
    assert dataset.card.title
    assert dataset.card.license
    assert dataset.card.task
    assert dataset.splits


def test_samples_come_in_the_same_order_each_time(dataset: Dataset) -> None:
    for split in dataset.splits:
        first, second = list(dataset.samples(split)), list(dataset.samples(split))
        assert first == second
        assert first


def test_records_and_samples_agree(dataset: Dataset) -> None:
    for split in dataset.splits:
        assert [record.sample for record in dataset.records(split)] == list(dataset.samples(split))


def test_ids_are_unique_across_splits(dataset: Dataset) -> None:
    ids = [sample.subject.id for split in dataset.splits for sample in dataset.samples(split)]
    assert len(set(ids)) == len(ids)


def test_targets_use_the_label_set(dataset: Dataset) -> None:
    for split in dataset.splits:
        targets = [sample.target for sample in dataset.samples(split)]
        # A split is annotated completely or not at all.
        assert (None in targets) == all(target is None for target in targets)
        for sample in dataset.samples(split):
            assert sample.split == split
            if sample.target is None:
                assert split == "test"
                continue
            assert set(sample.target.labels) <= set(dataset.label_set.labels)
            if sample.target.dimensions is not None:
                assert set(sample.target.dimensions) == set(DIMENSIONS)


def test_a_clean_copy_has_no_problems(dataset: Dataset) -> None:
    assert verify(dataset).problems == ()


def test_a_broken_image_is_reported_with_its_file(dataset: Dataset) -> None:
    victim = next(dataset.samples(dataset.splits[0])).subject.images[0].path
    victim.write_bytes(b"not an image")
    (problem,) = verify(dataset).problems
    assert problem.kind in ("unreadable", "clip_unreadable")
    assert problem.file == str(victim)


def test_an_unknown_split_is_an_immediate_error(dataset: Dataset) -> None:
    for read in (dataset.samples, dataset.records):
        with pytest.raises(DataError, match="no split 'trian'") as caught:
            read("trian")
        assert f"valid splits: {', '.join(dataset.splits)}" in caught.value.hint
