import json
from pathlib import Path

import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st

from derailleur.errors import CheckpointError, DataError
from derailleur.tokens import FimOrder, Tokenizer
from derailleur.tokens.special_tokens import _FIM_SPELLINGS, OUR_SPELLING

CONTROLS = ("<|endoftext|>", *OUR_SPELLING)


def write_byte_level(
    folder: Path, added: dict[str, bool], *, texts: tuple[str, ...] = (), words: bool = True, **extra: object
) -> Path:
    """A byte-level tokenizer.json with `added` tokens (content: is it declared special)."""
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=words)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=300, initial_alphabet=alphabet, show_progress=False, special_tokens=[]
    )
    tokenizer.train_from_iterator(texts, trainer)
    for content, special in added.items():
        token = tokenizers.AddedToken(content, special=special, normalized=False)
        (tokenizer.add_special_tokens if special else tokenizer.add_tokens)([token])
    values = json.loads(tokenizer.to_str()) | extra
    (folder / "tokenizer.json").write_text(json.dumps(values), encoding="utf-8")
    return folder


@given(data=st.data())
def test_decoding_gives_any_text_back(
    tokenizer: Tokenizer, any_text: st.SearchStrategy[str], data: st.DataObject
) -> None:
    text = data.draw(any_text)
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_source_files_come_back_and_are_compressed(tokenizer: Tokenizer, sources: dict[str, str]) -> None:
    ids = {path: tokenizer.encode(text) for path, text in sources.items()}
    assert {path: tokenizer.decode(of_file) for path, of_file in ids.items()} == sources
    assert len(ids["textwrap.py"]) < 0.5 * len(sources["textwrap.py"])


@given(data=st.data())
def test_decoding_agrees_with_the_library_on_any_ids(
    packed: Path, tokenizer: Tokenizer, data: st.DataObject
) -> None:
    oracle = tokenizers.Tokenizer.from_file(str(packed / "tokenizer.json"))
    ids = data.draw(st.lists(st.integers(0, tokenizer.vocab_size - 1), max_size=12))
    assert tokenizer.decode(ids) == oracle.decode(ids, skip_special_tokens=False)


def test_control_tokens_inside_a_text_are_text(tokenizer: Tokenizer) -> None:
    text = f"print('{''.join(CONTROLS)}')"
    ids = tokenizer.encode(text)
    assert tokenizer.fim is not None
    assert not set(ids) & ({tokenizer.eos_id} | tokenizer.fim.ids)
    assert tokenizer.decode(ids) == text


def test_control_tokens_have_the_first_ids(tokenizer: Tokenizer) -> None:
    assert tokenizer.vocab_size == 600
    assert tokenizer.decode(range(5)) == "".join(CONTROLS)
    fim = tokenizer.fim
    assert fim is not None
    assert (tokenizer.eos_id, fim.prefix_id, fim.middle_id, fim.suffix_id, fim.pad_id) == (0, 1, 2, 3, 4)


def test_digits_stand_alone(tokenizer: Tokenizer) -> None:
    assert [tokenizer.decode([i]) for i in tokenizer.encode("2024")] == ["2", "0", "2", "4"]
    trained = Tokenizer.train(["x = 1234\n"] * 50, vocab_size=400)
    assert [trained.decode([i]) for i in trained.encode(" 1234")][-4:] == ["1", "2", "3", "4"]


def test_a_newline_takes_the_whole_indentation() -> None:
    trained = Tokenizer.train(["def f(x):\n        return x\n"] * 50, vocab_size=400)
    ids = trained.encode("def f(x):\n        return x\n")
    assert [trained.decode([i]) for i in ids] == ["def", " f", "(x", "):\n        ", "return", " x", "\n"]
    cut_at_the_cursor = trained.encode("def f(x):\n        ")
    assert ids[: len(cut_at_the_cursor)] == cut_at_the_cursor


def test_training_is_deterministic(sources: dict[str, str], tmp_path: Path) -> None:
    for name in ("one", "two"):
        Tokenizer.train(list(sources.values()), vocab_size=500).save(tmp_path / name)
    assert (tmp_path / "one/tokenizer.json").read_bytes() == (tmp_path / "two/tokenizer.json").read_bytes()


def test_encode_batch_is_encode(tokenizer: Tokenizer, sources: dict[str, str]) -> None:
    texts = list(sources.values())
    assert tokenizer.encode_batch(texts) == [tokenizer.encode(text) for text in texts]
    assert tokenizer.encode_batch([]) == []


def test_ids_without_a_token_decode_to_nothing(tokenizer: Tokenizer) -> None:
    assert tokenizer.decode([10_000_000, *tokenizer.encode("x"), -1]) == "x"


def test_half_a_surrogate_pair_is_refused(tokenizer: Tokenizer) -> None:
    with pytest.raises(DataError, match="surrogate"):
        tokenizer.encode("a\ud800")


def test_a_saved_tokenizer_loads_the_same(
    tokenizer: Tokenizer, sources: dict[str, str], tmp_path: Path
) -> None:
    tokenizer.save(tmp_path / "model")
    for path in (tmp_path, tmp_path / "model", tmp_path / "model/tokenizer.json"):
        loaded = Tokenizer.load(path)
        assert (loaded.eos_id, loaded.fim, loaded.vocab_size) == (0, tokenizer.fim, 600)
        assert loaded.encode(sources["textwrap.py"]) == tokenizer.encode(sources["textwrap.py"])


class TestLoadingOfOtherTokenizers:
    def test_the_declared_end_survives_saving(self, tmp_path: Path) -> None:
        folder = write_byte_level(tmp_path, {"<|endoftext|>": True, "<STOP>": True})
        (folder / "tokenizer_config.json").write_text('{"eos_token": {"content": "<STOP>"}}')
        Tokenizer.load(folder).save(tmp_path / "copy")
        loaded = Tokenizer.load(tmp_path / "copy")
        assert loaded.decode([loaded.eos_id]) == "<STOP>"
        assert (tmp_path / "copy/tokenizer.json").read_text() == (folder / "tokenizer.json").read_text()

    def test_the_infilling_order_survives_saving(self, tmp_path: Path) -> None:
        folder = write_byte_level(tmp_path, {"<|endoftext|>": True})
        (folder / "tokenizer_config.json").write_text('{"fim_order": "spm"}')
        Tokenizer.load(folder).save(tmp_path / "copy")
        assert Tokenizer.load(tmp_path / "copy").fim_order is FimOrder.SPM

    def test_an_unknown_infilling_order(self, tmp_path: Path) -> None:
        folder = write_byte_level(tmp_path, {"<|endoftext|>": True})
        (folder / "tokenizer_config.json").write_text('{"fim_order": ["spm"]}')
        with pytest.raises(
            CheckpointError, match=r"tokenizer_config\.json: fim_order is \['spm'\]; expected"
        ):
            Tokenizer.load(folder)

    def test_settings_that_are_no_object(self, tmp_path: Path) -> None:
        folder = write_byte_level(tmp_path, {"<|endoftext|>": True})
        (folder / "tokenizer_config.json").write_text("[1]")
        with pytest.raises(DataError, match=r"tokenizer_config\.json: expected a JSON object, got list"):
            Tokenizer.load(folder)

    @pytest.mark.parametrize("name", ["config.json", "generation_config.json"])
    @pytest.mark.parametrize("ids", [257, [257, 256]])
    def test_end_by_id(self, tmp_path: Path, name: str, ids: object) -> None:
        folder = write_byte_level(tmp_path, {"<|endoftext|>": True, "<STOP>": True})
        (folder / name).write_text(json.dumps({"eos_token_id": ids}))
        assert Tokenizer.load(folder).eos_id == 257

    def test_an_ordinary_token_is_never_the_end(self, tmp_path: Path) -> None:
        folder = write_byte_level(tmp_path, {"</s>": True})
        (folder / "config.json").write_text('{"eos_token_id": 2}')
        assert Tokenizer.load(folder).eos_id == 256

    def test_end_by_spelling(self, tmp_path: Path) -> None:
        assert Tokenizer.load(write_byte_level(tmp_path, {"<x>": True, "<|im_end|>": True})).eos_id == 257

    def test_no_end(self, tmp_path: Path) -> None:
        with pytest.raises(
            CheckpointError, match=r"tokenizer\.json: no end-of-document token; set eos_token"
        ):
            Tokenizer.load(write_byte_level(tmp_path, {"<x>": True}))

    @pytest.mark.parametrize("spelling", _FIM_SPELLINGS)
    @pytest.mark.parametrize("special", [True, False])
    def test_fim_spellings(self, tmp_path: Path, spelling: tuple[str, ...], special: bool) -> None:
        names = [name for name in spelling if name]
        tokenizer = Tokenizer.load(write_byte_level(tmp_path, {"</s>": True} | dict.fromkeys(names, special)))
        fim = tokenizer.fim
        assert fim is not None
        assert [tokenizer.decode([i]) for i in (fim.prefix_id, fim.middle_id, fim.suffix_id)] == names[:3]
        assert tokenizer.decode([fim.pad_id]) == (spelling[3] or "</s>")
        text = "".join(names)
        assert not set(tokenizer.encode(text)) & fim.ids
        assert tokenizer.decode(tokenizer.encode(text)) == text

    def test_no_fim(self, tmp_path: Path) -> None:
        assert Tokenizer.load(write_byte_level(tmp_path, {"</s>": True})).fim is None

    def test_ordinary_added_tokens_are_kept(self, tmp_path: Path) -> None:
        tokenizer = Tokenizer.load(write_byte_level(tmp_path, {"</s>": True, "        ": False}))
        assert tokenizer.encode("        ") == [257]

    def test_truncation_and_padding_of_the_file_are_off(self, tmp_path: Path) -> None:
        truncation = {"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0}
        tokenizer = Tokenizer.load(write_byte_level(tmp_path, {"</s>": True}, truncation=truncation))
        assert tokenizer.decode(tokenizer.encode("longer than four")) == "longer than four"

    def test_a_vocabulary_that_is_not_byte_level(self, tmp_path: Path) -> None:
        tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel({"[UNK]": 0, "x": 1}, unk_token="[UNK]"))
        tokenizer.add_special_tokens(["</s>"])
        tokenizer.save(str(tmp_path / "tokenizer.json"))
        with pytest.raises(CheckpointError, match="expected a byte-level BPE"):
            Tokenizer.load(tmp_path)

    def test_an_end_that_merges_spell_is_refused(self, tmp_path: Path) -> None:
        folder = write_byte_level(tmp_path, {}, texts=("</s>",) * 100, words=False)
        (folder / "tokenizer_config.json").write_text('{"eos_token": "</s>"}')
        with pytest.raises(CheckpointError, match="does not give the text '</s>' back"):
            Tokenizer.load(folder)

    @pytest.mark.parametrize("content", [None, b"{}", b"not json", b"\xff"])
    def test_unreadable(self, tmp_path: Path, content: bytes | None) -> None:
        if content is not None:
            (tmp_path / "tokenizer.json").write_bytes(content)
        with pytest.raises(CheckpointError, match=r"tokenizer\.json: (cannot be read|not a tokenizer)"):
            Tokenizer.load(tmp_path)
