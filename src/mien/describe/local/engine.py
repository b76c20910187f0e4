"""Any Hugging Face image-text-to-text model, run in this process in batches with greedy decoding.

torch and transformers are imported with the first request, so a complete store needs no model. A batch gives
the same replies as its requests one by one, for two reasons: shorter prompts are padded on the left, away
from the text that follows, and the padding is masked. LLaVA lost 11 points at batch size 2 in a known
evaluation harness that did neither.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Final, Literal, Self

from pydantic import JsonValue

from mien.describe.engine import Engine, Reply, Request
from mien.describe.local.batch_size import AutoBatchSize
from mien.describe.local.encoder_decoder import EncoderDecoderScorer
from mien.describe.local.library import device_identity, is_out_of_memory, map_model_errors
from mien.describe.local.model import LoadOptions, LocalModel
from mien.describe.local.processor import square_image_size
from mien.describe.local.shared_prefix import PrefixScorer
from mien.errors import EngineDownError, EngineError
from mien.recipe import DescribeOptions, Options, RunOptions
from mien.weights.dtypes import resolve_dtype
from mien.weights.model_folder import find_model

__all__ = ["LocalEngine", "LocalOptions"]

_log = logging.getLogger(__name__)

# Raise this when the same model is prompted, or its output read, in another way.
_VERSION: Final = 1
# Requests have the same shape if their images and prompts differ less.
_SIDES: Final = 512  # pixels
_PROMPTS: Final = 512  # characters


class LocalOptions(Options):
    """[describe.options] of engine "local".

    Attributes:
        revision: branch, tag or commit of a model that is given by its Hugging Face id.
        quantize: load the weights in fewer bits (with bitsandbytes, on a GPU).
        compile: use torch.compile, which starts slowly. Its rounding may change a word, so both `quantize`
            and `compile` are part of the signature.
        thinking: turn the model's reasoning on or off in its chat template; by default the template decides.
            Reasoning is never part of a description, but it takes time and tokens.
    """

    revision: str | None = None
    quantize: Literal["8bit", "4bit"] | None = None
    compile: bool = False
    thinking: bool | None = None


class LocalEngine(Engine):
    """Runs a model in this process.

    Args:
        model: a folder, a Hugging Face id, or "playhouse" for the embedded model.
        dtype: floating-point type of the weights.
        device: where the model runs, such as "cpu" or "cuda".
        max_new_tokens: longest text, in tokens.
        revision: branch, tag or commit of a model of the Hub.
        quantize: see `LocalOptions`.
        compile: see `LocalOptions`.
        thinking: see `LocalOptions`.
        loaded: the model of that folder, if the caller has it in memory already.
    """

    def __init__(
        self,
        model: str | Path,
        *,
        dtype: Literal["float32", "bfloat16", "float16"] = "float32",
        device: str = "cpu",
        max_new_tokens: int = 160,
        revision: str | None = None,
        quantize: Literal["8bit", "4bit"] | None = None,
        compile: bool = False,
        thinking: bool | None = None,
        loaded: LocalModel | None = None,
    ) -> None:
        self._loaded = loaded
        self._folder = find_model(str(model), revision)
        self._load_options = LoadOptions(dtype=dtype, device=device, quantize=quantize, compile=compile)
        self._max_new_tokens = max_new_tokens
        self._thinking = thinking
        self._max_batch_size: int | None = None  # set once the memory ran out
        self._batch_sizes: dict[str, AutoBatchSize] = {}  # by shape, once someone asks for one
        self._lock = threading.Lock()

    @classmethod
    def open(cls, options: DescribeOptions, run: RunOptions) -> Self:
        own = LocalOptions.parse(options.options, where="[describe.options] of engine 'local'")
        return cls(
            options.model,
            dtype=resolve_dtype(options.dtype, run.device),
            device=run.device,
            max_new_tokens=options.max_new_tokens,
            revision=own.revision,
            quantize=own.quantize,
            compile=own.compile,
            thinking=own.thinking,
        )

    @property
    def name(self) -> str:
        return f"local/{self._folder.name}"

    @cached_property
    def signature(self) -> Mapping[str, JsonValue]:
        return {
            "engine": "local",
            "version": _VERSION,
            **self._folder.identity(),
            "dtype": self._load_options.dtype,
            **self._load_options.identity(),
            **({} if self._thinking is None else {"thinking": self._thinking}),
            "decoding": "greedy",
            "max_new_tokens": self._max_new_tokens,
        }

    @property
    def origin(self) -> Mapping[str, JsonValue] | None:
        return self._folder.origin()

    @cached_property
    def image_size(self) -> int | None:
        return square_image_size(self._folder.path)

    def best_batch_size(self, request: Request) -> int | None:
        with self._lock:
            return self._batch_size_for(request).size

    def describe(self, requests: Sequence[Request]) -> Sequence[Reply | EngineError]:
        with self._lock:
            replies: list[Reply | EngineError] = []
            while len(replies) < len(requests):
                replies += self._describe_first(requests[len(replies) :])
            return replies

    def yes_probabilities(
        self, requests: Sequence[Request], questions: Sequence[Sequence[str]]
    ) -> list[list[float] | EngineError]:
        """The probability of "yes" among "yes" and "no", per question about the images of each request.

        The images are read once for all questions, where the model allows it. An error of one request
        stands in its place.

        Args:
            requests: What to show; their prompts are not read.
            questions: Those about each request.

        Raises:
            EngineDownError: the model cannot be asked so.
        """

        def score(some: Sequence[int]) -> list[list[float]]:
            shown = [requests[index].images for index in some]
            return self._scorer.yes_probabilities(shown, [questions[index] for index in some])

        return self._score(range(len(requests)), score)

    def answer_log_likelihoods(
        self, requests: Sequence[Request], answers: Sequence[str]
    ) -> list[list[float] | EngineError]:
        """The mean log-probability of the tokens of each answer to the prompt of each request.

        Errors: as of `yes_probabilities`.
        """

        def score(some: Sequence[int]) -> list[list[float]]:
            shown = [requests[index].images for index in some]
            return self._scorer.answer_log_likelihoods(
                shown, [requests[index].prompt for index in some], answers
            )

        return self._score(range(len(requests)), score)

    def _score(
        self, indices: Sequence[int], score: Callable[[Sequence[int]], list[list[float]]]
    ) -> list[list[float] | EngineError]:
        """The scores of some requests, and of halves of them if that fails."""
        try:
            with self._lock, map_model_errors(self._folder):
                return list(score(indices))
        except EngineDownError:
            raise
        except EngineError as error:
            if len(indices) == 1:
                return [error]
            is_memory = is_out_of_memory(error)
        # Outside of the handler, because its traceback keeps the tensors alive.
        if is_memory:
            self._model.free_memory()
        middle = len(indices) // 2
        return [*self._score(indices[:middle], score), *self._score(indices[middle:], score)]

    def _describe_first(self, requests: Sequence[Request]) -> list[Reply | EngineError]:
        """Replies to as many of the first requests as fit into memory; remembers how many that are."""
        size = min(len(requests), self._max_batch_size or len(requests))
        with map_model_errors(self._folder):
            model = self._model  # here: running out of memory while loading is not about the batch
        while True:
            began = time.perf_counter()
            try:
                with map_model_errors(self._folder):
                    replies = model.describe(requests[:size], self._max_new_tokens, thinking=self._thinking)
                if (chosen := self._batch_sizes.get(_shape(requests[0]))) is not None:
                    chosen.record(size, time.perf_counter() - began)
                return replies
            except EngineError as error:
                if size == 1 or not is_out_of_memory(error):
                    raise
            # Outside of the handler, because its traceback keeps the tensors alive.
            size = self._max_batch_size = (size + 1) // 2
            for chosen in self._batch_sizes.values():
                chosen.limit(min(size, chosen.size))
            _log.info("out of memory; continuing with batches of %d", size)
            model.free_memory()

    def _batch_size_for(self, request: Request) -> AutoBatchSize:
        """The batch size for prompts of this shape."""
        shape = _shape(request)
        if shape not in self._batch_sizes:
            settings = {
                **self.signature,
                "shape": shape,
                "device": device_identity(self._load_options.device),
            }
            self._batch_sizes[shape] = AutoBatchSize(settings)
        return self._batch_sizes[shape]

    @cached_property
    def _scorer(self) -> PrefixScorer | EncoderDecoderScorer:
        if self._model.has_encoder:
            return EncoderDecoderScorer(self._model)
        return PrefixScorer(self._model, thinking=self._thinking)

    @cached_property
    def _model(self) -> LocalModel:
        return self._loaded or LocalModel.load(self._folder, self._load_options)


def _shape(request: Request) -> str:
    """What of a request decides how long a batch takes: its images, and about how long its prompt is."""
    sides = [math.ceil(max(image.size) / _SIDES) for image in request.images]
    return f"{len(sides)} images of {max(sides, default=0)}, prompt of {len(request.prompt) // _PROMPTS}"
