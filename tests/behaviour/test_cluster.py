"""conf/examples/cluster: HAProxy in front of three nodes, each in its own network namespace."""

import contextlib
import json
import os
import re
import signal
import subprocess
import urllib.request

import client
import control
import daemon
import wording
from network import Network
from processes import wait_until

EXAMPLE = os.path.join(os.path.dirname(os.path.abspath(__file__)), '../../conf/examples/cluster')
FRONT = ('192.0.2.1', 7000)
NODES = ('node1', 'node2', 'node3')
PROXY_LOCAL = b'\r\n\r\n\0\r\nQUIT\n\x20\0\0\0'  # a PROXY header for the proxy's own connection
CLIENTS = 6


def example(name):
    with open(os.path.join(EXAMPLE, name), encoding='utf-8') as file:
        return file.read()


class Load(client.Load):
    """Clients of HAProxy, in its network namespace."""

    def __init__(self, network):
        super().__init__(FRONT, CLIENTS)
        self.network = network

    def _client(self, number):
        self.network.enter()
        super()._client(number)

    def converse(self, number, choose):
        self.stopping.wait(0.005)
        return super().converse(number, choose)

    def progress(self, count=300):
        """Waits until `count` more connections are served."""
        goal = self.served + count
        wait_until(lambda: self.served >= goal, lambda: f'{goal} served, not {self.served}')

    def take_failures(self):
        with self.lock:
            taken, self.failures = self.failures, []
        return taken


class Cluster(daemon.Case):
    def build(self):
        # The daemons are created first: at the test's end they go last. The fourth replaces the
        # killed one.
        text = 'control = "@DIR@/control"\n' + example('preforkd.conf')
        daemons = [self.make(text) for _ in range(len(NODES) + 1)]
        self.spare = daemons.pop()
        self.front = Network(self)
        for words in (('link', 'add', 'br0', 'type', 'bridge'),
                      ('addr', 'add', '192.0.2.1/24', 'dev', 'br0'), ('link', 'set', 'br0', 'up')):
            self.front.run('ip', *words)
        self.nodes, self.networks = {}, {}
        for number, name in enumerate(NODES):
            network = self.networks[name] = Network(self)
            self.front.run('ip', 'link', 'add', name, 'type', 'veth', 'peer', 'name', 'eth0',
                           'netns', str(network.holder.pid))
            self.front.run('ip', 'link', 'set', name, 'master', 'br0', 'up')
            network.run('ip', 'addr', 'add', f'192.0.2.1{number + 1}/24', 'dev', 'eth0')
            network.run('ip', 'link', 'set', 'eth0', 'up')
            self.nodes[name] = self.begin_node(daemons[number], network)
        self.haproxy()
        self.load = Load(self.front)
        self.enterContext(self.load)
        wait_until(lambda: all(self.ask(name)['status'] == 'UP' for name in NODES), 'three nodes')

    @staticmethod
    def begin_node(it, network):
        it.program = it.put('preforkd', '#!/bin/sh\nexec ' + ' '.join(network.command(
            daemon.BINARY, '"$@"')) + '\n', mode=0o755)
        return it.launch().ready()

    def haproxy(self):
        it = self.nodes['node1']
        self.socket = it.path('haproxy')
        text = example('haproxy.cfg').replace('/run/haproxy/admin.sock', self.socket) \
                                     .replace('inter 2s', 'inter 200ms')
        it.put('haproxy.cfg', text)
        self.begin('haproxy', '-db', '-f', it.path('haproxy.cfg'))
        wait_until(lambda: os.path.exists(self.socket), 'haproxy')

    def begin(self, *command):
        """Runs a command in HAProxy's network namespace until the test's end."""
        with open(self.nodes['node1'].path(command[0] + '.log'), 'wb') as log:
            process = subprocess.Popen(self.front.command(*command), stdin=subprocess.DEVNULL,
                                       stdout=log, stderr=log)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)

    def ask(self, name):
        """A server's row in HAProxy's statistics."""
        with contextlib.suppress(OSError), client.connect(self.socket) as connection:
            connection.sendall(b'show stat\n')
            head, *rows = client.read_all(connection).decode().lstrip('# ').splitlines()
            for row in rows:
                row = dict(zip(head.split(','), row.split(',')))
                if row.get('svname') == name:
                    return row
        return {'status': None}

    def weight(self, name):
        return int(self.ask(name)['weight'])

    def wait_for(self, name, status):
        wait_until(lambda: re.match(status, self.ask(name)['status'] or ''),
                   lambda: f'{name} is {self.ask(name)}')

    def roll(self, command, *nodes):
        return subprocess.run([os.path.join(EXAMPLE, 'roll'), command, *nodes], check=False,
                              env=os.environ | {'SOCKET': self.socket}, capture_output=True,
                              text=True)

    def test_nodes_leave_and_come_back(self):
        self.build()
        with self.subTest('roll'):
            self.roll_over_all()
        with self.subTest('drain'):
            self.drain_one()
        with self.subTest('a slow node'):
            self.slow_one()
        self.assertEqual(self.load.take_failures(), [])
        with self.subTest('a killed node'):
            self.kill_one()

    def roll_over_all(self):
        before = {name: it.workers('echo') for name, it in self.nodes.items()}
        restart = ''.join(f'test $NODE != {name} || {daemon.CONTROL_BINARY} -s '
                          f'{it.path("control")} restart\n' for name, it in self.nodes.items())
        done = self.roll(restart, *NODES)
        self.assertEqual((done.returncode, done.stderr), (0, ''))
        for name, it in self.nodes.items():
            self.assertFalse(set(before[name]) & set(it.workers('echo')), name)
            mark = it.mark()
            control.ask(it, 'upgrade')
            it.wait_for_log(wording.UPGRADED, mark)
        self.load.progress()
        done = self.roll('false', 'node1')
        self.assertEqual(done.returncode, 1)
        self.assertIn('node1 stays out', done.stderr)
        self.assertEqual(self.roll('true', 'node1').returncode, 0)

    def drain_one(self):
        """The node drains, and its agent tells HAProxy. Connections queued at the node wait for the
        resume, perhaps one per client; the other nodes serve new ones."""
        it = self.nodes['node2']
        control.ask(it, 'drain')
        self.wait_for('node2', 'DRAIN')
        for _ in range(6):
            self.assertEqual(self.front.call(client.ask, FRONT, b'new'), b'new')
        control.ask(it, 'resume')
        self.wait_for('node2', 'UP$')
        self.load.progress()

    def slow_one(self):
        """Most of node1's seats are taken: it must get less than two thirds of another node's
        share, once all weights are back. node2 was drained, and its workers return one by one."""
        def hold():
            connection = client.connect(('192.0.2.11', 7007))
            connection.sendall(PROXY_LOCAL)
            return connection
        held = [self.front.call(hold) for _ in range(50)]
        wait_until(lambda: self.weight('node1') < 40 and
                   min(self.weight('node2'), self.weight('node3')) > 80,
                   lambda: f'a light node1: {[self.weight(name) for name in NODES]}')
        before = {name: int(self.ask(name)['stot']) for name in NODES}
        self.load.progress(1000)
        got = {name: int(self.ask(name)['stot']) - before[name] for name in NODES}
        self.assertLess(3 * got['node1'], 2 * got['node2'], got)
        self.assertLess(3 * got['node1'], 2 * got['node3'], got)
        for connection in held:
            connection.close()
        wait_until(lambda: self.weight('node1') > 90, 'the former weight of node1')

    def kill_one(self):
        """Connections in hand are lost; those that are refused go to other nodes."""
        self.prometheus()
        it = self.nodes['node3']
        it.kill(signal.SIGKILL)
        self.assertEqual(it.exited(), -signal.SIGKILL)
        self.wait_for('node3', 'DOWN')
        self.load.progress()
        self.load.take_failures()
        self.load.progress()
        self.assertEqual(self.load.take_failures(), [])
        wait_until(lambda: 'PreforkdDown' in self.alerts(), 'an alert')
        self.begin_node(self.spare, self.networks['node3'])
        self.wait_for('node3', 'UP$')
        wait_until(lambda: not self.alerts(), 'no alert')
        self.load.progress()
        self.assertEqual(self.load.take_failures(), [])

    def prometheus(self):
        it = self.nodes['node1']
        with open(os.path.join(EXAMPLE, '../prometheus-rules.yml'), encoding='utf-8') as file:
            it.put('prometheus-rules.yml', re.sub(r'for: \d+m', 'for: 1s', file.read()))
        it.put('prometheus/prometheus.yml', example('prometheus.yml').replace('15s', '1s'))
        self.begin('prometheus', '--web.listen-address=192.0.2.1:9090',
                   f'--storage.tsdb.path={it.path("tsdb")}',
                   f'--config.file={it.path("prometheus/prometheus.yml")}')
        wait_until(lambda: self.query('up') == ['1'] * 3, 'three scrapes')

    def get(self, path):
        def fetch():
            with contextlib.suppress(OSError):
                with urllib.request.urlopen(f'http://192.0.2.1:9090/api/v1/{path}') as answer:
                    return json.load(answer)['data']
            return {}
        return self.front.call(fetch)

    def query(self, expression):
        return [row['value'][1] for row in self.get(f'query?query={expression}').get('result', [])]

    def alerts(self):
        return [alert['labels']['alertname'] for alert in self.get('alerts').get('alerts', [])
                if alert['state'] == 'firing']


if __name__ == '__main__':
    daemon.main()
