"""``llm models quantize``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from llmcli.cli.command_context import CommandContext
from llmcli.cli.flags import STDOUT
from llmcli.cli.options import GENERAL_OPTIONS, command
from llmcli.cli.parsing.parameters import Argument, Option
from llmcli.errors import UsageError

if TYPE_CHECKING:
    from llmcli.runtime.quantization import QuantizedModel


def _require_file(name: str | None) -> str | None:
    """Return the file of -o. llama.cpp needs a file in which it can go back, so a pipe is refused."""
    if name in ("", STDOUT):
        raise UsageError("-o: a model is written to a file, not to standard output", detail="Try: -o FILE")
    return name


@command(
    *GENERAL_OPTIONS,
    "timeout",
    examples="""
      llm models quantize qwen3-1.7b --type q4_k_m
      llm models quantize ./mine.gguf --type q8_0 -o mine-q8.gguf
      llm models quantize qwen3-1.7b --type bf16 --json | jq .divergence
    """,
)
def quantize(
    ctx: CommandContext,
    name: Annotated[str, Argument(metavar="NAME", help="Any name that -m accepts.", autocompletion="models")],
    quantization: Annotated[
        str,
        Option("--type", metavar="TYPE", help="Type of the weights.", autocompletion="quantization_types"),
    ],
    output: Annotated[
        str | None,
        Option(
            "-o",
            "--output",
            metavar="FILE",
            help="Write to this file instead of NAME-TYPE.gguf.",
            callback=_require_file,
        ),
    ] = None,
    force: Annotated[bool, Option("--force", help="Overwrite NAME-TYPE.gguf.")] = False,
) -> int:
    """Write a model in another type of weights to a GGUF file: NAME-TYPE.gguf here, or the file of -o.

    The original is not changed. Afterwards, the command prints the size, and how far the file diverges from the
    original: the mean Kullback-Leibler divergence of the next token's probabilities, in nats. Below 0.01 texts hardly
    differ; above 0.1 the loss shows.

    Types, from large to small: f32, f16, bf16, q8_0, q6_k, q5_k_m, q5_k_s, q5_1, q5_0, q4_k_m, q4_k_s, q4_1, q4_0,
    iq4_nl, iq4_xs, mxfp4_moe, q3_k_l, q3_k_m, iq3_m, iq3_s, q3_k_s, q2_k, q2_0, tq2_0, tq1_0, q1_0. These need an
    importance matrix, which llm cannot read: iq3_xs, q2_k_s, iq3_xxs, iq2_m, iq2_s, iq2_xs, iq2_xxs, iq1_m, iq1_s.

    In a pipe, tab-separated: name and value of each field.
    """
    from llmcli.models.gguf.tensor_types import QUANTIZATIONS, find_quantization
    from llmcli.runtime.quantization import is_quantized, quantize_model

    known = find_quantization(quantization)
    if known is None:
        raise UsageError(f"there is no type {quantization!r}", detail=f"Types: {', '.join(QUANTIZATIONS)}")
    runtime = ctx.runtime
    model = runtime.models.ensure_verified(name, runtime.interrupt)
    if is_quantized(model):
        ctx.console.write_note(f"{model.name} is quantized already; its original would lose less")
    made = quantize_model(runtime.config, model, known, output, force=force)
    ctx.console.write_record(_record_for_people(made) if ctx.console.writes_for_people else _record(made))
    if made.unmeasured:
        ctx.console.warn(f"the divergence was not measured: {made.unmeasured}")
    return 0


def _record(made: QuantizedModel) -> dict[str, Any]:
    return {
        "path": str(made.path),
        "type": made.quantization,
        "size": made.size,
        "source": str(made.source),
        "source_type": made.source_type,
        "source_size": made.source_size,
        "divergence": None if made.divergence is None else round(made.divergence, 6),
    }


def _record_for_people(made: QuantizedModel) -> dict[str, Any]:
    from llmcli.cli.console.messages.message_text import format_bytes

    before = format_bytes(made.source_size) + (f" in {made.source_type}" if made.source_type else "")
    return {
        "file": str(made.path),
        "size": f"{format_bytes(made.size)} in {made.quantization.upper()} (before: {before})",
        "divergence": "-" if made.divergence is None else f"{made.divergence:.4f} nats a token from the original",
    }
