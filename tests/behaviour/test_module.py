"""Third-party code in the workers: what it gets, what harm it can do, and when it is loaded."""

import contextlib
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess

import board
import client
import daemon
import processes
import wording
from processes import wait_until

BUILD = os.path.dirname(os.path.dirname(daemon.BINARY))
MODULES = os.path.join(BUILD, 'tests', 'behaviour')
EXAMPLE = os.path.join(os.path.dirname(os.path.abspath(__file__)),
                       '..', '..', 'conf', 'examples', 'module')


# Under sanitizers: the options that leave a module's faults to the daemon.
PLAIN = {'ASAN_OPTIONS': 'handle_segv=0:handle_abort=0:handle_sigfpe=0:detect_leaks=0'}


def pool(args='', options='', workers=1, path='@DIR@/m.so'):
    """A pool `m`. Line 3 of the file is the module's path, line 4 its args."""
    return (f'pool "m" {{ listen = {{ "systemd:m" }} workers = {workers} {options}\n'
            f'module {{\npath = "{path}"\nargs = {{ {args} }}\n}} }}\n')


def quoted(**args):
    return ', '.join(f'"{name}={value}"' for name, value in args.items())


class Case(daemon.Case):
    def put(self, it, name='evil', to='m.so'):
        """Copies a module from the build, replacing the file atomically."""
        shutil.copy(os.path.join(MODULES, name + '.so'), it.path(to + '.new'))
        os.chmod(it.path(to + '.new'), 0o755)
        os.rename(it.path(to + '.new'), it.path(to))

    def make_with(self, name='evil', args='', options='', workers=1, environment=None):
        it = self.make(pool(args, options, workers), environment=PLAIN | (environment or {}))
        self.put(it, name)
        return it

    def start_with(self, *arguments, **more):
        return self.make_with(*arguments, **more).launch().ready()

    def rest(self, connection):
        """Whatever still arrives, even if the connection is reset."""
        with contextlib.suppress(ConnectionResetError):
            return client.read_all(connection)
        return b''


# A module or args that -t refuses: [module, args, line, pattern].
REFUSED = {
    'another ABI': ['evil_abi', '', 3, 'ABI 99.* 2$'],
    'too small a struct': ['evil_size', '', 3, '8 bytes'],
    'nothing to serve with': ['evil_serve', '', 3, 'no function to serve'],
    'another symbol': ['evil_symbol', '', 3, 'no symbol preforkd_module$'],
    'undefined symbol': ['evil_undefined', '', 3, r'undefined symbol: nowhere_defined'],
    'crash when it is loaded': ['evil_constructor', '', 3, 'signal 11'],
    'crash in its check': ['evil', quoted(check='crash'), 3, r'crashed .*signal 11 \(Seg'],
    'end in its check': ['evil', quoted(check='exit'), 3, 'exit status 0$'],
    'bad end in its check': ['evil', quoted(check='exit7'), 3, 'exit status 7$'],
    'hang in its check': ['evil', quoted(check='hang'), 3, 'more than 5 s'],
    'deaf hang in its check': ['evil', quoted(check='deaf-hang'), 3, 'more than 5 s'],
    'refused args': ['evil', quoted(check='refuse:one is too few'), 4, 'm.so.*one is too few$'],
    'refused without a word': ['evil', quoted(check='refuse:', silently=''), 4, 'gave no reason'],
    'refused without an end': ['evil', quoted(check='refuse:'), 4, 'x{500}'],
    'an ABI from before the first': ['evil_zero', '', 3, 'ABI 0'],
    'args without =': ['evil', '"word"', 4, '"word"'],
    'args without a name': ['evil', '"=word"', 4, '"=word"'],
    'doubled args': ['evil', '"a=1", "ab=1", "a=2"', 4, 'a=2.*twice'],
}


class Check(Case):
    def judge(self, it):
        done = self.run_preforkd('-t', '-c', it.file, env=os.environ | PLAIN)
        return done.returncode, done.stderr

    def expect(self, it, line, pattern):
        """Expects one error, in this line."""
        status, text = self.judge(it)
        self.assertEqual(status, 1, text)
        told = text.splitlines()
        self.assertEqual(len(told), 1, text)
        self.assertRegex(told[0], rf'^{re.escape(it.file)}:{line}: pool m: .*{pattern}')

    def make_local(self, *arguments, **more):
        it = self.make_with(*arguments, **more)
        with open(it.file, encoding='utf-8') as file:
            text = file.read()
        it.write(text.replace('systemd:m', 'unix:@DIR@/socket'))
        return it

    def test_refused(self):
        for what, (name, args, line, pattern) in REFUSED.items():
            with self.subTest(what):
                self.expect(self.make_local(name, args), line, pattern)

    def test_manuals_example_in_cpp(self):
        """Without compiler warnings, except for fields left out, which are NULL."""
        top = os.path.join(EXAMPLE, '../../..')
        with open(os.path.join(top, 'man/preforkd-module.3'), encoding='utf-8') as file:
            page = subprocess.run(['mandoc', '-T', 'utf8'], stdin=file, capture_output=True,
                                  text=True, check=True).stdout
        text = re.sub('.\b', '', page)
        text = text[text.index('EXAMPLES'):]
        source = text[text.index('#include'):text.index('g++ ')].replace('\u2019', "'")
        it = self.make(pool().replace('systemd:m', 'unix:@DIR@/socket'))
        with open(it.path('hello.cc'), 'w', encoding='ascii') as file:
            file.write(source)
        subprocess.run(['g++', '-std=c++20', '-Wall', '-Wextra', '-Wpedantic', '-Werror',
                        '-Wno-missing-field-initializers', '-shared', '-fPIC', '-I',
                        os.path.join(top, 'src/module'), '-o', it.path('m.so'),
                        it.path('hello.cc')], check=True)
        it.launch().ready()
        with client.connect(it.path('socket')) as connection:
            self.assertEqual(client.read_all(connection), b'hello unix\n')

    def test_right(self):
        status, text = self.judge(self.make_local(args=quoted(a='b=c', d='')))
        self.assertEqual((status, text), (0, ''))

    def test_models(self):
        """A module of ABI 1 runs in processes only; one of ABI 2 says in which models it can
        run."""
        for model in ('thread', 'event'):
            options = f'model = "{model}"'
            self.assertEqual(self.judge(self.make_local(options=options)), (0, ''))
            self.expect(self.make_local('evil_first', options=options), 3,
                        'ABI 1 .* knows model = "process" alone$')
        self.assertEqual(self.judge(self.make_local('evil_first')), (0, ''))

    def test_no_path(self):
        it = self.make('pool "m" { listen = { "unix:@DIR@/s" } workers = 1\nmodule {} }\n')
        status, text = self.judge(it)
        self.assertEqual(status, 1)
        self.assertRegex(text, r':2: .*path.*missing')

    def test_files_that_are_no_modules(self):
        places = {'m.so': 'unix', 'directory': 'not a regular file', 'text': 'ELF|too short',
                  'empty': 'too short', 'cut': '.', 'fifo': 'not a regular file',
                  'missing': 'No such file', 'text/below': 'Not a directory'}
        it = self.make_local()
        os.mkdir(it.path('directory'))
        os.mkfifo(it.path('fifo'))
        it.put('text', 'int main;\n' * 100)
        it.put('empty', '')
        with open(it.path('m.so'), 'rb') as whole, open(it.path('cut'), 'wb') as cut:
            cut.write(whole.read(3000))
        os.chmod(it.path('cut'), 0o755)
        for name in list(places)[1:]:
            with self.subTest(name):
                it.write(pool(path=f'@DIR@/{name}').replace('systemd:m', 'unix:@DIR@/socket'))
                self.expect(it, 3, places[name])
        it.write(pool(path='m.so').replace('systemd:m', 'unix:@DIR@/socket'))
        self.expect(it, 3, 'absolute')

    @daemon.needs_root
    def test_not_readable_by_the_pools_user(self):
        it = self.make_local()
        os.chmod(it.path('m.so'), 0o700)
        self.expect(it, 3, 'user can.t read .*Permission denied')

    def test_what_it_prints_is_not_in_the_dump(self):
        it = self.make_local(args=quoted(check='log'))
        done = self.run_preforkd('-T', '-c', it.file)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertTrue(done.stdout.startswith('user'), done.stdout)
        it.write(done.stdout)
        self.assertEqual(self.run_preforkd('-T', '-c', it.file).stdout, done.stdout)

    def test_what_it_prints_is_no_line_of_ours(self):
        it = self.make_local(args=quoted(check='forge'))
        status, text = self.judge(it)
        self.assertEqual(status, 0, text)
        ours = 'pool m: its check: '
        forged = [ours + '\\x1b[31mX', ours, ours + 'preforkd[1]: err: forged',
                  ours + ' ' * 512 + ' [cut]']
        self.assertEqual(text.splitlines(), forged)
        it.launch().ready()
        self.assertEqual([line for line in it.reload() if 'its check' in line], forged)

    def test_shared_memory_is_not_its_own(self):
        """A check may write where it likes: the configuration stays as it was read."""
        it = self.make_local(args=quoted(check='scribble'))
        done = self.run_preforkd('-T', '-c', it.file)
        if done.returncode == 0:  # the check's own report may be damaged
            self.assertIn('check=scribble', done.stdout)

    def test_environment_is_the_pools(self):
        it = self.make_local(args=quoted(check='refuse:x'), options='environment = { "A=b" }')
        self.expect(it, 4, 'x$')


class Serve(Case):
    def tell(self, it, address=None):
        line = client.ask(address or it.address('m')).decode()
        return dict(re.findall(r'(\w+)=(\S*)', line))

    def test_echo(self):
        it = self.start_with(workers=3)
        it.same_descriptors = True
        for _ in range(5):
            data = os.urandom(300000)
            with it.connect('m') as connection:
                self.assertEqual(client.exchange(connection, data), data)
        it.wait_for_workers(3)

    def test_load(self):
        it = self.start_with(workers=4, options='max_requests = 20')
        it.same_descriptors = True
        with client.Load(it.address('m'), 8) as load:
            wait_until(lambda: load.served > 500, '500 connections')
        self.assertEqual(load.failures, [])

    def test_what_it_is_told(self):
        it = self.start_with(args=quoted(serve='tell', value='a=b'),
                             options='environment = { "KIND=good" }',
                             environment={'SECRET': 'x', 'KIND': 'wrong'})
        told = self.tell(it)
        user = pwd.getpwnam(daemon.USER) if daemon.ROOT else pwd.getpwuid(os.getuid())
        self.assertRegex(told.pop('peer'), r'^127\.0\.0\.1:\d+$')
        self.assertEqual(told, {'pool': 'm', 'absent': 'none', 'value': 'a=b', 'kind': 'good',
                                'home': user.pw_dir, 'secret': 'none', 'uid': str(user.pw_uid),
                                'stopping': '0'})

    def test_peer_of_a_unix_socket(self):
        it = self.make_with(args=quoted(serve='tell'))
        it.write(pool(quoted(serve='tell')).replace('systemd:m', 'unix:@DIR@/socket'))
        it.launch().ready()
        self.assertEqual(self.tell(it, it.path('socket'))['peer'], 'unix')

    def test_log(self):
        it = self.start_with(args=quoted(serve='log'))
        it.announce('a line of', 'beyond all levels')
        client.ask(it.address('m'))
        line = it.wait_for_log(r' warning: pool m: a line of').string
        self.assertRegex(line, r'a line of\S+the 100% pool=m')
        it.wait_for_log(r' err: pool m: beyond all levels')
        it.wait_for_log(r'by standard error')
        self.assertEqual(it.log.find('not wanted'), [])

    def test_connections_line(self):
        it = self.start_with(options='log_connections = true')
        client.ask(it.address('m'), b'12345')
        line = it.wait_for_log(r' info: .*peer=127\.0\.0\.1:').string
        self.assertEqual((wording.field(line, 'in'), wording.field(line, 'out')), ('5', '5'))

    def test_what_serve_returns(self):
        """An error number appears in the connection's log line; other values become EPROTO."""
        for answer, text in {'-32': 'Broken pipe', '5': 'Protocol error',
                             '-2147483648': 'Protocol error', '-4096': 'Protocol error',
                             '0': None}.items():
            with self.subTest(answer):
                it = self.start_with(args=quoted(**{'return': answer}),
                                     options='log_connections = true')
                client.ask(it.address('m'))
                line = it.wait_for_log(r' info: .*peer=127\.0\.0\.1:').string
                self.assertEqual(wording.field(line, 'error'), text)
                it.stop()

    def test_idle_timeout(self):
        it = self.start_with(options='idle_timeout = 1\nlog_connections = true')
        with it.connect('m') as silent:
            self.assertEqual(self.rest(silent), b'')
        line = it.wait_for_log(r' info: .*peer=127\.0\.0\.1:').string
        self.assertRegex(line, 'timed out')

    def test_it_is_told_that_its_worker_is_to_finish(self):
        it = self.start_with(args=quoted(serve='stopping'))
        with it.connect('m') as connection:
            self.assertEqual(client.read_exactly(connection, 8), b'waiting ')
            worker, = it.workers()
            it.kill(signal.SIGTERM, worker)
            self.assertEqual(client.read_exactly(connection, 5), b'told ')
            self.assertEqual(client.echo(connection, b'goes on'), b'goes on')
        it.wait_for_workers(1, without=[worker])
        it.wait_for_log('pool m: stops, as it started')

    def test_stop_is_called_at_an_orderly_end(self):
        it = self.start_with(options='max_requests = 1', workers=2)
        client.ask(it.address('m'), b'x')
        it.wait_for_log('pool m: worker .* respawned')
        it.wait_for_workers(2)
        mark = it.mark()
        it.stop()
        self.assertEqual(len(it.log.find('pool m: stops, as it started', mark)), 2)

    @daemon.needs_root
    def test_chroot(self):
        """The module's path and its libraries are looked up inside the new root."""
        it = self.make(pool(quoted(serve='tell'), 'chroot = "@DIR@/jail"', path='/m.so'))
        os.makedirs(it.path('jail'))
        listed = subprocess.run(['ldd', os.path.join(MODULES, 'evil.so')], capture_output=True,
                                text=True, check=True).stdout
        libraries = re.findall(r'(/\S+) \(0x', listed)
        for library in libraries:
            os.makedirs(it.path('jail' + os.path.dirname(library)), exist_ok=True)
            shutil.copy(library, it.path('jail' + library))
        self.put(it, to='jail/m.so')
        it.launch().ready()
        self.assertEqual(self.tell(it)['pool'], 'm')

    @daemon.needs_root
    def test_missing_in_chroot(self):
        it = self.make(pool(options='chroot = "@DIR@/jail"').replace('systemd:m', 'unix:@DIR@/s'))
        os.makedirs(it.path('jail'))
        self.put(it)
        done = self.run_preforkd('-t', '-c', it.file)
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, r':3: .*m\.so: No such file')


class Evil(Case):
    """The damage is limited to the worker."""

    def misdeed(self, connections=3, announce=(), **args):
        """Makes connections to a module that misbehaves, then expects a working worker."""
        it = self.start_with(args=quoted(**args), workers=2)
        it.announce(*announce)
        for _ in range(connections):
            with it.connect('m') as connection:
                with contextlib.suppress(OSError):
                    connection.sendall(b'x')
                    connection.shutdown(socket.SHUT_WR)
                self.rest(connection)
        it.wait_for_workers(2)
        return it

    def test_crash_in_serve(self):
        it = self.misdeed(announce=['killed by signal 11'], serve='crash')
        it.wait_for_log('killed by signal 11')
        self.assertEqual(it.log.find(wording.BACKOFF), [])

    def test_exit_in_serve(self):
        it = self.misdeed(serve='exit')
        it.wait_for_log(r'notice: pool m: worker \d+ exited with status 0 ')
        self.assertIn('exited with status 0', board.text(it, 'deaths'))
        it = self.misdeed(serve='exit7')
        it.wait_for_log('exit.* 7')

    def test_memory_shared_with_the_master(self):
        """Another pool's scoreboard is at worst wrong: other pools go on, and a reload works."""
        other = 'pool "o" { listen = { "systemd:o" } workers = 2 echo {} }\n'
        config = pool(quoted(serve='scribble')) + other
        it = self.make(config, environment=PLAIN)
        self.put(it)
        it.launch().ready()
        it.announce('.')
        with it.connect('m') as connection:
            connection.shutdown(socket.SHUT_WR)
            self.rest(connection)
        self.assertEqual(client.ask(it.address('o'), b'x'), b'x')
        it.reload(config.replace('scribble', 'well') + 'graceful_timeout = 3\n')
        self.assertEqual(client.ask(it.address('o'), b'x'), b'x')
        self.assertEqual(client.ask(it.address('m'), b'x'), b'x')

    def test_closes_its_connection(self):
        it = self.start_with(args=quoted(serve='close'))
        worker, = it.workers()
        for _ in range(3):
            with it.connect('m') as connection:
                self.assertEqual(self.rest(connection), b'')
        self.assertEqual(it.workers(), [worker])

    def test_leaks_descriptors(self):
        """A leaked connection gives its place to the next."""
        it = self.start_with(args=quoted(serve='leak'), options='limits { nofile = 20 }')
        answers = [client.ask(it.address('m'), b'x') for _ in range(40)]
        self.assertEqual((answers[0], answers[-1]), (b'x', b'full x'))

    def test_leaks_descriptors_in_time(self):
        it = self.start_with(args=quoted(serve='leak'), workers=2,
                             options='max_requests = 5 limits { nofile = 20 }')
        with client.Load(it.address('m'), 2) as load:
            wait_until(lambda: load.served > 60, '60 connections')
        self.assertEqual(load.failures, [])

    def test_leaks_memory(self):
        it = self.start_with(args=quoted(serve='leak-memory'), options='max_requests = 5',
                             workers=2)
        with client.Load(it.address('m'), 2) as load:
            wait_until(lambda: load.served > 60, '60 connections')
        self.assertEqual(load.failures, [])

    def test_rearranges_its_process(self):
        it = self.misdeed(serve='rearrange')
        self.assertEqual(len(it.workers()), 2)

    def end_stuck(self, serve):
        it = self.start_with(args=quoted(serve=serve), options='graceful_timeout = 1')
        it.announce(wording.OVERDUE)
        with it.connect('m') as connection:
            wait_until(lambda: [', busy' in processes.title(pid) for pid in it.workers()] == [True],
                       'a busy worker')
            it.stop()
            self.rest(connection)

    def test_loops_in_serve(self):
        self.end_stuck('loop')

    def test_hangs_in_serve(self):
        self.end_stuck('hang')

    def test_hangs_and_hears_nothing(self):
        self.end_stuck('deaf-hang')

    def test_hangs_in_stop(self):
        it = self.start_with(args=quoted(stop='deaf-hang'))
        it.announce('killed by signal')
        worker, = it.workers()
        it.kill(signal.SIGTERM, worker)
        it.wait_for_log('stops')
        it.kill(signal.SIGKILL, worker)
        it.wait_for_workers(1, without=[worker])
        it.kill(signal.SIGKILL, it.workers()[0])

    def test_hangs_in_stop_and_hears_the_alarm(self):
        it = self.start_with(args=quoted(stop='hang'))
        it.announce('killed by signal 14', wording.OVERDUE)
        worker, = it.workers()
        it.kill(signal.SIGTERM, worker)
        it.wait_for_workers(1, without=[worker])
        it.wait_for_log('killed by signal 14')

    def test_deaf_since_start(self):
        """A worker ends on SIGTERM whatever the module's start did to signals."""
        it = self.start_with(args=quoted(start='deaf'))
        worker, = it.workers()
        it.kill(signal.SIGTERM, worker)
        it.wait_for_workers(1, without=[worker])

    def test_deaf_since_a_connection(self):
        """The worker does not notice that it is retired, and ends after the next connection."""
        it = self.start_with(args=quoted(serve='deaf'))
        self.assertEqual(client.ask(it.address('m'), b'x'), b'x')
        deaf, = it.workers()
        it.reload(pool('', 'graceful_timeout = 1'))
        wait_until(lambda: client.ask(it.address('m'), b'x') == b'x' and
                   not processes.alive(deaf), 'the end of the deaf worker')
        self.assertEqual(it.log.find('killed'), [])

    def fail_to_start(self, start, pattern):
        """A reload to it is refused, and the old module goes on."""
        it = self.start_with(options='ready_timeout = 2')
        workers = it.workers()
        it.announce(wording.REFUSED, wording.FAULT, 'err: reload: ', 'pool m: worker',
                    wording.BACKOFF)
        it.reload(pool(quoted(start=start), 'ready_timeout = 2'), refused=True)
        it.wait_for_log(pattern)
        self.assertEqual(client.ask(it.address('m'), b'x'), b'x')
        self.assertEqual(it.workers(), workers)

    def test_refuses_to_start(self):
        self.fail_to_start('refuse:no license', r"m\.so can't start: no license")

    def test_crashes_in_start(self):
        self.fail_to_start('crash', 'signal 11')

    def test_exits_in_start(self):
        self.fail_to_start('exit', 'did not become ready')

    def test_hangs_in_start(self):
        self.fail_to_start('hang', 'ready_timeout')

    def test_reload_to_one_that_crashes_in_its_check(self):
        it = self.start_with()
        workers = it.workers()
        it.announce(wording.REFUSED, wording.FAULT)
        lines = it.reload(pool(quoted(check='crash')), refused=True)
        self.assertTrue(any(re.search(r':3: pool m: .*signal 11', line) for line in lines), lines)
        self.assertEqual(it.workers(), workers)


class Reload(Case):
    def test_unchanged_file(self):
        it = self.start_with(workers=2)
        workers = it.workers()
        lines = it.reload()
        self.assertTrue(any('reload: kept 1 pool' in line for line in lines), lines)
        self.assertEqual(it.workers(), workers)

    def test_new_file(self):
        it = self.start_with(workers=2)
        old = it.workers()
        held, = it.occupy('m', 1)
        self.put(it)
        lines = it.reload()
        self.assertTrue(any(re.search(r'pool m: replaced: module \S+m\.so changed', line)
                            for line in lines), lines)
        self.assertEqual(client.echo(held, b'by the old one'), b'by the old one')
        held.close()
        it.wait_for_workers(2, without=old)
        self.assertEqual(it.log.find('loads another'), [])

    def test_new_file_under_load(self):
        it = self.start_with(workers=4)
        with client.Load(it.address('m'), 8) as load:
            for _ in range(3):
                before = load.served
                self.put(it)
                it.reload()
                wait_until(lambda: load.served > before, 'more load')
        self.assertEqual(load.failures, [])

    def test_broken_file(self):
        it = self.start_with(workers=2)
        workers = it.workers()
        it.announce(wording.REFUSED, wording.FAULT)
        for name in ('evil_abi', 'evil_constructor', 'evil_symbol'):
            self.put(it, name)
            it.reload(refused=True)
            self.assertEqual(it.workers(), workers)
        os.unlink(it.path('m.so'))
        it.reload(refused=True)
        self.assertEqual(it.workers(), workers)
        self.put(it)
        it.reload()
        it.wait_for_workers(2, without=workers)

    def test_worker_born_between_a_new_file_and_the_reload(self):
        it = self.start_with(workers=2)
        it.announce('killed by signal 9')
        self.put(it)
        victim, other = it.workers()
        it.kill(signal.SIGKILL, victim)
        it.wait_for_log(r' notice: pool m: a worker loads another \S+m\.so than')
        first = it.wait_for_workers(2, without=[victim])
        self.assertIn(other, first)
        mark = it.mark()
        it.reload()
        it.wait_for_workers(2, without=first)
        self.assertEqual(it.log.find('loads another', mark), [])


class Example(Case):
    """The example module, built outside of this tree with the installed files."""

    def build(self, it):
        place = it.path('installed')
        self.run_tool('meson', 'install', '-C', BUILD, '--no-rebuild', '--tags', 'devel',
                      '--destdir', place)
        found = [folder for folder, _, names in os.walk(place) if 'preforkd.pc' in names]
        environment = os.environ | {'PKG_CONFIG_PATH': found[0], 'PKG_CONFIG_SYSROOT_DIR': place}
        self.run_tool('meson', 'setup', '-Dwerror=true', it.path('built'), EXAMPLE,
                      env=environment)
        self.run_tool('ninja', '-C', it.path('built'))
        return it.path('built/hello.so')

    def run_tool(self, *command, **more):
        done = subprocess.run(command, capture_output=True, text=True, check=False, **more)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def config(self):
        """The example's pool, with a socket and a path of the test."""
        with open(os.path.join(EXAMPLE, 'hello.conf'), encoding='utf-8') as file:
            text = file.read()
        text = re.sub(r'path = "[^"]*"', 'path = "@DIR@/built/hello.so"', text)
        return re.sub(r'"127\.0\.0\.1:\d+"', '"systemd:hello"', text)

    def test_hello(self):
        it = self.make(self.config())
        self.build(it)
        it.launch().ready()
        self.assertEqual(client.ask(it.address('hello'), b'and back'), b'Hello.\nand back')
        with client.Load(it.address('hello'), 1) as load:
            wait_until(lambda: load.failures, 'the greeting, which makes echo clients fail')
        it.announce(wording.REFUSED, wording.FAULT)
        lines = it.reload(self.config().replace('greeting=', 'greting='), refused=True)
        self.assertTrue(any(re.search(r'hello\.so refuses .*greeting=TEXT', line)
                            for line in lines), lines)


class Cost(Case):
    def calls(self, it, name):
        """The system calls of a worker for one connection."""
        worker, = it.workers()
        self.assertEqual(client.ask(it.address(name), b'warm'), b'warm')
        with it.traced(worker):
            for _ in range(3):
                self.assertEqual(client.ask(it.address(name), b'x'), b'x')
            wait_until(lambda: self._ends(it) >= 3, 'three connections in the trace')
        with open(it.path('trace'), encoding='utf-8') as file:
            # Only a few connections are asked for their time in the queue, among them those that
            # likely waited.
            every = re.findall(r'(?m)^(?!getsockopt)(\w+)\(', file.read())
        return every[every.index('close') + 1:][:every[every.index('close') + 1:].index('close')]

    @staticmethod
    def _ends(it):
        with contextlib.suppress(FileNotFoundError), open(it.path('trace'),
                                                          encoding='utf-8') as file:
            return file.read().count('\nclose(')
        return 0

    def test_no_system_call_more_than_the_built_in_echo(self):
        module = self.calls(self.start_with(), 'm')
        echo = self.calls(self.start('pool "e" { listen = { "systemd:e" } workers = 1 echo {} }'),
                          'e')
        self.assertEqual(module, echo)
        self.assertEqual(module, ['accept4', 'recvfrom', 'sendto', 'recvfrom'])

    def test_master_never_loads_it(self):
        it = self.start_with()
        it.reload()
        with open(f'/proc/{it.pid}/maps', encoding='utf-8') as file:
            self.assertNotIn(it.path('m.so'), file.read())


if __name__ == '__main__':
    daemon.main()
