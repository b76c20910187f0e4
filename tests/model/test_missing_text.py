"""Missing, empty and padded descriptions disturb no fusion."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.model.classifier import Classifier
from mien.model.fusion import build_fusion, fusion_class
from mien.recipe import ModelOptions
from mien.registry import registered_names

IMAGE_DIM, VOCAB_SIZE, LABELS = 12, 40, 3
WITH_TEXT = [name for name in registered_names("fusion") if fusion_class(name).uses_text]
WITH_BOTH = [name for name in WITH_TEXT if fusion_class(name).uses_image]


def classifier(fusion: str, pooling: str = "mean") -> Classifier:
    torch.manual_seed(0)
    table = {
        "fusion": fusion,
        "width": 16,
        "heads": 2,
        "num_queries": LABELS,
        "options": {"pooling": pooling},
    }
    built = build_fusion(ModelOptions.parse(table, where="test"), image_dim=IMAGE_DIM, vocab_size=VOCAB_SIZE)
    return Classifier(built, LABELS, dimensions=True).eval()


def inputs(lengths: list[int], text: int, seed: int = 1) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    image = torch.randn(len(lengths), 5, IMAGE_DIM, generator=generator)
    ids = torch.randint(0, VOCAB_SIZE, (len(lengths), text), generator=generator)
    return image, ids, torch.arange(text) < torch.tensor(lengths)[:, None]


@pytest.mark.parametrize("name", WITH_TEXT)
@given(
    lengths=st.lists(st.integers(0, 6), min_size=1, max_size=4),
    padding=st.integers(0, 9),
    seed=st.integers(0, 99),
)
@settings(max_examples=20)
def test_padding_never_changes_a_logit(name: str, lengths: list[int], padding: int, seed: int) -> None:
    model = classifier(name)
    image, ids, mask = inputs(lengths, max(lengths) + padding, seed)
    with torch.inference_mode():
        together = model(image, ids, mask).logits
        for row, length in enumerate(lengths):
            alone = model(image[row, None], ids[row, None, :length], mask[row, None, :length]).logits
            torch.testing.assert_close(together[row, None], alone, atol=1e-6, rtol=0)


@pytest.mark.parametrize("pooling", ["mean", "attention", "concat", "class"])
@pytest.mark.parametrize("name", WITH_TEXT)
def test_a_missing_description_changes_no_other_subject(name: str, pooling: str) -> None:
    model = classifier(name, pooling)
    image, ids, mask = inputs([6, 0, 4], 6)
    output = model(image, ids, mask)
    assert output.logits.isfinite().all()
    assert output.dimensions.isfinite().all()
    # Masked ids are not read, and change no other subject.
    other = torch.where(mask, ids, (ids + 1) % VOCAB_SIZE)
    assert torch.equal(model(image, other, mask).logits, output.logits)
    kept = model(image[[0, 2]], ids[[0, 2]], mask[[0, 2]]).logits
    torch.testing.assert_close(output.logits[[0, 2]], kept, atol=1e-6, rtol=0)


@pytest.mark.parametrize("columns", [0, 1, 4])
@pytest.mark.parametrize("name", WITH_TEXT)
def test_a_batch_without_any_description_has_finite_gradients(name: str, columns: int) -> None:
    model = classifier(name).train()
    output = model(*inputs([0, 0], columns))
    output.logits.square().sum().backward()
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    assert gradients
    assert all(gradient.isfinite().all() for gradient in gradients)


@pytest.mark.parametrize("name", WITH_BOTH)
def test_without_a_description_the_image_is_still_used(name: str) -> None:
    model = classifier(name)
    image, ids, mask = inputs([0, 0], 4)
    output = model(image, ids, mask).logits
    assert (model(image.flip(2), ids, mask).logits - output).abs().max() > 1e-4
    assert (output[0] - output[1]).abs().max() > 1e-4


def test_without_a_description_the_gate_selects_the_image() -> None:
    fusion = classifier("gated").fusion
    image, ids, mask = inputs([0, 3], 4)
    torch.nn.init.constant_(fusion.get_parameter("gate.bias"), -50.0)  # with a description, the text alone
    before, after = fusion(image, ids, mask), fusion(image.flip(2), ids, mask)
    assert (before[0] - after[0]).abs().max() > 1e-3
    torch.testing.assert_close(before[1], after[1], atol=1e-6, rtol=0)
