"""Describing compared with a simple loop that calls a Hugging Face pipeline for each image.

    python benchmarks/describe_pipeline.py [--count 32] [--batch-size 32] [--rounds 3]

Both use the same model (a LLaVA with about 25 M random weights), images and prompt, greedy decoding and the
same number of new tokens, and alternate in one process. It also measures the overhead of everything around
the model (decoding, marking, keys, the store, progress) relative to the engine on prepared images. Prints
JSON: medians and all values.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers as _transformers
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers

from mien.describe.engine import Request
from mien.describe.generate import describe
from mien.describe.local.engine import LocalEngine
from mien.describe.prompts import get_prompt
from mien.describe.requests import RequestBuilder
from mien.describe.store.store import Store
from mien.labels import EMOTIC
from mien.media.images import Marking, mark_subject, open_image
from mien.media.views import prepare_image
from mien.types import Box, Subject

transformers: Any = _transformers  # its annotations are incomplete

_SIDE, _PATCH = 224, 16
_QUESTION = get_prompt("paper").render(EMOTIC)
_BOX = Box(left=100, top=60, right=360, bottom=460)
_TEMPLATE = (
    "{% for message in messages %}USER: {% for part in message['content'] %}{% if part['type'] == 'image' %}"
    "<image>\n{% else %}{{ part['text'] }}{% endif %}{% endfor %} {% endfor %}ASSISTANT:"
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=32, help="images per round")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--new-tokens", type=int, default=160)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model = build(Path(folder) / "model")
        photos = photographs(Path(folder), arguments.count)
        result = measure(model, photos, Path(folder), arguments)
    print(json.dumps({**about(), **vars(arguments), **result}, indent=2))


def about() -> dict[str, Any]:
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "hardware": {"machine": platform.machine(), "cores": os.cpu_count()},
        "load": round(os.getloadavg()[0], 2),
        "threads": torch.get_num_threads(),
    }


def build(folder: Path) -> Path:
    """Save a LLaVA with about 25 M random weights."""
    torch.manual_seed(0)
    tokenizer = _tokenizer()
    vision = transformers.CLIPVisionConfig(
        hidden_size=384,
        intermediate_size=1536,
        num_hidden_layers=6,
        num_attention_heads=6,
        image_size=_SIDE,
        patch_size=_PATCH,
        projection_dim=384,
    )
    text = transformers.LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=512,
        intermediate_size=1376,
        num_hidden_layers=4,
        num_attention_heads=8,
        max_position_embeddings=2048,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    config = transformers.LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        vision_feature_layer=-1,
        vision_feature_select_strategy="default",
        image_seq_length=(_SIDE // _PATCH) ** 2,
    )
    processor = transformers.LlavaProcessor(
        image_processor=transformers.CLIPImageProcessorPil(
            size={"shortest_edge": _SIDE}, crop_size={"height": _SIDE, "width": _SIDE}
        ),
        tokenizer=tokenizer,
        patch_size=_PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=_TEMPLATE,
    )
    model = transformers.LlavaForConditionalGeneration(config)
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.generation_config.eos_token_id = None  # all descriptions have the same length
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def _tokenizer() -> Any:
    """One token per word, close to a trained tokenizer, and a vocabulary of several thousand."""
    special = ["<pad>", "<s>", "</s>", "<image>", "<unk>"]
    words = sorted(set(re.findall(r"\w+|[^\w\s]", f"USER: {_QUESTION} ASSISTANT:")))
    pieces = [*special, *words, *(f"word{n}" for n in range(4000))]
    tokenizer = Tokenizer(
        models.WordLevel(vocab={piece: i for i, piece in enumerate(pieces)}, unk_token="<unk>")
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        additional_special_tokens=["<image>"],
    )


def photographs(folder: Path, count: int) -> list[Subject]:
    made = []
    for number in range(count):
        noise = np.random.default_rng(number).integers(0, 256, (30, 40, 3), dtype=np.uint8)
        path = folder / f"{number}.jpg"
        Image.fromarray(noise).resize((640, 480), Image.Resampling.BICUBIC).save(path, quality=90)
        made.append(Subject.still(str(number), path, _BOX))
    return made


def measure(model: Path, photos: list[Subject], folder: Path, arguments: Any) -> dict[str, Any]:
    engine = LocalEngine(model, max_new_tokens=arguments.new_tokens)
    loop = _loop(model, arguments.new_tokens)
    requests = [
        Request(
            subject_id=photo.id,
            images=(prepare_image(photo, marking=Marking(), size=engine.image_size),),
            prompt=_QUESTION,
        )
        for photo in photos
    ]
    engine.describe(requests[:2])
    loop(photos[:1])
    times: dict[str, list[float]] = {"describe": [], "pipeline": [], "engine": []}
    for turn in range(arguments.rounds):
        store = folder / f"{turn}.sqlite"
        times["describe"].append(_seconds(lambda path=store: _describe(engine, photos, path, arguments)))
        times["engine"].append(_seconds(lambda: _batches(engine, requests, arguments.batch_size)))
        times["pipeline"].append(_seconds(lambda: loop(photos)))
    median = {name: statistics.median(values) for name, values in times.items()}
    return {
        "weights": sum(p.numel() for p in engine._model._model.parameters()),
        "seconds": {name: [round(value, 3) for value in values] for name, values in times.items()},
        "speedup_over_pipeline": round(median["pipeline"] / median["describe"], 2),
        "overhead": round(median["describe"] / median["engine"] - 1, 4),
    }


def _describe(engine: LocalEngine, photos: list[Subject], store: Path, arguments: Any) -> None:
    with Store(store) as opened:
        describe(
            photos,
            RequestBuilder(engine=engine, prompt=get_prompt("paper"), label_set=EMOTIC, marking=Marking()),
            opened,
            batch_size=arguments.batch_size,
        )


def _batches(engine: LocalEngine, requests: list[Request], size: int) -> None:
    for start in range(0, len(requests), size):
        engine.describe(requests[start : start + size])


def _loop(model: Path, new_tokens: int) -> Callable[[list[Subject]], None]:
    """The simplest loop: the pipeline, one image at a time, without saving anything."""
    pipe = transformers.pipeline(
        "image-text-to-text",
        model=transformers.LlavaForConditionalGeneration.from_pretrained(model),
        processor=transformers.AutoProcessor.from_pretrained(model, backend="pil"),
    )

    def run(photos: list[Subject]) -> None:
        for photo in photos:
            image = mark_subject(open_image(photo.images[0].path), photo.boxes[0], Marking())
            content = [{"type": "image", "image": image}, {"type": "text", "text": _QUESTION}]
            pipe(text=[{"role": "user", "content": content}], max_new_tokens=new_tokens, do_sample=False)

    return run


def _seconds(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
