#!/usr/bin/env python3
"""More connections than a pool can serve: queue_timeout."""

import json
import selectors
import time

import client
import control
import daemon
import fastcgi
import gateway
from processes import wait_until

ECHO = 'pool "x" { listen = { "systemd:x" } workers = 1\n%s\necho {} }\n'
LATE = 'queue_timeout = 2'
REFUSED = (r' info: pool x: refused the connection from .*: it waited longer than queue_timeout '
           r'pool=x peer=\S+ reason=queue missed=0')
PROXIED = 'PROXY TCP4 192.0.2.%d 192.0.2.1 1 2\r\n'


class Case(gateway.Case):
    def make(self, config, **more):
        return super().make(config + 'control = "@DIR@/control"\n', **more)

    @staticmethod
    def pool(it):
        done = control.run(it, '--json', 'status')
        return next(pool for pool in json.loads(done.stdout)['pools'] if pool['name'] == 'x')

    def wait_refused(self, it, **wanted):
        """Waits until this many were refused for each reason, and none for others."""
        wait_until(lambda: {key: n for key, n in self.pool(it)['refused'].items() if n} == wanted,
                   lambda: f'{wanted}; it is {self.pool(it)["refused"]}')

    @staticmethod
    def age():
        """Waits until earlier connections are late: more than two seconds in the queue, and a clock
        tick."""
        since = time.monotonic()
        wait_until(lambda: time.monotonic() > since + 2.1, 'two seconds')

    def assert_closed(self, connection):
        """The connection is closed without data, or reset if the client sent some."""
        try:
            self.assertEqual(connection.recv(1), b'')
        except ConnectionResetError:
            pass

    def assert_no_late_one_served(self, it, seconds=2):
        bounds = self.pool(it)['queue_wait']['buckets']
        within = [count for bound, count in bounds if bound is not None and bound <= seconds]
        self.assertEqual(max(count for _, count in bounds), within[-1], bounds)


class Late(Case):
    """The only worker is busy, one connection becomes late, another one is fresh."""

    def late(self, it, sent=b''):
        """A connection in hand, and a late one."""
        held, = it.occupy('x', 1)
        late = it.connect('x')
        late.sendall(sent)
        self.age()
        return held, late

    def test_is_closed_and_the_next_one_served(self):
        it = self.start(ECHO % LATE)
        held, late = self.late(it, b'late')
        fresh = it.connect('x')
        fresh.sendall(b'x')
        held.close()
        self.assert_closed(late)
        self.assertEqual(client.read_exactly(fresh, 1), b'x')
        it.wait_for_log(REFUSED)
        self.wait_refused(it, queue=1)
        self.assert_no_late_one_served(it)
        pool = self.pool(it)
        self.assertEqual((pool['accepted'], pool['queue_wait']['count']), (3, 2))

    def test_is_served_where_the_option_is_not_set(self):
        it = self.start(ECHO % '')
        held, late = self.late(it, b'x')
        held.close()
        self.assertEqual(client.read_exactly(late, 1), b'x')
        self.wait_refused(it)

    def test_does_not_count_towards_max_requests(self):
        it = self.start(ECHO % f'{LATE} max_requests = 10')
        worker, = it.workers('x')
        held, _ = self.late(it)
        for late in [it.connect('x') for _ in range(40)]:
            self.addCleanup(late.close)
        self.age()
        held.close()
        self.wait_refused(it, queue=41)
        self.assertEqual(client.ask(it.address('x'), b'x'), b'x')
        self.assertEqual(it.workers('x'), [worker])

    def test_leaves_no_seat_of_its_source_taken(self):
        it = self.start(ECHO % f'{LATE} max_per_source = 1')
        held, late = self.late(it)
        held.close()
        self.assert_closed(late)
        self.assertEqual(client.ask(it.address('x'), b'x'), b'x')

    def test_is_not_waited_for_with_its_proxy_header(self):
        it = self.start(ECHO % f'{LATE} proxy_protocol = on proxy_from = "127.0.0.1" '
                               'proxy_timeout = 600')
        held = it.connect('x')
        held.sendall((PROXIED % 1).encode() + b'x')
        self.assertEqual(client.read_exactly(held, 1), b'x')
        late = it.connect('x')
        self.age()
        held.close()
        self.assert_closed(late)
        self.wait_refused(it, queue=1)


class Answers(Case):
    """cgi answers late requests."""

    def hold(self, it):
        """A connection in whose program the worker waits for `release`."""
        self.program(it, 'waits', 'echo Content-Type: a/b; echo; echo begun; read x; echo "$x"')
        held = it.connect('x')
        self.addCleanup(held.close)
        held.sendall(fastcgi.head(self.params(it, 'waits', {'CONTENT_LENGTH': '2'}), keep=True))
        gateway.read_body(held, 5)
        return held

    def release(self, held):
        held.sendall(fastcgi.stream(fastcgi.STDIN, 1, b'y\n'))
        self.assertEqual(fastcgi.read_answer(held).stdout, b'y\n')

    def late(self, it, *requests):
        """A connection for each request, all late when they are accepted."""
        held = self.hold(it)
        late = []
        for request in requests:
            late.append(it.connect('x'))
            self.addCleanup(late[-1].close)
            late[-1].sendall(request)
        self.age()
        fresh = it.connect('x')
        self.addCleanup(fresh.close)
        fresh.sendall(fastcgi.whole(self.params(it, 'cat')))
        self.release(held)
        return late, fresh

    def assert_told(self, connection, request=1):
        answer = fastcgi.read_answer(connection)
        self.assert_status(answer, 503)
        self.assertEqual(answer.requests, {request})
        self.assertRegex(answer.stdout, rb'(?m)^Retry-After: \d+\r$')
        self.assertEqual(connection.recv(1), b'')

    def test_whole_requests(self):
        it = self.gateway(LATE)
        cat = self.params(it, 'cat')
        post = cat | {'CONTENT_LENGTH': '30000', 'REQUEST_METHOD': 'POST'}
        late, fresh = self.late(it, fastcgi.whole(cat), fastcgi.whole(post, b'x' * 30000),
                                fastcgi.whole(cat, request=7, keep=True))
        for connection, request in zip(late, (1, 1, 7)):
            self.assert_told(connection, request)
        self.assertEqual(fastcgi.read_answer(fresh).status, 200)
        it.wait_for_log(REFUSED)
        self.wait_refused(it, queue=3)
        self.assert_no_late_one_served(it)
        wait_until(lambda: self.pool(it)['served'] == 2, 'two served connections')
        self.assertEqual(self.pool(it)['service_time']['count'], 2)  # of programs that ran

    def test_a_body_that_is_still_coming(self):
        """Later data must not destroy the answer."""
        it = self.gateway(LATE)
        post = self.params(it, 'cat', {'CONTENT_LENGTH': '100000', 'REQUEST_METHOD': 'POST'})
        late, fresh = self.late(it, fastcgi.head(post) + fastcgi.record(fastcgi.STDIN, 1, b'x' * 9))
        self.assert_told(late[0])
        told = time.monotonic()
        try:
            for _ in range(2):  # the first might only provoke the reset
                late[0].sendall(fastcgi.record(fastcgi.STDIN, 1, b'x' * 10000))
        except ConnectionError:
            if time.monotonic() < told + 1:  # the worker reads on for 2 s
                raise
        late[0].close()
        self.assertEqual(fastcgi.read_answer(fresh).status, 200)

    def test_one_that_asked_nothing_is_closed(self):
        it = self.gateway(LATE)
        late, fresh = self.late(it, b'', b'GET / HTTP/1.0\r\n\r\n')
        for connection in late:
            self.assert_closed(connection)
        self.assertEqual(fastcgi.read_answer(fresh).status, 200)
        self.wait_refused(it, queue=2)

    def test_a_kept_connection_is_late_only_once(self):
        """The wait between two requests is not in the listener's queue."""
        it = self.gateway(LATE)
        with it.connect('x') as connection:
            for _ in range(2):
                connection.sendall(fastcgi.whole(self.params(it, 'cat'), keep=True))
                self.assertEqual(fastcgi.read_answer(connection).status, 200)
                self.age()
        self.wait_refused(it)

    def test_only_who_would_be_served_is_told(self):
        it = self.gateway(f'{LATE} deny = "192.0.2.66" proxy_protocol = on '
                          'proxy_from = "127.0.0.1"')
        request = fastcgi.whole(self.params(it, 'cat'))
        self.program(it, 'waits', 'echo Content-Type: a/b; echo; echo begun; read x; echo "$x"')
        with it.connect('x') as held:
            held.sendall((PROXIED % 1).encode()
                         + fastcgi.head(self.params(it, 'waits', {'CONTENT_LENGTH': '2'})))
            gateway.read_body(held, 5)
            late = [it.connect('x') for _ in range(2)]
            for connection, number in zip(late, (66, 1)):
                self.addCleanup(connection.close)
                connection.sendall((PROXIED % number).encode() + request)
            self.age()
            self.release(held)
        self.assert_closed(late[0])
        self.assert_told(late[1])
        self.wait_refused(it, queue=1, denied=1)


class Overload(Case):
    """More clients at once than can be served in time."""

    # All at once, for a program that takes at least 50 ms: at least three seconds of work.
    WORKERS, TOTAL = 4, 240

    def load(self, it):
        """What each client received, in no order."""
        heard, waiting = [], selectors.DefaultSelector()
        began = time.monotonic()
        for _ in range(self.TOTAL):
            waiting.register(it.connect('x'), selectors.EVENT_READ)
        while waiting.get_map():
            self.assertLess(time.monotonic() - began, client.PATIENCE, f'{len(heard)} heard')
            for key, _ in waiting.select(1):
                heard.append(client.read_all(key.fileobj))
                waiting.unregister(key.fileobj)
                key.fileobj.close()
        return heard, time.monotonic() - began

    def overloaded(self, options):
        it = self.start(daemon.shell('sleep 0.05; echo served', options, self.WORKERS))
        heard, took = self.load(it)
        wait_until(lambda: self.pool(it)['busy'] == 0, 'an idle pool')
        self.assertEqual(self.pool(it)['accepted'], self.TOTAL)
        served = heard.count(b'served\n')
        self.assertEqual(served + heard.count(b''), self.TOTAL)
        self.assertEqual(self.pool(it)['served'], served)
        return it, served, took

    def test_the_served_are_not_late_and_the_workers_not_idle(self):
        it, served, took = self.overloaded('queue_timeout = 1')
        self.wait_refused(it, queue=self.TOTAL - served)
        self.assertLess(served, self.TOTAL)
        self.assert_no_late_one_served(it, 1)
        self.assertEqual(self.pool(it)['queue_wait']['count'], served)
        # The workers were busy for most of the time.
        self.assertGreater(self.pool(it)['service_time']['sum'], 0.5 * took * self.WORKERS)

    def test_without_it_all_are_served(self):
        it, served, _ = self.overloaded('')
        self.assertEqual(served, self.TOTAL)
        self.wait_refused(it)


class Configuration(Case):
    def test_where_it_can_not_be_kept(self):
        reason = 'the kernel reports only for TCP how long a connection waited'
        for text, why in {
                'pool "x" { listen = { "127.0.0.1:0", "unix:/run/x" } workers = 1 echo {}\n'
                'queue_timeout = 1 }':
                    rf":2: .*pool x: queue_timeout doesn't work with listen \"unix:/run/x\": "
                    rf'{reason}',
                'pool "x" { listen = { "unix:@x" } workers = 1\n'
                'queue_timeout = 5 cgi { root = "/" } }':
                    rf":2: .*pool x: queue_timeout doesn't work with listen \"unix:@x\": {reason}",
                'pool "x" { listen = { "127.0.0.1:0" } workers = 1\nqueue_timeout = 1\n'
                'app { command = { "/bin/cat" } } }': r':2: .*app.* takes? no queue_timeout',
                ECHO % 'queue_timeout = -1': r':2: .*queue_timeout takes',
        }.items():
            with self.subTest(text):
                it = self.make(text)
                done = self.run_preforkd('-t', '-c', it.file)
                self.assertEqual(done.returncode, 1)
                self.assertRegex(done.stderr, why)

    def test_unix_socket_that_was_passed(self):
        it = self.make(ECHO % LATE)
        it.sockets['x'] = daemon.listen_unix(it.path('s'))
        self.addCleanup(it.sockets['x'].close)
        it.announce("queue_timeout doesn't work")
        it.launch()
        self.assertEqual(it.exited(), 3)
        it.log.wait(r":2: pool x: queue_timeout doesn't work with the passed socket unix:.*/s: the")

    def test_unix_socket_without_it(self):
        it = self.make('pool "x" { listen = { "unix:@DIR@/s" } workers = 1 queue_timeout = 0\n'
                       'echo {} }\n')
        it.launch().ready()
        self.assertEqual(client.ask(it.path('s'), b'x'), b'x')


if __name__ == '__main__':
    daemon.main()
