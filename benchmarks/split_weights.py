"""Measures whether evaluating prompts with one type of weights and decoding with another pays.

The prompt is evaluated with the weights that are fastest at prompts, the state of its sequence is copied
(``llama_state_seq_get_data``, ``llama_state_seq_set_data``) to a context of the weights that decode fastest, and the
answer is decoded there. Both contexts have the same type of KV cache, so the state fits. Compared with each single type
for a whole job, alternately, minima of all rounds:

    python benchmarks/split_weights.py MODEL.gguf [--types original,bf16,q8_0] [--rounds 3]

A last column gives the ratio to the best single type; below 0.9 the combination would be worth its memory.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import tempfile
import time
from pathlib import Path

from llmcli.engine.derivation import DerivationSource, derive_copy
from llmcli.engine.llama import hardware
from llmcli.engine.llama.context import Context, ContextConfig
from llmcli.engine.llama.model import Model
from llmcli.engine.llama.threads import ThreadPolicy
from llmcli.engine.tuning.microbenchmark import Stopwatch
from llmcli.interrupt import Interrupt
from llmcli.models.library.derived_weights import DerivedWeightsStore
from llmcli.settings import ORIGINAL_WEIGHTS

SHAPES = ((512, 64), (2048, 256))
"""Tokens of the prompt and of the answer."""
_BATCH = 512


def evaluate_prompt(watch: Stopwatch, tokens: int) -> None:
    """Evaluate a prompt in an empty context."""
    watch.clear()
    for position in range(0, tokens, _BATCH):
        watch.step((0, position, min(_BATCH, tokens - position)))


def decode(watch: Stopwatch, position: int, tokens: int) -> None:
    """Decode an answer after the prompt."""
    for offset in range(tokens):
        watch.step((0, position + offset, 1))


def run(prompts: Stopwatch, answers: Stopwatch, shape: tuple[int, int]) -> float:
    """Return the seconds of one job; the state is copied only between different contexts."""
    prompt, answer = shape
    answers.clear()
    started = time.perf_counter()
    evaluate_prompt(prompts, prompt)
    if prompts is not answers and not answers.context.restore_state(0, prompts.context.save_state(0)):
        raise RuntimeError("the state does not fit")
    decode(answers, prompt, answer)
    return time.perf_counter() - started


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--types", default="original,bf16,q8_0")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    names, interrupt = options.types.split(","), Interrupt()
    source = DerivationSource(options.model, "m", hashlib.sha256(options.model.read_bytes()).hexdigest())
    threads = ThreadPolicy(hardware.detect_cores().max_threads, fixed=True)
    cells = max(prompt + answer for prompt, answer in SHAPES) + 1
    with tempfile.TemporaryDirectory() as directory, contextlib.ExitStack() as opened:
        store = DerivedWeightsStore(Path(directory) / "copies", 1 << 40)
        watches: dict[str, Stopwatch] = {}
        for name in names:
            own = name == ORIGINAL_WEIGHTS
            path = options.model if own else derive_copy(source, name, store, interrupt).path
            model = Model(path, gpu_layers=0, keep_going=lambda: True)
            opened.callback(model.close)
            config = ContextConfig(cells=0, sequences=1, batch=_BATCH, threads=threads).with_cells(cells)
            context = Context(model, config, lambda: False)
            opened.callback(context.close)
            watches[name] = Stopwatch(context, interrupt)
        for shape in SHAPES:
            times: dict[tuple[str, str], float] = {}
            for _ in range(options.rounds):
                for pair in ((prompt, answer) for prompt in names for answer in names):
                    seconds = run(watches[pair[0]], watches[pair[1]], shape)
                    times[pair] = min(seconds, times.get(pair, seconds))
            best = min(seconds for (prompt, answer), seconds in times.items() if prompt == answer)
            print(f"prompt {shape[0]}, answer {shape[1]}")
            for (prompt, answer), seconds in sorted(times.items(), key=lambda each: each[1]):
                print(f"  {prompt:>9} prompts, {answer:>9} decodes: {seconds:6.2f} s, {seconds / best:.2f}")


if __name__ == "__main__":
    main()
