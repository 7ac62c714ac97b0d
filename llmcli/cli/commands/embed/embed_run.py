"""One run of embed: its model, its records, its output."""

from __future__ import annotations

from collections.abc import Sequence

from llmcli.cli.command_context import CommandContext
from llmcli.cli.commands.embed.vector_output import NUMPY_SUFFIX, JsonVectorOutput, NumpyOutput
from llmcli.cli.records.record_inputs import record_flags
from llmcli.cli.records.record_run import RecordTask, run_records
from llmcli.errors import UsageError
from llmcli.tasks.embed import EmbedTask, Pooling

WHOLE_FILES = "document"


def run_embed(ctx: CommandContext, files: Sequence[str], pooling: Pooling, *, normalizes: bool, whole: bool) -> int:
    """Write the vectors of records; return the exit code. Raises ``UsageError`` for options that exclude each other."""
    use_embedding_model(ctx)
    flags = record_flags(ctx)
    to_numpy = flags.output is not None and flags.output.endswith(NUMPY_SUFFIX)
    if to_numpy and (ctx.console.as_json or flags.unordered or flags.output_format is not None):
        raise UsageError(
            "a NumPy file holds the vectors of all records, in order",
            detail="Leave out --json, --unordered and --output-format, or the suffix .npy.",
        )
    task = RecordTask(
        lambda backend, options: EmbedTask(
            backend, options, pooling=pooling, normalizes=normalizes, names_files=len(files) > 1
        ),
        lambda: {"pooling": str(pooling), "--no-normalize": not normalizes, "--files": whole},
        make_output=NumpyOutput if to_numpy else JsonVectorOutput,
        input_format=WHOLE_FILES if whole else None,
        suits_small_models=True,
    )
    return run_records(ctx, files, task)


def use_embedding_model(ctx: CommandContext) -> None:
    """Let the setting ``embedding_model`` answer, unless a model or a server is named on the command line."""
    name = ctx.runtime.settings["embedding_model"]
    if name is not None and ctx.flags.model is None and not ctx.runtime.is_remote:
        ctx.use_model(name)
