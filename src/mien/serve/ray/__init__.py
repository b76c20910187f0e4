"""The service on Ray Serve: replicas of a model on one machine or many, behind Serve's HTTP proxies.

`serve run mien.serve.ray:app run=runs/emotic replicas=2`
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mien.serve.ray.deployment import app

__all__ = ["app"]


def __getattr__(name: str) -> object:
    # On demand, because Serve's proxies import `mien.serve.ray.proxy` alone.
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from mien.serve.ray.deployment import app

    return app
