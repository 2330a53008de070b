"""Each error is reported with file and line, all in one run; the dump reads back to the same
configuration."""

import os
import re
import shutil
import socket
import subprocess
import unittest

import control
import daemon

POOL = 'pool "p" { listen = { "unix:/tmp/x" } workers = 1 %s }\n'
GOOD = POOL % 'echo {}'

# Configurations, and [line, pattern] of each error expected. Lines count from 1.
BROKEN = {
    'unknown global option': ('nonsense = 1\n' + GOOD, [(1, 'nonsense')]),
    'unknown option of a pool': (POOL % 'echo {}\nnonsense = 1', [(2, 'nonsense')]),
    'unknown option of a handler': (POOL % 'echo { nonsense = 1 }', [(1, 'nonsense')]),
    'unknown section': (GOOD + 'swamp { depth = 3 }\n', [(2, 'swamp')]),
    'unknown handler': (POOL % '\nfrobnicate {}', [(2, 'frobnicate')]),
    'section of later days': (POOL % 'echo {}\ntls {}', [(2, 'tls')]),
    'model that a handler doesn\'t support': (
        POOL % 'exec { command = { "/bin/true" } }\nmodel = "thread"',
        [(2, 'exec doesn.t support model = "thread", only "process": its program has')]),
    'option of another model': (POOL % 'echo {}\nthreads = 3', [(2, 'threads belongs to model')]),
    'doubled option': (POOL % 'echo {}\numask = 022\numask = 027', [(3, 'umask')]),
    'doubled global option': ('graceful_timeout = 1\ngraceful_timeout = 1\n' + GOOD,
                              [(2, 'graceful_timeout')]),
    'doubled pool': (GOOD + GOOD.replace('/tmp/x', '/tmp/y'), [(2, '"?p"?')]),
    'two handlers': (POOL % 'echo {}\ndiscard {}', [(2, 'discard|handler|echo')]),
    'no handler': ('\n' + POOL % '', [(2, 'handler|section')]),
    'no pool': ('graceful_timeout = 1\n', [(None, 'pool')]),
    'empty file': ('', [(None, 'pool')]),
    'no listen': ('\npool "p" { workers = 1 echo {} }\n', [(2, 'listen')]),
    'empty listen': ('pool "p" { workers = 1 echo {}\nlisten = {} }\n', [(2, 'listen')]),
    'no workers': ('pool "p" { listen = { "unix:/tmp/x" } echo {} }\n', [(1, 'workers')]),
    'no worker': ('pool "p" { listen = { "unix:/tmp/x" } echo {}\nworkers = 0 }\n',
                  [(2, 'workers')]),
    'workers below zero': ('pool "p" { listen = { "unix:/tmp/x" } echo {}\nworkers = -3 }\n',
                           [(2, 'workers')]),
    'workers beyond any number': ('pool "p" { listen = { "unix:/tmp/x" } echo {}\n'
                                  'workers = 99999999999999999999 }\n', [(2, 'workers')]),
    'text for a number': (POOL % 'echo {}\nkeepalive = "soon"', [(2, 'keepalive')]),
    'number with a tail': (POOL % 'echo {}\nbacklog = 12x', [(2, 'backlog')]),
    'time with a unit': (POOL % 'echo {}\nidle_timeout = "5s"', [(2, 'idle_timeout')]),
    'time of zero': (POOL % 'echo {}\nidle_timeout = 0', [(2, 'idle_timeout')]),
    'umask out of range': (POOL % 'echo {}\numask = 1000', [(2, 'umask')]),
    'umask of no octal': (POOL % 'echo {}\numask = 089', [(2, 'umask')]),
    'nice out of range': (POOL % 'echo {}\nnice = 40', [(2, 'nice')]),
    'no boolean': (POOL % 'echo {}\nlog_connections = "perhaps"', [(2, 'log_connections')]),
    'missing user': (POOL % 'echo {}\nuser = "nobody-of-that-name"',
                     [(2, 'nobody-of-that-name')]),
    'missing group': (POOL % 'echo {}\ngroup = "nobody-of-that-name"',
                      [(2, 'nobody-of-that-name')]),
    'missing program': (POOL % '\nexec { command = { "/no/such/program" } }',
                        [(2, '/no/such/program')]),
    'program that is none': (POOL % '\nexec { command = { "/etc/passwd" } }', [(2, '/etc/passwd')]),
    'program that is a directory': (POOL % '\nexec { command = { "/usr" } }', [(2, '/usr')]),
    'no command': (POOL % '\nexec {}', [(2, 'command')]),
    'idle_timeout of exec': (POOL % 'exec { command = { "/bin/cat" } }\nidle_timeout = 5',
                             [(2, 'idle_timeout')]),
    'environment without =': (POOL % 'echo {}\nenvironment = { "NAME" }', [(2, 'NAME')]),
    'environment without name': (POOL % 'echo {}\nenvironment = { "=x" }', [(2, 'environment')]),
    'limit of no number': (POOL % 'echo {}\nlimits {\nnofile = "many"\n}', [(3, 'nofile')]),
    'unknown limit': (POOL % 'echo {}\nlimits {\nlocks = 5\n}', [(3, 'locks')]),
    'directory that is missing': (POOL % 'echo {}\ndirectory = "/no/such/directory"',
                                  [(2, '/no/such/directory')]),
    'unknown log level': ('log {\nlevel = "loud"\n}\n' + GOOD, [(2, 'level|loud')]),
    'unknown facility': ('log {\nfacility = "attic"\n}\n' + GOOD, [(2, 'facility|attic')]),
    'pool without a name': ('pool { listen = { "unix:/tmp/x" } workers = 1 echo {} }\n',
                            [(1, 'pool|name|title')]),
    'pool with a strange name': ('pool "a b" { listen = { "unix:/tmp/x" } workers = 1 echo {} }\n',
                                 [(1, 'name of a pool')]),
    'no value before a section': (POOL % 'nice =\necho {}', [(1, 'nice = has no value')]),
    'no value before an option': (POOL % 'echo {}\nnice =\numask = 022', [(2, 'nice = has no')]),
    'open brace': ('\n\npool "p" { listen = { "unix:/tmp/x" }\n', [(None, r'brace|close|\{|\}')]),
    'open string': (POOL % 'echo {}\numask = "022\n', [(2, 'string|quote|close')]),
    'open comment': (GOOD + '/* and so on\n\n', [(2, 'comment')]),
    'NUL': (GOOD + 'graceful_timeout = \0 1\n', [(2, 'NUL|control')]),
    'control character': (GOOD + '# \x1b[2J\n', [(2, 'control|0x1b|x1b')]),
    'long line': (GOOD + '# ' + 'x' * 70000 + '\n', [(2, 'line has more than|long')]),
    'junk': (GOOD + '}\n', [(2, '.')]),
    'more junk': (GOOD + '= = =\n', [(2, '.')]),
    'two errors of one pool': (POOL % 'echo {}\nnonsense = 1\numask = 999\nfoolish = 2',
                               [(2, 'nonsense'), (3, 'umask'), (4, 'foolish')]),
    'errors of several pools': (POOL % 'echo {}\nnice = 99' +
                                'pool "q" { listen = { "unix:/tmp/y" }\nworkers = x echo {} }\n',
                                [(2, 'nice'), (4, 'workers')]),
    'comment before an error': ('# one\n// two\n/* three\nfour */\n' + POOL % 'echo {}\nnice = 99',
                                [(6, 'nice')]),
    'comment within a list': ('pool "p" { workers = 1 echo {}\nlisten = { # here\n'
                              '"unix:/tmp/x" /* there */ }\nnice = 99 }\n', [(4, 'nice')]),
    'missing include': ('include("/no/such/file.conf")\n' + GOOD, [(1, '/no/such/file.conf')]),
    'include of a directory': ('include("/etc")\n' + GOOD, [(1, '/etc')]),
    'include of a device': ('include("/dev/zero")\n' + GOOD, [(1, '/dev/zero')]),
    'include of nothing': (GOOD + 'include("")\n', [(2, 'pattern')]),
    'include without brackets': (GOOD + 'include "x.conf"\n', [(2, r'include\("PATTERN"\)')]),
    'include as an option': (GOOD + 'include = "x.conf"\nfoolish = 1\n',
                             [(2, r'include\("PATTERN"\)'), (3, 'foolish')]),
    'program without a path': (POOL % '\nexec { command = { "date" } }',
                               [(2, 'pool p: exec: the program "date"')]),
    'include of itself': ('include("@DIR@/preforkd.conf")\n' + GOOD, [(1, 'preforkd.conf')]),
}

LISTEN = {
    'no port': '127.0.0.1',
    'empty': '',
    'strange port': '127.0.0.1:abc-nothing',
    'port too big': '127.0.0.1:65536',
    'port below zero': '127.0.0.1:-1',
    'port with leading zeroes': '127.0.0.1:080',
    'octal address': '010.0.0.1:80',
    'address of one number': '1:80',
    'IPv6 without brackets': '::1:80',
    'open bracket': '[::1:80',
    'name of nobody': 'no-such-host.invalid:80',
    'relative path': 'unix:x',
    'no path': 'unix:',
    'path too long': 'unix:/' + 'x' * 107,
    'no abstract name': 'unix:@',
    'no passed name': 'systemd:',
}


class Broken(daemon.Case):
    def check(self, text, expected, name='preforkd.conf'):
        it = self.make(text)
        result = self.run_preforkd('-t', '-c', it.file)
        self.assertEqual(result.returncode, 1, result.stderr)
        told = re.findall(r'(?m)^(.*?):(\d+): (.*)$', result.stderr)
        for line, pattern in expected:
            self.assertTrue(
                any(path == it.path(name) and (line is None or int(number) == line)
                    and re.search(pattern, text) for path, number, text in told),
                f'no {line}: {pattern} in\n{result.stderr}')
        self.assertEqual(result.stdout, '')
        return it, result

    def test_table(self):
        for name, (text, expected) in BROKEN.items():
            with self.subTest(name):
                self.check(text, expected)

    def test_one_error_is_told_once(self):
        _, result = self.check(POOL % 'echo {}\nnonsense = 1', [(2, 'nonsense')])
        self.assertEqual(len(result.stderr.splitlines()), 1, result.stderr)

    def test_addresses(self):
        for name, address in LISTEN.items():
            with self.subTest(name):
                self.check(f'pool "p" {{ workers = 1 echo {{}}\nlisten = {{ "{address}" }} }}\n',
                           [(2, re.escape(address[:60]) if address else 'listen')])

    def test_options_of_passed_sockets(self):
        for option in ('backlog = 5', 'socket_mode = 0600', 'socket_user = "root"',
                       'socket_group = "root"'):
            with self.subTest(option):
                self.check('pool "p" { listen = { "systemd:x" } workers = 1 echo {}\n'
                           f'{option} }}\n', [(2, option.split()[0])])

    def test_two_pools_on_one_address(self):
        pool = 'pool "%s" { listen = { "%s" } workers = 1 echo {} }\n'
        for one, other in (('127.0.0.1:7', '127.0.0.1:7'), ('*:7', '127.0.0.1:7'),
                           ('[::1]:7', '*:7'), ('0.0.0.0:7', '127.0.0.1:7'),
                           ('[::]:7', '[::1]:7'), ('unix:/tmp/x', 'unix:/tmp/x'),
                           ('unix:@x', 'unix:@x'), ('systemd:x', 'systemd:x')):
            with self.subTest(f'{one} and {other}'):
                self.check(pool % ('a', one) + pool % ('b', other), [(2, '.')])

    def test_one_address_twice_in_a_pool(self):
        self.check('pool "a" { listen = { "127.0.0.1:7", "127.0.0.1:7" } workers = 1 echo {} }\n',
                   [(1, '127.0.0.1:7')])

    def test_errors_in_included_files(self):
        it = self.make('include("@DIR@/d/*.conf")\n' + POOL % 'echo {}\nnice = 99')
        it.put('d/a.conf', '\nfoolish = 1\n')
        it.put('d/b.conf', 'pool "b" { listen = { "unix:@DIR@/b" } workers = 1 echo {} }\n')
        it.put('d/c.conf', '\n\npool "c" {\n listen = { "unix:@DIR@/c" }\n')
        result = self.run_preforkd('-t', '-c', it.file)
        self.assertEqual(result.returncode, 1)
        for where in ('d/a.conf:2: ', r'd/c.conf:\d+: ', 'preforkd.conf:3: '):
            self.assertRegex(result.stderr, rf'(?m)^{re.escape(it.directory)}/{where}')
        self.assertNotIn('b.conf', result.stderr)

    def test_includes_that_loop(self):
        it = self.make('include("@DIR@/a")\n' + GOOD)
        it.put('a', 'include("@DIR@/b")\n')
        it.put('b', '\ninclude("@DIR@/a")\n')
        result = self.run_preforkd('-t', '-c', it.file)
        self.assertEqual(result.returncode, 1)
        self.assertRegex(result.stderr, rf'(?m)^{re.escape(it.path("b"))}:2: ')

    def test_included_fifo_does_not_hang(self):
        it = self.make('\ninclude("@DIR@/fifo")\n' + GOOD)
        os.mkfifo(it.path('fifo'))
        result = self.run_preforkd('-t', '-c', it.file)
        self.assertEqual(result.returncode, 1)
        self.assertRegex(result.stderr, r'preforkd\.conf:2: ')

    def test_file_that_is_none(self):
        for path in ('/no/such/file', '/etc', '/dev/zero'):
            with self.subTest(path):
                result = self.run_preforkd('-t', '-c', path)
                self.assertEqual(result.returncode, 1, result.stderr)
                self.assertIn(path, result.stderr)

    def test_random_damage_never_crashes(self):
        it = self.make('')
        good = (GOOD + 'include("@DIR@/none*")\n' + POOL.replace('"p"', '"q"').replace('/x', '/y')
                % 'exec { command = { "/bin/sh", "-c", "echo ${HOME}" } }\nlimits { nofile = 99 }')
        for at in range(0, len(good), 7):
            for put in ('', '"', '{', '}', '/*', '\\', '\n', "'", '=', '#', ',', '${'):
                if (at // 7 + len(put)) % 3:
                    continue
                it.put('preforkd.conf', good[:at] + put + good[at + 1:])
                result = self.run_preforkd('-t', '-c', it.file, timeout=20)
                self.assertIn(result.returncode, (0, 1), (good[:at] + put, result.stderr))
                self.assertEqual(result.returncode == 1, bool(result.stderr), result.stderr)

    def test_what_only_root_may(self):
        for option in ('user = "root"', 'group = "root"', 'chroot = "/"', 'nice = -5'):
            with self.subTest(option):
                it = self.make(POOL % f'echo {{}}\n{option}')
                result = self.run_as_nobody(it, '-t', '-c', it.file)
                self.assertEqual(result.returncode, 1, result.stderr)
                self.assertRegex(result.stderr, rf'preforkd\.conf:2: .*{option.split()[0]}')

    def run_as_nobody(self, it, *arguments):
        """With a copy of the program: the user nobody may have no access to the build."""
        if not daemon.ROOT:
            return self.run_preforkd(*arguments)
        copy = shutil.copy(daemon.BINARY, it.path('preforkd'))
        return subprocess.run([copy, *arguments], user='nobody', group='nogroup', extra_groups=[],
                              capture_output=True, text=True, timeout=daemon.PATIENCE,
                              check=False)

    @daemon.needs_root
    def test_what_its_user_may_not_have(self):
        """The error is reported for the line that asks for it, not for the pool's first line."""
        it = self.make(POOL % 'echo {}\nuser = "nobody"\ndirectory = "@DIR@/closed"')
        os.mkdir(it.path('closed'), 0o700)
        result = self.run_preforkd('-t', '-c', it.file)
        self.assertEqual(result.returncode, 1)
        self.assertRegex(result.stderr, r'preforkd\.conf:3: pool p: .*/closed: Permission denied')

    @daemon.needs_root
    def test_limits_that_cannot_be_had(self):
        """Users can't raise the limits that they started with."""
        it = self.make(POOL % 'echo {}\nlimits {\ncore = 0\nnofile = 4096\n}')
        copy = shutil.copy(daemon.BINARY, it.path('preforkd'))
        result = subprocess.run(['/bin/sh', '-c', 'ulimit -n 1024; exec "$@"', 'sh', copy,
                                 '-t', '-c', it.file],
                                user='nobody', group='nogroup', extra_groups=[], text=True,
                                capture_output=True, timeout=daemon.PATIENCE, check=False)
        self.assertEqual(result.returncode, 1)
        self.assertRegex(result.stderr, r'preforkd\.conf:4: pool p: .*nofile')

    def test_open_files_of_programs_that_report(self):
        """A pipe for each, and where it reports."""
        it = self.make('pool "p" { listen = { "unix:@DIR@/x" } workers = 100\n'
                       'app { command = { "/bin/sleep", "1" } } }\n')
        result = self.run_program(['/bin/sh', '-c', 'ulimit -n 300; exec "$@"', 'sh',
                                   daemon.BINARY, '-t', '-c', it.file])
        self.assertEqual(result.returncode, 1)
        self.assertRegex(result.stderr, r':1: pool p: 100 workers need 328 open files')

    def test_fewer_open_files_than_the_master_needs(self):
        it = self.make('pool "p" { listen = { "unix:@DIR@/x" } workers = 3 echo {} }\n')
        result = self.run_program(['/bin/sh', '-c', 'ulimit -n 64; exec "$@"', 'sh',
                                   daemon.BINARY, '-t', '-c', it.file])
        self.assertEqual(result.returncode, 1)
        self.assertRegex(result.stderr, r':1: pool p: 3 workers need 131 open files')

    @daemon.needs_root
    def test_program_that_its_user_may_not_run(self):
        it = self.make('pool "p" { listen = { "unix:@DIR@/x" } workers = 1\n'
                       'exec { command = { "@DIR@/program" } } }\n')
        it.put('program', '#!/bin/sh\n', mode=0o700)
        result = self.run_preforkd('-t', '-c', it.file)
        self.assertEqual(result.returncode, 1)
        self.assertRegex(result.stderr, r'preforkd\.conf:2: .*program')


class Good(daemon.Case):
    FULL = '''# comments of every kind // here
user = "@USER@"  /* and
there */ group = "@GROUP@"
graceful_timeout = 12
control = "none"
log { level = "debug" facility = "local3" ident = "other" }
include("@DIR@/nothing*.conf")
pool "full" {
    listen = { "127.0.0.1:0", "[::1]:0", # a comment in a list
               "unix:@DIR@/full.sock", 'unix:@full-@TOKEN@' }
    backlog = 100
    socket_mode = 0600
    keepalive = 0
    workers = 3
    max_requests = 1000
    graceful_timeout = 5
    idle_timeout = 7
    ready_timeout = 9
    log_connections = yes
    directory = "/"
    umask = 027
    nice = 3
    limits { nofile = 1K core = 0 cpu = "unlimited" }
    environment = { "A=b c", "Q=\\"quoted\\" \\\\ and ${HOME}", "E=" }
    echo {}
}
pool "program" {
    listen = { "systemd:program" }
    workers = 2
    exec { command = { "/bin/sh", "-c", "echo \\"${HOME}\\" 'x' \\\\n # no comment" } }
}
'''

    def full(self):
        return (self.FULL.replace('@USER@', daemon.USER if daemon.ROOT else self.me())
                .replace('@GROUP@', daemon.GROUP if daemon.ROOT else self.my_group())
                .replace('@TOKEN@', str(os.getpid())))

    @staticmethod
    def me():
        return subprocess.check_output(['id', '-un'], text=True).strip()

    @staticmethod
    def my_group():
        return subprocess.check_output(['id', '-gn'], text=True).strip()

    def test_check(self):
        it = self.make(self.full(), prelude=False)
        result = self.run_preforkd('-t', '-c', it.file)
        self.assertEqual((result.returncode, result.stderr), (0, ''))

    def warnings(self, options):
        """The warnings of -t about a valid configuration."""
        it = self.make((POOL % f'echo {{}}\n{options}').replace('unix:/tmp/x', '127.0.0.1:0'))
        done = self.run_preforkd('-t', '-c', it.file)
        self.assertEqual(done.returncode, 0, done.stderr)
        return [line.removeprefix(it.file) for line in done.stderr.splitlines()]

    def test_address_that_may_be_a_network(self):
        """For xinetd 10.0.0.0 is a whole network; here it is one address, and the rest would be let
        in."""
        for option in ('allow', 'deny', 'proxy_protocol = "on" proxy_from'):
            for word, meant in (('127.0.0.0', '127.0.0.0/8'), ('192.0.2.0', '192.0.2.0/24'),
                                ('172.16.0.0', '172.16.0.0/16'), ('0.0.0.0', '0.0.0.0/0')):
                said = self.warnings(f'{option} = {{ "192.0.2.7", "{word}" }}')
                self.assertEqual(len(said), 1, said)
                self.assertRegex(said[0], rf'^:2: warning: pool p: .*"{word}".*"{meant}".*/32')
        for word in ('127.0.0.0/32', '127.0.0.0/8', '10.0.0.10', '0.0.0.1', '::', '2001:db8::'):
            self.assertEqual(self.warnings(f'deny = {{ "{word}" }}'), [])

    def test_warnings_of_a_reload(self):
        """Warnings refuse nothing; they also reach the caller of the reload."""
        echo = 'pool "p" { listen = { "systemd:p" } workers = 1 echo {} %s }\n' \
               'control = "@DIR@/control"\n'
        it = self.start(echo % '')
        it.announce('is one address')
        it.write(echo % 'deny = { "10.0.0.0" }')
        for words in (('reload', '--dry-run'), ('reload',)):
            answer = control.ask(it, *words)
            self.assertEqual(answer.status, 0)
            self.assertIn(f'{it.file}:1: warning: pool p: deny "10.0.0.0" is one address',
                          answer.out)
        self.assertEqual(len(it.log.find(' warning: reload: .*is one address')), 1)
        again = self.start(echo % 'deny = { "10.0.0.0" }')
        again.announce('is one address')
        again.wait_for_log(r' warning: .*:1: pool p: deny "10\.0\.0\.0" is one address')

    def test_dump_reads_back_to_the_same(self):
        it = self.make(self.full(), prelude=False)
        first = self.run_preforkd('-T', '-c', it.file)
        self.assertEqual((first.returncode, first.stderr), (0, ''))
        self.assertRegex(first.stdout, r'idle_timeout\s*=\s*"?7\b')
        self.assertRegex(first.stdout, r'max_requests\s*=\s*"?0\b')  # a default
        it.put('dumped.conf', first.stdout)
        second = self.run_preforkd('-T', '-c', it.path('dumped.conf'))
        self.assertEqual((second.returncode, second.stderr), (0, ''))
        self.assertEqual(second.stdout, first.stdout)

    def test_dump_of_a_long_list_reads_back(self):
        blocks = [f'10.{n // 250}.{n % 250}.0/24' for n in range(4000)]
        it = self.make('pool "p" { listen = { "127.0.0.1:0" } workers = 1\nallow = {\n'
                       + ',\n'.join(f'"{block}"' for block in blocks) + '\n} echo {} }\n')
        first = self.run_preforkd('-T', '-c', it.file)
        self.assertEqual(re.findall(r'"(10\.[\d./]+)"', first.stdout), blocks)
        it.put('dumped.conf', first.stdout)
        second = self.run_preforkd('-T', '-c', it.path('dumped.conf'))
        self.assertEqual((second.returncode, second.stderr), (0, ''))
        self.assertEqual(second.stdout, first.stdout)

    def test_dumped_text_stays_text(self):
        text = 'a "b" \\ ${HOME} $x \'c\' # d // e /* f */ {g} ü'
        quoted = text.replace('\\', '\\\\').replace('"', '\\"')
        it = self.make('pool "p" { listen = { "systemd:p" } workers = 1\n'
                       f'exec {{ command = {{ "/bin/echo", "{quoted}" }} }} }}\n')
        dumped = self.run_preforkd('-T', '-c', it.file)
        self.assertEqual(dumped.returncode, 0, dumped.stderr)
        it.prelude = False
        it.write(dumped.stdout)
        it.launch().ready()
        with it.connect('p') as connection:
            connection.shutdown(socket.SHUT_WR)
            answer = connection.makefile(encoding='utf-8').read()
        self.assertEqual(answer, text + '\n')

    def test_nothing_is_dumped_where_there_are_errors(self):
        it = self.make(GOOD + 'nonsense = 1\n')
        result = self.run_preforkd('-T', '-c', it.file)
        self.assertEqual((result.returncode, result.stdout), (1, ''))
        self.assertIn(':2: ', result.stderr)

    def test_single_and_bare_words(self):
        it = self.make("pool 'p' { listen = { 'unix:/tmp/x' } workers = '1' log_connections = on\n"
                       'echo {} }')
        result = self.run_preforkd('-t', '-c', it.file)
        self.assertEqual((result.returncode, result.stderr), (0, ''))

    def test_pattern_that_matches_nothing(self):
        it = self.make('include("@DIR@/none/*.conf")\n' + GOOD)
        self.assertEqual(self.run_preforkd('-t', '-c', it.file).returncode, 0)

    def test_includes_come_sorted_and_relative(self):
        it = self.make('include("d/*.conf")\n')
        for name in ('10', '9', 'b', 'a'):
            it.put(f'd/{name}.conf', f'pool "p{name}" {{ listen = {{ "unix:@DIR@/{name}" }} '
                   'workers = 1 echo {} }\n')
        result = self.run_preforkd('-T', '-c', it.file, cwd='/')
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(re.findall(r'pool "?(p\w+)', result.stdout), ['p10', 'p9', 'pa', 'pb'])

    def test_include_within_an_included_file(self):
        it = self.make('include("d/one.conf")\n')
        it.put('d/one.conf', 'include("two.conf")\n')
        it.put('d/two.conf', GOOD)
        result = self.run_preforkd('-t', '-c', it.file, cwd='/')
        self.assertEqual((result.returncode, result.stderr), (0, ''))

    def test_defaults(self):
        it = self.make(GOOD)
        text = self.run_preforkd('-T', '-c', it.file).stdout
        for name, value in {'backlog': '4096', 'keepalive': '60', 'idle_timeout': '60',
                            'ready_timeout': '30', 'graceful_timeout': '30', 'umask': '0?022',
                            'socket_mode': '0?660', 'max_requests': '0',
                            'log_connections': '(false|no|off)'}.items():
            self.assertRegex(text, rf'\b{name}\s*=\s*"?{value}\b')


if __name__ == '__main__':
    daemon.main()
