"""A size that follows the load: it grows in time, and shrinks without dropping connections."""

import contextlib
import os
import random
import signal
import threading
import time

import board
import client
import control
import daemon
import processes
import wording
from processes import wait_until

ECHO = 'pool "echo" { listen = { "systemd:echo" } %s\necho {} }\n'
FULL = r'warning: pool echo: full for .* pool=echo workers=(\d+) .*queue=(\d+)'


def hold(it, count, name='echo'):
    """Makes all connections before it asks any for an answer."""
    held = [it.connect(name) for _ in range(count)]
    for connection in held:
        it.case.addCleanup(connection.close)
    for number, connection in enumerate(held):
        connection.sendall(b'%05d' % number)
    return held


def hold_unseen(it, count):
    """Makes connections while the master is stopped, so that it finds them all waiting."""
    with it.paused():
        return hold(it, count)


def answers(it, held):
    for number, connection in enumerate(held):
        it.case.assertEqual(client.read_exactly(connection, 5), b'%05d' % number)


def close(held):
    for connection in held:
        connection.close()


def gone(it):
    wait_until(lambda: not it.workers(), lambda: f'no worker; there are {it.workers()}')


class Growth(daemon.Case):
    def test_burst(self):
        """Two hundred connections for a pool of four: each is answered while all are held."""
        it = self.start(ECHO % 'min_workers = 4 max_workers = 256')
        it.same_descriptors = True
        self.assertEqual(len(it.workers()), 4)
        held = hold(it, 200)
        answers(it, held)
        self.assertGreaterEqual(len(it.workers()), 200)
        close(held)
        it.wait_for_workers(4)

    def test_burst_of_waiting_in_epoll(self):
        it = self.start('pool "echo" { listen = { "systemd:echo", "systemd:other" }\n'
                        'min_workers = 2 max_workers = 64 spare_timeout = 1 echo {} }\n')
        held = hold(it, 30) + hold(it, 30, 'other')
        for number, connection in enumerate(held):
            self.assertEqual(client.read_exactly(connection, 5), b'%05d' % (number % 30))
        close(held)
        it.wait_for_workers(2)

    def test_begins_with_what_is_asked(self):
        for options, count in (('max_workers = 9', 1), ('max_workers = 9 min_spare = 3', 3),
                               ('max_workers = 9 min_workers = 5', 5),
                               ('max_workers = 1', 1), ('max_workers = 9 min_workers = 0', 0)):
            with self.subTest(options):
                it = self.start(ECHO % options)
                self.assertEqual(len(it.workers()), count)
                self.assertEqual(client.ask(it.address('echo'), b'hello'), b'hello')
                it.stop()

    def test_min_spare_is_kept_free(self):
        it = self.start(ECHO % 'max_workers = 64 min_spare = 3')
        held = []
        for busy in range(1, 20):
            held += it.occupy('echo', 1)
            wait_until(lambda: len(it.workers()) >= busy + 3,
                       lambda: f'{busy + 3} workers, there are {len(it.workers())}')
        close(held)

    def test_never_above_max_workers(self):
        it = self.start(ECHO % 'max_workers = 5')
        it.announce(FULL)
        held = hold_unseen(it, 12)
        answers(it, held[:5])
        self.assertEqual(wording.field(it.wait_for_log(FULL).string, 'queue'), '7')
        self.assertEqual(len(it.workers()), 5)
        more = held[10:]
        close(held[:10])
        it.wait_for_log('notice: pool echo: no longer full')
        self.assertLessEqual(len(it.workers()), 5)
        close(more)

    def test_full_on_unix_socket(self):
        it = self.start('pool "echo" { listen = { "unix:@DIR@/echo" } max_workers = 3 echo {} }\n')
        it.announce(FULL)
        it.addresses['echo'] = it.path('echo')
        held = hold_unseen(it, 8)
        self.assertEqual(wording.field(it.wait_for_log(FULL).string, 'queue'), '5')
        close(held)

    def test_last_seats_taken_together(self):
        """Three clients in lockstep, on a new pool of two workers each time. If each worker thought
        that the other one was free, neither would wake the master, and the third client would wait
        forever."""
        pools = 80
        it = self.start(''.join(f'pool "p{n}" {{ listen = {{ "systemd:p{n}" }} min_workers = 2\n'
                                'max_workers = 3 echo {} }\n' for n in range(pools)))
        it.announce(FULL.replace('echo', r'p\d+'))
        barrier = threading.Barrier(3)
        problems = []

        def run():
            try:
                for number in range(pools):
                    barrier.wait(daemon.PATIENCE)
                    with it.connect(f'p{number}') as connection:
                        client.echo(connection, b'x')
                        barrier.wait(daemon.PATIENCE)  # all three are answered at the same time
            except (OSError, EOFError, threading.BrokenBarrierError) as error:
                problems.append(repr(error))
                barrier.abort()
        threads = [threading.Thread(target=run) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(problems, [])

    def test_every_ring_counts(self):
        """One more connection at a time, each held, up to the maximum; with a new pool each
        time."""
        it = self.start(''.join(f'pool "p{n}" {{ listen = {{ "systemd:p{n}" }} max_workers = 12\n'
                                'echo {} }\n' for n in range(8)))
        it.announce(FULL.replace('echo', r'p\d'))
        for number in range(8):
            it.occupy(f'p{number}', 12)

    def test_workers_killed_while_it_grows(self):
        it = self.start(ECHO % 'min_workers = 2 max_workers = 64')
        it.announce('killed by signal 9', wording.BACKOFF)
        choose = random.Random(3)
        first = set(it.workers())
        held = hold(it, 40)
        killed = []
        while len(killed) < 10:
            workers = sorted(set(it.workers()) - first)
            if workers:
                # the previous victim may just have been reaped
                with contextlib.suppress(ProcessLookupError):
                    it.kill(signal.SIGKILL, victim := choose.choice(workers))
                    killed.append(victim)
        lost = 0
        for connection in held:
            try:
                client.read_exactly(connection, 5)
            except (EOFError, ConnectionResetError):
                lost += 1
        self.assertLessEqual(lost, len(killed))
        wait_until(lambda: not any(map(processes.alive, killed)), 'the end of the killed workers')
        self.assertEqual(client.ask(it.address('echo'), b'still'), b'still')


class Shrinking(daemon.Case):
    def test_not_below_min_spare(self):
        it = self.start(ECHO % 'max_workers = 64 min_spare = 2 max_spare = 5 spare_timeout = 1')
        held = it.occupy('echo', 20)
        close(held)
        it.wait_for_workers(2)
        self.assertEqual(client.ask(it.address('echo'), b'still'), b'still')

    def test_not_below_min_workers(self):
        it = self.start(ECHO % 'min_workers = 6 max_workers = 64 max_spare = 6 spare_timeout = 1')
        close(it.occupy('echo', 30))
        it.wait_for_workers(6)
        self.assertEqual(client.ask(it.address('echo'), b'still'), b'still')

    def test_first_beyond_max_spare(self):
        it = self.start(ECHO % 'max_workers = 64 max_spare = 4 spare_timeout = 3600')
        held = it.occupy('echo', 20)
        close(held)
        it.wait_for_workers(4)

    def test_drops_nobody(self):
        """Bursts of held connections, while the pool keeps shrinking."""
        it = self.start(ECHO % 'min_workers = 1 max_workers = 48 max_spare = 1 spare_timeout = 1')
        it.announce(FULL)
        with client.Load(it.address('echo'), 4) as load:
            for _ in range(4):
                held = hold(it, 30)
                answers(it, held)
                most = len(it.workers())
                close(held)
                wait_until(lambda: len(it.workers()) < most // 2, 'half of the workers')
        self.assertEqual(load.failures, [])

    def test_busy_ones_stay(self):
        it = self.start(ECHO % 'max_workers = 64 max_spare = 1 spare_timeout = 1')
        held = it.occupy('echo', 20)
        close(held[5:])
        it.wait_for_workers(6)
        for connection in held[:5]:
            self.assertEqual(client.echo(connection, b'goes on'), b'goes on')

    def test_comes_to_rest(self):
        """When the pool can't shrink further, the master sleeps."""
        it = self.start(ECHO % 'min_workers = 2 max_workers = 64 max_spare = 2 spare_timeout = 1')
        close(it.occupy('echo', 9))
        it.wait_for_workers(2)
        wait_until(lambda: processes.sleeps(it.pid), 'a master at rest')

        def switches():
            shown = processes.status(it.pid)
            return int(shown['voluntary_ctxt_switches'])
        before, since = switches(), time.monotonic()

        def still():
            nonlocal before, since
            if switches() != before:
                before, since = switches(), time.monotonic()
            return time.monotonic() > since + 2.5  # it looked each second while it could shrink
        wait_until(still, 'a master that stays asleep')


class Nobody(daemon.Case):
    """min_workers = 0."""
    CONFIG = ECHO % 'min_workers = 0 max_workers = 8 spare_timeout = 1'

    def test_first_connection_is_served(self):
        it = self.start(self.CONFIG)
        it.same_descriptors = True
        for _ in range(3):
            gone(it)
            self.assertEqual(client.ask(it.address('echo'), b'hello'), b'hello')
        gone(it)

    def test_many_at_once(self):
        it = self.start(self.CONFIG)
        it.announce(FULL)
        held = hold(it, 8)
        answers(it, held)
        self.assertEqual(len(it.workers()), 8)
        close(held)
        gone(it)

    def test_several_listeners(self):
        it = self.start('pool "echo" { listen = { "systemd:a", "systemd:b", "unix:@DIR@/c" }\n'
                        'min_workers = 0 max_workers = 8 spare_timeout = 1 echo {} }\n')
        for address in (it.address('b'), it.path('c'), it.address('a')):
            gone(it)
            self.assertEqual(client.ask(address, b'hello'), b'hello')

    def test_worker_that_is_killed(self):
        it = self.start(self.CONFIG)
        it.announce('killed by signal 9')
        for _ in range(3):
            held, = it.occupy('echo', 1)
            for pid in it.workers():
                it.kill(signal.SIGKILL, pid)
                wait_until(lambda: not processes.alive(pid), 'its end')
            held.close()
        self.assertEqual(client.ask(it.address('echo'), b'hello'), b'hello')
        gone(it)

    def test_reload_and_stop_while_nobody_is_there(self):
        it = self.start(self.CONFIG)
        it.reload(self.CONFIG)
        it.reload(self.CONFIG.replace('max_workers = 8', 'max_workers = 8 max_requests = 9'))
        self.assertEqual(client.ask(it.address('echo'), b'hello'), b'hello')
        gone(it)
        it.stop()

    def test_drained_pool_watches_nothing(self):
        it = self.start(self.CONFIG)
        it.kill(signal.SIGWINCH)
        wait_until(lambda: not it.workers(), 'no worker')
        waiting = it.connect('echo')
        waiting.sendall(b'later')
        busy = processes.cpu_seconds(it.pid)
        it.kill(signal.SIGUSR1)
        it.wait_for_log('pool=echo state=drained')
        self.assertEqual(it.workers(), [])
        it.reload()
        self.assertEqual(client.read_exactly(waiting, 5), b'later')
        self.assertLess(processes.cpu_seconds(it.pid) - busy, 2)
        waiting.close()


class Reloads(daemon.Case):
    def test_resizing_replaces_nobody(self):
        """From a fixed size to one that follows the load, and back: the workers stay."""
        it = self.start(ECHO % 'workers = 3')
        first = it.workers()
        log = it.reload(ECHO % 'min_workers = 3 max_workers = 32')
        self.assertTrue([line for line in log if 'pool echo: resized 3 to 3...32' in line], log)
        self.assertEqual(it.workers(), first)
        held = hold(it, 20)
        answers(it, held)
        self.assertLessEqual(set(first), set(it.workers()))
        it.reload(ECHO % 'workers = 4')
        for connection in held:
            self.assertEqual(client.echo(connection, b'goes on'), b'goes on')
        close(held)
        it.wait_for_workers(4)

    def test_replacing_a_pool_that_has_grown(self):
        options = 'min_workers = 2 max_workers = 64 spare_timeout = 1'
        it = self.start(ECHO % options)
        held = it.occupy('echo', 20)
        old = it.workers()
        it.reload(ECHO % f'{options} max_requests = 1000')
        for connection in held:
            self.assertEqual(client.echo(connection, b'goes on'), b'goes on')
        more = hold(it, 20)
        answers(it, more)
        close(held)
        wait_until(lambda: not set(old) & set(it.workers()), 'the end of the old workers')
        close(more)
        it.wait_for_workers(2)

    def test_signals_resize_fixed_pools_alone(self):
        it = self.start(ECHO % 'min_workers = 2 max_workers = 8' +
                        'pool "fixed" { listen = { "systemd:fixed" } workers = 2 echo {} }\n')
        it.kill(signal.SIGTTIN)
        it.wait_for_workers(3, pool='fixed')
        self.assertEqual(len(it.workers('echo')), 2)

    def test_big_pools_change_how_they_wait(self):
        """Beyond some size workers wait in epoll; a resize leaves the existing ones alone."""
        it = self.start(ECHO % 'workers = 2')
        for size in ('workers = 250', 'workers = 3', 'workers = 250\nmax_requests = 100000',
                     'workers = 2\nmax_requests = 100000', 'workers = 2'):
            with client.Load(it.address('echo'), 4) as load:
                it.reload(ECHO % size)
                it.wait_for_workers(int(size.split()[2]))
                before = load.served
                wait_until(lambda: load.served > before + 50, 'more load')
            self.assertEqual(load.failures, [], size)


class Faults(daemon.Case):
    def begin(self, config):
        return self.make(config).with_failing_calls().launch().ready()

    def fork_fails(self, it):
        """Checks that fork() is retried, half a second apart, for one or two workers at a time."""
        def attempts():
            return os.stat(it.path('FORK')).st_size
        wait_until(attempts, 'a failed fork')
        since, before = time.monotonic(), attempts()
        wait_until(lambda: attempts() > before + 4, 'further attempts')
        self.assertGreater(time.monotonic() - since, 0.9)
        it.wait_for_log("err: pool echo: can't fork a worker: Resource temporarily unavailable")

    def test_fork_fails_while_it_grows(self):
        it = self.begin(ECHO % f'min_workers = 2 max_workers = 32 {daemon.UNLISTED}')
        it.announce("can't fork a worker")
        it.put('FORK', '')
        held = hold(it, 12)
        self.fork_fails(it)
        it.kill(signal.SIGUSR1)
        it.wait_for_log('pool=echo state=')
        self.assertEqual(len(it.workers()), 2)
        os.unlink(it.path('FORK'))
        answers(it, held)
        close(held)

    def test_fork_fails_in_a_pool_that_is_resumed(self):
        """The status and the command say why nobody serves."""
        it = self.begin('control = "@DIR@/control"\n' + ECHO % f'workers = 1 {daemon.UNLISTED}')
        it.announce("can't fork a worker")
        self.assertEqual(control.run(it, 'drain').returncode, 0)
        it.put('FORK', '')
        why = "can't fork a worker: Resource temporarily unavailable"
        resumed = control.run(it, 'resume')
        self.assertEqual(resumed.returncode, 1)
        self.assertIn(f'pool echo: {why}: no worker becomes ready', resumed.stderr)
        board.wait_for_pool(it, ready=0, state='starting', trouble=why)
        os.unlink(it.path('FORK'))
        board.wait_for_pool(it, ready=1, state='serving', trouble=None)
        self.assertEqual(client.ask(it.address('echo'), b'x'), b'x')

    def test_fork_fails_while_nobody_is_there(self):
        it = self.begin(ECHO % f'min_workers = 0 max_workers = 32 {daemon.UNLISTED}')
        it.announce("can't fork a worker")
        it.put('FORK', '')
        held = hold(it, 2)
        self.fork_fails(it)
        it.kill(signal.SIGUSR1)
        it.wait_for_log('pool=echo state=')
        os.unlink(it.path('FORK'))
        answers(it, held)
        close(held)

    def test_accept_fails_for_a_while(self):
        """Workers don't spin, and the pool doesn't grow: seats are not what is missing."""
        it = self.begin(ECHO % f'min_workers = 2 max_workers = 32 {daemon.UNLISTED}')
        it.announce("can't accept connections for now: Too many open files")
        it.put('ACCEPT', '')
        held = hold(it, 3)
        it.wait_for_log("can't accept connections")
        self.assertLessEqual(len(it.workers()), 4)  # two were in accept() before it failed
        os.unlink(it.path('ACCEPT'))
        answers(it, held)
        close(held)


if __name__ == '__main__':
    daemon.main()
