"""A daemon under test, and the test case around it.

Daemon runs preforkd in the foreground in a directory of its own. It passes the daemon a listening
socket for each systemd:NAME in the configuration, waits for READY=1 on NOTIFY_SOCKET, and reads the
log line by line. Teardown fails the test if a process is left over, a descriptor leaked, the exit
status is not 0, or the log has an error or a warning that the test did not announce.
"""

import contextlib
import fcntl
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import unittest

import client
import processes
import wording
from processes import PATIENCE, wait_until

BINARY = os.path.abspath(os.environ.get('PREFORKD', 'preforkd'))
CONTROL_BINARY = os.path.abspath(
    os.environ.get('PREFORKCTL', os.path.join(os.path.dirname(BINARY), 'preforkctl')))
ROOT = os.geteuid() == 0
USER, GROUP = 'nobody', 'nogroup'
# LD_PRELOAD libraries make system calls that are on no seccomp list: handlers of ours that run
# under one need this option.
UNLISTED = 'no_new_privs = false'

LATE = 10  # seconds until a slow exit makes us record what the processes wait for

needs_root = unittest.skipUnless(ROOT, 'needs root')


def sanitized():
    with open(BINARY, 'rb') as file:
        return b'__asan_init' in file.read()


class Lines:
    """Lines that a thread collects and that tests wait for."""

    def __init__(self):
        self.lines = []
        self.ended = False
        self.changed = threading.Condition()

    def add(self, line):
        with self.changed:
            self.lines.append(line)
            self.changed.notify_all()

    def end(self):
        with self.changed:
            self.ended = True
            self.changed.notify_all()

    def find(self, pattern, since=0):
        """All matches so far."""
        with self.changed:
            lines = self.lines[since:]
        return [match for line in lines if (match := re.search(pattern, line))]

    def wait(self, pattern, since=0, timeout=PATIENCE):
        """Returns the first match; its .string is the whole line."""
        deadline = time.monotonic() + timeout
        at = since
        with self.changed:
            while True:
                for line in self.lines[at:]:
                    if match := re.search(pattern, line):
                        return match
                at = max(at, len(self.lines))
                left = deadline - time.monotonic()
                if self.ended or left <= 0:
                    why = 'it ended' if self.ended else f'{timeout} s'
                    raise AssertionError(f'no line /{pattern}/ ({why}) among\n  '
                                         + '\n  '.join(self.lines[since:][-40:]))
                self.changed.wait(left)


class Daemon:
    """Made by Case.make() or Case.start(); see there for the arguments."""

    def __init__(self, case, config, listeners=None, arguments=(), environment=None, prelude=True):
        self.case = case
        self.directory = tempfile.mkdtemp(prefix='preforkd-test-')
        os.chmod(self.directory, 0o755)
        self.file = self.path('preforkd.conf')
        self.prelude = prelude
        self.arguments = list(arguments)
        self.environment = environment or {}
        self.program = BINARY
        self.addresses = {}
        self.sockets = dict(listeners or {})
        self.announced = []
        self.stored = None  # a dict here keeps the descriptors sent to systemd's store, by name
        self.same_descriptors = False
        self.log = Lines()
        self.notices = Lines()
        self.child = None
        self.stopped = False
        self.late = []
        self.write(config)

    # -- its files

    def path(self, name):
        return os.path.join(self.directory, name)

    def expand(self, text):
        return text.replace('@DIR@', self.directory)

    def write(self, config):
        """Writes the configuration. Default global options are appended, not prepended, so that
        line numbers stay the same."""
        text = self.expand(config)
        given = {'control': '"none"', 'log': '{ level = "info" }'}
        if ROOT:
            given |= {'user': f'"{USER}"', 'group': f'"{GROUP}"'}
        if self.prelude:
            for name, value in given.items():
                if not re.search(rf'(?m)^{name}\b', text):
                    text += f'{name} {"" if name == "log" else "= "}{value}\n'
        self.put('preforkd.conf', text)

    def put(self, name, text, mode=0o644):
        """Writes a file in the daemon's directory atomically."""
        path = self.path(name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path + '.new', 'w', encoding='utf-8') as file:
            file.write(self.expand(text))
        os.chmod(path + '.new', mode)
        os.rename(path + '.new', path)
        return path

    # -- its life

    def _open_sockets(self):
        with open(self.file, encoding='utf-8', errors='replace') as file:
            for name in re.findall(r'systemd:([\w-]+)', file.read()):
                if name not in self.sockets:
                    self.sockets[name] = listen_tcp()
        for name, listening in self.sockets.items():
            self.addresses[name] = socket_address(listening)

    def launch(self):
        """Starts the daemon without waiting for anything."""
        self._open_sockets()
        environment = {name: value for name, value in os.environ.items()
                       if not name.startswith(('LISTEN_', 'NOTIFY_', 'WATCHDOG_'))}
        environment |= self.environment
        environment.setdefault('ASAN_OPTIONS', 'handle_segv=0:handle_abort=0:handle_sigfpe=0')
        self._hear_notices(environment)
        command = [self.program, '-c', self.file, '-e', *map(self.expand, self.arguments)]
        actions = [(os.POSIX_SPAWN_OPEN, 0, '/dev/null', os.O_RDONLY, 0),
                   (os.POSIX_SPAWN_OPEN, 1, '/dev/null', os.O_WRONLY, 0)]
        reader, writer = os.pipe()
        actions.append((os.POSIX_SPAWN_DUP2, writer, 2))
        high = []
        if self.sockets:
            # LISTEN_PID must be the daemon's pid, which only the child knows; $$ stays the same
            # across exec.
            command = ['/bin/sh', '-c', 'LISTEN_PID=$$ exec "$@"', 'sh', *command]
            environment['LISTEN_FDS'] = str(len(self.sockets))
            environment['LISTEN_FDNAMES'] = ':'.join(self.sockets)
            for at, listening in enumerate(self.sockets.values()):
                high.append(fcntl.fcntl(listening.fileno(), fcntl.F_DUPFD_CLOEXEC, 100))
                actions.append((os.POSIX_SPAWN_DUP2, high[-1], 3 + at))
        pid = os.posix_spawn(command[0], command, environment, file_actions=actions, setsid=True,
                             setsigmask=[], setsigdef=[signal.SIGPIPE, signal.SIGXFSZ])
        self.child = processes.Child(pid)
        for descriptor in high + [writer]:
            os.close(descriptor)
        for listening in self.sockets.values():
            listening.close()
        threading.Thread(target=self._read_log, args=(reader,), daemon=True).start()
        return self

    def _read_log(self, reader):
        with open(reader, encoding='utf-8', errors='replace', newline='\n') as file:
            for line in file:
                self.log.add(line.rstrip('\n'))
        self.log.end()

    def _hear_notices(self, environment):
        heard = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        heard.bind(self.path('notify'))
        environment['NOTIFY_SOCKET'] = self.path('notify')
        self.notify_socket = heard
        self.hearing = threading.Event()
        self.hearing.set()
        self.hearer = threading.Thread(target=self._read_notices, args=(heard,), daemon=True)
        self.hearer.start()

    @contextlib.contextmanager
    def unheard(self):
        """Fills the notify socket and stops reading it, like a systemd that is busy."""
        self.hearing.clear()
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
                other.setblocking(False)
                other.connect(self.path('notify'))
                other.send(b'OTHER=1')  # once this is read, the reader stops at `hearing`
                wait_until(lambda: self.notices.find('^OTHER=1$'), 'the reader at rest')
                with contextlib.suppress(BlockingIOError):
                    for _ in range(100000):
                        other.send(b'OTHER=2')
            yield
        finally:
            self.hearing.set()

    def _hear_no_more(self):
        """Ends the reader before its descriptor is closed: on its way into recvmsg(), it would read
        from the next socket with this number."""
        with contextlib.suppress(OSError):
            self.notify_socket.shutdown(socket.SHUT_RD)
        self.hearer.join(PATIENCE)
        self.notify_socket.close()

    def _read_notices(self, heard):
        with contextlib.suppress(OSError):
            while self.hearing.wait():
                datagram, descriptors, _, _ = socket.recv_fds(heard, 65536, 8)
                for descriptor in descriptors:
                    os.set_inheritable(descriptor, False)
                if not datagram:
                    return
                self._store(datagram.decode(errors='replace'), descriptors)
                self.notices.add(datagram.decode(errors='replace'))

    def _store(self, text, descriptors):
        """Handles FDSTORE and FDSTOREREMOVE as systemd does."""
        words = dict(line.partition('=')[::2] for line in text.splitlines())
        name = words.get('FDNAME')
        if self.stored is not None and words.get('FDSTORE') == '1':
            self.stored[name] = socket.socket(fileno=descriptors.pop())
        if self.stored and words.get('FDSTOREREMOVE') == '1':
            self.stored.pop(name).close()
        for descriptor in descriptors:
            os.close(descriptor)

    def ready(self):
        """Waits until the daemon serves."""
        def said():
            return self.notices.find(r'(?m)^READY=1$') or not self.child.running()
        wait_until(said, 'READY=1')
        if not self.child.running():
            self._wait_log_end()
            raise AssertionError(f'it did not start, exit status {self.child.status}:\n  '
                                 + '\n  '.join(self.log.lines[-40:]))
        # READY=1 arrives before the master closes the socket that it sent it with.
        wait_until(lambda: processes.sleeps(self.pid), 'a master at rest')
        self.descriptors_then = len(processes.descriptors(self.pid))
        return self

    @property
    def pid(self):
        return self.child.pid

    def kill(self, number, pid=None):
        os.kill(pid or self.pid, number)

    def exited(self, timeout=PATIENCE):
        """Waits for the daemon to exit, and returns the exit status."""
        code = self.child.wait(min(timeout, LATE))
        if code is None:
            self.late = self.describe()
            code = self.child.wait(max(timeout - LATE, 0))
        if code is None:
            raise AssertionError(f'it did not exit within {timeout} s')
        self.stopped = True
        self._wait_log_end()
        return code

    def _wait_log_end(self, timeout=10):
        """The log ends when the last process that holds its pipe exits, perhaps one left behind."""
        deadline = time.monotonic() + timeout
        with self.log.changed:
            while not self.log.ended and time.monotonic() < deadline:
                self.log.changed.wait(deadline - time.monotonic())

    def stop(self, number=signal.SIGTERM, timeout=PATIENCE):
        """Stops the daemon, and fails unless it exits with status 0 and leaves no process
        behind."""
        if self.same_descriptors:
            self.check_descriptors()
        self.kill(number)
        self.case.assertEqual(self.exited(timeout), 0, 'exit status after a stop')

    def describe(self):
        """A line for each of the daemon's processes, idle ones last."""
        every = [processes.describe(pid) for pid in [self.pid, *processes.descendants(self.pid)]]
        return sorted(every, key=lambda line: ' idle' in line)

    def check_descriptors(self, patience=20):
        """Checks that the master has as many descriptors open as when it became ready."""
        def back():
            return len(processes.descriptors(self.pid)) == self.descriptors_then
        try:
            wait_until(back, 'as many descriptors as at the start', timeout=patience)
        except AssertionError as error:
            raise AssertionError(f'{error}: {self.descriptors_then} then, now '
                                 f'{processes.descriptors(self.pid)}') from None

    # -- driving it

    def announce(self, *patterns):
        """Allows log lines that would fail the test otherwise."""
        self.announced += patterns

    def mark(self):
        return len(self.log.lines)

    def wait_for_log(self, pattern, since=0, timeout=PATIENCE):
        return self.log.wait(pattern, since, timeout)

    def reload(self, config=None, refused=False):
        """Sends SIGHUP, with a new configuration if given, and waits for the reload to end. Returns
        the lines logged meanwhile."""
        if config is not None:
            self.write(config)
        mark = self.mark()
        self.kill(signal.SIGHUP)
        end = self.wait_for_log(f'{wording.RELOADED}|{wording.REFUSED}', mark)
        was_refused = bool(re.search(wording.REFUSED, end.string))
        self.case.assertEqual(was_refused, refused, end.string)
        return self.log.lines[mark:]

    def own_program(self):
        """Runs a copy of the program, which the test may replace. Returns self."""
        self.program = self.path('preforkd')
        self.install()
        return self

    def with_failing_calls(self):
        """Preloads failing_calls.c. While the files FORK, ACCEPT, CLOSE_RANGE, EPOLL, IPV6, SEND
        and SECCOMP exist in the directory, these calls fail; CLOCK holds the seconds by which the
        clocks are ahead, and WAKEUP delays a woken worker (see Wakeup in test_wakeup.py). The pools
        need UNLISTED. Returns self."""
        for name in ('FAILING_FORK', 'FAILING_ACCEPT', 'FAILING_CLOSE_RANGE', 'FAILING_EPOLL',
                     'FAILING_IPV6', 'FAILING_SEND', 'FAILING_SECCOMP', 'LEAPING_CLOCK',
                     'HELD_WAKEUP'):
            self.environment[name] = self.path(name.partition('_')[2])
        library = os.path.join(os.path.dirname(BINARY), '../tests/behaviour/libfailing_calls.so')
        self.environment |= {'LD_PRELOAD': library, 'ASAN_OPTIONS': 'verify_asan_link_order=0'}
        return self

    def leap(self, seconds):
        """Sets the clock ahead, and returns after the master's first round under the new time. The
        clock must change between rounds, or one round would see two times. Needs
        with_failing_calls() and a pool."""
        wait_until(lambda: processes.sleeps(self.pid), 'a master at rest')
        self.put('CLOCK', str(seconds))
        mark = self.mark()
        self.kill(signal.SIGUSR1)
        self.wait_for_log('pool=.* state=', mark)

    def install(self):
        """Replaces the program with a new copy by a rename, as a package manager does."""
        shutil.copy2(BINARY, self.program + '.new')
        os.rename(self.program + '.new', self.program)

    def upgrade(self, refused=False):
        """Sends SIGUSR2, and waits for the upgrade to end. Returns the lines logged meanwhile."""
        mark = self.mark()
        self.kill(signal.SIGUSR2)
        end = self.wait_for_log(f'{wording.UPGRADED}|{wording.UPGRADE_REFUSED}', mark)
        was_refused = bool(re.search(wording.UPGRADE_REFUSED, end.string))
        self.case.assertEqual(was_refused, refused, end.string)
        return self.log.lines[mark:]

    @contextlib.contextmanager
    def paused(self):
        """Stops the master, so that it finds all events from meanwhile in one round."""
        self.kill(signal.SIGSTOP)
        try:
            processes.wait_until(lambda: processes.stat(self.pid)[0] == 'T', 'the master stopped')
            yield
        finally:
            self.kill(signal.SIGCONT)

    @contextlib.contextmanager
    def traced(self, pid, *options):
        """Runs strace on a process meanwhile; the file `trace` has its output."""
        tracer = subprocess.Popen(['strace', '-q', *options, '-p', str(pid), '-o',
                                   self.path('trace')])
        processes.OURS.add(tracer.pid)
        try:
            wait_until(lambda: processes.status(pid)['TracerPid'] != '0' or tracer.poll(), 'strace')
            if tracer.poll():
                self.case.skipTest('strace cannot trace here')
            yield
        finally:
            tracer.terminate()
            tracer.wait()
            processes.OURS.discard(tracer.pid)

    def workers(self, pool=None):
        """Pids of the master's living children; with `pool`, only those whose title names it."""
        found = processes.children(self.pid)
        if pool is None:
            return found
        return [pid for pid in found if re.search(rf'\bpool {re.escape(pool)}\b',
                                                  processes.title(pid))]

    def wait_for_workers(self, count, without=(), pool=None):
        """Waits until there are exactly `count`, none of them in `without`."""
        without = set(without)

        def settled():
            now = self.workers(pool)
            return now if len(now) == count and not without & set(now) else None
        return wait_until(settled, lambda: f'{count} workers, none of {sorted(without)}; '
                                           f'there are {self.workers(pool)}')

    def address(self, name):
        return self.addresses[name]

    def connect(self, name, timeout=PATIENCE):
        return client.connect(self.address(name), timeout)

    def occupy(self, name, count):
        """Connections that are each held by a worker, as an answer proves."""
        held = [self.connect(name) for _ in range(count)]
        for number, connection in enumerate(held):
            self.case.addCleanup(connection.close)
            self.case.assertEqual(client.echo(connection, b'%d' % number), b'%d' % number)
        return held

    # -- teardown

    def teardown(self):
        problems = []
        try:
            self._end(problems)
            self._bury(problems)
            self._judge_log(problems)
        finally:
            self._hear_no_more() if self.child else None
            shutil.rmtree(self.directory, ignore_errors=True)
        if problems:
            raise AssertionError('\n'.join(problems))

    def _end(self, problems):
        if not self.child or self.stopped:
            return
        try:
            if self.child.running():
                self.stop()
        except AssertionError as error:
            problems.append(str(error))
        if self.child.running():
            family = processes.descendants(self.pid)
            problems.append(f'killed with {len(family)} processes below it')
            for pid in [self.pid] + family:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.child.wait()
        if not self.stopped:
            if self.child.status != 0:
                problems.append(f'it ended by itself, exit status {self.child.status}')
            self._wait_log_end()

    def _bury(self, problems):
        """Reaps what is left below us; a living process is a fault."""
        known = {daemon.pid for daemon in self.case.daemons if daemon.child}

        def none_left():
            return not processes.reap_strays(known)
        try:
            wait_until(none_left, 'no process left behind', timeout=10)
        except AssertionError as error:
            left = processes.reap_strays(known)
            problems.append(f'{error}: {[(pid, processes.title(pid)) for pid in left]}')
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def _judge_log(self, problems):
        for line in self.log.lines:
            if re.search(wording.SANITIZER, line):
                problems.append(f'a sanitizer speaks: {line}')
            elif re.search(wording.TROUBLE, line):
                if not any(re.search(pattern, line) for pattern in self.announced):
                    problems.append(f'not announced: {line}')


class Case(unittest.TestCase):
    """A test with daemons, which it tears down at its end."""

    longMessage = True

    def setUp(self):
        self.daemons = []

    def make(self, config, **arguments):
        """A daemon that isn't started yet. `config` is its text, with @DIR@ for the daemon's
        directory; `listeners` is {name: socket}, besides those made for each systemd:NAME;
        `prelude` is whether to append default global options."""
        daemon = Daemon(self, config, **arguments)
        self.daemons.append(daemon)
        self.addCleanup(daemon.teardown)
        return daemon

    def start(self, config, **arguments):
        """A daemon that is ready."""
        return self.make(config, **arguments).launch().ready()

    def run_preforkd(self, *arguments, **more):
        """Runs preforkd to its end, for commands that don't serve."""
        return self.run_program([BINARY, *arguments], **more)

    def run_program(self, command, timeout=PATIENCE, **more):
        return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=timeout, check=False, **more)


def shell(script, options='', workers=1, section=''):
    """A pool `x` that runs a shell script, with options for the pool and for its exec section."""
    quoted = script.replace('\\', '\\\\').replace('"', '\\"')
    return (f'pool "x" {{ listen = {{ "systemd:x" }} workers = {workers}\n{options}\n'
            f'exec {{ command = {{ "/bin/sh", "-c", "{quoted}" }} {section} }} }}\n')


def listen_tcp(host='127.0.0.1', port=0):
    family = socket.AF_INET6 if ':' in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind((host, port))
    listening.listen(4096)
    return listening


def listen_unix(path):
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listening.bind(path)
    listening.listen(4096)
    return listening


def socket_address(listening):
    name = listening.getsockname()
    return name[:2] if isinstance(name, tuple) else name


def reserve_port(case):
    """Reserves a port on all addresses, for configurations that must name one. The socket stays
    bound without listening, so that the kernel gives the port to nobody else: a client bound to
    127.0.1.1 would block a wildcard address. SO_REUSEADDR lets the daemon bind it beside us."""
    holder = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
    case.addCleanup(holder.close)
    holder.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind(('::', 0))
    return holder.getsockname()[1]


class Result(unittest.TestResult):
    """Prints one line per test."""

    def startTest(self, test):
        super().startTest(test)
        self.since = time.monotonic()
        self.passed = getattr(self, 'passed', 0)
        self.bad = False

    def _say(self, word, test, text=''):
        name = test.id().removeprefix('__main__.')
        print(f'{word:5}{name} ({time.monotonic() - self.since:.1f} s){text}', flush=True)

    def _say_failed(self, test, error):
        text = self._exc_info_to_string(error, test)
        for daemon in getattr(test, 'daemons', []):
            at = daemon.late or (daemon.describe() if daemon.child else [])
            if any(at):
                text += '  its processes:\n    ' + '\n    '.join(at[:15]) + '\n'
            text += '  the last of the log:\n    ' + '\n    '.join(daemon.log.lines[-30:]) + '\n'
        self._say('FAIL', test, '\n' + text)

    def addSuccess(self, test):
        self.passed += 1
        self._say('ok', test)

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self._say('skip', test, f': {reason}')

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self._say_failed(test, err)

    def addError(self, test, err):
        super().addError(test, err)
        self._say_failed(test, err)

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err:
            self._say_failed(subtest, err)


def leave(number, _):
    """Ends the run on a signal from a time limit or a terminal without leaving a process behind."""
    for pid in processes.descendants(os.getpid()):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    os._exit(128 + number)


def main():
    """Runs the tests of the calling file, or those named on its command line."""
    processes.become_subreaper()
    signal.signal(signal.SIGTERM, leave)
    signal.signal(signal.SIGINT, leave)
    if not os.access(BINARY, os.X_OK):
        raise SystemExit('PREFORKD names no program')
    program = unittest.main(argv=None, exit=False, testRunner=Runner())
    raise SystemExit(0 if program.result.wasSuccessful() else 1)


class Runner:
    def run(self, suite):
        result = Result()
        suite(result)
        failed = len({test.id().split(' ')[0] for test, _ in result.failures + result.errors})
        print(f'{getattr(result, "passed", 0)} passed, {failed} failed, '
              f'{len(result.skipped)} skipped')
        return result
