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
