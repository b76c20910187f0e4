"""The frame embedding: frames and views of clips are distinguished; stills have none."""

import pytest
import torch
from torch import nn

from mien.errors import UsageError
from mien.model.frames import FrameEmbedding
from mien.model.fusion import Fusion, build_fusion, fusion_class
from mien.recipe import ModelOptions
from mien.registry import registered_names

IMAGE_DIM, VOCAB_SIZE, PATCHES = 12, 40, 4
WITH_IMAGE = [name for name in registered_names("fusion") if fusion_class(name).uses_image]
SEES_ORDER = [name for name in WITH_IMAGE if name != "concat"]  # which takes the mean of all tokens


def build(fusion: str, *, width: int = 16, layers: int = 2, **sizes: int) -> Fusion:
    torch.manual_seed(0)
    table = {"fusion": fusion, "width": width, "layers": layers, "heads": width // 8, "num_queries": 4}
    options = ModelOptions.parse({**table, "cross_every": 1, "dropout": 0.0}, where="test")
    return build_fusion(options, image_dim=IMAGE_DIM, vocab_size=VOCAB_SIZE, **sizes).eval()


def inputs(frames: int, batch: int = 2) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    image = torch.randn(batch, frames * PATCHES, IMAGE_DIM, generator=generator)
    ids = torch.randint(0, VOCAB_SIZE, (batch, 5), generator=generator)
    return image, ids, torch.ones(batch, 5, dtype=torch.bool)


def reversed_clip(image: torch.Tensor, frames: int) -> torch.Tensor:
    return image.view(len(image), frames, PATCHES, -1).flip(1).reshape(image.shape)


@pytest.mark.parametrize("name", registered_names("fusion"))
def test_stills_have_no_frame_embedding_and_the_same_weights(name: str) -> None:
    still, explicit = build(name), build(name, num_frames=1, num_views=1)
    assert still.frame_embedding is None
    assert all(torch.equal(a, b) for a, b in zip(still.parameters(), explicit.parameters(), strict=True))
    clip = dict(build(name, num_frames=4).named_parameters())
    for key, value in still.named_parameters():
        assert torch.equal(clip[key], value)


@pytest.mark.parametrize("name", SEES_ORDER)
def test_a_reversed_clip_gives_another_vector(name: str) -> None:
    image, ids, mask = inputs(4)
    bag, clip = build(name), build(name, num_frames=4)
    forward, backward = (image, ids, mask), (reversed_clip(image, 4), ids, mask)
    torch.testing.assert_close(bag(*forward), bag(*backward), atol=1e-6, rtol=0)
    if name == "gated":  # its attention starts as the plain mean
        nn.init.normal_(clip.get_parameter("attention.score"))
    assert (clip(*forward) - clip(*backward)).abs().max() > 1e-3


@pytest.mark.parametrize("name", WITH_IMAGE)
def test_the_vectors_of_frames_and_views_are_trained(name: str) -> None:
    fusion = build(name, num_frames=2, num_views=3)
    if name == "gated":
        nn.init.normal_(fusion.get_parameter("attention.score"))
    nn.Linear(fusion.dim, 1)(fusion(*inputs(6))).square().sum().backward()
    for key in ("frame_embedding.frames", "frame_embedding.views"):
        gradient = fusion.get_parameter(key).grad
        assert gradient is not None
        assert gradient.abs().max() > 0


def test_a_fusion_without_images_has_no_frame_embedding() -> None:
    assert build("text_only", num_frames=4).frame_embedding is None


def test_every_token_gets_the_vectors_of_its_frame_and_view() -> None:
    embedding = FrameEmbedding(IMAGE_DIM, num_frames=3, num_views=2)
    assert embedding.frames is not None
    assert embedding.views is not None
    embedded = embedding(torch.zeros(1, 2 * 3 * PATCHES, IMAGE_DIM)).view(2, 3, PATCHES, IMAGE_DIM)
    for view in range(2):
        for frame in range(3):
            expected = (embedding.frames[frame] + embedding.views[view]).expand(PATCHES, -1)
            torch.testing.assert_close(embedded[view, frame], expected)


@pytest.mark.parametrize(("frames", "views", "has"), [(3, 1, (True, False)), (1, 2, (False, True))])
def test_a_single_frame_or_view_has_no_vector(frames: int, views: int, has: tuple[bool, bool]) -> None:
    embedding = FrameEmbedding(IMAGE_DIM, num_frames=frames, num_views=views)
    assert (embedding.frames is not None, embedding.views is not None) == has
    assert embedding(torch.zeros(1, 3 * 2 * PATCHES, IMAGE_DIM)).shape == (1, 24, IMAGE_DIM)


def test_another_number_of_frames_is_refused() -> None:
    with pytest.raises(UsageError, match="16 image tokens are not 1 views of 3 frames"):
        build("qformer", num_frames=3)(*inputs(4))


def accuracy_of_when(fusion: Fusion, num_frames: int, *, steps: int) -> float:
    """Trains a fusion to say whether something appeared in a clip's first half; its accuracy."""
    generator = torch.Generator().manual_seed(0)
    head = nn.Linear(fusion.dim, 1)
    optimizer = torch.optim.AdamW([*fusion.train().parameters(), *head.parameters()], lr=3e-3)

    def clips(count: int) -> tuple[torch.Tensor, torch.Tensor]:
        image = torch.randn(count, num_frames, PATCHES, IMAGE_DIM, generator=generator)
        shown = torch.randint(0, num_frames, (count,), generator=generator)
        image[torch.arange(count), shown, 1, :3] += 4
        return image.flatten(1, 2), (shown < num_frames // 2).float()

    def logits(image: torch.Tensor) -> torch.Tensor:
        ids = torch.ones(len(image), 2, dtype=torch.long)
        output: torch.Tensor = head(fusion(image, ids, ids.bool()))[:, 0]
        return output

    for _ in range(steps):
        image, first_half = clips(32)
        loss = nn.functional.binary_cross_entropy_with_logits(logits(image), first_half)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
    fusion.eval()
    image, first_half = clips(400)
    with torch.inference_mode():
        return ((logits(image) > 0) == first_half.bool()).float().mean().item()


def test_the_frame_embedding_is_needed_to_learn_when_something_happened() -> None:
    sizes = {"width": 32, "layers": 1}
    assert accuracy_of_when(build("image_only", **sizes, num_frames=4), 4, steps=150) > 0.9
    assert accuracy_of_when(build("image_only", **sizes), 4, steps=50) < 0.6
