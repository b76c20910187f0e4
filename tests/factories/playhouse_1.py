"""The first drawings of Playhouse 1, as version 0.1.0 drew them: its runs and stores were made with them."""

import json
from pathlib import Path
from typing import Literal

import pytest

from mien.data.dataset import Record
from mien.data.playhouse import Playhouse, combine_annotations
from mien.playhouse.embedded_models import embedded_model_folder
from mien.playhouse.rules import SimulatedAnnotation
from mien.types import Box, Sample, Subject
from mien.weights import model_folder

FOLDER = Path(__file__).parents[1] / "fixtures" / "0.1.0" / "playhouse"


def use_playhouse_1(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets the dataset show what it showed in 0.1.0, for seed 3 and splits of 8, 6 and 6 scenes.

    The vocabulary of descriptions is that of 0.1.0 as well.
    """
    people = json.loads((FOLDER / "people.json").read_text())

    def record(self: Playhouse, split: str, index: int) -> Record:
        person = people[f"{split}/{index:05d}"]
        annotations = tuple(
            SimulatedAnnotation(tuple(item["labels"]), tuple(item["dimensions"]))
            for item in person["annotations"]
        )
        path = FOLDER / f"{split}-{index:05d}.png"
        left, top, right, bottom = person["box"]
        box = Box(left=left, top=top, right=right, bottom=bottom)
        subject = Subject.still(f"{split}/{index:05d}", path, box)
        sample = Sample(subject=subject, target=combine_annotations(annotations), split=split)
        return Record(sample=sample, annotations=tuple(combine_annotations((item,)) for item in annotations))

    def folder(name: Literal["llava", "words"]) -> Path:
        return FOLDER / "words" if name == "words" else embedded_model_folder(name)

    monkeypatch.setattr(Playhouse, "_record", record)
    monkeypatch.setattr(model_folder, "embedded_model_folder", folder)
