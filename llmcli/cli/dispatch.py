"""One run of the command line: the words become a call of a command, and every outcome becomes an exit code."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, cast

from llmcli import fast_dataclass
from llmcli.cli.console.descriptor_writer import DescriptorWriter, TextStream
from llmcli.cli.console.environment import Environment
from llmcli.cli.console.signals import forward_signals
from llmcli.errors import HungUp, InternalError, LlmError, MissingError, OutOfMemory, UsageError
from llmcli.interrupt import Interrupt

if TYPE_CHECKING:
    import typer

    from llmcli.cli.command_registry import ListedCommand


_PROGRAM_HELP = (["-h"], ["--help"], ["--help-all"])
_AMBIGUOUS_OPTIONS = ("-c", "-h", "-n", "-o", "-p", "-s", "-t", "--prompt", "--template")
"""How options begin that other programs have too, with another meaning than in ``llm ask`` and ``llm chat``."""


def dispatch(words: list[str], environment: Environment) -> int:
    """Run the command line ``words`` and return its exit code; raises nothing.

    Signal handlers and streams are as before when it returns.
    """
    interrupt = Interrupt()
    stdout = TextStream(DescriptorWriter(environment.stdout, interrupt, closed=1 in environment.closed_fds))
    with forward_signals(interrupt), contextlib.redirect_stdout(cast("TextIO", stdout)):
        try:
            _respect_memory_limit()
            words = _complete_words(words)
            environment = fast_dataclass.replace(environment, argv=tuple(words))
            code = _run_command(words, environment, interrupt)
        except LlmError as error:  # in an interrupted pipeline, a closed pipe needs no report
            return _report_error(error if interrupt.signal is None else interrupt.error or error, words, environment)
        except MemoryError as error:
            return _report_error(OutOfMemory(detail=str(error)), words, environment)
        except Exception as error:  # noqa: BLE001 (the one place where a bug becomes exit 70)
            return _report_error(_internal_error(error, words, environment), words, environment)
        stop = interrupt.error if interrupt.signal is not None else None  # it arrived when everything was done
        return code if stop is None else stop.exit_code


def _respect_memory_limit() -> None:
    """Check the room for libraries before they are imported, under a limit on address space."""
    import resource

    if resource.getrlimit(resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY:
        from llmcli.address_space import check_before_imports

        check_before_imports()


def _complete_words(words: list[str]) -> list[str]:
    """Return the words with the command that they mean. Raises ``UsageError``."""
    from llmcli.cli import command_registry

    asks = words[:1] in (["ask"], ["chat"]) or (words and words[0].startswith("-"))
    if asks and any(each.startswith(_AMBIGUOUS_OPTIONS) for each in words):
        from llmcli.cli.parsing import foreign_options

        foreign_options.check_meaning(words)
    if not words or words[0].startswith(command_registry.ROOT_OPTIONS):
        return words
    command = command_registry.find_command(words[0])
    if command is not None and command.name == words[0] and not command.is_group:
        return words
    from llmcli.cli.parsing import implied_command

    return implied_command.complete_words(words)


def _run_command(words: list[str], environment: Environment, interrupt: Interrupt) -> int:
    if any("\0" in word for word in words):  # only from a program that calls ``main``: no process can get one
        raise UsageError("an argument contains a NUL character")
    from llmcli.cli import command_registry

    completing = bool(environment.environ.get(f"_{command_registry.PROGRAM_NAME.upper()}_COMPLETE"))
    if not completing and (not words or words in _PROGRAM_HELP):  # without Typer, which takes 20 ms to import
        from llmcli.cli.parsing.help_text import help_columns, program_help

        sys.stdout.write(program_help(help_columns(environment), complete=words == ["--help-all"]) + "\n")
        if not words and environment.is_file_or_pipe(environment.stdin):
            from llmcli.cli.console.console import Console

            Console(environment, interrupt).write_note("standard input was not read; to send it as a question: llm ask")
        return 0
    _refuse_redact_names(words)
    command = None if completing or not words else command_registry.find_command(words[0])
    if command is not None and not command.is_group:
        from llmcli.cli.options import Invocation, declaration_of
        from llmcli.cli.parsing.parameters import parse_words

        function = command.load()
        values = parse_words(declaration_of(function).parameters, words[1:])
        if values is not None:
            code = function(invocation=Invocation(command.name, (environment, interrupt)), **values)
            return code if isinstance(code, int) else 0
    return _run_with_typer(words, environment, interrupt, completing=completing)


def _run_with_typer(words: list[str], environment: Environment, interrupt: Interrupt, *, completing: bool) -> int:
    """Let Typer parse the words: help, completion, groups of commands, and command lines that may be wrong."""
    import typer

    from llmcli.cli import command_registry
    from llmcli.cli.parsing import typer_parser

    typed = _completed_words(environment) if completing else words
    alone = command_registry.begins_with_command(words) and not completing
    implied = _implied_command(typed) if completing else None
    if implied is not None:
        command = typer_parser.build_command_parser(implied)
    else:
        command = typer_parser.build_parser(command_registry.first_word(typed), alone=alone, completing=completing)
    try:
        with _without_rich() if completing else contextlib.nullcontext():
            code = command.main(
                args=words, prog_name=command_registry.PROGRAM_NAME, standalone_mode=False, obj=(environment, interrupt)
            )
    except typer.TyperException as error:
        if (foreign := _foreign_option_error(error, words)) is not None:
            raise foreign from error
        advice = _example_advice(error, words) or _subcommand_advice(error, words) or _quoting_advice(words)
        raise UsageError(_parser_message(error), detail=advice) from error
    except typer.Abort as error:
        raise UsageError("aborted") from error
    except SystemExit as error:  # how Typer ends a completion
        return error.code if isinstance(error.code, int) else 0
    return code if isinstance(code, int) else 0


def _implied_command(typed: Sequence[str]) -> ListedCommand | None:
    """Return the command of a line to complete that begins with one of its options; None for other lines."""
    if not typed or not typed[0].startswith("-"):
        return None
    from llmcli.cli.parsing import implied_command

    return implied_command.ask_command() if implied_command.begins_with_ask_option(typed) else None


def _foreign_option_error(error: typer.TyperException, words: Sequence[str]) -> UsageError | None:
    """Return the error for an option of another program that the command lacks; None for another error."""
    if not _parser_message(error).startswith("no such option"):
        return None
    from llmcli.cli.parsing import foreign_options

    return foreign_options.lacking_option_error(str(getattr(error, "option_name", "")), words)


def _example_advice(error: typer.TyperException, words: Sequence[str]) -> str:
    """Return an example of the command with the option that is missing; "" if the error is another one."""
    import inspect

    from llmcli.cli import command_registry
    from llmcli.cli.options import declaration_of

    command = command_registry.find_command(words[0]) if words else None
    if command is None or command.is_group or not _parser_message(error).startswith("missing option"):
        return ""
    names = getattr(getattr(error, "param", None), "opts", ())
    lines = inspect.cleandoc(declaration_of(command.load()).examples).splitlines()
    return next((f"For example: {line}" for line in lines if not set(names).isdisjoint(line.split())), "")


def _subcommand_advice(error: typer.TyperException, words: Sequence[str]) -> str:
    from llmcli.cli.parsing import implied_command

    return implied_command.subcommand_advice(words) if _parser_message(error).startswith("no such command") else ""


def _refuse_redact_names(words: Sequence[str]) -> None:
    """Raise ``UsageError`` for ``--redact names`` of earlier releases: names of people would be sent as they are."""
    options = words[: words.index("--")] if "--" in words else words
    if "--redact=names" in options or ("--redact", "names") in itertools.pairwise(options):
        raise UsageError("--redact takes no value", detail="Try: --set redact=names")


@contextlib.contextmanager
def _without_rich() -> Iterator[None]:
    """Hide rich from Typer, which would import it (50 ms) to strip markup that our help does not contain."""
    loaded = sys.modules.pop("rich", None)
    sys.modules["rich"] = cast("Any", None)
    try:
        yield
    finally:
        del sys.modules["rich"]
        if loaded is not None:
            sys.modules["rich"] = loaded


def _parser_message(error: typer.TyperException) -> str:
    """Return a parser's message in our style, with a range of numbers in words."""
    message = error.format_message()
    wanted = getattr(getattr(error, "param", None), "type", None)
    low, high = getattr(wanted, "min", None), getattr(wanted, "max", None)
    before, ranged, _ = message.rpartition(" is not ")
    if low is not None and ranged:
        option, _, value = before.partition(": ")
        kind = "a whole number" if isinstance(low, int) else "a number"
        bounds = f"of at least {low:g}" if high is None else f"from {low} to {high}"
        message = f"{option}: expected {kind} {bounds}, not {value}"
    return message[:1].lower() + message[1:].rstrip(".")


def _quoting_advice(words: Sequence[str]) -> str:
    """Return how to write a text with a word that looks like an option, if the text was given in several words."""
    from llmcli.cli import command_registry
    from llmcli.cli.options import declaration_of
    from llmcli.cli.parsing.parameters import Argument, CommandParameter, argument_words

    command = command_registry.find_command(words[0]) if words else None
    if command is None or command.is_group:
        return ""
    parameters: Sequence[CommandParameter] = declaration_of(command.load()).parameters
    takes_prose = any(isinstance(each.declaration, Argument) and each.declaration.is_prose for each in parameters)
    if not takes_prose or len([*filter(None, argument_words(parameters, words[1:]))]) <= 1:
        return ""
    return f'If that is part of your text, put the text in quotes: llm {command.name} "..." (all options: --help)'


def _completed_words(environment: Environment) -> list[str]:
    """Return the words of the command line to complete; bash passes them differently from other shells."""
    line = environment.environ.get("_TYPER_COMPLETE_ARGS") or environment.environ.get("COMP_WORDS", "")
    return line.split()[1:]


def _report_error(error: LlmError, words: Sequence[str], environment: Environment) -> int:
    """Report the error on stderr, unless the user or the reader stopped us, and return the code."""
    from llmcli.cli import command_registry
    from llmcli.cli.console import error_messages
    from llmcli.cli.flags import option_words

    options = words[: words.index("--")] if "--" in words else words
    as_json = not option_words("json").isdisjoint(options)
    error_messages.write_error(error, environment, as_json=as_json, command=command_registry.command_path(words))
    return error.exit_code


def _current_directory_is_gone() -> bool:
    """Return whether the directory in which the command runs was removed, so that no relative name has a meaning."""
    try:
        Path.cwd()
    except FileNotFoundError:
        return True
    return False


def _terminal_hung_up() -> bool:
    """Return whether a standard stream is a terminal that was closed, as at the end of a connection."""
    import select
    import stat

    poll = select.poll()
    for descriptor in range(3):
        with contextlib.suppress(OSError):
            if stat.S_ISCHR(os.fstat(descriptor).st_mode):
                poll.register(descriptor, 0)
    return any(event & select.POLLHUP for _, event in poll.poll(0))


def _internal_error(error: Exception, words: Sequence[str], environment: Environment) -> LlmError:
    """Return the error that the user sees for an unknown exception; with -v its traceback goes to a log file."""
    if isinstance(error, BrokenPipeError) and error.filename is None:
        return InternalError("a connection broke", detail=str(error))
    if isinstance(error, OSError) and error.errno == errno.EIO and _terminal_hung_up():
        return HungUp()  # a question was open, and SIGHUP is ignored, or comes later
    if isinstance(error, FileNotFoundError) and _current_directory_is_gone():
        return MissingError("the current directory", kind="current directory", detail=error.strerror or "")
    what = f"{type(error).__name__}: {error}"
    from llmcli.cli.flags import option_words

    if option_words("verbose").isdisjoint(words):
        return InternalError(what)
    import time
    import traceback

    from llmcli.app_paths import find_paths
    from llmcli.files import private_files

    try:
        directory = find_paths(environment.environ).log
        private_files.make_directory(directory)
        file = directory / f"traceback-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.log"
        private_files.write_file(file, "".join(traceback.format_exception(error)).encode("utf-8", "backslashreplace"))
    except OSError as problem:
        return InternalError(what, detail=f"the traceback could not be written: {problem.strerror}")
    return InternalError(what, detail=f"the traceback is in {file}")
