"""The engine with a draft model against the same engine without one: 256 greedy tokens of one answer.

The models are copies of one file in other types, made with ``llama_model_quantize``: the file with a copy as its draft
model, where the draft is as good as it can be but hardly cheaper. "4x" is a model with four times the layers that
writes what the file writes, as the added layers change nothing: it stands for a model that is larger than its draft
model by that factor, with a draft model that is nearly always right.

Figures: tokens a second of the decode phase, measured alternately, and the tokens of the answer after which drafting
was switched off. Ratios above 1 say that the draft model pays; near 1, that it was switched off in time. Each run has
its own engine, which knows nothing of earlier runs. With ``--deterministic``, the text must be the same with and
without drafts.

Each line is printed when it is measured. No run starts after ``--limit-s`` seconds, except the first of each question.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import common

from llmcli.config.engine_options import EngineOptions
from llmcli.types import Finished, TextDelta

FILE_TYPES = {"F32": 0, "F16": 1, "Q4_0": 2, "Q8_0": 7, "Q2_K": 10, "BF16": 32}
"""Numbers of ``enum llama_ftype``."""
PAIRS = "file:BF16", "file:Q8_0", "file:Q4_0", "4x:file"
"""Types of a model and of its draft model; the first pair is measured by default."""
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


@dataclass(frozen=True)
class Answer:
    """``rate``: tokens a second; ``explanation``: what the engine says of the draft model.

    ``off_after``: tokens after which it was switched off (at most two more than the engine had generated then), None if
    it never was.
    """

    rate: float
    text: str
    explanation: str
    off_after: int | None


def measure(model: str, question: str, options: EngineOptions) -> Answer:
    """Answer a question with a new engine."""
    with common.open_engine(model, options) as backend:
        common.engine_seconds(backend, [common.greedy_request("warm", "Hi", 1)])
        rate, text, tokens, off_after = 0.0, "", 0, None
        with backend.open() as job:
            job.submit(common.greedy_request("answer", question, TOKENS))
            job.close_input()
            for event in job:
                if isinstance(event, Finished):
                    rate = event.timings.tokens_per_second or 0.0
                elif isinstance(event, TextDelta):
                    text += event.text
                    tokens += 1  # the starter's tokens are nearly all complete characters
                    if off_after is None and backend.stats().draft_off:
                        off_after = tokens
        said = [choice for choice in backend.stats().choices if choice.startswith("draft model")]
    return Answer(rate, text, said[0] if said else "", off_after)


def make_files(source: str, directory: Path, names: set[str]) -> dict[str, str]:
    """Return the path of the model in each form; "file" is the source itself."""
    files = {"file": source}
    for name in sorted(names - {"file"}):
        copy = directory / f"{name}.gguf"
        files[name] = make_deep_copy(source, copy) if name == "4x" else make_copy(source, copy, name)
    return files


def measure_question(
    model: str, draft: str, question: str, base: EngineOptions, continues: Callable[[int], bool]
) -> tuple[list[Answer], list[Answer]]:
    """Answer a question alternately without and with the draft model, as long as ``continues`` of the finished runs."""
    drafting = replace(base, draft=Path(draft))
    plain: list[Answer] = []
    drafted: list[Answer] = []
    while not plain or continues(len(plain)):
        plain.append(measure(model, question, base))
        drafted.append(measure(model, question, drafting))
    return plain, drafted


def main() -> None:
    """Measure and print."""
    parser = common.parser(__doc__ or "")
    parser.add_argument(
        "--pair", action="append", metavar="MODEL:DRAFT", help=f"types: {', '.join(PAIRS)} (repeatable)"
    )
    parser.add_argument("--threads", type=int, help="threads of both (default: the free cores)")
    parser.add_argument("--deterministic", action="store_true", help="bit-identical answers")
    parser.add_argument("--limit-s", type=float, default=60.0, help="seconds for each pair (default: 60)")
    options = parser.parse_args()
    pairs = [pair.split(":") for pair in options.pair or PAIRS[:1]]
    base = EngineOptions(threads=options.threads, deterministic=options.deterministic)
    source, rows = common.model_path(options.model), []
    with tempfile.TemporaryDirectory() as directory:
        files = make_files(source, Path(directory), {name for pair in pairs for name in pair})
        for model, draft in pairs:
            started = time.monotonic()
            for number, question in enumerate(QUESTIONS, 1):
                deadline = started + number / len(QUESTIONS) * options.limit_s
                plain, drafted = measure_question(
                    files[model],
                    files[draft],
                    question,
                    base,
                    lambda runs: runs < options.runs and time.monotonic() < deadline,  # noqa: B023 (called in this iteration)
                )
                with_draft, without = ([each.rate for each in answers] for answers in (drafted, plain))
                off = [str(each.off_after) for each in drafted if each.off_after is not None]
                same = all(a.text == b.text for a, b in zip(plain, drafted, strict=True))
                name = f"{model}, draft {draft}, {question.split()[0]}"
                ratio = f"{common.median_ratio(with_draft, without):.2f}"
                rates = [common.median_range(each, 1) for each in (with_draft, without)]
                rows.append([name, str(len(plain)), *rates, ratio, " ".join(off) or "-", "yes" if same else "no"])
                print(*rows[-1], drafted[-1].explanation, sep="; ", flush=True)
    heads = ("model, question", "runs", "with, tokens/s", "without", "ratio", "off after tokens", "same text")
    common.print_table(rows, heads)


if __name__ == "__main__":
    main()
