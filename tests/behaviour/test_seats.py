"""Workers with several seats: the master and its reports use the same words for each model."""

import contextlib
import os
import re
import signal
import time

import board
import client
import control
import daemon
import processes
import web
import wording
from processes import wait_until

MODELS = {'process': '', 'thread': 'model = "thread" threads = %d',
          'event': 'model = "event" connections = %d'}
SHARED = ('thread', 'event')  # several connections per worker
POOL = 'control = "@DIR@/control"\npool "x" { listen = { "systemd:x" }\n%s %s\n%s\necho {} }\n'


def pool(model, size, seats=4, options=''):
    words = MODELS[model]
    return POOL % (words % seats if '%' in words else words, size, options)


def close(held):
    for connection in held:
        connection.close()


class Case(daemon.Case):
    def each(self, size, options='', models=SHARED, seats=4, own=False):
        """Yields a daemon in each model, one after the other."""
        for model in models:
            with self.subTest(model):
                it = self.make(pool(model, size if model != 'process' else 'workers = 8', seats,
                                    options))
                if own:
                    it.own_program()
                yield model, it.launch().ready()
                it.stop()


class Reports(Case):
    def test_the_same_words_in_each_model(self):
        """Three of eight seats are taken, in workers of one seat or of four."""
        for model, it in self.each('workers = 2', models=MODELS):
            held = it.occupy('x', 3)
            found = board.wait_for_pool(it, 'x', accepted=3)
            each = 1 if model == 'process' else 4
            self.assertEqual((found['model'], found['seats'], found['busy_seats'],
                              found['max_seats'], found['state']), (model, 8, 3, 8, 'serving'))
            self.assertEqual({worker['seats'] for worker in found['workers']}, {each})
            self.assertEqual(sum(worker['busy'] for worker in found['workers']), 3)
            busy = [worker for worker in found['workers'] if worker['state'] == 'busy']
            self.assertEqual(found['busy'], len(busy))
            self.assertEqual(found['busy'] + found['idle'], 8 // each)
            ports = {f'127.0.0.1:{connection.getsockname()[1]}' for connection in held}
            self.assertLessEqual({worker['peer'] for worker in busy}, ports)
            row = re.search(r'(?m)^x +echo +serving +\S+ +(\d+) +(\d+) +(\d+/\d+)',
                            control.run(it, 'status').stdout)
            self.assertEqual(row.groups(), ('3', '5', f'{8 // each}/{8 // each}'))
            more = it.occupy('x', 5)
            board.wait_for_pool(it, 'x', state='full', busy_seats=8)
            close(held + more)
            board.wait_for_pool(it, 'x', state='serving', busy_seats=0, busy=0, accepted=8,
                                served=8)

    def test_metrics_and_agent(self):
        status = 'pool "s" { listen = { "systemd:s" } workers = 1 status {} }\n' \
                 'pool "a" { listen = { "systemd:a" } workers = 1 agent {} }\n'
        it = self.start(pool('event', 'workers = 2') + status)
        it.occupy('x', 6)
        text = web.get(it.address('s'), '/metrics').text
        for line in ('seats{pool="x",state="busy"} 6', 'seats{pool="x",state="free"} 2',
                     'seats_max{pool="x"} 8', 'seats_max{pool="s"} 1'):
            self.assertIn(f'\npreforkd_{line}\n', text)
        self.assertEqual(client.ask(it.address('a')), b'up ready 25%\n')


class Deaths(Case):
    def test_what_a_crash_costs(self):
        """A worker with three connections, then one with a single one, whose peer is logged."""
        for _, it in self.each('workers = 1', 'max_per_source = 3'):
            held = it.occupy('x', 3)
            victim, = it.workers()
            it.announce('killed by signal', wording.BACKOFF)
            it.kill(signal.SIGSEGV, victim)
            line = it.wait_for_log(wording.obituary(victim, signal='SEGV', served=0, connections=3))
            self.assertIn('after 0 requests, and with it 3 connections; respawned as', line.string)
            for connection in held:
                with contextlib.suppress(ConnectionResetError):
                    self.assertEqual(connection.recv(1), b'')
            it.wait_for_workers(1, without=[victim])
            held = it.occupy('x', 3)  # dead connections no longer count
            close(held[1:])
            board.wait_for_pool(it, 'x', accepted=6, served=2, busy_seats=1)
            victim, = it.workers()
            it.kill(signal.SIGSEGV, victim)
            port = held[0].getsockname()[1]
            it.wait_for_log(wording.obituary(victim, served=2, peer=f'127.0.0.1:{port}'))
            first, second = board.deaths(it)
            if first['number'] > second['number']:
                first, second = second, first
            self.assertEqual((first['connections'], first['peer']), (3, None))
            self.assertEqual((second['connections'], second['served']), (1, 2))
            self.assertIn('serving 3 connections', control.run(it, 'deaths').stdout)
            board.wait_for_pool(it, 'x', accepted=6, served=2, busy_seats=0, deaths=2)

    def test_late_request_that_its_worker_can_not_end(self):
        """A stopped worker can't close its connection: the master kills it 5 s later."""
        it = self.start(pool('thread', 'workers = 1', options='request_timeout = 5'))
        it.occupy('x', 2)
        victim, = it.workers()
        it.announce('request_timeout', 'killed by signal')
        it.kill(signal.SIGSTOP, victim)
        line = it.wait_for_log(wording.obituary(victim, connections=2))
        self.assertIn('its request took more than request_timeout', line.string)
        self.assertGreater(float(wording.field(line.string, 'age')), 10)
        it.wait_for_workers(1, without=[victim])


class Sizes(Case):
    def test_follows_the_load_in_seats(self):
        """The pool grows by one worker when too few seats are free, shrinks again, and drops no
        connection."""
        for _, it in self.each('max_workers = 3', 'max_spare = 2 spare_timeout = 1', seats=2):
            held = it.occupy('x', 1)
            self.assertEqual(len(it.workers()), 1)
            held += it.occupy('x', 1)
            it.wait_for_workers(2)
            held += it.occupy('x', 2)
            it.wait_for_workers(3)
            held += it.occupy('x', 2)
            it.announce('full for')
            board.wait_for_pool(it, 'x', state='full', seats=6, busy_seats=6)
            line = it.wait_for_log('full for').string
            self.assertIn('all 6 seats of 3 workers are taken', line)
            close(held[1:])
            wait_until(lambda it=it: board.pool(it, 'x')['target'] == 1, 'a target of one worker')
            self.assertEqual(client.echo(held[0], b'still'), b'still')
            close(held[:1])
            it.wait_for_workers(1)
            board.wait_for_pool(it, 'x', accepted=6, served=6)

    def test_from_none(self):
        for _, it in self.each('max_workers = 2 min_workers = 0', 'spare_timeout = 1', seats=2):
            self.assertEqual(it.workers(), [])
            held = it.occupy('x', 3)
            self.assertEqual(len(it.workers()), 2)
            close(held)
            wait_until(lambda it=it: not it.workers(), 'no worker')

    def test_what_has_room(self):
        """A pool has at most 30000 seats, whatever is asked for."""
        it = self.start(pool('event', 'workers = 2', seats=10000))
        refused = control.ask(it, 'scale', 'x', '4')
        self.assertEqual((refused.status, refused.err),
                         (1, 'pool x: a size is 1 to 3, since each worker has so many '
                             'connections\n'))
        self.assertEqual(control.ask(it, 'scale', 'x', '3').status, 0)
        it.kill(signal.SIGTTIN)  # there is no room for it either
        self.assertEqual(client.ask(it.address('x'), b'x'), b'x')
        board.wait_for_pool(it, 'x', seats=30000, target=3, max_seats=30000)
        held = it.occupy('x', 1)
        it.reload(pool('event', 'workers = 3', seats=9999))
        self.assertEqual(client.echo(held[0], b'y'), b'y')
        board.wait_for_pool(it, 'x', seats=29997)

    def test_what_has_no_room(self):
        """Old workers that don't end keep their seats: whoever asks for new ones is told, but not
        while the old ones may be about to end."""
        it = self.start(pool('event', 'workers = 3', seats=10000))
        it.announce('no room for another worker')
        for status in (0, 1):
            old = it.workers()
            for pid in old:
                it.kill(signal.SIGSTOP, pid)
            drain = control.Caller(it.path('control'), 'drain')
            self.addCleanup(drain.leave)
            wait_until(lambda: board.pool(it, 'x')['state'] == 'drained', 'a drained pool')
            began = time.monotonic()
            answer = control.ask(it, 'resume')
            self.assertEqual(answer.status, status, answer)
        self.assertGreater(time.monotonic() - began, 1.9)
        self.assertIn('pool x: no room for another worker: no worker becomes ready', answer.err)
        for pid in old:
            it.kill(signal.SIGCONT, pid)
        it.wait_for_workers(3, without=old)
        self.assertEqual(client.ask(it.address('x'), b'x'), b'x')

    def test_stopped_worker_keeps_nobody_waiting(self):
        """The other worker has free seats too; a worker without any is not asked."""
        for _, it in self.each('workers = 2'):
            first = it.workers()[0]
            it.kill(signal.SIGSTOP, first)
            wait_until(lambda first=first: processes.all_stopped(first), 'a stopped worker')
            held = it.occupy('x', 4)
            it.kill(signal.SIGCONT, first)
            held += it.occupy('x', 4)
            close(held)

    @staticmethod
    def wait_until_closed(it, model, worker, busy):
        """Waits until a worker accepts no more: it has closed its listener, and its threads that
        waited there have ended. Until then one more connection may get through."""
        inode = board.pool(it, 'x')['listeners'][0]['inode']

        def closed():
            threads = len(os.listdir(f'/proc/{worker}/task')) - 1
            return f'socket:[{inode}]' not in processes.descriptors(worker).values() and \
                threads == (busy if model == 'thread' else 0)
        wait_until(closed, 'a worker that accepts no more')

    def test_worker_that_takes_no_more(self):
        """After max_requests or a SIGTERM, another worker serves while it finishes."""
        for model, it in self.each('workers = 1', 'max_requests = 3'):
            full, = it.workers()
            held = it.occupy('x', 3)
            told, = [pid for pid in it.wait_for_workers(2) if pid != full]
            self.wait_until_closed(it, model, full, 3)
            self.assertEqual(client.ask(it.address('x'), b'x'), b'x')
            held += it.occupy('x', 1)
            it.kill(signal.SIGTERM, told)
            it.wait_for_workers(3)
            self.wait_until_closed(it, model, told, 1)
            self.assertEqual(client.ask(it.address('x'), b'x'), b'x')
            board.wait_for_pool(it, 'x', retiring=2, ready=1, seats=4, busy_seats=0)
            for connection in held:
                self.assertEqual(client.echo(connection, b'y'), b'y')
            close(held)
            it.wait_for_workers(1, without=[full, told])
            it.wait_for_log(wording.obituary(full, exit=0, served=3))
            board.wait_for_pool(it, 'x', accepted=6, served=6, deaths=0)


class Upgrade(Case):
    def test_seats_go_over(self):
        """Twice, the counts and connections of a worker survive; nobody else gets its seats."""
        for _, it in self.each('workers = 2', 'max_per_source = 7', own=True):
            held = it.occupy('x', 5)
            close([held.pop()])
            board.wait_for_pool(it, 'x', accepted=5, served=1)
            for turn in range(2):
                it.upgrade()
                for connection in held:
                    self.assertEqual(client.echo(connection, b'over'), b'over')
                found = board.wait_for_pool(it, 'x', accepted=5 + turn, served=1 + turn)
                self.assertEqual((found['seats'], found['ready']), (8, 2))
                old = [worker for worker in found['workers'] if worker['retiring']]
                self.assertEqual(sum(worker['busy'] for worker in old), 4)
                self.assertEqual(client.ask(it.address('x'), b'new'), b'new')
            held += it.occupy('x', 3)
            with it.connect('x') as eighth:  # connections of the old generation count
                self.assertEqual(eighth.recv(1), b'')
            close(held)
            it.wait_for_workers(2)
            board.wait_for_pool(it, 'x', accepted=11, served=10, retiring=0)


if __name__ == '__main__':
    daemon.main()
