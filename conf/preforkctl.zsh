#compdef preforkctl
# Completion of preforkctl(1) for zsh. preforkctl lists its commands, the running daemon its pools.

# Asks the daemon that the command line selects, for half a second at most.
_preforkctl_ask() {
    local -a socket
    local at=${words[(I)-s]}
    ((at)) || at=${words[(I)--socket]}
    ((at)) && socket=(-s ${~words[at + 1]})
    timeout 0.5 ${~words[1]} $socket "$@" 2> /dev/null
}

_preforkctl_commands() {
    local -a commands
    commands=("${(@f)$(_preforkctl_ask help |
        sed -E 's/^([a-z]+) [^ ]*( [^ ]+)* +([^ ].*)$/\1:\3/')}")
    _describe -t commands command commands
}

_preforkctl_pools() {
    local -a pools
    pools=(${(f)"$(_preforkctl_ask status |
        awk '/^POOL / { rows = 1; next } /^$/ { rows = 0 }
             rows && $1 ~ /^[A-Za-z0-9_.-]+$/ && !seen[$1]++ { print $1 }')"})
    _describe -t pools pool pools
}

_preforkctl_argument() {
    case $line[1] in
    help) _preforkctl_commands ;;
    reload) compadd -- --dry-run ;;
    status) compadd -- --brief ;;
    drain | logs | restart | resume | scale) _preforkctl_pools ;;
    esac
}

_preforkctl() {
    local -a line
    local curcontext=$curcontext state
    _arguments -C -S \
        '(-s --socket)'{-s,--socket}'[the control socket]:socket:_files' \
        '(-j --json)'{-j,--json}'[answer in JSON]' \
        '(- *)'{-V,--version}'[print the version]' \
        '(- *)'{-h,--help}'[print the usage]' \
        '1:command:_preforkctl_commands' \
        '2:argument:_preforkctl_argument'
}

_preforkctl "$@"
