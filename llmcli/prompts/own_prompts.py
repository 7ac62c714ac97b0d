"""The user's own prompts: by name, as kinds of text, or in any file."""

from __future__ import annotations

from pathlib import Path

from llmcli.errors import MissingError, UsageError
from llmcli.prompts.contracts import GENERATE_PREFIX, is_own_name
from llmcli.prompts.prompt_file import Prompt
from llmcli.prompts.prompt_library import SUFFIX, PromptLibrary, require_name

_PATH_STARTS = ("/", "./", "../", "~")


def find_own_prompt(prompts: PromptLibrary, name: str, *, kinds_first: bool = False) -> Prompt:
    """Return the prompt that ``name`` stands for: a file, a prompt of the user's own, or a kind of text.

    A path begins with /, ./, ../ or ~, or ends in .yaml and exists. ``kinds_first``: a kind of text hides a prompt of
    the same name. Raises ``MissingError`` with similar names, ``UsageError`` for a prompt that belongs to a command, and
    ``ConfigError``.
    """
    if name.startswith(_PATH_STARTS) or (name.endswith(SUFFIX) and Path(name).is_file()):
        return prompts.get_file(name)
    require_name(name)
    kind = GENERATE_PREFIX + name
    own = [name] if is_own_name(name) or name.startswith(GENERATE_PREFIX) else []
    for each in [kind, *own] if kinds_first else [*own, kind]:
        if prompts.exists(each):
            return prompts.get(each)
    if prompts.exists(name) and not kinds_first:
        raise UsageError(
            f"the prompt {name} is that of llm {name.partition('.')[0]}", detail="Try: llm prompts new NAME"
        )
    raise MissingError(name, kind="prompt", suggestions=_similar(prompts, name))


def own_prompt_names(prompts: PromptLibrary) -> list[str]:
    """Return the names that ``find_own_prompt`` knows, sorted; no file is opened."""
    kinds = {name.removeprefix(GENERATE_PREFIX) for name in prompts.names(GENERATE_PREFIX)}
    return sorted(kinds | set(prompts.own_names()))


def _similar(prompts: PromptLibrary, name: str) -> list[str]:
    import difflib

    known = own_prompt_names(prompts)
    return difflib.get_close_matches(name, known, n=3, cutoff=0.5) or known
