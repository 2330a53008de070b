"""The programs of conf/examples/app behind nginx; only paths and ports change."""

import http.client
import os
import re
import shutil
import threading
import time

import control
import daemon
import processes
import webservers
from processes import wait_until

EXAMPLES = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..', 'conf', 'examples',
                        'app')

# How long php-cgi is kept busy. If set by hand, the duration of each request is judged too.
SECONDS = os.environ.get('PREFORKD_TEST_SECONDS')

ANSWERS = {'/hello.php': b'hello from PHP\n', '/perl/': b'hello from Perl\n',
           '/wsgi/': b'hello from gunicorn\n', '/python/': b'hello from Python\n',
           '/node/': b'hello from Node\n'}


class Behind(webservers.Nginx):
    needed = ()

    def setUp(self):
        for program in self.needed:
            if not os.access('/usr/bin/' + program, os.X_OK):
                self.skipTest(f'no {program} here')
        super().setUp()

    def example(self, name):
        with open(os.path.join(EXAMPLES, name), encoding='utf-8') as file:
            text = file.read()
        for old, new in (('/run/preforkd', '@DIR@'), ('/srv/app', '@DIR@/app'),
                         ('/var/www/html', '@DIR@/html')):
            text = text.replace(old, new)
        return self.it.expand(text)

    def ask(self, path):
        """The body, or the status if it is not 200."""
        connection = http.client.HTTPConnection('127.0.0.1', self.port, timeout=processes.PATIENCE)
        try:
            connection.request('GET', path)
            answer = connection.getresponse()
            text = answer.read()
            return text if answer.status == 200 else answer.status
        except OSError as error:
            return str(error)
        finally:
            connection.close()


class Programs(Behind):
    needed = ('php-cgi', 'gunicorn', 'node', 'perl')

    def serve_programs(self):
        self.it = self.make('')
        pools = '\n'.join(line for line in self.example('app.conf').split('\n')
                          if not line.strip().startswith(('user ', 'socket_group ')))
        self.it.write('control = "@DIR@/control"\n' + pools)
        os.makedirs(self.it.path('app'))
        os.chmod(self.it.path('app'), 0o755)
        for name in ('hello.pl', 'hello.py', 'server.py', 'server.js'):
            shutil.copyfile(os.path.join(EXAMPLES, name), self.it.path(f'app/{name}'))
            os.chmod(self.it.path(f'app/{name}'), 0o644)
        self.it.put('html/hello.php', '<?php echo "hello from PHP\\n";')
        self.it.launch().ready()
        self.port = daemon.reserve_port(self)
        self.start_server()
        wait_until(lambda: self.ask('/node/') == b'hello from Node\n', 'an answer of nginx')

    def test_each_answers(self):
        self.serve_programs()
        for path, right in ANSWERS.items():
            for _ in range(10):
                self.assertEqual(self.ask(path), right, path)

    def test_a_restart_loses_nothing(self):
        """Each program finishes the requests in hand."""
        self.serve_programs()
        over, wrong, served = threading.Event(), [], dict.fromkeys(ANSWERS, 0)

        def load(path):
            while not over.is_set():
                answer = self.ask(path)
                served[path] += 1
                if answer != ANSWERS[path]:
                    wrong.append((path, answer))
        threads = [threading.Thread(target=load, args=(path,)) for path in ANSWERS for _ in 'ab']
        for thread in threads:
            thread.start()
        try:
            wait_until(lambda: min(served.values()) > 20, lambda: f'a load: {served}')
            done = control.run(self.it, 'restart')
            self.assertEqual(done.returncode, 0, done.stderr)
            then = dict(served)
            wait_until(lambda: all(served[path] > then[path] + 20 for path in served), 'more load')
        finally:
            over.set()
            for thread in threads:
                thread.join()
        self.assertEqual(wrong, [])


class NodeAlone(daemon.Case):
    def test_an_end_leaves_the_listener_non_blocking(self):
        """Node restores the flags of its standard descriptors when it exits; the listener is one of
        them. The other programs would block in accept()."""
        if not os.access('/usr/bin/node', os.X_OK):
            self.skipTest('no node here')
        it = self.make('control = "@DIR@/control"\n'
                       'pool "node" { listen = { "systemd:x" } workers = 1 min_ready_time = 0\n'
                       'app { command = { "/usr/bin/node", "@DIR@/server.js" } } }\n')
        with open(os.path.join(EXAMPLES, 'server.js'), encoding='utf-8') as file:
            it.put('server.js', file.read())
        it.launch().ready()
        for _ in range(2):
            old, = it.workers()
            self.answers(it)
            wait_until(lambda old=old: self.is_nonblocking(old), 'the flag that Node sets')
            self.assertEqual(control.run(it, 'restart').returncode, 0)
            it.wait_for_workers(1, without=[old])
            self.assertTrue(self.is_nonblocking(it.workers()[0]))

    @staticmethod
    def is_nonblocking(pid):
        with open(f'/proc/{pid}/fdinfo/3', encoding='ascii') as file:
            flags = re.search(r'(?m)^flags:\s+(\d+)', file.read())[1]
        return int(flags, 8) & os.O_NONBLOCK != 0

    def answers(self, it):
        connection = http.client.HTTPConnection(*it.address('x')[:2], timeout=processes.PATIENCE)
        connection.request('GET', '/')
        self.assertEqual(connection.getresponse().read(), b'hello from Node\n')
        connection.close()


class PhpThatEnds(Behind):
    """php-cgi exits after a number of requests, 500 by default: no client may notice."""

    needed = ('php-cgi',)

    def keep_busy(self, pools, seconds):
        """Eight clients without a pause, from before the start to after a restart. Returns the
        duration of each of their requests."""
        self.it.write('control = "@DIR@/control"\n' + pools)
        self.it.put('html/hello.php', '<?php echo "hello from PHP\n";')
        self.port = daemon.reserve_port(self)
        self.start_server()
        self.it.launch()
        over, wrong, took = threading.Event(), [], []

        def load():
            connection = http.client.HTTPConnection('127.0.0.1', self.port,
                                                    timeout=processes.PATIENCE)
            while not over.is_set():
                began = time.monotonic()
                try:
                    connection.request('GET', '/hello.php')
                    answer = connection.getresponse()
                    if answer.read() != b'hello from PHP\n' or answer.status != 200:
                        wrong.append(answer.status)
                    took.append(time.monotonic() - began)
                except OSError as error:
                    wrong.append(error)
                    connection.close()
        wait_until(lambda: self.ask('/hello.php') == b'hello from PHP\n', 'an answer of PHP')
        threads = [threading.Thread(target=load) for _ in range(8)]
        for thread in threads:
            thread.start()
        try:
            self.it.ready()
            done = control.run(self.it, 'restart')
            self.assertEqual(done.returncode, 0, done.stderr)
            until = time.monotonic() + seconds
            wait_until(lambda: time.monotonic() > until, 'the end of the test', timeout=2 * seconds)
        finally:
            over.set()
            for thread in threads:
                thread.join()
        self.assertEqual(wrong, [])
        return took

    def goes_unnoticed(self, variables):
        self.it = self.make('')
        pools = re.search(r'(?s)pool "php-app".*?\n}\n', self.example('app.conf'))[0]
        pools = re.sub(r'(?m)^    (user|socket_group) .*\n|"PHP_FCGI_MAX_REQUESTS=1000"', '', pools)
        pools = pools.replace('environment  = { ', f'environment  = {{ {variables}')
        took = self.keep_busy(pools, float(SECONDS or 3))
        ends = len(self.it.log.find(r' info: pool php-app: worker \d+ ended after .*exit=0'))
        print(f'{variables or "the default"}: {len(took)} requests, {ends} ends, the slowest took '
              f'{max(took):.3f} s')
        self.assertGreater(ends, 4)
        self.assertFalse(self.it.log.find('degraded|warning: |err: |notice: pool php-app: worker'))
        if SECONDS:
            self.assertLess(max(took), 1)

    def test_by_default(self):
        self.goes_unnoticed('')

    def test_after_few_requests(self):
        self.goes_unnoticed('"PHP_FCGI_MAX_REQUESTS=20"')


if __name__ == '__main__':
    daemon.main()
