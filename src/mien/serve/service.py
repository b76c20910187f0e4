"""One service: it takes requests within its limits, gives them to the model, and waits for the answers."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, cast

from starlette.requests import Request

from mien.errors import EngineDownError
from mien.serve.batching import Batcher, Job, deadline_error
from mien.serve.errors import RequestError
from mien.serve.inference import ExplainWork, ServedModel
from mien.serve.limits import BodyReader, ByteBudget, ClientLeftError, wait_until_left
from mien.serve.metrics import Metrics
from mien.serve.schemas import (
    DescribeAnswer,
    DescribedImage,
    ExplainAnswer,
    ExplainRequest,
    ImagesRequest,
    PredictAnswer,
    PredictedImage,
)
from mien.serve.settings import ServiceOptions
from mien.serve.uploads import read_request, uploads_of

__all__ = ["Service"]

_MAX_RETRY_AFTER: Final = 60  # seconds
_MAX_FAILED: Final = 5  # batches in a row, after which the model counts as broken


@dataclass(slots=True)
class _Load:
    """Requests that were accepted and have no answer yet."""

    pending: int = 0
    explaining: int = 0


class Service:
    """Answers requests with one model. Its methods are for the thread of the event loop.

    Args:
        model: Predicts.
        options: The limits.
    """

    def __init__(self, model: ServedModel, options: ServiceOptions) -> None:
        self.model, self.options = model, options
        self.metrics = Metrics()
        self.card = model.card
        self._load = _Load()
        self._budget = ByteBudget(options.max_pending_bytes)
        self.metrics.pending_bytes.set_function(lambda: self._budget.held)
        self._batcher = Batcher(
            model.run,
            max_batch=options.max_batch,
            max_wait=options.max_wait,
            num_pending=lambda: self._load.pending,
            on_batch=self.metrics.count_batch,
        )
        self.metrics.waiting.set_function(lambda: self._batcher.num_waiting)
        self._is_warm = self._is_draining = False

    # --- Life ---

    async def start(self) -> None:
        """Loads the model; raises what makes it unusable. After that the service is ready."""
        await asyncio.wrap_future(self._batcher.start(self.model.warm_up))
        self._is_warm = True
        self.metrics.ready.set(1)

    def drain(self) -> None:
        """Accepts no more requests; those that were accepted are answered."""
        self._is_draining = True
        self.metrics.ready.set(0)

    def close(self) -> None:
        """Ends the thread of the model, if it was started."""
        self.drain()
        self._batcher.close()

    @property
    def is_ready(self) -> bool:
        """Whether new requests are accepted."""
        return self._is_warm and not self._is_draining and self._batcher.is_alive

    def require_alive(self) -> None:
        """EngineDownError if the model will not answer again, so that the process must be replaced."""
        if self._is_draining:
            return  # it ends anyway, and has requests to answer
        if self._is_warm and not self._batcher.is_alive:
            raise EngineDownError("the thread of the model has ended", hint="restart the service")
        count = self._batcher.num_failed
        if count >= _MAX_FAILED:
            raise EngineDownError(f"the last {count} batches failed", hint="restart the service; see its log")

    def require_ready(self) -> None:
        """RequestError 503 unless new requests are accepted."""
        if not self.is_ready:
            why = "is still loading its model"
            if self._is_draining:
                why = "is shutting down"
            elif self._is_warm:
                why = "has lost its model"
            raise RequestError(503, "not_ready", f"the service {why}", hint="try again later", retry_after=5)

    @property
    def num_pending(self) -> int:
        """Requests that were accepted and have no answer yet."""
        return self._load.pending

    # --- Requests ---

    async def predict(self, request: Request) -> PredictAnswer:
        """Finds and scores the people in the images of a request."""
        results = cast("list[PredictedImage]", await self._read_images(request, "predict"))
        calibration = self.model.calibration
        return PredictAnswer(
            model=self.model.name,
            label_set=self.card.label_set,
            thresholds=None if calibration is None else calibration.by_label(),
            min_confidence=None if calibration is None else calibration.min_confidence,
            results=results,
        )

    async def describe(self, request: Request) -> DescribeAnswer:
        """Finds and describes the people in the images of a request."""
        self._require("describe", "writes no descriptions")
        results = cast("list[DescribedImage]", await self._read_images(request, "describe"))
        return DescribeAnswer(model=self.model.name, results=results)

    async def explain(self, request: Request) -> ExplainAnswer:
        """Explains the scores of one person."""
        self._require("explain", "was not trained, so its scores cannot be explained")
        with self._accepted(is_explaining=True) as deadline, self._reader(request) as reader:
            body = await read_request(reader, _content_type(request), ExplainRequest, self.options)
            (upload,) = uploads_of(body, self.options)
            work = ExplainWork(upload=upload, request=body)
            job = Job(kind="explain", payload=work, is_shared=False, deadline=deadline)
            return cast("ExplainAnswer", await self._answer(job, request))

    async def _read_images(self, request: Request, kind: str) -> Sequence[PredictedImage | DescribedImage]:
        with self._accepted() as deadline, self._reader(request) as reader:
            body = await read_request(reader, _content_type(request), ImagesRequest, self.options)
            uploads = uploads_of(body, self.options)
            del body
            job = Job(kind=kind, payload=uploads, size=len(uploads), deadline=deadline)
            images: list[PredictedImage | DescribedImage] = await self._answer(job, request)
        for image in images:
            self.metrics.images.labels(image.status).inc()
            self.metrics.people.inc(len(image.people))
        return images

    def _require(self, endpoint: str, why_not: str) -> None:
        if endpoint not in self.model.endpoints:
            raise RequestError(
                404, "not_found", f"the model {why_not}", hint="see /v1/models for what it can do"
            )

    @contextmanager
    def _accepted(self, *, is_explaining: bool = False) -> Iterator[float]:
        """Counts a request as accepted until the block ends; gives its deadline, by `time.monotonic`.

        Raises:
            RequestError: 503 before the service is ready and while it drains, 429 if it has too much to do.
        """
        load, options = self._load, self.options
        self.require_ready()
        if load.pending >= options.max_pending or (
            is_explaining and load.explaining >= options.max_explaining
        ):
            raise self._overloaded()
        load.pending += 1
        load.explaining += is_explaining
        self.metrics.pending.set(load.pending)
        try:
            yield time.monotonic() + options.deadline
        finally:
            load.pending -= 1
            load.explaining -= is_explaining
            self.metrics.pending.set(load.pending)

    def _overloaded(self) -> RequestError:
        seconds = math.ceil(self._batcher.seconds_for(max(1, self._batcher.num_waiting)))
        return RequestError(
            429,
            "overloaded",
            "the service has too many requests",
            hint="try again after the seconds of Retry-After",
            retry_after=min(_MAX_RETRY_AFTER, max(1, seconds)),
        )

    def _reader(self, request: Request) -> BodyReader:
        encoding = request.headers.get("content-encoding", "identity").lower()
        if encoding != "identity":
            raise RequestError(
                415,
                "unsupported_media_type",
                "the body is compressed",
                hint="send it without Content-Encoding; images are compressed already",
            )
        declared = request.headers.get("content-length")
        return BodyReader(request.receive, self.options, self._budget, declared)

    async def _answer(self, job: Job, request: Request) -> Any:
        """The answer of the model, unless it is late or the client leaves, which cancels the job.

        Raises:
            RequestError: The answer is late, or the model failed.
            ClientLeftError: The client has closed the connection.
        """
        self._batcher.submit(job)
        answered = asyncio.wrap_future(job.future)
        left = asyncio.ensure_future(wait_until_left(request.receive))
        try:
            await asyncio.wait(
                {answered, left},
                timeout=max(0.0, job.deadline - time.monotonic()),
                return_when=asyncio.FIRST_COMPLETED,
            )
            if answered.done():
                return answered.result()
            raise ClientLeftError if left.done() else deadline_error()
        finally:
            answered.cancel()  # and with it the job
            left.cancel()


def _content_type(request: Request) -> str:
    return request.headers.get("content-type", "")
