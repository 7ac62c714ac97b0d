"""Whether real files of packages survive `llm translate`: all formats of messages, and reStructuredText.

    python benchmarks/format_identity.py DIR

DIR holds archives from package registries: `npm pack NAME@VERSION` for `NPM`, and `pip download --no-deps --no-binary :all:
NAME==VERSION` for `PYPI`. Of equal files in them, one counts. Two things are counted for each format:

- identity: without translations, the file is the same byte for byte;
- valid: with every text translated (letters become others, what is protected stays), the file is valid in its format, and
  has the same segments again.

Files that the format refuses are listed with its reason.
"""

from __future__ import annotations

import hashlib
import sys
import tarfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from llmcli.documents.format_registry import find_format
from llmcli.documents.formats.document_format import DocumentFormat
from llmcli.documents.segments import Segment
from llmcli.errors import BadDocument

NPM = (
    "react-native@0.86.3", "cordova-plugin-barcodescanner@0.7.4", "cordova-plugin-media-capture@6.0.0", "@capacitor/android@8.5.2",
    "@nativescript/ios@9.1.0", "tns-ios@6.5.6", "react-native-video@6.19.3", "@twilio/voice-react-native-sdk@1.7.0", "ngx-extended-pdf-viewer@30.0.0",
    "ngx-i18nsupport@0.17.1", "@ngx-i18nsupport/tooling@8.0.3",
)  # fmt: skip
PYPI = ("labelme==6.3.1", "openlp==3.1.6", "retext==8.1.0", "vorta==0.11.6", "sphinx==9.0.4")
FORMATS = frozenset(
    {"xliff", "android", "strings", "stringsdict", "xcstrings", "resx", "qt", "fluent", "rst", "po", "json", "yaml"}
)
SUFFIXES = frozenset(
    {
        ".xlf",
        ".xliff",
        ".xml",
        ".strings",
        ".stringsdict",
        ".xcstrings",
        ".resx",
        ".resw",
        ".ts",
        ".ftl",
        ".rst",
        ".po",
        ".arb",
    }
)
TARGET = "pl"
LETTERS = str.maketrans("aeiouy", "\u00e4\u00ea\u00ef\u00f6\u00fc\u00ff")


def read_files(directory: Path) -> Iterator[tuple[str, str]]:
    """Yield the name and the text of each different file in the archives."""
    seen: set[str] = set()
    for archive in sorted(directory.glob("*.t*gz")):
        with tarfile.open(archive) as package:
            for member in package:
                name = PurePosixPath(member.name)
                stream = package.extractfile(member) if member.isfile() and name.suffix in SUFFIXES else None
                data = stream.read() if stream else b""
                digest = hashlib.sha256(data).hexdigest()
                if not data or digest in seen:
                    continue
                seen.add(digest)
                try:
                    yield f"{archive.name}: {member.name}", data.decode("utf-8")
                except UnicodeDecodeError:
                    print(f"{archive.name}: {member.name}: not UTF-8")


def translate_letters(segment: Segment) -> str:
    """Return the text of a segment with other letters outside of what is protected."""
    parts, at = [], 0
    for span in segment.protected:
        parts += [segment.text[at : span.start].lower().translate(LETTERS), segment.text[span.start : span.end]]
        at = span.end
    return "".join([*parts, segment.text[at:].lower().translate(LETTERS)])


def check_file(document_format: DocumentFormat, text: str) -> tuple[int, bool, str]:
    """Return the number of segments, whether the file stays the same, and what is wrong with its translation, or ""."""
    segments = document_format.split(text, TARGET)
    is_same = document_format.join(text, segments, [None] * len(segments)) == text
    texts = [None if each.existing_translation else translate_letters(each) for each in segments]
    translated = document_format.join(text, segments, texts)
    problem = document_format.check(translated)
    if not problem and len(again := document_format.split(translated, TARGET)) != len(segments):
        problem = f"{len(segments)} segments became {len(again)}"
    return len(segments), is_same, problem


def main(directory: Path) -> None:
    """Count the files of each format."""
    counts: dict[str, Counter[str]] = {}
    for name, text in read_files(directory):
        document_format = find_format(name, text)
        if document_format.name not in FORMATS:
            continue
        found = counts.setdefault(document_format.name, Counter())
        try:
            segments, is_same, problem = check_file(document_format, text)
        except BadDocument as error:
            found["refused"] += 1
            print(f"{name}: line {error.line}: {error.detail}")
            continue
        found += Counter(files=1, segments=segments, identity=is_same, valid=not problem)
        counts[document_format.name] = found
        if problem or not is_same:
            print(f"{name}: {problem or 'not the same'}")
    for name in sorted(counts):
        found = counts[name]
        print(
            f"{name:12} {found['files']:5} files  {found['segments']:7} segments  identity {found['identity']:5}"
            f"  valid {found['valid']:5}  refused {found['refused']:3}"
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
