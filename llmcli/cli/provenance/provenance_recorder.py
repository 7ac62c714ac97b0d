"""Records what an output is made of while a command runs, and writes the statement when the output is complete."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from llmcli import __version__
from llmcli.cli.parsing.parameters import CommandParameter
from llmcli.cli.provenance.command_parameters import STDIN, describe_parameters, find_named_files
from llmcli.errors import OutputError, UsageError
from llmcli.fast_dataclass import frozen
from llmcli.files.resumable_file import is_resumable
from llmcli.interrupt import Interrupt
from llmcli.provenance.digest_key import KEYED, DigestKey, digest_public, digest_public_file
from llmcli.provenance.statement import SUFFIX, Statement, add_mac
from llmcli.types import Result, Usage

if TYPE_CHECKING:
    import hmac

    from llmcli.models.files.model_file import ModelFile
    from llmcli.runtime.runtime import Runtime

EFFECTIVE_SETTINGS = (
    "model",
    "embedding_model",
    "lora",
    "backend",
    "ctx",
    "max_tokens",
    "stop_repetition",
    "threads",
    "gpu_layers",
    "kv_type",
    "flash_attention",
    "kv_layout",
    "draft",
    "weights",
    "deterministic",
    "worker",
)
"""The settings that decide what answers, and how; none holds a text of the user."""
_USAGE_FIELDS = ("prompt_tokens", "completion_tokens", "is_known")
_COUNTED_FIELDS = ("unsupported", "untranslated", "repeated", "left_out")
"""Fields of results that are lists of what was left out or replaced, or the number of these."""


@frozen
class RecordedRun:
    """What was given: the command, its parameters with their values, and the key of the digests.

    ``required``: the user asked for the statement on the command line, so there must be a place for it.
    """

    command: str
    parameters: Sequence[CommandParameter]
    values: Mapping[str, Any]
    key: DigestKey
    required: bool


class ResultTally:
    """Counts what became of results: never their texts."""

    def __init__(self) -> None:
        self.results = self.failed = self.warnings = self.unrestored = 0
        self.cut: dict[str, int] = {}
        self.fields: dict[str, int] = {}
        self.models: dict[str, None] = {}
        self.usage = Usage()

    def add(self, result: Result) -> None:
        """Count a result."""
        self.results += 1
        self.usage += result.usage
        self.warnings += len(result.warnings)
        if result.model:
            self.models[result.model] = None
        if result.cut:
            why = "AnswerCut" if result.incomplete is None else getattr(result.incomplete, "type_name", "LlmError")
            self.cut[why] = self.cut.get(why, 0) + 1
            self.unrestored += len(getattr(result.incomplete, "placeholders", ()))
        for name in _COUNTED_FIELDS:
            value = result.fields.get(name)
            count = value if isinstance(value, int) else len(value) if isinstance(value, list) else 0
            if count:
                self.fields[name] = self.fields.get(name, 0) + count
        sentences = result.fields.get("sentences")
        for each in sentences if isinstance(sentences, list | tuple) else ():
            if isinstance(each, Mapping) and each.get("support") == "unsupported":
                self.fields["unsupported"] = self.fields.get("unsupported", 0) + 1

    def add_earlier(self, usage: Usage, results: int) -> None:
        """Count the results of earlier runs of the same job."""
        self.usage += usage
        self.results += results

    def to_json(self) -> dict[str, Any]:
        """Return the counts that are not 0, and the number of results."""
        counts = {"failed": self.failed, "warnings": self.warnings, "unrestored": self.unrestored, **self.fields}
        given = {name: count for name, count in counts.items() if count}
        return {"results": self.results, **given, **({"cut": dict(self.cut)} if self.cut else {})}


@frozen
class _Output:
    """An output: its file, and where it is one of several of the run, its own input, parameters and result."""

    path: str
    input_name: str | None
    changes: Mapping[str, Any]
    tally: ResultTally


class ProvenanceRecorder:
    """Records one run.

    Inputs are noted when they are read, results when they are shown, outputs when they are complete.
    """

    def __init__(self, run: RecordedRun, interrupt: Interrupt) -> None:
        """The files that the command line names are noted at once."""
        self._run = run
        self._interrupt = interrupt
        self._started = time.time()
        self._inputs: dict[str, dict[str, Any]] = {}
        self._streams: dict[str, hmac.HMAC] = {}
        self._outputs: list[_Output] = []
        self.in_json = False
        """Whether each result as JSON has the statement about it."""
        self.tally = ResultTally()
        """The results of the run."""
        for name in find_named_files(run.parameters, run.values):
            self.note_file(name)

    # ---- while the command runs -----------------------------------------------------------------------------------

    def choose_place(self, output: str | None, *, as_json: bool) -> None:
        """Decide where the statement will be: beside ``output``, or in the results if these are ``as_json``.

        Raises ``UsageError`` if there is no place and the user asked for a statement.
        """
        self.in_json = output is None and as_json
        has_file = output is not None and _is_file_or_directory(output)
        if self._run.required and not has_file and not self.in_json:
            detail = f"Add -o FILE, for FILE{SUFFIX}" + (", or --json" if output is None and not as_json else "")
            raise UsageError("--provenance needs a file beside which it can stand", detail=detail)

    def note_file(self, name: str) -> None:
        """Note an input that is a file; one that is no regular file can be read only once, so it has no digest."""
        if name in self._inputs:
            return
        if not os.path.isfile(name):  # noqa: PTH113 (the same)
            note = "an indexed directory" if os.path.isdir(name) else "not a regular file"  # noqa: PTH112 (the same)
            self._inputs[name] = {"name": name, "note": note}
            return
        try:
            digest = self._run.key.digest_file(name, self._interrupt)
        except OSError as error:
            self._inputs[name] = {"name": name, "note": error.strerror or "unreadable"}
        else:
            self._inputs[name] = {"name": name, "digest": digest}

    def note_bytes(self, name: str, data: bytes, note: str) -> None:
        """Note an input that cannot be read again: standard input, or a page, which is called by its host."""
        if not data.strip():  # a blank pipe is not read as an input
            return
        digest = self._run.key.digest(data)
        key = f"{name}\0{digest[KEYED]}"  # of a host there may be several pages
        self._inputs[key] = {"name": name, "digest": digest, **({"note": note} if note else {})}

    def open_stream(self, name: str) -> hmac.HMAC:
        """Note an input that is read as it arrives; return the digest to update with its bytes."""
        self._streams[name] = self._run.key.start()
        return self._streams[name]

    def add_output(self, path: str, earlier: tuple[Usage, float, int] = (Usage(), 0.0, 0)) -> None:
        """Note the output of the run; ``earlier``: tokens, seconds and records of earlier runs of its job."""
        self.tally.add_earlier(earlier[0], earlier[2])
        self._outputs.append(_Output(path, None, {}, self.tally))

    def add_result_output(self, path: str, result: Result, changes: Mapping[str, Any]) -> None:
        """Note one of several outputs: the ``result`` in it, and the ``changes`` of parameters that make it alone."""
        tally = ResultTally()
        tally.add(result)
        self._outputs.append(_Output(path, result.name, changes, tally))

    # ---- the statement --------------------------------------------------------------------------------------------

    def describe_result(self, runtime: Runtime, result: Result, shown: Mapping[str, Any]) -> dict[str, Any]:
        """Return the statement about a result as JSON, which is ``shown`` so far; it becomes its field "provenance"."""
        from llmcli.cli.console import json_text

        tally = ResultTally()
        tally.add(result)
        output = _Output(os.path.join(os.getcwd(), "-"), None, {}, tally)  # noqa: PTH109, PTH118 (a Path takes longer)
        digest = digest_public(json_text.dumps(shown).encode("utf-8", "replace"))
        return self._describe(STDIN, digest, runtime, output)

    def write(self, runtime: Runtime) -> None:
        """Write the statements beside the outputs. Raises as ``atomic_write``, and ``OutputError``."""
        from llmcli.cli.console import json_text
        from llmcli.files.atomic_file import atomic_write

        for output in self._outputs:
            if os.path.isdir(output.path):  # noqa: PTH112 (the same)  # its files are outputs of their own
                continue
            try:
                digest = digest_public_file(output.path, self._interrupt)
            except OSError as error:
                raise OutputError(output.path, detail=error.strerror or "") from error
            name = os.path.basename(output.path)  # noqa: PTH119 (the same)
            statement = self._describe(name, digest, runtime, output)
            with atomic_write(output.path + SUFFIX, interrupt=self._interrupt, durable=False) as file:
                file.write((json_text.dumps(statement, indent=1) + "\n").encode("utf-8", "backslashreplace"))

    def _describe(self, name: str, digest: Mapping[str, str], runtime: Runtime, output: _Output) -> dict[str, Any]:
        from llmcli.cli.console import json_text

        value = Statement(name, digest, self._predicate(runtime, output)).to_json()
        return add_mac(json.loads(json_text.dumps(value)), self._run.key)  # over what a reader gets

    def _predicate(self, runtime: Runtime, output: _Output) -> dict[str, Any]:
        run, stats = self._run, runtime.backend_stats()
        usage = output.tally.usage
        return {
            "command": run.command,
            "parameters": describe_parameters(run.parameters, {**run.values, **output.changes}, run.key),
            "settings": _effective_settings(runtime),
            "directory": os.path.relpath(os.getcwd(), os.path.dirname(os.path.abspath(output.path))),  # noqa: PTH100, PTH109, PTH120 (the same)
            "key": run.key.id,
            "inputs": self._inputs_of(output),
            "prompts": self._prompts(runtime),
            **_describe_responder(runtime, output.tally),
            "versions": find_versions(runtime.environ),
            "started": _format_time(self._started),
            "finished": _format_time(time.time()),
            "outcome": output.tally.to_json() | ({"redacted": dict(stats.redacted)} if stats.redacted else {}),
            "usage": {name: value for name, value in usage.to_json().items() if name in _USAGE_FIELDS},
            **({} if stats.joules is None else {"joules": round(stats.joules, 3)}),
        }

    def _inputs_of(self, output: _Output) -> list[dict[str, Any]]:
        """Return the inputs of the run, without those that other outputs were made of."""
        others = {each.input_name for each in self._outputs} - {output.input_name, None}
        streams = [{"name": name, "digest": {KEYED: each.hexdigest()}} for name, each in self._streams.items()]
        return [each for name, each in self._inputs.items() if name not in others] + streams

    def _prompts(self, runtime: Runtime) -> list[dict[str, Any]]:
        """Return the prompt files. A file of the user's own is private."""
        found = []
        for name, path in runtime.prompts.read_files.items():
            is_public = path.is_relative_to(runtime.prompts.builtin)
            digest_file = digest_public_file if is_public else self._run.key.digest_file
            try:
                found.append({"name": name, "digest": digest_file(str(path), self._interrupt)})
            except OSError as error:  # it was removed while the command ran
                found.append({"name": name, "note": error.strerror or "unreadable"})
        return found


def _is_file_or_directory(path: str) -> bool:
    """Whether ``path`` is, or could become, a file or a directory of files, and not an open descriptor."""
    if os.path.isdir(path):  # noqa: PTH112 (a Path raises for a long name)
        return True
    return is_resumable(path)


def _effective_settings(runtime: Runtime) -> dict[str, Any]:
    settings = runtime.settings
    given = [name for name in EFFECTIVE_SETTINGS if settings.origin(name) != "default"]
    values = {name: settings[name] for name in given if not settings.origin(name).startswith("--")}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def _describe_responder(runtime: Runtime, tally: ResultTally) -> dict[str, Any]:
    """Return what answers: a model of this machine, or a server; nothing if no model was needed."""
    server = runtime.server
    if server is not None:
        names = list(tally.models) or [runtime.model_name or server.model or ""]
        return {"server": {"name": server.name, "origin": server.origin, "type": server.type, "models": names}}
    model = runtime.model
    if model is None:
        return {}
    reference = runtime.model_name or runtime.settings["model"] or runtime.models.default_model()[0]
    described: dict[str, Any] = {
        "name": model.name,
        "reference": reference,
        "digest": model_digest(model),
        "weights": runtime.weights or "",
    }
    if runtime.weights_copy is not None:
        described["copy"] = {"sha256": runtime.weights_copy.sha256}
    if runtime.adapters:
        typed = runtime.settings["lora"]
        described["adapters"] = [
            {"name": name, "scale": adapter.scale, "digest": {"sha256": adapter.sha256}}
            for name, adapter in zip(typed, runtime.adapters, strict=True)
        ]
    if model.draft is not None:
        described["draft"] = {"name": runtime.settings["draft"], "digest": model_digest(model.draft)}
    return {"model": described}


def model_digest(model: ModelFile) -> dict[str, str]:
    """Return the digests of a model's weights; none if they are unknown. The hash was computed when it was verified."""
    return {} if model.weights_sha256 is None else {"sha256": model.weights_sha256}


def find_versions(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the versions of llm and of the engine; no library is loaded."""
    from llmcli.engine_library import binding_version, find_library

    library = find_library(environ)
    engine = {} if library is None else {"engine": library.label}
    return {"llmcli": __version__, **engine, "llama-cpp-python": binding_version()}


def _format_time(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
