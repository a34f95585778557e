"""Recognizers: labels become spans, windows change nothing, models and entry points plug in."""

import ipaddress
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from derailleur.config import validate
from derailleur.corpus.pii import PiiConfig, find, recognizer, redact
from derailleur.corpus.pii.recognizer import LabelledToken, RecognizerConfig, load_recognizer, spans_of
from derailleur.corpus.pii.spans import Span
from derailleur.errors import ConfigError, DataError

TEXT = "by Ada Lovelace, Bob"


def tokens(*labelled: tuple[str, str]) -> list[LabelledToken]:
    """One token a word of TEXT."""
    return [
        LabelledToken(TEXT.index(word), TEXT.index(word) + len(word), label, 0.9) for word, label in labelled
    ]


@pytest.mark.parametrize(
    ("labels", "values"),
    [
        (("O", "B-PER", "I-PER", "O", "B-PER"), ["Ada Lovelace", "Bob"]),
        (("O", "I-PER", "I-PER", "O", "I-PER"), ["Ada Lovelace", "Bob"]),
        (("O", "B-PER", "B-PER", "O", "O"), ["Ada", "Lovelace"]),
        (("O", "B-PER", "E-PER", "O", "S-PER"), ["Ada Lovelace", "Bob"]),
        (("O", "U-PER", "U-PER", "O", "O"), ["Ada", "Lovelace"]),
        (("O", "PER", "PER", "PER", "PER"), ["Ada Lovelace, Bob"]),
        (("O", "B-PER", "I-USERNAME", "O", "O"), ["Ada", "Lovelace"]),
        (("B-ORG", "B-PER", "I-ORG", "O", "O"), ["Ada"]),
        (("O", "O", "O", "O", "O"), []),
    ],
)
def test_labels_become_spans(labels: Sequence[str], values: list[str]) -> None:
    words = ("by", "Ada", "Lovelace", ",", "Bob")
    spans = spans_of(
        tokens(*zip(words, labels, strict=True)), TEXT, RecognizerConfig(entry_point="unused", threshold=0.9)
    )
    assert [TEXT[span.start : span.end] for span in spans] == values


def test_unsure_spans_are_left_out_and_blanks_trimmed() -> None:
    config = RecognizerConfig(entry_point="unused", threshold=0.7)
    pair = [LabelledToken(2, 6, "B-PER", 0.9), LabelledToken(6, 17, "I-PER", 0.4)]
    assert list(spans_of(pair, TEXT, config)) == []
    assert list(spans_of([LabelledToken(2, 7, "B-PER", 0.7)], TEXT, config)) == [Span(3, 6, "NAME")]


def names(texts: Sequence[str]) -> list[list[Span]]:
    """A recognizer that knows one name."""
    return [
        [Span(text.index("Ada"), text.index("Ada") + 3, "NAME")] if "Ada" in text else [] for text in texts
    ]


def make_names() -> Any:
    return names


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> RecognizerConfig:
    point = EntryPoint("names", f"{__name__}:make_names", recognizer.ENTRY_POINTS)
    monkeypatch.setattr(EntryPoint, "load", lambda self: make_names)
    monkeypatch.setattr(recognizer, "entry_points", lambda group: [point])
    recognizer._load.cache_clear()
    return RecognizerConfig(entry_point="names")


def test_an_installed_recognizer_finds_what_detectors_do_not(installed: RecognizerConfig) -> None:
    content = b"Ada wrote ada@corp.com; Ada"
    config = PiiConfig(recognizer=installed)
    assert find(content, config) == [Span(0, 3, "NAME"), Span(10, 22, "EMAIL")]
    assert find(content, PiiConfig()) == [Span(10, 22, "EMAIL")]
    redacted, _ = redact(content, config, repository="r")
    again, _ = redact(b"x = 'Ada'", config, repository="r")
    name = redacted.split()[0].decode()
    assert name.isalpha()
    assert again.decode() == f"x = '{name}'"
    assert (
        redact(b"Ada", PiiConfig(recognizer=installed, style="placeholders"), repository="r")[0] == b"<NAME>"
    )


@pytest.mark.parametrize("value", ["52.3.7.9/x", "52.3.7.9/99", "52.3.7.9/", "2a00::1/x/y", "/"])
def test_what_a_recognizer_takes_for_an_address_is_replaced_whatever_it_is(
    value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    span = Span(0, len(value), "IP_ADDRESS")
    monkeypatch.setattr(recognizer, "TokenClassifier", lambda config, folder: lambda texts: [[span]])
    config = PiiConfig(recognizer=RecognizerConfig(model=tmp_path))
    redacted, [redaction] = redact(f"{value} ".encode(), config, repository="r")
    assert redacted.decode() == f"{redaction.replacement} "
    assert ipaddress.ip_address(redaction.replacement).is_private


def test_only_installed_entry_points_can_be_named(installed: RecognizerConfig) -> None:
    with pytest.raises(ConfigError, match="no 'os:system'; known: names"):
        load_recognizer(RecognizerConfig(entry_point="os:system"))


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({}, "give either a model folder or an entry_point"),
        ({"model": "a", "entry_point": "b"}, "give either"),
        ({"model": "a", "window_tokens": 64, "overlap_tokens": 32}, "overlap_tokens must be less than half"),
        ({"model": "a", "labels": {"PER": "PERSON"}}, "labels.PER"),
    ],
)
def test_configurations_that_cannot_work(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        validate(PiiConfig, {"recognizer": keys})


WORDS = [f"{a}{b}" for a in "bcdfg" for b in "aeiou"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random classifier that looks at one token at a time: no layers, no positions."""
    transformers = pytest.importorskip("transformers")
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    vocabulary = {word: number for number, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    )
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=16,
        num_hidden_layers=0,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=4096,
        id2label={0: "O", 1: "B-PER", 2: "I-PER", 3: "B-USERNAME"},
        label2id={"O": 0, "B-PER": 1, "I-PER": 2, "B-USERNAME": 3},
    )
    classifier = transformers.BertForTokenClassification(config).eval()
    torch.nn.init.zeros_(classifier.bert.embeddings.position_embeddings.weight)
    torch.nn.init.normal_(classifier.classifier.weight)
    folder = tmp_path_factory.mktemp("model")
    fast.save_pretrained(folder)
    classifier.save_pretrained(folder)
    return folder


def texts() -> list[str]:
    long = "  ".join(WORDS[(7 * number) % len(WORDS)] for number in range(300))
    return [long, "", "ba be\nbi", "é " + long[:200]]


def test_windows_and_batches_change_nothing(model: Path) -> None:
    whole = load_recognizer(RecognizerConfig(model=model, window_tokens=4096, threshold=0))(texts())
    assert sum(map(len, whole)) > 50
    assert whole[1] == []
    assert {span.tag for spans in whole for span in spans} == {"NAME", "USERNAME"}
    for window, overlap, batch in ((16, 0, 1), (16, 4, 3), (31, 15, 8)):
        config = RecognizerConfig(
            model=model, window_tokens=window, overlap_tokens=overlap, batch_size=batch, threshold=0
        )
        assert load_recognizer(config)(texts()) == whole


def test_spans_begin_and_end_at_words(model: Path) -> None:
    config = RecognizerConfig(model=model, labels={"PER": "NAME"}, threshold=0)
    for text, spans in zip(texts(), load_recognizer(config)(texts()), strict=True):
        for span in spans:
            assert span.tag == "NAME"
            assert set(text[span.start : span.end].split()) <= {*WORDS, "é"}


def test_what_is_no_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match=r"no config\.json: not a Hugging Face model folder"):
        load_recognizer(RecognizerConfig(model=tmp_path))
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(DataError, match="cannot be loaded") as raised:
        load_recognizer(RecognizerConfig(model=tmp_path))
    assert "\n" not in str(raised.value)
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ConfigError, match="needs the extra"):
        load_recognizer(RecognizerConfig(model=tmp_path))


def test_nothing_imports_torch_before_a_model_is_named() -> None:
    code = (
        "import sys; from derailleur.corpus.pii import PiiConfig, redact; "
        "redact(b'a@b.com', PiiConfig(), repository=''); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
