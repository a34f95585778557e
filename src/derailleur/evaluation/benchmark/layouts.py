"""The samples as other harnesses write theirs, so that what reads those reads ours.

    bigcode/PRESET/SET-tT/generations.json           a list a problem of programs, of middles for infilling
    bigcode/PRESET/SET-tT/evaluation_results.json    {"SET": {"pass@1": ...}, "config": {...}}
    multipl-e/SET-PRESET-T/PROBLEM.results.json.gz   a problem, its completions, what became of each

bigcode-evaluation-harness and MultiPL-E. T is the temperature.
"""

import gzip
import hashlib
import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from derailleur.evaluation.benchmark.samples import Sample
from derailleur.evaluation.benchmark.settings import BenchmarkConfig
from derailleur.evaluation.problems import Gap
from derailleur.evaluation.verdicts import Verdict
from derailleur.io import write_bytes, write_json

_LONGEST_NAME_BYTES = 100
"""Of a part of a file's name; file systems allow 255 for the whole."""

_STATUS = {
    Verdict.PASSED: "OK",
    Verdict.COMPILE: "SyntaxError",
    Verdict.WRONG: "AssertionError",
    Verdict.TIMEOUT: "Timeout",
}
"""MultiPL-E's words; everything else is an `Exception`."""


def write_layouts(
    out: Path, config: BenchmarkConfig, samples: Sequence[Sample], rows: Sequence[Mapping[str, Any]]
) -> None:
    """Write both layouts.

    Args:
        samples: by preset, set, temperature and problem.
        rows: of scores, one for each preset and set.
    """
    scores = {(row["preset"], row["set"]): row["scores"] for row in rows}
    runs = itertools.groupby(samples, lambda s: (s.key.preset, s.key.set, s.key.temperature))
    for (preset, name, temperature), of_run in runs:
        problems = [list(own) for _, own in itertools.groupby(of_run, lambda s: s.key.id)]
        own = [score for score in scores[preset, name] if score["temperature"] == temperature]
        folder = out / "bigcode" / _file_name(preset) / f"{name}-t{temperature}"
        write_json(folder / "generations.json", [[_generation(s) for s in of] for of in problems])
        write_json(folder / "evaluation_results.json", _results(name, preset, temperature, own, config))
        for of_problem in problems:
            file = f"{_file_name(of_problem[0].key.id)}.results.json.gz"
            value = json.dumps(_multipl_e(of_problem), ensure_ascii=False).encode()
            folder = out / "multipl-e" / f"{name}-{_file_name(preset)}-{temperature}"
            write_bytes(folder / file, gzip.compress(value, mtime=0))


def _file_name(text: str) -> str:
    """The name of a task or of a server's model may have slashes, or be longer than that of any file."""
    name = "".join(character if character.isprintable() else "_" for character in text.replace("/", "_"))
    if len(name.encode()) <= _LONGEST_NAME_BYTES:
        return name
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    return f"{name.encode()[:_LONGEST_NAME_BYTES].decode(errors='ignore')}-{digest}"


def _generation(sample: Sample) -> str:
    problem, text = sample.request.problem, sample.completion.text
    return problem.prompt + text if problem.gap is Gap.END else text


def _results(
    name: str,
    preset: str,
    temperature: float | None,
    scores: Iterable[Mapping[str, Any]],
    config: BenchmarkConfig,
) -> dict[str, Any]:
    whole = {score["metric"]: score["value"] for score in scores if score["rows"] == "all"}
    settings = {
        "model": preset,
        "tasks": name,
        "do_sample": bool(temperature),
        "temperature": temperature,
        "top_p": config.top_p,
        "n_samples": config.samples,
        "seed": config.seed,
        "allow_code_execution": True,
    }
    return {name: whole, "config": settings}


def _multipl_e(samples: Sequence[Sample]) -> dict[str, Any]:
    """One problem; samples on which the sandbox failed are not among the results."""
    problem = samples[0].request.problem
    return {
        "name": problem.id,
        "language": problem.language,
        "temperature": samples[0].key.temperature,
        "prompt": problem.prompt,
        "tests": problem.tests,
        "stop_tokens": list(problem.stop),
        "completions": [sample.completion.text for sample in samples],
        "results": [_multipl_e_result(sample) for sample in samples if sample.passed is not None],
    }


def _multipl_e_result(sample: Sample) -> dict[str, Any]:
    judgement = sample.judgement
    return {
        "program": sample.request.problem.program(sample.completion.text).joined(),
        "status": _STATUS.get(judgement.verdict, "Exception") if judgement else "Exception",
        "exit_code": 0 if sample.passed else 1,
        "stdout": "",
        "stderr": judgement.detail if judgement else "the prompt left no room for a completion",
        "timestamp": 0,
    }
