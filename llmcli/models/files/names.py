"""Names of models: the allow-list that they must pass before a path or a URL uses them, and quantization labels.

Repository names follow the rules of the Hub (huggingface_hub/utils/_validators.py): letters, digits, "-", "_", "."; no
"--" and no ".."; 96 characters at most. File names are deliberately stricter than the Hub's.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence

from llmcli.fast_dataclass import frozen

MAX_NAME_CHARS = 96
"""The most characters of the name of a repository, an import or an alias."""
_WORD = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9])?"
_NAME = _WORD
_REPO = rf"{_WORD}/{_WORD}"
_QUANTIZATION_LABEL = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}"
_FILE_PATH = r"(?ai)(?:[A-Z0-9][A-Z0-9 ._+()-]*/)*[A-Z0-9][A-Z0-9 ._+()-]*\.gguf"
_SPLIT_SUFFIX = r"(?i)-(\d{5})-of-(\d{5})(?=\.gguf$)"
_QUANTIZATION = (
    r"(?i)(?:^|[-._])((?:UD-)?(?:I?Q\d(?:_[A-Z0-9]+)*|TQ\d_\d|BF16|FP?16|FP?32|MXFP4(?:_MOE)?|NVFP4))(?![A-Z0-9])"
)
_NOT_A_MODEL = r"(?i)(?:^|[-._/])(?:mmproj|imatrix)(?:[-._]|$)"  # files that accompany models
# ``re`` compiles these at their first use and caches them: a warm command needs few of them

ALLOWED_FILE_CHARS_TEXT = 'use letters A to Z, digits, spaces and "._+()-" only'
"""The message for an invalid file name."""

# the default order: small loss for the size, widely available
PREFERRED_QUANTIZATIONS = ("Q4_K_M", "MXFP4", "Q4_K_S", "Q4_0", "Q4_1", "IQ4_XS", "Q5_K_M", "Q6_K", "Q8_0")


@frozen
class HubName:
    """A model on the Hub: ``owner/repo``, with a quantization label, a file path inside it, or neither."""

    repo: str
    quantization: str | None = None
    file: str | None = None

    def choose_file(self, files: Collection[str]) -> str | None:
        """Return the file of a repository that this name means, None if it is not in the repository."""
        if self.file is not None:
            return self.file if self.file in files and is_model_file(self.file) else None
        return (
            choose_file(files, (self.quantization,))
            if self.quantization
            else choose_file(files, PREFERRED_QUANTIZATIONS, else_any=True)
        )

    def __str__(self) -> str:
        if self.file is not None:
            return f"{self.repo}/{self.file}"
        return self.repo if self.quantization is None else f"{self.repo}:{self.quantization}"


def is_valid_name(name: str) -> bool:
    """Return whether ``name`` can be a catalogue name or an imported model's."""
    return re.fullmatch(_NAME, name) is not None and ".." not in name


def sanitize_name(text: str) -> str:
    """Return ``text`` with the characters replaced that an import's name cannot have, "" if nothing is left."""
    return re.sub(r"[^A-Za-z0-9._-]+|[.]{2,}", "-", text)[:96].strip("-._")


def strip_hub_address(name: str) -> str:
    """Return a name without the Hub's address before it, as Ollama and a browser have it: ``hf.co/owner/repo``.

    The address of a file, ``https://huggingface.co/owner/repo/blob/main/file.gguf``, becomes ``owner/repo/file.gguf``.
    """
    host = re.match(r"(?:https?://)?(?:hf\.co|huggingface\.co)/", name)
    if host is None:
        return name
    return re.sub(r"^([^/]+/[^/]+)/(?:blob|resolve|tree)/main(?=/|$)", r"\1", name[host.end() :]).rstrip("/")


def parse_hub_name(name: str) -> HubName | None:
    """Return the meaning of ``owner/repo``, ``owner/repo:QUANT`` or ``owner/repo/file.gguf``, otherwise None."""
    base, colon, label = name.partition(":")
    owner, _, rest = base.partition("/")
    repo_name, slash, file = rest.partition("/")
    repo = f"{owner}/{repo_name}"
    if not re.fullmatch(_REPO, repo) or "--" in repo or ".." in name:
        return None
    if slash:
        return HubName(repo, file=file) if re.fullmatch(_FILE_PATH, file) and not colon else None
    if colon:
        return HubName(repo, quantization=label) if re.fullmatch(_QUANTIZATION_LABEL, label) else None
    return HubName(repo)


def is_model_file(file: str) -> bool:
    """Return whether a file of a repository (its path in it) is a model that llm accepts."""
    return is_allowed_file(file) and not re.search(_NOT_A_MODEL, file)


def is_allowed_file(file: str) -> bool:
    """Return whether the path of a GGUF file in a repository passes the allow-list."""
    return re.fullmatch(_FILE_PATH, file) is not None and ".." not in file


def model_stem(file: str) -> str:
    """Return a file's name without its folder, its number in a split model and its suffix."""
    return re.sub(r"\.gguf$", "", re.sub(_SPLIT_SUFFIX, "", file), flags=re.IGNORECASE).rpartition("/")[2]


def quantization_label(file: str) -> str | None:
    """Return the quantization label in a file's name ("x-q4_k_m-00001-of-00002.gguf": "Q4_K_M"), or None."""
    found = [match.group(1).upper() for match in re.finditer(_QUANTIZATION, model_stem(file))]
    return found[-1] if found else None


def model_title(file: str) -> str:
    """Return the common part of the names of a model's quantizations: without folder, label and part number."""
    name = model_stem(file)
    labels = list(re.finditer(_QUANTIZATION, name))
    return (name[: labels[-1].start()] + name[labels[-1].end() :] if labels else name).casefold()


def part_names(file: str) -> tuple[str, ...]:
    """Return the names of all parts of a split model from the name of any part; other names are returned unchanged."""
    match = re.search(_SPLIT_SUFFIX, file)
    if match is None:
        return (file,)
    number, total = int(match.group(1)), int(match.group(2))
    if not 1 <= number <= total:
        return (file,)
    return tuple(re.sub(_SPLIT_SUFFIX, f"-{number:05d}-of-{total:05d}", file) for number in range(1, total + 1))


def choose_file(files: Iterable[str], labels: Sequence[str], *, else_any: bool = False) -> str | None:
    """Return the file with the first available of the quantization ``labels``; of a split model the first part.

    None if there is none, unless ``else_any``: then the first model by name.
    """
    models = sorted({part_names(file)[0] for file in files if is_model_file(file)})
    for label in labels:
        for file in models:
            if (quantization_label(file) or "").casefold() == label.casefold():
                return file
    return models[0] if models and else_any else None
