from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from derailleur.errors import CheckpointError, ConfigError
from derailleur.tokens import FimOrder, Tokenizer, infill_prompt
from derailleur.tokens.fim import join, split


@given(data=st.data(), seed=st.integers(0, 1000), order=st.sampled_from(FimOrder))
def test_a_split_document_is_restored(
    tokenizer: Tokenizer,
    any_text: st.SearchStrategy[str],
    restore: Callable[[list[int]], str],
    data: st.DataObject,
    seed: int,
    order: FimOrder,
) -> None:
    text = data.draw(any_text)
    parts = split(text, np.random.default_rng(seed))
    assert parts.prefix + parts.middle + parts.suffix == text
    assert tokenizer.fim is not None
    encoded = tokenizer.encode_batch([parts.prefix, parts.middle, parts.suffix])
    assert restore(join(*encoded, fim=tokenizer.fim, order=order)) == text


def test_orders(tokenizer: Tokenizer) -> None:
    fim = tokenizer.fim
    assert fim is not None
    pre, mid, suf = fim.prefix_id, fim.middle_id, fim.suffix_id
    assert join([10], [20], [30], fim=fim, order=FimOrder.PSM) == [pre, 10, suf, 30, mid, 20]
    assert join([10], [20], [30], fim=fim, order=FimOrder.SPM) == [pre, suf, 30, mid, 10, 20]


def test_cuts_are_uniform_over_all_places() -> None:
    rng = np.random.default_rng(0)
    counts = np.zeros((4, 4), int)
    for _ in range(4000):
        parts = split("abc", rng)
        counts[len(parts.prefix), len(parts.prefix) + len(parts.middle)] += 1
    expected = 4000 * (2 * np.triu(np.ones((4, 4)), 1) + np.eye(4)) / 16
    assert np.all(np.abs(counts - expected) <= 5 * np.sqrt(expected))


class TestInfillPrompt:
    def test_spm_and_stops(self, tokenizer: Tokenizer) -> None:
        fim = tokenizer.fim
        assert fim is not None and tokenizer.fim_order is FimOrder.SPM
        prompt = infill_prompt("def f(", "return x\n", tokenizer, 100)
        before, after = tokenizer.encode("def f("), tokenizer.encode("return x\n")
        assert prompt.ids == [fim.prefix_id, fim.suffix_id, *after, fim.middle_id, *before]
        assert prompt.stop_ids == {0, 1, 2, 3, 4}

    def test_psm(self, tokenizer: Tokenizer, tmp_path: Path) -> None:
        """A folder that says nothing is of a model that is asked in PSM order, as most are."""
        tokenizer.save(tmp_path)
        (tmp_path / "tokenizer_config.json").write_text('{"eos_token": "<|endoftext|>"}')
        other = Tokenizer.load(tmp_path)
        fim = other.fim
        assert fim is not None and other.fim_order is FimOrder.PSM
        before, after = other.encode("def f("), other.encode("return x\n")
        prompt = infill_prompt("def f(", "return x\n", other, 100)
        assert prompt.ids == [fim.prefix_id, *before, fim.suffix_id, *after, fim.middle_id]

    @given(num_before=st.integers(0, 30), num_after=st.integers(0, 30), max_tokens=st.integers(3, 70))
    def test_the_far_ends_are_cut(
        self, tokenizer: Tokenizer, num_before: int, num_after: int, max_tokens: int
    ) -> None:
        prefix = "".join(str(n % 10) for n in range(num_before))  # a digit is a token
        suffix = "".join(str(n % 10) for n in range(num_after))
        prompt = infill_prompt(prefix, suffix, tokenizer, max_tokens)
        assert tokenizer.fim is not None
        at_middle = prompt.ids.index(tokenizer.fim.middle_id)
        after, before = prompt.ids[2:at_middle], prompt.ids[at_middle + 1 :]
        room = max_tokens - 3
        assert len(prompt.ids) == min(max_tokens, num_before + num_after + 3)
        assert prefix.endswith(tokenizer.decode(before)) and suffix.startswith(tokenizer.decode(after))
        assert len(after) >= min(num_after, room // 2) and len(before) >= min(num_before, room - room // 2)

    def test_no_room_for_the_marks(self, tokenizer: Tokenizer) -> None:
        with pytest.raises(ConfigError, match="max_tokens: an infilling prompt takes at least 3, got 2"):
            infill_prompt("a", "b", tokenizer, 2)

    def test_a_vocabulary_without_fim(self, without_fim: Tokenizer) -> None:
        with pytest.raises(CheckpointError, match="cannot infill"):
            infill_prompt("a", "b", without_fim, 10)
