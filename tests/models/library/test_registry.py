"""The registry of models."""

from __future__ import annotations

from llmcli.models.library.registry import FileRecord, ModelRegistry


def test_only_missing_files_are_forgotten(tmp_path, tiny):
    """A file that cannot be checked now (in a directory without permission) may be there again tomorrow."""
    registry = ModelRegistry(tmp_path / "models.json")
    hidden, gone = tmp_path / ("x" * 300), tmp_path / "gone"
    record = FileRecord(1, 1, "0" * 64)
    registry.save_records({tiny("llama"): record, hidden: record, gone: record, tiny("llama") / "below": record})
    registry.forget_missing_files()
    assert set(registry.sections["files"]) == {str(tiny("llama")), str(hidden)}
