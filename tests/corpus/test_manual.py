"""The corpus stage's manual against the code: what it names is there, and every reason is in it."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
import yaml
from pydantic import BaseModel
from tokenizers import Tokenizer
from tokenizers.models import WordLevel

import derailleur.corpus
from derailleur.cli import main
from derailleur.config import load_config
from derailleur.corpus import CurateConfig, documents, ledger
from derailleur.corpus.filters import FILTERS, FilterConfig, Filters
from derailleur.corpus.flow import STEPS, step_of
from derailleur.corpus.languages import DEFAULT_LANGUAGES, KNOWN_LANGUAGES
from derailleur.corpus.licences.policy import LicenceConfig
from derailleur.corpus.near_dedup import REASONS
from derailleur.corpus.pii.keys import KEY_FORMATS

CORPUS = Path(derailleur.corpus.__path__[0])
DOCS = Path(__file__).parents[2] / "docs"
PAGES = {
    name: (DOCS / f"{name}.md").read_text("utf-8")
    for name in ("corpus", "licences", "dedup", "pii", "filters")
}
MANUAL = PAGES["corpus"]

_REASON_AT = {"Verdict": 1, "RefusedError": 0, "_BadLineError": 1}
"""Which argument of a call is a reason."""

_COMPUTED = {
    "licences/policy.py": {"licence_unknown", "licence_not_allowed"},
    "tasks/finish.py": {*REASONS, "near_duplicate_of_heldout"},
    # given by others: the calls above, and the rules of the filters
    "filters/rules.py": set(),
    "ledger.py": set(),
    "sources/compression.py": set(),
    "sources/entry.py": set(),
    "sources/jsonl.py": set(),
}
"""The modules in which some reason is no literal, and the reasons that these give."""


def section(title: str) -> str:
    """A section of the manual, without its title."""
    return MANUAL.split(f"\n## {title}\n")[1].split("\n## ")[0]


def first_cells(text: str) -> list[str]:
    """What is named in the first column of a table."""
    return [
        name
        for row in re.findall(r"^\| (`.*?) \|", text, re.MULTILINE)
        for name in re.findall(r"`([^`]+)`", row)
    ]


def reasons_of_calls() -> Iterator[tuple[str, str | None]]:
    """(module, reason) of every verdict in the code; None for a reason that is no literal."""
    for path in sorted(CORPUS.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                place = _REASON_AT.get(node.func.id)
                if place is None or (len(node.args) <= place and not node.keywords):
                    continue
                module = path.relative_to(CORPUS).as_posix()
                reason = node.args[place] if place < len(node.args) else None
                literal = reason.value if isinstance(reason, ast.Constant) else None
                yield module, literal if isinstance(literal, str) else None


def reasons_of_filters(folder: Path) -> set[str]:
    """The reasons of all filters' rules."""
    tokenizer = folder / "tokenizer.json"
    Tokenizer(WordLevel({"a": 0}, unk_token="a")).save(str(tokenizer))
    config = {"order": tuple(FILTERS), "fertility": {"tokenizer": str(tokenizer)}}
    return {step.reason for step in Filters(FilterConfig.model_validate(config)).steps}


def keys(config: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Every key of a configuration, dotted; groups of keys too."""
    for name, field in config.model_fields.items():
        yield prefix + name
        for kind in (field.annotation, *getattr(field.annotation, "__args__", ())):
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                yield from keys(kind, f"{prefix}{name}.")


def test_every_reason_is_in_the_table_and_no_other(tmp_path: Path) -> None:
    called = list(reasons_of_calls())
    assert {module for module, reason in called if reason is None} == set(_COMPUTED)
    given = {reason for _, reason in called if reason} | set().union(*_COMPUTED.values())
    given |= reasons_of_filters(tmp_path)
    assert len(given) > 70
    named = first_cells(section("Reasons"))
    assert sorted(given - set(named)) == []
    assert sorted(set(named) - given) == []
    assert len(named) == len(set(named))


def test_every_reason_to_leave_a_text_out_has_its_step(tmp_path: Path) -> None:
    filters = reasons_of_filters(tmp_path)
    # What comes before a text is there is told by the record: it has none.
    before = ("sources/", "decoding.py", "recognition", "tasks/read.py")
    called = {reason for module, reason in reasons_of_calls() if reason and not module.startswith(before)}
    steps = {}
    for reason in called.union(filters, *_COMPUTED.values()):
        record = ledger.FileRecord("r", "p", 1, "s", sha256=b"", text=0)
        record.verdict = ledger.Verdict("dropped", reason)
        steps[reason] = step_of(record, filters)
    assert set(steps.values()) <= set(STEPS)
    judged = {reason for reason, step in steps.items() if step == "licence"}
    assert judged == {"licence_unknown", "licence_not_allowed", "no_licence", "opted_out"}


@pytest.mark.parametrize(
    ("schema", "title"), [(documents.SCHEMA, "documents"), (ledger.SCHEMA, "the ledger")]
)
def test_every_column_is_in_its_table(schema: pa.Schema, title: str) -> None:
    table = section("Output").split(f"| column of {title} |")[1].split("\n\n")[0]
    assert first_cells(table) == schema.names


def test_every_option_is_in_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["curate", "--help"])
    shown = capsys.readouterr().out.partition("\nkeys ")[0]
    options = set(re.findall(r"^  (--[a-z-]+)[ \n]", shown, re.MULTILINE))
    named = {name.split()[0] for name in first_cells(section("Running it"))}
    assert named == options


def test_every_key_that_is_named_is_one() -> None:
    known = set(keys(CurateConfig))
    groups = {name.partition(".")[0] for name in known if "." in name}
    named = {
        key
        for text in PAGES.values()
        for key in re.findall(r"(?:`|--)([a-z_]+(?:\.[a-z_*]+)+)", text)
        if key.partition(".")[0] in groups
    }
    assert len(named) > 40
    assert [key for key in sorted(named) if key.removesuffix(".*") not in known] == []


def test_the_configurations_are_valid(tmp_path: Path) -> None:
    policies = re.findall(r"(?:^    (?:#|[a-z_]+:).*\n)+", PAGES["licences"], re.MULTILINE)
    assert len(policies) == 2
    for number, policy in enumerate(policies):
        path = tmp_path / f"{number}.yaml"
        path.write_text(policy)
        assert LicenceConfig(policy=str(path)).load().allow
    block = MANUAL.split("    # corpus.yaml\n")[1].split("\n\n")[0]
    (tmp_path / "corpus.yaml").write_text(block)
    config = load_config(CurateConfig, tmp_path / "corpus.yaml")
    assert set(yaml.safe_load(block)) == config.model_fields_set


def test_the_languages_of_the_default_are_listed() -> None:
    listed = MANUAL.split("Without it these are kept:\n\n")[1].split(".\n\n")[0]
    assert set(" ".join(listed.split()).split(", ")) == DEFAULT_LANGUAGES


def test_the_numbers_are_those_of_the_code() -> None:
    assert f"{len(KNOWN_LANGUAGES)} languages and formats" in MANUAL
    assert f"{len(KEY_FORMATS)} formats of keys" in PAGES["pii"]


def test_every_filter_is_in_the_table() -> None:
    table = PAGES["filters"].split("| filter | keeps, by default |")[1].split("\n\n")[0]
    assert first_cells(table) == list(dict.fromkeys(first_cells(table)))
    assert set(first_cells(table)) == set(FILTERS)


def test_links_lead_somewhere() -> None:
    titles = {path.name: path.read_text("utf-8") for path in DOCS.glob("*.md")}
    for name in PAGES:
        for target, anchor in re.findall(r"\]\(([\w-]*\.md)?#?([\w-]*)\)", titles[f"{name}.md"]):
            text = titles[target or f"{name}.md"]
            slugs = {
                re.sub(r"[^\w\- ]", "", title).lower().replace(" ", "-")
                for title in re.findall(r"^#+ (.*)$", text, re.MULTILINE)
            }
            assert not anchor or anchor in slugs, f"{name}.md: {target}#{anchor}"
