r"""The completion scripts of the shells: ``python -m llmcli.cli.completion_scripts DIRECTORY`` writes them.

All four ask the program itself for the completions, by Typer's protocol: with ``_LLM_COMPLETE=complete_fish``,
``_TYPER_COMPLETE_FISH_ACTION=get-args`` and the command line up to the cursor in ``_TYPER_COMPLETE_ARGS``, it prints a
line for each candidate: the word and, after a tab, its explanation; an empty line if there is none. Typer's own scripts
are not used: its zsh script does nothing at the first Tab when zsh loads it from ``fpath``, its fish script starts the
program twice for a Tab, its bash script loses names with a colon (``owner/repo:Q4_K_M``), and its PowerShell script
changes what Tab does elsewhere.

If nothing is offered, the shell completes file names.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path


class Shell(StrEnum):
    """The shells that have a script."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"
    POWERSHELL = "powershell"


_UNSAFE_IN_KEY = re.compile(r"""['"\s\x00-\x1f\x7f-\x9f]""")
"""What no name of a key contains; a quote would end the text in which the script has it."""
_KEY_FORMS = {
    Shell.BASH: (r"\\.+", r"\C-g"),
    Shell.ZSH: (r"[\^\\].+", "^G"),
    Shell.FISH: (r"(\\[\w\\]+)|([\w,-]*\w-[\w,]+)|(f\d+)", "ctrl-g"),
    Shell.POWERSHELL: (r"(.*\w\+.+)|(F\d+)", "Ctrl+g"),
}
"""How a shell writes keys, and an example; a shell takes other texts for letters to type one after the other."""

FILES = {Shell.BASH: "llm.bash", Shell.ZSH: "_llm", Shell.FISH: "llm.fish", Shell.POWERSHELL: "llm.ps1"}
"""The name of each script in ``completions/``."""

# bash 3.2 of macOS has no mapfile. bash breaks words at COMP_WORDBREAKS (":" and "=" are among them) and replaces only
# what follows the last break, so what stands before it is taken off each candidate.
_BASH = r"""
_llm_completion() {
    local line=${COMP_LINE:0:COMP_POINT} word value
    word=${line##*[[:space:]]}
    [[ $word == -*=* ]] && word=${word#*=}
    COMPREPLY=()
    while IFS=$'\t' read -r value _; do
        [[ -n $value ]] || continue
        case $word in
            *[:=]*) [[ $value == "$word"* ]] && value=${value#"${word%"${word##*[:=]}"}"} ;;
        esac
        [[ $value == *= ]] && compopt -o nospace 2>/dev/null # a value follows; bash 3.2 has no compopt
        printf -v value %q "$value"
        COMPREPLY+=("$value")
    done < <(_LLM_COMPLETE=complete_fish _TYPER_COMPLETE_FISH_ACTION=get-args \
        _TYPER_COMPLETE_ARGS=$line "$1" 2>/dev/null)
}
complete -o default -F _llm_completion llm llmcli
"""

# Found in fpath, the file is the body of _llm at the first Tab: it replaces itself by the function and calls it.
# Sourced, it only announces the function.
_ZSH = r"""
#compdef llm llmcli
_llm() {
    local line
    local -a offers suffix
    for line in "${(@f)$(_LLM_COMPLETE=complete_fish _TYPER_COMPLETE_FISH_ACTION=get-args \
        _TYPER_COMPLETE_ARGS="${(j: :)words[1,CURRENT]}" "${words[1]}" 2>/dev/null)}"; do
        [[ -n $line ]] || continue
        [[ ${line%%$'\t'*} == *= ]] && suffix=(-S '') # a value follows
        if [[ $line == *$'\t'* ]]; then
            offers+=("${${line%%$'\t'*}//:/\\:}:${line#*$'\t'}")
        else
            offers+=("${line//:/\\:}")
        fi
    done
    if (( $#offers )); then
        _describe -V llm offers "${suffix[@]}"
    else
        _files
    fi
}
if [[ $funcstack[1] == _llm ]]; then
    _llm "$@"
else
    compdef _llm llm llmcli
fi
"""

_FISH = r"""
function __llm_completion
    set -l words (commandline -opc)
    set -l offers (_LLM_COMPLETE=complete_fish _TYPER_COMPLETE_FISH_ACTION=get-args \
        _TYPER_COMPLETE_ARGS=(commandline -cp) $words[1] 2>/dev/null)
    if test -n "$offers[1]"
        printf '%s\n' $offers
    else
        __fish_complete_path (commandline -ct)
    end
end
complete --command llm --no-files --keep-order --arguments '(__llm_completion)'
complete --command llmcli --no-files --keep-order --arguments '(__llm_completion)'
"""

# The text of the command ends with its last word; where the cursor stands behind a space, the space is put back.
_POWERSHELL = r"""
Register-ArgumentCompleter -Native -CommandName llm, llmcli -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)
    $line = $commandAst.ToString()
    $line = $line.Substring(0, [Math]::Min($line.Length, $cursorPosition - $commandAst.Extent.StartOffset))
    if (-not $wordToComplete) { $line += ' ' }
    $program = $commandAst.CommandElements[0].ToString()
    $Env:_LLM_COMPLETE = 'complete_fish'
    $Env:_TYPER_COMPLETE_FISH_ACTION = 'get-args'
    $Env:_TYPER_COMPLETE_ARGS = $line
    try { $offers = & $program 2>$null }
    finally { Remove-Item Env:_LLM_COMPLETE, Env:_TYPER_COMPLETE_FISH_ACTION, Env:_TYPER_COMPLETE_ARGS }
    $offers | Where-Object { $_ } | ForEach-Object {
        $value, $help = $_ -split "`t", 2
        if (-not $help) { $help = $value }
        $text = if ($value -match '\s') { "'" + $value.Replace("'", "''") + "'" } else { $value }
        [System.Management.Automation.CompletionResult]::new($text, $value, 'ParameterValue', $help)
    }
}
"""

# Key bindings: the typed line becomes a command in the edit buffer, which the user reads and runs with Enter.
_BASH_BINDING = r"""
_llm_command_line() {
    local found
    [[ -n $READLINE_LINE ]] || return
    if found=$(llm command --shell bash -- "$READLINE_LINE"); then
        READLINE_LINE=$found
        READLINE_POINT=${#found}
    fi
}
bind -x '"KEY": _llm_command_line'
"""

_ZSH_BINDING = r"""
_llm_command_line() {
    local found
    [[ -n $BUFFER ]] || return
    zle -I
    if found=$(llm command --shell zsh -- "$BUFFER" < /dev/tty); then
        BUFFER=$found
        CURSOR=$#BUFFER
    fi
}
zle -N _llm_command_line
bindkey 'KEY' _llm_command_line
"""

_FISH_BINDING = r"""
function __llm_command_line
    set -l line (commandline --current-buffer | string collect)
    if test -n "$line"
        echo >&2
        set -l found (llm command --shell fish -- $line)
        and commandline --replace -- $found
    end
    commandline -f repaint
end
bind KEY __llm_command_line
"""

_POWERSHELL_BINDING = r"""
Set-PSReadLineKeyHandler -Key 'KEY' -ScriptBlock {
    $line = $null
    $cursor = $null
    [Microsoft.PowerShell.PSConsoleReadLine]::GetBufferState([ref]$line, [ref]$cursor)
    if ($line) {
        $found = & llm command --shell powershell -- $line
        if ($LASTEXITCODE -eq 0) { [Microsoft.PowerShell.PSConsoleReadLine]::Replace(0, $line.Length, $found) }
    }
}
"""

_BINDINGS = {
    Shell.BASH: _BASH_BINDING,
    Shell.ZSH: _ZSH_BINDING,
    Shell.FISH: _FISH_BINDING,
    Shell.POWERSHELL: _POWERSHELL_BINDING,
}
_SCRIPTS = {Shell.BASH: _BASH, Shell.ZSH: _ZSH, Shell.FISH: _FISH, Shell.POWERSHELL: _POWERSHELL}


def completion_script(shell: Shell) -> str:
    """Return the script that completes ``llm`` and ``llmcli`` in a shell."""
    return _SCRIPTS[shell].lstrip("\n")


def binding_script(shell: Shell, key: str) -> str:
    r"""Return the code that makes a key turn the typed line into a command, by ``llm command``.

    ``key`` is written as the shell writes keys: ``\C-g`` in bash, ``^G`` in zsh, ``ctrl-g`` in fish, ``Ctrl+g`` in
    PowerShell. Raises ``ValueError`` if it has another form, or contains quotes, white space or control characters.
    """
    form, example = _KEY_FORMS[shell]
    if _UNSAFE_IN_KEY.search(key) or not re.fullmatch(form, key):
        raise ValueError(f"expected a key as {shell} writes it, such as {example}, not {key!r}")
    return _BINDINGS[shell].replace("KEY", key).lstrip("\n")


def write_scripts(directory: Path) -> None:
    """Write the scripts of all shells into ``directory``."""
    directory.mkdir(parents=True, exist_ok=True)
    for shell, name in FILES.items():
        (directory / name).write_text(completion_script(shell), encoding="utf-8")


def run(argv: Sequence[str]) -> int:
    """Write the scripts into the directory that the command line names; returns the exit code."""
    if len(argv) != 1:
        sys.stderr.write("usage: python -m llmcli.cli.completion_scripts DIRECTORY\n")
        return 2
    write_scripts(Path(argv[0]))
    return 0


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
