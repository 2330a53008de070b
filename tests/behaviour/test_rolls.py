"""Programs that end by themselves, rolls that stop, and the answers to commands about both."""

import contextlib
import json
import os
import re
import signal
import time

import client
import control
import daemon
import processes
import test_app
import wording
from processes import wait_until
from test_app import PYTHON, run

# Serves as many connections as its argument says, then exits with status 0; on SIGTERM it finishes
# the one in hand. SIGTERM is blocked, and checked between connections.
FEW = ('import select,signal,socket,sys\n'
       'signal.pthread_sigmask(signal.SIG_BLOCK, [15])\n'
       's = socket.socket(fileno=0)\n'
       's.setblocking(False)\n'
       'left = int(sys.argv[1])\n'
       'while left and not signal.sigtimedwait([15], 0):\n'
       '  if not select.select([s], [], [], 0.01)[0]: continue\n'
       '  try: c = s.accept()[0]\n'
       '  except BlockingIOError: continue\n'
       '  left -= 1\n'
       '  c.setblocking(True)\n'
       '  c.recv(100)\n'
       '  c.sendall(b"served\\n")\n'
       '  c.close()\n')

# Forks for each connection; on SIGTERM it exits at once, and its children finish.
FORKING = ('import os,signal,socket,time\n'
           'signal.signal(signal.SIGTERM, lambda *_: os._exit(0))\n'
           'signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n'
           's = socket.socket(fileno=0)\n'
           'while True:\n'
           '  c = s.accept()[0]\n'
           '  if os.fork() == 0:\n'
           '    signal.signal(signal.SIGTERM, signal.SIG_IGN)\n'
           '    s.close()\n'
           '    c.sendall(b"%d " % os.getppid())\n'
           '    c.recv(1)\n'
           '    c.sendall(b"x" * 300000 + b"end")\n'
           '    os._exit(0)\n'
           '  c.close()\n')

# Fails after so many seconds.
SHORT = 'import sys,time; print("begun", flush=True); time.sleep(float(sys.argv[1])); sys.exit(9)'


ECHO = 'pool "y" { listen = { "systemd:y" } workers = 1 echo {} }\n'

# Starts workers together, to save the waits for ready and min_ready_time.
TOGETHER = 'roll_at_once = 4'


def few(count, options='workers = 4', section=TOGETHER):
    return run([PYTHON, '-I', '-S', '-c', FEW, str(count)], options, section)


class Case(test_app.Case):
    def make(self, config, **arguments):
        return super().make('control = "@DIR@/control"\n' + config, **arguments)

    def tell(self, it, *words, status=0):
        done = control.run(it, *words)
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        return done.stdout + done.stderr

    def pool(self, it, name='x'):
        pools = json.loads(control.run(it, '--json', 'status').stdout)['pools']
        return next(pool for pool in pools if pool['name'] == name)


class EndsInOrder(Case):
    """A program that exits with status 0 by itself, and leaves no process behind."""

    def serves_on(self, config, clients=8):
        """Under clients without a pause the pool starts, restarts and reloads, is never reported as
        degraded, and never backs off."""
        it = self.make(config)
        it.launch()
        with client.Asking(it.address('x'), clients, b'x\n', rb'served\n') as asking:
            it.ready()
            served = asking.served
            wait_until(lambda: asking.served > served + 300, 'more load')
            self.tell(it, 'restart', 'x')
            it.reload('control = "@DIR@/control"\n'
                      + config.replace('workers =', 'nice = 1 workers ='))
            served = asking.served
            wait_until(lambda: asking.served > served + 300, 'more load after it')
            pool = self.pool(it)
        self.assertEqual(asking.failures, [])
        self.assertFalse(it.log.find('degraded|warning: |err: '), it.log.lines[-20:])
        self.assertEqual(pool['deaths'], 0, pool)
        self.assertGreater(pool['retirements'], 10)
        self.assertTrue(it.log.find(r' info: pool x: worker \d+ ended after .*exit=0'))
        self.assertFalse(it.log.find(r' notice: pool x: worker \d+ ended after'))
        return it, asking

    def test_after_some_requests(self):
        self.serves_on(few(100))

    def test_after_very_few(self):
        """Each program lives for less than a tenth of a second."""
        self.serves_on(few(8))

    def test_one_that_says_when_it_is_ready(self):
        script = ('import os,socket\n'
                  'n = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n'
                  'a = os.environ["NOTIFY_SOCKET"]\n'
                  'n.sendto(b"READY=1", "\\0" + a[1:] if a[0] == "@" else a)\n')
        self.serves_on(run([PYTHON, '-I', '-S', '-c', script + FEW, '50'], 'workers = 4',
                           f'ready = "notify" {TOGETHER}'))

    def test_one_after_another_without_end(self):
        """Programs only exit: at least a tenth of a second passes between two, and the start fails
        when ready_timeout is over, and not before."""
        it = self.make(run(['/bin/true'], 'workers = 2 ready_timeout = 3'))
        it.announce('err: ')
        began = time.monotonic()
        it.launch()
        self.assertEqual(it.exited(), 3)
        self.assertGreater(time.monotonic() - began, 3)
        ends = len(it.log.find(r' info: pool x: worker \d+ ended after'))
        self.assertLess(ends, 2 * 11 * (time.monotonic() - began))
        self.assertGreater(ends, 8)
        it.wait_for_log('err: .*: pool x: its program ended, with status 0, before it was ready: '
                        'no worker becomes ready')
        self.assertFalse(it.log.find('degraded|warning: '))

    def test_reload_to_nothing_but_ends(self):
        """The canary is retried until ready_timeout."""
        it = self.start(run(['/bin/sleep', '1000'], 'workers = 2'))
        old = it.workers()
        it.announce('err: ')
        began = time.monotonic()
        lines = it.reload('control = "@DIR@/control"\n'
                          + run(['/bin/true'], 'workers = 2 ready_timeout = 2'), refused=True)
        self.assertGreater(time.monotonic() - began, 2)
        self.assertTrue(any('its program ended, with status 0, before it was ready' in line
                            for line in lines), lines)
        self.assertEqual(it.workers(), old)

    def test_reload_with_a_long_min_ready_time(self):
        """It is longer than any of the programs lives, and than a back-off lasts."""
        it = self.start(run(['/bin/sleep', '1000'], 'workers = 1'))
        old = it.workers()
        it.reload('control = "@DIR@/control"\n'
                  + run(['/bin/sleep', '1.5'], 'workers = 1 min_ready_time = 14'))
        self.assertNotEqual(it.workers(), old)

    def test_into_the_background(self):
        """A program that leaves processes has not ended."""
        it = self.start(run(['/bin/sh', '-c', 'sleep 1000 & test -e @DIR@/go || exec sleep 1000'],
                            'workers = 1 graceful_timeout = 1'))
        it.announce(wording.LEFT_GROUP, wording.BACKOFF)
        worker, = it.workers()
        it.put('go', '')
        os.kill(worker, signal.SIGKILL)
        it.announce('killed by signal 9')
        it.wait_for_log(r' (notice|warning): pool x: worker \d+ ended after .*, and left processes '
                        r'behind: it must stay in the foreground')
        wait_until(lambda: self.pool(it)['state'] == 'degraded', 'a degraded pool')


    DAEMON = ('import os,sys,time\n'
              'if os.fork(): time.sleep(0.05); os._exit(0)\n'
              'os.setsid()\n'
              'for fd in 0, 1, 2: os.dup2(os.open(os.devnull, os.O_RDWR), fd)\n'
              'open("@DIR@/daemons/%d" % os.getpid(), "w").close()\n'
              'time.sleep(1000)')

    def test_into_a_session_of_its_own(self):
        """Like daemon(3): respawning each time would fill the machine."""
        it = self.make(run([PYTHON, '-I', '-S', '-c', self.DAEMON], 'workers = 1'))
        os.mkdir(it.path('daemons'))
        os.chmod(it.path('daemons'), 0o777)
        it.announce('err: ', wording.BACKOFF)
        it.launch()
        code = it.child.wait(processes.PATIENCE)
        for name in os.listdir(it.path('daemons')):
            os.kill(int(name), signal.SIGKILL)
        self.assertEqual((code, it.exited()), (3, 3))
        self.assertLess(len(it.log.find(r'worker \d+ ended after')), 5)
        it.wait_for_log('err: .*pool x: its program ended, with status 0, and left processes '
                        'behind: it must stay in the foreground: no worker becomes ready')


class UsedUp(Case):
    """A worker that ends after max_requests is replaced, and says nothing about its generation."""

    ECHO = ('pool "x" { listen = { "systemd:x" } workers = %d umask = 0%d max_requests = %d '
            'min_ready_time = %d echo {} }\n')

    def reload(self, it, umask, *options):
        config = self.ECHO % (options[0], umask, *options[1:])
        it.write('control = "@DIR@/control"\n' + config)
        self.assertIn('reload done', self.tell(it, 'reload'))

    def test_first_worker(self):
        """All connections go to the first new worker, because the old one is busy."""
        it = self.start(self.ECHO % (1, 22, 1, 1))
        with it.connect('x') as held:
            client.echo(held, b'x')
            with client.Load(it.address('x'), 2) as load:
                for umask in (27, 77):
                    self.reload(it, umask, 1, 1, 1)
            self.assertEqual(load.failures, [])
            self.assertGreater(load.served, 4)
            self.assertEqual(client.echo(held, b'still'), b'still')
        self.assertFalse(it.log.find('degraded|warning: |err: '), it.log.lines[-20:])

    def test_later_workers(self):
        """The roll goes on."""
        it = self.start(self.ECHO % (6, 22, 1, 1))
        old = it.workers()
        with client.Load(it.address('x'), 8) as load:
            self.reload(it, 27, 6, 1, 1)
        self.assertEqual(load.failures, [])
        it.wait_for_workers(6, without=old)

    def test_before_it_was_seen_ready(self):
        it = self.start(self.ECHO % (2, 22, 1, 0))
        with client.Load(it.address('x'), 4) as load:
            for umask in [27, 77] * 10:
                self.reload(it, umask, 2, 1, 0)
        self.assertEqual(load.failures, [])

    def test_upgrade(self):
        it = self.make(self.ECHO % (1, 22, 3, 1)).own_program()
        it.launch().ready()
        with client.Load(it.address('x'), 4) as load:
            self.assertIn('upgraded', self.tell(it, 'upgrade'))
            served = load.served
            wait_until(lambda: load.served > served + 20, 'more load after it')
        self.assertEqual(load.failures, [])

    def test_a_lie(self):
        """One that ends as if it were used up, long before it is, has not stayed ready."""
        it = self.start(self.ECHO % (1, 22, 1000, 30))
        it.announce('err: ')
        old = it.workers()
        it.write('control = "@DIR@/control"\n' + self.ECHO % (1, 27, 1000, 30))
        asking = control.Caller(it.path('control'), 'reload')
        self.addCleanup(asking.connection.close)
        ready = wait_until(lambda: set(it.workers('x, idle')) - set(old), 'a new worker')
        os.kill(ready.pop(), signal.SIGTERM)
        it.wait_for_log(wording.REFUSED)
        self.assertEqual(it.workers(), old)


class Group(Case):
    """A program's process group gets graceful_timeout, whoever exits first."""

    def test_children_finish(self):
        """The parent exits at once on SIGTERM; a connection of its child is answered in full."""
        orders = {
            'restart': lambda it: self.tell(it, 'restart', 'x'),
            'reload': lambda it: it.reload('control = "@DIR@/control"\n' + self.config('nice = 1')),
            'scale': lambda it: self.tell(it, 'scale', 'x', '1'),
            'upgrade': lambda it: it.upgrade(),
            'drain': self.drain,
            'stop': lambda it: it.kill(signal.SIGTERM),
        }
        for word, order in orders.items():
            with self.subTest(word):
                self.children_finish(word, order)

    def config(self, options=''):
        return run([PYTHON, '-I', '-S', '-c', FORKING],
                   f'workers = 2 {options} graceful_timeout = 60 min_ready_time = 0\n')

    def drain(self, it):
        """Sends drain, but does not wait for connections in hand."""
        asking = control.Caller(it.path('control'), 'drain', 'x')
        self.addCleanup(asking.connection.close)

    def children_finish(self, word, order):
        it = self.make(self.config()).own_program()
        it.launch().ready()
        connections = {}
        with contextlib.ExitStack() as stack:
            for _ in range(100):  # one parent may be faster for a while
                connection = stack.enter_context(it.connect('x'))
                parent = b''
                while not parent.endswith(b' '):
                    parent += client.read_exactly(connection, 1)
                connections.setdefault(int(parent), connection)
                if len(connections) == 2:
                    break
            self.assertEqual(len(connections), 2)
            order(it)
            gone = 1 if word == 'scale' else 2
            wait_until(lambda: sum(not processes.alive(pid) for pid in connections) == gone,
                       'the end of the parents')
            for connection in connections.values():
                connection.sendall(b'x')
                self.assertEqual(client.read_all(connection), b'x' * 300000 + b'end', word)
        if word == 'stop':
            self.assertEqual(it.exited(), 0)
        self.assertFalse(it.log.find(wording.LEFT_GROUP))


class Stops(Case):
    """A roll continues only if new workers stay ready."""

    def test_new_ones_that_die_soon(self):
        """They become ready, but die within min_ready_time."""
        for more in ('', 'min_ready_time = 60'):
            it = self.start(run(['/bin/sleep', '1000'], 'workers = 6'))
            old = it.workers()
            it.announce('err: ')
            lines = it.reload('control = "@DIR@/control"\n'
                              + run([PYTHON, '-I', '-S', '-c', SHORT, '2'],
                                    f'workers = 6 {more}'), refused=True)
            reason = (r'exited with status 9, \d\.\d s after it was ready '
                      r'\(min_ready_time is \d+ s\).*: '
                      'its first worker did not become ready and stay so')
            self.assertTrue(any(re.search(reason, line) for line in lines), lines)
            self.assertEqual(it.workers(), old)
            self.assertEqual(self.pool(it)['state'], 'serving')

    def test_the_answer_has_the_reason(self):
        it = self.start(run(['/bin/sleep', '1000'], 'workers = 2'))
        it.announce('err: ')
        it.write('control = "@DIR@/control"\n'
                 + run([PYTHON, '-I', '-S', '-c', SHORT, '2'], 'workers = 2'))
        said = self.tell(it, 'reload', status=1)
        self.assertIn('exited with status 9', said)
        self.assertTrue(it.notices.find(r'(?m)^RELOADING=1'))
        wait_until(lambda: len(it.notices.find(r'(?m)^READY=1$')) == 2, 'READY=1 after the reload')

    SOME = ('import os,socket,sys,time\n'
            'n = int(os.environ["PREFORKD_SLOT"])\n'
            'bad = os.path.exists("@DIR@/bad") and n > 1\n'  # before the master can go on
            'bad = bad or os.path.exists("@DIR@/all")\n'
            's = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n'
            's.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"])\n'
            'if bad: time.sleep(0.7); sys.exit(9)\n'
            'time.sleep(1000)')
    SOON = 'ready = "notify"'

    def test_some_die_soon(self):
        """The first new workers stay, another one dies, twice: as many old workers go on as are
        missing beside those that stayed, and the same file again is another try. The restart of
        another pool is none."""
        it = self.make('')
        config = 'control = "@DIR@/control"\n' + run([PYTHON, '-I', '-S', '-c', self.SOME],
                                                     'umask = UMASK workers = 4 min_ready_time = 2',
                                                     self.SOON) + ECHO
        it.write(config.replace('UMASK', '022'))
        it.launch().ready()
        old = it.workers()
        it.put('bad', '')
        it.announce('err: ')
        it.write(config.replace('UMASK', '027'))
        said = self.tell(it, 'reload', status=1)
        self.assertRegex(said, r"reload failed: pool x: its program exited with status 9, .*: its "
                               r"new workers don't stay ready, the old ones go on")
        it.wait_for_log("err: pool x: .*: new workers don't stay ready, the old ones go on")
        it.wait_for_workers(5)
        self.assertEqual(len(set(it.workers()) & set(old)), 3)
        self.assertEqual(self.pool(it)['state'], 'degraded')
        self.assertIn('exited with status 9', self.pool(it)['trouble'])
        self.assertRegex(self.tell(it, 'status'), 'last reload: .*, failed: it is in force, but '
                                                  'pool x: its program exited with status 9')
        before = set(it.workers())
        it.put('all', '')
        self.assertNotIn('pool x', self.tell(it, 'restart', 'y'))
        os.unlink(it.path('all'))
        self.assertEqual(len(set(it.workers()) & before), 4)
        left = set(it.workers()) & set(old)
        it.announce('killed by signal 9', wording.BACKOFF)
        # an old worker that dies is replaced by a new one, if that works
        os.kill(min(left), signal.SIGKILL)
        it.wait_for_workers(5, without=[min(left)])
        os.unlink(it.path('bad'))
        self.assertIn('replaced: its old workers, which went on', self.tell(it, 'reload'))
        it.wait_for_workers(5, without=old)
        self.assertEqual(self.pool(it)['state'], 'serving')

    def test_upgrade(self):
        """The reload within the upgrade reports it."""
        it = self.make('').own_program()
        it.write('control = "@DIR@/control"\n'
                 + run([PYTHON, '-I', '-S', '-c', self.SOME], 'workers = 4 min_ready_time = 2',
                       self.SOON))
        it.launch().ready()
        it.put('bad', '')
        it.announce('err: ')
        said = self.tell(it, 'upgrade', status=1)
        self.assertIn('upgraded, but the reload failed: pool x: its program exited with status 9,',
                      said)
        os.unlink(it.path('bad'))
        self.tell(it, 'reload')

    def test_no_connection_is_lost(self):
        it = self.start(test_app.app('workers = 4', 'ready = "notify"', ['READY=1']))
        it.announce('err: ')
        with client.Asking(it.address('x'), 4, b'pid\n', rb'\d+\n') as asking:
            wait_until(lambda: asking.served > 50, 'a running load')
            it.reload('control = "@DIR@/control"\n'
                      + run([PYTHON, '-I', '-S', '-c', SHORT, '1.5'], 'workers = 4'), refused=True)
            served = asking.served
            wait_until(lambda: asking.served > served + 50, 'more load after it')
        self.assertEqual(asking.failures, [])


class Truth(Case):
    """No command succeeds while no worker is ready."""

    WORKS = ('#!/bin/sh\ntest -e @DIR@/bad && { echo no such luck >&2; exit 5; }\n'
             'exec sleep 1000\n')

    def start_program(self, options='workers = 2'):
        it = self.make(run(['@DIR@/program'], options))
        it.put('program', self.WORKS, mode=0o755)
        it.launch().ready()
        it.announce('err: ', 'respawned in', 'killed by signal 9')
        return it

    def test_resume(self):
        it = self.start_program()
        self.tell(it, 'drain', 'x')
        it.put('bad', '')
        said = self.tell(it, 'resume', 'x', status=1)
        self.assertIn('pool x: its program exited before it was ready: no such luck: no worker '
                      'becomes ready', said)

    def test_scale(self):
        it = self.start_program()
        it.put('bad', '')
        for pid in it.workers():
            os.kill(pid, signal.SIGKILL)
        said = self.tell(it, 'scale', 'x', '3', status=1)
        self.assertIn('no such luck: no worker becomes ready', said)
        os.unlink(it.path('bad'))
        wait_until(lambda: self.pool(it)['state'] == 'serving', 'ready workers',
                   timeout=30)
        self.assertEqual(self.tell(it, 'scale', 'x', '2'),
                         'pool x: 3 to 2 workers, until the next reload\n')

    def test_resize(self):
        """The reload only resizes a pool that has no worker left."""
        it = self.start_program()
        it.put('bad', '')
        for pid in it.workers():
            os.kill(pid, signal.SIGKILL)
        it.write('control = "@DIR@/control"\n' + run(['@DIR@/program'], 'workers = 3'))
        said = self.tell(it, 'reload', status=1)
        self.assertIn('reload failed: pool x: its program exited before it was ready: no such '
                      'luck: no worker becomes ready', said)
        wait_until(lambda: len(it.notices.find(r'(?m)^READY=1$')) == 2, 'READY=1 after the reload')


class DiesSlowly(Case):
    """A pool whose workers live long enough not to be delayed, and never for min_ready_time."""

    PROGRAM = ('import os,socket,sys,time\n'
               'socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(\n'
               '    b"READY=1", os.environ["NOTIFY_SOCKET"])\n'
               'time.sleep(1.3 if os.path.exists("@DIR@/bad") else 1000); sys.exit(9)')

    def test_commands_are_answered(self):
        """Those to another pool wait for none of it; those to the pool itself, for two tries."""
        it = self.start(run([PYTHON, '-I', '-S', '-c', self.PROGRAM], 'workers = 1',
                            'ready = "notify"')
                        + ECHO)
        it.announce('exited with status 9', 'killed by signal 9', 'err: ')
        it.put('bad', '')
        for pid in it.workers():
            os.kill(pid, signal.SIGKILL)
        it.wait_for_log('exited with status 9')
        self.assertIn('reload done', self.tell(it, 'reload'))
        self.assertIn('restart done', self.tell(it, 'restart', 'y'))
        self.assertIn('exited with status 9', self.tell(it, 'scale', 'x', '2', status=1))


class StartFails(Case):
    """The start fails because of one pool."""

    def test_connections_of_the_others_end_well(self):
        it = self.make(run([PYTHON, '-I', '-S', '-c', 'import time; time.sleep(1000)'],
                           'workers = 1 ready_timeout = 2', 'ready = "notify"')
                       + ECHO
                       + 'pool "idle" { listen = { "systemd:idle" } workers = 1 echo {} }\n'
                       + daemon.shell('echo held; read x; echo whole').replace('"x"', '"z"')
                       .replace('systemd:x', 'systemd:z'))
        it.announce('err: ', 'warning: ', 'killed by signal')
        it.launch()
        with it.connect('y') as echo, it.connect('z') as shell:
            self.assertEqual(client.echo(echo, b'x'), b'x')
            self.assertEqual(client.read_exactly(shell, 5), b'held\n')
            it.wait_for_log('err: .*: pool x: .*no worker becomes ready')
            it.wait_for_log(wording.STOPPING)
            it.wait_for_log(r'pool idle: worker \d+ ended')  # logged when the others were
            self.assertEqual(client.echo(echo, b'still'), b'still')
            shell.sendall(b'x\n')
            self.assertEqual(client.read_all(shell), b'whole\n')
        self.assertEqual(it.exited(), 3)


if __name__ == '__main__':
    daemon.main()
