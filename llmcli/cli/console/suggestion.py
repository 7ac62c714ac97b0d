"""Suggested commands: quoted for a shell, with the options that change their effect."""

from __future__ import annotations

from collections.abc import Iterable, Mapping


def format_command(*words: str, environ: Mapping[str, str] | None = None, variables: Iterable[str] = ()) -> str:
    """Return ``llm WORDS``, preceded by those of ``variables`` that ``environ`` sets."""
    import shlex

    given = {name: environ[name] for name in variables if environ.get(name)} if environ else {}
    return " ".join([*(f"{name}={shlex.quote(value)}" for name, value in given.items()), shlex.join(["llm", *words])])


def format_option(name: str, value: object) -> list[str]:
    """Return the words of an option as given, repeated for a list; none if it was not given."""
    if isinstance(value, list):
        return [word for each in value for word in (name, str(each))]
    return [] if value is None or value is False else [name] if value is True else [name, str(value)]
