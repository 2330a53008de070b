"""SIGUSR2: the program on disk replaces the running one, and no client notices."""

import contextlib
import json
import os
import pathlib
import re
import signal

import board
import client
import control
import daemon
import processes
import test_listen
import wording
from processes import wait_until

ECHO = 'pool "echo" { listen = { "systemd:echo" } workers = %d\n%s\necho {} }\n'
CONTROL = 'control = "@DIR@/control"\n'
UNIX = 'pool "echo" { listen = { "unix:@DIR@/echo" } workers = %d echo {} }\n'

# Replaces the program: $REAL is the program, and $3 the configuration of -t.
SCRIPT = '#!/bin/sh\nREAL=%s\n%s\n'


def listening(pid):
    """The inodes of a process's sockets."""
    return sorted(text for text in processes.descriptors(pid).values()
                  if text.startswith('socket:'))


class Case(daemon.Case):
    def begin(self, config, **arguments):
        """A daemon that is ready and runs a copy of the program."""
        it = self.make(config, **arguments).own_program().launch().ready()
        it.same_descriptors = True
        return it

    def script(self, it, text):
        it.put('preforkd', SCRIPT % (daemon.BINARY, text), mode=0o755)

    def counted(self, it, pool='echo'):
        """(accepted, served) as SIGUSR1 logs them."""
        mark = it.mark()
        it.kill(signal.SIGUSR1)
        line = it.wait_for_log(rf'pool={pool} state=', mark).string
        return int(wording.field(line, 'accepted')), int(wording.field(line, 'served'))


class Upgrade(Case):
    def test_same_process_same_sockets_new_program(self):
        it = self.begin(ECHO % (3, '') + 'pool "two" { workers = 2 echo {}\n'
                        'listen = { "127.0.0.1:0", "[::1]:0", "unix:@DIR@/two" } }\n')
        sockets, workers = listening(it.pid), it.workers()
        program = os.stat(f'/proc/{it.pid}/exe').st_ino
        path = os.stat(it.path('two')).st_ino
        it.wait_for_log(wording.READY)
        bound = it.log.find(r'listening on (\S+?):(\d+) ')[-2:]
        it.install()
        lines = '\n'.join(it.upgrade())
        self.assertRegex(lines, r'takes over from \d\S* pools=2 workers=5 listeners=4')
        self.assertRegex(lines, r'(?m)pool two: replaced: the binary')
        self.assertNotEqual(os.stat(f'/proc/{it.pid}/exe').st_ino, program)
        self.assertEqual(os.stat(f'/proc/{it.pid}/exe').st_ino, os.stat(it.program).st_ino)
        self.assertEqual(listening(it.pid), sockets)
        self.assertEqual(os.stat(it.path('two')).st_ino, path)
        it.wait_for_workers(5, without=workers)
        for address in [it.address('echo'), it.path('two')] + [
                (match[1].strip('[]'), int(match[2])) for match in bound]:
            self.assertEqual(client.ask(address, b'x'), b'x')
        it.stop()
        self.assertFalse(os.path.exists(it.path('two')))

    @test_listen.needs_ipv6
    def test_a_zone_that_the_kernel_ignores(self):
        """It stands in the file, but the socket knows nothing of it."""
        it = self.begin('pool "echo" { listen = { "[::1%lo]:0" } workers = 1 echo {} }\n')
        sockets = listening(it.pid)
        it.upgrade()
        self.assertEqual(listening(it.pid), sockets)

    def test_ports_of_the_kernels_choice(self):
        """A later address of an earlier pool is behind others in the master's list."""
        config = (CONTROL + 'pool "a" { listen = { %s } workers = 1 echo {} }\n'
                  'pool "b" { listen = { "127.0.0.1:0" } workers = 1 echo {} }\n')
        it = self.begin(config % '"127.0.0.1:0"')
        it.same_descriptors = False

        def addresses(name):
            pools = json.loads(control.ask(it, 'status', '--json').out)['pools']
            return {listener['address'] for pool in pools if pool['name'] == name
                    for listener in pool['listeners']}
        first, other = addresses('a'), addresses('b')
        it.reload(config % '"127.0.0.1:0", "127.0.0.1:0"')
        both = addresses('a')
        it.upgrade()
        self.assertEqual((addresses('a'), addresses('b')), (both, other))
        self.assertLess(first, both)

    def test_its_path_is_unlinked_when_a_later_reload_removes_it(self):
        it = self.begin(UNIX % 1 + 'pool "two" { listen = { "unix:@DIR@/two" } workers = 1\n'
                        'echo {} }')
        it.same_descriptors = False
        it.upgrade()
        it.reload(UNIX % 1)
        wait_until(lambda: not os.path.exists(it.path('two')), 'an unlinked path')

    def test_connection_in_hand_goes_on_through_three_upgrades(self):
        it = self.begin(ECHO % (2, 'graceful_timeout = 1'))
        it.same_descriptors = False
        it.announce(wording.OVERDUE)  # at its end, if the machine is slow
        held, = it.occupy('echo', 1)
        for _ in range(3):
            it.upgrade()
            self.assertEqual(client.echo(held, b'goes on'), b'goes on')
        mark = it.mark()
        it.kill(signal.SIGUSR1)
        it.wait_for_log(r'pool=echo .*retiring=1\b', mark)
        held.close()
        it.wait_for_workers(2)
        it.wait_for_log(r'worker \d+ ended after 1 request ')

    def test_counters_go_on(self):
        it = self.begin(ECHO % (2, ''))
        for _ in range(7):
            client.ask(it.address('echo'), b'x')
        held, = it.occupy('echo', 1)
        wait_until(lambda: self.counted(it) == (8, 7), '8 accepted, 7 served')
        it.upgrade()
        self.assertEqual(self.counted(it), (8, 7))
        held.close()
        wait_until(lambda: self.counted(it) == (8, 8), '8 served')
        it.upgrade()
        self.assertEqual(self.counted(it), (8, 8))
        it.wait_for_workers(2)

    def test_the_ledger_goes_on(self):
        """Old entries stay; a worker started before the upgrade gets an entry when it dies after
        it."""
        it = self.begin(ECHO % (2, ''))
        it.announce('killed by signal (9|6)')
        client.ask(it.address('echo'), b'x')
        held, = it.occupy('echo', 1)
        idle, = wait_until(lambda: it.workers('echo, idle'), 'an idle worker')
        busy, = set(it.workers()) - {idle}
        it.kill(signal.SIGKILL, idle)
        wait_until(lambda: len(board.deaths(it)) == 1, 'an entry')
        before = board.deaths(it)
        it.wait_for_workers(2, without=[idle])
        it.upgrade()
        self.assertEqual(board.deaths(it), before)
        peer = '%s:%d' % held.getsockname()
        it.kill(signal.SIGABRT, busy)
        first, second = wait_until(lambda: board.deaths(it)[1:] and board.deaths(it),
                                   'another entry')
        self.assertEqual([first], before)
        self.assertEqual((second['number'], second['pid'], second['signal'], second['generation'],
                          second['peer'], second['ready']), (2, busy, 'ABRT', 1, peer, True))
        self.assertGreater(second['memory'], 0)
        held.close()
        self.assertEqual(board.pool(it, 'echo')['deaths'], 2)
        it.wait_for_workers(2)

    def test_lines_of_old_workers_are_logged(self):
        it = self.begin('pool "x" { listen = { "systemd:x" } workers = 1 exec { command = {\n'
                        '"/bin/sh", "-c", "printf early; printf begun >&2; read a; echo ; '
                        'echo late $a >&2; echo done" } } }\n')
        it.announce('late', 'begun')
        worker, = it.workers()
        with it.connect('x') as held:
            self.assertEqual(client.read_exactly(held, 5), b'early')
            it.upgrade()
            it.wait_for_log(rf'worker {worker}: begun')
            held.sendall(b'word\n')
            self.assertEqual(client.read_all(held), b'\ndone\n')
        it.wait_for_log(rf'worker {worker}: late word pool=x pid={worker}')
        it.wait_for_workers(1, without=[worker])

    def test_last_line_of_an_old_worker_is_in_its_obituary(self):
        it = self.begin('pool "x" { listen = { "systemd:x" } workers = 1 exec { command = {\n'
                        '"/bin/sh", "-c", "echo my last >&2; echo; read a" } } }\n')
        it.announce('killed by signal')
        worker, = it.workers()
        with it.connect('x') as held:
            client.read_exactly(held, 1)
            it.wait_for_log('my last')
            it.upgrade()
            it.kill(signal.SIGKILL, worker)
            it.wait_for_log(wording.obituary(worker, signal='KILL', last='"my last'))

    def test_new_configuration_comes_with_it(self):
        it = self.begin(ECHO % (2, '') + 'pool "old" { listen = { "unix:@DIR@/old" } workers = 2\n'
                        'echo {} }\n')
        it.same_descriptors = False
        it.addresses['old'] = it.path('old')
        held, = it.occupy('old', 1)
        it.write(ECHO % (4, '') + 'pool "new" { listen = { "unix:@DIR@/new" } workers = 1\n'
                 'echo {} }')
        it.upgrade()
        self.assertEqual(client.ask(it.path('new'), b'x'), b'x')
        wait_until(lambda: not os.path.exists(it.path('old')), 'an unlinked path')
        self.assertEqual(client.echo(held, b'goes on'), b'goes on')
        held.close()
        it.wait_for_workers(5)

    def test_workers_have_the_soft_limit_of_files_of_the_first_start(self):
        it = self.begin(ECHO % (1, ''))

        def limit():
            with open(f'/proc/{it.workers()[0]}/limits', encoding='ascii') as file:
                return next(line for line in file if line.startswith('Max open files'))
        before = limit()
        it.upgrade()
        it.upgrade()
        self.assertEqual(limit(), before)

    def test_two_at_once_are_one(self):
        it = self.begin(ECHO % (2, ''))
        it.kill(signal.SIGUSR2)
        it.upgrade()
        it.upgrade()
        self.assertEqual(client.ask(it.address('echo'), b'x'), b'x')

    def test_during_a_reload_it_follows(self):
        it = self.begin(ECHO % (3, ''))
        for number in range(5):
            it.write(ECHO % (3, 'environment = { "N=%d" }' % number))
            mark = it.mark()
            it.kill(signal.SIGHUP)
            it.kill(signal.SIGUSR2)
            it.wait_for_log(wording.UPGRADED, mark)
            it.wait_for_log(wording.RELOADED, mark)
        it.wait_for_workers(3)

    def test_a_drain_and_a_size_by_signal_end(self):
        it = self.begin(ECHO % (2, ''))
        it.kill(signal.SIGTTIN)
        it.wait_for_workers(3)
        it.upgrade()
        it.wait_for_workers(2)
        it.kill(signal.SIGWINCH)
        wait_until(lambda: not it.workers(), 'no worker')
        it.upgrade()
        it.wait_for_workers(2)

    def test_supervision_goes_on(self):
        it = self.begin(ECHO % (3, ''))
        it.announce('killed by signal 9', wording.BACKOFF)
        for _ in range(3):
            mark = it.mark()
            it.kill(signal.SIGUSR2)
            it.wait_for_log(wording.TAKEN_OVER, mark)
            victim = wait_until(lambda: it.workers('echo'), 'a worker with a title')[0]
            with contextlib.suppress(ProcessLookupError):
                it.kill(signal.SIGKILL, victim)
            it.wait_for_log(wording.UPGRADED, mark)
            it.wait_for_workers(3, without=[victim])
            it.kill(signal.SIGKILL, it.workers()[1])
            it.wait_for_workers(3)
        # A victim may have retired just before its kill.
        self.assertGreaterEqual(len(it.log.find(r'killed by signal 9')), 3)

    def test_a_pool_that_follows_the_load(self):
        it = self.begin('pool "echo" { listen = { "systemd:echo" } min_workers = 1\n'
                        'max_workers = 6 min_spare = 1 max_spare = 1 spare_timeout = 1 echo {} }\n')
        held = it.occupy('echo', 4)
        for _ in range(2):
            it.upgrade()
            for connection in held:
                self.assertEqual(client.echo(connection, b'goes on'), b'goes on')
        held += it.occupy('echo', 4)
        for connection in held:
            connection.close()
        it.wait_for_workers(1)

    def test_late_requests_of_old_workers_are_ended(self):
        config = ('pool "x" { listen = { "systemd:x" } workers = 1 request_timeout = 2\n'
                  'exec { command = { "/bin/sh", "-c", "echo; exec sleep 1000" } } }\n')
        it = self.begin(config)
        it.announce('request_timeout', 'killed by signal 15')
        worker, = it.workers()
        with it.connect('x') as held:
            client.read_exactly(held, 1)
            it.upgrade()
            self.assertEqual(client.read_all(held), b'')
        it.wait_for_log(rf'worker {worker} .*request_timeout')
        it.wait_for_workers(1, without=[worker])

    def test_what_systemd_hears(self):
        it = self.begin(ECHO % (2, ''), environment={'WATCHDOG_USEC': '200000'})
        mark = len(it.notices.lines)
        it.upgrade()
        it.notices.wait(r'(?m)^RELOADING=1$', mark)
        it.notices.wait(r'(?m)^READY=1$', mark)
        for _ in range(3):
            it.notices.wait(r'(?m)^WATCHDOG=1$', since=len(it.notices.lines))
        with open(f'/proc/{it.workers()[0]}/environ', 'rb') as file:
            self.assertNotRegex(file.read(), rb'NOTIFY_SOCKET|WATCHDOG_|LISTEN_')

    def test_pid_file_stays_locked(self):
        it = self.begin(UNIX % 1, arguments=['-p', '@DIR@/pid'])
        it.upgrade()
        with open(it.path('pid'), encoding='ascii') as file:
            self.assertEqual(int(file.read()), it.pid)
        it.put('other.conf', 'control = "none" user = "root" pool "x" { listen = '
                             '{ "unix:@DIR@/x" } workers = 1 echo {} }\n')
        result = self.run_preforkd('-c', it.path('other.conf'), '-p', it.path('pid'))
        self.assertEqual(result.returncode, 3, result.stderr)
        self.assertIn('holds the pid file', result.stderr)
        it.stop()
        self.assertFalse(os.path.exists(it.path('pid')))

    def test_detached_and_by_relative_paths(self):
        it = self.make(UNIX % 2).own_program()
        result = self.run_preforkd('-d', '-c', 'preforkd.conf', '-p', 'pid', cwd=it.directory,
                                   executable='./preforkd')
        self.assertEqual(result.returncode, 0, result.stderr)
        with open(it.path('pid'), encoding='ascii') as file:
            master = int(file.read())
        child = processes.Child(master)
        self.addCleanup(lambda: child.running() and os.kill(master, signal.SIGKILL))
        for _ in range(2):
            workers = processes.children(master)
            os.kill(master, signal.SIGUSR2)
            wait_until(lambda: len(processes.children(master)) == 2 and
                       not set(workers) & set(processes.children(master)), 'new workers')
            self.assertEqual(client.ask(it.path('echo'), b'x'), b'x')
        os.kill(master, signal.SIGTERM)
        self.assertEqual(child.wait(), 0)
        self.assertFalse(os.path.exists(it.path('pid')))


class Refused(Case):
    """Whatever is wrong with the new program or the file, the running daemon goes on."""

    def script_that_tells(self, it, before=''):
        """A binary whose trial first does `before`. Returns a file with the pid of the trial."""
        trial = pathlib.Path(it.path('trial'))
        self.script(it, f'[ "$1" = -t ] && echo $$ >{trial}.new && mv {trial}.new {trial}\n'
                        f'[ "$1" = -t ] && {{ {before or ":"}; }}\nexec $REAL "$@"')
        return trial

    @staticmethod
    def wait_for_trial(trial):
        wait_until(trial.exists, 'the trial has begun')
        wait_until(lambda: not os.path.exists(f'/proc/{int(trial.read_text())}'),
                   'the trial is reaped')

    def refuse(self, it, *patterns):
        it.announce('err: upgrade')
        workers = it.workers()
        lines = '\n'.join(it.upgrade(refused=True))
        for pattern in patterns:
            self.assertRegex(lines, pattern)
        self.assertNotRegex(lines, 'hands over')
        self.assertEqual(it.workers(), workers)
        self.assertEqual(client.ask(it.address('echo'), b'still'), b'still')
        it.check_descriptors()

    def refuse_script(self, text, *patterns):
        it = self.begin(ECHO % (2, ''))
        self.script(it, text)
        self.refuse(it, *patterns)
        it.install()
        it.upgrade()

    def test_missing_program(self):
        it = self.begin(ECHO % (2, ''))
        os.unlink(it.program)
        self.refuse(it, 'No such file', "can't be executed")
        it.install()
        it.upgrade()

    def test_program_that_may_not_be_executed(self):
        it = self.begin(ECHO % (2, ''))
        it.put('preforkd', 'text', mode=0o644)
        self.refuse(it, 'Permission denied', "can't be executed")

    def test_program_of_another_kind(self):
        it = self.begin(ECHO % (2, ''))
        it.put('preforkd', 'text', mode=0o755)
        self.refuse(it, 'Exec format error', "can't be executed")

    def test_failing_test(self):
        self.refuse_script('echo one thing >&2; echo two things >&2; exit 3',
                           'err: upgrade: one thing', 'err: upgrade: two things',
                           'refused: .*/preforkd -t exited with status 3; .* keeps running')

    def test_program_that_says_nothing(self):
        self.refuse_script('exit 0', "can't use the state")

    def test_program_that_says_garbage(self):
        self.refuse_script('head -c 1000000 /dev/urandom; head -c 1000000 /dev/urandom >&2',
                           "can't use the state")

    def test_program_of_before_the_state(self):
        """An old version passes -t, and doesn't know the variable."""
        self.refuse_script('unset PREFORKD_STATE; exec $REAL "$@"', "can't use the state")

    def test_program_that_crashes(self):
        self.refuse_script('kill -SEGV $$', r'-t was killed by signal 11')

    def test_program_that_leaves_children(self):
        """The children hold its standard error open, and are killed with it."""
        it = self.begin(ECHO % (2, ''))
        self.script(it, f'sleep {it.pid}.5 & exit 1')  # a process name that is unique
        self.refuse(it, 'exited with status 1')
        wait_until(lambda: not [pid for pid in processes.table()
                                if processes.title(pid) == f'sleep {it.pid}.5'], 'no sleep')

    @staticmethod
    def wait_until_it_hangs(it):
        return wait_until(lambda: [pid for pid in processes.children(it.pid)
                                   if processes.title(pid) == 'sleep 1000'], 'the hanging program')

    def test_program_that_hangs(self):
        """An impatient admin may kill it; otherwise the time limit does."""
        it = self.begin(ECHO % (2, ''))
        it.announce('err: upgrade')
        self.script(it, 'exec sleep 1000')
        workers, mark = it.workers(), it.mark()
        it.kill(signal.SIGUSR2)
        hung = self.wait_until_it_hangs(it)
        self.assertEqual(client.ask(it.address('echo'), b'still'), b'still')
        it.reload()
        it.kill(signal.SIGKILL, hung[0])
        it.wait_for_log('refused: .* killed by signal 9', mark)
        self.assertEqual(it.workers(), workers)

    def test_program_that_hangs_for_ever(self):
        it = self.make(ECHO % (2, daemon.UNLISTED)).own_program().with_failing_calls()
        it.launch().ready()
        it.announce('err: upgrade')
        self.script(it, 'exec sleep 1000')
        workers, mark = it.workers(), it.mark()
        it.kill(signal.SIGUSR2)
        self.wait_until_it_hangs(it)
        it.leap(36)
        it.wait_for_log('refused: .*-t took more than 35 s', mark)
        self.assertEqual(it.workers(), workers)
        self.assertEqual(client.ask(it.address('echo'), b'still'), b'still')
        it.check_descriptors()
        it.install()
        it.upgrade()

    def test_stop_while_it_hangs(self):
        it = self.begin(ECHO % (2, ''))
        self.script(it, 'exec sleep 1000')
        it.kill(signal.SIGUSR2)
        self.wait_until_it_hangs(it)
        it.same_descriptors = False
        it.stop()

    def test_state_that_is_none(self):
        self.refuse_script('exec 9</etc/passwd; PREFORKD_STATE=9 exec $REAL "$@"',
                           "err: upgrade: .*can't be read: its line 1: no state of a preforkd",
                           'exited with status 3')

    def test_state_that_is_cut(self):
        self.refuse_script('head -n 3 /proc/self/fd/$PREFORKD_STATE >$3.cut; exec 9<$3.cut\n'
                           'PREFORKD_STATE=9 exec $REAL "$@"', "can't be read: .*not whole")

    def test_state_of_another_version(self):
        self.refuse_script('sed "s/^preforkd-state .*/preforkd-state 99/" '
                           '/proc/self/fd/$PREFORKD_STATE >$3.cut; exec 9<$3.cut\n'
                           'PREFORKD_STATE=9 exec $REAL "$@"', "can't be read: .*doesn't know: 99")

    def test_broken_configuration(self):
        it = self.begin(ECHO % (2, ''))
        it.write(ECHO % (2, 'umask = 999\nnonsense = 1'))
        self.refuse(it, rf'err: upgrade: {re.escape(it.file)}:2: .*umask',
                    rf'err: upgrade: {re.escape(it.file)}:3: .*nonsense', 'exited with status 1')
        it.write(ECHO % (2, ''))
        it.upgrade()

    def test_program_that_is_gone_when_it_counts(self):
        """The trial takes longer than the second in which the master writes its status again."""
        it = self.begin(CONTROL + ECHO % (2, ''))
        it.announce('err: upgrade')
        self.script(it, 'sleep 1.2; $REAL "$@"; status=$?; rm $0; exit $status')
        workers = it.workers()
        lines = '\n'.join(it.upgrade(refused=True))
        self.assertEqual(control.ask(it, 'ping').status, 0)  # nothing else wakes the master
        self.assertRegex(lines, "refused: can't execute .*No such file")
        self.assertEqual(it.workers(), workers)
        it.check_descriptors()
        with open(f'/proc/{workers[0]}/environ', 'rb') as file:
            self.assertNotIn(b'PREFORKD_STATE', file.read())
        it.kill(signal.SIGKILL, workers[0])
        it.announce('killed by signal 9')
        it.wait_for_workers(2, without=workers[:1])
        it.install()
        it.upgrade()

    def test_file_that_breaks_when_it_counts(self):
        """Past the point of no return: the old workers serve until the file is mended."""
        it = self.begin(ECHO % (2, ''))
        it.announce('err: reload', "err: upgraded .* not in force", 'killed by signal 9')
        held, = it.occupy('echo', 1)
        self.script(it, 'if [ "$1" != -t ]; then exec $REAL "$@"; fi\n'
                        '$REAL "$@" && echo nonsense >>$3')
        workers, mark = it.workers(), it.mark()
        it.kill(signal.SIGUSR2)
        it.wait_for_log('not in force', mark)
        self.assertEqual(it.workers(), workers)
        self.assertEqual(client.echo(held, b'goes on'), b'goes on')
        self.assertEqual(client.ask(it.address('echo'), b'still'), b'still')
        idle, = wait_until(lambda: [pid for pid in workers if 'idle' in processes.title(pid)],
                           'an idle worker')
        it.kill(signal.SIGKILL, idle)
        it.wait_for_log(rf'worker {idle} killed by signal 9')
        mark = it.mark()
        it.write(ECHO % (2, ''))
        it.kill(signal.SIGHUP)
        it.wait_for_log(wording.UPGRADED, mark)
        self.assertEqual(client.echo(held, b'goes on'), b'goes on')
        held.close()
        it.wait_for_workers(2, without=workers)

    def test_commands_while_no_file_is_in_force(self):
        """Each command ends with an answer, until the file is mended: nothing can be started
        without it."""
        it = self.begin(CONTROL + ECHO % (2, ''))
        it.announce('err: (reload|restart|upgrade)')
        self.script(it, 'if [ "$1" != -t ]; then exec $REAL "$@"; fi\n'
                        '$REAL "$@" && echo nonsense >>$3')
        mark = it.mark()
        it.kill(signal.SIGUSR2)
        it.wait_for_log('not in force', mark)
        for words in ('restart', 'restart echo', 'scale echo 3', 'resume', 'reload',
                      'reload --dry-run', 'upgrade'):
            with self.subTest(words):
                answer = control.ask(it, *words.split())
                self.assertEqual(answer.status, 1, answer)
                self.assertTrue(answer.err)
        self.assertEqual(control.ask(it, 'status').status, 0)
        self.assertEqual(client.ask(it.address('echo'), b'still'), b'still')
        mark = it.mark()
        self.assertEqual(control.ask(it, 'drain', 'echo').status, 0)
        it.write(CONTROL + ECHO % (2, 'min_ready_time = 2'))
        it.kill(signal.SIGHUP)
        it.wait_for_log('reloading', mark)
        self.assertEqual(control.ask(it, 'resume', 'echo').status, 0)  # waits for the reload
        it.wait_for_log(wording.UPGRADED, mark)
        it.wait_for_workers(2)
        self.assertEqual(client.ask(it.address('echo'), b'again'), b'again')
        self.assertFalse(it.log.find('upgrade: trying', mark), 'one that was refused')
        it.write(CONTROL + ECHO % (2, ''))
        self.assertEqual(control.ask(it, 'upgrade').status, 0)
        wait_until(lambda: len(it.log.find(wording.UPGRADED, mark)) == 2, 'two upgrades')

    def test_resume_and_scale_wait_for_its_reload(self):
        """Until then there is no configuration that a worker could be forked by."""
        it = self.begin(CONTROL + ECHO % (2, 'min_ready_time = 2'))
        it.same_descriptors = False  # one more worker
        mark = it.mark()
        upgrade = control.Caller(it.path('control'), 'upgrade')
        it.wait_for_log('takes over from', mark)
        drain = control.Caller(it.path('control'), 'drain', 'echo')
        it.wait_for_log('pool echo: draining', mark)
        callers = [control.Caller(it.path('control'), *words.split())
                   for words in ('resume echo', 'scale echo 3')]
        for caller in [*callers, upgrade]:
            self.assertEqual(caller.answer().status, 0)
        drain.answer()  # done or refused: the reload may end the drain first
        it.wait_for_workers(3)

    def test_no_client_of_the_control_socket_loses_its_answer(self):
        """Not a client in the middle of its request when the binary passes its trial, and not one
        that connects afterwards."""
        it = self.begin(CONTROL + ECHO % (2, ''))
        trial = self.script_that_tells(it)
        early = control.Caller(it.path('control'))
        early.connection.sendall(b'pi')
        self.assertEqual(control.ask(it, 'ping').status, 0)  # so the one before is accepted
        upgrade = control.Caller(it.path('control'), 'upgrade')
        self.wait_for_trial(trial)
        late = control.Caller(it.path('control'), 'ping')
        early.connection.sendall(b'ng\n')
        for caller in (early, late, upgrade):
            self.assertEqual(caller.answer().status, 0)
        it.wait_for_workers(2)

    def test_clients_are_answered_while_it_waits_for_a_reload(self):
        """The binary has passed its trial, but a reload that came then takes 20 s or more."""
        it = self.begin(CONTROL + ECHO % (2, ''))
        it.same_descriptors = False  # it is stopped in the middle of the reload
        trial = self.script_that_tells(it, f'until [ -e {it.path("go")} ]; do sleep 0.1; done')
        upgrade = control.Caller(it.path('control'), 'upgrade')
        wait_until(trial.exists, 'the trial has begun')
        mark = it.mark()
        it.write(CONTROL + ECHO % (2, 'min_ready_time = 20 umask = 077'))
        it.kill(signal.SIGHUP)
        it.wait_for_log('reloading', mark)
        it.put('go', '')
        self.wait_for_trial(trial)
        self.assertEqual(control.ask(it, 'ping').status, 0)
        self.assertFalse(it.log.find('takes over from', mark))
        it.stop()
        self.assertEqual(upgrade.answer().status, 1)

    def test_who_waits_for_that_reload_is_answered(self):
        """The hand-over follows the end of the reload at once."""
        it = self.begin(CONTROL + ECHO % (1, ''))
        trial = self.script_that_tells(it, f'until [ -e {it.path("go")} ]; do sleep 0.02; done')
        upgrade = control.Caller(it.path('control'), 'upgrade')
        wait_until(trial.exists, 'the trial has begun')
        it.write(CONTROL + ECHO % (1, 'min_ready_time = 1 umask = 077'))
        reload = control.Caller(it.path('control'), 'reload')
        it.wait_for_workers(2, pool='echo')  # so the file has been read
        it.write(CONTROL + ECHO % (1, ''))
        it.put('go', '')
        answer = reload.answer()
        self.assertEqual((answer.status, answer.err), (0, ''))
        self.assertIn('reload done: generation 2', answer.out)
        self.assertEqual(upgrade.answer().status, 0)

    def test_variable_that_is_nonsense(self):
        it = self.make(UNIX % 1)
        for value in ('', '-1', '0', 'x', '99999999999999999999'):
            result = self.run_preforkd('-t', '-c', it.file,
                                       env=os.environ | {'PREFORKD_STATE': value})
            self.assertEqual(result.returncode, 0, result.stderr)
            self.assertNotIn('understood', result.stdout)
        result = self.run_preforkd('-t', '-c', it.file, env=os.environ | {'PREFORKD_STATE': '77'})
        self.assertEqual(result.returncode, 3)
        self.assertIn("can't be read", result.stderr)


class Together(Case):
    def test_twenty_upgrades_under_load(self):
        it = self.begin(ECHO % (4, ''))
        held, = it.occupy('echo', 1)
        with client.Load(it.address('echo'), 6) as load:
            for _ in range(20):
                served = load.served
                it.upgrade()
                wait_until(lambda: load.served > served, 'more load')
            self.assertEqual(client.echo(held, b'goes on'), b'goes on')
        held.close()
        self.assertEqual(load.failures, [])
        it.wait_for_workers(4)

    def test_upgrades_of_unix_sockets_under_load(self):
        it = self.begin(UNIX % 3)
        with client.Load(it.path('echo'), 4) as load:
            for _ in range(10):
                served = load.served
                it.upgrade()
                wait_until(lambda: load.served > served, 'more load')
        self.assertEqual(load.failures, [])

    def stop_at(self, pattern, number):
        it = self.begin(ECHO % (2, ''))
        it.same_descriptors = False
        it.announce(wording.OVERDUE, 'killed by signal 9')
        it.kill(signal.SIGUSR2)
        if pattern:
            it.wait_for_log(pattern)
        it.kill(number)
        self.assertEqual(it.exited(), 0)

    def test_stop_right_at_it(self):
        """No signal is lost or deadly, whichever program it meets."""
        for number in (signal.SIGTERM, signal.SIGQUIT, signal.SIGINT):
            for pattern in ('', 'upgrade: trying', 'hands over', 'takes over', 'reloading'):
                with self.subTest(f'{number.name} {pattern}'):
                    self.stop_at(pattern, number)

    def test_other_signals_right_at_it(self):
        it = self.begin(ECHO % (2, ''))
        for pattern in ('upgrade: trying', 'hands over', 'takes over', 'reload: pool') * 3:
            mark = it.mark()
            it.kill(signal.SIGUSR2)
            it.wait_for_log(pattern, mark)
            it.kill(signal.SIGHUP)
            it.kill(signal.SIGUSR1)
            it.wait_for_log('state=', mark)
            it.wait_for_log(wording.UPGRADED, mark)
            it.wait_for_log(r'SIGHUP from', mark)
        wait_until(lambda: not it.notices.find('RELOADING') or
                   'READY=1' in [line for line in '\n'.join(it.notices.lines).split('\n')
                                 if line in ('READY=1', 'RELOADING=1')][-1], 'READY=1 last')
        it.wait_for_workers(2)

    def test_a_drain_right_at_it_is_not_lost(self):
        it = self.begin(ECHO % (2, ''))
        for pattern in ('hands over', 'takes over') * 5:
            mark = it.mark()
            it.kill(signal.SIGUSR2)
            it.wait_for_log(pattern, mark)
            it.kill(signal.SIGWINCH)
            it.wait_for_log('SIGWINCH from', mark)
            it.wait_for_log(wording.UPGRADED, mark)
        it.reload()  # whether it is still drained depends on which came first
        it.wait_for_workers(2)

    def test_a_killed_master_leaves_nobody(self):
        it = self.begin(ECHO % (3, ''))
        it.upgrade()
        workers = it.workers()
        it.kill(signal.SIGKILL)
        self.assertEqual(it.exited(), -signal.SIGKILL)
        wait_until(lambda: not any(processes.alive(pid) for pid in workers), 'no worker')

    def test_pkill_hits_nobody_else(self):
        """`pkill -USR2 preforkd` also signals the workers and the check."""
        it = self.begin(ECHO % (3, ''))
        for _ in range(5):
            mark = it.mark()
            it.kill(signal.SIGUSR2)
            while not it.log.find(wording.UPGRADED, mark):
                for pid in processes.descendants(it.pid):
                    try:
                        it.kill(signal.SIGUSR2, pid)
                        it.kill(signal.SIGHUP, pid)
                    except ProcessLookupError:
                        pass
        it.wait_for_workers(3)


if __name__ == '__main__':
    daemon.main()
