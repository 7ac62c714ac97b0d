"""The energy meter, on a tree of files like that of Linux powercap."""

from __future__ import annotations

import pytest

from llmcli.engine.llama.hardware import EnergyMeter

RANGE = 1_000_000_000  # microjoules


@pytest.fixture
def powercap(tmp_path):
    """Return a function that writes a zone: its directory, its name, its counter and its range."""

    def zone(directory: str, name: str, counter: object, span: object = RANGE):
        path = tmp_path / directory
        path.mkdir(exist_ok=True)
        for file, text in (("name", name), ("energy_uj", counter), ("max_energy_range_uj", span)):
            (path / file).write_text(f"{text}\n")
        return path / "energy_uj"

    return zone


def test_joules_are_counted_from_the_creation(powercap, tmp_path):
    """The earlier value of the counter is not ours."""
    counter = powercap("intel-rapl:0", "package-0", 5_000_000)
    meter = EnergyMeter(tmp_path)
    assert meter.read_joules() == 0
    counter.write_text("7500000\n")
    assert meter.read_joules() == pytest.approx(2.5)
    assert meter.read_joules() == pytest.approx(2.5)


def test_packages_are_added_and_nothing_is_counted_twice(powercap, tmp_path):
    """Parts of a package, and the zone of the whole platform, are in no sum."""
    zones = {"intel-rapl:0": "package-0", "intel-rapl:1": "package-1", "intel-rapl:0:0": "core", "intel-rapl:2": "psys"}
    counters = [powercap(directory, name, 0) for directory, name in zones.items()]
    counters.append(powercap("intel-rapl-mmio:0", "package-0", 0))
    meter = EnergyMeter(tmp_path)
    for counter in counters:
        counter.write_text("3000000")
    assert meter.read_joules() == pytest.approx(6)


def test_a_counter_that_wraps_is_followed(powercap, tmp_path):
    """After its range a counter starts at 0; each wrap is counted if there is a call between two."""
    counter = powercap("intel-rapl:0", "package-0", RANGE - 1_000_000)
    meter = EnergyMeter(tmp_path)
    counter.write_text("2000000")
    assert meter.read_joules() == pytest.approx(3)
    counter.write_text("1000000")
    assert meter.read_joules() == pytest.approx(3 + 999)


@pytest.mark.parametrize("content", ["", "many", "-5", "1.5", "9" * 30, "\u00b2", "1 2"])
def test_an_invalid_counter_is_unknown(powercap, tmp_path, content):
    """A counter that is not a number is not guessed."""
    powercap("intel-rapl:0", "package-0", content)
    assert EnergyMeter(tmp_path).read_joules() is None


@pytest.mark.parametrize("file", ["energy_uj", "max_energy_range_uj", "name"])
def test_an_unreadable_counter_is_unknown(powercap, tmp_path, file):
    """Many kernels show the counters to root only; a directory in the file's place refuses every user."""
    powercap("intel-rapl:1", "package-1", 0)
    path = powercap("intel-rapl:0", "package-0", 0).with_name(file)
    path.unlink()
    path.mkdir()
    assert EnergyMeter(tmp_path).read_joules() is None


def test_a_partial_sum_is_unknown(powercap, tmp_path):
    """One unreadable package makes the whole unknown, for good."""
    counters = [powercap(f"intel-rapl:{n}", f"package-{n}", 0) for n in range(2)]
    meter = EnergyMeter(tmp_path)
    assert meter.read_joules() == 0
    counters[1].write_text("nonsense")
    assert meter.read_joules() is None
    counters[1].write_text("5000000")
    assert meter.read_joules() is None


@pytest.mark.parametrize("root", ["missing", "file", "."])
def test_a_machine_without_counters_has_no_energy(tmp_path, root):
    """No directory, a file, or a directory without zones."""
    (tmp_path / "file").write_text("")
    assert EnergyMeter(tmp_path / root).read_joules() is None


def test_this_machine_is_measured_without_an_error():
    """Whatever the real directory contains, the result is a number that does not fall, or None."""
    meter = EnergyMeter()
    first, second = meter.read_joules(), meter.read_joules()
    assert (first is None and second is None) or (first is not None and second is not None and second >= first >= 0)
