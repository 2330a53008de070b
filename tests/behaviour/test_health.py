"""Whether a load balancer should send more: /healthz of the handler status, and agent for
HAProxy."""

import contextlib
import os
import re
import signal
import subprocess
import threading

import board
import client
import control
import daemon
import web
import wording
from processes import wait_until

STATUS = 'pool "status" { listen = { "systemd:status" } workers = %d\nstatus {} }\n'
AGENT = 'pool "agent" { listen = { "systemd:agent" } workers = 1\nagent {} }\n'
ECHO = 'pool "echo" { listen = { "systemd:echo" } workers = %d\n%s\necho {} }\n'
IN = 'directory = "@DIR@/in"'
CONTROL = 'control = "@DIR@/control"\n'


class Case(daemon.Case):
    def degrade(self, it):
        """No worker of echo can start any more: its directory is gone."""
        it.announce('killed by signal 9', "can't start", wording.BACKOFF)
        os.rmdir(it.path('in'))
        for pid in it.workers('echo'):
            it.kill(signal.SIGKILL, pid)
        wait_until(lambda: board.pool(it, 'echo')['state'] == 'degraded', 'degraded')

    def make(self, config, **arguments):
        it = super().make(config, **arguments)
        os.mkdir(it.path('in'))
        return it


class Health(Case):
    def ask(self, it):
        answer = web.get(it.address('status'), '/healthz')
        return answer.status, answer.text

    def wait_for(self, it, status, pattern):
        def so():
            found = self.ask(it)
            return found[0] == status and re.search(pattern, found[1])
        wait_until(so, lambda: f'{status} /{pattern}/; it is {self.ask(it)}')

    def test_well(self):
        it = self.start(STATUS % 1 + ECHO % (2, ''))
        self.assertEqual(self.ask(it), (200, 'ok\n'))

    def test_unreachable(self):
        """The path of a listener is gone: every report says so until a reload."""
        config = (STATUS % 1 + AGENT +
                  'pool "echo" { listen = { "unix:@DIR@/s" } workers = 1 echo {} }\n')
        it = self.start(config)
        it.announce(wording.UNREACHABLE)
        os.unlink(it.path('s'))
        self.wait_for(it, 503, 'pool echo: unreachable: .*/s.*reload')
        found = board.pool(it, 'echo')
        self.assertEqual(found['state'], 'unreachable')
        self.assertTrue(found['listeners'][0]['unreachable'])
        self.assertIn('unreachable for', board.text(it, 'status'))
        self.assertIn('preforkd_pool_state{pool="echo",state="unreachable"} 1\n',
                      web.get(it.address('status'), '/metrics').text)
        self.assertRegex(client.ask(it.address('agent')), rb'^down #pool echo is unreachable: ')
        it.reload(config)
        self.wait_for(it, 200, '^ok$')
        self.assertRegex(client.ask(it.address('agent')), b'^up ready ')
        self.assertEqual(client.ask(it.path('s'), b'x'), b'x')

    def test_full(self):
        """A pool with all workers busy is healthy until a connection waits."""
        it = self.start(STATUS % 1 + ECHO % (2, ''))
        held = it.occupy('echo', 2)
        wait_until(lambda: board.pool(it, 'echo')['state'] == 'full', 'full')
        self.assertEqual(self.ask(it), (200, 'ok\n'))
        queued = it.connect('echo')
        self.addCleanup(queued.close)
        self.wait_for(it, 503, r'^pool echo: full\n$')
        held[0].close()
        self.wait_for(it, 200, r'^ok\n$')

    def test_full_of_short_connections(self):
        """No connection takes a second, so no sample shows a seat taken for long; and yet no seat
        is free."""
        it = self.start(STATUS % 1 + daemon.shell('sleep 0.2'))
        crowd = [it.connect('x') for _ in range(30)]
        for connection in crowd:
            self.addCleanup(connection.close)
        self.wait_for(it, 503, r'^pool x: full\n$')
        self.assertGreater(board.pool(it, 'x')['served'], 0)
        for connection in crowd:
            self.assertEqual(client.read_all(connection), b'')
        self.wait_for(it, 200, r'^ok\n$')

    def test_a_load_that_fits_is_no_harm(self):
        it = self.start(STATUS % 1 + ECHO % (8, ''))
        with client.Load(it.address('echo'), clients=4):
            wait_until(lambda: board.pool(it, 'echo')['accepted'] > 10, 'a load')
            for _ in range(5):
                self.assertEqual(self.ask(it), (200, 'ok\n'))

    def test_status_itself_is_never_full(self):
        it = self.start(STATUS % 1)
        answers = []
        threads = [threading.Thread(target=lambda: answers.append(self.ask(it)))
                   for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(daemon.PATIENCE)
        self.assertEqual(answers, [(200, 'ok\n')] * 8)

    def test_degraded(self):
        it = self.start(STATUS % 1 + ECHO % (1, IN))
        self.degrade(it)
        self.wait_for(it, 503, r"^pool echo: degraded: can't change to the directory .*\n$")

    def test_drained(self):
        it = self.start(CONTROL + STATUS % 1 + ECHO % (1, ''))
        self.assertEqual(control.ask(it, 'drain', 'echo').status, 0)
        self.wait_for(it, 503, r'^pool echo: drained\n$')
        self.assertEqual(control.ask(it, 'resume', 'echo').status, 0)
        self.wait_for(it, 200, r'^ok\n$')

    def test_drain_of_everything(self):
        """Pools of status and agent go on unless they are drained by name."""
        it = self.start(CONTROL + STATUS % 1 + AGENT + ECHO % (1, ''))
        it.kill(signal.SIGWINCH)
        self.wait_for(it, 503, r'^pool echo: drained\n$')
        wait_until(lambda: not it.workers('echo'), 'no worker of echo')
        self.assertEqual(client.ask(it.address('agent')), b'drain\n')
        self.assertEqual(control.ask(it, 'drain').out.strip(),
                         'drained: no worker is left, the sockets stay')
        self.assertEqual(control.ask(it, 'drain', 'status').status, 0)
        self.assertEqual(it.workers('status'), [])
        self.assertEqual(control.ask(it, 'resume').status, 0)
        self.wait_for(it, 200, r'^ok\n$')

    def test_drain_with_nobody_to_drain(self):
        it = self.start(CONTROL + STATUS % 1)
        self.assertEqual(control.ask(it, 'drain').status, 0)
        self.assertEqual(self.ask(it), (200, 'ok\n'))


class Queue(Case):
    """Every worker is busy, and five more connections wait at each listener."""

    def ss_depth(self, it, inode):
        listed = subprocess.run(['ss', '-Hltxe'], check=True, capture_output=True, text=True).stdout
        for line in listed.splitlines():
            if re.search(rf'\bino:{inode}\b| {inode} \*|\b{inode}\b', line):
                return int(re.search(r'LISTEN\s+(\d+)', line)[1])
        return None

    def test_depth(self):
        it = self.start(STATUS % 2 + 'pool "echo" { listen = { "systemd:echo", "unix:@DIR@/echo" } '
                        'workers = 3\necho {} }\n')
        it.occupy('echo', 3)
        waiting = [client.connect(address) for address in (it.address('echo'), it.path('echo'))
                   for _ in range(5)]
        for connection in waiting:
            self.addCleanup(connection.close)
        host, port = it.address('echo')
        inodes = {each['address']: each['inode'] for each in board.pool(it, 'echo')['listeners']}

        def depths():
            return dict(re.findall(
                r'(?m)^preforkd_queue_depth\{pool="echo",listener="(.*)"\} (\d+)$',
                web.get(it.address('status'), '/metrics').text))
        wanted = {f'{host}:{port}': '5', f'unix:{it.path("echo")}': '5'}
        wait_until(lambda: depths() == wanted, lambda: f'{wanted}; there are {depths()}')
        for address in wanted:
            self.assertEqual(self.ss_depth(it, inodes[address]), 5, address)
        self.assertEqual(web.get(it.address('status'), '/status.json').status, 200)
        wait_until(lambda: web.get(it.address('status'), '/healthz').text == 'pool echo: full\n',
                   'full')
        capacity = re.findall(r'(?m)^preforkd_queue_capacity\{pool="echo",.*\} (\d+)$',
                              web.get(it.address('status'), '/metrics').text)
        self.assertEqual(len(capacity), 2)
        for each in capacity:
            self.assertGreaterEqual(int(each), 128)


class Upgrade(Case):
    # Its workers of the new binary don't become ready while the file `bad` is there.
    APP = ('pool "app" { listen = { "systemd:app" } workers = 1\napp { command = { "/bin/sh",\n'
           '"-c", "test -e @DIR@/bad && exit 3; exec sleep 1000" } } }\n')

    def test_not_in_force(self):
        """Then the workers of before report what is, not what was."""
        it = self.make(CONTROL + STATUS % 2 + AGENT + ECHO % (2, '') + self.APP).own_program()
        it.launch().ready()
        it.put('bad', '')
        it.announce('err: ', 'killed by signal 9')
        client.ask(it.address('echo'), b'x')
        old = it.workers('status')
        it.kill(signal.SIGUSR2)
        it.wait_for_log('but the configuration is not in force')
        os.kill(it.workers('echo')[0], signal.SIGKILL)

        def metrics():
            return web.get(it.address('status'), '/metrics').text
        wait_until(lambda: 'preforkd_worker_deaths_total{pool="echo"} 1\n' in metrics(), metrics)
        self.assertIn('preforkd_connections_served_total{pool="echo"} 1\n', metrics())
        self.assertIn('preforkd_reloads_total{result="refused"} 1\n', metrics())
        self.assertEqual(control.ask(it, 'drain', 'echo').status, 0)
        self.assertEqual(control.ask(it, 'drain', 'app').status, 0)
        wait_until(lambda: web.get(it.address('status'), '/healthz').status == 503, 'no health')
        wait_until(lambda: client.ask(it.address('agent')) == b'drain\n',
                   lambda: client.ask(it.address('agent')))
        # The canary of the refused reload ends after the refusal.
        self.assertEqual(sorted(it.wait_for_workers(2, pool='status')), sorted(old))


class Agent(Case):
    def ask(self, it):
        """Asks like HAProxy: sends nothing, and reads to the end."""
        with client.connect(it.address('agent')) as connection:
            return client.read_all(connection).decode()

    def wait_for(self, it, pattern):
        wait_until(lambda: re.search(pattern, self.ask(it)),
                   lambda: f'/{pattern}/; it is {self.ask(it)!r}')

    def test_share_of_free_seats(self):
        it = self.start(AGENT + STATUS % 1 + ECHO % (4, ''))
        self.assertEqual(self.ask(it), 'up ready 100%\n')
        held = it.occupy('echo', 1)
        self.assertEqual(self.ask(it), 'up ready 75%\n')
        held += it.occupy('echo', 3)
        self.assertEqual(self.ask(it), 'up ready 1%\n')
        for connection in held:
            connection.close()
        self.wait_for(it, r'^up ready 100%\n$')

    def test_seats_that_a_pool_may_still_get_are_free(self):
        it = self.start(AGENT + 'pool "echo" { listen = { "systemd:echo" }\nmin_workers = 1\n'
                        'max_workers = 10\nmin_spare = 1\nmax_spare = 2\necho {} }\n')
        self.wait_for(it, r'^up ready 100%\n$')
        it.occupy('echo', 5)
        self.wait_for(it, r'^up ready 50%\n$')

    def test_nothing_to_serve(self):
        it = self.start(AGENT)
        self.assertEqual(self.ask(it), 'up ready 100%\n')

    def test_several_pools_weigh_together(self):
        other = ECHO.replace('echo', 'other', 2)
        it = self.start(CONTROL + AGENT + ECHO % (3, '') + other % (1, ''))
        it.occupy('other', 1)
        self.assertEqual(self.ask(it), 'up ready 75%\n')
        control.ask(it, 'drain', 'echo')
        self.wait_for(it, r'^up ready 1%\n$')

    def test_degraded(self):
        it = self.start(AGENT + ECHO % (1, IN))
        self.degrade(it)
        self.wait_for(it, r"^down #pool echo is degraded: can't change to the directory .*\n$")

    def test_a_client_that_writes_without_end(self):
        """agent-send may arrive, but nobody waits for it."""
        it = self.start(AGENT)
        with client.connect(it.address('agent')) as connection:
            with contextlib.suppress(ConnectionError):
                connection.sendall(b'hello' * 100000)
            with contextlib.suppress(ConnectionError):
                connection.recv(100)
        self.assertEqual(self.ask(it), 'up ready 100%\n')

    def test_haproxy(self):
        it = self.start(CONTROL + AGENT + ECHO % (4, ''))
        proxy = Haproxy(self, it)
        proxy.wait_for(weight=100, status='UP')
        held = it.occupy('echo', 1)
        proxy.wait_for(weight=75, status='UP')
        held[0].close()
        self.assertEqual(control.ask(it, 'drain').status, 0)
        proxy.wait_for(status='DRAIN (agent)')
        self.assertEqual(control.ask(it, 'resume').status, 0)
        proxy.wait_for(weight=100, status='UP')
        it.reload(CONTROL + AGENT + ECHO % (1, IN))
        self.degrade(it)
        proxy.wait_for(status='DOWN (agent)')
        os.mkdir(it.path('in'))
        wait_until(lambda: board.pool(it, 'echo')['state'] == 'serving', 'healed')
        proxy.wait_for(status='UP')


class Haproxy:
    """A real HAProxy with the backend of conf/examples."""

    def __init__(self, case, it):
        example = os.path.join(os.path.dirname(__file__), '../../conf/examples/haproxy.cfg')
        with open(example, encoding='utf-8') as file:
            text = file.read()
        host, port = it.address('echo')
        agent = it.address('agent')[1]
        front = daemon.listen_tcp()
        text = text.replace('192.0.2.10:7007', f'{host}:{port}') \
                   .replace('agent-port 7008', f'agent-port {agent}') \
                   .replace('agent-inter 2s', 'agent-inter 100ms') \
                   .replace('/run/haproxy/admin.sock', it.path('haproxy')) \
                   .replace('bind :7000', f'bind fd@{front.fileno()}')
        text = re.sub(r'(?m)^    server echo2 .*\n', '', text)
        it.put('haproxy.cfg', text)
        self.path = it.path('haproxy')
        command = ['haproxy', '-db', '-f', it.path('haproxy.cfg')]
        with open(it.path('haproxy.log'), 'wb') as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log, pass_fds=[front.fileno()])
        front.close()
        case.addCleanup(self.stop)
        wait_until(lambda: os.path.exists(self.path), 'haproxy')

    def stop(self):
        self.process.kill()
        self.process.wait()

    def server(self):
        with contextlib.suppress(OSError), client.connect(self.path) as connection:
            connection.sendall(b'show stat\n')
            lines = client.read_all(connection).decode().lstrip('# ').splitlines()
            names = lines[0].split(',')
            for line in lines[1:]:
                row = dict(zip(names, line.split(',')))
                if row.get('svname') == 'echo1':
                    return {'weight': int(row['weight']), 'status': row['status']}
        return {}

    def wait_for(self, **wanted):
        wait_until(lambda: wanted.items() <= self.server().items(),
                   lambda: f'{wanted}; it is {self.server()}')


if __name__ == '__main__':
    daemon.main()
