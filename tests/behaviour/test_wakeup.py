"""A connection wakes one worker. Whatever happens to that worker, another one serves the
connection."""

import contextlib
import os
import resource
import signal

import board
import client
import control
import daemon
import processes
import wording
from processes import wait_until
from test_app import PYTHON

POLLING = ('control = "@DIR@/control"\n'
           'pool "echo" {{ listen = {{ "systemd:echo", "unix:@DIR@/echo" }} {}\n'
           + daemon.UNLISTED + '\necho {{}} }}\n')
BLOCKING = 'pool "echo" {{ listen = {{ {} }} workers = 3 {}\necho {{}} }}\n'
OWN_USER = 'user = "root"' if daemon.ROOT else ''  # so that its limits can be set
# Says that it is ready once the file `go` exists, so a reload that adds it waits for that.
GATE = ('import os,socket,time\n'
        'while not os.path.exists("@DIR@/go"): time.sleep(0.01)\n'
        's = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n'
        's.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"])\n'
        'time.sleep(1000)')
SHORT = r"warning: pool echo: can't accept connections for now: Too many open files"


class Case(daemon.Case):
    def begin(self, options='workers = 2'):
        it = self.make(POLLING.format(options)).with_failing_calls().own_program()
        it.launch().ready()
        it.addresses['unix'] = it.path('echo')
        self.order(it)  # each worker has reported READY, and waits
        self.order(it)
        return it

    def order(self, it):
        """Orders the workers: the one to be woken first has been idle longest, so it is also the
        first to retire. The first in the queue is woken first, but one that is not asleep is passed
        over, and if two are woken at once, either may accept first."""
        wait_until(lambda: all(map(processes.polls, it.workers())), 'workers in epoll_wait()')
        held = [it.occupy('echo', 1)[0] for _ in it.workers()]
        for connection in held:
            busy = self.busy(it)
            connection.close()
            wait_until(lambda: len(self.busy(it)) < len(busy), 'an idle worker')
            pid, = set(busy) - set(self.busy(it))
            wait_until(lambda: processes.sleeps(pid), 'a waiting worker')

    def busy(self, it):
        return [pid for pid in it.workers() if processes.title(pid).endswith('busy')]

    def wake(self, it, name='echo'):
        """Makes a connection; returns it and the worker that it woke, which has not accepted it
        yet."""
        it.put('WAKEUP', '', mode=0o666)
        waiting = it.connect(name)
        self.addCleanup(waiting.close)
        waiting.sendall(b'hello')

        def woken():
            with open(it.path('WAKEUP'), encoding='ascii') as file:
                text = file.read()
            return int(text) if text.endswith('\n') else None
        return waiting, wait_until(woken, 'a woken worker')

    def release(self, it, told=()):
        """Lets the worker go on; `told`: once these workers have been told to finish, which the
        log says before the master does it."""
        for pid in told:
            wait_until(lambda pid=pid: processes.accepts_no_more(pid), f'{pid} without listeners')
        os.unlink(it.path('WAKEUP'))

    def assertServed(self, waiting):
        self.assertEqual(client.read_exactly(waiting, 5), b'hello')


class Born(daemon.Case):
    def test_told_to_finish_before_it_waits(self):
        """The worker exits with status 0, wherever the signal finds it."""
        for _ in range(10):
            it = self.start(POLLING.format('workers = 2'))
            asking = control.Caller(it.path('control'), 'scale', 'echo', '100')
            self.addCleanup(asking.leave)
            wait_until(lambda it=it: len(it.workers()) > 10, 'more than 10 workers')
            it.kill(signal.SIGTERM)
            self.assertEqual(it.exited(), 0)
            self.assertFalse(it.log.find(' err: '))


class InHand(Case):
    """One worker was woken for a connection, and has not accepted it yet; another one is idle."""

    def test_serves(self):
        it = self.begin()
        waiting, _ = self.wake(it)
        self.release(it)
        self.assertServed(waiting)

    def test_shrinks(self):
        for name in ('echo', 'unix'):
            with self.subTest(name):
                it = self.begin()
                waiting, pid = self.wake(it, name)
                it.kill(signal.SIGTTOU)
                it.wait_for_log('1 worker|workers=1')
                self.release(it, [pid])
                self.assertServed(waiting)
                self.assertNotIn(pid, it.wait_for_workers(1))

    def test_scaled(self):
        it = self.begin()
        waiting, pid = self.wake(it)
        self.assertEqual(control.ask(it, 'scale', 'echo', '1').status, 0)
        self.release(it, [pid])
        self.assertServed(waiting)
        self.assertNotIn(pid, it.wait_for_workers(1))

    def test_told_to_finish_while_another_thread_serves(self):
        """The worker ends only with that other connection, so its death comes too late."""
        it = self.make(POLLING.format('workers = 3 model = "thread" threads = 2\n'
                                     'graceful_timeout = 600'))
        it.with_failing_calls().launch().ready()
        it.announce("can't fork")

        def serves(pid):
            return sum(worker['busy'] for worker in board.pool(it, 'echo')['workers']
                       if worker['pid'] == pid)
        for attempt in range(30):  # who is woken goes by turns
            held = it.occupy('echo', 1 + attempt % 3)
            waiting, pid = self.wake(it)
            if serves(pid):
                break
            self.release(it)
            self.assertServed(waiting)
            for connection in (*held, waiting):
                connection.close()
            board.wait_for_pool(it, 'echo', busy=0)
        self.assertEqual(serves(pid), 1)
        it.put('FORK', '')
        it.kill(signal.SIGTERM, pid)
        self.release(it, [pid])
        self.assertServed(waiting)
        os.unlink(it.path('FORK'))

    def test_told_to_finish_by_somebody(self):
        it = self.begin()
        waiting, pid = self.wake(it)
        it.put('FORK', '')
        it.announce("can't fork")
        it.kill(signal.SIGTERM, pid)
        self.release(it, [pid])
        self.assertServed(waiting)
        os.unlink(it.path('FORK'))

    def killed(self, number):
        """No replacement can start meanwhile, which would see the connection at once."""
        it = self.begin()
        it.announce('killed by signal|ended at once', "can't fork", wording.BACKOFF)
        waiting, pid = self.wake(it)
        it.put('FORK', '')
        it.kill(number, pid)
        self.assertServed(waiting)
        self.assertEqual(len(it.workers()), 1)
        os.unlink(it.path('FORK'))
        self.release(it)

    def test_killed(self):
        self.killed(signal.SIGKILL)

    def test_killed_after_an_upgrade(self):
        """The listener belongs to another pool by then, all of whose workers wait already."""
        it = self.begin()
        it.same_descriptors = False
        it.announce('killed by signal')
        before, log = it.workers(), it.mark()
        pool = 'pool "%s" { listen = { %s } workers = 1 %s\n' + daemon.UNLISTED + '\necho {} }\n'
        it.write(pool % ('echo', '"unix:@DIR@/new"', '') +
                 pool % ('other', '"systemd:echo", "unix:@DIR@/echo"', 'min_ready_time = 6'))
        it.kill(signal.SIGUSR2)
        it.wait_for_log('takes over from', log)
        wait_until(lambda: [pid for pid in it.workers('other') if processes.polls(pid)],
                   'a new worker in epoll_wait()')
        waiting, pid = self.wake(it)
        self.assertIn(pid, before)
        it.wait_for_log('pool other: added', log)
        it.kill(signal.SIGKILL, pid)
        self.assertServed(waiting)
        self.release(it)

    def test_killed_while_no_file_is_in_force(self):
        """The file breaks in an upgrade, after its trial."""
        it = self.begin()
        it.put('preforkd', f'#!/bin/sh\n[ "$1" = -t ] || exec {daemon.BINARY} "$@"\n'
               f'{daemon.BINARY} "$@" && echo nonsense >>$3', mode=0o755)
        it.announce('killed by signal', 'err: reload', 'err: upgraded .* not in force')
        log = it.mark()
        it.kill(signal.SIGUSR2)
        it.wait_for_log('not in force', log)
        waiting, pid = self.wake(it)
        it.kill(signal.SIGKILL, pid)
        self.assertServed(waiting)
        self.release(it)

    def test_crashes(self):
        self.killed(signal.SIGSEGV)

    def test_told_to_end_at_once(self):
        self.killed(signal.SIGQUIT)

    def test_stopped(self):
        """Stopped as by a terminal: when it continues, it finds nothing to do."""
        it = self.begin()
        waiting, pid = self.wake(it)
        it.kill(signal.SIGSTOP, pid)
        self.release(it)
        try:
            self.assertServed(waiting)
            waiting.close()
            self.assertEqual(client.ask(it.address('echo'), b'others'), b'others')
        finally:
            it.kill(signal.SIGCONT, pid)
        self.assertEqual(client.ask(it.address('echo'), b'again'), b'again')

    def test_reload_to_one_listener(self):
        """The new generation waits in accept(), where no eventfd reaches it."""
        it = self.begin()
        waiting, _ = self.wake(it)
        log = it.mark()
        it.write(BLOCKING.format('"systemd:echo"', daemon.UNLISTED))
        it.kill(signal.SIGHUP)
        it.wait_for_log(wording.RELOADED, log)
        self.release(it)
        self.assertServed(waiting)
        it.wait_for_workers(3)
        for _ in range(6):
            self.assertEqual(client.ask(it.address('echo'), b'x'), b'x')

    def test_all_are_retired(self):
        """The pool is drained: the connection waits, and the first worker after the resume serves
        it."""
        it = self.begin()
        waiting, pid = self.wake(it)
        it.kill(signal.SIGWINCH)
        it.wait_for_workers(1)  # the idle one has ended
        self.release(it, [pid])
        wait_until(lambda: not it.workers(), 'no worker')
        it.reload()
        self.assertServed(waiting)


class Moves(Case):
    """A reload gives the listener to another pool, of which one worker waits there already. A
    worker of one pool was woken for a connection, and does not end soon; one of the other pool is
    idle."""

    def move(self, it, options='', threads=1):
        """Begins the reload, which goes on with `go`. Returns its first worker."""
        gate = GATE.replace('"', '\\"')
        it.write('control = "@DIR@/control"\n'
                 'pool "gate" { listen = { "unix:@DIR@/gate" } workers = 1 min_ready_time = 0\n'
                 f'app {{ command = {{ "{PYTHON}", "-I", "-S", "-c", "{gate}" }}\n'
                 'ready = "notify" } ready_timeout = 600 }\n'
                 'pool "other" { listen = { "systemd:echo", "unix:@DIR@/echo" } workers = 1\n'
                 f'{options} {daemon.UNLISTED}\necho {{}} }}\n')
        it.kill(signal.SIGHUP)
        return self.wait_for_idle(it, 'other', threads=threads)

    def wait_for_idle(self, it, pool, without=(), threads=1):
        """Waits for a worker with so many threads in epoll_wait()."""
        def polls(pid):
            return sum(map(processes.polls, os.listdir(f'/proc/{pid}/task'))) == threads
        return wait_until(lambda: [pid for pid in it.workers(pool)
                                   if pid not in without and polls(pid)],
                          'a worker in epoll_wait()')[0]

    def wake_canary(self, it, canary, busy):
        """The old workers are busy, and one more, which is idle, has come after the canary."""
        scale = control.Caller(it.path('control'), 'scale', 'echo', str(len(busy) + 1))
        self.addCleanup(scale.leave)
        self.wait_for_idle(it, 'echo', busy)
        waiting, pid = self.wake(it)
        self.assertEqual(pid, canary)
        return waiting

    @contextlib.contextmanager
    def stopped(self, it, pid):
        it.kill(signal.SIGSTOP, pid)
        try:
            wait_until(lambda: processes.stat(pid)[0] == 'T', 'a stopped worker')
            yield
        finally:
            it.kill(signal.SIGCONT, pid)

    def test_old_one_is_stopped(self):
        """The others of its pool are busy, and are told to finish."""
        it = self.begin()
        it.occupy('echo', 1)
        self.move(it)
        waiting, pid = self.wake(it)
        self.assertIn(pid, it.workers('echo, idle'))
        with self.stopped(it, pid):
            wait_until(lambda: processes.sleeps(it.pid), 'a master at rest')
            it.put('go', '')
            self.assertServed(waiting)
            self.release(it)

    def test_new_one_is_stopped(self):
        it = self.begin()
        it.occupy('echo', 2)
        old = it.workers()
        canary = self.move(it)
        waiting = self.wake_canary(it, canary, old)
        with self.stopped(it, canary):
            self.assertServed(waiting)
            self.release(it)

    def test_new_one_leaves(self):
        """It serves another connection, so it does not end."""
        it = self.begin()
        it.announce('err: reload')
        it.occupy('echo', 2)
        old = it.workers()
        canary = self.move(it, 'model = "thread" threads = 2', threads=2)
        it.occupy('echo', 1)
        waiting = self.wake_canary(it, canary, old)
        it.kill(signal.SIGTERM, canary)
        self.release(it, [canary])
        self.assertServed(waiting)


class Short(Case):
    """A worker that can't accept."""

    def limit(self, pid, most):
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (most, most))

    def first_woken(self, it):
        waiting, pid = self.wake(it)
        self.release(it)
        self.assertServed(waiting)
        waiting.close()
        wait_until(lambda: not self.busy(it), 'an idle worker')
        return pid

    def test_one_of_several(self):
        it = self.begin('workers = 3 ' + OWN_USER)
        it.announce(SHORT)
        self.limit(self.first_woken(it), 3)
        for _ in range(20):
            for name in ('echo', 'unix'):
                self.assertEqual(client.ask(it.address(name), b'hello'), b'hello')

    def test_recovers(self):
        it = self.begin('workers = 1 ' + OWN_USER)
        it.announce(SHORT)
        pid, = it.workers()
        _, most = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, most))
        waiting = it.connect('unix')
        waiting.sendall(b'hello')
        it.wait_for_log(SHORT)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (most, most))
        self.assertServed(waiting)
        waiting.close()
        for name in ('echo', 'unix'):
            self.assertEqual(client.ask(it.address(name), b'hello'), b'hello')
        self.assertEqual(it.workers(), [pid])

    def test_for_good(self):
        """The worker is replaced: no other worker has its limit."""
        for config in (POLLING.format('workers = 1 ' + OWN_USER),
                       BLOCKING.format('"systemd:echo"', OWN_USER).replace('3', '1')):
            with self.subTest(config):
                it = self.start(config)
                it.announce(SHORT, "can't accept connections any more")
                pid, = it.workers()
                self.limit(pid, 3)
                waiting = it.connect('echo')
                waiting.sendall(b'hello')
                self.assertServed(waiting)
                if pid in it.workers():
                    waiting.close()  # it was in accept() when its limit fell: the next call fails
                    waiting = it.connect('echo')
                    waiting.sendall(b'hello')
                    self.assertServed(waiting)
                it.wait_for_log(rf"worker {pid} couldn't accept")
                self.assertNotIn(pid, it.workers())
                waiting.close()

    def test_in_accept(self):
        it = self.start(BLOCKING.format('"unix:@DIR@/echo"', OWN_USER))
        it.announce(SHORT)
        self.limit(it.workers()[0], 3)
        for _ in range(20):
            self.assertEqual(client.ask(it.path('echo'), b'hello'), b'hello')

    def test_all_of_them(self):
        """They don't keep waking each other; once they can accept, they do."""
        it = self.begin('workers = 8')
        it.announce(SHORT)
        it.put('ACCEPT', '')
        held = [it.connect(name) for name in ('echo', 'unix') * 3]
        for waiting in held:
            self.addCleanup(waiting.close)
            waiting.sendall(b'hello')
        wait_until(lambda: len(it.log.find(SHORT)) == 8, 'eight failures')

        def switches():
            return sum(int(processes.status(pid)['voluntary_ctxt_switches'])
                       for pid in [it.pid, *it.workers()])
        before = switches()
        with contextlib.suppress(TimeoutError):
            held[0].settimeout(3)
            held[0].recv(1)
        self.assertLess(switches() - before, 400)  # of 9 processes, in 3 s
        os.unlink(it.path('ACCEPT'))
        held[0].settimeout(daemon.PATIENCE)
        for waiting in held:
            self.assertServed(waiting)


class Called(Case):
    """The signal by which the master makes a worker look, whoever sends it."""

    def test_harms_nobody(self):
        for config in (POLLING.format('workers = 3'), BLOCKING.format('"systemd:echo"', '')):
            with self.subTest(config):
                it = self.start(config)
                held, = it.occupy('echo', 1)
                workers = it.workers()
                for _ in range(200):
                    for pid in workers:
                        it.kill(signal.SIGURG, pid)
                self.assertEqual(client.echo(held, b'goes on'), b'goes on')
                for _ in range(10):
                    self.assertEqual(client.ask(it.address('echo'), b'x'), b'x')
                self.assertEqual(it.workers(), workers)
                held.close()


if __name__ == '__main__':
    daemon.main()
