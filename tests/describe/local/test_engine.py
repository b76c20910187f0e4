"""The local engine on a tiny random LLaVA: batches, stop tokens, generation settings, and failures."""

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file, save_file
from tests.factories.engines import RecordingEngine
from tests.factories.shared_data import shared
from tests.factories.tiny_llava import IMAGE_SIZE, build_tiny_llava

from mien.describe.engine import Engine, Reply, Request
from mien.describe.generate import describe
from mien.describe.local.engine import LocalEngine
from mien.describe.open import open_engine
from mien.describe.requests import RequestBuilder
from mien.describe.retry import describe_with_retries
from mien.describe.store.lookup import lookup_descriptions
from mien.describe.store.store import Store
from mien.errors import EngineError, WeightsError
from mien.recipe import DescribeOptions, RunOptions
from mien.types import Box, Subject


@pytest.fixture(scope="session")
def llava(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_llava(tmp_path_factory.mktemp("models") / "llava")


@pytest.fixture
def copied(llava: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(llava, tmp_path / "copy"))


def requests(count: int, *, num_images: int = 1) -> list[Request]:
    rng = np.random.default_rng(7)
    made = []
    for number in range(count):
        noise = rng.integers(0, 256, (num_images, IMAGE_SIZE, IMAGE_SIZE, 3), dtype=np.uint8)
        images = tuple(Image.fromarray(pixels) for pixels in noise)
        prompt = "How do they feel? " * (1 + number % 4)
        made.append(Request(subject_id=f"s{number}", images=images, prompt=prompt))
    return made


def replies(engine: Engine, batch: Sequence[Request]) -> list[Reply]:
    found = engine.describe(batch)
    assert all(isinstance(reply, Reply) for reply in found)
    return [reply for reply in found if isinstance(reply, Reply)]


def test_a_recipe_opens_it(llava: Path) -> None:
    engine = open_engine(DescribeOptions(model=str(llava), max_new_tokens=5), RunOptions())
    assert isinstance(engine, LocalEngine)
    assert engine.signature["max_new_tokens"] == 5
    assert engine.image_size == IMAGE_SIZE


def test_opening_and_its_signature_load_no_torch(llava: Path) -> None:
    code = (
        "import sys; from mien.describe.local.engine import LocalEngine; engine = LocalEngine(sys.argv[1]);"
        "engine.signature, engine.image_size;"
        "sys.exit(any(name in sys.modules for name in ('torch', 'transformers')))"
    )
    assert subprocess.run([sys.executable, "-c", code, str(llava)], check=False).returncode == 0


def test_one_request_may_have_several_images(llava: Path) -> None:
    engine = LocalEngine(llava, max_new_tokens=8)
    mixed = [*requests(2), *requests(2, num_images=2), *requests(1, num_images=3)]
    expected = [reply for request in mixed for reply in replies(engine, [request])]
    assert replies(engine, mixed) == expected


def test_a_text_cut_at_the_limit_is_marked(copied: Path) -> None:
    # Several tokens may end a text, as in Llama 3; here so many that some texts do end.
    file = copied / "generation_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "eos_token_id": [2, *range(40, 60)]}))
    batch = requests(24)
    short = replies(LocalEngine(copied, max_new_tokens=12), batch)
    long = replies(LocalEngine(copied, max_new_tokens=24), batch)
    assert {reply.finish for reply in short} == {"stop", "length"}
    for before, after in zip(short, long, strict=True):
        assert after == before or before.finish == "length"
        assert len(after.text) >= len(before.text)
    assert sum(len(reply.text) for reply in long) > sum(len(reply.text) for reply in short)


def test_batches_work_with_a_real_vocabulary(tmp_path: Path) -> None:
    vocab = shared("tokenizers", "bert-base-uncased", "vocab.txt")
    engine = LocalEngine(build_tiny_llava(tmp_path / "llava", vocab=vocab), max_new_tokens=12)
    batch = requests(6)
    together = replies(engine, batch)
    assert together == [reply for request in batch for reply in replies(engine, [request])]
    assert all(" " in reply.text for reply in together)


def test_without_a_chat_template_the_prompt_takes_the_format_of_llava(llava: Path, tmp_path: Path) -> None:
    bare = build_tiny_llava(tmp_path / "bare", chat_template=None)
    assert not any("chat_template" in file.name for file in bare.iterdir())
    # The other model's template gives the same text.
    batch = requests(3)
    assert replies(LocalEngine(bare), batch) == replies(LocalEngine(llava), batch)


def test_the_models_own_generation_settings_are_ignored(llava: Path, copied: Path) -> None:
    file = copied / "generation_config.json"
    settings = {"do_sample": True, "temperature": 9.0, "top_k": 5, "repetition_penalty": 3.0, "num_beams": 1}
    file.write_text(json.dumps({**json.loads(file.read_text()), **settings}))
    batch = requests(4)
    assert replies(LocalEngine(copied), batch) == replies(LocalEngine(llava), batch)


def test_half_precision_changes_the_signature(llava: Path) -> None:
    half = LocalEngine(llava, dtype="bfloat16", max_new_tokens=4)
    assert len(replies(half, requests(2))) == 2
    assert half.signature != LocalEngine(llava, max_new_tokens=4).signature


def test_a_copy_has_the_same_signature(llava: Path, copied: Path) -> None:
    assert LocalEngine(copied).signature == LocalEngine(llava).signature


# --- Failures ---


def test_missing_weights_are_not_replaced_by_random_ones(copied: Path) -> None:
    weights = load_file(copied / "model.safetensors")
    name = next(name for name in weights if "vision_tower" in name and "weight" in name)
    del weights[name]
    save_file(weights, copied / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(WeightsError, match="lacks 1 weights"):
        LocalEngine(copied).describe(requests(1))


@pytest.mark.parametrize("file", ["model.safetensors", "config.json", "tokenizer.json"])
def test_a_truncated_file_is_a_weights_error(copied: Path, file: str) -> None:
    data = (copied / file).read_bytes()
    (copied / file).write_bytes(data[: len(data) // 2])
    with pytest.raises(WeightsError) as caught:
        LocalEngine(copied).describe(requests(1))
    assert caught.value.hint


def test_a_model_of_another_kind_is_a_weights_error(copied: Path) -> None:
    (copied / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(WeightsError, match="cannot be loaded"):
        LocalEngine(copied).describe(requests(1))


@pytest.mark.parametrize("device", ["cuda:7", "abacus"])
def test_a_missing_device_is_an_error(llava: Path, device: str) -> None:
    with pytest.raises(EngineError, match="cannot be used") as caught:
        LocalEngine(llava, device=device).describe(requests(1))
    assert "run.device" in caught.value.hint


def test_a_prompt_that_breaks_the_model_is_isolated(llava: Path) -> None:
    engine, batch = LocalEngine(llava, max_new_tokens=4), requests(4)
    # A placeholder without an image.
    broken = Request(subject_id="broken", images=batch[0].images, prompt="<image> And this?")
    outcomes = describe_with_retries(engine, [*batch[:2], broken, *batch[2:]])
    assert [isinstance(outcome.result, Reply) for outcome in outcomes] == [True, True, False, True, True]
    assert "failed" in str(outcomes[2].result)


# --- From a subject to the store ---


def test_the_model_sees_the_whole_of_a_wide_image(
    llava: Path, tmp_path: Path, request_options: dict[str, Any]
) -> None:
    # The model's own processor would crop the sides, and the subject with them.
    path, engine = tmp_path / "wide.png", LocalEngine(llava)
    Image.new("RGB", (64, 32), "white").save(path)
    subject = Subject.still("left", path, Box(left=0, top=8, right=12, bottom=24))
    request_builder = RequestBuilder(engine=engine, **request_options)
    [image] = request_builder.prepare(request_builder.build(subject)).images
    assert image.size == (IMAGE_SIZE, IMAGE_SIZE)
    [[red, green, blue]] = np.asarray(image)[16, :1].astype(int)
    assert red > green + 50
    assert red > blue + 50
    assert np.asarray(image)[16, -1].min() > 200


def test_real_photographs_are_described_once_over_several_runs(
    llava: Path, tmp_path: Path, request_options: dict[str, Any]
) -> None:
    photos = shared("emotic-photos")
    rows = [json.loads(line) for line in (photos / "manifest.jsonl").read_text().splitlines()[:12]]
    people = [
        Subject.still(row["id"], photos / row["image"], row["box"] and Box.from_tuple(tuple(row["box"])))
        for row in rows
    ]
    engine = RecordingEngine(LocalEngine(llava, max_new_tokens=8))
    for part in (people[:5], people, people):
        with Store(tmp_path / "store.sqlite") as store:
            describe(part, RequestBuilder(engine=engine, **request_options), store, batch_size=3)
    with Store(tmp_path / "store.sqlite", writable=False) as store:
        found = lookup_descriptions(people, RequestBuilder(engine=engine, **request_options), store)
    # Random weights may give an empty text, which is a failure; no one is left out or described twice.
    assert len(found.descriptions) + len(found.failures) == 12
    assert len(found.descriptions) > 6
    assert len(engine.subject_ids) == len(set(engine.subject_ids))
