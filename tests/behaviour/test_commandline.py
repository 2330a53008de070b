"""The command line, exit statuses, the pid file, detaching."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios

import client
import daemon
import processes
import wording
from processes import wait_until

ECHO = 'pool "echo" { listen = { "unix:@DIR@/echo" } workers = 2 echo {} }\n'


class Usage(daemon.Case):
    def test_version(self):
        for option in ('-V', '--version'):
            result = self.run_preforkd(option)
            self.assertEqual((result.returncode, result.stderr), (0, ''))
            self.assertRegex(result.stdout, r'^preforkd \d+\.\d+')
            self.assertIn('systemd', result.stdout)

    def test_help(self):
        for option in ('-h', '--help'):
            result = self.run_preforkd(option)
            self.assertEqual((result.returncode, result.stderr), (0, ''))
            for name in ('--config', '--test', '--dump', '--daemon', '--stderr', '--pidfile',
                         '--version', '--help'):
                self.assertIn(name, result.stdout)

    def test_wrong_usage(self):
        for arguments in (['-x'], ['--nonsense'], ['-c'], ['-p'], ['word'], ['-t', 'word'],
                          ['--config'], ['-t', '-T']):
            with self.subTest(arguments):
                result = self.run_preforkd(*arguments)
                self.assertEqual(result.returncode, 2, result.stderr)
                self.assertEqual(result.stdout, '')
                self.assertTrue(result.stderr)

    def test_long_forms(self):
        it = self.make(ECHO)
        self.assertEqual(self.run_preforkd('--test', '--config', it.file).returncode, 0)
        self.assertEqual(self.run_preforkd('--dump', f'--config={it.file}').stdout,
                         self.run_preforkd('-T', '-c', it.file).stdout)

    def test_check_touches_nothing(self):
        it = self.make(ECHO)
        self.assertEqual(self.run_preforkd('-t', '-c', it.file).returncode, 0)
        self.assertFalse(os.path.exists(it.path('echo')))

    def test_check_goes_before_what_starts(self):
        """-t can be appended to the command line of a service."""
        it = self.make(ECHO)
        for option in ('-t', '-T'):
            result = self.run_preforkd('-d', '-p', it.path('pid'), '-c', it.file, option)
            self.assertEqual((result.returncode, result.stderr), (0, ''))
            self.assertFalse(os.path.exists(it.path('pid')))

    def test_what_cannot_be_printed_is_no_success(self):
        it = self.make(ECHO)
        for option in ('-t', '-T'):
            with open('/dev/full', 'w', encoding='ascii') as full:
                result = subprocess.run([daemon.BINARY, option, '-c', it.file], stdout=full,
                                        stderr=subprocess.PIPE, text=True, check=False)
            self.assertEqual(result.returncode, 3)
            self.assertIn('No space left', result.stderr)

    def test_check_beside_a_running_daemon(self):
        it = self.start(ECHO)
        self.assertEqual(self.run_preforkd('-t', '-c', it.file).returncode, 0)
        self.assertEqual(client.ask(it.path('echo'), b'x'), b'x')


class Start(daemon.Case):
    def test_wrong_configuration_is_1(self):
        it = self.make(ECHO + 'nonsense = 1\n')
        result = self.run_preforkd('-c', it.file)
        self.assertEqual(result.returncode, 1)
        self.assertRegex(result.stderr, rf'{re.escape(it.file)}:2: .*nonsense')

    def test_address_in_use_is_3(self):
        blocker = daemon.listen_tcp()
        self.addCleanup(blocker.close)
        port = blocker.getsockname()[1]
        it = self.make('pool "a" { listen = { "unix:@DIR@/a" } workers = 1 echo {} }\n'
                       f'pool "b" {{ listen = {{ "127.0.0.1:{port}" }} workers = 1 echo {{}} }}\n')
        for arguments in ([], ['-e'], ['-d']):
            with self.subTest(arguments):
                result = self.run_preforkd('-c', it.file, *arguments)
                self.assertEqual(result.returncode, 3, result.stderr)
                self.assertRegex(result.stderr, rf'127\.0\.0\.1:{port}.*in use')
                self.assertFalse(os.path.exists(it.path('a')), 'a leftover socket')

    def test_reason_is_said_once(self):
        blocker = daemon.listen_tcp()
        self.addCleanup(blocker.close)
        it = self.make('pool "b" { listen = { "127.0.0.1:%d" } workers = 1 echo {} }\n'
                       % blocker.getsockname()[1])
        result = self.run_preforkd('-c', it.file, '-e')
        self.assertEqual(len(re.findall('in use', result.stderr)), 1, result.stderr)

    def test_missing_passed_socket_is_3(self):
        it = self.make('pool "a" { listen = { "systemd:nobody" } workers = 1 echo {} }\n')
        result = self.run_preforkd('-c', it.file)
        self.assertIn(result.returncode, (1, 3), result.stderr)
        self.assertIn('nobody', result.stderr)

    def test_no_worker_becomes_ready_is_3(self):
        """The check passes, but then no worker can start: a preloaded library makes a call fail
        that worked before."""
        it = self.make('pool "x" { listen = { "unix:@DIR@/x" } workers = 3 directory = "@DIR@/in"\n'
                       'echo {} }\n')
        os.makedirs(it.path('in'))
        for arguments in ([], ['-d']):
            with self.subTest(arguments):
                it.put('times', '', mode=0o666)
                result = self.run_preforkd('-c', it.file, *arguments, env=os.environ | {
                    'LD_PRELOAD': os.path.join(os.path.dirname(daemon.BINARY),
                                               '../tests/behaviour/libfailing_chdir.so'),
                    'FAILING_CHDIR': it.path('in'), 'FAILING_CHDIR_COUNT': it.path('times'),
                    'ASAN_OPTIONS': 'verify_asan_link_order=0'})
                self.assertEqual(result.returncode, 3, result.stderr)
                self.assertRegex(result.stderr, rf'{re.escape(it.file)}:1: pool x: '
                                 r"can't change to the directory .*: Input/output error: "
                                 'no worker becomes ready')
                self.assertFalse(os.path.exists(it.path('x')), 'a leftover socket')

    def test_closed_standard_descriptors(self):
        """With descriptors 0 to 2 closed at the start, no socket of ours may become standard
        error."""
        it = self.make(ECHO, arguments=['-p', '@DIR@/pid'])
        child = processes.Child(os.posix_spawn(
            '/bin/sh', ['sh', '-c', 'exec "$@" <&- >&- 2>&-', 'sh', daemon.BINARY, '-c', it.file,
                        '-p', it.path('pid')], os.environ))
        self.addCleanup(lambda: child.running() and os.kill(child.pid, signal.SIGKILL))
        wait_until(lambda: self._answers(it.path('echo')), 'an answer')
        for number in (0, 1, 2):
            self.assertRegex(processes.descriptors(child.pid).get(number, '/dev/null'), '/dev/null')
        os.kill(child.pid, signal.SIGTERM)
        self.assertEqual(child.wait(), 0)

    @staticmethod
    def _answers(path):
        try:
            return client.ask(path, b'x') == b'x'
        except OSError:
            return False


class PidFile(daemon.Case):
    def test_content(self):
        it = self.start(ECHO, arguments=['-p', '@DIR@/pid'])
        with open(it.path('pid'), encoding='ascii') as file:
            self.assertEqual(file.read(), f'{it.pid}\n')
        it.stop()
        self.assertFalse(os.path.exists(it.path('pid')))

    def test_second_daemon_is_refused(self):
        it = self.start(ECHO, arguments=['-p', '@DIR@/pid'])
        it.put('other.conf', ECHO.replace('/echo', '/other') +
               (f'user = "{daemon.USER}" group = "{daemon.GROUP}"\n' if daemon.ROOT else '') +
               'control = "none"\n')
        result = self.run_preforkd('-c', it.path('other.conf'), '-p', it.path('pid'))
        self.assertEqual(result.returncode, 3, result.stderr)
        self.assertRegex(result.stderr, rf'{re.escape(it.path("pid"))}|\b{it.pid}\b')
        with open(it.path('pid'), encoding='ascii') as file:
            self.assertEqual(file.read(), f'{it.pid}\n')
        self.assertEqual(client.ask(it.path('echo'), b'x'), b'x')
        self.assertFalse(os.path.exists(it.path('other')))

    def test_stale_pid_file_is_taken_over(self):
        """A pid file is a lock, not a number."""
        it = self.make(ECHO, arguments=['-p', '@DIR@/pid'])
        it.put('pid', f'{os.getpid()}\n')
        it.launch().ready()
        with open(it.path('pid'), encoding='ascii') as file:
            self.assertEqual(file.read(), f'{it.pid}\n')

    def test_killed_masters_pid_file(self):
        it = self.start(ECHO, arguments=['-p', '@DIR@/pid'])
        it.kill(signal.SIGKILL)
        it.exited()
        again = self.make(ECHO.replace('@DIR@', it.directory), arguments=['-p', it.path('pid')])
        again.launch().ready()
        self.assertEqual(client.ask(it.path('echo'), b'x'), b'x')

    def test_file_that_is_no_pid_file_is_left_alone(self):
        """A typing mistake must not destroy a file."""
        it = self.make(ECHO)
        for text in ('root:x:0:0\n', '1' * 16, '12 monkeys\n', '4711\0'):
            it.put('precious', text)
            result = self.run_preforkd('-c', it.file, '-p', it.path('precious'))
            self.assertEqual(result.returncode, 3, result.stderr)
            self.assertIn('precious', result.stderr)
            with open(it.path('precious'), encoding='ascii') as file:
                self.assertEqual(file.read(), text)
        os.mkfifo(it.path('fifo'))
        result = self.run_preforkd('-c', it.file, '-p', it.path('fifo'))
        self.assertEqual(result.returncode, 3, result.stderr)
        self.assertTrue(os.path.exists(it.path('fifo')))

    def test_pid_file_that_cannot_be(self):
        it = self.make(ECHO)
        result = self.run_preforkd('-c', it.file, '-p', it.path('no/such/directory'))
        self.assertEqual(result.returncode, 3, result.stderr)
        self.assertIn('no/such/directory', result.stderr)

    def test_pid_file_that_has_no_room(self):
        it = self.make(ECHO)
        result = self.run_program(['/bin/sh', '-c', 'ulimit -f 0; exec "$@"', 'sh',
                                   daemon.BINARY, '-c', it.file, '-p', it.path('pid')])
        self.assertEqual(result.returncode, 3, result.stderr)
        self.assertRegex(result.stderr, f'{it.path("pid")}: File too large')
        self.assertFalse(os.path.exists(it.path('pid')))


class Detached(daemon.Case):
    def test_returns_when_it_serves(self):
        it = self.make(ECHO)
        result = self.run_preforkd('-d', '-c', it.file, '-p', it.path('pid'))
        self.assertEqual((result.returncode, result.stdout), (0, ''), result.stderr)
        with open(it.path('pid'), encoding='ascii') as file:
            master = int(file.read())
        self.addCleanup(self._bury, master)
        # preforkd -d has returned, so the daemon serves already.
        self.assertEqual(client.ask(it.path('echo'), b'x'), b'x')
        self.assertEqual(len(processes.children(master)), 2)
        _, _, _, session, _ = processes.stat(master)
        self.assertNotEqual(session, os.getsid(0))
        self.assertNotEqual(session, master)
        for number in (0, 1):
            self.assertEqual(processes.descriptors(master)[number], '/dev/null')
        os.kill(master, signal.SIGTERM)
        self.assertEqual(processes.Child(master).wait(), 0)
        self.assertFalse(os.path.exists(it.path('pid')))

    @staticmethod
    def _bury(master):
        if processes.alive(master):
            os.kill(master, signal.SIGKILL)

    def test_returns_with_the_error(self):
        it = self.make(ECHO + 'nonsense = 1\n')
        result = self.run_preforkd('-d', '-c', it.file)
        self.assertEqual(result.returncode, 1)
        self.assertIn(':2: ', result.stderr)

    def test_stopped_while_it_starts(self):
        """Whoever waits for the pools must not take that for success."""
        it = self.make('pool "p" { listen = { "unix:@DIR@/s" } workers = 1\n'
                       'app { command = { "/bin/sleep", "1000" } ready = "notify" } }\n')
        caller = subprocess.Popen([daemon.BINARY, '-d', '-c', it.file, '-p', it.path('pid')],
                                  stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE, text=True)
        with caller:
            master = wait_until(lambda: self._number(it.path('pid')), 'its pid file')
            self.addCleanup(self._bury, master)
            wait_until(lambda: processes.children(master), 'a worker that is not ready')
            os.kill(master, signal.SIGTERM)
            out, err = caller.communicate(timeout=processes.PATIENCE)
        self.assertEqual((caller.returncode, out), (3, ''))
        self.assertIn('stopped before every pool served', err)
        self.assertEqual(processes.Child(master).wait(), 3)

    @staticmethod
    def _number(path):
        try:
            with open(path, encoding='ascii') as file:
                return int(file.read() or 0)
        except FileNotFoundError:
            return 0

    def test_pid_file_in_use(self):
        it = self.start(ECHO, arguments=['-p', '@DIR@/pid'])
        result = self.run_preforkd('-d', '-c', it.file, '-p', it.path('pid'))
        self.assertEqual(result.returncode, 3, result.stderr)

    def test_reload_of_a_relative_file(self):
        """A relative configuration path still works after detaching."""
        it = self.make(ECHO)
        result = self.run_preforkd('-d', '-c', 'preforkd.conf', '-p', 'pid', cwd=it.directory)
        self.assertEqual(result.returncode, 0, result.stderr)
        with open(it.path('pid'), encoding='ascii') as file:
            master = int(file.read())
        self.addCleanup(self._bury, master)
        it.write(ECHO.replace('workers = 2', 'workers = 3'))
        os.kill(master, signal.SIGHUP)
        wait_until(lambda: len(processes.children(master)) == 3, 'the reload')
        os.kill(master, signal.SIGTERM)
        self.assertEqual(processes.Child(master).wait(), 0)
        self.assertFalse(os.path.exists(it.path('pid')))


class Terminal(daemon.Case):
    """Started by hand: the daemon writes to the terminal, but obeys no signals from it."""

    def read_until(self, terminal, pattern):
        said = b''
        while not re.search(pattern, said):
            self.assertTrue(select.select([terminal], [], [], processes.PATIENCE)[0], said)
            said += os.read(terminal, 4096)
        return said

    def test_resized_terminal_drains_nothing(self):
        it = self.make(ECHO)
        pid, terminal = pty.fork()
        if pid == 0:
            os.execv(daemon.BINARY, [daemon.BINARY, '-c', it.file])
        self.addCleanup(os.close, terminal)
        child = processes.Child(pid)
        self.addCleanup(lambda: processes.alive(pid) and os.kill(pid, signal.SIGKILL))
        self.read_until(terminal, rb'ready: every pool serves')
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack('4H', 30, 90, 0, 0))
        wait_until(lambda: int(processes.status(pid)['ShdPnd'], 16) == 0, 'no pending signal')
        os.kill(pid, signal.SIGUSR1)
        self.assertIn(b'state=serving', self.read_until(terminal, rb'state=\w+ '))
        os.kill(pid, signal.SIGWINCH)
        self.read_until(terminal, rb'draining')
        os.write(terminal, b'\x03')  # Ctrl-C
        self.read_until(terminal, rb'(?s)SIGINT from pid 0 \(the kernel\).*notice: stopped')
        self.assertEqual(child.wait(), 0)


class Root(daemon.Case):
    @daemon.needs_root
    def test_user_root_is_allowed_and_said(self):
        it = self.start(ECHO + 'user = "root"\ngroup = "root"\n')
        it.announce('root')
        it.log.wait(r'(warning|notice): .*root')
        for pid in it.workers():
            self.assertEqual(processes.status(pid)['Uid'].split()[0], '0')

    @daemon.needs_root
    def test_workers_are_not_root(self):
        it = self.start(ECHO)
        for pid in it.workers():
            shown = processes.status(pid)
            self.assertNotIn('0', shown['Uid'].split())
            self.assertNotIn('0', shown['Gid'].split())
            self.assertEqual(int(shown['CapEff'], 16), 0)
        self.assertEqual(it.log.find(wording.TROUBLE), [])


if __name__ == '__main__':
    daemon.main()
