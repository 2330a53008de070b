"""How cgi ends a connection: it closes its side before it waits for the web server."""

import contextlib
import os
import socket
import threading
import time

import board
import client
import daemon
import fastcgi
import gateway
import processes
from fastcgi import record

LISTEN = ('"systemd:x"', '"unix:@DIR@/s"')
# Timeouts too long to end anything in these tests.
LONG = 'request_timeout = 600 idle_timeout = 600'


class OurEnd(gateway.Case):
    # Programs that answer without reading the body, and the status of each answer.
    EARLY = {
        'none': (None, 404),
        'nothing': ('echo Content-Type: a/b; echo; echo done', 200),
        'closes': ('exec <&-; echo Content-Type: a/b; echo; echo done', 200),
        'broken': ('echo broken; echo; exec sleep 1000', 500),
        'failed': ('exit 3', 500),
        'killed': ('kill -KILL $$', 502),
    }

    def early(self, options=LONG, **named):
        it = self.gateway(options, **named)
        it.announce('signal=KILL')
        for name, (text, _) in self.EARLY.items():
            if text:
                self.program(it, name, text)
        it.put('cgi/text', 'no program', 0o644)
        return it

    def head(self, it, name, length=400000, **more):
        return fastcgi.head(self.params(it, name, {'CONTENT_LENGTH': str(length)} | more))

    def test_who_stops_sending(self):
        """Like nginx, which stops sending the body once an answer begins, and waits for the end."""
        for listen in LISTEN:
            it = self.early(listen=listen, workers=2)
            cases = {name: status for name, (_, status) in self.EARLY.items()}
            for name, status in (cases | {'text': 403}).items():
                with self.subTest(listen=listen, name=name), it.connect('x') as connection:
                    connection.sendall(self.head(it, name) + record(fastcgi.STDIN, 1, b'x' * 9000))
                    answer = fastcgi.parse(client.read_all(connection))
                    self.assertEqual((answer.status, answer.ended), (status, True))
                    if 'unix' in listen:  # a shutdown, not a late close
                        connection.sendall(record(fastcgi.STDIN, 1, b'x'))

    def test_who_sends_too_much(self):
        it = self.early()
        with it.connect('x') as connection:
            connection.sendall(fastcgi.begin()
                               + fastcgi.stream(fastcgi.PARAMS, 1, fastcgi.pair('A', 'x' * 300000)))
            self.assertEqual(fastcgi.parse(client.read_all(connection)).status, 431)

    def test_who_sends_all_before_it_reads(self):
        """Like Caddy, which sends more than the sockets buffer. The answer must still arrive."""
        for listen in LISTEN:
            it = self.early(listen=listen)
            for name, (_, status) in self.EARLY.items():
                with self.subTest(listen=listen, name=name), it.connect('x') as connection:
                    body = bytes(20000000)
                    connection.sendall(self.head(it, name, len(body), SERVER_SOFTWARE='Caddy/2')
                                       + fastcgi.stream(fastcgi.STDIN, 1, body))
                    answer = fastcgi.parse(client.read_all(connection))
                    self.assertEqual((answer.status, answer.ended), (status, True))

    def test_who_sends_on_behind_a_request_that_did_not_begin(self):
        """Its end must arrive, also on a connection that was kept so far."""
        it = self.gateway(LONG)
        for kept in (False, True):
            for begin in (fastcgi.begin(role=fastcgi.AUTHORIZER),
                          fastcgi.begin() + record(fastcgi.ABORT_REQUEST, 1)):
                with self.subTest(kept=kept, begin=begin), it.connect('x') as connection:
                    if kept:
                        connection.sendall(fastcgi.whole(self.params(it, 'cat'), keep=True))
                        self.assertTrue(fastcgi.read_answer(connection).ended)
                    connection.sendall(begin + fastcgi.stream(fastcgi.STDIN, 1, bytes(20000000)))
                    answer = fastcgi.parse(client.read_all(connection))
                    self.assertEqual(answer.kinds, [fastcgi.END_REQUEST])

    def test_who_does_nothing_more_keeps_nobody(self):
        """The only worker serves the next connection, though more of a body may arrive."""
        it = self.early()
        with it.connect('x') as silent, it.connect('x') as slow:
            for each in (silent, slow):
                each.sendall(self.head(it, 'none') + record(fastcgi.STDIN, 1, b'x' * 9000))
                self.assertEqual(fastcgi.read_answer(each).status, 404)
            self.assertEqual(self.ask(it, 'cat', body=b'x').body, b'x')

    def test_who_never_stops_keeps_nobody(self):
        it = self.early()
        with it.connect('x') as endless:
            endless.sendall(self.head(it, 'none', 1 << 40))
            self.assertEqual(fastcgi.read_answer(endless).status, 404)
            with it.connect('x') as other:
                other.sendall(fastcgi.whole(self.params(it, 'cat')))
                until = time.monotonic() + client.PATIENCE
                with self.assertRaises(ConnectionError):
                    while time.monotonic() < until:
                        endless.sendall(record(fastcgi.STDIN, 1, bytes(8)))
                self.assertTrue(fastcgi.read_answer(other).ended)

    @staticmethod
    def await_worker(connection):
        """Returns when the worker has read all that was sent."""
        connection.sendall(record(fastcgi.GET_VALUES, 0))
        fastcgi.read_record(connection)

    @staticmethod
    def flood(connection):
        """Sends records of no request in hand until the connection ends. They are so small that
        there are always more than the worker has read."""
        records = record(fastcgi.STDIN, 9) * 100000

        def send():
            with contextlib.suppress(OSError):
                while True:
                    connection.sendall(records)
        thread = threading.Thread(target=send, daemon=True)
        thread.start()
        return thread

    def test_who_floods_a_kept_connection_keeps_nobody(self):
        it = self.gateway(LONG)
        with it.connect('x') as endless:
            endless.sendall(fastcgi.whole(self.params(it, 'cat'), keep=True))
            self.assertTrue(fastcgi.read_answer(endless).ended)
            thread = self.flood(endless)
            self.assertTrue(self.ask(it, 'cat').ended)
            thread.join()

    def test_who_floods_has_no_more_time(self):
        """The worker ends its connection, before the master ends the worker."""
        it = self.make_gateway('request_timeout = 60 idle_timeout = 600').with_failing_calls()
        it.launch().ready()
        workers = it.workers()
        with it.connect('x') as endless:
            endless.sendall(fastcgi.begin())
            self.await_worker(endless)
            thread = self.flood(endless)
            it.leap(65)
            thread.join()
        self.assertEqual(self.ask(it, 'cat', body=b'x').body, b'x')
        self.assertEqual(it.workers(), workers)

    def test_a_late_beginning_has_all_the_time(self):
        """A request's time begins with it, not with its connection, for the master, too."""
        it = self.gateway(LONG)
        with it.connect('x') as connection:
            self.await_worker(connection)
            time.sleep(0.5)
            before = time.monotonic()
            connection.sendall(fastcgi.begin())
            self.await_worker(connection)
            worker, = board.pool(it, 'x')['workers']
            self.assertLessEqual(worker['seconds'], time.monotonic() - before)

    def test_who_begins_nothing(self):
        """The time of a first request that does not come begins with its connection."""
        it = self.make_gateway('request_timeout = 60 idle_timeout = 600').with_failing_calls()
        it.launch().ready()
        workers = it.workers()
        with it.connect('x') as connection:
            self.await_worker(connection)
            it.leap(65)
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.sendall(record(fastcgi.GET_VALUES, 0))  # a poll does not see the leap
                # A worker that did not wait has seen it, and answers nothing.
                self.assertIn(client.read_all(connection), (b'', record(10, 0)))
        self.assertEqual(it.workers(), workers)

    def test_who_does_not_read_has_no_more_time(self):
        """The program has ended, its answer, which was held back until then, waits: the worker
        gives it up before the master ends the worker."""
        it = self.make_gateway('request_timeout = 60 idle_timeout = 600',
                               listen='"unix:@DIR@/s"').with_failing_calls()
        it.launch().ready()
        self.program(it, 'much', 'echo Content-Type: a/b; echo; exec head -c 900000 /dev/zero')
        workers = it.workers()
        with it.connect('x') as deaf:
            deaf.sendall(self.head(it, 'much', 7, SERVER_SOFTWARE='nginx/1'))
            client.read_exactly(deaf, 1)
            it.leap(67)
            with contextlib.suppress(BrokenPipeError):  # a worker that did not wait has seen it
                deaf.sendall(record(99, 0))  # a poll does not see the leap
            self.assertEqual(self.ask(it, 'cat', body=b'x').body, b'x')
        self.assertEqual(it.workers(), workers)

    def test_a_stop_waits_for_no_rest(self):
        it = self.early()
        with it.connect('x') as silent:
            silent.sendall(self.head(it, 'none') + record(fastcgi.STDIN, 1, b'x' * 9000))
            self.assertEqual(fastcgi.read_answer(silent).status, 404)
            it.stop()

    def test_late_and_unwilling_to_end(self):
        """The end comes with the 504, not when the program dies later."""
        it = self.gateway('request_timeout = 5')
        it.announce('took longer')
        self.program(it, 'deaf', 'trap "" TERM; echo $$ > $SCRIPT_FILENAME.pid;'
                                 'while :; do sleep 0.1; done')
        os.chmod(it.path('cgi'), 0o777)
        with it.connect('x') as connection:
            connection.sendall(self.head(it, 'deaf') + record(fastcgi.STDIN, 1, b'x' * 9000))
            self.assertEqual(fastcgi.parse(client.read_all(connection)).status, 504)
            with open(it.path('cgi/deaf.pid'), encoding='ascii') as file:
                pid = int(file.read())
            self.assertTrue(processes.alive(pid))
        self.wait_gone(pid)

    def test_gone_just_before_the_end(self):
        """The first failing write ends the request, and the worker waits for nothing more. poll()
        also reports a web server that closes, but not one that only stops reading."""
        it = self.gateway(listen='"unix:@DIR@/s"')
        self.program(it, 'silent', 'exit 0')
        it.announce('wrote nothing')
        with it.connect('x') as gone:
            gone.sendall(fastcgi.whole(self.params(it, 'silent')))
            gone.shutdown(socket.SHUT_RD)
            self.assertEqual(self.ask(it, 'cat', body=b'x').body, b'x')

    def test_gone_just_before_the_answer(self):
        """Only what was sent counts as what the web server was promised."""
        it = self.gateway(LONG, listen='"unix:@DIR@/s"')
        for name, end in {'ended': 'exit 0', 'runs': 'exec sleep 1000'}.items():
            self.program(it, name, 'cat > /dev/null; echo Content-Type: a/b;'
                                   f'echo Content-Length: 5; echo; echo done; {end}')
            with self.subTest(name), it.connect('x') as gone:
                gone.sendall(self.head(it, name, 1))
                gone.shutdown(socket.SHUT_RD)
                gone.sendall(fastcgi.stream(fastcgi.STDIN, 1, b'x'))
                it.log.wait(f'/{name} was ended, since the client went away')

    def test_whole_by_its_length(self):
        """The program's exit status does not matter then."""
        it = self.gateway()
        self.program(it, 'closed', 'echo Content-Type: a/b; echo Content-Length: 5; echo;'
                                   'echo half; exec >&-; sleep 0.05; kill -KILL $$')
        answer = self.ask(it, 'closed')
        self.assertEqual((answer.body, answer.ended), (b'half\n', True))

    def test_no_header_from_who_runs_on(self):
        """The 500 does not wait for the program's end, and the program goes on."""
        cases = {'closed': '', 'partial': 'echo Content-Type: a/b;', 'word': 'printf Status;'}
        it = self.gateway(LONG, workers=len(cases))
        os.chmod(it.path('cgi'), 0o777)
        for name, text in cases.items():
            with self.subTest(name), it.connect('x') as connection:
                self.program(it, name, f'cat > /dev/null; {text} exec >&-; : > {name}.closed;'
                                       f'while ! [ -e {name}.go ]; do sleep 0.05; done; exit 3')
                connection.sendall(fastcgi.whole(self.params(it, name), b'body'))
                answer = fastcgi.parse(client.read_all(connection))
                self.assertEqual((answer.status, answer.ended), (500, True))
                it.put(f'cgi/{name}.go', '')
                it.log.wait(f'notice: .*/{name} (wrote nothing|has no complete header).* exit=3')

    def test_no_header_until_the_time_is_up(self):
        """One answer, not two."""
        it = self.gateway('request_timeout = 5 idle_timeout = 600')
        it.announce('took longer')
        self.program(it, 'closed', 'exec >&-; exec sleep 1000')
        with it.connect('x') as connection:
            connection.sendall(fastcgi.whole(self.params(it, 'closed')))
            answer = fastcgi.parse(client.read_all(connection))
            self.assertEqual((answer.status, answer.ended), (500, True))
        it.log.wait('/closed took longer')
        self.assertEqual(self.ask(it, 'cat', body=b'x').body, b'x')

    def assert_cut_off(self, it, name):
        """No web server may take a cut answer for a complete one: a record of version 0 ends it."""
        with it.connect('x') as connection:
            connection.sendall(fastcgi.whole(self.params(it, name)))
            sent = client.read_all(connection)
        self.assertEqual(sent[-8:], bytes(8))
        answer = fastcgi.parse(sent[:-8])
        self.assertEqual((answer.body, answer.ended), (b'half\n', False))
        self.assertNotIn(fastcgi.END_REQUEST, answer.kinds)

    def test_cut_off(self):
        for listen in LISTEN:
            it = self.gateway('request_timeout = 5', listen=listen)
            it.announce('took longer')
            self.program(it, 'killed', 'echo Content-Type: a/b; echo; echo half; kill -KILL $$')
            self.program(it, 'late', 'echo Content-Type: a/b; echo; echo half; exec sleep 1000')
            self.program(it, 'closed', 'echo Content-Type: a/b; echo; echo half; exec >&-;'
                                       'kill -KILL $$')
            for name in ('killed', 'late', 'closed'):
                with self.subTest(listen=listen, name=name):
                    self.assert_cut_off(it, name)

    def test_cut_off_while_the_program_still_frees_its_memory(self):
        """The kernel closes a killed program's output first, then frees 2 GB of a file that nothing
        else has open, and only then counts the program as ended."""
        it = self.gateway(LONG)
        it.announce('signal=KILL')
        self.program(it, 'killed', """echo Content-Type: a/b; echo; echo half
            exec /usr/bin/python3 -c 'if True:
                import os
                memory = os.memfd_create("memory")
                os.posix_fallocate(memory, 0, 2 << 30)
                os.dup2(memory, 0)
                os.close(memory)
                os.kill(os.getpid(), 9)'""")
        self.assert_cut_off(it, 'killed')


if __name__ == '__main__':
    daemon.main()
