"""Writes the vocabulary of Playhouse: every word of its descriptions, and letters for all other words.

The result is a BERT-style `vocab.txt` (lowercase), the same each time.

    python scripts/playhouse/vocabulary.py --out src/mien/playhouse/weights/words
"""

import argparse
import random
import string
from pathlib import Path

from tokenizers.pre_tokenizers import BertPreTokenizer

from mien.labels import CAERS, EMOTIC
from mien.playhouse import text as words
from mien.playhouse.scene import sample_scene

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def collect_words(scenes: int = 6000) -> list[str]:
    """The words of descriptions, in alphabetical order."""
    rng = random.Random(0)
    texts = [*EMOTIC.labels, *CAERS.labels]
    for _ in range(scenes):
        scene = sample_scene(rng, even=True)
        texts += [
            words.describe_emotions(scene, words.WHO_BOXED),
            words.describe_emotions(scene, words.WHO_MAIN, basic=True),
            words.describe_scene(scene),
        ]
    split = BertPreTokenizer().pre_tokenize_str
    return sorted({word for text in texts for word, _ in split(text.lower())})


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True)
    out = parser.parse_args().out
    letters = [*string.ascii_lowercase, *string.digits, *string.punctuation]
    pieces = [*letters, *(f"##{letter}" for letter in string.ascii_lowercase + string.digits)]
    known = set(letters)
    entries = [*SPECIAL, *pieces, *(word for word in collect_words() if word not in known)]
    out.mkdir(parents=True, exist_ok=True)
    (out / "vocab.txt").write_text("\n".join(entries) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
