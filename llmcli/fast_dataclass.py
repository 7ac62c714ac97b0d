"""Dataclasses that are cheap to define: the one kind of value classes here.

``dataclasses`` takes 5 ms to import, and generates and compiles several methods for each class, which takes a third of
a millisecond per class. Here all classes share their methods, and ``__init__`` is compiled when the first object is
made, so that later ones are made as fast as those of ``dataclasses``. ``field``, ``fields``, ``replace`` and ``asdict``
stand in for those of ``dataclasses``, which work with these classes too.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any, TypeVar, dataclass_transform

_T = TypeVar("_T")
MISSING: Any = type("MISSING", (), {"__repr__": lambda _: "MISSING"})()
"""Stands for the default of a field without one."""


class FrozenField:
    """A field of a class: its name, and its default or what makes it.

    ``repr``: whether ``repr`` shows it. ``compare``: whether objects are compared by it.
    """

    __slots__ = ("compare", "default", "default_factory", "name", "repr")

    def __init__(self, default: Any, default_factory: Any, *, shown: bool, compared: bool) -> None:
        self.name = ""
        self.default = default
        self.default_factory = default_factory
        self.repr = shown
        self.compare = compared


def field(
    *,
    default: Any = MISSING,
    default_factory: Any = MISSING,
    repr: bool = True,  # noqa: A002 (the name in dataclasses)
    compare: bool = True,
) -> Any:
    """Declare a field, as ``dataclasses.field`` does."""
    return FrozenField(default, default_factory, shown=repr, compared=compare)


class _StandardFields:
    """Makes what ``dataclasses`` looks for in a class, when it is looked for."""

    def __get__(self, _: object, cls: Any) -> Any:
        import dataclasses

        def standard(value: Any) -> Any:
            return dataclasses.MISSING if value is MISSING else value

        declared = [
            (
                each.name,
                Any,
                dataclasses.field(
                    default=standard(each.default), default_factory=standard(each.default_factory), repr=each.repr
                ),
            )
            for each in cls.__own__
        ]
        made = dataclasses.make_dataclass(cls.__name__, declared, init=False, repr=False, eq=False)
        cls.__dataclass_fields__ = vars(made)["__dataclass_fields__"]
        return cls.__dataclass_fields__


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def frozen(cls: type[_T]) -> type[_T]:
    """Make a class an immutable dataclass with slots, compared by value; ``__post_init__`` is called.

    It may have cached properties.
    """
    made: type[_T] = _with_slots(cls, (__init__, __repr__, __eq__, __hash__, __setattr__, __delattr__, __reduce__))
    return made


@dataclass_transform(field_specifiers=(field,))
def slotted(cls: type[_T]) -> type[_T]:
    """Make a class a mutable dataclass with slots, compared by value; ``__post_init__`` is called."""
    made: type[_T] = _with_slots(cls, (__init__, __repr__, __eq__, __reduce__))
    return made


def _with_slots(cls: Any, methods: tuple[Callable[..., Any], ...]) -> Any:
    """Return the class with slots for its fields, and with those of the methods that it does not define."""
    inherited = {each.name: each for base in reversed(cls.__mro__[1:]) for each in getattr(base, "__own__", ())}
    own = {name: _make_field(cls, name) for name in vars(cls).get("__annotations__", {})}
    namespace = {
        name: value for name, value in vars(cls).items() if name not in own and name not in ("__dict__", "__weakref__")
    }
    for method in methods:
        namespace.setdefault(method.__name__, method)
    if __setattr__ not in methods:
        namespace.setdefault("__hash__", None)  # as Python does for a class with an __eq__ of its own
    caches = any(isinstance(value, functools.cached_property) for value in namespace.values())
    namespace["__slots__"] = (*(name for name in own if name not in inherited), *(("__dict__",) if caches else ()))
    namespace["__own__"] = tuple({**inherited, **own}.values())
    namespace["__match_args__"] = tuple({**inherited, **own})
    namespace["__dataclass_fields__"] = _StandardFields()
    made = type(cls)(cls.__name__, cls.__bases__, namespace)
    made.__qualname__ = cls.__qualname__
    return made


def _make_field(cls: Any, name: str) -> FrozenField:
    made = vars(cls).get(name, MISSING)
    if hasattr(made, "default_factory") and not isinstance(made, FrozenField):  # of dataclasses
        missing = sys.modules["dataclasses"].MISSING
        default, factory = (MISSING if each is missing else each for each in (made.default, made.default_factory))
        made = FrozenField(default, factory, shown=made.repr, compared=made.compare)
    elif not isinstance(made, FrozenField):
        made = FrozenField(made, MISSING, shown=True, compared=True)
    made.name = name
    return made


def fields(of: Any) -> tuple[Any, ...]:
    """Return the fields of a class made here, or of an object of such a class."""
    own: tuple[Any, ...] = of.__own__
    return own


def replace(instance: _T, **changes: Any) -> _T:
    """Return a copy with some fields changed, of an object of any dataclass."""
    of: Any = instance
    if not hasattr(of, "__own__"):
        return sys.modules["dataclasses"].replace(of, **changes)  # type: ignore[no-any-return]  # the type of ``instance``
    return type(of)(**{**{each.name: getattr(of, each.name) for each in of.__own__}, **changes})  # type: ignore[no-any-return]  # the type of ``instance``


def asdict(instance: Any) -> dict[str, Any]:
    """Return the fields of an object of any dataclass by name, with dataclasses inside turned into dictionaries too."""
    own = getattr(instance, "__own__", None)
    names = list(instance.__dataclass_fields__) if own is None else [each.name for each in own]
    return {name: as_plain(getattr(instance, name)) for name in names}


def as_plain(value: Any) -> Any:
    """Return a value with the dataclasses inside turned into dictionaries."""
    if isinstance(value, (list, tuple)):
        plain = [as_plain(each) for each in value]
        return type(value)(*plain) if hasattr(value, "_fields") else type(value)(plain)
    if isinstance(value, dict):
        return {as_plain(key): as_plain(each) for key, each in value.items()}
    found = hasattr(type(value), "__own__") or hasattr(type(value), "__dataclass_fields__")
    return asdict(value) if found else value


def __init__(self: Any, *args: Any, **given: Any) -> None:  # noqa: N807 (it becomes a method)
    """Compile the ``__init__`` of the class, and call it from now on."""
    owner: Any = next(cls for cls in type(self).__mro__ if "__own__" in vars(cls))
    init = owner.__init__ = _compile_init(owner)
    init(self, *args, **given)


def _compile_init(owner: Any) -> Callable[..., None]:
    names: dict[str, Any] = {"MISSING": MISSING}
    parameters, body = ["self"], []
    for each in owner.__own__:
        has_default = each.default is not MISSING or each.default_factory is not MISSING
        value = each.name
        if each.default_factory is not MISSING:
            names[f"make_{each.name}"] = each.default_factory
            value = f"make_{each.name}() if {each.name} is MISSING else {each.name}"
        elif has_default:
            names[f"default_{each.name}"] = each.default
        default = "MISSING" if each.default is MISSING else f"default_{each.name}"
        parameters.append(f"{each.name}={default}" if has_default else each.name)
        if owner.__setattr__ is object.__setattr__:
            body.append(f"    self.{each.name} = {value}")
        else:
            names[f"put_{each.name}"] = getattr(owner, each.name).__set__  # of the slot: object.__setattr__ is slower
            body.append(f"    put_{each.name}(self, {value})")
    if hasattr(owner, "__post_init__"):
        body.append("    self.__post_init__()")
    exec(f"def __init__({', '.join(parameters)}):\n" + "\n".join(body or ["    pass"]), names)  # noqa: S102 (names of fields)
    init: Callable[..., None] = names["__init__"]
    init.__qualname__ = f"{owner.__qualname__}.__init__"
    return init


def _field_values(self: Any) -> tuple[Any, ...]:
    return tuple([getattr(self, each.name) for each in self.__own__])


def _compared_values(self: Any) -> tuple[Any, ...]:
    return tuple([getattr(self, each.name) for each in self.__own__ if each.compare])


def __repr__(self: Any) -> str:  # noqa: N807 (it becomes a method)
    parts = [f"{each.name}={getattr(self, each.name)!r}" for each in self.__own__ if each.repr]
    return f"{type(self).__qualname__}({', '.join(parts)})"


def __eq__(self: Any, other: object) -> bool:  # noqa: N807 (it becomes a method)
    return _compared_values(self) == _compared_values(other) if type(other) is type(self) else NotImplemented


def __hash__(self: Any) -> int:  # noqa: N807 (it becomes a method)
    return hash(_compared_values(self))


def __setattr__(self: Any, name: str, _value: object) -> None:  # noqa: N807 (it becomes a method)
    _refuse(self, f"{name} cannot be changed")


def __delattr__(self: Any, name: str) -> None:  # noqa: N807 (it becomes a method)
    _refuse(self, f"{name} cannot be deleted")


def _refuse(self: Any, what: str) -> None:
    from dataclasses import FrozenInstanceError

    raise FrozenInstanceError(f"{type(self).__name__}.{what}")


def __reduce__(self: Any) -> tuple[Any, ...]:  # noqa: N807 (it becomes a method)
    return type(self), _field_values(self)
