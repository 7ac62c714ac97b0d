"""Resources of .NET (.resx, .resw): the values of strings, with their comments as notes.

Not translated: values of another type, and names that a designer made ("$this.Size", ">>button.Name"). Source: the
schema in each file, and System.Resources.ResXResourceReader.
"""

from __future__ import annotations

from llmcli.documents.formats.document_format import DocumentFormat, find_problem
from llmcli.documents.formats.xml_files.xml_content import ContentSyntax, read_content
from llmcli.documents.formats.xml_files.xml_elements import XmlElement, find_elements, plain_content
from llmcli.documents.segments import Segment

_SYNTAX = ContentSyntax(has_composite_format=True)
_TEXT_PROPERTIES = frozenset(
    {"Text", "Caption", "ToolTip", "ToolTipText", "HeaderText", "Title", "Description", "Filter", "PlaceholderText", "Content", "Header",
     "AccessibleName", "AccessibleDescription"}
)  # fmt: skip
"""Properties of a form's controls that people read."""


class ResxFormat(DocumentFormat):
    """Resources of .NET."""

    name = "resx"
    can_interleave = False
    is_keyed = True

    def split(self, text: str, target: str) -> list[Segment]:
        """Return the strings that contain words."""
        del target
        elements = find_elements(text, "root", {"data"})
        return [segment for element in elements if (segment := _data_segment(text, element))]

    def check(self, text: str) -> str:
        """Parse the XML again."""
        return find_problem(find_elements(text, "root", {"data"}))


def _data_segment(text: str, data: XmlElement) -> Segment | None:
    value, comment, name = data.child("value"), data.child("comment"), data.get("name")
    is_string = data.get("type", "System.String").startswith("System.String") and not data.get("mimetype")
    if value is None or not is_string or name.startswith(">>") or not _may_be_text(data):
        return None
    content = read_content(text, value.content_start, value.content_end, _SYNTAX)
    return content.message_segment((name,), plain_content(text, comment) if comment else "")


def _may_be_text(data: XmlElement) -> bool:
    """Whether a name is a string's own, or that of a property of a control which people read."""
    control, _, name = data.get("name").rpartition(".")
    is_property = control == "$this" or (bool(control) and data.get("xml:space") != "preserve")
    return not is_property or name in _TEXT_PROPERTIES


FORMAT = ResxFormat()
