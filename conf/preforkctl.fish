# Completion of preforkctl(1) for fish. preforkctl lists its commands, the running daemon its pools.

# Asks the daemon that the command line selects, for half a second at most. The words come without
# their quotes, and may be a file's name that somebody else has chosen: nothing but ~/ is expanded.
function __preforkctl_ask
    set -l words (string replace -r -- '^~/' "$HOME/" (commandline -opc))
    set -l socket
    for i in (seq (count $words))
        switch $words[$i]
            case -s --socket
                test $i -lt (count $words); and set socket -s $words[(math $i + 1)]
        end
    end
    timeout 0.5 $words[1] $socket $argv 2>/dev/null
end

# The command and its arguments, without the options before it.
function __preforkctl_words
    set -l skip 0
    for word in (commandline -opc)[2..]
        if test $skip = 1
            set skip 0
        else
            switch $word
                case -s --socket
                    set skip 1
                case '-*'
                case '*'
                    echo $word
            end
        end
    end
end

function __preforkctl_is
    set -l words (__preforkctl_words)
    test (count $words) = 1; and contains -- "$words" $argv
end

function __preforkctl_commands
    __preforkctl_ask help | string replace -r '^([a-z]+)( \S+)* {2,}(.*)$' '$1\t$3'
end

function __preforkctl_pools
    __preforkctl_ask status |
        awk '/^POOL / { rows = 1; next } /^$/ { rows = 0 }
             rows && $1 ~ /^[A-Za-z0-9_.-]+$/ && !seen[$1]++ { print $1 }'
end

complete -c preforkctl -f
complete -c preforkctl -s s -l socket -r -F -d 'the control socket'
complete -c preforkctl -s j -l json -d 'answer in JSON'
complete -c preforkctl -s V -l version -d 'print the version'
complete -c preforkctl -s h -l help -d 'print the usage'
complete -c preforkctl -n 'test -z "$(__preforkctl_words)"' -a '(__preforkctl_commands)'
complete -c preforkctl -n '__preforkctl_is help' -a '(__preforkctl_commands)'
complete -c preforkctl -n '__preforkctl_is reload' -a --dry-run
complete -c preforkctl -n '__preforkctl_is status' -a --brief
complete -c preforkctl -n '__preforkctl_is drain logs restart resume scale' -a '(__preforkctl_pools)'
