"""Shows an answer: its code block is extracted, and it is copied to the clipboard."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from llmcli.cli.command_context import CommandContext
from llmcli.cli.render.renderer import ONE_ANSWER, DisplayOptions, render_task
from llmcli.errors import PartialError, UsageError
from llmcli.fast_dataclass import frozen, replace
from llmcli.types import Priority, Result, TaskEvent

if TYPE_CHECKING:
    from llmcli.backends.base import Backend
    from llmcli.tasks.runner.task_requests import GenerationOptions


@frozen
class AnswerOptions:
    """``extract``: only the first code block is the answer, which ends there.

    ``copy``: it goes to the terminal's clipboard too.

    ``system``: the user's instructions. ``schema``: the JSON schema of the answer.
    """

    extract: bool = False
    copy: bool = False
    system: str = ""
    schema: Mapping[str, Any] | None = None

    def generation_options(self, ctx: CommandContext) -> GenerationOptions:
        """Return the options of one answer that the user waits for."""
        stop_condition = None
        if self.extract:
            from llmcli.tasks.ask.code_extraction import CodeBlockDetector

            def stop_condition() -> Callable[[str], bool]:
                return CodeBlockDetector().feed

        return ctx.generation_options(
            priority=Priority.INTERACTIVE,
            reasoning=True,
            system=self.system,
            schema=self.schema,
            stop_condition=stop_condition,
        )


def render_answer(
    ctx: CommandContext,
    task: Callable[[Backend], Iterator[TaskEvent]],
    wanted: AnswerOptions,
    display: DisplayOptions = ONE_ANSWER,
) -> int:
    """Show the answer of ``task`` as ``render_task`` does, with the user's options; return the exit code.

    The exit code is 3 if the answer is too long to be copied. Raises ``UsageError`` if there is no terminal to copy to.
    """
    if wanted.copy:
        _require_clipboard(ctx)
    if wanted.extract or wanted.schema is not None:
        display = replace(display, markdown=False, footer=None)
    report = render_task(ctx, _shape(keep_in_log(ctx, task), wanted), replace(display, keeps_ends=wanted.copy))
    answers = [result.text for result in report.results if result.text]
    return _copy(ctx, answers[0], report.exit_code) if answers else report.exit_code


def keep_in_log(
    ctx: CommandContext,
    task: Callable[[Backend], Iterator[TaskEvent]],
    describe: Callable[[Result], str] | None = None,
) -> Callable[[Backend], Iterator[TaskEvent]]:
    """Return the task; the setting ``logs`` keeps its answers in the log. ``describe`` as in ``log_answers``."""
    if ctx.runtime.settings["logs"] == "off":
        return task
    from llmcli.cli.commands.logs.log_recorder import log_answers

    return log_answers(ctx, task, describe)


def _shape(
    task: Callable[[Backend], Iterator[TaskEvent]], wanted: AnswerOptions
) -> Callable[[Backend], Iterator[TaskEvent]]:
    """Return the task, whose answer is reduced to its code block, or checked against its schema, as the user wants."""
    if wanted.extract:
        from llmcli.tasks.ask.code_extraction import extract_code

        return lambda backend: extract_code(task(backend))
    if wanted.schema is not None:
        from llmcli.cli.commands.ask.schema_answer import require_valid

        schema = wanted.schema
        return lambda backend: require_valid(task(backend), schema)
    return task


def _require_clipboard(ctx: CommandContext) -> None:
    from llmcli.cli.render.clipboard import clipboard_terminal

    if clipboard_terminal(ctx.console) is None:
        raise UsageError("--copy needs a terminal, which has the clipboard", detail="Leave --copy out in a pipe.")


def _copy(ctx: CommandContext, text: str, code: int) -> int:
    """Copy an answer; return the exit code of the command, which was ``code`` so far."""
    from llmcli.cli.render.clipboard import copy_to_clipboard

    if copy_to_clipboard(ctx.console, text.rstrip("\n")):
        return code
    ctx.console.write_error(PartialError("the answer is too long for the terminal's clipboard, so it is not copied"))
    return code or PartialError.exit_code
