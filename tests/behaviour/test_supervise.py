"""Workers die and are replaced; nothing else changes."""

import contextlib
import json
import os
import random
import re
import signal
import time

import client
import control
import daemon
import processes
import wording
from processes import wait_until

ECHO = 'pool "echo" { listen = { "systemd:echo" } workers = %d\n%s\necho {} }\n'


class Deaths(daemon.Case):
    def test_kill_at_random_under_load(self):
        it = self.start(ECHO % (6, ''))
        it.announce(wording.BACKOFF, 'killed by signal 9')
        it.same_descriptors = True
        choose = random.Random(7)
        kills = 0
        with client.Load(it.address('echo'), 8) as load:
            while kills < 100:
                workers = it.workers()
                before = load.served
                if workers:
                    victim = choose.choice(workers)
                    it.kill(signal.SIGKILL, victim)
                    kills += 1
                    wait_until(lambda: not processes.alive(victim), 'the end of the victim')
                wait_until(lambda: load.served > before, 'more load')
            it.wait_for_workers(6)
        self.assertLessEqual(len(load.failures), kills, load.failures[:5])
        self.assertEqual(client.ask(it.address('echo'), b'still'), b'still')

    def test_thousand_deaths_leave_no_zombie(self):
        """Each victim holds a connection, so that its replacement comes at once."""
        it = self.start(ECHO % (20, ''))
        it.announce('killed by signal 9')
        it.same_descriptors = True
        for _ in range(50):
            held = it.occupy('echo', 20)
            workers = it.wait_for_workers(20)
            for pid in workers:
                it.kill(signal.SIGKILL, pid)
            for connection in held:
                with self.subTest('in a killed worker\'s hands'), connection:
                    self.assertIn(self._rest(connection), (b'', 'reset'))
            it.wait_for_workers(20, without=workers)
        self.assertEqual(processes.children(it.pid, zombies=True), it.workers())
        self.assertEqual(len(it.workers()), 20)
        self.assertEqual(it.log.find(wording.BACKOFF), [])

    @staticmethod
    def _rest(connection):
        try:
            return connection.recv(1)
        except ConnectionResetError:
            return 'reset'

    def test_term_to_idle_workers(self):
        """Two hundred idle workers, each just back in accept() after a connection."""
        it = self.start(ECHO % (20, ''))
        it.same_descriptors = True
        for _ in range(10):
            held = it.occupy('echo', 20)
            workers = it.wait_for_workers(20)
            for connection in held:
                connection.close()
            for pid in workers:
                it.kill(signal.SIGTERM, pid)
            it.wait_for_workers(20, without=workers)

    def test_term_to_workers_under_load_drops_nothing(self):
        it = self.start(ECHO % (6, ''))
        it.announce(wording.BACKOFF)
        choose = random.Random(8)
        with client.Load(it.address('echo'), 8) as load:
            for _ in range(200):
                victim = choose.choice(wait_until(it.workers, 'a worker'))
                before = load.served
                it.kill(signal.SIGTERM, victim)
                wait_until(lambda: not processes.alive(victim), 'the end of the worker')
                wait_until(lambda: load.served > before, 'more load')
            it.wait_for_workers(6)
        self.assertEqual(load.failures, [])

    def test_term_to_worker_with_connection(self):
        it = self.start(ECHO % (1, ''))
        worker, = it.workers()
        held, = it.occupy('echo', 1)
        it.kill(signal.SIGTERM, worker)
        for _ in range(3):
            self.assertEqual(client.echo(held, b'goes on'), b'goes on')
        held.close()
        it.wait_for_workers(1, without=[worker])

    def test_quit_ends_worker_now(self):
        it = self.start(ECHO % (1, ''))
        worker, = it.workers()
        held, = it.occupy('echo', 1)
        it.kill(signal.SIGQUIT, worker)
        it.wait_for_workers(1, without=[worker])
        self.assertIn(self._rest(held), (b'', 'reset'))

    def test_masters_signals_leave_worker_untouched(self):
        it = self.start(ECHO % (2, ''))
        workers = it.workers()
        held, = it.occupy('echo', 1)
        for name in ('HUP', 'INT', 'USR1', 'USR2', 'WINCH', 'TTIN', 'TTOU', 'PIPE', 'CHLD'):
            for pid in workers:
                it.kill(getattr(signal, 'SIG' + name), pid)
            self.assertEqual(client.echo(held, name.encode()), name.encode())
            self.assertEqual(client.ask(it.address('echo'), b'other'), b'other')
        self.assertEqual(it.workers(), workers)

    def test_stop_of_idle_pool(self):
        for _ in range(10):
            it = self.start(ECHO % (8, ''))
            it.stop(timeout=20)


class Obituaries(daemon.Case):
    def end(self, number, config=''):
        it = self.start(ECHO % (1, config))
        for _ in range(3):
            client.ask(it.address('echo'), b'x')
        held, = it.occupy('echo', 1)
        worker, = it.workers()
        mark = it.mark()
        it.kill(number, worker)
        new, = it.wait_for_workers(1, without=[worker])
        held.close()
        return it, worker, new, mark

    def test_killed_by_segv(self):
        it, worker, new, mark = self.end(signal.SIGSEGV)
        it.announce('killed by signal 11')
        line = it.wait_for_log(wording.obituary(worker), mark).string
        self.assertRegex(line, r' notice: pool echo: worker \d+ killed by signal 11 \(Segmentation')
        self.assertEqual(wording.field(line, 'pool'), 'echo')
        self.assertEqual(wording.field(line, 'signal'), 'SEGV')
        self.assertIn(wording.field(line, 'served'), ('3', '4'))
        self.assertRegex(wording.field(line, 'age'), r'^\d+\.\d+$')
        self.assertEqual(wording.field(line, 'new'), str(new))
        self.assertIsNotNone(wording.field(line, 'core'), line)
        self.assertRegex(line, 'core')

    def test_why_there_is_no_core(self):
        it, worker, _, mark = self.end(signal.SIGABRT, 'limits { core = 0 }')
        it.announce('killed by signal 6')
        line = it.wait_for_log(wording.obituary(worker), mark).string
        self.assertEqual(wording.field(line, 'core'), 'no', line)
        self.assertRegex(line, r'limit')

    def test_killed(self):
        it, worker, new, mark = self.end(signal.SIGKILL)
        it.announce('killed by signal 9')
        line = it.wait_for_log(wording.obituary(worker), mark).string
        self.assertRegex(line, r' notice: ')
        self.assertEqual(wording.field(line, 'signal'), 'KILL')
        self.assertEqual(wording.field(line, 'new'), str(new))

    def test_expected_end_is_info(self):
        it = self.start(ECHO % (1, 'max_requests = 1'))
        worker, = it.workers()
        client.ask(it.address('echo'), b'x')
        it.wait_for_workers(1, without=[worker])
        self.assertIn(' info: ', it.wait_for_log(wording.obituary(worker)).string)


class Backoff(daemon.Case):
    def test_worker_that_dies_at_once(self):
        """Killed as soon as it exists: the next comes after at least 0, 0, 0.1, 0.3, 0.7, 1.5 s."""
        it = self.start(ECHO % (1, ''))
        it.announce(wording.BACKOFF, 'killed by signal 9')
        killed = set()
        busy = processes.cpu_seconds(it.pid)
        since = time.monotonic()
        while len(killed) < 6:
            for pid in set(it.workers()) - killed:
                it.kill(signal.SIGKILL, pid)
                killed.add(pid)
        self.assertGreater(time.monotonic() - since, 1.4)
        self.assertLess(processes.cpu_seconds(it.pid) - busy, 1)
        it.wait_for_log(wording.BACKOFF)
        it.wait_for_workers(1, without=killed)
        self.assertEqual(client.ask(it.address('echo'), b'still'), b'still')

    def test_a_connection_ends_it(self):
        """And not only that the worker has been ready for ten seconds."""
        it = self.start('control = "@DIR@/control"\n' + ECHO % (1, ''))
        it.announce(wording.BACKOFF, 'killed by signal 9')
        while not it.log.find(wording.BACKOFF):
            for pid in it.workers():
                with contextlib.suppress(ProcessLookupError):
                    it.kill(signal.SIGKILL, pid)
        self.assertEqual(client.ask(it.address('echo'), b'x'), b'x')
        wait_until(lambda: 'echo: serving' in control.ask(it, 'status').out, 'it is well')
        pool, = json.loads(control.ask(it, 'status', '--json').out)['pools']
        self.assertLess(pool['workers'][0]['age'], 10)

    def test_backoff_steps_are_said_once_each(self):
        it = self.start(ECHO % (1, ''))
        it.announce(wording.BACKOFF, 'killed by signal 9')
        deaths = 0
        until = time.monotonic() + 2 * daemon.PATIENCE
        # On a slow machine some workers are older than a second when they are killed, which is no
        # early death.
        while len(it.log.find(wording.BACKOFF)) < 2 and time.monotonic() < until:
            for pid in it.workers():
                it.kill(signal.SIGKILL, pid)
                wait_until(lambda: not processes.alive(pid), 'its end')
                deaths += 1
        it.wait_for_workers(1)
        steps = [float(match[1]) for match in it.log.find(r'respawned in ([\d.]+) s ')]
        self.assertGreaterEqual(len(steps), 2)
        self.assertLessEqual(len(steps), deaths)
        self.assertTrue(set(steps) <= {0.1 * 2 ** step for step in range(7)} | {10}, steps)

    def test_stop_while_backing_off(self):
        it = self.start(ECHO % (1, ''))
        it.announce(wording.BACKOFF, 'killed by signal 9')
        for _ in range(4):
            for pid in wait_until(it.workers, 'a worker'):
                it.kill(signal.SIGKILL, pid)
                wait_until(lambda: not processes.alive(pid), 'its end')
        it.stop(timeout=20)

    def test_clients_who_crash_workers_starve_nobody(self):
        """A worker that dies after it accepted a connection is replaced at once, however young."""
        it = self.start(ECHO % (2, ''))
        it.announce('killed by signal 9')
        for _ in range(40):
            held, = it.occupy('echo', 1)
            victim, = [pid for pid in it.workers() if ', busy' in processes.title(pid)]
            it.kill(signal.SIGKILL, victim)
            held.close()
            it.wait_for_workers(2, without=[victim])
        self.assertEqual(it.log.find(wording.BACKOFF), [])

    @daemon.needs_root
    def test_chroot_that_vanished(self):
        it = self.make(ECHO % (2, 'chroot = "@DIR@/jail"'))
        os.mkdir(it.path('jail'), 0o755)
        it.launch().ready()
        it.announce('chroot|jail', wording.BACKOFF, 'killed by signal 9')
        os.rename(it.path('jail'), it.path('elsewhere'))
        client.ask(it.address('echo'), b'x')
        victim = it.workers()[0]
        mark = it.mark()
        it.kill(signal.SIGKILL, victim)
        it.wait_for_log(wording.BACKOFF, mark)
        self.assertEqual(client.ask(it.address('echo'), b'x'), b'x')  # by the other worker
        busy = processes.cpu_seconds(it.pid)
        it.wait_for_log(r'(chroot|jail).*(No such|not exist)', mark)
        os.rename(it.path('elsewhere'), it.path('jail'))
        wait_until(lambda: [', idle' in processes.title(pid) for pid in it.workers()] == [True] * 2,
                   'two workers again')
        self.assertLess(processes.cpu_seconds(it.pid) - busy, 1)


class Sizes(daemon.Case):
    def test_one_more_one_fewer(self):
        it = self.start(ECHO % (3, ''))
        first = it.workers()
        it.kill(signal.SIGTTIN)
        self.assertLessEqual(set(first), set(it.wait_for_workers(4)))
        it.kill(signal.SIGTTIN)
        it.wait_for_workers(5)
        for count in (4, 3, 2, 1):
            it.kill(signal.SIGTTOU)
            it.wait_for_workers(count)
        last = it.workers()
        mark = it.mark()
        for _ in range(3):
            it.kill(signal.SIGTTOU)
            client.ask(it.address('echo'), b'x')
        it.kill(signal.SIGUSR1)
        it.wait_for_log(r'pool=echo', mark)
        self.assertEqual(it.workers(), last)
        self.assertEqual(client.ask(it.address('echo'), b'still'), b'still')

    def test_one_fewer_drops_no_connection(self):
        it = self.start(ECHO % (2, ''))
        held = it.occupy('echo', 2)
        it.kill(signal.SIGTTOU)
        for _ in range(3):
            for connection in held:
                self.assertEqual(client.echo(connection, b'goes on'), b'goes on')
        for connection in held:
            connection.close()
        it.wait_for_workers(1)

    def test_hold_until_reload(self):
        config = ECHO % (2, '')
        it = self.start(config)
        it.kill(signal.SIGTTIN)
        it.wait_for_workers(3)
        it.reload(config)
        it.wait_for_workers(2)


class Descriptors(daemon.Case):
    def test_worker_holds_just_its_list(self):
        it = self.start('pool "a" { listen = { "systemd:a" } workers = 2 echo {} }\n'
                        'pool "b" { listen = { "systemd:b", "unix:@DIR@/b" } workers = 2\n'
                        'echo {} }\n',
                        arguments=['-p', '@DIR@/pid'])
        listeners = {'a': 1, 'b': 2}
        of_master = processes.descriptors(it.pid)
        for pool, count in listeners.items():
            for pid in it.workers(pool):
                self._check(pool, processes.descriptors(pid), of_master, count)

    def _check(self, pool, held, of_master, count):
        sockets = {what for what in held.values() if what.startswith('socket:')}
        self.assertLessEqual(len(sockets & set(of_master.values())), count + 1, f'{pool}: {held}')
        pipes = {what for what in held.values() if what.startswith('pipe:')}
        self.assertLessEqual(len(pipes), 2, f'{pool}: standard error and the log: {held}')
        for number, what in held.items():
            self.assertRegex(what, r'^(socket:|pipe:|/dev/null$|/memfd:|anon_inode:\[event)',
                             f'{pool}: descriptor {number} of {held}')
        self.assertFalse([what for what in held.values() if 'signalfd' in what])

    def test_pools_do_not_hold_each_others_listeners(self):
        it = self.start('pool "a" { listen = { "systemd:a" } workers = 1 echo {} }\n'
                        'pool "b" { listen = { "systemd:b" } workers = 1 echo {} }\n')
        inodes = {}
        with open('/proc/net/tcp', encoding='ascii') as file:
            for line in file.read().splitlines()[1:]:
                words = line.split()
                if words[3] == '0A':
                    inodes[int(words[1].split(':')[1], 16)] = f'socket:[{words[9]}]'
        of_a, of_b = (inodes[it.address(name)[1]] for name in 'ab')
        worker_a, = it.workers('a')
        worker_b, = it.workers('b')
        self.assertIn(of_a, processes.descriptors(worker_a).values())
        self.assertNotIn(of_b, processes.descriptors(worker_a).values())
        self.assertIn(of_b, processes.descriptors(worker_b).values())
        self.assertNotIn(of_a, processes.descriptors(worker_b).values())

    def test_unknown_descriptors_are_not_handed_on(self):
        """Descriptors that the daemon inherits stay out of its workers."""
        stray = os.open('/etc/passwd', os.O_RDONLY)
        os.set_inheritable(stray, True)
        try:
            it = self.start(ECHO % (1, ''))
        finally:
            os.close(stray)
        worker, = it.workers()
        self.assertNotIn('/etc/passwd', processes.descriptors(worker).values())


class Signals(daemon.Case):
    def test_worker_dies_with_default_dispositions(self):
        """In a worker, no signal is ignored or blocked unless the daemon chose that."""
        it = self.start(ECHO % (1, ''))
        worker, = it.workers()
        shown = processes.status(worker)
        self.assertTrue(re.fullmatch(r'[0-9a-f]+', shown['SigBlk']))
        for number in (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE):
            self.assertFalse(int(shown['SigIgn'], 16) >> (number - 1) & 1, number)
            self.assertFalse(int(shown['SigBlk'], 16) >> (number - 1) & 1, number)


if __name__ == '__main__':
    daemon.main()
