"""What a worker becomes before it serves a connection, as its program sees it."""

import grp
import os
import pwd
import re
import resource
import shutil
import socket
import subprocess

import client
import daemon
import network
import processes
from daemon import shell


class Becoming(daemon.Case):
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
        """The master may raise its own limit; its workers get the original one back."""
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
        self.addCleanup(os.setgroups, os.getgroups())
        os.setgroups([0, 4])  # of whoever starts the daemon
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
        """The jail has a shell, since a program is looked up inside."""
        it = self.make('pool "x" { listen = { "systemd:x" } workers = 1 chroot = "@DIR@/jail"\n'
                       'directory = "/tmp" exec { command = { "/bin/sh", "-c", '
                       '"echo *; pwd; cd /; echo *" } } }')
        os.makedirs(it.path('jail/tmp/deep'))
        processes.copy_program('/bin/sh', it.path('jail'), '/bin/sh')
        it.launch().ready()
        names = ' '.join(sorted(os.listdir(it.path('jail'))))
        self.assertEqual(client.ask(it.address('x')).decode(), f'deep\n/tmp\n{names}\n')

    @daemon.needs_root
    def test_chroot_of_a_handler_inside(self):
        it = self.make('pool "x" { listen = { "systemd:x" } workers = 1 chroot = "@DIR@/jail"\n'
                       'echo {} }')
        os.makedirs(it.path('jail'))
        it.launch().ready()
        worker, = it.workers()
        self.assertEqual(os.readlink(f'/proc/{worker}/root'), it.path('jail'))
        self.assertEqual(client.ask(it.address('x'), b'x'), b'x')


SETS = ('CapInh', 'CapPrm', 'CapEff', 'CapAmb')


def privileges(text):
    """The masks and flags in /proc/PID/status, as numbers."""
    return {name: int(value, 16) for name, value in
            re.findall(r'(?m)^(Cap\w+|NoNewPrivs|Seccomp):\t(\w+)$', text)}


def privileges_of(pid):
    with open(f'/proc/{pid}/status', encoding='utf-8') as file:
        return privileges(file.read())


def has(feature):
    shown = subprocess.run([daemon.BINARY, '-V'], check=True, capture_output=True, text=True).stdout
    return '+' + feature in shown.split()


class Privileges(daemon.Case):
    def worker(self, handler, options=''):
        """The privileges of the worker that served a connection, and our own."""
        it = self.make(f'pool "x" {{ listen = {{ "systemd:x" }} workers = 1 {options}\n'
                       f'{handler} }}\n', environment={'ASAN_OPTIONS': 'detect_leaks=0'})
        shutil.copy(os.path.join(os.path.dirname(daemon.BINARY), '../tests/behaviour/evil.so'),
                    it.path('m.so'))
        it.launch().ready()
        worker, = it.workers()
        with it.connect('x') as connection:
            connection.sendall(b'GET /healthz HTTP/1.0\r\n\r\n')
            connection.shutdown(socket.SHUT_WR)
            connection.recv(1)  # until discard closes
        self.assertEqual(it.workers(), [worker])
        found = privileges_of(worker)
        if os.geteuid() == 0 and 'root' not in options:
            self.assertEqual([found[name] for name in SETS], [0] * 4, handler)
        return found, privileges_of(os.getpid())

    def test_handlers_of_ours(self):
        for handler in ('echo', 'discard', 'daytime', 'time', 'chargen', 'agent', 'status'):
            if handler == 'status' and not has('microhttpd'):
                continue
            found, _ = self.worker(handler + ' {}')
            self.assertEqual(found['NoNewPrivs'], 1, handler)
            self.assertEqual(found['Seccomp'], 2 if has('seccomp') else 0, handler)

    def test_without_the_list(self):
        """A pool that may gain privileges can have no list, and keeps the bounding set."""
        found, ours = self.worker('echo {}', daemon.UNLISTED)
        self.assertEqual((found['NoNewPrivs'], found['Seccomp']), (0, ours['Seccomp']))
        self.assertEqual(found['CapBnd'], ours['CapBnd'])

    @daemon.needs_root
    def test_module(self):
        found, ours = self.worker('module { path = "@DIR@/m.so" }')
        self.assertEqual((found['NoNewPrivs'], found['Seccomp']), (1, ours['Seccomp']))
        self.assertEqual(found['CapBnd'], 0 if has('capng') else ours['CapBnd'])

    @daemon.needs_root
    def test_programs(self):
        for options, flag in (('', 0), ('no_new_privs = true', 1)):
            it = self.start(shell('cat /proc/self/status', options))
            found = privileges(client.ask(it.address('x')).decode())
            ours = privileges_of(os.getpid())
            self.assertEqual([found[name] for name in SETS], [0] * 4)
            self.assertEqual((found['NoNewPrivs'], found['Seccomp']), (flag, ours['Seccomp']))
            self.assertEqual(found['CapBnd'], 0 if flag and has('capng') else ours['CapBnd'])

    @daemon.needs_root
    def test_root_keeps_what_root_has(self):
        found, ours = self.worker('module { path = "@DIR@/m.so" }', 'user = "root"')
        self.assertEqual(found['NoNewPrivs'], 1)
        for name in ('CapPrm', 'CapEff', 'CapBnd'):
            self.assertEqual(found[name], ours[name])

    @daemon.needs_root
    def test_a_set_user_id_program(self):
        """It makes a program of exec root, but neither a module nor anything under no_new_privs."""
        nobody = str(pwd.getpwnam(daemon.USER).pw_uid)
        deeds = '"serve=regain", "program=@DIR@/id -u"'
        for options, section, answer in (
                ('', 'exec { command = { "@DIR@/id", "-u" } }', '0'),
                ('no_new_privs = true', 'exec { command = { "@DIR@/id", "-u" } }', nobody),
                ('', f'module {{ path = "@DIR@/m.so" args = {{ {deeds} }} }}', nobody)):
            it = self.make(f'pool "x" {{ listen = {{ "systemd:x" }} workers = 1 {options}\n'
                           f'{section} }}\n', environment={'ASAN_OPTIONS': 'detect_leaks=0'})
            if os.statvfs(it.directory).f_flag & os.ST_NOSUID:
                self.skipTest('set-user-ID programs have no effect here')
            shutil.copy(os.path.join(os.path.dirname(daemon.BINARY), '../tests/behaviour/evil.so'),
                        it.path('m.so'))
            shutil.copy('/usr/bin/id', it.path('id'))
            os.chmod(it.path('id'), 0o4755)
            it.launch().ready()
            self.assertEqual(client.ask(it.address('x')).decode().strip(), answer, section)

    @daemon.needs_root
    def test_what_the_daemon_was_started_with(self):
        """A start without root, but with an inheritable capability."""
        it = self.make(shell('cat /proc/self/status'))
        os.chmod(it.directory, 0o777)
        it.program = it.put('preforkd', '#!/bin/sh\nchmod 666 "$NOTIFY_SOCKET"\n'
                            'exec setpriv --reuid=nobody --regid=nogroup --clear-groups '
                            '--inh-caps=+net_bind_service '
                            f'--ambient-caps=+net_bind_service {daemon.BINARY} "$@"\n', mode=0o755)
        it.launch().ready()
        self.assertNotEqual(privileges_of(it.pid)['CapAmb'], 0)
        found = privileges(client.ask(it.address('x')).decode())
        self.assertEqual([found[name] for name in SETS], [0] * 4)

    def test_a_reload_replaces_the_workers(self):
        config = 'pool "x" { listen = { "systemd:x" } workers = 1 %s\necho {} }\n'
        it = self.start(config % '')
        before, = it.workers()
        it.reload(config % 'no_new_privs = true')
        self.assertEqual(it.workers(), [before])
        it.reload(config % 'no_new_privs = false')
        after, = it.wait_for_workers(1)
        self.assertNotEqual(after, before)
        self.assertEqual(privileges_of(after)['NoNewPrivs'], 0)

    def test_a_call_that_is_not_on_the_list(self):
        """A preloaded accept4() opens a file: the worker is killed, and the log names the call.

        A build without lists, as for sanitizers, which make calls of their own, lets it go on.
        """
        it = self.make('pool "x" { listen = { "systemd:x" } workers = 1\necho {} }\n')
        it.with_failing_calls().launch().ready()
        it.announce(r'killed by signal 31|back-off|respawned in')
        with it.connect('x') as connection:
            connection.sendall(b'x')
            if not has('seccomp'):
                self.assertEqual(connection.recv(1), b'x')
                return
            line = it.wait_for_log(r'pool x: worker \d+ killed by signal 31').string
        self.assertIn('signal=SYS', line)

    def test_a_list_that_cant_be_loaded(self):
        """No connection is served without the list. A build without lists asks for none."""
        for model in ('process', 'event'):
            it = self.make(f'pool "x" {{ listen = {{ "systemd:x" }} workers = 1\n'
                           f'model = "{model}"\ndaytime {{}} }}\n')
            it.with_failing_calls().launch().ready()
            it.put('SECCOMP', '')
            it.announce('list of system calls|back-off|respawned in')
            with self.subTest(model):
                answer = client.ask(it.address('x'))
                if has('seccomp'):
                    self.assertEqual(answer, b'')
                    it.wait_for_log("can't load the list of system calls: Cannot allocate memory")
                else:
                    self.assertTrue(answer)
            it.stop()

    @daemon.needs_root
    def test_a_peer_with_a_zone(self):
        """Logging a link-local client needs no call that is not on the list."""
        it = self.make('pool "x" { listen = { "[::]:7777" } workers = 1 log_connections = true\n'
                       'echo {} }\n')
        there = network.Network(self)
        there.run('ip', 'link', 'add', 'one', 'type', 'veth', 'peer', 'name', 'other')
        there.run('ip', 'addr', 'add', 'fe80::1/64', 'dev', 'one', 'nodad')
        for name in ('one', 'other'):
            there.run('ip', 'link', 'set', name, 'up')
        it.program = it.put('preforkd', '#!/bin/sh\nexec ' + ' '.join(there.command(
            daemon.BINARY, '"$@"')) + '\n', mode=0o755)
        it.launch().ready()

        def ask():
            zone = socket.if_nametoindex('one')
            with socket.socket(socket.AF_INET6) as connection:
                connection.settimeout(client.PATIENCE)
                connection.connect(('fe80::1', 7777, 0, zone))
                return client.echo(connection, b'x'), zone
        answer, zone = there.call(ask)
        self.assertEqual(answer, b'x')
        it.wait_for_log(rf'connection from \[fe80::1%{zone}\]:\d+ ended')


if __name__ == '__main__':
    daemon.main()
