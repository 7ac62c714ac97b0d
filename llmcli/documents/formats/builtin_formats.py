"""The registrations of the built-in document formats; ``format_registry`` finds the format of a document."""

from llmcli.documents.formats.format_registry import FormatEntry, register_format

_FORMATS = "llmcli.documents.formats"

for _entry in (
    FormatEntry(
        "plain",
        f"{_FORMATS}.plain_text:FORMAT",
        aliases=("text", "txt", "rst", "log"),
        unlisted=frozenset({"plain", "text", "log"}),
        is_fallback=True,
    ),
    FormatEntry(
        "markdown",
        f"{_FORMATS}.markup.markdown_format:FORMAT",
        aliases=("md", "mkd", "mdown", "mdx", "qmd", "rmd"),
        sniff_patterns=(
            (50, r"\A---[ \t]*\r?\n(?:[^\r\n]*+\r?\n)*?---[ \t]*(?:\r?\n|\Z)"),
            (90, r"^ {0,3}(?:#{1,6}[ \t]+\S|```|~~~|[-*+] +\[[^\]\n]{1,200}\]\(|\[[^\]\n]{1,200}\]:[ \t]+\S)"),
            (
                100,
                r"\]\([^()\s]{1,500}\)|^ {0,3}\|?[ :-]*-{3,}[ :-]*\|[-| :]*$|^[^\s=-][^\n]*\n(?:={3,}|-{3,})[ \t]*$",
            ),
        ),
    ),
    FormatEntry(
        "html",
        f"{_FORMATS}.markup.html_format:FORMAT",
        aliases=("htm", "xhtml"),
        sniff_patterns=((20, r"\A\s*+(?:<!--(?:[^-]|-(?!->))*+-->\s*+)?<(?:!doctype\s+html|html|head|body)\b"),),
    ),
    FormatEntry(
        "srt",
        f"{_FORMATS}.subtitles:SRT",
        sniff_patterns=((30, r"\A\s*+\d+[ \t]*\r?\n\d+:\d\d:\d\d[,.]\d{1,3}[ \t]*-->"),),
    ),
    FormatEntry(
        "vtt",
        f"{_FORMATS}.subtitles:VTT",
        aliases=("webvtt",),
        sniff_patterns=((10, r"\AWEBVTT(?:[ \t\r\n]|\Z)"),),
    ),
    FormatEntry(
        "po",
        f"{_FORMATS}.message_files.po:FORMAT",
        aliases=("pot", "gettext"),
        sniff_patterns=((40, r'^(?:#~ )?msgid[ \t]+"'),),
    ),
    FormatEntry(
        "json",
        f"{_FORMATS}.message_files.json_messages:FORMAT",
        aliases=("arb",),
        sniff_patterns=((80, r"\A\s*+[{\[]\s*+[\"{\[\]}]"),),
    ),
    FormatEntry(
        "yaml",
        f"{_FORMATS}.message_files.yaml_messages:FORMAT",
        aliases=("yml",),
        sniff_patterns=((60, r"\A(?:[ \t]*(?:#[^\n]*)?\n)*+(?:---[ \t]*\n)?[\w-]+:[ \t]*\r?\n[ \t]+[\w-]+:(?:\s|\Z)"),),
    ),
    FormatEntry(
        "properties",
        f"{_FORMATS}.message_files.properties:FORMAT",
        aliases=("props",),
        sniff_patterns=((70, r"\A(?:[ \t]*(?:[#!][^\n]*)?\n)*+[\w-]+(?:\.[\w-]+)++[ \t]*=[ \t]*\S"),),
    ),
):
    register_format(_entry)
