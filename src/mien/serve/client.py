"""A client of a service, with the calls and results of a predictor."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from mien.describe.retry import Backoff
from mien.documents import read_bytes
from mien.errors import DataError, EngineDownError, EngineError, ImageError, MienError, UsageError, first_line
from mien.predict.results import Person, Results
from mien.predict.sources.image import BoxLike, ImageLike, open_source
from mien.serve.errors import from_code
from mien.types import Box, Description, ImageRef, Prediction

if TYPE_CHECKING:
    from mien.predict.explain.explanation import Explanation

__all__ = ["Client", "RemoteModel"]

_MAX_WAIT: Final = 10.0  # seconds that a retry waits, also if the service says more
_MAX_IMAGE: Final = 256 * 2**20  # bytes
_EXPLAIN: Final = "/v1/explain"
_BACKOFF: Final = Backoff(base=0.5, cap=_MAX_WAIT, max_retry_after=_MAX_WAIT)


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteModel:
    """What a service serves.

    Attributes:
        id: Its name.
        kind: "trained" or "zero_shot".
        label_set: The name of the label set.
        labels: The labels.
        exclusive: Whether exactly one label holds.
        calibrated: Whether scores are calibrated.
        embedded: Whether the model knows only Playhouse.
        detector: What finds people where no boxes are given; None if the whole image is the subject.
        endpoints: What it can do: "predict", "describe", "explain".
    """

    id: str
    kind: str
    label_set: str
    labels: tuple[str, ...]
    exclusive: bool
    calibrated: bool
    embedded: bool
    detector: str | None
    endpoints: tuple[str, ...]


class Client:
    """Predicts with a service that `mien serve` runs, with the calls and results of a `Predictor`.

    Args:
        url: The address of the service.
        token: Its token, if it has one.
        timeout: Seconds that a request may take.
        retries: How often a request is tried again if the service is busy or not ready.

    Raises:
        UsageError: The library httpx2 is not installed, or the address is not one.

    Example:
        >>> import mien
        >>> with mien.Client("http://127.0.0.1:8000") as client:  # doctest: +SKIP
        ...     results = client.predict("photo.jpg", boxes=[(40, 30, 210, 380)])
        >>> results[0].top(1)  # doctest: +SKIP
        (('Happiness', 0.93),)
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8000",
        *,
        token: str | None = None,
        timeout: float = 60.0,
        retries: int = 2,
    ) -> None:
        try:
            import httpx2
        except ModuleNotFoundError as error:
            raise UsageError("the client needs httpx2", hint='pip install "mien[serve]"') from error
        self.url = url
        self._library: Any = httpx2
        self._retries = retries
        headers = {} if token is None else {"authorization": f"Bearer {token}"}
        try:
            # Images of people go to this address and nowhere else: no redirects, no proxies.
            self._http: Any = httpx2.Client(
                base_url=url, headers=headers, timeout=timeout, follow_redirects=False, trust_env=False
            )
        except (ValueError, TypeError, httpx2.InvalidURL) as error:
            raise UsageError(
                f"{url!r} is not an address", hint="write it as http://127.0.0.1:8000"
            ) from error

    def __repr__(self) -> str:
        return f"Client({self.url!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections."""
        self._http.close()

    def predict(self, image: ImageLike | bytes, *, boxes: Iterable[BoxLike] | None = None) -> Results:
        """How the people in one image appear to feel, as `Predictor.__call__`.

        Args:
            image: A path, the bytes of a file, a PIL image, or a uint8 array of shape (height, width, 3).
            boxes: (left, top, right, bottom) of each person, in pixels of the upright image. Without boxes
                the service finds the people.

        Returns:
            One `Person` per box or per person found.

        Raises:
            ImageError: The image cannot be read.
            BoxError: A box is empty or lies outside of the image.
            UsageError: The request is refused: it is too large, or the token is wrong.
            EngineDownError: The service cannot be reached.
            EngineError: The service is too busy, too slow, or has failed.
        """
        return _only(self._read("predict", [image], [boxes]))

    def predict_many(
        self, images: Sequence[ImageLike | bytes], *, boxes: Sequence[Iterable[BoxLike] | None] | None = None
    ) -> list[Results]:
        """The results of several images in one request, in order; errors of images are in their place.

        Args:
            images: As in `predict`; at most as many as the service allows.
            boxes: The boxes of each image, or None in the place of an image to find people.

        Raises:
            UsageError: The request is refused, or the boxes are of another number of images.
            EngineDownError: The service cannot be reached.
            EngineError: The service is too busy, too slow, or has failed.
        """
        return self._read("predict", images, [None] * len(images) if boxes is None else boxes)

    def describe(self, image: ImageLike | bytes, *, boxes: Iterable[BoxLike] | None = None) -> Results:
        """What the vision-language model of the service writes about the people in one image.

        The people have a `description` and no scores. Arguments and errors are those of `predict`.
        """
        return _only(self._read("describe", [image], [boxes]))

    def explain(
        self,
        image: ImageLike | bytes,
        *,
        boxes: Iterable[BoxLike] | None = None,
        person: int = 0,
        labels: Sequence[str] = (),
        top: int = 3,
        counterfactuals: bool = True,
        random_orders: int = 8,
        descriptions: Sequence[str] = (),
    ) -> Explanation:
        """Why a person in an image has these scores, as `Person.explain`.

        Args:
            image: As in `predict`.
            boxes: As in `predict`.
            person: The number of the person in the image.
            labels: The labels to explain; by default those with the highest scores.
            top: How many, by default.
            counterfactuals: Whether to score with one thing different.
            random_orders: Random orders that faithfulness is compared with; 0 does not measure it.
            descriptions: Other descriptions to try.

        Raises:
            UnknownNameError: No label has this name.
            MienError: As in `predict`.
        """
        from mien.predict.explain.from_dict import explanation_from_dict

        sent = _Sent.of(image, boxes, 0)
        fields = {
            **sent.fields([sent]),
            "person": json.dumps(person),
            "labels": list(labels),
            "top": json.dumps(top),
            "counterfactuals": json.dumps(counterfactuals),
            "random_orders": json.dumps(random_orders),
            "descriptions": list(descriptions),
        }
        answer = self._post("explain", [sent], fields)
        with _understood():
            return explanation_from_dict(answer["explanation"], sent.image)

    def models(self) -> list[RemoteModel]:
        """What the service serves.

        Raises:
            EngineDownError: The service cannot be reached.
            MienError: The service refuses the request.
        """
        answer = self._request("GET", "/v1/models")
        with _understood():
            return [
                RemoteModel(
                    **{
                        **_known(card),
                        "labels": tuple(card["labels"]),
                        "endpoints": tuple(card["endpoints"]),
                    }
                )
                for card in answer["models"]
            ]

    # --- Requests ---

    def _read(
        self,
        endpoint: str,
        images: Sequence[ImageLike | bytes],
        boxes: Sequence[Iterable[BoxLike] | None],
    ) -> list[Results]:
        if len(images) != len(boxes):
            raise UsageError(
                f"boxes for {len(boxes)} images, and {len(images)} images",
                hint="give one list of boxes or None per image",
            )
        sent = [
            _Sent.of(image, edges, index)
            for index, (image, edges) in enumerate(zip(images, boxes, strict=True))
        ]
        if not sent:
            return []
        answer = self._post(endpoint, sent, _Sent.fields(sent))
        with _understood():
            return [
                _results(item, values, answer) for item, values in zip(sent, answer["results"], strict=True)
            ]

    def _post(self, endpoint: str, sent: Sequence[_Sent], fields: Mapping[str, Any]) -> Any:
        files = [("images", ("image", item.content, "application/octet-stream")) for item in sent]
        return self._request("POST", f"/v1/{endpoint}", files=files, data=dict(fields))

    def _request(self, method: str, path: str, **content: Any) -> Any:
        for attempt in range(self._retries + 1):
            try:
                return self._try(method, path, **content)
            except EngineError as error:
                if not error.retryable or attempt == self._retries:
                    raise
                time.sleep(_pause(error, attempt))
        raise AssertionError("the last attempt returns or raises")

    def _try(self, method: str, path: str, **content: Any) -> Any:
        library = self._library
        try:
            response = self._http.request(method, path, **content)
        except library.ConnectError as error:
            raise EngineDownError(
                f"no service answers at {self.url}: {first_line(error)}", hint="start it with mien serve"
            ) from error
        except library.TimeoutException as error:
            raise EngineError(
                f"the service at {self.url} did not answer in time",
                hint="send fewer images at once, or allow a longer timeout",
                retryable=path != _EXPLAIN,  # the service goes on with an explanation that it has begun
            ) from error
        except library.HTTPError as error:
            raise EngineError(
                f"the connection to {self.url} broke: {first_line(error)}", hint="try again", retryable=True
            ) from error
        try:
            values = response.json()
        except ValueError as error:
            raise _strange(f"status {response.status_code}") from error
        if response.status_code == 200:
            return values
        with _understood():
            detail = values["error"]
            code = str(detail["code"])
            problem = from_code(code, str(detail["message"]), str(detail["hint"]))
        stated = response.headers.get("retry-after")
        problem.retryable = stated is not None and (path, code) != (_EXPLAIN, "deadline_exceeded")
        problem.__dict__["retry_after"] = stated
        raise problem


def _known(card: Mapping[str, Any]) -> dict[str, Any]:
    """What this version knows of a model; a later service may say more."""
    return {item.name: card[item.name] for item in fields(RemoteModel)}


def _pause(error: MienError, attempt: int) -> float:
    """Seconds until the next attempt: what the service says and some more, so that clients spread out."""
    stated = _BACKOFF.retry_after(error.__dict__.get("retry_after"))
    return min(_MAX_WAIT, (stated or 0.0) + _BACKOFF.pause(attempt + 1))


# --- Images --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sent:
    """An image as it is sent, where it is, and its boxes."""

    content: bytes
    image: ImageRef
    boxes: tuple[Box, ...]

    @classmethod
    def of(cls, image: ImageLike | bytes, boxes: Iterable[BoxLike] | None, index: int) -> _Sent:
        if isinstance(image, bytes):
            edges = open_source("image", boxes).boxes
            return cls(content=image, image=ImageRef(path=Path(f"image {index}")), boxes=edges)
        source = open_source(image, boxes, name=f"image {index}")
        return cls(content=_content(source.image), image=source.image, boxes=source.boxes)

    @staticmethod
    def fields(sent: Sequence[_Sent]) -> dict[str, Any]:
        """The boxes of all images, as a form has them; none if there are none."""
        if not any(item.boxes for item in sent):
            return {}
        return {
            "boxes": [
                json.dumps([box.as_tuple() for box in item.boxes]) if item.boxes else "" for item in sent
            ]
        }


def _content(image: ImageRef) -> bytes:
    if image.pixels is not None:
        buffer = io.BytesIO()
        pixels = image.pixels
        pixels = (
            pixels if pixels.mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16") else pixels.convert("RGB")
        )
        pixels.save(buffer, format="PNG", exif=pixels.getexif())
        return buffer.getvalue()
    try:
        return read_bytes(image.path, max_bytes=_MAX_IMAGE)
    except FileNotFoundError as error:
        raise ImageError(f"no image at {image.path}", hint="check the path") from error
    except OSError as error:
        raise ImageError(
            f"{image.path} cannot be read: {first_line(error)}", hint="check the path"
        ) from error


# --- Answers -------------------------------------------------------------------------------------------


def _only(found: list[Results]) -> Results:
    (results,) = found
    for error in results.errors:
        raise error
    return results


@contextmanager
def _understood() -> Iterator[None]:
    """What another kind of server answers is an EngineError."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, DataError) as error:
        raise _strange(type(error).__name__) from error


def _strange(why: str) -> EngineError:
    return EngineError(f"the answer is not one of mien serve ({why})", hint="check the address")


def _results(sent: _Sent, values: Mapping[str, Any], answer: Mapping[str, Any]) -> Results:
    return Results(
        source=str(sent.image.path),
        image=sent.image,
        error=_error(values["error"]),
        people=tuple(_person(person, answer) for person in values["people"]),
    )


def _person(values: Mapping[str, Any], answer: Mapping[str, Any]) -> Person:
    edges = values["box"]
    return Person(
        id=values["person"],
        box=None if edges is None else Box.from_tuple(tuple(edges)),
        box_source=values["box_source"],
        box_score=values["box_score"],
        prediction=_prediction(values, answer) if values["error"] is None else None,
        error=_error(values["error"]),
    )


def _prediction(values: Mapping[str, Any], answer: Mapping[str, Any]) -> Prediction:
    text, found = values["description"], values.get("prediction_set")
    description = None
    if text is not None:
        description = Description(
            key="",
            subject_id=str(values["person"]),
            text=text,
            prompt_id=values.get("prompt_id") or "",
            engine=values.get("engine") or "",
            finish=values.get("finish") or "stop",
        )
    return Prediction(
        subject_id=str(values["person"]),
        label_set=answer.get("label_set", ""),
        scores=values.get("scores", {}),
        dimensions=values.get("dimensions"),
        bounded=tuple(values.get("bounded", ())),
        description=description,
        status=values["status"],
        thresholds=answer.get("thresholds"),
        min_confidence=answer.get("min_confidence"),
        prediction_set=None if found is None else tuple(found),
        coverage=values.get("coverage"),
    )


def _error(detail: Mapping[str, Any] | None) -> MienError | None:
    return None if detail is None else from_code(detail["code"], detail["message"], detail["hint"])
