"""cgi behind real web servers when something goes wrong: what a client sees."""

import concurrent.futures
import http.client

import daemon
import webservers

TEXT = 'echo Content-Type: text/plain; '
CLAIM = {'Authorization': 'Basic YWxpY2U6YW55'}  # alice; any password will do


class Wrong:
    """Tests for every web server; those that differ override a method or an attribute."""

    scripts = {
        'nothing': TEXT + 'echo; echo done',
        'half': TEXT + 'echo; head -c 1000000 /dev/zero; kill -KILL $$',
        'promised': TEXT + 'echo Content-Length: 1000; echo; echo half; kill -KILL $$',
        'forever': TEXT + 'echo; echo half; exec sleep 1000',
        'redirect': 'echo Location: http://localhost/x; echo',
        'moved': 'echo Location: http://localhost/x; ' + TEXT + 'echo; echo moved',
        'local': 'echo Location: /index.html; echo',
        'sendfile': 'echo X-Sendfile: /nonexistent; echo',
        'accel': 'echo X-Accel-Redirect: /index.html; echo',
        'cookie': 'echo Set-Cookie: a=b; echo; echo crumbs',
        'body': TEXT + 'echo; echo body',
        'fails': 'exit 3',
        'mixed': r'printf "Content-Type: text/plain\r\nX-A: b\r\n\nmixed\n"',
        'nothing-204': 'echo Status: 204 No Content; ' + TEXT + 'echo; echo body',
        'env': TEXT + 'echo; env',
        'with space': TEXT + 'echo; echo "$PATH_INFO"; echo "$SCRIPT_NAME"',
        'later': TEXT + 'echo; echo all; exec >&- 2>&-; '
                 'until [ -e $SCRIPT_FILENAME.go ]; do sleep 0.02; done',
    }
    sees_killed = True  # whether a client can see that an answer without a length is cut
    accel = b''  # the answer to X-Accel-Redirect
    wide = 600  # a timeout that ends nothing in these tests

    def upload(self, path):
        answer = self.get(path, 'PUT', bytes(400000))
        return answer.status, answer.text

    def check_cut(self, path):
        """A cut answer must not look complete."""
        try:
            answer = self.get(path)
        except (http.client.HTTPException, OSError):
            return
        self.fail(f'{path}: {answer.status} {answer.text}')

    def test_body_that_nobody_reads(self):
        """Each worker gets such a request: all are answered, and so is the next."""
        self.serve(f'idle_timeout = {self.wide} request_timeout = {self.wide}')
        for path, answer in (('/cgi-bin/none', (404, b'404 Not Found\n')),
                             ('/cgi-bin/nothing', (200, b'done\n'))):
            with concurrent.futures.ThreadPoolExecutor(16) as clients:
                answers = list(clients.map(self.upload, [path] * 16))
            self.assertEqual(answers, [answer] * 16)
        self.assertEqual(self.get('/cgi-bin/alive').text, b'yes\n')

    def test_killed_in_its_answer(self):
        self.serve()
        self.check_cut('/cgi-bin/promised')
        if self.sees_killed:
            self.check_cut('/cgi-bin/half')
        else:
            self.assertEqual(len(self.get('/cgi-bin/half').text), 1000000)

    def test_late_in_its_answer(self):
        self.serve('request_timeout = 5')
        self.it.announce('took longer')
        if self.sees_killed:
            self.check_cut('/cgi-bin/forever')
        else:
            self.assertEqual(self.get('/cgi-bin/forever').text, b'half\n')

    def test_redirections(self):
        """Including those of sympa: a Location header alone."""
        self.serve()
        for path, location, body in (('redirect', 'http://localhost/x', b''),
                                     ('moved', 'http://localhost/x', b'moved\n'),
                                     ('local', '/index.html', b'')):
            answer = self.get('/cgi-bin/' + path)
            self.assertEqual((answer.status, answer.headers['Location'], answer.text),
                             (302, location, body), path)

    def test_any_header_will_do(self):
        self.serve()
        answer = self.get('/cgi-bin/cookie')
        self.assertEqual((answer.status, answer.headers['Set-Cookie'], answer.text),
                         (200, 'a=b', b'crumbs\n'))
        answer = self.get('/cgi-bin/mixed')  # the ends of its lines
        self.assertEqual((answer.headers['X-A'], answer.text), ('b', b'mixed\n'))
        self.assertEqual(self.get('/cgi-bin/sendfile').status, 200)
        answer = self.get('/cgi-bin/accel')
        self.assertEqual((answer.status, answer.text), (200, self.accel))

    def test_no_body(self):
        self.serve()
        for path, method, status in (('body', 'HEAD', 200), ('none', 'HEAD', 404),
                                     ('fails', 'HEAD', 500), ('nothing-204', 'GET', 204)):
            answer = self.get('/cgi-bin/' + path, method)
            self.assertEqual((answer.status, answer.text), (status, b''), path)

    def test_paths(self):
        self.serve()
        answer = self.get('/cgi-bin/with%20space/a%20b/c')
        self.assertEqual((answer.status, answer.text), (200, b'/a b/c\n/cgi-bin/with space\n'))

    def test_goes_on_without_its_output(self):
        self.serve(f'idle_timeout = {self.wide} request_timeout = {self.wide}')
        self.assertEqual(self.get('/cgi-bin/later').text, b'all\n')
        self.it.put('lib/cgi-bin/later.go', '')

    def test_claimed_user(self):
        self.serve()
        env = self.get('/cgi-bin/env', headers=CLAIM).text.decode()
        self.assertIn('SCRIPT_NAME=/cgi-bin/env\n', env)
        self.assertNotRegex(env, '(?m)^(REMOTE_USER|AUTH_TYPE)=.')


class Git:
    """git pushes only for users whom the web server authenticated, unless the repository allows
    all."""

    def test_push_without_a_password(self):
        self.serve()
        self.it.announce('git-http-backend')
        repository, work = self.it.path('git/hello.git'), self.it.path('work')
        address = f'http://127.0.0.1:{self.port}/git/hello.git'
        self.git('init', '-q', '--initial-branch=main', work)
        self.git('-C', work, 'commit', '-q', '--allow-empty', '-m', 'one')
        claim = f'http.extraHeader=Authorization: {CLAIM["Authorization"]}'
        for more in ((), ('-c', claim)):
            pushed = self.try_git('-C', work, *more, 'push', '-q', address, 'HEAD:main')
            self.assertNotEqual(pushed.returncode, 0)
            self.assertIn('403', pushed.stderr)
        self.assertEqual(self.git('-C', repository, 'for-each-ref'), '')
        self.git('-C', repository, 'fetch', '-q', work, 'main:main')
        self.assertIn('refs/heads/main', self.git('-c', claim, 'ls-remote', address))


class Nginx(Wrong, Git, webservers.Nginx):
    accel = b'the root\n'


class NginxBuffered(Wrong, Git, webservers.NginxBuffered):
    accel = b'the root\n'


class NginxAsking(webservers.NginxAsking):
    def test_push_with_a_password(self):
        """Only with the right password."""
        self.serve()
        work = self.it.path('work')
        address = f'127.0.0.1:{self.port}/git/hello.git'
        self.git('init', '-q', '--initial-branch=main', work)
        self.git('-C', work, 'commit', '-q', '--allow-empty', '-m', 'one')
        for user, right in (('alice:wrong', False), ('bob:any', False), ('alice:any', True)):
            pushed = self.try_git('-C', work, 'push', '-q', f'http://{user}@{address}', 'HEAD:main')
            self.assertEqual(pushed.returncode == 0, right, pushed.stderr)


class NginxKeeping(Wrong, webservers.NginxKeeping):
    accel = b'the root\n'


class NginxBufferedKeeping(Wrong, webservers.NginxBufferedKeeping):
    accel = b'the root\n'


class Lighttpd(Wrong, Git, webservers.Lighttpd):
    pass


class Apache(Wrong, Git, webservers.Apache):
    pass


class Caddy(Wrong, Git, webservers.Caddy):
    sees_killed = False


class H2o(Wrong, webservers.H2o):
    sees_killed = False


class Haproxy(Wrong, Git, webservers.Haproxy):
    pass


if __name__ == '__main__':
    daemon.main()
