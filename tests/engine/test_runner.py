"""Steps from state against whole forward passes: pieces of any size, any placements together, rollback."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from derailleur.engine.memory import Claim, State, StateMemory
from derailleur.engine.plan import Piece
from derailleur.engine.runner import Runner
from derailleur.model import Decoder
from derailleur.placement import Placement

CPU = torch.device("cpu")
PLACEMENTS = ["FFFF", "SSSS", "KKKK", "GGGG", "FSKG", "GKSF", "KFFS"]
CLOSE = {"atol": 1e-4, "rtol": 1e-4}


def new_states(decoder: Decoder, placements: list[str], *, capacity: int = 256) -> list[State]:
    memory = StateMemory(decoder, 1 << 30, torch.float32, CPU)
    states = memory.allocate([Claim(Placement(letters), capacity) for letters in placements])
    assert states is not None
    return states


def random_tokens(count: int, seed: int = 0) -> list[int]:
    return torch.randint(256, (count,), generator=torch.Generator().manual_seed(seed)).tolist()


@torch.inference_mode()
def whole(decoder: Decoder, tokens: list[int], letters: str) -> torch.Tensor:
    return decoder(torch.tensor([tokens]), Placement(letters)).logits[0]


@pytest.mark.parametrize("letters", PLACEMENTS)
def test_decoding_from_state_equals_the_whole_forward(supernet: Decoder, letters: str) -> None:
    tokens = random_tokens(90)
    [state] = new_states(supernet, [letters])
    runner = Runner(supernet, CPU)
    logits = [runner.step([Piece(state, tokens[:60], num_logits=60)]).logits]
    logits += [runner.step([Piece(state, [token])]).logits for token in tokens[60:]]
    torch.testing.assert_close(torch.cat(logits), whole(supernet, tokens, letters), **CLOSE)
    assert state.length == 90


@pytest.mark.parametrize("letters", PLACEMENTS)
@given(sizes=st.lists(st.integers(1, 70), min_size=1, max_size=8))
@settings(max_examples=4, deadline=None)
def test_pieces_of_any_size_equal_one(supernet: Decoder, letters: str, sizes: list[int]) -> None:
    tokens = random_tokens(sum(sizes))
    [state] = new_states(supernet, [letters], capacity=1024)
    runner = Runner(supernet, CPU)
    logits = []
    for size in sizes:
        piece = tokens[state.length : state.length + size]
        logits.append(runner.step([Piece(state, piece, num_logits=size)]).logits)
    torch.testing.assert_close(torch.cat(logits), whole(supernet, tokens, letters), **CLOSE)


@given(
    rows=st.lists(
        st.tuples(st.sampled_from(PLACEMENTS), st.integers(0, 60), st.integers(1, 40)), min_size=2, max_size=7
    )
)
@settings(max_examples=15, deadline=None)
def test_what_shares_a_step_does_not_matter(supernet: Decoder, rows: list[tuple[str, int, int]]) -> None:
    """Rows of any placements, pasts and numbers of tokens in one step, each as it would be alone."""
    states = new_states(supernet, [letters for letters, _, _ in rows])
    runner = Runner(supernet, CPU)
    texts = [random_tokens(past + new, seed) for seed, (_, past, new) in enumerate(rows)]
    for state, text, (_, past, _) in zip(states, texts, rows, strict=True):
        if past:
            runner.step([Piece(state, text[:past], num_logits=0)])
    pieces = [
        Piece(state, text[past:], num_logits=new)
        for state, text, (_, past, new) in zip(states, texts, rows, strict=True)
    ]
    output = runner.step(pieces)
    for span, text, (letters, past, _) in zip(output.spans, texts, rows, strict=True):
        torch.testing.assert_close(output.logits[span], whole(supernet, text, letters)[past:], **CLOSE)


def test_a_plan_serves_again_while_the_batch_stays(supernet: Decoder) -> None:
    states = new_states(supernet, ["FSKG", "GGGG"])
    runner = Runner(supernet, CPU)
    texts = [random_tokens(20, 1), random_tokens(20, 2)]
    steps = [
        runner.step([Piece(state, [text[i]]) for state, text in zip(states, texts, strict=True)]).logits
        for i in range(20)
    ]
    assert len(runner._plans) == 1
    for row, (letters, text) in enumerate(zip(("FSKG", "GGGG"), texts, strict=True)):
        torch.testing.assert_close(
            torch.stack([logits[row] for logits in steps]), whole(supernet, text, letters), **CLOSE
        )


@pytest.mark.parametrize("letters", PLACEMENTS)
@pytest.mark.parametrize("accepted", [1, 3, 6])
def test_a_traced_step_keeps_what_is_accepted(supernet: Decoder, letters: str, accepted: int) -> None:
    """A verified piece beside a plain row: both go on as if the forgotten tokens had never been."""
    text, other = random_tokens(70), random_tokens(40, 5)
    states = new_states(supernet, [letters, letters])
    runner = Runner(supernet, CPU)
    runner.step([Piece(states[0], text[:30]), Piece(states[1], other[:30])])
    wrong = [*text[30 : 30 + accepted], *random_tokens(6 - accepted, 7)]
    output = runner.step([Piece(states[0], wrong, trace=True, num_logits=6), Piece(states[1], other[30:31])])
    output.commit([accepted, 1])
    assert [state.length for state in states] == [30 + accepted, 31]
    rest = [Piece(states[0], text[30 + accepted :]), Piece(states[1], other[31:])]
    output = runner.step(rest)
    torch.testing.assert_close(output.logits[output.spans[0]], whole(supernet, text, letters)[-1:], **CLOSE)
    torch.testing.assert_close(output.logits[output.spans[1]], whole(supernet, other, letters)[-1:], **CLOSE)


def test_a_nan_in_one_state_stays_there(supernet: Decoder) -> None:
    """Rows with a gap between their slots, and the request in the gap broken."""
    states = new_states(supernet, ["FSKG", "FSKG", "FSKG"])
    runner = Runner(supernet, CPU)
    texts = [random_tokens(30, seed) for seed in range(3)]
    runner.step([Piece(state, text[:20]) for state, text in zip(states, texts, strict=True)])
    for layer in states[1].layers:
        entries = layer.entries
        for tensor in layer.pool.pool.tensors().values():
            tensor[entries] = torch.nan
    for places in ([0, 1, 2], [0, 2]):
        start = states[0].length
        output = runner.step([Piece(states[i], texts[i][start : start + 5]) for i in places])
        for place, i in enumerate(places):
            logits = output.logits[output.spans[place]]
            if i != 1:
                expected = whole(supernet, texts[i][: start + 5], "FSKG")[-1:]
                torch.testing.assert_close(logits, expected, **CLOSE)
