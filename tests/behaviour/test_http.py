"""The handler status: its answers over HTTP."""

import base64
import contextlib
import hashlib
import os
import re
import shutil
import subprocess
import time

import board
import client
import daemon
import processes
import web
import wording
from processes import wait_until

STATUS = 'pool "status" { listen = { "systemd:status" } workers = %d\n%s\nstatus {} }\n'
ECHO = 'pool "echo" { listen = { "systemd:echo" } workers = %d\n%s\necho {} }\n'
BOTH = STATUS % (2, '') + ECHO % (2, '')
OPEN_METRICS = 'application/openmetrics-text'


def without_status():
    version = subprocess.run([daemon.BINARY, '-V'], check=True, capture_output=True, text=True)
    return '-microhttpd' in version.stdout


class Answers(daemon.Case):
    def start(self, config=BOTH, **arguments):
        it = super().start(config, **arguments)
        self.get = lambda *words, **more: web.get(it.address('status'), *words, **more)
        return it

    def test_page(self):
        self.start()
        answer = self.get('/')
        self.assertEqual(answer.status, 200)
        self.assertEqual(answer.headers['Content-Type'], 'text/html; charset=utf-8')
        self.assertTrue(answer.text.startswith('<!DOCTYPE html>'), answer.text[:100])
        self.assertNotRegex(answer.text, r'(?i)(src|href)\s*=\s*["\']?(https?:)?//')

    def test_policy_lets_only_the_pages_own_scripts_run(self):
        self.start()
        page = self.get('/')
        policy = dict(part.strip().split(' ', 1)
                      for part in page.headers['Content-Security-Policy'].split(';'))
        self.assertEqual(policy['default-src'], "'none'")
        self.assertEqual(policy['frame-ancestors'], "'none'")
        self.assertEqual(policy['connect-src'], "'self'")
        for element in ('script', 'style'):
            bodies = re.findall(rf'<{element}\b[^>]*>(.*?)</{element}>', page.text, re.S)
            hashes = [base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()
                      for body in bodies]
            self.assertEqual(policy[element + '-src'].split(),
                             [f"'sha256-{each}'" for each in hashes])
        self.assertNotIn('unsafe', page.headers['Content-Security-Policy'])
        other = self.get('/metrics').headers['Content-Security-Policy']
        self.assertIn("default-src 'none'", other)
        self.assertIn("frame-ancestors 'none'", other)

    def test_headers_of_every_answer(self):
        self.start()
        for target, status in {'/': 200, '/status.json': 200, '/metrics': 200, '/healthz': 200,
                               '/nothing': 404}.items():
            with self.subTest(target):
                answer = self.get(target)
                self.assertEqual(answer.status, status)
                for name, value in {'Connection': 'close', 'Cache-Control': 'no-store',
                                    'X-Content-Type-Options': 'nosniff',
                                    'Referrer-Policy': 'no-referrer',
                                    'X-Frame-Options': 'DENY'}.items():
                    self.assertEqual(answer.headers[name], value, name)

    def test_json_is_what_preforkctl_tells(self):
        it = self.start('control = "@DIR@/control"\n' + BOTH)
        answer = self.get('/status.json')
        self.assertEqual(answer.headers['Content-Type'], 'application/json')
        said = answer.json()
        self.assertEqual(said['version'], 1)
        told = board.status(it)
        self.assertEqual([pool['name'] for pool in said['pools']], ['status', 'echo'])
        self.assertEqual(said['pools'][1].keys(), told['pools'][1].keys())
        self.assertEqual(said['pid'], it.pid)

    def test_head(self):
        self.start()
        answer = self.get('/metrics', method='HEAD')
        self.assertEqual((answer.status, answer.body), (200, b''))
        self.assertGreater(int(answer.headers['Content-Length']), 1000)
        self.assertTrue(answer.raw.endswith(b'\r\n\r\n'), 'a body after the headers')

    def test_other_methods(self):
        self.start()
        for method in ('POST', 'PUT', 'DELETE', 'OPTIONS', 'PATCH', 'CONNECT', 'get', 'FOO'):
            with self.subTest(method):
                answer = self.get('/metrics', method=method)
                self.assertEqual(answer.status, 405)
                self.assertEqual(answer.headers['Allow'], 'GET, HEAD')
                self.assertEqual(self.get('/nothing', method=method).status, 404)

    def test_a_request_in_hand_outlives_its_generation(self):
        it = self.start(STATUS % (1, ''))
        old, = it.workers()
        with client.connect(it.address('status')) as connection:
            whole = web.request('/healthz')
            connection.sendall(whole[:20])
            wait_until(lambda: board.pool(it, 'status')['busy'] == 1, 'a request in hand')
            it.reload(STATUS % (1, 'nice = 1'))
            wait_until(lambda: len(it.workers()) == 2, 'both generations')
            connection.sendall(whole[20:])
            self.assertTrue(client.read_all(connection).endswith(b'\r\n\r\nok\n'))
        it.wait_for_workers(1, without=[old])

    def test_both_families_of_socket(self):
        it = self.start(STATUS.replace('"systemd:status"', '"systemd:status", "unix:@DIR@/s"')
                        % (2, ''))
        self.assertEqual(web.get(it.path('s'), '/healthz').text, 'ok\n')
        self.assertEqual(self.get('/healthz').text, 'ok\n')

    def test_log_line(self):
        it = self.start(STATUS % (1, 'log_connections = yes'))
        self.get('/healthz')
        it.wait_for_log('pool status: connection from 127.0.0.1:.* ended after')

    @daemon.needs_root
    def test_in_a_chroot(self):
        """In a directory without our shared object and libmicrohttpd."""
        it = self.make(STATUS % (2, 'chroot = "@DIR@/empty"'))
        os.mkdir(it.path('empty'))
        it.launch().ready()
        self.assertEqual(web.get(it.address('status'), '/healthz').text, 'ok\n')

    def test_only_its_workers_load_libmicrohttpd(self):
        it = self.start()
        for pid in [it.pid, *it.workers('echo')]:
            self.assertNotIn('microhttpd', self.maps(pid))
        for pid in it.workers('status'):
            self.assertIn('microhttpd', self.maps(pid))

    def test_its_workers_hold_no_other_listener(self):
        it = self.start()
        others = {each['inode'] for each in board.pool(it, 'echo')['listeners']}
        for pid in it.workers('status'):
            held = {link for link in processes.descriptors(pid).values() if 'socket' in link}
            for inode in others:
                self.assertNotIn(f'socket:[{inode}]', held)

    def test_its_workers_can_write_little_of_the_scoreboard(self):
        it = self.start()
        self.get('/status.json')
        for pid in it.workers('status'):
            own, overview = [], []
            for line in self.maps(pid).splitlines():
                kind = line.split()[1][1]  # the second letter of "rw-s"
                if 'preforkd-overview' in line:
                    overview.append(kind)
                elif 'preforkd-scoreboard' in line and kind == 'w':
                    own.append(kind)
            self.assertEqual(overview, ['-'])
            self.assertEqual(len(own), 1)
        # The worker that answered has mapped the other pools' scoreboards read-only, and its own
        # twice.
        self.assertTrue(any('r--s' in line and 'preforkd-scoreboard' in line
                            for pid in it.workers('status')
                            for line in self.maps(pid).splitlines()))
        for pid in it.workers('echo'):
            shared = [line for line in self.maps(pid).splitlines() if '/memfd:preforkd' in line]
            self.assertEqual(len(shared), 1, shared)
            self.assertIn('preforkd-scoreboard', shared[0])

    @staticmethod
    def maps(pid):
        with open(f'/proc/{pid}/maps', encoding='ascii') as file:
            return file.read()


class Metrics(daemon.Case):
    def start(self, config=BOTH, **arguments):
        it = super().start(config, **arguments)
        self.get = lambda accept=None: web.get(it.address('status'), '/metrics',
                                               headers=[f'Accept: {accept}'] if accept else [])
        return it

    def samples(self):
        """{sample with its labels: value}."""
        return dict(re.findall(r'(?m)^(preforkd_.*) (\S+)$', self.get().text))

    def test_text_format(self):
        self.start()
        answer = self.get()
        self.assertEqual(answer.headers['Content-Type'],
                         'text/plain; version=0.0.4; charset=utf-8')
        self.assertEqual(answer.headers['Vary'], 'Accept')
        self.assertTrue(answer.text.endswith('\n# EOF\n'))
        tool = shutil.which('promtool')
        if not tool:
            self.skipTest('no promtool here')
        checked = subprocess.run([tool, 'check', 'metrics'], input=answer.body, check=False,
                                 capture_output=True)
        self.assertEqual((checked.returncode, checked.stdout, checked.stderr), (0, b'', b''))

    def test_open_metrics(self):
        it = self.start()
        client.ask(it.address('echo'), b'x')
        answer = self.get(f'{OPEN_METRICS};version=1.0.0')
        self.assertEqual(answer.headers['Content-Type'],
                         f'{OPEN_METRICS}; version=1.0.0; charset=utf-8')
        self.assertTrue(answer.text.endswith('\n# EOF\n'))
        try:
            from prometheus_client.openmetrics.parser import text_string_to_metric_families
        except ImportError:
            self.skipTest('no prometheus_client here')
        families = {family.name: family for family in text_string_to_metric_families(answer.text)}
        accepted = families['preforkd_connections_accepted']
        self.assertEqual(accepted.type, 'counter')
        self.assertIn(({'pool': 'echo'}, 1), [(sample.labels, sample.value)
                                              for sample in accepted.samples])

    def test_both_formats_tell_the_same(self):
        self.start()
        old = self.get().text
        new = self.get(OPEN_METRICS).text

        def without_what_changes(text):
            """Processes are read in turns: the second answer may know more of them."""
            read_in_turns = ('preforkd_process_age_seconds', 'preforkd_cpu_seconds',
                             'preforkd_memory_bytes', 'preforkd_template_memory_bytes')
            return [line.rsplit(' ', 1)[0] if line.startswith(read_in_turns) else line
                    for line in text.splitlines()
                    if not line.startswith('#') and 'pool="status"' not in line]
        self.assertEqual(without_what_changes(old), without_what_changes(new))

    def test_which_format(self):
        self.start()
        prometheus = (f'{OPEN_METRICS};version=1.0.0,{OPEN_METRICS};version=0.0.1;q=0.75,'
                      'text/plain;version=0.0.4;q=0.5,*/*;q=0.1')
        for accept, is_open in {
                prometheus: True,
                OPEN_METRICS: True,
                OPEN_METRICS.upper(): True,
                f'{OPEN_METRICS}; version="1.0.0"; charset=utf-8': True,
                f'text/plain, {OPEN_METRICS}': True,
                f'text/plain;q=0.2, \t{OPEN_METRICS};q=0.3': True,
                f'{OPEN_METRICS};q=0.3, text/plain;q=0.30': True,
                f'{OPEN_METRICS};version=0.0.1': False,
                f'{OPEN_METRICS};version=2.0.0': False,
                f'{OPEN_METRICS};q=0': False,
                f'{OPEN_METRICS};q=0.000, */*': False,
                f'{OPEN_METRICS};q=0.4, text/plain': False,
                f'{OPEN_METRICS};q=0.4, text/*;q=0.5': False,
                f'{OPEN_METRICS};q=nonsense': False,
                f'{OPEN_METRICS};q=1.5': False,
                f'{OPEN_METRICS}2': False,
                f'x{OPEN_METRICS}': False,
                '*/*': False,
                'application/*': False,
                'text/plain': False,
                'application/json': False,
                ',;,=;q=;,/': False}.items():
            with self.subTest(accept):
                answer = self.get(accept)
                self.assertEqual(answer.status, 200)
                self.assertEqual(answer.headers['Content-Type'].startswith(OPEN_METRICS), is_open)

    def test_numbers(self):
        it = self.start()
        for _ in range(3):
            client.ask(it.address('echo'), b'x')
        held, = it.occupy('echo', 1)
        wait_until(lambda: self.samples()['preforkd_connections_served_total{pool="echo"}'] == '3',
                   'three served')
        samples = self.samples()
        for name, value in {
                'preforkd_connections_accepted_total{pool="echo"}': 4,
                'preforkd_workers{pool="echo",state="busy"}': 1,
                'preforkd_workers{pool="echo",state="idle"}': 1,
                'preforkd_workers_target{pool="echo"}': 2,
                'preforkd_pool_state{pool="echo",state="serving"}': 1,
                'preforkd_pool_state{pool="echo",state="degraded"}': 0,
                'preforkd_pool_info{pool="echo",handler="echo"}': 1,
                'preforkd_connections_refused_total{pool="echo",reason="denied"}': 0,
                'preforkd_worker_deaths_total{pool="echo"}': 0,
                'preforkd_reloads_total{result="done"}': 0,
                'preforkd_generation': 1}.items():
            self.assertEqual(float(samples[name]), value, name)
        held.close()

    def test_names_are_those_of_the_manual(self):
        self.start()
        families = set(re.findall(r'(?m)^# TYPE (\w+) ', self.get().text))
        manual = os.path.join(os.path.dirname(__file__), '../../man/preforkd-handlers.7')
        with open(manual, encoding='utf-8') as file:
            self.assertEqual(set(re.findall(r'\bpreforkd_\w+', file.read())), families)

    def test_times_of_the_daemon(self):
        before = time.time()
        it = self.start()
        name = 'preforkd_start_time_seconds'
        started = float(self.samples()[name])
        self.assertGreaterEqual(started, before - 1)
        self.assertLessEqual(started, time.time())
        it.announce(wording.REFUSED, wording.FAULT)
        it.reload('nonsense', refused=True)
        wait_until(lambda: self.samples()['preforkd_last_reload_successful'] == '0', 'a refusal')
        samples = self.samples()
        self.assertEqual(float(samples[name]), started)
        self.assertGreaterEqual(float(samples['preforkd_last_reload_timestamp_seconds']), started)

    def test_counters_go_on_over_an_upgrade(self):
        it = self.make(BOTH).own_program()
        it.launch().ready()
        self.get = lambda: web.get(it.address('status'), '/metrics')
        accepted = 'preforkd_connections_accepted_total{pool="echo"}'
        for _ in range(3):
            client.ask(it.address('echo'), b'x')
        before = self.samples()
        it.upgrade()
        wait_until(lambda: self.samples()['preforkd_upgrades_total'] == '1', 'a counted upgrade')
        after = self.samples()
        for name in (accepted, 'preforkd_start_time_seconds'):
            self.assertEqual(after[name], before[name])
        self.assertEqual(after[accepted], '3')

    def test_slow(self):
        it = self.start(STATUS % (1, '') + daemon.shell('read x', 'slow_threshold = 1'))
        with it.connect('x'):
            it.announce('slow')
            name = 'preforkd_workers_slow{pool="x"}'
            wait_until(lambda: self.samples()[name] == '1', 'a slow request')

    def test_a_pool_added_under_the_name_of_one_that_still_finishes(self):
        """No sample appears twice: Prometheus would refuse them all."""
        it = self.start()
        held, = it.occupy('echo', 1)
        it.reload(STATUS % (2, ''))
        removed = 'preforkd_pool_state{pool="echo",state="removed"}'
        wait_until(lambda: self.samples()[removed] == '1', 'a removed pool')
        it.reload(STATUS % (2, '') + ECHO.replace('systemd:echo', 'unix:@DIR@/echo') % (2, ''))
        names = re.findall(r'(?m)^(preforkd_\S+(?:\{.*\})?) ', self.get().text)
        self.assertEqual(len(names), len(set(names)))
        serving = 'preforkd_pool_state{pool="echo",state="serving"}'
        wait_until(lambda: self.samples()[serving] == '1', 'the new pool')
        held.close()


class Abuse(daemon.Case):
    """Whatever was sent before, the same workers answer the next request."""

    def start(self, options='', workers=1, **arguments):
        it = super().start(STATUS % (workers, options), **arguments)
        self.address = it.address('status')
        self.then = it.workers()
        return it

    def still_answers(self, it):
        self.assertEqual(web.get(self.address, '/healthz').text, 'ok\n')
        self.assertEqual(it.workers(), self.then)

    def send(self, data):
        """Sends bytes; returns the parsed answer, or None. The connection may be closed while we
        send."""
        with client.connect(self.address) as connection:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.sendall(data)
            got = b''
            with contextlib.suppress(ConnectionResetError):
                while piece := connection.recv(65536):
                    got += piece
        return web.Response(got) if got else None

    def test_targets(self):
        it = self.start()
        for target, status in {
                '//': 404, '//metrics': 404, '/metrics/': 404, '/../metrics': 404,
                '/x/../metrics': 404, '/./metrics': 404, '/metrics%00': 400, '/metrics%00x': 400,
                '/%6Detrics': 200, '/metrics?x=/../y&z=%00': 200, '/metrics%3Fx': 404,
                '/%2e%2e/metrics': 404, '/metrics%2': 400, '/metrics%': 400, '/%zz': 400,
                '/..%2fmetrics': 404, '/METRICS': 404, '/' + 'a' * 4000: 400,
                'http://localhost/metrics': 200, 'HTTP://elsewhere:80/metrics?x': 200,
                'http://localhost': 200, 'http://localhost?x': 200, 'http:///metrics': 200,
                'https://localhost/metrics': 400, 'metrics': 400, '*': 400, '\\metrics': 400,
                '/metrics;x': 404, '/etc/passwd': 404}.items():
            with self.subTest(target):
                self.assertEqual(web.get(self.address, target).status, status)
        self.still_answers(it)

    def test_versions(self):
        it = self.start()
        self.assertEqual(self.send(b'GET /healthz HTTP/1.0\r\n\r\n').status, 200)
        self.assertEqual(self.send(b'GET /healthz HTTP/1.1\r\n\r\n').status, 400)  # without Host
        for line in (b'GET /healthz HTTP/2.0', b'GET /healthz HTTP/9', b'GET /healthz', b'GET',
                     b'GET  HTTP/1.1', b'\x16\x03\x01\x02\x00\x01\x00', b'\0' * 100, b' ' * 100,
                     b'PRI * HTTP/2.0', b'GET /healthz HTTP/1.1 HTTP/1.1'):
            with self.subTest(line):
                answer = self.send(line + b'\r\nHost: x\r\n\r\n')
                if answer:
                    self.assertGreaterEqual(answer.status, 400)
        self.still_answers(it)

    def test_large_header(self):
        it = self.start()
        for data in (b'GET /healthz HTTP/1.1\r\nHost: x\r\nX: ' + b'a' * 1024 * 1024 + b'\r\n\r\n',
                     b'GET /healthz HTTP/1.1\r\nHost: x\r\n' + b'X: y\r\n' * 170000 + b'\r\n',
                     b'GET /' + b'a' * 1024 * 1024 + b' HTTP/1.1\r\nHost: x\r\n\r\n',
                     b'A' * 1024 * 1024):
            with self.subTest(data[:40]):
                answer = self.send(data)
                if answer:
                    self.assertIn(answer.status, (400, 413, 414, 431))
        self.still_answers(it)

    def test_bodies_are_not_waited_for(self):
        it = self.start()
        for headers in ('Content-Length: 1000000000', 'Content-Length: -1', 'Content-Length: x',
                        'Content-Length: 99999999999999999999999', 'Transfer-Encoding: chunked',
                        'Expect: 100-continue\r\nContent-Length: 5'):
            for method in ('POST', 'GET'):
                with self.subTest((method, headers)):
                    answer = self.send(web.request('/healthz', method, headers=[headers]))
                    self.assertIn(answer.status, (200, 400, 405, 413))
        self.still_answers(it)

    def test_pipelining(self):
        """The first request is answered and the connection closed: the client sends the others
        again."""
        it = self.start()
        answer = self.send(web.request('/healthz') + web.request('/metrics') * 10)
        self.assertEqual((answer.status, answer.headers['Connection']), (200, 'close'))
        self.assertEqual(answer.raw.count(b'HTTP/1.1 '), 1)
        self.assertTrue(answer.raw.endswith(b'\r\n\r\nok\n'))
        self.still_answers(it)

    def test_smuggling(self):
        it = self.start()
        answer = self.send(b'POST /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n'
                           b'Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n' + web.request('/metrics'))
        self.assertGreaterEqual(answer.status, 400)
        self.assertEqual(answer.raw.count(b'HTTP/1.1 '), 1)
        self.still_answers(it)

    def test_gone_in_the_middle(self):
        it = self.start()
        for data in (b'', b'GET', b'GET / HTTP/1.1\r\nHost', web.request('/metrics')):
            for leave in (client.reset, lambda connection: connection.close()):
                connection = client.connect(self.address)
                connection.sendall(data)
                leave(connection)
        self.still_answers(it)

    def test_half_closed(self):
        """A client may close its side after its request; in the middle of one, that ends the
        connection at once."""
        it = self.start('idle_timeout = 3600\nrequest_timeout = 0')
        whole = client.ask(self.address, web.request('/healthz'))
        self.assertTrue(whole.endswith(b'\r\n\r\nok\n'), whole)
        for data in (b'', b'GET', b'GET /healthz HTTP/1.1\r\nHost: x\r\n'):
            self.assertEqual(client.ask(self.address, data), b'')
        self.still_answers(it)

    def test_a_byte_at_a_time(self):
        """Each byte comes soon after the previous one: only the total time counts."""
        it = self.start('idle_timeout = 2\nrequest_timeout = 2')
        with client.connect(self.address) as connection:
            connection.sendall(b'GET /healthz HTTP/1.1\r\nHost: x\r\nX: ')
            connection.settimeout(0.1)

            def closed():
                with contextlib.suppress(TimeoutError):
                    try:
                        connection.sendall(b'a')
                        return connection.recv(100) == b''
                    except ConnectionError:
                        return True
            wait_until(closed, 'a closed connection')
        self.still_answers(it)

    def test_silence(self):
        it = self.start('idle_timeout = 1\nlog_connections = yes')
        with client.connect(self.address) as connection:
            self.assertEqual(client.read_all(connection), b'')
        self.still_answers(it)

    def test_a_client_that_stays_when_it_has_its_answer(self):
        """The worker waits no longer than it must for its client to close."""
        it = self.start('idle_timeout = 1\nrequest_timeout = 0\nlog_connections = yes')
        with client.connect(self.address) as connection:
            connection.sendall(web.request('/status.json'))
            it.wait_for_log('connection from .* ended')
        self.still_answers(it)

    def test_two_slow_ones_blind_two_workers_no_longer_than_that(self):
        it = self.start(workers=2)
        slow = [client.connect(self.address) for _ in range(2)]
        for connection in slow:
            self.addCleanup(connection.close)
            connection.sendall(b'GET /healthz HTTP/1.1\r\nHost: x\r\n')
        wait_until(lambda: board.pool(it, 'status')['busy'] == 2, 'two busy workers')
        self.still_answers(it)

    def test_defaults(self):
        it = self.start()
        dumped = self.run_preforkd('-T', '-c', it.file).stdout
        self.assertRegex(dumped, r'idle_timeout += 5\n')
        self.assertRegex(dumped, r'request_timeout += 10\n')


class Without(daemon.Case):
    def test_is_an_error_of_the_configuration(self):
        it = self.make(STATUS % (1, ''))
        result = self.run_preforkd('-t', '-c', it.file)
        self.assertEqual(result.returncode, 1)
        self.assertRegex(result.stderr, r':1: pool status: .* built without libmicrohttpd')


if without_status():
    del Answers, Metrics, Abuse
else:
    del Without

if __name__ == '__main__':
    daemon.main()
