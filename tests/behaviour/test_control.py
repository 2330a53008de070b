"""The control socket: each command, who may send it, and that no caller can do harm."""

import json
import os
import re
import resource
import shutil
import signal
import socket
import stat
import subprocess
import threading
import unittest

import client
import control
import daemon
import processes
import wording
from control import Caller, ask
from processes import wait_until

CONTROL = 'control = "@DIR@/control"\n'
ECHO = 'pool "echo" { listen = { "systemd:echo" } workers = %d\n%s\necho {} }\n'
TWO = ('pool "one" { listen = { "systemd:one" } workers = 2 echo {} }\n'
       'pool "two" { listen = { "systemd:two" } workers = 3 echo {} }\n')


class Case(daemon.Case):
    def serve(self, config=ECHO % (2, ''), **more):
        return self.start(CONTROL + config, **more)

    def asked(self, it, *words, status=0, **more):
        """Sends a command, and checks its exit status."""
        answer = ask(it, *words, **more)
        self.assertEqual(answer.status, status, answer)
        return answer


    @staticmethod
    def most(it, others):
        """How many workers a pool may have beside so many."""
        files = resource.prlimit(it.pid, resource.RLIMIT_NOFILE)[1]
        return min(30000, 30000 if files == resource.RLIM_INFINITY else files - 128) - others


class Words(Case):
    def test_ping(self):
        it = self.serve()
        self.assertRegex(self.asked(it, 'ping').out, rf'^pid {it.pid}, serving, generation 1 ')

    def test_status_and_deaths(self):
        it = self.serve()
        self.assertIn('echo', self.asked(it, 'status').out)
        json.loads(self.asked(it, 'status', '--json').out)
        json.loads(self.asked(it, 'deaths', '--json').out)
        self.asked(it, 'deaths')

    def test_a_report_shows_what_was_ordered_before(self):
        """The order and the question reach the master in one round."""
        it = self.serve()
        with it.paused():
            drain = Caller(it.path('control'), 'drain')
            status = Caller(it.path('control'), 'status')
        self.assertRegex(status.answer().out, r'(?m)^pool echo: drained, ')
        self.assertEqual(drain.answer().status, 0)
        self.asked(it, 'resume')
        with it.paused():
            it.kill(signal.SIGWINCH)
            it.kill(signal.SIGUSR1)
        it.wait_for_log('pool=echo state=drained')

    def test_a_pool_that_grows_has_no_old_trouble(self):
        it = self.make(CONTROL + 'pool "echo" { listen = { "systemd:echo", "unix:@DIR@/echo" }\n'
                       f'workers = 1 {daemon.UNLISTED}\necho {{}} }}\n')
        it.with_failing_calls().launch().ready()
        it.announce('killed by signal', 'epoll: ', wording.BACKOFF)
        it.put('EPOLL', '', mode=0o666)
        it.kill(signal.SIGKILL, it.workers()[0])

        def pool():
            return json.loads(self.asked(it, 'status', '--json').out)['pools'][0]
        wait_until(lambda: 'epoll: ' in (pool()['trouble'] or ''), 'trouble')
        os.unlink(it.path('EPOLL'))
        self.assertEqual(client.ask(it.address('echo'), b'x'), b'x')
        wait_until(lambda: pool()['state'] == 'serving', 'a pool that serves')
        with it.paused():
            scale = Caller(it.path('control'), 'scale', 'echo', '2')
            status = Caller(it.path('control'), 'status', '--json')
        found, = json.loads(status.answer().out)['pools']
        self.assertEqual((found['state'], found['trouble']), ('starting', None))
        self.assertEqual(scale.answer().status, 0)

    def test_help_lists_what_there_is(self):
        it = self.serve()
        words = set(re.findall(r'(?m)^(\w+)', self.asked(it, 'help').out))
        self.assertLessEqual({'status', 'reload', 'restart', 'scale', 'drain', 'resume', 'deaths',
                              'stop', 'ping', 'help'}, words)

    def test_wrong_words(self):
        it = self.serve()
        for words, error in {('statu',): 'did you mean "status"', ('xyzzy',): 'unknown',
                             ('topp',): 'did you mean "top"', ('top',): 'of preforkctl, not of',
                             ('scale', 'echo'): 'usage: .*scale POOL N', ('stop', 'now'): 'usage',
                             ('reload', '--dry'): 'usage', ('',): 'unknown',
                             ('scale', 'echo', '2x'): 'not a number',
                             ('scale', 'echo', '010'): 'not a number.*without leading zeroes',
                             ('scale', 'echo', '+2'): 'not a number',
                             ('--json',): None}.items():
            answer = self.asked(it, *words, status=2)
            self.assertRegex(answer.err or json.loads(answer.out)['error'], error or '.')

    def test_unknown_pools(self):
        it = self.serve()
        for words in (('drain', 'ecko'), ('resume', 'ecko'), ('restart', 'ecko'),
                      ('scale', 'ecko', '3')):
            self.assertRegex(self.asked(it, *words, status=1).err, 'did you mean "echo"')
        it.wait_for_log('notice: preforkctl scale refused: there is no pool "ecko"')

    def test_json_of_any_word(self):
        it = self.serve()
        good = json.loads(self.asked(it, 'ping', '--json').out)
        self.assertEqual((good['ok'], 'error' in good), (True, False))
        answer = self.asked(it, 'drain', '\\"\u00e4', '--json', status=1)
        bad = json.loads(answer.out)
        self.assertEqual((bad['ok'], answer.err), (False, ''))
        self.assertIn('\\"\u00e4', bad['error'])

    def test_the_log_says_who(self):
        it = self.serve()
        self.asked(it, 'restart', 'echo')
        it.wait_for_log(rf'notice: preforkctl restart echo from pid {os.getpid()} \(\S+\) '
                        rf'uid {os.getuid()}: ')
        mark = it.mark()
        self.asked(it, 'status')
        self.assertEqual(it.log.find('preforkctl', mark), [])

    def test_stop(self):
        it = self.serve()
        with it.connect('echo') as held:
            client.echo(held, b'x')
            stop = Caller(it.path('control'), 'stop')
            it.wait_for_log(wording.STOPPING)
            self.assertTrue(stop.waits())
            self.assertRegex(self.asked(it, 'ping').out, 'stopping')
            self.assertRegex(self.asked(it, 'drain', status=1).err, 'stopping')
        answer = stop.answer()
        self.assertEqual((answer.status, answer.out), (0, 'stopped\n'))
        self.assertEqual(it.exited(), 0)
        self.assertFalse(os.path.exists(it.path('control')))

    def test_those_who_wait_are_told_of_a_stop(self):
        it = self.serve()
        held, = it.occupy('echo', 1)
        drain = Caller(it.path('control'), 'drain')
        it.wait_for_log('draining')
        it.kill(signal.SIGTERM)
        answer = drain.answer()
        self.assertEqual((answer.status, answer.err), (1, 'the daemon is stopping\n'))
        held.close()


class Reload(Case):
    def test_done(self):
        it = self.serve(ECHO % (2, ''))
        workers = it.workers()
        it.write(CONTROL + ECHO % (2, 'umask = 077'))
        answer = self.asked(it, 'reload')
        self.assertRegex(answer.out, r'^pool echo: replaced: umask 022 to 077\n'
                                     r'reload done: generation 2, in [\d.]+ s\n$')
        it.wait_for_workers(2, without=workers)

    def test_refused(self):
        it = self.serve()
        workers = it.workers()
        it.announce(wording.REFUSED, wording.FAULT)
        it.write(CONTROL + ECHO % (2, 'umask = 999\nnonsense = 1'))
        answer = self.asked(it, 'reload', status=1)
        self.assertRegex(answer.err, rf'(?m)^{re.escape(it.file)}:3: .*umask.*\n'
                                     rf'{re.escape(it.file)}:4: .*nonsense.*\n$')
        self.assertEqual((answer.out, it.workers()), ('', workers))

    @daemon.needs_root
    def test_no_canary_becomes_ready(self):
        it = self.serve(TWO)
        workers = it.workers()
        it.announce(wording.REFUSED, wording.FAULT, 'not ready within ready_timeout')
        it.write(CONTROL + 'pool "three" { listen = { "unix:@DIR@/three" } workers = 1 echo {} }\n'
                 + TWO.replace('3 echo {}', '3 ready_timeout = 1\n'
                               'app { command = { "/bin/sleep", "1000" } ready = "notify" }'))
        self.assertRegex(self.asked(it, 'reload', status=1).err, 'did not become ready')
        wait_until(lambda: it.workers() == workers, 'only the old workers')
        self.assertFalse(os.path.exists(it.path('three')))

    def test_two_callers_at_once_and_a_third_meanwhile(self):
        """Callers that arrive during a reload are answered after the next one."""
        it = self.serve()
        it.announce(wording.REFUSED, wording.FAULT)
        callers = [Caller(it.path('control'), 'reload') for _ in range(10)]
        answers = [caller.answer() for caller in callers]
        self.assertEqual({answer.status for answer in answers}, {0}, answers)
        self.assertLessEqual(len(it.log.find(wording.RELOADED)), 10)
        it.write(CONTROL + 'nonsense\n')
        callers = [Caller(it.path('control'), 'reload') for _ in range(10)]
        for answer in [caller.answer() for caller in callers]:
            self.assertEqual((answer.status, answer.out), (1, ''), answer)
            self.assertIn(f'{it.file}:2: ', answer.err)

    def test_a_caller_may_leave(self):
        it = self.serve(ECHO % (2, ''))
        workers = it.workers()
        it.write(CONTROL + ECHO % (2, 'umask = 077'))
        Caller(it.path('control'), 'reload').leave()
        it.wait_for_log(f'{wording.RELOADED}|request')
        it.wait_for_workers(2, without=workers)

    def test_old_workers_of_ten_generations_hold_nothing_up(self):
        it = self.serve(ECHO % (2, 'umask = 022'))
        held = []
        for number in range(10):
            held += it.occupy('echo', 1)
            it.write(CONTROL + ECHO % (2, f'umask = 0{number % 2 + 1}7'))
            self.asked(it, 'reload')
            self.assertEqual(client.ask(it.address('echo'), b'x'), b'x')
        for number, connection in enumerate(held):
            self.assertEqual(client.echo(connection, b'%d' % number), b'%d' % number)
        wait_until(lambda: len(it.workers()) == 12, 'two new workers and ten old ones')
        for connection in held:
            connection.close()
        it.wait_for_workers(2)

    def test_success_ends_drains_and_sizes_refusal_none(self):
        it = self.serve(TWO)
        it.announce(wording.REFUSED, wording.FAULT)
        self.asked(it, 'drain', 'one')
        self.asked(it, 'scale', 'two', '5')
        it.write(CONTROL + TWO + 'nonsense\n')
        self.asked(it, 'reload', status=1)
        self.assertEqual(it.workers('one'), [])
        it.wait_for_workers(5, pool='two')
        it.write(CONTROL + TWO)
        self.asked(it, 'reload')
        it.wait_for_workers(2, pool='one')
        it.wait_for_workers(3, pool='two')

    def test_hup_and_the_word_are_one_queue(self):
        it = self.serve()
        callers = []
        for _ in range(20):
            callers.append(Caller(it.path('control'), 'reload'))
            it.kill(signal.SIGHUP)
        for caller in callers:
            self.assertEqual(caller.answer().status, 0)
        self.asked(it, 'ping')


class Upgrade(Case):
    """The program is replaced while a caller waits for that."""

    def test_the_new_program_answers(self):
        it = self.serve()
        old = it.workers()
        held, = it.occupy('echo', 1)
        answer = self.asked(it, 'upgrade')
        self.assertRegex(answer.out, r'^upgraded: preforkd \S+, generation 2\n$')
        self.assertEqual(client.echo(held, b'still'), b'still')
        held.close()
        it.wait_for_workers(2, without=old)
        self.assertRegex(self.asked(it, 'ping').out, rf'^pid {it.pid}, serving, generation 2')

    def test_several_callers_and_json(self):
        it = self.serve()
        answers = []

        def call():
            answers.append(self.asked(it, 'upgrade', '--json'))
        threads = [threading.Thread(target=call) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(len(answers), 3)
        for answer in answers:
            self.assertTrue(json.loads(answer.out)['ok'], answer.out)

    def test_the_next_is_asked_for_before_this_one_is_over(self):
        it = self.serve('pool "app" {\n    listen = { "127.0.0.1:0" }\n    workers = 1\n'
                        '    app { command = { "/bin/sleep", "1000" } }\n}\n')  # ready after 1 s
        first = Caller(it.path('control'), 'upgrade')
        it.wait_for_log('takes over from')
        second = Caller(it.path('control'), 'upgrade')
        for caller, generation in (first, 2), (second, 3):
            answer = caller.answer()
            self.assertEqual(answer.status, 0, answer)
            self.assertIn(f'generation {generation}', answer.out)

    def test_refused(self):
        it = self.serve()
        it.announce('upgrade')
        it.write('pool "echo" { wrong = 1 }\n')
        answer = self.asked(it, 'upgrade', status=1)
        self.assertRegex(answer.err, r'preforkd.conf:\d+: .*unknown option "wrong"')
        self.assertRegex(answer.err, r' -t exited with status 1\n$')
        self.assertRegex(self.asked(it, 'ping').out, r'generation 1 ')

    def test_who_waits_for_something_else_is_told(self):
        it = self.serve()
        it.same_descriptors = True
        held, = it.occupy('echo', 1)
        drain = Caller(it.path('control'), 'drain')
        it.wait_for_log('draining')
        self.asked(it, 'upgrade')
        answer = drain.answer()
        self.assertEqual((answer.status, answer.out), (1, ''))
        self.assertRegex(answer.err, 'an upgrade interrupted')
        held.close()
        it.wait_for_workers(2)


class DryRun(Case):
    OLD = ('pool "kept" { listen = { "systemd:kept" } workers = 1 echo {} }\n'
           'pool "resized" { listen = { "systemd:resized" } workers = 4 echo {} }\n'
           'pool "replaced" { listen = { "unix:@DIR@/replaced" } workers = 1 echo {} }\n'
           'pool "removed" { listen = { "unix:@DIR@/removed" } workers = 1 echo {} }\n')
    NEW = ('pool "kept" { listen = { "systemd:kept" } workers = 1 echo {} }\n'
           'pool "resized" { listen = { "systemd:resized" } workers = 8 echo {} }\n'
           'pool "replaced" { listen = { "unix:@DIR@/replaced" } workers = 1 umask = 027\n'
           'echo {} }\n'
           'pool "added" { listen = { "unix:@DIR@/added" } workers = 1 echo {} }\n')

    def test_it_tells_and_changes_nothing(self):
        it = self.serve(self.OLD)
        workers, descriptors = it.workers(), len(processes.descriptors(it.pid))
        it.write(CONTROL + self.NEW)
        lines = self.asked(it, 'reload', '--dry-run').out.splitlines()
        expected = ['pool kept: kept', 'pool resized: resized 4 to 8',
                    'pool replaced: replaced: umask 022 to 027', 'pool added: added',
                    'pool removed: removed', f'listener unix:{it.path("replaced")}: kept',
                    f'listener unix:{it.path("removed")}: closed: it was of pool removed',
                    f'listener unix:{it.path("added")}: opened']
        self.assertLessEqual(set(expected), set(lines))
        self.assertEqual(len(lines), len(expected) + 2, lines)
        self.assertEqual(it.workers(), workers)
        self.assertFalse(os.path.exists(it.path('added')))
        wait_until(lambda: len(processes.descriptors(it.pid)) == descriptors, 'no new descriptor')
        self.assertRegex(self.asked(it, 'ping').out, 'generation 1 ')
        self.assertEqual(self.asked(it, 'reload').out.splitlines()[:-1],
                         [line for line in lines if not line.endswith(': kept')])

    def test_it_tells_which_drains_end(self):
        it = self.serve(self.OLD)
        self.asked(it, 'drain', 'kept')
        lines = self.asked(it, 'reload', '--dry-run').out.splitlines()
        self.assertIn('pool kept: its drain ends', lines)
        self.assertNotIn('pool resized: its drain ends', lines)
        self.assertEqual(self.asked(it, 'reload').out.splitlines()[:-1],
                         ['pool kept: its drain ends'])

    def test_a_broken_file(self):
        it = self.serve()
        it.write(CONTROL + ECHO % (2, 'nonsense'))
        self.assertIn(f'{it.file}:3: ', self.asked(it, 'reload', '--dry-run', status=1).err)
        self.assertEqual(it.log.find(' err: '), [])

    def test_a_wildcard_that_collides(self):
        port = daemon.reserve_port(self)
        config = 'pool "x" { listen = { "%s:%d" } workers = 1 echo {} }\n'
        it = self.serve(config % ('127.0.0.1', port))
        it.write(CONTROL + config % ('*', port))
        self.assertRegex(self.asked(it, 'reload', '--dry-run', status=1).err, 'wildcard')

    def test_the_control_socket(self):
        it = self.serve()
        it.write('control = "@DIR@/other"\n' + ECHO % (2, ''))
        out = self.asked(it, 'reload', '--dry-run').out
        self.assertRegex(out, r'control unix:\S*/control: closed\ncontrol unix:\S*/other: opened')
        self.assertFalse(os.path.exists(it.path('other')))


class Restart(Case):
    def test_one_pool(self):
        it = self.serve(TWO)
        one, two = it.workers('one'), it.workers('two')
        held, = it.occupy('one', 1)
        self.assertRegex(self.asked(it, 'restart', 'one').out, 'restart done: generation 2')
        self.assertEqual(client.echo(held, b'goes on'), b'goes on')
        wait_until(lambda: len(set(one) & set(it.workers('one'))) == 1, 'only the busy old worker')
        held.close()
        it.wait_for_workers(2, without=one, pool='one')
        self.assertEqual(it.workers('two'), two)

    def test_all_but_those_drained_and_sizes_stay(self):
        it = self.serve(TWO)
        self.asked(it, 'drain', 'one')
        self.asked(it, 'scale', 'two', '5')
        two = it.wait_for_workers(5, pool='two')
        self.assertRegex(self.asked(it, 'restart', 'one', status=1).err, 'drained')
        self.asked(it, 'restart')
        it.wait_for_workers(5, without=two, pool='two')
        self.assertEqual(it.workers('one'), [])
        self.asked(it, 'resume', 'one')
        it.wait_for_workers(2, pool='one')

    def test_with_a_canary(self):
        it = self.make(CONTROL + ECHO % (2, 'directory = "@DIR@/place"'))
        os.mkdir(it.path('place'))
        it.launch().ready()
        workers = it.workers()
        it.announce('restart refused', wording.BACKOFF, r'err: restart: ', 'place')
        os.rmdir(it.path('place'))
        self.assertRegex(self.asked(it, 'restart', status=1).err, 'place')
        self.assertRegex(self.asked(it, 'restart', 'echo', status=1).err, 'place')
        wait_until(lambda: it.workers() == workers, 'only the old workers')
        self.assertEqual(client.ask(it.address('echo'), b'x'), b'x')

    def test_hundred_under_load(self):
        it = self.serve(ECHO % (4, ''))
        with client.Load(it.address('echo'), 6) as load:
            for _ in range(100):
                workers = it.workers()
                self.asked(it, 'restart')
                it.wait_for_workers(4, without=workers)
        self.assertEqual(load.failures, [])

    def test_of_a_pool_that_a_reload_removes_before(self):
        it = self.serve(TWO)
        it.announce('restart refused', 'err: restart: ')
        it.write(CONTROL + TWO.splitlines()[0] + '\n')
        reload, restart = (Caller(it.path('control'), *words)
                           for words in (('reload',), ('restart', 'two')))
        self.assertEqual(reload.answer().status, 0)
        answer = restart.answer()
        self.assertEqual(answer.status, 1)
        self.assertRegex(answer.err, 'no pool')


class Drain(Case):
    def test_it_waits_for_the_last_connection(self):
        it = self.serve(TWO)
        held, = it.occupy('one', 1)
        drain = Caller(it.path('control'), 'drain', 'one')
        wait_until(lambda: len(it.workers('one')) == 1, 'only the busy worker left')
        wait_until(lambda: processes.accepts_no_more(it.workers('one')[0]), 'no listener in it')
        self.assertTrue(drain.waits())
        queued = it.connect('one')
        self.addCleanup(queued.close)
        queued.sendall(b'patience')
        held.close()
        self.assertEqual(drain.answer().status, 0)
        self.assertEqual(len(it.workers('two')), 3)
        self.assertRegex(self.asked(it, 'resume', 'one').out, 'resumed')
        self.assertEqual(client.read_exactly(queued, 8), b'patience')

    def test_all(self):
        it = self.serve(TWO)
        self.asked(it, 'drain')
        self.assertEqual(it.workers(), [])
        self.asked(it, 'drain', 'one')
        self.asked(it, 'resume', 'one')
        self.assertEqual(len(it.workers()), 2)
        self.asked(it, 'resume')
        self.assertEqual(len(it.workers()), 5)
        self.asked(it, 'resume')

    def test_a_caller_that_leaves_changes_nothing(self):
        it = self.serve()
        held, = it.occupy('echo', 1)
        drain = Caller(it.path('control'), 'drain')
        wait_until(lambda: len(it.workers()) == 1, 'only the busy worker left')
        drain.leave()
        held.close()
        wait_until(lambda: not it.workers(), 'no worker')
        self.asked(it, 'resume')

    def test_resumed_meanwhile(self):
        it = self.serve()
        held, = it.occupy('echo', 1)
        drain = Caller(it.path('control'), 'drain')
        it.wait_for_log('draining')
        self.asked(it, 'resume', 'echo')
        answer = drain.answer()
        self.assertEqual(answer.status, 1)
        self.assertRegex(answer.err, 'no longer drained')
        held.close()

    def test_removed_meanwhile(self):
        it = self.serve(TWO)
        held, = it.occupy('two', 1)
        drain = Caller(it.path('control'), 'drain', 'two')
        it.wait_for_log('draining')
        it.write(CONTROL + TWO.splitlines()[0] + '\n')
        self.asked(it, 'reload')
        self.assertRegex(drain.answer().err, 'removed')
        held.close()

    def test_resume_of_what_cannot_serve(self):
        it = self.make(CONTROL + ECHO % (2, 'directory = "@DIR@/place"'))
        os.mkdir(it.path('place'))
        it.launch().ready()
        it.announce(wording.BACKOFF, 'place')
        self.asked(it, 'drain')
        os.rmdir(it.path('place'))
        self.assertRegex(self.asked(it, 'resume', status=1).err, 'place.*no worker becomes ready')


class Scale(Case):
    def test_up_and_down(self):
        it = self.serve(TWO)
        self.assertRegex(self.asked(it, 'scale', 'one', '7').out, 'pool one: 2 to 7 workers')
        it.wait_for_workers(7, pool='one')
        self.asked(it, 'scale', 'one', '1')
        it.wait_for_workers(1, pool='one')
        self.assertEqual(len(it.workers('two')), 3)

    def test_never_below_one_nor_beyond_what_there_may_be(self):
        it = self.serve(TWO)
        most = self.most(it, 3)
        for size in ('0', '-1', str(most + 1), '99999999999999999999'):
            self.assertRegex(self.asked(it, 'scale', 'one', size, status=1).err, f'1 to {most},')
        self.assertEqual(len(it.workers()), 5)

    def test_nor_beyond_the_open_files(self):
        """The master needs some for itself: without them nobody could take the size back."""
        it = self.serve(TWO)
        resource.prlimit(it.pid, resource.RLIMIT_NOFILE, (134, 134))
        self.assertRegex(self.asked(it, 'scale', 'one', '100', status=1).err,
                         'pool one: a size is 1 to 3, by the hard limit of open files')
        it.kill(signal.SIGTTIN)
        it.wait_for_log('pool two: a size is 1 to 3, by the hard limit of open files')
        it.wait_for_workers(6)
        self.asked(it, 'scale', 'one', '1')
        it.wait_for_workers(4)

    def test_a_drained_pool(self):
        it = self.serve(TWO)
        self.asked(it, 'drain', 'one')
        self.assertRegex(self.asked(it, 'scale', 'one', '4').out, 'drained')
        self.assertEqual(it.workers('one'), [])
        self.asked(it, 'resume', 'one')
        it.wait_for_workers(4, pool='one')

    def test_a_reload_tells_of_its_end(self):
        it = self.serve(TWO)
        self.asked(it, 'scale', 'one', '4')
        self.asked(it, 'scale', 'two', '1')
        self.assertNotIn('resized', self.asked(it, 'restart').out)
        it.write(CONTROL + TWO.replace('workers = 3', 'workers = 1'))
        for words in (('reload', '--dry-run'), ('reload',)):
            lines = self.asked(it, *words).out.splitlines()
            self.assertIn('pool one: resized 4 to 2', lines)
            self.assertNotIn('pool two: resized', '\n'.join(lines))
        it.wait_for_workers(2, pool='one')
        self.assertEqual(len(it.workers('two')), 1)

    def test_beside_ttin(self):
        it = self.serve(ECHO % (2, ''))
        self.asked(it, 'scale', 'echo', '4')
        it.kill(signal.SIGTTIN)
        it.wait_for_workers(5)


class Dynamic(Case):
    """A pool whose size follows the load."""

    POOL = ('pool "echo" { listen = { "systemd:echo" } max_workers = 6 min_workers = %d\n'
            'min_spare = %d max_spare = 4 umask = %s echo {} }\n')

    def test_it_is_not_scaled(self):
        it = self.serve(self.POOL % (2, 2, '022') + TWO.splitlines()[0])
        self.assertRegex(self.asked(it, 'scale', 'echo', '3', status=1).err, 'follows the load')
        self.assertRegex(self.asked(it, 'scale', 'one', '30000', status=1).err,
                         f'1 to {self.most(it, 6)},')

    def test_drain_resume_restart_reload(self):
        it = self.serve(self.POOL % (2, 2, '022'))
        self.asked(it, 'drain', 'echo')
        self.assertEqual(it.workers(), [])
        self.asked(it, 'resume', 'echo')
        self.assertEqual(client.ask(it.address('echo'), b'x'), b'x')
        workers = it.workers()
        self.assertGreaterEqual(len(workers), 2)
        self.asked(it, 'restart', 'echo')
        self.assertEqual(set(workers) & set(it.workers()), set())
        workers = it.workers()
        it.write(CONTROL + self.POOL % (2, 2, '077'))
        self.asked(it, 'reload')
        self.assertEqual(set(workers) & set(it.workers()), set())
        self.assertEqual(client.ask(it.address('echo'), b'x'), b'x')

    def test_one_that_is_empty(self):
        it = self.serve(self.POOL % (0, 0, '022'))
        for words in (('drain',), ('resume',), ('restart',), ('reload',)):
            self.asked(it, *words)
            if words != ('drain',):
                self.assertEqual(client.ask(it.address('echo'), b'x'), b'x')


class Socket(Case):
    def mode(self, path):
        return stat.S_IMODE(os.stat(path).st_mode)

    def test_none(self):
        it = self.start('control = "none"\n' + ECHO % (1, ''))
        self.assertFalse(os.path.exists(it.path('control')))

    def test_mode_and_end(self):
        it = self.serve()
        self.assertEqual(self.mode(it.path('control')), 0o600)
        it.stop()
        self.assertFalse(os.path.exists(it.path('control')))

    def test_stale_one_is_replaced_a_living_one_refused(self):
        it = self.make(CONTROL + ECHO % (1, ''))
        stale = daemon.listen_unix(it.path('control'))
        stale.close()
        it.launch().ready()
        other = self.make(f'control = "{it.path("control")}"\n' + ECHO % (1, ''))
        other.announce(':1: control .*in use')
        other.launch()
        self.assertEqual(other.exited(), 3)
        self.asked(it, 'ping')

    def test_missing_directory(self):
        it = self.make('control = "@DIR@/nowhere/control"\n' + ECHO % (1, ''))
        it.announce(':1: control .* is not there: make it')
        it.launch()
        self.assertEqual(it.exited(), 1)

    def test_somebody_elses_is_left_alone(self):
        it = self.serve()
        it.announce(wording.UNREACHABLE)
        os.unlink(it.path('control'))
        mine = daemon.listen_unix(it.path('control'))
        self.addCleanup(mine.close)
        it.stop()
        self.assertTrue(os.path.exists(it.path('control')))

    @daemon.needs_root
    def test_beside_the_default_place(self):
        """Where no unit made the directory, the daemon creates it, for any file name."""
        it = self.make(ECHO.replace('systemd:echo', '127.0.0.1:0') % (1, ''))
        with open(it.file, encoding='ascii') as file:
            it.put('preforkd.conf', file.read().replace('"none"', '"/run/preforkd/other"'))
        script = ('mount -t tmpfs tmpfs /run && "$0" -t -c "$2" && "$0" -d -c "$2" && '
                  '"$1" -s /run/preforkd/other stop')
        done = subprocess.run(['/usr/bin/unshare', '-m', '/bin/sh', '-c', script, daemon.BINARY,
                               daemon.CONTROL_BINARY, it.file], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, check=False,
                              timeout=daemon.PATIENCE)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    @daemon.needs_root
    def test_default_place(self):
        """Where no unit made the directory, the daemon creates it. /run is the test's own."""
        it = self.make('control_group = "nogroup"\n' + ECHO.replace('systemd:echo', '127.0.0.1:0')
                       % (1, ''))
        with open(it.file, encoding='ascii') as file:
            it.put('preforkd.conf', file.read().replace('control = "none"\n', ''))
        script = ('mount -t tmpfs tmpfs /run && "$0" -d -c "$2" && stat -c "%a %G" /run/preforkd '
                  '/run/preforkd/control.sock && "$1" ping && "$1" stop; ls /run/preforkd')
        done = subprocess.run(['/usr/bin/unshare', '-m', '/bin/sh', '-c', script, daemon.BINARY,
                               daemon.CONTROL_BINARY, it.file], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, check=False,
                              timeout=daemon.PATIENCE, umask=0o077)
        self.assertRegex(done.stdout, r'^755 root\n660 nogroup\npid \d+, serving.*\nstopped\n$')

    def test_it_moves_with_a_reload(self):
        it = self.serve()
        waiting = Caller(it.path('control'), 'ping')
        self.assertEqual(waiting.answer().status, 0)
        it.write('control = "@DIR@/other"\n' + ECHO % (2, ''))
        self.assertRegex(self.asked(it, 'reload').out, 'opened')
        self.assertFalse(os.path.exists(it.path('control')))
        self.assertEqual(Caller(it.path('other'), 'ping').answer().status, 0)
        it.write('control = "none"\n' + ECHO % (2, ''))
        self.assertEqual(Caller(it.path('other'), 'reload').answer().status, 0)
        self.assertFalse(os.path.exists(it.path('other')))
        it.reload(CONTROL + ECHO % (2, ''))
        self.asked(it, 'ping')

    def test_one_that_cannot_be_opened_refuses_the_reload(self):
        it = self.serve()
        it.announce(wording.REFUSED, 'control .* is not there')
        inode = os.stat(it.path('control')).st_ino
        it.write('control = "@DIR@/nowhere/control"\n' + ECHO % (3, ''))
        self.assertRegex(self.asked(it, 'reload', status=1).err, ':1: control .* is not there')
        self.assertEqual(os.stat(it.path('control')).st_ino, inode)
        self.assertEqual(len(it.workers()), 2)

    def test_no_worker_has_it(self):
        it = self.serve()
        waiting = Caller(it.path('control'))
        self.addCleanup(waiting.leave)
        self.asked(it, 'restart')
        inodes = {text for text in processes.descriptors(it.pid).values() if 'socket' in text}
        for worker in it.workers():
            held = {text for text in processes.descriptors(worker).values() if 'socket' in text}
            self.assertLess(held, inodes)
            self.assertLessEqual(len(held), 1, processes.descriptors(worker))


@daemon.needs_root
class Rights(Case):
    """Peers of other users. The socket's mode would keep most of them out; here it lets all in."""

    GROUP = 60001

    def ask_as(self, it, uid, gid, groups=()):
        """The answer to `ping` for another user."""
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            status = 99
            try:
                os.setgroups(list(groups))
                os.setgid(gid)
                os.setuid(uid)
                answer = ask(it, 'ping')
                os.write(writer, (answer.out + answer.err).encode())
                status = answer.status
            except OSError as error:
                os.write(writer, str(error).encode())
            finally:
                os._exit(status)
        os.close(writer)
        with open(reader, encoding='utf-8') as file:
            text = file.read()
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), text

    def test_strangers_are_told(self):
        it = self.serve()
        self.assertRegex(self.ask_as(it, 65534, 65534)[1], 'Permission denied')
        os.chmod(it.path('control'), 0o666)
        status, text = self.ask_as(it, 65534, 65534)
        self.assertEqual(status, 1)
        self.assertRegex(text, 'only root')
        it.wait_for_log('control: pid .* of uid 65534 may not ask')
        self.assertEqual(self.ask_as(it, 0, 0)[0], 0)

    def test_control_group(self):
        it = self.serve(f'control_group = "{self.GROUP}"\n' + ECHO % (1, ''))
        self.assertEqual(stat.S_IMODE(os.stat(it.path('control')).st_mode), 0o660)
        self.assertEqual(os.stat(it.path('control')).st_gid, self.GROUP)
        self.assertEqual(self.ask_as(it, 65534, self.GROUP)[0], 0)
        self.assertEqual(self.ask_as(it, 65534, 65534, [1, self.GROUP])[0], 0)
        os.chmod(it.path('control'), 0o666)
        self.assertEqual(self.ask_as(it, 65534, 65534, [1, 2])[0], 1)
        it.reload(CONTROL + ECHO % (1, ''))
        os.chmod(it.path('control'), 0o666)
        self.assertEqual(self.ask_as(it, 65534, self.GROUP)[0], 1)

    def test_group_changes_in_place(self):
        it = self.serve()
        inode = os.stat(it.path('control')).st_ino
        it.reload(CONTROL + f'control_group = "{self.GROUP}"\n' + ECHO % (2, ''))
        there = os.stat(it.path('control'))
        self.assertEqual((there.st_ino, there.st_gid), (inode, self.GROUP))


class Abuse(Case):
    def pools_do_not_notice(self, it, abuse):
        with client.Load(it.address('echo'), 4) as load:
            wait_until(lambda: load.served > 10, 'a running load')
            abuse()
            served = load.served
            wait_until(lambda: load.served > served + 10, 'the load goes on')
        self.assertEqual(load.failures, [])
        self.asked(it, 'ping')

    def test_garbage(self):
        it = self.serve()
        garbage = [b'', b'\n', b'\0', b'\0' * 4, b'\xff' * 4, b'\xff' * 5000, b' ' * 4095 + b'\n',
                   b' ' * 4096 + b'\n', b'\0\0\0\6\0ping\0', b'ping\r\n', b'ping\0\n',
                   b'pi\x1bng\n',
                   control.request(*['x'] * 17), control.request('reload', 'x' * 4000),
                   b'GET / HTTP/1.1\r\n\r\n', control.request('ping')[:-1],
                   control.request('ping') * 1000]

        def abuse():
            for number in range(1000):
                data = garbage[number % 20] if number % 20 < len(garbage) else os.urandom(100)
                with client.connect(it.path('control')) as connection:
                    try:
                        connection.sendall(data)
                        connection.shutdown(socket.SHUT_WR)
                        client.read_all(connection)
                    except (ConnectionResetError, BrokenPipeError):
                        pass
        self.pools_do_not_notice(it, abuse)

    def test_garbage_is_told(self):
        it = self.serve()
        for garbage, error in ((b'GET / HTTP/1.0\r\n\r\n', 'control character'),
                               (b'\0\0\0\6\0ping\0', 'control character'),
                               (b'ping\tnow\n', 'control character'),
                               (b'x' * 4096, 'too long'), (b'x ' * 17 + b'\n', 'too long')):
            caller = Caller(it.path('control'))
            caller.connection.sendall(garbage)
            answer = caller.answer()
            self.assertEqual((answer.status, answer.out), (2, ''))
            self.assertRegex(answer.err, error)

    def test_lines(self):
        """However a line is spaced, and whether a newline or a half-close ends it."""
        it = self.serve()
        for line, end in ((b'ping\n', False), (b'ping', True), (b'  ping  --json ', True),
                          (b'--json ping\nreload\n', False)):
            caller = Caller(it.path('control'))
            caller.connection.sendall(line)
            if end:
                caller.connection.shutdown(socket.SHUT_WR)
            self.assertIn(f'pid {it.pid}, serving', caller.answer().out)

    def test_who_closes_its_half_is_still_there(self):
        it = self.serve()
        held, = it.occupy('echo', 1)
        drain = Caller(it.path('control'), 'drain')
        drain.connection.shutdown(socket.SHUT_WR)
        it.wait_for_log('draining')
        self.assertTrue(drain.waits())
        held.close()
        answer = drain.answer()
        self.assertEqual((answer.status, answer.out[:8]), (0, 'drained:'), answer)

    @unittest.skipUnless(shutil.which('socat'), 'no socat here')
    def test_socat(self):
        it = self.serve()

        def say(line):
            return subprocess.run(['socat', '-t', str(client.PATIENCE), '-',
                                   'UNIX-CONNECT:' + it.path('control')], input=line, text=True,
                                  capture_output=True, check=True, timeout=client.PATIENCE).stdout
        self.assertRegex(say('ping\n'), rf'^ok \d+ 0\npid {it.pid}, serving, generation 1 .*\n$')
        self.assertRegex(say('status\n'), rf'^ok \d+ 0\npreforkd \S+, pid {it.pid}, up .*\n'
                                          r'pool echo: serving, 2 of 2 workers ready, 0 busy\n$')
        self.assertEqual(say('deaths'), 'ok 33 0\nno worker has ended unexpectedly\n')
        self.assertRegex(say('drain ecko'), r'^refused 0 \d+\nthere is no pool "ecko"; did .*\n$')
        self.assertRegex(say('scale echo 3\n'), r'^ok \d+ 0\npool echo: 2 to 3 workers, .*\n$')
        self.assertRegex(say('reload\n'), r'^ok \d+ 0\n(.*\n)*reload done: .*\n$')

    def test_byte_by_byte(self):
        it = self.serve()
        caller = Caller(it.path('control'))
        for byte in control.request('ping'):
            caller.connection.sendall(bytes([byte]))
        self.assertEqual(caller.answer().status, 0)

    def test_silent_ones_are_closed(self):
        it = self.serve()
        silent = [Caller(it.path('control')) for _ in range(80)]
        for caller in silent:
            self.assertEqual(client.read_all(caller.connection), b'')
            caller.leave()
        self.asked(it, 'ping')

    def test_two_hundred_at_once(self):
        it = self.serve()
        answers = []

        def one():
            answers.append(ask(it, 'status').status)

        def abuse():
            threads = [threading.Thread(target=one) for _ in range(200)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(client.PATIENCE)
        self.pools_do_not_notice(it, abuse)
        self.assertEqual(answers, [0] * 200)

    def test_those_who_never_read(self):
        it = self.serve()
        it.same_descriptors = False
        held = []

        def abuse():
            for _ in range(60):
                caller = Caller(it.path('control'), 'help')
                caller.connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
                held.append(caller)
        self.pools_do_not_notice(it, abuse)
        for caller in held:
            caller.leave()

    def make_large(self, it):
        """A configuration with more errors than a socket buffer holds."""
        deep = '/'.join(['d' * 200] * 10)
        it.put(f'{deep}/broken.conf', ''.join(f'nonsense{n} = 1\n' for n in range(400)))
        it.write(CONTROL + f'include("@DIR@/{deep}/broken.conf")\n')

    def test_large_answers_arrive_whole(self):
        it = self.serve()
        self.make_large(it)
        answer = self.asked(it, 'reload', '--dry-run', status=1)
        lines = answer.err.splitlines()
        self.assertGreater(len(answer.err), 400000)
        self.assertRegex(lines[0], r'/broken.conf:1: .*nonsense0')
        self.assertEqual((len(lines), lines[-1]), (201, 'and 201 more'))  # or no pool

    def test_who_does_not_read_is_left(self):
        it = self.make(CONTROL + ECHO % (2, daemon.UNLISTED)).with_failing_calls().launch().ready()
        self.make_large(it)
        it.same_descriptors = True
        held = [Caller(it.path('control'), 'reload', '--dry-run') for _ in range(10)]
        for caller in held:
            caller.connection.recv(1)
        it.leap(31)
        it.check_descriptors(patience=60)
        for caller in held:  # only what was in the socket's buffer
            with self.assertRaises(AssertionError):
                caller.answer()

    def test_the_master_sleeps(self):
        """Without callers nothing wakes the master, and neither does a caller that waits for a
        drain."""
        it = self.serve()
        connection, = it.occupy('echo', 1)
        drain = Caller(it.path('control'), 'drain')
        wait_until(lambda: len(it.workers()) == 1, 'only the busy worker left')
        it.notices.wait('STATUS=echo 0/0.* 1 retiring')
        wait_until(lambda: processes.sleeps(it.pid), 'a master at rest')

        def switches():
            return int(processes.status(it.pid)['voluntary_ctxt_switches'])
        before = switches()
        with self.assertRaises(TimeoutError):
            drain.connection.settimeout(2)
            drain.connection.recv(1)
        self.assertEqual(switches(), before)
        connection.close()
        drain.leave()

    def test_kill_of_a_caller_in_the_middle(self):
        it = self.serve()
        it.same_descriptors = True
        for _ in range(20):
            for words in (('drain',), ('restart',), ('reload',), ('resume',)):
                Caller(it.path('control'), *words).leave()
        wait_until(lambda: ask(it, 'resume').status == 0, 'resumed')
        it.check_descriptors()


if __name__ == '__main__':
    daemon.main()
