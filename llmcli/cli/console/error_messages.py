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
from llmcli.cli.console import incomplete_messages, json_text, sanitize, suggestion
from llmcli.cli.console.descriptor_writer import CLOSED_DETAIL
from llmcli.cli.console.environment import Environment

ErrorText = tuple[str, str]
"""What happened (without a full stop), and what to do next ("" where there is nothing to say)."""


def format_bytes(count: float | None) -> str:
    """Return a number of bytes in decimal units, as disks and the Hub count: "98.4 MB"."""
    if count is None:
        return "unknown size"
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:  # noqa: PLR2004
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def redact_address(url: str) -> str:
    """Return a URL without the name and password that it may hold."""
    scheme, separator, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{separator}{host.rpartition('@')[2]}{slash}{path}"


def _subject_of(error: e.LlmError) -> str:
    """Return what the error is about; standard input by its name."""
    return "standard input" if error.subject == "-" else error.subject


def _suggest_names(names: tuple[str, ...]) -> str:
    return f"Did you mean {', '.join(names)}?" if names else ""


def _append_detail(text: str, error: e.LlmError) -> str:
    parts = [part for part in (text, error.detail) if part]
    return ": ".join(parts)


def _describe_missing(error: e.MissingError) -> ErrorText:
    nexts = {
        "model": "Try: llm models list",
        "model folder": "If the models lie elsewhere: llm models import FILE.gguf (of Ollama: set OLLAMA_MODELS)",
        "alias": "Try: llm models alias",
        "worker": "Try: llm worker list",
        "place": f"Look who may read it: ls -ld {shlex.quote(_blocking_path(error.subject, os.R_OK))}",
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
    advice = _suggest_names(error.suggestions) or nexts.get(error.kind, "")
    return _append_detail(f"{what} {_subject_of(error) or repr('')}", error), advice


_ADVICE_BY_KIND = {
    "memory": "Name another file with --tm, or move it away: llm makes a new one.",
    "sessions": "Move it away: llm makes a new one.",
    "glossary": "Write each line as: term,translation,note (the last two may be left out)",
    "TMX": "Export it again as TMX 1.4 where it comes from.",
}
"""What to do where a file is not of the kind that it has to be."""


def _pull_command(name: str, context: int | None = None) -> str:
    """Return the command that fetches a model, for a context of so many tokens where one is wanted."""
    return suggestion.format_command("models", "pull", name, *suggestion.format_option("--ctx", context))


def _describe_model_not_downloaded(error: e.ModelNotDownloaded) -> ErrorText:
    known = f" ({format_bytes(error.size)})" if error.size else ""
    return (
        f"the model {_subject_of(error)}{known} is not on this machine",
        f"Try: {_pull_command(error.subject, error.context)}",
    )


def _describe_overflow(error: e.ContextOverflow) -> ErrorText:
    if error.detail:
        advice = "Shorten the input, or summarize it first: llm summarize FILE"
        return _append_detail(f"{_subject_of(error)} does not take so long a request", error), advice
    subject = f"{_subject_of(error)}: " if _subject_of(error) else ""
    least = "at least " if error.at_least else ""
    text = f"{subject}{least}{error.tokens} tokens do not fit the context of {error.context} tokens"
    return text, "Shorten the input, or summarize it first: llm summarize FILE"


def _describe_out_of_memory(error: e.OutOfMemory) -> ErrorText:
    numbers = _memory_figures(error)
    text = f"out of memory for {_subject_of(error)}" if error.subject else "out of memory"
    text += f" ({', '.join(numbers)})" if numbers else ""
    advice = f"Try: {error.fits}" if error.fits else "Try a smaller context (--ctx) or a smaller model: llm models list"
    return _append_detail(text, error), advice


def _memory_figures(error: e.OutOfMemory) -> list[str]:
    numbers = []
    if error.needed is not None:
        numbers.append(f"{format_bytes(error.needed)} needed")
    if error.weights is not None:
        numbers.append(f"{format_bytes(error.weights)} of it weights")
    if error.per_token:
        numbers.append(f"{format_bytes(error.per_token)} a token of context")
    if error.available is not None:
        numbers.append(f"{format_bytes(error.available)} free")
    return numbers


def _describe_does_not_fit(error: e.ModelTooLarge) -> ErrorText:
    advice = "Try: llm models recommend"
    if error.max_context:
        advice = f"Try: {_pull_command(error.subject, error.max_context)}"
    elif error.smaller_variant:
        advice = f"Try: {_pull_command(error.smaller_variant, error.context)}"
    text = f"{_subject_of(error)} with a context of {error.context} tokens does not fit ({', '.join(_memory_figures(error))})"
    return f"{text}; it was not fetched", f"{advice} (--force fetches it all the same)"


def _describe_config(error: e.ConfigError) -> ErrorText:
    where = f" ({error.origin})" if error.origin and error.origin != _subject_of(error) else ""
    names = _suggest_names(error.suggestions)
    advice = f"{names} {_config_advice(error)}" if error.origin else names
    return _append_detail(f"{_subject_of(error)}{where}", error), advice.strip() or "Try: llm config show"


def _config_advice(error: e.ConfigError) -> str:
    """Return how to put right what is wrong at the error's origin."""
    if error.prompt:
        return f"Try: llm prompts check {error.prompt}"
    if "/" not in error.origin:
        return f"Unset or change {_subject_of(error) if error.origin == 'environment' else error.origin}."
    return "Try: llm config edit" if error.origin.endswith("/config.yaml") else f"Correct {error.origin}"


def _describe_offline(error: e.Offline) -> ErrorText:
    if error.origin.startswith("--"):
        advice = f"Leave out {error.origin}."
    else:
        advice = "Try: llm config edit" if "/" in error.origin else f"Unset {error.origin}."
    return f"{_subject_of(error)} needs the network, and offline is set ({error.origin})", advice


def _describe_cannot_create(error: e.CannotCreate) -> ErrorText:
    if error.exists:
        return f"{_subject_of(error)} exists", "Name another file, or add --force to overwrite it."
    what = f"cannot create {_subject_of(error)}"
    return _append_detail(what, error), "Name a file in a directory where you may write."


_DISK_FULL_ERRNOS = (errno.ENOSPC, errno.EDQUOT)
_FORBIDDEN_ERRNOS = (errno.EACCES, errno.EPERM)


def _write_advice(error: e.OutputError) -> str:
    """Return what to do where something cannot be written, by the system's words; there may be no descriptor at all."""

    def said(numbers: tuple[int, ...]) -> bool:
        return error.detail.startswith(tuple(map(os.strerror, numbers)))

    if error.detail == CLOSED_DETAIL:
        return ""
    if said(_DISK_FULL_ERRNOS):
        return "Make room there, or write elsewhere."
    if said(_FORBIDDEN_ERRNOS) and "/" in error.subject:
        return f"Look who may write it: ls -ld {shlex.quote(_blocking_path(error.subject, os.W_OK))}"
    return "Write elsewhere."


def _blocking_path(path: str, wanted: int) -> str:
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


def _describe_access_denied(error: e.AccessDenied) -> ErrorText:
    where = f"Accept the terms or ask for access at {error.url} (with the account of HF_TOKEN)"
    advice = where if error.url else "Check the token (HF_TOKEN) and its permissions."
    return _append_detail(f"no access to {_subject_of(error)}", error), advice


def _describe_unauthorized(error: e.Unauthorized) -> ErrorText:
    complaint = f"does not accept the key of {error.key}" if error.key else "wants a key"
    advice = "Check the key and what it may do." if error.key else "Name it by key_env or key_file: llm config edit"
    return _append_detail(f"{_subject_of(error)} {complaint}", error), advice


def _describe_no_consent(error: e.ConsentRequired) -> ErrorText:
    setting = f", or set backends.{error.backend}.consent: true (llm config edit)" if error.backend else ""
    what = f"{_subject_of(error)} would get what is sent, and nobody has agreed to that"
    return what, f"Add --yes, run it once on a terminal{setting}."


def _describe_try_again(error: e.TemporaryFailure) -> ErrorText:
    from llmcli.models.hub.stalls import TransferStalled  # here, since every start imports this module
    from llmcli.server_config import ServerUnreachable

    if isinstance(error, ServerUnreachable) and error.address:
        advice = f"Is the server running? Nobody listens at {error.address}: start it, or correct the address."
        return _append_detail(_subject_of(error), error), advice
    wait = f"Try again in {error.retry_after:.0f} seconds." if error.retry_after else "Try again later."
    if isinstance(error, TransferStalled):
        wait = "Try again later: what has come stays, and the download goes on after it."
    return _append_detail(_subject_of(error) or "not available now", error), wait


_DESCRIPTIONS: dict[type[e.LlmError], Callable[[Any], ErrorText]] = {
    e.BadVariables: lambda x: (
        _subject_of(x),
        f"Try: llm {x.prompt.replace('/', ' ')} --list" if "/" in x.prompt else "",
    ),
    e.UsageError: lambda x: (_subject_of(x), x.detail),
    **incomplete_messages.INCOMPLETE_DESCRIPTIONS,
    e.PartialError: lambda x: (_append_detail(_subject_of(x) or "something failed", x), ""),
    e.BinaryInput: lambda x: (_append_detail(f"{_subject_of(x)} is not a text", x), "Convert it to text first."),
    e.NotUtf8: lambda x: (
        _append_detail(f"{_subject_of(x)} is not UTF-8 (byte {x.offset})", x),
        f"Convert it first, for example: iconv -f {x.detail if x.detail.startswith('UTF-') else 'LATIN1'} -t UTF-8",
    ),
    e.IsADirectory: lambda x: (f"{_subject_of(x)} is a directory", "Name the files in it."),
    e.EmptyInput: lambda x: (f"{_subject_of(x) or 'the input'} is empty", ""),
    e.BadDocument: lambda x: (
        _append_detail(", ".join(part for part in (_subject_of(x), x.line and f"line {x.line}") if part), x),
        _ADVICE_BY_KIND.get(x.kind, "Correct the file, or say which format it has: --format" if x.line else ""),
    ),
    e.ContextOverflow: _describe_overflow,
    e.BadModelFile: lambda x: (
        _append_detail(f"the {_subject_of(x)} in the model's file is not usable", x)
        if x.subject == "chat template"
        else _append_detail(f"{_subject_of(x)} is not a usable model file", x),
        "Try: llm models list",
    ),
    e.MissingExtra: lambda x: (f"this needs {_subject_of(x)}", f'Try: pip install "llmcli[{x.detail}]"'),
    e.InputError: lambda x: (
        _append_detail(f"{_subject_of(x)} is bad input", x),
        "Correct it where it is written: llm prompts edit NAME" if x.subject in {"schema", "grammar"} else "",
    ),
    e.MissingError: _describe_missing,
    e.ModelNotDownloaded: _describe_model_not_downloaded,
    e.NothingToRemove: lambda x: (f"the model {_subject_of(x)} is not on this machine", "Try: llm models list"),
    e.Offline: _describe_offline,
    e.Unsupported: lambda x: (_append_detail(f"{_subject_of(x)} cannot be had here", x), "Try: llm doctor"),
    e.UnavailableError: lambda x: (_append_detail(_subject_of(x) or "not available", x), ""),
    e.InternalError: lambda x: (
        _append_detail(f"internal error: {_subject_of(x)}" if _subject_of(x) else "internal error", x),
        "Run it again with -v, and report it with the log file that is named then.",
    ),
    e.WorkerCrashed: lambda x: (
        f"the worker that ran the model ended: {x.detail}",
        "Try again; more is in: llm worker log",
    ),
    e.OutOfMemory: _describe_out_of_memory,
    e.ModelTooLarge: _describe_does_not_fit,
    e.CannotListen: lambda x: (
        _append_detail(f"cannot listen on {_subject_of(x)}", x),
        "Choose another with --port (0: any that is free), --host or --socket.",
    ),
    e.CannotCreate: _describe_cannot_create,
    e.WouldLoseEdits: lambda x: (
        _append_detail(f"{_subject_of(x)} cannot be renewed without losing what people may have changed in it", x),
        "To make it anew, without their changes, use -o (or -o and --force) in place of --update.",
    ),
    e.UnusableDirectory: lambda x: (
        _append_detail(f"{_subject_of(x)} cannot hold the sockets of workers", x),
        "Set LLMCLI_RUNTIME_DIR to a directory of yours with a short path.",
    ),
    e.OutputError: lambda x: (_append_detail(f"cannot write {_subject_of(x)}".rstrip(), x), _write_advice(x)),
    e.TemporaryFailure: _describe_try_again,
    e.DamagedModel: lambda x: (
        _append_detail(
            f"{_subject_of(x)} is damaged" if x.repair else f"the file of {_subject_of(x)} in the cache is damaged", x
        ),
        f"Try: {x.repair or _pull_command(x.subject)}" + (f" ({x.note})" if x.note else ""),
    ),
    e.RemoteError: lambda x: (
        _append_detail(f"{_subject_of(x)}: the remote sent nonsense", x),
        "Try again, or another source.",
    ),
    e.UnsafeDirectory: lambda x: (
        _append_detail(f"{_subject_of(x)} is not safe for the sockets of workers", x),
        f"Try: chmod 700 {shlex.quote(x.subject)} (if it is yours), or set LLMCLI_RUNTIME_DIR to a directory of yours",
    ),
    e.RequestRejected: lambda x: (
        _append_detail(f"{_subject_of(x)} refused the request", x),
        "Check its address, the model (-m) and the options: llm config show",
    ),
    e.UntrustedServer: lambda x: (_append_detail(_subject_of(x), x), "Check the address: llm config show backends"),
    e.AccessDenied: _describe_access_denied,
    e.Unauthorized: _describe_unauthorized,
    e.UnsafeKey: lambda x: (
        f"others may read {_subject_of(x)}, which holds a key",
        f"Try: chmod 600 {shlex.quote(x.subject)}",
    ),
    e.ConsentRequired: _describe_no_consent,
    e.ConfigError: _describe_config,
    e.TimedOut: lambda _: ("the time of --timeout ran out", "Give it more time: --timeout SECONDS"),
    e.LlmError: lambda x: (_append_detail(_subject_of(x) or "failed", x), ""),
}


def describe(error: Exception) -> ErrorText:
    """Return what happened and what to do next, each one clean line."""
    for kind in type(error).__mro__:
        if kind in _DESCRIPTIONS:
            happened, advice = _DESCRIPTIONS[kind](error)
            return sanitize.single_line(happened), sanitize.single_line(advice)
    return sanitize.single_line(f"internal error: {type(error).__name__}: {error}"), ""


def error_as_json(error: Exception, command: str = "", next_step: str = "", **more: Any) -> str:
    """Return the error as one line of JSON; ``command`` and ``next_step`` as in ``write_error``."""
    happened, advice = _describe_for_command(error, command, next_step)
    code = error.exit_code if isinstance(error, e.LlmError) else e.InternalError.exit_code
    type_name = error.type_name if isinstance(error, e.LlmError) else type(error).__name__
    body = {"code": code, "type": type_name, "message": happened, "next": advice or None, **more}
    return json_text.dumps({"error": body})


def _describe_for_command(error: Exception, command: str, next_step: str = "") -> ErrorText:
    happened, advice = describe(error)
    advice = sanitize.single_line(next_step) or advice
    if isinstance(error, e.UsageError) and not advice:
        advice = f"Try: llm {command} --help" if command else "Try: llm --help"
    return happened, advice


def write_error(
    error: Exception, environment: Environment, *, as_json: bool, command: str = "", name: str = "", next_step: str = ""
) -> None:
    """Write the error to stderr; ``name`` is the item that failed, ``command`` the words whose help is of use.

    ``next_step`` is what to do, where the caller knows it better than the error does. Nothing is said about a signal or a reader that went away: the user knows.
    """
    name = sanitize.single_line(name)
    if isinstance(error, e.ProcessStopped):
        return
    if as_json:
        write_stderr(environment, error_as_json(error, command, next_step, **({"name": name} if name else {})))
        return
    happened, advice = _describe_for_command(error, command, next_step)
    name = "standard input" if name == "-" else name
    if name and name not in happened:
        happened = f"{name}: {happened}"
    write_stderr(environment, f"llm: {happened}" + (f"\n{advice}" if advice else ""))


def write_stderr(environment: Environment, text: str) -> None:
    """Write lines to stderr, to a terminal without control sequences; errors are ignored."""
    if 2 in environment.closed_fds:  # noqa: PLR2004
        return
    text = sanitize.strip_controls(text) if environment.is_terminal(environment.stderr) else text
    data = (text + "\n").encode("utf-8", "replace")
    with environment.suspend_painters(), suppress(OSError):
        while data:
            data = data[os.write(environment.stderr, data) :]
