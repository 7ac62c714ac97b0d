"""Frozen dataclasses that are cheap to define, for modules that every start imports.

``dataclasses`` generates and compiles several methods for each class, which costs every start of ``llm`` a third of a
millisecond per class. Here all classes share their methods, which costs a sixth of that; creating an object takes about
a microsecond longer. ``dataclasses.fields``, ``replace`` and ``asdict`` work as with any dataclass.

The rule for value classes, which ``tests/test_value_classes.py`` checks: modules that ``llm ask`` imports when its
model is warm use ``frozen`` and no dataclass, all other modules ``dataclass(frozen=True, slots=True)``, without slots
only where a ``cached_property`` needs ``__dict__``. Mutable records are ``dataclass(slots=True)``.
"""

from __future__ import annotations

import dataclasses
from dataclasses import MISSING, FrozenInstanceError
from typing import Any, TypeVar, dataclass_transform

_T = TypeVar("_T")


@dataclass_transform(frozen_default=True, field_specifiers=(dataclasses.field,))
def frozen(cls: type[_T]) -> type[_T]:
    """Make a class an immutable dataclass with slots, compared by value; ``__post_init__`` is called."""
    made: Any = dataclasses.dataclass(init=False, repr=False, eq=False, slots=True)(cls)
    made.__own__ = dataclasses.fields(made)
    for method in (__init__, __repr__, __eq__, __hash__, __setattr__, __delattr__, __reduce__):
        if method.__name__ not in cls.__dict__:
            setattr(made, method.__name__, method)
    return made  # type: ignore[no-any-return]


def __init__(self: Any, *args: Any, **given: Any) -> None:  # noqa: N807
    own = self.__own__
    if len(args) > len(own):
        raise TypeError(f"{type(self).__name__} takes {len(own)} values, but {len(args)} were given")
    put = object.__setattr__
    for field, value in zip(own, args, strict=False):
        put(self, field.name, value)
    for field in own[len(args) :]:
        if field.name in given:
            value = given.pop(field.name)
        elif field.default is not MISSING:
            value = field.default
        elif field.default_factory is not MISSING:
            value = field.default_factory()
        else:
            raise TypeError(f"{type(self).__name__} needs {field.name!r}")
        put(self, field.name, value)
    if given:
        raise TypeError(f"{type(self).__name__} has no field {', '.join(map(repr, given))}, or got it twice")
    if hasattr(self, "__post_init__"):
        self.__post_init__()


def _field_values(self: Any) -> tuple[Any, ...]:
    return tuple([getattr(self, field.name) for field in self.__own__])


def __repr__(self: Any) -> str:  # noqa: N807
    parts = [f"{field.name}={getattr(self, field.name)!r}" for field in self.__own__ if field.repr]
    return f"{type(self).__qualname__}({', '.join(parts)})"


def __eq__(self: Any, other: object) -> bool:  # noqa: N807
    return _field_values(self) == _field_values(other) if type(other) is type(self) else NotImplemented


def __hash__(self: Any) -> int:  # noqa: N807
    return hash(_field_values(self))


def __setattr__(self: Any, name: str, _value: object) -> None:  # noqa: N807
    raise FrozenInstanceError(f"{type(self).__name__}.{name} cannot be changed")


def __delattr__(self: Any, name: str) -> None:  # noqa: N807
    raise FrozenInstanceError(f"{type(self).__name__}.{name} cannot be deleted")


def __reduce__(self: Any) -> tuple[Any, ...]:  # noqa: N807
    return type(self), _field_values(self)
