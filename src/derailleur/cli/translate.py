"""`derailleur evaluate translate`."""

import json
from collections.abc import Sequence
from pathlib import Path

from derailleur.cli.arguments import Parser, parser, print_result
from derailleur.evaluation.translate import TARGETS, Translation, translate_file
from derailleur.io import write_text


def run(command: str, arguments: Sequence[str]) -> int:
    """Translate a file of Python problems."""
    options = _parser(command).parse_args(arguments)
    translation = translate_file(options.problems, options.to, infer_types=options.infer_types)
    write_text(options.out, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in translation.rows))
    result = {"translated": len(translation.rows), "untranslatable": dict(translation.untranslatable)}
    print_result(result, as_json=options.json, text=_summary(translation, options.out))
    return 0


def _summary(translation: Translation, out: Path) -> str:
    reasons = (f"not translated: {name}: {reason}" for name, reason in translation.untranslatable.items())
    total = len(translation.rows) + len(translation.untranslatable)
    return "\n".join([*reasons, f"translated {len(translation.rows)} of {total} problems", f"-> {out}"])


def _parser(command: str) -> Parser:
    made = parser(
        command,
        "Python problems in another language, as MultiPL-E writes them.",
        f"derailleur {command} HumanEval.jsonl.gz --to java --infer-types --out humaneval-java.jsonl",
    )
    made.add_argument(
        "problems",
        type=Path,
        metavar="FILE.jsonl",
        help="rows task_id, entry_point, prompt, test as in HumanEval, or name, prompt, tests; .gz or not",
    )
    made.add_argument("--to", required=True, choices=list(TARGETS), help="the language")
    made.add_argument("--out", type=Path, required=True, metavar="FILE", help="MultiPL-E rows, as JSON lines")
    made.add_argument(
        "--infer-types",
        action="store_true",
        help="where nothing is annotated, take the types of the tests' values",
    )
    made.add_argument(
        "--json", action="store_true", help="print the counts, and each problem left out with its reason"
    )
    return made
