"""The energy used by the processor packages, from the counters of Linux powercap.

Interface: Documentation/power/powercap/powercap.rst of Linux. Each zone is a directory with ``name``, ``energy_uj`` (a
counter in microjoules) and ``max_energy_range_uj`` (where the counter wraps to 0). Only the zones of packages count:
their sub-zones (cores, uncore, memory) are parts of them, and "psys" includes all of them.
"""

from __future__ import annotations

from pathlib import Path

from llmcli.engine.llama.hardware import read_number_file, read_text_file

POWERCAP_DIR = Path("/sys/class/powercap")
_ZONE_PATTERN = "intel-rapl:*"  # AMD's processors have this name too
_PACKAGE_PREFIX = "package-"
_JOULES_PER_MICROJOULE = 1e-6


class EnergyMeter:
    """Counts the joules of all packages since its creation, including those of other processes.

    A counter wraps to 0 after 65 to 262 kJ (an hour at 70 W, or less). One wrap between two calls of ``read_joules`` is
    detected, more are not: call it periodically in a longer measurement.
    """

    def __init__(self, root: Path = POWERCAP_DIR) -> None:
        """``root`` is the directory of the zones. Never raises: ``read_joules`` returns None without counters."""
        self._zones = _find_packages(root)
        self._last = _read_counters(self._zones)
        self._microjoules = 0

    def read_joules(self) -> float | None:
        """Return the joules since the creation; always None once a package could not be read."""
        now = None if self._last is None else _read_counters(self._zones)
        if self._last is not None and now is not None:
            for (count, span), (before, _) in zip(now, self._last, strict=True):
                self._microjoules += count - before if count >= before else count - before + span
        self._last = now
        return None if now is None else self._microjoules * _JOULES_PER_MICROJOULE


def _find_packages(root: Path) -> list[Path]:
    try:
        zones = sorted(root.glob(_ZONE_PATTERN))
    except OSError:
        return []
    names = {zone: read_text_file(zone / "name") for zone in zones}
    if None in names.values():  # it may be a package
        return []
    return [zone for zone, name in names.items() if str(name).startswith(_PACKAGE_PREFIX)]


def _read_counters(zones: list[Path]) -> list[tuple[int, int]] | None:
    """Return (counter, where it wraps) of each zone in microjoules; None unless all can be read."""
    found = [(read_number_file(zone / "energy_uj"), read_number_file(zone / "max_energy_range_uj")) for zone in zones]
    read = [(count, span) for count, span in found if count is not None and span is not None]
    return read if zones and len(read) == len(found) else None
