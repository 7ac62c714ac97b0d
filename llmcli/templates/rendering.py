"""Rendering of one template: Jinja in a sandbox, and a short way for templates that only insert values.

Importing Jinja costs some 30 ms, a quarter of a warm command. Most templates say no more than ``{{ text }}``; those are
rendered here, with the result that Jinja would give (a property test compares the two).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from llmcli.values import frozen

if TYPE_CHECKING:
    import jinja2

    from llmcli.sandbox import Sandbox

# what Jinja gives a meaning of its own, so that no variable can have the name
_TAKEN = (
    "and as block call caller cycler dict else elif endif endfor extends false False filter for from if import in "
    "include is joiner lipsum loop macro namespace none None not or range recursive self set super true True"
)
RESERVED = frozenset(_TAKEN.split())
_SECONDS = 2.0
_EXTRA_CHARACTERS = 1 << 20
_INSERTION = re.compile(r"\{\{\s*([A-Za-z_][A-Za-z0-9_]*)\s*\}\}")
_SYNTAX = re.compile(r"\{[{%#]")


class TemplateFailure(ValueError):
    """A template that cannot be parsed or rendered; ``line`` in the template from 1, None where it is not known."""

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message)
        self.line = line


@frozen
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
def _environment() -> Sandbox:
    import jinja2

    from llmcli.sandbox import Sandbox

    # a prompt is plain text: escaping would put &quot; before the model
    return Sandbox(
        undefined=jinja2.StrictUndefined,
        autoescape=False,
        keep_trailing_newline=True,  # Template.parse took the one that does not count
    )


@functools.lru_cache(maxsize=256)
def _compile(source: str) -> jinja2.Template:
    return _environment().compile_untrusted(source, seconds=_SECONDS, size=_EXTRA_CHARACTERS)


def _names(source: str) -> frozenset[str]:
    import jinja2
    from jinja2 import meta

    from llmcli.sandbox import reason

    environment = _environment()
    try:
        tree = environment.parse(source)
        _compile(source)  # finds unknown filters and tests, which parsing alone does not
    except jinja2.TemplateSyntaxError as error:
        raise TemplateFailure(error.message or "syntax error", error.lineno) from error
    except Exception as error:  # what deep nesting provokes in the compilers
        raise TemplateFailure(reason(error)) from error
    return frozenset(meta.find_undeclared_variables(tree) - set(environment.globals))


def _render(source: str, values: Mapping[str, object]) -> str:
    from llmcli.sandbox import reason

    size = _EXTRA_CHARACTERS + 4 * sum(map(_length, values.values()))
    try:
        return _environment().render_untrusted(_compile(source), values, seconds=_SECONDS, size=size)
    except Exception as error:  # a template is a program: whatever it raises is the file's fault
        raise TemplateFailure(reason(error)) from error


def _length(value: object) -> int:
    """Return how many characters of text ``value`` brings: a text, or a list of documents."""
    if isinstance(value, list | tuple):
        return sum(len(getattr(item, "text", "")) for item in value)
    return len(str(value))
