"""Scripts as forks of a template: whatever they do, the web server sees the same as from a script
started cold."""

import io
import os
import re
import zipfile

import daemon
import fastcgi
import templates

# These can't be compiled. They are started without the template.
NOT_COMPILED = {
    'syntax': b'print("x")\ndef f(:\n',
    'bytes': b'print("x")\nprint("\xe9")\n',
    'nul': b'print("x")\n\0\n',
}
# Each runs cold and warm: output, errors and exit status must be the same.
PYTHON = {
    'what_it_is': '''
import os, sys
print(__name__, __file__, __spec__, __cached__, __package__, sorted(vars()))
print(sys.argv, sys.orig_argv[1:], sys.path, os.getcwd(), sys.flags)
print(sorted((name, value) for name, value in os.environ.items()))
print(os.getpgrp() == os.getpid(), os.umask(0), sorted(os.listdir('/proc/self/fd')))
''',
    'streams': '''
import sys
for stream in sys.stdin, sys.stdout, sys.stderr, sys.__stdin__, sys.__stdout__, sys.__stderr__:
    print(stream, stream.errors, stream.line_buffering, stream.write_through, stream.newlines,
          stream.buffer, stream.buffer.raw.name, stream.isatty(), stream.seekable())
''',
    'signals': '''
import re, signal
print([(number, signal.getsignal(number)) for number in sorted(signal.valid_signals())
       if signal.getsignal(number) not in (signal.SIG_DFL, None)])
print(re.findall('(?m)^Sig(?:Blk|Ign|Cgt|Pnd).*$', open('/proc/self/status').read()))
''',
    'exit_text': 'import sys\nprint("x")\nsys.exit("a reason")\n',
    'exit_number': 'import sys\nprint("x")\nsys.exit(300)\n',
    'exit_none': 'import sys\nsys.exit()\n',
    'exit_tuple': 'raise SystemExit((1, 2))\n',
    'exit_at_once': 'import os\nprint("lost")\nos._exit(7)\n',
    'exception': 'def f():\n    return 1 / 0\ntry:\n    f()\nexcept Exception as e:\n'
                 '    raise RuntimeError("x") from e\n',
    'exception_in_handler': 'try:\n    x\nexcept NameError:\n    y\n',
    'interrupted': 'raise KeyboardInterrupt\n',
    'exit_large': 'import sys\nsys.exit(2 ** 70)\n',
    'exit_to_nowhere': 'import sys\nsys.stderr = None\nsys.exit("a reason")\n',
    'exit_without_text': 'import sys\nclass A:\n    def __str__(self):\n        return 1 / 0\n'
                         'sys.exit(A())\n',
    'exit_without_code': 'class A(SystemExit):\n    code = property(lambda self: 1 / 0)\n'
                         'raise A("a reason")\n',
    'exit_with_own_print': 'import builtins, sys\nbuiltins.print = None\nsys.exit("a reason")\n',
    'hook': 'import sys\nsys.excepthook = lambda *what: print("hook", what[0])\nx\n',
    'hook_fails': 'import sys\nsys.excepthook = lambda *what: 1 / 0\nx\n',
    'hook_is_none': 'import sys\nsys.excepthook = None\nx\n',
    'hook_is_missing': 'import sys\ndel sys.excepthook\nx\n',
    'hook_exits': 'import sys\nsys.excepthook = lambda *what: sys.exit(5)\n1 / 0\n',
    'last_exception': 'import atexit, sys\natexit.register(lambda: print(sys.last_type, '
                      'sys.last_value, sys.last_traceback.tb_lineno))\nx\n',
    'recursion': 'def f(n):\n    return f(n + 1)\ntry:\n    f(0)\nexcept RecursionError:\n'
                 '    print("deep")\n',
    'thread': 'import threading, time\n'
              'threading.Thread(target=lambda: (time.sleep(.1), print("late"))).start()\n'
              'print("main ends")\n',
    'atexit': 'import atexit\natexit.register(print, "b")\natexit.register(print, "a")\n'
              'atexit.register(lambda: x)\nprint("c")\n',
    'unflushed': 'import os\nf = os.fdopen(os.dup(1), "w")\nf.write("in a buffer")\n',
    'destructor': 'class A:\n    def __del__(self):\n        print("gone")\na = A()\na.a = a\n',
    'destructor_uses_names': 'import os\nclass A:\n    def __del__(self):\n'
                             '        print("gone", helper(), os.sep)\n'
                             'def helper():\n    return 5\na = A()\n',
    'destructor_in_module': 'import destroyed\nprint(destroyed.a.name())\n',
    'destructor_prints': 'import io, sys\nclass A:\n    def __del__(self):\n'
                         '        print("gone")\na = A()\nsys.stdout = io.StringIO()\n',
    'destructor_after_exception': 'class A:\n    def __del__(self):\n        print("gone", b)\n'
                                  'b = 5\ndef f(a):\n    1 / 0\nf(A())\n',
    'generator': 'def f():\n    try:\n        yield\n    finally:\n        print("gone", b)\n'
                 'b = 5\na = f()\nnext(a)\n',
    'kept_by_another_module': 'import json, sys\nclass A:\n    def __del__(self):\n'
                              '        print("gone")\na = A()\n'
                              'json.kept = sys.modules["__main__"]\n',
    'odd_modules': 'import sys\nclass A:\n    __slots__ = ()\nsys.modules["a"] = A()\n'
                   'sys.modules["b"] = None\n',
    'no_main': 'import sys\ndel sys.modules["__main__"]\n',
    'no_modules': 'import sys\nsys.modules.clear()\n',
    'no_streams': 'import sys\ndel sys.stdout, sys.stderr\n',
    'closed': 'import os\nprint("x")\nos.close(1)\n',
    'fork': 'import os\npid = os.fork()\nif pid == 0:\n    print("child", flush=True)\n'
            '    os._exit(3)\nprint(os.waitpid(pid, 0)[1])\n',
    'subprocess': 'import subprocess, sys\n'
                  'print(subprocess.run(["sh", "-c", "echo $0; ls /proc/self/fd; exit 4"],'
                  ' check=False, capture_output=True))\n'
                  'print(subprocess.run([sys.executable, "-c", "print(1)"], check=True,'
                  ' capture_output=True))\n',
    'pickle': 'import pickle\nclass A:\n    pass\nprint(type(pickle.loads(pickle.dumps(A()))))\n',
    'main': 'import __main__, inspect, sys\nprint(__main__ is sys.modules["__main__"], __main__)\n'
            'def f():\n    pass\nprint(inspect.getsource(f))\n',
    'warning': 'import warnings\nwarnings.warn("old")\n',
    'text': 'print("\\u00e9\\udce9")\n',
    'no_output': 'import sys\nsys.stdout = None\n',
    'killed': 'import os, signal\nprint("x", flush=True)\nos.kill(os.getpid(), signal.SIGSEGV)\n',
}
STREAMS = '''
import sys
for stream in sys.stdin, sys.stdout, sys.stderr, sys.__stdin__, sys.__stdout__, sys.__stderr__:
    print(stream, stream.errors, stream.line_buffering, stream.write_through, stream.newlines,
          stream.buffer, stream.name, stream.isatty(), stream.seekable())
'''
PERL = {
    'what_it_is': '''
print join("|", $0, __FILE__, __LINE__, __PACKAGE__, "@ARGV", $^W, ${^TAINT}), "\\n";
print map("$_=$ENV{$_}\\n", sort keys %ENV);
print scalar(caller) // "top", " ", getpgrp == $$, " ", umask, "\\n";
opendir D, "/proc/self/fd"; print join(" ", sort grep /\\d/, readdir D), "\\n";
print "$@|", $! + 0, "|$?|$;|$,|", defined $\\ ? 1 : 0, "|$|\\n";
''',
    'numbers': 'require "sys/syscall.ph"; print SYS_getpid();\n',
    'phases': 'BEGIN { print "b" } INIT { print "i" } CHECK { print "c" } END { print "e$?" }\n'
              'print "m"; exit 3;\n',
    'exit_in_end': 'END { $? = 7 }\ndie "x"\n',
    'die': 'sub f { die { a => 1 } } eval { f() }; print ref $@; die "reason\\n"\n',
    'die_errno': '$! = 0; open F, "<", "/nowhere" or die "no: $!";\n',
    'warn': 'warn "careful";\nprint 1;\n',
    'strict': 'use strict;\nmy $x = 1;\nprint $y;\n',
    'syntax': 'print 1\nprint 2;\n',
    'local_flush': '{ local $| = 1; print "a" } print "b"; exec "echo", "c";\n',
    'system': 'print "lost? "; system "echo x; ls /proc/self/fd; exit 3"; print $? >> 8;\n',
    'fork': 'my $pid = fork; if (!$pid) { exit 5 } waitpid $pid, 0; print $? >> 8;\n',
    'signal': '$SIG{USR1} = sub { print "got $_[0]" }; kill USR1 => $$; '
              'print map { "$_=$SIG{$_}" } grep { defined $SIG{$_} && !ref $SIG{$_} } keys %SIG;\n',
    'killed': '$| = 1; print "x"; kill SEGV => $$; sleep 10;\n',
    'data': 'print scalar <DATA>; seek DATA, 0, 0; print <DATA>;\n__END__\n1\n2\n',
    'data_word': 'print <DATA>;\n__DATA__\n1\n2\n',
    'included': 'use lib "."; require "./more.pl"; print more(), $INC{"./more.pl"};\n',
    'bin': 'use FindBin; print $FindBin::Bin, $FindBin::Script;\n',
    'stdin': 'local $/; print length <STDIN> // "";\n',
    'lines': 'print __LINE__; \n# line 40 "other"\ndie;\n',
    'filter': 'use Filter::Simple; BEGIN { print 1 }\nprint 2;\n',
    'shutdown': 'package A; sub DESTROY { print "gone ${^GLOBAL_PHASE}" } package main;\n'
                'our $a = bless []; my $b = bless [], "A";\n',
    'module': 'use JSON::PP; print encode_json([1]);\n',
}


def said(it, answer):
    """Its standard error, without addresses and without the one name that Perl can't be told."""
    text = answer.stderr.decode(errors='replace').replace(
        f'Execution of {it.path("template-perl")} aborted', 'Execution of SCRIPT aborted')
    return re.sub(r'Execution of \./\S+ aborted', 'Execution of SCRIPT aborted',
                  re.sub(r'0x[0-9a-f]+', '0x', text))


class SameAsCold(templates.Case):
    def compare_answers(self, it, name):
        cold, warm = [self.ask(it, name, pool=pool) for pool in ('cold', 'warm')]
        self.assertEqual(warm.stdout.decode(errors='replace'), cold.stdout.decode(errors='replace'))
        self.assertEqual(said(it, warm), said(it, cold))
        self.assertEqual(warm.app_status, cold.app_status)

    def compare(self, suffix, scripts, **pools):
        it = self.make_pools(**pools)
        it.put('cgi/more.pl', 'sub more { "more" } 1;\n')
        it.put('cgi/destroyed.py', 'import os\nclass A:\n    def name(self):\n        return "a"\n'
               '    def __del__(self):\n        print("gone", self.name(), os.sep)\na = A()\n')
        for name, text in scripts.items():
            self.script(it, name + suffix, text)
        it.launch().ready()
        for name in scripts:
            with self.subTest(name):
                self.compare_answers(it, name + suffix)
        self.assertEqual(it.log.find('is not run by the template|the template .* failed'), [])

    def compare_started(self, suffix, scripts, reason, **pools):
        """Scripts that the template leaves to the interpreter."""
        for name, text in scripts.items():
            with self.subTest(name):
                it = self.make_pools(**pools)
                with open(it.put(f'cgi/s{suffix}', '', 0o755), 'wb') as file:
                    file.write(text)
                it.launch().ready()
                self.compare_answers(it, 's' + suffix)
                it.wait_for_log(f'is not run by the template .*: {reason}')
                it.stop()

    def test_python(self):
        self.compare('.py', PYTHON)

    def test_python_without_buffers(self):
        self.compare('.py', {'streams': STREAMS, 'late': 'import os\nprint("x")\nos._exit(3)\n'},
                     both='environment = { "PYTHONUNBUFFERED=1" }')

    def test_python_with_a_safe_path(self):
        self.compare('.py', {'path': 'import sys\nprint(sys.path, sys.flags)\n'},
                     both='environment = { "PYTHONSAFEPATH=1" }')

    def test_python_with_a_locale_that_it_replaces(self):
        self.compare('.py', {'charset': 'import locale, os\nprint(os.environ["LC_CTYPE"], '
                             'locale.setlocale(locale.LC_ALL))\n'},
                     both='environment = { "LC_CTYPE=C" }')

    def test_perl_with_layers(self):
        scripts = {'layers': 'print join " ", map { PerlIO::get_layers($_) } *STDIN, *STDOUT, '
                             '*STDERR;\nopen F, "<", $0; print " ", PerlIO::get_layers(F);\n',
                   'text': 'print chr 233, "\n", chr 300; print STDERR chr 233;\n'}
        for variable in ('PERL_UNICODE=SD', 'PERL_UNICODE=', 'PERLIO=:unix:perlio:utf8',
                         'PERL5OPT=-CSDA'):
            with self.subTest(variable):
                self.compare('.pl', scripts, both=f'environment = {{ "{variable}" }}')

    def test_python_that_is_not_compiled(self):
        head = templates.HEAD['.py'].encode()
        archive = io.BytesIO(b'#!/usr/bin/python3\n')
        archive.seek(0, os.SEEK_END)
        with zipfile.ZipFile(archive, 'a') as file:
            file.writestr('__main__.py', templates.HEAD['.py'] + 'print(__file__)\n')
        scripts = {name: head + text for name, text in NOT_COMPILED.items()}
        self.compare_started('.py', scripts | {'archive': archive.getvalue()},
                             "it can't be compiled: ")

    def test_perl_that_must_be_started(self):
        text = b'print "Content-Type: a/b\\n\\n", $^W;\n'
        self.compare_started('.pl', {'arguments': b'#!/usr/bin/perl -ws\n' + text},
                             'it wants to be started with -ws')
        with open('/usr/bin/true', 'rb') as file:
            self.compare_started('.pl', {'program': file.read()}, 'it is no script')
        self.compare_started('.pl', {'utf8': b'\xef\xbb\xbf' + text},
                             'it begins with a byte order mark',
                             both_cgi='interpreter = { ".pl=/usr/bin/perl" }')

    def test_perl(self):
        self.compare('.pl', PERL)

    def test_example_in_ruby(self):
        it = self.make_pools(words={'.rb': 'template-ruby json'})
        example = os.path.join(templates.LIBEXEC, '../../conf/examples/template-ruby')
        with open(example, encoding='utf-8') as file:
            it.put('template-ruby', file.read(), 0o755)
        it.put('cgi/s.rb', '#!/usr/bin/ruby\nrequire "json"\nputs "Content-Type: text/plain", ""\n'
               'at_exit { puts "end" }\n$stderr.puts "said"\n'
               'puts [$0, __FILE__, ARGV, Dir.pwd, ENV.to_a.sort, $stdin.read.size].to_json\n'
               'puts Process.getpgrp == $$\nexit 3\n', 0o755)
        it.launch().ready()
        cold, warm, again = [self.ask(it, 's.rb', body=b'12345', pool=pool)
                             for pool in ('cold', 'warm', 'warm')]
        for answer in warm, again:
            self.assertEqual(answer.stdout, cold.stdout)
            self.assertEqual((answer.stderr, answer.app_status), (cold.stderr, 3))
        self.assertEqual(it.log.find('is not run by the template|the template .* failed'), [])

    def test_names_and_bodies(self):
        it = self.make_pools()
        body = bytes(range(256)) * 4000
        texts = {'é ü.py': 'import sys, hashlib\nprint(sys.argv)\n'
                           'print(hashlib.md5(sys.stdin.buffer.read()).hexdigest())\n',
                 'é ü.pl': 'use Digest::MD5; binmode STDIN; print "$0 ";\n'
                           'print Digest::MD5->new->addfile(*STDIN)->hexdigest;\n'}
        for name, text in texts.items():
            self.script(it, name, text)
        it.launch().ready()
        for name in texts:
            cold, warm = [self.ask(it, name, body=body, pool=pool) for pool in ('cold', 'warm')]
            self.assertEqual(warm.stdout, cold.stdout)
            self.assertEqual((warm.status, warm.app_status), (200, 0))

    def test_random_numbers_differ(self):
        it = self.make_pools()
        self.script(it, 'r.py', 'import os, random, ssl, uuid\n'
                    'print(random.random(), ssl.RAND_bytes(8), uuid.uuid4())\n')
        self.script(it, 'r.pl', 'print rand;\n')
        it.launch().ready()
        for name in ('r.py', 'r.pl'):
            answers = {bytes(self.ask(it, name).body) for _ in range(5)}
            self.assertEqual(len(answers), 5, name)

    def test_modules_that_print(self):
        """What a module prints when it is loaded is not in any answer."""
        it = self.make_pools('environment = { "PYTHONPATH=@DIR@", "PERL5LIB=@DIR@" }',
                             words={'.py': 'template-python prints', '.pl': 'template-perl Prints'})
        it.put('prints.py', 'print("loaded")\n')
        it.put('Prints.pm', 'print "Loaded";\n1;\n')
        self.script(it, 's.py', 'print("x")\n')
        self.script(it, 's.pl', 'print "x\n";\n')
        it.launch().ready()
        for name in ('s.py', 's.pl'):
            self.assertEqual(self.ask(it, name).stdout, b'Content-Type: text/plain\n\nx\n')
        it.wait_for_log('loaded')
        it.wait_for_log('Loaded')

    def test_modules_that_replace_streams(self):
        texts = {'wrapped': 'import io, sys\n'
                            'sys.stdout = io.TextIOWrapper(sys.stdout.buffer, "utf-8")\n',
                 'detached': 'import io, sys\n'
                             'sys.stdout = io.TextIOWrapper(sys.stdout.detach(), "latin-1")\n',
                 'encoded': 'import codecs, sys\n'
                            'sys.stdout = codecs.getwriter("latin-1")(sys.stdout.buffer)\n',
                 'configured': 'import sys\nsys.stdout.reconfigure(encoding="latin-1")\n'}
        for name, text in texts.items():
            with self.subTest(name):
                it = self.make_pools(both='environment = { "PYTHONPATH=@DIR@" }',
                                     words={'.py': f'template-python {name}'})
                it.put(name + '.py', text)
                self.script(it, 's.py', f'import os, sys, {name}\nprint("\\u00e9 a", flush=True)\n'
                            'os.system("echo b")\nprint("c", file=sys.stderr)\nprint("d")\n')
                it.launch().ready()
                for _ in range(2):
                    self.compare_answers(it, 's.py')
                it.stop()

    def test_modules_that_reap(self):
        """A module's handler of SIGCHLD is for the scripts: it takes no script's exit status."""
        modules = {
            'ignores.py': 'import signal\nsignal.signal(signal.SIGCHLD, signal.SIG_IGN)\n',
            'reaps.py': 'import os, signal\ndef reap(*_):\n    try:\n'
                        '        while os.waitpid(-1, 1)[0]:\n            pass\n'
                        '    except OSError:\n        pass\n'
                        'signal.signal(signal.SIGCHLD, reap)\n',
            'Ignores.pm': '$SIG{CHLD} = "IGNORE";\n1;\n',
            'Reaps.pm': '$SIG{CHLD} = sub { while (waitpid(-1, 1) > 0) {} };\n1;\n'}
        scripts = {'.py': 'import signal, {0}\nprint(signal.getsignal(signal.SIGCHLD) in ('
                          'signal.SIG_IGN, getattr({0}, "reap", 0)))\n{0}.x\n',
                   '.pl': 'use {0}; print $SIG{{CHLD}} =~ /IGNORE|CODE/ ? 1 : 0; exit 3;\n'}
        for module, text in modules.items():
            name, suffix = module.split('.')
            suffix = '.' + suffix.replace('m', 'l')
            with self.subTest(module):
                program = templates.MODULES[suffix].split()[0]
                it = self.make_pools(both='environment = { "PYTHONPATH=@DIR@", "PERL5LIB=@DIR@" }',
                                     words={suffix: f'{program} {name}'})
                it.put(module, text)
                self.script(it, 's' + suffix, scripts[suffix].format(name))
                it.launch().ready()
                for _ in range(3):
                    self.compare_answers(it, 's' + suffix)
                it.stop()

    def test_modules_with_a_hook_for_errors(self):
        """Perl's hook for errors is not called for the template's own."""
        it = self.make_pools('environment = { "PERL5LIB=@DIR@" }',
                             words={'.pl': 'template-perl Hooks'})
        it.put('Hooks.pm', '$SIG{__DIE__} = sub { print STDERR "hook @_"; exit 3 };\n1;\n')
        it.put('cgi/t.pl', '#!/usr/bin/perl -T\nprint "Content-Type: a/b\\n\\n";', 0o755)
        self.script(it, 's.pl', 'die "x\\n"')
        it.launch().ready()
        self.assertEqual(self.ask(it, 't.pl').status, 200)
        self.assertEqual(self.ask(it, 's.pl').stderr, b'hook x\n')
        self.assertEqual(it.log.find('the template .* failed'), [])

    def test_changed_script(self):
        """A changed script, and a link that leads to another file now."""
        it = self.make_pools()
        it.launch().ready()
        for number in range(3):
            for suffix in ('.py', '.pl'):
                self.script(it, 's' + suffix, f'print({number})\n')
                self.assertEqual(self.ask(it, 's' + suffix).body.strip(), b'%d' % number)

    def test_module_that_prepares_and_ends(self):
        """As the manual proposes: the prepared state is there, and the module's END block runs
        last."""
        it = self.make_pools('environment = { "PERL5LIB=@DIR@" }',
                             words={'.pl': 'template-perl Prepared'})
        it.put('Prepared.pm', 'package Prepared;\nuse IO::Handle;\nuse POSIX ();\nour $n = 7;\n'
               'END { STDOUT->flush; STDERR->flush; POSIX::_exit($?) }\n1;\n')
        self.script(it, 's.pl', 'package A; sub DESTROY { print "destroyed" } package main;\n'
                    'our $a = bless [], "A"; END { print "end $?" }\nprint $Prepared::n; exit 3;\n')
        it.launch().ready()
        answer = self.ask(it, 's.pl')
        self.assertEqual((bytes(answer.body), answer.app_status), (b'7end 3', 3))

    def test_switch_that_only_a_start_can_have(self):
        it = self.make_pools()
        it.put('cgi/t.pl', '#!/usr/bin/perl -wT\nprint "Content-Type: a/b\\n\\n${^TAINT}";\n',
               0o755)
        it.launch().ready()
        self.assertEqual(self.ask(it, 't.pl').body, b'1')
        it.wait_for_log('is not run by the template .*-perl: it wants to be started with -wT')

    def test_much_output_and_a_client_that_leaves(self):
        it = self.make_pools()
        self.script(it, 'much.py', 'import sys, os\nfor i in range(1000):\n'
                    '    sys.stdout.write("x" * 65536)\n')
        it.launch().ready()
        self.assertEqual(len(self.ask(it, 'much.py').body), 1000 * 65536)
        before = self.parent(it)
        with it.connect('warm') as connection:
            connection.sendall(fastcgi.whole(self.params(it, 'much.py')))
            connection.recv(100)
        self.assertEqual(self.parent(it), before)


if __name__ == '__main__':
    daemon.main()
