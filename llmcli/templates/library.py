"""Finding prompt files: the user's directory before the built-in ones.

A prompt called ``summarize.merge`` lies in ``summarize.merge.yaml``, ``generate/email`` in ``generate/email.yaml``.
"""

from __future__ import annotations

import builtins
import difflib
import os
import re
import stat
from pathlib import Path

from llmcli import private_files
from llmcli.errors import CannotCreate, ConfigError, MissingError, UsageError
from llmcli.templates.contracts import GENERATE, contract_of
from llmcli.templates.loading import BadPrompt, Fault, parse
from llmcli.templates.schema import Prompt
from llmcli.values import frozen

SUFFIX = ".yaml"
# no part begins with a dot, so that neither "..", nor hidden files, nor absolute paths can be named
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}(/[A-Za-z0-9][A-Za-z0-9_.-]{0,63}){0,3}")
_ALLOWED = "letters, digits, '_', '-' and '.', parts joined by '/'"


@frozen
class PromptSummary:
    """One line of ``llm prompts list``. ``own``: the file is the user's. ``description`` is empty when it is broken."""

    name: str
    description: str
    origin: Path
    own: bool


@frozen
class Problem:
    """Something wrong with a prompt file; ``line`` counts from 1, None where no line can be named."""

    name: str
    origin: Path
    line: int | None
    message: str


def builtin_directory() -> Path:
    """Return where this installation keeps its prompt files.

    In a checkout they lie beside the package; an editable install runs from there too, while the build has left a copy
    inside the package that is stale after the first edit. In a wheel that copy is all there is.
    """
    package = Path(__file__).parents[1]
    checkout = package.parent
    if (checkout / "pyproject.toml").is_file() and (checkout / "prompts" / "ask.yaml").is_file():
        return checkout / "prompts"
    return package / "_prompts"


class Library:
    """The prompt files of one user and the built-in ones; a file of the user's wins over a built-in of its name."""

    def __init__(self, user: Path, builtin: Path | None = None, *, cache: Path | None = None) -> None:
        """``user`` need not exist; ``builtin`` None: where this installation keeps them; see ``trees`` about ``cache``."""
        self._cache = cache
        self.user = user
        self.builtin = builtin_directory() if builtin is None else builtin

    def names(self, prefix: str = "") -> list[str]:
        """Return all names that start with ``prefix``, sorted; no file is opened (completion asks this)."""
        found = set()
        for root in (self.user, self.builtin):
            for file in _below(root):
                name = file.relative_to(root).as_posix().removesuffix(SUFFIX)
                if file.suffix == SUFFIX and name.startswith(prefix) and _NAME.fullmatch(name):
                    found.add(name)
        return sorted(found)

    def list(self, prefix: str = "") -> builtins.list[PromptSummary]:
        """Return a summary of each prompt whose name starts with ``prefix``, sorted by name."""
        summaries = []
        for name in self.names(prefix):
            file = self.path(name)
            try:
                description = parse(name, file, _read(file)).description
            except (BadPrompt, ConfigError):  # ``check`` says why; one bad file must not hide the others
                description = ""
            summaries.append(PromptSummary(name, description, file, file.is_relative_to(self.user)))
        return summaries

    def path(self, name: str) -> Path:
        """Return the file of a prompt, unopened.

        Raises ``MissingError`` (kind "prompt", with suggestions) and ``UsageError`` when ``name`` cannot be a name.
        """
        _require_name(name)
        for root in (self.user, self.builtin):
            file = root / (name + SUFFIX)
            if os.path.lexists(file):  # a user's entry that cannot be read is an error, no reason for the built-in one
                return file
        raise MissingError(name, kind="prompt", suggestions=self._near(name))

    def read(self, name: str) -> str:
        """Return the text of a prompt file as it is. Raises as ``path`` does, and ``ConfigError`` (unreadable, no UTF-8)."""
        return _read(self.path(name))

    def get(self, name: str) -> Prompt:
        """Return a prompt. Raises as ``path`` does, and ``ConfigError`` when the file is bad: all its problems at once."""
        file = self.path(name)
        try:
            return parse(name, file, _read(file), self._cache)
        except BadPrompt as error:
            sentences = [
                f"line {fault.line}: {fault.message}" if fault.line else fault.message for fault in error.faults
            ]
            raise ConfigError(str(file), origin=str(file), prompt=name, detail="; ".join(sentences)) from error

    def check(self, name: str | None = None) -> builtins.list[Problem]:
        """Return what is wrong with one prompt, or with all: what ``get`` would raise, and breaches of contract.

        Raises ``MissingError`` and ``UsageError`` as ``path`` does.
        """
        problems = []
        for each in self.names() if name is None else [name]:
            file = self.path(each)
            problems += [Problem(each, file, fault.line, fault.message) for fault in _faults(each, file)]
        return problems if name is not None else problems + self._strays()

    def _strays(self) -> builtins.list[Problem]:
        """Return the user's files that look like prompts and whose names keep them from being found."""
        problems = []
        for file in _below(self.user):
            path = file.relative_to(self.user)
            hidden = any(part.startswith(".") for part in path.parts)  # editors and version control keep such files
            fits = file.suffix == SUFFIX and _NAME.fullmatch(path.as_posix().removesuffix(SUFFIX))
            if file.suffix.lower() in {SUFFIX, ".yml"} and not hidden and not fits:
                message = f"never read: prompts lie in NAME{SUFFIX}, NAME being of {_ALLOWED}"
                problems.append(Problem(path.as_posix(), file, None, message))
        return problems

    def new(self, name: str, source: str | None = None) -> Path:
        """Copy the prompt ``source`` (default: ``name`` itself) to a file of the user's own called ``name``.

        Raises ``MissingError`` for the source, ``UsageError`` when ``name`` cannot be a name, ``CannotCreate``
        (``exists`` where the user has such a file already), and ``OutputError`` (disk full); no half file is left.
        """
        from llmcli.documents.writing import atomic_write

        _require_name(name)
        target = self.user / (name + SUFFIX)
        content = _read(self.path(source or name))
        try:
            private_files.make_directory(target.parent)
        except OSError as error:
            raise CannotCreate(str(target), detail=error.strerror or "") from error
        with atomic_write(str(target), force=False, mode=private_files.FILE_MODE) as file:
            file.write(content.encode())
        return target

    def _near(self, name: str) -> tuple[str, ...]:
        """Return names like ``name``; of the kinds of texts all, when none is like it."""
        names = self.names()
        near = difflib.get_close_matches(name, names, n=3)
        if not near and name.startswith(GENERATE):
            return tuple(each for each in names if each.startswith(GENERATE))
        return tuple(near)


def _below(directory: Path) -> builtins.list[Path]:
    """Return what is below a directory, sorted; nothing where it has no possible name, or may not be read."""
    try:
        return sorted(directory.rglob("*"))
    except OSError:
        return []


def _require_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise UsageError(f"{name!r} cannot be the name of a prompt: {_ALLOWED}")


def _read(file: Path) -> str:
    try:
        if not stat.S_ISREG(file.stat().st_mode):  # a FIFO would be waited for, for ever
            raise ConfigError(str(file), origin=str(file), detail="not a regular file")
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(str(file), origin=str(file), detail=f"not UTF-8 at byte {error.start}") from error
    except OSError as error:  # it is there: ``path`` found it
        raise ConfigError(str(file), origin=str(file), detail=error.strerror or "") from error


def _faults(name: str, file: Path) -> builtins.list[Fault]:
    try:
        prompt = parse(name, file, _read(file))
    except BadPrompt as error:
        return [*error.faults]
    except ConfigError as error:
        return [Fault(None, error.detail)]
    contract = contract_of(name)
    if contract is None:
        return [Fault(None, f"no command uses a prompt of this name; kinds of texts are called {GENERATE}NAME")]
    templates = [prompt.user, *([prompt.system] if prompt.system else [])]
    used = frozenset[str]().union(*(template.names for template in templates))
    return [
        Fault(None, f"neither user nor system uses {variable}: {contract.passes[variable]}")
        for variable in contract.uses
        if variable not in used
    ]
