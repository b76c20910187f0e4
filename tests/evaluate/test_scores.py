"""Score files: they load as saved, and damaged ones are refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mien.batches.batch import image_groups
from mien.errors import DataError, RunError
from mien.evaluate.scores import SplitScores, scores_file
from mien.labels import LabelSet
from mien.types import Sample, Subject

_SET = LabelSet(name="mood", labels=("Glad", "Sad, or so", 'Q"uote'), exclusive=False)


def _scores(*, dimensions: bool = True) -> SplitScores:
    rng = np.random.default_rng(0)
    truth = rng.random((4, 3)).astype(np.float32)
    truth[1] = np.nan
    return SplitScores(
        split="test",
        label_set=_SET,
        ids=("a", "b/ü", "nul\0", "half \ud83d"),
        groups=("p", "p", "q", "r"),
        scores=rng.random((4, 3)).astype(np.float32),
        targets=np.eye(4, 3, dtype=np.float32),
        dimensions=rng.random((4, 3)).astype(np.float32) if dimensions else None,
        dimension_targets=truth if dimensions else None,
    )


@pytest.mark.parametrize("dimensions", [True, False])
def test_scores_load_as_saved(tmp_path: Path, dimensions: bool) -> None:
    scores = _scores(dimensions=dimensions)
    path = scores_file(tmp_path, "test")
    scores.save(path)
    loaded = SplitScores.load(path)
    for name in ("split", "label_set", "ids", "groups"):
        assert getattr(loaded, name) == getattr(scores, name)
    for name in ("scores", "targets", "dimensions", "dimension_targets"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(scores, name))
    assert loaded.has_dimensions is dimensions
    assert [file.name for file in tmp_path.iterdir()] == ["scores-test.npz"]


def test_a_split_without_annotations_has_no_dimensions() -> None:
    unknown = np.full((4, 3), np.nan, dtype=np.float32)
    assert not replace(_scores(), dimension_targets=unknown).has_dimensions


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "scores-test.npz"
    _scores().save(path)
    whole = path.read_bytes()
    with pytest.raises(RunError, match="no scores"):
        SplitScores.load(tmp_path / "absent.npz")
    for damaged in (
        b"",
        whole[:100],
        whole[:-30],
        b"not a zip file",
        whole[:200] + b"\xff" * 60 + whole[260:],
    ):
        path.write_bytes(damaged)
        with pytest.raises(RunError, match="cannot be read"):
            SplitScores.load(path)


def test_objects_are_never_unpickled(tmp_path: Path) -> None:
    path = tmp_path / "scores-test.npz"
    np.savez(path, meta=np.array([{"schema": 1}], dtype=object))
    with pytest.raises(RunError, match="allow_pickle"):
        SplitScores.load(path)


def test_another_schema_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "scores-test.npz"
    np.savez(path, meta=np.frombuffer(b'{"schema": 2}', dtype=np.uint8))
    with pytest.raises(RunError, match="not of schema 1"):
        SplitScores.load(path)


def test_arrays_must_fit_the_ids() -> None:
    with pytest.raises(DataError, match=r"scores of split 'test' have the shape"):
        replace(_scores(), scores=np.zeros((3, 3), dtype=np.float32))
    with pytest.raises(DataError, match="4 samples of split 'test' have 1 images"):
        replace(_scores(), groups=("p",))
    with pytest.raises(DataError, match="not finite"):
        replace(_scores(), scores=np.full((4, 3), np.nan, dtype=np.float32))


def test_people_in_one_image_share_a_group() -> None:
    samples = [
        Sample(subject=Subject.still(name, Path(image)), target=None, split="test")
        for name, image in (("a", "x.jpg"), ("b", "x.jpg"), ("c", "y.jpg"))
    ]
    first, second, third = image_groups(samples)
    assert first == second != third
