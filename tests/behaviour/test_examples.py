"""The monitoring files of conf/examples, checked by the programs that read them."""

import json
import os
import re
import signal
import subprocess
import unittest
import urllib.parse
import urllib.request

import client
import daemon
import web
from processes import wait_until

EXAMPLES = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..', 'conf', 'examples')
PATIENCE = 60


def read(name):
    with open(os.path.join(EXAMPLES, name), encoding='utf-8') as file:
        return file.read()


def expressions():
    """{place: expression} of the dashboard, as Prometheus would get them."""
    dashboard = json.loads(read('grafana.json'))
    found = {f'{panel["title"]} {target["refId"]}': target['expr']
             for panel in dashboard['panels'] for target in panel['targets']}
    found |= {each['name']: each['expr'] for each in dashboard['annotations']['list']}
    return {where: expression.replace('$__rate_interval', '1m')
            .replace('$instance', '.*').replace('$pool', '.*')
            for where, expression in found.items()}


class Together(unittest.TestCase):
    """Pools of several files may be wanted at once."""

    FILES = ('../preforkd.conf', 'cgi.conf', 'status.conf', 'app/app.conf', 'module/hello.conf',
             'module/notes.conf')

    def test_no_pool_is_in_the_way_of_another(self):
        lines = [line.split('#')[0] for name in self.FILES for line in read(name).split('\n')]
        text = '\n'.join(lines)
        names = re.findall(r'(?m)^pool "(.*?)"', text)
        self.assertEqual(len(names), len(set(names)), sorted(names))
        # A pool may have a port at several addresses.
        places = [set(re.findall(r'unix:[^"]+|:\d+(?=")', each))
                  for each in re.findall(r'listen *= \{(.*?)\}', text)]
        self.assertEqual(len(places), len(names))
        self.assertEqual(sum(map(len, places)), len(set().union(*places)), places)


class Examples(daemon.Case):
    def start(self):
        it = self.make(read('status.conf')
                       .replace('"127.0.0.1:9117", "[::1]:9117"', '"systemd:status"')
                       .replace('"*:7008"', '"systemd:agent"')
                       + 'pool "echo" { listen = { "systemd:echo" } workers = 2 echo {} }\n')
        return it.launch().ready()

    def promtool(self, *arguments, **more):
        done = subprocess.run(['promtool', *arguments], check=False, capture_output=True, text=True,
                              **more)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout

    def test_status_and_agent(self):
        it = self.start()
        self.assertEqual(web.get(it.address('status'), '/healthz').text, 'ok\n')
        self.assertEqual(client.ask(it.address('agent')), b'up ready 100%\n')

    def test_prometheus_takes_its_files(self):
        self.promtool('check', 'config', os.path.join(EXAMPLES, 'prometheus.yml'))
        self.promtool('check', 'rules', os.path.join(EXAMPLES, 'prometheus-rules.yml'))

    def test_haproxy_takes_its_file(self):
        subprocess.run(['haproxy', '-c', '-q', '-f', os.path.join(EXAMPLES, 'haproxy.cfg')],
                       check=True)

    def test_expressions_of_the_dashboard(self):
        it = self.start()
        rules = {'groups': [{'name': 'dashboard', 'rules': [
            {'record': f'panel_{number}', 'expr': expression}
            for number, expression in enumerate(expressions().values())]}]}
        self.promtool('check', 'rules', it.put('rules.json', json.dumps(rules)))

    def test_every_metric_that_is_named_is_there(self):
        it = self.start()
        text = web.get(it.address('status'), '/metrics').text
        there = set(re.findall(r'(?m)^(preforkd_\w+)', text))
        for name in ('prometheus-rules.yml', 'grafana.json'):
            named = set(re.findall(r'\bpreforkd_\w+', read(name)))
            self.assertGreater(len(named), 5)
            self.assertEqual(named - there, set(), name)

    def test_prometheus_itself(self):
        """A real Prometheus scrapes the daemon, and has values for the dashboard's expressions."""
        it = self.start()
        client.ask(it.address('echo'), b'x')
        prometheus = Prometheus(self, it)
        wait_until(lambda: prometheus.ask('up') == [1], 'a scrape')
        wait_until(lambda: prometheus.ask('preforkd_connections_accepted_total{pool="echo"}')
                   == [1], 'one connection')
        self.assertEqual(prometheus.ask('count(preforkd_queue_depth)'), [3])
        self.assertEqual(len(prometheus.get('rules')['groups'][0]['rules']), 9)

        def unanswered():
            return [where for where, expression in expressions().items()
                    if not prometheus.ask(expression)]
        wait_until(lambda: unanswered() == ['Reloads'],
                   lambda: f'answers to all but Reloads; none to {unanswered()}')


class Prometheus:
    """A real Prometheus with the files of the examples."""

    def __init__(self, case, it):
        port = daemon.reserve_port(case)
        host, target = it.address('status')
        it.put('prometheus.yml', read('prometheus.yml')
               .replace('127.0.0.1:9117', f'{host}:{target}')
               .replace('interval: 15s', 'interval: 1s'))
        it.put('prometheus-rules.yml', read('prometheus-rules.yml'))
        self.base = f'http://127.0.0.1:{port}/api/v1/'
        with open(it.path('prometheus.log'), 'wb') as log:
            self.process = subprocess.Popen(
                ['prometheus', f'--config.file={it.path("prometheus.yml")}',
                 f'--storage.tsdb.path={it.path("tsdb")}',
                 f'--web.listen-address=127.0.0.1:{port}'],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=it.directory)
        case.addCleanup(self.stop)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(PATIENCE)
        finally:
            self.process.kill()
            self.process.wait()

    def get(self, what, **parameters):
        url = self.base + what + '?' + urllib.parse.urlencode(parameters)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(url, timeout=PATIENCE) as answer:
            return json.load(answer)['data']

    def ask(self, expression):
        """The values of an expression."""
        try:
            result = self.get('query', query=expression)['result']
        except OSError:
            return []
        return [float(each['value'][1]) for each in result]


if __name__ == '__main__':
    daemon.main()
