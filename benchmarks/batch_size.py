"""What a batch size that is chosen by itself costs and saves, with the embedded model on drawn scenes.

    python benchmarks/batch_size.py [--count 160] [--rounds 3] [--max-new-tokens 60]

Each round describes the same people in new stores, in turn: in batches of 1, 8 and 32, with `auto` and no
memory of earlier runs ("auto_first"), and with `auto` and what that run has remembered ("auto_again"). The
model is loaded before. CPU seconds, one thread; "ratio_to_32" is the median over the rounds. Texts must be
equal. Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is loaded

from mien.data.open import open_dataset
from mien.describe.generate import describe
from mien.describe.local.engine import LocalEngine
from mien.describe.local.model import LocalModel
from mien.describe.prompts import get_prompt
from mien.describe.requests import RequestBuilder
from mien.describe.store.store import Store
from mien.labels import EMOTIC
from mien.media.images import Marking
from mien.recipe import Recipe
from mien.types import Subject

_VARIANTS: dict[str, int | None] = {"1": 1, "8": 8, "32": 32, "auto_first": None, "auto_again": None}


def main() -> None:
    """Measures and prints one JSON document."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=160)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--max-new-tokens", type=int, default=60)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        people = _people(options.count, folder)
        engine = LocalEngine("playhouse", max_new_tokens=options.max_new_tokens)
        model = engine._model  # loaded once, for all
        _describe(people[:8], model, options.max_new_tokens, 8, folder / "warm.sqlite")
        rounds, sizes = [], {}
        for number in range(options.rounds):
            found, texts = {}, {}
            os.environ["XDG_CACHE_HOME"] = str(folder / f"cache-{number}")
            for variant, size in _VARIANTS.items():
                path = folder / f"{number}-{variant}.sqlite"
                found[variant], texts[variant], sizes[variant] = _describe(
                    people, model, options.max_new_tokens, size, path
                )
            if any(one != texts["1"] for one in texts.values()):
                raise SystemExit("texts differ")
            rounds.append(found)
            print(found, file=sys.stderr)
    result = {
        "date": datetime.now(UTC).date().isoformat(),
        "hardware": f"{platform.machine()}, {os.cpu_count()} cores, one used",
        "people": options.count,
        "rounds": options.rounds,
        "last_batch_size": sizes,
        "cpu_seconds": {variant: round(min(one[variant] for one in rounds), 2) for variant in _VARIANTS},
        "ratio_to_32": {
            variant: round(statistics.median(one[variant] / one["32"] for one in rounds), 3)
            for variant in _VARIANTS
        },
    }
    print(json.dumps(result, indent=2))


def _people(count: int, folder: Path) -> list[Subject]:
    table = {
        "name": "drawn",
        "data": {"name": "playhouse", "options": {"train": count, "val": 1, "test": 1, "seed": 5}},
    }
    dataset = open_dataset(Recipe.parse(table, where="the benchmark").data, cache=folder)
    return [sample.subject for sample in dataset.samples("train")][:count]


def _describe(
    people: Sequence[Subject], model: LocalModel, max_new_tokens: int, size: int | None, path: Path
) -> tuple[float, dict[str, str], int]:
    """CPU seconds, the texts by key, and the size of the last batch."""
    engine = LocalEngine("playhouse", max_new_tokens=max_new_tokens, loaded=model)
    with Store(path) as store:
        requests = RequestBuilder(
            engine=engine, prompt=get_prompt("paper"), label_set=EMOTIC, marking=Marking()
        )
        began = time.process_time()
        summary = describe(people, requests, store, batch_size=size)
        seconds = time.process_time() - began
        return seconds, {item.key: item.text for item in store}, summary.batch_size


if __name__ == "__main__":
    main()
