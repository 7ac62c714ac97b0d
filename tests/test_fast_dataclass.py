"""Our frozen dataclasses behave like those of the standard library."""

from __future__ import annotations

import copy
import dataclasses
import functools
import pickle
import weakref

import pytest

from llmcli.fast_dataclass import asdict, field, fields, frozen, replace, slotted


@frozen
class Point:
    """A value with all kinds of fields."""

    x: int
    y: int = 2
    names: list[str] = field(default_factory=list)

    @property
    def total(self) -> int:
        """The sum of the fields."""
        return self.x + self.y


@frozen
class Checked:
    """A value that checks itself."""

    x: int

    def __post_init__(self) -> None:
        if self.x < 0:
            raise ValueError("negative")


def test_values_are_created_as_of_any_dataclass():
    """By position, by name, with defaults and default factories."""
    assert (Point(1).total, Point(1, 5).y, Point(x=3).x) == (3, 5, 3)
    assert Point(1).names is not Point(1).names
    assert Checked(1).x == 1
    with pytest.raises(ValueError, match="negative"):
        Checked(-1)


@pytest.mark.parametrize(
    ("args", "given"), [((), {}), ((1, 2, [], 4), {}), ((1,), {"z": 2}), ((1,), {"x": 2})], ids=str
)
def test_wrong_arguments_are_refused(args, given):
    """Missing, too many, unknown, duplicate."""
    with pytest.raises(TypeError):
        Point(*args, **given)


def test_values_are_compared_by_value():
    """Equal values have the same hash; a value of another class is never equal."""
    assert Point(1) == Point(1) != Point(2)
    assert hash(Checked(1)) == hash(Checked(1))
    assert Checked(1) != (1,) and (Checked(1) == Point(1)) is False
    assert repr(Point(1)) == "Point(x=1, y=2, names=[])"


def test_values_never_change():
    """Attributes can be neither set nor added."""
    for change in (lambda p: setattr(p, "x", 2), lambda p: setattr(p, "z", 2), lambda p: delattr(p, "x")):
        with pytest.raises(dataclasses.FrozenInstanceError):
            change(Point(1))
    with pytest.raises(TypeError):
        weakref.ref(Point(1))  # slots


def test_the_functions_for_dataclasses_work():
    """``replace``, ``asdict``, ``fields``, matching, copies."""
    assert dataclasses.replace(Point(1), y=7) == Point(1, 7)
    assert dataclasses.asdict(Point(1)) == {"x": 1, "y": 2, "names": []}
    assert [field.name for field in dataclasses.fields(Point)] == ["x", "y", "names"]
    assert copy.deepcopy(Point(1)) == copy.copy(Point(1)) == pickle.loads(pickle.dumps(Point(1))) == Point(1)
    match Point(1, 9):
        case Point(x, y=9):
            assert x == 1
        case _:
            pytest.fail("no match")


def test_its_own_functions_give_the_same():
    """``replace``, ``asdict`` and ``fields`` do not import ``dataclasses``."""
    assert replace(Point(1), y=7) == Point(1, 7)
    assert asdict(Outer(Point(1), (Standard(Point(2)),), {"a": [Checked(3)]})) == dataclasses.asdict(
        Outer(Point(1), (Standard(Point(2)),), {"a": [Checked(3)]})
    )
    assert [(each.name, each.default) for each in fields(Point)][1] == ("y", 2)
    assert replace(Standard(Point(1)), point=Point(2)) == Standard(Point(2))


@dataclasses.dataclass
class Standard:
    """A dataclass of the standard library."""

    point: Point


@frozen
class Outer:
    """A value with values inside."""

    point: Point
    others: tuple[Standard, ...]
    named: dict[str, list[Checked]]


@frozen
class Child(Point):
    """A value that adds a field to those of its base, changes a default, and computes something once."""

    y: int = 5
    shown: int = dataclasses.field(default=0, repr=False)

    @functools.cached_property
    def doubled(self) -> int:
        """Twice the total."""
        return 2 * self.total


def test_a_class_extends_another():
    """Fields of the base come first; a field of the standard library is understood."""
    assert repr(Child(1)) == "Child(x=1, y=5, names=[])" and Child(1).doubled == 12
    assert [each.name for each in dataclasses.fields(Child)] == ["x", "y", "names", "shown"]
    assert Child(1) != Point(1, 5) and dataclasses.replace(Child(1), shown=2).shown == 2


@slotted
class Counter:
    """A record that changes."""

    count: int = 0
    seen: list[int] = field(default_factory=list)


def test_a_record_may_change():
    """It has slots, is compared by value, and is not hashable."""
    counter = Counter()
    counter.count += 1
    assert counter == Counter(1) != Counter(2) and dataclasses.asdict(counter) == {"count": 1, "seen": []}
    with pytest.raises(AttributeError):
        counter.other = 1
    with pytest.raises(TypeError):
        hash(counter)
