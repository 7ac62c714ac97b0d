"""The messages for inputs, outputs and configuration."""

from __future__ import annotations

import errno
import os
import shlex
from pathlib import Path

from llmcli import errors as e
from llmcli.cli.console.descriptor_writer import CLOSED_DETAIL
from llmcli.cli.console.messages.message_text import (
    Descriptions,
    ErrorText,
    append_detail,
    subject_of,
    suggest_names,
)
from llmcli.errors.network_errors import BadBatchRequest

_MAX_SHOWN_MODELS = 9
_SCHEMA_ADVICE = "Give a JSON Schema, or the short form: --schema 'name, age int, due (date)'"
_ADVICE_BY_KIND = {
    "memory": "Name another file with --tm, or move it away: llm creates a new one.",
    "sessions": "Move it away: llm creates a new one.",
    "logs": "Move it away: llm creates a new one.",
    "index": "Delete it: llm index add creates a new one.",
    "glossary": "Write each line as: term,translation,note (the last two may be left out)",
    "examples": 'Write an object a line: {"text": "...", "values": {...}}',
    "schema": _SCHEMA_ADVICE,
    "deck": "Correct or delete the line.",
    "deck table": "Name the columns in the first line: question,answer (kind, level, topic and choices may follow).",
    "answers": "Correct or delete the line.",
    "labels": "Write a list of labels, or a mapping from labels to descriptions.",
    "table row": "Correct the file.",
    "labelled rows": "Correct or delete the line.",
    "label": "Name the field with the label: --label-column NAME",
    "outline": "Write a heading for each section (## Costs), and its points below it (- purchase and installation).",
    "records": "Name a document with prose. To make a deck of a table of questions and answers: llm quiz import",
    "statement": "Run the command again: --provenance writes a new one.",
    "swap": "For a file to change: llm audit show names",
    "TMX": "Export it again as TMX 1.4 from the tool that made it.",
}
"""What to do with a file that is not of the expected kind."""
_DISK_FULL_ERRNOS = (errno.ENOSPC, errno.EDQUOT)
_FORBIDDEN_ERRNOS = (errno.EACCES, errno.EPERM)


_HOSTED = {"gpt-": "openai", "claude-": "anthropic", "gemini-": "gemini"}
"""The well-known servers whose models have names that begin so."""


def _advise_on_model(name: str) -> str:
    """Return where to find the names of models, and how to name a hosted model."""
    server = next((server for start, server in _HOSTED.items() if name.startswith(start)), None)
    return (
        "Try: llm models list"
        if server is None
        else f"For the model of a server: --backend {server} -m {shlex.quote(name)}"
    )


def _describe_missing(error: e.MissingError) -> ErrorText:
    nexts = {
        "input": "This command reads files: download it first." if "://" in error.subject else "",
        "current directory": "It was removed. Go to another one: cd DIRECTORY",
        "model": _advise_on_model(error.subject),
        "model of the requests": "To answer them by a model that you have (llm models list): "
        f"-m MODEL --served-model-name {shlex.quote(error.subject)}",
        "model file": "Check the path, or try: llm models list",
        "adapter": "Check the path; FILE:SCALE takes a number, such as style.gguf:0.5",
        "model folder": "If the models are elsewhere: llm models import FILE.gguf (for Ollama, set OLLAMA_MODELS)",
        "alias": "Try: llm models alias",
        "worker": "Try: llm worker list",
        "place": f"Check its permissions: ls -ld {shlex.quote(_blocking_path(error.subject, os.R_OK))}",
        "file": "List the files of the repository on the Hub, or search: llm models search WORDS",
        **{f"model of {each}": f"Try: llm models import --from {each}" for each in ("ollama", "lmstudio")},
        "complete model of ollama": "Download it again there: ollama pull MODEL",
        "complete model of lmstudio": "Download it again in that program.",
        "prompt": "Try: llm prompts list",
        "swap file": "Try: llm audit list, or name a file of your own: --swap @FILE",
        "prompt file": "Check the path, or name a prompt of your own: llm prompts list",
        "backend": "Try: llm backends list",
        "engine": "Try: llm engine list",
        "stored key": "Try: llm keys list",
        "remote model": "Name one of its models: -m MODEL",
        "key file": "Correct key_file: llm config edit",
        "token file": "Create one: (umask 077; head -c 24 /dev/urandom | base64 > FILE)",
        "file of a variable": "For a text that begins with @, write @@",
        "repository": "Check the name on the Hub, or try: llm models list",
        "session": "Try: llm sessions list",
        "logged answer": "Try: llm logs list (answers are kept after: llm config set logs on)",
        "calibration": "Try: llm calibrations list",
        "last session": "Start one: llm chat --session NAME",
        "index": f"Create one: llm index add {shlex.quote(error.subject)}",
        "passage": "Try other words, or bring the index up to date: llm index add DIRECTORY",
        "statement": "Write one together with the output: llm COMMAND ... --provenance -o FILE",
        "line": "List the saved chats: llm sessions list",
        "logged words": "List the kept answers: llm logs list",
        "translation": "Try: llm tm list",
        "translation memory": "To create one, use llm translate --tm or llm tm import; without --tm, llm uses your own.",
        "match": "Try fewer words: the Hub searches for all of them in the names of repositories.",
    }
    whats = {
        "input": "cannot read",
        "current directory": "cannot read",
        "file of a variable": "cannot read",
        "model file": "cannot read",
        "prompt file": "cannot read the prompt",
        "adapter": "cannot read the LoRA adapter",
        "configuration": "cannot read",
        "key file": "cannot read the key file",
        "token file": "no token in",
        "place": "cannot read",
        "last session": "no saved chat for",
        "line": "no saved chat mentions",
        "logged answer": "no kept answer in" if error.subject == "the log" else "no kept answer",
        "logged words": "no kept answer contains",
        "index": "no index of",
        "passage": "no indexed passage contains a word of",
        "translation": "there are no translations from",
        "backend": "the configuration has no backend",
        "stored key": "no key is stored for",
        "match": "no repository with GGUF files matches",
        "statement": "there is no",
        "model of the requests": "the first request names the model",
        "digest key": "cannot read the key of digests",
        "remote model": "the server has no model",
    }
    if error.subject == "-" and error.detail == os.strerror(errno.ENOENT):  # of an option that reads only files
        return "there is no file called -", "For standard input: /dev/stdin"
    what = whats.get(error.kind, f"no {error.kind} called")
    suggestion = _list_models(error) if error.kind == "remote model" else suggest_names(error.suggestions)
    advice = suggestion or nexts.get(error.kind, "")
    return append_detail(f"{what} {subject_of(error) or repr('')}", error), advice


def _list_models(error: e.MissingError) -> str:
    """Return which models a server has instead of the missing one; "" if it does not say, or has said it itself."""
    names = error.suggestions
    if not names or names[0] in error.detail:
        return ""
    shown = (*names[:_MAX_SHOWN_MODELS], *(["..."] if names[_MAX_SHOWN_MODELS:] else []))
    return f"It has {', '.join(shown)}. Name one: -m MODEL"


def _describe_config(error: e.ConfigError) -> ErrorText:
    where = f" ({error.origin})" if error.origin and error.origin != subject_of(error) else ""
    names = suggest_names(error.suggestions)
    advice = f"{names} {_config_advice(error)}" if error.origin else names
    return append_detail(f"{subject_of(error)}{where}", error), advice.strip() or "Try: llm config show"


def _config_advice(error: e.ConfigError) -> str:
    """Return how to correct the configuration at the error's origin."""
    if error.prompt:
        return f"Try: llm prompts check {error.prompt}"
    if error.origin == e.ConfigError.COMMAND_LINE:
        return f"To see what it means: llm config show {error.subject}"
    if "/" not in error.origin:
        return f"Unset or change {subject_of(error) if error.origin == 'environment' else error.origin}."
    return "Try: llm config edit" if error.origin.endswith("/config.yaml") else f"Correct {error.origin}"


def _describe_cannot_create(error: e.CannotCreate) -> ErrorText:
    if error.exists:
        return f"{subject_of(error)} exists", error.detail or "Name another file, or add --force to overwrite it."
    what = f"cannot create {subject_of(error)}"
    return append_detail(what, error), "Name a file in a directory that you can write to."


def _write_advice(error: e.OutputError) -> str:
    """Return what to do about a failed write, by the system's message; nothing if the descriptor is closed."""

    def matches(numbers: tuple[int, ...]) -> bool:
        return error.detail.startswith(tuple(map(os.strerror, numbers)))

    if error.detail == CLOSED_DETAIL:
        return ""
    if matches(_DISK_FULL_ERRNOS):
        return "Free some space, or write elsewhere."
    if matches(_FORBIDDEN_ERRNOS) and "/" in error.subject:
        return f"Check its permissions: ls -ld {shlex.quote(_blocking_path(error.subject, os.W_OK))}"
    return "Write elsewhere."


def _blocking_path(path: str, wanted: int) -> str:
    """Return the first of ``path`` and its parents, from the top, that refuses ``wanted`` access.

    If none refuses, or ``path`` is missing, return the nearest existing one.
    """
    way = [str(each) for each in (*reversed(Path(path).parents), Path(path))]
    there = [each for each in way if os.path.lexists(each)] or ["/"]
    closed = next((each for each in there[:-1] if not os.access(each, os.X_OK)), None)
    if closed is not None:
        return closed
    last = Path(there[-1])  # the file is writable, but its directory, in which it is replaced, is not
    return str(last.parent if wanted == os.W_OK and os.access(last, wanted) and not last.is_dir() else last)


def _advise_conversion(error: e.NotUtf8) -> str:
    """Return a command that converts the text and works as it is shown; not for an argument, which is no file."""
    command = f"iconv -f {error.detail if error.detail.startswith('UTF-') else 'LATIN1'} -t UTF-8"
    if error.subject == "-":
        return f"Convert it first, for example: ... | {command} | llm ..."
    if os.path.lexists(error.subject):
        return f"Convert it first, for example: {command} {shlex.quote(error.subject)}"
    return "Convert it first."


FILE_DESCRIPTIONS: Descriptions = {
    e.BinaryInput: lambda x: (
        append_detail(f"{subject_of(x)} is not text", x),
        "Save a table as CSV, another document as text." if "office" in x.detail else "Convert it to text first.",
    ),
    e.NotUtf8: lambda x: (append_detail(f"{subject_of(x)} is not UTF-8 (byte {x.offset})", x), _advise_conversion(x)),
    e.IsADirectory: lambda x: (f"{subject_of(x)} is a directory", "Name the files in it."),
    e.EmptyInput: lambda x: (f"{subject_of(x) or 'the input'} is empty", x.detail),
    e.BadDocument: lambda x: (
        append_detail(", ".join(part for part in (subject_of(x), x.line and f"line {x.line}") if part), x),
        _ADVICE_BY_KIND.get(x.kind, "Correct the file, or name its format: --format" if x.line else ""),
    ),
    BadBatchRequest: lambda x: (
        x.detail,
        "To answer such requests too: --served-model-name NAME" if x.code == "model_not_found" else "",
    ),
    e.InputError: lambda x: (
        append_detail(f"{subject_of(x)} is bad input", x),
        "Correct it in the prompt: llm prompts edit NAME"
        if x.subject in {"schema", "grammar"}
        else _SCHEMA_ADVICE
        if x.subject == "--schema"
        else "",
    ),
    e.MissingError: _describe_missing,
    e.CannotCreate: _describe_cannot_create,
    e.OutputError: lambda x: (append_detail(f"cannot write {subject_of(x)}".rstrip(), x), _write_advice(x)),
    e.ConfigError: _describe_config,
    e.UnusableDirectory: lambda x: (
        append_detail(f"{subject_of(x)} cannot hold the sockets of workers", x),
        "Set LLMCLI_RUNTIME_DIR to your own directory with a short path.",
    ),
}
