"""The scripts that have a shell ask `certctl` when somebody presses Tab; see `completing`.

What comes back is text to all of them: nothing of it is run.
"""

from __future__ import annotations

# COMP_TYPE 63 is the list that a second Tab shows: only there is it read, not taken (bash(1)).
BASH = r"""
_certctl_completion() {
    local word words
    COMPREPLY=()
    while IFS=$'\t' read -r word words; do
        COMPREPLY+=("$word${words:+  ($words)}")
    done < <(_CERTCTL_COMPLETE=bash _CERTCTL_LINE="${COMP_LINE:0:COMP_POINT}" "$1" 2>/dev/null)
    if [[ $COMP_TYPE != 63 || ${#COMPREPLY[@]} == 1 ]]; then
        COMPREPLY=("${COMPREPLY[@]%%  (*}")
    fi
    [[ -n ${COMPREPLY[0]-} ]] || COMPREPLY=()
}
complete -o default -o nosort -F _certctl_completion certctl 2>/dev/null ||
    complete -o default -F _certctl_completion certctl
"""

ZSH = r"""
#compdef certctl
_certctl() {
    local -a offers
    local word words_of
    while IFS=$'\t' read -r word words_of; do
        offers+=("${word//:/\\:}${words_of:+:$words_of}")
    done < <(_CERTCTL_COMPLETE=zsh _CERTCTL_LINE="${(j: :)words[1,CURRENT]}" \
        ${~${(Q)words[1]}} 2>/dev/null)
    if (( $#offers )); then
        _describe -V certctl offers
    else
        _files
    fi
}
if [[ ${funcstack[1]-} == _certctl ]]; then
    _certctl "$@"
else
    compdef _certctl certctl
fi
"""

FISH = r"""
function __certctl_offers
    set -l words (commandline -opc)
    set -l line (commandline -cp | string collect)
    set -l offers (env _CERTCTL_COMPLETE=fish _CERTCTL_LINE="$line" $words[1] 2>/dev/null)
    if test (count $offers) -gt 0
        printf '%s\n' $offers
    else
        __fish_complete_path (commandline -ct)
    end
end
complete --command certctl --no-files --keep-order --arguments '(__certctl_offers)'
"""
