"""The section `[run]`: speed and place, never part of the digest."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

from pydantic import Field, NonNegativeFloat, PositiveInt

from mien.recipe.options import Options

__all__ = ["DEFAULT_BATCH_SIZE", "RunOptions"]

DEFAULT_BATCH_SIZE: Final = 8


class RunOptions(Options):
    """`[run]`: device, workers, servers, cluster, paths. Nothing here changes a result."""

    device: str = "cpu"
    """Device: `cpu`, `cuda`, `cuda:1`, `mps`."""

    workers: int = Field(default=0, ge=0, le=4096)
    """Threads that prepare images."""

    threads: int | None = Field(default=None, gt=0, le=4096)
    """Threads of computation; of each worker, on a cluster."""

    batch_size: PositiveInt | Literal["auto"] = "auto"
    """Images per batch when describing and encoding; `[train]` has its own. With `auto`, the engine `local`
    finds the size that describes fastest, and all others take 8."""

    endpoints: tuple[str, ...] = ()
    """Base addresses of the servers of the engine `remote`."""

    concurrency: int = Field(default=16, gt=0)
    """Requests in flight, over all servers."""

    timeout: float = Field(default=120.0, gt=0)
    """Seconds to wait for a reply of a server."""

    retries: int = Field(default=5, ge=0)
    """How often a failed request to a server is repeated."""

    use_proxies: bool = True
    """Reach servers through the proxies in the environment (HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY)."""

    ca_file: Path | None = None
    """File of certificates (PEM) to trust for servers, in addition to those of this machine."""

    cluster: str | None = Field(default=None, min_length=1)
    """Run the engine on Ray: `ray` on this machine, or the address of a cluster."""

    actors: int | None = Field(default=None, gt=0)
    """Workers on the cluster. By default as many as fit, checked again as nodes join."""

    cpus_per_actor: float = Field(default=1.0, ge=0)
    """CPUs to reserve per worker."""

    gpus_per_actor: float = Field(default=0.0, ge=0)
    """GPUs to reserve per worker."""

    cluster_timeout: float = Field(default=600.0, gt=0)
    """Seconds after which a worker that does not answer is given up; loading the model counts."""

    price_per_million_tokens: tuple[NonNegativeFloat, NonNegativeFloat] | None = None
    """Prices of input and output tokens, in any currency, for the estimate before a run."""

    checkpoint_activations: bool = False
    """Compute activations twice to save memory."""

    compile: bool = False
    """Compile the model with torch.compile; worthwhile on GPUs."""

    log_to: tuple[Literal["tensorboard", "wandb"], ...] = ()
    """Trackers to write to, in addition to events.jsonl."""

    keep_last: bool = False
    """Keep the last weights in addition to the best ones."""

    out: Path | None = None
    """Run directory. By default runs/NAME."""

    store: Path | None = None
    """File of descriptions. By default descriptions.sqlite in the run directory."""

    cache: Path | None = None
    """Folder of features. By default features in the run directory."""

    @property
    def fixed_batch_size(self) -> int:
        """`batch_size`, or 8 where "auto" chooses nothing."""
        return DEFAULT_BATCH_SIZE if self.batch_size == "auto" else self.batch_size
