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
