"""How large the report of a run as large as EMOTIC's test split is, and how fast it opens.

    python benchmarks/report_size.py --work DIR [--people 7203] [--images FOLDER] [--repeats 5]

Draws one scene of Playhouse per two people (or takes a folder's photos in turn), gives everyone random
scores of the 26 labels, three annotators and a description, writes the report with everyone in its error
browser, and opens it from `file://` in the installed Chromium: with scripts allowed and blocked.
"seconds" is until the whole page is loaded, "first_paint" until something is visible, "renderer" and "other"
the processor time meanwhile of the process that shows the page and of Chromium's others next to it.
"filter" is from choosing a label to an image of the window, and "filter_renderer" the processor time of that.
What was drawn is in DIR and is used again. Prints JSON. Needs playwright.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import re
import shutil
import statistics
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"  # before numpy is loaded

import numpy as np  # noqa: E402
from PIL import Image  # noqa: E402

from mien.batches.batch import image_groups  # noqa: E402
from mien.evaluate.calibration.calibrate import fit_calibration  # noqa: E402
from mien.evaluate.evaluation import save_split, write_evaluation  # noqa: E402
from mien.evaluate.results.votes import Votes  # noqa: E402
from mien.evaluate.scores import SplitScores  # noqa: E402
from mien.labels import EMOTIC  # noqa: E402
from mien.playhouse.draw import draw_scene  # noqa: E402
from mien.playhouse.rules import annotate  # noqa: E402
from mien.playhouse.scene import sample_scene  # noqa: E402
from mien.playhouse.text import describe_emotions  # noqa: E402
from mien.recipe import EvaluateOptions, Recipe  # noqa: E402
from mien.report.run.page import write_report  # noqa: E402
from mien.runs import Run  # noqa: E402
from mien.types import Box, Sample, Subject, Target  # noqa: E402

_PER_IMAGE: Final = 2  # people
_SIGNAL: Final = 2.5  # between true and other labels, in standard deviations
_SPLIT: Final = "test"


@dataclass(frozen=True)
class _People:
    samples: list[Sample]
    descriptions: dict[str, str]
    votes: dict[str, Votes]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures and prints one JSON document."""
    options = _parser().parse_args(arguments)
    people = _draw(options.work / "images", options.people, options.images)
    run = _write_run(options.work / "run", people)
    start = time.perf_counter()
    page = write_report(run)
    written = time.perf_counter() - start
    text = page.read_text(encoding="utf-8")
    # Those of the error browser alone have a size.
    sizes = [
        (int(width), len(source))
        for width, source in re.findall(r'<img loading="lazy"[^>]* width="(\d+)"[^>]*src="([^"]*)"', text)
    ]
    opened = {
        name: _open(page, scripts=scripts, repeats=options.repeats)
        for name, scripts in (("scripts_allowed", True), ("scripts_blocked", False))
    }
    result = {
        "date": datetime.now(UTC).date().isoformat(),
        "hardware": f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}",
        "people": len(people.samples),
        "labels": len(EMOTIC),
        "images": "Playhouse" if options.images is None else "photos",
        "megabytes": round(page.stat().st_size / 1e6, 2),
        "with_image": len(sizes),
        "median_width": statistics.median(width for width, _ in sizes),
        "median_image_bytes": statistics.median(length for _, length in sizes),
        "seconds_to_write": round(written, 1),
        "opened": opened,
    }
    print(json.dumps(result, indent=2))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, required=True, help="folder for what is drawn, and the run")
    parser.add_argument("--people", type=int, default=7203)
    parser.add_argument("--images", type=Path, help="folder of photos to use instead of scenes")
    parser.add_argument("--repeats", type=int, default=5)
    return parser


# --- The run -------------------------------------------------------------------------------------------


def _draw(folder: Path, count: int, photos: Path | None) -> _People:
    """Everyone with a box, labels, votes and a description."""
    folder.mkdir(parents=True, exist_ok=True)
    given = [] if photos is None else sorted(path for path in photos.iterdir() if path.is_file())
    found = _People([], {}, {})
    for index in range(-(-count // _PER_IMAGE)):
        rng = random.Random(index)
        scene = sample_scene(rng)
        staging = draw_scene(scene)
        path = folder / f"{index:05d}.jpg"
        if given:
            path = given[index % len(given)]
        elif not path.exists():
            staging.image.save(path, quality=90)
        for number in range(_PER_IMAGE):
            if len(found.samples) == count:
                break
            annotations = annotate(scene, rng, 3)
            box = _box(path, rng) if given else staging.boxes[min(number, len(staging.boxes) - 1)]
            subject = Subject.still(f"test/mscoco/images/test_{index:012d}.jpg#{number}", path, box)
            chosen = Counter(label for annotation in annotations for label in annotation.labels)
            target = Target(labels=dict.fromkeys(chosen, 1.0))
            found.samples.append(Sample(subject=subject, target=target, split=_SPLIT))
            found.descriptions[subject.id] = describe_emotions(scene)
            found.votes[subject.id] = Votes(annotators=3, chosen=chosen)
    return found


def _box(path: Path, rng: random.Random) -> Box:
    with Image.open(path) as image:
        width, height = image.size
    left, top = rng.uniform(0, 0.6) * width, rng.uniform(0, 0.4) * height
    return Box(left=left, top=top, right=left + 0.3 * width, bottom=top + 0.5 * height)


def _write_run(path: Path, people: _People) -> Path:
    shutil.rmtree(path, ignore_errors=True)
    recipe = Recipe(name="as large as EMOTIC")
    Run.create(path, command="benchmark", recipe=recipe.to_json(), digest=recipe.digest())
    scores = _scores(people.samples, seed=0)
    calibration = fit_calibration(replace(_scores(people.samples, seed=1), split="val"))
    calibration.save(path)
    save_split(path, scores, people.samples, people.descriptions, votes=people.votes)
    write_evaluation(
        path,
        [scores],
        name="fused",
        seed=0,
        options=EvaluateOptions(bootstrap=100),
        calibration=calibration,
    )
    return path


def _scores(samples: Sequence[Sample], seed: int) -> SplitScores:
    targets = np.array(
        [EMOTIC.encode(sample.target.labels) for sample in samples if sample.target], dtype=np.float32
    )
    noise = np.random.default_rng(seed).normal(size=targets.shape)
    return SplitScores(
        split=_SPLIT,
        label_set=EMOTIC,
        ids=tuple(sample.subject.id for sample in samples),
        groups=image_groups(samples),
        scores=(1 / (1 + np.exp(-(noise + _SIGNAL * targets - 2.5)))).astype(np.float32),
        targets=targets,
    )


# --- Chromium ------------------------------------------------------------------------------------------


def _open(page_file: Path, *, scripts: bool, repeats: int) -> dict[str, Any]:
    """The medians of several openings, each in a new Chromium."""
    rows = [_open_once(page_file, scripts=scripts) for _ in range(repeats)]
    names = dict.fromkeys(name for row in rows for name in row)
    return {
        name: {
            "median": round(statistics.median(row[name] for row in rows), 2),
            "all": [round(row[name], 2) for row in rows],
        }
        for name in names
    }


def _open_once(page_file: Path, *, scripts: bool) -> dict[str, float]:
    from playwright.sync_api import sync_playwright

    executable = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=executable, args=["--no-sandbox", "--disable-gpu"]
        )
        context = browser.new_context(java_script_enabled=scripts, viewport={"width": 1100, "height": 900})
        page, processes = context.new_page(), browser.new_browser_cdp_session()

        def cpu() -> dict[str, float]:
            times = {"renderer": 0.0, "other": 0.0}
            for process in processes.send("SystemInfo.getProcessInfo")["processInfo"]:
                times["renderer" if process["type"] == "renderer" else "other"] += process["cpuTime"]
            return times

        before, start = cpu(), time.perf_counter()
        page.goto(page_file.absolute().as_uri(), wait_until="load", timeout=120_000)
        row = {"seconds": time.perf_counter() - start}
        row |= {name: value - before[name] for name, value in cpu().items()}
        if scripts:
            painted = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
            row["first_paint"] = painted / 1000
        page.locator(".filters").scroll_into_view_if_needed()
        page.screenshot()
        before, start = cpu(), time.perf_counter()
        page.select_option("select.by-label", "3")
        page.screenshot()
        row["filter"] = time.perf_counter() - start
        row["filter_renderer"] = cpu()["renderer"] - before["renderer"]
        browser.close()
    return row


if __name__ == "__main__":
    main()
