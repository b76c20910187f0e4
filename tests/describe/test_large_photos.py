"""Photos that are decoded at a smaller size, and photos with several people."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.factories.engines import RecordingEngine

from mien.describe.engine import EngineWrapper
from mien.describe.fake import FakeEngine
from mien.describe.generate import describe
from mien.describe.requests import RequestBuilder
from mien.describe.store.store import Store
from mien.features.feature_views import feature_key
from mien.media.images import LoadedImage, Marking, Square, load_image_file
from mien.types import Box, Description, Subject

BOX = Box(left=10, top=10, right=300, bottom=280)


class SquareEngine(EngineWrapper):
    """The fake engine as a model that takes squares of 64 pixels."""

    @property
    def image_size(self) -> int:
        return 64


def photo(folder: Path, name: str, size: tuple[int, int] = (640, 480)) -> Path:
    noise = np.random.default_rng(list(name.encode())).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    Image.fromarray(noise).resize(size).save(folder / name, quality=90)
    return folder / name


def builder(options: dict[str, Any], **changes: Any) -> RequestBuilder:
    return RequestBuilder(engine=SquareEngine(FakeEngine()), **options | changes)


def has_own_key(requests: RequestBuilder, subject: Subject) -> bool:
    """Whether a subject has the key of 0.1.0."""
    return requests.full_size_key(subject) == requests.build(subject).key


def test_only_photos_that_are_shrunk_get_other_keys(tmp_path: Path, request_options: dict[str, Any]) -> None:
    requests = builder(request_options)
    small, large = photo(tmp_path, "a.jpg", (255, 200)), photo(tmp_path, "b.jpg", (256, 200))
    png = photo(tmp_path, "c.png")
    for path in (small, png):
        assert has_own_key(requests, Subject.still("a", path, BOX))
    assert not has_own_key(requests, Subject.still("a", large, BOX))
    whole = RequestBuilder(engine=FakeEngine(), **request_options)
    assert has_own_key(whole, Subject.still("a", large, BOX))
    larger = photo(tmp_path, "d.jpg", (512, 480))
    crop = builder(request_options, marking=Marking(style="crop"))
    assert has_own_key(crop, Subject.still("a", larger, Box(left=1, top=1, right=90, bottom=90)))


def test_only_features_of_photos_that_are_shrunk_get_other_keys(tmp_path: Path) -> None:
    for path, is_other in ((photo(tmp_path, "a.jpg"), True), (photo(tmp_path, "b.png"), False)):
        subject = Subject.still("a", path, BOX)
        before = feature_key(subject, Marking(), "encoder")
        assert (feature_key(subject, Marking(), "encoder", square=Square(64)) != before) is is_other
        assert feature_key(subject, Marking(), "encoder", square=Square(400)) == before


def test_descriptions_of_the_whole_photo_are_made_again_and_it_is_said(
    tmp_path: Path, store: Store, request_options: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    requests = builder(request_options)
    people = [Subject.still(str(n), photo(tmp_path, f"{n}.jpg", (600 + n, 480)), BOX) for n in range(3)]
    small = Subject.still(
        "small", photo(tmp_path, "small.jpg", (200, 200)), Box(left=9, top=9, right=90, bottom=99)
    )
    old = [requests.full_size_key(person) for person in people[:2]] + [requests.build(small).key]
    for key in old:
        store.put(
            [Description(key=key, subject_id="a", text="old", prompt_id="paper", engine="e", finish="stop")]
        )
    with caplog.at_level(logging.WARNING):
        summary = describe([*people, small], requests, store)
    assert (summary.done, summary.skipped) == (3, 1)
    assert [record.getMessage() for record in caplog.records] == [
        "the store has descriptions of large photos that an earlier version decoded at full size; they are "
        "decoded at a smaller size now, and described again"
    ]
    caplog.clear()
    assert describe([*people, small], requests, store).skipped == 4
    assert not caplog.records


@pytest.mark.parametrize("workers", [0, 2])
def test_a_photo_is_opened_once_for_its_people_and_a_bad_one_costs_only_its_own(
    tmp_path: Path, request_options: dict[str, Any], monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    paths = [photo(tmp_path, f"{number}.jpg") for number in range(3)]
    paths[1].write_bytes(paths[1].read_bytes()[:300])
    people = [
        Subject.still(f"{n}#{who}", path, Box(left=10 + who, top=10, right=300, bottom=280))
        for n, path in enumerate(paths)
        for who in range(5)
    ]
    outside = Subject.still("2#outside", paths[2], Box(left=700, top=0, right=800, bottom=90))
    people.insert(12, outside)
    read: list[Path] = []

    def counted(path: Path, **options: Any) -> LoadedImage:
        read.append(path)
        return load_image_file(path, **options)

    monkeypatch.setattr("mien.media.views.load_image_file", counted)
    engine = RecordingEngine(SquareEngine(FakeEngine()))
    texts = []
    for batch_size in (1, 4, 32):
        read.clear()
        with Store(tmp_path / f"{batch_size}.sqlite") as store:
            requests = RequestBuilder(engine=engine, **request_options)
            summary = describe(people, requests, store, batch_size=batch_size, workers=workers)
            assert (summary.done, summary.failed) == (10, 6)
            texts.append([(item.key, item.text) for item in store])
    assert texts[0] == texts[1] == texts[2]
    assert [read.count(path) for path in (paths[0], paths[2])] == [1, 1]
    expected = [person.id for person in people if person.id[0] != "1" and person != outside]
    assert engine.subject_ids == expected * 3
