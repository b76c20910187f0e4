"""Samples of a scored split, one per line."""

from __future__ import annotations

from pathlib import Path

import pytest

from mien.errors import RunError
from mien.evaluate.results.examples import examples_file, read_examples, write_examples
from mien.types import Box, Description, ImageRef, Sample, Subject, Target

_BOX = Box(left=1, top=2, right=30.5, bottom=40)
_NASTY = 'a "quote", a\nline, a\u2028separator, half \ud83d, \0'


def _samples(folder: Path) -> list[Sample]:
    target = Target(labels={"Fear": 1.0}, dimensions={"valence": 0.1, "arousal": 0.9, "dominance": 0.2})
    clip = Subject(
        id="clip",
        images=(ImageRef(path=folder / "v.mp4", frame=3), ImageRef(path=folder / "v.mp4", frame=9)),
        boxes=(_BOX, None),
    )
    return [
        Sample(subject=Subject.still(_NASTY, folder / "inside.png", _BOX), target=target, split="test"),
        Sample(subject=Subject.still("plain", Path("/far/away.png")), target=None, split="test"),
        Sample(subject=clip, target=Target(labels={}), split="test"),
    ]


def _description(text: str) -> Description:
    return Description(key="k", subject_id=_NASTY, text=text, prompt_id="paper", engine="e", finish="stop")


def test_samples_load_as_written(tmp_path: Path) -> None:
    path = examples_file(tmp_path, "test")
    write_examples(path, _samples(tmp_path), {_NASTY: _description(_NASTY), "plain": "bare text"})
    first, plain, clip = read_examples(path)
    assert (first.id, first.description) == (_NASTY, _NASTY)
    assert first.labels == {"Fear": 1.0}
    assert first.dimensions == {"valence": 0.1, "arousal": 0.9, "dominance": 0.2}
    assert first.boxes == (_BOX,)
    assert (plain.description, plain.boxes, dict(plain.labels), plain.dimensions) == (
        "bare text",
        (None,),
        {},
        None,
    )
    assert (clip.frames, clip.boxes, clip.description) == ((3, 9), (_BOX, None), None)


def test_images_inside_the_run_move_with_it(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    write_examples(examples_file(old, "test"), _samples(old), {})
    old.rename(new)
    first, plain, _ = read_examples(examples_file(new, "test"))
    assert first.images == (new / "inside.png",)
    assert plain.images == (Path("/far/away.png"),)


def test_no_samples_give_an_empty_file(tmp_path: Path) -> None:
    write_examples(tmp_path / "none.jsonl", [], {})
    assert list(read_examples(tmp_path / "none.jsonl")) == []


def test_damage_is_reported_with_its_line(tmp_path: Path) -> None:
    path = examples_file(tmp_path, "test")
    with pytest.raises(RunError, match="no samples"):
        list(read_examples(path))
    write_examples(path, _samples(tmp_path), {})
    path.write_text(path.read_text().rstrip("\n")[:-20])
    with pytest.raises(RunError, match="line 3 is not a sample"):
        list(read_examples(path))
