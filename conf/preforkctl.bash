# Completion of preforkctl(1) for bash. preforkctl lists its commands, the running daemon its pools.
# Whoever answers on the socket may be no daemon of ours, and compgen -W expands its words: only what
# has the form of a pool's name goes there.

# Asks the daemon that the command line selects, for half a second at most.
_preforkctl_ask() {
    local socket=() i
    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${COMP_WORDS[i]} in
        -s | --socket) socket=(-s "${COMP_WORDS[i + 1]/#\~/$HOME}") ;;
        -s?*) socket=(-s "${COMP_WORDS[i]#-s}") ;;
        esac
    done
    timeout 0.5 "${COMP_WORDS[0]/#\~/$HOME}" "${socket[@]}" "$@" 2> /dev/null
}

# Sets words to the command and its arguments, without the options before it.
_preforkctl_words() {
    local i
    words=()
    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${COMP_WORDS[i]} in
        -s | --socket) ((${#words[@]})) || i=$((i + 1)) ;;
        -*) ;;
        *) words+=("${COMP_WORDS[i]}") ;;
        esac
    done
}

_preforkctl() {
    local words current=${COMP_WORDS[COMP_CWORD]} choices=
    COMPREPLY=()
    if [[ ${COMP_WORDS[COMP_CWORD - 1]} == -s || ${COMP_WORDS[COMP_CWORD - 1]} == --socket ]]; then
        compopt -o filenames 2> /dev/null
        mapfile -t COMPREPLY < <(compgen -f -- "$current")
        return
    fi
    _preforkctl_words
    case "${words[*]}" in
    '')
        if [[ $current == -* ]]; then
            choices='--help --json --socket --version'
        else
            choices=$(_preforkctl_ask help | sed 's/ .*//')
        fi
        ;;
    reload) choices=--dry-run ;;
    help) choices=$(_preforkctl_ask help | sed 's/ .*//') ;;
    status) choices=--brief ;;
    drain | logs | restart | resume | scale)
        choices=$(_preforkctl_ask status |
            awk '/^POOL / { rows = 1; next } /^$/ { rows = 0 }
                 rows && $1 ~ /^[A-Za-z0-9_.-]+$/ && !seen[$1]++ { print $1 }')
        ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "$choices" -- "$current")
}

complete -F _preforkctl preforkctl
