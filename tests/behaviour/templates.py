"""Shared by the tests of templates: a gateway that starts scripts cold in one pool, and as forks of
a template in the other."""

import os

import daemon
import fastcgi

LIBEXEC = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..', 'src', 'templates')
HEAD = {'.py': '#!/usr/bin/python3\nprint("Content-Type: text/plain\\n", flush=True)\n',
        '.pl': '#!/usr/bin/perl\n$| = 1; print "Content-Type: text/plain\\n\\n"; $| = 0;\n'}
MODULES = {'.py': 'template-python json random ssl', '.pl': 'template-perl JSON::PP'}


class Case(daemon.Case):
    def make_pools(self, options='', cgi='', workers=1, words=None, more='', both='', both_cgi=''):
        """Two pools for the same scripts: "cold", and "warm" with the templates. What is in `both`
        and `both_cgi` is for either."""
        words = words or MODULES
        named = ', '.join(f'"{suffix}=@DIR@/{words[suffix]}"' for suffix in words)
        it = self.make(
            f'pool "cold" {{ listen = {{ "systemd:cold" }} workers = 1\n{both}\n'
            f'cgi {{ root = "@DIR@/cgi" stderr = "server" {both_cgi} }} }}\n'
            f'pool "warm" {{ listen = {{ "systemd:warm" }} workers = {workers}\n{both} {options}\n'
            f'cgi {{ root = "@DIR@/cgi" stderr = "server" template = {{ {named} }}\n'
            f'{both_cgi} {cgi} }} }}\n{more}')
        for name in os.listdir(LIBEXEC):
            if name.startswith('template-'):
                with open(os.path.join(LIBEXEC, name), encoding='utf-8') as file:
                    it.put(name, file.read(), 0o755)
        self.script(it, 'parent.py', 'import os\nprint(os.getppid())\n')
        return it

    @staticmethod
    def script(it, name, text, head=True, mode=0o755):
        return it.put('cgi/' + name, (HEAD[name[-3:]] if head else '') + text, mode)

    @staticmethod
    def params(it, name, more=None):
        return {'SCRIPT_FILENAME': it.path('cgi/' + name), 'REQUEST_METHOD': 'GET'} | (more or {})

    def ask(self, it, name, more=None, body=b'', pool='warm'):
        if body:
            more = {'CONTENT_LENGTH': str(len(body)), 'REQUEST_METHOD': 'POST'} | (more or {})
        return fastcgi.ask(it.address(pool), self.params(it, name, more), body)

    def parent(self, it):
        """The parent of the script that answers: the template, or the worker."""
        answer = self.ask(it, 'parent.py')
        self.assertEqual(answer.status, 200, answer.stdout)
        return int(answer.body)
