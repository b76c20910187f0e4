"""Explanations in a run directory."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mien.errors import RunError
from mien.evaluate.explanations.heat_map import HeatMap
from mien.evaluate.explanations.stored import (
    ExplainedLabel,
    ExplainedPerson,
    Explanations,
    explanations_file,
    read_explanations,
)

_LABEL = ExplainedLabel(
    label="<Glad>",
    score=0.75,
    words=((0, 3, 0.5), (4, 7, -0.25)),
    maps=(HeatMap(method="occlusion", values=np.array([[0.5, -0.25], [0.0, 0.125]])),),
    warnings=("attention is not faithful",),
)
_PERSON = ExplainedPerson(id="a\u2028", description="the cat", labels=(_LABEL,), notes=("a note",))
_ALL = Explanations(split="test", model="f" * 8, people=(_PERSON,))


def test_explanations_load_as_written(tmp_path: Path) -> None:
    assert _ALL.save(tmp_path) == explanations_file(tmp_path, "test")
    found = read_explanations(tmp_path, "test")
    assert found == _ALL
    assert found is not None
    (loaded,) = found.people[0].labels[0].maps
    np.testing.assert_array_equal(loaded.values, _LABEL.maps[0].values)
    assert read_explanations(tmp_path, "val") is None


@pytest.mark.parametrize("damage", ["text", "schema", "map", "list", "words"])
def test_a_damaged_file_is_an_error_with_a_hint(tmp_path: Path, damage: str) -> None:
    path = _ALL.save(tmp_path)
    document = json.loads(path.read_text())
    label = document["people"][0]["labels"][0]
    if damage == "schema":
        document["schema"] = 99
    elif damage == "map":
        label["maps"][0]["values"] = [[1.0], [1.0, 2.0]]
    elif damage == "words":
        label["words"] = [[1, 2]]
    elif damage == "list":
        document = []
    path.write_text("{" if damage == "text" else json.dumps(document))
    with pytest.raises(RunError) as caught:
        read_explanations(tmp_path, "test")
    assert "--explain" in caught.value.hint
