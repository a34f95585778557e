"""Every token is scored exactly once, and bits per byte are bits per byte."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from derailleur.engine import Engine
from derailleur.evaluation.loss import LossConfig, score_loss, windows
from derailleur.placement import Placement
from derailleur.tokens import Tokenizer
from derailleur.tokens.documents import Document

CPU = torch.device("cpu")
FULL = Placement("FF")


class Bigrams:
    """Predicts from the last token alone; notes which (last, next) pairs it could have been asked for."""

    def __init__(self, vocab_size: int) -> None:
        self.table = torch.randn(vocab_size, vocab_size, generator=torch.Generator().manual_seed(0))

    def hidden(self, tokens: Tensor, placement: Placement | None = None) -> Tensor:
        return tokens.unsqueeze(-1)

    def logits(self, hidden: Tensor) -> Tensor:
        return self.table[hidden.squeeze(-1)]


class Uniform:
    """Every token is as likely as any other."""

    def __init__(self, vocab_size: int) -> None:
        self.vocab_size = vocab_size

    def hidden(self, tokens: Tensor, placement: Placement | None = None) -> Tensor:
        return tokens.unsqueeze(-1)

    def logits(self, hidden: Tensor) -> Tensor:
        return torch.zeros(len(hidden), self.vocab_size)


def document(text: str) -> Document:
    return Document("", "", "heldout", text)


@given(length=st.integers(1, 200), context=st.integers(1, 40))
def test_windows_score_every_token_once_with_half_a_context_before_it(length: int, context: int) -> None:
    tokens = list(range(length))
    scored: list[int] = []
    for window in windows(tokens, context):
        assert 2 <= len(window.tokens) <= context + 1
        assert list(window.tokens) == list(range(window.tokens[0], window.tokens[-1] + 1))
        own = window.tokens[-window.num_scored :]
        assert own[0] - window.tokens[0] >= min(own[0], context - context // 2, context)
        scored += own
    assert scored == tokens[1:]


@settings(max_examples=30, deadline=None)
@given(
    texts=st.lists(st.text("ab \n(é", min_size=1, max_size=80), min_size=1, max_size=5),
    context=st.integers(2, 20),
    per_batch=st.integers(1, 5),
)
def test_the_sum_is_that_over_all_pairs_however_windows_are_cut_and_batched(
    tokenizer: Tokenizer, texts: list[str], context: int, per_batch: int
) -> None:
    model = Bigrams(tokenizer.vocab_size)
    score = score_loss(
        model,
        tokenizer,
        [document(text) for text in texts],
        FULL,
        LossConfig(windows_per_batch=per_batch),
        context=context,
        device=CPU,
    )
    before, after = [], []
    for text in texts:
        ids = tokenizer.encode(text)
        before += [tokenizer.eos_id, *ids[:-1]]
        after += ids
    logits = model.table[before]
    assert score.nats == pytest.approx(float(F.cross_entropy(logits, torch.tensor(after), reduction="sum")))
    assert score.num_correct == int((logits.argmax(-1) == torch.tensor(after)).sum())
    assert score.num_tokens == len(after)
    assert score.num_bytes == sum(len(text.encode()) for text in texts)


def test_a_uniform_model_needs_the_logarithm_of_its_vocabulary(tokenizer: Tokenizer) -> None:
    text = "def f(x):\n    return x  # é\n" * 20
    score = score_loss(Uniform(512), tokenizer, [document(text)], FULL, LossConfig(), context=16, device=CPU)
    per_token = math.log2(512)
    assert score.bits_per_byte == pytest.approx(per_token * score.num_tokens / len(text.encode()))


@pytest.mark.parametrize("letters", ["FF", "SK", "GF"])
def test_a_document_within_the_context_is_one_plain_forward_pass(
    engine: Engine, tokenizer: Tokenizer, letters: str
) -> None:
    placement, texts = Placement(letters), ["total = depth\n", "import os\n\nx = 1\n"]
    score = score_loss(
        engine.decoder,
        tokenizer,
        [document(text) for text in texts],
        placement,
        LossConfig(),
        context=48,
        device=CPU,
    )
    nats = 0.0
    for text in texts:
        ids = torch.tensor([[tokenizer.eos_id, *tokenizer.encode(text)]])
        with torch.inference_mode():
            logits = engine.decoder(ids[:, :-1], placement).logits[0]
        nats += float(F.cross_entropy(logits, ids[0, 1:], reduction="sum"))
    assert score.nats == pytest.approx(nats, rel=1e-5)
