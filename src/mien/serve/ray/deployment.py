"""The deployment: replicas of the service that Ray Serve starts, watches, replaces and drains.

Only this module and `mien.describe.ray.connection` import Ray.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import ray
from prometheus_client.samples import Sample
from ray import serve
from ray.serve.metrics import Gauge
from starlette.types import ASGIApp

from mien.errors import MienError, UsageError
from mien.serve.ray.arguments import Arguments
from mien.serve.ray.refusals import log_to_serve

if TYPE_CHECKING:
    from mien.serve.ray.replica import ReplicaApp

__all__ = ["app"]

log = logging.getLogger(__name__)

# Requests in addition to those that a replica takes on: they ask for its state, or it refuses them with 429.
_OTHER_REQUESTS = 16
_MIN_VERSION = (2, 58)  # in older ones anyone on the network can use the ports of replicas, also with a token
_HEALTH_SECONDS = 10.0  # between two checks, at which the metrics are reported as well


class Mien:
    """One replica."""

    app: ReplicaApp  # of `serve.ingress`

    def __init__(self) -> None:
        self._metrics = _RayMetrics()

    def check_health(self) -> None:
        """Raises if the replica must be replaced."""
        self.app.check_health()
        try:
            self._metrics.report(self.app.samples())
        except Exception as error:  # noqa: BLE001  Serve would replace a healthy replica
            log.warning("metrics were not reported: %s", error)

    def __del__(self) -> None:
        if hasattr(self, "app"):  # the model was loaded
            self.app.close()


class _RayMetrics:
    """Reports the counters of a service to Ray, which exports those of all replicas, each with its id."""

    def __init__(self) -> None:
        self._gauges: dict[str, Gauge] = {}

    def report(self, samples: Iterable[Sample]) -> None:
        for sample in samples:
            gauge = self._gauges.get(sample.name)
            if gauge is None:
                names: Any = tuple(sample.labels)  # Ray says that there is exactly one
                gauge = self._gauges[sample.name] = Gauge(sample.name, tag_keys=names)
            gauge.set(sample.value, sample.labels)


def app(arguments: Mapping[str, Any] | Arguments) -> serve.Application:
    """Builds the application: `serve run mien.serve.ray:app run=runs/emotic replicas=2`.

    Replicas read the token of clients from the environment of their node, MIEN_SERVE_TOKEN.

    Args:
        arguments: See `Arguments`; Serve gives what follows on the command line, or `args`.

    Raises:
        MienError: An argument is unknown or wrong, or Ray is too old, or runs without a token.
    """
    with _hints_in_messages():
        _check_ray()
        if not isinstance(arguments, Arguments):
            arguments = Arguments.parse(arguments)
        arguments = arguments.with_absolute_paths()
        options = arguments.service_options()

    def build() -> ASGIApp:
        from mien.serve.ray.replica import ReplicaApp

        log_to_serve()
        with _hints_in_messages():
            _check_ray()
            return ReplicaApp(arguments, serve.get_replica_context().replica_id.unique_id)

    deployment: Any = serve.deployment(
        serve.ingress(build)(Mien),
        name="mien",
        num_replicas=arguments.replicas,
        ray_actor_options={"num_cpus": arguments.cpus, "num_gpus": arguments.gpus},
        max_ongoing_requests=options.max_pending + _OTHER_REQUESTS,
        max_queued_requests=options.max_pending,
        graceful_shutdown_timeout_s=options.drain_seconds,
        health_check_period_s=_HEALTH_SECONDS,
        logging_config={"enable_access_log": False},  # the service logs each request itself
    )
    application: serve.Application = deployment.bind()
    return application


@contextmanager
def _hints_in_messages() -> Iterator[None]:
    """Serve shows the message of an error, which is to say what to do as well."""
    try:
        yield
    except MienError as error:
        raise MienError(f"{error}; {error.hint}" if error.hint else str(error)) from None


def _check_ray() -> None:
    """UsageError where other machines could use Ray's ports without a token."""
    if tuple(int(part) for part in ray.__version__.split(".")[:2]) < _MIN_VERSION:
        raise UsageError(
            f"Ray {ray.__version__} does not protect the ports of replicas",
            hint='upgrade it with: pip install "mien[serve-ray]"',
        )
    if not os.environ.get("RAY_AUTH_MODE"):
        raise UsageError(
            "Ray runs without a token, so anyone who reaches its ports could run programs",
            hint="start Ray with RAY_AUTH_MODE=token and RAY_AUTH_TOKEN on each node, or with "
            "RAY_AUTH_MODE=disabled where nothing else reaches them",
        )
