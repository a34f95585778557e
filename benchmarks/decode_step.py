"""One token of a recurrent mixer on a CPU: the fused kernel against the same step in eager torch.

    python benchmarks/decode_step.py --hidden 256 --heads 4

The two are interleaved in one run; the table gives medians and the ratio of each pair's median.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch

from derailleur.model import Decoder, DecoderConfig, GdnConfig, KdaConfig, MixersConfig, Rows

ROUNDS = 200


def seconds(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def compare(decoder: Decoder, letter: str, batch: int) -> tuple[float, float]:
    """Median seconds of the fused and of the eager step; a traced step never uses the fused kernel."""
    mixer = decoder.layers[0].mixer(letter)
    device = torch.device("cpu")
    pool = mixer.new_pool(batch, 64, dtype=torch.float32, device=device)
    rows = Rows.of(range(batch), [5] * batch, 1, device)
    rotary = decoder.rotary.at(rows.token_positions, 5)
    x = torch.randn(batch, 1, decoder.config.hidden_size)
    accepted = torch.ones(batch, dtype=torch.int64)

    def fused() -> None:
        mixer.extend(x, pool, rows, rotary)

    def eager() -> None:
        _, trace = mixer.extend(x, pool, rows, rotary, trace=True)
        mixer.commit(pool, rows, trace, accepted)

    for work in (fused, eager):
        work()
    times = [(seconds(fused), seconds(eager)) for _ in range(ROUNDS)]
    return statistics.median(t for t, _ in times), statistics.median(t for _, t in times)


@torch.inference_mode()
def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--hidden", type=int, default=256, help="width of the residual stream")
    options.add_argument("--heads", type=int, default=4, help="heads of 64")
    options.add_argument("--threads", type=int, default=1, help="torch threads")
    arguments = options.parse_args()
    torch.set_num_threads(arguments.threads)
    decoder = Decoder(
        DecoderConfig(
            vocab_size=16,
            hidden_size=arguments.hidden,
            num_layers=1,
            num_heads=arguments.heads,
            num_kv_heads=1,
            head_dim=64,
            intermediate_size=16,
            max_positions=64,
            mixers=MixersConfig(K=KdaConfig(), G=GdnConfig()),
        )
    )
    print("| mixer | batch | fused, us | eager, us | eager / fused |\n| --- | --- | --- | --- | --- |")
    for letter in "GK":
        for batch in (1, 16):
            fast, slow = compare(decoder, letter, batch)
            print(f"| {letter} | {batch} | {1e6 * fast:.0f} | {1e6 * slow:.0f} | {slow / fast:.1f} |")


if __name__ == "__main__":
    main()
