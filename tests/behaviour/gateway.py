"""Shared by the tests of cgi: a gateway with a directory of programs."""

import daemon
import fastcgi
import processes
from processes import wait_until

PRINT_ENVIRONMENT = '#!/bin/sh\necho Content-Type: text/plain\necho\nexec env -0\n'
CAT = '#!/bin/sh\necho Content-Type: text/plain\necho\nexec cat\n'


class Case(daemon.Case):
    def make_gateway(self, options='', cgi='root = "@DIR@/cgi"', workers=1, listen='"systemd:x"',
                     prelude=''):
        it = self.make(f'{prelude}pool "x" {{ listen = {{ {listen} }} workers = {workers}\n'
                       f'{options}\n'
                       f'cgi {{ {cgi} }} }}\n')
        if 'unix:' in listen:
            it.addresses['x'] = it.path('s')
        it.put('cgi/env', PRINT_ENVIRONMENT, 0o755)
        it.put('cgi/cat', CAT, 0o755)
        return it

    def gateway(self, *arguments, **named):
        return self.make_gateway(*arguments, **named).launch().ready()

    @staticmethod
    def program(it, name, text, mode=0o755):
        """Writes a program, a shell script unless it has a #! line. Returns its path."""
        return it.put('cgi/' + name, text if text.startswith('#!') else '#!/bin/sh\n' + text, mode)

    @staticmethod
    def params(it, name, more=None):
        return {'SCRIPT_FILENAME': it.path('cgi/' + name), 'REQUEST_METHOD': 'GET'} | (more or {})

    def ask(self, it, name, more=None, body=b'', request=1):
        more = dict(more or {})
        if body and 'CONTENT_LENGTH' not in more:
            more |= {'CONTENT_LENGTH': str(len(body)), 'REQUEST_METHOD': 'POST'}
        return fastcgi.ask(it.address('x'), self.params(it, name, more), body, request)

    def environment(self, it, more=None, name='env', body=b''):
        """The environment that a program sees."""
        answer = self.ask(it, name, more, body)
        self.assertEqual(answer.status, 200, answer.stdout)
        return dict(line.split('=', 1) for line in answer.body.decode().split('\0') if line)

    def answered(self, text, options='', cgi='root = "@DIR@/cgi"', **more):
        """Runs a program with this text for one request; returns the answer and the gateway."""
        it = self.gateway(options, cgi)
        self.program(it, 'program', text)
        return self.ask(it, 'program', **more), it

    def assert_status(self, answer, status):
        """An error answer of the gateway itself says nothing but its status."""
        self.assertEqual(answer.status, status, answer.stdout)
        self.assertTrue(answer.ended)
        self.assertRegex(answer.body, rb'^%d [A-Z][A-Za-z ]+\n$' % status)
        self.assertEqual(answer.stderr, b'')

    @staticmethod
    def wait_gone(pid):
        wait_until(lambda: not processes.alive(pid), f'the end of process {pid}')


def read_body(connection, size):
    """Reads `size` bytes of the body from STDOUT records as they arrive."""
    answer = fastcgi.Answer()
    while b'\n\n' not in answer.stdout or len(answer.body) < size:
        answer.add(*fastcgi.read_record(connection))
    return answer.body
