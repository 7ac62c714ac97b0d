"""The run of a statement again, into a temporary file, and what is different in its output."""

from __future__ import annotations

import difflib
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from llmcli.cli.command_context import CommandContext
from llmcli.cli.commands.verify.statement_checker import GivenTexts, StatementChecker, working_directory
from llmcli.cli.parsing.parameters import CommandParameter
from llmcli.cli.provenance.command_parameters import STDIN, format_words
from llmcli.cli.provenance.provenance_recorder import EFFECTIVE_SETTINGS
from llmcli.errors import HungUp, Interrupted, Terminated, UsageError
from llmcli.fast_dataclass import replace
from llmcli.provenance.statement import FIELD
from llmcli.settings import SETTING_SPECS

_UNREPEATABLE = {
    "session": "it continued a saved chat",
    "go_on": "it continued a saved chat",
    "update": "it updated an earlier version of its output",
    "editor": "its question was written in an editor",
    "input_file": "the answers of llm run-batch have random ids",
}
_LEFT_OUT = frozenset(
    {"calibrate", "copy", "force", "html", "memory", "plot", "pull", "report", "resume", "retry_failed"}
    | {"summary", "yes"}
)
"""Parameters that write other files, change what llm keeps, download, or consent to sending data."""
_STOPPED = (HungUp.exit_code, Interrupted.exit_code, Terminated.exit_code)
_MAX_DIFFERENCE_LINES = 200
_VOLATILE_FIELDS = frozenset({FIELD, "timings", "cached_tokens"})
"""What differs in each run: times, and the tokens that a warm cache had."""


class RepeatedRun:
    """Runs the command of a statement again. It writes nothing but a temporary file."""

    def __init__(
        self, ctx: CommandContext, path: Path, predicate: Mapping[str, Any], parameters: Sequence[CommandParameter]
    ) -> None:
        """``path`` is the output; ``parameters`` are those of the command."""
        self._ctx = ctx
        self._path = path
        self._predicate = predicate
        self._parameters = parameters
        self._given = predicate["parameters"]

    @property
    def reason(self) -> str:
        """Why the output may differ although nothing has changed; "" if it may not."""
        if self._given.get("deterministic") or self._predicate["settings"].get("deterministic"):
            return "though the run was --deterministic"
        return "the run was not --deterministic"

    def compare(self, shown: Mapping[str, Any] | None, checker: StatementChecker, given: GivenTexts) -> str:
        """Return the differences of the output, or of the result ``shown`` in it; "" if there are none.

        Raises ``UsageError`` for a run that cannot be repeated, or whose texts are not ``given``, and if it fails.
        """
        self._require_repeatable(checker, given)
        with tempfile.TemporaryDirectory(prefix="llm-") as directory:
            target = Path(directory) / (self._path.name if shown is None else "output")
            words = self._words(checker, target, as_json=shown is not None)
            self._run(words, target if shown is not None else Path(os.devnull), given.stdin or b"")
            again = target.read_bytes() if target.exists() else b""
        if shown is not None:
            return describe_difference(_stable_json(shown), _stable_json(_find_result(again, shown)))
        before = self._path.read_bytes()
        if self._given.get("json"):
            before, again = _stable_lines(before), _stable_lines(again)
        return describe_difference(before, again)

    def _require_repeatable(self, checker: StatementChecker, given: GivenTexts) -> None:
        for name, why in _UNREPEATABLE.items():
            if name in self._given:
                raise UsageError(f"this run cannot be repeated: {why}")
        missing = [each.label for each in checker.private_texts if each.digest not in checker.open_texts]
        if missing:
            many = " ".join("--text TEXT" for _ in missing)
            raise UsageError(f"the statement does not hold the texts of {', '.join(missing)}", detail=f"Add {many}")
        if any(each["name"] == STDIN for each in self._predicate["inputs"]) and given.stdin is None:
            raise UsageError("the run read standard input", detail="Add --text - < FILE")

    def _words(self, checker: StatementChecker, target: Path, *, as_json: bool) -> list[str]:
        """Return the words of the command line."""
        kept = {name: value for name, value in self._given.items() if name not in _LEFT_OUT}
        if any(parameter.name == "no_memory" for parameter in self._parameters):
            kept["no_memory"] = True  # it has the translations of the run itself
        place = ["--quiet"] if as_json else [f"--output={target}", "--quiet"]
        words = format_words(self._parameters, kept, checker.open_texts)
        return [*self._predicate["command"].split(), *place, *words]

    def _run(self, words: list[str], stdout: Path, stdin: bytes) -> None:
        from llmcli.cli.dispatch import dispatch

        with tempfile.TemporaryFile() as source, stdout.open("wb") as sink:
            source.write(stdin)
            source.seek(0)
            environment = replace(
                self._ctx.console.environment, stdin=source.fileno(), stdout=sink.fileno(), environ=self._environ()
            )
            with working_directory(self._path, self._predicate):
                code = dispatch(words, environment)
        interrupt = self._ctx.runtime.interrupt
        if code in _STOPPED:  # the run got the signal, and it ends this command too
            interrupt.set(code - 128)
        interrupt.check()
        if code not in {0, 1, 3}:  # nothing was found, something was cut
            raise UsageError(f"the run could not be repeated: it ended with exit code {code}")

    def _environ(self) -> dict[str, str]:
        """Return the environment with the settings of the run, and with those that keep it from leaving traces."""
        settings = {spec.name: spec for spec in SETTING_SPECS}
        then = {name: settings[name].default for name in EFFECTIVE_SETTINGS}
        then |= {name: value for name, value in self._predicate["settings"].items() if name in then}
        model = self._predicate.get("model")
        if model is not None:
            then |= {"model": model["reference"], "weights": model["weights"] or "auto"}
        then |= {"provenance": False, "logs": "off"}
        return {
            **self._ctx.console.environment.environ,
            **{settings[name].variable: _format_setting(value) for name, value in then.items() if value is not None},
        }


def _format_setting(value: Any) -> str:
    """Return the value of a setting for the environment."""
    if isinstance(value, bool):
        return "on" if value else "off"
    return (",".join(value) or "none") if isinstance(value, list | tuple) else str(value)


def _find_result(data: bytes, shown: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the result about the same input among results as JSON, one a line; {} if there is none."""
    found = [json.loads(line) for line in data.splitlines() if line.strip()]
    return next((each for each in found if each.get("name") == shown.get("name")), {})


def _stable_json(value: Mapping[str, Any]) -> bytes:
    """Return a result as JSON without what differs in each run."""
    usage = value.get("usage")
    kept = {**value, "usage": _without_volatile(usage)} if isinstance(usage, Mapping) else value
    text = json.dumps(_without_volatile(kept), ensure_ascii=False, indent=1)
    return (text + "\n").encode("utf-8", "backslashreplace")


def _without_volatile(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if name not in _VOLATILE_FIELDS}


def _stable_lines(data: bytes) -> bytes:
    """Return results as JSON, one a line, without what differs in each run; other data as it is."""
    try:
        return b"".join(_stable_json(json.loads(line)) for line in data.splitlines())
    except (ValueError, AttributeError):
        return data


def describe_difference(before: bytes, after: bytes) -> str:
    """Return the differences of two outputs as diff(1) writes them, of other files the first byte; "" for none."""
    if before == after:
        return ""
    try:
        earlier, later = (data.decode().splitlines(keepends=True) for data in (before, after))
    except UnicodeDecodeError:
        first = next((at for at, (x, y) in enumerate(zip(before, after, strict=False)) if x != y), None)
        at = min(len(before), len(after)) if first is None else first
        return f"the first different byte is at {at:,}\n"
    lines = list(difflib.unified_diff(earlier, later, "output", "repeated"))
    shown = [line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines]
    more = len(shown) - _MAX_DIFFERENCE_LINES
    return "".join([*shown[:_MAX_DIFFERENCE_LINES], *([f"... {more:,} more lines\n"] if more > 0 else [])])
