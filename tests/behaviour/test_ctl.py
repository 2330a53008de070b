"""preforkctl: what it sends and prints, and its exit status."""

import json
import os
import re
import signal
import socket
import subprocess
import threading
import unittest

import control
import daemon
import wording
from processes import PATIENCE

CONTROL = 'control = "@DIR@/control"\n'
ECHO = 'pool "echo" { listen = { "systemd:echo" } workers = %d\n%s\necho {} }\n'


def run(*arguments, environment=None, **more):
    return subprocess.run([daemon.CONTROL_BINARY, *arguments], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=PATIENCE, check=False,
                          env=environment, **more)


class Ctl(daemon.Case):
    def serve(self, config=ECHO % (2, '')):
        return self.start(CONTROL + config)

    def test_usage(self):
        for arguments in ([], ['-x'], ['--nonsense'], ['-s'], ['-s', '/x'], ['top', 'now'],
                          ['-s', '/' + 'x' * 200, 'ping'],
                          ['x' * 5000], ['x'] * 20, [''], ['drain', 'a b'], ['ping\n']):
            done = run(*arguments)
            self.assertEqual((done.returncode, done.stdout), (2, ''), arguments)
            self.assertTrue(done.stderr)

    def test_usage_in_json(self):
        for words, error in {('--json',): 'a command is missing',
                             ('--json', *'abcdefghijklmnopqrs'): 'too many arguments',
                             ('--json', 'top', 'x'): 'usage: preforkctl top'}.items():
            done = run(*words)
            self.assertEqual((done.returncode, done.stderr), (2, ''))
            self.assertEqual(json.loads(done.stdout)['error'], error)

    def test_version_and_help(self):
        for flag in ('-V', '--version'):
            self.assertRegex(run(flag).stdout, r'^preforkctl \d+\.\d+')
        for flag in ('-h', '--help'):
            self.assertRegex(run(flag).stdout, '^usage: preforkctl')

    def test_help_and_version_need_no_daemon(self):
        nowhere = ['-s', '/nonexistent']
        self.assertRegex(run(*nowhere, 'version').stdout, r'^preforkctl \d+\.\d+')
        lines = run(*nowhere, 'help').stdout.splitlines()
        words = [line.split()[0] for line in lines]
        self.assertLessEqual({'status', 'top', 'logs', 'help', 'version'}, set(words))
        for word in words:
            done = run(*nowhere, 'help', word)
            self.assertEqual((done.returncode, done.stderr), (0, ''))
            self.assertRegex(done.stdout, rf'^usage: preforkctl .*{word}')
        self.assertEqual(json.loads(run(*nowhere, '--json', 'help', 'scale').stdout)['ok'], True)
        done = run(*nowhere, 'help', 'nonsense')
        self.assertEqual((done.returncode, done.stdout), (2, ''))
        self.assertIn('unknown command "nonsense"', done.stderr)
        for words in (['version', 'x'], ['help', 'a', 'b'], ['logs', 'a', 'b']):
            self.assertEqual(run(*nowhere, *words).returncode, 2)

    def test_wrong_words_need_no_daemon(self):
        for words, error in {('statsu',): 'unknown command "statsu"; did you mean "status"?',
                             ('xyzzy',): 'unknown command "xyzzy"; "help" lists them',
                             ('xyz\033[m',): r'unknown command "xyz\x1b[m"; "help" lists them',
                             ('help', 'relod'): 'unknown command "relod"; did you mean "reload"?',
                             ('scale', 'web'): 'usage: preforkctl scale POOL N',
                             ('scale', 'web', '2x'): '"2x" is not a number of workers',
                             ('scale', 'web', '010'):
                                 '"010" is not a number of workers without leading zeroes',
                             ('scale', 'web', '3', '4'): 'usage: preforkctl scale POOL N',
                             ('reload', '--dry'): 'usage: preforkctl reload [--dry-run]',
                             ('status', 'web'): 'usage: preforkctl status [--brief]',
                             ('drain', 'a', 'b'): 'usage: preforkctl drain [POOL]',
                             ('top', 'web'): 'usage: preforkctl top',
                             ('stop', 'now'): 'usage: preforkctl stop'}.items():
            done = run('-s', '/nonexistent', *words)
            self.assertEqual((done.returncode, done.stdout, done.stderr),
                             (2, '', f'preforkctl: {error}\n'))

    def test_no_daemon(self):
        it = self.make(ECHO % (1, ''))
        done = run('-s', it.path('nothing'), 'ping')
        self.assertEqual((done.returncode, done.stdout), (3, ''))
        self.assertRegex(done.stderr, 'nothing: No such file')
        with socket.socket(socket.AF_UNIX) as stranger:
            stranger.bind(b'\0' * 108)
            stranger.listen()
            done = run('-s', '', 'ping')
        self.assertEqual((done.returncode, done.stdout), (3, ''))
        for words in (['--json', 'status'], ['ping', '--json']):
            done = run('-s', it.path('nothing'), *words)
            self.assertEqual((done.returncode, done.stderr), (3, ''))
            error = json.loads(done.stdout)
            self.assertEqual((error['ok'], error['text']), (False, ''))
            self.assertRegex(error['error'], 'nothing: No such file.*no daemon is running there')
        done = run('-s', it.file + '/below', 'ping')
        self.assertEqual((done.returncode, done.stdout), (3, ''))
        stale = daemon.listen_unix(it.path('stale'))
        stale.close()
        for command in ('ping', 'top'):
            done = run('--socket', it.path('stale'), command)
            self.assertEqual((done.returncode, done.stdout), (3, ''))

    def test_answers(self):
        it = self.serve()
        done = control.run(it, 'ping')
        self.assertEqual((done.returncode, done.stderr), (0, ''))
        self.assertRegex(done.stdout, f'^pid {it.pid}, serving')
        done = control.run(it, 'scale', 'echo', '0')
        self.assertEqual((done.returncode, done.stdout), (1, ''))
        self.assertRegex(done.stderr, 'pool echo: a size is 1 to')
        self.assertEqual(control.run(it, 'nonsense').returncode, 2)
        self.assertRegex(control.run(it, '--json', 'ping').stdout, '^{"ok":true')
        self.assertRegex(control.run(it, 'ping', '--json').stdout, '^{"ok":true')
        self.assertRegex(control.run(it, 'ping', '-j').stdout, '^{"ok":true')
        self.assertRegex(control.run(it, 'status', '-j', '--brief').stdout, '^{"version":')

    def test_reload(self):
        it = self.serve()
        it.announce(wording.REFUSED, wording.FAULT)
        it.write(CONTROL + ECHO % (3, 'nonsense = 1'))
        for arguments in (['reload', '--dry-run'], ['reload']):
            done = control.run(it, *arguments)
            self.assertEqual((done.returncode, done.stdout), (1, ''))
            self.assertRegex(done.stderr, rf'^{re.escape(it.file)}:3: ')
        it.write(CONTROL + ECHO % (3, ''))
        self.assertIn('pool echo: resized 2 to 3', control.run(it, 'reload', '--dry-run').stdout)
        done = control.run(it, 'reload')
        self.assertEqual((done.returncode, done.stderr), (0, ''))

    def test_stop_returns_when_the_process_is_gone(self):
        it = self.serve()
        done = control.run(it, 'stop')
        self.assertEqual((done.returncode, done.stdout), (0, 'stopped\n'))
        self.assertEqual(it.exited(), 0)

    def test_daemon_killed_while_it_waits(self):
        it = self.serve()
        held, = it.occupy('echo', 1)
        waiting = subprocess.Popen([daemon.CONTROL_BINARY, '-s', it.path('control'), 'drain'],
                                   stderr=subprocess.PIPE, text=True)
        it.wait_for_log('draining')
        it.kill(signal.SIGKILL)
        it.exited()
        self.assertRegex(waiting.communicate(timeout=PATIENCE)[1], 'closed the connection')
        self.assertEqual(waiting.returncode, 1)
        held.close()

    def test_default_places(self):
        it = self.make('control = "@DIR@/preforkd.sock"\n' + ECHO % (1, ''))
        it.launch().ready()
        if not daemon.ROOT:
            done = run('ping', environment={'XDG_RUNTIME_DIR': it.directory})
            self.assertIn(f'pid {it.pid}', done.stdout)

    def test_standard_output_that_takes_nothing(self):
        it = self.serve()
        with open('/dev/full', 'w', encoding='ascii') as full:
            done = subprocess.run([daemon.CONTROL_BINARY, '-s', it.path('control'), 'help'],
                                  stdout=full, stderr=subprocess.PIPE, check=False,
                                  timeout=PATIENCE)
        self.assertEqual(done.returncode, 1)
        self.assertIn(b'No space left', done.stderr)


class Pretended(daemon.Case):
    """A fake daemon with a given reply."""

    def against(self, reply, *arguments):
        it = self.make(ECHO % (1, ''))
        listening = daemon.listen_unix(it.path('control'))
        self.addCleanup(listening.close)

        def serve():
            connection, _ = listening.accept()
            with connection:
                self.asked = connection.recv(4096)
                for piece in reply:
                    connection.sendall(piece)
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        done = control.run(it, *(arguments or ['ping']))
        thread.join(PATIENCE)
        return done


class Peer(Pretended):
    def test_request(self):
        for arguments, line in ((['scale', 'x', '5'], b'scale x 5\n'),
                                (['-j', 'ping'], b'ping --json\n'),
                                (['status', '--json'], b'status --json\n')):
            self.against([b'ok 0 0\n'], *arguments)
            self.assertEqual(self.asked, line)

    def test_reply_in_pieces(self):
        whole = b'usage 100004 4\none\n' + b'x' * 100000 + b'two\n'
        for pieces in ([whole[n:n + 1] for n in range(40)] + [whole[40:]], [whole + b'more']):
            done = self.against(pieces)
            self.assertEqual((done.returncode, done.stdout, done.stderr),
                             (2, 'one\n' + 'x' * 100000, 'two\n'))

    def test_controls_are_escaped(self):
        """Also those of Unicode, also where a piece ends within a character."""
        text = 'a\x1b[2J\tb\x9b\u202e\u00e9\r\n'.encode() + b'\xff\n'
        shown = 'a\\x1b[2J\tb\\xc2\\x9b\\xe2\\x80\\xae\u00e9\\x0d\n\\xff\n'
        reply = b'ok %d %d\n' % (len(text), len(text)) + text + text
        for pieces in [reply], [reply[n:n + 1] for n in range(len(reply))]:
            done = self.against(pieces)
            self.assertEqual((done.returncode, done.stdout, done.stderr), (0, shown, shown))

    def test_cut_off(self):
        for reply in (b'', b'o', b'ok 6 0', b'ok 6 0\nhello', b'refused 2 2\nout', b'ok 0 1\n'):
            done = self.against([reply])
            self.assertEqual(done.returncode, 1, reply)
            self.assertIn('closed the connection', done.stderr)

    def test_no_reply(self):
        """From another program, or a daemon of another version."""
        for reply in (b'HTTP/1.0 400 Bad Request\r\n\r\n', b'o\0\0\1\0short\n', b'x' * 100,
                      b'fine 1 1\n', b'ok 1\n', b'ok 1 1 1\n', b'ok  1 1\n', b'ok -1 1\n',
                      b'ok 1 1234567890\n', b'\n'):
            done = self.against([reply])
            self.assertEqual((done.returncode, done.stdout), (1, ''), reply)
            self.assertIn('another version', done.stderr)


@unittest.skipUnless(b'+jansson' in subprocess.check_output([daemon.BINARY, '-V']),
                     'built without jansson')
class Report(Pretended):
    """preforkctl prints any JSON from a daemon without harm to the terminal."""

    def show(self, report, *arguments, word=b'ok'):
        text = report if isinstance(report, bytes) else json.dumps(report).encode()
        return self.against([b'%s %d 0\n' % (word, len(text)), text], *(arguments or ['status']))

    def test_request(self):
        for arguments, line in ((['status'], b'status --json --brief\n'),
                                (['top'], b'status --json --brief\n'),
                                (['deaths'], b'deaths --json\n')):
            self.against([b'ok 0 0\n'], *arguments)
            self.assertEqual(self.asked, line)

    def test_as_it_came(self):
        done = self.show(b'{ "pools":[] }\n', '--json', 'status')
        self.assertEqual((done.returncode, done.stdout), (0, '{ "pools":[] }\n'))

    def test_json_stays_the_same_without_controls(self):
        text = 'a\x7f\x9b[2J\u202e\u00e9'
        done = self.show(json.dumps({'x': text}, ensure_ascii=False).encode(), '--json', 'status')
        self.assertEqual(json.loads(done.stdout), {'x': text})
        self.assertTrue(done.stdout.isprintable(), ascii(done.stdout))

    def test_refused(self):
        done = self.show({'ok': False, 'text': '', 'error': 'no\x1b'}, word=b'refused')
        self.assertEqual((done.returncode, done.stdout, done.stderr), (1, '', 'no\\x1b\n'))
        done = self.against([b'refused 0 3\n', b'no\n'], 'status')
        self.assertEqual((done.returncode, done.stdout, done.stderr), (1, '', 'no\n'))

    def test_no_report(self):
        for report in (b'', b'nothing', b'[1]', b'{}', b'{"pools":{}}', b'{"pools":[', b'1',
                       b'[' * 100000, b'{"error":1}', b'{"pools":[]}x', b'"\xff"'):
            done = self.show(report)
            self.assertEqual((done.returncode, done.stdout), (1, ''), report[:20])
            self.assertEqual(done.stderr, 'preforkctl: the answer is no report\n')

    def test_anything_may_be_missing_or_of_another_type(self):
        listener = {'address': 'a', 'queue': 2, 'room': 1, 'backlog': 3}
        worker = {'pid': 1, 'peer': 'p', 'status': 's',
                  'slow': {'seconds': 1.5, 'command': 'c', 'children': [{'command': 'd'}]}}
        pool = {'name': 'n', 'state': 'degraded', 'trouble': 't', 'busy': 1, 'max_workers': 2,
                'refused': {'denied': 1}, 'service_time': {'p50': 1.0}, 'queue_wait': {},
                'cpu_ended': {'user': 1, 'system': 2}, 'listeners': [listener],
                'workers': [worker]}
        for value in (None, True, -1, 10**18, 1e300, -1e300, '\x1b[2J\x9b\n', 'x' * 5000, [], {},
                      [[[]]], {'p99': 'x', 'a': -1}):
            for table in (pool, listener, worker, worker['slow'], worker['slow']['children'][0]):
                before = dict(table)
                table.update(dict.fromkeys(before, value))
                report = {'pools': [pool, value], 'uptime': value, 'reloads': value}
                done = self.show(report)
                table.update(before)
                self.assertEqual((done.returncode, done.stderr), (0, ''), value)
                self.assertNotRegex(done.stdout, r'[\x00-\x09\x0b-\x1f\x7f-\x9f]')
            done = self.show({'deaths': [{'why': value, 'last': value, 'age': value}, value]})
            self.assertEqual((done.returncode, done.stderr), (0, ''), value)
            self.assertNotRegex(done.stdout, r'[\x00-\x09\x0b-\x1f\x7f-\x9f]')


if __name__ == '__main__':
    daemon.main()
