"""Copies the evaluated model into the package, with its training logs and a model card with the results.

Reads the folders that `train_tower.py` and `train_language_model.py` wrote, with the JSON of
`evaluate_model.py`; writes `src/mien/playhouse/weights/llava`.

    python scripts/playhouse/publish.py --tower runs/playhouse/tower --llava runs/playhouse/llava
"""

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

WEIGHTS = Path(__file__).parents[2] / "src" / "mien" / "playhouse" / "weights" / "llava"
FILES = (
    "chat_template.jinja",
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "processor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "exam.json",
)
MAX_BYTES = 8_000_000

CARD = """# The embedded LLaVA of Playhouse

A `LlavaForConditionalGeneration` with {weights:.1f} million weights (float16), trained from scratch on drawn
scenes by `scripts/playhouse`. It describes the person in the red box, and makes its own mistakes.

**It knows only Playhouse.** For a photograph it writes nonsense about drawn people. It is a demonstration and
a test bed, not a tool for real images.

| on {scenes} held-out scenes | correct |
|---|--:|
| setting | {setting:.1%} |
| occasion | {occasion:.1%} |
| clothes of the person in the box (that is, the correct person) | {clothes:.1%} |
| expression, a slight one counting as neutral | {expression:.1%} |
| pose, or nothing where it is not salient | {pose:.1%} |
| item, or nothing where it is not salient | {item:.1%} |
| emotions it names that an ideal description names (it names {emotions_named:.1f}) | {emotions_ideal:.1%} |
| emotions it names that one of three annotators ticks | {emotions_ticked:.1%} |
| says yes about a label that applies | {yes_if_it_applies:.1%} |
| says yes about a label that does not | {yes_if_not:.1%} |

In the {crowded_scenes} of these scenes with two or three people, it describes the clothes of the correct
person in {crowded_clothes_with_box:.1%} with the box and in {crowded_clothes_without_box:.1%} without it.
Guessing gives {crowded_guessing:.1%}.

- Vision: a CLIP-style ViT, 144 px, patches of 16 px, 6 layers of width 192; LLaVA reads its last layer.
  Trained on what is visible, without emotion words, then frozen.
- Language: a Llama of 4 layers of width 192, byte-level BPE; trained on all situations, frequent and rare.
- Prompts it was trained with: `paper`, `paper_no_box` and `caption`, with the label lists of EMOTIC, BoLD
  and CAER-S; questions about one label, to be answered by yes or no, or by a number from 0 to 9.
- Training logs: `tower.jsonl`, `speech.jsonl`. Evaluation: `exam.json` (by
  `scripts/playhouse/evaluate_model.py`).
- License: Apache-2.0, as the code; no outside data was used.
"""


def card(exam: dict[str, Any], weights: int) -> str:
    """The model card, from the results and the number of weights."""
    return CARD.format(weights=weights / 1e6, **exam)


def count_weights(file: Path) -> int:
    """The number of weights in a float16 safetensors file, from its header."""
    length = int.from_bytes(file.open("rb").read(8), "little")
    with file.open("rb") as stream:
        stream.seek(8)
        header = json.loads(stream.read(length))
    return sum(
        (part["data_offsets"][1] - part["data_offsets"][0]) // 2
        for name, part in header.items()
        if name != "__metadata__"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tower", type=Path, required=True)
    parser.add_argument("--llava", type=Path, required=True)
    args = parser.parse_args()
    WEIGHTS.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        shutil.copyfile(args.llava / name, WEIGHTS / name)
    shutil.copyfile(args.tower / "log.jsonl", WEIGHTS / "tower.jsonl")
    shutil.copyfile(args.llava / "speech.jsonl", WEIGHTS / "speech.jsonl")
    exam = json.loads((WEIGHTS / "exam.json").read_text())
    (WEIGHTS / "README.md").write_text(card(exam, count_weights(WEIGHTS / "model.safetensors")))
    size = sum(file.stat().st_size for file in WEIGHTS.iterdir())
    if size > MAX_BYTES:
        raise SystemExit(f"{WEIGHTS} has {size} bytes, more than {MAX_BYTES}")
    print(f"{WEIGHTS}: {size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
