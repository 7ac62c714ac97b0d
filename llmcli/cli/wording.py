"""The words for errors: one line that says what happened, and one that says what to do next."""

from __future__ import annotations

import errno
import os
import shlex
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from llmcli import errors as e
from llmcli.cli import incomplete_wording, json_text, sanitize, suggestion
from llmcli.cli.world import CLOSED, World

Words = tuple[str, str]
"""What happened (without a full stop), and what to do next ("" where there is nothing to say)."""


def size(count: float | None) -> str:
    """Return a number of bytes in decimal units, as disks and the Hub count: "98.4 MB"."""
    if count is None:
        return "unknown size"
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:  # noqa: PLR2004
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def address(url: str) -> str:
    """Return a URL without the name and password that it may hold."""
    scheme, separator, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{separator}{host.rpartition('@')[2]}{slash}{path}"


def _of(error: e.LlmError) -> str:
    """Return what the error is about; standard input by its name."""
    return "standard input" if error.subject == "-" else error.subject


def _did_you_mean(names: tuple[str, ...]) -> str:
    return f"Did you mean {', '.join(names)}?" if names else ""


def _with_detail(text: str, error: e.LlmError) -> str:
    parts = [part for part in (text, error.detail) if part]
    return ": ".join(parts)


def _missing(error: e.MissingError) -> Words:
    nexts = {
        "model": "Try: llm models list",
        "model folder": "If the models lie elsewhere: llm models import FILE.gguf (of Ollama: set OLLAMA_MODELS)",
        "alias": "Try: llm models alias",
        "worker": "Try: llm worker list",
        "place": f"Look who may read it: ls -ld {shlex.quote(_blocker(error.subject, os.R_OK))}",
        "file": "Look what the repository has, on the Hub or with: llm models search WORDS",
        **{f"model of {each}": f"Try: llm models import --from {each}" for each in ("ollama", "lmstudio")},
        "whole model of ollama": "Fetch it again there: ollama pull MODEL",
        "whole model of lmstudio": "Fetch it again there.",
        "prompt": "Try: llm prompts list",
        "remote model": "Name one of its models: -m MODEL",
        "key file": "Correct key_file: llm config edit",
        "token file": "Make one: (umask 077; head -c 24 /dev/urandom | base64 > FILE)",
        "file of a variable": "A text that begins with @ is written with two: @@",
        "repository": "Check the name on the Hub, or try: llm models list",
        "session": "Try: llm sessions list",
        "last session": "Begin one: llm chat --session NAME",
        "line": "Look what there is: llm sessions list",
        "translation memory": "llm translate --tm and llm tm import make one; without --tm your own is meant.",
        "match": "Try fewer words: the Hub looks for all of them in the names of repositories.",
    }
    whats = {
        "input": "cannot read",
        "file of a variable": "cannot read",
        "configuration": "cannot read",
        "key file": "cannot read the key file",
        "token file": "there is no token in",
        "place": "cannot read",
        "last session": "there is no saved chat for",
        "line": "no saved chat mentions",
        "match": "no repository with GGUF files matches",
        "remote model": "the server has no model",
    }
    what = whats.get(error.kind, f"no {error.kind} called")
    return _with_detail(f"{what} {_of(error) or repr('')}", error), _did_you_mean(error.suggestions) or nexts.get(
        error.kind, ""
    )


_KINDS = {
    "memory": "Name another file with --tm, or move it away: llm makes a new one.",
    "sessions": "Move it away: llm makes a new one.",
    "glossary": "Write each line as: term,translation,note (the last two may be left out)",
    "TMX": "Export it again as TMX 1.4 where it comes from.",
}
"""What to do where a file is not of the kind that it has to be."""


def _pull(name: str, context: int | None = None) -> str:
    """Return the command that fetches a model, for a context of so many tokens where one is wanted."""
    return suggestion.command("models", "pull", name, *suggestion.option("--ctx", context))


def _model_not_here(error: e.ModelNotHere) -> Words:
    known = f" ({size(error.size)})" if error.size else ""
    return f"the model {_of(error)}{known} is not on this machine", f"Try: {_pull(error.subject, error.context)}"


def _overflow(error: e.ContextOverflow) -> Words:
    if error.detail:
        advice = "Shorten the input, or summarize it first: llm summarize FILE"
        return _with_detail(f"{_of(error)} does not take so long a request", error), advice
    subject = f"{_of(error)}: " if _of(error) else ""
    least = "at least " if error.at_least else ""
    text = f"{subject}{least}{error.tokens} tokens do not fit the context of {error.context} tokens"
    return text, "Shorten the input, or summarize it first: llm summarize FILE"


def _memory(error: e.OutOfMemory) -> Words:
    numbers = _figures(error)
    text = f"out of memory for {_of(error)}" if error.subject else "out of memory"
    text += f" ({', '.join(numbers)})" if numbers else ""
    advice = f"Try: {error.fits}" if error.fits else "Try a smaller context (--ctx) or a smaller model: llm models list"
    return _with_detail(text, error), advice


def _figures(error: e.OutOfMemory) -> list[str]:
    numbers = []
    if error.needed is not None:
        numbers.append(f"{size(error.needed)} needed")
    if error.weights is not None:
        numbers.append(f"{size(error.weights)} of it weights")
    if error.per_token:
        numbers.append(f"{size(error.per_token)} a token of context")
    if error.available is not None:
        numbers.append(f"{size(error.available)} free")
    return numbers


def _does_not_fit(error: e.DoesNotFit) -> Words:
    if error.room:
        advice = f"Try: {_pull(error.subject, error.room)}"
    else:
        advice = f"Try: {_pull(error.smaller, error.context)}" if error.smaller else "Try: llm models recommend"
    text = f"{_of(error)} with a context of {error.context} tokens does not fit ({', '.join(_figures(error))})"
    return f"{text}; it was not fetched", f"{advice} (--force fetches it all the same)"


def _config(error: e.ConfigError) -> Words:
    where = f" ({error.origin})" if error.origin and error.origin != _of(error) else ""
    advice = (
        f"{_did_you_mean(error.suggestions)} {_repair(error)}" if error.origin else _did_you_mean(error.suggestions)
    )
    return _with_detail(f"{_of(error)}{where}", error), advice.strip() or "Try: llm config show"


def _repair(error: e.ConfigError) -> str:
    """Return how to put right what is wrong at the error's origin."""
    if error.prompt:
        return f"Try: llm prompts check {error.prompt}"
    if "/" not in error.origin:
        return f"Unset or change {_of(error) if error.origin == 'environment' else error.origin}."
    return "Try: llm config edit" if error.origin.endswith("/config.yaml") else f"Correct {error.origin}"


def _offline(error: e.Offline) -> Words:
    if error.origin.startswith("--"):
        advice = f"Leave out {error.origin}."
    else:
        advice = "Try: llm config edit" if "/" in error.origin else f"Unset {error.origin}."
    return f"{_of(error)} needs the network, and offline is set ({error.origin})", advice


def _cannot_create(error: e.CannotCreate) -> Words:
    if error.exists:
        return f"{_of(error)} exists", "Name another file, or add --force to overwrite it."
    return _with_detail(f"cannot create {_of(error)}", error), "Name a file in a directory where you may write."


_FULL = (errno.ENOSPC, errno.EDQUOT)
_FORBIDDEN = (errno.EACCES, errno.EPERM)


def _writable(error: e.OutputError) -> str:
    """Return what to do where something cannot be written, by the system's words; there may be no descriptor at all."""

    def said(numbers: tuple[int, ...]) -> bool:
        return error.detail.startswith(tuple(map(os.strerror, numbers)))

    if error.detail == CLOSED:
        return ""
    if said(_FULL):
        return "Make room there, or write elsewhere."
    if said(_FORBIDDEN) and "/" in error.subject:
        return f"Look who may write it: ls -ld {shlex.quote(_blocker(error.subject, os.W_OK))}"
    return "Write elsewhere."


def _blocker(path: str, wanted: int) -> str:
    """Return the first of ``path`` and the directories on the way to it, from the top, that refuses what is ``wanted``.

    Where none does, or it is not there, the nearest that is.
    """
    way = [str(each) for each in (*reversed(Path(path).absolute().parents), Path(path))]
    there = [each for each in way if os.path.lexists(each)] or ["/"]
    closed = next((each for each in there[:-1] if not os.access(each, os.X_OK)), None)
    if closed is not None:
        return closed
    last = Path(there[-1])  # a file that may be written is replaced by another in its directory, which may not
    return str(last.parent if wanted == os.W_OK and os.access(last, wanted) and not last.is_dir() else last)


def _access(error: e.AccessDenied) -> Words:
    where = f"Accept the terms or ask for access at {error.url} (with the account of HF_TOKEN)"
    advice = where if error.url else "Check the token (HF_TOKEN) and its permissions."
    return _with_detail(f"no access to {_of(error)}", error), advice


def _key_refused(error: e.KeyRefused) -> Words:
    what = f"{_of(error)} does not accept the key of {error.key}" if error.key else f"{_of(error)} wants a key"
    advice = "Check the key and what it may do." if error.key else "Name it by key_env or key_file: llm config edit"
    return _with_detail(what, error), advice


def _no_consent(error: e.NoConsent) -> Words:
    setting = f", or set backends.{error.backend}.consent: true (llm config edit)" if error.backend else ""
    what = f"{_of(error)} would get what is sent, and nobody has agreed to that"
    return what, f"Add --yes, run it once on a terminal{setting}."


def _try_again(error: e.TryAgain) -> Words:
    from llmcli.models.stalls import Stalled  # here, since every start imports this module
    from llmcli.servers import Unreachable

    if isinstance(error, Unreachable) and error.address:
        advice = f"Is the server running? Nobody listens at {error.address}: start it, or correct the address."
        return _with_detail(_of(error), error), advice
    wait = f"Try again in {error.retry_after:.0f} seconds." if error.retry_after else "Try again later."
    if isinstance(error, Stalled):
        wait = "Try again later: what has come stays, and the download goes on after it."
    return _with_detail(_of(error) or "not available now", error), wait


_WORDS: dict[type[e.LlmError], Callable[[Any], Words]] = {
    e.BadVariables: lambda x: (_of(x), f"Try: llm {x.prompt.replace('/', ' ')} --list" if "/" in x.prompt else ""),
    e.UsageError: lambda x: (_of(x), x.detail),
    **incomplete_wording.WORDS,
    e.PartialError: lambda x: (_with_detail(_of(x) or "something failed", x), ""),
    e.BinaryInput: lambda x: (_with_detail(f"{_of(x)} is not a text", x), "Convert it to text first."),
    e.NotUtf8: lambda x: (
        _with_detail(f"{_of(x)} is not UTF-8 (byte {x.offset})", x),
        f"Convert it first, for example: iconv -f {x.detail if x.detail.startswith('UTF-') else 'LATIN1'} -t UTF-8",
    ),
    e.IsADirectory: lambda x: (f"{_of(x)} is a directory", "Name the files in it."),
    e.EmptyInput: lambda x: (f"{_of(x) or 'the input'} is empty", ""),
    e.BadDocument: lambda x: (
        _with_detail(", ".join(part for part in (_of(x), x.line and f"line {x.line}") if part), x),
        _KINDS.get(x.kind, "Correct the file, or say which format it has: --format" if x.line else ""),
    ),
    e.ContextOverflow: _overflow,
    e.BadModelFile: lambda x: (
        _with_detail(f"the {_of(x)} in the model's file is not usable", x)
        if x.subject == "chat template"
        else _with_detail(f"{_of(x)} is not a usable model file", x),
        "Try: llm models list",
    ),
    e.MissingExtra: lambda x: (f"this needs {_of(x)}", f'Try: pip install "llmcli[{x.detail}]"'),
    e.InputError: lambda x: (
        _with_detail(f"{_of(x)} is bad input", x),
        "Correct it where it is written: llm prompts edit NAME" if x.subject in {"schema", "grammar"} else "",
    ),
    e.MissingError: _missing,
    e.ModelNotHere: _model_not_here,
    e.NothingToRemove: lambda x: (f"the model {_of(x)} is not on this machine", "Try: llm models list"),
    e.Offline: _offline,
    e.Unsupported: lambda x: (_with_detail(f"{_of(x)} cannot be had here", x), "Try: llm doctor"),
    e.UnavailableError: lambda x: (_with_detail(_of(x) or "not available", x), ""),
    e.InternalError: lambda x: (
        _with_detail(f"internal error: {_of(x)}" if _of(x) else "internal error", x),
        "Run it again with -v, and report it with the log file that is named then.",
    ),
    e.Crashed: lambda x: (f"the worker that ran the model ended: {x.detail}", "Try again; more is in: llm worker log"),
    e.OutOfMemory: _memory,
    e.DoesNotFit: _does_not_fit,
    e.CannotListen: lambda x: (
        _with_detail(f"cannot listen on {_of(x)}", x),
        "Choose another with --port (0: any that is free), --host or --socket.",
    ),
    e.CannotCreate: _cannot_create,
    e.WouldLoseEdits: lambda x: (
        _with_detail(f"{_of(x)} cannot be renewed without losing what people may have changed in it", x),
        "To make it anew, without their changes, use -o (or -o and --force) in place of --update.",
    ),
    e.UnusableDirectory: lambda x: (
        _with_detail(f"{_of(x)} cannot hold the sockets of workers", x),
        "Set LLMCLI_RUNTIME_DIR to a directory of yours with a short path.",
    ),
    e.OutputError: lambda x: (_with_detail(f"cannot write {_of(x)}".rstrip(), x), _writable(x)),
    e.TryAgain: _try_again,
    e.DamagedModel: lambda x: (
        _with_detail(f"{_of(x)} is damaged" if x.repair else f"the file of {_of(x)} in the cache is damaged", x),
        f"Try: {x.repair or _pull(x.subject)}" + (f" ({x.note})" if x.note else ""),
    ),
    e.RemoteError: lambda x: (
        _with_detail(f"{_of(x)}: the remote sent nonsense", x),
        "Try again, or another source.",
    ),
    e.UnsafeDirectory: lambda x: (
        _with_detail(f"{_of(x)} is not safe for the sockets of workers", x),
        f"Try: chmod 700 {shlex.quote(x.subject)} (if it is yours), or set LLMCLI_RUNTIME_DIR to a directory of yours",
    ),
    e.Refused: lambda x: (
        _with_detail(f"{_of(x)} refused the request", x),
        "Check its address, the model (-m) and the options: llm config show",
    ),
    e.Untrusted: lambda x: (_with_detail(_of(x), x), "Check the address: llm config show backends"),
    e.AccessDenied: _access,
    e.KeyRefused: _key_refused,
    e.UnsafeKey: lambda x: (f"others may read {_of(x)}, which holds a key", f"Try: chmod 600 {shlex.quote(x.subject)}"),
    e.NoConsent: _no_consent,
    e.ConfigError: _config,
    e.TimedOut: lambda _: ("the time of --timeout ran out", "Give it more time: --timeout SECONDS"),
    e.LlmError: lambda x: (_with_detail(_of(x) or "failed", x), ""),
}


def words(error: Exception) -> Words:
    """Return what happened and what to do next, each one clean line."""
    for kind in type(error).__mro__:
        if kind in _WORDS:
            happened, advice = _WORDS[kind](error)
            return sanitize.line(happened), sanitize.line(advice)
    return sanitize.line(f"internal error: {type(error).__name__}: {error}"), ""


def as_object(error: Exception, command: str = "", next_step: str = "", **more: Any) -> str:
    """Return the error as one line of JSON; ``command`` and ``next_step`` as in ``show``."""
    happened, advice = _words_of(error, command, next_step)
    code = error.exit_code if isinstance(error, e.LlmError) else e.InternalError.exit_code
    body = {"code": code, "type": type(error).__name__, "message": happened, "next": advice or None, **more}
    return json_text.dumps({"error": body})


def _words_of(error: Exception, command: str, next_step: str = "") -> Words:
    happened, advice = words(error)
    advice = sanitize.line(next_step) or advice
    if isinstance(error, e.UsageError) and not advice:
        advice = f"Try: llm {command} --help" if command else "Try: llm --help"
    return happened, advice


def show(
    error: Exception, world: World, *, as_json: bool, command: str = "", name: str = "", next_step: str = ""
) -> None:
    """Write the error to stderr; ``name`` is the item that failed, ``command`` the words whose help is of use.

    ``next_step`` is what to do, where the caller knows it better than the error does. Nothing is said about a signal or a reader that went away: the user knows.
    """
    name = sanitize.line(name)
    if isinstance(error, e.Stopped):
        return
    if as_json:
        say(world, as_object(error, command, next_step, **({"name": name} if name else {})))
        return
    happened, advice = _words_of(error, command, next_step)
    name = "standard input" if name == "-" else name
    if name and name not in happened:
        happened = f"{name}: {happened}"
    say(world, f"llm: {happened}" + (f"\n{advice}" if advice else ""))


def say(world: World, text: str) -> None:
    """Write lines to stderr, to a terminal without control sequences; there is nobody to tell when that fails."""
    if 2 in world.closed:  # noqa: PLR2004
        return
    text = sanitize.clean(text) if world.terminal(world.stderr) else text
    data = (text + "\n").encode("utf-8", "replace")
    with world.others_write(), suppress(OSError):
        while data:
            data = data[os.write(world.stderr, data) :]
