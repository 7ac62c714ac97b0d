"""Commands that are suggested: quoted for a shell, and with the options without which they would do something else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping


def format_command(*words: str, environ: Mapping[str, str] | None = None, variables: Iterable[str] = ()) -> str:
    """Return ``llm WORDS``; those of ``variables`` that ``environ`` sets go before it, as a shell takes them."""
    import shlex

    given = {name: environ[name] for name in variables if environ.get(name)} if environ else {}
    return " ".join([*(f"{name}={shlex.quote(value)}" for name, value in given.items()), shlex.join(["llm", *words])])


def format_option(name: str, value: object) -> list[str]:
    """Return the words of an option as it was given, none where it was not."""
    return [] if value is None or value is False else [name] if value is True else [name, str(value)]
