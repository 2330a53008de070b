"""A program per connection: what it sees, what becomes of it and of what it starts."""

import grp
import os
import pwd
import re
import resource
import shutil
import signal
import socket
import subprocess
import unittest

import client
import daemon
import processes
import wording
from processes import wait_until


def shell(script, options='', workers=1):
    """A pool `x` that runs a script for sh."""
    quoted = script.replace('\\', '\\\\').replace('"', '\\"')
    return (f'pool "x" {{ listen = {{ "systemd:x" }} workers = {workers}\n{options}\n'
            f'exec {{ command = {{ "/bin/sh", "-c", "{quoted}" }} }} }}\n')


def signals(status, name):
    """The numbers in a mask of /proc/PID/status. 32 and 33 are glibc's own: its posix_spawn(),
    which starts the daemon here, ignores them, and it lets nobody change that."""
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
        text = self.answer('ls -l /proc/$$/fd | sed -n "s/.* \\([0-9]*\\) -> /\\1 /p"')
        held = dict(line.split(' ', 1) for line in text.splitlines())
        self.assertEqual(sorted(held), ['0', '1', '2'], text)
        self.assertEqual(held['0'], held['1'])
        self.assertTrue(held['0'].startswith('socket:'), text)
        self.assertTrue(held['2'].startswith('pipe:'), text)

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
        found.pop('PWD', None)  # the shell's own
        found.pop('OLDPWD', None)
        found.pop('SHLVL', None)
        found.pop('_', None)
        self.assertEqual(
            {name: value for name, value in found.items() if not name.startswith(('TCP', 'PROTO'))},
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
        """A program may wait for its client as long as it likes."""
        script = ('import socket,struct; s = socket.socket(fileno=0); '
                  'print(*[struct.unpack("ll", s.getsockopt(socket.SOL_SOCKET, o, 16)) for o in '
                  '(socket.SO_RCVTIMEO, socket.SO_SNDTIMEO)], s.getblocking(), flush=True)')
        it = self.start('pool "x" { listen = { "systemd:x" } workers = 1 exec { command = {\n'
                        f'"/usr/bin/python3", "-c", "{script.replace(chr(34), chr(39))}" }} }} }}')
        self.assertEqual(client.ask(it.address('x')), b'(0, 0) (0, 0) True\n')

    def test_address_that_was_of_an_echo_pool(self):
        """Taking the address over, the program's pool also takes the time-outs away."""
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
                   'nothing but the worker')

    def test_program_that_vanished(self):
        it = self.make('pool "x" { listen = { "systemd:x" } workers = 1\n'
                       'exec { command = { "@DIR@/program" } } }')
        it.put('program', '#!/bin/sh\necho hello\n', mode=0o755)
        it.launch().ready()
        self.assertEqual(client.ask(it.address('x')), b'hello\n')
        os.rename(it.path('program'), it.path('hidden'))
        it.announce('program')
        workers = it.workers()
        for _ in range(5):
            self.assertEqual(client.ask(it.address('x')), b'')
        it.wait_for_log(r' err: .*program.*No such file')
        wait_until(lambda: processes.descendants(it.pid, zombies=True) == it.workers(),
                   'no zombie')
        os.rename(it.path('hidden'), it.path('program'))
        self.assertEqual(client.ask(it.address('x')), b'hello\n')
        self.assertEqual(it.workers(), workers)

    @unittest.skipUnless(os.path.exists('/usr/bin/git'), 'no git here')
    def test_git_daemon(self):
        it = self.make('pool "git" { listen = { "systemd:git" } workers = 4\n'
                       'environment = { "HOME=@DIR@", "GIT_CONFIG_NOSYSTEM=1",\n'
                       '"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory",\n'
                       '"GIT_CONFIG_VALUE_0=*" }\n'
                       'exec { command = { "/usr/bin/git", "daemon", "--inetd", "--export-all",\n'
                       '"--base-path=@DIR@" } } }')
        git = ['git', '-c', 'user.name=t', '-c', 'user.email=t@example.org', '-C']
        subprocess.run(['git', 'init', '-q', '--bare', it.path('r.git')], check=True)
        subprocess.run(['git', 'init', '-q', it.path('w')], check=True)
        subprocess.run([*git, it.path('w'), 'commit', '-q', '--allow-empty', '-m', 'one'],
                       check=True)
        subprocess.run([*git, it.path('w'), 'push', '-q', it.path('r.git'), 'HEAD:refs/heads/main'],
                       check=True)
        it.launch().ready()
        it.announce('git')
        host, port = it.address('git')
        listed = subprocess.run(['git', 'ls-remote', f'git://{host}:{port}/r.git'], check=True,
                                capture_output=True, text=True, timeout=60).stdout
        self.assertIn('refs/heads/main', listed)


class Becoming(daemon.Case):
    """What a worker becomes before it touches a connection, as its program sees it."""

    def answer(self, script, options, **more):
        it = self.make(shell(script, options), **more)
        os.makedirs(it.path('jail/tmp'), exist_ok=True)
        it.launch().ready()
        return client.ask(it.address('x')).decode().strip()

    def test_umask(self):
        self.assertRegex(self.answer('umask', 'umask = 027'), r'^0*27$')

    def test_umask_by_default(self):
        self.assertRegex(self.answer('umask', ''), r'^0*22$')

    def test_nice(self):
        self.assertEqual(self.answer('nice', f'nice = {os.nice(0) + 7}'), str(os.nice(0) + 7))

    def test_directory(self):
        self.assertEqual(self.answer('pwd', 'directory = "/usr/lib"'), '/usr/lib')

    def test_limits(self):
        text = self.answer('ulimit -n; ulimit -Hn; ulimit -c; ulimit -t; ulimit -v',
                           'limits { nofile = 77 core = 0 cpu = 100 ' +
                           ('' if daemon.sanitized() else 'as = 512M ') + '}')
        soft, hard, core, cpu, space = text.split()
        self.assertEqual((soft, hard, core, cpu), ('77', '77', '0', '100'))
        self.assertIn(space, ('524288', 'unlimited'))

    def test_limit_of_open_files_is_the_starters(self):
        """The master may raise its own, its workers get back what it was started with."""
        self.assertEqual(self.answer('ulimit -n', ''),
                         str(resource.getrlimit(resource.RLIMIT_NOFILE)[0]))

    @daemon.needs_root
    def test_negative_nice(self):
        self.assertEqual(self.answer('nice', 'nice = -3'), '-3')

    @daemon.needs_root
    def test_user_and_group(self):
        user = pwd.getpwnam('daemon')
        text = self.answer('id -u; id -g; id -ru; id -rg', 'user = "daemon" group = "games"')
        gid = grp.getgrnam('games').gr_gid
        self.assertEqual(text.split(), [str(user.pw_uid), str(gid)] * 2)

    @daemon.needs_root
    def test_group_and_groups_are_the_users_own(self):
        user = pwd.getpwnam('daemon')
        text = self.answer('id -g; id -G; env', 'user = "daemon"')
        lines = text.splitlines()
        self.assertEqual(lines[0], str(user.pw_gid))
        self.assertEqual(sorted(map(int, lines[1].split())),
                         sorted(os.getgrouplist('daemon', user.pw_gid)))
        self.assertIn(f'HOME={user.pw_dir}', lines)
        self.assertIn('LOGNAME=daemon', lines)

    @daemon.needs_root
    def test_no_way_back_to_root(self):
        text = self.answer('cat /proc/self/status', '')
        shown = dict(re.findall(r'(?m)^(\w+):\t(.*)$', text))
        uid = str(pwd.getpwnam(daemon.USER).pw_uid)
        self.assertEqual(shown['Uid'].split(), [uid] * 4)
        self.assertEqual(int(shown['CapEff'], 16) | int(shown['CapPrm'], 16), 0)

    @daemon.needs_root
    def test_chroot(self):
        """With a shell in it, since a program is looked for within."""
        it = self.make('pool "x" { listen = { "systemd:x" } workers = 1 chroot = "@DIR@/jail"\n'
                       'directory = "/tmp" exec { command = { "/bin/busybox", "sh", "-c", '
                       '"echo *; pwd; cd /; echo *" } } }')
        busybox = next((path for path in ('/bin/busybox', '/usr/bin/busybox')
                        if os.path.exists(path)), None)
        if not busybox:
            self.skipTest('no busybox here')
        os.makedirs(it.path('jail/bin'))
        os.makedirs(it.path('jail/tmp/deep'))
        shutil.copy(busybox, it.path('jail/bin/busybox'))
        it.launch().ready()
        self.assertEqual(client.ask(it.address('x')), b'deep\n/tmp\nbin tmp\n')

    @daemon.needs_root
    def test_chroot_of_a_handler_inside(self):
        it = self.make('pool "x" { listen = { "systemd:x" } workers = 1 chroot = "@DIR@/jail"\n'
                       'echo {} }')
        os.makedirs(it.path('jail'))
        it.launch().ready()
        worker, = it.workers()
        self.assertEqual(os.readlink(f'/proc/{worker}/root'), it.path('jail'))
        self.assertEqual(client.ask(it.address('x'), b'x'), b'x')


class Ends(daemon.Case):
    """A program runs no longer than its worker, and takes its group along."""

    FAMILY = 'echo $$; sleep 1000 & echo $!; (trap "" TERM; exec sleep 1000) & echo $!; wait'

    def family(self, it, connection):
        lines = connection.makefile('rb')
        pids = [int(lines.readline()) for _ in range(3)]
        for pid in pids:
            self.assertTrue(processes.alive(pid))
        return pids

    def gone(self, pids):
        wait_until(lambda: not any(processes.alive(pid) for pid in pids), f'{pids} are gone')

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
            wait_until(lambda: it.notices.find('STOPPING'), 'it stops')
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

    def test_client_that_goes_away(self):
        """The program notices by itself; its worker is free when it ends."""
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
