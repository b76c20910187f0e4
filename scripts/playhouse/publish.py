"""Copies the evaluated models into the package, with their training logs and model cards with the results.

Reads the folders that the trainings wrote, with the JSON of their evaluations; writes the folders `llava`,
`detector` and `clip` of `src/mien/playhouse/weights`.

    python scripts/playhouse/publish.py --tower runs/playhouse/tower --llava runs/playhouse/llava \\
        --detector runs/playhouse/detector --clip runs/playhouse/clip
"""

import argparse
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

WEIGHTS = Path(__file__).parents[2] / "src" / "mien" / "playhouse" / "weights"
LLAVA_FILES = (
    "chat_template.jinja",
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "processor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "exam.json",
    "speech.jsonl",
)
DETECTOR_FILES = (
    "config.json",
    "model.safetensors",
    "preprocessor_config.json",
    "exam.json",
    "detector.jsonl",
)
CLIP_FILES = (
    "config.json",
    "model.safetensors",
    "processor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "exam.json",
    "text_encoder.jsonl",
)
MAX_BYTES = 9_000_000  # of all weights

LLAVA_CARD = """# The embedded LLaVA of Playhouse

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

It did not learn to answer questions about one label: "yes" is about as likely for any label and scene. It
names emotions only after it has described what they follow from.

- Vision: a CLIP-style ViT, 144 px, patches of 16 px, 6 layers of width 192; LLaVA reads its last layer.
  Trained on what is visible, without emotion words, then frozen.
- Language: a Llama of 4 layers of width 192, byte-level BPE; trained on all situations, frequent and rare.
- Prompts it was trained with: `paper`, `paper_no_box` and `caption`, with the label lists of EMOTIC, BoLD
  and CAER-S; questions about one label, to be answered by yes or no, or by a number from 0 to 9.
- Training logs: `tower.jsonl`, `speech.jsonl`. Evaluation: `exam.json` (by
  `scripts/playhouse/evaluate_model.py`).
- License: Apache-2.0, as the code; no outside data was used.
"""


DETECTOR_CARD = """# The detector of Playhouse

A `YolosForObjectDetection` with {weights:.2f} million weights (float16), trained from scratch on drawn scenes
by `scripts/playhouse/train_detector.py`. It finds the people of drawn scenes.

**It knows only Playhouse.** It is a demonstration and a test bed, not a tool for real images.

| least score | recall | precision |
|--:|--:|--:|
{rows}

At an IoU of 0.5, on {people} people of {scenes} unseen scenes; of detections with an IoU over 0.5, the one
with the highest score is kept (`exam.json`).

- 144 px, patches of 16 px, 4 layers of width 96, 10 detections per image.
- Training log: `detector.jsonl`.
- License: Apache-2.0, as the code; no outside data was used.
"""


CLIP_CARD = """# The CLIP of Playhouse

A `CLIPModel` in two parts. The vision tower is that of the embedded LLaVA (`../llava`). The text tower, the
projections and the norm between tower and projection are here: {weights:.0f} thousand weights (float16),
trained from scratch by `scripts/playhouse/train_text_encoder.py`. `mien` puts both together for
`method="similarity"`; transformers alone would leave the tower random.

**It knows only Playhouse.** It is a demonstration and a test bed, not a tool for real images.

Accuracy on {held_out_scenes} held-out scenes:

| | setting | occasion | expression |
|---|--:|--:|--:|
{rows}

A CLIP reads the class token of its tower, and this tower was trained for its patches alone. The class token
knows the scene, and less about the person than the patches do together.

- Text: 1 layer of width 64; one token per word of the descriptions, and all other words are one unknown word.
- Trained on {scenes} scenes, with the red box and cropped to the person, against the sentences of ideal
  descriptions, of which one names emotions.
- Training log: `text_encoder.jsonl`. Evaluation: `exam.json`.
- License: Apache-2.0, as the code; no outside data was used.
"""


def clip_card(exam: dict[str, Any], weights: int) -> str:
    """The model card, from the results and the number of weights."""
    lines = {
        "most frequent class": exam["chance"],
        "the sentence that is nearest to both views": exam["texts"],
    }
    lines |= {f"linear probe: {name.replace('_', ' ')}": row for name, row in exam["probes"].items()}
    rows = [
        f"| {name} | {row['setting']:.3f} | {row['occasion']:.3f} | {row['expression']:.3f} |"
        for name, row in lines.items()
    ]
    return CLIP_CARD.format(
        weights=weights / 1e3,
        rows="\n".join(rows),
        scenes=exam["scenes"],
        held_out_scenes=exam["held_out_scenes"],
    )


def detector_card(exam: dict[str, Any], weights: int) -> str:
    """The model card, from the results and the number of weights."""
    rows = [
        f"| {name.rpartition(' ')[2]} | {found['recall']:.3f} | {found['precision']:.3f} |"
        for name, found in exam.items()
        if name.startswith("suppressed, score ")
    ]
    return DETECTOR_CARD.format(
        weights=weights / 1e6, rows="\n".join(rows), people=exam["people"], scenes=exam["scenes"]
    )


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
    parser.add_argument("--tower", type=Path, help="with --llava")
    parser.add_argument("--llava", type=Path)
    parser.add_argument("--detector", type=Path)
    parser.add_argument("--clip", type=Path)
    args = parser.parse_args()
    if (args.tower is None) != (args.llava is None):
        parser.error("--tower and --llava belong together")
    if args.llava:
        publish_llava(args.tower, args.llava)
    if args.detector:
        publish_detector(args.detector)
    if args.clip:
        publish_clip(args.clip)
    size = sum(file.stat().st_size for file in WEIGHTS.rglob("*.safetensors"))
    if size > MAX_BYTES:
        raise SystemExit(f"the weights in {WEIGHTS} have {size} bytes, more than {MAX_BYTES}")
    print(f"{WEIGHTS}: {size / 1e6:.2f} MB of weights")


def publish_llava(tower: Path, source: Path) -> None:
    folder = publish(source, WEIGHTS / "llava", LLAVA_FILES)
    settings = json.loads((folder / "config.json").read_text())
    settings["vision_config"].pop("_name_or_path", None)  # where the tower was on this machine
    (folder / "config.json").write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n")
    for name in ("teacher.jsonl", "tower.jsonl"):
        shutil.copyfile(tower / name, folder / name)
    exam = json.loads((folder / "exam.json").read_text())
    num_weights = count_weights(folder / "model.safetensors")
    (folder / "README.md").write_text(LLAVA_CARD.format(weights=num_weights / 1e6, **exam))


def publish_detector(source: Path) -> None:
    folder = publish(source, WEIGHTS / "detector", DETECTOR_FILES)
    exam = json.loads((folder / "exam.json").read_text())
    (folder / "README.md").write_text(detector_card(exam, count_weights(folder / "model.safetensors")))


def publish_clip(source: Path) -> None:
    folder = publish(source, WEIGHTS / "clip", CLIP_FILES)
    exam = json.loads((folder / "exam.json").read_text())
    (folder / "README.md").write_text(clip_card(exam, count_weights(folder / "model.safetensors")))


def publish(source: Path, folder: Path, names: Sequence[str]) -> Path:
    """Copies files into a folder of the package; weights are saved readable for their owner alone."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        shutil.copyfile(source / name, folder / name)
        (folder / name).chmod(0o644)
    return folder


if __name__ == "__main__":
    main()
