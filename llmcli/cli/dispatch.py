"""One run of the command line: what was typed becomes a call of a command, and every outcome an exit code."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, TextIO, cast

from llmcli.cli.signals import caught
from llmcli.cli.world import TextStream, World, Writer
from llmcli.errors import InternalError, LlmError, OutOfMemory, UsageError
from llmcli.interrupt import Interrupt

if TYPE_CHECKING:
    import typer


def dispatch(words: list[str], world: World) -> int:
    """Run the command line ``words`` and return its exit code; raises nothing.

    Signal handlers and streams are as before when it returns.
    """
    interrupt = Interrupt()
    stdout = TextStream(Writer(world.stdout, interrupt, closed=1 in world.closed))
    with caught(interrupt), contextlib.redirect_stdout(cast("TextIO", stdout)):
        try:
            code = _call(words, world, interrupt)
        except LlmError as error:  # of a pipeline that is interrupted, the writer's end is no news
            return _report(error if interrupt.signal is None else interrupt.error or error, words, world)
        except MemoryError as error:
            return _report(OutOfMemory(detail=str(error)), words, world)
        except Exception as error:  # noqa: BLE001 (the one place where a bug becomes exit 70)
            return _report(_bug(error, words, world), words, world)
        stop = interrupt.error if interrupt.signal is not None else None  # it came when all was done
        return code if stop is None else stop.exit_code


def _call(words: list[str], world: World, interrupt: Interrupt) -> int:
    if any("\0" in word for word in words):  # from a program that calls ``main``: no process can be given one
        raise UsageError("an argument holds a NUL character")
    import typer

    from llmcli.cli import app

    completing = bool(world.environ.get(f"_{app.NAME.upper()}_COMPLETE"))
    typed = _completed_words(world) if completing else words
    alone = app.begins_with_command(words) and not completing
    command = typer.main.get_command(app.build(app.first_word(typed), alone=alone, completing=completing))
    try:
        with _without_rich() if completing else contextlib.nullcontext():
            code = command.main(args=words, prog_name=app.NAME, standalone_mode=False, obj=(world, interrupt))
    except typer.TyperException as error:
        raise UsageError(_sentence(error)) from error
    except typer.Abort as error:
        raise UsageError("aborted") from error
    except SystemExit as error:  # how Typer ends a completion
        return error.code if isinstance(error.code, int) else 0
    return code if isinstance(code, int) else 0


@contextlib.contextmanager
def _without_rich() -> Iterator[None]:
    """Hide rich from Typer, which would import it (50 ms) to strip markup that our help does not have."""
    loaded = sys.modules.pop("rich", None)
    sys.modules["rich"] = cast("Any", None)
    try:
        yield
    finally:
        del sys.modules["rich"]
        if loaded is not None:
            sys.modules["rich"] = loaded


def _sentence(error: typer.TyperException) -> str:
    """Return a message of the parser the way ours are written, with a range of numbers in words."""
    message = error.format_message()
    wanted = getattr(getattr(error, "param", None), "type", None)
    low, high = getattr(wanted, "min", None), getattr(wanted, "max", None)
    before, ranged, _ = message.rpartition(" is not ")
    if low is not None and ranged:
        option, _, value = before.partition(": ")
        kind = "a whole number" if isinstance(low, int) else "a number"
        bounds = f"from {low:g} on" if high is None else f"from {low} to {high}"
        message = f"{option}: expected {kind} {bounds}, not {value}"
    return message[:1].lower() + message[1:].rstrip(".")


def _completed_words(world: World) -> list[str]:
    """Return the words of the command line that is being completed; bash says them another way than other shells."""
    line = world.environ.get("_TYPER_COMPLETE_ARGS") or world.environ.get("COMP_WORDS", "")
    return line.split()[1:]


def _report(error: LlmError, words: Sequence[str], world: World) -> int:
    """Say what happened on stderr, unless the user or the reader stopped us, and return the code."""
    from llmcli.cli import app, wording

    as_json = "--json" in words[: words.index("--")] if "--" in words else "--json" in words
    wording.show(error, world, as_json=as_json, command=app.command_path(words))
    return error.exit_code


def _bug(error: Exception, words: Sequence[str], world: World) -> LlmError:
    """Return what the user sees of an unknown exception; with -v its traceback goes to a log file."""
    if isinstance(error, BrokenPipeError) and error.filename is None:
        return InternalError("a connection broke", detail=str(error))
    what = f"{type(error).__name__}: {error}"
    if not {"-v", "--verbose"} & set(words):
        return InternalError(what)
    import time
    import traceback

    from llmcli import private_files
    from llmcli.settings import find_paths

    try:
        directory = find_paths(world.environ).log
        private_files.make_directory(directory)
        file = directory / f"traceback-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.log"
        private_files.write_file(file, "".join(traceback.format_exception(error)).encode("utf-8", "backslashreplace"))
    except OSError as problem:
        return InternalError(what, detail=f"the traceback could not be written: {problem.strerror}")
    return InternalError(what, detail=f"the traceback is in {file}")
