"""A program per connection: its environment, its end, and the processes it starts."""

import errno
import os
import pwd
import re
import shutil
import signal
import socket
import unittest

import board
import client
import control
import daemon
import processes
import wording
from daemon import shell
from processes import wait_until


def signals(status, name):
    """The numbers in a mask of /proc/PID/status, without 32 and 33: glibc's posix_spawn(), which
    starts the daemon here, ignores these, and nobody can change that."""
    mask = int(re.search(rf'(?m)^{name}:\t(\w+)$', status)[1], 16)
    return {number for number in range(1, 65) if mask >> (number - 1) & 1} - {32, 33}


class Program(daemon.Case):
    def answer(self, script, options='', data=b''):
        it = self.start(shell(script, options))
        return client.ask(it.address('x'), data).decode()

    def test_socket_is_standard_input_and_output(self):
        it = self.start('pool "x" { listen = { "systemd:x" } workers = 3\n'
                        'exec { command = { "/bin/cat" } } }')
        it.same_descriptors = True
        for _ in range(5):
            data = os.urandom(200000)
            with it.connect('x') as connection:
                self.assertEqual(client.exchange(connection, data), data)
        it.wait_for_workers(3)

    def test_text_stays_text(self):
        text = self.answer('echo ${HOME} "$LOGNAME" \'$x\' `echo tick` \\\\')
        self.assertRegex(text, r'^/\S* \w+ \$x tick \\\n$')

    def test_arguments(self):
        it = self.start('pool "x" { listen = { "systemd:x" } workers = 1 exec { command = {\n'
                        '"/usr/bin/printf", "[%s]", "a b", "", "*", "$HOME" } } }')
        self.assertEqual(client.ask(it.address('x')), b'[a b][][*][$HOME]')

    def test_descriptors_are_three(self):
        # Not in a pipe: the shell would hold its ends for a moment. Not last: ls would replace the
        # shell.
        text = self.answer('ls -l /proc/$$/fd; true')
        held = dict(re.findall(r'(?m) (\d+) -> (.*)$', text))
        self.assertEqual(sorted(held), ['0', '1', '2'], text)
        self.assertEqual(held['0'], held['1'])
        self.assertTrue(held['0'].startswith('socket:'), text)
        self.assertTrue(held['2'].startswith('pipe:'), text)

    def test_descriptors_are_three_without_close_range(self):
        """As in a container whose seccomp filter does not know the call, and with one descriptor
        more from the starter of the daemon."""
        it = self.make(shell('ls /proc/$$/fd; true')).with_failing_calls()
        it.program = it.put('preforkd', '#!/bin/sh\nexec 9</dev/null\n'
                            f'exec {daemon.BINARY} "$@"\n', mode=0o755)
        it.put('CLOSE_RANGE', '')
        it.launch().ready()
        self.assertEqual(client.ask(it.address('x')).split(), [b'0', b'1', b'2'])

    @daemon.needs_root
    def test_nothing_is_run_where_descriptors_can_not_be_closed(self):
        """close_range() fails, and without /proc in the root directory they can't be closed one by
        one."""
        busybox = next((path for path in ('/bin/busybox', '/usr/bin/busybox')
                        if os.path.exists(path)), None)
        if not busybox:
            self.skipTest('no busybox here')
        it = self.make('pool "x" { listen = { "systemd:x" } workers = 1 chroot = "@DIR@/jail"\n'
                       'exec { command = { "/busybox", "echo", "it runs" } } }')
        it.with_failing_calls()
        os.makedirs(it.path('jail'))
        shutil.copy(busybox, it.path('jail/busybox'))
        # Only processes in the jail see this file: the worker and its program.
        it.environment['FAILING_CLOSE_RANGE'] = '/jail-alone'
        it.put('jail/jail-alone', '')
        it.launch().ready()
        it.announce(r"err: pool x: can't start /busybox")
        self.assertEqual(client.ask(it.address('x')), b'')
        it.wait_for_log(r"pool x: can't start /busybox: No such file or directory")

    def test_descriptors_without_close_range(self):
        """An older kernel, or one that doesn't know the flag, makes no difference to a program."""
        usual = self.answer('ls -l /proc/self/fd').splitlines()
        for error in (errno.ENOSYS, errno.EINVAL):
            it = self.make(shell('ls -l /proc/self/fd'))
            it.with_failing_calls()
            it.put('close_range', str(error))
            it.environment['FAILING_CLOSE_RANGE'] = it.path('close_range')
            it.launch().ready()
            there = client.ask(it.address('x')).decode().splitlines()
            self.assertEqual(len(there), len(usual), there)

    def test_signals_are_as_new(self):
        shown = self.answer('cat /proc/self/status')
        for name in ('SigBlk', 'SigIgn', 'SigCgt', 'SigPnd'):
            self.assertEqual(signals(shown, name), set(), name)

    def test_ignored_signals_of_the_starter_are_not_handed_on(self):
        it = self.make(shell('cat /proc/self/status'))
        old = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        try:
            it.launch()
        finally:
            signal.signal(signal.SIGUSR1, old)
        it.ready()
        self.assertEqual(signals(client.ask(it.address('x')).decode(), 'SigIgn'), set())

    def test_process_group_of_its_own(self):
        it = self.start(shell('echo $$; cat'))
        with it.connect('x') as connection:
            program = int(connection.makefile('rb').readline())
            worker, = it.workers()
            self.assertEqual(processes.stat(program)[1:3], (worker, program))
            self.assertNotEqual(processes.stat(worker)[2], program)

    def test_environment(self):
        it = self.start(shell('env', 'environment = { "A=b c", "PATH=/bin:/usr/bin", "E=" }'),
                        environment={'TZ': 'UTC', 'LANG': 'C.UTF-8', 'SECRET': 'x', 'A': 'wrong'})
        text = client.ask(it.address('x')).decode()
        found = dict(line.split('=', 1) for line in text.splitlines())
        user = pwd.getpwnam(daemon.USER) if daemon.ROOT else pwd.getpwuid(os.getuid())
        found.pop('PWD', None)  # the shell sets it
        found.pop('OLDPWD', None)
        found.pop('SHLVL', None)
        found.pop('_', None)
        self.assertEqual(
            {name: value for name, value in found.items()
             if not name.startswith(('TCP', 'PROTO', 'REMOTE'))},
            {'A': 'b c', 'PATH': '/bin:/usr/bin', 'E': '', 'TZ': 'UTC', 'LANG': 'C.UTF-8',
             'HOME': user.pw_dir, 'USER': user.pw_name, 'LOGNAME': user.pw_name})

    def test_exit_status_does_not_end_the_worker(self):
        it = self.start(shell('echo hello; exit 3'))
        workers = it.workers()
        for _ in range(5):
            self.assertEqual(client.ask(it.address('x')), b'hello\n')
        self.assertEqual(it.workers(), workers)
        it.log.wait(r'exit(=|ed with )\s*3')

    def test_program_killed_by_a_signal(self):
        it = self.start(shell('echo hello; kill -SEGV $$'))
        it.announce('killed by signal 11')
        workers = it.workers()
        self.assertEqual(client.ask(it.address('x')), b'hello\n')
        it.wait_for_log(r' notice: .*signal')
        self.assertEqual(it.workers(), workers)

    def test_exit_in_the_connections_line(self):
        it = self.start(shell('exit 7', 'log_connections = true'))
        client.ask(it.address('x'))
        line = it.wait_for_log(r' info: .*peer=127\.0\.0\.1:').string
        self.assertEqual(wording.field(line, 'exit'), '7')

    def test_no_receive_timeout_is_inherited(self):
        """A program may wait for its client for any time."""
        script = ('import socket,struct; s = socket.socket(fileno=0); '
                  'print(*[struct.unpack("ll", s.getsockopt(socket.SOL_SOCKET, o, 16)) for o in '
                  '(socket.SO_RCVTIMEO, socket.SO_SNDTIMEO)], s.getblocking(), flush=True)')
        it = self.start('pool "x" { listen = { "systemd:x" } workers = 1 exec { command = {\n'
                        f'"/usr/bin/python3", "-c", "{script.replace(chr(34), chr(39))}" }} }} }}')
        self.assertEqual(client.ask(it.address('x')), b'(0, 0) (0, 0) True\n')

    def test_address_that_was_of_an_echo_pool(self):
        """The pool takes the address over, and clears its timeouts."""
        it = self.start('pool "x" { listen = { "systemd:x" } workers = 1\n'
                        'idle_timeout = 1 echo {} }')
        old = it.workers()
        it.reload(shell('read line; echo "$line"'))
        it.wait_for_workers(1, without=old)
        with it.connect('x') as connection:
            connection.settimeout(2)
            self.assertRaises(TimeoutError, connection.recv, 1)
            connection.settimeout(client.PATIENCE)
            connection.sendall(b'late\n')
            self.assertEqual(client.read_all(connection), b'late\n')

    def test_no_zombie_within_workers(self):
        it = self.start(shell('echo hello'))
        for _ in range(20):
            client.ask(it.address('x'))
        wait_until(lambda: processes.descendants(it.pid, zombies=True) == it.workers(),
                   'only the worker')

    def test_end_is_the_programs_to_tell(self):
        """The client sees the end when the program closes: the worker holds no copy."""
        it = self.make(shell('echo $$; exec <&- >&-; read line < @DIR@/end'))
        os.mkfifo(it.path('end'))
        os.chmod(it.path('end'), 0o644)
        it.launch().ready()
        for _ in range(2):
            program = int(client.ask(it.address('x')))
            self.assertTrue(processes.alive(program))
            with open(it.path('end'), 'w', encoding='ascii') as end:
                end.write('\n')
            wait_until(lambda pid=program: not processes.alive(pid), 'its end')

    def test_bytes_are_not_told(self):
        """Nobody counts a program's bytes; the worker has no socket to ask."""
        it = self.start(shell('echo hello', 'log_connections = true'))
        client.ask(it.address('x'))
        line = it.wait_for_log(r' info: .*peer=127\.0\.0\.1:').string
        self.assertEqual((wording.field(line, 'in'), wording.field(line, 'out')), (None, None))
        self.assertEqual(wording.field(line, 'exit'), '0')

    def test_failure_is_told_with_duration(self):
        for level in ('notice', 'info', 'debug'):
            it = self.start(shell('echo hello; exit 9') + f'log {{ level = "{level}" }}\n')
            client.ask(it.address('x'))
            line = it.wait_for_log(r' notice: .*exit=9').string
            self.assertRegex(wording.field(line, 'duration'), r'^\d+\.\d+$')

    def test_success_is_told_to_those_who_debug(self):
        it = self.start(shell('echo hello') + 'log { level = "debug" }\n')
        client.ask(it.address('x'))
        it.wait_for_log(r' debug: .*duration=\S+ exit=0')


def variables(text):
    """The variables about the connection in a program's environment."""
    found = dict(line.split('=', 1) for line in text.splitlines())
    return {name: value for name, value in found.items()
            if name.startswith(('TCP', 'UNIX', 'PROTO', 'REMOTE'))}


class Told(daemon.Case):
    """What a program is told about its connection."""

    def start_on(self, script, **listeners):
        names = ', '.join(f'"systemd:{name}"' for name in listeners)
        return self.start(shell(script).replace('"systemd:x"', names), listeners=listeners)

    def tcp(self, it, name, host, source=None):
        """Connects to the host; returns what the program says, and what it should say."""
        port = it.address(name)[1]
        family = socket.AF_INET6 if ':' in host else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as connection:
            connection.settimeout(client.PATIENCE)
            if source:
                connection.bind((source, 0))
            connection.connect((host, port))
            ours = connection.getsockname()
            connection.shutdown(socket.SHUT_WR)
            found = variables(client.read_all(connection).decode())
        return found, {'PROTO': 'TCP', 'TCPREMOTEIP': ours[0], 'TCPREMOTEPORT': str(ours[1]),
                       'TCPLOCALIP': host, 'TCPLOCALPORT': str(port), 'TCPCONNNUM': '1',
                       'REMOTE_ADDR': ours[0], 'REMOTE_PORT': str(ours[1])}

    def test_one_address(self):
        it = self.start_on('env', x=daemon.listen_tcp())
        for _ in range(3):
            self.assertEqual(*self.tcp(it, 'x', '127.0.0.1'))
        self.assertEqual(*self.tcp(it, 'x', '127.0.0.1', '127.0.0.9'))

    def test_every_ipv4_address(self):
        it = self.start_on('env', x=daemon.listen_tcp('0.0.0.0'))
        for host in ('127.0.0.1', '127.1.2.3'):
            self.assertEqual(*self.tcp(it, 'x', host))

    @unittest.skipUnless(socket.has_dualstack_ipv6(), 'no IPv6 here')
    def test_both_families_by_one_socket(self):
        """An IPv4 address mapped into IPv6 is printed as IPv4."""
        both = socket.create_server(('::', 0), family=socket.AF_INET6, dualstack_ipv6=True)
        it = self.start_on('env', x=both)
        for host in ('127.0.0.1', '::1', '127.0.0.2'):
            self.assertEqual(*self.tcp(it, 'x', host))

    def numbered(self, it, source='127.0.0.1'):
        """A connection that stays open, and the number that the program sees."""
        connection = socket.create_connection(it.address('x'), client.PATIENCE, (source, 0))
        self.addCleanup(connection.close)
        return connection, int(connection.makefile('rb').readline())

    def test_number_of_connections_from_one_address(self):
        it = self.start(shell('echo $TCPCONNNUM; cat', workers=6))
        held = [self.numbered(it) for _ in range(4)]
        self.assertEqual([number for _, number in held], [1, 2, 3, 4])
        self.assertEqual(self.numbered(it, '127.0.0.2')[1], 1)
        for connection, _ in held[:3]:
            connection.shutdown(socket.SHUT_WR)
            client.read_all(connection)
            connection.close()
        # The worker closes the connection just before it frees its seat.
        wait_until(lambda: self.next_number(it) == 2, 'one connection left')

    def next_number(self, it):
        connection, number = self.numbered(it)
        connection.shutdown(socket.SHUT_WR)
        client.read_all(connection)
        return number

    def test_several_listeners(self):
        it = self.start_on('env', x=daemon.listen_tcp(), y=daemon.listen_tcp('127.0.0.2'))
        for _ in range(2):
            self.assertEqual(*self.tcp(it, 'x', '127.0.0.1'))
            self.assertEqual(*self.tcp(it, 'y', '127.0.0.2'))

    def unix(self, it, path):
        found = variables(client.ask(path).decode())
        return found, {'PROTO': 'UNIX', 'UNIXREMOTEEUID': str(os.geteuid()),
                       'UNIXREMOTEEGID': str(os.getegid()), 'UNIXREMOTEPID': str(os.getpid()),
                       'UNIXLOCALPATH': path.replace('\0', '@')}

    def test_unix_socket(self):
        it = self.start(shell('env').replace('systemd:x', 'unix:@DIR@/x.sock'))
        self.assertEqual(*self.unix(it, it.path('x.sock')))

    def test_unix_socket_without_a_path(self):
        name = f'@preforkd-test-{os.getpid()}'
        it = self.start(shell('env').replace('systemd:x', f'unix:{name}'))
        self.assertEqual(*self.unix(it, name))

    def test_one_worker_for_both(self):
        it = self.make(shell('env').replace('"systemd:x"', '"systemd:x", "unix:@DIR@/x.sock"'))
        it.launch().ready()
        for _ in range(3):
            self.assertEqual(*self.tcp(it, 'x', '127.0.0.1'))
            self.assertEqual(*self.unix(it, it.path('x.sock')))

    def test_environment_of_the_pool_has_precedence(self):
        it = self.start(shell('env', 'environment = { "REMOTE_ADDR=hidden", "TCPREMOTEIP=" }'))
        found, right = self.tcp(it, 'x', '127.0.0.1')
        self.assertEqual(found, right | {'REMOTE_ADDR': 'hidden', 'TCPREMOTEIP': ''})

    def test_nothing_of_the_starters(self):
        it = self.start(shell('env').replace('systemd:x', 'unix:@DIR@/x.sock'), environment={
            'TCPREMOTEIP': '192.0.2.1', 'REMOTE_HOST': 'x', 'UNIXLOCALPATH': '/y', 'PROTO': 'SSL'})
        self.assertEqual(*self.unix(it, it.path('x.sock')))


class Errors(daemon.Case):
    """Where a program's standard error goes."""

    def said(self, option):
        """The text that reaches the client, and the log lines that contain it."""
        it = self.start(shell('echo oops >&2 && echo written', section=option))
        got = [client.ask(it.address('x')) for _ in range(3)]
        it.stop()
        self.assertEqual(len(set(got)), 1, got)
        return got[0], len(it.log.find(r': oops '))

    def test_log_is_the_default(self):
        for option in ('', 'stderr = "log"'):
            self.assertEqual(self.said(option), (b'written\n', 3))

    def test_socket(self):
        self.assertEqual(self.said('stderr = "socket"'), (b'oops\nwritten\n', 0))

    def test_null(self):
        self.assertEqual(self.said('stderr = "null"'), (b'written\n', 0))

    def test_blocks_again_for_the_next(self):
        """One program's changes to the pipe's flags don't affect the next."""
        it = self.start('pool "x" { listen = { "systemd:x" } workers = 1 exec { command = {\n'
                        '"/usr/bin/python3", "-c", "import fcntl, os; '
                        'print(fcntl.fcntl(2, fcntl.F_GETFL) & ~os.O_ACCMODE, flush=True); '
                        'fcntl.fcntl(2, fcntl.F_SETFL, os.O_NONBLOCK | os.O_APPEND)" } } }')
        for _ in range(3):
            self.assertEqual(client.ask(it.address('x')), b'0\n')

    def test_changed_by_a_reload(self):
        it = self.start(shell('echo oops >&2'))
        old = it.workers()
        it.reload(shell('echo oops >&2', section='stderr = "socket"'))
        it.wait_for_workers(1, without=old)
        self.assertEqual(client.ask(it.address('x')), b'oops\n')

    def test_other_words_are_refused(self):
        it = self.make(shell('true', section='stderr = "syslog"'))
        done = self.run_preforkd('-t', '-c', it.file)
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, r':\d+: .*stderr.*log, socket or null.*"syslog"')


class NotStarting(daemon.Case):
    """A program that can't be started: its client is closed, the pool stays."""

    CONFIG = ('pool "x" { listen = { "systemd:x" } workers = 1\n'
              'exec { command = { "@DIR@/program" } } }')

    def vanish(self, change, reason):
        it = self.make(self.CONFIG)
        path = it.put('program', '#!/bin/sh\necho hello\n', mode=0o755)
        it.launch().ready()
        self.assertEqual(client.ask(it.address('x')), b'hello\n')
        workers = it.workers()
        it.announce('program')
        change(path)
        for _ in range(5):
            self.assertEqual(client.ask(it.address('x')), b'')
        it.wait_for_log(rf' err: .*can\'t start {path}: {reason}')
        wait_until(lambda: processes.descendants(it.pid, zombies=True) == it.workers(),
                   'no zombie')
        it.put('program', '#!/bin/sh\necho hello again\n', mode=0o755)
        self.assertEqual(client.ask(it.address('x')), b'hello again\n')
        self.assertEqual(it.workers(), workers)

    def test_gone(self):
        self.vanish(os.unlink, 'No such file or directory')

    def test_not_to_be_executed(self):
        self.vanish(lambda path: os.chmod(path, 0o644), 'Permission denied')

    def test_no_program(self):
        def garble(path):
            with open(path, 'w', encoding='ascii') as file:
                file.write('no program at all\n')
        self.vanish(garble, 'Exec format error')

    def test_no_interpreter(self):
        def lose(path):
            with open(path, 'w', encoding='ascii') as file:
                file.write('#!/nowhere/sh\n')
        self.vanish(lose, 'No such file or directory')

    def fail(self):
        """A daemon whose only worker pauses because its program can't be started."""
        it = self.make(self.CONFIG)
        path = it.put('program', '#!/bin/sh\necho hello\n', mode=0o755)
        it.launch().ready()
        it.announce('program')
        os.unlink(path)
        for _ in range(7):
            self.assertEqual(client.ask(it.address('x')), b'')
        return it

    def test_worker_that_waits_is_told_to_stop(self):
        """The worker does not finish its pause: a second more, and it would be killed."""
        it = self.fail()
        it.write(self.CONFIG + '\ngraceful_timeout = 1\n')
        it.put('program', '#!/bin/sh\necho hello\n', mode=0o755)
        it.reload()
        it.stop()

    def test_worker_that_waits_is_retired(self):
        it = self.fail()
        old = it.workers()
        it.put('program', '#!/bin/sh\necho hello\n', mode=0o755)
        it.reload(self.CONFIG.replace('workers = 1', 'workers = 1 nice = 1'))
        it.wait_for_workers(1, without=old)
        self.assertEqual(client.ask(it.address('x')), b'hello\n')

    def state(self, it):
        pool = board.pool(it, 'x')
        return pool['state'], pool['trouble'] or ''

    def test_pool_is_degraded(self):
        """The worker looks idle but serves nobody: after a few failures the reports say
        "degraded"."""
        it = self.make(self.CONFIG + '\ncontrol = "@DIR@/control"\n')
        path = it.put('program', '#!/bin/sh\necho hello\n', mode=0o755)
        it.launch().ready()
        it.announce('program')
        self.assertEqual(client.ask(it.address('x')), b'hello\n')
        os.unlink(path)
        for failed in range(1, 5):
            self.assertEqual(client.ask(it.address('x')), b'')
            wait_until(lambda: self.state(it)[0] == ('degraded' if failed >= 3 else 'serving'),
                       f'what {failed} make of it')
        self.assertIn("its program can't be started: No such file or directory", self.state(it)[1])
        self.assertRegex(control.run(it, 'status').stdout, r'pool x: degraded for .*: its program')
        it.put('program', '#!/bin/sh\necho hello again\n', mode=0o755)
        self.assertEqual(client.ask(it.address('x')), b'hello again\n')
        # At once, not because the failures are forgotten after a minute.
        wait_until(lambda: self.state(it) == ('serving', ''), 'a serving pool', timeout=30)

    @daemon.needs_root
    def test_pool_without_processes_is_degraded(self):
        it = self.start(shell('echo hello', 'user = "daemon" limits { nproc = 1 }')
                        + 'control = "@DIR@/control"\n')
        it.announce('start /bin/sh')
        for _ in range(3):
            client.ask(it.address('x'))
        wait_until(lambda: self.state(it)[0] == 'degraded', 'degraded')
        self.assertIn('Resource temporarily unavailable', self.state(it)[1])
        it.kill(signal.SIGUSR1)
        it.wait_for_log(r'pool x: degraded, ')

    @daemon.needs_root
    def test_too_many_processes(self):
        it = self.start(shell('echo hello', 'user = "daemon" limits { nproc = 1 }'))
        it.announce('start /bin/sh')
        self.assertEqual(client.ask(it.address('x')), b'')
        it.wait_for_log(r" err: .*can't start /bin/sh: Resource temporarily unavailable")


class Ends(daemon.Case):
    """A program ends with its worker, and takes its process group along."""

    FAMILY = 'echo $$; sleep 1000 & echo $!; (trap "" TERM; exec sleep 1000) & echo $!; wait'

    def family(self, it, connection):
        lines = connection.makefile('rb')
        pids = [int(lines.readline()) for _ in range(3)]
        for pid in pids:
            self.assertTrue(processes.alive(pid))
        return pids

    def gone(self, pids):
        wait_until(lambda: not any(processes.alive(pid) for pid in pids), f'the end of {pids}')

    def test_killed_with_its_worker(self):
        it = self.start(shell(self.FAMILY))
        it.announce('killed by signal 9')
        with it.connect('x') as connection:
            pids = self.family(it, connection)
            worker, = it.workers()
            it.kill(signal.SIGKILL, worker)
            self.gone(pids)
            self.assertIn(self._rest(connection), (b'', 'reset'))
        it.wait_for_workers(1, without=[worker])

    @staticmethod
    def _rest(connection):
        try:
            return client.read_all(connection)
        except ConnectionResetError:
            return 'reset'

    def test_quit_of_its_worker(self):
        it = self.start(shell(self.FAMILY))
        with it.connect('x') as connection:
            pids = self.family(it, connection)
            worker, = it.workers()
            it.kill(signal.SIGQUIT, worker)
            self.gone(pids)
        it.wait_for_workers(1, without=[worker])

    def test_graceful_stop_lets_it_finish(self):
        it = self.start(shell('echo hello; read line; echo "$line"'))
        with it.connect('x') as connection:
            self.assertEqual(client.read_exactly(connection, 6), b'hello\n')
            it.kill(signal.SIGTERM)
            wait_until(lambda: it.notices.find('STOPPING'), 'STOPPING=1')
            connection.sendall(b'last words\n')
            self.assertEqual(client.read_all(connection), b'last words\n')
        self.assertEqual(it.exited(), 0)

    def test_graceful_timeout_ends_it(self):
        it = self.start(shell(self.FAMILY, 'graceful_timeout = 1'))
        it.announce(wording.OVERDUE, 'killed by signal')
        with it.connect('x') as connection:
            pids = self.family(it, connection)
            it.kill(signal.SIGTERM)
            self.assertEqual(it.exited(), 0)
            self.gone(pids)

    def test_quit_of_the_master_ends_it(self):
        it = self.start(shell(self.FAMILY))
        it.announce(wording.OVERDUE, 'killed by signal')
        with it.connect('x') as connection:
            pids = self.family(it, connection)
            it.kill(signal.SIGQUIT)
            self.assertEqual(it.exited(), 0)
            self.gone(pids)

    def test_reload_lets_it_finish(self):
        it = self.start(shell('echo hello; read line; echo "$line"'))
        worker, = it.workers()
        with it.connect('x') as connection:
            self.assertEqual(client.read_exactly(connection, 6), b'hello\n')
            it.reload(shell('echo other; read line; echo "$line"'))
            with it.connect('x') as other:
                self.assertEqual(client.read_exactly(other, 6), b'other\n')
            connection.sendall(b'last words\n')
            self.assertEqual(client.read_all(connection), b'last words\n')
        it.wait_for_workers(1, without=[worker])

    def test_what_it_leaves_behind_holds_no_worker(self):
        """The background process keeps its connection, and the worker serves the next."""
        it = self.start(shell('exec 3<&0; { read line <&3; echo "late $line"; } & echo $$'))
        with it.connect('x') as first:
            program = int(first.makefile('rb').readline())
            wait_until(lambda: not processes.alive(program), 'the end of the program')
            with it.connect('x') as second:
                second.sendall(b'two\n')
                lines = client.read_all(second).splitlines()  # of two processes, in any order
                self.assertEqual((len(lines), b'late two' in lines), (2, True), lines)
            first.sendall(b'one\n')
            self.assertEqual(client.read_all(first), b'late one\n')

    def test_reloads_and_kills_under_load(self):
        """A reload costs nobody a program; a kill costs one client, and no program survives it."""
        def config(number):
            return ('pool "x" { listen = { "systemd:x" } workers = 4 exec {\n'
                    f'command = {{ "/bin/cat" }} }} environment = {{ "N={number}" }} }}')
        it = self.start(config(0))
        with client.Load(it.address('x'), clients=6) as load:
            for number in range(1, 6):
                it.reload(config(number))
            wait_until(lambda: load.served > 100, 'a load')
        self.assertEqual(load.failures, [])
        it.announce('killed by signal', 'ended by signal')
        with client.Load(it.address('x'), clients=6) as load:
            for number in (signal.SIGKILL, signal.SIGQUIT, signal.SIGTERM) * 4:
                served = load.served
                workers = it.wait_for_workers(4)
                it.kill(number, workers[0])
                it.wait_for_workers(4, without=workers[:1])
                wait_until(lambda: load.served > served + 10, 'more load')
        self.assertLess(len(load.failures), 13)
        wait_until(lambda: processes.descendants(it.pid, zombies=True) == it.workers(),
                   'no program left')

    def test_client_that_goes_away_unnoticed(self):
        """request_timeout ends a program that doesn't read its socket, and its group."""
        it = self.start(shell(self.FAMILY, 'request_timeout = 5'))
        it.announce('request_timeout', 'killed by signal')
        connection = it.connect('x')
        pids = self.family(it, connection)
        workers = it.workers()
        client.reset(connection)
        self.gone(pids)
        it.wait_for_workers(1, without=workers)
        it.wait_for_log(' warning: .*request_timeout')

    def test_client_that_goes_away(self):
        """The program notices by itself; the worker is free when the program ends."""
        it = self.start(shell('cat'))
        for _ in range(5):
            connection = it.connect('x')
            self.assertEqual(client.echo(connection, b'x'), b'x')
            client.reset(connection)
        with it.connect('x') as connection:
            connection.sendall(b'still')
            connection.shutdown(socket.SHUT_WR)
            self.assertEqual(client.read_all(connection), b'still')


if __name__ == '__main__':
    daemon.main()
