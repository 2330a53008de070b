"""conf/preforkctl.bash, .zsh and .fish in their shells."""

import contextlib
import json
import os
import pty
import select
import shutil
import signal
import subprocess
import threading
import time
import unittest

import daemon
from processes import PATIENCE

CONF = os.path.abspath(os.path.join(os.path.dirname(__file__), '../../conf'))
POOLS = '''control = "@DIR@/control"
pool "echo" { listen = { "systemd:echo" } workers = 1 echo {} }
pool "other" { listen = { "unix:@DIR@/o" } workers = 1 echo {} }
'''
JANSSON = b'+jansson' in subprocess.check_output([daemon.BINARY, '-V'])
COMMANDS = {'deaths', 'drain', 'help', 'logs', 'ping', 'reload', 'restart', 'resume', 'scale',
            'status', 'stop', 'top', 'upgrade', 'version'}


class Shell:
    """What every shell must complete."""

    def complete(self, *words):
        """The completions of the last word."""
        raise NotImplementedError

    def test_of_a_daemon(self):
        it = self.start(POOLS)
        at = ['-s', it.path('control')]
        self.assertEqual(self.complete(*at, 're'), ['reload', 'restart', 'resume'])
        self.assertEqual(set(self.complete(*at, '')), COMMANDS)
        self.assertEqual(self.complete(*at, 'logs', ''), ['echo', 'other'])
        self.assertEqual(self.complete(*at, '--json', 'scale', 'o'), ['other'])

    def test_of_a_stranger(self):
        """What only looks like a pool is not offered, and nothing of it is run."""
        it = self.make(POOLS)
        listening = daemon.listen_unix(it.path('control'))
        self.addCleanup(listening.close)
        names = [it.expand('$(touch${IFS}@DIR@/ran)'), it.expand('`touch${IFS}@DIR@/ran`'),
                 it.expand('(touch${IFS}@DIR@/ran)'), '~root', 'echo']
        report = json.dumps({'pools': [{'name': name} for name in names]}).encode()

        def serve():
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listening.accept()
                    with connection:
                        connection.recv(4096)
                        connection.sendall(b'ok %d 0\n' % len(report) + report)
        threading.Thread(target=serve, daemon=True).start()
        offered = self.complete('-s', it.path('control'), 'drain', '')
        self.assertFalse(os.path.exists(it.path('ran')))
        self.assertEqual(offered, ['echo'] * JANSSON)

    def test_without_a_daemon(self):
        it = self.make(POOLS)
        at = ['-s', it.path('nothing')]
        self.assertEqual(self.complete(*at, 're'), ['reload', 'restart', 'resume'])
        self.assertEqual(self.complete('help', 're'), ['reload', 'restart', 'resume'])
        self.assertEqual(self.complete('reload', '--d'), ['--dry-run'])
        self.assertEqual(self.complete('--j'), ['--json'])


class Bash(Shell, daemon.Case):
    def complete(self, *words):
        script = ('source "$0" && COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) && _preforkctl && '
                  '((${#COMPREPLY[@]})) && printf "%s\\n" "${COMPREPLY[@]}"')
        done = subprocess.run(['/bin/bash', '-c', script, os.path.join(CONF, 'preforkctl.bash'),
                               daemon.CONTROL_BINARY, *words],
                              capture_output=True, text=True, check=False, timeout=PATIENCE)
        self.assertEqual(done.stderr, '')
        return sorted(done.stdout.split())

    def test_files_and_nothing(self):
        it = self.start(POOLS)
        self.assertIn(it.path('control'), self.complete('-s', it.path('con')))
        self.assertEqual(self.complete('-s', it.path('control'), 'scale', 'other', ''), [])
        self.assertEqual(self.complete('-s', it.path('nothing'), 'drain', ''), [])


@unittest.skipUnless(shutil.which('fish'), 'no fish here')
class Fish(Shell, daemon.Case):
    def complete(self, *words):
        it = self.make(POOLS)
        done = subprocess.run(
            ['fish', '--no-config', '-c', f'source {CONF}/preforkctl.fish; complete -C $argv[1]',
             ' '.join(['preforkctl', *words])],
            env=os.environ | {'PATH': os.path.dirname(daemon.CONTROL_BINARY) + ':' +
                              os.environ['PATH'], 'HOME': it.directory},
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=PATIENCE)
        self.assertEqual(done.stderr, '')
        return sorted(line.split('\t')[0] for line in done.stdout.splitlines())

    def test_a_socket_with_a_name_of_others(self):
        it = self.make(POOLS)
        for name in ('$(touch @DIR@/ran)', 'a; touch @DIR@/ran'):
            self.complete('-s', f"'{it.expand(name)}'", 'drain', '')
            self.assertFalse(os.path.exists(it.path('ran')))


@unittest.skipUnless(shutil.which('zsh'), 'no zsh here')
class Zsh(Shell, daemon.Case):
    """zsh completes only in an interactive shell on a terminal; the test's function prints the
    matches."""

    START = """
fpath=(@DIR@/functions $fpath)
autoload -Uz compinit; compinit -u -D
compadd() {
    local -a matching
    if [[ ${@[1,(i)(-|--)]} != *-(O|A|D)\\ * ]]; then
        builtin compadd -A matching "$@"
        print -l -- $matching >> @DIR@/matching
    fi
    builtin compadd "$@"
}
end_of_matching() { print -- END >> @DIR@/matching }
comppostfuncs=(end_of_matching)
unsetopt auto_menu
"""

    def complete(self, *words):
        it = self.make(POOLS)
        os.mkdir(it.path('functions'))
        os.symlink(os.path.join(CONF, 'preforkctl.zsh'), it.path('functions/_preforkctl'))
        with open(it.path('.zshrc'), 'w', encoding='ascii') as file:
            file.write(self.START.replace('@DIR@', it.directory))
        pid, terminal = pty.fork()
        if pid == 0:
            os.execvpe('zsh', ['zsh', '-d', '-i'], os.environ | {
                'PATH': os.path.dirname(daemon.CONTROL_BINARY) + ':' + os.environ['PATH'],
                'TERM': 'dumb', 'HOME': it.directory, 'ZDOTDIR': it.directory})
        try:
            os.write(terminal, ' '.join(['preforkctl', *words]).encode() + b'\t')
            return sorted(set(self.matching(terminal, it.path('matching'))))
        finally:
            os.close(terminal)
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)

    def matching(self, terminal, path):
        """Reads the shell's output, which would block otherwise, until the list is complete."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if select.select([terminal], [], [], 0.05)[0]:
                os.read(terminal, 65536)
            if os.path.exists(path):
                with open(path, encoding='ascii') as file:
                    lines = file.read().splitlines()
                if lines[-1:] == ['END']:
                    return [line for line in lines if line not in ('', 'END')]
        raise AssertionError('no completion')


if __name__ == '__main__':
    daemon.main()
