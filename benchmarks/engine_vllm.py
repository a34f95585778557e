"""One vLLM engine in a process, and an environment, of its own: the benchmark's other end of a pipe.

    PYTHON_WITH_VLLM benchmarks/engine_vllm.py MODEL float32 eager|compiled THREADS

Each line of the standard input is a JSON object with prompts (lists of token ids) and new_tokens; each
line of the output gives, for every prompt, when its tokens arrived: seconds after all were submitted.
"""

import json
import os
import sys
import time

CONTEXT_TOKENS = 1024


def main() -> None:
    folder, dtype, mode, threads = sys.argv[1:]
    # vLLM and what it loads write to the standard output too.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    os.environ |= {
        "OMP_NUM_THREADS": threads,
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "HF_HUB_OFFLINE": "1",
    }
    import torch
    import vllm

    engine = vllm.LLM(
        folder,
        dtype=dtype,
        enforce_eager=mode == "eager",
        max_model_len=CONTEXT_TOKENS,
        max_num_seqs=64,
        enable_prefix_caching=False,
    ).llm_engine
    ready = {"version": vllm.__version__, "torch": torch.__version__, "threads": torch.get_num_threads()}
    print(json.dumps(ready), file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps(answer(engine, **json.loads(line))), file=answers, flush=True)


def answer(engine, prompts: list[list[int]], new_tokens: int) -> list[list[float]]:
    """Seconds at which every token arrived, by prompt."""
    from vllm import SamplingParams

    greedy = SamplingParams(temperature=0, max_tokens=new_tokens, ignore_eos=True)
    arrivals: list[list[float]] = [[] for _ in prompts]
    begin = time.perf_counter()
    for number, prompt in enumerate(prompts):
        engine.add_request(str(number), {"prompt_token_ids": prompt}, greedy)
    while engine.has_unfinished_requests():
        outputs = engine.step()
        now = time.perf_counter() - begin
        for output in outputs:
            arrived = arrivals[int(output.request_id)]
            arrived += [now] * (len(output.outputs[0].token_ids) - len(arrived))
    return arrivals


if __name__ == "__main__":
    main()
