"""``llm run-batch``."""

from __future__ import annotations

from typing import Annotated

from llmcli.cli.command_context import CommandContext
from llmcli.cli.command_registry import CommandArea
from llmcli.cli.flags import Writes
from llmcli.cli.options import command
from llmcli.cli.parsing.parameters import Option
from llmcli.cli.records.record_flags import RecordFlags


@command(
    without=("column", "template", "format", "delimiter", "output_format", "overwrite", "sample", "dedupe", "seed"),
    examples="""
      llm run-batch -i requests.jsonl -o answers.jsonl
      llm run-batch -i requests.jsonl -o answers.jsonl --resume
      llm run-batch -m qwen3-4b --served-model-name gpt-4o-mini -i requests.jsonl -o answers.jsonl
    """,
    flags=RecordFlags,
    model_task="chat",
    overflow_advice="shorten the request",
    area=CommandArea.RECORDS,
    listed=False,
    writes=Writes.RESPONSES,
)
def run_batch(
    ctx: CommandContext,
    input_file: Annotated[
        str,
        Option("-i", "--input-file", metavar="FILE", help="The requests, a JSON object a line; - is standard input."),
    ],
    served_model_name: Annotated[
        list[str] | None,
        Option(
            "--served-model-name",
            metavar="NAME",
            help="Answer requests for this model too; repeatable.",
        ),
    ] = None,
) -> int:
    """Answer the requests of a file in OpenAI's batch format.

    Each line names a path (/v1/chat/completions, /v1/responses, /v1/embeddings, /v1/completions) and has the body of a
    request to it. The output has a line for each, in their order. Without -m, the first request names the model.
    """
    from llmcli.cli.commands.run_batch.batch_run import run_requests

    return run_requests(ctx, input_file, served_model_name or [])
