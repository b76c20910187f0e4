"""A small demo: every variant and control, the results, the page and a prediction."""

import json
from pathlib import Path

from mien.ablation.demo import VARIANTS, run_demo

SMALL = (
    "data.options={ train = 24, val = 12, test = 16 }",
    "train.epochs=1",
    "describe.max_new_tokens=30",
    "model.width=16",
    "run.threads=1",
)


def test_the_demo_writes_results_a_page_and_a_prediction(tmp_path: Path) -> None:
    out = tmp_path / "demo"
    demo = run_demo(out, cache=tmp_path / "cache", seeds=(0, 1), overrides=SMALL)
    results = json.loads((out / "results.json").read_text())
    assert results["schema"] == 1
    scores = {row["name"]: row for row in results["rows"] if row["metric"] == "mAP"}
    names = {variant.name for variant in VARIANTS}
    trained = {variant.name for variant in VARIANTS if "zero_shot" not in " ".join(variant.overrides)}
    assert trained < names
    assert set(scores) == names
    for name, row in scores.items():
        assert row["low"] <= row["value"] <= row["high"]
        assert 0 < row["chance"] < 1
        assert (row["split"], row["n"]) == ("test", 16)
        assert row["seeds"] == ([0, 1] if name in trained else [0])
    assert {(item["a"], item["b"]) for item in results["differences"]} == {
        ("fused", name) for name in names if name != "fused"
    }
    assert len({row["value"] for row in scores.values()}) > 1
    assert demo.report.is_file()
    assert demo.run == out / "fused" / "seed-0"
    assert demo.image.is_file()
    assert demo.prediction.description is not None
    assert "person in the red box" in demo.prediction.description.text
