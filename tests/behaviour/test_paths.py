"""Paths in directories where others may write: root touches nothing but its own files. Listeners
that vanish, or that a program shut down, are detected and reopened."""

import ctypes
import os
import re
import shutil
import socket
import stat
import subprocess
import threading

import client
import daemon
import processes
import wording
from control import Caller, ask
from processes import wait_until

SYS_PIDFD_GETFD = 438
PYTHON = shutil.which('python3', path='/usr/bin:/bin') or '/usr/bin/python3'


def pool(listen, options='', name='echo', workers=2, handler='echo {}'):
    return (f'pool "{name}" {{ listen = {{ {listen} }} workers = {workers} {options}\n'
            f'{handler} }}\n')


CONTROL = 'control = "@DIR@/control"\n'
OPEN = 'socket_mode = 0666'

EXCHANGER = '''
import os, sys, time
os.chdir(sys.argv[1])
end = time.monotonic() + 60
print('begins', flush=True)
while time.monotonic() < end and not os.path.exists('enough'):
    for a, b in (('s', 'real'), ('link', 's'), ('s', 'link'), ('real', 's')):
        try:
            os.rename(a, b)
        except FileNotFoundError:
            pass
'''


def as_user(*command, **more):
    """Runs a command as the pool's user."""
    return subprocess.run(command, user=daemon.USER, group=daemon.GROUP, extra_groups=[],
                          check=True, timeout=daemon.PATIENCE, **more)


@daemon.needs_root
class Trust(daemon.Case):
    """The directory belongs to the pool's user, who attacks the daemon."""

    def begin(self, config, **arguments):
        it = self.make(config, **arguments)
        os.mkdir(it.path('d'))
        os.chown(it.path('d'), 65534, 65534)
        it.put('secret', 'secret\n', mode=0o640)
        self.before = self.secret(it)
        return it

    def secret(self, it):
        seen = os.stat(it.path('secret'))
        return seen.st_mode, seen.st_uid, seen.st_gid, seen.st_size

    def put_link(self, it, name='s'):
        as_user('/bin/ln', '-sfn', it.path('secret'), it.path(f'd/{name}'))

    def test_a_reload_does_nothing_behind_a_link(self):
        config = pool('"unix:@DIR@/d/s"', OPEN)
        it = self.begin(config).launch().ready()
        it.announce(wording.UNREACHABLE, wording.STILL_LOST)
        self.put_link(it)
        for _ in range(3):
            it.reload(config)
            self.assertEqual(self.secret(it), self.before)
        it.reload(config.replace('0666', '0600'))
        self.assertEqual(self.secret(it), self.before)
        it.stop()
        self.assertTrue(os.path.islink(it.path('d/s')))

    def test_nor_for_the_control_socket(self):
        config = 'control = "@DIR@/d/s"\n' + pool('"systemd:echo"')
        it = self.begin(config).launch().ready()
        it.announce(wording.UNREACHABLE, wording.STILL_LOST)
        self.put_link(it)
        it.reload(config)
        self.assertEqual(self.secret(it), self.before)

    def test_nor_in_a_race(self):
        config = pool('"unix:@DIR@/d/s"', OPEN)
        it = self.begin(config).launch().ready()
        it.announce(wording.UNREACHABLE, wording.STILL_LOST)
        as_user('/bin/ln', '-s', it.path('secret'), it.path('d/link'))
        other = subprocess.Popen([PYTHON, '-c', EXCHANGER, it.path('d')],
                                 user=daemon.USER, group=daemon.GROUP, stdout=subprocess.PIPE)
        processes.OURS.add(other.pid)
        self.addCleanup(other.wait)
        self.addCleanup(other.kill)
        self.addCleanup(other.stdout.close)
        self.assertEqual(other.stdout.readline(), b'begins\n')
        for number in range(60):
            it.reload(config.replace('0666', '0660') if number % 2 else config)
            self.assertEqual(self.secret(it), self.before, f'at reload {number}')
        as_user('/bin/touch', it.path('d/enough'))

    def test_a_stale_socket_is_unlinked_where_it_was_found(self):
        """A directory on the way is swapped all the time with a link to one that has a file of this
        name."""
        it = self.begin(pool('"unix:@DIR@/d/way/s"'))
        for name in ('d/mine', 'd/theirs'):
            os.mkdir(it.path(name))
            os.chown(it.path(name), 65534, 65534)
        it.put('d/theirs/s', 'precious\n')
        for name, target in (('a', 'mine'), ('b', 'theirs')):
            os.symlink(target, it.path(f'd/{name}'))
        os.symlink('mine', it.path('d/way'))
        enough = threading.Event()

        def exchange():
            for _ in range(10**7):
                if enough.is_set():
                    return
                for name, target in (('b', 'theirs'), ('a', 'mine')):
                    os.rename(it.path(f'd/{name}'), it.path('d/way'))
                    os.symlink(target, it.path(f'd/{name}'))
        thread = threading.Thread(target=exchange, daemon=True)
        thread.start()
        try:
            for number in range(60):
                if not os.path.lexists(it.path('d/mine/s')):
                    daemon.listen_unix(it.path('d/mine/s')).close()
                with subprocess.Popen([daemon.BINARY, '-e', '-c', it.file], text=True,
                                      stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                      stderr=subprocess.PIPE) as child:
                    processes.OURS.add(child.pid)
                    for line in child.stderr:
                        if re.search(wording.READY, line):
                            child.terminate()
                self.assertTrue(os.path.exists(it.path('d/theirs/s')), f'at start {number}')
        finally:
            enough.set()
            thread.join(daemon.PATIENCE)

    def pid_file_refused(self, it):
        it.announce("can't start: .*not a pid file of preforkd|can't start: .*Too many levels")
        it.launch()
        self.assertEqual(it.exited(), 3)
        self.assertEqual(self.secret(it), self.before)

    def test_pid_file_is_a_link(self):
        it = self.begin(pool('"systemd:echo"'), arguments=['-p', '@DIR@/d/pid'])
        self.put_link(it, 'pid')
        self.pid_file_refused(it)

    def test_pid_file_is_another_name_of_a_file_of_ours(self):
        it = self.begin(pool('"systemd:echo"'), arguments=['-p', '@DIR@/d/pid'])
        it.put('secret', '1\n', mode=0o640)
        self.before = self.secret(it)
        os.link(it.path('secret'), it.path('d/pid'))
        self.pid_file_refused(it)
        with open(it.path('secret'), encoding='ascii') as file:
            self.assertEqual(file.read(), '1\n')

    def test_pid_file_is_somebody_elses(self):
        """Whoever owns the file could write another pid into it, for others to kill."""
        it = self.begin(pool('"systemd:echo"'), arguments=['-p', '@DIR@/d/pid'])
        as_user('/bin/touch', it.path('d/pid'))
        self.pid_file_refused(it)

    def test_pid_file_that_was_exchanged_is_left_alone(self):
        it = self.begin(pool('"systemd:echo"'), arguments=['-p', '@DIR@/d/pid']).launch().ready()
        self.put_link(it, 'pid')
        it.stop()
        self.assertTrue(os.path.islink(it.path('d/pid')))
        self.assertEqual(self.secret(it), self.before)

    def test_a_reload_that_changes_nothing_does_nothing(self):
        config = CONTROL + pool('"unix:@DIR@/s"', OPEN)
        it = self.start(config)
        names = 'chmod,fchmod,fchmodat,chown,fchown,lchown,fchownat,unlink,unlinkat,bind'
        with it.traced(it.pid, '-e', 'trace=' + names):
            it.reload(config)
            it.reload(config.replace('0666', '0600'))
        with open(it.path('trace'), encoding='utf-8') as file:
            calls = re.findall(r'(?m)^\w+(?=\()', file.read())
        self.assertEqual(calls, ['chmod'])  # that of the second socket
        self.assertEqual(stat.S_IMODE(os.stat(it.path('s')).st_mode), 0o600)

    def test_owner_and_mode_change_in_place(self):
        config = pool('"unix:@DIR@/s"', 'socket_mode = 0601')
        it = self.start(config)
        inode = os.stat(it.path('s')).st_ino
        it.reload(config.replace('0601', '0640 socket_user = "root" socket_group = "daemon"'))
        seen = os.stat(it.path('s'))
        self.assertEqual((seen.st_ino, stat.S_IMODE(seen.st_mode), seen.st_uid, seen.st_gid),
                         (inode, 0o640, 0, 1))


class Lost(daemon.Case):
    """Paths that were removed."""

    def start_and_lose(self, config, name='s'):
        it = self.start(config)
        it.announce(wording.UNREACHABLE)
        os.unlink(it.path(name))
        return it

    def works(self, it, name='s'):
        self.assertEqual(client.ask(it.path(name), b'x'), b'x')

    def test_it_is_seen_at_once(self):
        it = self.start_and_lose(pool('"unix:@DIR@/s"'))
        line = it.wait_for_log(wording.UNREACHABLE).string
        self.assertIn('preforkctl reload', line)
        self.assertEqual(wording.field(line, 'listener'), f'unix:{it.path("s")}')

    def test_a_reload_binds_it_again(self):
        config = pool('"unix:@DIR@/s", "unix:@DIR@/t"')
        it = self.start_and_lose(config)
        kept = os.stat(it.path('t')).st_ino
        workers = it.workers()
        lines = '\n'.join(it.reload(config))
        self.assertRegex(lines, r'notice: reload: listener unix:\S+/s: opened: its path was rem')
        self.assertRegex(lines, r'notice: reload: pool echo: replaced: listener unix:\S+/s, its')
        self.works(it)
        self.works(it, 't')
        self.assertEqual(os.stat(it.path('t')).st_ino, kept)
        it.wait_for_workers(2, without=workers)
        self.assertNotRegex('\n'.join(it.reload(config)), 'opened|replaced')
        os.unlink(it.path('s'))  # the new socket is watched as well
        wait_until(lambda: len(it.log.find(wording.UNREACHABLE)) == 2, 'a second warning')

    def test_with_its_directory(self):
        config = pool('"unix:@DIR@/d/s"')
        it = self.make(config)
        os.mkdir(it.path('d'))
        it.launch().ready()
        it.announce(wording.UNREACHABLE)
        os.unlink(it.path('d/s'))
        os.rmdir(it.path('d'))
        os.mkdir(it.path('d'))
        it.reload(config)
        self.works(it, 'd/s')

    def test_another_socket_in_its_place_is_left_alone(self):
        config = pool('"unix:@DIR@/s"')
        it = self.start(config)
        it.announce(wording.UNREACHABLE, wording.STILL_LOST)
        other = daemon.listen_unix(it.path('other'))
        self.addCleanup(other.close)
        inode = os.stat(it.path('other')).st_ino
        os.rename(it.path('other'), it.path('s'))
        lines = '\n'.join(it.reload(config))
        self.assertRegex(lines, r'listener unix:\S+/s: kept, unreachable: .*in use')
        self.assertRegex(lines, wording.STILL_LOST)
        self.assertEqual(os.stat(it.path('s')).st_ino, inode)
        other.close()
        it.reload(config)
        self.works(it)

    def test_what_is_no_socket_is_left_alone(self):
        config = pool('"unix:@DIR@/s"')
        it = self.start_and_lose(config)
        it.announce(wording.STILL_LOST)
        it.put('s', 'a file\n')
        self.assertRegex('\n'.join(it.reload(config)), 'a file that is not a socket is there')
        with open(it.path('s'), encoding='ascii') as file:
            self.assertEqual(file.read(), 'a file\n')

    def test_it_may_come_back(self):
        it = self.start(pool('"unix:@DIR@/s"'))
        it.announce(wording.UNREACHABLE)
        os.rename(it.path('s'), it.path('away'))
        it.wait_for_log(wording.UNREACHABLE)
        os.rename(it.path('away'), it.path('s'))
        it.wait_for_log('can be reached again')
        self.works(it)
        self.assertNotRegex('\n'.join(it.reload()), 'opened')

    def test_a_storm_of_changes_is_looked_at_now_and_then(self):
        """The directory's owner must not be able to keep the master busy."""
        it = self.start(pool('"unix:@DIR@/s"'))
        before = int(processes.status(it.pid)['voluntary_ctxt_switches'])
        for number in range(20000):
            os.chmod(it.path('s'), 0o600 + number % 2 * 0o60)
        switches = int(processes.status(it.pid)['voluntary_ctxt_switches']) - before
        self.assertLess(switches, 2000)
        it.announce(wording.UNREACHABLE)
        os.unlink(it.path('s'))
        it.wait_for_log(wording.UNREACHABLE)

    def test_control(self):
        config = CONTROL + pool('"systemd:echo"')
        it = self.start_and_lose(config, 'control')
        self.assertIn('SIGHUP', it.wait_for_log(wording.UNREACHABLE).string)
        workers = it.workers()
        self.assertRegex('\n'.join(it.reload(config)), r'control unix:\S+: opened: its path ')
        self.assertEqual(Caller(it.path('control'), 'ping').answer().status, 0)
        self.assertEqual(it.workers(), workers)

    def test_dry_run(self):
        config = CONTROL + pool('"unix:@DIR@/s"')
        it = self.start_and_lose(config)
        said = ask(it, 'reload', '--dry-run').out
        self.assertRegex(said, r'(?m)^listener unix:\S+/s: opened: its path was removed$')
        self.assertRegex(said, r'(?m)^pool echo: replaced: listener ')
        self.assertFalse(os.path.exists(it.path('s')))

    def test_restart(self):
        config = CONTROL + pool('"unix:@DIR@/s"') + pool('"unix:@DIR@/t"', name='other')
        it = self.start_and_lose(config)
        os.unlink(it.path('t'))
        others = it.workers('other')
        self.assertRegex(ask(it, 'restart', 'echo').out, 'restart done')
        self.works(it)
        self.assertFalse(os.path.exists(it.path('t')))
        self.assertEqual(it.workers('other'), others)
        self.assertEqual(ask(it, 'restart').status, 0)
        self.works(it, 't')

    def test_upgrade(self):
        it = self.make(CONTROL + pool('"unix:@DIR@/s"')).own_program().launch().ready()
        it.announce(wording.UNREACHABLE)
        os.unlink(it.path('s'))
        os.unlink(it.path('control'))
        it.upgrade()
        self.works(it)
        self.assertEqual(ask(it, 'ping').status, 0)

    def test_a_refused_reload_leaves_it_to_the_next(self):
        config = pool('"unix:@DIR@/s"')
        it = self.start_and_lose(config)
        it.announce(wording.REFUSED, wording.FAULT)
        broken = config.replace('echo {}', 'app { command = { "/bin/false" } }')
        it.reload(broken, refused=True)
        wait_until(lambda: not os.path.exists(it.path('s')), 'the end of the new socket')
        it.reload(config)
        self.works(it)

    def test_others_stay(self):
        name = f'@preforkd-test-{os.getpid()}'
        config = pool(f'"unix:{name}", "127.0.0.1:0", "systemd:x"')
        it = self.start(config)
        self.assertNotRegex('\n'.join(it.reload(config)), 'opened|replaced')

    def test_of_systemd(self):
        """It is not ours to bind."""
        directory = self.make('').directory
        path = os.path.join(directory, 's')
        config = pool('"systemd:x"')
        it = self.start(config, listeners={'x': daemon.listen_unix(path)})
        os.unlink(path)
        self.assertNotRegex('\n'.join(it.reload(config)), 'opened')
        self.assertFalse(os.path.exists(path))


SHUTTER = '''
import os, socket, signal, sys, time
listening = socket.socket(fileno=0)
while True:
    try:
        connection, _ = listening.accept()
    except OSError:
        os._exit(0) if sys.argv[1] == 'ends' else time.sleep(3600)
    word = connection.recv(100)
    if word == b'shut':
        listening.shutdown(socket.SHUT_RDWR)
        os._exit(0) if sys.argv[1] == 'ends' else time.sleep(3600)
    try:
        connection.sendall(word)
    except OSError:  # a client that only looked whether it is there
        pass
    connection.close()
'''


class Shut(daemon.Case):
    """Listeners that a program or a module shut down."""

    def shut(self, pid, times=1):
        """Shuts down each listener of a worker, as code in it could."""
        libc = ctypes.CDLL(None, use_errno=True)
        pidfd = os.pidfd_open(pid)
        self.addCleanup(os.close, pidfd)
        for number, what in processes.descriptors(pid).items():
            if number < 3 or not what.startswith('socket:'):
                continue
            copy = libc.syscall(SYS_PIDFD_GETFD, pidfd, number, 0)
            self.assertGreaterEqual(copy, 0, os.strerror(ctypes.get_errno()))
            with socket.socket(fileno=copy) as taken:
                if not taken.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                    continue
                for _ in range(times):
                    try:
                        taken.shutdown(socket.SHUT_RDWR)
                    except OSError:
                        pass

    def comes_back(self, it, address):
        def answers():
            try:
                return client.ask(address, b'x') == b'x'
            except OSError:
                return False
        wait_until(answers, 'an answer')

    def bound(self, it):
        it.wait_for_log(wording.READY)
        match = it.log.find(r'listening on 127\.0\.0\.1:(\d+) ')[-1]
        return '127.0.0.1', int(match[1])

    def announce(self, it):
        it.announce(wording.SHUT, wording.BACKOFF, r'Invalid argument')

    @daemon.needs_root
    def test_tcp(self):
        """Once, and twice, which leaves different state; the kernel chose the port."""
        for times in (1, 2):
            it = self.start(pool('"127.0.0.1:0"'))
            self.announce(it)
            address = self.bound(it)
            workers = it.workers()
            self.shut(workers[0], times)
            line = it.wait_for_log(wording.SHUT).string
            self.assertIn('it listens again', line)
            self.assertIn(int(wording.field(line, 'pid')), workers)
            for _ in range(10):
                self.comes_back(it, address)

    @daemon.needs_root
    def test_tcp_under_a_port_of_the_file(self):
        port = daemon.reserve_port(self)
        it = self.start(pool(f'"127.0.0.1:{port}"'))
        self.announce(it)
        self.shut(it.workers()[0])
        self.comes_back(it, ('127.0.0.1', port))

    @daemon.needs_root
    def test_of_systemd(self):
        it = self.start(pool('"systemd:echo"'))
        self.announce(it)
        self.shut(it.workers()[0])
        self.comes_back(it, it.address('echo'))

    @daemon.needs_root
    def test_unix(self):
        it = self.start(CONTROL + pool('"unix:@DIR@/s"'))
        self.announce(it)
        inode = os.stat(it.path('s')).st_ino
        workers = it.workers()
        self.shut(workers[0])
        self.assertIn('bound anew', it.wait_for_log(wording.SHUT).string)
        self.comes_back(it, it.path('s'))
        self.assertNotEqual(os.stat(it.path('s')).st_ino, inode)
        it.wait_for_workers(2, without=workers)
        self.assertEqual(ask(it, 'restart').status, 0)
        self.assertEqual(client.ask(it.path('s'), b'x'), b'x')

    @daemon.needs_root
    def test_unix_that_polls_several(self):
        it = self.start(pool('"unix:@DIR@/s", "unix:@DIR@/t", "127.0.0.1:0"', workers=4))
        self.announce(it)
        self.shut(it.workers()[0])
        for address in (it.path('s'), it.path('t'), self.bound(it)):
            self.comes_back(it, address)

    @daemon.needs_root
    def test_unix_of_systemd(self):
        directory = self.make('').directory
        config = CONTROL + pool('"systemd:x"')
        it = self.start(config, listeners={'x': daemon.listen_unix(os.path.join(directory, 's'))})
        self.announce(it)
        it.announce(wording.REFUSED, wording.FAULT, "can't be opened again")
        self.shut(it.workers()[0])
        self.assertIn('.socket unit', it.wait_for_log(wording.SHUT).string)

    def program(self, listen, how):
        return pool(listen, 'graceful_timeout = 1 min_ready_time = 0',
                    handler='app { command = { '
                    f'"{PYTHON}", "@DIR@/shutter", "{how}" }} }}')

    def programs(self, listen, how):
        it = self.make(CONTROL + self.program(listen, how))
        self.announce(it)
        it.announce(wording.OVERDUE)
        it.put('shutter', SHUTTER)
        return it.launch().ready()

    def shut_by_word(self, address):
        with client.connect(address) as connection:
            connection.sendall(b'shut')
            try:
                connection.recv(1)
            except ConnectionResetError:
                pass

    def test_by_a_program_that_ends(self):
        for listen in ('"127.0.0.1:0"', '"unix:@DIR@/s"'):
            it = self.programs(listen, 'ends')
            address = it.path('s') if 'unix' in listen else self.bound(it)
            self.shut_by_word(address)
            it.wait_for_log(wording.SHUT)
            self.comes_back(it, address)

    def test_by_a_program_that_lives_on(self):
        """No worker died: a reload detects it, and a restart brings programs that accept."""
        for listen in ('"127.0.0.1:0"', '"unix:@DIR@/s"'):
            for verb in ('reload', 'restart'):
                it = self.programs(listen, 'stays')
                address = it.path('s') if 'unix' in listen else self.bound(it)
                with client.connect(address) as connection:
                    connection.sendall(b'shut')
                    wait_until(lambda: self.is_refused(address), 'a refused connection')
                    self.assertEqual(ask(it, verb).status, 0)
                    if verb == 'reload' and 'unix' not in listen:
                        self.assertEqual(ask(it, 'restart').status, 0)
                self.comes_back(it, address)
                it.stop()

    def is_refused(self, address):
        try:
            client.connect(address).close()
        except ConnectionRefusedError:
            return True
        except ConnectionResetError:  # it was in the queue at that moment
            pass
        return False

    def test_over_an_upgrade(self):
        for listen in ('"127.0.0.1:0"', '"unix:@DIR@/s"'):
            it = self.make(self.program(listen, 'stays')).own_program()
            it.announce(wording.SHUT, wording.OVERDUE)
            it.put('shutter', SHUTTER)
            it.launch().ready()
            address = it.path('s') if 'unix' in listen else self.bound(it)
            with client.connect(address) as connection:
                connection.sendall(b'shut')
                wait_until(lambda: self.is_refused(address), 'a refused connection')
                it.upgrade()
            self.comes_back(it, address)


class Spellings(daemon.Case):
    """One path can be spelled in many ways."""

    def told(self, config, prepare=None):
        it = self.make(config)
        os.makedirs(it.path('d/e'))
        os.symlink('d', it.path('way'))
        if prepare:
            prepare(it)
        result = self.run_preforkd('-t', '-c', it.file)
        self.assertEqual(result.returncode, 1, result.stdout)
        return result.stderr.replace(it.directory, '')

    def test_one_address(self):
        for other in ('d//a', 'd/./a', 'd/e/../a', 'way/a', '/d/a'):
            said = self.told(pool('"unix:@DIR@/d/a"') + pool(f'"unix:@DIR@/{other}"', name='b'))
            self.assertRegex(said, r'preforkd.conf:3: pool b: .*the same address as "unix:/d/a" of '
                                   r'pool echo \(/preforkd.conf:1\)')
            said = self.told(pool(f'"unix:@DIR@/d/a", "unix:@DIR@/{other}"'))
            self.assertRegex(said, r'preforkd.conf:1: .*the same address as "unix:/d/a"')

    def test_control(self):
        said = self.told('control = "@DIR@/d/a"\n' + pool('"unix:@DIR@/way/a"'))
        self.assertRegex(said, 'preforkd.conf:2: .*is the control socket')

    def test_directory_that_is_not_there(self):
        self.assertRegex(self.told(pool('"unix:@DIR@/x/a"')),
                         'preforkd.conf:1: pool echo: listen "unix:/x/a": its directory /x is not '
                         'there: make it')
        self.assertRegex(self.told(pool('"unix:/run/preforkd-test-none/a"')), 'RuntimeDirectory=')
        self.assertRegex(self.told('control = "@DIR@/x/a"\n' + pool('"systemd:x"')),
                         'preforkd.conf:1: control "/x/a": its directory /x is not there')

    def test_no_directory(self):
        said = self.told(pool('"unix:@DIR@/f/a"'), lambda it: it.put('f', ''))
        self.assertRegex(said, 'preforkd.conf:1: .*/f is not a directory')

    def test_no_name(self):
        for path in ('d/', 'd/.', 'd/..'):
            self.assertRegex(self.told(pool(f'"unix:@DIR@/{path}"')), 'preforkd.conf:1: .*missing')

    @daemon.needs_root
    def test_no_right_to_write(self):
        it = self.make(pool('"unix:@DIR@/d/a"'), prelude=False)
        os.mkdir(it.path('d'))
        result = self.run_preforkd('-t', '-c', it.file, user=daemon.USER, group=daemon.GROUP,
                                   extra_groups=[])
        self.assertEqual(result.returncode, 1)
        self.assertRegex(result.stderr, ":1: .*can't make a socket in .*/d: Permission denied")

    def test_another_spelling_keeps_the_socket(self):
        config = pool('"unix:@DIR@/d/%s"')
        it = self.make(config % 'a')
        os.makedirs(it.path('d/e'))
        it.launch().ready()
        inode = os.stat(it.path('d/a')).st_ino
        it.reload(config % 'e/../a')
        self.assertEqual(os.stat(it.path('d/a')).st_ino, inode)
        self.assertEqual(client.ask(it.path('d/a'), b'x'), b'x')


if __name__ == '__main__':
    daemon.main()
