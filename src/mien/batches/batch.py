"""A split as tensors, and its batches in a seeded order. All but features and images is in memory."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from mien.errors import DataError
from mien.features.cache import FeatureReader
from mien.features.image_reader import ImageReader
from mien.features.text import TextTokenizer
from mien.labels import LabelSet
from mien.model.build import InputSpec
from mien.model.label_names import LabelTokens
from mien.types import DIMENSIONS, Sample

__all__ = [
    "Batch",
    "ImageInputs",
    "SplitData",
    "TextInputs",
    "build_split",
    "image_groups",
    "require_samples",
    "shuffled_batches",
]

# Batches are cut from pools of this many batches, sorted by length: texts of similar length need little
# padding, and the order stays random enough.
_POOL_BATCHES: Final = 16


@dataclass(frozen=True, slots=True)
class Batch:
    """Some samples of a split. Inputs that were not requested are None.

    Attributes:
        image: Image tokens, or pixels of 0 to 255 for an encoder that is trained.
        text_ids: Token ids.
        text_mask: True where a text token is real.
        targets: Target of each label, 0 to 1.
        dimensions: Valence, arousal and dominance, 0 to 1; NaN where they are not annotated.
    """

    image: Float[Tensor, "batch patch image_dim"] | UInt8[Tensor, "batch image height width channel"] | None
    text_ids: Int[Tensor, "batch token"] | None
    text_mask: Bool[Tensor, "batch token"] | None
    targets: Float[Tensor, "batch label"]
    dimensions: Float[Tensor, "batch dimension"]


@dataclass(frozen=True, slots=True)
class ImageInputs:
    """The images of a split.

    Attributes:
        reader: Reads their features, or, for an encoder that is trained, their pixels.
        signature: The encoder's.
        num_frames: Frames per view.
        num_views: Views per subject, one after another.
    """

    reader: FeatureReader | ImageReader
    signature: str
    num_frames: int = 1
    num_views: int = 1


@dataclass(frozen=True, slots=True)
class TextInputs:
    """The descriptions of a split as token ids.

    Attributes:
        ids: Token ids, padded to the longest text.
        lengths: Tokens per text; 0 for a subject without a description.
        vocab_size: Token ids are below this.
        signature: The tokenizer's.
        label_tokens: Per label, the token ids of each of its names.
    """

    ids: Int[Tensor, "sample token"]
    lengths: Int[Tensor, " sample"]
    vocab_size: int
    signature: str
    label_tokens: LabelTokens = ()

    @classmethod
    def encode(
        cls, texts: Sequence[str | None], tokenizer: TextTokenizer, labels: Sequence[str] = ()
    ) -> "TextInputs":
        """Tokenizes texts, in order, and the names of labels; None for a subject without a description."""
        ids, mask = tokenizer.encode(["" if text is None else text for text in texts])
        has_text = torch.tensor([text is not None for text in texts])
        names = tuple(map(tokenizer.name_tokens, labels))
        return cls(ids, mask.sum(dim=1) * has_text, tokenizer.vocab_size, tokenizer.signature, names)

    @property
    def mask(self) -> Bool[Tensor, "sample token"]:
        """True where a token is real."""
        return torch.arange(self.ids.shape[1]) < self.lengths[:, None]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SplitData:
    """The inputs and targets of a split.

    Attributes:
        split: The name of the split.
        label_set: The labels, in the order of `targets`.
        ids: The subjects' ids, in order.
        groups: The image of each sample; people in one image share it.
        targets: Target of each label, 0 to 1.
        dimensions: Valence, arousal and dominance, 0 to 1; NaN where they are not annotated.
        images: The images, or None.
        texts: The descriptions, or None.
    """

    split: str
    label_set: LabelSet
    ids: tuple[str, ...]
    groups: tuple[str, ...]
    targets: Float[Tensor, "sample label"]
    dimensions: Float[Tensor, "sample dimension"]
    images: ImageInputs | None
    texts: TextInputs | None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def spec(self) -> InputSpec:
        """What a classifier for this split reads."""
        return InputSpec(
            label_set=self.label_set,
            image_dim=self.image_dim,
            vocab_size=self.vocab_size,
            num_frames=self.num_frames,
            num_views=self.num_views,
            dimensions=bool(self.dimensions.isfinite().any()),
            vision_signature=None if self.images is None else self.images.signature,
            tokenizer_signature=None if self.texts is None else self.texts.signature,
            label_tokens=() if self.texts is None else self.texts.label_tokens,
        )

    @property
    def image_dim(self) -> int | None:
        """Width of an image token; None without images."""
        return None if self.images is None else self.images.reader.dim

    @property
    def num_frames(self) -> int:
        """Frames per view; 1 without images."""
        return 1 if self.images is None else self.images.num_frames

    @property
    def num_views(self) -> int:
        """Views per subject; 1 without images."""
        return 1 if self.images is None else self.images.num_views

    @property
    def num_variants(self) -> int:
        """Variants per image, of which the first is the image as it is; 1 without images."""
        return 1 if self.images is None else self.images.reader.num_variants

    @property
    def vocab_size(self) -> int | None:
        """Token ids are below this; None without texts."""
        return None if self.texts is None else self.texts.vocab_size

    @property
    def lengths(self) -> Int[np.ndarray, " sample"]:
        """Tokens per text; zeros without texts."""
        return np.zeros(len(self), dtype=np.int64) if self.texts is None else self.texts.lengths.numpy()

    def batch(
        self,
        indices: Int[np.ndarray, " batch"],
        *,
        image: bool = True,
        text: bool = True,
        device: torch.device | str = "cpu",
        drop_text: Bool[np.ndarray, " batch"] | None = None,
        variants: Int[np.ndarray, " batch"] | None = None,
    ) -> Batch:
        """Some samples as tensors.

        Args:
            indices: Which samples.
            image: Whether to read images, if there are any.
            text: Whether to include descriptions, if there are any.
            device: Where to put the tensors.
            drop_text: True for samples whose description is left out: their mask is all false.
            variants: Which variant of each image; 0 by default.
        """
        rows = torch.from_numpy(indices)
        pixels = ids = mask = None
        if image and self.images is not None:
            # Cast on the device: float16 halves the transfer.
            pixels = torch.from_numpy(self.images.reader.read(indices, variants)).to(device)
            pixels = pixels.float() if pixels.is_floating_point() else pixels
        if text and self.texts is not None:
            lengths = self.texts.lengths[rows]
            if drop_text is not None:
                lengths = torch.where(torch.from_numpy(drop_text), 0, lengths)
            # If no sample has a text, one masked token stands in.
            longest = min(max(1, int(lengths.max())), self.texts.ids.shape[1])
            ids = self.texts.ids[rows, :longest].to(device)
            mask = (torch.arange(longest) < lengths[:, None]).to(device)
        return Batch(pixels, ids, mask, self.targets[rows].to(device), self.dimensions[rows].to(device))

    def fingerprint(self) -> str:
        """A digest of everything that training on this split depends on."""
        sha = hashlib.sha256("\n".join((self.split, *self.label_set.labels, *self.ids)).encode())
        for values in (self.targets, self.dimensions):
            sha.update(values.numpy().tobytes())
        if self.images is not None:
            sha.update(f"{self.images.signature} {self.images.reader.digest}".encode())
        if self.texts is not None:
            sha.update(self.texts.signature.encode())
            sha.update(self.texts.ids.numpy().tobytes())
            if not self.texts.lengths.all():
                # An empty description has the same ids as a missing one.
                sha.update(self.texts.lengths.numpy().tobytes())
        return sha.hexdigest()


def build_split(
    split: str,
    samples: Sequence[Sample],
    label_set: LabelSet,
    *,
    images: ImageInputs | None,
    texts: TextInputs | None,
) -> SplitData:
    """Builds a split of samples, in their order.

    Raises:
        DataError: If there are no samples, ids repeat, a sample has no labels, or labels of a set in which
            exactly one holds do not sum to 1.
    """
    require_samples(split, samples)
    ids = tuple(sample.subject.id for sample in samples)
    repeated, count = Counter(ids).most_common(1)[0]
    if count > 1:
        raise DataError(
            f"split {split!r} has two subjects {repeated!r}", hint="give every subject its own id"
        )
    return SplitData(
        split=split,
        label_set=label_set,
        ids=ids,
        groups=image_groups(samples),
        targets=_targets(split, samples, label_set),
        dimensions=_dimensions(samples),
        images=images,
        texts=texts,
    )


def image_groups(samples: Sequence[Sample]) -> tuple[str, ...]:
    """The path of each sample's image; people in one image, or in one clip, share it."""
    return tuple(str(sample.subject.images[0].path) for sample in samples)


def require_samples(split: str, samples: Sequence[Sample]) -> None:
    """Raises DataError if there are no samples."""
    if not samples:
        raise DataError(f"split {split!r} is empty", hint="name a split that has samples")


def _targets(split: str, samples: Sequence[Sample], label_set: LabelSet) -> Float[Tensor, "sample label"]:
    targets = [sample.target for sample in samples if sample.target is not None]
    if len(targets) < len(samples):
        first = next(sample.subject.id for sample in samples if sample.target is None)
        raise DataError(
            f"{len(samples) - len(targets)} of {len(samples)} samples of split {split!r} have no labels, "
            f"such as {first!r}",
            hint="leave them out, or use a split with labels",
        )
    encoded = torch.tensor([label_set.encode(target.labels) for target in targets])
    if label_set.exclusive:
        is_wrong = (encoded.sum(dim=1) - 1).abs() > 1e-3
        if is_wrong.any():
            row = int(is_wrong.nonzero()[0])
            raise DataError(
                f"subject {samples[row].subject.id!r} has labels that sum to {encoded[row].sum():g}, and "
                "exactly one label of the set holds",
                hint="give it one label",
            )
    return encoded


def _dimensions(samples: Sequence[Sample]) -> Float[Tensor, "sample dimension"]:
    """One row per sample, NaN where it is not annotated."""
    rows = []
    for sample in samples:
        values = None if sample.target is None else sample.target.dimensions
        rows.append([float("nan") if values is None else values[name] for name in DIMENSIONS])
    return torch.tensor(rows)


def shuffled_batches(
    lengths: Int[np.ndarray, " sample"],
    batch_size: int,
    *,
    seed: int,
    epoch: int,
    chances: Float[np.ndarray, " sample"] | None = None,
) -> list[Int[np.ndarray, " batch"]]:
    """Batches of sample indices for one epoch; the same for the same seed and epoch.

    Args:
        lengths: Text length of each sample. Batches have texts of similar length.
        batch_size: Samples per batch; the last may have fewer.
        seed: The training's.
        epoch: Which epoch.
        chances: Probability of each sample, summing to 1. Samples are drawn with replacement, as many as
            there are. By default, every sample occurs once.
    """
    random = np.random.default_rng([seed, epoch])
    order = (
        random.permutation(len(lengths))
        if chances is None
        else random.choice(len(lengths), len(lengths), p=chances)
    )
    batches = []
    for start in range(0, len(order), _POOL_BATCHES * batch_size):
        pool = order[start : start + _POOL_BATCHES * batch_size]
        pool = pool[np.argsort(lengths[pool], kind="stable")]
        batches += [pool[first : first + batch_size] for first in range(0, len(pool), batch_size)]
    return [batches[index] for index in random.permutation(len(batches))]
