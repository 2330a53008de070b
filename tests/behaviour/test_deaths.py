"""The ledger: how workers died, kept in addition to the log."""

import datetime
import os
import signal
import time

import board
import client
import daemon
import processes
import wording
from processes import wait_until

ECHO = 'pool "echo" { listen = { "systemd:echo" } workers = %d\n%s\necho {} }\n'
KILLED = 'killed by signal (9|11)'


class Deaths(daemon.Case):
    def wait_for_death(self, it, pid):
        """Waits for a worker's entry in the ledger."""
        def found():
            return next((death for death in board.deaths(it) if death['pid'] == pid), None)
        return wait_until(found, f'the death of {pid}')

    def end(self, it, number):
        """Kills the only worker with a connection in hand; returns its entry."""
        held, = it.occupy('echo', 1)
        worker, = it.workers()
        it.kill(number, worker)
        death = self.wait_for_death(it, worker)
        it.wait_for_workers(1, without=[worker])
        held.close()
        return death

    def test_none(self):
        it = self.start(ECHO % (2, 'max_requests = 1'))
        worker = it.workers()[0]
        it.kill(signal.SIGTERM, worker)
        it.wait_for_log(wording.obituary(worker))
        client.ask(it.address('echo'), b'x')
        wait_until(lambda: board.pool(it, 'echo')['retirements'] == 2, 'two retirements')
        self.assertEqual(board.deaths(it), [])
        self.assertEqual(board.pool(it, 'echo')['deaths'], 0)
        self.assertRegex(board.text(it, 'deaths'), '^no worker has ended unexpectedly')

    def test_killed_by_segv(self):
        it = self.start(ECHO % (1, 'limits { core = 0 }'))
        it.announce(KILLED)
        before = time.time()
        for _ in range(3):
            client.ask(it.address('echo'), b'x')
        death = self.end(it, signal.SIGSEGV)
        self.assertEqual(death['number'], 1)
        self.assertEqual(death['pool'], 'echo')
        self.assertEqual(death['generation'], 1)
        self.assertEqual((death['signal'], death['exit'], death['cause']), ('SEGV', None, 'own'))
        self.assertEqual(death['why'], 'killed by signal 11 (Segmentation fault)')
        self.assertEqual((death['core'], death['core_text']),
                         (False, 'none: limits { core = 0 }'))
        self.assertEqual((death['served'], death['ready']), (3, True))
        when = datetime.datetime.fromisoformat(death['time']).timestamp()
        self.assertLessEqual(int(before), when)
        self.assertLessEqual(when, time.time())
        self.assertGreater(death['memory'], 100000)
        self.assertGreaterEqual(death['cpu_user'] + death['cpu_system'], 0)
        self.assertGreater(death['age'], 0)
        self.assertFalse(death['out_of_memory'])
        text = board.text(it, 'deaths')
        self.assertIn(f'pool echo: worker {death["pid"]} killed by signal 11', text)
        self.assertIn('core: none: limits { core = 0 }', text)

    def test_connection_in_hand(self):
        it = self.start(ECHO % (1, ''))
        it.announce(KILLED)
        held, = it.occupy('echo', 1)
        host, port = held.getsockname()
        worker, = it.workers()
        it.kill(signal.SIGKILL, worker)
        death = self.wait_for_death(it, worker)
        self.assertEqual((death['signal'], death['peer']), ('KILL', f'{host}:{port}'))
        line = it.wait_for_log(wording.obituary(worker)).string
        self.assertEqual(wording.field(line, 'peer'), f'{host}:{port}')
        worker, = it.wait_for_workers(1, without=[worker])
        it.kill(signal.SIGKILL, worker)
        self.assertIsNone(self.wait_for_death(it, worker)['peer'])

    def test_worker_of_a_program_killed(self):
        """The program dies with it; its CPU time is counted if it was waited for."""
        it = self.start('pool "x" { listen = { "systemd:x" } workers = 1\n'
                        'exec { command = { "/bin/sh", "-c",\n'
                        '"echo some words >&2; echo \'last\twords\' >&2; read line" } } }\n')
        it.announce('killed by signal 9')
        worker, = it.workers()
        with it.connect('x') as held:
            it.wait_for_log(f'worker {worker}: last')
            program = wait_until(lambda: processes.children(worker), 'a program')[0]
            seen, = board.pool(it, 'x')['workers']
            self.assertEqual((seen['pid'], seen['state'], seen['program']),
                             (worker, 'busy', program))
            host, port = held.getsockname()
            it.kill(signal.SIGKILL, worker)
            death = self.wait_for_death(it, worker)
        self.assertEqual(death['last'], 'last\\x09words')
        self.assertEqual(death['peer'], f'{host}:{port}')
        wait_until(lambda: not processes.alive(program), 'the end of the program')
        self.assertEqual(death['served'], 0)

    def test_program_that_dies_is_no_death(self):
        it = self.start('pool "x" { listen = { "systemd:x" } workers = 1\n'
                        'exec { command = { "/bin/sh", "-c", "kill -9 $$" } } }\n')
        it.announce('signal 9')
        for _ in range(3):
            client.ask(it.address('x'))
        wait_until(lambda: board.pool(it, 'x')['served'] == 3, 'three connections')
        self.assertEqual(board.deaths(it), [])

    @daemon.needs_root
    def test_worker_that_cannot_start(self):
        it = self.make(ECHO % (1, 'chroot = "@DIR@/root"'))
        os.mkdir(it.path('root'))
        it.launch().ready()
        it.announce(wording.BACKOFF, "can't start", 'killed by signal 9')
        os.rmdir(it.path('root'))
        worker, = it.workers()
        it.kill(signal.SIGKILL, worker)

        def failed():
            return [death for death in board.deaths(it) if death['exit'] == 71]
        death = wait_until(failed, 'a worker that failed to start')[0]
        self.assertRegex(death['why'], r"^can't start: .*root.*: No such file or directory$")
        self.assertFalse(death['ready'])
        pool = wait_until(lambda: board.pool(it, 'echo')['trouble'] and board.pool(it, 'echo'),
                          'a degraded pool')
        self.assertIn(pool['state'], ('starting', 'degraded'))
        self.assertRegex(board.text(it, 'status'),
                         r'(?m)^pool echo: (starting|degraded) for .*: .*No such file or directory')
        os.mkdir(it.path('root'))
        it.wait_for_workers(1)

    def test_last_are_kept_over_a_reload(self):
        it = self.start(ECHO % (5, ''))
        it.announce('killed by signal 9', wording.BACKOFF)
        killed = []
        while len(killed) < 70:
            held = it.occupy('echo', 5)
            workers = it.wait_for_workers(5, without=killed)
            for pid in workers:
                it.kill(signal.SIGKILL, pid)
            killed += workers
            it.wait_for_workers(5, without=killed)
            for connection in held:
                connection.close()
        wait_until(lambda: board.status(it)['deaths'] == 70, 'seventy deaths')
        deaths = board.deaths(it)
        self.assertEqual([death['number'] for death in deaths], list(range(7, 71)))
        self.assertLessEqual({death['pid'] for death in deaths}, set(killed))
        it.reload(ECHO % (3, 'nice = 2'))
        self.assertEqual(board.deaths(it), deaths)
        self.assertEqual(board.pool(it, 'echo')['deaths'], 70)

    def test_stop_kills_nobody_into_the_ledger(self):
        """A worker that somebody else ends gets an entry; those that a stop ends get none."""
        it = self.start(ECHO % (1, ''))
        worker, = it.workers()
        it.occupy('echo', 1)
        it.kill(signal.SIGQUIT, worker)
        death = self.wait_for_death(it, worker)
        self.assertEqual((death['exit'], death['cause'], death['why']),
                         (73, 'own', 'ended at once'))
        it.announce(wording.OVERDUE)
        it.wait_for_workers(1, without=[worker])
        it.occupy('echo', 1)
        with board.early(it) as look:
            it.stop(signal.SIGQUIT)
            self.assertEqual(look()['deaths'], 1)


if __name__ == '__main__':
    daemon.main()
