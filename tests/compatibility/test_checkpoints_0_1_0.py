"""Models and interrupted trainings of version 0.1.0 open, though their parameters had other names."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tests.factories.training import learnable_split, tiny_recipe
from tests.factories.versions import draws_as_recorded

from mien.batches.batch import SplitData
from mien.model.checkpoint import MODEL_FILE, RESUME_FILE, load_trained, read_tensors, write_tensors
from mien.train.loop import train

# A clip model of 0.1.0 (Q-Former and frame embedding) with averaged weights, stopped after 7 of 12 steps, and
# what the same training ended with.
INTERRUPTED = Path(__file__).parents[1] / "fixtures" / "0.1.0" / "interrupted"
RENAMED = {
    "fusion.qformer.queries": "fusion.qformer.query_tokens",
    "fusion.qformer.words.weight": "fusion.qformer.word_embeddings.weight",
    "fusion.qformer.positions.weight": "fusion.qformer.position_embeddings.weight",
    "fusion.places.frames": "fusion.frame_embedding.frames",
}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def clips(folder: Path, name: str, count: int, seed: int) -> SplitData:
    data = learnable_split(folder, name, count, seed=seed)
    assert data.images is not None
    return replace(data, images=replace(data.images, num_frames=2))


def test_a_model_has_the_same_weights_under_new_names() -> None:
    weights = load_trained(INTERRUPTED).classifier.state_dict()
    stored = load_file(INTERRUPTED / MODEL_FILE)
    assert weights.keys() == {RENAMED.get(name, name) for name in stored}
    assert all(torch.equal(weights[RENAMED.get(name, name)], tensor) for name, tensor in stored.items())


@draws_as_recorded
def test_an_interrupted_training_resumes_as_if_it_was_not(tmp_path: Path) -> None:
    data, val = clips(tmp_path, "train", 24, 3), clips(tmp_path, "val", 8, 4)
    recipe = tiny_recipe({"width": 8, "layers": 2, "num_queries": 2}, {"epochs": 4, "ema": 0.9, "seed": 7})
    out = tmp_path / "run"
    out.mkdir()
    shutil.copy(INTERRUPTED / RESUME_FILE, out)
    steps: list[int] = []
    result = train(recipe, data, val, out, on_progress=lambda event: steps.append(event.step))
    assert steps == [8, 9, 10, 11, 12]
    expected = load_trained(INTERRUPTED)
    assert (result.best_epoch, result.steps) == (expected.result.best_epoch, expected.result.steps)
    assert result.best_score == pytest.approx(expected.result.best_score)
    weights = load_trained(out).classifier.state_dict()
    for name, weight in expected.classifier.state_dict().items():
        torch.testing.assert_close(weights[name], weight, atol=1e-4, rtol=1e-3)


def test_every_part_of_a_resume_file_is_renamed() -> None:
    tensors, about = read_tensors(INTERRUPTED / RESUME_FILE)
    assert about["schema"] == 2
    for part in ("model", "best", "average"):
        assert {f"{part}.{name}" for name in RENAMED.values()} <= tensors.keys()
    assert not [name for name in tensors if name.split(".", 1)[1] in RENAMED]


def test_only_parameters_of_a_qformer_are_renamed(tmp_path: Path) -> None:
    """A fusion of one's own may use the same names."""
    file = tmp_path / MODEL_FILE
    names = ("fusion.queries", "fusion.words.weight", "fusion.positions.weight", "encoder.words.weight")
    schema_1: dict[str, Any] = {"schema": 1}
    write_tensors(file, {name: torch.zeros(2) for name in names}, schema_1)
    assert set(read_tensors(file)[0]) == set(names)
