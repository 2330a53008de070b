"""cgi between a program and a web server: events that arrive together, and waits that must not
happen."""

import contextlib
import os
import random
import signal
import socket
import threading
import time

import client
import daemon
import fastcgi
import gateway
import processes
from fastcgi import record
from processes import wait_until

SERVER = 'root = "@DIR@/cgi" stderr = "server"'
BOTH = 'echo warn >&2; echo Content-Type: text/plain; echo; echo hello'


def said(it, lines=1):
    def read():
        with contextlib.suppress(FileNotFoundError), open(it.path('said'), 'rb') as file:
            text = file.read()
            return text.split() if text.count(b'\n') == lines else None
    return wait_until(read, f'{lines} lines from the program')


class AllAtOnce(gateway.Case):
    """The program stops its worker, which later finds all events at once."""

    def frozen(self, text, cgi=SERVER):
        """A gateway with a stopped worker, and a connection with a request in that worker's hands.
        The program writes its pid into `said` and then runs the text."""
        it = self.gateway(cgi=cgi)
        os.chmod(it.directory, 0o777)
        self.program(it, 'program', f'kill -STOP $PPID; echo $$ > ../said; {text}')
        connection = it.connect('x')
        self.addCleanup(connection.close)
        connection.sendall(fastcgi.whole(self.params(it, 'program')))
        worker, = it.workers()
        wait_until(lambda: processes.stat(worker)[0] == 'T', 'a stopped worker')
        return it, worker, connection

    def finish(self, text, cgi=SERVER):
        """The answer if the program exits before the worker looks."""
        it, worker, connection = self.frozen(text, cgi)
        pid = int(said(it)[0])
        wait_until(lambda: not processes.alive(pid), 'the end of the program')
        it.kill(signal.SIGCONT, worker)
        return fastcgi.read_answer(connection)

    def test_errors_an_answer_and_the_end(self):
        answer = self.finish(BOTH)
        self.assertEqual((answer.body, answer.stderr, answer.ended), (b'hello\n', b'warn\n', True))

    def test_errors_and_the_end(self):
        answer = self.finish('echo warn >&2; exit 3')
        self.assertEqual((answer.status, answer.stderr, answer.ended), (500, b'warn\n', True))

    def test_errors_a_bad_answer_and_the_end(self):
        answer = self.finish('echo warn >&2; echo; echo nothing')
        self.assertEqual((answer.status, answer.stderr, answer.ended), (500, b'warn\n', True))

    def test_much_of_both(self):
        answer = self.finish('head -c 65536 /dev/zero >&2; echo Content-Type: a/b; echo; '
                             'head -c 40000 /dev/zero')
        self.assertEqual((len(answer.body), len(answer.stderr)), (40000, 65536))

    def test_an_answer_and_the_end(self):
        answer = self.finish(BOTH, cgi='root = "@DIR@/cgi"')
        self.assertEqual((answer.body, answer.ended), (b'hello\n', True))

    def test_errors_and_an_answer_that_goes_on(self):
        it, worker, connection = self.frozen(f'{BOTH}; echo both >> ../said; exec sleep 1000')
        said(it, 2)
        it.kill(signal.SIGCONT, worker)
        self.assertEqual(gateway.read_body(connection, 6), b'hello\n')


class Interleaved(gateway.Case):
    def test_room_that_comes_in_between(self):
        """A write finds no room and the next one does: buffered data must still be sent."""
        it = self.make_gateway().with_failing_calls().launch().ready()
        os.chmod(it.directory, 0o777)
        self.program(it, 'program', 'echo Content-Type: a/b; echo; head -c 900000 /dev/zero;'
                                    'echo written > ../said; exec cat > /dev/null')
        params = self.params(it, 'program', {'CONTENT_LENGTH': '7', 'SERVER_SOFTWARE': 'nginx/1'})
        with it.connect('x') as connection:
            connection.sendall(fastcgi.head(params))
            said(it)  # the worker has read all but what the pipe holds
            it.put('SEND', '')
            connection.sendall(fastcgi.stream(fastcgi.STDIN, 1, b'in full'))
            answer = fastcgi.read_answer(connection)
        self.assertEqual((answer.body, answer.ended), (bytes(900000), True))

    def await_end_of_output(self, it, connection):
        """The program has written the name of its output into `said`. Returns when the worker has
        seen its end, and waited for the program's."""
        worker, = it.workers()
        pipe = said(it)[0].decode()
        self.assertTrue(pipe.startswith('pipe:'), pipe)
        wait_until(lambda: pipe not in processes.descriptors(worker).values(),
                   'a worker at the end of the output')
        closed = time.monotonic()
        while time.monotonic() < closed + 0.02:  # the worker waits less
            connection.sendall(record(fastcgi.GET_VALUES, 0))
            fastcgi.read_record(connection)

    def test_held_back_to_its_end(self):
        """nginx must send its body first. Output held back for that ends when it has been sent,
        even if the program still runs."""
        it = self.gateway()
        os.chmod(it.directory, 0o777)
        self.program(it, 'program', 'name=$(readlink /proc/$$/fd/1); echo "$name" > ../said;'
                                    'echo Content-Type: a/b; echo; head -c 900000 /dev/zero;'
                                    'exec >&-; cat > /dev/null;'
                                    'while [ ! -e ../go ]; do sleep 0.05; done')
        params = self.params(it, 'program', {'CONTENT_LENGTH': '7', 'SERVER_SOFTWARE': 'nginx/1'})
        with it.connect('x') as connection:
            connection.sendall(fastcgi.head(params))
            self.await_end_of_output(it, connection)
            connection.sendall(fastcgi.stream(fastcgi.STDIN, 1, b'in full'))
            answer = fastcgi.Answer()
            while (fastcgi.STDOUT, 1, b'') != (found := fastcgi.read_record(connection)):
                answer.add(*found)
            self.assertEqual(answer.body, bytes(900000))
            it.put('go', '')
            self.assertEqual(fastcgi.read_answer(connection).kinds, [fastcgi.END_REQUEST])

    def test_held_back_for_nobody(self):
        """The web server reads no more when it sends the end of the body. All output is dropped,
        and stays within its buffer."""
        it = self.gateway(listen='"unix:@DIR@/s"')
        os.chmod(it.directory, 0o777)
        self.program(it, 'program', 'echo Content-Type: a/b; echo; head -c 900000 /dev/zero;'
                                    'echo written > ../said; exec sleep 1000')
        params = self.params(it, 'program', {'CONTENT_LENGTH': '7', 'SERVER_SOFTWARE': 'nginx/1',
                                             'REMOTE_ADDR': '192.0.2.7'})
        with it.connect('x') as connection:
            connection.sendall(fastcgi.head(params))
            said(it)
            connection.shutdown(socket.SHUT_RD)
            connection.sendall(fastcgi.stream(fastcgi.STDIN, 1, b'in full'))
            it.log.wait(r'was ended, since the client went away.*client=192\.0\.2\.7')

    def test_held_back_and_never_read(self):
        """An answer that is held back for a body that the program never reads is sent at the
        time-out, if it is whole."""
        it = self.make_gateway('request_timeout = 60 idle_timeout = 600').with_failing_calls()
        it.launch().ready()
        it.announce('took longer than request_timeout')
        os.chmod(it.directory, 0o777)
        self.program(it, 'program', 'name=$(readlink /proc/$$/fd/1); echo "$name" > ../said;'
                                    'echo Content-Type: a/b; echo; head -c 900000 /dev/zero;'
                                    'exec >&-; exec sleep 1000')
        params = self.params(it, 'program', {'CONTENT_LENGTH': '7', 'SERVER_SOFTWARE': 'nginx/1'})
        with it.connect('x') as connection:
            connection.sendall(fastcgi.head(params))
            self.await_end_of_output(it, connection)
            it.leap(60)
            connection.sendall(record(fastcgi.GET_VALUES, 0))  # a poll does not see the leap
            answer = fastcgi.read_answer(connection)
        self.assertEqual((answer.status, answer.ended), (200, True))
        self.assertEqual(answer.body, bytes(900000))
        it.log.wait('warning: .*took longer than request_timeout')

    def test_errors_when_the_client_has_gone(self):
        """The program may finish, since its answer is complete. What it says then is logged."""
        it = self.gateway(cgi=SERVER, listen='"unix:@DIR@/s"')
        self.program(it, 'program', "printf 'Content-Length: 2\\n\\nok';"
                                    'while [ ! -e ../go ]; do sleep 0.05; done;'
                                    'echo too late >&2; exit 1')
        worker, = it.workers()
        with it.connect('x') as connection:
            connection.sendall(fastcgi.whole(self.params(it, 'program')))
            self.assertEqual(gateway.read_body(connection, 2), b'ok')
        # The close has woken the worker; when it sleeps again, it knows of it.
        wait_until(lambda: processes.sleeps(worker), 'a worker that waits for the program alone')
        it.put('go', '')
        it.log.wait('too late')
        it.log.wait('answered, and ended badly.* exit=1')

    def test_questions_in_the_middle_of_a_body(self):
        """One read contains more questions than fit into the answer buffer: nothing behind them may
        be lost."""
        it = self.gateway()
        body = os.urandom(60000)
        params = self.params(it, 'cat', {'CONTENT_LENGTH': str(len(body))})
        unknown = record(99, 0) * 3000
        pieces = [record(fastcgi.STDIN, 1, body[at:at + 6000]) for at in range(0, len(body), 6000)]
        with it.connect('x') as connection:
            sent = client.exchange(connection, fastcgi.head(params) + unknown.join(pieces)
                                   + unknown + record(fastcgi.STDIN, 1))
        answer = fastcgi.parse(sent)
        self.assertEqual(answer.body, body)
        self.assertEqual(answer.kinds.count(fastcgi.UNKNOWN_TYPE), 3000 * len(pieces))

    def test_questions_while_nobody_reads_the_answers(self):
        """The answers wait behind a full socket, and the body behind the answers."""
        it = self.gateway()
        self.program(it, 'loud', 'echo Content-Type: a/b; echo; head -c 5000000 /dev/zero;'
                                 'exec cat')
        params = self.params(it, 'loud', {'CONTENT_LENGTH': '6'})
        with it.connect('x') as connection:
            connection.sendall(fastcgi.head(params) + record(99, 0) * 200
                               + record(fastcgi.STDIN, 1, b'abc') + record(99, 0) * 200
                               + fastcgi.stream(fastcgi.STDIN, 1, b'def'))
            answer = fastcgi.read_answer(connection)
        self.assertEqual(answer.body, bytes(5000000) + b'abcdef')
        self.assertEqual(answer.kinds.count(fastcgi.UNKNOWN_TYPE), 400)


# Obeys QUERY_STRING word by word: o and e write N bytes of output or errors, r reads N bytes of the
# body, R all of it, s sleeps N milliseconds, c closes a descriptor, f forks a child that holds the
# pipes for N milliseconds, x exits.
SCRIPTED = r'''#!/usr/bin/perl
use POSIX ();
$SIG{PIPE} = 'IGNORE';
sub put {
    my ($fd, $data) = @_;
    while (length $data) {
        my $n = POSIX::write($fd, $data, length $data);
        defined $n ? substr($data, 0, $n, '') : return;
    }
}
sub take {
    my $left = shift;
    while ($left > 0) {
        my $n = POSIX::read(0, my $data, $left < 65536 ? $left : 65536);
        $n + 0 > 0 ? $left -= $n : return;
    }
}
for my $word (split /[.]/, $ENV{QUERY_STRING}) {
    my ($what, $n) = $word =~ /^(.)(\d*)$/;
    put(1, "Content-Type: a/b\n\n") if $what eq 'h';
    put(1, 'o' x $n) if $what eq 'o';
    put(2, 'e' x $n) if $what eq 'e';
    take($n) if $what eq 'r';
    take(9 ** 15) if $what eq 'R';
    select(undef, undef, undef, $n / 1000) if $what eq 's';
    POSIX::close($n) if $what eq 'c';
    if ($what eq 'f' && fork() == 0) { select(undef, undef, undef, $n / 1000); last }
    POSIX::_exit($n) if $what eq 'x';
}
POSIX::_exit(0);
'''


class AnyOrder(gateway.Case):
    """Whatever a program and a web server do, in any order: all output arrives, and then its
    end."""

    REQUESTS, CLIENTS = 20, 6
    SIZES = (0, 1, 1000, 4096, 65000, 65536, 70000, 200000)

    def words(self, choose):
        """The program's commands, and how many bytes of output and errors must arrive."""
        kinds = ['o', 'o', 'o', 'e', 'e', 's', 'r', 'R', 'c', 'f']
        before = [(kind, choose.choice((1, 100, 5000, 70000)) if kind == 'e' else 3)
                  for kind in choose.choices(['e', 's', 'r'], k=choose.randrange(3))]
        behind = []
        for kind in choose.choices(kinds, k=choose.randrange(8)):
            behind.append((kind, choose.randrange(3) if kind == 'c' else
                           choose.choice(self.SIZES) if kind in 'oer' else choose.randrange(100)))
        said = {'o': 0, 'e': 0}
        closed = set()
        for kind, size in before + behind:
            if kind == 'c':
                closed.add(size)
            elif kind in said and {'o': 1, 'e': 2}[kind] not in closed:
                said[kind] += size
        words = before + [('h', 0)] + behind + [('x', choose.randrange(3))]
        return words, said

    def records(self, choose, params, request):
        body = choose.choice((0, 5, 4096, 70000, 1000000))
        params['CONTENT_LENGTH'] = str(body)
        yield (fastcgi.begin(request, keep=choose.random() < 0.3)
               + fastcgi.stream(fastcgi.PARAMS, request, fastcgi.pairs(params),
                                choose.choice((65535, 50)), choose.choice((0, 3))))
        while body:
            size = min(body, choose.choice((1, 8000) if body < 20000 else (8000, 65535)))
            yield record(fastcgi.STDIN, request, bytes(size), choose.choice((0, 5)))
            body -= size
            if choose.random() < 0.3:
                yield record(99, 0) * choose.choice((1, 50, 2000))
        yield record(fastcgi.STDIN, request)

    def ask_any(self, it, choose):
        """Makes one request; returns what went wrong, or None."""
        pool = choose.choice(('log', 'server'))
        request = choose.choice((1, 77, 65535))
        words, said = self.words(choose)
        text = '.'.join(f'{kind}{size}' for kind, size in words)
        params = {'SCRIPT_FILENAME': it.path('cgi/scripted'), 'QUERY_STRING': text,
                  'SERVER_SOFTWARE': choose.choice(('test', 'nginx/1'))}
        records = list(self.records(choose, params, request))
        with it.connect(pool) as connection:
            def send():
                with contextlib.suppress(OSError):  # the answer may not need the whole body
                    for piece in records:
                        connection.sendall(piece)
            sender = threading.Thread(target=send, daemon=True)
            sender.start()
            answer = fastcgi.read_answer(connection)
            sender.join(client.PATIENCE)
        # cgi does not wait for a program that closed its output.
        status = 0 if ('c', 1) in words and answer.app_status == 0 else words[-1][1]
        found = (answer.ended, answer.app_status, len(answer.stdout), len(answer.stderr))
        right = (True, status, len('Content-Type: a/b\n\n') + said['o'],
                 said['e'] if pool == 'server' else 0)
        return None if found == right else f'{pool} {text} {params}: {found}, not {right}'

    def test_any_order(self):
        it = self.make(''.join(
            f'pool "{pool}" {{ listen = {{ "unix:@DIR@/{pool}" }} workers = 3\n'
            f'cgi {{ root = "@DIR@/cgi" stderr = "{pool}" }} }}\n' for pool in ('log', 'server')))
        it.put('cgi/scripted', SCRIPTED, 0o755)
        it.addresses |= {pool: it.path(pool) for pool in ('log', 'server')}
        it.launch().ready()
        wrong = []

        def ask_many(number):
            choose = random.Random(number)
            for _ in range(self.REQUESTS):
                try:
                    problem = self.ask_any(it, choose)
                except OSError as error:
                    problem = repr(error)
                if problem:
                    wrong.append(problem)
                    return
        clients = [threading.Thread(target=ask_many, args=(number,))
                   for number in range(self.CLIENTS)]
        for each in clients:
            each.start()
        for each in clients:
            each.join()
        self.assertEqual(wrong, [])


if __name__ == '__main__':
    daemon.main()
