"""SIGHUP: what changed is replaced, the rest stays, and no connection is lost."""

import grp
import json
import os
import pwd
import re
import shutil
import signal

import board
import client
import control
import daemon
import processes
import wording
from control import Caller
from processes import wait_until

EVIL = os.path.join(os.path.dirname(daemon.BINARY), '../tests/behaviour/evil.so')
ECHO = 'pool "echo" { listen = { "systemd:echo" } workers = %d\n%s\necho {} }\n'
# A configuration without an error that the check could find.
NEVER_READY = ('pool "echo" { listen = { "systemd:echo" } workers = 2 ready_timeout = 1\n'
               'app { command = { "/bin/sleep", "1000" } ready = "notify" } }\n')


class Reload(daemon.Case):
    def test_unchanged_pool_is_left_as_it_is(self):
        it = self.start(ECHO % (3, ''))
        workers = it.workers()
        lines = it.reload()
        self.assertEqual(it.workers(), workers)
        self.assertTrue(any(line.endswith('info: reload: kept 1 pool and 1 listener pools=1 '
                                          'listeners=1') for line in lines), lines)
        self.assertRegex('\n'.join(lines), rf'HUP.*\b{os.getpid()}\b')

    def test_what_is_kept_is_one_line_of_the_log(self):
        one = 'pool "p%d" { listen = { "unix:@DIR@/p%d" } workers = 1 echo {} }\n'
        pools = ''.join(one % (i, i) for i in range(5))
        it = self.start(pools)
        lines = [line for line in it.reload(pools.replace('p4', 'p5')) if ' reload: ' in line]
        text = '\n'.join(lines)
        self.assertRegex(text, 'info: reload: kept 4 pools and 4 listeners pools=4 listeners=4')
        self.assertEqual(len(lines), 5, lines)  # a pool and a listener go, and come
        lines = it.reload(pools.replace('p', 'q').replace('qool', 'pool'))
        self.assertNotIn('kept', '\n'.join(lines))

    def test_change_replaces_workers_but_finishes_what_they_hold(self):
        it = self.start(ECHO % (3, ''))
        workers = it.workers()
        held, = it.occupy('echo', 1)
        lines = it.reload(ECHO % (3, 'umask = 077'))
        self.assertRegex('\n'.join(lines), r'(?m)pool echo\b.*\breplaced\b.*umask')
        self.assertEqual(client.echo(held, b'goes on'), b'goes on')
        self.assertEqual(client.ask(it.address('echo'), b'new'), b'new')
        wait_until(lambda: len(set(workers) & set(it.workers())) == 1, 'only the busy old worker')
        self.assertEqual(client.echo(held, b'goes on'), b'goes on')
        held.close()
        it.wait_for_workers(3, without=workers)

    def test_retired_worker_outlives_graceful_timeout(self):
        """A reload drops no connection, however long it lasts."""
        it = self.start(ECHO % (1, 'graceful_timeout = 1'))
        it.announce(wording.OVERDUE)  # at its end, if the machine is slow
        worker, = it.workers()
        held, = it.occupy('echo', 1)
        it.reload(ECHO % (1, 'graceful_timeout = 1 umask = 077'))
        it.reload(ECHO % (1, 'graceful_timeout = 1 umask = 027'))
        held.settimeout(2)
        self.assertRaises(TimeoutError, held.recv, 1)
        held.settimeout(client.PATIENCE)
        self.assertEqual(client.echo(held, b'goes on'), b'goes on')
        held.close()
        it.wait_for_workers(1, without=[worker])

    def test_resize(self):
        it = self.start(ECHO % (4, ''))
        workers = it.workers()
        lines = it.reload(ECHO % (8, ''))
        self.assertRegex('\n'.join(lines), r'(?m)pool echo\b.*\bresized\b.*\b4 to 8\b')
        self.assertLessEqual(set(workers), set(it.wait_for_workers(8)))
        workers = it.workers()
        it.reload(ECHO % (2, ''))
        self.assertLessEqual(set(it.wait_for_workers(2)), set(workers))

    def test_pools_come_and_go(self):
        one = 'pool "one" { listen = { "unix:@DIR@/one" } workers = 2 echo {} }\n'
        two = 'pool "two" { listen = { "unix:@DIR@/two" } workers = 1 discard {} }\n'
        it = self.start(one)
        workers = it.workers()
        lines = '\n'.join(it.reload(one + two))
        self.assertRegex(lines, r'(?m)pool two\b.*\badded')
        self.assertRegex(lines, r'reload: kept 1 pool and 1 listener ')
        self.assertLessEqual(set(workers), set(it.wait_for_workers(3)))
        self.assertEqual(client.ask(it.path('two'), b'x'), b'')
        lines = '\n'.join(it.reload(two))
        self.assertRegex(lines, r'(?m)pool one\b.*\bremoved')
        it.wait_for_workers(1, without=workers)
        self.assertFalse(os.path.exists(it.path('one')))
        self.assertEqual(client.ask(it.path('two'), b'x'), b'')

    def test_new_connections_see_the_new_configuration(self):
        """Once the reload is logged as done, no idle old worker is left to take a connection."""
        config = ('pool "x" { listen = { "systemd:x" } workers = 4 exec { command = {\n'
                  '"/bin/echo", "%d" } } }\n')
        it = self.start(config % 0)
        for number in range(1, 21):
            it.reload(config % number)
            self.assertEqual(client.ask(it.address('x')), b'%d\n' % number)

    def test_handler_changes(self):
        it = self.start(ECHO % (2, ''))
        self.assertEqual(client.ask(it.address('echo'), b'x'), b'x')
        workers = it.workers()
        it.reload((ECHO % (2, '')).replace('echo {}', 'discard {}'))
        it.wait_for_workers(2, without=workers)
        self.assertEqual(client.ask(it.address('echo'), b'x'), b'')

    def test_listeners_open_and_close(self):
        config = 'pool "echo" { listen = { %s } workers = 2 echo {} }\n'
        it = self.start(config % '"unix:@DIR@/a"')
        it.same_descriptors = False
        lines = '\n'.join(it.reload(config % '"unix:@DIR@/a", "unix:@DIR@/b"'))
        self.assertRegex(lines, r'(?m)/b\b.*\bopened|opened\b.*/b\b')
        for name in 'ab':
            self.assertEqual(client.ask(it.path(name), b'x'), b'x')
        lines = '\n'.join(it.reload(config % '"unix:@DIR@/b"'))
        self.assertRegex(lines, r'(?m)/a\b.*\bclosed|closed\b.*/a\b')
        self.assertEqual(client.ask(it.path('b'), b'x'), b'x')
        wait_until(lambda: not os.path.exists(it.path('a')), 'an unlinked path')

    def test_address_keeps_its_socket_in_another_pool(self):
        config = 'pool "%s" { listen = { "unix:@DIR@/s" } workers = 1 echo {} }\n'
        it = self.start(config % 'one')
        inode = os.stat(it.path('s')).st_ino
        it.kill(signal.SIGWINCH)
        wait_until(lambda: not it.workers(), 'no worker')
        with client.connect(it.path('s')) as queued:
            queued.sendall(b'patience')
            it.reload(config % 'two')
            self.assertEqual(client.read_exactly(queued, 8), b'patience')
        self.assertEqual(os.stat(it.path('s')).st_ino, inode)

    def test_ports_of_the_kernels_choice(self):
        """Each pool keeps its own, though all are the same in the file."""
        two, one = '"127.0.0.1:0", "127.0.0.1:0"', '"127.0.0.1:0"'
        config = ('control = "@DIR@/control"\n'
                  'pool "a" { listen = { %s } workers = 1 echo {} }\n'
                  'pool "b" { listen = { "127.0.0.1:0" } workers = 1 echo {} }\n%s')
        more = 'pool "c" { listen = { "127.0.0.1:0" } workers = 1 echo {} }\n'
        it = self.start(config % (two, ''))
        before = self.ports(it)
        for listen, other in ((one, more), (two, ''), (one, '')):
            it.reload(config % (listen, other))
            now = self.ports(it)
            self.assertEqual(now['b'], before['b'])
            self.assertLessEqual(set(before['a'][:1]), set(now['a']))
            for ports in now.values():
                for port in ports:
                    self.assertEqual(client.ask(('127.0.0.1', port), b'x'), b'x')

    @staticmethod
    def ports(it):
        pools = json.loads(control.ask(it, 'status', '--json').out)['pools']
        return {pool['name']: [int(listener['address'].rpartition(':')[2])
                               for listener in pool['listeners']] for pool in pools}

    def test_mode_changes_in_place(self):
        config = ('pool "echo" { listen = { "unix:@DIR@/s" } workers = 2 echo {}\n'
                  'socket_mode = %s }\n')
        it = self.start(config % '0600')
        self.assertEqual(os.stat(it.path('s')).st_mode & 0o777, 0o600)
        workers, inode = it.workers(), os.stat(it.path('s')).st_ino
        it.reload(config % '0666')
        self.assertEqual(os.stat(it.path('s')).st_mode & 0o777, 0o666)
        self.assertEqual((it.workers(), os.stat(it.path('s')).st_ino), (workers, inode))

    @daemon.needs_root
    def test_owner_changes_in_place(self):
        config = ('pool "echo" { listen = { "unix:@DIR@/s" } workers = 2 echo {}\n'
                  'socket_user = "%s" socket_group = "%s" }\n')
        it = self.start(config % ('daemon', 'games'))
        workers, inode = it.workers(), os.stat(it.path('s')).st_ino
        it.reload(config % ('games', 'daemon'))
        seen = os.stat(it.path('s'))
        self.assertEqual((seen.st_uid, seen.st_gid), (pwd.getpwnam('games').pw_uid,
                                                      grp.getgrnam('daemon').gr_gid))
        self.assertEqual((it.workers(), seen.st_ino), (workers, inode))

    def test_log_level(self):
        it = self.start('log { level = "info" }\n' + ECHO % (1, ''))
        old = it.workers()
        it.reload('log { level = "debug" }\n' + ECHO % (1, ''))
        it.wait_for_workers(1, without=old)
        client.ask(it.address('echo'), b'x')
        it.wait_for_log(r' debug: .*\bpeer=')


class Refused(daemon.Case):
    def refuse(self, it, config, *patterns):
        it.announce(wording.REFUSED, wording.FAULT)
        workers = it.workers()
        lines = '\n'.join(it.reload(config, refused=True))
        for pattern in patterns:
            self.assertRegex(lines, pattern)
        # Another pool's canary may have become ready, and be retiring.
        wait_until(lambda: it.workers() == workers, 'only the old workers')
        self.assertEqual(client.ask(it.address('echo'), b'still'), b'still')

    def test_broken_file_is_told_with_its_lines(self):
        it = self.start(ECHO % (2, ''))
        self.refuse(it, ECHO % (2, 'umask = 999\nnonsense = 1'),
                    rf'err: .*{re.escape(it.file)}:2: .*umask.* pool=echo(\n|$)',
                    rf'err: .*{re.escape(it.file)}:3: .*nonsense.* pool=echo(\n|$)')
        it.reload(ECHO % (2, ''))

    def test_broken_syntax(self):
        it = self.start(ECHO % (2, ''))
        self.refuse(it, 'pool "echo" { listen = {', rf'{re.escape(it.file)}:\d+: ')

    def test_missing_file(self):
        it = self.start(ECHO % (2, ''))
        it.announce(wording.REFUSED, 'err: .*No such file')
        os.unlink(it.file)
        workers = it.workers()
        it.reload(refused=True)
        self.assertEqual(it.workers(), workers)

    def test_address_in_use(self):
        blocker = daemon.listen_tcp()
        self.addCleanup(blocker.close)
        it = self.start(ECHO % (2, ''))
        port = blocker.getsockname()[1]
        it.announce('in use')
        self.refuse(it, (ECHO % (2, 'umask = 077')).replace('{ "', f'{{ "127.0.0.1:{port}", "', 1),
                    'in use')

    def test_passed_socket_that_is_not_there(self):
        it = self.start(ECHO % (2, ''))
        it.announce('systemd:other|other')
        self.refuse(it, (ECHO % (2, '')).replace('{ "', '{ "systemd:other", "', 1), 'other')

    def test_from_wildcard_to_host_and_back(self):
        port = daemon.reserve_port(self)
        config = ECHO % (1, '') + 'pool "more" { listen = { "%s:%d" } workers = 1 echo {} }\n'
        for one, other in (('*', '127.0.0.1'), ('127.0.0.1', '*')):
            it = self.start(config % (one, port))
            self.refuse(it, config % (other, port), rf'{port}')
            self.assertEqual(client.ask(('127.0.0.1', port), b'still'), b'still')
            it.stop()

    @daemon.needs_root
    def test_no_canary_becomes_ready(self):
        """A worker of the new generation must be ready before anything visible changes."""
        it = self.start(ECHO % (2, ''))
        it.announce('not ready within ready_timeout')
        self.refuse(it, NEVER_READY, 'its first worker did not become ready and stay so')

    @daemon.needs_root
    def test_nothing_of_a_refused_one_is_done(self):
        """Neither options that take effect in place, nor pools that are valid by themselves."""
        config = ('pool "s" { listen = { "unix:@DIR@/s" } workers = 1 echo {}\n'
                  'socket_mode = %s backlog = %s }\n')
        it = self.start(ECHO % (2, '') + config % ('0600', '7'))
        before, workers = os.stat(it.path('s')), it.workers()
        it.announce('not ready within ready_timeout')
        self.refuse(it, NEVER_READY + config % ('0666', '9') +
                    'pool "new" { listen = { "unix:@DIR@/new" } workers = 1 echo {} }\n',
                    'its first worker did not become ready')
        after = os.stat(it.path('s'))
        self.assertEqual((after.st_mode, after.st_ino), (before.st_mode, before.st_ino))
        self.assertEqual(it.workers(), workers)
        self.assertFalse(os.path.exists(it.path('new')))

    def test_listeners_are_as_before_a_refused_one(self):
        """A canary that is a program clears the timeouts of the listener that it shares."""
        it = self.start(ECHO % (2, 'idle_timeout = 1'))
        it.announce('not ready within ready_timeout')
        self.refuse(it, NEVER_READY, 'not ready within ready_timeout')
        with it.connect('echo') as silent:
            self.assertEqual(client.read_all(silent), b'')

    def test_timeouts_are_inherited_after_a_refused_one(self):
        """Nothing has changed the listener's, so neither the old workers nor those of the next
        reload set any."""
        it = self.start(ECHO % (1, ''))
        it.announce('not ready within ready_timeout')
        changed = ECHO % (1, 'environment = { "N=1" }')
        never = NEVER_READY.replace('"echo"', '"never"').replace('systemd:echo', 'unix:@DIR@/never')
        self.refuse(it, changed + never, 'did not become ready')
        for _ in range(2):
            worker, = it.workers()
            with it.traced(worker, '-e', 'trace=setsockopt'):
                self.assertEqual(client.ask(it.address('echo'), b'x'), b'x')
            with open(it.path('trace'), encoding='utf-8') as trace:
                self.assertEqual(trace.read(), '')
            it.reload(changed)

    def settle(self, it, anonymous, space):
        """The last reload's memory is freed just after its log line."""
        def back():
            now = processes.memory_kilobytes(it.pid)
            return now[0] - anonymous <= 64 and now[1] - space <= 256
        wait_until(back, lambda: f'no more memory than {anonymous}, {space} kB and a little; it '
                   f'holds {processes.memory_kilobytes(it.pid)}', timeout=10)

    def test_twenty_refused_reloads_cost_nothing(self):
        it = self.start(ECHO % (2, ''))
        it.announce('err: ')
        it.same_descriptors = True
        broken = [ECHO % (2, 'nonsense = %d' % n) + 'include("@DIR@/more.conf")\n'
                  for n in range(3)]
        it.put('more.conf', 'pool "more" {\n listen = { "nowhere"\n')
        for config in broken:
            it.reload(config, refused=True)
        it.check_descriptors()
        before = processes.memory_kilobytes(it.pid)
        for number in range(20):
            it.reload(broken[number % 3], refused=True)
        it.check_descriptors()
        if not daemon.sanitized():  # sanitizers keep freed memory, and search for leaks
            self.settle(it, *before)
        it.put('more.conf', 'pool "more" { listen = { "unix:@DIR@/more" } workers = 1 echo {} }\n')
        it.same_descriptors = False
        it.reload(ECHO % (2, '') + 'include("@DIR@/more.conf")\n')
        self.assertEqual(client.ask(it.path('more'), b'x'), b'x')


class Load(daemon.Case):
    def test_hundred_reloads_under_full_load(self):
        """Each reload replaces every worker, and no connection is lost."""
        it = self.start(ECHO % (4, 'environment = { "N=0" }'))
        with client.Load(it.address('echo'), 8) as load:
            for number in range(1, 101):
                workers = it.workers()
                served = load.served
                it.reload(ECHO % (4, 'environment = { "N=%d" }' % number))
                it.wait_for_workers(4, without=workers)
                wait_until(lambda: load.served > served, 'more load')
        self.assertEqual(load.failures, [])
        self.assertGreater(load.served, 1000)

    def test_reloads_beside_kills(self):
        it = self.start(ECHO % (4, 'environment = { "N=0" }'))
        it.announce('killed by signal 9', wording.BACKOFF)
        with client.Load(it.address('echo'), 6) as load:
            for number in range(1, 21):
                workers = it.workers()
                if workers:
                    it.kill(signal.SIGKILL, workers[0])
                it.reload(ECHO % (4, 'environment = { "N=%d" }' % number))
                it.wait_for_workers(4, without=workers)
        self.assertLessEqual(len(load.failures), 20, load.failures[:3])

    def test_resizes_under_load(self):
        it = self.start(ECHO % (2, ''))
        with client.Load(it.address('echo'), 8) as load:
            for count in [7, 3, 12, 1, 6] * 4:
                it.reload(ECHO % (count, ''))
                it.wait_for_workers(count)
        self.assertEqual(load.failures, [])

    def test_unix_sockets_under_load(self):
        config = ('pool "echo" { listen = { "unix:@DIR@/a", "unix:@DIR@/b" } workers = 4\n'
                  'umask = %s echo {} }\n')
        it = self.start(config % '022')
        with client.Load(it.path('a'), 4) as a, client.Load(it.path('b'), 4) as b:
            for number in range(20):
                workers = it.workers()
                it.reload(config % ('077', '022')[number % 2])
                it.wait_for_workers(4, without=workers)
        self.assertEqual(a.failures + b.failures, [])


class HighNumbers(daemon.Case):
    """A listener that the master opened beyond what a worker's limit of open files allows."""
    CONFIG = ('control = "@DIR@/control"\n'
              'pool "many" { listen = { "systemd:many" } workers = 60 echo {} }\n')
    POOL = ('pool "late" { listen = { "unix:@DIR@/late" } workers = 2 limits { nofile = 50 }\n'
            '%s echo {} }\n')

    def test_a_worker_leaves_it(self):
        for model in ('', 'model = "thread" threads = 2', 'model = "event" connections = 4'):
            with self.subTest(model):
                it = self.start(self.CONFIG)
                it.reload(self.CONFIG + self.POOL % model)
                self.assertGreaterEqual(self.number(it), 50)
                held = client.connect(it.path('late'))
                self.assertEqual(client.echo(held, b'x'), b'x')
                drain = control.Caller(it.path('control'), 'drain', 'late')
                wait_until(lambda: len(it.workers('late')) == 1, 'the end of the idle one')
                worker, = it.workers('late')
                wait_until(lambda: processes.accepts_no_more(worker), 'that the other leaves')
                held.close()
                self.assertEqual(drain.answer().status, 0)

    @staticmethod
    def number(it):
        """Of the listener, in the master."""
        pools = json.loads(control.ask(it, 'status', '--json').out)['pools']
        inode, = [listener['inode'] for pool in pools if pool['name'] == 'late'
                  for listener in pool['listeners']]
        return {what: number for number, what in
                processes.descriptors(it.pid).items()}[f'socket:[{inode}]']


class Meanwhile(daemon.Case):
    """Events during a reload that a canary without READY=1 holds up."""
    CONFIG = ('control = "@DIR@/control"\n'
              'pool "m" { listen = { "systemd:m" } workers = 2\n'
              'module { path = "@DIR@/m.so" %s } }\n' + ECHO)

    def begin(self):
        """A daemon in a reload, and its canary."""
        it = self.make(self.CONFIG % ('', 2, ''), environment={'ASAN_OPTIONS': 'detect_leaks=0'})
        it.own_program()
        shutil.copy(EVIL, it.path('m.so'))
        os.chmod(it.path('m.so'), 0o755)
        it.launch().ready()
        it.announce(wording.REFUSED, wording.FAULT, 'killed by signal 9', 'err: reload: ')
        it.same_descriptors = True
        self.old = it.workers()
        it.write(self.CONFIG % ('args = { "start=hang" }', 2, 'umask = 077'))
        it.kill(signal.SIGHUP)
        wait_until(lambda: len(it.workers('m')) == 3 and len(it.workers('echo')) == 3,
                   'two canaries')
        it.write(self.CONFIG % ('', 2, 'umask = 027'))
        canary, = set(it.workers('m')) - set(self.old)
        return it, canary

    def asked(self, it, *words):
        """A caller whose command the master has received."""
        mark = it.mark()
        caller = Caller(it.path('control'), *words)
        it.wait_for_log(f'preforkctl {words[0]}', mark)
        return caller

    def test_nothing_changes_before_every_pool_has_its_canary(self):
        it, canary = self.begin()
        self.assertLessEqual(set(self.old), set(it.workers()))
        for name in ('m', 'echo'):
            for _ in range(5):
                self.assertEqual(client.ask(it.address(name), b'x'), b'x')
        mark = it.mark()
        it.kill(signal.SIGKILL, canary)
        it.wait_for_log(wording.REFUSED, mark)
        wait_until(lambda: it.workers() == self.old, 'only the old workers')

    def test_reloads_become_one_more(self):
        it, canary = self.begin()
        callers = []
        for _ in range(5):
            mark = it.mark()
            it.kill(signal.SIGHUP)
            it.wait_for_log('SIGHUP from', mark)
            callers.append(self.asked(it, 'reload'))
        it.kill(signal.SIGKILL, canary)
        for caller in callers:
            answer = caller.answer()
            self.assertEqual(answer.status, 0, answer)
            self.assertIn('umask 022 to 027', answer.out)
        self.assertEqual(control.ask(it, 'ping').status, 0)
        self.assertEqual(len(it.log.find('notice: reloading ')), 2)

    def test_an_upgrade_waits_for_it(self):
        it, canary = self.begin()
        caller = self.asked(it, 'upgrade')
        self.assertTrue(caller.waits())
        self.assertEqual(it.log.find('hands over'), [])
        it.kill(signal.SIGKILL, canary)
        self.assertRegex(caller.answer().out, '^upgraded')
        it.wait_for_workers(4, without=self.old)

    def test_other_orders(self):
        """A scale takes effect at once; a drain ends when the canary is gone too, or the reload is
        over."""
        it, canary = self.begin()
        self.assertEqual(control.ask(it, 'scale', 'm', '4').status, 0)
        drain = self.asked(it, 'drain', 'echo')
        wait_until(lambda: len(it.workers('echo')) == 1, 'only its canary')
        restart, rehearsal = self.asked(it, 'restart', 'm'), self.asked(it, 'reload', '--dry-run')
        self.assertTrue(drain.waits() and restart.waits() and rehearsal.waits())
        it.kill(signal.SIGKILL, canary)
        self.assertEqual(drain.answer().status, 0)
        self.assertEqual(restart.answer().status, 0)
        self.assertIn('pool echo: replaced', rehearsal.answer().out)
        it.wait_for_workers(4, without=self.old)
        self.assertEqual(it.workers('echo'), [])
        self.assertEqual(control.ask(it, 'reload').status, 0)
        it.wait_for_workers(4)

    def test_a_restart_that_waits_leaves_a_drained_pool_alone(self):
        it, canary = self.begin()
        it.announce('err: restart')
        restart, drain = self.asked(it, 'restart', 'echo'), self.asked(it, 'drain', 'echo')
        mark = it.mark()
        it.kill(signal.SIGKILL, canary)
        answer = restart.answer()
        self.assertEqual(answer.status, 1, answer)
        self.assertIn('pool echo is drained: resume it instead', answer.err)
        it.wait_for_log('err: restart refused', mark)
        self.assertEqual(drain.answer().status, 0)
        self.assertEqual(it.workers('echo'), [])
        self.assertEqual(control.ask(it, 'resume').status, 0)
        it.wait_for_workers(4)

    def test_a_pool_on_trial_takes_no_orders(self):
        it = self.make('control = "@DIR@/control"\n' + ECHO % (1, ''),
                       environment={'ASAN_OPTIONS': 'detect_leaks=0'})
        shutil.copy(EVIL, it.path('m.so'))
        os.chmod(it.path('m.so'), 0o755)
        it.launch().ready()
        it.announce(wording.REFUSED, wording.FAULT, 'killed by signal 9')
        it.write('control = "@DIR@/control"\n' + ECHO % (1, '') +
                 'pool "new" { listen = { "unix:@DIR@/new" } workers = 1\n'
                 'module { path = "@DIR@/m.so" args = { "start=hang" } } }\n')
        it.kill(signal.SIGHUP)
        canary, = wait_until(lambda: it.workers('new'), 'its canary')
        board.wait_for_pool(it, 'new', state='starting', ready=0)
        for words in (('scale', 'new', '5'), ('drain', 'new'), ('resume', 'new'),
                      ('restart', 'new')):
            answer = control.ask(it, *words)
            self.assertEqual(answer.status, 1, answer)
            self.assertRegex(answer.err, 'there is no pool "new"')
        mark = it.mark()
        it.kill(signal.SIGKILL, canary)
        it.wait_for_log(wording.REFUSED, mark)

    def test_stop_and_callers(self):
        it, _ = self.begin()
        callers = [self.asked(it, 'reload'), self.asked(it, 'restart')]
        it.announce(wording.OVERDUE)
        it.kill(signal.SIGQUIT)
        for caller in callers:
            answer = caller.answer()
            self.assertEqual((answer.status, answer.err), (1, 'the daemon is stopping\n'))
        self.assertEqual(it.exited(), 0)


class Included(daemon.Case):
    def test_fifty_included_files(self):
        it = self.make('include("@DIR@/pools.d/*.conf")\n')
        for number in range(50):
            it.put(f'pools.d/{number:02}.conf', f'pool "p{number}" {{ listen = {{ '
                   f'"unix:@DIR@/s{number}" }} workers = 1 echo {{}} }}\n')
        it.launch().ready()
        for number in range(50):
            self.assertEqual(client.ask(it.path(f's{number}'), b'x'), b'x')
        it.put('pools.d/17.conf', 'pool "p17" {\n listen = { "unix:@DIR@/s17" }\n workers = 0\n}\n')
        it.announce(wording.REFUSED, wording.FAULT)
        lines = '\n'.join(it.reload(refused=True))
        self.assertRegex(lines, r'pools\.d/17\.conf:3: ')
        it.put('pools.d/17.conf',
               'pool "p17" { listen = { "unix:@DIR@/s17" } workers = 2 echo {} }\n')
        it.reload()
        it.wait_for_workers(51)

    def test_stop_during_a_reload(self):
        it = self.start(ECHO % (4, ''))
        it.announce('reload')
        it.write(ECHO % (4, 'umask = 077'))
        it.kill(signal.SIGHUP)
        it.stop(timeout=30)

    def test_changes_during_a_reload_are_not_lost(self):
        it = self.start(ECHO % (4, ''))
        for count in (5, 6, 7, 3):
            it.write(ECHO % (count, ''))
            it.kill(signal.SIGHUP)
        it.wait_for_workers(3)


if __name__ == '__main__':
    daemon.main()
