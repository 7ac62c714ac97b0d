"""Rendering templates that came out of a downloaded file: no attributes, bounded time, bounded size.

Jinja's immutable sandbox keeps a template from the attributes of Python objects. It does not keep one from running for
ever or from filling the memory, so a budget is asked at every turn of a loop, at every call, and before every operation
that makes a text or a number larger.
"""

from __future__ import annotations

import contextvars
import functools
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import jinja2
import jinja2.nodes
import jinja2.sandbox
import jinja2.visitor


class TooMuch(Exception):
    """The template uses more time or space than a prompt can need."""


@dataclass(frozen=True, slots=True)
class _Budget:
    deadline: float
    size: int

    def check(self, size: int = 0) -> None:
        if time.monotonic() > self.deadline:
            raise TooMuch("rendering takes too long")
        if size > self.size:
            raise TooMuch("the prompt grows without end")


_budget: contextvars.ContextVar[_Budget] = contextvars.ContextVar("budget")


class Sandbox(jinja2.sandbox.ImmutableSandboxedEnvironment):
    """An environment for one template: ``compile``, then ``render`` as often as wanted, from any thread."""

    intercepted_binops = frozenset({"+", "*", "**"})

    def __init__(self) -> None:
        # how transformers' apply_chat_template sets it up
        super().__init__(trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"])

    def compile_untrusted(self, source: str, *, seconds: float, size: int) -> jinja2.Template:
        """Compile ``source``; constant expressions are computed here already, so within the same bounds."""
        self.filters = {name: _measured(function) for name, function in self.filters.items()}
        self.filters.update(each=_each, joined=_joined)
        _budget.set(_Budget(time.monotonic() + seconds, size))
        tree = _Guards().visit(self.parse(source))
        return self.from_string(tree)

    @staticmethod
    def render_untrusted(template: jinja2.Template, variables: Mapping[str, Any], *, seconds: float, size: int) -> str:
        """Render within ``seconds`` and ``size`` characters. Raises ``TooMuch``, and whatever the template provokes."""
        budget = _Budget(time.monotonic() + seconds, size)
        _budget.set(budget)
        total, pieces = 0, []
        for piece in template.generate(variables):
            total += len(piece)
            budget.check(total)
            pieces.append(piece)
        return "".join(pieces)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        _budget.get().check(_size_after(operator, left, right))
        return super().call_binop(context, operator, left, right)

    def call(self, context: Any, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        _budget.get().check(_size_of_call(getattr(function, "__self__", None), function, args))
        return super().call(context, function, *args, **kwargs)


class _Guards(jinja2.visitor.NodeTransformer):
    """Sends every loop through ``each`` and every ``~`` through ``joined``, which ask the budget."""

    def visit_For(self, node: jinja2.nodes.For) -> jinja2.nodes.Node:  # noqa: N802 (named after the node)
        self.generic_visit(node)
        node.iter = jinja2.nodes.Filter(node.iter, "each", [], [], None, None, lineno=node.lineno)
        return node

    def visit_Concat(self, node: jinja2.nodes.Concat) -> jinja2.nodes.Node:  # noqa: N802 (named after the node)
        self.generic_visit(node)
        parts = jinja2.nodes.List(node.nodes, lineno=node.lineno)
        return jinja2.nodes.Filter(parts, "joined", [], [], None, None, lineno=node.lineno)


def _each(values: Iterable[Any]) -> Iterator[Any]:
    for value in values:
        _budget.get().check()
        yield value


def _joined(values: list[Any]) -> str:
    texts = list(map(str, values))
    _budget.get().check(sum(map(len, texts)))
    return "".join(texts)


def _measured(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def filtered(*args: Any, **kwargs: Any) -> Any:
        subject = next((arg for arg in args if isinstance(arg, str)), None)
        _budget.get().check(_size_of_call(subject, function, (*args, *kwargs.values())))
        return function(*args, **kwargs)

    return filtered


def _size_after(operator: str, left: Any, right: Any) -> int:
    """Return an upper bound of the length (of numbers: of the bits) of ``left operator right``."""
    if operator == "**":
        return _bits(left) * abs(right) if isinstance(left, int) and isinstance(right, int) else 0
    if isinstance(left, int) and isinstance(right, int):
        return _bits(left) + _bits(right)
    if operator == "+":
        return _length(left) + _length(right)
    many, times = (right, left) if isinstance(left, int) else (left, right)
    return _length(many) * times if isinstance(times, int) else 0


def _size_of_call(subject: Any, function: Callable[..., Any], args: tuple[Any, ...]) -> int:
    """Return how long the result of a method or filter may be: widths and counts, and what ``replace`` inserts."""
    largest = max((arg for arg in args if isinstance(arg, int)), default=0)
    texts = [arg for arg in args if isinstance(arg, str) and arg is not subject]
    if isinstance(subject, str) and len(texts) > 1 and "replace" in getattr(function, "__name__", ""):
        return max(largest, len(subject) + subject.count(texts[0]) * len(texts[1]))
    return largest


def _bits(number: int) -> int:
    return int(number).bit_length()


def _length(value: Any) -> int:
    return len(value) if isinstance(value, str | list | tuple) else 0
