"""The migration guides of preforkd-handlers(7): preforkd with the guide's configuration must answer
as the other daemon does with its own, at the same address.

Debian 12 has no einhorn: test_app only checks the variables that its programs read.
"""

import contextlib
import os
import re
import signal
import socket
import ssl
import subprocess

import client
import daemon
import fastcgi
from processes import wait_until

# Debian's package conflicts with xinetd's: .ci/packages unpacks it here.
INETD = '/usr/local/libexec/preforkd-tests/usr/sbin/inetd'
PHP = '<?php echo "hello from PHP ", $_GET["x"] ?? "", "\\n";'


def ask(address):
    return client.ask(address, b'hello\n')


def ask_php(it, address):
    return fastcgi.ask(address, {'SCRIPT_FILENAME': it.path('hello.php'), 'REQUEST_METHOD': 'GET',
                                 'QUERY_STRING': 'x=1', 'REDIRECT_STATUS': '200'}).body


def ask_cat(address):
    """Asks a server that sends everything back."""
    with client.connect(address) as connection:
        connection.sendall(b'hello\n')
        connection.shutdown(socket.SHUT_WR)
        return client.read_all(connection)


class Guides(daemon.Case):
    def begin(self, pools=''):
        it = self.make('control = "@DIR@/control"\n' + pools)
        os.chmod(it.directory, 0o755)
        it.put('hello.php', PHP)
        self.it = it
        return it

    @contextlib.contextmanager
    def other(self, question, *command, **more):
        """Runs another daemon in the foreground until it has answered the question."""
        with open(self.it.path('other.log'), 'wb') as log:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                       start_new_session=True, **more)
        answers = []

        def answered():
            with contextlib.suppress(OSError, EOFError):
                answers.append(question())
            return answers and answers[-1]

        def said():
            with open(self.it.path('other.log'), encoding='utf-8', errors='replace') as file:
                return f'an answer of {command[0]}, which says: {file.read()[-1000:]}'
        try:
            wait_until(answered, said)
            yield answers[-1]
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def serve(self, pools):
        self.it.write('control = "@DIR@/control"\n' + pools)
        self.it.launch().ready()

    def compare(self, question, command, pools, **more):
        with self.other(question, *command, **more) as answer:
            pass
        self.serve(pools)
        self.assertEqual(question(), answer)
        return answer

    def xinetd(self, port, service, **changes):
        """A file of Debian's package, enabled on a port of ours."""
        with open(f'/etc/xinetd.d/{service}', encoding='utf-8') as file:
            text = file.read().split('# This is the udp')[0]
        changes |= {'disable': 'no', 'port': port, 'bind': '127.0.0.1', 'type':
                    'INTERNAL UNLISTED'}
        text = re.sub(r'(?m)^\s*(disable|type|port)\s*=.*\n', '', text)
        lines = ''.join(f'{name} = {value}\n' for name, value in changes.items())
        self.it.put('xinetd.conf', text.replace('{\n', '{\n' + lines, 1))
        return ['/usr/sbin/xinetd', '-dontfork', '-f', self.it.path('xinetd.conf'), '-pidfile',
                self.it.path('xinetd.pid')]

    def test_xinetd(self):
        self.begin()
        port = daemon.reserve_port(self)

        def question():
            with client.connect(('127.0.0.1', port)) as connection:
                return client.echo(connection, b'hello')
        answer = self.compare(
            question, self.xinetd(port, 'echo', only_from='127.0.0.0/8', instances=4),
            f'pool "echo" {{ listen = {{ "127.0.0.1:{port}" }} workers = 4 '
            'allow = { "127.0.0.0/8" } echo {} }\n')
        self.assertEqual(answer, b'hello')

    def test_xinetd_refuses(self):
        """no_access corresponds to deny: the connection is closed without a byte."""
        self.begin()
        port = daemon.reserve_port(self)

        def question():
            with client.connect(('127.0.0.1', port)) as connection, \
                    contextlib.suppress(ConnectionError):
                connection.sendall(b'hello')
                return (client.read_all(connection), 'closed')
            return (b'', 'closed')
        answer = self.compare(
            question, self.xinetd(port, 'echo', no_access='127.0.0.1'),
            f'pool "echo" {{ listen = {{ "127.0.0.1:{port}" }} workers = 4 '
            'deny = { "127.0.0.1" } echo {} }\n')
        self.assertEqual(answer, (b'', 'closed'))

    @daemon.needs_root
    def test_inetd(self):
        """A line of inetd.conf, translated as in the guide."""
        if not os.access(INETD, os.X_OK):
            self.skipTest(f'no {INETD} here: see .ci/packages')
        it = self.begin()
        port = daemon.reserve_port(self)
        it.put('inetd.conf', f'127.0.0.1:{port} stream tcp nowait nobody /usr/bin/id id -un\n')
        answer = self.compare(
            lambda: client.ask(('127.0.0.1', port)), [INETD, '-i', it.path('inetd.conf')],
            f'pool "id" {{ listen = {{ "127.0.0.1:{port}" }} workers = 8 user = "nobody"\n'
            'exec { command = { "/usr/bin/id", "-un" } stderr = "socket" } }\n')
        self.assertEqual(answer, b'nobody\n')

    def test_spawn_fcgi(self):
        it = self.begin()
        path = it.path('php.sock')
        answer = self.compare(
            lambda: ask_php(it, path),
            ['spawn-fcgi', '-n', '-s', path, '-M', '660', '-U', 'www-data', '-u', 'www-data',
             '/usr/bin/php-cgi'],
            'pool "php" { listen = { "unix:@DIR@/php.sock" } socket_mode = 0660 workers = 2\n'
            'socket_user = "www-data" user = "www-data"\n'
            'app { command = { "/usr/bin/php-cgi" } } }\n')
        self.assertEqual(answer, b'hello from PHP 1\n')

    def test_server_starter(self):
        it, port = self.begin(), daemon.reserve_port(self)
        it.put('server.py', '''
import os, socket
ports = os.environ["SERVER_STARTER_PORT"].split(";")
listening = socket.socket(fileno=int(ports[0].split("=")[1]))
while True:
    connection, _ = listening.accept()
    while data := connection.recv(100):
        connection.sendall(data)
    connection.close()
''')
        program = ['/usr/bin/python3', it.path('server.py')]
        answer = self.compare(
            lambda: ask_cat(('127.0.0.1', port)),
            ['start_server', f'--port=127.0.0.1:{port}', '--', *program],
            f'pool "x" {{ listen = {{ "127.0.0.1:{port}" }} workers = 2\n'
            'app { command = { "%s", "%s" } } }\n' % tuple(program))
        self.assertEqual(answer, b'hello\n')

    def test_supervisord(self):
        """Its fcgi-program has the socket as descriptor 0, in several processes."""
        it, port = self.begin(), daemon.reserve_port(self)
        it.put('supervisord.conf', f'''
[supervisord]
nodaemon = true
user = root
logfile = @DIR@/supervisord.log
pidfile = @DIR@/supervisord.pid
[fcgi-program:php]
command = /usr/bin/php-cgi
socket = tcp://127.0.0.1:{port}
process_name = %(program_name)s_%(process_num)02d
numprocs = 2
user = nobody
''')
        answer = self.compare(
            lambda: ask_php(it, ('127.0.0.1', port)),
            ['/usr/bin/supervisord', '-c', it.path('supervisord.conf')],
            f'pool "php" {{ listen = {{ "127.0.0.1:{port}" }} workers = 2 user = "nobody"\n'
            'app { command = { "/usr/bin/php-cgi" } } }\n')
        self.assertEqual(answer, b'hello from PHP 1\n')

    def test_php_fpm(self):
        """The pool of Debian's package, except for its paths."""
        it = self.begin()
        with open('/etc/php/8.2/fpm/pool.d/www.conf', encoding='utf-8') as file:
            pool = file.read().replace('/run/php/php8.2-fpm.sock', it.path('php.sock'))
        it.put('fpm.conf', '[global]\nerror_log = /dev/stderr\n' + pool +
               'pm.max_requests = 100\nphp_admin_value[memory_limit] = 32M\n')
        it.put('hello.php', '<?php echo ini_get("memory_limit"), " ", posix_geteuid() == 33;')
        answer = self.compare(
            lambda: ask_php(it, it.path('php.sock')),
            ['/usr/sbin/php-fpm8.2', '-F', '-y', it.path('fpm.conf')],
            'pool "www" { listen = { "unix:@DIR@/php.sock" } socket_user = "www-data"\n'
            'socket_group = "www-data" user = "www-data" workers = 5\n'
            'environment = { "PHP_FCGI_MAX_REQUESTS=100" }\n'
            'app { command = { "/usr/bin/php-cgi", "-d", "memory_limit=32M" } } }\n')
        self.assertEqual(answer, b'32M 1')


class Tls(daemon.Case):
    """TLS in front, with the client's address in a PROXY header."""

    def begin(self):
        self.port = daemon.reserve_port(self)
        self.it = self.start(
            'control = "@DIR@/control"\n'
            'pool "echo" { listen = { "unix:@DIR@/echo" } socket_mode = 0666 workers = 4\n'
            'log_connections = true proxy_protocol = "on" proxy_from = { "unix" } echo {} }\n')
        subprocess.run(['openssl', 'req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-subj',
                        '/CN=localhost', '-days', '2', '-keyout', self.it.path('key'), '-out',
                        self.it.path('cert')], check=True, capture_output=True)
        with open(self.it.path('pem'), 'wb') as out:
            for name in ('key', 'cert'):
                with open(self.it.path(name), 'rb') as file:
                    out.write(file.read())

    def ask_through(self, *command):
        with open(self.it.path('front.log'), 'wb') as log:
            front = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.addCleanup(front.wait)
        self.addCleanup(front.kill)
        context = ssl.create_default_context(cafile=self.it.path('cert'))

        def answered():
            with contextlib.suppress(OSError), client.connect(('127.0.0.1', self.port)) as plain, \
                    context.wrap_socket(plain, server_hostname='localhost') as connection:
                connection.sendall(b'hello')
                return connection.recv(100) == b'hello' and connection.getsockname()[1]
            return None
        port = wait_until(answered, f'an answer through {command[0]}')
        self.it.wait_for_log(rf'connection from 127\.0\.0\.1:{port} ended')

    def test_stunnel(self):
        self.begin()
        self.it.put('stunnel.conf', f'''foreground = yes
pid =
[echo]
accept = 127.0.0.1:{self.port}
connect = @DIR@/echo
cert = @DIR@/pem
protocol = proxy
''')
        self.ask_through('stunnel', self.it.path('stunnel.conf'))

    def test_haproxy(self):
        self.begin()
        self.it.put('haproxy.cfg', f'''defaults
    mode tcp
    timeout connect 3s
    timeout client 1m
    timeout server 1m
listen echo
    bind 127.0.0.1:{self.port} ssl crt @DIR@/pem
    server echo unix@@DIR@/echo send-proxy-v2
''')
        self.ask_through('haproxy', '-db', '-f', self.it.path('haproxy.cfg'))


if __name__ == '__main__':
    daemon.main()
