"""A Q-Former initialized from checkpoints that transformers saved."""

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from tests.factories.qformers import (
    IMAGE_DIM,
    NUM_QUERIES,
    QFORMER,
    VOCAB_SIZE,
    WIDTH,
    bert,
    blip2,
    inputs,
    instructblip,
    qformer,
    randomize,
)

from mien.model.fusion import Fusion, build_fusion
from mien.model.pretrained import load_initial_weights, load_qformer
from mien.recipe import ModelOptions


@pytest.mark.parametrize("shards", [False, True])
def test_an_instructblip_loads_completely_and_gives_the_same_output(
    saved: Callable[..., Path], shards: bool
) -> None:
    theirs, ours = instructblip(), qformer()
    report = load_qformer(ours, saved(theirs, shards=shards))
    assert (report.missing, report.mismatched, report.partial, report.unexpected) == ((), (), (), ())
    assert set(report.loaded) == set(dict(ours.named_parameters()))
    image, ids, mask = inputs()
    expected = theirs.qformer(
        input_ids=ids,
        attention_mask=torch.cat((torch.ones(2, NUM_QUERIES, dtype=torch.bool), mask), dim=1).long(),
        query_embeds=theirs.query_tokens.expand(2, -1, -1),
        encoder_hidden_states=image,
    ).last_hidden_state
    torch.testing.assert_close(ours(image, ids, mask), expected, atol=1e-5, rtol=0)


def test_only_the_files_of_the_qformer_are_needed(saved: Callable[..., Path]) -> None:
    folder = saved(instructblip(), shards=True)
    where = json.loads((folder / "model.safetensors.index.json").read_text())["weight_map"]
    needed = {file for name, file in where.items() if "qformer" in name or "query_tokens" in name}
    others = set(where.values()) - needed
    assert others
    for file in others:
        (folder / file).unlink()
    assert load_qformer(qformer(), folder).missing == ()


def test_a_blip2_loads_with_its_embeddings_from_elsewhere(saved: Callable[..., Path]) -> None:
    theirs, ours = blip2(), qformer()
    report = load_qformer(ours, saved(theirs))
    assert (report.missing, report.mismatched, report.unexpected) == ((), (), ())
    image, ids, mask = inputs()
    queries = theirs.query_tokens.expand(2, -1, -1)
    expected = theirs.qformer(
        query_embeds=theirs.embeddings(input_ids=ids, query_embeds=queries),
        query_length=NUM_QUERIES,
        attention_mask=torch.cat((torch.ones(2, NUM_QUERIES, dtype=torch.bool), mask), dim=1).long(),
        encoder_hidden_states=image,
    ).last_hidden_state
    torch.testing.assert_close(ours(image, ids, mask), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("family", ["InstructBlip", "Blip2"])
def test_a_qformer_on_its_own_loads_without_queries(saved: Callable[..., Path], family: str) -> None:
    model, config = (getattr(transformers, f"{family}QFormer{kind}") for kind in ("Model", "Config"))
    report = load_qformer(qformer(vocab_size=None), saved(randomize(model(config(**QFORMER)))))
    assert report.missing == ("query_tokens",)
    assert all("layernorm" not in name for name in report.unexpected)


def test_text_gives_the_same_output_as_in_bert(saved: Callable[..., Path]) -> None:
    theirs, ours = bert(), qformer(image_dim=None, num_queries=0)
    report = load_qformer(ours, saved(theirs))
    assert (report.missing, report.unexpected) == ((), ())
    _, ids, mask = inputs()
    expected = theirs.bert(input_ids=ids, attention_mask=mask.long()).last_hidden_state
    torch.testing.assert_close(ours(None, ids, mask)[mask], expected[mask], atol=1e-5, rtol=0)


def test_bert_initializes_the_feedforward_of_queries_and_leaves_cross_attention_random(
    saved: Callable[..., Path],
) -> None:
    theirs, ours, fresh = bert(), qformer(), qformer()
    report = load_qformer(ours, saved(theirs))
    assert {name.split(".", 2)[-1].split(".")[0] for name in report.missing} == {
        "query_tokens",
        "cross_attention",
    }
    for part in ("query_feedforward", "text_feedforward"):
        got = ours.get_parameter(f"layers.1.{part}.inner.weight")
        assert torch.equal(got, theirs.bert.encoder.layer[1].intermediate.dense.weight)
    for name in report.missing:
        assert torch.equal(ours.get_parameter(name), fresh.get_parameter(name))


def test_early_names_of_berts_norms_are_understood(saved: Callable[..., Path]) -> None:
    folder = saved(bert())
    weights = load_file(folder / "model.safetensors")
    old = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): value
        for name, value in weights.items()
    }
    current, early = qformer(), qformer()
    load_qformer(current, folder)
    save_file(old, folder / "model.safetensors")
    load_qformer(early, folder)
    assert all(torch.equal(a, b) for a, b in zip(current.parameters(), early.parameters(), strict=True))


def test_the_report_says_what_does_not_fit(saved: Callable[..., Path]) -> None:
    folder = saved(instructblip())
    report = load_qformer(qformer(image_dim=24, layers=2, num_queries=9, vocab_size=VOCAB_SIZE - 1), folder)
    assert report.layers_cut == 1
    assert [name.split()[0] for name in report.mismatched] == ["layers.0.cross_attention.key_value.weight"]
    assert f"({2 * WIDTH}, {IMAGE_DIM}) there, ({2 * WIDTH}, 24) here" in report.mismatched[0]
    assert report.partial == (f"query_tokens {NUM_QUERIES} of 9 rows",)
    text = "\n".join(report.lines())
    assert "last 1 layers are left out" in text
    assert "1 with another shape" in text
    deeper = load_qformer(qformer(layers=4, vocab_size=500), folder)
    assert any(name.startswith("layers.3.") for name in deeper.missing)
    assert any(name.startswith("word_embeddings.weight") for name in deeper.mismatched)
    assert deeper.layers_cut == 0


def test_a_part_that_the_model_lacks_is_unexpected(saved: Callable[..., Path]) -> None:
    report = load_qformer(qformer(vocab_size=None), saved(instructblip()))
    assert report.missing == ()
    assert any(name.endswith("word_embeddings.weight") for name in report.unexpected)


def options(fusion: str, **changes: Any) -> ModelOptions:
    table = {"fusion": fusion, "width": WIDTH, "layers": 3, "heads": 4, "num_queries": NUM_QUERIES, **changes}
    return ModelOptions.parse(table, where="test")


def fusion(name: str) -> Fusion:
    torch.manual_seed(0)
    return build_fusion(options(name), image_dim=IMAGE_DIM, vocab_size=VOCAB_SIZE)


@pytest.mark.parametrize("name", ["qformer", "image_only", "text_only", "concat", "cross_attention", "gated"])
def test_every_fusion_can_start_from_a_checkpoint_and_reports_what_stayed_random(
    saved: Callable[..., Path], name: str, caplog: pytest.LogCaptureFixture
) -> None:
    folder, model, fresh = saved(bert()), fusion(name), fusion(name)
    with caplog.at_level(logging.INFO):
        (report,) = load_initial_weights(model, str(folder))
    assert f"{len(report.loaded)} weights" in caplog.text
    before = dict(fresh.named_parameters())
    changed = [key for key, value in model.named_parameters() if not torch.equal(value, before[key])]
    assert len(changed) == len(report.loaded)
    assert caplog.text.count("so random") == bool(report.missing) + bool(report.mismatched)


def test_the_fusion_of_the_paper_loads_an_instructblip_completely(
    saved: Callable[..., Path],
) -> None:
    """It lacks only the text part of the last layer, whose output is not used."""
    sizes = options("qformer", options={"feedforward": 2})
    model = build_fusion(sizes, image_dim=IMAGE_DIM, vocab_size=VOCAB_SIZE)
    folder = saved(instructblip(intermediate_size=2 * WIDTH, max_position_embeddings=512))
    (report,) = load_initial_weights(model, str(folder))
    assert (report.missing, report.mismatched, report.partial) == ((), (), ())
    assert set(report.loaded) == {name.removeprefix("qformer.") for name, _ in model.named_parameters()}
    assert report.unexpected
    assert all(".layer.2." in name for name in report.unexpected)
    assert all("intermediate." in name or "output." in name for name in report.unexpected)


def test_random_changes_nothing() -> None:
    model, fresh = fusion("qformer"), fusion("qformer")
    assert load_initial_weights(model, "random") == ()
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), fresh.parameters(), strict=True))
