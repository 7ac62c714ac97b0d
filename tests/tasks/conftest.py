"""Fixtures of the tasks' tests: short prompt files, so that requests are easy to read."""

from __future__ import annotations

import pytest

from llmcli.prompts.prompt_library import PromptLibrary

FILES = {
    "ask": 'user: "{{ question }}"',
    "ask.documents": 'user: "{% for d in documents %}[{{ d.name }}] {{ d.text }} {% endfor %}{{ question }}"',
    "chat": 'system: "be kind {{ system }}"\nuser: "{{ message }}"',
    "chat.summary": 'user: "{{ summary }} + {{ text }} in {{ words }}"',
    "translate": 'user: "{{ text }}"\noptions: {temperature: 0}',
    "summarize": (
        'system: "summarize words={{ words }} style={{ style }} part={{ part }}/{{ parts }}"\n'
        'user: "{{ text }}"\noptions: {temperature: 0}'
    ),
    "summarize.merge": 'system: "merge words={{ words }} style={{ style }}"\nuser: "{{ text }}"',
    "sentiment": 'user: "{{ text }}"\noutput: {labels: [positive, neutral, negative]}',
    "generate/note": (
        'user: "note about {{ topic }} {{ text }}"\n'
        "variables:\n  topic: {description: the topic}\n  text: {default: '', description: notes}"
    ),
    "generate/poem": 'user: "poem about {{ topic }}"\nvariables: {topic: {description: the topic}}',
}


@pytest.fixture
def prompts(tmp_path) -> PromptLibrary:
    """Return a library of short prompt files."""
    user = tmp_path / "prompts"
    for name, text in FILES.items():
        file = user / f"{name}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"description: for tests\n{text}\n", encoding="utf-8")
    return PromptLibrary(user)
