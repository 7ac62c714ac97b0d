r"""Counts the right translations that the checks of `llm translate` refuse.

They are messages of gettext catalogs, which translators wrote and Debian distributes. Unpack packages into a directory:

    apt-get download coreutils wget gettext tar findutils gnupg-l10n mutt util-linux-locales gimp-data aptitude \
        gnucash-common gnome-calendar file-roller gnome-clocks dpkg apt bash sed
    for package in *.deb; do dpkg -x "$package" unpacked; done
    python benchmarks/translation_checks.py unpacked de fr

Of the messages with four words or more in a language, sorted by catalog and text, every nth counts: 45 with numbers and
30 without. Catalogs are only read; nothing of them is part of this repository.
"""

from __future__ import annotations

import argparse
import gettext
import re
from pathlib import Path

from llmcli.documents.protected_spans import find_message_syntax
from llmcli.documents.segments import split_at_protected
from llmcli.tasks.languages import Language, parse_language
from llmcli.tasks.translate.answer_checks import AnswerRequirements, find_problems
from llmcli.tasks.translate.masking import format_mask, mask_spans

_MIN_WORDS, _MAX_CHARACTERS = 4, 300
_WITH_NUMBERS, _WITHOUT_NUMBERS = 45, 30
_WORD = re.compile(r"[^\W\d_]{2,}")
_NUMBER = re.compile(r"(?<![\w%$.*-])\d")

Message = tuple[str, str, str]
"""Catalog, source text, translation."""


def load_messages(directory: Path, locale: str) -> list[Message]:
    """Return the usable messages of all catalogs in a locale, sorted."""
    messages = []
    for path in sorted(directory.glob(f"usr/share/locale/{locale}/LC_MESSAGES/*.mo")):
        with path.open("rb") as file:
            catalog = gettext.GNUTranslations(file)._catalog  # noqa: SLF001 (there is no other list of all messages)
        for text, translation in catalog.items():
            if not isinstance(text, str) or "\x04" in text or text in {"", translation} or text != text.strip():
                continue
            if len(text) <= _MAX_CHARACTERS and "\n\n" not in text and len(_WORD.findall(text)) >= _MIN_WORDS:
                messages.append((path.stem, text, translation))
    return sorted(messages)


def choose(messages: list[Message], count: int) -> list[Message]:
    """Return every nth message."""
    step = len(messages) / count
    return [messages[int(index * step)] for index in range(min(count, len(messages)))]


def check(text: str, translation: str, target: Language) -> list[str]:
    """Return the problems of a translation as the answer of a model, with marks for what is protected."""
    spans, _ = find_message_syntax(text)
    masked = mask_spans(text, spans)
    parts, left = [], list(enumerate(masked.originals, 1))
    for part, is_kept in split_at_protected(translation, masked.originals):
        if is_kept:
            pair = next(pair for pair in left if pair[1] == part)
            left.remove(pair)
            parts.append(format_mask(masked.sign, pair[0]))
        else:
            parts.append(part)
    return find_problems(masked.text, "".join(parts), AnswerRequirements(masked, parse_language("en"), target))


def main() -> None:
    """Print each refused translation, and the count of each locale."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path, help="unpacked packages")
    parser.add_argument("locales", nargs="+", help="such as de, pt_BR")
    options = parser.parse_args()
    for locale in options.locales:
        messages = load_messages(options.directory, locale)
        chosen = choose([one for one in messages if _NUMBER.search(one[1])], _WITH_NUMBERS)
        chosen += choose([one for one in messages if not re.search(r"\d", one[1])], _WITHOUT_NUMBERS)
        target, refused = parse_language(locale.replace("_", "-")), 0
        for catalog, text, translation in chosen:
            if problems := check(text, translation, target):
                refused += 1
                print(f"{catalog}: {'; '.join(problems)}\n  {text!r}\n  {translation!r}")
        print(f"{locale}: {refused} of {len(chosen)} refused")


if __name__ == "__main__":
    main()
