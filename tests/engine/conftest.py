"""Engines of tiny models, one for each setting that a module uses."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.tools import Bench, Engine, EngineOptions, Model


@pytest.fixture(scope="session")
def tiny(tiny):
    """Return the fixture of the same name, extended by one model: a mixture that uses all of its experts."""

    def path(name: str) -> Path:
        if name != "qwen3moe-all":
            return tiny(name)
        some = tiny("qwen3moe")
        file = some.with_name(f"{name}.gguf")
        data = some.read_bytes()
        used, there = (b"qwen3moe.expert_" + name + (4).to_bytes(4, "little") for name in (b"used_count", b"count"))
        experts = data[data.index(there) + len(there) :][:4]  # both are 32 bits, which is type 4 of GGUF
        place = data.index(used) + len(used)
        file.write_bytes(data[:place] + experts + data[place + 4 :])
        return file

    return path


@pytest.fixture(scope="module")
def engines(tiny):
    """Return a function from a tiny model's name and options to an engine that the whole module shares."""
    made: dict[object, Engine] = {}

    def engine(name: str, **options) -> Engine:
        key = (name, *sorted(options.items()))
        if key not in made:
            made[key] = Engine(tiny(name), name, name + "-id", EngineOptions(**options), lambda: None)
        return made[key]

    yield engine
    for each in made.values():
        each.close()


@pytest.fixture(scope="module")
def models(tiny):
    """Return a function from a tiny model's name to the loaded model, which the whole module shares."""
    made: dict[str, Model] = {}

    def model(name: str) -> Model:
        if name not in made:
            made[name] = Model(tiny(name), keep_going=lambda: True)
        return made[name]

    yield model
    for each in made.values():
        each.close()


@pytest.fixture
def bench(models):
    """Return a function that makes a scheduler on a shared model; the test steps it by hand."""
    made: list[Bench] = []

    def make(name: str, **config) -> Bench:
        made.append(Bench(models(name), **config))
        return made[-1]

    yield make
    for each in made:
        each.close()
