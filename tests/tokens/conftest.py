import json
import textwrap
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import strategies as st

from derailleur.tokens import TokenizeConfig, Tokenizer, tokenize

SOURCES = {
    f"package/{module.stem}.py": module.read_text(encoding="utf-8")
    for module in sorted(Path(json.__file__).parent.glob("*.py"))
} | {
    "textwrap.py": Path(textwrap.__file__).read_text(encoding="utf-8"),
    "empty.py": "",
    "controls.py": "END = '<|endoftext|>'\nFIM = '<|fim_prefix|>a<|fim_suffix|>b<|fim_middle|>c<|fim_pad|>'",
    "unicode.py": "naïve = '中文字符 😀 \\n'\r\n\tº = \"Ω\"  # nur ein Satz mit Umläuten\r\n" * 20,
}


@pytest.fixture(scope="session")
def sources() -> dict[str, str]:
    """The content of every document by its path."""
    return SOURCES


@pytest.fixture(scope="session")
def any_text() -> st.SearchStrategy[str]:
    """Any Unicode text, often such that looks like code."""
    code = st.text(alphabet="abX_19. \n\t\r():=é中😀\u0301'\"#<|>", max_size=60)
    return st.text(max_size=60) | code


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a curate stage leaves, in two files."""
    folder = tmp_path_factory.mktemp("curate")
    rows = [
        {
            "id": f"{number:064x}",
            "repository": "r",
            "path": path,
            "language": "Python",
            "split": "heldout" if path in ("textwrap.py", "package/scanner.py") else "train",
            "content": content,
            "num_bytes": len(content.encode()),
        }
        for number, (path, content) in enumerate(SOURCES.items())
    ]
    pq.write_table(pa.Table.from_pylist(rows[:3]), folder / "documents-00000.parquet")
    pq.write_table(pa.Table.from_pylist(rows[3:]), folder / "documents-00001.parquet")
    pq.write_table(pa.table({"path": ["x"], "action": ["dropped"]}), folder / "ledger.parquet")
    for name in ("stage.json", "manifest.json"):
        (folder / name).write_text('{"stage": "curate", "fingerprint": "0"}')
    return folder


@pytest.fixture(scope="session")
def config() -> TokenizeConfig:
    return TokenizeConfig(vocab_size=600, shard_tokens=5000)


@pytest.fixture(scope="session")
def packed(corpus: Path, config: TokenizeConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished tokenize stage, several shards."""
    out = tmp_path_factory.mktemp("tokenize")
    tokenize(config, corpus, out)
    return out


@pytest.fixture(scope="session")
def tokenizer(packed: Path) -> Tokenizer:
    return Tokenizer.load(packed)


@pytest.fixture(scope="session")
def without_fim(packed: Path, tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    """The same vocabulary, its fill-in-the-middle tokens renamed."""
    file = tmp_path_factory.mktemp("without_fim") / "tokenizer.json"
    file.write_text((packed / "tokenizer.json").read_text().replace("<|fim_", "<|other_"))
    return Tokenizer.load(file)


@pytest.fixture(scope="session")
def restore(tokenizer: Tokenizer) -> Callable[[list[int]], str]:
    """Gives the text that a fill-in-the-middle sequence was made of."""
    fim = tokenizer.fim
    assert fim is not None

    def restored(ids: list[int]) -> str:
        at_suffix, at_middle = ids.index(fim.suffix_id), ids.index(fim.middle_id)
        assert ids[0] == fim.prefix_id and at_suffix < at_middle
        prefix, suffix, middle = ids[1:at_suffix], ids[at_suffix + 1 : at_middle], ids[at_middle + 1 :]
        return tokenizer.decode(prefix) + tokenizer.decode(middle) + tokenizer.decode(suffix)

    return restored
