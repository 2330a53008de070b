"""cgi as a FastCGI server: records, connections, bodies, and the environment of a program."""

import itertools
import os
import re
import select
import signal
import socket
import time

import client
import daemon
import fastcgi
import gateway
import processes
from fastcgi import record
from processes import wait_until

SLEEP = 'echo Content-Type: text/plain; echo; echo $$; exec sleep 1000'


class Records(gateway.Case):
    def test_byte_by_byte(self):
        it = self.gateway()
        request = fastcgi.whole(self.params(it, 'cat', {'CONTENT_LENGTH': '5'}), b'hello')
        with it.connect('x') as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for at in range(len(request)):
                connection.sendall(request[at:at + 1])
            answer = fastcgi.read_answer(connection)
        self.assertEqual(answer.body, b'hello')

    def test_split_and_padded_any_way(self):
        it = self.gateway()
        params = self.params(it, 'cat', {'CONTENT_LENGTH': '70000', 'X': 'x' * 5000})
        body = os.urandom(70000)
        for size, padding in ((1, 0), (7, 3), (300, 255), (65535, 255)):
            with self.subTest(size=size, padding=padding), it.connect('x') as connection:
                pairs = fastcgi.pairs(params)
                client_side = (fastcgi.begin()
                               + fastcgi.stream(fastcgi.PARAMS, 1, pairs, size, padding)
                               + fastcgi.stream(fastcgi.STDIN, 1, body, max(size, 7), padding))
                connection.sendall(client_side)
                self.assertEqual(fastcgi.read_answer(connection).body, body)

    def test_any_request_id(self):
        it = self.gateway()
        for request in (1, 255, 256, 257, 65535):
            answer = self.ask(it, 'cat', body=b'x', request=request)
            self.assertEqual((answer.body, answer.requests), (b'x', {request}))

    def test_order_of_the_records(self):
        it = self.gateway()
        kinds = self.ask(it, 'cat', body=b'x').kinds
        self.assertEqual(set(kinds[:-1]), {fastcgi.STDOUT})
        self.assertEqual(kinds[-1], fastcgi.END_REQUEST)

    def test_values(self):
        it = self.gateway(workers=3)
        asked = fastcgi.pairs({'FCGI_MAX_CONNS': '', 'FCGI_MPXS_CONNS': '', 'OTHER': '',
                               'FCGI_MAX_REQS': ''})
        with it.connect('x') as connection:
            connection.sendall(record(fastcgi.GET_VALUES, 0, asked, 5))
            kind, request, content = fastcgi.read_record(connection)
            self.assertEqual((kind, request), (fastcgi.GET_VALUES_RESULT, 0))
            self.assertEqual(fastcgi.unpair(content), {
                'FCGI_MAX_CONNS': '3', 'FCGI_MAX_REQS': '3', 'FCGI_MPXS_CONNS': '0'})
            connection.sendall(record(99, 0, b'?' * 5000))
            kind, request, content = fastcgi.read_record(connection)
            self.assertEqual((kind, request, content[0]), (fastcgi.UNKNOWN_TYPE, 0, 99))
            connection.sendall(fastcgi.whole(self.params(it, 'cat')))
            self.assertEqual(fastcgi.read_answer(connection).status, 200)

    def test_unknown_types_and_other_requests_are_let_pass(self):
        it = self.gateway()
        params = fastcgi.pairs(self.params(it, 'cat', {'CONTENT_LENGTH': '2'}))
        with it.connect('x') as connection:
            connection.sendall(record(fastcgi.STDIN, 9, b'no') + fastcgi.begin(7)
                               + record(77, 7, b'?') + record(fastcgi.PARAMS, 9, b'\xff')
                               + fastcgi.stream(fastcgi.PARAMS, 7, params)
                               + record(fastcgi.DATA, 7, b'data') + record(fastcgi.STDIN, 9, b'no')
                               + fastcgi.stream(fastcgi.STDIN, 7, b'ok'))
            answer = fastcgi.read_answer(connection)
        self.assertEqual((answer.body, answer.requests), (b'ok', {7}))

    def test_one_request_at_a_time(self):
        it = self.gateway()
        with it.connect('x') as connection:
            connection.sendall(fastcgi.head(self.params(it, 'cat', {'CONTENT_LENGTH': '2'}), 5)
                               + record(fastcgi.STDIN, 5, b'a'))
            self.assertEqual(gateway.read_body(connection, 1), b'a')
            connection.sendall(fastcgi.begin(6) + record(fastcgi.GET_VALUES, 0))
            kind, request, content = fastcgi.read_record(connection)
            self.assertEqual((kind, request, content[4]),
                             (fastcgi.END_REQUEST, 6, fastcgi.CANT_MPX))
            self.assertEqual(fastcgi.read_record(connection)[0], fastcgi.GET_VALUES_RESULT)
            connection.sendall(fastcgi.stream(fastcgi.STDIN, 5, b'b'))
            answer = fastcgi.read_answer(connection)
            self.assertEqual((answer.stdout, answer.app_status), (b'b', 0))

    def test_other_roles(self):
        it = self.gateway()
        for keep in (True, False):
            with it.connect('x') as connection:
                connection.sendall(fastcgi.begin(3, fastcgi.AUTHORIZER, keep))
                kind, request, content = fastcgi.read_record(connection)
                self.assertEqual((kind, request, content[4]),
                                 (fastcgi.END_REQUEST, 3, fastcgi.UNKNOWN_ROLE))
                if keep:
                    connection.sendall(fastcgi.whole(self.params(it, 'cat')))
                    self.assertEqual(fastcgi.read_answer(connection).status, 200)
                else:
                    self.assertEqual(connection.recv(1), b'')

    def test_what_is_no_fastcgi_is_closed(self):
        it = self.gateway()
        for garbage in (b'GET / HTTP/1.0\r\n\r\n', record(fastcgi.BEGIN_REQUEST, 1, b'', 0, 2),
                        record(fastcgi.BEGIN_REQUEST, 1, b'\0\1'), fastcgi.begin() * 2,
                        fastcgi.begin() + record(fastcgi.STDIN, 1, b'early'), os.urandom(64)):
            with self.subTest(garbage=garbage), it.connect('x') as connection:
                connection.sendall(garbage)
                connection.shutdown(socket.SHUT_WR)
                try:
                    client.read_all(connection)
                except ConnectionResetError:
                    pass
        self.assertEqual(self.ask(it, 'cat', body=b'x').body, b'x')

    def test_too_many_parameters(self):
        it = self.gateway()
        for params in ({'A': 'x' * 300000}, [(f'A{n}', '') for n in range(2000)]):
            with it.connect('x') as connection:
                connection.sendall(fastcgi.whole(params))
                self.assert_status(fastcgi.read_answer(connection), 431)
        with it.connect('x') as connection:  # lengths that exceed the data
            connection.sendall(fastcgi.begin() + fastcgi.stream(fastcgi.PARAMS, 1, b'\x05\xff')
                               + record(fastcgi.STDIN, 1))
            self.assert_status(fastcgi.read_answer(connection), 431)

    def test_nearly_too_many_parameters(self):
        """The gateway adds some variables, and the kernel takes none longer than 128 KiB."""
        it = self.gateway()
        found = set()
        for params in [{'A': 'x' * 200000}] + [{f'A{n}': '' for n in range(most)}
                                               for most in range(970, 1001)]:
            for path in ('cat', 'cat/info'):
                with it.connect('x') as connection:  # without a length of the body
                    connection.sendall(fastcgi.whole(self.params(it, path, params), b'x'))
                    answer = fastcgi.read_answer(connection)
                self.assertTrue(answer.ended, (path, len(params)))
                found.add(answer.status)
        self.assertEqual(found, {200, 431})


class Connections(gateway.Case):
    LISTEN = ('"systemd:x"', '"unix:@DIR@/s"')

    def test_kept(self):
        it = self.gateway(workers=2)
        with it.connect('x') as connection:
            for number in range(20):
                body = b'%d' % number * 1000
                params = self.params(it, 'cat', {'CONTENT_LENGTH': str(len(body))})
                connection.sendall(fastcgi.whole(params, body, 1, keep=True))
                answer = fastcgi.read_answer(connection)
                self.assertEqual((answer.body, answer.ended), (body, True))
                connection.sendall(record(fastcgi.STDIN, 1))  # php-fpm takes it too
            connection.sendall(fastcgi.whole(self.params(it, 'cat'), keep=False))
            fastcgi.read_answer(connection)
            self.assertEqual(connection.recv(1), b'')

    def test_kept_after_a_body_that_nobody_read(self):
        it = self.gateway(workers=2)
        self.program(it, 'closes', 'exec <&-; echo Content-Type: text/plain; echo; echo done')
        with it.connect('x') as connection:
            for _ in range(3):
                body = os.urandom(500000)
                params = self.params(it, 'closes', {'CONTENT_LENGTH': str(len(body))})
                connection.sendall(fastcgi.whole(params, body, 1, keep=True))
                self.assertEqual(fastcgi.read_answer(connection).body, b'done\n')

    def test_a_kept_one_ends_with_its_worker(self):
        it = self.gateway(workers=2)
        with it.connect('x') as connection:
            connection.sendall(fastcgi.whole(self.params(it, 'cat'), keep=True))
            self.assertTrue(fastcgi.read_answer(connection).ended)
            workers = it.workers()
            for pid in workers:
                it.kill(signal.SIGTERM, pid)
            self.assertEqual(connection.recv(1), b'')
        it.wait_for_workers(2, without=workers)

    def test_a_kept_one_ends_where_others_wait(self):
        it = self.gateway(workers=2)
        self.program(it, 'sleeper', SLEEP)
        with it.connect('x') as kept, it.connect('x') as other:
            kept.sendall(fastcgi.whole(self.params(it, 'cat'), keep=True))
            self.assertTrue(fastcgi.read_answer(kept).ended)
            other.sendall(fastcgi.whole(self.params(it, 'sleeper')))
            gateway.read_body(other, 2)
            self.assertEqual(self.ask(it, 'cat', body=b'x').body, b'x')
            self.assertEqual(kept.recv(1), b'')

    def test_kept_ones_stay_where_nobody_waits(self):
        """Without a free worker, for longer than a few checks for waiting connections take."""
        it = self.gateway(workers=3)
        kept = [it.connect('x') for _ in range(3)]
        for connection in kept:
            self.addCleanup(connection.close)
        begun = time.monotonic()
        while time.monotonic() < begun + 1.5:
            for connection in kept:
                connection.sendall(fastcgi.whole(self.params(it, 'cat'), keep=True))
                self.assertTrue(fastcgi.read_answer(connection).ended)
            ready = select.select(kept, [], [], 0.6)[0]
            self.assertEqual(ready, [])

    def test_many_kept_ones_and_one_who_waits(self):
        """A kept connection makes room for one that waits."""
        it = self.gateway(workers=3)
        kept = [it.connect('x') for _ in range(3)]
        for connection in kept:
            self.addCleanup(connection.close)
            connection.sendall(fastcgi.whole(self.params(it, 'cat'), keep=True))
            self.assertTrue(fastcgi.read_answer(connection).ended)
        self.assertEqual(self.ask(it, 'cat', body=b'x').body, b'x')
        self.assertTrue(select.select(kept, [], [], client.PATIENCE)[0])

    def test_rest_does_not_count_as_a_request(self):
        """A kept connection that rests for longer than request_timeout is not late."""
        it = self.gateway('request_timeout = 5 idle_timeout = 13', workers=2)
        with it.connect('x') as connection:
            connection.sendall(fastcgi.whole(self.params(it, 'cat'), keep=True))
            self.assertTrue(fastcgi.read_answer(connection).ended)
            self.assertEqual(connection.recv(1), b'')  # by idle_timeout

    def test_a_kept_one_ends_when_idle(self):
        it = self.gateway('idle_timeout = 5', workers=2)
        with it.connect('x') as connection:
            connection.sendall(fastcgi.whole(self.params(it, 'cat'), keep=True))
            self.assertTrue(fastcgi.read_answer(connection).ended)
            self.assertEqual(connection.recv(1), b'')

    def test_half_closed_is_answered(self):
        for listen in self.LISTEN:
            with self.subTest(listen=listen):
                it = self.gateway(listen=listen)
                self.program(it, 'late', 'echo Content-Type: text/plain; echo; echo begun;'
                                         'while [ ! -e $DOCUMENT_ROOT/go ]; do sleep 0.05; done;'
                                         'echo done')
                params = self.params(it, 'late', {'DOCUMENT_ROOT': it.directory})
                with it.connect('x') as connection:
                    connection.sendall(fastcgi.whole(params))
                    connection.shutdown(socket.SHUT_WR)
                    self.assertEqual(gateway.read_body(connection, 6), b'begun\n')
                    it.put('go', '')
                    self.assertEqual(fastcgi.read_answer(connection).stdout, b'done\n')

    def close_while_it_runs(self, it, text, close, body=b'', length=0):
        """Closes the connection while the program runs; returns the program's pid."""
        self.program(it, 'victim', text)
        params = self.params(it, 'victim', {'CONTENT_LENGTH': str(length)})
        connection = it.connect('x')
        connection.sendall(fastcgi.head(params))
        connection.sendall(record(fastcgi.STDIN, 1, body) if length else record(fastcgi.STDIN, 1))
        pid = int(gateway.read_body(connection, 2).split()[0])
        close(connection)
        return pid

    def test_closed_ends_the_program(self):
        for listen in self.LISTEN:
            it = self.gateway('log_connections = true', listen=listen)
            for close in (socket.socket.close, client.reset):
                with self.subTest(listen=listen, close=close):
                    mark = it.mark()
                    pid = self.close_while_it_runs(it, SLEEP, close)
                    self.wait_gone(pid)
                    it.log.wait(r' info: .*went away.*signal=TERM', mark)
                    self.assertEqual(self.ask(it, 'cat', body=b'x').body, b'x')

    def test_closed_in_the_middle_of_the_body(self):
        it = self.gateway()
        pid = self.close_while_it_runs(it, SLEEP, socket.socket.close, b'abc', 1000)
        self.wait_gone(pid)

    def test_closed_with_a_program_that_ignores_it(self):
        """And that joins the group of its worker, of which it leaves a child in its own."""
        it = self.gateway(workers=2)
        pids = [self.close_while_it_runs(it, text, socket.socket.close) for text in (
            'trap "" TERM; echo Content-Type: a/b; echo; echo $$; while :; do sleep 0.1; done',
            '#!/usr/bin/python3\nimport os, signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n'
            'if os.fork():\n    os.setpgid(0, os.getpgid(os.getppid()))\n'
            '    print("Content-Type: a/b", "", os.getpid(), sep="\\n", flush=True)\n'
            'while True:\n    signal.pause()\n')]
        for pid in pids:
            self.wait_gone(pid)
        wait_until(lambda: len(it.log.find(r' info: .*went away.*signal=KILL')) == 2, 'two lines')

    def test_closed_with_a_child_that_ignores_it(self):
        """The program ends on SIGTERM; its child ignores that, and must not be left behind."""
        it = self.gateway()
        self.program(it, 'victim', '(trap "" TERM; while :; do sleep 0.1; done) & '
                                   'echo Content-Type: a/b; echo; echo $$ $!; exec sleep 1000')
        for abort in (lambda each: each.close(),
                      lambda each: each.sendall(record(fastcgi.ABORT_REQUEST, 1))):
            connection = it.connect('x')
            self.addCleanup(connection.close)
            connection.sendall(fastcgi.whole(self.params(it, 'victim')))
            pids = [int(word) for word in gateway.read_body(connection, 4).split()]
            self.assertEqual(len(pids), 2)
            abort(connection)
            for pid in pids:
                self.wait_gone(pid)

    def test_closed_takes_the_whole_group(self):
        it = self.gateway()
        self.program(it, 'victim', 'sleep 1000 & echo Content-Type: a/b; echo; echo $$ $!; wait')
        with it.connect('x') as connection:
            connection.sendall(fastcgi.whole(self.params(it, 'victim')))
            answer = fastcgi.Answer()
            while not answer.stdout.endswith(b'\n') or b'\n\n' not in answer.stdout[:-1]:
                answer.add(*fastcgi.read_record(connection))
        for pid in map(int, answer.body.split()):
            self.wait_gone(pid)

    def test_closed_before_the_request_is_whole(self):
        it = self.gateway()
        whole = fastcgi.head(self.params(it, 'cat'))
        for size in (0, 1, 8, 20, len(whole) - 8, len(whole) - 1):
            with it.connect('x') as connection:
                connection.sendall(whole[:size])
        self.assertEqual(self.ask(it, 'cat', body=b'x').body, b'x')

    def test_abort(self):
        it = self.gateway(workers=2)
        self.program(it, 'victim', SLEEP)
        with it.connect('x') as connection:
            connection.sendall(fastcgi.whole(self.params(it, 'victim'), keep=True))
            pid = int(gateway.read_body(connection, 2))
            connection.sendall(record(fastcgi.ABORT_REQUEST, 1))
            answer = fastcgi.read_answer(connection)
            self.assertEqual((answer.ended, answer.app_status), (True, 128 + signal.SIGTERM))
            self.wait_gone(pid)
            connection.sendall(fastcgi.begin(2, keep=True) + record(fastcgi.ABORT_REQUEST, 2))
            self.assertEqual(fastcgi.read_answer(connection).requests, {2})
            connection.sendall(fastcgi.whole(self.params(it, 'cat')))
            self.assertEqual(fastcgi.read_answer(connection).status, 200)

    def test_body_of_unknown_length(self):
        """Given up, or late, before it is whole, and so before the program starts."""
        it = self.gateway('request_timeout = 5')
        with it.connect('x') as connection:
            start = fastcgi.head(self.params(it, 'cat'), keep=True) + record(fastcgi.STDIN, 1, b'x')
            connection.sendall(start + record(fastcgi.ABORT_REQUEST, 1))
            answer = fastcgi.read_answer(connection)
            self.assertEqual((answer.kinds, answer.app_status), ([fastcgi.END_REQUEST], 0))
            connection.sendall(start)
            self.assert_status(fastcgi.read_answer(connection), 504)
            self.assertEqual(connection.recv(1), b'')
        it.log.wait('notice: .*cat was not started, .*request_timeout; answered with 504')
        self.assertEqual(self.ask(it, 'cat', body=b'x').body, b'x')

    def test_ended_before_the_request_is_whole(self):
        """The connection ends with a request that is aborted or refused, unless it is kept; then it
        makes room for one that waits."""
        it = self.gateway('idle_timeout = 600')
        for keep, role in itertools.product((False, True), (fastcgi.RESPONDER, fastcgi.AUTHORIZER)):
            with self.subTest(keep=keep, role=role), it.connect('x') as connection:
                connection.sendall(fastcgi.begin(keep=keep, role=role))
                if role == fastcgi.RESPONDER:
                    connection.sendall(record(fastcgi.ABORT_REQUEST, 1))
                self.assertEqual(fastcgi.read_answer(connection).kinds, [fastcgi.END_REQUEST])
                if keep:
                    self.assertEqual(self.ask(it, 'cat', body=b'x').body, b'x')
                self.assertEqual(connection.recv(1), b'')

    def test_complete_answer_lets_the_program_finish(self):
        """The web server closes once it has Content-Length bytes, or the header of an answer
        without a body: no reason to kill the program."""
        it = self.gateway()
        for header, body in (('Content-Length: 3', b'ok\n'), ('Status: 204 No Content', b''),
                             ('HTTP/1.1 304 Not Modified', b''), ('Status:205', b'')):
            mark = it.mark()
            self.program(it, 'worker', f'echo {header}; echo Content-Type: a/b; echo; echo ok;'
                                       'read x; echo late >&2')
            params = self.params(it, 'worker', {'CONTENT_LENGTH': '9'})
            with it.connect('x') as connection:
                connection.sendall(fastcgi.head(params) + record(fastcgi.STDIN, 1, b'x'))
                self.assertEqual(gateway.read_body(connection, len(body)), body)
            it.log.wait('late', mark)
        self.assertEqual(it.log.find('went away'), [])

    def test_idle_in_a_request(self):
        it = self.gateway('idle_timeout = 1')
        for sent in (b'', fastcgi.begin(), fastcgi.head(self.params(it, 'cat', {
                'CONTENT_LENGTH': '5'})) + record(fastcgi.STDIN, 1, b'abc')):
            with self.subTest(sent=sent), it.connect('x') as connection:
                connection.sendall(sent)
                try:
                    client.read_all(connection)
                except ConnectionResetError:
                    pass
        self.assertEqual(self.ask(it, 'cat', body=b'x').body, b'x')

    def test_signals_to_the_worker_hurt_no_request(self):
        it = self.gateway()
        self.program(it, 'waits', 'echo Content-Type: a/b; echo; echo $$; read x; echo "$x"')
        with it.connect('x') as connection:
            connection.sendall(fastcgi.head(self.params(it, 'waits', {'CONTENT_LENGTH': '2'})))
            gateway.read_body(connection, 2)
            worker, = it.workers()
            for number in (signal.SIGWINCH, signal.SIGHUP, signal.SIGUSR1, signal.SIGTERM):
                it.kill(number, worker)
            connection.sendall(fastcgi.stream(fastcgi.STDIN, 1, b'y\n'))
            self.assertEqual(fastcgi.read_answer(connection).stdout, b'y\n')
        it.wait_for_workers(1, without=[worker])

    def test_killed_worker_takes_its_program_along(self):
        it = self.gateway()
        it.announce('killed by signal 9')
        worker, = it.workers()
        pid = self.close_while_it_runs(it, SLEEP, lambda _: it.kill(signal.SIGKILL, worker))
        self.wait_gone(pid)
        it.wait_for_workers(1, without=[worker])
        self.assertEqual(self.ask(it, 'cat', body=b'x').body, b'x')


class Bodies(gateway.Case):
    def test_both_ways_step_by_step(self):
        """Each line is answered before the next is sent: nothing may wait in a buffer."""
        it = self.gateway()
        self.program(it, 'talk', '#!/usr/bin/python3\nimport sys\n'
                                 'print("Content-Type: text/plain\\n", flush=True)\n'
                                 'for line in sys.stdin: print("got", line, end="", flush=True)')
        params = self.params(it, 'talk', {'CONTENT_LENGTH': '40'})
        with it.connect('x') as connection:
            connection.sendall(fastcgi.head(params))
            gateway.read_body(connection, 0)
            for number in range(20):
                connection.sendall(record(fastcgi.STDIN, 1, b'%c\n' % (65 + number)))
                got = b''
                while not got.endswith(b'\n'):
                    got += fastcgi.read_record(connection)[2]
                self.assertEqual(got, b'got %c\n' % (65 + number))
            connection.sendall(record(fastcgi.STDIN, 1))
            self.assertTrue(fastcgi.read_answer(connection).ended)

    def test_writes_before_it_reads(self):
        it = self.gateway()
        self.program(it, 'loud', 'echo Content-Type: a/b; echo; '
                                 'head -c 1000000 /dev/zero; exec cat')
        body = os.urandom(1000000)
        params = self.params(it, 'loud', {'CONTENT_LENGTH': str(len(body))})
        with it.connect('x') as connection:
            sent = client.exchange(connection, fastcgi.whole(params, body))
        answer = fastcgi.parse(sent)
        self.assertEqual(answer.body, bytes(1000000) + body)

    def test_large_both_ways_in_little_memory(self):
        it = self.gateway()
        worker, = it.workers()
        body = os.urandom(1 << 20) * 48
        params = self.params(it, 'cat', {'CONTENT_LENGTH': str(len(body))})
        with it.connect('x') as connection:
            sent = client.exchange(connection, fastcgi.whole(params, body))
        answer = fastcgi.parse(sent)
        self.assertEqual(len(answer.body), len(body))
        self.assertTrue(answer.body == body)
        if not daemon.sanitized():
            self.assertLess(processes.memory_kilobytes(worker)[0], 4096)

    def test_lengths(self):
        it = self.gateway()
        self.program(it, 'both', 'echo Content-Type: a/b; echo; echo "${CONTENT_LENGTH-none}"; cat')
        large = os.urandom(300000)
        cases = [
            (None, b'', b'none\n'), ('', b'', b'none\n'), ('0', b'', b'0\n'),
            ('-1', b'', b'none\n'), ('', b'hello', b'5\nhello'), (None, b'hello', b'5\nhello'),
            ('-1', b'hello', b'5\nhello'),
            ('x', b'hello', b'5\nhello'), ('9' * 30, b'hello', b'5\nhello'),
            ('3', b'hello', b'3\nhel'), ('9', b'hello', b'9\nhello'), ('0', b'hello', b'0\n'),
            (None, large, b'none\n' + large), ('200000', large, b'200000\n' + large[:200000]),
        ]
        for length, body, expected in cases:
            with self.subTest(length=length, size=len(body)):
                more = {} if length is None else {'CONTENT_LENGTH': length}
                params = self.params(it, 'both', more)
                with it.connect('x') as connection:
                    answer = fastcgi.parse(client.exchange(
                        connection, fastcgi.whole(params, body)))
                self.assertEqual(answer.body, expected)


class Environment(gateway.Case):
    def test_required_variables_are_there(self):
        it = self.gateway()
        env = self.environment(it)
        self.assertEqual({name: env.get(name) for name in (
            'GATEWAY_INTERFACE', 'QUERY_STRING', 'REQUEST_METHOD', 'SCRIPT_NAME', 'SERVER_NAME',
            'SERVER_PORT', 'SERVER_PROTOCOL', 'SERVER_SOFTWARE', 'REMOTE_ADDR')}, {
                'GATEWAY_INTERFACE': 'CGI/1.1', 'QUERY_STRING': '', 'REQUEST_METHOD': 'GET',
                'SCRIPT_NAME': '', 'SERVER_NAME': 'localhost', 'SERVER_PORT': '80',
                'SERVER_PROTOCOL': 'HTTP/1.0', 'SERVER_SOFTWARE': 'preforkd',
                'REMOTE_ADDR': '0.0.0.0'})

    def test_what_the_web_server_says_wins_over_ours(self):
        given = {'SERVER_SOFTWARE': 'test/1', 'REMOTE_ADDR': '192.0.2.9', 'QUERY_STRING': 'a=b&c',
                 'HTTP_X': 'two\nlines', 'EMPTY': '', 'LONG': 'l' * 70000, 'lower': '1', '_': '2'}
        env = self.environment(self.gateway(), given)
        self.assertEqual({name: env.get(name) for name in given if name != '_'},
                         {name: value for name, value in given.items() if name != '_'})

    def test_what_is_refused(self):
        refused = ['HTTP_PROXY', 'HTTP_CONTENT_LENGTH', 'HTTP_CONTENT_TYPE', 'LD_PRELOAD',
                   'LD_LIBRARY_PATH', 'IFS', 'ENV', 'BASH_ENV', 'PYTHONPATH', 'PERL5LIB',
                   'RUBYOPT', 'NODE_OPTIONS', 'GCONV_PATH', 'NOTIFY_SOCKET', 'LISTEN_FDS',
                   'LISTEN_PID', '1X', 'A-B', 'A B', '', 'BASH_FUNC_x%%']
        it = self.gateway()
        env = self.environment(it, {name: 'refused' for name in refused})
        self.assertNotIn('refused', env.values())
        params = [*self.params(it, 'env').items(), ('A=B', 'c'), ('N\0', 'n'), ('V', 'a\0b'),
                  ('TWICE', 'first'), ('TWICE', 'last')]
        text = fastcgi.ask(it.address('x'), params).body
        self.assertIn(b'TWICE=last\0', text)
        for unwanted in (b'first', b'A=B', b'\0N', b'\0V='):
            self.assertNotIn(unwanted, text)

    def test_the_pool_wins_and_nothing_else_is_there(self):
        it = self.make_gateway('environment = { "LANGUAGE=de", "LD_X=mine", "GIT_ROOT=/srv" }')
        it.environment |= {'INVOCATION_ID': 'x', 'JOURNAL_STREAM': 'x', 'SECRET': 'x', 'TZ': 'UTC'}
        it.launch().ready()
        env = self.environment(it, {'LANGUAGE': 'fr', 'GIT_ROOT': '/', 'PATH': '/tmp',
                                    'HOME': '/', 'LD_X': 'theirs', 'TZ': 'Asia/Tokyo'})
        self.assertEqual((env['LANGUAGE'], env['GIT_ROOT'], env['LD_X'], env['TZ']),
                         ('de', '/srv', 'mine', 'UTC'))
        self.assertNotEqual(env['PATH'], '/tmp')
        self.assertNotEqual(env['HOME'], '/')
        for name in ('INVOCATION_ID', 'JOURNAL_STREAM', 'SECRET', 'LISTEN_FDS'):
            self.assertNotIn(name, env)

    def test_empty_is_unset_where_the_rfc_says_so(self):
        env = self.environment(self.gateway(), {'CONTENT_TYPE': '', 'CONTENT_LENGTH': '',
                                                'PATH_TRANSLATED': '/x', 'PATH_INFO': ''})
        for name in ('CONTENT_TYPE', 'CONTENT_LENGTH', 'PATH_TRANSLATED'):
            self.assertNotIn(name, env)

    def test_password(self):
        it = self.gateway()
        secret = {'HTTP_AUTHORIZATION': 'Basic eDp5'}
        self.assertIn('HTTP_AUTHORIZATION', self.environment(it, secret))
        self.assertIn('HTTP_AUTHORIZATION', self.environment(it, secret | {'REMOTE_USER': 'x'}))
        asked = self.environment(it, secret | {'AUTH_TYPE': 'Basic'})
        self.assertNotIn('HTTP_AUTHORIZATION', asked)

    def test_directory_and_descriptors(self):
        it = self.gateway()
        self.program(it, 'below/look', 'echo Content-Type: a/b; echo; pwd -P; exec ls -l '
                                       '/proc/self/fd')
        lines = self.ask(it, 'below/look').body.decode().split('\n')
        self.assertEqual(lines[0], os.path.realpath(it.path('cgi/below')))
        held = dict(re.search(r' (\d+) -> (.*)', line).groups() for line in lines if '->' in line)
        others = [where for number, where in held.items() if number not in '012']
        self.assertTrue(all('/proc/' in where for where in others), held)
        self.assertEqual(held['0'], '/dev/null')

    def test_standard_streams_of_a_body(self):
        it = self.gateway()
        self.program(it, 'look', 'echo Content-Type: a/b; echo; cat >/dev/null; '
                                 'readlink /proc/$$/fd/0 /proc/$$/fd/2')
        text = self.ask(it, 'look', body=b'x').body
        self.assertRegex(text, rb'^pipe:\[\d+\]\npipe:\[\d+\]\n$')

    def test_signals_and_group(self):
        it = self.gateway()
        self.program(it, 'look', 'echo Content-Type: a/b; echo; grep -E "Sig(Ign|Blk)" '
                                 '/proc/self/status; cut -d" " -f1,5 /proc/$$/stat')
        lines = self.ask(it, 'look').body.decode().split('\n')
        for line in lines[:2]:  # glibc ignores 32 and 33
            self.assertEqual(int(line.split()[1], 16) & ~(3 << 31), 0, line)
        self.assertEqual(*lines[2].split())


class Keeping(gateway.Case):
    """Pools and workers, tested for the bugs of fcgiwrap."""

    def test_socket_outlives_its_workers_and_goes_with_the_master(self):
        it = self.gateway(listen='"unix:@DIR@/s"', workers=3)
        it.announce('killed by signal 9')
        for number in (signal.SIGTERM, signal.SIGKILL):
            workers = it.workers()
            for pid in workers:
                it.kill(number, pid)
            it.wait_for_workers(3, without=workers)
            self.assertEqual(self.ask(it, 'cat', body=b'x').body, b'x')
        it.stop()
        self.assertFalse(os.path.exists(it.path('s')))

    def test_killed_all_it_starts_again(self):
        it = self.gateway(listen='"unix:@DIR@/s"', workers=2)
        family = processes.descendants(it.pid)
        it.kill(signal.SIGKILL)
        it.exited()
        wait_until(lambda: not any(map(processes.alive, family)), 'no process left')
        again = self.make(open(it.file, encoding='utf-8').read())
        again.launch().ready()
        again.addresses['x'] = it.path('s')
        answer = fastcgi.ask(it.path('s'), self.params(it, 'cat'))
        self.assertEqual(answer.status, 200)
        again.stop()

    def test_stop_lets_the_request_finish(self):
        it = self.gateway()
        self.program(it, 'waits', 'echo Content-Type: a/b; echo; echo $$; read x; echo "$x"')
        with it.connect('x') as connection:
            connection.sendall(fastcgi.head(self.params(it, 'waits', {'CONTENT_LENGTH': '2'})))
            gateway.read_body(connection, 2)
            it.kill(signal.SIGTERM)
            it.log.wait('stopping')
            connection.sendall(fastcgi.stream(fastcgi.STDIN, 1, b'y\n'))
            self.assertEqual(fastcgi.read_answer(connection).stdout, b'y\n')
        self.assertEqual(it.exited(), 0)


if __name__ == '__main__':
    daemon.main()
