"""preforkd as the first process of a PID namespace, as conf/packaging/Containerfile starts it.

Without a container engine, unshare(1) makes the namespace, and /dev/log is hidden in it. Exit
status 77, skipped, if no such namespace can be made; with RIG_REQUIRED set, 1.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'behaviour'))
import processes  # noqa: E402
from processes import wait_until  # noqa: E402

PREFORKD, PREFORKCTL = os.environ.get('PREFORKD', ''), os.environ.get('PREFORKCTL', '')
NAMESPACE = ('unshare', '--mount', '--pid', '--fork', '--kill-child', '--mount-proc')
WITHOUT_SYSLOG = '[ ! -e /dev/log ] || mount --bind /dev/null /dev/log; exec "$@"'

# A program of "leave" leaves processes behind that end once the file "go" exists; it prints their
# pids. They lead sessions of their own, so that they are not killed with it.
CONFIG = '''
user = "nobody"
group = "nogroup"
control = "@DIR@/control.sock"
log { level = "debug" }
pool "echo" { listen = { "unix:@DIR@/echo.sock" } workers = 2 echo {} }
pool "cat" { listen = { "unix:@DIR@/cat.sock" } workers = 1 exec { command = { "/bin/cat" } } }
pool "leave" { listen = { "unix:@DIR@/leave.sock" } workers = 1
    exec { command = { "@DIR@/leave", "@DIR@/go" } } }
'''
LEAVE = '''#!/bin/sh
for i in 1 2 3 4 5 6 7 8; do
    setsid sh -c 'until [ -e "$0" ]; do sleep 0.05; done; exit 7' "$1" \
        < /dev/null > /dev/null 2>&1 &
    echo $!
done
'''


class Container:
    """The namespace, the daemon as its first process, and its lines on standard error."""

    def __init__(self, more='', ready=True):
        self.place = tempfile.mkdtemp(prefix='preforkd-test-')
        os.chmod(self.place, 0o755)
        self._write('leave', LEAVE, 0o755)
        self._write('preforkd.conf', (CONFIG + more).replace('@DIR@', self.place), 0o644)
        self.lines = []
        self.unshare = subprocess.Popen(
            [*NAMESPACE, 'sh', '-c', WITHOUT_SYSLOG, 'sh', PREFORKD, '--stderr', '--config',
             self.path('preforkd.conf')], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE,
            text=True)
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        if ready:
            self.wait('ready: every pool serves')
            self.master = self.children(self.unshare.pid)[0]

    def close(self):
        self.unshare.kill()  # this kills all in the namespace
        self.unshare.wait()
        self.reader.join()
        self.unshare.stderr.close()
        shutil.rmtree(self.place)

    def path(self, name):
        return os.path.join(self.place, name)

    def _write(self, name, text, mode):
        with open(self.path(name), 'w', encoding='utf-8') as file:
            file.write(text)
        os.chmod(self.path(name), mode)

    def go(self):
        """Lets the processes left by "leave" end."""
        self._write('go', '', 0o644)

    def _read(self):
        for line in self.unshare.stderr:
            self.lines.append(line.rstrip('\n'))

    def logged(self, pattern):
        return [line for line in list(self.lines) if re.search(pattern, line)]

    def wait(self, pattern, count=1):
        wait_until(lambda: len(self.logged(pattern)) >= count or self.unshare.poll() is not None,
                   lambda: f'{pattern} on standard error, which has\n' + '\n'.join(self.lines))
        self.reader.join(0 if self.unshare.poll() is None else None)
        if len(self.logged(pattern)) < count:
            raise AssertionError(f'no {pattern} on standard error:\n' + '\n'.join(self.lines))

    def inside(self, *command):
        """Runs a command in the namespace; returns its output."""
        return subprocess.run(['nsenter', '-t', str(self.master), '-m', '-p', '--', *command],
                              check=True, stdout=subprocess.PIPE, text=True).stdout

    def ctl(self, *arguments):
        return self.inside(PREFORKCTL, '-s', self.path('control.sock'), *arguments)

    def connect(self, pool):
        peer = socket.socket(socket.AF_UNIX)
        peer.settimeout(processes.PATIENCE)
        peer.connect(self.path(pool + '.sock'))
        return peer

    def children(self, pid):
        """Pids outside of the namespace, zombies included."""
        return sorted(child for child, seen in processes.table().items() if seen[1] == pid)

    def zombies(self):
        return [pid for pid in self.children(self.master) if processes.stat(pid)[0] == 'Z']

    def ended(self):
        """The exit status of the first process, which unshare returns."""
        return self.unshare.wait(processes.PATIENCE)


class FirstProcess(unittest.TestCase):
    def setUp(self):
        self.it = Container()
        self.addCleanup(self.it.close)

    def assert_echoes(self, connection):
        connection.sendall(b'hello')
        self.assertEqual(connection.recv(5, socket.MSG_WAITALL), b'hello')

    def leave_orphans(self):
        """Pids inside; by now they are children of the first process."""
        with self.it.connect('leave') as connection, connection.makefile() as lines:
            numbers = [int(line) for line in lines]
        self.assertEqual(len(numbers), 8)
        for number in numbers:
            ask = ('ps', '-o', 'ppid=', '-p', str(number))
            wait_until(lambda: self.it.inside(*ask).strip() == '1',
                       f'orphan {number} as a child of the first process')
        return numbers

    def test_it_is_the_first_process(self):
        self.assertEqual(self.it.inside('readlink', '/proc/1/exe').strip(),
                         os.path.realpath(PREFORKD))
        self.assertIn('pid 1, serving', self.it.ctl('ping'))
        with self.it.connect('echo') as connection:
            self.assert_echoes(connection)

    def test_orphans_are_reaped_and_are_no_workers_that_died(self):
        workers = self.it.children(self.it.master)
        numbers = self.leave_orphans()
        self.assertEqual(len(self.it.children(self.it.master)), len(workers) + 8)
        self.it.go()
        wait_until(lambda: self.it.children(self.it.master) == workers,
                   'only the workers, and no zombie')
        for number in numbers:
            self.it.wait(rf'reaped {number}, which is no worker')
        self.assertEqual(self.it.logged(r'worker \d+ (died|exited|killed|ended)'), [])
        self.assertEqual([line for line in self.it.logged('pid=') for number in numbers
                          if re.search(rf'pid={number}\b', line) and 'no worker' not in line], [])
        self.assertEqual(self.it.logged('degraded|back-off'), [])
        self.assertNotRegex(self.it.ctl('deaths'), r'exit|status 7')

    def test_a_killed_worker_leaves_its_program_to_be_reaped(self):
        with self.it.connect('cat') as connection:
            self.assert_echoes(connection)
            worker = next(pid for pid in self.it.children(self.it.master)
                          if self.it.children(pid))
            os.kill(worker, signal.SIGKILL)
            self.assertEqual(connection.recv(1), b'')
        self.it.wait(r'worker \d+ killed by signal 9')
        wait_until(lambda: not self.it.zombies() and len(self.it.children(self.it.master)) == 4,
                   'all workers, and no zombie')
        self.assertEqual(len(self.it.logged(r'worker \d+ killed by signal 9')), 1)
        with self.it.connect('cat') as connection:
            self.assert_echoes(connection)

    def test_signals_do_what_they_always_do(self):
        """From inside, the kernel drops signals that the first process does not handle."""
        orphans = self.leave_orphans()
        self.it.inside('kill', '-HUP', '1')
        self.it.wait('reload done')
        self.it.inside('kill', '-USR2', '1')
        self.it.wait('upgraded from')
        self.assertIn('pid 1, serving', self.it.ctl('ping'))
        self.it.go()
        for number in orphans:
            self.it.wait(rf'reaped {number}, which is no worker')
        self.it.inside('kill', '-TERM', '1')
        self.assertEqual(self.it.ended(), 0)

    def test_term_from_outside_lets_connections_finish(self):
        """As an engine stops its container."""
        self.leave_orphans()
        with self.it.connect('echo') as connection:
            self.assert_echoes(connection)
            os.kill(self.it.master, signal.SIGTERM)
            self.it.wait('stopping')
            self.assert_echoes(connection)
            self.assertIsNone(self.it.unshare.poll())
        self.assertEqual(self.it.ended(), 0)
        self.it.reader.join()
        self.assertEqual(self.it.logged(r'^\S+ (warning|err)'), [])

    def test_int_ends_it_too(self):
        os.kill(self.it.master, signal.SIGINT)
        self.assertEqual(self.it.ended(), 0)


class Starting(unittest.TestCase):
    def test_term_ends_it_while_it_checks_its_file(self):
        """The kernel drops a signal for which the first process has no handler."""
        it = Container(''.join(f'pool "p{n}" {{ listen = {{ "unix:@DIR@/p{n}" }} workers = 1\n'
                               'exec { command = { "/bin/cat" } } }\n' for n in range(400)),
                       ready=False)
        self.addCleanup(it.close)

        def checks():
            return [pid for pid in it.children(it.unshare.pid) if it.children(pid)
                    and os.path.realpath(f'/proc/{pid}/exe') == os.path.realpath(PREFORKD)]
        master, = wait_until(checks, 'the child that checks the file')
        os.kill(master, signal.SIGTERM)
        self.assertEqual(it.ended(), 128 + signal.SIGTERM)
        it.reader.join()
        self.assertEqual(it.logged('starts with'), [])


def unable():
    """Why no namespace can be made, or None."""
    if os.geteuid() != 0:
        return 'only root can make a PID namespace'
    missing = [tool for tool in ('unshare', 'nsenter', 'setsid', 'ps') if not shutil.which(tool)]
    if missing:
        return f'there is no {missing[0]}'
    result = subprocess.run([*NAMESPACE, 'true'], capture_output=True, text=True, check=False)
    return None if result.returncode == 0 else result.stderr.strip()


if __name__ == '__main__':
    reason = unable()
    if reason:
        print(f'skipped: {reason}')
        sys.exit(1 if 'RIG_REQUIRED' in os.environ else 77)
    unittest.main(verbosity=2)
