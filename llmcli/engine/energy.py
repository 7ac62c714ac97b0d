"""The energy that the processor packages took, from the counters of Linux powercap.

Interface: Documentation/power/powercap/powercap.rst of Linux. Each zone is a directory with ``name``, ``energy_uj`` (a
counter in microjoules, from some moment on) and ``max_energy_range_uj`` (where the counter begins again at 0). Only the
zones of packages count: their sub-zones (cores, uncore, memory) are parts of them, and "psys" holds all of them.
"""

from __future__ import annotations

from pathlib import Path

POWERCAP = Path("/sys/class/powercap")
_ZONES = "intel-rapl:*"  # AMD's processors are listed under this name too
_PACKAGE = "package-"
_MICRO = 1e-6


class EnergyMeter:
    """Counts the joules of all packages since its creation, those of other processes included.

    A counter begins again at 0 after some 65 to 262 kJ (an hour at 70 W, or less). One such turn between two calls of
    ``joules`` is seen, more are not: whoever measures longer calls it now and then.
    """

    def __init__(self, root: Path = POWERCAP) -> None:
        """``root`` is the directory of the zones. Raises nothing: where nothing can be read, there is no energy."""
        self._zones = _packages(root)
        self._last = _readings(self._zones)
        self._microjoules = 0

    def joules(self) -> float | None:
        """Return the joules since the creation; None, for ever, once a package could not be read."""
        now = None if self._last is None else _readings(self._zones)
        if self._last is not None and now is not None:
            for (count, span), (before, _) in zip(now, self._last, strict=True):
                self._microjoules += count - before if count >= before else count - before + span
        self._last = now
        return None if now is None else self._microjoules * _MICRO


def _packages(root: Path) -> list[Path]:
    try:
        zones = sorted(root.glob(_ZONES))
    except OSError:
        return []
    names = {zone: _text(zone / "name") for zone in zones}
    if None in names.values():  # it may be a package
        return []
    return [zone for zone, name in names.items() if str(name).startswith(_PACKAGE)]


def _readings(zones: list[Path]) -> list[tuple[int, int]] | None:
    """Return (counter, where it begins again) of each zone in microjoules; None unless all can be read."""
    found = [(_number(zone / "energy_uj"), _number(zone / "max_energy_range_uj")) for zone in zones]
    read = [(count, span) for count, span in found if count is not None and span is not None]
    return read if zones and len(read) == len(found) else None


def _number(path: Path) -> int | None:
    text = _text(path) or ""
    return int(text) if text.isdecimal() and len(text) <= 20 else None  # noqa: PLR2004 (the digits of 64 bits)


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return None
