"""The models in the package: small, loadable, and as accurate as their card says."""

import hashlib
import json
import random
from typing import Any

import pytest

from mien.describe.engine import Reply, Request
from mien.describe.open import open_engine
from mien.describe.prompts import get_prompt
from mien.errors import WeightsError
from mien.labels import EMOTIC
from mien.media.images import Marking, fit_to_square, mark_subject
from mien.playhouse import embedded_models
from mien.playhouse.draw import draw_scene
from mien.playhouse.embedded_models import embedded_model_folder
from mien.playhouse.rules import score_emotions
from mien.playhouse.scene import sample_scene
from mien.playhouse.text import describe_clothes, describe_emotions, parse_description
from mien.recipe import DescribeOptions, RunOptions

SCENES = 48


def results() -> dict[str, Any]:
    table: dict[str, Any] = json.loads((embedded_model_folder("llava") / "exam.json").read_text())
    return table


def test_weights_are_small_and_the_results_are_of_these_weights() -> None:
    files = [file for name in ("llava", "words") for file in embedded_model_folder(name).iterdir()]
    assert sum(file.stat().st_size for file in files) <= 8_000_000
    digest = hashlib.sha256((embedded_model_folder("llava") / "model.safetensors").read_bytes()).hexdigest()
    assert results()["weights_sha256"] == digest


def test_the_card_states_the_results() -> None:
    card, found = (embedded_model_folder("llava") / "README.md").read_text(), results()
    for aspect in (
        "place",
        "clothes",
        "expression",
        "pose",
        "crowded_clothes_without_box",
        "crowded_guessing",
    ):
        assert f"{found[aspect]:.1%}" in card
    assert "knows only Playhouse" in card


def test_the_embedded_model_describes_unseen_scenes() -> None:
    """On a few held-out scenes; the thresholds allow for the small number."""
    rng = random.Random(31)
    scenes = [sample_scene(rng) for _ in range(SCENES)]
    engine = open_engine(DescribeOptions(max_new_tokens=100), RunOptions())
    requests = []
    for scene in scenes:
        drawing = draw_scene(scene)
        image = fit_to_square(
            mark_subject(drawing.image, drawing.boxes[scene.subject], Marking()), engine.image_size or 144
        )
        requests.append(Request(subject_id="x", images=(image,), prompt=get_prompt("paper").render(EMOTIC)))
    right = dict.fromkeys(("place", "clothes", "expression", "pose"), 0)
    for scene, reply in zip(scenes, engine.describe(requests), strict=True):
        assert isinstance(reply, Reply)
        assert reply.finish == "stop"
        parsed = parse_description(reply.text)
        person = scene.person
        truth = {
            "place": scene.place,
            "expression": person.expression,
            "pose": person.pose,
            "clothes": describe_clothes(person),
        }
        for aspect, value in truth.items():
            right[aspect] += parsed[aspect] == value
    assert right["place"] >= 0.9 * SCENES
    assert right["clothes"] >= 0.85 * SCENES
    assert right["expression"] >= 0.75 * SCENES
    assert right["pose"] >= 0.75 * SCENES


def test_the_vocabulary_has_every_word_of_descriptions() -> None:
    from tokenizers.pre_tokenizers import BertPreTokenizer

    known = set((embedded_model_folder("words") / "vocab.txt").read_text().split("\n"))
    rng = random.Random(9)
    for _ in range(300):
        scene = sample_scene(rng, even=True)
        text = describe_emotions(scene, score_emotions(scene.place, scene.person))
        assert {word for word, _ in BertPreTokenizer().pre_tokenize_str(text.lower())} <= known


def test_the_error_for_a_missing_model_has_a_hint(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setattr(embedded_models, "_FOLDER", tmp_path)
    with pytest.raises(WeightsError) as caught:
        embedded_model_folder("llava")
    assert "scripts/playhouse" in caught.value.hint
