"""What a model is trained and evaluated on: one split, in memory except for features or pictures.

Goes in: samples with their texts and features. Comes out: batches of tensors in a seeded order.
Knows nothing about: models, losses, where features and texts come from.
"""

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
from mien.features.image_reader import PictureReader
from mien.features.text import TextTokenizer
from mien.labels import LabelSet
from mien.model.build import InputSpec
from mien.types import DIMENSIONS, Sample

__all__ = [
    "Batch",
    "Images",
    "SplitData",
    "Texts",
    "image_groups",
    "make_split",
    "require_samples",
    "shuffled_batches",
]

# Batches are cut from pools of this many, sorted by length: texts of like length need little padding, and
# the order stays random enough.
_POOL: Final = 16


@dataclass(frozen=True, slots=True)
class Batch:
    """Some rows of a split; inputs that were not asked for are None. A dimension is NaN if unannotated."""

    image: Float[Tensor, "batch patch image_dim"] | UInt8[Tensor, "batch picture row column channel"] | None
    text_ids: Int[Tensor, "batch token"] | None
    text_mask: Bool[Tensor, "batch token"] | None
    targets: Float[Tensor, "batch label"]
    dimensions: Float[Tensor, "batch dimension"]


@dataclass(frozen=True, slots=True)
class Images:
    """Features of a split's pictures, and the signature of the encoder that made them; or the pictures, for
    an encoder that learns.

    A subject's tokens are those of `num_views` views, of `num_frames` frames each, one after another.
    """

    reader: FeatureReader | PictureReader
    signature: str
    num_frames: int = 1
    num_views: int = 1


@dataclass(frozen=True, slots=True)
class Texts:
    """Token ids of a split's descriptions, padded to the longest, and the tokenizer they come from.

    A subject without a description has length 0.
    """

    ids: Int[Tensor, "sample token"]
    lengths: Int[Tensor, " sample"]
    vocab_size: int
    signature: str

    @classmethod
    def of(cls, texts: Sequence[str | None], tokenizer: TextTokenizer) -> "Texts":
        """The texts in their order; None where there is none."""
        ids, mask = tokenizer.encode(["" if text is None else text for text in texts])
        there = torch.tensor([text is not None for text in texts])
        return cls(ids, mask.sum(dim=1) * there, tokenizer.vocab_size, tokenizer.signature)

    @property
    def mask(self) -> Bool[Tensor, "sample token"]:
        """True where a token is real."""
        return torch.arange(self.ids.shape[1]) < self.lengths[:, None]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SplitData:
    """One split with its answers. `groups` names each sample's picture; people in one photo share it."""

    split: str
    label_set: LabelSet
    ids: tuple[str, ...]
    groups: tuple[str, ...]
    targets: Float[Tensor, "sample label"]
    dimensions: Float[Tensor, "sample dimension"]
    images: Images | None
    texts: Texts | None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def spec(self) -> InputSpec:
        """What a classifier of this split reads."""
        return InputSpec(
            label_set=self.label_set,
            image_dim=self.image_dim,
            vocab_size=self.vocab_size,
            num_frames=self.num_frames,
            num_views=self.num_views,
            dimensions=bool(self.dimensions.isfinite().any()),
            vision_signature=None if self.images is None else self.images.signature,
            tokenizer_signature=None if self.texts is None else self.texts.signature,
        )

    @property
    def image_dim(self) -> int | None:
        """Numbers of an image token; None without images."""
        return None if self.images is None else self.images.reader.dim

    @property
    def num_frames(self) -> int:
        """Frames of a subject; 1 without images."""
        return 1 if self.images is None else self.images.num_frames

    @property
    def num_views(self) -> int:
        """Views of each frame; 1 without images."""
        return 1 if self.images is None else self.images.num_views

    @property
    def num_variants(self) -> int:
        """Variants of each picture, of which the first is the picture as it is; 1 without images."""
        return 1 if self.images is None else self.images.reader.num_variants

    @property
    def vocab_size(self) -> int | None:
        """Token ids are below this; None without texts."""
        return None if self.texts is None else self.texts.vocab_size

    @property
    def lengths(self) -> Int[np.ndarray, " sample"]:
        """Tokens of each text; zeros without texts."""
        return np.zeros(len(self), dtype=np.int64) if self.texts is None else self.texts.lengths.numpy()

    def batch(
        self,
        indices: Int[np.ndarray, " batch"],
        *,
        image: bool = True,
        text: bool = True,
        device: torch.device | str = "cpu",
        wordless: Bool[np.ndarray, " batch"] | None = None,
        variants: Int[np.ndarray, " batch"] | None = None,
    ) -> Batch:
        """The rows at these places on a device; `image` and `text` leave out what nobody will look at.

        `wordless` rows come as if they had no description: with no token that is real. `variants`: which
        variant of each picture, None for the pictures as they are.
        """
        rows = torch.from_numpy(indices)
        pixels = ids = mask = None
        if image and self.images is not None:
            # Cast where the tensor goes: float16 is half of the way.
            pixels = torch.from_numpy(self.images.reader.read(indices, variants)).to(device)
            pixels = pixels.float() if pixels.is_floating_point() else pixels
        if text and self.texts is not None:
            lengths = self.texts.lengths[rows]
            if wordless is not None:
                lengths = torch.where(torch.from_numpy(wordless), 0, lengths)
            # Where nobody has a text, one masked token stands for none.
            longest = min(max(1, int(lengths.max())), self.texts.ids.shape[1])
            ids = self.texts.ids[rows, :longest].to(device)
            mask = (torch.arange(longest) < lengths[:, None]).to(device)
        return Batch(pixels, ids, mask, self.targets[rows].to(device), self.dimensions[rows].to(device))

    def fingerprint(self) -> str:
        """Changes with anything that training on this split depends on."""
        sha = hashlib.sha256("\n".join((self.split, *self.label_set.labels, *self.ids)).encode())
        for values in (self.targets, self.dimensions):
            sha.update(values.numpy().tobytes())
        if self.images is not None:
            sha.update(f"{self.images.signature} {self.images.reader.digest}".encode())
        if self.texts is not None:
            sha.update(self.texts.signature.encode())
            sha.update(self.texts.ids.numpy().tobytes())
            if not self.texts.lengths.all():
                # An empty description has the ids of none.
                sha.update(self.texts.lengths.numpy().tobytes())
        return sha.hexdigest()


def make_split(
    split: str,
    samples: Sequence[Sample],
    label_set: LabelSet,
    *,
    images: Images | None,
    texts: Texts | None,
) -> SplitData:
    """A split of these samples, in their order; DataError for what cannot be learned from."""
    require_samples(split, samples)
    ids = tuple(sample.subject.id for sample in samples)
    twice, times = Counter(ids).most_common(1)[0]
    if times > 1:
        raise DataError(f"split {split!r} has two subjects {twice!r}", hint="give every subject its own id")
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
    """The name of each sample's image: people in one photo, or in one clip, share it."""
    return tuple(str(sample.subject.images[0].path) for sample in samples)


def require_samples(split: str, samples: Sequence[Sample]) -> None:
    """DataError if there are none."""
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
        off = (encoded.sum(dim=1) - 1).abs() > 1e-3
        if off.any():
            row = int(off.nonzero()[0])
            raise DataError(
                f"subject {samples[row].subject.id!r} has labels that sum to {encoded[row].sum():g}, in a "
                f"set where exactly one holds",
                hint="give it one label",
            )
    return encoded


def _dimensions(samples: Sequence[Sample]) -> Float[Tensor, "sample dimension"]:
    """One row a sample, NaN where nobody annotated."""
    rows = []
    for sample in samples:
        given = None if sample.target is None else sample.target.dimensions
        rows.append([float("nan") if given is None else given[name] for name in DIMENSIONS])
    return torch.tensor(rows)


def shuffled_batches(
    lengths: Int[np.ndarray, " sample"],
    batch_size: int,
    *,
    seed: int,
    epoch: int,
    chances: Float[np.ndarray, " sample"] | None = None,
) -> list[Int[np.ndarray, " batch"]]:
    """Every sample once, in batches of texts of like length; the same for the same seed and epoch.

    With `chances`, which sum to 1: as many, each drawn by its chance, some several times and some not.
    """
    random = np.random.default_rng([seed, epoch])
    order = (
        random.permutation(len(lengths))
        if chances is None
        else random.choice(len(lengths), len(lengths), p=chances)
    )
    batches = []
    for start in range(0, len(order), _POOL * batch_size):
        pool = order[start : start + _POOL * batch_size]
        pool = pool[np.argsort(lengths[pool], kind="stable")]
        batches += [pool[first : first + batch_size] for first in range(0, len(pool), batch_size)]
    return [batches[index] for index in random.permutation(len(batches))]
