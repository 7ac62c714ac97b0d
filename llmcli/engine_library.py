"""The library of llama.cpp that runs models here: the binding's compiled one, an installed package, or your own.

``LLAMA_CPP_LIB_PATH`` names a directory and takes precedence; then comes the engine that ``llm engine use`` selected,
the compiled one, and any installed one. Nothing is loaded here, so a command and the worker's key can ask for little.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cache
from importlib.machinery import PathFinder
from pathlib import Path

from llmcli.app_paths import find_paths
from llmcli.fast_dataclass import frozen

COMPILED = "compiled"
"""The name of the library that was compiled with the binding."""
CUSTOM = "custom"
"""The name of a library in a directory of the user's."""
COMPILE_COMMAND = "pip install --force-reinstall --no-deps --no-cache-dir llama-cpp-python"
LIBRARY_VARIABLE = "LLAMA_CPP_LIB_PATH"
"""The binding loads the library in this directory instead of its own; children of llm inherit it."""
MANIFEST = "engine.json"
"""The file of an installed engine with its kind, version and origin."""
RUNTIME_ENV_PREFIXES = ("CUDA_", "GGML_", "GOMP_", "HIP_", "HSA_", "LLAMA_", "OMP_", "ROCR_", "VK_")
"""Prefixes of the variables that configure the libraries below the engine."""
RUNTIME_ENV_DEFAULTS = {"GGML_NO_BACKTRACE": "1", "GOMP_SPINCOUNT": "1000"}
"""Values that the engine sets before it loads llama.cpp, unless they are set already.

Without the first one, a failed assertion runs a debugger for over a second. The other one is about GNU OpenMP, whose
threads spin at the end of each operation: when another process occupies a core, the default lets them spin for its
whole time slice, and 0 makes every operation a system call.
"""
_SELECTION = "selected"
_SUFFIXES = ("dylib", "so") if sys.platform == "darwin" else ("so",)


@frozen
class EngineLibrary:
    """A library of llama.cpp in ``directory``; ``version`` is that of the package, "" for one that is no package."""

    name: str
    directory: Path
    version: str = ""

    @property
    def label(self) -> str:
        """Its name for people."""
        return f"{self.name} {self.version}".strip()

    @property
    def is_compiled(self) -> bool:
        """Whether it was compiled with the binding, and so needs no check."""
        return self.name == COMPILED

    @property
    def files(self) -> list[Path]:
        """Its libraries: llama.cpp and its backends."""
        return sorted(path for suffix in ("so", "dylib") for path in self.directory.glob(f"lib*.{suffix}"))

    @property
    def main_file(self) -> Path:
        """Its libllama, which may be missing."""
        named = [self.directory / f"libllama.{suffix}" for suffix in _SUFFIXES]
        return next((path for path in named if path.exists()), named[0])

    def digest(self) -> str:
        """Return the first digits of a SHA-256 over the names and contents of its files. Raises ``OSError``."""
        import hashlib

        digest = hashlib.sha256()
        for path in self.files:
            digest.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
        return digest.hexdigest()[:16]

    def signature(self) -> str:
        """Return what changes when a file of it is replaced: names, sizes and times of its files."""
        status = ((path.name, path.stat()) for path in self.files)
        return ",".join(f"{name}:{each.st_size}:{each.st_mtime_ns}" for name, each in status)


def find_library(environ: Mapping[str, str]) -> EngineLibrary | None:
    """Return the library that runs models; None if there is none."""
    given = environ.get(LIBRARY_VARIABLE)
    if given:
        return library_in(Path(given))
    directory = find_paths(environ).engines
    selected, compiled = read_selection(directory), compiled_library()
    if selected != COMPILED:
        installed = {library.name: library for library in installed_libraries(directory)}
        if selected in installed:
            return installed[selected]
        if compiled is None:
            return next(iter(installed.values()), None)
    return compiled


def library_in(directory: Path) -> EngineLibrary:
    """Return the library in a directory: the compiled one, an installed one, or one of the user's."""
    compiled = compiled_library()
    if compiled is not None and directory == compiled.directory:
        return compiled
    manifest = read_manifest(directory)
    if manifest is None:
        return EngineLibrary(CUSTOM, directory.absolute())
    return EngineLibrary(manifest["kind"], directory.absolute(), manifest["version"])


def read_manifest(directory: Path) -> dict[str, str] | None:
    """Return what is known about an installed engine; None if there is none in ``directory``."""
    with suppress(OSError, ValueError, TypeError, KeyError):  # none, or a damaged one
        data = json.loads((directory / MANIFEST).read_bytes())
        if all(isinstance(data[key], str) for key in ("kind", "version", "package")):
            return dict(data)
    return None


def installed_libraries(directory: Path) -> Iterator[EngineLibrary]:
    """Yield the engines that were installed in ``directory``."""
    with suppress(OSError):
        for path in sorted(directory.iterdir()):
            manifest = None if path.name.startswith(".") else read_manifest(path)
            if manifest is not None and manifest["kind"] == path.name:
                yield EngineLibrary(path.name, path.absolute(), manifest["version"])


def selection_file(directory: Path) -> Path:
    """Return the file that names the selected engine."""
    return directory / _SELECTION


def read_selection(directory: Path) -> str:
    """Return the name of the selected engine, "" if none was selected."""
    try:
        return selection_file(directory).read_text("ascii").strip()
    except (OSError, ValueError):
        return ""


@cache
def compiled_library() -> EngineLibrary | None:
    """Return the library that was compiled with the binding; None without the binding, or if it was installed alone."""
    spec = PathFinder.find_spec("llama_cpp")  # on the disk, whether it was imported or not
    for place in (spec and spec.submodule_search_locations) or ():
        library = EngineLibrary(COMPILED, Path(place) / "lib")
        if library.main_file.exists():
            return library
    return None


@cache
def binding_version() -> str:
    """Return the version of the binding, "not installed" if it is missing.

    It stands in the name of the directory beside the package, which is found without ``importlib.metadata`` (9 ms).
    """
    spec = PathFinder.find_spec("llama_cpp")
    if spec is not None and spec.origin is not None:
        for directory in Path(spec.origin).parents[1].glob("llama_cpp_python-*.dist-info"):
            return directory.name.removeprefix("llama_cpp_python-").removesuffix(".dist-info")
    from importlib import metadata

    try:
        return metadata.version("llama-cpp-python")
    except metadata.PackageNotFoundError:
        return "not installed"


def processor_name() -> str:
    """Return the model name of the processor, on which the variant of a library depends."""
    name = _processor_line("model name")
    if not name:
        import platform

        name = platform.processor()
    return name


def processor_flags() -> frozenset[str]:
    """Return the names of the processor's extensions, as Linux calls them; none elsewhere."""
    return frozenset(_processor_line("flags").split())


def _processor_line(name: str) -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text("ascii", "replace").splitlines():
            if line.startswith(name):
                return line.partition(":")[2].strip()
    return ""
