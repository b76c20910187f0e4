"""CPU seconds that a command takes to start: `mien predict` on one image, and commands that do little.

    PYTHONPATH=src:. python benchmarks/startup.py [--rounds 9] [--against SRC] [--only predict] [--paused]

Each round runs every command in a process of its own, with the garbage collector as usual ("collector_on")
and with its pause during imports ("paused"), in turn. With `--against`, the commands of another source tree
run in the same rounds ("against"). "imports" only imports torch and the classes of the models, processors
and tokenizer that `mien predict` uses, and ends; with the collector paused, too. Seconds are of the process
and the kernel, in the fastest round; a ratio is the median over the rounds. Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from PIL import Image
from small_predictor import MIEN, SOURCE, build_detector, cpu_seconds, hardware, write_recipe

# The pause belongs to a process whose command line is its own, so `main(arguments)` runs without it.
_ON: Final = (sys.executable, "-c", "import sys; from mien.cli import main; sys.exit(main(sys.argv[1:]))")
_IMPORTS: Final = """
import torch
from transformers import PreTrainedTokenizerFast
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.clip.modeling_clip import CLIPVisionModel
from transformers.models.llama.modeling_llama import LlamaModel
from transformers.models.llava.modeling_llava import LlavaForConditionalGeneration
from transformers.models.llava.processing_llava import LlavaProcessor
from transformers.models.rt_detr.image_processing_pil_rt_detr import RTDetrImageProcessorPil
from transformers.models.rt_detr.modeling_rt_detr_resnet import RTDetrResNetBackbone
from transformers.models.rt_detr_v2.modeling_rt_detr_v2 import RTDetrV2ForObjectDetection
"""
_PAUSE: Final = "from mien.startup import pause_collector_during_imports; pause_collector_during_imports()"


def main() -> None:
    """Measures and prints one JSON document."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--against", type=Path, help="the src folder of another version")
    parser.add_argument("--only", nargs="+", help="names of commands")
    parser.add_argument("--paused", action="store_true", help="do not run commands with the collector on")
    options = parser.parse_args()
    variants = {"paused": (MIEN, SOURCE)}
    if not options.paused:
        variants["collector_on"] = (_ON, SOURCE)
    if options.against is not None:
        variants["against"] = (_ON, options.against.resolve())
    sources = dict.fromkeys(source for _, source in variants.values())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # A run of each version, because an older one may not read those of a newer one.
        arguments = {
            source: _prepare(folder / str(number), source, options.only)
            for number, source in enumerate(sources)
        }
        commands = list(arguments[SOURCE])
        processes: dict[tuple[str, str], tuple[Sequence[str], Path]] = {
            (command, variant): ([*start, *arguments[source][command]], source)
            for command in commands
            for variant, (start, source) in variants.items()
        }
        processes["imports", "paused"] = ([sys.executable, "-c", f"{_PAUSE}\n{_IMPORTS}"], SOURCE)
        processes["imports", "collector_on"] = ([sys.executable, "-c", _IMPORTS], SOURCE)
        rounds = [
            {key: cpu_seconds(command, folder, source) for key, (command, source) in processes.items()}
            for _ in range(options.rounds)
        ]
    print(json.dumps(_report(rounds, commands), indent=2))


def _report(rounds: Sequence[Mapping[tuple[str, str], float]], commands: Sequence[str]) -> dict[str, Any]:
    def ratio(key: tuple[str, str], other: tuple[str, str]) -> float:
        return round(statistics.median(one[key] / one[other] for one in rounds), 3)

    seconds: dict[str, dict[str, float]] = {}
    for command, variant in rounds[0]:
        seconds.setdefault(command, {})[variant] = round(min(one[command, variant] for one in rounds), 2)
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "hardware": hardware(),
        "rounds": len(rounds),
        "cpu_seconds": seconds,
        "paused_to_others": {
            command: {
                other: ratio((command, "paused"), (command, other))
                for other in seconds[command]
                if other != "paused"
            }
            for command in commands
        },
        "paused_to_imports": {
            command: {
                variant: ratio((command, "paused"), ("imports", variant)) for variant in seconds["imports"]
            }
            for command in commands
            if command.startswith("predict")
        },
    }


def _prepare(folder: Path, source: Path, only: Sequence[str] | None) -> dict[str, list[str]]:
    """The arguments of each command by its name; trains a small run if one of them takes it."""
    recipe, run, image = write_recipe(folder, 20), str(folder / "run"), str(folder / "one.png")
    Image.new("RGB", (224, 224), (90, 120, 30)).save(image)
    find = ["--detector", str(build_detector(folder / "detector"))]
    commands = {
        "predict": ["predict", image, "--run", run],
        "predict_with_detector": ["predict", image, "--run", run, *find],
        "predict_zero_shot": ["predict", image, "--zero-shot", "playhouse", "--labels", "calm,afraid", *find],
        "describe_nothing_left": ["describe", str(recipe), "--out", run],
        "help": ["--help"],
    }
    commands = {name: command for name, command in commands.items() if only is None or name in only}
    if any(run in command for command in commands.values()):
        for step in ("describe", "train"):
            cpu_seconds([*MIEN, step, str(recipe), "--out", run], folder, source)
    return commands


if __name__ == "__main__":
    main()
