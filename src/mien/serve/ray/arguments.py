"""The arguments of an application: which model its replicas serve, what each reserves, and its limits."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from mien.errors import UsageError, nearest_hint
from mien.predict.detect.open import NO_DETECTOR
from mien.recipe.zero_shot import ZeroShotMethod
from mien.registry import registered_names
from mien.serve.ray.environment import DEFAULT_MAX_UPLOAD, max_body_bytes, token
from mien.serve.settings import ServiceOptions
from mien.weights.model_folder import EMBEDDED

__all__ = ["Arguments"]

# A folder may have such a name, but it is not what is meant.
_NOT_PATHS: Final = {
    "zero_shot": (EMBEDDED,),
    "detector": (*NO_DETECTOR, EMBEDDED, *registered_names("detector")),
}


class Arguments(BaseModel):
    """What `serve run mien.serve.ray:app NAME=VALUE ...` or `args` of a Serve configuration may say.

    Unlike the options of a recipe, numbers may be text, because on the command line all values are.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)

    run: str | None = None
    """A run, a saved folder, or a name on the Hugging Face Hub; each node must be able to read it."""
    zero_shot: str | None = None
    """Instead of a run: the model that scores labels without training."""
    method: ZeroShotMethod | None = None
    """How that model scores labels."""
    labels: str | None = None
    """Its labels: a label set, or names with commas."""
    calibration: str | None = None
    """A run or a file of `mien calibrate`."""
    detector: str | None = None
    """Finds the people, as in `mien serve --detector`."""
    name: str | None = None
    """What clients call the model; by default its last part."""
    replicas: int = Field(default=1, ge=1)
    """Processes that each load the model."""
    cpus: float = Field(default=1.0, gt=0)
    """Cores that each replica reserves and uses."""
    gpus: float = Field(default=0.0, ge=0)
    """GPUs that each replica reserves; it sees no other."""
    max_batch: int = 32
    """As `mien serve --max-batch`, per replica, like all that follow."""
    max_wait: float = 5.0
    """Milliseconds."""
    max_pending: int = 64
    deadline: float = 60.0
    """Seconds from when a replica gets a request to its answer."""
    max_upload: float = Field(default=DEFAULT_MAX_UPLOAD, gt=0)
    """MiB; the proxies have a limit of their own, see `mien.serve.ray.proxy`."""
    max_pixels: float = 80.0
    """Megapixels."""
    drain: float = 30.0
    """Seconds that a replica has to answer what it accepted before it ends."""
    unguarded: bool = False
    """Whether to answer requests that did not pass `mien.serve.ray.proxy`, so that another proxy must bound
    their bodies. It needs a token."""

    @classmethod
    def parse(cls, given: Mapping[str, Any]) -> Arguments:
        """The arguments of names and values; UsageError for the first that is wrong."""
        for name in given:
            if name not in cls.model_fields:
                hint = nearest_hint(name, cls.model_fields, kind="arguments")
                raise UsageError(f"unknown argument {name!r}", hint=hint)
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=False)[0]
            name = ".".join(map(str, first["loc"]))
            message = first["msg"].removeprefix("Value error, ")
            raise UsageError(f"{name} is {first['input']!r}: {message}" if name else message) from None

    @model_validator(mode="after")
    def _one_model(self) -> Arguments:
        zero_shot = (self.zero_shot, self.method, self.labels, self.calibration)
        if self.run is not None and any(value is not None for value in zero_shot):
            raise ValueError("run excludes zero_shot, method, labels and calibration")
        if self.run is None and all(value is None for value in zero_shot):
            raise ValueError("give run, or zero_shot")
        return self

    def with_absolute_paths(self) -> Arguments:
        """The same, with full paths for what exists here: replicas start in other folders."""
        names = ("run", "zero_shot", "calibration", "detector")
        values = {name: getattr(self, name) for name in names}
        found = {
            name: str(Path(value).absolute())
            for name, value in values.items()
            if _exists(value) and value not in _NOT_PATHS.get(name, ())
        }
        return self.model_copy(update=found)

    def service_options(self) -> ServiceOptions:
        """The limits of a replica, with the token of this process's environment.

        Raises:
            UsageError: A number is too small, or the token too short, or missing where it is needed.
        """
        return ServiceOptions(
            token=token(unguarded=self.unguarded),
            max_batch=self.max_batch,
            max_wait=self.max_wait / 1000,
            max_pending=self.max_pending,
            deadline=self.deadline,
            max_body_bytes=max_body_bytes(self.max_upload),
            max_pixels=int(self.max_pixels * 1e6),
            drain_seconds=self.drain,
        )


def _exists(value: str | None) -> bool:
    # A name on the Hub has the form of a relative path.
    return value is not None and Path(value).exists()
