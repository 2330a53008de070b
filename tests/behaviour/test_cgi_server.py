"""cgi behind real web servers, by the files of conf/examples: only paths and ports are changed."""

import hashlib
import http.client
import os
import shutil
import signal
import subprocess
import unittest

import daemon
import processes
from processes import wait_until

EXAMPLES = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..', 'conf', 'examples')

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


class Server(daemon.Case):
    """A web server with the pools of the examples behind it."""

    program = None

    def setUp(self):
        if not shutil.which(self.program, path=os.environ['PATH'] + ':/usr/sbin:/sbin'):
            self.skipTest(f'there is no {self.program} here')
        super().setUp()

    def example(self, name):
        with open(os.path.join(EXAMPLES, name), encoding='utf-8') as file:
            text = file.read()
        for old, new in (('/run/preforkd', '@DIR@'), ('/usr/lib/cgi-bin', '@DIR@/lib/cgi-bin'),
                         ('/usr/lib$', '@DIR@/lib$'), ('"/usr/lib"', '"@DIR@/lib"'),
                         ('/usr/lib{', '@DIR@/lib{'), ('/var/www/html', '@DIR@/html'),
                         ('/srv/git', '@DIR@/git'), ('/etc/cgitrc', '@DIR@/cgitrc')):
            text = text.replace(old, new)
        return self.it.expand(text)

    def serve(self, options=''):
        """Starts both; the web server's port is self.port."""
        me = daemon.USER if daemon.ROOT else None
        self.it = self.make('')
        pools = self.example('cgi.conf')
        for word in ('user  ', 'socket_group'):
            pools = '\n'.join(line for line in pools.split('\n')
                              if not line.strip().startswith(word.strip() + ' '))
        self.it.write(pools.replace('workers ', f'{options}\nlog_connections = true\nworkers ', 1))
        for name, text in SCRIPTS.items():
            self.it.put('lib/cgi-bin/' + name, '#!/bin/sh\n' + text, 0o755)
        self.it.put('html/page.php', '<?php echo "sum ", 40 + 2, " ", $_GET["x"], "\\n";')
        self.it.put('cgitrc', 'scan-path=@DIR@/git\nvirtual-root=/cgit\n')
        self.make_repository(me)
        os.chmod(self.it.path('lib/cgi-bin'), 0o777)
        self.it.launch().ready()
        self.port = daemon.reserve_port(self)
        self.start_server()
        wait_until(self.answers, f'{self.program} to answer')

    def make_repository(self, owner):
        where = self.it.path('git/hello.git')
        self.git('init', '-q', '--bare', '--initial-branch=main', where)
        self.git('-C', where, 'config', 'http.receivepack', 'true')
        if owner:
            subprocess.run(['chown', '-R', owner, self.it.path('git')], check=True)

    def git(self, *arguments):
        environment = {'PATH': os.environ['PATH'], 'HOME': self.it.directory, 'LC_ALL': 'C',
                       'GIT_CONFIG_NOSYSTEM': '1', 'GIT_TERMINAL_PROMPT': '0'}
        run = subprocess.run(['git', '-c', 'user.name=t', '-c', 'user.email=t@localhost', '-c',
                              'safe.directory=*', *arguments], env=environment, check=False,
                             capture_output=True, text=True, timeout=processes.PATIENCE)
        self.assertEqual(run.returncode, 0, run.stderr)
        return run.stdout

    def run_server(self, *command):
        path = os.environ['PATH'] + ':/usr/sbin:/sbin'
        with open(self.it.path('server.log'), 'w', encoding='utf-8') as log:
            server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                      env={'PATH': path, 'HOME': self.it.directory})
        self.addCleanup(self.stop_server, server)

    @staticmethod
    def stop_server(server):
        server.terminate()
        server.wait(processes.PATIENCE)

    def answers(self):
        try:
            return self.get('/cgi-bin/hello').status == 200
        except OSError:
            return False

    def connect(self):
        return http.client.HTTPConnection('127.0.0.1', self.port, timeout=processes.PATIENCE)

    def get(self, path, method='GET', body=None, headers=None):
        connection = self.connect()
        self.addCleanup(connection.close)
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        answer.text = answer.read()
        return answer

    # -- what each of them must do

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
        """A body without a length, as a client that does not know it sends it."""
        pieces = [os.urandom(1000) for _ in range(20)]
        answer = self.get('/cgi-bin/sum', 'POST', iter(pieces))
        self.assertEqual(answer.text.split()[0].decode(),
                         hashlib.sha256(b''.join(pieces)).hexdigest())

    def check_writes_before_it_reads(self):
        """As much as fcgiwrap's users do, who wait for ever then."""
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

    def check_git(self, url='/git/hello.git'):
        address = f'http://127.0.0.1:{self.port}{url}'
        work, again = self.it.path('work'), self.it.path('again')
        self.git('clone', '-q', address, work)
        with open(os.path.join(work, 'file'), 'wb') as file:
            file.write(os.urandom(3000000))
        self.git('-C', work, 'add', 'file')
        self.git('-C', work, 'commit', '-q', '-m', 'Say hello to the gateway')
        self.git('-C', work, 'push', '-q', address, 'HEAD:main')
        self.git('clone', '-q', '-b', 'main', address, again)
        for name in (work, again):
            self.assertEqual(os.path.getsize(os.path.join(name, 'file')), 3000000)

    def check_php(self):
        answer = self.get('/page.php?x=y')
        self.assertEqual((answer.status, answer.text), (200, b'sum 42 y\n'))


class Nginx(Server):
    program = 'nginx'

    def start_server(self, upstream=''):
        site = self.example('nginx.conf').replace('listen 80;', f'listen 127.0.0.1:{self.port};')
        site = site.replace('include fastcgi_params', 'include /etc/nginx/fastcgi_params')
        site = site.replace('unix:' + self.it.path('scripts.sock'), 'scripts') if upstream else site
        temporary = ''.join(f'{kind}_temp_path {self.it.path("temporary-" + kind)};\n'
                            for kind in ('client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'))
        user = 'user root root;\n' if daemon.ROOT else ''
        self.it.put('nginx.conf', f'daemon off;\nmaster_process off;\npid @DIR@/nginx.pid;\n{user}'
                                  f'error_log stderr;\nevents {{}}\nhttp {{\naccess_log off;\n'
                                  f'client_max_body_size 0;\n{temporary}{upstream}{site}\n}}\n')
        self.run_server('nginx', '-e', 'stderr', '-c', self.it.path('nginx.conf'))

    def test_scripts(self):
        self.serve()
        self.check_scripts()
        self.check_chunked()
        self.check_writes_before_it_reads()
        self.check_streaming()
        self.check_php()

    def test_kept_connections(self):
        self.start_server = lambda: Nginx.start_server(
            self, f'upstream scripts {{ server unix:{self.it.path("scripts.sock")}; '
                  'keepalive 4; }\nfastcgi_keep_conn on;\n')
        self.serve()
        self.check_scripts()
        self.check_chunked()
        self.check_writes_before_it_reads()
        self.check_streaming()

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
        self.serve('request_timeout = 1')
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


class Lighttpd(Server):
    program = 'lighttpd'

    def start_server(self):
        self.it.put('lighttpd.conf', 'server.document-root = "@DIR@/html"\nserver.port = '
                                     f'{self.port}\nserver.bind = "127.0.0.1"\n'
                                     'server.upload-dirs = ( "@DIR@" )\n'
                    + self.example('lighttpd.conf'))
        self.run_server('lighttpd', '-D', '-f', self.it.path('lighttpd.conf'))

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


class Apache(Server):
    program = 'apache2'

    def start_server(self):
        modules = ''.join(f'LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n'
                          for name in ('mpm_event', 'authz_core', 'proxy', 'proxy_fcgi'))
        user = f'User {daemon.USER}\nGroup {daemon.GROUP}\n' if daemon.ROOT else ''
        self.it.put('apache.conf', f'ServerRoot "@DIR@"\nServerName localhost\n{modules}{user}'
                                   f'Listen 127.0.0.1:{self.port}\nPidFile @DIR@/apache.pid\n'
                                   'DefaultRuntimeDir @DIR@\nErrorLog /dev/stderr\n'
                                   'DocumentRoot "@DIR@/html"\n' + self.example('apache.conf'))
        self.run_server('apache2', '-D', 'FOREGROUND', '-f', self.it.path('apache.conf'))

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


class Caddy(Server):
    program = 'caddy'

    def start_server(self):
        site = self.example('Caddyfile').replace(':80 {', f'http://127.0.0.1:{self.port} {{')
        self.it.put('Caddyfile', '{\n\tadmin off\n\tauto_https off\n}\n' + site)
        self.run_server('caddy', 'run', '--adapter', 'caddyfile', '--config',
                        self.it.path('Caddyfile'))

    def test_scripts(self):
        self.serve()
        self.check_scripts()
        self.check_writes_before_it_reads()
        self.check_streaming()
        self.check_php()

    def test_git(self):
        self.serve()
        self.check_git()


if __name__ == '__main__':
    daemon.main()
