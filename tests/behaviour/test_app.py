"""Programs that are workers: they inherit the listeners, and accept by themselves."""

import contextlib
import json
import os
import pwd
import re
import shutil
import signal
import socket
import time

import client
import control
import daemon
import processes
import wording
from processes import wait_until
from test_exec import signals

SERVER = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'server.py')
PYTHON = shutil.which('python3', path='/usr/bin:/bin') or '/usr/bin/python3'
SECTION = f'app {{ command = {{ "{PYTHON}", "-I", "@DIR@/server.py" ARGUMENTS }} MORE }}'


def app(options='workers = 1', section='', arguments=(), listen='"systemd:x"'):
    """A pool `x` of server.py, with options for the pool and for its app section."""
    words = ''.join(f', "{word}"' for word in arguments)
    text = SECTION.replace('ARGUMENTS', words).replace('MORE', section)
    return f'pool "x" {{ listen = {{ {listen} }} {options}\n{text} }}\n'


def run(command, options='workers = 1', section=''):
    """A pool `x` that runs another command."""
    words = ', '.join('"{}"'.format(word.replace('\\', '\\\\').replace('"', '\\"'))
                      for word in command)
    return (f'pool "x" {{ listen = {{ "systemd:x" }} {options}\n'
            f'app {{ command = {{ {words} }} {section} }} }}\n')


class Case(daemon.Case):
    def make(self, config, **arguments):
        it = super().make(config, **arguments)
        shutil.copyfile(SERVER, it.path('server.py'))
        return it

    def ask(self, it, words, name='x'):
        with it.connect(name) as connection:
            connection.sendall(words.encode() + b'\n')
            return client.read_all(connection).decode().rstrip('\n')

    def ask_some(self, it, words, count):
        """`count` different answers from as many programs. The kernel may give all connections to
        one program, so each holds its connection until all have answered."""
        found = set()

        def enough():
            found.clear()
            with contextlib.ExitStack() as stack:
                held = [stack.enter_context(it.connect('x')) for _ in range(count)]
                for connection in held:
                    connection.sendall(f'keep {words}\n'.encode())
                for connection in held:
                    with connection.makefile('r', encoding='utf-8') as answer:
                        found.add(answer.readline().rstrip('\n'))
            return len(found - {''}) == count
        wait_until(enough, lambda: f'{count} answers; there are {found}')
        return sorted(found)

    def facts(self, it, name='x'):
        return json.loads(self.ask(it, 'facts', name))


class Begins(Case):
    """The state that a program starts with."""

    def test_the_worker_is_the_program(self):
        it = self.start(app())
        it.same_descriptors = True
        worker, = it.workers()
        facts = self.facts(it)
        self.assertEqual((facts['pid'], facts['group'], facts['parent']), (worker, worker, it.pid))
        self.assertEqual(processes.descendants(it.pid), [worker])
        self.assertNotEqual(processes.stat(it.pid)[2], worker)

    def test_descriptors(self):
        """The first listener is 0, all are 3 and up; 1 and 2 are the log; nothing else is open."""
        listeners = {name: daemon.listen_tcp() for name in ('x', 'y', 'z')}
        it = self.start(app(listen='"systemd:y", "systemd:x", "systemd:z"'), listeners=listeners)
        held = self.facts(it)['descriptors']
        self.assertEqual(sorted(held), ['0', '1', '2', '3', '4', '5'], held)
        self.assertEqual(held['0'], held['3'])
        self.assertEqual(held['1'], held['2'])
        self.assertTrue(held['1'].startswith('pipe:'), held)
        self.assertEqual(len({held['3'], held['4'], held['5']}), 3)
        self.assertEqual(self.facts(it, 'z')['pid'], self.facts(it, 'y')['pid'])

    def test_more_listeners_than_low_numbers(self):
        names = [f'n{number}' for number in range(40)]
        listen = ', '.join(f'"systemd:{name}"' for name in names)
        it = self.start(app(listen=listen))
        facts = self.facts(it, 'n0')
        environment = facts['environment']
        self.assertEqual(environment['LISTEN_FDNAMES'], ':'.join(names))
        ports = dict(pair.rsplit('=', 1)[::-1]
                     for pair in environment['SERVER_STARTER_PORT'].split(';'))
        for number, name in enumerate(names):
            host, port = it.address(name)
            self.assertEqual(ports[str(3 + number)], f'{host}:{port}')
            self.assertEqual(self.facts(it, name)['pid'], facts['pid'])

    def test_signals_are_as_new(self):
        it = self.make(app())
        old = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        try:
            it.launch()
        finally:
            signal.signal(signal.SIGUSR1, old)
        it.ready()
        shown = ''.join(f'{name}:\t{value}\n' for name, value in self.facts(it)['status'].items())
        for name in ('SigBlk', 'SigPnd'):
            self.assertEqual(signals(shown, name), set(), name)
        self.assertLessEqual(signals(shown, 'SigIgn'), {signal.SIGPIPE, signal.SIGXFSZ})  # Python

    def test_environment(self):
        it = self.start(app('workers = 1 environment = { "A=b c", "EINHORN_FDS=none" }'),
                        environment={'TZ': 'UTC', 'LANG': 'C.UTF-8', 'SECRET': 'x', 'A': 'wrong'})
        host, port = it.address('x')
        user = pwd.getpwnam(daemon.USER) if daemon.ROOT else pwd.getpwuid(os.getuid())
        worker = str(it.workers()[0])
        found = self.facts(it)['environment']
        found.pop('LC_CTYPE', None)  # Python sets it
        path = found.pop('PATH')
        self.assertIn('/bin', path)
        self.assertEqual(found, {
            'A': 'b c', 'TZ': 'UTC', 'LANG': 'C.UTF-8', 'HOME': user.pw_dir, 'USER': user.pw_name,
            'LOGNAME': user.pw_name, 'LISTEN_FDS': '1', 'LISTEN_PID': worker,
            'LISTEN_FDNAMES': 'x', 'SERVER_STARTER_PORT': f'{host}:{port}=3',
            'SERVER_STARTER_GENERATION': '1', 'EINHORN_FD_COUNT': '1', 'EINHORN_FDS': 'none',
            'EINHORN_FD_0': '3', 'PREFORKD_SLOT': '0'})

    def test_names_of_sockets_of_our_own(self):
        it = self.start(app(listen='"unix:@DIR@/x.sock", "systemd:y"'))
        found = self.facts(it, 'y')['environment']
        host, port = it.address('y')
        self.assertEqual(found['LISTEN_FDNAMES'], 'x:y')
        self.assertEqual(found['SERVER_STARTER_PORT'],
                         f'{it.path("x.sock")}=3;{host}:{port}=4')
        self.assertEqual((found['EINHORN_FDS'], found['EINHORN_FD_1']), ('3 4', '4'))
        with client.connect(it.path('x.sock')) as connection:
            connection.sendall(b'pid\n')
            self.assertEqual(int(client.read_all(connection)), it.workers()[0])

    def test_listener_is_as_made(self):
        """The listener blocks and has no timeouts for accepted sockets to inherit, whatever pool
        had it before."""
        script = ('import socket,struct; s = socket.socket(fileno=0)\n'
                  'while True:\n'
                  '  c = s.accept()[0]\n'
                  '  c.sendall(repr([[struct.unpack("ll", t.getsockopt(socket.SOL_SOCKET, o, 16)) '
                  'for o in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO)] for t in (s, c)] '
                  '+ [s.getblocking()]).encode()); c.close()')
        right = b'[[(0, 0), (0, 0)], [(0, 0), (0, 0)], True]'
        it = self.start(run([PYTHON, '-I', '-c', script]))
        self.assertEqual(client.ask(it.address('x')), right)
        it = self.start('pool "x" { listen = { "systemd:x" } min_workers = 1 max_workers = 200\n'
                        'idle_timeout = 1 echo {} }')
        it.reload(run([PYTHON, '-I', '-c', script], 'workers = 1 min_ready_time = 0'))
        wait_until(lambda: client.ask(it.address('x')) == right, 'a listener as it was created')

    def test_output_goes_to_the_log_by_line(self):
        it = self.start(app())
        worker, = it.workers()
        self.ask(it, 'say hello there')
        it.wait_for_log(rf' notice: pool x: worker {worker}: hello there pool=x pid={worker}')
        self.ask(it, 'complain oh no')
        it.wait_for_log(rf' notice: pool x: worker {worker}: oh no pool=x')

    @daemon.needs_root
    def test_user_directory_and_limits(self):
        it = self.start(app('workers = 1 user = "daemon" umask = 027 limits { nofile = 77 }\n'
                            'directory = "/usr"'))
        shown = self.facts(it)['status']
        self.assertEqual(shown['Uid'].split(), [str(pwd.getpwnam('daemon').pw_uid)] * 4)
        self.assertEqual(shown['Umask'], '0027')
        worker, = it.workers()
        self.assertEqual(os.readlink(f'/proc/{worker}/cwd'), '/usr')
        with open(f'/proc/{worker}/limits', encoding='ascii') as file:
            self.assertRegex(file.read(), r'Max open files +77 +77')

    def test_numbers_are_stable(self):
        """Slots are 0 to N-1, and a successor has its predecessor's."""
        it = self.start(app('workers = 4'))
        self.assertEqual(self.ask_some(it, 'slot', 4), ['0', '1', '2', '3'])
        for _ in range(3):
            before = it.workers()
            slot = self.ask(it, 'slot')
            victim = int(self.ask(it, 'pid'))
            it.announce('killed by signal 9')
            os.kill(victim, signal.SIGKILL)
            it.wait_for_workers(4, without=[victim])
            self.assertEqual(len(set(it.workers()) & set(before)), 3, slot)
            self.assertEqual(self.ask_some(it, 'slot', 4), ['0', '1', '2', '3'])

    def test_numbers_after_a_resize_and_a_reload(self):
        it = self.start(app('workers = 4 min_ready_time = 0'))
        it.reload(app('workers = 2 min_ready_time = 0'))
        it.wait_for_workers(2)
        self.assertEqual(self.ask_some(it, 'slot', 2), ['0', '1'])
        it.reload(app('workers = 3 min_ready_time = 0'))
        it.wait_for_workers(3)
        self.assertEqual(self.ask_some(it, 'slot', 3), ['0', '1', '2'])
        old = it.workers()
        it.reload(app('workers = 3 min_ready_time = 0 nice = 1'))
        it.wait_for_workers(3, without=old)
        self.assertEqual(self.ask_some(it, 'slot', 3), ['0', '1', '2'])
        found = self.facts(it)['environment']
        self.assertEqual(found['SERVER_STARTER_GENERATION'], '4')


class Checked(Case):
    """What -t reports."""

    def refused(self, config, pattern):
        it = self.make(config)
        done = self.run_preforkd('-t', '-c', it.file)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertRegex(done.stderr, pattern)
        return done.stderr

    def test_options_of_connections(self):
        options = {'allow': '{ "127.0.0.1" }', 'deny': '{ "127.0.0.1" }', 'max_per_source': '1',
                   'rate_per_source': '1', 'proxy_protocol': '"on"',
                   'proxy_from': '{ "127.0.0.1" }', 'max_requests': '1', 'request_timeout': '1',
                   'idle_timeout': '1', 'log_connections': 'true', 'proxy_timeout': '4'}
        for name, value in options.items():
            self.refused(app(f'workers = 1\n{name} = {value}'),
                         rf':2: .*the handler app takes no {name}: its program .*\n')

    def test_defaults_are_no_fault_and_dumped(self):
        it = self.make(app())
        done = self.run_preforkd('-T', '-c', it.file)
        self.assertEqual((done.returncode, done.stderr), (0, ''))
        for line in (r'ready += "exec"', r'stop_signal += "TERM"', r'roll_at_once += 1'):
            self.assertRegex(done.stdout, line)
        self.assertNotRegex(done.stdout, r'allow|request_timeout|log_connections')

    def test_program(self):
        self.refused('pool "x" { listen = { "systemd:x" } workers = 1 app {} }',
                     'the option "command" is missing')
        self.refused(run(['server']), 'app: the program "server" must be an absolute path')
        self.refused(run(['/nowhere/server']),
                     "pool x: app: the pool's user can't find the program /nowhere/server: No such")
        self.refused(run(['/etc']), 'app: the program /etc is not a regular file')
        self.refused(run(['/etc/passwd']),
                     "app: the pool's user can't execute the program /etc/passwd: Perm")

    def test_words(self):
        self.refused(app(section='ready = "soon"'), r'ready takes exec.*, not "soon"')
        self.refused(app(section='stop_signal = "KILL"'), r'stop_signal takes .*TERM.*"KILL"')
        self.refused(app(section='roll_at_once = 0'), r'roll_at_once')

    def test_version_names_it(self):
        self.assertRegex(self.run_preforkd('-V').stdout, r'\bapp\b')


class Ends(Case):
    """How programs are stopped, and what follows if they exit by themselves."""

    def hold(self, it):
        """A connection that the program has in hand."""
        connection = it.connect('x')
        self.addCleanup(connection.close)
        connection.sendall(b'hold\n')
        self.assertEqual(client.read_exactly(connection, 5), b'held\n')
        return connection

    def test_stop_is_the_stop_signal(self):
        it = self.start(app('workers = 3'))
        self.ask_some(it, 'pid', 3)
        workers = it.workers()
        it.stop()
        for pid in workers:
            it.wait_for_log(rf' info: pool x: worker {pid} ended after [\d.]+ s '
                            rf'pool=x pid={pid} exit=0 age=')

    def test_program_that_leaves_it_to_the_signal(self):
        it = self.start(run(['/bin/sleep', '1000'], 'workers = 2'))
        worker = it.workers()[0]
        it.stop()
        it.wait_for_log(rf' info: pool x: worker {worker} ended by signal 15 \(Terminated\) after '
                        rf'[\d.]+ s pool=x pid={worker} signal=TERM core=no age=')

    def test_other_stop_signal(self):
        script = ('import signal,sys,time\n'
                  'signal.signal(signal.SIGTERM, signal.SIG_IGN)\n'
                  'signal.signal(signal.SIGUSR2, lambda *_: sys.exit(0))\n'
                  'print("waiting", flush=True)\n'
                  'while True: time.sleep(1000)')
        it = self.start(run([PYTHON, '-I', '-c', script], section='stop_signal = "USR2"'))
        worker, = it.workers()
        it.wait_for_log('waiting')
        it.stop()
        it.wait_for_log(rf' info: pool x: worker {worker} ended after')

    def test_one_that_does_not_obey_is_killed(self):
        """The program and its process group are killed graceful_timeout after the signal."""
        it = self.start(app('workers = 2 graceful_timeout = 1'))
        it.announce(wording.OVERDUE, 'killed by signal', wording.LEFT_GROUP)
        child = int(self.ask(it, 'fork'))
        self.hold(it)
        it.stop()
        it.wait_for_log(' warning: pool x: worker .* by us, not done within graceful_timeout')
        wait_until(lambda: not processes.alive(child), 'the end of its child')

    def test_retired_one_is_killed_in_time(self):
        """A resize does not wait forever for a program: nobody knows what it has in hand."""
        it = self.start(app('workers = 2 graceful_timeout = 1'))
        it.announce(wording.OVERDUE, 'killed by signal')
        held = [self.hold(it) for _ in range(2)]
        it.reload(app('workers = 1 graceful_timeout = 1'))
        it.wait_for_workers(1)
        it.wait_for_log(' warning: pool x: worker .* by us, not done within graceful_timeout')
        self.assertEqual(len(held), 2)

    def test_connection_in_hand_is_finished(self):
        it = self.start(app())
        connection = self.hold(it)
        it.kill(signal.SIGTERM)
        it.wait_for_log(wording.STOPPING)
        connection.sendall(b'x')
        self.assertEqual(client.read_all(connection), b'done\n')
        self.assertEqual(it.exited(), 0)

    def test_stop_now_kills(self):
        for number in (signal.SIGQUIT, signal.SIGTERM):
            it = self.start(app('workers = 2'))
            it.announce('killed by signal 9', 'by us')
            child = int(self.ask(it, 'fork'))
            self.hold(it)
            it.kill(number)
            it.wait_for_log(wording.STOPPING)
            it.kill(number)
            self.assertEqual(it.exited(), 0)
            wait_until(lambda: not processes.alive(child), 'the end of its child')

    def test_what_it_leaves_behind_is_killed(self):
        it = self.start(app('workers = 1 graceful_timeout = 1'))
        it.announce('killed by signal', wording.LEFT_GROUP)
        worker, = it.workers()
        child = int(self.ask(it, 'fork'))
        os.kill(worker, signal.SIGKILL)
        it.wait_for_workers(1, without=[worker])
        wait_until(lambda: not processes.alive(child), 'the end of its child')

    def test_it_dies_with_the_master(self):
        it = self.start(run([PYTHON, '-I', '-c', 'import signal,time\n'
                             'for n in (1, 2, 3, 15): signal.signal(n, signal.SIG_IGN)\n'
                             'print("deaf", flush=True)\n'
                             'while True: time.sleep(1000)'], 'workers = 3'))
        wait_until(lambda: len(it.log.find('deaf')) == 3, 'three programs that ignore signals')
        workers = it.workers()
        it.kill(signal.SIGKILL)
        self.assertEqual(it.exited(), -signal.SIGKILL)
        wait_until(lambda: not processes.reap_strays(set()), 'no process left', timeout=20)
        self.assertFalse([pid for pid in workers if processes.alive(pid)])

    def test_status_of_its_own(self):
        """71 to 73 are our own exit codes in other pools; from a program they mean nothing."""
        it = self.start(app())
        for code in (3, 71, 72, 73):
            worker = int(self.ask(it, 'pid'))
            self.ask(it, f'exit {code}')
            it.wait_for_log(rf' (notice|warning): pool x: worker {worker} exited with status '
                            f'{code} after')
            it.wait_for_workers(1, without=[worker])
            wait_until(lambda: self.ask(it, 'pid') != str(worker), 'its successor')
            it.announce(wording.BACKOFF)  # unless it was ready for a second


class Notifies(Case):
    """Programs with ready = "notify"."""

    CONFIG = 'workers = 1\n'

    def start_notified(self, *words, options=CONFIG, **more):
        return self.start(app(options, 'ready = "notify"', words), **more)

    def status(self, it):
        """The status that the first worker sent."""
        done = control.run(it, '--json', 'status')
        return json.loads(done.stdout)['pools'][0]['workers'][0]['status']

    def test_ready_when_it_says_so(self):
        script = ('import os,socket,sys,time\n'
                  'print("begun", flush=True)\n'
                  'while not os.path.exists("@DIR@/go"): time.sleep(0.01)\n'
                  's = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n'
                  's.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"])\n'
                  'time.sleep(1000)')
        it = self.make('')
        it.write(run([PYTHON, '-I', '-c', script], section='ready = "notify"'))
        it.launch()
        it.wait_for_log('begun')
        self.assertFalse(it.log.find(wording.READY))
        it.put('go', '')
        it.ready()

    def test_what_it_is_told(self):
        it = self.start_notified('READY=1', options='workers = 2 ready_timeout = 20\n')
        found = self.facts(it)
        environment = found['environment']
        self.assertRegex(environment['NOTIFY_SOCKET'], r'^/.*/\d+-\d+$')
        self.assertEqual(environment['WATCHDOG_PID'], str(found['pid']))
        self.assertEqual(environment['WATCHDOG_USEC'], '20000000')
        self.assertEqual(sorted(found['descriptors']), ['0', '1', '2', '3'])

    def test_each_has_a_socket_of_its_own(self):
        it = self.start_notified('READY=1', options='workers = 4\n')
        found = {json.loads(facts)['environment']['NOTIFY_SOCKET']
                 for facts in self.ask_some(it, 'facts', 4)}
        self.assertEqual(len(found), 4, found)

    def test_not_ready_in_time(self):
        it = self.make(app('workers = 1 ready_timeout = 1', 'ready = "notify"', ['STATUS=soon']))
        it.announce('err: ', 'warning: ', 'killed by signal')
        it.launch()
        self.assertEqual(it.exited(), 3)
        it.wait_for_log(r'warning: pool x: worker \d+ not ready within ready_timeout \(1 s\): '
                        r'killed by signal 9 \(Killed\) by us')
        it.wait_for_log(r'pool x: not ready within ready_timeout \(1 s\): no worker becomes ready')

    def test_one_that_hangs_before_it_is_ready(self):
        """A program that reports a failure ends the start at once, without waiting for
        ready_timeout."""
        it = self.make(app('workers = 1 ready_timeout = 3600', 'ready = "notify"',
                           ['WATCHDOG=trigger']))
        it.announce('err: ', 'warning: ', 'killed by signal')
        it.launch()
        self.assertEqual(it.exited(), 3)
        it.wait_for_log('pool x: sent WATCHDOG=trigger: no worker becomes ready')

    def test_reload_to_one_that_is_never_ready(self):
        it = self.start_notified('READY=1')
        old = it.workers()
        it.announce('err: ', 'warning: ', 'killed by signal')
        it.reload(app('workers = 1 ready_timeout = 1', 'ready = "notify"'), refused=True)
        self.assertEqual(it.workers(), old)
        self.assertEqual(self.ask(it, 'pid'), str(old[0]))

    def test_status(self):
        it = self.make('control = "@DIR@/control"\n'
                       + app('workers = 1', 'ready = "notify"', ['STATUS=warm\nREADY=1'.replace(
                           '\n', '\\n')]))
        it.launch().ready()
        worker, = it.workers()
        self.assertEqual(self.status(it), 'warm')
        self.ask(it, 'notify STATUS=7 of 9 \u2603')
        wait_until(lambda: self.status(it) == '7 of 9 \u2603', 'the new status')
        self.assertIn(f'pool x: worker {worker}: 7 of 9 \u2603\n', control.run(it, 'status').stdout)
        self.ask(it, 'notify RELOADING=1\\nX_ELSE=\\nSTOPPING=1\\nMAINPID=1\\nREADY=1\\n\\n=')
        self.ask(it, 'notify STATUS=')
        wait_until(lambda: self.status(it) is None, 'no status')
        self.assertEqual(it.workers(), [worker])

    def test_status_before_ready(self):
        """The statuses come in datagrams of their own, without a final newline."""
        it = self.make('control = "@DIR@/control"\n'
                       + app('workers = 1', 'ready = "notify"',
                             ['STATUS=a', 'STATUS=b', 'READY=1']))
        it.launch().ready()
        self.assertEqual(self.ask(it, 'pid'), str(it.workers()[0]))
        self.assertEqual(self.status(it), 'b')

    def test_strangers_are_not_heard(self):
        it = self.make('control = "@DIR@/control"\n'
                       + app('workers = 1', 'ready = "notify"', ['READY=1']))
        it.launch().ready()
        address = self.facts(it)['environment']['NOTIFY_SOCKET']
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stranger:
            stranger.sendto(b'STATUS=mine', address)
            stranger.sendto(b'WATCHDOG=trigger', address)
        self.ask(it, 'notify X=1')
        self.ask(it, 'notify STATUS=own')
        wait_until(lambda: self.status(it) == 'own', 'the status of the program itself')
        self.assertEqual(len(it.workers()), 1)

    def test_none_but_its_user_can_fill_it(self):
        """Only the pool's user can write to the socket or its directory."""
        it = self.start_notified('READY=1')
        address = self.facts(it)['environment']['NOTIFY_SOCKET']
        place = os.path.dirname(address)
        self.assertEqual(os.stat(address).st_mode & 0o777, 0o600)
        self.assertEqual(os.stat(address).st_uid,
                         pwd.getpwnam(daemon.USER).pw_uid if daemon.ROOT else os.getuid())
        self.assertFalse(os.stat(place).st_mode & 0o022)
        self.assertEqual(os.stat(place).st_uid, os.geteuid())
        if daemon.ROOT:
            script = ('import os,socket,sys\n'
                      's = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n'
                      'try: s.connect(sys.argv[1])\n'
                      'except PermissionError: print("refused")\n')
            done = self.run_program([PYTHON, '-I', '-c', script, address],
                                    user='daemon', group='daemon', extra_groups=[])
            self.assertEqual(done.stdout, 'refused\n', done.stderr)
        it.stop()
        self.assertFalse(os.path.exists(address))

    def start_without_root(self, runtime):
        """In a runtime directory that no daemon of another test has."""
        program = ['/usr/bin/setpriv', '--reuid=nobody', '--clear-groups'] if daemon.ROOT else []
        it = self.make('control = "none"\n'
                       + app(self.CONFIG, 'ready = "notify"', ['READY=1'],
                             listen='"unix:@DIR@/own/x.sock"'), prelude=False)
        it.environment['XDG_RUNTIME_DIR'] = it.expand(runtime)
        for name in ('own', 'runtime'):
            os.mkdir(it.path(name), 0o700)
            if daemon.ROOT:
                shutil.chown(it.path(name), 'nobody')
        words = ' '.join([*program, daemon.BINARY])
        it.program = it.put('preforkd', f'#!/bin/sh\nexec {words} "$@"\n', mode=0o755)
        it.launch()
        it.wait_for_log(wording.READY)
        it.addresses['x'] = it.path('own/x.sock')
        return it, self.facts(it)['environment']['NOTIFY_SOCKET']

    def test_what_a_killed_master_left_is_removed(self):
        it, address = self.start_without_root('@DIR@/runtime')
        it.kill(signal.SIGKILL)
        self.assertEqual(it.exited(), -signal.SIGKILL)
        wait_until(lambda: not processes.reap_strays(set()), 'no process left', timeout=20)
        self.assertTrue(os.path.exists(address))
        _, other = self.start_without_root(it.path('runtime'))
        self.assertEqual(os.path.dirname(other), os.path.dirname(address))
        self.assertFalse(os.path.exists(address))
        self.assertTrue(os.path.exists(other))

    def test_where_the_user_has_no_place(self):
        """Without root, or with a runtime directory that is not writable, the socket's directory
        has an unpredictable name."""
        for runtime in ('', '@DIR@/runtime'):
            it, address = self.start_without_root(runtime)
            start = it.path('runtime/preforkd-notify/') if runtime else '/tmp/preforkd-notify-'
            self.assertTrue(address.startswith(start), address)
            self.assertEqual(os.stat(os.path.dirname(address)).st_mode & 0o777, 0o700)
            it.stop()
            self.assertFalse(os.path.exists(os.path.dirname(address)))

    def test_descriptors_are_not_kept(self):
        it = self.start_notified('READY=1')
        it.same_descriptors = True
        address = self.facts(it)['environment']['NOTIFY_SOCKET']
        reader, writer = os.pipe()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stranger:
            stranger.connect(address)
            for _ in range(5):
                socket.send_fds(stranger, [b'FDSTORE=1'], [writer] * 20)
        os.close(writer)
        self.assertEqual(os.read(reader, 1), b'')  # every copy is closed
        os.close(reader)

    def test_watchdog(self):
        """A program that stops sending WATCHDOG=1 is killed and replaced."""
        it = self.start_notified('READY=1', options='workers = 2\n'
                                 'environment = { "WATCHDOG_USEC=300000" }\n')
        it.announce('stopped sending WATCHDOG=1')
        before = it.workers()
        said = int(self.ask(it, 'watchdog'))
        self.assertEqual(self.facts(it)['environment']['WATCHDOG_USEC'], '300000')
        it.wait_for_log(rf' warning: pool x: worker {said} stopped sending WATCHDOG=1: '
                        r'killed by signal 6 \(Aborted.*\) by us after')
        it.wait_for_workers(2, without=[said])
        self.assertEqual(len(set(before) & set(it.workers())), 1)  # silent ones stay

    def test_watchdog_trigger(self):
        it = self.start_notified('READY=1')
        it.announce('by us', wording.BACKOFF)
        worker, = it.workers()
        self.ask(it, 'notify WATCHDOG=trigger')
        it.wait_for_log(rf' warning: pool x: worker {worker} sent '
                        r'WATCHDOG=trigger: killed by signal 6')
        it.wait_for_workers(1, without=[worker])

    def test_watchdog_that_does_not_mind_an_abort(self):
        script = ('import os,signal,socket,time\n'
                  'signal.signal(6, signal.SIG_IGN)\n'
                  's = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n'
                  's.connect(os.environ["NOTIFY_SOCKET"])\n'
                  's.send(b"READY=1\\nWATCHDOG_USEC=200000\\nWATCHDOG=1")\n'
                  'while True: time.sleep(1000)')
        it = self.start(run([PYTHON, '-I', '-c', script], section='ready = "notify"'))
        it.announce('stopped sending WATCHDOG=1', wording.BACKOFF)
        worker, = it.workers()
        it.wait_for_log(rf' warning: pool x: worker {worker} stopped sending WATCHDOG=1: '
                        r'killed by signal 9 \(Killed\) by us')

    @daemon.needs_root
    def test_from_another_root(self):
        """The socket's address needs no path."""
        it = self.make(f'pool "x" {{ listen = {{ "systemd:x" }} workers = 1 chroot = "@DIR@/root"\n'
                       'app { command = { "/bin/sh", "-c", "exec /notifies" } '
                       'ready = "notify" } }')
        processes.copy_program('/bin/sh', it.path('root'), '/bin/sh')
        program = os.path.join(os.path.dirname(daemon.BINARY), '../tests/behaviour/notifies')
        processes.copy_program(program, it.path('root'), '/notifies')
        it.launch().ready()


class Rolls(Case):
    """One generation replaces the next, and no client fails."""

    def load(self, it, seconds_of_patience=60):
        """Clients that ask without a pause, from six threads."""
        return client.Asking(it.address('x'), 6, b'pid\n', rb'\d+\n', seconds_of_patience)

    def test_restart_loses_nothing(self):
        it = self.make('control = "@DIR@/control"\n'
                       + app('workers = 6', 'ready = "notify" roll_at_once = 2', ['READY=1']))
        it.launch().ready()
        old = it.workers()
        with self.load(it) as asking:
            wait_until(lambda: asking.served > 50, 'a running load')
            done = control.run(it, 'restart', 'x')
            self.assertEqual(done.returncode, 0, done.stderr)
            it.wait_for_workers(6, without=old)
            served = asking.served
            wait_until(lambda: asking.served > served + 50, 'the load after it')
        self.assertEqual(asking.failures, [])

    def test_restart_ends_all_of_the_old(self):
        for at_once in (1, 3):
            it = self.make('control = "@DIR@/control"\n'
                           + app('workers = 6 min_ready_time = 0',
                                 f'roll_at_once = {at_once} ready = "notify"',
                                 ['READY=1']))
            it.launch().ready()
            self.ask_some(it, 'pid', 6)
            done = control.run(it, 'restart')
            self.assertEqual(done.returncode, 0, done.stderr)
            wait_until(lambda: len(it.log.find(r'worker \d+ ended')) == 6, 'the end of all six')

    def test_waits_for_each_to_be_ready(self):
        """New workers wait for a file: there are never more of them than roll_at_once."""
        it = self.make('')
        script = ('import os,signal,socket,sys,time\n'
                  'signal.signal(15, lambda *_: os._exit(0))\n'
                  'n = int(os.environ["SERVER_STARTER_GENERATION"])\n'
                  'name = "@DIR@/go%d.%s" % (n, os.environ["PREFORKD_SLOT"])\n'
                  'print("begun", n, flush=True)\n'
                  'while n > 1 and not os.path.exists(name): time.sleep(0.01)\n'
                  's = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n'
                  's.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"])\n'
                  'while True: time.sleep(1000)')
        config = run([PYTHON, '-I', '-c', script], 'workers = 4 umask = UMASK min_ready_time = 0',
                     'ready = "notify" roll_at_once = 2')
        it.write(config.replace('UMASK', '022'))
        it.launch().ready()
        old = it.workers()
        it.write(config.replace('UMASK', '027'))
        it.kill(signal.SIGHUP)
        it.wait_for_log('begun 2')  # the canary
        it.put('go2.0', '')
        wait_until(lambda: len(it.log.find('begun 2')) == 3, 'two more')
        wait_until(lambda: len(set(it.workers()) & set(old)) == 3, 'one old worker has ended')
        self.assertEqual(len(it.workers()), 6)
        it.put('go2.1', '')
        wait_until(lambda: len(it.log.find('begun 2')) == 4, 'one more')
        wait_until(lambda: len(set(it.workers()) & set(old)) == 2, 'two old workers have ended')
        self.assertEqual(len(it.workers()), 6)
        it.put('go2.2', '')
        it.put('go2.3', '')
        it.wait_for_log(wording.RELOADED)
        it.wait_for_workers(4, without=old)

    def test_resizes_by_signals_and_words(self):
        it = self.make('control = "@DIR@/control"\n' + app('workers = 2 min_ready_time = 0'))
        it.launch().ready()
        it.kill(signal.SIGTTIN)
        it.wait_for_workers(3)
        it.kill(signal.SIGTTOU)
        it.wait_for_workers(2)
        self.assertEqual(control.run(it, 'scale', 'x', '4').returncode, 0)
        it.wait_for_workers(4)
        self.assertEqual(control.run(it, 'drain', 'x').returncode, 0)
        self.assertEqual(it.workers(), [])
        with it.connect('x') as connection:  # clients wait meanwhile
            connection.sendall(b'slot\n')
            self.assertEqual(control.run(it, 'resume', 'x').returncode, 0)
            self.assertIn(client.read_all(connection), {b'0\n', b'1\n', b'2\n', b'3\n'})

    def test_upgrade_loses_nothing(self):
        it = self.make(app('workers = 4', 'ready = "notify" roll_at_once = 2',
                           ['READY=1'])).own_program()
        it.launch().ready()
        old = it.workers()
        with self.load(it) as asking:
            wait_until(lambda: asking.served > 50, 'a running load')
            it.install()
            it.upgrade()
            it.wait_for_workers(4, without=old)
        self.assertEqual(asking.failures, [])
        self.assertEqual(self.ask_some(it, 'slot', 4), ['0', '1', '2', '3'])

    def test_upgrade_to_a_configuration_that_fails(self):
        """The old program's workers go on under the new one, which receives their statuses, and
        stops them by their own stop_signal."""
        script = ('import os,signal,socket,sys,time\n'
                  'signal.signal(15, signal.SIG_IGN)\n'
                  'signal.signal(12, lambda *_: os._exit(0))\n'
                  's = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n'
                  's.connect(os.environ["NOTIFY_SOCKET"])\n'
                  's.send(b"READY=1")\n'
                  'for n in range(1000000):\n'
                  '  s.send(b"STATUS=%d" % n)\n'
                  '  time.sleep(0.01)')
        it = self.make('').own_program()
        config = ('control = "@DIR@/control"\n'
                  + run(['@DIR@/program', '-I', '-c', script], 'workers = 2 min_ready_time = 0',
                        'ready = "notify" stop_signal = "USR2"'))
        it.write(config)
        os.symlink(PYTHON, it.path('program'))
        it.launch().ready()
        old = it.workers()
        os.unlink(it.path('program'))
        it.put('program', '#!/bin/sh\nexit 1\n', mode=0o755)
        it.announce('err: ', wording.BACKOFF)
        it.install()
        it.kill(signal.SIGUSR2)
        it.wait_for_log(wording.REFUSED)
        self.assertEqual(it.workers(), old)
        first = self.status_of(it)
        wait_until(lambda: self.status_of(it) != first, 'a new status')
        os.unlink(it.path('program'))
        os.symlink(PYTHON, it.path('program'))
        it.reload()
        it.wait_for_workers(2, without=old)
        it.wait_for_log(rf' info: pool x: worker {old[0]} ended after')

    def status_of(self, it):
        done = control.run(it, '--json', 'status')
        return json.loads(done.stdout)['pools'][0]['workers'][0]['status']

    def test_nonblocking_stays(self):
        """A reload keeps O_NONBLOCK, which the programs set: without it they would block in
        accept()."""
        it = self.start(app('workers = 1') + 'pool "y" { listen = { "systemd:y" } workers = 1\n'
                        'nice = 1 echo {} }\n')
        worker, = set(it.workers()) - set(it.workers('y'))
        self.ask(it, 'pid')

        def flags():
            with open(f'/proc/{worker}/fdinfo/3', encoding='ascii') as file:
                return int(re.search(r'flags:\s+(\d+)', file.read())[1], 8)
        self.assertTrue(flags() & os.O_NONBLOCK)
        it.reload(app('workers = 1') + 'pool "y" { listen = { "systemd:y" } workers = 1\n'
                  'nice = 2 echo {} }\n')
        self.assertTrue(flags() & os.O_NONBLOCK)


class Unseen(Case):
    """Nobody counts the connections that programs accept."""

    def test_count_of_connections_is_unknown(self):
        it = self.start('control = "@DIR@/control"\n' + app())
        it.announce('killed by signal')
        self.ask(it, 'pid')
        pool, = json.loads(control.run(it, '--json', 'status').stdout)['pools']
        for counts in (pool, *pool['workers']):
            self.assertIsNone(counts['accepted'])
            self.assertIsNone(counts['served'])
        os.kill(it.workers()[0], signal.SIGKILL)
        it.wait_for_log('killed by signal')
        death, = json.loads(control.run(it, '--json', 'deaths').stdout)['deaths']
        self.assertIsNone(death['served'])
        self.assertNotIn('served', control.run(it, 'deaths').stdout)


class Lends(Case):
    """What the programs do to their listener, and what the next handler of the address does to
    theirs."""

    ECHO = ('pool "x" { listen = { "systemd:x" } workers = 2 graceful_timeout = 600 MORE '
            'echo {} }')

    def program(self, set_up, options='workers = 1'):
        """A program that stops accepting at SIGTERM, but goes on; at SIGUSR1 it logs the timeouts
        that a connection of the listener would have."""
        script = ('import os,select,signal,socket,struct\n'
                  's = socket.socket(fileno=3)\n'
                  'def say(*_):\n'
                  '  print("timeouts", [struct.unpack("ll", s.getsockopt(socket.SOL_SOCKET, o, 16))'
                  ' for o in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO)], flush=True)\n'
                  'def finish(*_):\n'
                  '  while True: signal.pause()\n'
                  'signal.signal(15, finish)\n'
                  'signal.signal(10, say)\n'
                  f'{set_up}\n'
                  'while True:\n'
                  '  select.select([s], [], [])\n'
                  '  try: c = s.accept()[0]\n'
                  '  except BlockingIOError: continue\n'
                  '  c.sendall(b"program"); c.close()')
        return run([PYTHON, '-I', '-c', script],
                   options + ' graceful_timeout = 600 min_ready_time = 0')

    def blocks(self, pid, link):
        """Whether a process's listener blocks."""
        number = next(n for n in os.listdir(f'/proc/{pid}/fd')
                      if os.readlink(f'/proc/{pid}/fd/{n}') == link)
        with open(f'/proc/{pid}/fdinfo/{number}', encoding='ascii') as file:
            return not int(re.search(r'flags:\s+(\d+)', file.read())[1], 8) & os.O_NONBLOCK

    def test_old_programs_keep_it(self):
        """Until the last old program has ended, the listener blocks or not as the programs set it,
        and connections that they accept have no timeouts."""
        for set_up, blocks, more in (('s.setblocking(False)', False, ''),
                                     ('s.setblocking(True)', True, 'model = "event"')):
            it = self.start(self.program(set_up))
            it.announce('killed by signal')
            wait_until(lambda: client.ask(it.address('x')) == b'program', 'the program')
            old, = it.workers()
            link = os.readlink(f'/proc/{old}/fd/3')
            self.assertEqual(self.blocks(old, link), blocks)
            it.reload(self.ECHO.replace('MORE', more + ' idle_timeout = 7'))
            new = it.workers('x')
            self.assertEqual(self.blocks(old, link), blocks)
            for _ in range(20):
                self.assertEqual(client.ask(it.address('x'), b'abc'), b'abc')
            os.kill(old, signal.SIGUSR1)
            it.wait_for_log(re.escape('timeouts [(0, 0), (0, 0)]'))
            os.kill(old, signal.SIGKILL)
            wait_until(lambda: self.blocks(new[0], link) != blocks, 'the flag of the new handler')
            for _ in range(20):
                self.assertEqual(client.ask(it.address('x'), b'abc'), b'abc')
            it.stop()

    def test_old_programs_keep_it_over_an_upgrade(self):
        it = self.make(self.program('s.setblocking(False)')).own_program()
        it.announce('killed by signal')
        it.launch().ready()
        wait_until(lambda: client.ask(it.address('x')) == b'program', 'the program')
        old, = it.workers()
        link = os.readlink(f'/proc/{old}/fd/3')
        it.write(self.ECHO.replace('MORE', 'idle_timeout = 7'))
        it.install()
        it.upgrade()
        self.assertFalse(self.blocks(old, link))
        for _ in range(20):
            self.assertEqual(client.ask(it.address('x'), b'abc'), b'abc')
        os.kill(old, signal.SIGKILL)
        wait_until(lambda: self.blocks(it.pid, link), 'the flag of the new handler')
        self.assertEqual(client.ask(it.address('x'), b'abc'), b'abc')

    def test_an_idle_client_is_closed_meanwhile(self):
        it = self.start(self.program('s.setblocking(False)'))
        it.announce('killed by signal')
        old, = it.workers()
        it.reload(self.ECHO.replace('MORE', 'idle_timeout = 1'))
        with it.connect('x') as connection:
            self.assertEqual(client.read_all(connection), b'')
        os.kill(old, signal.SIGKILL)

    def test_a_program_may_come_back(self):
        """To echo and back, while the first programs still run."""
        it = self.start(self.program('s.setblocking(False)'))
        it.announce('killed by signal')
        old, = it.workers()
        it.reload(self.ECHO.replace('MORE', ''))
        it.reload(self.program('s.setblocking(False)', options='workers = 1 nice = 1'))
        self.assertFalse(self.blocks(old, os.readlink(f'/proc/{old}/fd/3')))
        self.assertEqual(client.ask(it.address('x')), b'program')
        os.kill(old, signal.SIGKILL)
        it.reload(self.program('s.setblocking(False)', options='workers = 1 nice = 2'))
        self.assertEqual(client.ask(it.address('x')), b'program')
        it.stop(signal.SIGQUIT)

    def test_idle_clients_while_a_program_is_tried(self):
        """The program gets no timeouts; the present workers' idle clients are closed nevertheless,
        then and when the reload was refused, by which another pool would get the address."""
        for model in ('process', 'thread', 'event'):
            it = self.start(self.ECHO.replace('MORE', f'model = "{model}" idle_timeout = 1'))
            it.announce('err: ', 'warning: ')
            it.write(run(['/bin/sh', '-c', 'echo begun; exec sleep 1000'],
                         'workers = 1 ready_timeout = 5', 'ready = "notify"')
                     .replace('"x"', '"y"', 1))
            it.kill(signal.SIGHUP)
            it.wait_for_log('begun')
            with it.connect('x') as connection:
                self.assertEqual(client.read_all(connection), b'')
            it.wait_for_log(wording.REFUSED)
            link = os.readlink(f'/proc/{it.pid}/fd/3')
            wait_until(lambda: self.blocks(it.pid, link) == (model != 'event'), 'the flag')
            with it.connect('x') as connection:
                self.assertEqual(client.read_all(connection), b'')
            it.stop()

    def test_first_exec_worker_on_a_listener_with_timeouts(self):
        """It accepts before the listener is set for it."""
        it = self.start(self.ECHO.replace('MORE', 'idle_timeout = 7'))
        script = ('import socket,struct; s = socket.socket(fileno=0)\n'
                  'while s.recv(99): pass\n'
                  's.sendall(repr([struct.unpack("ll", s.getsockopt(socket.SOL_SOCKET, o, 16)) '
                  'for o in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO)]).encode())')
        it.write(run([PYTHON, '-I', '-c', script], 'workers = 1 min_ready_time = 600')
                 .replace('app {', 'exec {'))
        it.kill(signal.SIGHUP)
        answers = set()
        wait_until(lambda: answers.add(client.ask(it.address('x'), b'echo'))
                   or len(answers) > 1, 'an answer of the program')
        self.assertEqual(answers, {b'echo', b'[(0, 0), (0, 0)]'})
        it.stop(signal.SIGQUIT)

    def test_blocking_program_after_a_drain(self):
        """One with an event loop leaves the listener non-blocking to those that run beside it."""
        script = ('import socket; s = socket.socket(fileno=0)\n'
                  'while True: c = s.accept()[0]; c.sendall(b"blocking"); c.close()')
        blocking = run([PYTHON, '-I', '-c', script], 'workers = 1 min_ready_time = 1')
        it = self.make('control = "@DIR@/control"\n' + app('workers = 1'))
        it.launch().ready()
        self.ask(it, 'pid')
        it.announce('BlockingIOError', 'exited with', 'err: ', 'respawn')
        it.write('control = "@DIR@/control"\n' + blocking)
        it.reload(refused=True)
        self.assertEqual(control.run(it, 'drain', 'x').returncode, 0)
        self.assertEqual(it.workers(), [])
        it.reload()
        self.assertEqual(client.ask(it.address('x')), b'blocking')

    def test_close_that_resets_is_taken_back(self):
        it = self.start(self.program('s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, '
                                     'struct.pack("ii", 1, 0)); s.setblocking(False)'))
        it.announce('killed by signal')
        wait_until(lambda: processes.sleeps(it.workers()[0]), 'the program')
        old, = it.workers()
        link = os.readlink(f'/proc/{old}/fd/3')
        wait_until(lambda: not self.blocks(old, link), 'the options')
        it.reload(self.ECHO.replace('MORE', ''))
        os.kill(old, signal.SIGKILL)
        wait_until(lambda: self.blocks(it.pid, link), 'the flag of the new handler')
        for _ in range(20):
            self.assertEqual(client.ask(it.address('x'), b'abc'), b'abc')

    def test_workers_that_poll_get_out_of_accept(self):
        """A program that is tried makes the listener block. A lane that it beats to a connection
        waits in accept(2) there, but not when a client comes to another listener."""
        for model in ('', 'model = "thread" threads = 1'):
            it = self.start('pool "x" { listen = { "systemd:x", "systemd:y" } workers = 1\n'
                            f'{model} daytime {{}} }}',
                            listeners={name: daemon.listen_tcp() for name in 'xy'})
            worker, = it.workers()
            lane = max(map(int, os.listdir(f'/proc/{worker}/task')))
            it.write(self.program('s.setblocking(True)', 'workers = 1 ready_timeout = 600')
                     .replace('"systemd:x"', '"systemd:x", "systemd:y"')
                     .replace('app {', 'app { ready = "notify"'))
            it.kill(signal.SIGHUP)
            wait_until(lambda it=it: any(PYTHON in processes.title(pid) and processes.sleeps(pid)
                                         for pid in it.workers()), 'the program')

            def stuck(it=it, lane=lane):
                client.ask(it.address('x'))
                wait_until(lambda: re.search('epoll|csk_accept', processes.describe(lane)),
                           'a wait')
                return 'csk_accept' in processes.describe(lane)
            # Between epoll_wait() and accept4(), the lane is held back: the program is faster.
            with it.traced(lane, '-e', 'trace=accept4', '-e', 'inject=accept4:delay_enter=300000'):
                wait_until(stuck, 'a lane in accept(2)')
            with self.subTest(model):
                self.assertRegex(client.ask(it.address('y')), rb'\d:\d')
            it.announce('killed by signal')
            it.stop(signal.SIGQUIT)

    def test_to_echo_and_back_under_load(self):
        """Programs that poll and accept don't hang in accept(2), and lose no connection."""
        it = self.make('')
        servers = app('workers = 4 graceful_timeout = 600 min_ready_time = 0')
        daytime = 'pool "x" { listen = { "systemd:x" } workers = 4 MORE daytime {} }'
        it.write(servers)
        it.launch().ready()
        with client.Asking(it.address('x'), 6, b'pid\n', rb'(?s).+\n') as asking:
            for more in ('', 'model = "event"', 'max_workers = 200'):
                old = it.workers()
                wait_until(lambda: asking.served > 50, 'a running load')
                more = daytime.replace('MORE', more)
                it.reload(more.replace('workers = 4 max', 'max') if 'max' in more else more)
                wait_until(lambda: not any(map(processes.alive, old)), 'the end of the programs')
                served = asking.served
                wait_until(lambda: asking.served > served + 50, 'the load after it')
                it.reload(servers)
                wait_until(lambda: asking.served > served + 100, 'the load on the programs')
        self.assertEqual(asking.failures, [])


class Follows(Case):
    """A pool that follows the load by its queue alone."""

    def hold(self, it, count):
        """Connections that are held by a worker, or wait in the queue."""
        held = []
        for _ in range(count):
            connection = it.connect('x')
            self.addCleanup(connection.close)
            connection.sendall(b'hold\n')
            held.append(connection)
        return held

    def grows_and_shrinks(self, options, least):
        it = self.start(app(options, 'ready = "notify"', ['READY=1']))
        wait_until(lambda: len(it.workers()) == least, f'{least} workers')
        held = self.hold(it, 4)
        for connection in held:
            self.assertEqual(client.read_exactly(connection, 5), b'held\n')
        self.assertGreaterEqual(len(it.workers()), 4)
        for connection in held:
            connection.sendall(b'x')
            self.assertEqual(client.read_all(connection), b'done\n')
        wait_until(lambda: len(it.workers()) == least, f'{least} workers')
        self.assertIn('0', self.ask(it, 'slot'))

    def test_grows_and_shrinks(self):
        self.grows_and_shrinks('min_workers = 1 max_workers = 8 spare_timeout = 1\n', 1)

    def test_from_nobody(self):
        self.grows_and_shrinks('min_workers = 0 max_workers = 8 spare_timeout = 1\n', 0)

    def test_on_a_unix_socket(self):
        it = self.make(app('min_workers = 1 max_workers = 3 spare_timeout = 1\n',
                           'ready = "notify"', ['READY=1'], '"unix:@DIR@/x.sock"'))
        it.launch().ready()
        it.addresses['x'] = it.path('x.sock')
        held = self.hold(it, 3)
        for connection in held:
            self.assertEqual(client.read_exactly(connection, 5), b'held\n')
        it.wait_for_workers(3)

    def test_full(self):
        it = self.start(app('min_workers = 1 max_workers = 2 spare_timeout = 1\n',
                            'ready = "notify"', ['READY=1']))
        it.announce(': full for')
        held = self.hold(it, 3)
        it.wait_for_log(r' warning: pool x: full for \d+ s: all 2 workers are busy, connections '
                        'that wait: 1 ')
        for connection in held:
            connection.sendall(b'x')
        it.wait_for_log('pool x: no longer full')

    def test_max_spare_is_refused(self):
        it = self.make(app('max_workers = 9 max_spare = 2\n'))
        done = self.run_preforkd('-t', '-c', it.file)
        self.assertRegex(done.stderr, r':1: .*the handler app takes no max_spare: its program .*\n')

    def test_rests(self):
        """The master polls the queue of a pool that follows the load, but sleeps beside a fixed
        one."""
        it = self.start(app('workers = 2', 'ready = "notify"', ['READY=1']))
        wait_until(lambda: processes.sleeps(it.pid), 'a master at rest')
        before = processes.status(it.pid)['voluntary_ctxt_switches']
        other = self.start(app('max_workers = 2\n', 'ready = "notify"', ['READY=1']))
        looks = int(processes.status(other.pid)['voluntary_ctxt_switches'])
        wait_until(lambda: int(processes.status(other.pid)['voluntary_ctxt_switches'])
                   >= looks + 10, 'ten looks')
        after = processes.status(it.pid)['voluntary_ctxt_switches']
        self.assertLess(int(after) - int(before), 5)


class Fails(Case):
    """Programs that fail."""

    def start_fails(self, config, pattern):
        it = self.make(config)
        it.announce('err: ', 'warning: ', 'killed by signal')
        it.launch()
        self.assertEqual(it.exited(), 3)
        it.wait_for_log(pattern)
        return it

    def test_ends_at_once(self):
        it = self.start_fails(run(['/bin/sh', '-c', 'echo no such thing >&2; exit 7']),
                              'its program exited before it was ready: no such thing: no worker '
                              'becomes ready')
        it.wait_for_log(r' exited with status 7 after 0\.\d s')

    def test_goes_into_the_background(self):
        it = self.start_fails(run(['/bin/sh', '-c', 'sleep 1000 & exit 0']),
                              'its program ended, with status 0, and left processes behind: it '
                              'must stay in the foreground: no worker becomes ready')
        it.wait_for_log(r' notice: pool x: worker \d+ ended after 0\.\d s, and left processes '
                        'behind: it must stay in the foreground')

    def test_can_not_be_executed(self):
        it = self.make(run(['@DIR@/program']))
        it.put('program', '#!/nowhere/sh\n', mode=0o755)
        it.announce('err: ', 'warning: ')
        it.launch()
        self.assertEqual(it.exited(), 3)
        it.wait_for_log(rf"err: .*worker \d+ can't start: can't start {it.path('program')}: "
                        'No such file or directory')

    def test_reload_to_one_that_fails(self):
        """The canary fails first; the old workers go on."""
        it = self.start(app('workers = 3'))
        old = it.workers()
        it.announce('err: ', 'can\'t start')
        lines = it.reload(run(['/bin/sh', '-c', 'echo not today >&2; exit 1'], 'workers = 3'),
                          refused=True)
        self.assertTrue(any('did not become ready' in line and 'not today' in line
                            for line in lines), lines)
        self.assertEqual(it.workers(), old)
        self.assertIn(int(self.ask(it, 'pid')), old)
        path = it.put('program', '#!/nowhere/sh\n', mode=0o755)
        lines = it.reload(run([path], 'workers = 3'), refused=True)
        self.assertTrue(any(f"can't start {path}: No such file" in line for line in lines), lines)
        self.assertEqual(it.workers(), old)

    def test_degraded_while_it_fails(self):
        """The pool serves until something that its program needs disappears."""
        it = self.make(run(['@DIR@/program'], 'workers = 2'))
        it.put('program', '#!/bin/sh\nexec sleep 1000\n', mode=0o755)
        it.launch().ready()
        it.announce(wording.BACKOFF, 'killed by signal')
        it.put('program', '#!/bin/sh\nexit 1\n', mode=0o755)
        victim = it.workers()[0]
        os.kill(victim, signal.SIGKILL)
        it.wait_for_log(wording.BACKOFF)
        it.kill(signal.SIGUSR1)
        it.wait_for_log(r'pool x: degraded, 1 of 2 workers ready')
        it.put('program', '#!/bin/sh\nexec sleep 1000\n', mode=0o755)
        it.wait_for_workers(2, without=[victim])

    def test_one_that_closes_its_listener(self):
        """A program that closes its listener hurts nobody else."""
        it = self.start(run(['/bin/sh', '-c', 'exec 0<&- 3<&-; exec sleep 1000'])
                        + 'pool "echo" { listen = { "systemd:echo" } workers = 1 echo {} }\n')
        self.assertEqual(client.ask(it.address('echo'), b'x'), b'x')
        with it.connect('x'):  # is not refused
            pass
        self.assertEqual(len(it.workers()), 2)

    def test_one_that_sets_it_nonblocking(self):
        """An echo worker takes the address over while the old program keeps setting O_NONBLOCK; it
        must not spin."""
        script = ('import os,signal,time\n'
                  'signal.signal(15, signal.SIG_IGN)\n'
                  'while True: os.set_blocking(0, False); time.sleep(0.001)')
        it = self.start(run([PYTHON, '-I', '-c', script], 'workers = 1 graceful_timeout = 600'))
        it.announce(wording.OVERDUE, 'killed by signal')
        old, = it.workers()
        it.reload('pool "x" { listen = { "systemd:x" } workers = 1 echo {} }')
        new, = it.workers('x')
        self.assertTrue(processes.alive(old))
        for _ in range(20):
            self.assertEqual(client.ask(it.address('x'), b'abc'), b'abc')
        before, began = processes.cpu_seconds(new), processes.cpu_seconds(old)
        wait_until(lambda: processes.cpu_seconds(old) > began + 0.02, 'some CPU time')
        self.assertLess(processes.cpu_seconds(new) - before, 0.05)
        os.kill(old, signal.SIGKILL)


if __name__ == '__main__':
    daemon.main()
