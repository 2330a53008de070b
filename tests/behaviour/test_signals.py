"""The master's signals, one by one, and its notifications to systemd."""

import os
import re
import shutil
import signal
import time

import client
import control
import daemon
import processes
import templates
import wording
from processes import wait_until

ECHO = 'pool "echo" { listen = { "systemd:echo" } workers = %d\n%s\necho {} }\n'


class Stop(daemon.Case):
    def graceful(self, number):
        it = self.start('pool "echo" { listen = { "unix:@DIR@/echo" } workers = 2 echo {} }\n')
        it.addresses['echo'] = it.path('echo')
        held, = it.occupy('echo', 1)
        mark = it.mark()
        it.kill(number)
        it.wait_for_log(wording.STOPPING, mark)
        wait_until(lambda: len(it.workers()) == 1, 'only the busy worker')
        for _ in range(3):
            self.assertEqual(client.echo(held, b'goes on'), b'goes on')
        self.assertRaises(OSError, client.connect, it.address('echo'))
        held.close()
        self.assertEqual(it.exited(20), 0)

    def test_term(self):
        self.graceful(signal.SIGTERM)

    def test_int(self):
        self.graceful(signal.SIGINT)

    def test_graceful_timeout(self):
        it = self.start(ECHO % (2, 'graceful_timeout = 1'))
        it.announce(wording.OVERDUE, 'killed by signal 9')
        it.occupy('echo', 2)
        since = time.monotonic()
        it.kill(signal.SIGTERM)
        self.assertEqual(it.exited(30), 0)
        self.assertGreater(time.monotonic() - since, 0.9)
        self.assertTrue(it.log.find(r'graceful_timeout|kill'))

    def test_global_graceful_timeout(self):
        it = self.start('graceful_timeout = 1\n' + ECHO % (1, ''))
        it.announce(wording.OVERDUE, 'killed by signal 9')
        it.occupy('echo', 1)
        it.kill(signal.SIGTERM)
        self.assertEqual(it.exited(20), 0)

    def test_graceful_timeout_of_zero(self):
        it = self.start(ECHO % (1, 'graceful_timeout = 0'))
        it.announce(wording.OVERDUE, 'killed by signal 9')
        it.occupy('echo', 1)
        it.kill(signal.SIGTERM)
        self.assertEqual(it.exited(20), 0)

    def test_second_term_stops_now(self):
        it = self.start(ECHO % (2, ''))
        it.announce(wording.OVERDUE, 'killed by signal 9')
        held = it.occupy('echo', 2)
        mark = it.mark()
        it.kill(signal.SIGTERM)
        it.wait_for_log(r'TERM|stop', mark)
        self.assertEqual(client.echo(held[0], b'goes on'), b'goes on')
        it.kill(signal.SIGTERM)
        self.assertEqual(it.exited(20), 0)

    def test_int_after_term_stops_now(self):
        it = self.start(ECHO % (1, ''))
        it.announce(wording.OVERDUE, 'killed by signal 9')
        it.occupy('echo', 1)
        mark = it.mark()
        it.kill(signal.SIGTERM)
        it.wait_for_log(r'TERM|stop', mark)
        it.kill(signal.SIGINT)
        self.assertEqual(it.exited(20), 0)

    def test_quit(self):
        it = self.start(ECHO % (2, ''))
        it.announce(wording.OVERDUE, 'killed by signal 9')
        it.occupy('echo', 1)
        it.kill(signal.SIGQUIT)
        self.assertEqual(it.exited(20), 0)

    def test_stop_under_load_answers_all_it_accepted(self):
        it = self.start(ECHO % (4, ''))
        with client.Load(it.address('echo'), 8) as load:
            wait_until(lambda: load.served > 200, 'a running load')
            it.kill(signal.SIGTERM)
            self.assertEqual(it.exited(), 0)
        for failure in load.failures:
            # Connections in the queue were reset; none was cut within an answer.
            self.assertNotIn('came back', failure)

    def test_stop_is_logged_with_its_sender(self):
        it = self.start(ECHO % (1, ''))
        mark = it.mark()
        it.stop()
        self.assertTrue(it.log.find(rf'notice: .*TERM.*\b{os.getpid()}\b', mark),
                        it.log.lines[mark:])

    def test_many_signals_at_once(self):
        """Signals merge; only the final state counts."""
        it = self.start(ECHO % (2, ''))
        it.same_descriptors = True
        for _ in range(100):
            for number in (signal.SIGUSR1, signal.SIGHUP, signal.SIGCHLD):
                it.kill(number)
        mark = it.mark()
        it.kill(signal.SIGHUP)
        it.wait_for_log(wording.RELOADED, mark)
        it.wait_for_workers(2)
        self.assertEqual(client.ask(it.address('echo'), b'still'), b'still')


class State(daemon.Case):
    def test_usr1(self):
        it = self.start('pool "one" { listen = { "systemd:one" } workers = 2 echo {} }\n'
                        'pool "two" { listen = { "systemd:two" } workers = 3 echo {} }\n'
                        'pool "app" { listen = { "systemd:app" } workers = 1\n'
                        'app { command = { "/bin/sleep", "1000" } } }\n')
        it.occupy('two', 1)
        mark = it.mark()
        it.kill(signal.SIGUSR1)
        it.wait_for_log(r' notice: .*\bpool=one\b', mark)
        two = it.wait_for_log(r' notice: .*\bpool=two\b', mark).string
        self.assertRegex(two, r'; connections: 1 accepted, 0 served pool=.* accepted=1 served=0$')
        self.assertNotIn('accepted', it.wait_for_log(r'notice: .*\bpool=app\b', mark).string)
        it.wait_for_log(rf'USR1.*\b{os.getpid()}\b', mark)

    def test_drain(self):
        it = self.start(ECHO % (2, ''))
        held, = it.occupy('echo', 1)
        mark = it.mark()
        it.kill(signal.SIGWINCH)
        wait_until(lambda: len(it.workers()) == 1, 'only the busy worker')
        busy, = it.workers()
        wait_until(lambda: processes.accepts_no_more(busy), 'no listener in it')
        queued = it.connect('echo')  # it waits, and is not refused
        self.addCleanup(queued.close)
        queued.sendall(b'patience')
        self.assertEqual(client.echo(held, b'goes on'), b'goes on')
        held.close()
        wait_until(lambda: not it.workers(), 'no worker')
        it.wait_for_log(rf'WINCH.*\b{os.getpid()}\b', mark)
        queued.settimeout(0.3)
        self.assertRaises(TimeoutError, queued.recv, 1)
        queued.settimeout(client.PATIENCE)
        it.reload()
        self.assertEqual(client.read_exactly(queued, 8), b'patience')
        it.wait_for_workers(2)

    def test_stop_while_drained(self):
        it = self.start(ECHO % (2, ''))
        it.kill(signal.SIGWINCH)
        wait_until(lambda: not it.workers(), 'no worker')
        it.stop(timeout=20)

    def test_refused_reload_ends_no_drain(self):
        it = self.start(ECHO % (2, ''))
        it.announce(wording.REFUSED, wording.FAULT)
        it.kill(signal.SIGWINCH)
        wait_until(lambda: not it.workers(), 'no worker')
        it.reload(ECHO % (2, 'nonsense = 1'), refused=True)
        self.assertEqual(it.workers(), [])
        it.reload(ECHO % (2, ''))
        it.wait_for_workers(2)


class Start(daemon.Case):
    def test_orders_wait_for_it(self):
        """The check takes its time: its template waits for a file."""
        it = self.make('pool "x" { listen = { "systemd:x" } workers = 1\n'
                       'exec { command = { "@DIR@/script.py" }\n'
                       'template = { "/bin/sh", "@DIR@/slow" } } }\n')
        it.put('script.py', '#!/usr/bin/python3\n', 0o755)
        shutil.copy(os.path.join(templates.LIBEXEC, 'template-python'), it.path('template'))
        it.put('slow', 'while ! [ -e @DIR@/go ]; do sleep 0.02; done\n'
                       'exec /usr/bin/python3 @DIR@/template\n')
        it.launch()
        wait_until(lambda: any('slow' in processes.title(pid)
                               for pid in processes.descendants(it.pid)), 'its check')
        orders = ('HUP', 'USR1', 'TTIN', 'TTOU')
        for word in orders:
            it.kill(getattr(signal, f'SIG{word}'))
        it.put('go', '')
        it.ready()
        for word in orders:
            it.wait_for_log(f'SIG{word} from')
        it.wait_for_log(wording.RELOADED)


class Systemd(daemon.Case):
    """Notifications to NOTIFY_SOCKET."""

    def test_ready_comes_when_it_serves(self):
        it = self.make(ECHO % (4, '')).launch().ready()
        self.assertEqual(len(it.workers()), 4)
        it.notices.wait(r'(?m)^STATUS=.*\b4\b')

    def test_starting_asks_for_the_time_it_may_take(self):
        it = self.start(ECHO % (1, 'ready_timeout = 200'))
        check, start = [int(found[1]) / 1000000
                        for found in it.notices.find(r'^EXTEND_TIMEOUT_USEC=(\d+)$')]
        self.assertTrue(60 < check < 200 < start, (check, start))

    def test_reload(self):
        it = self.start(ECHO % (1, ''))
        it.reload()
        it.notices.wait(r'(?m)^RELOADING=1$')
        reloading, = [text for text in it.notices.lines if 'RELOADING=1' in text]
        self.assertRegex(reloading, r'(?m)^MONOTONIC_USEC=\d+$')
        at = it.notices.lines.index(reloading)
        it.notices.wait(r'(?m)^READY=1$', since=at)
        extended, = [text for text in it.notices.lines[at:] if 'EXTEND_TIMEOUT_USEC=' in text]
        self.assertGreaterEqual(int(extended.split('=')[1]), 60 * 1000000)

    def test_status_is_right_when_the_command_returns(self):
        """Not up to a second later, when the next change may hide this one."""
        config = 'control = "@DIR@/control"\n' + ECHO
        it = self.start(config % (1, ''))
        for size in (3, 4, 5):
            it.write(config % (size, ''))
            self.assertEqual(control.ask(it, 'reload').status, 0)
        it.notices.wait('STATUS=echo 5/5 ')
        for size in (3, 4):
            self.assertTrue(it.notices.find(f'STATUS=echo {size}/{size} '), it.notices.lines)

    def test_refused_reload_is_ready_again(self):
        it = self.start(ECHO % (1, ''))
        it.announce(wording.REFUSED, wording.FAULT)
        it.reload('nonsense = 1\n' + ECHO % (1, ''), refused=True)
        it.notices.wait(r'(?m)^RELOADING=1$')
        at = [n for n, text in enumerate(it.notices.lines) if 'RELOADING=1' in text][-1]
        it.notices.wait(r'(?m)^READY=1$', since=at)

    def test_stopping_asks_for_the_time_it_needs(self):
        it = self.start(ECHO % (1, 'graceful_timeout = 200'))
        held, = it.occupy('echo', 1)
        it.kill(signal.SIGTERM)
        text = it.notices.wait(r'(?m)^STOPPING=1$').string
        extended = re.search(r'(?m)^EXTEND_TIMEOUT_USEC=(\d+)$',
                             it.notices.wait(r'STOPPING=1\nEXTEND_TIMEOUT_USEC').string)
        self.assertGreaterEqual(int(extended[1]), 200 * 1000000, text)
        held.close()
        self.assertEqual(it.exited(), 0)

    def test_watchdog(self):
        it = self.start(ECHO % (1, ''), environment={'WATCHDOG_USEC': '200000'})
        for _ in range(5):
            it.notices.wait(r'(?m)^WATCHDOG=1$', since=len(it.notices.lines), timeout=10)

    def test_a_manager_that_is_slow(self):
        """It reads nothing for a while, and its queue is full: the master goes on, and sends the
        current state once there is room."""
        it = self.make(ECHO % (2, ''), environment={'WATCHDOG_USEC': '200000'})
        it.launch().ready()
        it.announce('killed')
        heard = len(it.notices.lines)
        with it.unheard():
            until = time.monotonic() + 3  # in which the master sends several messages
            while time.monotonic() < until:
                worker, _ = it.workers()
                os.kill(worker, signal.SIGKILL)
                it.wait_for_workers(2, without=[worker])
                self.assertEqual(client.ask(it.address('echo'), b'still'), b'still')
                time.sleep(0.2)
            it.kill(signal.SIGTTIN)
            it.wait_for_workers(3)
        it.notices.wait(r'(?m)^STATUS=echo 3/3 workers ready', since=heard)

    def test_systemds_variables_are_not_handed_on(self):
        it = self.start('pool "env" { listen = { "systemd:env" } workers = 1\n'
                        'exec { command = { "/usr/bin/env" } } }')
        text = client.ask(it.address('env')).decode()
        self.assertNotRegex(text, r'NOTIFY_SOCKET|LISTEN_|WATCHDOG_')
        worker, = it.workers()
        self.assertNotIn('NOTIFY_SOCKET', processes.title(worker))


if __name__ == '__main__':
    daemon.main()
