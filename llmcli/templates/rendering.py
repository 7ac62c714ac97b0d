"""Rendering of one template: Jinja in a sandbox, and a short way for templates that only insert values.

Importing Jinja costs some 30 ms, a quarter of a warm command. Most templates say no more than ``{{ text }}``; those are
rendered here, with the result that Jinja would give (a property test compares the two).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import jinja2
    from jinja2.sandbox import ImmutableSandboxedEnvironment

# what Jinja gives a meaning of its own, so that no variable can have the name
_TAKEN = (
    "and as block call caller cycler dict else elif endif endfor extends false False filter for from if import in "
    "include is joiner lipsum loop macro namespace none None not or range recursive self set super true True"
)
RESERVED = frozenset(_TAKEN.split())
_INSERTION = re.compile(r"\{\{\s*([A-Za-z_][A-Za-z0-9_]*)\s*\}\}")
_SYNTAX = re.compile(r"\{[{%#]")


class TemplateFailure(ValueError):
    """A template that cannot be parsed or rendered; ``line`` in the template from 1, None where it is not known."""

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message)
        self.line = line


@dataclass(frozen=True)
class Template:
    """One template; ``names`` are the variables it uses. Equal sources are equal templates.

    ``pieces`` are literal texts and variable names in turn when the template only inserts values, else empty.
    """

    source: str
    names: frozenset[str]
    pieces: tuple[str, ...]

    @classmethod
    def parse(cls, source: str) -> Template:
        """Return the template of ``source``; one newline at its end does not count, as in Jinja.

        Raises ``TemplateFailure`` when it is not Jinja.
        """
        source = source.replace("\r\n", "\n").removesuffix("\n")
        pieces = _INSERTION.split(source)
        literals, names = pieces[::2], frozenset(pieces[1::2])
        # "{{{ x }}" is a brace and an insertion to the expression above, but a dictionary to Jinja
        plain = not any(_SYNTAX.search(literal) for literal in literals)
        if plain and not any(literal.endswith("{") for literal in literals[:-1]) and not names & RESERVED:
            return cls(source, names, tuple(pieces))
        return cls(source, _names(source), ())

    def render(self, values: Mapping[str, object]) -> str:
        """Return the text with ``values`` inserted as they are; nothing in a value is ever rendered.

        Raises ``TemplateFailure`` when the template asks for what is not there or not allowed.
        """
        if not self.pieces:
            return _render(self.source, values)
        missing = sorted(self.names - set(values))
        if missing:
            raise TemplateFailure(f"undefined variables: {', '.join(missing)}")
        return "".join(str(values[piece]) if odd % 2 else piece for odd, piece in enumerate(self.pieces))


@functools.cache
def _environment() -> ImmutableSandboxedEnvironment:
    import jinja2
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    # a prompt is plain text: escaping would put &quot; before the model
    return ImmutableSandboxedEnvironment(
        undefined=jinja2.StrictUndefined,
        autoescape=False,
        keep_trailing_newline=True,  # Template.parse took the one that does not count
        trim_blocks=True,
        lstrip_blocks=True,
    )


@functools.lru_cache(maxsize=256)
def _compile(source: str) -> jinja2.Template:
    return _environment().from_string(source)


def _names(source: str) -> frozenset[str]:
    import jinja2
    from jinja2 import meta

    environment = _environment()
    try:
        tree = environment.parse(source)
        _compile(source)  # finds unknown filters and tests, which parsing alone does not
    except jinja2.TemplateSyntaxError as error:
        raise TemplateFailure(error.message or "syntax error", error.lineno) from error
    return frozenset(meta.find_undeclared_variables(tree) - set(environment.globals))


def _render(source: str, values: Mapping[str, object]) -> str:
    import jinja2

    try:
        return _compile(source).render(values)
    # expressions of the template run here, so that what they raise is the template's fault: 1/0, "a" + 1, range(10**9)
    except (jinja2.TemplateError, ArithmeticError, TypeError, ValueError) as error:
        raise TemplateFailure(str(error)) from error
