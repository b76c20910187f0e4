"""The models in the package: small, loadable, and as accurate as their card says."""

import hashlib
import json
import random
from pathlib import Path
from typing import Any

import pytest
from safetensors import safe_open

from mien.ablation.demo import RECIPE
from mien.describe.engine import Reply, Request
from mien.describe.open import open_engine
from mien.describe.prompts import get_prompt
from mien.errors import WeightsError
from mien.labels import EMOTIC
from mien.media.images import Marking, fit_to_square, mark_subject
from mien.playhouse import embedded_models
from mien.playhouse.draw import draw_scene
from mien.playhouse.embedded_models import embedded_model_folder
from mien.playhouse.rules import observe
from mien.playhouse.salience import mention
from mien.playhouse.scene import sample_scene
from mien.playhouse.text import describe_clothes, describe_emotions, describe_scene, parse_description
from mien.recipe import DescribeOptions, RunOptions, load_recipe

SCENES = 48


def results() -> dict[str, Any]:
    table: dict[str, Any] = json.loads((embedded_model_folder("llava") / "exam.json").read_text())
    return table


def test_weights_are_small_and_the_results_are_of_these_weights() -> None:
    weights = embedded_model_folder("llava").parent
    assert sum(file.stat().st_size for file in weights.rglob("*.safetensors")) <= 9_000_000
    digest = hashlib.sha256((embedded_model_folder("llava") / "model.safetensors").read_bytes()).hexdigest()
    assert results()["weights_sha256"] == digest


def test_the_clip_is_small_and_its_card_states_the_results_of_these_weights() -> None:
    folder = embedded_model_folder("clip")
    weights = (folder / "model.safetensors").read_bytes()
    found, card = json.loads((folder / "exam.json").read_text()), (folder / "README.md").read_text()
    assert len(weights) <= 185_000
    assert found["weights_sha256"] == hashlib.sha256(weights).hexdigest()
    for row in (found["chance"], found["texts"], *found["probes"].values()):
        assert " | ".join(f"{row[aspect]:.3f}" for aspect in ("setting", "occasion", "expression")) in card
    assert "knows only Playhouse" in card


def test_files_have_the_names_of_published_models() -> None:
    # transformers 5 also reads its own newer names; vLLM and transformers 4 do not.
    folder = embedded_model_folder("llava")
    with safe_open(folder / "model.safetensors", framework="np") as weights:
        names = list(weights.keys())
    published = ("language_model.model.", "multi_modal_projector.linear_", "vision_tower.vision_model.")
    assert [name for name in names if not name.startswith(published)] == []
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    assert settings["tokenizer_class"] == "PreTrainedTokenizerFast"
    assert "token_type_ids" not in settings["model_input_names"]


def test_the_card_states_the_results() -> None:
    card, found = (embedded_model_folder("llava") / "README.md").read_text(), results()
    for aspect in (
        "setting",
        "occasion",
        "clothes",
        "expression",
        "pose",
        "item",
        "crowded_clothes_without_box",
        "crowded_guessing",
    ):
        assert f"{found[aspect]:.1%}" in card
    assert "knows only Playhouse" in card


def test_the_embedded_model_describes_unseen_scenes() -> None:
    """On a few held-out scenes; the thresholds allow for the small number."""
    rng = random.Random(31)
    scenes = [sample_scene(rng) for _ in range(SCENES)]
    engine = open_engine(DescribeOptions(max_new_tokens=120), RunOptions())
    requests = []
    for scene in scenes:
        drawing = draw_scene(scene)
        image = fit_to_square(
            mark_subject(drawing.image, drawing.boxes[scene.subject], Marking()), engine.image_size or 144
        )
        requests.append(Request(subject_id="x", images=(image,), prompt=get_prompt("paper").render(EMOTIC)))
    right = dict.fromkeys(("setting", "occasion", "clothes", "expression", "pose", "item"), 0)
    for scene, reply in zip(scenes, engine.describe(requests), strict=True):
        assert isinstance(reply, Reply)
        assert reply.finish == "stop"
        parsed = parse_description(reply.text)
        person, said = scene.person, mention(scene, observe(scene))
        truth = {
            "setting": scene.setting,
            "occasion": scene.occasion,
            "clothes": describe_clothes(person),
            "expression": said.observation.expression,
            "pose": person.pose if f"pose {person.pose}" in said.details else None,
            "item": person.item if "item" in said.details else None,
        }
        for aspect, value in truth.items():
            right[aspect] += parsed[aspect] == value
    assert right["setting"] >= 0.9 * SCENES
    assert right["occasion"] >= 0.8 * SCENES
    assert right["clothes"] >= 0.85 * SCENES
    assert right["expression"] >= 0.75 * SCENES
    assert right["pose"] >= 0.75 * SCENES
    assert right["item"] >= 0.7 * SCENES


def test_the_vocabulary_has_every_word_of_descriptions_and_recipes_read_them_to_their_end() -> None:
    from tokenizers.pre_tokenizers import BertPreTokenizer

    known = set((embedded_model_folder("words") / "vocab.txt").read_text().split("\n"))
    recipes = Path(__file__).parents[2] / "recipes"
    limits = [
        load_recipe(recipes / f"{name}.toml").features.max_text_tokens
        for name in ("playhouse", "emotic", "caers", "bold")
    ]
    limits.append(RECIPE["features"]["max_text_tokens"])
    rng = random.Random(9)
    for _ in range(600):
        scene = sample_scene(rng, even=True)
        for text in (describe_emotions(scene), describe_scene(scene)):
            found = [word for word, _ in BertPreTokenizer().pre_tokenize_str(text.lower())]
            assert set(found) <= known
            assert len(found) + 2 < min(limits)  # [CLS] and [SEP]


def test_the_error_for_a_missing_model_has_a_hint(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setattr(embedded_models, "_FOLDER", tmp_path)
    with pytest.raises(WeightsError) as caught:
        embedded_model_folder("llava")
    assert "scripts/playhouse" in caught.value.hint
