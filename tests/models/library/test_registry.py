"""What llm remembers about models."""

from __future__ import annotations

from llmcli.models.library.registry import FileRecord, ModelRegistry


def test_only_what_is_gone_is_forgotten(tmp_path, tiny):
    """A file that cannot be looked at now (a directory that may not be entered) may be there again tomorrow."""
    registry = ModelRegistry(tmp_path / "models.json")
    hidden, gone = tmp_path / ("x" * 300), tmp_path / "gone"
    record = FileRecord(1, 1, "0" * 64)
    registry.save_records({tiny("llama"): record, hidden: record, gone: record, tiny("llama") / "below": record})
    registry.forget_missing_files()
    assert set(registry.sections["files"]) == {str(tiny("llama")), str(hidden)}
