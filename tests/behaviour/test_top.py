"""preforkctl top, in a terminal."""

import json
import re
import signal
import subprocess
import termios
import threading
import unittest

import control
import daemon
import processes
from processes import PATIENCE, wait_until
from terminal import Terminal

CONTROL = 'control = "@DIR@/control"\n'
ECHO = 'pool "echo" { listen = { "systemd:echo" } workers = %d\n%s\necho {} }\n'


class Top(daemon.Case):
    def serve(self):
        return self.start(CONTROL + ECHO % (2, ''))

    def restored(self, terminal):
        terminal.wait(rb'\033\[\?7h\033\[\?25h\033\[\?1049l')
        self.assertEqual(termios.tcgetattr(terminal.slave), terminal.before)

    def test_shows_and_quits(self):
        it = self.serve()
        terminal = Terminal(self, it)
        at = terminal.wait(rb'\033\[\?1049h\033\[\?25l')
        lines = terminal.frame(at)
        self.assertRegex(lines[0], r'^preforkctl top  \d\d:\d\d:\d\d  .*control')
        self.assertIn('echo', '\n'.join(lines))
        terminal.frame(terminal.wait(rb'\033\[J', at))  # and the next frame
        self.assertNotEqual(termios.tcgetattr(terminal.slave), terminal.before)
        terminal.type(b'q')
        self.assertEqual(terminal.process.wait(PATIENCE), 0)
        self.restored(terminal)

    def test_signals_restore_the_terminal(self):
        it = self.serve()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
            terminal = Terminal(self, it)
            terminal.frame()
            if number == signal.SIGINT:
                terminal.type(b'\3')
            else:
                terminal.signal(number)
            self.assertEqual(terminal.process.wait(PATIENCE), 128 + number)
            self.restored(terminal)

    def test_stopped_and_continued(self):
        it = self.serve()
        terminal = Terminal(self, it)
        terminal.frame()
        terminal.signal(signal.SIGTSTP)
        wait_until(lambda: processes.stat(terminal.pid)[0] == 'T', 'a stopped preforkctl')
        self.restored(terminal)
        at = len(terminal.bytes)
        terminal.signal(signal.SIGCONT)
        at = terminal.wait(rb'\033\[\?1049h', at)
        self.assertRegex(terminal.frame(at)[0], '^preforkctl top')
        terminal.type(b'q')
        self.assertEqual(terminal.process.wait(PATIENCE), 0)

    def test_cut_to_the_window(self):
        it = self.serve()
        terminal = Terminal(self, it, rows=3, columns=20)
        lines = terminal.frame()
        self.assertEqual(len(lines), 3)
        self.assertEqual(max(map(len, lines)), 20)
        at = len(terminal.bytes)
        terminal.resize(24, 30)
        terminal.signal(signal.SIGWINCH)
        wait_until(lambda: len(terminal.frame(at)[0]) == 30 or len(terminal.bytes) < at,
                   'a frame of the new size')
        terminal.type(b'q')
        self.assertEqual(terminal.process.wait(PATIENCE), 0)

    def test_no_table_is_cut(self):
        """A usual terminal shows every column, although the names are not short."""
        it = self.start(CONTROL + 'pool "a-longer-name" { listen = { "unix:@DIR@/x" } workers = 1\n'
                        'status {} }\n')
        terminal = Terminal(self, it, rows=40, columns=80)
        frame = terminal.frame()
        for last in ('SIZE', 'DIED', 'EXITED CPU', 'WAITING'):
            self.assertTrue([line for line in frame if line.endswith(last)], frame)
        terminal.type(b'q')
        self.assertEqual(terminal.process.wait(PATIENCE), 0)

    def test_colours(self):
        """Colours appear only in a terminal, unless NO_COLOR is set or the terminal is dumb."""
        it = self.serve()
        for more, coloured in (({'NO_COLOR': ''}, True), ({}, False),
                               ({'NO_COLOR': '', 'TERM': 'dumb'}, False)):
            for command in ('status', 'top'):
                with self.subTest(command=command, **more):
                    terminal = Terminal(self, it, command=command, **more)
                    terminal.wait(rb'LISTENER')
                    terminal.wait(rb'serving')
                    self.assertEqual(b'\033[32mserving\033[0m' in terminal.bytes, coloured)
                    self.assertEqual(b'\033[1mPOOL' in terminal.bytes, coloured)

    def test_a_dumb_terminal_gets_one_status(self):
        it = self.serve()
        for name in ('dumb', ''):
            terminal = Terminal(self, it, TERM=name)
            self.assertEqual(terminal.process.wait(PATIENCE), 0)
            terminal.wait(rb'LISTENER')
            self.assertNotIn(b'\033', terminal.bytes)

    def test_colours_take_no_room(self):
        it = self.serve()
        terminal = Terminal(self, it, columns=40, NO_COLOR='')
        plain = [re.sub(r'\033\[\d*m', '', line) for line in terminal.frame()]
        self.assertEqual(max(map(len, plain)), 40)

    def test_outlives_the_daemon(self):
        it = self.serve()
        terminal = Terminal(self, it)
        terminal.frame()
        it.stop()
        terminal.wait(rb'No such file')
        terminal.type(b'q')
        self.assertEqual(terminal.process.wait(PATIENCE), 0)
        self.restored(terminal)

    def test_a_daemon_that_hangs(self):
        it = self.serve()
        terminal = Terminal(self, it)
        terminal.frame()
        with it.paused():
            at = terminal.wait(rb'/control: no answer')
            answered, shown = re.findall(rb'top  (\S+)  ', terminal.bytes[:at])[-2:]
            self.assertEqual(shown, answered)
        terminal.wait(rb'/control\033\[K', at)
        it.kill(signal.SIGSTOP)
        terminal.signal(signal.SIGTERM)
        self.assertEqual(terminal.process.wait(PATIENCE), 128 + signal.SIGTERM)
        self.restored(terminal)
        it.kill(signal.SIGCONT)

    def test_without_a_terminal_it_is_one_status(self):
        it = self.serve()
        done = control.run(it, 'top')
        self.assertEqual((done.returncode, done.stderr), (0, ''))
        self.assertIn('echo', done.stdout)
        self.assertNotIn('\033', done.stdout)

    @unittest.skipUnless(b'+jansson' in subprocess.check_output([daemon.BINARY, '-V']),
                         'built without jansson')
    def test_with_json_it_is_one_status_in_json(self):
        it = self.serve()
        for words in (['--json', 'top'], ['top', '--json']):
            done = control.run(it, *words)
            self.assertEqual((done.returncode, done.stderr), (0, ''))
            self.assertEqual(json.loads(done.stdout)['pid'], it.pid)
            self.assertIn('ledger', json.loads(done.stdout))


@unittest.skipUnless(b'+jansson' in subprocess.check_output([daemon.BINARY, '-V']),
                     'built without jansson')
class Pools(daemon.Case):
    """A hundred pools of a fake daemon: what is shown, and which keys change it."""

    WHY = ('worker 4711 ended at its start with exit status 111 (its user preforkd could not be '
           'had: no such user, or the limit of its processes is reached)')

    def pool(self, name, state='serving', busy=0, queue=0, **more):
        return {'name': name, 'handler': 'echo', 'state': state, 'seconds': 5.0, 'trouble': None,
                'busy': busy, 'idle': 4 - busy, 'ready': 4, 'target': 4, 'min_workers': 4,
                'max_workers': 4, 'starting': 0, 'retiring': 0, 'deaths': 0,
                'listeners': [{'address': f'unix:/run/{name}', 'queue': queue, 'room': 8,
                               'backlog': 8}], 'workers': []} | more

    def hundred(self):
        """Most pools are idle; those in trouble are late in the file."""
        pools = [self.pool(f'pool{n:02}') for n in range(100)]
        pools[20] = self.pool('quick', busy=1)
        pools[21] = self.pool('lively', busy=3)
        pools[80] = self.pool('crowded', 'full', busy=4, queue=3)
        pools[90] = self.pool('broken', 'degraded', trouble=self.WHY)
        pools[95] = self.pool('paused', 'drained')
        return pools

    def watch(self, pools, **window):
        it = self.make(ECHO % (1, ''))
        listening = daemon.listen_unix(it.path('control'))
        self.addCleanup(listening.close)
        report = json.dumps({'preforkd': '1', 'pid': 1, 'uptime': 9.0, 'generation': 1,
                             'reloads': {}, 'pools': pools}).encode()

        def serve():
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(4096)
                    connection.sendall(b'ok %d 0\n' % len(report) + report)
        threading.Thread(target=serve, daemon=True).start()
        self.terminal = Terminal(self, it, **window)
        self.at = 0
        return self.picture('preforkd 1')

    def picture(self, pattern):
        """Waits for the next frame that matches."""
        while True:
            lines = self.terminal.frame(self.at)
            self.at = self.terminal.wait(rb'\033\[J', self.terminal.wait(rb'\033\[H', self.at))
            if re.search(pattern, '\n'.join(lines)):
                return lines

    def press(self, keys, pattern):
        self.at = len(self.terminal.bytes)
        self.terminal.type(keys)
        return self.picture(pattern)

    def names(self, lines):
        """The pools in the first table."""
        begin = next(n for n, line in enumerate(lines) if re.match('POOL +HANDLER', line))
        rows = [line.split() for line in lines[begin + 1:-1]]
        return [row[0] for row in rows[:rows.index([]) if [] in rows else None]]

    def test_trouble_in_sight(self):
        lines = self.watch(self.hundred())
        self.assertEqual(len(lines), 24)
        self.assertLessEqual(max(map(len, lines)), 80)
        text = '\n'.join(lines)
        self.assertIn('100 pools: 1 degraded, 1 full, 1 drained, 97 serving; '
                      'not shown: 95 idle (key i)', ' '.join(text.split()))
        self.assertIn(self.WHY, ' '.join(text.split()))
        self.assertEqual(self.names(lines), ['broken', 'crowded', 'paused', 'quick', 'lively'])
        self.assertIn('q quit', lines[-1])

    def test_sorts(self):
        self.watch(self.hundred())
        for word, names in (('name', ['broken', 'crowded', 'lively', 'paused', 'quick']),
                            ('busy', ['crowded', 'lively', 'quick', 'broken', 'paused']),
                            ('queue', ['crowded', 'quick', 'lively', 'broken', 'paused'])):
            self.assertEqual(self.names(self.press(b's', 'sort: ' + word)), names)
        self.assertEqual(self.names(self.press(b'r', 'reversed'))[-1], 'crowded')
        for word in ('p99', 'deaths', 'trouble'):
            self.press(b's', 'sort: ' + word)

    def test_filters(self):
        self.watch(self.hundred())
        self.press(b'/', '/_')
        self.assertEqual(self.names(self.press(b'BRO', '/BRO_')), ['broken'])
        self.press(b'\x7f', '/BR_')
        lines = self.press(b'O\n', 'q quit')
        self.assertIn('99 without "BRO"', ' '.join('\n'.join(lines).split()))
        self.assertEqual(self.names(lines), ['broken'])
        self.press(b'/\x7f\x7f\x7fq', '/q_')  # q is text there
        self.assertEqual(len(self.names(self.press(b'\033', 'q quit'))), 5)

    def test_folds(self):
        self.watch(self.hundred())
        lines = self.press(b'i', 'i idle: shown')
        self.assertNotIn('not shown', '\n'.join(lines))
        self.press(b'i', 'i idle: folded ')
        self.press(b'i', 'i idle: folded if many')

    def test_few_are_not_folded(self):
        lines = self.watch([self.pool('a'), self.pool('b')])
        self.assertEqual(self.names(lines), ['a', 'b'])
        self.press(b'ii', 'not shown: 2 idle')

    def test_scrolls(self):
        self.watch(self.hundred())
        top = self.press(b'i', r' 1-\d+/')
        for keys, first in ((b'\033[B', 2), (b'\033OB', 3), (b'\033[A', 2), (b'\033[H', 1)):
            lines = self.press(keys, rf' {first}-\d+/')
            self.assertEqual(lines[1:3], top[1:3])
        shown, every = map(int, re.search(r'1-(\d+)/(\d+)', top[-1]).groups())
        self.press(b'\033[6~', rf' {shown + 1}-{2 * shown}/')
        self.press(b'\033[5~', r' 1-')
        lines = self.press(b'\033[F', rf'-{every}/{every}')
        self.assertRegex(lines[-2], '^unix:/run/')
        self.press(b'\033[B', rf'-{every}/{every}')
        self.press(b'\033[H', r' 1-')
        self.assertRegex(self.press(b'\t', 'HANDLER')[4], '^POOL')

    def test_escape_alone(self):
        self.watch(self.hundred())
        self.press(b'/bro\n', '99 without')
        self.press(b'\033', 'not shown: 95 idle')

    def test_wide(self):
        lines = self.watch(self.hundred(), rows=40, columns=120)
        self.assertEqual(len(lines), 40)
        self.assertIn('LISTENER', '\n'.join(lines))


if __name__ == '__main__':
    daemon.main()
