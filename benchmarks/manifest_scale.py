"""How the time and memory of `mien data` grow with a manifest.

    python benchmarks/manifest_scale.py [--only summary verify lines] [--rows 10000 100000 1000000]

Three series, each at sizes that grow tenfold: summaries of manifests in four formats (three people per image,
in three splits); verifications of one image with all people; and JSON Lines and CSV files whose last line is
very long. Each measurement is a process of its own. "per_item" is its processor time in microseconds per row,
person or 1,000 bytes, without that of the start; "ratio" is how many times as long the next size takes: 10 is
linear. Prints JSON.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

_FORMATS = ("csv", "jsonl", "parquet", "coco")
_PEOPLE = (1_000, 10_000, 100_000)
_MEGABYTES = (1, 10, 100, 200)
_LABELS = ("Peace", "Affection", "Esteem", "Anticipation", "Engagement")
_PER_IMAGE = 3


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print one JSON document."""
    options = _parser().parse_args(arguments)
    if options.measure:
        print(json.dumps(_measure(options.measure, options.path)))
        return
    result: dict[str, Any] = {
        "date": datetime.now(UTC).date().isoformat(),
        "hardware": f"{platform.machine()}, {os.cpu_count()} cores",
    }
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        if "summary" in options.only:
            result["summary"] = {
                kind: _series(options.rows, lambda count, kind=kind: _summarize(folder, kind, count))
                for kind in options.formats
            }
        if "verify" in options.only:
            result["verify"] = _series(options.people, lambda count: _verify(folder, count))
        if "lines" in options.only:
            result["lines"] = {
                kind: _series(
                    options.megabytes, lambda size, kind=kind: _read_line(folder, kind, size), unit=1_000
                )
                for kind in ("jsonl", "csv")
            }
    print(json.dumps(result, indent=2))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", default=["summary", "verify", "lines"], metavar="SERIES")
    parser.add_argument("--formats", nargs="+", default=list(_FORMATS), choices=_FORMATS)
    parser.add_argument("--rows", nargs="+", type=int, default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--people", nargs="+", type=int, default=list(_PEOPLE))
    parser.add_argument("--megabytes", nargs="+", type=int, default=list(_MEGABYTES))
    parser.add_argument("--folder", help="where temporary files go")
    parser.add_argument("--measure", choices=("summary", "verify"), help=argparse.SUPPRESS)
    parser.add_argument("--path", type=Path, help=argparse.SUPPRESS)
    return parser


# --- Measuring ---------------------------------------------------------------------------------------


def _series(
    sizes: Sequence[int], measure: Callable[[int], dict[str, Any]], *, unit: int = 1
) -> list[dict[str, Any]]:
    """One measurement per size, with what each item takes, and the growth from the size before."""
    start, *found = [measure(size) for size in (sizes[0] // 10, *sizes)]
    base = start["cpu_seconds"]
    previous = 0.0
    for size, item in zip(sizes, found, strict=True):
        own = item["cpu_seconds"] - base
        item["per_item"] = round(own / size * 1e6 / unit, 2)
        if previous > 0:
            item["ratio"] = round(own / previous, 1)
        previous = own
    return found


def _run(what: str, path: Path) -> dict[str, Any]:
    # A process of its own, which inherits no memory and no cached modules.
    command = [sys.executable, __file__, "--measure", what, "--path", str(path)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return {"cpu_seconds": 0.0, **json.loads(done.stdout)}


def _measure(what: str, path: Path) -> dict[str, Any]:
    """Summarizes or verifies a manifest with an empty cache."""
    from mien.data import open_dataset
    from mien.data.audit.summary import summarize
    from mien.data.audit.verify import verify
    from mien.errors import MienError
    from mien.recipe import DataOptions

    begin = time.perf_counter()
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(dir=path.parent) as cache:
        try:
            dataset = open_dataset(DataOptions(name="manifest", root=path), cache=Path(cache))
            if what == "summary":
                summary = summarize(dataset)
                found = {
                    "subjects": sum(split.num_subjects for split in summary.splits),
                    "problems": dict(summary.problems),
                }
            else:
                verified = verify(dataset, workers=1)
                found = {"subjects": verified.num_subjects, "problems": len(verified.problems)}
        except MienError as error:
            found = {"error": str(error).replace(str(path), path.name)[:200]}
    return {
        **found,
        "seconds": round(time.perf_counter() - begin, 2),
        "cpu_seconds": round(time.process_time(), 2),
        "peak_mib": _peak_mib(),
    }


def _peak_mib() -> int:
    """The most resident memory of this process. Other than `getrusage`, it does not count the parent's."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()  # on Linux
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM"))


# --- Manifests ---------------------------------------------------------------------------------------


def _rows(count: int) -> Iterator[dict[str, Any]]:
    for number in range(count):
        left = number % 300
        yield {
            "id": f"person-{number}",
            "image": f"images/{number // _PER_IMAGE // 1000:03d}/{number // _PER_IMAGE:07d}.jpg",
            "box": [left, 20, left + 100.5, 220],
            "labels": [_LABELS[number % 5], _LABELS[(number + 2) % 5]],
            "valence": 0.5,
            "arousal": 0.25,
            "dominance": (number % 11) / 10,
            "split": ("train", "train", "val", "test")[number // _PER_IMAGE % 4],
        }


def _summarize(folder: Path, kind: str, count: int) -> dict[str, Any]:
    path = folder / f"rows.{'json' if kind == 'coco' else kind}"
    _WRITERS[kind](path, count)
    try:
        return {"rows": count, "bytes": path.stat().st_size, **_run("summary", path)}
    finally:
        path.unlink()


def _write_jsonl(path: Path, count: int) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.writelines(f"{json.dumps(row)}\n" for row in _rows(count))


def _write_csv(path: Path, count: int) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(next(_rows(1))))
        writer.writeheader()
        for row in _rows(count):
            texts = {"box": ",".join(map(str, row["box"])), "labels": "|".join(row["labels"])}
            writer.writerow(row | texts)


def _write_parquet(path: Path, count: int) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    rows = _rows(count)
    schema = pa.Table.from_pylist([next(_rows(1))]).schema
    with parquet.ParquetWriter(path, schema) as writer:
        while batch := list(islice(rows, 50_000)):
            writer.write_table(pa.Table.from_pylist(batch, schema=schema))


def _write_coco(path: Path, count: int) -> None:
    images, annotations = {}, []
    for number, row in enumerate(_rows(count)):
        left, top, right, bottom = row.pop("box")
        image = row.pop("image")
        index = images.setdefault(image, len(images))
        box = [left, top, right - left, bottom - top]
        annotations.append({**row, "id": number, "image_id": index, "category_id": 1, "bbox": box})
    document = {
        "images": [
            {"id": index, "file_name": name, "width": 640, "height": 480} for name, index in images.items()
        ],
        "categories": [{"id": 1, "name": "person"}],
        "annotations": annotations,
    }
    path.write_text(json.dumps(document), encoding="utf-8")


_WRITERS: dict[str, Callable[[Path, int], None]] = {
    "csv": _write_csv,
    "jsonl": _write_jsonl,
    "parquet": _write_parquet,
    "coco": _write_coco,
}


# --- One image, and one line -------------------------------------------------------------------------


def _verify(folder: Path, count: int) -> dict[str, Any]:
    """One image with `count` people, every tenth of whom has a box that extends outside and another size."""
    from PIL import Image

    Image.effect_noise((640, 480), 60).save(folder / "crowd.png")
    path = folder / "crowd.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for row in _rows(count):
            odd = int(row["id"].split("-")[1]) % 10 == 0
            more = {"image": "crowd.png", "size": [480, 640] if odd else [640, 480]}
            box = [*row["box"][:2], 700, 400] if odd else row["box"]
            file.write(json.dumps({**row, **more, "box": box}) + "\n")
    return {"people": count, **_run("verify", path)}


def _read_line(folder: Path, kind: str, megabytes: int) -> dict[str, Any]:
    """A good row, and one whose labels have `megabytes` million characters."""
    path = folder / f"long.{kind}"
    text = "x" * (megabytes * 1_000_000)
    if kind == "jsonl":
        lines = ['{"image": "a.jpg"}', json.dumps({"image": "b.jpg", "labels": [text]})]
    else:
        lines = ["image,labels", "a.jpg,", f"b.jpg,{text}"]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    del text, lines
    try:
        return {"megabytes": megabytes, **_run("summary", path)}
    finally:
        path.unlink()


if __name__ == "__main__":
    main()
