"""Faults outside the daemon: its clock jumps, its disk is full. The pools go on."""

import contextlib
import json
import os
import re
import shutil
import signal
import time

import client
import control
import daemon
import processes
import wording
from daemon import UNLISTED
from processes import wait_until

ECHO = 'pool "echo" { listen = { "systemd:echo" } %s\necho {} }\n'
LATE = r'warning: .*by us, its request took more than request_timeout'
FULL = r'warning: pool echo: full for (\d+) s: '


class Clock(daemon.Case):
    """The clock jumps, as after a suspend or when a virtual machine was paused."""

    def begin(self, config):
        return self.make(config).with_failing_calls().launch().ready()

    def test_who_was_in_time_before_it_gets_time(self):
        for seconds in range(3600, 20 * 3600, 3600):
            it = self.begin(ECHO % f'workers = 2 request_timeout = 60 {UNLISTED}')
            it.announce(LATE)
            workers = it.workers()
            held, late = it.occupy('echo', 2)
            began = time.monotonic()
            it.leap(seconds)
            with contextlib.suppress(EOFError, ConnectionError):
                self.assertEqual(client.echo(held, b'still'), b'still')
            held.close()
            wait_until(lambda: it.workers('echo, idle'), 'an idle worker')
            if time.monotonic() - began < 1.5:  # else the machine was too slow for the grace period
                break
            late.close()
            it.stop(signal.SIGQUIT)
        line = it.wait_for_log(LATE).string
        self.assertIn(int(wording.field(line, 'pid')), workers)
        kept, = set(workers) & set(it.wait_for_workers(2))
        self.assertNotEqual(kept, int(wording.field(line, 'pid')))
        self.assertEqual(len(it.log.find(LATE)), 1)
        late.close()

    def test_idle_workers_stay(self):
        it = self.begin(ECHO % f'workers = 3 request_timeout = 5 ready_timeout = 5 {UNLISTED}')
        workers = it.workers()
        for seconds in (10, 3600, 1000000):
            it.leap(seconds)
            self.assertEqual(client.ask(it.address('echo'), b'still'), b'still')
        self.assertEqual(it.workers(), workers)

    def test_a_full_pool_is_told_once_a_minute(self):
        it = self.begin(ECHO % f'max_workers = 2 {UNLISTED}')
        it.announce(FULL)
        held = it.occupy('echo', 2)
        it.wait_for_log(FULL)
        it.leap(50)
        self.assertEqual(len(it.log.find(FULL)), 1)
        for minute in (1, 2, 3):
            mark = it.mark()
            it.leap(minute * 61)
            self.assertGreaterEqual(int(it.wait_for_log(FULL, mark)[1]), minute * 60)
        self.assertEqual(len(it.log.find(FULL)), 4)
        for connection in held:
            connection.close()
        it.wait_for_log('no longer full')
        for _ in range(5):  # rounds of the master
            mark = it.mark()
            it.kill(signal.SIGUSR1)
            it.wait_for_log('pool=echo state=', mark)
        self.assertEqual(len(it.log.find('no longer full')), 1)


def modules(count, **args):
    """Pools of the modules m0.so, m1.so, ..."""
    words = ', '.join(f'"{name}={value}"' for name, value in args.items())
    return ''.join(f'pool "m{i}" {{ listen = {{ "unix:@DIR@/m{i}" }} workers = 1\n'
                   f'module {{ path = "@DIR@/m{i}.so" args = {{ {words} }} }} }}\n'
                   for i in range(count))


class Check(daemon.Case):
    """What a module's code may do while a configuration is checked."""

    OTHER = ('control = "@DIR@/control"\n'
             'pool "o" { listen = { "systemd:o" } workers = 2 echo {} }\n')

    def prepare(self, config, name='evil', count=1):
        it = self.make(config, environment={
            'ASAN_OPTIONS': 'handle_segv=0:handle_abort=0:handle_sigfpe=0:detect_leaks=0'})
        for i in range(count):
            shutil.copy(os.path.join(os.path.dirname(daemon.BINARY),
                                     f'../tests/behaviour/{name}.so'), it.path(f'm{i}.so'))
        return it

    def test_shared_memory_is_no_way_to_its_parent(self):
        """The check fills all shared memory, also while it is read: at worst its own pool is
        refused."""
        for name, args in (('evil_scribble', {}), ('evil', {'check': 'scribble-on'}),
                           ('evil', {'check': 'scribble'})):
            it = self.prepare(modules(1, **args), name)
            for _ in range(5):
                done = self.run_preforkd('-t', '-c', it.file)
                with self.subTest(name, **args):
                    self.assertIn(done.returncode, (0, 1))
                    self.assertNotIn('the check was killed', done.stderr)

    def test_shared_memory_at_a_reload(self):
        """None of that memory is the master's."""
        it = self.prepare(self.OTHER)
        it.launch().ready()
        it.announce('.')
        before = json.loads(control.run(it, '--json', 'status').stdout)['pools'][0]
        for _ in range(3):
            it.write(self.OTHER + modules(1, check='scribble-on'))
            mark = it.mark()
            it.kill(signal.SIGHUP)
            it.wait_for_log(f'{wording.RELOADED}|{wording.REFUSED}', mark)
            self.assertEqual(client.ask(it.address('o'), b'x'), b'x')
            it.reload(self.OTHER)
        self.assertEqual(it.log.find('the check was killed'), [])
        after = json.loads(control.run(it, '--json', 'status').stdout)['pools'][0]
        for key in ('name', 'handler', 'state', 'deaths'):
            self.assertEqual(after.get(key), before.get(key), key)
        self.assertEqual([worker['pid'] for worker in after['workers']],
                         [worker['pid'] for worker in before['workers']])

    def test_one_that_takes_too_long(self):
        """Each hanging check gets 5 s, however many there are."""
        it = self.prepare(self.OTHER, count=3)
        it.launch().ready()
        it.announce('err: ')
        lines = it.reload(self.OTHER + modules(3, check='hang'), refused=True)
        self.assertEqual(sum('module: its check took more than 5 s' in line for line in lines), 3,
                         lines)
        self.assertEqual(client.ask(it.address('o'), b'x'), b'x')
        it.reload(self.OTHER)

    def test_one_that_stands_still(self):
        """A stopped check is like one in a lookup that hangs; what it has found is reported."""
        other = self.OTHER.replace('echo', daemon.UNLISTED + ' echo')
        it = self.prepare(other, count=1).with_failing_calls()
        it.launch().ready()
        it.announce('err: ')
        it.write(other + modules(1, check='hang'))
        mark = it.mark()
        it.kill(signal.SIGHUP)
        checks = wait_until(lambda: [pid for pid in processes.children(it.pid)
                                     if 'checking' in processes.title(pid)
                                     and processes.children(pid)], 'the check of a handler')
        it.kill(signal.SIGSTOP, checks[0])
        it.leap(61)  # it has made steps before
        it.leap(62)  # a refusal would be logged in a later round
        self.assertEqual(it.log.find('refused', mark), [])
        it.leap(122)
        it.wait_for_log(r'preforkd\.conf: the check made no progress for 60 s', mark)
        it.wait_for_log(wording.REFUSED, mark)
        self.assertEqual(client.ask(it.address('o'), b'x'), b'x')

    def test_what_it_prints(self):
        """The first lines of its output go to standard error, and none to standard output."""
        it = self.prepare(modules(1, check='print'))
        done = self.run_preforkd('-T', '-c', it.file)
        self.assertEqual(done.returncode, 0)
        self.assertEqual(done.stderr.splitlines(), ['pool m0: its check: printed'] * 100 +
                         ['pool m0: its check: 19900 more lines were left out'])
        self.assertNotIn('printed', done.stdout)


class Memory(daemon.Case):
    def test_an_event_lane_that_can_not_join_all_queues(self):
        """It leaves those that it has joined. Once it is full, a connection that waits there would
        wake it for ever."""
        it = self.make('pool "echo" { listen = { "systemd:echo", "systemd:other" } workers = 1\n'
                       f'model = "event" connections = 1 {UNLISTED}\necho {{}} }}\n')
        it.with_failing_calls().launch().ready()
        it.announce("can't accept connections for now: Cannot allocate memory")
        worker, = it.workers()

        def watched():
            """The descriptors in the worker's epoll set."""
            number, = (n for n, target in processes.descriptors(worker).items()
                       if target == 'anon_inode:[eventpoll]')
            with open(f'/proc/{worker}/fdinfo/{number}', encoding='ascii') as file:
                return set(re.findall(r'tfd: *(\d+)', file.read()))
        idle = watched()
        held, = it.occupy('echo', 1)
        wait_until(lambda: len(idle - watched()) == 2, 'a full lane')
        listeners = idle - watched()
        it.put('EPOLL', '', mode=0o666)
        held.close()
        wait_until(lambda: os.path.getsize(it.path('EPOLL')), 'a queue that it fails to join')
        wait_until(lambda: not listeners & watched(), 'a lane in no queue')
        os.unlink(it.path('EPOLL'))
        wait_until(lambda: listeners <= watched(), 'a lane in both queues')
        self.assertEqual(client.ask(it.address('other'), b'still'), b'still')


class Disk(daemon.Case):
    def test_a_log_that_can_not_be_written(self):
        """Standard error is a file on a full disk."""
        it = self.make(ECHO % 'workers = 2')
        it.program = it.put('preforkd', f'#!/bin/sh\nexec {daemon.BINARY} "$@" 2>/dev/full\n',
                            mode=0o755)
        it.launch().ready()
        for _ in range(3):
            for pid in it.wait_for_workers(2):
                self.assertEqual(client.ask(it.address('echo'), b'x'), b'x')
                it.kill(signal.SIGTERM, pid)
                wait_until(lambda: not processes.alive(pid), 'its end')
            it.kill(signal.SIGUSR1)
        it.wait_for_workers(2)
        self.assertEqual(it.log.lines, [])

    @daemon.needs_root
    def test_a_pid_file_that_can_not_be_written(self):
        it = self.make(ECHO.replace('systemd:echo', 'unix:@DIR@/echo') % 'workers = 2')
        os.mkdir(it.path('disk'))
        script = ('mount -t tmpfs -o size=4k none "$1" && '
                  '{ head -c 4096 /dev/zero >"$1/full"; shift; exec "$@"; }')
        result = self.run_program(['unshare', '-m', 'sh', '-c', script, 'sh', it.path('disk'),
                                   daemon.BINARY, '-c', it.file, '-e', '-p',
                                   it.path('disk/pid')])
        self.assertEqual(result.returncode, 3, result.stderr)
        self.assertRegex(result.stderr, re.escape(it.path('disk/pid')) + r'.*No space left')
        self.assertFalse(os.path.exists(it.path('echo')))


if __name__ == '__main__':
    daemon.main()
