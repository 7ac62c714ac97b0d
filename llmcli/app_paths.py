"""The directories of llm, and the files in them that other modules name."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from llmcli.fast_dataclass import frozen

DERIVED_DIRECTORY = "derived"
"""Where the cache has copies of models in other types (``models.library.derived_weights``)."""


@frozen
class AppPaths:
    """The directories of llm: ``config`` (config.yaml, prompts/), ``data`` (registry), ``cache``, ``log``."""

    config: Path
    data: Path
    cache: Path
    log: Path

    @property
    def config_file(self) -> Path:
        """The configuration file, whether it exists or not."""
        return self.config / "config.yaml"

    @property
    def translation_memory(self) -> Path:
        """The user's translation memory."""
        return self.data / "translations.sqlite"

    @property
    def sessions(self) -> Path:
        """The user's saved chats."""
        return self.data / "sessions.db"

    @property
    def logs(self) -> Path:
        """The user's log of answers."""
        return self.data / "logs.db"

    @property
    def batches(self) -> Path:
        """The files and batches of ``llm serve --batches`` (``serve.batch_store``)."""
        return self.data / "batches"

    @property
    def calibrations(self) -> Path:
        """The directory of the user's calibrations, one file for each."""
        return self.data / "calibrations"

    @property
    def label_states(self) -> Path:
        """The states of records that ``llm label`` asks about (``tasks.label.state_store``)."""
        return self.cache / "label-states"

    @property
    def engines(self) -> Path:
        """The libraries of llama.cpp that were installed (``engine_packages``), a directory for each."""
        return self.data / "engines"

    @property
    def keys(self) -> Path:
        """The directory of stored API keys, one file for each backend."""
        return self.config / "keys"

    @property
    def digest_key(self) -> Path:
        """The key of the digests in provenance (``provenance.digest_key``)."""
        return self.data / "provenance.key"

    @property
    def prefix_cache(self) -> Path:
        """The engine's evaluated prompts (``engine.kv.disk_prefix_store``)."""
        return self.cache / "prefixes"

    @property
    def finished_jobs(self) -> Path:
        """What is known about complete jobs of records (``documents.records.job_state``)."""
        return self.cache / "jobs"

    @property
    def indexes(self) -> Path:
        """The indexes of documents (``store.retrieval.index_files``)."""
        return self.cache / "indexes"

    @property
    def derived_weights(self) -> Path:
        """The copies of models in other types."""
        return self.cache / DERIVED_DIRECTORY

    @property
    def prompts(self) -> Path:
        """The directory of the user's own prompt files."""
        return self.config / "prompts"


def find_paths(environ: Mapping[str, str]) -> AppPaths:
    """Return the platform's directories, or those that LLMCLI_CONFIG_DIR, _DATA_DIR and _CACHE_DIR name."""
    default = _xdg_paths(environ) if sys.platform == "linux" else _platform_paths()

    def pick(variable: str, path: Path) -> Path:
        return Path(environ.get(f"LLMCLI_{variable}") or path)

    return AppPaths(
        config=pick("CONFIG_DIR", default.config),
        data=pick("DATA_DIR", default.data),
        cache=pick("CACHE_DIR", default.cache),
        log=pick("CACHE_DIR", default.log),
    )


def _xdg_paths(environ: Mapping[str, str]) -> AppPaths:
    """Return the directories of the XDG Base Directory Specification, as ``platformdirs`` does.

    Importing that takes 3 ms, a fortieth of a short answer.
    """
    home = Path(environ.get("HOME") or Path.home())

    def base(variable: str, default: str) -> Path:
        path = environ.get(variable, "")
        return Path(path) if path.strip() else home / default

    return AppPaths(
        config=base("XDG_CONFIG_HOME", ".config") / "llmcli",
        data=base("XDG_DATA_HOME", ".local/share") / "llmcli",
        cache=base("XDG_CACHE_HOME", ".cache") / "llmcli",
        log=base("XDG_STATE_HOME", ".local/state") / "llmcli" / "log",
    )


def _platform_paths() -> AppPaths:
    from platformdirs import PlatformDirs

    dirs = PlatformDirs("llmcli", appauthor=False)
    return AppPaths(dirs.user_config_path, dirs.user_data_path, dirs.user_cache_path, dirs.user_log_path)


def tuning_file(cache: Path, model_id: str, threads: int | str | None) -> Path:
    """Return the file for the measurements of a model by its SHA-256 and number of threads (None: not fixed)."""
    return cache / "tuning" / f"{model_id[:32]}-{threads or 'auto'}.json"
