"""The messages for errors: one line that says what happened, and one that says what to do next."""

from __future__ import annotations

from typing import Any

from llmcli import errors as e
from llmcli.cli.console import json_text, sanitize
from llmcli.cli.console.environment import Environment
from llmcli.cli.console.messages.file_messages import FILE_DESCRIPTIONS
from llmcli.cli.console.messages.incomplete_messages import (
    CALIBRATION_DESCRIPTIONS,
    INCOMPLETE_DESCRIPTIONS,
    JOB_DESCRIPTIONS,
)
from llmcli.cli.console.messages.message_text import Descriptions, ErrorText, append_detail, fill_message, subject_of
from llmcli.cli.console.messages.model_messages import MODEL_DESCRIPTIONS
from llmcli.cli.console.messages.server_messages import SERVER_DESCRIPTIONS, WEB_DESCRIPTIONS
from llmcli.prompts.contracts import GENERATE_PREFIX, is_own_name


def _advise_on_variables(error: e.BadVariables) -> str:
    """Return the command that sets the missing variables; "" if the prompt is that of another command."""
    if not error.prompt.startswith(GENERATE_PREFIX) and not is_own_name(error.prompt):
        return error.detail
    command = f"llm generate {error.prompt.removeprefix(GENERATE_PREFIX)}"
    if not error.missing:
        return f"Try: {command} --list"
    given = " ".join(f"--var {name}=..." for name in error.missing)
    return f"Try: {command} {given} (all variables: {command} --list)"


_DESCRIPTIONS: Descriptions = {
    **INCOMPLETE_DESCRIPTIONS,
    **FILE_DESCRIPTIONS,
    **JOB_DESCRIPTIONS,
    **CALIBRATION_DESCRIPTIONS,
    **MODEL_DESCRIPTIONS,
    **SERVER_DESCRIPTIONS,
    **WEB_DESCRIPTIONS,
    e.BadVariables: lambda x: (subject_of(x), _advise_on_variables(x)),
    e.UsageError: lambda x: (subject_of(x), x.detail),
    e.PartialError: lambda x: (append_detail(subject_of(x) or "something failed", x), ""),
    e.MissingExtra: lambda x: (f"this command needs {subject_of(x)}", f'Try: pip install "llmcli[{x.detail}]"'),
    e.Unsupported: lambda x: (append_detail(f"cannot use {subject_of(x)} here", x), "Try: llm doctor"),
    e.UnavailableError: lambda x: (append_detail(subject_of(x) or "not available", x), ""),
    e.InternalError: lambda x: (
        append_detail(f"internal error: {subject_of(x)}" if subject_of(x) else "internal error", x),
        "Run it again with -v, and report the error with the log file that it names.",
    ),
    e.TimedOut: lambda _: ("the time limit ran out", "Give it more time: --timeout SECONDS"),
    e.LlmError: lambda x: (append_detail(subject_of(x) or "failed", x), ""),
}


def describe(error: Exception) -> ErrorText:
    """Return what happened and what to do next, each one clean line; an advice may have several, with indentation."""
    if isinstance(error, e.LlmError) and error.message:
        lines = (error.advice,) if isinstance(error.advice, str) else error.advice
        return sanitize.single_line(fill_message(error)), "\n".join(map(_clean_line, lines))
    for kind in type(error).__mro__:
        if kind in _DESCRIPTIONS:
            happened, advice = _DESCRIPTIONS[kind](error)
            return sanitize.single_line(happened), sanitize.single_line(advice)
    return sanitize.single_line(f"internal error: {type(error).__name__}: {error}"), ""


def _clean_line(line: str) -> str:
    return line[: len(line) - len(line.lstrip(" "))] + sanitize.single_line(line)


def error_as_json(error: Exception, command: str = "", next_step: str = "", **more: Any) -> str:
    """Return the error as one line of JSON; ``command`` and ``next_step`` as in ``write_error``."""
    happened, advice = _describe_for_command(error, command, next_step)
    code = error.exit_code if isinstance(error, e.LlmError) else e.InternalError.exit_code
    type_name = error.type_name if isinstance(error, e.LlmError) else type(error).__name__
    body = {"code": code, "type": type_name, "message": happened, "next": advice or None, **more}
    return json_text.dumps({"error": body})


def _describe_for_command(error: Exception, command: str, next_step: str) -> ErrorText:
    happened, advice = describe(error)
    advice = sanitize.single_line(next_step) or advice
    if isinstance(error, e.UsageError) and not advice:
        advice = f"Try: llm {command} --help" if command else "Try: llm --help"
    return happened, advice


def write_error(
    error: Exception, environment: Environment, *, as_json: bool, command: str = "", name: str = "", next_step: str = ""
) -> None:
    """Write the error to stderr; ``name`` is the failed item, ``command`` the command whose help is useful.

    ``next_step`` overrides the next step of the error. Nothing is written for a signal or a closed pipe: the user
    knows.
    """
    name = sanitize.single_line(name)
    if isinstance(error, e.ProcessStopped):
        return
    if as_json:
        environment.write_stderr(error_as_json(error, command, next_step, **({"name": name} if name else {})))
        return
    happened, advice = _describe_for_command(error, command, next_step)
    name = "standard input" if name == "-" else name
    if name and name not in happened:
        happened = f"{name}: {happened}"
    environment.write_message(f"llm: {happened}" + (f"\n{advice}" if advice else ""))
