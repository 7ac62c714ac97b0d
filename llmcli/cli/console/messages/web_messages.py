"""The messages for pages at web addresses."""

from __future__ import annotations

from llmcli.cli.console.messages.message_text import Descriptions, append_detail, subject_of
from llmcli.errors import network_errors as w

_SAVE = "If you can see the page in a browser, save it as a file and name that."

WEB_DESCRIPTIONS: Descriptions = {
    w.PrivateAddress: lambda x: (
        append_detail(f"{subject_of(x)} is not read", x),
        "To allow it: LLMCLI_WEB_ALLOW_PRIVATE=on, or llm config set web.allow_private on",
    ),
    w.PageMissing: lambda x: (append_detail(f"cannot read {subject_of(x)}", x), "Check the address."),
    w.PageDenied: lambda x: (append_detail(f"no access to {subject_of(x)}", x), _SAVE),
    w.UntrustedPage: lambda x: (append_detail(subject_of(x), x), "Check the address."),
}
