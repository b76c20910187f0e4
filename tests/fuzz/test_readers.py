"""Mutated files of every kind that users bring: read, or refused with one of our errors."""

import json
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet
from scipy.io import loadmat, savemat
from tests.factories.emotic_copies import MAT, compress_elements
from tests.factories.numbered_clips import encode
from tests.fuzz.harness import MUTANTS, Reader, fuzz

from mien.data import open_dataset
from mien.data.emotic.npy_reader import array_path, read_npy
from mien.describe.store.store import Store
from mien.labels import EMOTIC
from mien.media.clips import probe_clip, read_frames
from mien.media.images import open_image
from mien.playhouse.layouts.emotic import write
from mien.recipe import DataOptions
from mien.recipe.load import load_recipe
from mien.types import Description

pytestmark = [pytest.mark.fuzz, pytest.mark.slow]

ROWS = [
    {"id": "a", "image": "1.jpg", "labels": ["Peace"], "box": [1.5, 2, 30, 40], "split": "train"},
    {"id": "b", "image": "2.jpg", "labels": ["Doubt/Confusion", "Anger"], "box": None, "split": "test"},
]
COCO = {
    "images": [{"id": 1, "file_name": "1.jpg", "width": 64, "height": 48}],
    "categories": [{"id": 1, "name": "person"}],
    "annotations": [{"id": 7, "image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "labels": ["Peace"]}],
}


# --- Images and clips


def images(folder: Path, suffix: str) -> list[bytes]:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    modes = ("RGB", "L", "CMYK") if suffix == ".jpg" else ("RGB", "RGBA", "P", "L")
    contents = []
    for mode in modes:
        path = folder / f"{mode}{suffix}"
        noise.convert(mode).save(path, exif=exif.tobytes())
        contents.append(path.read_bytes())
    return contents


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".gif", ".bmp", ".tif"])
def test_images(tmp_path: Path, suffix: str) -> None:
    check(images(tmp_path, suffix), open_image, suffix)


def read_clip(path: Path) -> None:
    info = probe_clip(path)
    read_frames(path, [0, info.num_frames - 1])


@pytest.mark.parametrize("suffix", [".mp4", ".avi", ".mkv", ".ts"])
def test_clips(tmp_path: Path, suffix: str) -> None:
    seeds = [
        encode(tmp_path / f"{number}{suffix}", times=range(8), codec=codec).read_bytes()
        for number, codec in enumerate(("libx264", "mpeg4"))
    ]
    check(seeds, read_clip, suffix)


# --- Tables


def jsonl(folder: Path) -> bytes:
    return "".join(f"{json.dumps(row)}\n" for row in ROWS).encode()


def table(folder: Path) -> bytes:
    return b'id,image,labels,box,split\na,1.jpg,Peace|Anger,"1.5,2,30,40",train\nb,"2, 3.jpg",,,test\n'


def columns(folder: Path) -> bytes:
    parquet.write_table(pa.Table.from_pylist(ROWS), folder / "rows.parquet")
    return (folder / "rows.parquet").read_bytes()


MANIFESTS: dict[str, Callable[[Path], bytes]] = {
    ".jsonl": jsonl,
    ".csv": table,
    ".parquet": columns,
    ".json": lambda folder: json.dumps(COCO).encode(),
}


def read_manifest(path: Path) -> None:
    dataset = open_dataset(DataOptions(name="manifest", root=path), cache=path.parent)
    list(dataset.problems())
    for split in dataset.splits:
        list(dataset.records(split))


@pytest.mark.parametrize("suffix", MANIFESTS)
def test_manifests(tmp_path: Path, suffix: str) -> None:
    check([MANIFESTS[suffix](tmp_path)], read_manifest, suffix)


def test_recipes(tmp_path: Path) -> None:
    recipes = sorted((Path(__file__).parents[2] / "recipes").glob("*.toml"))
    check([path.read_bytes() for path in recipes], load_recipe, ".toml")


# --- Stores and EMOTIC's arrays


DESCRIPTIONS = [
    Description(
        key=f"{n:064x}", subject_id=f"s{n}", text="calm " * 9, prompt_id="p", engine="e", finish="stop"
    )
    for n in range(40)
]


def read_store(path: Path) -> None:
    with Store(path, writable=False) as store:
        rows = list(store)
        store.failures()
    assert set(rows) <= set(DESCRIPTIONS)
    # An empty file is a store whose creation has only begun.
    assert len(rows) + len(store.damaged_rows) >= len(DESCRIPTIONS) or not path.stat().st_size


def test_stores(tmp_path: Path) -> None:
    path = tmp_path / "descriptions.db"
    with Store(path) as store:
        store.put(DESCRIPTIONS)
    check([path.read_bytes()], read_store, ".db")


def read_emotic(path: Path) -> None:
    with TemporaryDirectory() as folder:
        root = Path(folder)
        (root / MAT.parent).mkdir()
        path.rename(root / MAT)
        dataset = open_dataset(DataOptions(name="emotic", root=root), cache=root / "cache")
        for split in dataset.splits:
            list(dataset.records(split))


def test_emotic_annotations(tmp_path: Path) -> None:
    write(tmp_path, train=3, val=2, test=2, seed=1)
    check([(tmp_path / MAT).read_bytes()], read_emotic, ".mat")


def test_emotic_annotations_with_valid_checksums(tmp_path: Path) -> None:
    """SciPy crashes on some. The child process that reads them takes most of a second, so there are fewer."""
    write(tmp_path, train=3, val=2, test=2, seed=1)
    variables = {name: value for name, value in loadmat(tmp_path / MAT).items() if name[0] != "_"}
    savemat(tmp_path / MAT, variables)
    report = fuzz(
        [(tmp_path / MAT).read_bytes()], read_emotic, suffix=".mat", count=200, repair=compress_elements
    )
    assert report.refused > 0


@pytest.mark.parametrize("mutated", ["context", "cat", "cont"])
def test_emotic_arrays(tmp_path: Path, mutated: str) -> None:
    arrays: dict[str, np.ndarray] = {
        "context": np.zeros((3, 4, 4, 3), dtype=np.uint8),
        "cat": np.eye(3, len(EMOTIC), dtype=np.float32),
        "cont": np.full((3, 3), 0.5, dtype=np.float32),
    }
    for name, array in arrays.items():
        np.save(array_path(tmp_path, "val", name), array)
    target = array_path(tmp_path, "val", mutated)

    def read(path: Path) -> None:
        target.write_bytes(path.read_bytes())
        read_npy(tmp_path, split="val", image_root=tmp_path)

    check([target.read_bytes()], read, ".npy")


def check(seeds: list[bytes], read: Reader, suffix: str) -> None:
    report = fuzz(seeds, read, suffix=suffix)
    assert report.read + report.refused == MUTANTS
    assert report.refused > 0
