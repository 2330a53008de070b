"""Real web servers in front of cgi, with the files of conf/examples; only paths and ports
change."""

import http.client
import os
import re
import shutil
import subprocess

import daemon
import processes
from processes import wait_until

EXAMPLES = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..', 'conf', 'examples')
PATH = os.environ['PATH'] + ':/usr/sbin:/sbin'


class Server(daemon.Case):
    """A web server in front of the pools of the examples."""

    program = None
    scripts = {}

    def setUp(self):
        if not self.program:
            self.skipTest('a base class')
        if not shutil.which(self.program, path=PATH):
            self.skipTest(f'no {self.program} here')
        super().setUp()

    def example(self, name):
        with open(os.path.join(EXAMPLES, name), encoding='utf-8') as file:
            text = file.read()
        for old, new in (('/run/preforkd', '@DIR@'), ('/usr/lib/cgi-bin', '@DIR@/lib/cgi-bin'),
                         ('/usr/lib$', '@DIR@/lib$'), ('"/usr/lib"', '"@DIR@/lib"'),
                         ('/usr/lib{', '@DIR@/lib{'), ('/usr/lib%', '@DIR@/lib%'),
                         ('/usr/lib\n', '@DIR@/lib\n'),
                         ('/var/www/html', '@DIR@/html'),
                         ('/srv/git', '@DIR@/git'), ('/etc/cgitrc', '@DIR@/cgitrc')):
            text = text.replace(old, new)
        return self.it.expand(text)

    def pools(self, options):
        """The pools of the examples, as a user who may listen here."""
        text = '\n'.join(line for line in self.example('cgi.conf').split('\n')
                         if not line.strip().startswith(('user ', 'socket_group ')))
        return text.replace('workers ', f'{options}\nlog_connections = true\nworkers ', 1)

    def serve(self, options=''):
        """Starts the daemon and the web server, whose port is self.port."""
        self.it = self.make('')
        self.it.write(self.pools(options))
        for name, text in self.scripts.items():
            text = text if text.startswith('#!') else '#!/bin/sh\n' + text
            self.it.put('lib/cgi-bin/' + name, text, 0o755)
        self.it.put('lib/cgi-bin/alive', '#!/bin/sh\necho Content-Type: a/b; echo; echo yes', 0o755)
        self.it.put('html/page.php', '<?php echo "sum ", 40 + 2, " ", $_GET["x"], "\\n";')
        self.it.put('html/index.html', 'the root\n')
        self.it.put('cgitrc', 'scan-path=@DIR@/git\nvirtual-root=/cgit\n')
        self.make_repository(daemon.USER if daemon.ROOT else None)
        os.chmod(self.it.path('lib/cgi-bin'), 0o777)
        self.it.launch().ready()
        self.port = daemon.reserve_port(self)
        self.start_server()
        wait_until(self.answers, lambda: f'an answer of {self.program}: {self.server_log()}')

    def make_repository(self, owner):
        where = self.it.path('git/hello.git')
        self.git('init', '-q', '--bare', '--initial-branch=main', where)
        self.git('-C', where, 'symbolic-ref', 'HEAD', 'refs/heads/main')
        if owner:
            subprocess.run(['chown', '-R', owner, self.it.path('git')], check=True)

    def try_git(self, *arguments):
        environment = {'PATH': os.environ['PATH'], 'HOME': self.it.directory, 'LC_ALL': 'C',
                       'GIT_CONFIG_NOSYSTEM': '1', 'GIT_TERMINAL_PROMPT': '0'}
        return subprocess.run(['git', '-c', 'user.name=t', '-c', 'user.email=t@localhost', '-c',
                               'safe.directory=*', *arguments], env=environment, check=False,
                              capture_output=True, text=True, timeout=processes.PATIENCE)

    def git(self, *arguments):
        run = self.try_git(*arguments)
        self.assertEqual(run.returncode, 0, run.stderr)
        return run.stdout

    def run_server(self, *command):
        with open(self.it.path('server.log'), 'w', encoding='utf-8') as log:
            server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                      env={'PATH': PATH, 'HOME': self.it.directory})
        self.addCleanup(self.stop_server, server)

    def server_log(self):
        with open(self.it.path('server.log'), encoding='utf-8', errors='replace') as log:
            return log.read()[-3000:]

    @staticmethod
    def stop_server(server):
        server.terminate()
        try:
            server.wait(processes.PATIENCE)
        finally:
            server.kill()
            server.wait()

    def answers(self):
        try:
            return self.get('/cgi-bin/alive').text == b'yes\n'
        except (OSError, http.client.HTTPException):
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


class Nginx(Server):
    program = 'nginx'
    buffered = False  # request bodies: nginx's default, but not the example's
    keeps = False  # connections to the gateway open
    asks = False  # for a password: "any" for alice, as the example explains

    def start_server(self):
        site = self.example('nginx.conf').replace('listen 80;', f'listen 127.0.0.1:{self.port};')
        site = site.replace('include fastcgi_params', 'include /etc/nginx/fastcgi_params')
        upstream = ''
        if self.asks:
            site = re.sub(r'(location ~ \^/git[^#]*?)fastcgi_param REMOTE_USER "";\n', r'\1', site)
            site = re.sub(r'# (auth_basic .*) /etc/nginx/git', r'\1 @DIR@/git', site)
            self.it.put('git.htpasswd', 'alice:{PLAIN}any\n')
        if self.keeps:
            site = site.replace('unix:' + self.it.path('scripts.sock'), 'scripts')
            upstream = (f'upstream scripts {{ server unix:{self.it.path("scripts.sock")}; '
                        'keepalive 4; }\nfastcgi_keep_conn on;\n')
        if self.buffered:
            site = '\n'.join(line for line in site.split('\n')
                             if 'buffering off' not in line and 'client_max_body' not in line)
        temporary = ''.join(f'{kind}_temp_path {self.it.path("temporary-" + kind)};\n'
                            for kind in ('client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'))
        user = 'user root root;\n' if daemon.ROOT else ''
        self.it.put('nginx.conf', f'daemon off;\nmaster_process off;\npid @DIR@/nginx.pid;\n{user}'
                                  f'error_log stderr;\nevents {{}}\nhttp {{\naccess_log off;\n'
                                  f'client_max_body_size 0;\n{temporary}{upstream}{site}\n}}\n')
        self.run_server('nginx', '-e', 'stderr', '-c', self.it.path('nginx.conf'))


class NginxBuffered(Nginx):
    buffered = True


class NginxAsking(Nginx):
    asks = True


class NginxKeeping(Nginx):
    keeps = True


class NginxBufferedKeeping(Nginx):
    buffered = keeps = True


class Lighttpd(Server):
    program = 'lighttpd'

    def start_server(self):
        self.it.put('lighttpd.conf', 'server.document-root = "@DIR@/html"\nserver.port = '
                                     f'{self.port}\nserver.bind = "127.0.0.1"\n'
                                     'server.upload-dirs = ( "@DIR@" )\n'
                    + self.example('lighttpd.conf'))
        self.run_server('lighttpd', '-D', '-f', self.it.path('lighttpd.conf'))


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


class Caddy(Server):
    program = 'caddy'

    def start_server(self):
        site = self.example('Caddyfile').replace(':80 {', f'http://127.0.0.1:{self.port} {{')
        self.it.put('Caddyfile', '{\n\tadmin off\n\tauto_https off\n}\n' + site)
        self.run_server('caddy', 'run', '--adapter', 'caddyfile', '--config',
                        self.it.path('Caddyfile'))


class H2o(Server):
    program = 'h2o'

    def start_server(self):
        site = self.example('h2o.conf').replace('port: 80', f'host: 127.0.0.1\n  port: {self.port}')
        user = 'user: root\n' if daemon.ROOT else ''
        self.it.put('h2o.conf', user + site)
        self.run_server('h2o', '-c', self.it.path('h2o.conf'))


class Haproxy(Server):
    program = 'haproxy'

    def start_server(self):
        site = self.example('haproxy-cgi.cfg').replace('bind :80', f'bind 127.0.0.1:{self.port}')
        self.it.put('haproxy.cfg', site)
        self.run_server('haproxy', '-db', '-f', self.it.path('haproxy.cfg'))
