"""Addresses of every kind, and sockets that exist already."""

import grp
import os
import pwd
import re
import shutil
import signal
import socket
import stat
import subprocess
import unittest

import client
import daemon
import processes
import wording
from processes import wait_until


def pool(listen, options='', name='echo', workers=2):
    return f'pool "{name}" {{ listen = {{ {listen} }} workers = {workers} {options}\necho {{}} }}\n'


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind(('::1', 0))
        return True
    except OSError:
        return False


needs_ipv6 = unittest.skipUnless(has_ipv6(), 'no IPv6 here')


def listening_ports(pid):
    """[(table, port)] of a process's listening TCP sockets."""
    inodes = {what[8:-1] for what in processes.descriptors(pid).values()
              if what.startswith('socket:[')}
    found = []
    for name in ('tcp', 'tcp6'):
        try:
            with open(f'/proc/net/{name}', encoding='ascii') as file:
                rows = [line.split() for line in file.read().splitlines()[1:]]
        except FileNotFoundError:
            continue
        found += [(name, int(row[1].split(':')[1], 16)) for row in rows
                  if row[3] == '0A' and row[9] in inodes]
    return found


class Tcp(daemon.Case):
    def port(self, it):
        (_, port), = listening_ports(it.pid)
        return port

    def test_ipv4(self):
        it = self.start(pool('"127.0.0.1:0"'))
        self.assertEqual(client.ask(('127.0.0.1', self.port(it)), b'x'), b'x')

    def test_port_is_said(self):
        it = self.start(pool('"127.0.0.1:0"'))
        it.log.wait(rf'127\.0\.0\.1:{self.port(it)}\b')

    @needs_ipv6
    def test_ipv6(self):
        it = self.start(pool('"[::1]:0"'))
        self.assertEqual(client.ask(('::1', self.port(it)), b'x'), b'x')

    @needs_ipv6
    def test_ipv6_alone_leaves_ipv4_alone(self):
        it = self.start(pool('"[::]:0"'))
        port = self.port(it)
        self.assertEqual(client.ask(('::1', port), b'x'), b'x')
        self.assertRaises(OSError, client.connect, ('127.0.0.1', port))

    def test_wildcard_is_both(self):
        it = self.start(pool('"*:0"'))
        port = self.port(it)
        self.assertEqual(client.ask(('127.0.0.1', port), b'x'), b'x')
        if has_ipv6():
            self.assertEqual(client.ask(('::1', port), b'x'), b'x')

    def test_wildcard_without_ipv6_is_ipv4(self):
        """Without IPv6 in the kernel it still listens, and a reload recognizes the socket."""
        it = self.make(pool('"*:0"', daemon.UNLISTED)).with_failing_calls()
        it.put('IPV6', '')
        it.launch().ready()
        (table, port), = before = listening_ports(it.pid)
        self.assertEqual(table, 'tcp')
        self.assertEqual(client.ask(('127.0.0.1', port), b'x'), b'x')
        it.reload(pool('"*:0"', daemon.UNLISTED, workers=3))
        self.assertEqual(listening_ports(it.pid), before)
        self.assertEqual(client.ask(('127.0.0.1', port), b'x'), b'x')

    def test_peer_of_a_mapped_address(self):
        it = self.start(pool('"*:0"', 'log_connections = true'))
        client.ask(('127.0.0.1', self.port(it)), b'x')
        it.wait_for_log(r'peer="?127\.0\.0\.1:\d+')

    def test_name_of_a_host(self):
        it = self.start(pool('"localhost:0"'))
        found = listening_ports(it.pid)
        self.assertTrue(found)
        for table, port in found:
            host = '::1' if table == 'tcp6' else '127.0.0.1'
            self.assertEqual(client.ask((host, port), b'x'), b'x')

    def test_restart_at_once_on_the_same_port(self):
        """Connections in TIME_WAIT must not prevent it."""
        port = daemon.reserve_port(self)
        for _ in range(3):
            it = self.start(pool(f'"127.0.0.1:{port}"'))
            with client.connect(('127.0.0.1', port)) as connection:
                self.assertEqual(client.echo(connection, b'x'), b'x')
                it.kill(signal.SIGQUIT)
                it.announce(wording.OVERDUE, 'killed by signal')
                self.assertEqual(it.exited(), 0)

    @unittest.skipUnless(shutil.which('ss'), 'no ss here')
    def test_backlog(self):
        it = self.start(pool('"127.0.0.1:0"', 'backlog = 7'))

        def backlog():
            text = subprocess.run(['ss', '-Hltn', f'sport = :{self.port(it)}'], check=True,
                                  capture_output=True, text=True).stdout
            return text.split()[2]
        self.assertEqual(backlog(), '7')
        workers = it.workers()
        it.reload(pool('"127.0.0.1:0"', 'backlog = 9'))
        self.assertEqual(backlog(), '9')
        self.assertEqual(it.workers(), workers)

    def test_backlog_that_the_kernel_caps(self):
        with open('/proc/sys/net/core/somaxconn', encoding='ascii') as file:
            most = int(file.read())
        it = self.start(pool('"127.0.0.1:0"', f'backlog = {most + 1}'))
        it.announce('backlog|somaxconn')
        it.log.wait(rf'(backlog|somaxconn).*\b{most}\b')


class Unix(daemon.Case):
    def test_mode_and_path(self):
        it = self.start(pool('"unix:@DIR@/s"', 'socket_mode = 0602'))
        seen = os.stat(it.path('s'))
        self.assertTrue(stat.S_ISSOCK(seen.st_mode))
        self.assertEqual(seen.st_mode & 0o7777, 0o602)
        self.assertEqual(client.ask(it.path('s'), b'x'), b'x')
        it.stop()
        self.assertFalse(os.path.exists(it.path('s')))

    def test_mode_by_default(self):
        old = os.umask(0o077)
        try:
            it = self.start(pool('"unix:@DIR@/s"'))
        finally:
            os.umask(old)
        self.assertEqual(os.stat(it.path('s')).st_mode & 0o7777, 0o660)

    @daemon.needs_root
    def test_owner(self):
        it = self.start(pool('"unix:@DIR@/a"', name='a') +
                        pool('"unix:@DIR@/b"', 'socket_user = "daemon" socket_group = "games"',
                             name='b'))
        seen = os.stat(it.path('a'))
        self.assertEqual((seen.st_uid, seen.st_gid), (pwd.getpwnam(daemon.USER).pw_uid,
                                                      grp.getgrnam(daemon.GROUP).gr_gid))
        seen = os.stat(it.path('b'))
        self.assertEqual((seen.st_uid, seen.st_gid),
                         (pwd.getpwnam('daemon').pw_uid, grp.getgrnam('games').gr_gid))

    def test_stale_socket_is_taken_over(self):
        it = self.make(pool('"unix:@DIR@/s"'))
        daemon.listen_unix(it.path('s')).close()
        self.assertTrue(os.path.exists(it.path('s')))
        it.launch().ready()
        self.assertEqual(client.ask(it.path('s'), b'x'), b'x')

    def test_socket_of_a_killed_master_is_taken_over(self):
        config = pool('"unix:@DIR@/s"')
        it = self.start(config)
        it.kill(signal.SIGKILL)
        it.exited()
        again = self.make(config.replace('@DIR@', it.directory))
        wait_until(lambda: not processes.reap_strays({again.child and again.child.pid}),
                   'the end of the workers')
        again.launch().ready()
        self.assertEqual(client.ask(it.path('s'), b'x'), b'x')

    def test_live_socket_is_refused(self):
        it = self.make(pool('"unix:@DIR@/s"'))
        with daemon.listen_unix(it.path('s')) as other:
            result = self.run_preforkd('-c', it.file)
            self.assertEqual(result.returncode, 3, result.stderr)
            self.assertRegex(result.stderr, rf'{re.escape(it.path("s"))}.*in use')
            # The socket is still the other's: the path was not unlinked.
            with client.connect(it.path('s')):
                other.accept()[0].close()

    def test_file_that_is_no_socket_is_refused(self):
        it = self.make(pool('"unix:@DIR@/s"'))
        it.put('s', 'precious')
        result = self.run_preforkd('-c', it.file)
        self.assertEqual(result.returncode, 1, result.stderr)
        with open(it.path('s'), encoding='ascii') as file:
            self.assertEqual(file.read(), 'precious')

    def test_foreign_socket_at_our_path_is_not_unlinked(self):
        it = self.start(pool('"unix:@DIR@/s"'))
        it.announce(wording.UNREACHABLE)
        os.unlink(it.path('s'))
        with daemon.listen_unix(it.path('s')):
            it.stop()
            self.assertTrue(os.path.exists(it.path('s')))

    def test_longest_path(self):
        it = self.make('')
        name = 'x' * (107 - len(it.directory) - 1)
        it.write(pool(f'"unix:{it.path(name)}"'))
        it.launch().ready()
        self.assertEqual(client.ask(it.path(name), b'x'), b'x')

    def test_abstract(self):
        name = f'@preforkd-test-{os.getpid()}'
        it = self.start(pool(f'"unix:{name}"'))
        self.assertEqual(client.ask(name, b'x'), b'x')
        other = self.make(pool(f'"unix:{name}"'))
        self.assertEqual(self.run_preforkd('-c', other.file).returncode, 3)
        it.stop()
        self.assertRaises(OSError, client.connect, name)

    def test_idle_timeout(self):
        it = self.start(pool('"unix:@DIR@/s"', 'idle_timeout = 1'))
        with client.connect(it.path('s')) as silent:
            self.assertEqual(silent.recv(1), b'')

    def test_client_that_reads_nothing_is_closed(self):
        it = self.start('pool "gen" { listen = "unix:@DIR@/s" workers = 1 idle_timeout = 1\n'
                        'chargen {} }')
        with client.connect(it.path('s')), client.connect(it.path('s')) as other:
            self.assertEqual(len(client.read_exactly(other, 74)), 74)


class Passed(daemon.Case):
    def test_by_name(self):
        it = self.start(pool('"systemd:one"', name='a') + pool('"systemd:two"', name='b'))
        for name in ('one', 'two'):
            self.assertEqual(client.ask(it.address(name), b'x'), b'x')

    def test_every_socket_of_a_name(self):
        first, second = daemon.listen_tcp(), daemon.listen_tcp()
        it = self.make(pool('"systemd:many"'), listeners={'many': first})
        addresses = [daemon.socket_address(listening) for listening in (first, second)]
        # LISTEN_FDNAMES may hold a name twice, a dict can't.
        it.sockets = Twice('many', [first, second])
        it.launch().ready()
        for address in addresses:
            self.assertEqual(client.ask(address, b'x'), b'x')

    def test_unix_socket(self):
        it = self.make(pool('"systemd:u"'))
        it.sockets['u'] = daemon.listen_unix(it.path('u'))
        it.launch().ready()
        self.assertEqual(client.ask(it.path('u'), b'x'), b'x')
        it.stop()
        self.assertTrue(os.path.exists(it.path('u')), 'the path of a passed socket')

    def test_unused_socket_is_told_and_hurts_nobody(self):
        it = self.make(pool('"systemd:used"'), listeners={'unused': daemon.listen_tcp()})
        it.announce('systemd:unused is in no pool')
        it.launch().ready()
        it.log.wait('warning: the socket that was passed as systemd:unused is in no pool')
        self.assertEqual(client.ask(it.address('used'), b'x'), b'x')

    def test_other_sockets_are_refused(self):
        """A datagram socket, and one of a family that no access list knows."""
        others = [(socket.AF_INET, socket.SOCK_DGRAM, ('127.0.0.1', 0)),
                  (socket.AF_VSOCK, socket.SOCK_STREAM,
                   (socket.VMADDR_CID_ANY, socket.VMADDR_PORT_ANY))]
        for family, kind, address in others:
            try:
                passed = socket.socket(family, kind)
                passed.bind(address)
            except OSError as error:
                self.assertEqual(family, socket.AF_VSOCK, error)
                continue  # the kernel has no such sockets
            if kind == socket.SOCK_STREAM:
                passed.listen()
            it = self.make(pool('"systemd:d"'))
            it.sockets['d'] = passed
            it.announce('.')
            it.launch()
            self.assertIn(it.exited(), (1, 3))
            it.wait_for_log('is no listening stream socket of IP or Unix')

    def test_kept_over_a_reload_without_it(self):
        """A passed socket stays open, so that the configuration may name it again."""
        both = pool('"systemd:one"', name='a') + pool('"systemd:two"', name='b')
        it = self.start(both)
        it.announce('two')
        it.reload(pool('"systemd:one"', name='a'))
        it.reload(both)
        self.assertEqual(client.ask(it.address('two'), b'x'), b'x')


class Twice(dict):
    """Looks like the dict of a daemon's sockets, with all of them under one name."""

    def __init__(self, name, sockets):
        super().__init__({name: sockets[0]})
        self.name, self.all = name, sockets

    def __len__(self):
        return len(self.all)

    def __iter__(self):
        return iter([self.name] * len(self.all))

    def values(self):
        return self.all

    def items(self):
        return [(self.name, listening) for listening in self.all]


class Several(daemon.Case):
    CONFIG = pool('"systemd:one", "127.0.0.1:0", "unix:@DIR@/s", "systemd:two"', workers=4)

    def addresses(self, it):
        # The master also listens at systemd:one and two; the third port is one that it bound.
        ports = {port for _, port in listening_ports(it.pid)}
        return [('127.0.0.1', port) for port in sorted(ports)] + [it.path('s')]

    def test_all_answer(self):
        it = self.start(self.CONFIG)
        addresses = self.addresses(it)
        self.assertEqual(len(addresses), 4)
        for _ in range(20):
            for address in addresses:
                self.assertEqual(client.ask(address, b'x'), b'x')

    def test_all_under_load(self):
        it = self.start(self.CONFIG)
        loads = [client.Load(address, 3) for address in self.addresses(it)]
        for load in loads:
            load.__enter__()
        try:
            wait_until(lambda: all(load.served > 300 for load in loads), 'all are served')
        finally:
            for load in loads:
                load.__exit__()
        self.assertEqual([load.failures for load in loads], [[]] * 4)

    def test_term_never_hangs(self):
        it = self.start(self.CONFIG)
        addresses = self.addresses(it)
        for number in range(25):
            held = [client.connect(addresses[number % 4]) for _ in range(4)]
            for connection in held:
                self.assertEqual(client.echo(connection, b'x'), b'x')
            workers = it.wait_for_workers(4)
            for connection in held:
                connection.close()
            for pid in workers:
                it.kill(signal.SIGTERM, pid)
            it.wait_for_workers(4, without=workers)

    def test_stop_under_load(self):
        it = self.start(self.CONFIG)
        with client.Load(self.addresses(it)[0], 4) as load:
            wait_until(lambda: load.served > 100, 'a running load')
            it.stop(timeout=30)

    def test_one_connection_wakes_no_herd(self):
        """One connection wakes few of sixteen waiting workers, and losers don't block in
        accept()."""
        it = self.start(self.CONFIG.replace('workers = 4', 'workers = 16'))
        addresses = self.addresses(it)

        def woken():
            return sum(int(processes.status(pid)['voluntary_ctxt_switches'])
                       for pid in it.workers())
        wait_until(lambda: all(map(processes.sleeps, it.workers())), 'sixteen waiting workers')
        before = woken()
        for number in range(200):
            client.ask(addresses[number % 4], b'x')
        self.assertLess(woken() - before, 200 * 8)
        held = [client.connect(addresses[2]) for _ in range(4)]
        for connection in held:
            self.addCleanup(connection.close)
            self.assertEqual(client.echo(connection, b'x'), b'x')

    def test_removed_listener_of_several(self):
        it = self.start(self.CONFIG)
        workers = it.workers()
        config = pool('"systemd:one", "unix:@DIR@/s"', workers=4)
        it.announce('two')
        it.reload(config)
        it.wait_for_workers(4, without=workers)
        for address in (it.address('one'), it.path('s')):
            self.assertEqual(client.ask(address, b'x'), b'x')


if __name__ == '__main__':
    daemon.main()
