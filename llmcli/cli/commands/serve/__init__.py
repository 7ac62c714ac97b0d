"""``llm serve``."""

from __future__ import annotations

import functools
from typing import Annotated

from llmcli.cli.command_context import CommandContext
from llmcli.cli.command_registry import CommandArea
from llmcli.cli.options import GENERAL_OPTIONS, command, reject_empty_values
from llmcli.cli.parsing.parameters import Option
from llmcli.errors import UsageError
from llmcli.machine_needs import SERVER

_EXAMPLES = """
llm serve
llm serve --port 0 -m qwen3-4b
llm serve --socket "$XDG_RUNTIME_DIR/llm.sock" --token-file secret
curl -H "Authorization: Bearer $TOKEN" http://127.0.0.1:8033/v1/models
"""


_reject_empty = functools.partial(reject_empty_values, advice="Try: llm serve --help")


@_reject_empty
@command(
    "model",
    "lora",
    "ctx",
    *GENERAL_OPTIONS,
    examples=_EXAMPLES,
    needs=SERVER,
    area=CommandArea.MODELS,
)
def serve(  # noqa: PLR0917 (options, all of them named)
    ctx: CommandContext,
    host: Annotated[
        str | None,
        Option(
            "--host",
            metavar="H",
            help="Address to listen on (default: 127.0.0.1). Other machines can reach any but a loopback address.",
        ),
    ] = None,
    port: Annotated[
        int | None, Option("--port", min=0, max=65535, metavar="N", help="Port (default: 8033; 0: any).")
    ] = None,
    socket: Annotated[
        str | None,
        Option("--socket", metavar="PATH", help="Listen on a Unix socket at this path instead; only you can use it."),
    ] = None,
    token_file: Annotated[
        str | None, Option("--token-file", metavar="FILE", help="The token (or LLMCLI_SERVE_TOKEN); mode 0600.")
    ] = None,
    allow_origin: Annotated[
        list[str] | None,
        Option("--allow-origin", metavar="O", help="Accept requests from web pages of this origin; repeatable."),
    ] = None,
    max_concurrency: Annotated[
        int,
        Option("--max-concurrency", min=1, max=4096, metavar="N", help="Limit of concurrent requests; more get a 429."),
    ] = 64,
    max_body: Annotated[
        int,
        Option(
            "--max-body", min=1, max=32, metavar="MB", help="Limit of a request's size, in MB; larger ones get a 413."
        ),
    ] = 16,
    batches: Annotated[
        bool,
        Option("--batches", help="Answer batches of requests too (/v1/batches); their files are kept for 24 hours."),
    ] = False,
) -> int:
    """Serve your models over OpenAI's or Anthropic's protocol.

    Clients must send the token, which is printed unless you give one.
    """
    from llmcli.cli.commands.serve import serve_run

    if socket is not None and (host is not None or port is not None):
        raise UsageError("--socket excludes --host and --port", detail="Leave out one of them.")
    host, port = host or serve_run.HOST, serve_run.PORT if port is None else port
    options = serve_run.ServeOptions(
        host, port, socket, token_file, allow_origin or (), max_concurrency, max_body, batches
    )
    serve_run.serve_models(ctx, options)
    return 0
