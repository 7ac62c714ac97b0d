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
