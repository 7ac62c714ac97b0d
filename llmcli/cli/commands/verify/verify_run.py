"""One run of verify: the statements of outputs, their checks, and the exit code."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from llmcli.cli.command_context import CommandContext
from llmcli.cli.commands.verify.repeated_run import RepeatedRun
from llmcli.cli.commands.verify.statement_checker import (
    GivenTexts,
    StatementCheck,
    StatementChecker,
    StatementCheckState,
    working_directory,
)
from llmcli.cli.console import json_text
from llmcli.cli.input.inputs import STDIN
from llmcli.cli.options import find_parameters
from llmcli.cli.provenance.provenance_recorder import find_versions
from llmcli.documents.reading.file_reader import read_stdin
from llmcli.errors import BadDocument, LlmError, MissingError, UnavailableError, UsageError
from llmcli.fast_dataclass import frozen
from llmcli.files import private_files
from llmcli.provenance.digest_key import DigestKey, digest_public, digest_public_file, load_key
from llmcli.provenance.statement import (
    FIELD,
    SUFFIX,
    Statement,
    StatementMac,
    check_mac,
    parse_json,
    parse_statement,
    read_statement,
)

_CHANGED = 1


@frozen
class DescribedOutput:
    """An output with its statement: the file ``path``, called ``name`` by the user, or the JSON ``shown`` in it."""

    name: str
    path: Path
    statement: Statement
    shown: dict[str, Any] | None = None


def run_verify(ctx: CommandContext, names: Sequence[str], texts: Sequence[str], *, repeats: bool) -> int:
    """Check the outputs and print what was found; return the exit code.

    One that cannot be checked does not hide others.
    """
    given = _read_texts(ctx, names, texts)
    key = load_key(ctx.runtime.paths.digest_key)
    codes, failures = [], []
    for name in names:
        try:
            codes += [_verify(ctx, each, given, key, repeats=repeats) for each in _find_outputs(ctx, name)]
        except LlmError as error:
            ctx.runtime.interrupt.check()
            if len(names) == 1:
                raise
            ctx.console.write_error(error, name=name)
            failures.append(error.exit_code)
    return _CHANGED if _CHANGED in codes else next((code for code in (*codes, *failures) if code), 0)


def _read_texts(ctx: CommandContext, names: Sequence[str], texts: Sequence[str]) -> GivenTexts:
    """Return the texts that the user gives. Raises ``UsageError`` for a second use of standard input."""
    if [*names, *texts].count(STDIN) > 1:
        raise UsageError("standard input can be read only once")
    others = [text for text in texts if text != STDIN]
    if STDIN not in texts:
        return GivenTexts(others)
    return GivenTexts(others, read_stdin(ctx.console.environment.stdin, ctx.runtime.interrupt, refuse_binary=_accept))


def _accept(_data: bytes, _name: str) -> None:
    """Accept binary input, such as a PDF document that a run has read."""


# ---- statements ------------------------------------------------------------------------------------------------------


def _find_outputs(ctx: CommandContext, name: str) -> Iterator[DescribedOutput]:
    """Yield the output, or the results in it, with their statements.

    Raises ``MissingError`` if the file or its statement is missing, and ``BadDocument`` for a damaged statement.
    """
    name = name.removesuffix(SUFFIX) or name
    path = Path(name)
    beside = Path(f"{path}{SUFFIX}")
    if name != STDIN and private_files.exists(beside):
        yield DescribedOutput(name, path.absolute(), parse_statement(_read(beside), str(beside)))
        return
    data = read_stdin(ctx.console.environment.stdin, ctx.runtime.interrupt) if name == STDIN else _read(path)
    found = list(_find_results(data, name))
    if not found and name == STDIN:
        raise BadDocument(STDIN, detail="no result in it has a statement", kind="statement")
    if not found:
        raise MissingError(str(beside), kind="statement")
    yield from (DescribedOutput(name, path.absolute(), statement, shown) for statement, shown in found)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise MissingError(str(path), kind="input", detail=error.strerror or "") from error


def _find_results(data: bytes, name: str) -> Iterator[tuple[Statement, dict[str, Any]]]:
    """Yield the statements in results as JSON, one a line or one over all lines, with the results without them."""
    try:
        values = [parse_json(data, name)]
    except ValueError:
        try:
            values = [parse_json(line, name) for line in data.splitlines() if line.strip()]
        except ValueError:
            return
    for value in values:
        if isinstance(value, dict) and FIELD in value:
            yield read_statement(value.pop(FIELD), name), value


# ---- checks ----------------------------------------------------------------------------------------------------------


def _verify(
    ctx: CommandContext, output: DescribedOutput, given: GivenTexts, key: DigestKey | None, *, repeats: bool
) -> int:
    predicate = output.statement.predicate
    statement = _check_statement(output, key)
    if statement.state is StatementCheckState.CHANGED:
        checks = [_check_output(ctx, output), statement]
        _write_checks(ctx, output, checks, "")
        return _exit_code(ctx, checks)
    parameters = find_parameters(predicate["command"])
    if not any(parameter.name == "provenance" for parameter in parameters):
        detail = f"{predicate['command']} is no command that describes its output"
        raise BadDocument(output.name, detail=detail, kind="statement")
    with working_directory(output.path, predicate):
        checker = StatementChecker(ctx, predicate, parameters, key)
        checks = [_check_output(ctx, output), statement, *checker.run(given)]
    difference = ""
    unchanged = all(check.state in {StatementCheckState.OK, StatementCheckState.UNCHECKED} for check in checks)
    needs_key = any(check.needs_key for check in checks)
    if repeats and (needs_key or not unchanged):
        why = "another key is needed" if unchanged else "not everything is as it was"
        checks.append(StatementCheck(StatementCheckState.UNCHECKED, "repeated", output.name, f"not run: {why}"))
    elif repeats:
        repeated = RepeatedRun(ctx, output.path, predicate, parameters)
        difference = repeated.compare(output.shown, checker, given)
        state = StatementCheckState.CHANGED if difference else StatementCheckState.OK
        checks.append(StatementCheck(state, "repeated", output.name, "" if not difference else repeated.reason))
    _write_checks(ctx, output, checks, difference)
    _note_versions(ctx, predicate)
    return _exit_code(ctx, checks)


def _check_statement(output: DescribedOutput, key: DigestKey | None) -> StatementCheck:
    """Check the statement itself; what a changed one says of other things is not worth checking."""
    state, note = {
        StatementMac.OK: (StatementCheckState.OK, ""),
        StatementMac.CHANGED: (StatementCheckState.CHANGED, "nothing that it describes was checked"),
        StatementMac.ABSENT: (StatementCheckState.UNCHECKED, "it has no HMAC"),
        StatementMac.NO_KEY: (StatementCheckState.UNCHECKED, "not checked: no key"),
    }[check_mac(output.statement, key)]
    return StatementCheck(state, "statement", output.name, note)


def _check_output(ctx: CommandContext, output: DescribedOutput) -> StatementCheck:
    if output.shown is not None:
        found = digest_public(json_text.dumps(output.shown).encode("utf-8", "replace"))
    else:
        try:
            found = digest_public_file(str(output.path), ctx.runtime.interrupt)
        except OSError as error:
            return StatementCheck(StatementCheckState.MISSING, "output", output.name, error.strerror or "")
    same = found["sha256"] == output.statement.digest["sha256"]
    return StatementCheck(StatementCheckState.OK if same else StatementCheckState.CHANGED, "output", output.name)


def _write_checks(
    ctx: CommandContext, output: DescribedOutput, checks: Sequence[StatementCheck], difference: str
) -> None:
    rows = [{"state": str(each.state), "what": each.kind, "name": each.name, "note": each.note} for each in checks]
    if ctx.console.as_json:
        extra = {"difference": difference} if difference else {}
        rows = [{"output": output.name, **row, **(extra if row["what"] == "repeated" else {})} for row in rows]
    ctx.console.write_table(rows, remark="note")
    if difference and not ctx.console.as_json:
        ctx.console.write_stdout(difference)


def _note_versions(ctx: CommandContext, predicate: Mapping[str, Any]) -> None:
    """Note other versions of llm or the engine: they are no change of a file, and may give other answers."""
    now = find_versions(ctx.runtime.environ)
    then = predicate["versions"]
    differing = [f"{name} {then[name]}, here {now[name]}" for name in then if now.get(name, then[name]) != then[name]]
    if differing:
        ctx.console.write_note(f"made with other versions: {'; '.join(differing)}")


def _exit_code(ctx: CommandContext, checks: Sequence[StatementCheck]) -> int:
    states = {check.state for check in checks}
    if StatementCheckState.CHANGED in states:
        return _CHANGED
    if StatementCheckState.MISSING in states:
        return MissingError.exit_code
    if any(check.needs_key for check in checks):
        path = ctx.runtime.paths.digest_key
        ctx.console.write_error(UnavailableError(f"the inputs were digested with another key than that in {path}"))
        return UnavailableError.exit_code
    return 0
