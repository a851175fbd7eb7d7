# The candidates may be names of files, which others chose: none is expanded, and each is quoted.
_mpyc_party() {
    local -x _CLAP_IFS=$'\013' _CLAP_COMPLETE_INDEX=$COMP_CWORD _CLAP_COMPLETE_COMP_TYPE=$COMP_TYPE
    local -x _CLAP_COMPLETE_SPACE=true MPYC_PARTY_COMPLETE=bash
    if compopt +o nospace 2> /dev/null; then
        _CLAP_COMPLETE_SPACE=false
    fi
    local at quoted words=("${COMP_WORDS[@]}")
    words[COMP_CWORD]=$2
    COMPREPLY=()
    IFS=$_CLAP_IFS read -r -d '' -a COMPREPLY < <(mpyc-party -- "${words[@]}") || true
    for at in "${!COMPREPLY[@]}"; do
        printf -v quoted %q "${COMPREPLY[at]#"~/"}"
        if [[ ${COMPREPLY[at]} == "~/"* ]]; then
            quoted="~/$quoted"
        fi
        COMPREPLY[at]=$quoted
    done
    if [[ $_CLAP_COMPLETE_SPACE == false && ${COMPREPLY-} == *[=/:] ]]; then
        compopt -o nospace
    fi
}
if [[ ${BASH_VERSINFO[0]} -gt 4 || ${BASH_VERSINFO[0]} -eq 4 && ${BASH_VERSINFO[1]} -ge 4 ]]; then
    complete -o nospace -o bashdefault -o nosort -F _mpyc_party mpyc-party
else
    complete -o nospace -o bashdefault -F _mpyc_party mpyc-party
fi
