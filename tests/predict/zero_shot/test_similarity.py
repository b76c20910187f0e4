"""Similarities are those that the models themselves give."""

import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers as _transformers
from safetensors.torch import load_file, save_file
from tests.factories.tiny_image_text import SIDE, build_tiny_clip_pair, build_tiny_siglip_pair

from mien.errors import WeightsError
from mien.media.images import Marking
from mien.media.views import OpenedPhoto, prepare_image
from mien.playhouse import embedded_models
from mien.playhouse.draw import draw_scene
from mien.playhouse.embedded_models import embedded_model_folder
from mien.playhouse.scene import sample_scene
from mien.playhouse.situations import OCCASIONS
from mien.predict.predictor import Predictor
from mien.predict.zero_shot.pretrained import find_pretrained, load_pretrained
from mien.types import Subject

transformers: Any = _transformers  # its annotations are wrong
LABELS = ("calm", "afraid")
SCENES = 40


@pytest.fixture(scope="module")
def embedded_clip() -> Any:
    return load_pretrained(find_pretrained("playhouse", embedded_as="clip"), "cpu")


@pytest.fixture
def copied_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the embedded models that can be changed."""
    folder = tmp_path / "weights"
    for name in ("llava", "clip"):
        shutil.copytree(embedded_model_folder(name), folder / name)
    monkeypatch.setattr(embedded_models, "_FOLDER", folder)
    return folder


@pytest.mark.parametrize("build", [build_tiny_clip_pair, build_tiny_siglip_pair])
def test_one_prompt_and_one_view_equal_the_model_itself(
    build: Callable[[Path], Path], tmp_path: Path, subjects: list[Subject]
) -> None:
    folder, whole = build(tmp_path / "model"), subjects[3]
    predictor = Predictor.zero_shot(
        str(folder), LABELS, method="similarity", device="cpu", image_prompts=["a {} person"]
    )
    model = transformers.AutoModel.from_pretrained(folder)
    processor = transformers.AutoProcessor.from_pretrained(folder, backend="pil")
    image = prepare_image(whole, marking=Marking(), size=SIDE)
    texts = [f"a {label} person" for label in LABELS]
    inputs = processor(text=texts, images=[image], padding="max_length", max_length=64, return_tensors="pt")
    with torch.inference_mode():
        logits = model(**inputs).logits_per_image[0]
    expected = logits.softmax(-1) if "clip" in build.__name__.split("_") else logits.sigmoid()
    (found,) = predictor.predict([whole])
    assert list(found.scores.values()) == pytest.approx(expected.tolist(), abs=1e-5)
    assert len(set(found.scores.values())) == 2


def test_the_crop_is_seen_too(tmp_path: Path, subjects: list[Subject]) -> None:
    folder = str(build_tiny_siglip_pair(tmp_path / "model"))
    predictor = Predictor.zero_shot(folder, LABELS, method="similarity", device="cpu")
    left, right = predictor.predict(subjects[:2])
    assert left.scores != right.scores
    assert [len(predictor.scorer.prepare(one, OpenedPhoto()).images) for one in subjects] == [2, 2, 2, 1]


def test_the_embedded_clip_has_every_weight_of_both_files(embedded_clip: Any) -> None:
    state = embedded_clip.state_dict()
    own = load_file(embedded_model_folder("clip") / "model.safetensors")
    llava = load_file(embedded_model_folder("llava") / "model.safetensors")
    tower = {
        name.removeprefix("vision_tower."): tensor
        for name, tensor in llava.items()
        if name.startswith("vision_tower.")
    }
    assert set(state) == set(own) | set(tower)
    for name, tensor in {**tower, **own}.items():
        assert torch.equal(state[name], tensor.float()), name
    assert {name for name in tower if name in own} == {
        "vision_model.post_layernorm.weight",
        "vision_model.post_layernorm.bias",
    }


def test_the_embedded_clip_scores_as_the_assembled_model(embedded_clip: Any, subjects: list[Subject]) -> None:
    whole, labels = subjects[3], ("Happiness", "Sadness", "Doubt/Confusion")
    predictor = Predictor.zero_shot(
        "playhouse", labels, method="similarity", device="cpu", image_prompts=["the person feels {}"]
    )
    processor = transformers.AutoProcessor.from_pretrained(embedded_model_folder("clip"), backend="pil")
    texts = [f"the person feels {label}" for label in ("happiness", "sadness", "doubt or confusion")]
    image = prepare_image(whole, marking=Marking(), size=144)
    with torch.inference_mode():
        inputs = processor(text=texts, images=[image], padding=True, return_tensors="pt")
        expected = embedded_clip(**inputs).logits_per_image[0].softmax(-1)
    (found,) = predictor.predict([whole])
    assert list(found.scores.values()) == pytest.approx(expected.tolist(), abs=1e-5)
    assert len(set(found.scores.values())) == 3


def test_the_embedded_clip_knows_occasions_of_unseen_scenes(tmp_path: Path) -> None:
    rng = random.Random(77)
    scenes = [sample_scene(rng, even=True) for _ in range(SCENES)]
    people = []
    for number, scene in enumerate(scenes):
        drawing = draw_scene(scene)
        drawing.image.save(tmp_path / f"{number}.png")
        people.append(Subject.still(str(number), tmp_path / f"{number}.png", drawing.boxes[scene.subject]))
    predictor = Predictor.zero_shot(
        "playhouse", OCCASIONS, method="similarity", device="cpu", image_prompts=["There seems to be a {}"]
    )
    found = [max(one.scores, key=one.scores.__getitem__) for one in predictor.predict(people)]
    assert np.mean([one == scene.occasion for one, scene in zip(found, scenes, strict=True)]) > 0.4  # of 16


@pytest.mark.parametrize("name", ["llava", "clip"])
def test_the_signature_of_the_embedded_clip_covers_both_files(name: str, copied_weights: Path) -> None:
    def signature() -> Any:
        return dict(Predictor.zero_shot("playhouse", LABELS, method="similarity").scorer.signature)

    before, file = signature(), copied_weights / name / "model.safetensors"
    assert before == signature()
    weights = load_file(file)
    changed = next(key for key in weights if "vision" in key)
    save_file({**weights, changed: weights[changed] + 1}, file)
    assert before != signature()


def test_missing_weights_of_the_embedded_clip_are_named(copied_weights: Path) -> None:
    (copied_weights / "clip" / "model.safetensors").unlink()
    with pytest.raises(WeightsError, match="contains no safetensors"):
        Predictor.zero_shot("playhouse", LABELS, method="similarity")
    shutil.rmtree(copied_weights / "clip")
    with pytest.raises(WeightsError, match="'clip' is not in this installation") as caught:
        Predictor.zero_shot("playhouse", LABELS, method="similarity")
    assert "scripts/playhouse" in (caught.value.hint or "")


def test_damaged_weights_of_the_embedded_clip_are_named(
    copied_weights: Path, subjects: list[Subject]
) -> None:
    file = copied_weights / "clip" / "model.safetensors"
    weights = load_file(file)
    save_file({name: tensor for name, tensor in weights.items() if name != "text_projection.weight"}, file)
    predictor = Predictor.zero_shot("playhouse", LABELS, method="similarity")
    with pytest.raises(WeightsError, match=r"lacks 1 weights, such as text_projection\.weight"):
        predictor.predict(subjects)
