"""Rendering untrusted templates (chat templates, prompt files): no attributes, bounded time, bounded size.

Jinja's immutable sandbox protects the attributes of Python objects. It does not bound time or memory, so a budget is
checked in every iteration of a loop, at every call, and before every operation that makes a text or a number larger.
"""

from __future__ import annotations

import contextvars
import functools
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import jinja2
import jinja2.filters
import jinja2.nodes
import jinja2.sandbox
import jinja2.visitor

from llmcli.fast_dataclass import frozen

_MAX_COPIED_CHARS = 1 << 30
"""Characters that breaking one word may copy, which takes about a quarter of a second."""
_DIGITS = re.compile("[0-9]+")
_WIDTH_IN_ARGS = re.compile(r"\*|\{[^}]*\{")  # "%*d", "{:{}}"


class BudgetExceeded(Exception):
    """The template uses more time or space than a prompt can need."""


def describe_failure(error: Exception) -> str:
    """Return why rendering failed, for the author of the template."""
    worded = isinstance(error, (BudgetExceeded, jinja2.TemplateError)) and str(error)
    return str(error) if worded else f"{type(error).__name__}: {error}"


@frozen
class _RenderBudget:
    deadline: float  # in processor time of the thread: a busy or suspended machine is not the template's fault
    max_chars: int

    def check(self, size: int = 0) -> None:
        if time.thread_time() > self.deadline:
            raise BudgetExceeded("rendering takes too long")
        if size > self.max_chars:
            raise BudgetExceeded("the prompt grows without end")


_render_budget: contextvars.ContextVar[_RenderBudget] = contextvars.ContextVar("budget")


class UndefinedName(jinja2.StrictUndefined):
    """Stands for a missing variable, column or field; its message names no class of ours."""

    __slots__ = ()

    @property
    def _undefined_message(self) -> str:
        return f"undefined name: {self._undefined_name}"


class TemplateSandbox(jinja2.sandbox.ImmutableSandboxedEnvironment):
    """An environment for one template: ``compile_untrusted`` once, then ``render_untrusted`` often, from any thread."""

    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def __init__(self, filters: Mapping[str, Callable[..., Any]] | None, **options: Any) -> None:
        """``filters`` are added to Jinja's own, ``options`` are those of its environment."""
        super().__init__(trim_blocks=True, lstrip_blocks=True, **options)
        self.filters = {
            name: _with_size_check(function) for name, function in {**self.filters, **(filters or {})}.items()
        }
        self.filters.update(each=_iterate_checked, joined=_join_checked, join=_join_filter, built=_check_built)
        del self.globals["lipsum"]  # its size depends on chance

    def compile_untrusted(self, source: str, *, seconds: float, size: int) -> jinja2.Template:
        """Compile ``source``; this already evaluates constant expressions, so it is subject to the same bounds."""
        _render_budget.set(_RenderBudget(time.thread_time() + seconds, size))
        tree = _BudgetGuards().visit(self.parse(source))
        return self.from_string(tree)

    @staticmethod
    def render_untrusted(template: jinja2.Template, variables: Mapping[str, Any], *, seconds: float, size: int) -> str:
        """Render within ``seconds`` and ``size`` characters.

        Raises ``BudgetExceeded``, and any error of the template.
        """
        _render_budget.set(_RenderBudget(time.thread_time() + seconds, size))
        try:
            return _join_checked(template.generate(variables))
        except RecursionError as error:
            raise BudgetExceeded("the template calls itself without end") from error

    @staticmethod
    def concat(pieces: Iterable[str]) -> str:
        """Join the output of a macro or a block."""
        return _join_checked(pieces)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        _render_budget.get().check(_binop_size(operator, left, right))
        return super().call_binop(context, operator, left, right)

    def call(self, context: Any, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        subject = getattr(getattr(function, "__wrapped__", function), "__self__", None)  # Jinja wraps str.format
        if isinstance(subject, str) and function.__name__ == "join" and len(args) == 1:
            return _join_checked(args[0], subject)
        values = (*args, *kwargs.values())
        _render_budget.get().check(max(_written_length(values), _call_size(subject, function, values)))
        return super().call(context, function, *args, **kwargs)


class _BudgetGuards(jinja2.visitor.NodeTransformer):
    """Routes loops through ``each``, ``~`` through ``joined``, and lists through ``built``, which check the budget."""

    def visit_For(self, node: jinja2.nodes.For) -> jinja2.nodes.Node:  # noqa: N802 (named after the node)
        self.generic_visit(node)
        node.iter = jinja2.nodes.Filter(node.iter, "each", [], [], None, None, lineno=node.lineno)
        return node

    def visit_Concat(self, node: jinja2.nodes.Concat) -> jinja2.nodes.Node:  # noqa: N802 (named after the node)
        self.generic_visit(node)
        parts = jinja2.nodes.List(node.nodes, lineno=node.lineno)
        return jinja2.nodes.Filter(parts, "joined", [], [], None, None, lineno=node.lineno)

    def visit_List(self, node: jinja2.nodes.List) -> jinja2.nodes.Node:  # noqa: N802 (named after the node)
        self.generic_visit(node)
        return jinja2.nodes.Filter(node, "built", [], [], None, None, lineno=node.lineno)

    def visit_Dict(self, node: jinja2.nodes.Dict) -> jinja2.nodes.Node:  # noqa: N802 (named after the node)
        self.generic_visit(node)
        return jinja2.nodes.Filter(node, "built", [], [], None, None, lineno=node.lineno)

    def visit_Tuple(self, node: jinja2.nodes.Tuple) -> jinja2.nodes.Node:  # noqa: N802 (named after the node)
        self.generic_visit(node)
        if node.ctx != "load":
            return node
        return jinja2.nodes.Filter(node, "built", [], [], None, None, lineno=node.lineno)


def _iterate_checked(values: Iterable[Any]) -> Iterator[Any]:
    for value in values:
        _render_budget.get().check()
        yield value


def _check_built(value: Any) -> Any:
    _render_budget.get().check(_written_length(value))
    return value


def _join_checked(values: Iterable[Any], between: str = "") -> str:
    size, texts = 0, []
    for value in values:
        texts.append(str(value))
        size += len(texts[-1]) + len(between)
        _render_budget.get().check(size)
    return str(between).join(texts)


@jinja2.pass_environment
def _join_filter(
    environment: jinja2.Environment, values: Iterable[Any], d: str = "", attribute: str | int | None = None
) -> str:
    pick = str if attribute is None else jinja2.filters.make_attrgetter(environment, attribute)
    return _join_checked(map(pick, values), d)


def _with_size_check(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def filtered(*args: Any, **kwargs: Any) -> Any:
        if function.__name__ in {"do_sum", "sync_do_sum"}:
            args = (args[0], _iterate_checked(args[1]), *args[2:])  # sums of lists copy at every step
        if function.__name__ == "do_wordwrap":
            _check_wrapping(*args[1:3], **kwargs)
        subject = next((arg for arg in args if isinstance(arg, str)), None)
        _render_budget.get().check(_call_size(subject, function, (*args, *kwargs.values())))
        return function(*args, **kwargs)

    return filtered


def _check_wrapping(text: Any, width: int = 79, **_: Any) -> None:
    """Raise ``BudgetExceeded`` for a word that is too long: to break it, its rest is copied for each line."""
    longest = max(map(len, str(text).split()), default=0)
    if longest**2 // max(1, width) > _MAX_COPIED_CHARS:
        raise BudgetExceeded("rendering takes too long")


def _binop_size(operator: str, left: Any, right: Any) -> int:
    """Return an upper bound of the length of ``left operator right`` (of numbers: in bits)."""
    if operator == "%":
        return _format_size(left, right if isinstance(right, tuple) else (right,)) if isinstance(left, str) else 0
    if operator == "**":
        return _bit_length(left) * abs(right) if isinstance(left, int) and isinstance(right, int) else 0
    if isinstance(left, int) and isinstance(right, int):
        return _bit_length(left) + _bit_length(right)
    if operator == "+":
        return _written_length(left) + _written_length(right)
    many, times = (right, left) if isinstance(left, int) else (left, right)
    return _written_length(many) * times if isinstance(times, int) else 0


def _call_size(subject: Any, function: Callable[..., Any], args: tuple[Any, ...]) -> int:
    """Return an upper bound of a method's or filter's result: widths, counts, and repeated insertions."""
    name = getattr(function, "__name__", "")
    largest = max((arg for arg in args if isinstance(arg, int)), default=0)
    if not isinstance(subject, str):
        return largest
    texts = [arg for arg in args if isinstance(arg, str) and arg is not subject]
    longest = max(map(len, texts), default=0)
    if "format" in name:
        return _format_size(subject, args)
    if "replace" in name and len(texts) > 1:
        return max(largest, len(subject) + subject.count(texts[0]) * len(texts[1]))
    if "indent" in name or "expandtabs" in name:
        return len(subject) + (subject.count("\n") + subject.count("\t") + 1) * max(largest, longest)
    if "wordwrap" in name:
        return max(largest, len(subject) * (1 + longest))
    return largest


def _format_size(form: str, args: tuple[Any, ...]) -> int:
    """Return the longest that ``form`` can become with ``args``: literal widths, widths among ``args``, and texts."""
    widths = sum(map(int, _DIGITS.findall(form)))
    if _WIDTH_IN_ARGS.search(form):
        widths += max((arg for arg in args if isinstance(arg, int)), default=0)
    texts = sum(_written_length(arg) for arg in args if arg is not form)
    return len(form) + widths + (form.count("%") + form.count("{")) * texts


def _bit_length(number: int) -> int:
    return int(number).bit_length()


def _written_length(value: Any) -> int:
    """Return how many characters and values ``value`` has when written out; stops counting above the budget.

    A list that contains another list twice, which contains another one twice, and so on, is small in memory but huge as
    text.
    """
    if isinstance(value, str):
        return len(value)
    limit = _render_budget.get().max_chars
    total, rest = 0, [value]
    while rest and total <= limit:
        each = rest.pop()
        total += len(each) if isinstance(each, str) else 1
        if isinstance(each, list | tuple):
            rest.extend(each)
        elif isinstance(each, dict):
            rest.extend((*each.keys(), *each.values()))
    return total
