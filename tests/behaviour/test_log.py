"""The log: standard error of programs line by line, levels, and who gets what."""

import contextlib
import json
import os
import pty
import re
import resource
import select
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
import unittest

import client
import daemon
import processes
import wording
from daemon import shell
from processes import wait_until

MODULE = os.path.join(os.path.dirname(daemon.BINARY), '..', 'tests', 'behaviour', 'evil.so')


def module(deed, options='workers = 1', **more):
    """A pool `m` of a module that does this for each connection."""
    args = ', '.join(f'"{name}={value}"' for name, value in {'serve': deed, **more}.items())
    return (f'pool "m" {{ listen = {{ "unix:@DIR@/m" }} socket_mode = 0666 {options}\n'
            f'module {{ path = "@DIR@/m.so" args = {{ {args} }} }} }}\n')


class StandardError(daemon.Case):
    def test_lines_reach_the_log(self):
        it = self.start(shell('echo one >&2; echo two words >&2; echo answer'))
        it.announce('one|two words')
        self.assertEqual(client.ask(it.address('x')), b'answer\n')
        worker, = it.workers()
        for text in ('one', 'two words'):
            line = it.wait_for_log(text).string
            self.assertRegex(line, r'pool x\b|pool=x\b')
            self.assertIn(str(worker), line)

    def ask_often(self, it, count):
        """Asks one after the other; returns the clients' ports."""
        ports = []
        for _ in range(count):
            with it.connect('x') as connection:
                ports.append(connection.getsockname()[1])
                connection.shutdown(socket.SHUT_WR)
                client.read_all(connection)
        return ports

    def test_last_line_without_an_end(self):
        """It is logged when its program ends, and is never joined with the next program's."""
        it = self.start(shell('printf "from $TCPREMOTEPORT." >&2'))
        ports = self.ask_often(it, 90)
        for port in ports:
            it.wait_for_log(rf': from {port}\. pool=')

    def test_last_lines_that_are_read_late(self):
        """The master finds the lines of several programs in the pipe at once."""
        it = self.start(shell('printf "from $TCPREMOTEPORT." >&2'))
        it.kill(signal.SIGSTOP)
        ports = self.ask_often(it, 5)
        it.kill(signal.SIGCONT)
        for port in ports:
            it.wait_for_log(rf': from {port}\. pool=')

    def test_line_that_goes_on_later(self):
        """An unfinished line is logged after a moment, while its program waits."""
        it = self.start(shell('printf "half " >&2; read line; echo "of $line" >&2; read line'))
        with it.connect('x') as connection:
            it.wait_for_log(': half  pool=')
            connection.sendall(b'it\n')
            it.wait_for_log(': of it pool=')

    def test_ended_line_has_no_other(self):
        it = self.start(shell('echo whole >&2'))
        for _ in range(5):
            client.ask(it.address('x'))
        it.stop()
        self.assertEqual((len(it.log.find(': whole pool=')), it.log.find(r'\d:  pool=')), (5, []))

    def test_zero_bytes_hide_nothing(self):
        it = self.start(shell(r"printf 'be\000fore\000\n' >&2; head -c 300 /dev/zero >&2; "
                              'echo hidden >&2; echo after >&2'))
        client.ask(it.address('x'))
        it.wait_for_log(r': be\\x00fore\\x00 pool=')
        it.wait_for_log(r': (\\x00)+ \[cut\] pool=x pid=\d+$')
        it.wait_for_log(': after pool=')

    def test_control_characters_are_escaped(self):
        it = self.start(shell(r"printf 'a\033[2Jb\rc\ttab\177 \001 end\n' >&2"))
        it.announce('end')
        client.ask(it.address('x'))
        line = it.wait_for_log('end').string
        self.assertNotRegex(line, r'[\x00-\x1f\x7f]')
        self.assertRegex(line, r'(?i)a\\(x1b|033|e)\[2Jb')

    def test_controls_of_unicode_are_escaped(self):
        """Those of eight bits, and those that change the direction of a line."""
        it = self.start(shell(r"printf 'a\302\2332Jb \342\200\256c \303\251\351 end\n' >&2"))
        it.announce('end')
        client.ask(it.address('x'))
        it.wait_for_log(r': a\\xc2\\x9b2Jb \\xe2\\x80\\xaec \u00e9')

    def test_forged_lines(self):
        """A line that imitates ours is still marked as the program's."""
        it = self.start(shell("printf 'x\\npreforkd[1]: err: pool down\\n' >&2"))
        it.announce('pool down')
        client.ask(it.address('x'))
        line = it.wait_for_log('pool down').string
        self.assertRegex(line, rf'^preforkd\[{it.pid}\]: \w+: .*preforkd\[1\]')

    def test_long_lines_are_cut(self):
        it = self.start(shell("head -c 100000 /dev/zero | tr '\\0' x >&2; "
                              "echo >&2; echo after >&2; echo answer"))
        it.announce('xxx|after')
        self.assertEqual(client.ask(it.address('x')), b'answer\n')
        it.wait_for_log('after')
        longest = max(it.log.lines, key=len)
        self.assertIn('xxxx', longest)
        self.assertLess(len(longest), 4000)

    def test_flood_is_limited_and_counted(self):
        """More than a pipe holds must not block the program for good."""
        it = self.start(shell('i=0; while [ $i -lt 20000 ]; do echo flood-$i; i=$((i+1)); '
                              'done >&2; echo answer'))
        it.announce('flood', 'lines|suppressed|left out|more')
        busy = processes.cpu_seconds(it.pid)
        self.assertEqual(client.ask(it.address('x')), b'answer\n')
        self.assertLess(processes.cpu_seconds(it.pid) - busy, 5)

        def accounted():
            said = len(it.log.find(r'flood-\d+'))
            counted = sum(int(match[1]) for match in it.log.find(wording.LEFT_OUT))
            return said, counted
        wait_until(lambda: sum(accounted()) == 20000, lambda: f'20000 lines: {accounted()}')
        self.assertLess(accounted()[0], 3000)
        self.assertGreaterEqual(accounted()[0], 100)

    def test_programs_of_many_workers(self):
        it = self.start(shell('read name; echo "say $name" >&2; echo done', workers=8))
        it.announce('say')
        for number in range(40):
            client.ask(it.address('x'), b'%d\n' % number)
        for number in range(40):
            it.wait_for_log(rf'say {number}\b')

    def test_programs_that_start_together(self):
        """While many are forked, their pipes wait in a socket: none may be mistaken for another."""
        it = self.start('pool "x" { listen = { "unix:@DIR@/x" } workers = 200 app { '
                        'command = { "/bin/sh", "-c", "echo it is $$ >&2; exec sleep 1000" } } }\n')
        it.announce('it is')
        for pid in it.wait_for_workers(200):
            it.wait_for_log(rf'pool x: worker {pid}: it is {pid} ')

    def test_what_a_background_program_writes_later(self):
        """A background process still holds the pipe; it must not block a stop."""
        it = self.start(shell('(sleep 1; echo later >&2) >/dev/null <&- & echo now >&2'))
        it.announce('later|now')
        client.ask(it.address('x'))
        it.wait_for_log('now')
        it.wait_for_log('later')


class Terminal(daemon.Case):
    """Standard error is shared with other writers, or nobody reads it."""

    ECHO = 'pool "echo" { listen = { "unix:@DIR@/echo" } workers = 2 echo {} }\n'

    def launch(self, config, stderr):
        it = self.make(config)
        shutil.copy(MODULE, it.path('m.so'))
        process = subprocess.Popen([daemon.BINARY, '-c', it.file, '-e'], stdin=subprocess.DEVNULL,
                                   stdout=subprocess.DEVNULL, stderr=stderr)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return it, process

    def wait_for_workers(self, process, count, without=()):
        return wait_until(lambda: len(found := [pid for pid in processes.children(process.pid)
                                                if pid not in without]) == count and found,
                          f'{count} workers')

    def end(self, process):
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(client.PATIENCE), 0)

    def test_one_that_is_full(self):
        """The terminal has room for some bytes, then for none: each line is cut there, and nobody
        waits."""
        reader, writer = pty.openpty()
        self.addCleanup(os.close, reader)
        self.addCleanup(os.close, writer)
        it, process = self.launch(self.ECHO, writer)
        wait_until(lambda: os.path.exists(it.path('echo')), 'the socket of echo')
        self.wait_for_workers(process, 2)
        filler = os.open(os.ttyname(writer), os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
        self.addCleanup(os.close, filler)
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(filler, b'x' * 64)
        while not select.select([], [filler], [], 0)[1]:
            os.read(reader, 64)
        for _ in range(30):
            worker = self.wait_for_workers(process, 2)[0]
            os.kill(worker, signal.SIGTERM)
            self.wait_for_workers(process, 2, [worker])
            self.assertEqual(client.ask(it.path('echo'), b'still'), b'still')
        self.end(process)

    def test_a_file_is_appended_to(self):
        """The master and its workers append, whoever opened the file."""
        it = self.make('')
        with open(it.path('log'), 'w', encoding='utf-8') as log:
            log.write('begun by another\n')
            log.flush()
            os.lseek(log.fileno(), 0, os.SEEK_SET)
            it.write('log { level = "debug" }\n' + module('log') + self.ECHO)
            shutil.copy(MODULE, it.path('m.so'))
            process = subprocess.Popen([daemon.BINARY, '-c', it.file, '-e'], stderr=log,
                                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        self.wait_for_workers(process, 3)
        client.ask(wait_until(lambda: os.path.exists(it.path('m')) and it.path('m'), 'it'), b'x')
        with open(f'/proc/{process.pid}/fdinfo/2', encoding='ascii') as file:
            flags = int(re.search(r'flags:\s+(\d+)', file.read())[1], 8)
        self.assertTrue(flags & os.O_APPEND, 'without O_APPEND, other writers would be overwritten')
        self.end(process)
        with open(it.path('log'), encoding='utf-8') as file:
            lines = file.read().splitlines()
        self.assertEqual(lines[0], 'begun by another')
        for line in lines[1:]:
            self.assertRegex(line, wording.LINE)
        for words in ('starts with', 'a line of', 'stopped'):
            self.assertTrue([line for line in lines if words in line], (words, lines))

    def test_a_file_that_may_not_grow(self):
        """ulimit -f: what doesn't fit is lost, and nobody ends for that, master or worker."""
        with tempfile.TemporaryFile() as log:
            it, process = self.launch('log { level = "debug" }\n' + self.ECHO, log)
        wait_until(lambda: os.path.exists(it.path('echo')), 'its socket')
        workers = self.wait_for_workers(process, 2)
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (1, 1))
        for worker in workers:
            os.kill(worker, signal.SIGTERM)
        workers = self.wait_for_workers(process, 2, workers)
        for _ in range(10):
            self.assertEqual(client.ask(it.path('echo'), b'still'), b'still')
        self.assertEqual(self.wait_for_workers(process, 2), workers)
        self.end(process)

    @daemon.needs_root
    def test_flags_are_its_own(self):
        """A worker makes all its descriptors block; the master's log does not."""
        it = self.make(module('clear-flags'))
        shutil.copy(MODULE, it.path('m.so'))
        it.launch().ready()
        same = [fd for fd, what in processes.descriptors(it.pid).items()
                if what == os.readlink(f'/proc/{it.pid}/fd/2') and int(fd) > 2]
        self.assertEqual(len(same), 1, processes.descriptors(it.pid))
        client.ask(it.path('m'), b'x')
        with open(f'/proc/{it.pid}/fdinfo/{same[0]}', encoding='ascii') as file:
            flags = int(re.search(r'flags:\s+(\d+)', file.read())[1], 8)
        self.assertTrue(flags & os.O_NONBLOCK)

    def test_a_socket(self):
        """Workers log through the master, which alone has the socket."""
        reader, writer = socket.socketpair()
        self.addCleanup(reader.close)
        with writer:
            it, process = self.launch(module('log'), writer)
        said = reader.makefile('r', encoding='utf-8')
        for line in said:
            if re.search(wording.READY, line):
                break
        worker, = processes.children(process.pid)
        held = processes.descriptors(worker).values()
        self.assertNotIn(os.readlink(f'/proc/{process.pid}/fd/2'), held)
        client.ask(it.path('m'), b'x')
        self.end(process)
        rest = said.read()
        if not os.path.exists('/dev/log'):
            self.assertRegex(rest, rf'\[{process.pid}\]: notice: pool m: worker {worker}: '
                             'pool m: a line of')
        self.assertIn('stopped', rest)

    def test_a_socket_and_a_handler_under_a_list_of_calls(self):
        """A worker of echo reaches no syslog either, and logs by pwritev2()."""
        reader, writer = socket.socketpair()
        self.addCleanup(reader.close)
        with writer:
            it, process = self.launch(
                'pool "echo" { listen = { "unix:@DIR@/echo" } workers = 1 log_connections = true\n'
                'echo {} }\n', writer)
        said = reader.makefile('r', encoding='utf-8')
        for line in said:
            if re.search(wording.READY, line):
                break
        worker, = processes.children(process.pid)
        self.assertEqual(client.ask(it.path('echo'), b'x'), b'x')
        self.end(process)
        rest = said.read()
        self.assertNotRegex(rest, r'killed by signal')
        if not os.path.exists('/dev/log'):
            self.assertRegex(rest, rf'pool echo: worker {worker}: .*connection from')
class Background(daemon.Case):
    """A background process keeps its standard error, whatever becomes of its worker."""

    SCRIPT = ('{ read line < @DIR@/go; echo late >&2; echo answer; } & '
              'echo $$ $PPID')

    def begin(self, options='', config=None):
        it = self.make(config or shell(self.SCRIPT, options))
        it.announce('late')
        os.mkfifo(it.path('go'))
        os.chmod(it.path('go'), 0o644)
        return it.launch().ready()

    def leave_behind(self, it):
        """A client of a program that has ended except for its background part, and the worker."""
        connection = it.connect('x')
        self.addCleanup(connection.close)
        program, worker = map(int, connection.makefile('rb').readline().split())
        wait_until(lambda: not processes.alive(program), 'the end of the program')
        wait_until(lambda: not processes.title(worker).endswith('busy'), 'an idle worker')
        return connection, worker

    def let_go(self, it, times=1):
        """Lets background parts go on, even if they have not started to wait yet."""
        go = os.open(it.path('go'), os.O_RDWR)
        self.addCleanup(os.close, go)
        os.write(go, b'\n' * times)

    def finish(self, it, connection, worker):
        """Lets the background part go on: it still has standard error, and then its client."""
        self.let_go(it)
        self.assertEqual(client.read_all(connection), b'answer\n')
        it.wait_for_log(f': late pool=x pid={worker}$')

    def survive(self, change, options='', config=None):
        it = self.begin(options, config)
        connection, worker = self.leave_behind(it)
        change(it)
        it.wait_for_log(wording.obituary(worker, served=1))
        self.finish(it, connection, worker)
        return it

    def test_max_requests(self):
        self.survive(lambda it: None, 'max_requests = 1')

    def test_worker_is_killed(self):
        def kill(it):
            it.announce('killed by signal 9')
            it.kill(signal.SIGKILL, it.workers()[0])
        self.survive(kill)

    def test_reload(self):
        self.survive(lambda it: it.reload(shell(self.SCRIPT, 'nice = 1')))

    def test_pool_is_removed(self):
        other = 'pool "y" { listen = { "systemd:y" } workers = 1 echo {} }\n'
        self.survive(lambda it: it.reload(other), config=other + shell(self.SCRIPT))

    def test_shrinking(self):
        it = self.begin(config=shell(self.SCRIPT, workers=2))
        connection, worker = self.leave_behind(it)
        for _ in range(8):  # the other worker, idle longer, is the one to go
            other = self.leave_behind(it)[1]
            if other != worker:
                break
        self.assertNotEqual(other, worker)
        it.reload(shell(self.SCRIPT, workers=1))
        it.wait_for_log(wording.obituary(worker, served=1))
        self.let_go(it, 9)
        self.assertEqual(client.read_all(connection), b'answer\n')
        it.wait_for_log(f': late pool=x pid={worker}$')

    def test_upgrade(self):
        self.survive(lambda it: it.upgrade(), 'max_requests = 1')

    def test_descriptors(self):
        it = self.survive(lambda it: None, 'max_requests = 1')
        it.check_descriptors()

    def test_there_is_a_bound(self):
        """Above a limit the oldest are closed, and the log says so once."""
        it = self.begin('max_requests = 1')
        it.announce('no standard error any more')
        connections = [self.leave_behind(it)[0] for _ in range(70)]
        it.wait_for_log(r' warning: pool x: .*no standard error any more: too many')
        wait_until(lambda: len(processes.descriptors(it.pid)) <= it.descriptors_then + 66,
                   'no more than the limit')
        self.let_go(it, 70)
        answers = [client.read_all(connection) for connection in connections]
        self.assertIn(answers.count(b'answer\n'), (64, 65, 66), answers)
        self.assertEqual(len(it.log.find('no standard error')), 1)
        it.check_descriptors()

    def test_program_that_accepts_by_itself(self):
        app = ('pool "x" { listen = { "systemd:x" } workers = 1\n'
               'app { command = { "/bin/sh", "-c", "%s exec sleep 1000" } } }\n')
        it = self.begin(config=app % "setsid sh -c 'read line < @DIR@/go; echo late' &")
        worker, = it.workers()
        it.reload(app % '')
        it.wait_for_log(wording.obituary(worker))
        self.let_go(it)
        it.wait_for_log(f': late pool=x pid={worker}$')


class Output(daemon.Case):
    """Output of a program that accepts by itself, such as an access log."""

    @staticmethod
    def app(script):
        return ('pool "x" { listen = { "systemd:x" } workers = 1\n'
                f'app {{ command = {{ "/bin/sh", "-c", "{script}; exec sleep 1000" }} }} }}\n')

    def test_access_log(self):
        it = self.start(self.app('seq -f \'GET /%g HTTP/1.1\' 5000; echo done'))
        it.wait_for_log('done')
        self.assertEqual(len(it.log.find(r'GET /\d+ HTTP')), 5000)

    def test_flood(self):
        it = self.start(self.app('seq -f line-%g 200000; echo done >&2'))
        it.announce('left out')
        line = it.wait_for_log(wording.LEFT_OUT).string
        self.assertIn('output', line)
        self.assertNotIn('standard error', line)


class Levels(daemon.Case):
    ECHO = 'pool "echo" { listen = { "systemd:echo" } workers = 1 echo {} }\n'

    def test_format(self):
        it = self.start(self.ECHO)
        it.stop()
        self.assertTrue(it.log.lines)
        for line in it.log.lines:
            seen = wording.LINE.match(line)
            self.assertTrue(seen, line)
            self.assertEqual(seen['ident'], 'preforkd')
            self.assertNotRegex(line, r'\(null\)|%[sdulz]|-nan')

    def test_ident(self):
        it = self.start('log { ident = "other" }\n' + self.ECHO)
        it.stop()
        self.assertEqual({wording.LINE.match(line)['ident'] for line in it.log.lines
                          if 'stop' in line}, {'other'})

    def test_levels(self):
        lines = {}
        for level in ('err', 'warning', 'notice', 'info', 'debug'):
            it = self.start(f'log {{ level = "{level}" }}\n' + self.ECHO)
            client.ask(it.address('echo'), b'x')
            it.stop()
            lines[level] = it.log.lines
            order = ['err', 'warning', 'notice', 'info', 'debug']
            for line in it.log.lines:
                self.assertIn(wording.LINE.match(line)['level'], order[:order.index(level) + 1])
        self.assertEqual(lines['err'] + lines['warning'], [])
        self.assertTrue(lines['notice'])
        self.assertTrue([line for line in lines['debug'] if ' debug: ' in line and 'peer=' in line])

    def test_an_ordinary_life_is_quiet(self):
        """A start, a connection and a stop fit on one screen of log lines."""
        it = self.start(self.ECHO)
        client.ask(it.address('echo'), b'x')
        it.stop()
        self.assertLess(len(it.log.lines), 12, it.log.lines)


class Syslog(daemon.Case):
    """In a mount namespace with our own /dev/log."""

    SCRIPT = ('mount --make-rprivate / && for f in null zero urandom; do '
              'touch "$1/dev/$f" && mount --bind /dev/$f "$1/dev/$f" || exit 99; done && '
              'mount --rbind "$1/dev" /dev && shift && exec "$@"')

    UNIX = 'pool "echo" { listen = { "unix:@DIR@/echo" } workers = 2 echo {} }\n'

    def make_socket(self, it):
        heard = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(heard.close)
        heard.bind(it.path('dev/log'))
        os.chmod(it.path('dev/log'), 0o666)
        heard.settimeout(client.PATIENCE)
        return heard

    def launch(self, it, more=()):
        os.mkdir(it.path('dev'), 0o755)
        heard = self.make_socket(it)
        command = ['unshare', '-m', 'sh', '-c', self.SCRIPT, 'sh', it.directory,
                   daemon.BINARY, '-c', it.file, *more]
        return heard, command

    def possible(self):
        return subprocess.run(['unshare', '-m', 'true'], capture_output=True,
                              check=False).returncode == 0

    def begin(self, config, mode=0o666):
        """Starts a daemon that logs to our /dev/log; returns (it, the socket there, its process,
        its command)."""
        if not self.possible():
            self.skipTest('no mount namespaces here')
        it = self.make(config)
        os.mkdir(it.path('root'))
        for name in ('m.so', 'root/m.so'):
            shutil.copy(MODULE, it.path(name))
        heard, command = self.launch(it)
        os.chmod(it.path('dev/log'), mode)
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.PIPE, text=True)
        self.addCleanup(process.kill)
        return it, heard, process, command

    def end(self, process):
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=client.PATIENCE)
        self.assertEqual((process.returncode, said), (0, ''))

    @staticmethod
    def hear(heard, pattern):
        """Reads lines until one matches, and returns it."""
        while True:
            line = heard.recv(65536).decode()
            if re.search(pattern, line):
                return line

    @daemon.needs_root
    def test_one_that_takes_nothing(self):
        """The socket's queue is full: lines are lost and counted, and nobody waits."""
        it, heard, process, _ = self.begin(self.UNIX)
        self.hear(heard, wording.READY)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as filler:
            filler.connect(it.path('dev/log'))
            filler.setblocking(False)
            with self.assertRaises(BlockingIOError):
                while True:
                    filler.send(b'<15>filler')
        for _ in range(20):
            worker = processes.children(process.pid)[0]
            os.kill(worker, signal.SIGTERM)
            wait_until(lambda: not processes.alive(worker), 'its end')
            process.send_signal(signal.SIGUSR1)
            self.assertEqual(client.ask(it.path('echo'), b'still'), b'still')
        self.assertEqual(self.hear(heard, 'filler')[:4], '<15>')
        self.hear_again(heard, process)
        self.end(process)

    def hear_again(self, heard, process):
        """The first line that arrives reports the lost ones; it may arrive while we still read."""
        told = [line for line in self.drain(heard) if 'did not take' in line]
        process.send_signal(signal.SIGUSR1)
        line = told[0] if told else self.hear(heard, 'did not take')
        self.assertGreater(int(wording.field(line, 'lost')), 0)
        self.hear(heard, 'pool=echo state=')
        for _ in range(3):  # the report comes once
            process.send_signal(signal.SIGUSR1)
            self.assertNotIn('did not take', self.hear(heard, 'did not take|pool=echo state='))

    @daemon.needs_root
    def test_one_that_goes_and_comes_back(self):
        it, heard, process, _ = self.begin(self.UNIX)
        self.hear(heard, wording.READY)
        heard.close()
        os.unlink(it.path('dev/log'))
        for _ in range(3):
            process.send_signal(signal.SIGUSR1)
            self.assertEqual(client.ask(it.path('echo'), b'still'), b'still')
        wait_until(lambda: processes.sleeps(process.pid), 'a master at rest')
        self.hear_again(self.make_socket(it), process)
        self.end(process)

    def drain(self, heard):
        """Reads what is queued; later reads block again."""
        lines = []
        heard.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                lines.append(heard.recv(65536).decode())
        heard.settimeout(client.PATIENCE)
        return lines

    @daemon.needs_root
    def test_a_worker_can_not_take_the_log(self):
        """A module connects all its sockets to one that nobody reads, and makes them block."""
        it, heard, process, _ = self.begin(module('take-log', to='@DIR@/taken')
                                           + self.UNIX.replace('2', '1'))
        taken = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(taken.close)
        taken.bind(it.path('taken'))
        os.chmod(it.path('taken'), 0o666)
        self.hear(heard, wording.READY)
        client.ask(it.path('m'), b'x')
        for _ in range(600):  # more than a socket holds
            process.send_signal(signal.SIGUSR1)
            self.hear(heard, rf'\[{process.pid}\]: pool m: .*pool=m state=')
        self.assertEqual(self.drain(taken), [])
        self.end(process)

    @daemon.needs_root
    def test_a_worker_of_another_root_directory(self):
        """It connects before chroot(); what it logs later goes through the master after /dev/log is
        gone."""
        config = module('log', 'workers = 1 chroot = "@DIR@/root"').replace('@DIR@/m.so', '/m.so')
        it, heard, process, _ = self.begin(config)
        self.hear(heard, wording.READY)
        worker, = processes.children(process.pid)
        client.ask(it.path('m'), b'x')
        self.hear(heard, rf'\[{worker}\]: pool m: a line of')
        heard.close()
        os.unlink(it.path('dev/log'))
        heard = self.make_socket(it)
        client.ask(it.path('m'), b'x')
        self.hear(heard, rf'\[{process.pid}\]: pool m: worker {worker}: pool m: a line of')
        self.end(process)

    @daemon.needs_root
    def test_a_dev_log_that_is_not_for_all(self):
        it, heard, process, _ = self.begin(module('log'), mode=0o600)
        self.hear(heard, wording.READY)
        worker, = processes.children(process.pid)
        client.ask(it.path('m'), b'x')
        self.hear(heard, rf'\[{worker}\]: pool m: a line of')
        self.end(process)

    @daemon.needs_root
    def test_a_worker_without_descriptors(self):
        """Its line goes through the master."""
        it, heard, process, _ = self.begin(module('log-without'))
        self.hear(heard, wording.READY)
        worker, = processes.children(process.pid)
        client.ask(it.path('m'), b'x')
        self.hear(heard, rf'\[{process.pid}\]: pool m: worker {worker}: pool m: a line at \d+')
        self.end(process)

    @daemon.needs_root
    def test_lines_go_to_dev_log(self):
        it, heard, process, command = self.begin('log { facility = "local3" ident = "other" }\n'
                                                 + self.UNIX.replace('2', '1'))
        lines = []
        while not any(re.search(wording.READY, line) for line in lines):
            lines.append(heard.recv(65536).decode())
        worker, = wait_until(lambda: processes.children(process.pid), 'the worker')
        self.assertEqual(client.ask(it.path('echo'), b'x'), b'x')
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=client.PATIENCE)
        self.assertEqual((process.returncode, said), (0, ''), shlex.join(command))
        heard.setblocking(False)
        try:
            while True:
                lines.append(heard.recv(65536).decode())
        except BlockingIOError:
            pass
        for line in lines:
            seen = re.match(r'<(\d+)>\w{3} [ \d]\d \d\d:\d\d:\d\d (\w+)\[(\d+)\]: \S', line)
            self.assertTrue(seen, line)
            self.assertIn(int(seen[3]), (process.pid, worker))
        ours = [line for line in lines if re.search('stop|TERM', line)]
        self.assertTrue(ours)
        for line in ours:
            self.assertRegex(line, r'^<(15[0-9])>\w.* other\[')  # local3 is 19: 19 * 8 + level


class Forms(daemon.Case):
    """Logs for programs: JSON on standard error, and the journal's native protocol."""

    ECHO = 'pool "echo" { listen = { "unix:@DIR@/echo" } workers = 1 echo {} }\n'

    def launch(self, config, *command, switches=(), **environment):
        """Starts the daemon with a socket as standard error; yields what arrives there."""
        it = self.make('control = "@DIR@/control"\n' + config)
        reader, writer = socket.socketpair()
        self.addCleanup(reader.close)
        reader.settimeout(client.PATIENCE)
        status = os.fstat(writer.fileno())
        stream = f'{status.st_dev}:{status.st_ino}'
        process = subprocess.Popen(
            [*command, daemon.BINARY, '-c', it.file, *switches], stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=writer,
            env=os.environ | {key: value.replace('@STREAM@', stream)
                              for key, value in environment.items()})
        writer.close()
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return it, process, reader.makefile('r', encoding='utf-8')

    def die_and_stop(self, process, next_event):
        """The lines about a worker that is killed, and then about a reload."""
        found = {}
        for wanted in ('start', 'ready', 'death', 'reload'):
            if wanted == 'death':
                worker, = processes.children(process.pid)
                os.kill(worker, signal.SIGKILL)
            if wanted == 'reload':
                process.send_signal(signal.SIGHUP)
            while wanted not in found:
                event = next_event()
                found[event.get('event', event.get('PREFORKD_EVENT'))] = event
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(client.PATIENCE), 0)
        return worker, found

    def test_json(self):
        _, process, lines = self.launch('log { format = "json" }\n' + self.ECHO,
                                        switches=['-e'])
        worker, found = self.die_and_stop(process, lambda: json.loads(lines.readline()))
        death = found['death']
        self.assertEqual((death['pool'], death['pid'], death['level']),
                         ('echo', process.pid, 'notice'))
        self.assertEqual((death['fields']['pid'], death['fields']['signal']), (str(worker), 'KILL'))
        self.assertRegex(death['message'], f'^pool echo: worker {worker} killed by signal 9.*[^ ]$')
        self.assertRegex(death['time'], r'^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$')
        for line in lines:
            json.loads(line)

    def test_values_with_blanks(self):
        """The paths of a socket, a program and a module may have blanks, quotes and equal signs."""
        name = 'a "b" pid=1 pool=y c'
        it = self.make('')
        it.put('program', '#!/no/such/interpreter\n', mode=0o755)
        shutil.copy(it.path('program'), it.path(name))
        word = name.replace('"', '\\"')
        it.write(f'pool "x" {{ listen = {{ "unix:@DIR@/{word}.sock" }} workers = 1\n'
                 f'exec {{ command = {{ "@DIR@/{word}" }} }} }}\n')
        it.launch().ready()
        it.announce('err: .*can.t start')
        escaped = it.path(name).replace('"', r'\x22').replace(' pool=', r' pool\x3d')
        lines = [it.wait_for_log('listening on .* listener=').string]
        self.assertEqual(client.ask(it.path(name + '.sock'), b''), b'')
        lines.append(it.wait_for_log('can.t start .* program=').string)
        self.assertTrue(lines[0].endswith(f' pool=x listener="unix:{escaped}.sock"'), lines[0])
        self.assertIn(f' pool=x program="{escaped}" failed=1 ', lines[1])

    def test_forged_pairs_of_a_peer(self):
        """A client chooses the name of its own Unix socket."""
        it = self.start('pool "x" { listen = { "unix:@DIR@/s" } workers = 1\n'
                        'log_connections = true echo {} }\n')
        with socket.socket(socket.AF_UNIX) as connection:
            connection.bind('\0a pool=y pid=1 "b\\')
            connection.connect(it.path('s'))
            client.echo(connection, b'x')
        line = it.wait_for_log('connection from').string
        self.assertIn(r' pool=x peer=unix:@a\x20pool=y\x20pid=1\x20\x22b\x5c duration=', line)
        self.assertEqual(line.count(' pool='), 1)

    def test_forged_pairs(self):
        """What a client makes a program write becomes no pair of the line about a death."""
        pool = ('pool "x" { listen = { "unix:@DIR@/x" } workers = 1 exec { command = { "/bin/sh", '
                '"-c", "read a; printf \'%s\\\\n\' \\"$a\\" >&2; kill -9 $PPID" } } }\n')
        it, process, lines = self.launch('log { format = "json" }\n' + pool, switches=['-e'])
        wait_until(lambda: os.path.exists(it.path('x')), 'the socket of x')
        worker, = wait_until(lambda: processes.children(process.pid), 'a worker')
        client.ask(it.path('x'), b'it" pid=1 pool=x pid=2 pool=y signal="no" new=3\n')
        death = next(line for line in map(json.loads, lines) if line.get('event') == 'death')
        process.send_signal(signal.SIGTERM)
        self.assertEqual((death['pool'], death['fields']['pool'], death['fields']['pid'],
                          death['fields']['signal']), ('x', 'x', str(worker), 'KILL'), death)
        self.assertEqual(death['fields']['last'], r'it\x22 pid=1 pool\x3dx pid=2 pool\x3dy '
                                                  r'signal=\x22no\x22 new=3')
        self.assertNotEqual(death['fields'].get('new'), '3')
        self.assertEqual(process.wait(client.PATIENCE), 0)

    @daemon.needs_root
    def test_journal(self):
        """A journal's socket in a mount namespace: standard error is connected to the journal, so
        it gets nothing itself."""
        it = self.make('')
        os.mkdir(it.path('journal'))
        journal = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(journal.close)
        journal.bind(it.path('journal/socket'))
        os.chmod(it.path('journal/socket'), 0o666)
        journal.settimeout(client.PATIENCE)
        inside = (f'mount -t tmpfs none /run/systemd && mkdir /run/systemd/journal && '
                  f'mount --bind {it.path("journal")} /run/systemd/journal && exec "$@"')
        _, process, lines = self.launch(self.ECHO, 'unshare', '--mount', 'sh', '-c', inside, 'sh',
                                        JOURNAL_STREAM='@STREAM@')

        def receive():
            text = journal.recv(65536).decode()
            self.assertTrue(text.endswith('\n'))
            return dict(line.split('=', 1) for line in text.splitlines())
        worker, found = self.die_and_stop(process, receive)
        death = found['death']
        self.assertEqual((death['PREFORKD_POOL'], death['PREFORKD_PID'], death['PRIORITY'],
                          death['SYSLOG_IDENTIFIER'], death['SYSLOG_PID']),
                         ('echo', str(worker), '5', 'preforkd', str(process.pid)))
        self.assertRegex(death['MESSAGE_ID'], '^[0-9a-f]{32}$')
        self.assertRegex(death['MESSAGE'], f'worker {worker} killed by signal 9 .* pool=echo pid=')
        self.assertEqual(lines.read(), '')

    @daemon.needs_root
    def test_a_journal_that_hangs(self):
        """The journal's queue is full: the daemon still starts, serves and replaces workers."""
        it = self.make('')
        os.mkdir(it.path('journal'))
        journal = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(journal.close)
        journal.bind(it.path('journal/socket'))
        inside = (f'mount -t tmpfs none /run/systemd && mkdir /run/systemd/journal && '
                  f'mount --bind {it.path("journal")} /run/systemd/journal && exec "$@"')
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as filler:
            filler.connect(it.path('journal/socket'))
            with contextlib.suppress(BlockingIOError):
                while True:
                    filler.send(b'MESSAGE=full\n')
        its, process, _ = self.launch(self.ECHO, 'unshare', '--mount', 'sh', '-c', inside, 'sh',
                                      JOURNAL_STREAM='@STREAM@')
        wait_until(lambda: os.path.exists(its.path('echo')), 'the socket of echo')
        worker, = wait_until(lambda: processes.children(process.pid), 'a worker')
        self.assertEqual(client.ask(its.path('echo'), b'still'), b'still')
        os.kill(worker, signal.SIGKILL)
        wait_until(lambda: processes.children(process.pid) not in ([], [worker]), 'the next worker')
        self.assertEqual(client.ask(its.path('echo'), b'still'), b'still')
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(client.PATIENCE), 0)


class Catalog(unittest.TestCase):
    @unittest.skipUnless(shutil.which('journalctl'), 'no journalctl here')
    def test_journalctl_reads_it(self):
        source = os.path.join(os.path.dirname(os.path.abspath(__file__)),
                              '../../systemd/preforkd.catalog')
        with tempfile.TemporaryDirectory() as root:
            there = os.path.join(root, 'usr/lib/systemd/catalog')
            os.makedirs(there)
            os.makedirs(os.path.join(root, 'var/lib/systemd/catalog'))
            shutil.copy(source, there)
            for action in ('--update-catalog', '--list-catalog'):
                done = subprocess.run(['journalctl', '--root', root, action], capture_output=True,
                                      text=True, check=True, timeout=client.PATIENCE)
                self.assertEqual(done.stderr, '')
        with open(source, encoding='utf-8') as file:
            self.assertEqual(len(done.stdout.splitlines()), file.read().count('\n-- '))


if __name__ == '__main__':
    daemon.main()
