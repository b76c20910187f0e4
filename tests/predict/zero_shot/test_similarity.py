"""Similarities are those that the models themselves give."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as _transformers
from tests.factories.tiny_image_text import SIDE, build_tiny_clip_pair, build_tiny_siglip_pair

from mien.media.images import Marking
from mien.media.views import OpenedPhoto, prepare_image
from mien.predict.predictor import Predictor
from mien.types import Subject

transformers: Any = _transformers  # its annotations are wrong
LABELS = ("calm", "afraid")


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
