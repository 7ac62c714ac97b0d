"""A minimal reproduction for llama.cpp: wrong logits of recurrent models with ``use_extra_bufts`` on AMX processors.

    python upstream_extra_bufts.py MODEL.gguf

MODEL is a quantized recurrent or hybrid model (Mamba, Qwen3.5, ...); ``python tests/tiny_models.py DIR mamba qwen35``
writes two of 150 to 250 KB with random weights. Needs llama-cpp-python and numpy, nothing else.

It evaluates two sequences of the same length in one ubatch, and each alone in its own context, and prints the largest
difference of their last logits. Expected: rounding (0 for the first sequence of most models). Seen with llama.cpp of
llama-cpp-python 0.3.36 on a Xeon with AMX: with ``use_extra_bufts = true`` (the default) the second sequence is off by
2 to 11, with false it is exact; with F32 weights, which AMX does not support, it is exact in both.

Why: such models multiply a weight {k, m} with activations {k, tokens of a sequence, sequences}, where other models have
{k, tokens}. ``ggml_backend_amx_mul_mat`` (``ggml/src/ggml-cpu/amx/mmq.cpp``) then takes ``ggml_batch_offset(src0,
batch_idx, ne2)`` for each sequence, though src0 has one matrix, which is to be broadcast: the second sequence is
multiplied with the memory behind the weight. The offset of src0 would have to come from its own ne[2] and ne[3].
"""

from __future__ import annotations

import ctypes
import platform
import sys
from importlib import metadata
from pathlib import Path

import llama_cpp.llama_cpp as llama
import numpy as np

TOKENS = 24


@llama.llama_log_callback  # type: ignore[untyped-decorator]  # the binding has no types
def quiet(_level: int, _text: bytes, _data: ctypes.c_void_p) -> None:
    """Drop llama.cpp's log."""


def last_logits(model: ctypes.c_void_p, prompts: list[list[int]]) -> list[np.ndarray]:
    """Evaluate ``prompts``, all of one length, in one ubatch; return the logits of the last token of each."""
    length = len(prompts[0])
    params = llama.llama_context_default_params()
    params.n_ctx, params.n_seq_max = 256 * len(prompts), len(prompts)
    params.n_batch = params.n_ubatch = 256
    params.n_threads = params.n_threads_batch = 1
    context = llama.llama_init_from_model(model, params)
    batch = llama.llama_batch_init(length * len(prompts), 0, 1)
    for sequence, prompt in enumerate(prompts):
        for position, token in enumerate(prompt):
            i = sequence * length + position
            batch.token[i], batch.pos[i] = token, position
            batch.n_seq_id[i], batch.seq_id[i][0] = 1, sequence
            batch.logits[i] = position == length - 1
    batch.n_tokens = length * len(prompts)
    if llama.llama_decode(context, batch) != 0:
        sys.exit("llama_decode failed")
    width = llama.llama_vocab_n_tokens(llama.llama_model_get_vocab(model))
    ends = [(sequence + 1) * length - 1 for sequence in range(len(prompts))]
    rows = [np.ctypeslib.as_array(llama.llama_get_logits_ith(context, i), (width,)).copy() for i in ends]
    llama.llama_batch_free(batch)
    llama.llama_free(context)
    return rows


def differences(path: Path, *, use_extra_bufts: bool) -> list[float]:
    """Return for each of two sequences the largest difference of its logits between one ubatch and alone."""
    params = llama.llama_model_default_params()
    params.use_extra_bufts = use_extra_bufts
    params.n_gpu_layers = 0
    model = llama.llama_model_load_from_file(bytes(path), params)
    if not model:
        sys.exit(f"{path}: llama.cpp cannot load it")
    vocabulary = llama.llama_vocab_n_tokens(llama.llama_model_get_vocab(model))
    prompts = [[(31 * i * i + 17 * i + salt) % vocabulary for i in range(TOKENS)] for salt in (5, 77)]
    together = last_logits(model, prompts)
    alone = [last_logits(model, [prompt])[0] for prompt in prompts]
    llama.llama_model_free(model)
    return [float(np.abs(a - b).max()) for a, b in zip(together, alone, strict=True)]


def processor() -> tuple[str, bool]:
    """Return the processor's name, and whether it has AMX (False on systems other than Linux)."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return next(iter(names), platform.processor() or platform.machine()), any("amx_int8" in line for line in lines)


def main() -> None:
    """Print versions, the processor, and the differences with and without extra buffer types."""
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    llama.llama_log_set(quiet, None)
    llama.llama_backend_init()
    name, has_amx = processor()
    features = llama.llama_print_system_info().decode()
    built = "AMX_INT8 = 1" in features
    print(f"llama-cpp-python {metadata.version('llama-cpp-python')}, numpy {np.__version__}, {platform.platform()}")
    print(f"{name}; AMX: {'yes' if has_amx else 'no'} in the processor, {'yes' if built else 'no'} in the build")
    print(" ".join(features.split()))
    print(f"\n{Path(sys.argv[1]).name}: largest difference of logits, one ubatch against alone\n")
    print("| use_extra_bufts | first sequence | second sequence |\n| --- | --- | --- |")
    worst = 0.0
    for use in (True, False):
        first, second = differences(Path(sys.argv[1]), use_extra_bufts=use)
        worst = max(worst, second) if use else worst
        print(f"| {use} | {first:.4f} | {second:.4f} |")
    if not (has_amx and built):
        print("\nNot reproducible here: the defect needs a processor with AMX and a build that uses it.")
    elif worst > 1:
        print("\nThe second sequence is wrong with use_extra_bufts.")
    else:
        print("\nNot seen with this model and version, although AMX is available.")


if __name__ == "__main__":
    main()
