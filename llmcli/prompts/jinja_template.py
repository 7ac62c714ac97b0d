"""Rendering of one template: Jinja in a sandbox, and a fast path for templates that only insert values.

Importing Jinja costs some 30 ms, a quarter of a warm command. Most templates insert no more than ``{{ text }}``. The
fast path renders these to the same text as Jinja would (a property test compares the two).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from llmcli.fast_dataclass import frozen

if TYPE_CHECKING:
    import jinja2

    from llmcli.template_sandbox import TemplateSandbox

# names that have a meaning in Jinja, so no variable can have them
_JINJA_WORDS = (
    "and as block call caller cycler dict else elif endif endfor extends false False filter for from if import in "
    "include is joiner lipsum loop macro namespace none None not or range recursive self set super true True"
)
RESERVED_NAMES = frozenset(_JINJA_WORDS.split())
_TIMEOUT_S = 2.0
_MAX_EXTRA_CHARS = 1 << 20
_INSERTION = re.compile(r"\{\{\s*([A-Za-z_][A-Za-z0-9_]*)\s*\}\}")
_SYNTAX = re.compile(r"\{[{%#]")


class TemplateError(ValueError):
    """A template that cannot be parsed or rendered; ``line`` in the template counts from 1, None if unknown."""

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message)
        self.line = line


@frozen
class Template:
    """One template; ``names`` are the variables it uses. Templates with equal sources are equal.

    ``pieces`` alternate between literal texts and variable names if the template only inserts values; otherwise they
    are empty.
    """

    source: str
    names: frozenset[str]
    pieces: tuple[str, ...]

    @classmethod
    def parse(cls, source: str) -> Template:
        """Return the template of ``source``; one newline at its end is dropped, as in Jinja.

        Raises ``TemplateError`` if it is not valid Jinja.
        """
        source = source.replace("\r\n", "\n").removesuffix("\n")
        pieces = _INSERTION.split(source)
        literals, names = pieces[::2], frozenset(pieces[1::2])
        # "{{{ x }}" is a brace and an insertion to the expression above, but a dictionary to Jinja
        plain = not any(_SYNTAX.search(literal) for literal in literals)
        if plain and not any(literal.endswith("{") for literal in literals[:-1]) and not names & RESERVED_NAMES:
            return cls(source, names, tuple(pieces))
        return cls(source, _undeclared_names(source), ())

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return {"source": self.source, "names": sorted(self.names), "pieces": self.pieces}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Template:
        """Return what ``to_json`` was called on. Raises ``TypeError`` and ``KeyError`` for other values."""
        return cls(fields["source"], frozenset(fields["names"]), tuple(fields["pieces"]))

    def render(self, values: Mapping[str, object]) -> str:
        """Return the text with ``values`` inserted as they are; values are never rendered themselves.

        Raises ``TemplateError`` when the template uses something undefined or forbidden.
        """
        if not self.pieces:
            return _render_with_jinja(self.source, values)
        missing = sorted(self.names - set(values))
        if missing:
            raise TemplateError(f"undefined variables: {', '.join(missing)}")
        return "".join(str(values[piece]) if odd % 2 else piece for odd, piece in enumerate(self.pieces))


@functools.cache
def _environment() -> TemplateSandbox:
    from llmcli.template_sandbox import TemplateSandbox, UndefinedName

    # a prompt is plain text: with escaping the model would see &quot;
    return TemplateSandbox(
        {"fenced": fence_text},
        undefined=UndefinedName,
        autoescape=False,
        keep_trailing_newline=True,  # Template.parse removed the newline that is dropped
    )


@functools.lru_cache(maxsize=256)
def _compile_template(source: str) -> jinja2.Template:
    return _environment().compile_untrusted(source, seconds=_TIMEOUT_S, size=_MAX_EXTRA_CHARS)


@functools.lru_cache(maxsize=256)
def _undeclared_names(source: str) -> frozenset[str]:
    import jinja2
    from jinja2 import meta

    from llmcli.template_sandbox import describe_failure

    environment = _environment()
    try:
        tree = environment.parse(source)
        _compile_template(source)  # finds unknown filters and tests, which parsing alone does not
    except jinja2.TemplateSyntaxError as error:
        raise TemplateError(error.message or "syntax error", error.lineno) from error
    except Exception as error:  # deep nesting makes the compilers raise these
        raise TemplateError(describe_failure(error)) from error
    return frozenset(meta.find_undeclared_variables(tree) - set(environment.globals))


def _render_with_jinja(source: str, values: Mapping[str, object]) -> str:
    from llmcli.template_sandbox import describe_failure

    size = _MAX_EXTRA_CHARS + 4 * sum(map(_text_length, values.values()))
    try:
        return _environment().render_untrusted(_compile_template(source), values, seconds=_TIMEOUT_S, size=size)
    except Exception as error:  # a template is a program: whatever it raises is the fault of the file
        raise TemplateError(describe_failure(error)) from error


def _text_length(value: object) -> int:
    """Return the number of characters that ``value`` adds: a text, or a list of documents."""
    if isinstance(value, list | tuple):
        return sum(len(getattr(item, "text", "")) for item in value)
    return len(str(value))


_QUOTATION_MARKS = re.compile(r'"{3,}')


def fence_text(text: object) -> str:
    """Return a text between lines of quotation marks, three or more, of which it has no such run itself.

    In prompt files this is the filter ``fenced``.
    """
    inside = str(text)
    fence = '"' * max(3, 1 + max(map(len, _QUOTATION_MARKS.findall(inside)), default=0))
    return f"{fence}\n{inside}\n{fence}"
