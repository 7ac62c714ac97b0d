"""The API keys that the user stored: one file for each backend, readable by its owner only."""

from __future__ import annotations

from pathlib import Path

from llmcli.errors import CannotCreate, MissingError
from llmcli.files import private_files


class KeyStore:
    """The keys in ``directory``."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def path(self, name: str) -> Path:
        """Return the file of the key of the backend ``name``, which was checked by ``parse_backend_name``."""
        return self._directory / name

    def names(self) -> list[str]:
        """Return the backends that have a stored key, sorted."""
        try:
            return sorted(each.name for each in self._directory.iterdir() if each.name[:1] != "." and each.is_file())
        except FileNotFoundError:
            return []
        except OSError as error:
            raise MissingError(str(self._directory), kind="place", detail=error.strerror or "") from error

    def store(self, name: str, secret: str) -> Path:
        """Store a key in the place of an earlier one, and return its file. Raises ``CannotCreate``."""
        try:
            private_files.replace_file(self.path(name), f"{secret}\n".encode())
        except OSError as error:
            raise CannotCreate(str(self.path(name)), detail=error.strerror or "") from error
        return self.path(name)

    def remove(self, name: str) -> None:
        """Remove a key. Raises ``MissingError`` if there is none."""
        try:
            self.path(name).unlink()
        except OSError as error:
            raise MissingError(
                name, kind="stored key", detail=error.strerror or "", suggestions=self.names()
            ) from error
