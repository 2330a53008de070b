"""Programs that can't use the state of their predecessor: no client notices."""

import glob
import os
import re
import shutil
import signal
import subprocess
import tempfile
import unittest

import board
import client
import control
import daemon
import processes
import wording
from processes import wait_until

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), '../..'))
ECHO = ('control = "@DIR@/control"\npool "echo" { listen = { "systemd:echo", "unix:@DIR@/echo", '
        '"127.0.0.1:%d" }\nworkers = 3 echo {} }\n')
ANEW = 'starting anew on its listeners'

# The new program: -t runs the real one; on the upgrade itself, $CHANGE edits the state first.
SCRIPT = '''#!/bin/sh
REAL=%s
[ "$1" = -t ] && exec $REAL "$@"
STATE=/proc/self/fd/$PREFORKD_STATE
CHANGED=$(%s <$STATE; echo x)
printf %%s "${CHANGED%%x}" >$STATE
exec $REAL "$@"
'''


class Case(daemon.Case):
    def begin(self, **arguments):
        it = self.make(ECHO % daemon.reserve_port(self), **arguments).own_program()
        it.launch().ready()
        it.wait_for_log(wording.READY)  # or a later mark may stand before this line
        it.addresses['path'] = it.path('echo')
        return it

    def counted(self, it):
        """(accepted, served) as the pool's report has them."""
        pool = board.pool(it, 'echo')
        return pool['accepted'], pool['served']

    def goes_on(self, held):
        for connection in held:
            self.assertEqual(client.echo(connection, b'goes on'), b'goes on')


class Layout(Case):
    """Two builds with different scoreboards."""

    @classmethod
    def setUpClass(cls):
        cls.directory = tempfile.mkdtemp(prefix='preforkd-layout-')
        cls.addClassCleanup(shutil.rmtree, cls.directory, ignore_errors=True)
        if not shutil.which('meson') or not shutil.which('ninja'):
            raise unittest.SkipTest('no meson and ninja here')
        cls.other = cls.build()

    @classmethod
    def build(cls):
        """Builds the program from a copy of the source in which a text in each slot is longer."""
        source, build = (os.path.join(cls.directory, name) for name in ('source', 'build'))
        os.mkdir(source)
        for pattern in ('meson*', '*.md'):
            for path in glob.glob(os.path.join(ROOT, pattern)):
                shutil.copy(path, source)
        for name in ('src', 'man', 'conf', 'systemd'):
            shutil.copytree(os.path.join(ROOT, name), os.path.join(source, name))
        header = os.path.join(source, 'src/board/scoreboard.h')
        with open(header, encoding='utf-8') as file:
            text = file.read()
        changed = re.sub(r'SCOREBOARD_REASON = \d+', 'SCOREBOARD_REASON = 224', text)
        if changed == text:
            raise AssertionError('nothing to change in scoreboard.h')
        with open(header, 'w', encoding='utf-8') as file:
            file.write(changed)
        for command in (['meson', 'setup', '-Dtests=disabled', '-Doptimization=0', build, source],
                        ['ninja', '-C', build, '-j2', 'src/preforkd']):
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                raise AssertionError(f'{command}: {done.stdout[-3000:]}{done.stderr[-3000:]}')
        return os.path.join(build, 'src/preforkd')

    def install(self, it, binary):
        shutil.copy2(binary, it.program + '.new')
        os.rename(it.program + '.new', it.program)

    def test_there_and_back(self):
        it = self.begin()
        for _ in range(5):
            client.ask(it.address('echo'), b'x')
        held = it.occupy('echo', 1)
        wait_until(lambda: self.counted(it) == (6, 5), '6 accepted, 5 served')
        with client.Load(it.address('echo'), 3) as load:
            for binary in (self.other, daemon.BINARY) * 2:
                self.install(it, binary)
                served, mark = load.served, it.mark()
                it.upgrade()
                self.assertTrue(it.log.find('another layout', mark))
                self.goes_on(held)
                wait_until(lambda: load.served > served, 'more load')
                held += it.occupy('path', 1)
        self.assertEqual(load.failures, [])
        self.assertGreaterEqual(self.counted(it)[0], 6)
        for connection in held:
            connection.close()
        it.wait_for_workers(3)

    def test_workers_of_several_seats(self):
        """Their connections go on, and count where sources are limited."""
        it = self.make('pool "echo" { listen = { "systemd:echo" } workers = 2\nmodel = "event" '
                       'connections = 4 max_per_source = 6 echo {} }\n').own_program()
        it.launch().ready()
        held = it.occupy('echo', 3)
        for binary in (self.other, daemon.BINARY):
            self.install(it, binary)
            it.upgrade()
            self.goes_on(held)
        held += it.occupy('echo', 3)
        with it.connect('echo') as refused:
            self.assertEqual(refused.recv(1), b'')
        pool = board.pool(it, 'echo')
        self.assertEqual((pool['seats'], pool['busy_seats']), (8, 3))
        self.assertGreaterEqual(pool['retiring'], 1)
        for connection in held:
            connection.close()
        it.wait_for_workers(2)

    def test_counters_do_not_go_back(self):
        it = self.begin()
        for _ in range(7):
            client.ask(it.address('echo'), b'x')
        wait_until(lambda: self.counted(it) == (7, 7), '7 served')
        for binary in (self.other, daemon.BINARY):
            self.install(it, binary)
            it.upgrade()
            it.wait_for_workers(3)
        self.assertEqual(self.counted(it), (7, 7))
        client.ask(it.address('echo'), b'x')
        wait_until(lambda: self.counted(it) == (8, 8), '8 served')


class Anew(Case):
    """The state can't be read or used, though -t passed."""

    def start_over(self, change, why):
        it = self.begin(arguments=['-p', '@DIR@/pid'])
        it.announce(ANEW)
        held = it.occupy('echo', 1) + it.occupy('path', 1)
        before, sockets = it.workers(), os.stat(it.path('echo')).st_ino
        it.put('preforkd', SCRIPT % (daemon.BINARY, change), mode=0o755)
        with client.Load(it.address('echo'), 2) as load, client.Load(it.path('echo'), 2) as more:
            mark = it.mark()
            it.kill(signal.SIGUSR2)
            it.wait_for_log(f'err: upgrade: .*{why}.*{ANEW}', mark)
            it.wait_for_log(wording.READY, mark)
            served = load.served, more.served
            wait_until(lambda: load.served > served[0] and more.served > served[1], 'more load')
            self.goes_on(held)
        self.assertEqual(load.failures + more.failures, [])
        self.assertEqual(os.stat(it.path('echo')).st_ino, sockets)
        self.assertEqual(control.run(it, 'ping').returncode, 0)
        self.assertIn('holds the pid file',
                      self.run_preforkd('-c', it.file, '-p', it.path('pid')).stderr)
        for connection in held:
            connection.close()
        new = it.wait_for_workers(3, without=before)
        it.install()
        it.upgrade()
        it.wait_for_workers(3, without=new)
        it.stop()
        self.assertFalse(os.path.exists(it.path('pid')))
        # Nobody could prove that the paths lead to its sockets, so they were left alone. Nobody
        # listens there, as the next daemon finds out.
        for name in ('echo', 'control'):
            with self.assertRaises(ConnectionRefusedError):
                client.connect(it.path(name))

    def test_programs_are_killed_in_time(self):
        """Those of app: nobody knows whether they serve a connection."""
        it = self.make('graceful_timeout = 1\npool "x" { listen = { "systemd:x" } workers = 2\n'
                       'min_ready_time = 0\napp { command = { "/bin/sh", "-c", "trap \'\' TERM; '
                       'while :; do sleep 1000; done" } } }\n').own_program()
        it.launch().ready()
        it.announce(ANEW, 'did not end within graceful_timeout', 'killed by signal', 'told to end')
        old = it.workers()
        it.put('preforkd', SCRIPT % (daemon.BINARY, 'echo nonsense'), mode=0o755)
        it.kill(signal.SIGUSR2)
        wait_until(lambda: not any(map(processes.alive, old)), 'the end of the old programs')
        it.wait_for_workers(2, without=old)
        it.stop(signal.SIGQUIT)

    def test_no_state(self):
        self.start_over('echo nonsense', 'no state of a preforkd')

    def test_state_that_is_cut(self):
        self.start_over('head -n 6', 'not whole')

    def test_another_version(self):
        self.start_over("sed 's/^preforkd-state .*/preforkd-state 99/'", "doesn't know: 99")

    def test_pool_in_a_place_that_there_is_none(self):
        """The state is well formed, but can't be adopted, which is found when half of it already
        was."""
        self.start_over("sed '/^worker /s/ place=0/ place=77/'", 'Invalid argument')

    def test_two_workers_in_a_seat(self):
        self.start_over("sed '/^worker /s/ seat=[0-9]*/ seat=1/'", 'Invalid argument')

    def test_stop_with_workers_of_before(self):
        """They don't outlive the master."""
        it = self.begin()
        it.announce(ANEW)
        it.occupy('echo', 2)
        before = it.workers()
        it.put('preforkd', SCRIPT % (daemon.BINARY, 'echo nonsense'), mode=0o755)
        mark = it.mark()
        it.kill(signal.SIGUSR2)
        it.wait_for_log(wording.READY, mark)
        it.stop()
        wait_until(lambda: not any(processes.alive(pid) for pid in before), 'none is left')


if __name__ == '__main__':
    daemon.main()
