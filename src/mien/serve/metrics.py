"""What a service counts, for Prometheus. No value or label of it is about a person or an image."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.samples import Sample

__all__ = ["CONTENT_TYPE", "Metrics"]

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_SIZES: Final = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
    """The numbers of one service; two services in one process do not share them."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        registry = self._registry
        self.requests = Counter(
            "mien_requests", "Requests that ended.", ["endpoint", "status"], registry=registry
        )
        self.seconds = Histogram(
            "mien_request_seconds", "Time of a request.", ["endpoint"], buckets=_SECONDS, registry=registry
        )
        self.refused = Counter(
            "mien_refused",
            "Requests that were refused, by the code of the error.",
            ["code"],
            registry=registry,
        )
        self.pending = Gauge(
            "mien_pending_requests", "Requests that are read, wait, or are answered.", registry=registry
        )
        self.pending_bytes = Gauge("mien_pending_bytes", "Bytes of bodies that are held.", registry=registry)
        self.waiting = Gauge(
            "mien_waiting_images", "Images that wait for the model; not those in it.", registry=registry
        )
        self.images = Counter("mien_images", "Images by their status.", ["status"], registry=registry)
        self.people = Counter("mien_people", "People that were found or given.", registry=registry)
        self.batches = Histogram(
            "mien_batch_images", "Images per batch of the model.", buckets=_SIZES, registry=registry
        )
        self.model_seconds = Counter(
            "mien_model_seconds", "Seconds that the model was busy.", registry=registry
        )
        self.left = Counter("mien_clients_left", "Requests whose client left early.", registry=registry)
        self.ready = Gauge("mien_ready", "1 if the service answers, else 0.", registry=registry)

    def count_batch(self, num_images: int, seconds: float) -> None:
        """Counts a batch of the model."""
        self.batches.observe(num_images)
        self.model_seconds.inc(seconds)

    def samples(self) -> Iterator[Sample]:
        """All of them, one by one, without the times at which counting began."""
        for family in self._registry.collect():
            yield from (sample for sample in family.samples if not sample.name.endswith("_created"))

    def text(self) -> bytes:
        """All of them, in the format of Prometheus."""
        return generate_latest(self._registry)
