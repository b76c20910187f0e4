"""Opens the engine that a recipe names, on a cluster if the recipe asks for one."""

from __future__ import annotations

from functools import partial

from mien import registry
from mien.describe.engine import Engine
from mien.describe.ray.engine import ClusterEngine
from mien.describe.ray.ray_backend import RayBackend
from mien.errors import ConfigError
from mien.recipe import DescribeOptions, RunOptions
from mien.weights.hub import KnownModels, adopt_models, known_models

__all__ = ["open_engine"]


def open_engine(options: DescribeOptions, run: RunOptions) -> Engine:
    """Opens the engine of `[describe]`; if `[run] cluster` is set, in workers of that cluster.

    Args:
        options: which engine, which model, and how it decodes. `options.engine` is a name in the registry
            or "package.module:Class".
        run: device, batch size and place, which never change the text.

    Raises:
        ConfigError: the name is not an engine, or an option is invalid.
        UnknownNameError: no engine has this name.
        WeightsError: the model is not available.
    """
    if run.cluster is not None:
        return _open_on_cluster(options, run)
    engine_class = registry.resolve("engine", options.engine)
    if not (isinstance(engine_class, type) and issubclass(engine_class, Engine)):
        raise ConfigError(
            f"engine {options.engine!r} is not an engine",
            hint="name a subclass of mien.describe.engine.Engine",
        )
    return engine_class.open(options, run)


def _open_on_cluster(options: DescribeOptions, run: RunOptions) -> ClusterEngine:
    here = run.model_copy(update={"cluster": None})
    inner = open_engine(options, here)
    # Sent to the workers, each of which opens the engine in its own process.
    open_in_worker = partial(_open_in_worker, options, here, known_models())
    backend = RayBackend(inner, open_in_worker, run)
    return ClusterEngine(inner, backend, size=run.actors, timeout=run.cluster_timeout)


def _open_in_worker(options: DescribeOptions, run: RunOptions, models: KnownModels) -> Engine:
    adopt_models(models)
    return open_engine(options, run)
