"""The messages for models: missing, damaged, too large."""

from __future__ import annotations

from llmcli import errors as e
from llmcli.cli.console import suggestion
from llmcli.cli.console.messages.message_text import (
    Descriptions,
    ErrorText,
    append_detail,
    format_bytes,
    subject_of,
)
from llmcli.engine_library import COMPILE_COMMAND, CUSTOM, LIBRARY_VARIABLE
from llmcli.errors import model_errors as m


def _pull_command(name: str, context: int | None = None) -> str:
    """Return the command that downloads a model, for a context of so many tokens if given."""
    return suggestion.format_command("models", "pull", name, *suggestion.format_option("--ctx", context))


def _describe_model_not_downloaded(error: e.ModelNotDownloaded) -> ErrorText:
    known = f" ({format_bytes(error.size)})" if error.size else ""
    return (
        f"the model {subject_of(error)}{known} is not on this machine",
        f"Try: {_pull_command(error.subject, error.context)}",
    )


def _describe_overflow(error: e.ContextOverflow) -> ErrorText:
    if error.detail:
        advice = "Shorten the input, or summarize it first: llm summarize FILE"
        return append_detail(f"{subject_of(error)} does not accept such a long request", error), advice
    subject = f"{subject_of(error)}: " if subject_of(error) else ""
    least = "at least " if error.at_least else ""
    text = f"{subject}{least}{error.tokens} tokens do not fit the context of {error.context} tokens"
    return text, "Shorten the input, or summarize it first: llm summarize FILE"


def _describe_out_of_memory(error: e.OutOfMemory) -> ErrorText:
    numbers = _memory_figures(error)
    text = f"out of memory for {subject_of(error)}" if error.subject else "out of memory"
    text += f" ({', '.join(numbers)})" if numbers else ""
    advice = f"Try: {error.fits}" if error.fits else "Try a smaller context (--ctx) or a smaller model: llm models list"
    return append_detail(text, error), advice


def _memory_figures(error: e.OutOfMemory) -> list[str]:
    numbers = []
    if error.needed is not None:
        numbers.append(f"{format_bytes(error.needed)} needed")
    if error.weights is not None:
        numbers.append(f"{format_bytes(error.weights)} of it weights")
    if error.per_token:
        numbers.append(f"{format_bytes(error.per_token)} per token of context")
    if error.available is not None:
        numbers.append(f"{format_bytes(error.available)} free")
    return numbers


def _describe_does_not_fit(error: e.ModelTooLarge) -> ErrorText:
    advice = "Try: llm models recommend"
    if error.max_context:
        advice = f"Try: {_pull_command(error.subject, error.max_context)}"
    elif error.smaller_variant:
        advice = f"Try: {_pull_command(error.smaller_variant, error.context)}"
    figures = ", ".join(_memory_figures(error))
    text = f"{subject_of(error)} with a context of {error.context} tokens does not fit ({figures})"
    return f"{text}; it was not downloaded", f"{advice} (or download it anyway with --force)"


def _describe_bad_adapter(error: m.BadAdapter) -> ErrorText:
    if error.mismatch:
        base = f" ({error.base_model})" if error.base_model else ""
        text = append_detail(f"the LoRA adapter {subject_of(error)} does not fit the model", error)
        return text, f"Choose the model that it was made for{base} with -m, or leave the adapter out: --lora none"
    text = append_detail(f"{subject_of(error)} is not a usable LoRA adapter", error)
    return text, "Convert an adapter of another format with convert_lora_to_gguf.py of llama.cpp, or: --lora none"


def _advise_without_copy(error: m.NoRoomForWeights | m.CannotStoreCopies, remedy: str) -> str:
    """Return ``remedy`` as the next step, after the original weights where these would do."""
    return f"Try: --set weights=original, or {remedy}" if error.replaceable else remedy[0].upper() + remedy[1:]


def _mebibytes(error: m.NoRoomForWeights) -> int:
    """Return a limit in MiB that is large enough."""
    return -(-((error.limit or 0) + error.needed) >> 20)


def _describe_no_engine(error: m.EngineNotInstalled) -> ErrorText:
    size = f" ({format_bytes(error.size)})" if error.size else ""
    install = "" if error.detail else f"Install a prebuilt one{size}: llm engine install; or compile it: "
    return append_detail("llama.cpp is not on this machine", error), f"{install or 'Compile it: '}{COMPILE_COMMAND}"


def _describe_refused_engine(error: m.EngineRefused) -> ErrorText:
    if error.subject == CUSTOM:
        text = append_detail(f"the library that {LIBRARY_VARIABLE} names must not be used", error)
        return text, f"Unset {LIBRARY_VARIABLE}, or name a build of the version that llm needs."
    text = append_detail(f"the engine {subject_of(error)} must not be used", error)
    return text, "Try: llm engine install, or: llm engine use compiled"


MODEL_DESCRIPTIONS: Descriptions = {
    m.EngineNotInstalled: _describe_no_engine,
    m.EngineRefused: _describe_refused_engine,
    m.EngineUnavailable: lambda x: (
        append_detail(f"cannot install {subject_of(x)} here", x),
        f"Try: llm engine install {x.kinds[0]}" if x.kinds else f"Compile it: {COMPILE_COMMAND}",
    ),
    m.BadAdapter: _describe_bad_adapter,
    m.UnsupportedAdapter: lambda x: (
        append_detail(f"cannot use {subject_of(x)} here", x),
        "Leave it out; adapters of the configuration: --lora none",
    ),
    e.ModelNotDownloaded: _describe_model_not_downloaded,
    e.BadModelFile: lambda x: (
        append_detail(f"the {subject_of(x)} in the model file is invalid", x)
        if x.subject == "chat template"
        else append_detail(f"{subject_of(x)} is not a valid model file", x),
        "Try: llm models list",
    ),
    e.OutOfMemory: _describe_out_of_memory,
    e.ModelTooLarge: _describe_does_not_fit,
    e.DamagedModel: lambda x: (
        append_detail(
            f"{subject_of(x)} is damaged" if x.repair else f"the file of {subject_of(x)} in the cache is damaged", x
        ),
        f"Try: {x.repair or _pull_command(x.subject)}" + (f" ({x.note})" if x.note else ""),
    ),
    e.ContextOverflow: _describe_overflow,
    m.NoRoomForWeights: lambda x: (
        f"no room for {subject_of(x)}: {format_bytes(x.needed)} needed, {format_bytes(x.available)} "
        + ("free" if x.limit is None else "left of the setting derived_weights"),
        _advise_without_copy(
            x,
            "make room on the disk" if x.limit is None else f"set derived_weights to {_mebibytes(x)} (llm config edit)",
        ),
    ),
    m.CannotStoreCopies: lambda x: (
        append_detail(f"cannot store copies of models in {subject_of(x)}", x),
        _advise_without_copy(x, "name another cache directory: LLMCLI_CACHE_DIR"),
    ),
    m.DerivationRefused: lambda x: (append_detail(f"cannot make {subject_of(x)}", x), "Try: --set weights=original"),
    m.DerivedWeightsMissing: lambda x: (append_detail(f"cannot load {subject_of(x)}", x), "Try again."),
    e.WorkerCrashed: lambda x: (
        f"the worker that ran the model ended: {x.detail}",
        "Try again; for details: llm worker log",
    ),
}
