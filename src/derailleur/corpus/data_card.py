"""The data card: what a corpus is, where it came from and what was done to it, in Markdown.

It says the same for the same corpus: no dates, no machine. Anyone who has the sources can make it again from
the configuration at its end and compare the checksums.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import yaml

from derailleur.corpus import documents
from derailleur.corpus.licences import UNKNOWN, catalogue
from derailleur.corpus.workspace import CurateConfig

CARD = "README.md"

_MOST_ROWS = 40
_MB = 1e6
_ESCAPES = str.maketrans({mark: f"\\{mark}" for mark in "\\`*_[]<>!|~&:@$"})
"""What begins markup inside a line, of CommonMark and of what the hubs add: addresses, mentions, formulas."""

_NOT_KNOWN = {"unknown", UNKNOWN}

_SIZES = ("1K", "10K", "100K", "1M", "10M", "100M", "1B", "10B", "100B", "1T")
_SIZE_BOUNDS = tuple(10**exponent for exponent in range(3, 13))

_FILES = (
    ("`documents-*.parquet`", f"the texts: {', '.join(f'`{name}`' for name in documents.SCHEMA.names)}"),
    ("`ledger-*.parquet`", "every file seen: where it came from, its licence, what became of it and why"),
    ("`redactions-*.jsonl`", "what was replaced and where (characters before redaction), never the value"),
    ("`measures-*.parquet`", "what the filters measured of each text that reached them"),
)

_LIMITS = (
    "The corpus is what its sources hold, not a sample of all code. Licences are those that files, "
    "repositories and tables state, found by rules; nobody has read them, and a file may state none or a "
    "wrong one. Personal data that no rule knows, duplicates under the threshold and translations of "
    "benchmark tasks are still in it."
)


def data_card(config: CurateConfig, results: Mapping[str, Any], *, checksums: str, version: str) -> str:
    """The card's text.

    Args:
        results: the counts of the run.
        checksums: SHA-256 of the file that lists the shards' own.
        version: of this package.
    """
    parts = [
        _front_matter(results),
        "# Data card\n",
        _overview(results),
        _section("Files", _files()),
        _section("Sources", _seen_and_kept("source", results["by_source"])),
        _section("Languages", _seen_and_kept("language", results["by_language"])),
        _section("Licences", _licences(config, results)),
        _section("What was left out", _left_out(results)),
        _section("Duplicates", _duplicates(config, results)),
        _section("Personal data and secrets", _pii(config, results)),
        _section("Filters", _filters(results)),
        _section("Benchmarks", _contamination(config, results)),
        _section("Limits", _LIMITS),
        _section("Make it again", _again(config, checksums, version)),
    ]
    return "\n".join(part for part in parts if part)


def _section(title: str, body: str) -> str:
    return f"## {title}\n\n{body}\n" if body else ""


def _front_matter(results: Mapping[str, Any]) -> str:
    values = {
        "configs": [{"config_name": "default", "data_files": "documents-*.parquet"}],
        "tags": ["code"],
        "size_categories": [_size_category(results["kept"])],
        **_licence_of_all(list(results["by_licence"])),
    }
    return f"---\n{yaml.safe_dump(values, sort_keys=False)}---\n"


def _size_category(num_documents: int) -> str:
    """The hub's name for a number of rows."""
    above = bisect_right(_SIZE_BOUNDS, num_documents)
    if above == 0:
        return f"n<{_SIZES[0]}"
    if above == len(_SIZES):
        return f"n>{_SIZES[-1]}"
    return f"{_SIZES[above - 1]}<n<{_SIZES[above]}"


def _licence_of_all(licences: Sequence[str]) -> dict[str, str]:
    """The hub's licence of a data set: one, or `other` with a name."""
    if len(licences) == 1 and licences[0] in catalogue():
        return {"license": licences[0].lower()}
    return {"license": "other", "license_name": "mixed" if set(licences) - _NOT_KNOWN else "unknown"}


def _files() -> str:
    rows = "\n".join(f"- {name}: {what}" for name, what in _FILES)
    return (
        f"{rows}\n\nThe column `split` is `train` or `heldout`; a reader that takes the files as they are "
        "gets both."
    )


def _overview(results: Mapping[str, Any]) -> str:
    left_out = results["files_seen"] - results["kept"]
    splits = "; ".join(
        f"{name} {counts['files']:,} files, {_megabytes(counts['bytes'])}"
        for name, counts in results["splits"].items()
    )
    return (
        f"{results['kept']:,} source files, {_megabytes(results['bytes_kept'])} of text ({splits}), kept of "
        f"{results['files_seen']:,} files seen; {left_out:,} were left out, each with a reason in "
        "`ledger-*.parquet`, which also says of every file kept where it came from and under which licence.\n"
    )


def _seen_and_kept(what: str, counts: Mapping[str, Mapping[str, int]]) -> str:
    rows = [
        (
            name,
            f"{n.get('files_kept', 0):,}",
            _megabytes(n.get("bytes_kept", 0)),
            f"{n.get('files_seen', 0):,}",
            _megabytes(n.get("bytes_seen", 0)),
        )
        for name, n in counts.items()
    ]
    return _table((what, "files kept", "kept", "files seen", "seen"), rows)


def _licences(config: CurateConfig, results: Mapping[str, Any]) -> str:
    rows = [
        (name, f"{n['files_kept']:,}", _megabytes(n["bytes_kept"]))
        for name, n in results["by_licence"].items()
    ]
    policy = f"Policy: `{config.licences.policy}`. Expressions are SPDX's; `unknown`: nothing was found.\n\n"
    return policy + _table(("licence", "files kept", "kept"), rows)


def _left_out(results: Mapping[str, Any]) -> str:
    rows = [
        (action, reason, f"{number:,}")
        for action in ("dropped", "quarantined")
        for reason, number in results[action].items()
    ]
    return _table(("", "reason", "files"), rows)


def _duplicates(config: CurateConfig, results: Mapping[str, Any]) -> str:
    near = config.near_dedup
    text = (
        f"Exact duplicates by SHA-256; near-duplicates by profile `{near.profile}`: Jaccard similarity of "
        f"{near.shingle_words}-word shingles from {near.threshold:g} on, {near.num_bands} LSH bands of "
        f"{near.rows_per_band} rows."
    )
    sizes = results["near_dedup"]["cluster_sizes"]
    rows = [(size, f"{number:,}") for size, number in sizes.items()]
    return text + (f"\n\n{_table(('documents one stands for', 'times'), rows)}" if rows else "")


def _pii(config: CurateConfig, results: Mapping[str, Any]) -> str:
    rows = [(tag, f"{number:,}") for tag, number in results["pii"].items() if number]
    text = (
        f"Found by rules and replaced, style `{config.pii.style}`; the places stand in `redactions-*.jsonl`. "
        "Names of people are not looked for unless a recognizer is configured, and no detector finds "
        "everything.\n\n"
    )
    return text + (_table(("kind", "replaced"), rows) if rows else "Nothing was found.")


def _filters(results: Mapping[str, Any]) -> str:
    rows = [
        (
            row["reason"].replace("_", " "),
            f"{row['files_removed']:,}",
            _megabytes(row["bytes_removed"]),
            f"{row['bytes_removed'] / max(row['bytes_before'], 1):.2%}",
        )
        for row in results["filters"]
    ]
    return _table(("filter", "files removed", "removed", "of the volume"), rows)


def _contamination(config: CurateConfig, results: Mapping[str, Any]) -> str:
    if not config.decontamination.benchmarks:
        return "Not compared with any benchmark."
    rows = [(name, f"{number:,}") for name, number in results["contamination"].items()]
    return _table(("benchmark", "documents dropped"), rows) if rows else "No document holds a passage of one."


def _again(config: CurateConfig, checksums: str, version: str) -> str:
    shown = config.model_dump(mode="json")
    if config.pii.salt:  # whoever knows it can guess replaced values back
        shown["pii"]["salt"] = "(not shown)"
    values = yaml.safe_dump(shown, sort_keys=True, allow_unicode=True)
    return (
        f"`derailleur curate SOURCE... --config FILE.yaml` of derailleur {version}; SHA-256 of `SHA256SUMS`: "
        f"`{checksums}`.\n\n```yaml\n{values}```"
    )


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return ""
    lines = [header, ["---"] * len(header), *rows[:_MOST_ROWS]]
    if len(rows) > _MOST_ROWS:
        lines.append([f"... and {len(rows) - _MOST_ROWS} more", *[""] * (len(header) - 1)])
    return "\n".join(_row(line) for line in lines)


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(map(_cell, cells))} |"


def _cell(text: str) -> str:
    """Names come from strangers' files: nothing of theirs may become markup of the card or end its line."""
    return "".join(c if c.isprintable() else " " for c in text).translate(_ESCAPES)


def _megabytes(num_bytes: int) -> str:
    return f"{num_bytes / _MB:,.1f} MB"
