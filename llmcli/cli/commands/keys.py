"""``llm keys``."""

from __future__ import annotations

import os
import select
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

from llmcli.cli.command_context import CommandContext
from llmcli.cli.command_registry import CommandArea
from llmcli.cli.console import sanitize
from llmcli.cli.console.console import Console
from llmcli.cli.groups import CommandGroup
from llmcli.cli.options import GENERAL_OPTIONS, YesOption, command
from llmcli.cli.parsing.parameters import Argument
from llmcli.errors import EmptyInput, InputError, MissingError, UsageError

BackendArgument = Annotated[str, Argument(metavar="NAME", help="A backend.", autocompletion="remote_backends")]


@command(*GENERAL_OPTIONS, examples="llm keys set openai\nllm keys set openai < secret")
def set_key(ctx: CommandContext, name: BackendArgument) -> int:
    """Store the key of a backend in a file that only you can read.

    Asks on the terminal without showing what you type; in a pipe, the first line of standard input is the key.
    """
    from llmcli.control_characters import is_visible_ascii
    from llmcli.runtime import named_servers
    from llmcli.runtime.named_servers import KeyStore

    named_servers.require_known_name(ctx.runtime.settings, name)
    secret = read_secret_line(ctx.console, f"Key of {name} (not shown)")
    if not secret:
        raise EmptyInput("the key")
    if not is_visible_ascii(secret):
        raise InputError("the key", detail="it contains characters that are invalid in a key")
    path = KeyStore(ctx.runtime.paths.keys).store(name, secret)
    if ctx.console.as_json:
        ctx.console.write_record({"backend": name, "path": str(path)})
    ctx.console.write_note(f"stored the key of {name} in {path}")
    return 0


@command(*GENERAL_OPTIONS, examples="llm keys list\nllm keys list --json | jq -r .backend")
def show_list(ctx: CommandContext) -> int:
    """List the backends that have a key, and where each key comes from. No key is shown.

    In a pipe, tab-separated: backend, place of the key (a file, or the name of an environment variable).
    """
    from llmcli.runtime import named_servers
    from llmcli.runtime.named_servers import KeyStore

    stored = KeyStore(ctx.runtime.paths.keys)
    places = {name: str(stored.path(name)) for name in stored.names()}  # of backends that were removed, too
    for server in named_servers.list_servers(ctx.runtime.config):
        if server.key:
            places[server.name] = server.key
    rows = [{"backend": name, "key": place} for name, place in sorted(places.items())]
    if ctx.console.writes_for_people and not rows:
        ctx.console.write_stdout("No keys. To store one: llm keys set NAME\n")
    ctx.console.write_table(rows)
    return 0


@command(*GENERAL_OPTIONS, examples="llm keys rm openai\nllm keys rm --yes openai")
def rm(ctx: CommandContext, name: BackendArgument, yes: YesOption = False) -> int:
    """Remove the stored key of a backend; asks first, unless --yes."""
    from llmcli.cli.console import confirm
    from llmcli.config import backend_config
    from llmcli.runtime.named_servers import KeyStore

    stored = KeyStore(ctx.runtime.paths.keys)
    try:
        backend_config.parse_backend_name(name)
    except ValueError as error:
        raise UsageError(str(error), detail="Try: llm keys list") from error
    if name not in stored.names():
        raise MissingError(name, kind="stored key", suggestions=stored.names())
    again = ("keys", "rm", "--yes", name)
    if not yes and not confirm.require_confirmation(
        ctx.console, f"Remove the key of {name}", again, ["LLMCLI_CONFIG_DIR"]
    ):
        return 1
    stored.remove(name)
    if ctx.console.as_json:
        ctx.console.write_record({"removed": name})
    return 0


keys = CommandGroup(
    "Store the keys of hosted models.",
    {"set": set_key, "list": show_list, "rm": rm},
    area=CommandArea.MODELS,
    listed=False,
)


_POLL_MS = 100
_MAX_BYTES = 16_384


def read_secret_line(console: Console, question: str) -> str:
    """Return what was typed after ``question``, or the first line of a pipe, without white space around it.

    Raises ``UsageError`` if there is no terminal to ask on, and what ``interrupt.check()`` raises.
    """
    if not console.stdin_is_terminal:
        return _read_line(console)
    if not console.stderr_is_terminal:
        raise UsageError("asking for a key needs a terminal", detail="Or pipe the key in.")
    with console.environment.use_keyboard(), _without_echo(console.environment.stdin):
        os.write(console.environment.stderr, f"{sanitize.single_line(question)}: ".encode())
        try:
            return _read_line(console)
        finally:
            os.write(console.environment.stderr, b"\n")


@contextmanager
def _without_echo(fd: int) -> Iterator[None]:
    """Show nothing of what is typed during the block; lines stay lines, and Ctrl-C stays a signal."""
    before = termios.tcgetattr(fd)
    hidden = list(before)
    hidden[3] &= ~(termios.ECHO | termios.ECHONL)
    termios.tcsetattr(fd, termios.TCSAFLUSH, hidden)
    try:
        yield
    finally:
        termios.tcsetattr(fd, termios.TCSAFLUSH, before)


def _read_line(console: Console) -> str:
    fd, data = console.environment.stdin, b""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    while b"\n" not in data and len(data) < _MAX_BYTES:
        console.interrupt.check()
        if not poll.poll(_POLL_MS):
            continue
        try:
            piece = os.read(fd, _MAX_BYTES)
        except OSError as error:
            raise MissingError("-", kind="input", detail=error.strerror or "") from error
        if not piece:
            break
        data += piece
    return data.partition(b"\n")[0].decode("utf-8", "replace").strip()
