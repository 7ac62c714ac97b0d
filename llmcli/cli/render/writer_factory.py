"""Which writer a text gets: rendered Markdown on a terminal, or the unchanged text."""

from __future__ import annotations

from llmcli.cli.command_context import CommandContext
from llmcli.cli.render.text_writer import ByteSink, PlainTextWriter, TextEnding, TextWriter, writes_to_terminal


def open_text_writer(ctx: CommandContext, sink: ByteSink, *, ending: TextEnding, markdown: bool) -> TextWriter:
    """Return the writer of one text to ``sink``.

    Markdown is rendered for a terminal or with FORCE_COLOR, but never with -o, ``--json``, TERM=dumb or the setting
    ``markdown: off``.
    """
    to_file = ctx.flags.output is not None
    terminal = writes_to_terminal(sink)
    capable = ctx.runtime.environ.get("TERM") != "dumb" if terminal else bool(ctx.runtime.environ.get("FORCE_COLOR"))
    if markdown and capable and not to_file and ctx.runtime.settings["markdown"] == "on":
        from llmcli.cli.render.terminal_markdown import MarkdownWriter

        return MarkdownWriter(ctx.console.environment, sink, terminal=terminal)
    return PlainTextWriter(sink, ending=ending, terminal=terminal)
