"""systemd's descriptor store: a killed master leaves its listeners there, the next one takes them
back, and no client in between is refused."""

import os
import re
import signal
import threading

import client
import daemon
import processes
import wording
from processes import wait_until

POOL = 'pool "echo" { listen = { %s } workers = 2 echo {} }\n'


class Store(daemon.Case):
    def begin(self, config, **arguments):
        """A daemon whose listeners this test stores."""
        it = self.make(config, **arguments)
        it.stored = {}
        self.addCleanup(lambda: [stored.close() for stored in it.stored.values()])
        return it.launch().ready()

    def follow(self, it, config=None):
        """Kills the master; returns the next one, started with the stored listeners but not
        awaited."""
        workers = it.workers()
        it.kill(signal.SIGKILL)
        self.assertEqual(it.exited(), -signal.SIGKILL)
        # systemd also ends the rest of a service before it starts it again.
        wait_until(lambda: not any(processes.alive(pid) for pid in workers), 'no worker')
        if not config:
            with open(it.file, encoding='utf-8') as file:
                config = file.read()
        passed = {name: stored.dup() for name, stored in it.stored.items()}
        after = self.make(config, listeners=passed)
        after.stored = it.stored  # systemd keeps them
        return after.launch()

    def number(self, it, name):
        """The descriptor number of a stored socket in /proc/PID/fd."""
        return f'socket:[{os.fstat(it.stored[name].fileno()).st_ino}]'

    def bound(self, it):
        it.wait_for_log(wording.READY)  # READY=1 may arrive before the log's lines
        match = it.log.find(r'listening on 127\.0\.0\.1:(\d+) ')[-1]
        return '127.0.0.1', int(match[1])

    def test_each_bound_listener_is_stored_and_no_passed_one(self):
        it = self.begin(POOL % '"127.0.0.1:0", "[::1]:0", "*:0", "unix:@DIR@/a b:c", "unix:@%s", '
                        '"systemd:web"' % f'preforkd-test-{os.getpid()}')
        self.assertEqual(len(it.stored), 5, it.stored)
        for name in it.stored:
            self.assertRegex(name, r'^preforkd,[ -9;-~]{1,240}$')
        held = processes.descriptors(it.pid).values()
        for name in it.stored:
            self.assertIn(self.number(it, name), held)
        for datagram in it.notices.find(r'FDSTORE=1'):
            self.assertIn('FDPOLL=0', datagram.string)

    def test_the_next_master_takes_them_back(self):
        it = self.begin(POOL % '"127.0.0.1:0", "[::1]:0", "*:0", "unix:@DIR@/s"')
        numbers = {self.number(it, name) for name in it.stored}
        path, address = os.stat(it.path('s')).st_ino, self.bound(it)
        after = self.follow(it)
        with client.connect(address) as early, client.connect(it.path('s')) as other:
            early.sendall(b'early')
            other.sendall(b'other')
            after.ready()
            self.assertEqual(client.read_exactly(early, 5), b'early')
            self.assertEqual(client.read_exactly(other, 5), b'other')
        self.assertLessEqual(numbers, set(processes.descriptors(after.pid).values()))
        self.assertEqual(len(after.log.find('taken back from systemd')), 4)
        self.assertEqual(os.stat(it.path('s')).st_ino, path)
        self.assertFalse(after.log.find('is in no pool'))
        after.stop()
        self.assertFalse(os.path.exists(it.path('s')))

    def test_one_after_the_other(self):
        it = self.begin(POOL % '"127.0.0.1:0", "unix:@DIR@/s"')
        address, path = self.bound(it), it.path('s')
        names = set(it.stored)
        for _ in range(3):
            it = self.follow(it).ready()
            self.assertEqual(client.ask(address, b'x'), b'x')
            self.assertEqual(client.ask(path, b'x'), b'x')
            self.assertEqual(set(it.stored), names)

    def test_nobody_is_refused_under_load(self):
        it = self.begin(POOL % '"127.0.0.1:0"')
        address = self.bound(it)
        refused, stop, tried = [], threading.Event(), []

        def connect():
            while not stop.is_set():
                try:
                    client.connect(address).close()
                    tried.append(1)
                except ConnectionRefusedError as error:
                    refused.append(error)
                except ConnectionResetError:
                    pass
        clients = [threading.Thread(target=connect, daemon=True) for _ in range(4)]
        for thread in clients:
            thread.start()
        try:
            after = self.follow(it).ready()
            before = len(tried)
            wait_until(lambda: len(tried) > before + 100, 'more load')
        finally:
            stop.set()
            for thread in clients:
                thread.join()
        self.assertEqual(refused, [])
        self.assertEqual(client.ask(address, b'x'), b'x')
        self.assertTrue(after.child.running())

    def test_a_reload_takes_out_what_it_closes(self):
        it = self.begin(POOL % '"127.0.0.1:0", "unix:@DIR@/a"')
        address = self.bound(it)
        it.reload(POOL % '"127.0.0.1:0", "unix:@DIR@/b"')
        wait_until(lambda: any('/b' in name for name in it.stored), 'stored')
        self.assertEqual(len(it.stored), 2)
        self.assertFalse([name for name in it.stored if '/a' in name])
        it.reload(POOL % '"unix:@DIR@/b"')
        wait_until(lambda: len(it.stored) == 1, 'a removed listener')
        self.assertRaises(ConnectionRefusedError, client.connect, address)

    def test_a_refused_reload_stores_nothing(self):
        blocker = daemon.listen_tcp()
        self.addCleanup(blocker.close)
        it = self.begin(POOL % '"127.0.0.1:0"')
        it.announce(wording.REFUSED, 'in use')
        it.reload(POOL % '"127.0.0.1:0", "unix:@DIR@/b", "127.0.0.1:%d"' %
                  blocker.getsockname()[1], refused=True)
        self.assertEqual(len(it.stored), 1)

    def test_what_is_not_wanted_any_more_is_closed(self):
        port = daemon.reserve_port(self)
        it = self.begin(POOL % f'"*:{port}", "unix:@DIR@/a", "unix:@DIR@/b"')
        name, = [name for name in it.stored if '/a' in name]
        after = self.follow(it, POOL % f'"127.0.0.1:{port}", "unix:{it.path("b")}"')
        after.ready()
        self.assertFalse(os.path.exists(it.path('a')))
        self.assertEqual(client.ask(('127.0.0.1', port), b'x'), b'x')
        self.assertRaises(OSError, client.connect, ('127.0.0.2', port))
        self.assertEqual(client.ask(it.path('b'), b'x'), b'x')
        self.assertTrue(after.notices.find(rf'FDSTOREREMOVE=1\nFDNAME={re.escape(name)}$'))

    def test_a_path_that_is_gone_is_made_again(self):
        it = self.begin(POOL % '"unix:@DIR@/s"')
        it.announce(wording.UNREACHABLE)
        os.unlink(it.path('s'))
        after = self.follow(it).ready()
        self.assertEqual(client.ask(it.path('s'), b'x'), b'x')
        self.assertTrue(after.log.find('its path is gone'))
        self.assertEqual(len(after.stored), 1)

    def test_a_failed_start_leaves_the_path(self):
        """systemd still holds the socket, and tries again."""
        blocker = daemon.listen_tcp()
        self.addCleanup(blocker.close)
        it = self.begin(POOL % '"unix:@DIR@/s"')
        after = self.follow(it, POOL % f'"unix:{it.path("s")}", "127.0.0.1:%d"'
                            % blocker.getsockname()[1])
        after.announce('in use')
        self.assertEqual(after.exited(), 3)
        self.assertTrue(os.path.exists(it.path('s')))

    def test_other_names_are_nobodys(self):
        it = self.make(POOL % '"systemd:web"', listeners={
            'web': daemon.listen_tcp(), 'preforkd,x': daemon.listen_tcp()})
        it.announce('is in no pool')
        it.launch().ready()
        self.assertEqual(client.ask(it.address('web'), b'x'), b'x')

    def test_an_upgrade_keeps_them(self):
        it = self.begin(POOL % '"127.0.0.1:0", "unix:@DIR@/s"')
        names = set(it.stored)
        it.upgrade()
        self.assertEqual(set(it.stored), names)
        it.reload(POOL % '"127.0.0.1:0"')
        wait_until(lambda: len(it.stored) == 1, 'a removed listener')
        address = self.bound(it)
        after = self.follow(it).ready()
        self.assertEqual(client.ask(address, b'x'), b'x')
        self.assertTrue(after.child.running())


if __name__ == '__main__':
    daemon.main()
