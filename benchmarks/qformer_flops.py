"""FLOP/s of the Q-Former's training step, relative to plain matrix products.

    python benchmarks/qformer_flops.py [--batch 8] [--repeats 5] [--layers 12] [--width 768] [--device cpu]

One step is forward, backward and AdamW of the fused model on cached features of ViT-B/16 at 224 pixels and
a description, with the package's own training code. Torch counts the FLOPs of the forward and backward
pass. For comparison, alternating, it measures the matrix products that a layer consists of, with the same
rows, widths and number type and nothing in between: what the machine can deliver. Prints JSON.
"""

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from mien.labels import EMOTIC
from mien.model.build import InputSpec, build_classifier
from mien.model.classifier import Classifier
from mien.recipe import Recipe
from mien.train.losses import build_loss
from mien.train.optimizer import build_optimizer, clip_gradients
from mien.train.precision import MixedPrecision

VOCABULARY = 30522


class Step:
    """A Q-Former with its optimizer, and one batch of synthetic inputs."""

    def __init__(self, options: argparse.Namespace) -> None:
        torch.manual_seed(0)
        table = {
            "name": "flops",
            "model": {
                "width": options.width,
                "layers": options.layers,
                "heads": options.width // 64,
                "num_queries": options.queries,
            },
        }
        recipe = Recipe.parse(table, where="benchmark")
        sizes = InputSpec(label_set=EMOTIC, image_dim=options.image_dim, vocab_size=VOCABULARY)
        self.device = torch.device(options.device)
        self.classifier: Classifier = build_classifier(recipe, sizes).to(self.device).train()
        self.optimizer = build_optimizer(self.classifier, recipe.train)
        self.loss = build_loss(recipe.train, EMOTIC)
        self.precision = MixedPrecision(options.precision, self.device)
        rows = options.batch
        self.image = torch.randn(rows, options.image_tokens, options.image_dim, device=self.device)
        self.ids = torch.randint(VOCABULARY, (rows, options.text_tokens), device=self.device)
        self.mask = torch.ones_like(self.ids, dtype=torch.bool)
        self.targets = torch.randint(0, 2, (rows, len(EMOTIC)), device=self.device).float()
        self.dimensions = torch.rand(rows, 3, device=self.device)

    def forward_backward(self) -> None:
        """The forward and backward pass."""
        self.optimizer.zero_grad(set_to_none=True)
        with self.precision.autocast():
            output = self.classifier(self.image, self.ids, self.mask)
        self.precision.backward(self.loss(output, self.targets, self.dimensions))

    def __call__(self) -> None:
        """A complete step."""
        self.forward_backward()
        clip_gradients(self.classifier, 1.0, step=0)
        self.optimizer.step()

    def flops(self) -> int:
        """FLOPs of forward and backward; attention counts as its matrix products with any kernel."""
        counter = FlopCounterMode(display=False)
        with counter, sdpa_kernel(SDPBackend.MATH):
            self.forward_backward()
        return int(counter.get_total_flops())


class Products:
    """The matrix products of a feed-forward and an attention's projections, forward and backward."""

    def __init__(self, options: argparse.Namespace) -> None:
        rows, width = options.batch * (options.queries + options.text_tokens), options.width
        kind = getattr(torch, options.precision)
        sizes = ((width, 3 * width), (width, width), (width, 4 * width), (4 * width, width))

        def random(*shape: int) -> Tensor:
            return torch.randn(*shape, device=options.device).to(kind)

        self.given = [
            (random(rows, inner), random(outer, inner), random(rows, outer)) for inner, outer in sizes
        ]
        self.flops = sum(3 * 2 * rows * inner * outer for inner, outer in sizes)

    def __call__(self) -> None:
        for states, weight, gradient in self.given:
            states @ weight.T
            gradient @ weight
            gradient.T @ states


def seconds_of(work: Callable[[], object], device: torch.device) -> float:
    """Seconds of one call, including the kernels that it started."""
    start = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print one JSON document."""
    options = parser().parse_args(arguments)
    torch.set_num_threads(options.threads)
    step, products = Step(options), Products(options)
    flops = step.flops()
    variants = {"step": step, "forward_backward": step.forward_backward, "products": products}
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for turn in range(options.repeats + 1):
        for name, work in variants.items():
            elapsed = seconds_of(work, step.device)
            if turn:
                seconds[name].append(elapsed)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    plain = products.flops / medians["products"]
    document = {
        "schema": 1,
        "benchmark": "qformer_flops",
        "options": vars(options),
        "torch": torch.__version__,
        "python": sys.version.split()[0],
        "parameters": sum(weight.numel() for weight in step.classifier.parameters()),
        "gflop_per_sample": flops / options.batch / 1e9,
        "seconds": {
            name: {"median": medians[name], "low": min(v), "high": max(v)} for name, v in seconds.items()
        },
        "gflop_per_second": {
            "products": plain / 1e9,
            "forward_and_backward": flops / medians["forward_backward"] / 1e9,
            "whole_step": flops / medians["step"] / 1e9,
        },
        "share_of_products": {
            "forward_and_backward": flops / medians["forward_backward"] / plain,
            "whole_step": flops / medians["step"] / plain,
        },
    }
    print(json.dumps(document, indent=2))


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    made.add_argument("--batch", type=int, default=8)
    made.add_argument("--repeats", type=int, default=5)
    made.add_argument("--layers", type=int, default=12)
    made.add_argument("--width", type=int, default=768)
    made.add_argument("--queries", type=int, default=32)
    made.add_argument("--image-tokens", type=int, default=197)
    made.add_argument("--image-dim", type=int, default=768)
    made.add_argument("--text-tokens", type=int, default=128)
    made.add_argument("--threads", type=int, default=1)
    made.add_argument("--device", default="cpu")
    made.add_argument("--precision", default="float32", choices=("float32", "bfloat16"))
    return made


if __name__ == "__main__":
    main()
