"""Clients of every kind are served correctly."""

import os
import re
import socket
import struct
import threading
import time

import client
import daemon
import processes
from processes import wait_until

ECHO = 'pool "echo" { listen = { "systemd:echo" } workers = %d\n%s\necho {} }\n'


def in_threads(functions):
    """Runs all functions at once; raises the first exception."""
    problems = []

    def run(function):
        try:
            function()
        except (OSError, EOFError, AssertionError) as error:
            problems.append(error)
    threads = [threading.Thread(target=run, args=(function,), daemon=True)
               for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(2 * client.PATIENCE)
    if any(thread.is_alive() for thread in threads):
        raise AssertionError('a client that hangs')
    if problems:
        raise problems[0]


class Echo(daemon.Case):
    def test_concurrent_clients_get_their_own_bytes(self):
        it = self.start(ECHO % (8, ''))
        it.same_descriptors = True

        def talk():
            for size in (1, 5, 100, 1460, 4096, 20000):
                with it.connect('echo') as connection:
                    for _ in range(3):
                        data = os.urandom(size)
                        self.assertEqual(client.echo(connection, data), data)
        in_threads([talk] * 40)

    def test_large_transfers_at_once(self):
        it = self.start(ECHO % (4, ''))

        def talk():
            data = os.urandom(1 << 16) * 128
            with it.connect('echo') as connection:
                self.assertTrue(client.exchange(connection, data) == data, 'the bytes differ')
        in_threads([talk] * 6)

    def test_clients_beyond_the_workers_wait_their_turn(self):
        it = self.start(ECHO % (2, ''))
        held = it.occupy('echo', 2)
        waiting = [it.connect('echo') for _ in range(30)]
        for number, connection in enumerate(waiting):
            connection.sendall(b'%d' % number)
        for connection in held:
            connection.close()

        def finish(number, connection):
            data = b'%d' % number
            self.assertEqual(client.read_exactly(connection, len(data)), data)
            connection.close()
        in_threads([lambda n=n, c=c: finish(n, c) for n, c in enumerate(waiting)])

    def test_half_close(self):
        it = self.start(ECHO % (1, ''))
        for size in (0, 1, 100000):
            data = os.urandom(size)
            with it.connect('echo') as connection:
                self.assertEqual(client.exchange(connection, data), data)

    def test_resets_hurt_nobody(self):
        it = self.start(ECHO % (2, ''))
        workers = it.workers()
        for number in range(100):
            connection = it.connect('echo')
            if number % 3:
                connection.sendall(b'x' * 10000)
            if number % 3 == 2:
                connection.recv(1)
            client.reset(connection)
        self.assertEqual(client.ask(it.address('echo'), b'still'), b'still')
        self.assertEqual(it.workers(), workers)

    def test_reset_while_waiting_in_the_queue(self):
        it = self.start(ECHO % (1, ''))
        held, = it.occupy('echo', 1)
        for _ in range(20):
            client.reset(it.connect('echo'))
        held.close()
        self.assertEqual(client.ask(it.address('echo'), b'still'), b'still')

    def test_silent_client_is_closed(self):
        it = self.start(ECHO % (1, 'idle_timeout = 4'))
        for sent in (b'', b'some'):
            since = time.monotonic()
            with it.connect('echo') as connection:
                connection.sendall(sent)
                self.assertEqual(client.read_exactly(connection, len(sent)), sent)
                self.assertEqual(connection.recv(1), b'')
                self.assertGreaterEqual(time.monotonic() - since, 4)

    def test_client_that_reads_nothing_is_closed(self):
        it = self.start('pool "gen" { listen = { "systemd:gen" } workers = 1 idle_timeout = 1\n'
                        'chargen {} }')
        deaf = it.connect('gen')
        self.addCleanup(deaf.close)
        with it.connect('gen') as other:  # waits for the only worker
            self.assertEqual(len(client.read_exactly(other, 74)), 74)

    def test_busy_client_outlasts_idle_timeout(self):
        it = self.start(ECHO % (1, 'idle_timeout = 4'))
        until = time.monotonic() + 6
        with it.connect('echo') as connection:
            while time.monotonic() < until:
                self.assertEqual(client.echo(connection, b'tick'), b'tick')

    def test_no_idle_timeout_on_the_worker_itself(self):
        """The listener's SO_RCVTIMEO must not end a worker's wait in accept()."""
        it = self.start(ECHO % (2, 'idle_timeout = 1'))
        workers = it.workers()
        client.ask(it.address('echo'), b'x')
        with it.connect('echo') as silent:
            self.assertEqual(silent.recv(1), b'')
        self.assertEqual(it.workers(), workers)
        self.assertEqual(client.ask(it.address('echo'), b'still'), b'still')


class Others(daemon.Case):
    CONFIG = ''.join(f'pool "{name}" {{ listen = {{ "systemd:{name}" }} workers = 1\n'
                      f'{name} {{}} }}\n'
                     for name in ('discard', 'daytime', 'time', 'chargen'))

    def setUp(self):
        super().setUp()
        self.it = self.start(self.CONFIG)

    def test_discard(self):
        with self.it.connect('discard') as connection:
            self.assertEqual(client.exchange(connection, os.urandom(3000000)), b'')

    def test_daytime(self):
        line = client.ask(self.it.address('daytime')).decode('ascii')
        self.assertTrue(line.endswith('\r\n'), repr(line))
        self.assertEqual(line.count('\n'), 1)
        self.assertIn(line.count(time.strftime('%Y')), (1, 2), line)

    def test_daytime_asks_for_nothing(self):
        with self.it.connect('daytime') as connection:
            self.assertIn(b'\r\n', client.read_all(connection))

    def test_who_says_something_has_the_answer_all_the_same(self):
        """Closing a socket with unread bytes resets it, which may destroy the answer."""
        with self.it.connect('daytime') as connection:
            connection.sendall(b'x' * 1000)
            self.assertIn(b'\r\n', client.read_all(connection))

    def test_time(self):
        before = int(time.time())
        answer = client.ask(self.it.address('time'))
        self.assertEqual(len(answer), 4)
        since_1900, = struct.unpack('!I', answer)
        # The daemon's clock may be coarser, and slightly behind.
        since_1970 = (since_1900 - 2208988800) % (1 << 32)
        self.assertIn(since_1970, range(before - 1, int(time.time()) + 1))

    def test_chargen(self):
        printable = ''.join(map(chr, range(0x20, 0x7f)))
        with self.it.connect('chargen') as connection:
            text = client.read_exactly(connection, 74 * 200).decode('ascii')
        lines = text.split('\r\n')[:-1]
        self.assertEqual(len(lines), 200)
        first = printable.index(lines[0][0])
        for number, line in enumerate(lines):
            start = (first + number) % len(printable)
            self.assertEqual(line, (printable * 2)[start:start + 72])


class Account(daemon.Case):
    def test_max_requests(self):
        it = self.start(ECHO % (1, 'max_requests = 50'))
        for number in range(200):
            self.assertEqual(client.ask(it.address('echo'), b'%d' % number), b'%d' % number)
        ends = wait_until(lambda: len(it.log.find(r'\bserved=\d+\b')) >= 3 and
                          it.log.find(r'\bserved=(\d+)\b'), 'three workers ended by max_requests')
        for end in ends:
            self.assertIn(int(end[1]), range(45, 56), end.string)
        it.wait_for_workers(1)

    def test_max_requests_do_not_go_together(self):
        it = self.start(ECHO % (16, 'max_requests = 100'))
        with client.Load(it.address('echo'), 16, 16) as load:
            ends = wait_until(lambda: len(it.log.find(r'\bserved=\d+\b')) > 32 and
                              it.log.find(r'\bserved=(\d+)\b'), 'two ends per worker')
        self.assertEqual(load.failures, [])
        counts = {int(end[1]) for end in ends}
        self.assertGreater(len(counts), 4, counts)
        self.assertLessEqual(max(counts), 110)
        self.assertGreaterEqual(min(counts), 90)

    def test_log_connections(self):
        it = self.start(ECHO % (1, 'log_connections = true'))
        with it.connect('echo') as connection:
            port = connection.getsockname()[1]
            client.echo(connection, b'12345')
        line = it.wait_for_log(rf' info: .*127\.0\.0\.1:{port}\b').string
        self.assertIn('pool=echo', line)
        self.assertEqual(it.log.find(r' info: .*127\.0\.0\.1:(?!%d\b)' % port), [])

    def test_connections_are_not_logged_unasked(self):
        it = self.start(ECHO % (1, ''))
        with it.connect('echo') as connection:
            port = connection.getsockname()[1]
            client.echo(connection, b'12345')
        it.stop()
        self.assertEqual(it.log.find(rf'127\.0\.0\.1:{port}\b'), [])

    def test_keepalive(self):
        """In /proc/net/tcp, 02 is a running keep-alive timer."""
        it = self.start('pool "yes" { listen = { "systemd:yes" } workers = 1 echo {} }\n'
                        'pool "no" { listen = { "systemd:no" } workers = 1 keepalive = 0 echo {} }')
        for name, wanted in (('yes', '02'), ('no', '00')):
            held, = it.occupy(name, 1)
            ours, theirs = held.getsockname()[1], it.address(name)[1]
            pattern = rf':{theirs:04X} \w+:{ours:04X} 01 \S+ (\w\w):'

            def timer(pattern=pattern):
                with open('/proc/net/tcp', encoding='ascii') as file:
                    found = re.search(pattern, file.read())
                return found and found[1]
            # While an acknowledgement is missing, the timer is that of retransmission.
            wait_until(lambda wanted=wanted: timer() == wanted, f'{name}: keep-alive {wanted}')


class Titles(daemon.Case):
    def test_process_titles(self):
        it = self.start(ECHO % (2, ''))
        wait_until(lambda: [processes.title(pid) for pid in it.workers()]
                   == ['preforkd: pool echo, idle'] * 2, 'two idle workers by their titles')
        held, = it.occupy('echo', 1)
        titles = sorted(processes.title(pid) for pid in it.workers())
        self.assertEqual(titles[1], 'preforkd: pool echo, idle')
        self.assertRegex(titles[0], r'^preforkd: pool echo, (?!idle)\w+')
        held.close()
        wait_until(lambda: {processes.title(pid) for pid in it.workers()}
                   == {'preforkd: pool echo, idle'}, 'idle workers again')
        self.assertRegex(processes.title(it.pid), r'^preforkd: master')


class Blocking(daemon.Case):
    def test_single_listener_is_waited_for_in_accept(self):
        it = self.start(ECHO % (4, ''))

        def calls():
            found = set()
            for pid in it.workers():
                with open(f'/proc/{pid}/wchan', encoding='ascii') as file:
                    found.add(file.read())
            return found
        try:
            calls()
        except PermissionError:
            self.skipTest('wchan is hidden here')
        if calls() <= {'0', ''}:
            self.skipTest('no wchan in this kernel')
        wait_until(lambda: calls() == {'inet_csk_accept'}, lambda: f'accept() only, not {calls()}')

    def test_nonblocking_listener_does_not_spin(self):
        """O_NONBLOCK belongs to the open file description, and every process that has it may set
        it."""
        listening = daemon.listen_tcp()
        anyone = listening.dup()
        self.addCleanup(anyone.close)
        it = self.start(ECHO % (2, ''), listeners={'echo': listening})
        anyone.setblocking(False)
        for _ in range(4):  # blocked workers see it after their connection
            client.ask(it.address('echo'), b'x')
        before = sum(processes.cpu_seconds(pid) for pid in it.workers())
        since = time.monotonic()
        while time.monotonic() < since + 1:
            self.assertEqual(client.ask(it.address('echo'), b'x'), b'x')
            with it.connect('echo') as quiet:
                self.assertRaises(socket.timeout, self._quiet, quiet)
        self.assertLess(sum(processes.cpu_seconds(pid) for pid in it.workers()) - before, 0.2)

    @staticmethod
    def _quiet(connection):
        connection.settimeout(0.2)
        connection.recv(1)


if __name__ == '__main__':
    daemon.main()
