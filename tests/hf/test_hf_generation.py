"""Generation by transformers: every placement, padding, beams, drafts, and what is refused."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    DynamicCache,
    LlamaForCausalLM,
    StoppingCriteria,
    StoppingCriteriaList,
)

import derailleur.hf
from derailleur.errors import CapacityError
from derailleur.model import Decoder, DecoderConfig, save_model
from derailleur.model.export import plan_export, write_export
from derailleur.placement import Placement

PLACEMENTS = ["FFFF", "SSSS", "KKKK", "GGGG", "FSKG", "GKSF"]


@pytest.fixture(scope="module")
def model(folder: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(folder)


def prompt(length: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(5, 256, (1, length), generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def greedy(decoder: Decoder, placement: str, tokens: torch.Tensor, count: int) -> torch.Tensor:
    """The naive twin: the whole sequence again for every token."""
    for _ in range(count):
        logits = decoder(tokens, Placement(placement)).logits
        tokens = torch.cat([tokens, logits[:, -1:].argmax(-1)], 1)
    return tokens


def left_padded(prompts: list[torch.Tensor]) -> dict[str, torch.Tensor]:
    width = max(x.shape[1] for x in prompts)
    rows = [torch.nn.functional.pad(x, (width - x.shape[1], 0)) for x in prompts]
    masks = [torch.nn.functional.pad(torch.ones_like(x), (width - x.shape[1], 0)) for x in prompts]
    return {"input_ids": torch.cat(rows), "attention_mask": torch.cat(masks)}


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_greedy_text_of_every_placement(model: Any, supernet: Decoder, placement: str) -> None:
    model.set_placement(placement)
    tokens = prompt(37)
    expected = greedy(supernet, placement, tokens, 30)
    assert torch.equal(model.generate(tokens, max_new_tokens=30, eos_token_id=None), expected)
    uncached = model.generate(tokens, max_new_tokens=30, eos_token_id=None, use_cache=False)
    assert torch.equal(uncached, expected)


@pytest.mark.parametrize("placement", ["FSKG", "SSSS"])
def test_pools_grow_with_the_sequence(model: Any, supernet: Decoder, placement: str) -> None:
    model.set_placement(placement)
    tokens = prompt(100)
    text = model.generate(tokens, max_new_tokens=60, eos_token_id=None)
    assert torch.equal(text, greedy(supernet, placement, tokens, 60))
    in_pieces = model.generate(tokens, max_new_tokens=60, eos_token_id=None, prefill_chunk_size=33)
    assert torch.equal(text, in_pieces)


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_padding_changes_nothing(model: Any, placement: str) -> None:
    model.set_placement(placement)
    prompts = [prompt(length, seed) for seed, length in enumerate((3, 40, 17, 40, 1))]
    together = model.generate(**left_padded(prompts), max_new_tokens=20, eos_token_id=None)
    for row, tokens in zip(together, prompts, strict=True):
        alone = model.generate(tokens, max_new_tokens=20, eos_token_id=None)[0]
        assert torch.equal(row[-20:], alone[-20:])
    uncached = model.generate(**left_padded(prompts), max_new_tokens=20, eos_token_id=None, use_cache=False)
    assert torch.equal(uncached, together)


@pytest.mark.filterwarnings("ignore:.*right-padding")
@pytest.mark.parametrize("use_cache", [True, False])
def test_right_padding_changes_nothing(model: Any, use_cache: bool) -> None:
    model.set_placement("GKSF")
    prompts = [prompt(length, seed) for seed, length in enumerate((3, 40, 17, 1))]
    rows = [torch.nn.functional.pad(x, (0, 40 - x.shape[1])) for x in prompts]
    masks = [torch.nn.functional.pad(torch.ones_like(x), (0, 40 - x.shape[1])) for x in prompts]
    padded = {"input_ids": torch.cat(rows), "attention_mask": torch.cat(masks)}
    together = model.generate(**padded, max_new_tokens=20, eos_token_id=None, use_cache=use_cache)
    for row, tokens in zip(together, prompts, strict=True):
        alone = model.generate(tokens, max_new_tokens=20, eos_token_id=None)[0]
        assert torch.equal(row[-20:], alone[-20:])


@torch.no_grad()
@pytest.mark.parametrize("use_cache", [True, False])
def test_logits_under_any_mask(model: Any, supernet: Decoder, use_cache: bool) -> None:
    model.set_placement("FSKG")
    mask = torch.tensor([[1] * 9, [0] * 4 + [1] * 5, [1] * 6 + [0] * 3, [0, 1, 1, 0, 0, 1, 1, 1, 0], [0] * 9])
    tokens = torch.cat([prompt(9, seed) for seed in range(5)])
    logits = model(tokens, attention_mask=mask, use_cache=use_cache).logits
    assert logits.isfinite().all()
    for row in range(4):
        real = mask[row].bool()
        expected = supernet(tokens[row : row + 1, real], Placement("FSKG")).logits[0]
        torch.testing.assert_close(logits[row, real], expected, atol=2e-5, rtol=1e-4)


@torch.no_grad()
def test_a_conversation_goes_on_from_its_cache(model: Any, supernet: Decoder) -> None:
    model.set_placement("GKSF")
    tokens = prompt(50)
    first = model(tokens[:, :20], use_cache=True)
    kept = copy.deepcopy(first.past_key_values)
    for cache in (first.past_key_values, kept):
        rest = model(tokens[:, 20:], past_key_values=cache, logits_to_keep=7).logits
        expected = supernet(tokens, Placement("GKSF")).logits[:, -7:]
        torch.testing.assert_close(rest, expected, atol=2e-5, rtol=1e-4)
        text = model.generate(
            torch.cat([tokens, tokens[:, :3]], 1), past_key_values=cache, max_new_tokens=9, eos_token_id=None
        )
        assert torch.equal(text, greedy(supernet, "GKSF", torch.cat([tokens, tokens[:, :3]], 1), 9))


class StopAfter(StoppingCriteria):
    def __init__(self, length: int) -> None:
        self.length = length

    def __call__(self, input_ids: torch.Tensor, scores: Any, **kwargs: Any) -> torch.Tensor:
        return torch.full((input_ids.shape[0],), input_ids.shape[1] >= self.length)


def test_sampling_and_stopping(model: Any) -> None:
    model.set_placement("mixed")
    tokens = prompt(8).repeat(2, 1)
    torch.manual_seed(0)
    drawn = model.generate(tokens, do_sample=True, top_k=50, max_new_tokens=12, eos_token_id=None)
    torch.manual_seed(0)
    again = model.generate(tokens, do_sample=True, top_k=50, max_new_tokens=12, eos_token_id=None)
    assert torch.equal(drawn, again) and not torch.equal(drawn[0], drawn[1])
    criteria = StoppingCriteriaList([StopAfter(11)])
    assert model.generate(tokens, stopping_criteria=criteria, max_new_tokens=50).shape[1] <= 11
    text = model.generate(tokens[:1], max_new_tokens=12, eos_token_id=None)
    end = int(text[0, 14])
    stopped = model.generate(tokens[:1], max_new_tokens=12, eos_token_id=end)
    first = text[0, 8:].tolist().index(end)
    assert stopped[0].tolist() == text[0, : 9 + first].tolist()
    assert model.generation_config.eos_token_id == 0


@pytest.mark.parametrize("placement", ["FSKG", "GGGG"])
def test_beams_are_those_of_the_whole_sequence(model: Any, placement: str) -> None:
    model.set_placement(placement)
    padded = left_padded([prompt(5), prompt(12, 1)])
    settings: dict[str, Any] = {"num_beams": 4, "num_return_sequences": 3, "max_new_tokens": 12}
    cached = model.generate(**padded, **settings)
    assert torch.equal(cached, model.generate(**padded, **settings, use_cache=False))


@pytest.mark.parametrize(
    "settings",
    [
        {"num_beams": 4, "num_return_sequences": 4, "max_new_tokens": 15},
        {"num_beams": 3, "length_penalty": 0.5, "early_stopping": True, "max_new_tokens": 25},
        {"num_beams": 2, "do_sample": True, "max_new_tokens": 10},
        {"do_sample": True, "temperature": 0.7, "top_p": 0.9, "max_new_tokens": 20},
    ],
)
def test_a_plain_llama_writes_the_same(
    model: Any, folder: Path, settings: dict[str, Any], tmp_path: Path
) -> None:
    write_export(plan_export(folder, "hf", [Placement("FFFF")]), folder, tmp_path)
    llama = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert type(llama) is LlamaForCausalLM
    model.set_placement("all-fa")
    padded = left_padded([prompt(5), prompt(12, 1)])
    torch.manual_seed(0)
    expected = llama.generate(**padded, **settings)
    torch.manual_seed(0)
    assert torch.equal(model.generate(**padded, **settings), expected)


@pytest.mark.parametrize(
    ("placement", "draft"), [("FFFF", "fast"), ("FSKG", "GGGG"), ("GKSF", "GKSF"), ("SSSS", "FFFF")]
)
@pytest.mark.parametrize("length", [1, 9, 60])
def test_drafts_change_nothing(
    model: Any, supernet: Decoder, placement: str, draft: str, length: int
) -> None:
    target, assistant = model.with_placement(placement), model.with_placement(draft)
    assert target.head.weight is assistant.head.weight is model.head.weight
    tokens = prompt(length)
    text = target.generate(tokens, assistant_model=assistant, max_new_tokens=40, eos_token_id=None)
    assert torch.equal(text, greedy(supernet, placement, tokens, 40))


def test_prompt_lookup_changes_nothing(model: Any, supernet: Decoder) -> None:
    target = model.with_placement("GKSF")
    tokens = prompt(10).repeat(1, 5)
    text = target.generate(tokens, prompt_lookup_num_tokens=6, max_new_tokens=40, eos_token_id=None)
    assert torch.equal(text, greedy(supernet, "GKSF", tokens, 40))


def test_cropping_too_far_is_one_line(model: Any) -> None:
    model.set_placement("FSKG")
    with torch.no_grad():
        cache = model(prompt(10), use_cache=True).past_key_values
    with pytest.raises(ValueError, match=r"crop\(-3\): only the last 0 tokens can be forgotten"):
        cache.crop(-3)
    cache.crop(-10)
    assert cache.get_seq_length() == 0 and cache.batch_size == -1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"cache_implementation": "static"}, "cache_implementation: 'static' is not supported"),
        ({"cache_implementation": "quantized"}, "cache_implementation: 'quantized' is not supported"),
        ({"cache_implementation": "offloaded"}, "cache_implementation: 'offloaded' is not supported"),
        ({"output_attentions": True, "return_dict_in_generate": True}, "output_attentions is not supported"),
        ({"past_key_values": DynamicCache()}, "expected a DerailleurCache, got DynamicCache"),
        ({"penalty_alpha": 0.6, "top_k": 4}, "[Cc]ontrastive"),
    ],
)
def test_what_generate_refuses(model: Any, arguments: dict[str, Any], message: str) -> None:
    model.set_placement("FSKG")
    with pytest.raises(ValueError, match=message):
        model.generate(prompt(4), max_new_tokens=4, **arguments)


def test_what_forward_refuses(model: Any) -> None:
    tokens = prompt(4)
    cache = model.set_placement("FSKG")(tokens, use_cache=True).past_key_values
    for arguments, message in (
        ({"input_ids": tokens[:, :0]}, "input_ids: expected at least one token"),
        ({"inputs_embeds": torch.zeros(1, 4, 32)}, "inputs_embeds is not supported: pass input_ids"),
        ({"position_ids": torch.arange(4)}, "position_ids is not supported"),
        ({"output_hidden_states": True}, "output_hidden_states is not supported"),
        ({"attention_mask": torch.ones(1, 3)}, r"attention_mask: expected shape \(1, 4\), got \(1, 3\)"),
        ({"labels": tokens, "use_cache": True}, "labels: a loss needs use_cache=False"),
    ):
        with pytest.raises(ValueError, match=message):
            model(**{"input_ids": tokens, **arguments})
    with pytest.raises(ValueError, match="the cache holds 1 rows, the batch has 2"):
        model(tokens.repeat(2, 1), past_key_values=cache)
    with pytest.raises(ValueError, match="of placement FSKG, the model is at GGKG"):
        model.set_placement("fast")(tokens, past_key_values=cache)
    with pytest.raises(ValueError, match="vocabulary is fixed"):
        model.resize_token_embeddings(400)
    assert derailleur.hf.DerailleurCache is type(cache)


SHAPES: dict[str, dict[str, Any]] = {
    "windowed-teacher": {"mixers": {"F": {"window_tokens": 16, "first_window_layer": 1}}},
    "learned-positions": {"positions": "learned", "norm": "layer", "mlp": "plain", "mlp_bias": True},
    "grouped-value-heads": {
        "mixers": {"G": {"num_key_heads": 2, "gate_bias": False}},
        "banks": ["F", "G", "FG"],
    },
    "biases-and-untied": {"attention_bias": True, "qk_norm": True, "tie_embeddings": False},
}


@pytest.mark.parametrize("shape", SHAPES)
def test_other_shapes(shape: str, shake: Callable[[Decoder, int], Decoder], tmp_path: Path) -> None:
    sizes = {"vocab_size": 300, "hidden_size": 32, "num_layers": 3, "num_heads": 4, "num_kv_heads": 2}
    sizes |= {"head_dim": 8, "intermediate_size": 48, "max_positions": 96}
    decoder = Decoder(DecoderConfig.model_validate(sizes | SHAPES[shape]))
    decoder.reset_parameters(0)
    save_model(shake(decoder, 1), tmp_path)
    model = AutoModelForCausalLM.from_pretrained(tmp_path)
    prompts = [prompt(50), prompt(7, 1)]
    together = model.generate(**left_padded(prompts), max_new_tokens=40, eos_token_id=None)
    for row, tokens in zip(together, prompts, strict=True):
        expected = greedy(decoder, str(model.placement), tokens, 40)
        assert torch.equal(row[-40:], expected[0, -40:])
    if shape == "learned-positions":
        with pytest.raises(CapacityError, match="learned positions end at 96"):
            model.generate(prompts[0], max_new_tokens=60, eos_token_id=None)
