"""Object-detection models of transformers: the same boxes as theirs, and what is wrong with a model."""

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
import torch
from PIL import Image
from tests.factories.hub_server import HubServer
from tests.factories.tiny_detectors import KINDS, build_tiny_detector
from transformers.image_transforms import center_to_corners_format
from transformers.models.auto.image_processing_auto import AutoImageProcessor

from mien.errors import EngineError, MienError, UnknownNameError, WeightsError
from mien.playhouse import embedded_models as playhouse
from mien.predict.detect import transformers as module
from mien.predict.detect.detector import Detection, DetectorOptions
from mien.predict.detect.open import open_detector
from mien.predict.detect.transformers import DEFAULT_MODEL, TransformersDetector
from mien.weights import hub

ALL = DetectorOptions(min_score=0.02, min_size=1)
# Settings of processors as the models on the Hub have them: that of YOLOS is from an older library.
_PUBLISHED: Final[dict[str, dict[str, Any]]] = {
    "yolos": {
        "feature_extractor_type": "YolosFeatureExtractor",
        "format": "coco_detection",
        "do_normalize": True,
        "do_resize": True,
        "image_mean": [0.485, 0.456, 0.406],
        "image_std": [0.229, 0.224, 0.225],
        "size": 512,
        "max_size": 1333,
    },
    "others": {
        "image_processor_type": "RTDetrImageProcessor",
        "do_normalize": False,
        "do_pad": False,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": [0.485, 0.456, 0.406],
        "image_std": [0.229, 0.224, 0.225],
        "resample": 2,
        "rescale_factor": 1 / 255,
        "size": {"height": 640, "width": 640},
    },
}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """tiny("yolos"): its folder; each is built once."""
    made: dict[str, Path] = {}

    def get(kind: str) -> Path:
        if kind not in made:
            made[kind] = build_tiny_detector(kind, tmp_path_factory.mktemp(kind))
        return made[kind]

    return get


@pytest.fixture
def yolos(tiny: Callable[[str], Path], tmp_path: Path) -> Path:
    """A copy of a tiny YOLOS, to change."""
    return shutil.copytree(tiny("yolos"), tmp_path / "yolos")


def noise(width: int = 90, height: int = 60) -> Image.Image:
    pixels = np.random.default_rng(8).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def edit(file: Path, **changes: object) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


# --- Boxes ---


@pytest.mark.parametrize("kind", KINDS)
def test_boxes_and_scores_are_those_of_the_model_and_its_processor(
    kind: str, tiny: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = shutil.copytree(tiny(kind), tmp_path / kind)
    settings = _PUBLISHED["yolos" if kind == "yolos" else "others"]
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    image = noise(640, 480)
    detector = TransformersDetector(str(folder), ALL)
    (found,) = detector.detect([image])
    assert not isinstance(found, Exception)
    expected = _by_hand(folder, image)
    assert [person.score for person in found] == pytest.approx([score for score, _ in expected], abs=1e-4)
    for person, (_, box) in zip(found, expected, strict=True):
        assert person.box is not None
        assert person.box.as_tuple() == pytest.approx(box, abs=0.51)


def _by_hand(folder: Path, image: Image.Image) -> list[tuple[float, list[float]]]:
    """(score, box) of each query whose best class is the person, best first."""
    import transformers

    processor: Any = AutoImageProcessor
    inputs = processor.from_pretrained(folder, backend="pil")(images=[image], return_tensors="pt")
    model = transformers.AutoModelForObjectDetection.from_pretrained(folder).eval()
    with torch.no_grad():
        output = model(inputs["pixel_values"])
    if model.config.model_type == "yolos":
        classes = output.logits[0].softmax(-1)[:, :-1]
        score, best = classes.max(-1)
        is_found = best == 0
    else:
        classes = output.logits[0].sigmoid()
        most = classes.flatten().topk(len(classes)).values[-1]  # as many (query, class) as queries are kept
        score, is_found = classes[:, 0], classes[:, 0] >= most
    sides = torch.tensor([*image.size, *image.size])
    corners: Any = center_to_corners_format  # with wrong annotations
    boxes = (corners(output.pred_boxes[0]) * sides).clip(0 * sides, sides)
    is_found &= (score >= 0.02) & (boxes[:, 2:] - boxes[:, :2] >= 1).all(-1)
    rows = [(float(score[index]), boxes[index].tolist()) for index in is_found.nonzero()[:, 0]]
    return sorted(rows, key=lambda row: (-round(row[0], 4), [round(edge) for edge in row[1]]))


def test_a_narrow_image_costs_the_others_of_the_batch_no_accuracy(tiny: Callable[[str], Path]) -> None:
    # YOLOS pads a batch to its largest image, and would then move all boxes.
    detector = TransformersDetector(str(tiny("yolos")), ALL)
    images = [noise(90, 60), noise(40, 160), noise(160, 40), noise(90, 60)]
    found = detector.detect(images)
    assert found[0] == found[3] == detector.detect(images[:1])[0]


def test_images_of_a_few_rows_are_not_taken_for_channels(tiny: Callable[[str], Path]) -> None:
    detector = TransformersDetector(str(tiny("d_fine")), ALL)
    image = noise(90, 3)
    pixels = detector._prepare(detector._processor, image)
    assert isinstance(pixels, torch.Tensor)
    expected = np.asarray(image.resize((64, 64), Image.Resampling.BILINEAR)).transpose(2, 0, 1) / 255
    assert pixels.numpy() == pytest.approx(expected, abs=1 / 255)


def test_a_batch_that_fails_is_halved_until_the_failure_stands_alone(
    tiny: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    detector = TransformersDetector(str(tiny("d_fine")), ALL)
    images = [noise(90, 60 + number) for number in range(7)]
    images[4] = Image.new("RGB", (90, 60), "white")
    expected = list(detector.detect(images))
    sizes = []
    model = detector._model  # what a device would do

    def failing(pixel_values: torch.Tensor) -> Any:
        sizes.append(len(pixel_values))
        if any(float(pixels.min()) == 1.0 for pixels in pixel_values):
            raise torch.OutOfMemoryError("out of memory")
        return model(pixel_values=pixel_values)

    failing.device = model.device  # type: ignore[attr-defined]
    monkeypatch.setitem(detector.__dict__, "_model", failing)
    found = list(detector.detect(images))
    failure = found.pop(4)
    # Rounding depends on the size of a batch.
    for people, wanted in zip(found, expected[:4] + expected[5:], strict=True):
        assert not isinstance(people, MienError)
        assert not isinstance(wanted, MienError)
        assert [one.score for one in people] == pytest.approx([one.score for one in wanted], abs=2e-4)
    assert isinstance(failure, EngineError)
    assert "out of memory" in str(failure)
    assert sizes[:2] == [7, 3]


def test_weights_that_are_not_numbers_are_an_error_of_the_image(yolos: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = {name: tensor * float("nan") for name, tensor in load_file(yolos / "model.safetensors").items()}
    save_file(weights, yolos / "model.safetensors", {"format": "pt"})
    (failure,) = TransformersDetector(str(yolos)).detect([noise()])
    assert isinstance(failure, EngineError)
    assert "not finite" in str(failure)


# --- Classes ---


@pytest.mark.parametrize(
    "name", ["person", "Person", "people", "Human", "human_body", "Pedestrian", " woman"]
)
def test_people_are_found_by_the_name_of_the_class(name: str, tmp_path: Path) -> None:
    folder = build_tiny_detector("yolos", tmp_path / "model", classes=("N/A", name, "dog"))
    assert TransformersDetector(str(folder))._people == [1]


def test_other_classes_are_left_out(tmp_path: Path) -> None:
    same = [
        build_tiny_detector("yolos", tmp_path / name, classes=("car", name)) for name in ("dog", "person")
    ]
    (found,) = TransformersDetector(str(same[1]), ALL).detect([noise()])
    assert not isinstance(found, Exception)
    everything = build_tiny_detector("yolos", tmp_path / "all", classes=("man", "person"))
    (both,) = TransformersDetector(str(everything), ALL).detect([noise()])
    assert not isinstance(both, Exception)
    assert 0 < len(found) < len(both)
    with pytest.raises(
        WeightsError, match="no class of dog is a person; its classes are: car, dog"
    ) as caught:
        TransformersDetector(str(same[0]))
    assert "id2label" in caught.value.hint


# --- Models ---


def test_the_signature_is_of_the_content(yolos: Path) -> None:
    before = TransformersDetector(str(yolos)).signature
    edit(yolos / "preprocessor_config.json", size={"shortest_edge": 32, "longest_edge": 90})
    assert TransformersDetector(str(yolos)).signature != before


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("config.json", "config.json cannot be read"),
        ("model.safetensors", "cannot be loaded"),
        ("preprocessor_config.json", "cannot be loaded"),
    ],
)
def test_a_folder_that_lacks_a_file_is_an_error(yolos: Path, file: str, said: str) -> None:
    (yolos / file).unlink()
    with pytest.raises(WeightsError, match=said):
        TransformersDetector(str(yolos)).detect([noise()])


def test_weights_that_are_missing_are_never_random(yolos: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(yolos / "model.safetensors")
    del weights["bbox_predictor.layers.0.weight"]
    save_file(weights, yolos / "model.safetensors", {"format": "pt"})
    with pytest.raises(WeightsError, match=r"lacks 1 weights of its model, such as bbox_predictor"):
        TransformersDetector(str(yolos)).detect([noise()])


def test_a_config_that_asks_for_far_more_than_the_weights_is_refused(yolos: Path) -> None:
    edit(yolos / "config.json", hidden_size=8192, num_hidden_layers=400, num_attention_heads=8)
    with pytest.raises(WeightsError, match="cannot be loaded"):
        TransformersDetector(str(yolos)).detect([noise()])


def test_another_kind_of_model_is_refused(yolos: Path) -> None:
    edit(yolos / "config.json", model_type="vit", architectures=["ViTModel"])
    with pytest.raises(WeightsError, match="cannot be loaded") as caught:
        TransformersDetector(str(yolos)).detect([noise()])
    assert "D-FINE" in caught.value.hint


def test_a_device_that_does_not_exist_is_an_error_of_all(yolos: Path) -> None:
    with pytest.raises(EngineError, match="device 'cuda:99' cannot be used"):
        TransformersDetector(str(yolos), device="cuda:99").detect([noise()])


def test_playhouse_is_the_embedded_detector(yolos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(playhouse, "_FOLDER", yolos.parent)
    yolos.rename(yolos.parent / "detector")
    detector = open_detector("playhouse", ALL, device="cpu")
    assert detector.name == "transformers/playhouse"
    assert "weights" in detector.signature
    (found,) = detector.detect([noise()])
    assert isinstance(found, tuple)
    assert all(isinstance(person, Detection) for person in found)


@pytest.mark.parametrize("name", ["hole", "playhous", "yolo.pt", "unknown-model"])
def test_a_name_that_is_nothing_is_not_looked_up(name: str) -> None:
    with pytest.raises(UnknownNameError, match="unknown detector") as caught:
        open_detector(name)
    assert "ORG/NAME" in caught.value.hint


# --- The Hub ---


def test_the_usual_model_is_downloaded_and_pinned_and_said(
    own_hub: HubServer, yolos: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = own_hub.add(DEFAULT_MODEL, yolos, license="apache-2.0")
    with caplog.at_level(logging.INFO, logger="mien"):
        detector = open_detector(options=ALL, device="cpu")
    said = [record.getMessage() for record in caplog.records]
    assert any(
        line.startswith(f"downloading {DEFAULT_MODEL} at {commit[:12]} (license apache-2.0): ")
        and "kB" in line
        for line in said
    ), said
    assert detector.signature["revision"] == commit
    assert detector.origin == {"model": DEFAULT_MODEL, "revision": commit, "license": "apache-2.0"}
    assert len(found_people(detector.detect([noise()]))) == 1

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    hub._models.clear()
    again = open_detector(f"{DEFAULT_MODEL}@{commit}", ALL, device="cpu")
    assert again.signature == detector.signature


def found_people(results: Any) -> list[Any]:
    return [result for result in results if not isinstance(result, Exception)]


def test_offline_without_weights_the_command_that_fetches_them_is_said(
    own_hub: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(WeightsError, match=DEFAULT_MODEL) as caught:
        open_detector()
    assert caught.value.exit_code == 5
    assert f"hf download {DEFAULT_MODEL}" in caught.value.hint
    assert own_hub.requests == []


def test_a_model_of_pickles_is_refused(own_hub: HubServer) -> None:
    own_hub.add("org/pickled", {"config.json": b"{}", "pytorch_model.bin": b"pickled"})
    with pytest.raises(WeightsError, match="only pickled weights"):
        open_detector("org/pickled")
    assert own_hub.downloads == []


def test_transformers_is_imported_with_the_first_image(yolos: Path) -> None:
    detector = TransformersDetector(str(yolos), ALL)
    assert not {"_model", "_processor"} & set(vars(detector))
    assert detector.detect([]) == []
    assert not {"_model", "_processor"} & set(vars(detector))
    assert module.DEFAULT_MODEL == "ustc-community/dfine-small-coco"
