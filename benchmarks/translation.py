"""How much of MultiPL-E's published files `derailleur evaluate translate` writes again, as a Markdown table.

    python benchmarks/translation.py EVALUATION

EVALUATION has `human-eval/HumanEval.jsonl.gz`, `multipl-e-deepseek-copy/humaneval-{js,java}.jsonl`, and
`santacoder-fim/santacoder_fim_py.jsonl.gz`. The last is what MultiPL-E's authors translated from: HumanEval
with annotations and tidy doctests, put in by hand. HumanEval itself is translated with `--infer-types`.
"""

import argparse
import gzip
import json
import re
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from derailleur.evaluation.translate import translate_file

NAMES = {"javascript": "js", "java": "java"}
HEADINGS = (
    "input",
    "language",
    "published",
    "translated",
    "tests",
    "signature",
    "prompts",
    "but for a word",
)


def published(folder: Path, language: str) -> dict[str, dict[str, Any]]:
    """MultiPL-E's rows by name."""
    path = folder / f"multipl-e-deepseek-copy/humaneval-{NAMES[language]}.jsonl"
    return {row["name"]: row for row in map(json.loads, path.read_text().splitlines())}


def annotated(folder: Path, out: Path) -> Path:
    """The annotated Python out of the infilling rows, whose prompts are cut behind the docstring."""
    rows = {}
    with gzip.open(folder / "santacoder-fim/santacoder_fim_py.jsonl.gz", "rt") as stream:
        for row in map(json.loads, stream):
            if found := re.search(r"(HumanEval_\d+_\w+)\.json", row["name"]):
                code, quotes, rest = row["prompt"].partition('"""')
                prompt = code + quotes + rest.partition('"""')[0] + quotes + "\n"
                rows.setdefault(found[1], {"name": found[1], "prompt": prompt, "tests": row["tests"]})
    out.write_text("".join(json.dumps(row) + "\n" for row in rows.values()))
    return out


def signature(prompt: str) -> str:
    """The line with the function's name."""
    return prompt.rstrip("\n").rpartition("\n")[2]


def once(prompt: str) -> str:
    """The published Java says "array array list" where Python said "a list" or "array"."""
    return prompt.replace("array array list", "array list")


def compare(
    path: Path, language: str, reference: dict[str, dict[str, Any]], infer_types: bool
) -> tuple[Counter[str], list[str]]:
    """Counts of what is equal, and what differs or is not translated."""
    translation = translate_file(path, language, infer_types=infer_types)
    counts: Counter[str] = Counter()
    notes = [f"{name}: {why}" for name, why in translation.untranslatable.items() if name in reference]
    for row in translation.rows:
        if (theirs := reference.get(row["name"])) is None:
            notes.append(f"{row['name']}: not published")
            continue
        equal = {
            "translated": True,
            "tests": row["tests"] == theirs["tests"],
            "signature": signature(row["prompt"]) == signature(theirs["prompt"]),
            "prompts": row["prompt"] == theirs["prompt"],
            "but for a word": row["prompt"] == once(theirs["prompt"]),
        }
        counts += Counter(what for what, is_equal in equal.items() if is_equal)
        different = [what for what in ("tests", "signature", "but for a word") if not equal[what]]
        if different and not infer_types:
            notes.append(f"{row['name']}: {', '.join(different)} differ")
    return counts, notes


def main() -> None:
    """Print the table, and behind it what differs."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("evaluation", type=Path)
    folder = made.parse_args().evaluation
    print(f"| {' | '.join(HEADINGS)} |\n|{' --- |' * 2}{' ---: |' * (len(HEADINGS) - 2)}")
    all_notes = []
    with tempfile.TemporaryDirectory() as scratch:
        inputs = {
            "annotated": annotated(folder, Path(scratch) / "annotated.jsonl"),
            "HumanEval, inferred": folder / "human-eval/HumanEval.jsonl.gz",
        }
        for name, path in inputs.items():
            for language in NAMES:
                reference = published(folder, language)
                counts, notes = compare(path, language, reference, infer_types=name != "annotated")
                cells = [len(reference), *(counts[what] for what in HEADINGS[3:])]
                print(f"| {name} | {language} | {' | '.join(map(str, cells))} |")
                all_notes += [f"{name}, {language}: {note}" for note in notes]
    print("\n" + "\n".join(all_notes))


if __name__ == "__main__":
    main()
