"""The engine with a draft model against the same engine without one: 256 greedy tokens of one answer.

The models are copies of one file in other types, made with ``llama_model_quantize``: the file with a copy as its draft
model, where the draft is as good as it can be but hardly cheaper. "4x" is a model with four times the layers that
writes what the file writes, as the added layers change nothing: it stands for a model that is larger than its draft
model by that factor, with a draft model that is nearly always right.

Figures: tokens a second of the decode phase, measured alternately. Ratios above 1 say that the draft model pays; near 1,
that it was switched off in time. Each run has its own engine, which knows nothing of earlier runs.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import common

from llmcli.configuration.engine_options import EngineOptions
from llmcli.types import Finished

FILE_TYPES = {"F32": 0, "F16": 1, "Q4_0": 2, "Q8_0": 7, "Q2_K": 10, "BF16": 32}
"""Numbers of ``enum llama_ftype``."""
PAIRS = (("file", "BF16"), ("file", "Q8_0"), ("file", "Q4_0"), ("4x", "file"))
"""Types of the model and of its draft model."""
QUESTIONS = (
    "Write a story about a lighthouse keeper and her dog.",
    "Explain step by step how bread is made.",
    "List the planets of the solar system with one sentence about each.",
)
TOKENS = 256


def make_copy(source: str, target: Path, type_name: str) -> str:
    """Write a copy of a model in another type; return its path."""
    import ctypes

    from llmcli.engine.llama import bindings

    lib = bindings.lib()
    params = lib.llama_model_quantize_default_params()
    params.ftype, params.allow_requantize, params.nthread = FILE_TYPES[type_name], True, os.cpu_count() or 1
    if lib.llama_model_quantize(os.fsencode(source), os.fsencode(target), ctypes.byref(params)) != 0:
        sys.exit(f"llama.cpp cannot write {type_name}")
    return str(target)


def make_deep_copy(source: str, target: Path, factor: int = 4) -> str:
    """Write a copy with ``factor`` times the layers; the added ones add zeros to their input. Return its path."""
    import gguf
    import numpy as np

    reader = gguf.GGUFReader(source)
    architecture = reader.fields["general.architecture"].contents()
    writer = gguf.GGUFWriter(target, architecture)
    for field in reader.fields.values():
        if field.name.startswith("GGUF.") or field.name == "general.architecture":
            continue
        value, kind = field.contents(), field.types[0]
        if field.name == f"{architecture}.block_count":
            value *= factor
        writer.add_key_value(field.name, value, kind, field.types[-1] if kind is gguf.GGUFValueType.ARRAY else None)
    for tensor in reader.tensors:
        head, number, *rest = tensor.name.split(".")
        for extra in range(factor if head == "blk" else 1):
            name = tensor.name if head != "blk" else ".".join([head, str(int(number) * factor + extra), *rest])
            data = np.zeros_like(tensor.data) if extra and rest[0] in {"attn_output", "ffn_down"} else tensor.data
            writer.add_tensor(name, data, raw_dtype=tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return str(target)


def measure(model: str, draft: str | None, question: str, threads: int | None) -> tuple[float, str, str]:
    """Answer a question with a new engine; return tokens a second, the text, and what the engine says of the draft."""
    options = EngineOptions(threads=threads, draft=None if draft is None else Path(draft))
    with common.open_engine(model, options) as backend:
        common.engine_seconds(backend, [common.greedy_request("warm", "Hi", 1)])
        rate, text = 0.0, ""
        with backend.open() as job:
            job.submit(common.greedy_request("answer", question, TOKENS))
            job.close_input()
            for event in job:
                if isinstance(event, Finished):
                    rate = event.timings.tokens_per_second or 0.0
                else:
                    text += getattr(event, "text", "")
        said = [choice for choice in backend.stats().choices if choice.startswith("draft model")]
    return rate, text, said[0] if said else ""


def main() -> None:
    """Measure and print."""
    parser = common.parser(__doc__ or "")
    parser.add_argument("--pair", action="append", metavar="MODEL:DRAFT", help="only these types, such as 4x:file")
    parser.add_argument("--threads", type=int, help="threads of both (default: the free cores)")
    options = parser.parse_args()
    pairs = [tuple(pair.split(":")) for pair in options.pair or ()] or PAIRS
    source, rows, said = common.model_path(options.model), [], []
    with tempfile.TemporaryDirectory() as directory:
        files = {"file": source}
        for name in sorted({name for pair in pairs for name in pair} - {"file"}):
            copy = Path(directory) / f"{name}.gguf"
            files[name] = make_deep_copy(source, copy) if name == "4x" else make_copy(source, copy, name)
        for model, draft in pairs:
            for question in QUESTIONS:
                without, with_draft = common.interleave(
                    options.runs,
                    lambda: measure(files[model], None, question, options.threads),  # noqa: B023 (called in this iteration)
                    lambda: measure(files[model], files[draft], question, options.threads),  # noqa: B023
                )
                rates = [[rate for rate, _, _ in each] for each in (with_draft, without)]
                same = all(a[1] == b[1] for a, b in zip(without, with_draft, strict=True))
                rows.append(
                    [
                        model,
                        draft,
                        question.split()[0],
                        common.median_range(rates[0], 1),
                        common.median_range(rates[1], 1),
                        f"{common.median_ratio(*rates):.2f}",
                        "yes" if same else "no",
                    ]
                )
                said.append(f"{model}, draft {draft}, {question.split()[0]}: {with_draft[-1][2]}")
    common.print_table(rows, ("model", "draft", "question", "with, tokens/s", "without", "ratio", "same text"))
    print(*said, sep="\n")


if __name__ == "__main__":
    main()
