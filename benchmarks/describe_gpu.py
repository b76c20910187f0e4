"""Throughput of describing on a GPU, with random weights in the shapes of real models.

    python benchmarks/describe_gpu.py [--shape llava-1.5-7b|qwen2.5-vl-7b|tiny] [--batch-sizes 32,64,128]

Runs unattended in a few minutes. Images take the complete path: decoded from JPEG, marked, fitted,
converted to tensors, described, written to a store. For comparison it measures the engine alone on prepared
images, and the share of the GPU's peak FLOP/s. Throughput does not depend on trained weights. Prints JSON.

Reference for LLaVA-1.5-7B with 726 input and 175 output tokens: 12.3 TFLOP per image, and 512 KiB of keys
and values per token.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers as _transformers
from PIL import Image
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from mien.describe.engine import Request
from mien.describe.generate import describe
from mien.describe.local.engine import LocalEngine
from mien.describe.local.model import LocalModel
from mien.describe.prompts import get_prompt
from mien.describe.requests import RequestBuilder
from mien.describe.store.store import Store
from mien.labels import EMOTIC
from mien.media.images import Marking
from mien.types import Box, Subject

transformers: Any = _transformers  # its annotations are incomplete

_PEAK = {"H200": 790e12, "H100": 790e12, "A100": 312e12}  # dense bfloat16, as sustained
_QUESTION = get_prompt("paper").render(EMOTIC)


@dataclass(frozen=True, kw_only=True)
class Shape:
    """The sizes of a model; `side` is the width and height of its images."""

    side: int
    patch: int
    vision: dict[str, int]
    text: dict[str, int]


_CLIP_L = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16}
_LLAMA_7B = {
    "vocab_size": 32064,
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
}
# Qwen2.5-7B's language model with LLaVA's vision tower: preprocessing for its own needs torchvision.
_QWEN_7B = {
    "vocab_size": 152064,
    "hidden_size": 3584,
    "intermediate_size": 18944,
    "num_hidden_layers": 28,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
}
_TINY = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
SHAPES = {
    "llava-1.5-7b": Shape(side=336, patch=14, vision=_CLIP_L, text=_LLAMA_7B),
    "qwen2.5-vl-7b": Shape(side=336, patch=14, vision=_CLIP_L, text=_QWEN_7B),
    "tiny": Shape(side=32, patch=8, vision=_TINY, text={"vocab_size": 400, **_TINY}),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shape", choices=SHAPES, default="llava-1.5-7b")
    parser.add_argument("--batch-sizes", default="32,64,128")
    parser.add_argument("--batches", type=int, default=3, help="timed batches per size")
    parser.add_argument("--new-tokens", type=int, default=175)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--seconds", type=float, default=400, help="start no new batch size after this time")
    arguments = parser.parse_args()
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        shape = SHAPES[arguments.shape]
        engine = build(shape, Path(folder) / "model", arguments)
        rows = []
        for size in map(int, arguments.batch_sizes.split(",")):
            if time.perf_counter() - start > arguments.seconds:
                break
            rows.append(measure(engine, shape, size, Path(folder) / str(size), arguments))
    print(json.dumps({**about(arguments), "rows": rows}, indent=2))


def about(arguments: argparse.Namespace) -> dict[str, Any]:
    cuda = arguments.device.startswith("cuda")
    device_name = torch.cuda.get_device_name() if cuda else platform.machine()
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "hardware": device_name,
        "torch": torch.__version__,
        "shape": arguments.shape,
        "new_tokens": arguments.new_tokens,
    }


# --- The model ---


def build(shape: Shape, folder: Path, arguments: argparse.Namespace) -> LocalEngine:
    """An engine with an untrained model, created on the device, where 7 billion weights take seconds."""
    tokenizer = _tokenizer()
    config = transformers.LlavaConfig(
        vision_config=transformers.CLIPVisionConfig(
            image_size=shape.side, patch_size=shape.patch, projection_dim=768, **shape.vision
        ),
        text_config=transformers.LlamaConfig(max_position_embeddings=4096, **shape.text),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        vision_feature_layer=-2,
        vision_feature_select_strategy="default",
        image_seq_length=(shape.side // shape.patch) ** 2,
    )
    dtype = torch.bfloat16 if arguments.device.startswith("cuda") else torch.float32
    with torch.device(arguments.device):
        torch.set_default_dtype(dtype)
        model = transformers.LlavaForConditionalGeneration(config).eval()
        torch.set_default_dtype(torch.float32)
    processor = transformers.LlavaProcessor(
        image_processor=transformers.CLIPImageProcessorPil(
            size={"shortest_edge": shape.side}, crop_size={"height": shape.side, "width": shape.side}
        ),
        tokenizer=tokenizer,
        patch_size=shape.patch,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
    )
    processor.save_pretrained(folder)
    config.save_pretrained(folder)
    (folder / "model.safetensors").touch()  # the weights exist only in memory
    return LocalEngine(
        folder,
        max_new_tokens=arguments.new_tokens,
        device=arguments.device,
        loaded=LocalModel.from_modules(model, processor),
    )


def _tokenizer() -> Any:
    """A byte-level tokenizer; the prompt has about as many tokens as with a trained tokenizer."""
    special = ["<pad>", "<s>", "</s>", "<image>"]
    pieces = special + sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={piece: i for i, piece in enumerate(pieces)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<s>", additional_special_tokens=["<image>"]
    )


# --- Measuring ---


def measure(
    engine: LocalEngine, shape: Shape, size: int, folder: Path, arguments: argparse.Namespace
) -> dict[str, Any]:
    """Images per second at one batch size, for the complete path and for the engine alone."""
    folder.mkdir()
    people = photographs(folder, size * (arguments.batches + 1))
    settings: dict[str, Any] = {"prompt": get_prompt("paper"), "label_set": EMOTIC, "marking": Marking()}
    with Store(folder / "store.sqlite") as store:
        warm, timed = people[:size], people[size:]
        describe(warm, RequestBuilder(engine=engine, **settings), store, batch_size=size, workers=8)
        seconds = _seconds(
            lambda: describe(
                timed, RequestBuilder(engine=engine, **settings), store, batch_size=size, workers=8
            ),
            arguments.device,
        )
    requests = [
        Request(subject_id=str(n), images=(_noise(n, shape.side),), prompt=_QUESTION) for n in range(size)
    ]
    engine_seconds = statistics.median(
        _seconds(lambda: engine.describe(requests), arguments.device) for _ in range(arguments.batches)
    )
    rate, engine_rate = len(timed) / seconds, size / engine_seconds
    flops = _flops(shape, arguments.new_tokens)
    peak = next((value for name, value in _PEAK.items() if name in about(arguments)["hardware"]), None)
    return {
        "batch_size": size,
        "images_per_second": round(rate, 2),
        "engine_images_per_second": round(engine_rate, 2),
        "framework_overhead": round(1 - rate / engine_rate, 4),
        "tflop_per_image": round(flops / 1e12, 2),
        "share_of_peak": None if peak is None else round(rate * flops / peak, 4),
        "peak_memory_gib": _memory(arguments.device),
    }


def photographs(folder: Path, count: int) -> list[Subject]:
    """JPEG files of 640 x 480 pixels, each with a box."""
    box = Box(left=100, top=60, right=360, bottom=460)
    made = []
    for number in range(count):
        path = folder / f"{number}.jpg"
        _noise(number, 40).resize((640, 480), Image.Resampling.BICUBIC).save(path, quality=90)
        made.append(Subject.still(str(number), path, box))
    return made


def _noise(seed: int, side: int) -> Image.Image:
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 256, (side, side, 3), dtype=np.uint8))


def _seconds(work: Any, device: str) -> float:
    _wait(device)
    start = time.perf_counter()
    work()
    _wait(device)
    return time.perf_counter() - start


def _wait(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def _flops(shape: Shape, new_tokens: int) -> float:
    """2 FLOPs per weight of a layer and token; the products inside attention are not counted."""
    patches = (shape.side // shape.patch) ** 2
    tokens = patches + len(_QUESTION.encode()) + new_tokens
    return 2.0 * (_weights(shape.text, 3) * tokens + _weights(shape.vision, 2) * patches)


def _weights(sizes: dict[str, int], matrices: int) -> int:
    """The weights of all layers: four attention projections (two with fewer heads) and the feed-forward."""
    width, heads = sizes["hidden_size"], sizes["num_attention_heads"]
    narrow = width * sizes.get("num_key_value_heads", heads) // heads
    attention = 2 * width * width + 2 * width * narrow
    return sizes["num_hidden_layers"] * (attention + matrices * width * sizes["intermediate_size"])


def _memory(device: str) -> float | None:
    return round(torch.cuda.max_memory_allocated() / 2**30, 1) if device.startswith("cuda") else None


if __name__ == "__main__":
    main()
