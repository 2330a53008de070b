"""One handler in three models: clients see no difference."""

import contextlib
import os
import re
import resource
import shutil
import signal
import socket
import struct
import threading
import time

import board
import client
import control
import daemon
import processes
import wording
from processes import wait_until

BUILD = os.path.dirname(os.path.dirname(daemon.BINARY))
MODULES = os.path.join(BUILD, 'tests', 'behaviour')
PLAIN = {'ASAN_OPTIONS': 'handle_segv=0:handle_abort=0:handle_sigfpe=0:detect_leaks=0'}
SHUT_DOWN = r'warning: pool x: the connection from \S+ took more than request_timeout: it was shut'
SEATS = 8

# The options that give a pool of each model SEATS seats.
MODELS = {
    'process': f'workers = {SEATS}',
    'thread': f'workers = 2 model = "thread" threads = {SEATS // 2}',
    'event': f'workers = 2 model = "event" connections = {SEATS // 2}',
}
SHARED = ('thread', 'event')  # several connections per process


def one(model, seats=SEATS):
    """A single worker with so many seats."""
    return {'thread': f'workers = 1 model = "thread" threads = {seats}',
            'event': f'workers = 1 model = "event" connections = {seats}'}[model]


def pool(model, options='', handler='echo {}', listen='"systemd:x"'):
    return (f'pool "x" {{ listen = {{ {listen} }} {MODELS.get(model, model)}\n'
            f'{options}\n{handler} }}\n')


class Case(daemon.Case):
    def begin(self, model, options='', handler='echo {}', module=None, **more):
        it = self.make(pool(model, options, handler), environment=PLAIN, **more)
        if module:
            shutil.copy(os.path.join(MODULES, module + '.so'), it.path('m.so'))
        return it.launch().ready()

    def each(self, *arguments, models=tuple(MODELS), **more):
        """Yields a daemon in each model, one after the other."""
        for model in models:
            it = self.begin(model, *arguments, **more)
            yield model, it
            it.stop()

    def still_serves(self, it, name='x'):
        self.assertEqual(client.ask(it.address(name), b'still'), b'still')


class Clients(Case):
    def test_many_at_once(self):
        for _, it in self.each():
            with client.Load(it.address('x'), 12, 20000) as load:
                wait_until(lambda load=load: load.served > 300, '300 conversations')
            self.assertEqual(load.failures, [])

    def test_large_transfers_and_half_close(self):
        for _, it in self.each():
            data = os.urandom(1 << 16) * 64
            results = []

            def talk(it=it, data=data, results=results):
                with it.connect('x') as connection:
                    results.append(client.exchange(connection, data) == data)
            threads = [threading.Thread(target=talk, daemon=True) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(client.PATIENCE)
            self.assertEqual(results, [True] * 4)

    def test_resets(self):
        for _, it in self.each():
            workers = it.workers()
            for number in range(60):
                connection = it.connect('x')
                if number % 3:
                    connection.sendall(b'x' * 10000)
                if number % 3 == 2:
                    connection.recv(1)
                client.reset(connection)
            self.still_serves(it)
            self.assertEqual(it.workers(), workers)

    def test_beyond_the_seats_they_wait_their_turn(self):
        for _, it in self.each():
            held = it.occupy('x', SEATS)
            waiting = [it.connect('x') for _ in range(10)]
            for number, connection in enumerate(waiting):
                connection.sendall(b'%d' % number)
                connection.settimeout(0.02)
                self.assertRaises(socket.timeout, connection.recv, 1)
                connection.settimeout(client.PATIENCE)
            for connection in held:
                connection.close()
            for number, connection in enumerate(waiting):
                with connection:
                    self.assertEqual(client.read_exactly(connection, 1), b'%d' % number)

    def test_slow_ones_keep_nobody_waiting(self):
        for _, it in self.each():
            slow = it.occupy('x', SEATS - 1)
            for turn in range(20):
                for connection in slow:
                    data = b'%d' % turn
                    self.assertEqual(client.echo(connection, data), data)
                self.still_serves(it)
            for connection in slow:
                connection.close()

    def test_greedy_ones_keep_nobody_waiting(self):
        """One lane serves clients that read all that chargen sends and a client that wants one
        line."""
        it = self.begin(one('event'), handler='chargen {}')
        stop = threading.Event()

        def devour():
            with it.connect('x') as connection:
                while not stop.is_set():
                    connection.recv(1 << 20)
        threads = [threading.Thread(target=devour, daemon=True) for _ in range(3)]
        for thread in threads:
            thread.start()
        for _ in range(20):
            with it.connect('x') as modest:
                self.assertEqual(len(client.read_exactly(modest, 74)), 74)
        stop.set()
        for thread in threads:
            thread.join(client.PATIENCE)

    def test_the_other_small_services(self):
        for handler in ('discard', 'daytime', 'time', 'chargen'):
            for _, it in self.each(handler=handler + ' {}'):
                with it.connect('x') as connection:
                    if handler == 'discard':
                        self.assertEqual(client.exchange(connection, b'x' * 1000000), b'')
                    elif handler == 'daytime':
                        self.assertRegex(client.read_all(connection), rb'20\d\d.*\r\n$')
                    elif handler == 'time':
                        since, = struct.unpack('!I', client.read_all(connection))
                        self.assertAlmostEqual(since, int(time.time()) + 2208988800, delta=60)
                    else:
                        self.assertEqual(client.read_exactly(connection, 74)[-2:], b'\r\n')

    def test_several_listeners_and_a_unix_socket(self):
        for model in MODELS:
            with self.subTest(model):
                it = self.start(pool(model, listen='"systemd:x", "systemd:y", "unix:@DIR@/socket"'))
                for _ in range(10):
                    self.still_serves(it, 'x')
                    self.still_serves(it, 'y')
                    self.assertEqual(client.ask(it.path('socket'), b'by path'), b'by path')
                it.stop()


class ShortReads(Case):
    def test_reads_that_stop_early(self):
        """A read stops before urgent data, and behind descriptors, although more has arrived."""
        def send_urgent(connection):
            connection.send(b'abc!', socket.MSG_OOB)

        def send_descriptor(connection):
            socket.send_fds(connection, [b'abc'], [connection.fileno()])
        for name, send in (('systemd:x', send_urgent), ('unix:@DIR@/x', send_descriptor)):
            for model in MODELS:
                with self.subTest(f'{model} {name}'):
                    it = self.make(pool(model, listen=f'"{name}"')).launch().ready()
                    address = it.path('x') if name.startswith('unix') else it.address('x')
                    with client.connect(address) as connection:
                        self.assertEqual(client.echo(connection, b'here'), b'here')
                        for pid in it.workers():
                            it.kill(signal.SIGSTOP, pid)
                        send(connection)
                        connection.sendall(b'def')
                        for pid in it.workers():
                            it.kill(signal.SIGCONT, pid)
                        connection.settimeout(20)
                        self.assertEqual(client.read_exactly(connection, 6), b'abcdef')
                    it.stop()


class Limits(Case):
    def test_silent_client_is_closed(self):
        for _, it in self.each('idle_timeout = 4'):
            with it.connect('x') as silent, it.connect('x') as busy:
                since = time.monotonic()
                while time.monotonic() < since + 6:
                    self.assertEqual(client.echo(busy, b'tick'), b'tick')
                    time.sleep(0.05)
                self.assertEqual(silent.recv(1), b'')
            self.still_serves(it)

    def test_deaf_client_is_closed(self):
        for _, it in self.each('idle_timeout = 1', 'chargen {}', models=SHARED):
            held = [it.connect('x') for _ in range(SEATS)]
            with it.connect('x') as another:  # waits for a seat
                self.assertEqual(len(client.read_exactly(another, 74)), 74)
            for connection in held:
                connection.close()

    def test_request_timeout_ends_the_one_connection(self):
        for _, it in self.each('request_timeout = 4', models=SHARED):
            it.announce(SHUT_DOWN)
            workers = it.workers()
            since = time.monotonic()
            with it.connect('x') as late:
                self.assertEqual(client.echo(late, b'x'), b'x')
                with contextlib.suppress(ConnectionResetError, BrokenPipeError):
                    while late.recv(1):
                        pass
                self.assertGreater(time.monotonic() - since, 1)
            it.wait_for_log(SHUT_DOWN)
            self.assertEqual(it.workers(), workers)
            self.still_serves(it)

    def test_max_requests(self):
        for _, it in self.each('max_requests = 40'):
            with client.Load(it.address('x'), 4, 16) as load:
                wait_until(lambda it=it: len(it.log.find(r'\bserved=\d')) > 3, 'four ends by age')
            self.assertEqual(load.failures, [])

    def test_max_per_source(self):
        for _, it in self.each('max_per_source = 3'):
            held = it.occupy('x', 3)
            with it.connect('x') as refused:
                self.assertEqual(refused.recv(1), b'')
            it.wait_for_log(r'info: pool x: refused .* reason=max_per_source')
            held.pop().close()
            wait_until(lambda it=it: self.is_let_in(it), 'a free place')
            for connection in held:
                connection.close()

    @staticmethod
    def is_let_in(it):
        with contextlib.suppress(OSError):
            return client.ask(it.address('x'), b'x') == b'x'
        return False

    def test_proxy(self):
        header = b'PROXY TCP4 192.0.2.7 192.0.2.8 4711 80\r\n'
        for _, it in self.each('proxy_protocol = "on" proxy_from = { "127.0.0.1" }\n'
                               'proxy_timeout = 5 log_connections = true'):
            pieces = [it.connect('x') for _ in range(4)]
            for at in range(len(header)):
                for connection in pieces:  # each waits for the rest of its header
                    connection.sendall(header[at:at + 1])
            for connection in pieces:
                self.assertEqual(client.echo(connection, b'x'), b'x')
                connection.close()
            it.wait_for_log('connection from 192.0.2.7:4711 ended')
            with it.connect('x') as slow:
                slow.sendall(header[:10])
                self.assertEqual(slow.recv(1), b'')
            it.wait_for_log('not complete in time')

    def test_a_proxy_for_each_of_many_seats(self):
        """More threads than glibc has memory for without asking how many processors there are."""
        for model in SHARED:
            it = self.start(pool(one(model, 12), 'proxy_protocol = "on" proxy_timeout = 60\n'
                                                 'proxy_from = { "127.0.0.1" }'))
            worker = it.workers()
            held = [it.connect('x') for _ in range(12)]
            for connection in held:
                self.addCleanup(connection.close)
                connection.sendall(b'PROXY TCP4 192.0.2.7 192.0.2.8 4711 80\r\n')
                self.assertEqual(client.echo(connection, b'x'), b'x')
            self.assertEqual(it.workers(), worker)
            for connection in held:
                connection.close()
            it.stop()

    def test_descriptors_for_all_seats_beside_many_listeners(self):
        """Whatever limit the daemon was started with."""
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, limit)
        listen = ', '.join(f'"unix:@DIR@/{number}"' for number in range(50))
        for model in SHARED:
            resource.setrlimit(resource.RLIMIT_NOFILE, (64, limit[1]))
            it = self.start(pool(one(model, 40), listen=listen))
            resource.setrlimit(resource.RLIMIT_NOFILE, limit)
            held = [client.connect(it.path(str(number))) for number in range(40)]
            for connection in held:
                self.addCleanup(connection.close)
                self.assertEqual(client.echo(connection, b'x'), b'x')
            for connection in held:
                connection.close()
            it.stop()

    def test_descriptors_run_out(self):
        """Connections in hand are served, the others wait, and no worker ends."""
        for model in MODELS:
            with self.subTest(model):
                it = self.make(pool(model, daemon.UNLISTED)).with_failing_calls()
                it.launch().ready()
                it.announce("can't accept connections for now")
                held, = it.occupy('x', 1)
                workers = it.workers()
                failing = it.put('ACCEPT', '')
                # Lanes that are already in accept() take one more connection each.
                wait_until(lambda it=it: it.connect('x').close() or it.log.find(
                    "can't accept connections for now: Too many open files"), 'a failure')
                waiting = [it.connect('x') for _ in range(3)]
                for _ in range(20):
                    self.assertEqual(client.echo(held, b'x'), b'x')
                os.unlink(failing)
                for connection in waiting:
                    with connection:
                        self.assertEqual(client.echo(connection, b'y'), b'y')
                self.assertEqual(it.workers(), workers)
                held.close()
                it.stop()


class Supervision(Case):
    def test_crash_costs_the_worker(self):
        for model, it in self.each():
            it.announce('killed by signal')
            held = it.occupy('x', 1)
            workers = it.workers()
            victim = workers[0] if len(workers) == 1 else None
            for pid in workers:
                it.kill(signal.SIGKILL, pid)
                if victim is None:
                    it.wait_for_workers(len(workers), without=[pid])
            self.assertIn(held[0].recv(1), (b'',), model)
            self.still_serves(it)

    def test_crash_of_the_handler(self):
        for _, it in self.each(handler='module { path = "@DIR@/m.so" args = { "serve=crash" } }',
                               module='evil', models=SHARED):
            it.announce('killed by signal')
            with it.connect('x') as connection, contextlib.suppress(ConnectionResetError):
                self.assertEqual(connection.recv(1), b'')
            it.wait_for_log('killed by signal 11')
            it.wait_for_workers(2)

    def test_end_of_the_handlers_thread(self):
        """It costs its connection, and in a worker of threads nothing else; other workers end with
        it."""
        for deed in ('exit-thread', 'exit-thread-beside'):
            for model, it in self.each(handler='module { path = "@DIR@/m.so" args = { '
                                       f'"serve={deed}" }} }}', module='evil'):
                it.announce('pool x: the handler module ended its thread')
                workers = it.workers()
                for _ in range(2 * SEATS):  # each seat more than once
                    with it.connect('x') as connection, contextlib.suppress(ConnectionResetError):
                        self.assertEqual(connection.recv(1), b'', model)
                if model == 'thread':
                    it.wait_for_log(
                        r'warning: .* ended its thread, with the connection from 127\.0\.0\.1:\d')
                    board.wait_for_pool(it, 'x', served=2 * SEATS, busy=0)
                    self.assertEqual(it.workers(), workers)
                else:
                    it.wait_for_log(r'notice: .* exited with status 0')

    def test_end_of_a_thread_beside_others(self):
        """A connection of the same worker goes on."""
        it = self.begin(one('thread', 2), handler='module { path = "@DIR@/m.so" args = { '
                        '"serve=exit-thread-second" } }', module='evil')
        it.announce('ended its thread')
        held, = it.occupy('x', 1)
        with it.connect('x') as connection:
            self.assertEqual(connection.recv(1), b'')
        self.assertEqual(client.echo(held, b'on'), b'on')
        for _ in range(4):
            self.still_serves(it)
        held.close()

    def test_end_of_a_thread_in_lane_start(self):
        it = self.make(pool('thread', handler='module { path = "@DIR@/m.so" args = { '
                            '"lane_start=exit-thread" } }'))
        shutil.copy(os.path.join(MODULES, 'evil.so'), it.path('m.so'))
        it.announce('.')
        it.launch()
        self.assertEqual(it.exited(), 3)
        it.wait_for_log("can't start: .*lane_start ended its thread")

    def test_end_of_a_thread_in_lane_stop(self):
        it = self.begin('thread', handler='module { path = "@DIR@/m.so" args = { '
                        '"lane_stop=exit-thread" } }', module='evil')
        self.still_serves(it)
        it.stop()

    def test_lost_epoll_set_costs_the_worker(self):
        handler = 'module { path = "@DIR@/m.so" args = { "serve=close-sets" } }'
        two = '"systemd:x", "unix:@DIR@/other"'  # so that all models wait in epoll
        for model in MODELS:
            with self.subTest(model):
                it = self.make(pool(model, handler=handler, listen=two), environment=PLAIN)
                shutil.copy(os.path.join(MODULES, 'evil.so'), it.path('m.so'))
                it.launch().ready()
                workers = it.workers()
                with it.connect('x') as connection:
                    connection.sendall(b'x')
                    # If the byte came late, the connection was closed without a reset.
                    with contextlib.suppress(ConnectionResetError, EOFError):
                        client.read_exactly(connection, 1)
                it.wait_for_log(r'lost its listener: epoll_wait: (Bad file descriptor|Invalid arg)')
                wait_until(lambda it=it, old=workers: len(it.workers()) == len(old) and
                           it.workers() != old, 'another worker')
                it.stop()

    def test_term_lets_every_connection_end(self):
        for model in SHARED:
            with self.subTest(model):
                it = self.start(pool(one(model)))
                held = it.occupy('x', 5)
                worker, = it.workers()
                it.reload(pool(one(model), 'umask = 027'))
                self.assertIn(worker, it.wait_for_workers(2))
                for connection in held:
                    self.assertEqual(client.echo(connection, b'y'), b'y')
                    self.still_serves(it)
                    connection.close()
                it.wait_for_workers(1, without=[worker])
                self.assertTrue(it.wait_for_log(wording.obituary(worker, exit=0)))
                self.still_serves(it)
                it.stop()

    def test_draining_costs_no_processor_time(self):
        it = self.start(pool(one('event')))
        held, = it.occupy('x', 1)
        worker, = it.workers()
        it.reload(pool(one('event'), 'umask = 027'))
        it.wait_for_workers(2)
        before = processes.cpu_seconds(worker)
        until = time.monotonic() + 1
        while time.monotonic() < until:
            self.still_serves(it)
        self.assertLess(processes.cpu_seconds(worker) - before, 0.3)
        held.close()
        it.wait_for_workers(1, without=[worker])

    def test_term_of_idle_and_busy_lanes(self):
        for model in SHARED:
            with self.subTest(model):
                it = self.start(pool(one(model)))
                held = it.occupy('x', 3)
                worker, = it.workers()
                it.kill(signal.SIGTERM, worker)
                for connection in held:
                    self.assertEqual(client.echo(connection, b'y'), b'y')
                    self.assertIn(worker, it.workers())
                    connection.close()
                it.wait_for_workers(1, without=[worker])
                self.still_serves(it)
                it.stop()

    def test_quit_ends_it_at_once(self):
        for model in SHARED:
            with self.subTest(model):
                it = self.start(pool(one(model)))
                held = it.occupy('x', 3)
                worker, = it.workers()
                it.kill(signal.SIGQUIT, worker)
                self.assertEqual([connection.recv(1) for connection in held], [b''] * 3)
                it.wait_for_workers(1, without=[worker])
                it.stop()

    def test_reload_under_load(self):
        for model, it in self.each():
            with client.Load(it.address('x'), 6, 200) as load:
                for turn in range(3):
                    before = load.served
                    it.reload(pool(model, f'umask = 02{turn + 1}'))
                    wait_until(lambda load=load, before=before: load.served > before + 50,
                               'more load')
            self.assertEqual(load.failures, [])

    def test_reload_with_a_shorter_request_timeout(self):
        """The connections of the old worker have the limit that it knows, also after an upgrade."""
        options = f'request_timeout = %d idle_timeout = 3600 {daemon.UNLISTED}'
        it = self.make(pool(one('event'), options % 0)).own_program().with_failing_calls()
        it.launch().ready()
        worker, = it.workers()
        held = it.occupy('x', 1)
        it.leap(20)
        held += it.occupy('x', 1)
        it.reload(pool(one('event'), options % 2))
        for seconds in range(21, 25):  # the master judges again 2 s after a great leap
            it.leap(seconds)
        it.upgrade()
        for seconds in range(25, 29):
            it.leap(seconds)
        for connection in held:
            self.assertEqual(client.echo(connection, b'old'), b'old')
            connection.close()
        wait_until(lambda: worker not in it.workers(), 'the end of the old worker')

    def test_reload_to_another_model(self):
        it = self.begin('process')
        held, = it.occupy('x', 1)
        for model in ('thread', 'event', 'process'):
            old = it.workers()
            it.reload(pool(model))
            self.assertEqual(client.echo(held, b'old'), b'old')
            self.still_serves(it)
            self.assertTrue(set(it.workers()) - set(old))
        held.close()

    def test_reload_to_a_program(self):
        """A program gets a listener that blocks, while the old workers still accept there. None of
        them waits in accept() for the next client, as long as it has others."""
        program = pool('workers = 1', 'nice = 1 min_ready_time = 60',
                       'app { command = { "/bin/sleep", "1000" } }')
        for model in SHARED:
            it = self.make('control = "@DIR@/control"\n' + pool(one(model)), environment=PLAIN)
            it.launch().ready()
            with it.connect('x') as held:
                client.echo(held, b'x')
                it.announce('err: ')
                it.write('control = "@DIR@/control"\n' + program)
                asking = control.Caller(it.path('control'), 'reload')
                self.addCleanup(asking.connection.close)
                wait_until(lambda it=it: any('sleep' in processes.title(pid)
                                             for pid in it.workers()), 'the program')
                for _ in range(10):
                    self.still_serves(it)
                self.assertEqual(client.echo(held, b'still'), b'still')
                it.kill(signal.SIGTERM)
                self.assertEqual(client.echo(held, b'still'), b'still')
            self.assertEqual(it.exited(), 0)

    def test_master_that_dies_takes_them_along(self):
        for model in SHARED:
            with self.subTest(model):
                it = self.start(pool(model))
                workers = it.workers()
                it.kill(signal.SIGKILL)
                wait_until(lambda pids=workers: not any(map(processes.alive, pids)), 'all gone')
                it.child.wait(client.PATIENCE)
                it.stopped = True

    def test_blocked_lane_is_named(self):
        it = self.begin('event', handler='module { path = "@DIR@/m.so" args = { "serve=hang" } }',
                        module='evil')
        blocked = r'pool x: worker \d+: the handler module has worked or waited for more than 1 s'
        it.announce('killed by signal')
        with it.connect('x') as connection:
            port = connection.getsockname()[1]
            line = it.wait_for_log(blocked).string
            self.assertIn(f'on the connection from 127.0.0.1:{port}:', line)
            for worker in it.workers():
                it.kill(signal.SIGKILL, worker)
        it.wait_for_workers(2)


class Module(Case):
    HANDLER = 'module { path = "@DIR@/m.so" }'

    def say(self, connection, line):
        connection.sendall(line + b'\n')
        return connection.makefile('rb').readline().rstrip(b'\n')

    def test_waiting_for_a_socket(self):
        """A module waits for a socket with later data, with data that is there, and without
        data."""
        for _, it in self.each(handler=self.HANDLER, module='notes'):
            with it.connect('x') as connection, connection.makefile('rb') as answers:
                connection.sendall(b'pause 50\n')
                self.assertEqual(answers.readline(), b'nothing\n')
                since = time.monotonic()
                # the module reads 256 bytes at once
                connection.sendall(b'pause 30000\n' + b'count\n' * 100)
                self.assertEqual(answers.readline(), b'more\n')
                for number in range(100):
                    self.assertEqual(answers.readline(), b'%d\n' % (number + 3))
                connection.sendall(b'pause 30000\n')
                threading.Timer(0.2, connection.sendall, [b'count\n']).start()
                self.assertEqual(answers.readline(), b'more\n')
                self.assertEqual(answers.readline(), b'104\n')
                self.assertLess(time.monotonic() - since, 20)

    WAITS = 'module { path = "@DIR@/m.so" args = { "serve=wait" } }'

    def wait(self, connection, events, msec):
        """What the module's wait returns, and how many seconds it takes."""
        since = time.monotonic()
        with connection.makefile('rb') as answers:
            connection.sendall(b'%d %d' % (events, msec))
            self.assertEqual(answers.readline(), b'waits\n')
            return answers.readline().decode().rstrip(), time.monotonic() - since

    def test_waiting_for_no_event_is_a_sleep(self):
        for _, it in self.each(handler=self.WAITS, module='evil'):
            with it.connect('x') as connection:
                for _ in range(2):
                    answer, seconds = self.wait(connection, 0, 300)
                    self.assertEqual(answer, 'Connection timed out')
                    self.assertGreaterEqual(seconds, 0.3)
                connection.sendall(b'0 300')
                self.assertEqual(client.read_exactly(connection, 6), b'waits\n')
                connection.sendall(b'0 0')  # ends no sleep
                self.assertEqual(client.read_exactly(connection, 10), b'Connection')

    def test_a_reset_ends_a_sleep(self):
        for model in MODELS:
            sizes = 'workers = 2' if model == 'process' else one(model, 2)
            it = self.begin(sizes, handler=self.WAITS, module='evil')
            with self.subTest(model), it.connect('x') as other:
                asleep = it.connect('x')
                asleep.sendall(b'0 600000')
                self.assertEqual(client.read_exactly(asleep, 6), b'waits\n')
                self.wait(other, 0, 0)  # after this the first one has suspended itself
                client.reset(asleep)
                board.wait_for_pool(it, 'x', served=1)
            it.stop()

    def test_waiting_for_no_time(self):
        for _, it in self.each(handler=self.WAITS, module='evil'):
            with it.connect('x') as connection:
                for msec in (0, -1, -2 ** 31):
                    self.assertEqual(self.wait(connection, 1, msec)[0], 'Connection timed out')
                    self.assertEqual(self.wait(connection, 4, msec)[0], 'ready')

    def test_waiting_for_what_is_no_event(self):
        for _, it in self.each(handler=self.WAITS, module='evil'):
            with it.connect('x') as connection:
                for events in (-1, 0x20, 1 << 14):
                    self.assertEqual(self.wait(connection, events, 600000)[0], 'Invalid argument')
                self.assertEqual(self.wait(connection, 4, 600000)[0], 'ready')

    def test_wait_lets_others_run(self):
        """Even if the socket is ready each time."""
        it = self.begin(one('event'), handler='module { path = "@DIR@/m.so" args = { '
                        '"serve=another" } }', module='evil')
        with it.connect('x') as first:
            wait_until(lambda: board.pool(it, 'x')['busy'] == 1, 'the first')
            with it.connect('x') as second:
                for connection in (first, second):
                    connection.settimeout(20)
                    self.assertEqual(client.echo(connection, b'here'), b'here')

    def test_error_that_is_no_end(self):
        """A socket whose queue of errors isn't empty is read like any other."""
        it = self.begin(one('event'), handler='module { path = "@DIR@/m.so" args = { '
                        '"serve=stamp" } }', module='evil')
        with it.connect('x') as first, it.connect('x') as second:
            for connection in (first, second) * 2:
                self.assertEqual(client.echo(connection, b'here'), b'here')

    def test_three_kinds_of_state(self):
        for model, seats in (('process', 1), ('thread', 3), ('event', 3)):
            with self.subTest(model):
                sizes = 'workers = 1' if model == 'process' else one(model, seats)
                it = self.begin(sizes, handler=self.HANDLER, module='notes')
                total = 0
                held = [it.connect('x') for _ in range(seats)]
                for number, connection in enumerate(held):
                    self.assertEqual(self.say(connection, b'set n%d text' % number), b'stored')
                    self.assertEqual(self.say(connection, b'get n0'), b'text')
                    self.assertEqual(self.say(connection, b'count'), b'3')
                    total += 4
                    of_lane = int(self.say(connection, b'lane'))
                    self.assertEqual(of_lane, total if model == 'event' else 4)
                for connection in held:
                    connection.sendall(b'quit\n')
                    self.assertEqual(connection.recv(1), b'')
                    connection.close()
                it.stop()


class Idle(Case):
    COUNT = 2000

    def test_two_thousand_idle_ones_beside_a_busy_one(self):
        """Two processes hold them in little memory, and a busy client is served as before."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 3 * self.COUNT), hard))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        it = self.begin(f'workers = 2 model = "event" connections = {self.COUNT}')
        empty = sum(map(self.pss_kilobytes, it.workers()))
        held = [it.connect('x') for _ in range(self.COUNT)]
        for number in range(200):
            data = b'%d' % number
            connection = held[number * 10]
            self.assertEqual(client.echo(connection, data), data)
            self.still_serves(it)
        taken = sum(map(self.pss_kilobytes, it.workers())) - empty
        if not daemon.sanitized():
            self.assertLess(taken / self.COUNT, 12, 'kilobytes per connection')
        for connection in held:
            connection.close()
        self.still_serves(it)

    @staticmethod
    def pss_kilobytes(pid):
        with open(f'/proc/{pid}/smaps_rollup', encoding='ascii') as file:
            return int(re.search(r'(?m)^Pss:\s+(\d+)', file.read())[1])


if __name__ == '__main__':
    daemon.main()
