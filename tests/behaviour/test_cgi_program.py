"""cgi and its programs: which one a request runs, and what follows if it misbehaves."""

import itertools
import json
import os
import re
import shutil
import unittest
import signal

import board
import client
import daemon
import fastcgi
import gateway
import processes
from processes import wait_until

HELLO = 'echo Content-Type: text/plain; echo; echo hello'


class Which(gateway.Case):
    def ask_path(self, it, path, more=None):
        return fastcgi.ask(it.address('x'), {'SCRIPT_FILENAME': path} | (more or {}))

    def test_beneath_the_root(self):
        it = self.gateway()
        root = it.path('cgi')
        self.program(it, 'below/deep/hello', HELLO)
        self.program(it, 'plain', HELLO, 0o644)
        self.program(it, '-x y;z', HELLO)
        it.put('outside', '#!/bin/sh\n' + HELLO, 0o755)
        os.mkfifo(it.path('cgi/fifo'))
        self.program(it, 'below/env', gateway.PRINT_ENVIRONMENT)
        os.symlink('below/deep/hello', it.path('cgi/inside'))
        os.symlink(it.path('cgi/below/deep/hello'), it.path('cgi/absolute_inside'))
        os.symlink(it.path('cgi/below'), it.path('cgi/current'))
        os.symlink(root, it.path('cgi/self'))
        os.symlink(it.path('cgi/gone'), it.path('cgi/dangling'))
        os.symlink('../outside', it.path('cgi/escape'))
        os.symlink('/bin/ls', it.path('cgi/absolute'))
        os.symlink('/', it.path('cgi/slash'))
        os.symlink('loop', it.path('cgi/loop'))
        os.mkdir(it.path('cgi/closed'), 0o700)
        cases = [
            ('below/deep/hello', 200), ('/below//deep///hello', 200), ('inside', 200),
            ('absolute_inside', 200), ('absolute_inside/x', 200), ('current/deep/hello', 200),
            ('current/env/a/b', 200), ('self/plain', 403), ('self/self/env', 200), ('self', 403),
            ('current/missing', 404), ('dangling', 404), ('slash/missing', 403),
            ('-x y;z', 200), ('env/', 200), ('env/a/b', 200), ('below/../env', 403),
            ('..', 403), ('../cgi/env', 403), ('../outside', 403), ('escape', 403),
            ('absolute', 403), ('slash/bin/ls', 403), ('loop', 403), ('plain', 403),
            ('below', 403), ('below/', 403), ('fifo', 403), ('', 404), ('/', 404),
            ('missing', 404), ('below/missing', 404), ('missing/env', 404), ('env\n', 404),
            ('x' * 300, 404), ('x/' * 3000, 404), ('fifo/x', 403)]
        if daemon.ROOT:
            cases.append(('closed/x', 403))
        for name, status in cases:
            with self.subTest(name=name[:40]):
                answer = self.ask_path(it, f'{root}/{name}')
                self.assertEqual(answer.status, status, answer.stdout)
                if status != 200:
                    self.assert_status(answer, status)

    def test_absolute_link_to_a_directory(self):
        """Like Capistrano's `current`. The root itself is named through a link, too."""
        it = self.make_gateway(cgi='root = "@DIR@/root//"')
        root = it.path('root')
        os.symlink(it.path('cgi'), root)
        self.program(it, 'releases/7/where', 'echo Content-Type: text/plain; echo;'
                     'echo "$SCRIPT_NAME $PATH_INFO $SCRIPT_FILENAME"; exec /bin/pwd -P')
        os.symlink(it.path('cgi/releases/7'), it.path('cgi/current'))
        it.launch().ready()
        answer = self.ask_path(it, root + '/current/where/a/b',
                               {'SCRIPT_NAME': '/current/where/a/b'})
        self.assertEqual(answer.status, 200, answer.stdout)
        self.assertEqual(answer.body.decode().split(),
                         ['/current/where', '/a/b', root + '/current/where',
                          it.path('cgi/releases/7')])

    def test_paths_elsewhere(self):
        it = self.gateway()
        root = it.path('cgi')
        for path, status in ((f'{root}x/env', 403), ('/bin/ls', 403), ('/', 403), ('env', 403),
                             ('relative/env', 403), (f'{root}', 404), ('', 500),
                             (f'proxy:fcgi://localhost:9000{root}/env', 200),
                             (f'proxy:fcgi://localhost{root}/env', 200)):
            with self.subTest(path=path):
                self.assertEqual(self.ask_path(it, path).status, status)

    def test_log_names_script_and_reason(self):
        it = self.gateway()
        self.assert_status(self.ask(it, 'missing'), 404)
        path = it.path('cgi/missing')
        it.log.wait(f'info: pool x: the program {path} is not there: No such file or directory; '
                    f'answered with 404 pool=x script="{path}"')

    def test_log_of_a_long_path(self):
        """However long and odd it is, the address and the status are in the line."""
        it = self.make_gateway(prelude='log { format = "json" level = "info" }\n')
        os.symlink('/bin/true', it.path('cgi/escape'))
        it.launch().ready()
        for number, (name, status) in enumerate((
                ('x' * 200, 404), ('x' * 3000, 404), ('\x01' * 3000, 404), ('"' * 3000, 404),
                (' pool=x' * 400, 404), ('é' * 1500, 404), ('x/' + './' * 1500 + 'escape', 404),
                ('./' * 1500 + 'escape', 403), ('escape' + '/\x01' * 1500, 403))):
            with self.subTest(name=name[:40]):
                address = f'192.0.2.{number}'
                self.assert_status(self.ask(it, name, {'REMOTE_ADDR': address}), status)
                line = json.loads(it.log.wait(f'client.*{address}').string)
                self.assertEqual([line['fields'][key] for key in ('client', 'status', 'missed')],
                                 [address, str(status), '0'])
                self.assertLess(len(line['fields']['script']), 250)

    def test_log_of_forged_pairs(self):
        it = self.gateway()
        self.assert_status(self.ask(it, 'x" pool=x status=1', {'REMOTE_ADDR': '::1 status=2'}), 404)
        path = it.path(r'cgi/x\x22 pool\x3dx status=1')
        it.log.wait(rf'answered with 404 pool=x script="{re.escape(path)}" client=::1 status=404 ')

    def path_variables(self, it, params):
        env = self.environment(it, {'SCRIPT_FILENAME': ''} | params)
        return [env.get(name) for name in ('SCRIPT_NAME', 'PATH_INFO', 'PATH_TRANSLATED',
                                           'SCRIPT_FILENAME')]

    def test_path_info(self):
        it = self.gateway()
        self.program(it, 'below/env', gateway.PRINT_ENVIRONMENT)
        root = it.path('cgi')
        self.assertEqual(self.path_variables(it, {
            'DOCUMENT_ROOT': root, 'SCRIPT_NAME': '/below/env/a/b.c'}),
            ['/below/env', '/a/b.c', root + '/a/b.c', root + '/below/env'])
        self.assertEqual(self.path_variables(it, {
            'DOCUMENT_ROOT': root, 'SCRIPT_NAME': '/env'}), ['/env', None, None, root + '/env'])
        self.assertEqual(self.path_variables(it, {
            'DOCUMENT_ROOT': it.directory, 'SCRIPT_NAME': '/cgi/env/x'}),
            ['/cgi/env', '/x', it.directory + '/x', root + '/env'])
        self.assertEqual(self.path_variables(it, {
            'SCRIPT_FILENAME': root + '/env/a//b', 'SCRIPT_NAME': '/c/env/a//b'}),
            ['/c/env', '/a//b', None, root + '/env'])
        self.assertEqual(self.path_variables(it, {
            'SCRIPT_FILENAME': root + '/env', 'SCRIPT_NAME': '/e', 'PATH_INFO': '/their/own',
            'PATH_TRANSLATED': '/t/their/own'}),
            ['/e', '/their/own', '/t/their/own', root + '/env'])
        self.assertEqual(fastcgi.ask(it.address('x'), {
            'DOCUMENT_ROOT': it.directory, 'SCRIPT_NAME': '/nothing'}).status, 403)

    def test_suffixes(self):
        it = self.gateway(cgi='root = "@DIR@/cgi" suffixes = { ".cgi", ".pl" }')
        for name, status in (('a.cgi', 200), ('b.pl', 200), ('a.cgi.bak', 403), ('env', 403)):
            self.program(it, name, HELLO)
            self.assertEqual(self.ask(it, name).status, status, name)
        self.assertEqual(self.ask(it, 'a.cgi/x.txt').status, 200)

    def test_links_out_of_the_root(self):
        """The log names the link and its target."""
        it = self.gateway(cgi='root = "@DIR@/cgi"')
        self.program(it, '../share/real', HELLO)
        os.makedirs(it.path('cgi/a'))
        for name, target in (('direct', '../share/real'), ('a/far', '../../share/real'),
                             ('absolute', '/bin/true'), ('folder', '../share')):
            os.symlink(target, it.path('cgi/' + name))
        os.symlink('direct', it.path('cgi/twice'))
        for asked, link, target in (('direct', 'direct', '../share/real'),
                                    ('direct/info', 'direct', '../share/real'),
                                    ('a/far', 'a/far', '../../share/real'),
                                    ('absolute', 'absolute', '/bin/true'),
                                    ('twice', 'twice', 'direct'),
                                    ('folder/real', 'folder', '../share')):
            mark = it.mark()
            self.assert_status(self.ask(it, asked), 403)
            it.log.wait(f'outside of the root {re.escape(it.path("cgi"))}: '
                        f'{re.escape(link)} is a link to {re.escape(target)};', mark)

    @unittest.skipUnless(os.path.islink('/usr/lib/cgi-bin/gitweb.cgi'), 'no gitweb here')
    def test_gitweb_behind_its_link(self):
        it = self.make_gateway(cgi='root = "/usr"')
        it.put('gitweb.conf', '$projectroot = "@DIR@/git"; $site_name = "here";\n')
        os.makedirs(it.path('git'))
        it.launch().ready()
        answer = self.ask_path(it, '/usr/lib/cgi-bin/gitweb.cgi',
                               {'GITWEB_CONFIG': it.path('gitweb.conf')})
        self.assertIn(b'here', answer.body)
        self.assertIn(answer.status, (200, 404))  # without projects

    def test_path_that_nobody_has_told_apart(self):
        """The path as h2o sends it: script and PATH_INFO are not split."""
        it = self.gateway()
        found = fastcgi.ask(it.address('x'), {'DOCUMENT_ROOT': it.directory, 'SCRIPT_NAME': '',
                                              'PATH_INFO': '/cgi/env/a b',
                                              'PATH_TRANSLATED': 'x'}).body.decode()
        found = dict(line.split('=', 1) for line in found.split('\0') if line)
        self.assertEqual([found[name] for name in ('SCRIPT_NAME', 'PATH_INFO', 'SCRIPT_FILENAME')],
                         ['/cgi/env', '/a b', it.path('cgi/env')])
        self.assert_status(fastcgi.ask(it.address('x'), {'DOCUMENT_ROOT': it.directory,
                                                         'PATH_INFO': '/' + 'x' * 30000}), 431)
        it.wait_for_log('has too large an environment; answered with 431')

    def test_interpreter(self):
        it = self.make_gateway(cgi='root = "@DIR@/cgi" interpreter = { ".x=@DIR@/interpreter" }')
        it.put('interpreter', '#!/bin/sh\necho Content-Type: text/plain; echo; echo "$#" "$1"; '
                              'cat "$1"; echo "$REDIRECT_STATUS" "$SCRIPT_FILENAME"', 0o755)
        self.program(it, 'below/page.x', '#!no program\ntext\n', 0o644)
        it.launch().ready()
        self.assertEqual(self.ask(it, 'below/page.x/info').body.decode(),
                         f'1 ./page.x\n#!no program\ntext\n200 {it.path("cgi/below/page.x")}\n')
        self.assertEqual(self.ask(it, 'cat', body=b'x').body, b'x')

    def test_one_program(self):
        it = self.make_gateway(cgi='program = "@DIR@/below/one"')
        it.put('below/one', '#!/bin/sh\necho Content-Type: text/plain; echo; pwd -P; '
                            'echo "$SCRIPT_FILENAME $PATH_INFO"', 0o755)
        it.launch().ready()
        place = os.path.realpath(it.path('below'))
        self.assertEqual(fastcgi.ask(it.address('x'), {'PATH_INFO': '/p'}).body.decode(),
                         f'{place}\n{it.path("below/one")} /p\n')
        self.assertEqual(fastcgi.ask(it.address('x'), {'SCRIPT_FILENAME': '/any'}).body.decode(),
                         f'{place}\n/any \n')
        os.unlink(it.path('below/one'))
        self.assert_status(fastcgi.ask(it.address('x'), {}), 404)

    def test_compiled_program_and_its_name(self):
        it = self.gateway(cgi='root = "/usr/bin"')
        answer = self.ask_path(it, '/usr/bin/true')
        self.assertEqual((answer.status, answer.app_status), (500, 500))

    def looked_at(self, it, path, change):
        """The answer to a request whose program changes after the worker opened it: a request
        without a length starts its program when the body is complete."""
        worker, = it.workers()
        with it.connect('x') as connection:
            connection.sendall(fastcgi.head({'SCRIPT_FILENAME': path}))
            wait_until(lambda: path in processes.descriptors(worker).values(), 'an opened program')
            change()
            connection.sendall(fastcgi.stream(fastcgi.STDIN, 1, b'Content-Type: a/b\n\nold\n'))
            return fastcgi.read_answer(connection)

    def test_the_file_that_was_looked_at_runs(self):
        it = self.gateway()
        path, other = it.path('cgi/compiled'), it.path('cgi/other')
        shutil.copy('/bin/cat', path)
        shutil.copy('/bin/true', other)
        answer = self.looked_at(it, path, lambda: os.rename(other, path))
        self.assertEqual(answer.body, b'old\n')
        self.assert_status(fastcgi.ask(it.address('x'), {'SCRIPT_FILENAME': path}), 500)

    def test_the_directory_that_was_looked_at_has_the_script(self):
        it = self.gateway()
        path = self.program(it, 'below/script', 'exec cat')

        def change():
            os.rename(it.path('cgi/below'), it.path('cgi/moved'))
            self.program(it, 'below/script', HELLO)
        self.assertEqual(self.looked_at(it, path, change).body, b'old\n')
        self.assertEqual(fastcgi.ask(it.address('x'), {'SCRIPT_FILENAME': path}).body, b'hello\n')

    def test_wrong_sections(self):
        cases = {
            '': 'needs root.* or program',
            'root = "relative"': 'absolute path',
            'root = "/nonexistent"': 'No such file',
            'root = "/bin/sh"': 'not a directory',
            'program = "/nonexistent/x"': 'No such file',
            'program = "x"': 'absolute path',
            'program = "/etc/passwd"': "can't execute",
            'program = "/bin/sh" root = "/"': 'takes no root',
            'program = "/bin/sh" suffixes = { ".x" }': 'takes no suffixes',
            'root = "/" interpreter = { "x" }': 'SUFFIX=PROGRAM',
            'root = "/" interpreter = { "=/bin/sh" }': 'SUFFIX=PROGRAM',
            'root = "/" interpreter = { ".x=/nonexistent" }': 'No such file',
            'root = "/" interpreter = { ".z=/bin/sh", ".t.z=/bin/sh" }': 'never used, because ".z=',
            'root = "/" suffixes = { ".x", "" }': 'an empty one, which every name ends in',
            'root = "/" stderr = "socket"': 'log or server',
            'root = "/" command = { "/bin/sh" }': 'unknown option',
        }
        for section, said in cases.items():
            with self.subTest(section=section):
                it = self.make(f'pool "x" {{ listen = {{ "127.0.0.1:0" }} workers = 1\n'
                               f'cgi {{ {section} }} }}')
                run = self.run_preforkd('-t', '-c', it.file)
                self.assertEqual(run.returncode, 1)
                self.assertRegex(run.stderr, rf'{it.file}:2: .*{said}')

    def test_defaults_of_its_own(self):
        it = self.make('pool "x" { listen = { "127.0.0.1:0" } workers = 1 cgi { root = "/" } }\n'
                       'pool "y" { listen = { "127.0.0.1:0" } workers = 1 request_timeout = 5 '
                       'cgi { root = "/" } }\n'
                       'pool "z" { listen = { "127.0.0.1:0" } workers = 1 echo { } }')
        dumped = self.run_preforkd('-T', '-c', it.file).stdout
        self.assertEqual(re.findall(r'request_timeout = (\d+)', dumped), ['60', '5', '0'])

    def test_a_new_request_timeout_reaches_the_workers(self):
        it = self.gateway('request_timeout = 1000')
        workers = it.workers()
        with open(it.file, encoding='utf-8') as file:
            config = file.read()
        it.reload(config.replace('request_timeout = 1000', 'request_timeout = 1'))
        it.wait_for_workers(1, without=workers)
        self.program(it, 'slow', 'exec sleep 1000')
        it.announce('took longer')
        self.assert_status(self.ask(it, 'slow'), 504)


class NotStarting(gateway.Case):
    def test_pool_is_degraded(self):
        """All requests run the same program: if it is missing, the pool is at fault."""
        it = self.make_gateway(cgi='program = "@DIR@/cgi/one"')
        path = self.program(it, 'one', 'echo Content-Type: a/b; echo; echo one')
        it.launch().ready()
        it.announce("can't be started|is not there")
        os.rename(path, path + '.away')
        for _ in range(3):
            self.assertGreaterEqual(self.ask(it, 'x').status, 404)
        wait_until(lambda: board.pool(it, 'x')['state'] == 'degraded', 'degraded')
        self.assertIn('No such file', board.pool(it, 'x')['trouble'])
        # The pool is well once the program starts: it may run for long.
        self.program(it, 'one', 'echo Content-Type: a/b; echo; read -r line; echo "$line"')
        with it.connect('x') as connection:
            connection.sendall(fastcgi.head(self.params(it, 'one', {
                'REQUEST_METHOD': 'POST', 'CONTENT_LENGTH': '5'})))
            self.assertIn(b'a/b', connection.recv(1000))
            self.assertEqual(board.pool(it, 'x')['state'], 'full')
            connection.sendall(fastcgi.stream(fastcgi.STDIN, 1, b'over\n'))
            self.assertIn(b'over', client.read_all(connection))
        wait_until(lambda: board.pool(it, 'x')['state'] == 'serving', 'serving')

    def test_too_long_a_parameter_is_the_servers_affair(self):
        it = self.gateway(cgi='program = "@DIR@/cgi/cat"')
        for _ in range(3):
            self.assert_status(self.ask(it, 'x', {'A': 'x' * 200000}), 431)
        self.assertNotEqual(board.pool(it, 'x')['state'], 'degraded')

    def test_a_missing_script_is_its_own_affair(self):
        it = self.gateway()
        for _ in range(5):
            self.assert_status(self.ask(it, 'nowhere'), 404)
        wait_until(lambda: board.pool(it, 'x')['idle'] == 1, 'an idle worker')
        self.assertNotEqual(board.pool(it, 'x')['state'], 'degraded')

    def test_unfinished_lines_of_two_requests_are_two(self):
        """On one connection, as web servers keep it open."""
        it = self.gateway('', 'root = "@DIR@/cgi" stderr = "log"')
        self.program(it, 'talk', 'printf "one of $QUERY_STRING" >&2; echo Content-Type: a/b; echo')
        with it.connect('x') as connection:
            for number in (1, 2):
                params = self.params(it, 'talk', {'QUERY_STRING': str(number)})
                connection.sendall(fastcgi.whole(params, keep=True))
                self.assertEqual(fastcgi.read_answer(connection).status, 200)
        for number in (1, 2):
            it.wait_for_log(rf'worker \d+: one of {number} pool=x')


class Answers(gateway.Case):
    def test_bad_headers(self):
        it = self.gateway()
        cases = {
            'nothing': ('exit 0', 'wrote nothing.*exit=0'),
            'failed': ('exit 7', 'wrote nothing.*exit=7'),
            'no-end': ('echo Content-Type: a/b', 'no complete header'),
            'no-header': ('echo hello; echo; echo body', 'no header'),
            'blank': ('echo; echo Content-Type: a/b; echo', 'empty line'),
            'crlf-blank': (r'printf "\r\nContent-Type: a/b\r\n\r\n"', 'empty line'),
            'nul': (r'printf "Content-Type: a\0/b\n\n"', 'NUL'),
            'space': (r'printf "Content-Type : a/b\n\n"', 'no header'),
            'folded': (r'printf "Content-Type: a/b\n folded\n\n"', 'no header'),
            'long': ('echo Content-Type: a/b; head -c 10000000 /dev/zero | tr "\\0" x; echo',
                     'longer than 64 KiB'),
        }
        for name, (text, said) in cases.items():
            with self.subTest(name=name):
                mark = it.mark()
                path = self.program(it, name, text)
                self.assert_status(self.ask(it, name), 500)
                it.log.wait(f'notice: pool x: the program {path} .*{said}', mark)
        self.assertEqual(self.ask(it, 'cat', body=b'x').body, b'x')

    def test_good_headers(self):
        it = self.gateway()
        for number, header in enumerate((
                'Content-Type: a/b\n\n', 'content-type:a/b\r\n\r\n', 'Status: 204 x\n\n',
                'X-Sendfile: /x\n\n', 'Set-Cookie: a=b\n\n', 'X-A: 1\r\nX-B:\nStatus: 200\r\n\n')):
            name = f'good{number}'
            it.put('cgi/' + name + '.header', header)
            self.program(it, name, f'cat {name}.header; echo body')
            answer = self.ask(it, name).stdout
            self.assertEqual(answer, header.replace('\r', '').encode()
                             + (b'' if '204' in header else b'body\n'))

    def test_redirection_without_a_status(self):
        answer, _ = self.answered('echo "Location: http://localhost/x"; echo; echo moved')
        self.assertEqual((answer.status, answer.header['Location'], answer.body),
                         (302, 'http://localhost/x', b'moved\n'))

    def test_longest_header(self):
        """A full record, with room for the header lines that cgi adds."""
        it = self.gateway()
        size = 65535 - 8 + 1 - 32 - len('Location: /\nX: \n\n')
        self.program(it, 'program', 'echo Location: /; printf "X: ";'
                                    'head -c $QUERY_STRING /dev/zero | tr "\\0" x; echo; echo')
        answer = self.ask(it, 'program', {'QUERY_STRING': str(size)})
        self.assertEqual((answer.status, len(answer.header.get('X', ''))), (302, size))
        self.assert_status(self.ask(it, 'program', {'QUERY_STRING': str(size + 1)}), 500)

    def test_header_in_pieces(self):
        answer, _ = self.answered('#!/usr/bin/python3\nimport sys\n'
                                  'for c in "Content-Type: a/b\\r\\nX-Y: z\\r\\n\\r\\nbody":\n'
                                  '    sys.stdout.write(c); sys.stdout.flush()')
        self.assertEqual(answer.stdout, b'Content-Type: a/b\nX-Y: z\n\nbody')

    def test_nph(self):
        answer, it = self.answered(r'printf "HTTP/1.1 404 Gone Away\r\nConnection: close\r\n'
                                   r'Content-Type: a/b\r\nTransfer-Encoding: x\r\n\r\nbody"')
        self.assertEqual(answer.stdout, b'Status: 404 Gone Away\nContent-Type: a/b\n\nbody')
        it.log.wait(r'info: .*\(NPH\)')

    def test_killed_before_its_header(self):
        answer, it = self.answered('kill -SEGV $$')
        it.announce('signal=SEGV')
        self.assert_status(answer, 502)
        it.log.wait('notice: .*wrote nothing.*signal=SEGV')

    def test_killed_in_its_answer(self):
        answer, it = self.answered('echo Content-Type: a/b; echo; echo half; kill -KILL $$')
        self.assertEqual(answer.ended, False)
        self.assertNotIn((fastcgi.STDOUT, b''), answer.kinds)
        it.log.wait('notice: .*middle of its answer.*signal=KILL')

    def test_exit_status(self):
        answer, it = self.answered('echo Content-Type: a/b; echo; echo all; exit 3')
        self.assertEqual((answer.body, answer.app_status), (b'all\n', 3))
        it.log.wait(r'notice: .*ended badly.* duration=[\d.]+ cpu=[\d.]+ in=\d+ out=\d+ exit=3')

    def test_log_of_a_good_one(self):
        _, it = self.answered(HELLO, 'log_connections = true', more={'REMOTE_ADDR': '192.0.2.7'})
        it.log.wait(rf'info: .* ended, after .* pool=x script="{it.path("cgi/program")}" '
                    r'client=192.0.2.7 duration=[\d.]+ cpu=[\d.]+ in=\d\d+ out=\d\d+ exit=0')

    def test_timeout_before_the_header(self):
        answer, it = self.answered('echo $$ >&2; exec sleep 1000', 'request_timeout = 5')
        it.announce('took longer than request_timeout')
        self.assert_status(answer, 504)
        it.log.wait('warning: .*took longer than request_timeout.*signal=TERM')
        self.wait_gone(int(it.log.wait(r' (\d+)( pool=| pid=|$)').group(1)))

    def test_timeout_in_the_answer(self):
        answer, it = self.answered('echo Content-Type: a/b; echo; echo half; exec sleep 1000',
                                   'request_timeout = 5')
        it.announce('took longer than request_timeout')
        self.assertEqual((answer.body, answer.ended), (b'half\n', False))

    def test_timeout_and_ignoring_it(self):
        answer, it = self.answered('trap "" TERM; while :; do sleep 0.2; done',
                                   'request_timeout = 5')
        it.announce('took longer than request_timeout')
        self.assert_status(answer, 504)
        it.log.wait('warning: .*took longer than request_timeout.*signal=KILL')
        self.assertEqual(self.ask(it, 'cat', body=b'x').body, b'x')

    def test_worker_serves_on_after_a_timeout(self):
        _, it = self.answered('exec sleep 1000', 'request_timeout = 5')
        it.announce('took longer than request_timeout')
        workers = it.workers()
        self.assertEqual(self.ask(it, 'cat', body=b'x').body, b'x')
        self.assertEqual(it.workers(), workers)

    def test_leaves_a_daemon_with_its_output(self):
        for output, errors in itertools.product(('2>&2', '>&1', ''), ('log', 'server')):
            with self.subTest(output=output, errors=errors):
                answer, _ = self.answered(f'sleep 1000 {output} & echo Content-Type: a/b; echo; '
                                          'echo $!',
                                          cgi=f'root = "@DIR@/cgi" stderr = "{errors}"')
                self.assertTrue(answer.ended)
                pid = int(answer.body)
                self.assertTrue(processes.alive(pid))
                os.kill(pid, signal.SIGKILL)

    def test_standard_error_of_what_is_left_behind(self):
        """The background process writes on: nobody waits for it, nothing kills it, and its lines
        reach the log."""
        for errors in ('log', 'server'):
            with self.subTest(errors=errors):
                it = self.gateway(cgi=f'root = "@DIR@/cgi" stderr = "{errors}"')
                os.chmod(it.directory, 0o777)
                self.program(it, 'program', '(until [ -e ../go ]; do sleep 0.05; done;'
                                            'echo from behind >&2; touch ../survived) > /dev/null &'
                                            + HELLO)
                for _ in range(20):  # more than are kept
                    self.assertEqual(self.ask(it, 'program').body, b'hello\n')
                it.put('go', '')
                wait_until(lambda: os.path.exists(it.path('survived')), 'the line')
                self.assertEqual(self.ask(it, 'cat', body=b'x').body, b'x')
                it.log.wait('from behind')

    def test_output_of_a_daemon_left_behind_does_not_go_on(self):
        answer, _ = self.answered('echo Content-Type: a/b; echo; yes & echo $!')
        self.assertTrue(answer.ended)
        os.kill(int(re.search(rb'(?m)^(\d+)$', answer.body)[1]), signal.SIGKILL)

    def test_closes_its_output_and_goes_on(self):
        it = self.gateway()
        self.program(it, 'program', 'echo Content-Type: a/b; echo; echo all; exec >&-; '
                                    'read x; echo "got $x" >&2; exit 4')
        params = self.params(it, 'program', {'CONTENT_LENGTH': '2'})
        with it.connect('x') as connection:
            connection.sendall(fastcgi.head(params))
            answer = fastcgi.Answer()
            while (fastcgi.STDOUT, b'') != (kind_content := fastcgi.read_record(connection)[::2]):
                answer.add(kind_content[0], 1, kind_content[1])
            self.assertEqual(answer.body, b'all\n')
            connection.sendall(fastcgi.stream(fastcgi.STDIN, 1, b'y\n'))
            self.assertTrue(fastcgi.read_answer(connection).ended)
        it.log.wait('got y')
        it.log.wait('ended badly.*exit=4')

    def test_closes_its_output_and_takes_long(self):
        """The request and the connection end with the output, or nginx would hold the answer
        back."""
        it = self.gateway(workers=2)
        self.program(it, 'program', 'echo Content-Type: a/b; echo; echo $$; exec >&- 2>&-; '
                                    'while [ ! -e ../go ]; do sleep 0.05; done')
        for keep in (False, True):
            with it.connect('x') as connection:
                connection.sendall(fastcgi.whole(self.params(it, 'program'), keep=keep))
                answer = fastcgi.read_answer(connection)
                self.assertTrue(answer.ended)
                self.assertEqual(connection.recv(1), b'')
                self.assertTrue(processes.alive(int(answer.body)))
            it.put('go', '')
            self.wait_gone(int(answer.body))
            os.unlink(it.path('go'))

    def test_goes_on_after_the_web_server_has_it_all(self):
        it = self.gateway()
        self.program(it, 'program', 'echo Content-Type: a/b; echo; echo all; exec >&-; '
                                    'sleep 0.3; echo survived >&2')
        with it.connect('x') as connection:
            connection.sendall(fastcgi.whole(self.params(it, 'program')))
            while fastcgi.read_record(connection)[::2] != (fastcgi.STDOUT, b''):
                continue
        it.log.wait('survived')

    def test_does_not_read_its_body(self):
        answer, _ = self.answered(HELLO, body=os.urandom(100000))
        self.assertEqual(answer.body, b'hello\n')

    def test_standard_error_goes_to_the_log(self):
        answer, it = self.answered('echo first >&2; ' + HELLO + '; echo "second $$" >&2')
        self.assertEqual((answer.body, answer.stderr), (b'hello\n', b''))
        it.log.wait('first')
        it.log.wait(r'second \d+')

    def test_standard_error_goes_to_the_server(self):
        answer, it = self.answered('echo "warn: x" >&2; ' + HELLO + '; echo second >&2; exit 2',
                                   cgi='root = "@DIR@/cgi" stderr = "server"')
        self.assertEqual((answer.body, answer.stderr), (b'hello\n', b'warn: x\nsecond\n'))
        self.assertEqual(answer.kinds[-1], fastcgi.END_REQUEST)
        self.assertEqual(it.log.find('warn: x'), [])
        self.assertEqual(self.ask(it, 'cat', body=b'x').kinds.count(fastcgi.STDERR), 0)

    def test_much_standard_error_to_the_server(self):
        answer, _ = self.answered('head -c 1000000 /dev/zero >&2; ' + HELLO,
                                  cgi='root = "@DIR@/cgi" stderr = "server"')
        self.assertEqual((answer.body, len(answer.stderr)), (b'hello\n', 1000000))

    def test_cannot_be_run(self):
        it = self.gateway()
        self.program(it, 'no-interpreter', '#!/nonexistent/interpreter\n')
        it.put('cgi/no-program', 'just text\n', 0o755)
        for name in ('no-interpreter', 'no-program'):
            self.assert_status(self.ask(it, name), 500)
        it.log.wait('no-interpreter.* what should run it is not there')
        it.log.wait('no-program.*Exec format error')

    @daemon.needs_root
    def test_no_process_left(self):
        it = self.gateway('limits { nproc = 0 }')
        it.announce('Resource temporarily unavailable')
        answer = self.ask(it, 'cat')
        self.assert_status(answer, 503)
        self.assertTrue(int(answer.header['Retry-After']))
        it.log.wait('warning: .*status=503')

    def test_head_has_no_body(self):
        """Whatever the program does, or if there is none; and its standard error is not cut
        short."""
        it = self.gateway()
        for name in 'none', 'bad':
            self.program(it, 'bad', 'exit 3')
            answer = self.ask(it, name, {'REQUEST_METHOD': 'HEAD'})
            self.assertEqual((answer.status, answer.body), (404 if name == 'none' else 500, b''))
        for name, text in (('plain', HELLO), ('late', HELLO + '; sleep 0.1; echo more'),
                           ('large', 'echo Content-Type: a/b; echo; head -c 9000000 /dev/zero; '
                                     'echo written >&2')):
            self.program(it, name, text)
            for server in ('test', 'nginx/1'):
                answer = self.ask(it, name, {'REQUEST_METHOD': 'HEAD', 'SERVER_SOFTWARE': server})
                self.assertEqual((answer.status, answer.body, answer.ended), (200, b'', True))
        it.log.wait('written')


if __name__ == '__main__':
    daemon.main()
