"""Finding prompt files: the user's directory before the built-in ones.

A prompt called ``summarize.merge`` is in ``summarize.merge.yaml``, ``generate/email`` in ``generate/email.yaml``. What
was parsed is kept as JSON: YAML, templates, and the modules that parse and check them take a fifth of a warm command.
"""

from __future__ import annotations

import builtins
import errno
import json
import os
import re
import stat
import zlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from llmcli import __version__
from llmcli.errors import ConfigError, MissingError, UsageError
from llmcli.fast_dataclass import frozen
from llmcli.files import private_files
from llmcli.prompts.prompt_file import Prompt

if TYPE_CHECKING:
    from llmcli.prompts.prompt_parser import PromptProblem

_SUFFIX = ".yaml"
_PATH_STARTS = ("/", "./", "../", "~")
MAX_PROMPT_BYTES = 1 << 20
_MAX_SHOWN_PROBLEMS = 10
_MAX_PROBLEM_CHARS = 500
# no part begins with a dot, so a name cannot mean "..", a hidden file or an absolute path
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}(/[A-Za-z0-9][A-Za-z0-9_.-]{0,63}){0,3}")
_ALLOWED_NAMES = "letters, digits, '_', '-' and '.', parts joined by '/'"
_NEW_PROMPT = """\
# Use it: llm ask -p NAME < FILE; llm ask -p NAME -f FILE "a question". Check it: llm prompts check
description: What NAME does
system: You are a careful assistant. Answer clearly and correctly.
user: |
  Read this text and say in one sentence what it is about.

  {{ text }}

  {{ question }}
variables:
  text: {description: "the text: standard input and the files of -f"}
  question: {default: "", description: the words on the command line of llm ask}
"""
_SIMILAR = 0.8
"""From this similarity on (difflib's ratio), a name is taken for a misspelled one."""


@frozen
class PromptSummary:
    """One line of ``llm prompts list``. ``description`` is empty if the file is broken."""

    name: str
    description: str
    origin: Path
    is_user_file: bool


def builtin_directory() -> Path:
    """Return the directory of the built-in prompt files of this installation.

    In a checkout it is beside the package; an editable install uses it too, since the copy that its build leaves inside
    the package is stale after the first edit. In a wheel that copy is all there is.
    """
    package = Path(__file__).parents[1]
    checkout = package.parent
    if (checkout / "pyproject.toml").is_file() and (checkout / "prompts" / "ask.yaml").is_file():
        return checkout / "prompts"
    return package / "_prompts"


class PromptLibrary:
    """The prompt files of one user and the built-in ones; a user's file overrides a built-in of the same name."""

    def __init__(self, user: Path, builtin: Path | None = None, *, cache: Path | None = None) -> None:
        """``user`` need not exist; ``builtin`` None: those of this installation; ``cache`` keeps parsed files."""
        self._cache = cache
        self.read_files: dict[str, Path] = {}
        """The files of the prompts that were asked for, by the names of these."""
        self.user = user
        self.builtin = builtin_directory() if builtin is None else builtin

    def names(self, prefix: str = "") -> list[str]:
        """Return all names that start with ``prefix``, sorted; no file is opened, since completion calls this."""
        found = set()
        for root in (self.user, self.builtin):
            for file in _list_tree(root):
                name = file.relative_to(root).as_posix().removesuffix(_SUFFIX)
                if file.suffix == _SUFFIX and name.startswith(prefix) and _NAME.fullmatch(name):
                    found.add(name)
        return sorted(found)

    def list_summaries(self, prefix: str = "") -> builtins.list[PromptSummary]:
        """Return a summary of each prompt whose name starts with ``prefix``, sorted by name."""
        from llmcli.prompts.prompt_parser import BadPrompt, parse_prompt

        summaries = []
        for name in self.names(prefix):
            file = self.path(name)
            try:
                description = parse_prompt(name, file, _read_prompt_file(file)).description
            except (BadPrompt, ConfigError):  # ``check`` says why; one bad file must not hide the others
                description = ""
            summaries.append(PromptSummary(name, description, file, file.is_relative_to(self.user)))
        return summaries

    def path(self, name: str) -> Path:
        """Return the path of a prompt's file without opening it.

        Raises ``MissingError`` (kind "prompt", with suggestions) and ``UsageError`` when ``name`` is not a valid name.
        """
        _require_name(name)
        for root in (self.user, self.builtin):
            file = root / (name + _SUFFIX)
            # an unreadable file of the user is an error, no reason to use the built-in prompt
            if os.path.lexists(file):
                return file
        raise MissingError(name, kind="prompt", suggestions=self._similar_names(name))

    def exists(self, name: str) -> bool:
        """Return whether there is a prompt called ``name``, valid or not."""
        files = (root / (name + _SUFFIX) for root in (self.user, self.builtin))
        return _NAME.fullmatch(name) is not None and any(map(os.path.lexists, files))

    def read(self, name: str) -> str:
        """Return the text of a prompt file. Raises as ``path`` does, and ``ConfigError`` (unreadable, not UTF-8)."""
        return _read_prompt_file(self.path(name))

    def get(self, name: str) -> Prompt:
        """Return a prompt. Raises as ``path`` does, and ``ConfigError`` with all problems of a bad file."""
        return self._parse(name, self.path(name))

    def get_file(self, name: str) -> Prompt:
        """Return the prompt in the file ``name``, a path that is called as it was typed.

        Raises ``MissingError`` (kind "prompt file"), and ``ConfigError`` as ``get``.
        """
        return self._parse(name, _require_file(name))

    def _parse(self, name: str, file: Path) -> Prompt:
        self.read_files[name] = file
        text = _read_prompt_file(file)
        prompt = None if self._cache is None else load_prompt(self._cache, name, file, text)
        if prompt is not None:
            return prompt
        from llmcli.prompts.prompt_parser import BadPrompt, parse_prompt

        try:
            prompt = parse_prompt(name, file, text)
        except BadPrompt as error:
            raise ConfigError(
                str(file), origin=str(file), prompt=name, detail=_join_problems(error.problems)
            ) from error
        if self._cache is not None:
            store_prompt(self._cache, prompt, text)
        return prompt

    def check(self, name: str | None = None) -> builtins.list[PromptProblem]:
        """Return the problems of one prompt, or of all: what ``get`` would raise, and breaches of contract.

        ``name`` may be a path, as in ``find_own_prompt``. Raises ``MissingError`` and ``UsageError`` as ``path`` does.
        """
        if name is not None and _is_path(name):
            file = _require_file(name).absolute()
            return _find_problems(str(file), file)  # a prompt of the user's own, whatever the file is called
        problems = []
        for each in self.names() if name is None else [name]:
            problems += _find_problems(each, self.path(each))
        return problems if name is not None else problems + self._misnamed_files()

    def _misnamed_files(self) -> builtins.list[PromptProblem]:
        """Return the user's files that look like prompts but whose names keep them from being found."""
        from llmcli.prompts.prompt_parser import PromptProblem

        problems = []
        for file in _list_tree(self.user):
            path = file.relative_to(self.user)
            hidden = any(part.startswith(".") for part in path.parts)  # editors and version control leave such files
            fits = file.suffix == _SUFFIX and _NAME.fullmatch(path.as_posix().removesuffix(_SUFFIX))
            if file.suffix.lower() in {_SUFFIX, ".yml"} and not hidden and not fits:
                message = f"ignored: call the file NAME{_SUFFIX}, where NAME consists of {_ALLOWED_NAMES}"
                problems.append(PromptProblem(path.as_posix(), file, None, message))
        return problems

    def copy_to_user(self, name: str, source: str | None = None) -> Path:
        """Copy the prompt ``source`` (default: ``name`` itself) to a file of the user called ``name``.

        Raises ``MissingError`` for the source, ``UsageError`` when ``name`` is not a valid name, ``CannotCreate``
        (``exists`` if the user already has such a file), and ``OutputError`` (disk full). No partial file is left.
        """
        _require_name(name)
        return self._write_user_file(name, _read_prompt_file(self.path(source or name)))

    def create(self, name: str) -> Path:
        """Create a prompt of the user's own called ``name`` from a template. Raises as ``copy_to_user``."""
        from llmcli.prompts.contracts import GENERATE_PREFIX

        _require_name(name)
        return self._write_user_file(name, _NEW_PROMPT.replace("NAME", name.removeprefix(GENERATE_PREFIX)))

    def _write_user_file(self, name: str, content: str) -> Path:
        from llmcli.files.atomic_file import write_user_file

        target = self.user / (name + _SUFFIX)
        write_user_file(target, content.encode(), force=False)
        return target

    def own_names(self) -> builtins.list[str]:
        """Return the names of the user's own prompts, which no command has, sorted."""
        from llmcli.prompts.contracts import is_own_name

        return [name for name in self.names() if is_own_name(name)]

    def misspelled(self, name: str) -> tuple[str, ...]:
        """Return the names of commands' prompts that are so similar to ``name`` that one of them may be meant."""
        import difflib

        from llmcli.prompts.contracts import is_own_name, prefix_of

        known = [each for each in self.names() if not is_own_name(each) and not prefix_of(each)]
        return tuple(difflib.get_close_matches(name, known, n=3, cutoff=_SIMILAR))

    def _similar_names(self, name: str) -> tuple[str, ...]:
        """Return names similar to ``name``; for kinds of text, all names if none is similar."""
        import difflib

        from llmcli.prompts.contracts import prefix_of

        names = self.names()
        kinds = [each for each in names if each.endswith(f"/{name}")]  # email for generate/email
        near = kinds or difflib.get_close_matches(name, names, n=3)
        prefix = prefix_of(name)
        if not near and prefix:
            return tuple(each for each in names if each.startswith(prefix))
        return tuple(near)


def load_prompt(cache: Path, name: str, origin: Path, text: str) -> Prompt | None:
    """Return what ``store_prompt`` kept of ``text``; None if there is no usable entry."""
    try:
        kept = json.loads(_cache_file(cache, name, text).read_bytes())
        if (kept["text"], kept["name"], kept["rules"]) != (text, name, _rules()):
            return None
        if kept["contract"] and kept["contract"] != _changeable_contract(name):
            return None
        return Prompt.from_json(name, origin, kept["prompt"])
    except (OSError, ValueError, TypeError, KeyError, RecursionError, AttributeError):
        return None


def store_prompt(cache: Path, prompt: Prompt, text: str) -> None:
    """Keep a prompt for ``load_prompt`` if the cache is writable and JSON can represent its schema (no dates)."""
    name = prompt.name
    with suppress(OSError, ValueError, TypeError, RecursionError):
        said = {"text": text, "name": name, "rules": _rules(), "contract": _changeable_contract(name)}
        content = json.dumps({**said, "prompt": prompt.to_json()})
        if Prompt.from_json(name, prompt.origin, json.loads(content)["prompt"]) == prompt:  # else keys are no strings
            private_files.replace_file(_cache_file(cache, name, text), content.encode())


def _rules() -> list[str | int]:
    """Return what changes with the modules that a parsed prompt depends on."""
    modules = ("contracts.py", "prompt_parser.py", "jinja_template.py")
    return [__version__, *(Path(__file__).with_name(module).stat().st_mtime_ns for module in modules)]


def _changeable_contract(name: str) -> str:
    """Return the contract of a prompt if a package may register another one, "" if it is a command's of llm."""
    from llmcli.prompts.contracts import contract_of, is_built_in

    return "" if is_built_in(name) else repr(contract_of(name))


def _cache_file(cache: Path, name: str, text: str) -> Path:
    return cache / f"{zlib.crc32(json.dumps([name, text]).encode()):08x}.json"


def _list_tree(directory: Path) -> builtins.list[Path]:
    """Return the entries below a directory, sorted; none if its name is impossible or it cannot be read."""
    try:
        return sorted(directory.rglob("*"))
    except OSError:
        return []


def _require_name(name: str) -> None:
    """Raise ``UsageError`` unless ``name`` is a valid name of a prompt."""
    if not _NAME.fullmatch(name):
        raise UsageError(f"{name!r} is not a valid prompt name: use {_ALLOWED_NAMES}")


def _is_path(name: str) -> bool:
    """Whether a prompt's name is the path of its file: it begins with /, ./, ../ or ~, or ends in .yaml and exists."""
    return name.startswith(_PATH_STARTS) or (name.endswith(_SUFFIX) and Path(name).is_file())


def _require_file(name: str) -> Path:
    """Return the path that ``name`` is. Raises ``MissingError`` (kind "prompt file") if nothing is there."""
    file = Path(name).expanduser()
    if not os.path.lexists(file):
        raise MissingError(name, kind="prompt file", detail=os.strerror(errno.ENOENT))
    return file


def _join_problems(problems: Sequence[PromptProblem]) -> str:
    """Return the first problems as one line."""
    sentences = [f"line {each.line}: {each.message}" if each.line else each.message for each in problems]
    shown = [each if len(each) <= _MAX_PROBLEM_CHARS else f"{each[:_MAX_PROBLEM_CHARS]}..." for each in sentences]
    more = len(shown) - _MAX_SHOWN_PROBLEMS
    return "; ".join(shown[:_MAX_SHOWN_PROBLEMS] + ([f"and {more:,} more problems"] if more > 0 else []))


def _read_prompt_file(file: Path) -> str:
    try:
        status = file.stat()
        if not stat.S_ISREG(status.st_mode):  # opening a FIFO would block for ever
            raise ConfigError(str(file), origin=str(file), detail="not a regular file")
        if status.st_size > MAX_PROMPT_BYTES:
            raise ConfigError(str(file), origin=str(file), detail=f"larger than {MAX_PROMPT_BYTES >> 20} MiB")
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(str(file), origin=str(file), detail=f"not UTF-8 at byte {error.start}") from error
    except OSError as error:  # it exists: ``path`` found it
        raise ConfigError(str(file), origin=str(file), detail=error.strerror or "") from error


def _find_problems(name: str, file: Path) -> builtins.list[PromptProblem]:
    from llmcli.prompts.contracts import contract_of
    from llmcli.prompts.prompt_parser import BadPrompt, PromptProblem, parse_prompt

    try:
        prompt = parse_prompt(name, file, _read_prompt_file(file))
    except BadPrompt as error:
        return [*error.problems]
    except ConfigError as error:
        return [PromptProblem(name, file, None, error.detail)]
    contract = contract_of(name)
    if contract is None:
        said = "no command uses a prompt of this name; call a prompt of your own otherwise, without a dot"
        return [PromptProblem(name, file, None, said)]
    templates = [prompt.user, *([prompt.system] if prompt.system else [])]
    used = frozenset[str]().union(*(template.names for template in templates))
    return [
        PromptProblem(name, file, None, f"neither user nor system uses {variable}: {contract.variables[variable]}")
        for variable in contract.required
        if variable not in used
    ]


def find_own_prompt(prompts: PromptLibrary, name: str, *, kinds_first: bool = False) -> Prompt:
    """Return the prompt that ``name`` stands for: a file, a prompt of the user's own, or a kind of text.

    ``kinds_first``: a kind of text hides a prompt of the same name. Raises ``MissingError`` with similar names,
    ``UsageError`` for a prompt that belongs to a command or a file that is no prompt, and ``ConfigError``.
    """
    if _is_path(name):
        return prompts.get_file(name)
    from llmcli.prompts.contracts import GENERATE_PREFIX, is_own_name

    _require_name(name)
    kind = GENERATE_PREFIX + name
    own = [name] if is_own_name(name) or name.startswith(GENERATE_PREFIX) else []
    for each in [kind, *own] if kinds_first else [*own, kind]:
        if prompts.exists(each):
            return prompts.get(each)
    if prompts.exists(name) and not kinds_first:
        raise UsageError(
            f"the prompt {name} is that of llm {name.partition('.')[0]}", detail="Try: llm prompts new NAME"
        )
    if Path(name).is_file():
        raise UsageError(
            f"{name} is no prompt file, which is YAML and ends in {_SUFFIX}",
            detail=f"Make one: llm prompts new NAME. Or give the text as instructions: llm ask -s @{name}",
        )
    raise MissingError(name, kind="prompt", suggestions=_similar(prompts, name))


def own_prompt_names(prompts: PromptLibrary) -> list[str]:
    """Return the names that ``find_own_prompt`` knows, sorted; no file is opened."""
    from llmcli.prompts.contracts import GENERATE_PREFIX

    kinds = {name.removeprefix(GENERATE_PREFIX) for name in prompts.names(GENERATE_PREFIX)}
    return sorted(kinds | set(prompts.own_names()))


def _similar(prompts: PromptLibrary, name: str) -> list[str]:
    import difflib

    known = own_prompt_names(prompts)
    return difflib.get_close_matches(name, known, n=3, cutoff=0.5) or known
