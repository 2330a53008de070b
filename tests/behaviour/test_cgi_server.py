"""cgi behind real web servers: what each one must support with its file in conf/examples."""

import hashlib
import os

import daemon
import processes
import webservers
from processes import wait_until

SCRIPTS = {
    'hello': 'echo Content-Type: text/plain; echo; echo "hello $PATH_INFO $QUERY_STRING"',
    'env': 'echo Content-Type: text/plain; echo; env',
    'sum': 'echo Content-Type: text/plain; echo; sha256sum',
    'loud': 'echo Content-Type: text/plain; echo; head -c 1048576 /dev/zero; sha256sum',
    'lines': 'echo Content-Type: text/plain; echo; n=0; while [ $n -lt 5 ]; do echo $n; n=$((n+1));'
             'until [ -e $SCRIPT_FILENAME.$n ]; do sleep 0.02; done; done',
    'sleeper': 'echo Content-Type: text/plain; echo; echo $$; exec sleep 1000',
    'silent': 'echo $$ > $SCRIPT_FILENAME.pid; exec sleep 1000',
    'large': 'echo Content-Type: application/octet-stream; echo; head -c 20000000 /dev/zero',
    'broken': 'echo no header',
    'missing-status': 'echo Status: 418 Teapot; echo Content-Type: a/b; echo; echo short and stout',
}


class Checks:
    scripts = SCRIPTS

    def check_scripts(self):
        self.assertEqual(self.get('/cgi-bin/hello/a/b?c=d').text, b'hello /a/b c=d\n')
        env = self.get('/cgi-bin/env', headers={'Proxy': 'http://evil'}).text.decode()
        self.assertNotIn('HTTP_PROXY', env)
        self.assertIn('SCRIPT_NAME=/cgi-bin/env\n', env)
        self.assertIn('REMOTE_ADDR=127.0.0.1\n', env)
        body = os.urandom(300000)
        self.assertEqual(self.get('/cgi-bin/sum', 'POST', body).text.split()[0].decode(),
                         hashlib.sha256(body).hexdigest())
        self.assertEqual(len(self.get('/cgi-bin/large').text), 20000000)
        self.assertEqual(self.get('/cgi-bin/missing-status').status, 418)
        self.assertEqual(self.get('/cgi-bin/hello', 'HEAD').text, b'')
        for path, status in (('/cgi-bin/none', 404), ('/cgi-bin/broken', 500)):
            answer = self.get(path)
            self.assertEqual(answer.status, status)
            self.assertNotIn(self.it.directory.encode(), answer.text)

    def check_chunked(self):
        """A body of unknown length, as a client sends it chunked."""
        pieces = [os.urandom(1000) for _ in range(20)]
        answer = self.get('/cgi-bin/sum', 'POST', iter(pieces))
        self.assertEqual(answer.text.split()[0].decode(),
                         hashlib.sha256(b''.join(pieces)).hexdigest())

    def check_writes_before_it_reads(self):
        """As much output as made users of fcgiwrap wait forever."""
        body = os.urandom(1 << 20)
        answer = self.get('/cgi-bin/loud', 'POST', body)
        self.assertEqual(answer.text[:1 << 20], bytes(1 << 20))
        self.assertEqual(answer.text[1 << 20:].split()[0].decode(),
                         hashlib.sha256(body).hexdigest())

    def check_streaming(self):
        """Each line arrives before the script may write the next."""
        connection = self.connect()
        connection.request('GET', '/cgi-bin/lines')
        answer = connection.getresponse()
        for number in range(5):
            self.assertEqual(answer.readline(), b'%d\n' % number)
            self.it.put(f'lib/cgi-bin/lines.{number + 1}', '')
        connection.close()

    def check_abort(self):
        connection = self.connect()
        connection.request('GET', '/cgi-bin/sleeper')
        pid = int(connection.getresponse().readline())
        connection.sock.close() if connection.sock else None
        connection.close()
        return pid

    def check_git(self, size=3000000):
        address = f'http://127.0.0.1:{self.port}/git/hello.git'
        work, again = self.it.path('work'), self.it.path('again')
        self.git('-C', self.it.path('git/hello.git'), 'config', 'http.receivepack', 'true')
        self.git('clone', '-q', address, work)
        with open(os.path.join(work, 'file'), 'wb') as file:
            file.write(os.urandom(size))
        self.git('-C', work, 'add', 'file')
        self.git('-C', work, 'commit', '-q', '-m', 'Say hello to the gateway')
        self.git('-C', work, 'push', '-q', address, 'HEAD:main')
        self.git('clone', '-q', '-b', 'main', address, again)
        for name in (work, again):
            self.assertEqual(os.path.getsize(os.path.join(name, 'file')), size)

    def check_php(self):
        answer = self.get('/page.php?x=y')
        self.assertEqual((answer.status, answer.text), (200, b'sum 42 y\n'))


class Nginx(Checks, webservers.Nginx):
    def test_scripts(self):
        self.serve()
        self.check_scripts()
        self.check_chunked()
        self.check_writes_before_it_reads()
        self.check_streaming()
        self.check_php()

    def test_git_and_cgit(self):
        self.serve()
        self.check_git()
        page = self.get('/cgit/hello.git/log/').text.decode()
        self.assertIn('Say hello to the gateway', page)
        self.assertIn('hello.git', self.get('/cgit/').text.decode())

    def test_client_goes_away(self):
        self.serve()
        pid = self.check_abort()
        wait_until(lambda: not processes.alive(pid), 'the end of the program')
        self.it.log.wait('went away')

    def test_client_goes_away_before_the_answer(self):
        self.serve()
        connection = self.connect()
        connection.request('GET', '/cgi-bin/silent')
        file = self.it.path('lib/cgi-bin/silent.pid')
        wait_until(lambda: os.path.exists(file) and os.path.getsize(file), 'the program')
        with open(file, encoding='ascii') as text:
            pid = int(text.read())
        connection.close()
        wait_until(lambda: not processes.alive(pid), 'the end of the program')

    def test_timeout(self):
        self.serve('request_timeout = 5')
        self.it.announce('took longer')
        self.assertEqual(self.get('/cgi-bin/silent').status, 504)

    def test_large_upload(self):
        self.serve()
        piece, count = os.urandom(1 << 20), 200
        digest = hashlib.sha256()
        for _ in range(count):
            digest.update(piece)
        pieces = (piece for _ in range(count))
        answer = self.get('/cgi-bin/sum', 'POST', pieces, {'Content-Length': str(count << 20)})
        self.assertEqual(answer.text.split()[0].decode(), digest.hexdigest())


class NginxKeeping(Checks, webservers.NginxKeeping):
    def test_scripts(self):
        self.serve()
        self.check_scripts()
        self.check_chunked()
        self.check_writes_before_it_reads()
        self.check_streaming()


class NginxBuffered(Checks, webservers.NginxBuffered):
    def test_scripts(self):
        self.serve()
        self.check_scripts()
        self.check_chunked()
        self.check_writes_before_it_reads()


class All:
    """A server that supports everything."""

    def test_scripts(self):
        self.serve()
        self.check_scripts()
        self.check_chunked()
        self.check_writes_before_it_reads()
        self.check_streaming()
        self.check_php()

    def test_git(self):
        self.serve()
        self.check_git()


class Lighttpd(All, Checks, webservers.Lighttpd):
    pass


class Apache(All, Checks, webservers.Apache):
    pass


class Caddy(Checks, webservers.Caddy):
    def test_scripts(self):
        self.serve()
        self.check_scripts()
        self.check_writes_before_it_reads()
        self.check_streaming()
        self.check_php()

    def test_git(self):
        self.serve()
        self.check_git()


class H2o(Checks, webservers.H2o):
    def test_scripts(self):
        self.serve()
        self.check_scripts()
        self.check_writes_before_it_reads()
        self.check_php()


class Haproxy(Checks, webservers.Haproxy):
    def test_scripts(self):
        self.serve()
        self.check_scripts()
        self.check_writes_before_it_reads()
        self.check_streaming()

    def test_git(self):
        self.serve()
        self.check_git(500000)  # git sends larger pushes without a length


if __name__ == '__main__':
    daemon.main()
