"""Figures: what is counted, that counters never go back, who waits, and what is slow."""

import contextlib
import os
import re
import signal
import subprocess
import threading

import board
import client
import daemon
import fastcgi
import gateway
import wording
from processes import wait_until

ECHO = 'pool "echo" { listen = { "systemd:echo" } workers = %d\n%s\necho {} }\n'


class Counts(daemon.Case):
    def test_bytes_and_service_time(self):
        it = self.start(ECHO % (2, ''))
        for size in (1, 10, 100):
            client.ask(it.address('echo'), b'x' * size)
        pool = board.wait_for_pool(it, served=3)
        self.assertEqual((pool['bytes_in'], pool['bytes_out']), (111, 111))
        times = pool['service_time']
        self.assertEqual(times['count'], 3)
        self.assertGreater(times['sum'], 0)
        self.assertEqual(times['buckets'][-1], [None, 3])
        bounds = [bound for bound, _ in times['buckets'][:-1]]
        self.assertEqual(bounds, sorted(bounds))
        counts = [count for _, count in times['buckets']]
        self.assertEqual(counts, sorted(counts))

    def test_bytes_of_who_is_told_the_end_first(self):
        """The kernel counts the client's end of the stream as a byte."""
        it = self.start(ECHO % (1, '') + 'pool "s" { listen = { "systemd:s" } workers = 1\n'
                                         'status {} }\n')
        request = b'GET /healthz HTTP/1.0\r\n\r\n'
        with it.connect('s') as connection:
            connection.sendall(request)
            answer = client.read_all(connection)
        pool = board.wait_for_pool(it, 's', served=1)
        self.assertEqual((pool['bytes_in'], pool['bytes_out']), (len(request), len(answer)))

    def test_a_long_one_is_in_a_high_class(self):
        it = self.start(ECHO % (1, ''))
        held, = it.occupy('echo', 1)
        wait_until(lambda: board.pool(it, 'echo')['workers'][0]['seconds'] >= 0.11, 'some time')
        held.close()
        times = board.wait_for_pool(it, served=1)['service_time']
        self.assertEqual([count for bound, count in times['buckets'] if bound == 0.1], [0])
        self.assertGreaterEqual(times['sum'], 0.11)

    def test_bytes_of_programs_are_not_known(self):
        """Only the programs have the connections, so the figure is unknown, not partial."""
        it = self.start(daemon.shell('read -r x; echo "$x$x"'))
        self.assertEqual(client.ask(it.address('x'), b'12345\n'), b'1234512345\n')
        pool = board.wait_for_pool(it, 'x', served=1)
        self.assertEqual((pool['bytes_in'], pool['bytes_out']), (0, 0))

    def test_who_is_refused_took_no_time(self):
        it = self.start(ECHO % (1, 'deny = { "127.0.0.1" }'))
        with contextlib.suppress(ConnectionResetError):
            client.ask(it.address('echo'), b'')
        pool = wait_until(lambda: (pool := board.pool(it, 'echo'))['refused']['denied'] and pool,
                          'a refusal')
        self.assertEqual((pool['service_time']['count'], pool['bytes_in']), (0, 0))

    def test_waits_in_the_queue(self):
        """Connections that wait while all workers are busy are counted."""
        it = self.start(ECHO % (1, ''))
        held, = it.occupy('echo', 1)
        waiting = [it.connect('echo') for _ in range(5)]
        for connection in waiting:
            connection.sendall(b'x')
        wait_until(lambda: board.pool(it, 'echo')['workers'][0]['seconds'] >= 0.3, 'some time')
        held.close()
        for connection in waiting:
            self.assertEqual(client.read_exactly(connection, 1), b'x')
            connection.close()
        pool = board.wait_for_pool(it, served=6, busy=0)
        self.assertGreaterEqual(pool['queue_wait']['count'], 1)
        self.assertGreaterEqual(pool['queue_wait']['sum'], 0.2)

    def test_one_in_32_stands_for_all(self):
        it = self.start(ECHO % (1, ''))
        for _ in range(64):
            client.ask(it.address('echo'), b'x')
        waits = board.wait_for_pool(it, served=64)['queue_wait']
        self.assertTrue(32 <= waits['count'] <= 64, waits)

    def test_unix_sockets_know_no_wait(self):
        it = self.make('pool "echo" { listen = { "unix:@DIR@/s" } workers = 1 echo {} }')
        it.launch().ready()
        for _ in range(40):
            client.ask(it.path('s'), b'x')
        pool = board.wait_for_pool(it, served=40)
        self.assertEqual(pool['queue_wait']['count'], 0)
        self.assertEqual(pool['bytes_in'], 40)


class Requests(gateway.Case):
    def test_cgi_counts_requests(self):
        it = self.gateway(workers=2)
        with it.connect('x') as connection:
            for _ in range(3):
                connection.sendall(fastcgi.whole(self.params(it, 'cat'), b'', keep=True))
                fastcgi.read_answer(connection)
        pool = wait_until(lambda: (pool := board.pool(it, 'x'))['served'] and pool, 'its end')
        self.assertEqual((pool['served'], pool['service_time']['count']), (1, 3))


class Cost(daemon.Case):
    def test_system_calls_of_a_connection(self):
        """Only those of a minimal server, and one getsockopt() per 32 connections."""
        it = self.start(ECHO % (1, ''))
        worker, = it.workers()
        with it.traced(worker):
            for _ in range(66):
                client.ask(it.address('echo'), b'x')
            board.wait_for_pool(it, served=66)
        with open(it.path('trace'), encoding='utf-8') as file:
            calls = ' '.join(re.findall(r'(?m)^(\w+)\(', file.read()))
        calls = calls[calls.index('close') + len('close '):]
        each = re.findall(r'accept4( getsockopt)? recvfrom sendto recvfrom close ?', calls)
        self.assertEqual(re.sub(r'accept4( getsockopt)? recvfrom sendto recvfrom close ?', '',
                                calls).strip(), 'accept4' if calls.endswith('accept4') else '')
        asked = sum(map(bool, each))
        self.assertGreaterEqual(asked, 2)
        # There are more where a loaded machine makes a connection look as if it had waited.
        self.assertLess(asked, len(each) // 2)


class Sums(daemon.Case):
    """No counter ever goes back, seen by a reader that polls all the time."""

    KEYS = ('accepted', 'served', 'errors', 'retirements', 'deaths', 'bytes_in', 'bytes_out')

    def counts(self, it):
        pool = board.pool(it, 'echo')
        counts = {key: pool[key] for key in self.KEYS}
        for key in ('service_time', 'queue_wait'):
            counts[key, 'sum'] = pool[key]['sum']
            counts |= {(key, bound): count for bound, count in pool[key]['buckets']}
        for key in ('user', 'system'):
            counts['ended', key] = pool['cpu_ended'][key]
        return counts

    @contextlib.contextmanager
    def watched(self, it):
        faults, ended = [], threading.Event()
        looks = []

        def watch():
            last = self.counts(it)
            while not ended.is_set():
                now = self.counts(it)
                faults.extend((key, last[key], now[key]) for key in now if now[key] < last[key])
                last = now
                looks.append(1)
        thread = threading.Thread(target=watch)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
        self.assertEqual(faults, [])
        self.assertGreater(len(looks), 1)

    def ask(self, it, count):
        for _ in range(count):
            self.assertEqual(client.ask(it.address('echo'), b'12345'), b'12345')

    def test_over_deaths_reloads_and_upgrades(self):
        it = self.make(ECHO % (3, ''))
        it.own_program()
        it.launch().ready()
        it.announce('killed by signal 9', wording.BACKOFF)
        with self.watched(it):
            self.ask(it, 40)
            board.wait_for_pool(it, served=40)
            victims = it.workers()
            for pid in victims:
                it.kill(signal.SIGKILL, pid)
            it.wait_for_workers(3, without=victims)
            self.ask(it, 40)
            it.reload(ECHO % (3, 'nice = 1'))
            self.ask(it, 40)
            it.reload(ECHO % (1, 'nice = 1'))
            it.reload(ECHO % (4, 'nice = 1'))
            self.ask(it, 40)
            it.upgrade()
            self.ask(it, 40)
        pool = board.wait_for_pool(it, served=200)
        self.assertEqual((pool['bytes_in'], pool['bytes_out']), (1000, 1000))
        self.assertEqual(pool['service_time']['count'], 200)
        self.assertEqual(pool['deaths'], 3)

    def test_for_one_who_looks_since_before_an_upgrade(self):
        """A status worker of the old generation maps the old overview until it retires."""
        it = self.make(ECHO % (3, ''))
        it.own_program()
        it.launch().ready()
        self.ask(it, 40)
        board.wait_for_pool(it, served=40)
        old = it.workers()
        with board.early(it) as looks:
            it.upgrade()
            it.wait_for_workers(3, without=old)
            echo, = looks()['pools']
        self.assertEqual((echo['accepted'], echo['served']), (40, 40))

    def test_processor_time_of_the_dead(self):
        it = self.start(daemon.shell('i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; echo $i',
                                     options='max_requests = 1'))
        self.assertEqual(client.ask(it.address('x')), b'200000\n')
        pool = wait_until(lambda: (pool := board.pool(it, 'x'))['retirements'] and pool, 'its end')
        used = pool['cpu_ended']['user'] + pool['cpu_ended']['system']
        self.assertGreater(used, 0.01)
        self.assertGreaterEqual(pool['cpu']['user'] + pool['cpu']['system'], used)

    def test_processor_time_and_memory_of_the_living(self):
        it = self.start(daemon.shell('i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; echo $i'))
        self.assertEqual(client.ask(it.address('x')), b'200000\n')
        # The worker's CPU time is read before its slot; the program may not be reaped by then.
        pool = wait_until(lambda: (pool := board.pool(it, 'x'))['served'] and
                          pool['cpu']['user'] + pool['cpu']['system'] >= 0.01 and pool,
                          'the CPU time of the program')
        self.assertEqual(pool['cpu_ended'] | {'age': 0}, {'user': 0, 'system': 0, 'age': 0})
        self.assertGreater(pool['memory']['bytes'], 64 * 1024)
        self.assertLess(pool['memory']['bytes'], 64 * 1024 * 1024)
        self.assertGreaterEqual(pool['memory']['age'], 0)


class Queues(daemon.Case):
    CONFIG = ('pool "tcp" { listen = { "systemd:tcp" } workers = 2 echo {} }\n'
              'pool "unix" { listen = { "unix:@DIR@/s" } backlog = 77 workers = 2 echo {} }')

    def seen_by_ss(self, option, wanted):
        lines = subprocess.run(['ss', '-Hln', option], check=True, capture_output=True,
                               text=True).stdout.splitlines()
        fields = [line.split() for line in lines]
        at = 1 if option == '-t' else 2
        return [tuple(map(int, words[at:at + 2])) for words in fields if wanted in words]

    def test_five_wait(self):
        it = self.make(self.CONFIG).launch().ready()
        it.addresses['unix'] = it.path('s')
        for name in ('tcp', 'unix'):
            it.occupy(name, 2)
            for _ in range(5):
                self.addCleanup(it.connect(name).close)
        status = wait_until(lambda: self.waiting(it), 'five waiting at each listener')
        self.assertEqual(status, {'tcp': (5, 4096), 'unix': (5, 77)})
        with contextlib.suppress(FileNotFoundError):
            host, port = it.address('tcp')
            self.assertEqual(self.seen_by_ss('-t', f'{host}:{port}'), [(5, 4096)])
            self.assertEqual(self.seen_by_ss('-x', it.path('s')), [(5, 77)])
        text = board.text(it, 'status')
        self.assertRegex(text, r'(?m)^127\.0\.0\.1:\d+ +tcp +\[#-+\] +5/4096$')

    def waiting(self, it):
        """Polls: a connection enters the queue when its handshake ends, which the test can't
        see."""
        found = {pool['name']: [(each['queue'], each['room']) for each in pool['listeners']]
                 for pool in board.status(it)['pools']}
        each = {name: one for name, [one] in found.items()}
        return each if all(depth == 5 for depth, _ in each.values()) else None


class Slow(daemon.Case):
    def slow(self, it, name='x'):
        for worker in board.pool(it, name)['workers']:
            if worker['slow']:
                return worker['slow']
        return None

    def wait_for_slow(self, it, name='x'):
        return wait_until(lambda: self.slow(it, name), 'a slow request')

    def test_a_program(self):
        it = self.start(daemon.shell('read -r x; sleep 1000 | cat', 'slow_threshold = 1',
                                     workers=2))
        connection = it.connect('x')
        connection.sendall(b'go\n')
        line = it.wait_for_log(r'notice: pool x: a request is slow').string
        slow = self.wait_for_slow(it)
        self.assertEqual((slow['command'], slow['state']), ('sh', 'sleeping'))
        self.assertGreaterEqual(slow['seconds'], 1)
        self.assertEqual(sorted(child['command'] for child in slow['children']), ['cat', 'sleep'])
        self.assertGreaterEqual(slow['cpu'], 0)
        self.assertLess(slow['cpu'], slow['seconds'])
        self.assertEqual(wording.field(line, 'process'), str(slow['program']))
        host, port = connection.getsockname()
        self.assertEqual(wording.field(line, 'peer'), f'{host}:{port}')
        if slow['hidden'] is None:
            self.assertRegex(slow['wchan'], r'wait')
            self.assertEqual(slow['syscall'], 'wait4')
            self.assertEqual(wording.field(line, 'wchan'), slow['wchan'])
        wait_until(lambda: self.slow(it)['seconds'] >= 3, 'another sample')
        self.assertLess(self.slow(it)['sampled'], 3)
        self.assertEqual(len(it.log.find('a request is slow')), 1)
        os.killpg(slow['program'], signal.SIGKILL)
        it.announce('was killed by signal')
        wait_until(lambda: self.slow(it) is None, 'the end of the slow request')
        connection.close()

    def test_a_worker_that_serves_by_itself(self):
        it = self.start(ECHO % (1, '') + 'slow_threshold = 1\n')
        it.occupy('echo', 1)
        slow = self.wait_for_slow(it, 'echo')
        self.assertEqual((slow['program'], slow['command']), (None, 'preforkd'))
        if slow['hidden'] is None:
            self.assertEqual(slow['syscall'], 'recvfrom')
        self.assertEqual(slow['children'], [])

    def test_without_the_right_to_look(self):
        if not daemon.ROOT:
            self.skipTest('needs root')
        wrapper = ['/usr/bin/setpriv', '--bounding-set', '-sys_ptrace']
        if not os.path.exists(wrapper[0]):
            self.skipTest('no setpriv here')
        it = self.make(ECHO % (1, 'slow_threshold = 1'))
        it.program = it.put('wrapper', '#!/bin/sh\nexec %s %s "$@"\n'
                            % (' '.join(wrapper), daemon.BINARY), 0o755)
        it.launch().ready()
        it.occupy('echo', 1)
        slow = self.wait_for_slow(it, 'echo')
        self.assertEqual((slow['wchan'], slow['syscall']), (None, None))
        self.assertIn('CAP_SYS_PTRACE', slow['hidden'])
        self.assertEqual(slow['state'], 'sleeping')

    def test_off(self):
        it = self.start('slow_threshold = 1\n' + ECHO % (1, 'slow_threshold = 0')
                        + ECHO.replace('echo"', 'on"') % (1, ''))
        it.occupy('echo', 1)
        it.occupy('on', 1)
        self.wait_for_slow(it, 'on')  # though its request began later
        self.assertIsNone(self.slow(it, 'echo'))
        it.reload('slow_threshold = 1\n' + ECHO % (1, ''))
        self.wait_for_slow(it, 'echo')

    def test_told_once_over_an_upgrade(self):
        it = self.make(ECHO % (1, 'slow_threshold = 1'))
        it.own_program()
        it.launch().ready()
        held, = it.occupy('echo', 1)
        it.wait_for_log('a request is slow')
        it.upgrade()
        self.wait_for_slow(it, 'echo')
        held.close()
        board.wait_for_pool(it, served=1)
        self.assertEqual(len(it.log.find('a request is slow')), 1)


if __name__ == '__main__':
    daemon.main()
