"""Results: what a caller of the Python API gets for images, people and errors."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.predict.conftest import Made

from mien.errors import BoxError, DataError, ImageError
from mien.labels import CAERS
from mien.predict.predictor import Predictor
from mien.predict.results import BoxSource, Person, Results
from mien.types import Box, ImageRef, Prediction

Make = Callable[..., Made]
BOX = (4, 4, 24, 28)


@pytest.fixture(scope="module")
def predictor(make_run: Make) -> Predictor:
    return Predictor.from_pretrained(make_run("qformer", "fake").run, device="cpu")


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    Image.effect_noise((48, 32), 80).convert("RGB").save(path)
    return path


def test_a_path_an_image_and_an_array_are_the_same_image(predictor: Predictor, photo: Path) -> None:
    image = Image.open(photo)
    by_path, by_image, by_array = (
        predictor(form, boxes=[BOX]) for form in (str(photo), image, np.array(image))
    )
    assert by_path.source == str(photo)
    assert by_image.source == "image"
    for results in (by_image, by_array):
        assert results[0].scores == by_path[0].scores
        assert results[0].description is not None
        assert by_path[0].description is not None
        assert results[0].description.text == by_path[0].description.text


def test_pixels_are_turned_as_their_exif_says(predictor: Predictor, photo: Path, tmp_path: Path) -> None:
    turned = Image.open(photo)
    exif = turned.getexif()
    exif[274] = 6
    turned.save(tmp_path / "turned.png", exif=exif)
    from_file = predictor(tmp_path / "turned.png")
    assert predictor(Image.open(tmp_path / "turned.png"))[0].scores == from_file[0].scores
    assert predictor(photo)[0].scores != from_file[0].scores


def test_one_person_per_box_and_the_box_matters(predictor: Predictor, photo: Path) -> None:
    boxes = [Box.from_tuple(BOX), Box(left=20, top=2, right=47, bottom=31)]
    results = predictor(photo, boxes=boxes)
    assert [person.id for person in results] == [0, 1]
    assert [person.box for person in results] == boxes
    assert {person.box_source for person in results} == {"given"}
    assert results[0].scores != results[1].scores
    assert results[0].scores == pytest.approx(predictor(photo, boxes=[BOX])[0].scores, abs=1e-5)
    assert sum(results[0].scores.values()) == pytest.approx(1, abs=1e-5)


def test_without_boxes_the_whole_image_is_the_subject(predictor: Predictor, photo: Path) -> None:
    (person,) = predictor(photo)
    assert (person.box, person.box_source, person.box_score, person.status) == (None, "whole", None, "ok")


@pytest.mark.parametrize("source", ["detected", "face"])
def test_a_person_that_a_detector_found_has_its_score_everywhere(source: BoxSource, photo: Path) -> None:
    person = Person(id=0, box=Box.from_tuple(BOX), box_source=source, box_score=0.8325)
    results = Results(source=str(photo), image=ImageRef(path=photo), people=(person,))
    row = results.rows()[0]
    assert (row["box"], row["box_source"], row["box_score"]) == ([*BOX], source, 0.8325)
    assert json.loads(results.to_json())["people"][0]["box_score"] == 0.8325
    frame = results.to_df()
    assert frame["box_score"].tolist() == [0.8325]


def test_a_call_raises_for_a_bad_image_and_a_bad_box(predictor: Predictor, photo: Path) -> None:
    with pytest.raises(ImageError, match=r"missing\.png"):
        predictor("missing.png")
    with pytest.raises(BoxError, match="outside"):
        predictor(photo, boxes=[BOX, (100, 100, 120, 120)])
    with pytest.raises(BoxError, match="is empty"):
        predictor(photo, boxes=[(4, 4, 4, 8)])
    with pytest.raises(DataError, match="has 3 numbers"):
        predictor(photo, boxes=[(1, 2, 3)])
    with pytest.raises(DataError, match=r"box 4 is not four numbers") as caught:
        predictor(photo, boxes=BOX)  # type: ignore[arg-type]  # a box in place of a list of boxes
    assert "boxes=[(left, top, right, bottom)]" in caught.value.hint


@pytest.mark.parametrize(
    "array", [np.zeros((4, 4, 3)), np.zeros((4, 4, 2), dtype=np.uint8), np.zeros((0, 4, 3), dtype=np.uint8)]
)
def test_arrays_that_are_not_images_are_refused(predictor: Predictor, array: np.ndarray) -> None:
    with pytest.raises(ImageError, match="is not an image"):
        predictor(array)


def test_a_stream_returns_errors_in_their_place(predictor: Predictor, photo: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no image")
    sources = [
        photo,
        bad,
        (photo, [BOX, (100, 100, 120, 120)]),
        (photo, [(9, 9, 9, 9)]),
        7,
        tmp_path / "*.gif",
        photo,
    ]
    results = list(predictor.stream(sources, batch_size=2))
    assert [item.status for item in results] == [
        "ok",
        "failed",
        "partial",
        "failed",
        "failed",
        "failed",
        "ok",
    ]
    assert [type(item.error) for item in results] == [
        type(None), ImageError, type(None), BoxError, ImageError, DataError, type(None),
    ]  # fmt: skip
    assert [person.status for person in results[2]] == ["ok", "failed"]
    assert isinstance(results[2][1].error, BoxError)
    for item in (results[0], results[-1]):
        assert item[0].scores == pytest.approx(predictor(photo)[0].scores, abs=1e-5)


def test_a_stream_of_errors_alone_ends(predictor: Predictor) -> None:
    assert [item.status for item in predictor.stream([7, None])] == ["failed", "failed"]


def test_folders_and_patterns_are_streamed_in_the_order_of_names(
    predictor: Predictor, photo: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    for name in ("b.png", "a.JPG", "[c].png"):
        Image.open(photo).save(folder / name)
    (folder / "notes.txt").write_text("no image")
    names = [Path(item.source).name for item in predictor.stream(folder)]
    assert names == ["[c].png", "a.JPG", "b.png"]
    assert [Path(item.source).name for item in predictor.stream(f"{folder}/*.png")] == ["[c].png", "b.png"]
    # A file that exists is never taken for a pattern.
    assert [Path(item.source).name for item in predictor.stream(folder / "[c].png")] == ["[c].png"]
    with pytest.raises(DataError, match="no file matches"):
        list(predictor.stream(f"{folder}/*.bmp"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no image in"):
        list(predictor.stream(tmp_path / "empty"))


def test_a_stream_reads_no_further_ahead_than_a_batch(predictor: Predictor, photo: Path) -> None:
    taken = 0

    def photos() -> object:
        nonlocal taken
        while True:
            taken += 1
            yield photo

    stream = predictor.stream(photos(), batch_size=3)  # type: ignore[arg-type]
    next(stream)
    assert taken <= 4


# --- What results can be turned into ---


def make_results(**changes: object) -> Results:
    scores = dict.fromkeys(CAERS.labels, 0.1) | {"<b>Happy</b>": 0.9}
    prediction = Prediction(
        subject_id="a",
        label_set="caers",
        scores=scores,
        dimensions={"valence": 0.7, "arousal": 0.4, "dominance": 0.5},
        thresholds=dict.fromkeys(scores, 0.5),
        min_confidence=0.4,
        prediction_set=("<b>Happy</b>", "Sad"),
        coverage=0.9,
    )
    people = (
        Person(id=0, box=Box.from_tuple(BOX), box_source="given", prediction=prediction),
        Person(id=1, box=Box.from_tuple(BOX), box_source="given", error=BoxError("box <i> is outside")),
    )
    image = ImageRef(path=Path("a.png"), pixels=Image.new("RGB", (48, 32), "white"))
    values: dict[str, object] = {"source": "a.png", "image": image, "people": people, **changes}
    return Results(**values)  # type: ignore[arg-type]


def test_json_holds_everything() -> None:
    document = json.loads(make_results().to_json())
    assert (document["source"], document["status"], document["error"]) == ("a.png", "partial", None)
    first, second = document["people"]
    assert first["box"] == list(BOX)
    assert first["scores"]["<b>Happy</b>"] == 0.9
    assert first["above"] == ["<b>Happy</b>"]
    assert (first["sure"], first["prediction_set"], first["coverage"]) == (True, ["<b>Happy</b>", "Sad"], 0.9)
    assert (second["sure"], second["prediction_set"], second["coverage"]) == (None, None, None)
    assert (first["valence"], first["arousal"], first["dominance"]) == (0.7, 0.4, 0.5)
    assert (second["status"], second["error"], second["scores"]) == ("failed", "box <i> is outside", {})


def test_a_data_frame_has_one_row_per_person_and_one_column_per_label() -> None:
    frame = make_results().to_df()
    assert list(frame["person"]) == [0, 1]
    assert list(frame["status"]) == ["ok", "failed"]
    assert frame["<b>Happy</b>"][0] == 0.9
    assert frame["Sad"].isna().tolist() == [False, True]
    assert "scores" not in frame
    failed = make_results(people=(), error=ImageError("no image at a.png")).to_df()
    assert failed.loc[0, "error"] == "no image at a.png"


def test_annotating_draws_on_a_copy_and_inside_the_image() -> None:
    results = make_results()
    image = results.annotate()
    assert image.size == (7 * 48, 7 * 32)  # enlarged, so that the tags can be read
    assert results.image.pixels is not None
    assert results.image.pixels.getcolors() == [(48 * 32, (255, 255, 255))]
    colors = {color for _, color in image.getcolors(maxcolors=10_000) or []}
    assert (0xD5, 0x5E, 0x00) in colors


def test_the_chart_is_well_formed_and_escaped(tmp_path: Path) -> None:
    chart = make_results().plot(top=3)
    tree = ET.fromstring(chart.svg)  # noqa: S314  our own text
    texts = [element.text for element in tree.iter("{http://www.w3.org/2000/svg}text")]
    assert texts.count("<b>Happy</b>") == 1
    assert "Person 1 (failed)" in texts
    (dimensions,) = (
        element for element in tree.iter("{http://www.w3.org/2000/svg}text") if "/10" in (element.text or "")
    )
    assert dimensions.text == "valence 7.0/10, arousal 4.0/10, dominance 5.0/10"
    assert dimensions.get("x") == "8"  # from the left edge, since it is wider than the bars
    bars = [
        element
        for element in tree.iter("{http://www.w3.org/2000/svg}rect")
        if element.get("fill") == "#D55E00"
    ]
    widths = [float(bar.get("width", "")) for bar in bars]
    assert len(widths) == 3
    assert widths[0] == pytest.approx(9 * widths[1], abs=0.5)
    chart.save(tmp_path / "chart.svg")
    assert (tmp_path / "chart.svg").read_text() == str(chart) == chart._repr_svg_()


def test_the_html_of_a_notebook_escapes_what_comes_from_data() -> None:
    page = make_results(source='"><script>')._repr_html_()
    assert "<script>" not in page
    assert "<b>Happy</b>" not in page
    assert "Apparent emotion" in page
    failed = make_results(people=(), error=ImageError("<script>"))
    assert "<script>" not in failed._repr_html_()


def test_the_html_names_a_failed_image_once() -> None:
    failed = make_results(people=(), error=ImageError("no image at a.png"))
    assert failed._repr_html_() == "<p>no image at a.png</p>"
    other = make_results(people=(), error=ImageError("too large"))
    assert other._repr_html_() == "<p>a.png: too large</p>"


def test_people_are_indexed_sliced_and_counted() -> None:
    results = make_results()
    assert len(results) == 2
    assert results[-1].id == 1
    assert [person.id for person in results[:1]] == [0]
    assert results[0].top(1) == (("<b>Happy</b>", 0.9),)
    assert (results[1].top(3), results[1].scores, results[1].dimensions, results[1].above) == (
        (),
        {},
        None,
        None,
    )


def test_representations_are_one_short_line(predictor: Predictor) -> None:
    results = make_results()
    assert repr(results[0]) == (
        "Person(id=0, box=(4, 4, 24, 28), status='ok', top='<b>Happy</b> 0.90, Anger 0.10, Disgust 0.10')"
    )
    assert repr(results).startswith("Results(source='a.png', status='partial', people=[Person(id=0")
    assert repr(predictor) == "Predictor('tiny', fusion='qformer', labels='caers', device='cpu')"
