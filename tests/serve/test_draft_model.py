"""``llm serve`` with a draft model: it drafts for the default model, and other models are served without it."""

from __future__ import annotations

import shutil
import subprocess
import sys

from .conftest import serving
from .test_serve import HELLO

SHORT = {"messages": HELLO, "max_tokens": 8, "temperature": 0}


def test_it_drafts_for_the_default_model_only(tiny, tmp_path):
    """A request for a model with another vocabulary is answered too."""
    draft = shutil.copy(tiny("chatml"), tmp_path / "draft.gguf")
    with serving(tiny("chatml"), "--set", f"draft={draft}") as served:
        assert served.llm("models", "import", str(tiny("llama")), "--name", "other").returncode == 0
        for name in served.models():
            status, answer = served.post("chat/completions", **SHORT, model=name)
            assert status == 200, answer


def test_a_missing_draft_model_ends_it_at_the_start(tiny, tmp_path):
    """Not at the first request."""
    command = [sys.executable, "-m", "llmcli", "serve", "--port", "0", "--set", f"draft={tmp_path / 'none.gguf'}"]
    done = subprocess.run(
        [*command, "-m", str(tiny("chatml"))], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 66
    assert "none.gguf" in done.stderr
