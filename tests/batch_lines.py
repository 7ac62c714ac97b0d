"""The lines of batch files, and the bodies in the lines of their answers."""

from __future__ import annotations

import json


def line(custom_id, url="/v1/chat/completions", method="POST", **body):
    """Return a line of a batch file."""
    return json.dumps({"custom_id": custom_id, "method": method, "url": url, "body": body})


def chat(custom_id, text="Hello!", **body):
    """Return a line with a chat of one message."""
    return line(custom_id, messages=[{"role": "user", "content": text}], **body)


def complete(custom_id, prompt="Once", **body):
    """Return a line whose prompt is continued without a chat template."""
    return line(custom_id, "/v1/completions", prompt=prompt, **body)


def embed(custom_id, given, **body):
    """Return a line whose ``given`` texts are embedded."""
    return line(custom_id, "/v1/embeddings", input=given, **body)


def bodies(lines):
    """Return the bodies of the responses."""
    return [each["response"]["body"] for each in lines]
