"""Mistakes of people who come from other daemons: each is reported once, at its line, with what to
write instead."""

import os
import re

import daemon

# `make` puts a line before a pool: it starts in line 2, and the mistake is in line 5.
POOL = 'pool "p" {{\nlisten = {{ "unix:/tmp/x" }}\nworkers = 1\n{}\n}}\n'
NO_LISTEN = 'pool "p" {{\nworkers = 1\necho {{}}\n{}\n}}\n'
NO_SIZE = 'pool "p" {{\nlisten = {{ "unix:/tmp/x" }}\necho {{}}\n{}\n}}\n'


def echo(line):
    return POOL.format('echo {} ' + line)


# Mistakes, and [line, pattern] of the report.
MISTAKES = {
    # xinetd and inetd
    'service finger { user = "nobody" }\n' + echo(''): [1, 'pool "NAME"'],
    echo('disable = "no"'): [4, 'disable.*comment'],
    echo('socket_type = "stream"'): [4, 'socket_type.*stream'],
    echo('protocol = "udp"'): [4, 'protocol.*stream, TCP or Unix'],
    echo('wait = "no"'): [4, r'exec \{ \} is "nowait"'],
    POOL.format('server = "/bin/cat"'): [4, r'server.*exec \{ command = \{'],
    POOL.format('exec { command = { "/bin/cat" } server_args = "-u" }'): [4, 'behind the program'],
    echo('only_from = { "192.0.2.0/24" }'): [4, 'only_from.*allow'],
    echo('no_access = { "192.0.2.0/24" }'): [4, 'no_access.*deny'],
    NO_SIZE.format('instances = 60'): [4, 'instances.*workers.*max_workers'],
    echo('per_source = 5'): [4, 'max_per_source'],
    echo('cps = { 50, 10 }'): [4, 'rate_per_source'],
    NO_LISTEN.format('bind = "127.0.0.1"'): [4, r'listen = \{ "HOST:PORT" \}'],
    NO_LISTEN.format('port = 79'): [4, r'listen = \{ "HOST:PORT" \}'],
    'includedir "/etc/xinetd.d"\n' + echo(''): [1, r'include\("DIRECTORY/\*"\)'],
    echo('log_on_success = "PID HOST"'): [4, 'log_connections'],
    # nginx and other web servers
    echo('umask = 022;'): [4, 'no semicolon.*umask = 022$'],
    echo('umask 022'): [4, 'expected = and a value'],
    POOL.format('echo {};'): [4, 'no semicolon is needed'],
    'worker_processes = 4\n' + echo(''): [1, 'each pool has its own workers'],
    echo('keepalive_timeout = 65'): [4, 'idle_timeout'],
    'error_log = "/var/log/preforkd.log"\n' + echo(''): [1, 'syslog'],
    'pid = "/run/preforkd.pid"\n' + echo(''): [1, 'preforkd -p FILE'],
    'daemon = "off"\n' + echo(''): [1, 'preforkd -d'],
    'include pools.d/*.conf\n' + echo(''): [1, r'include\("PATTERN"\)'],
    echo('allow = { "all" }'): [4, '0.0.0.0/0'],
    echo('allow = { "localhost" }'): [4, 'names are not looked up'],
    echo('allow = { "192.0.2.0/255.255.255.0" }'): [4, '255.255.255.0 is /24'],
    echo('tls { certificate = "x" }'): [4, 'HAProxy or stunnel'],
    # addresses
    POOL.replace('unix:/tmp/x', '80').format('echo {}'): [2, r'\*:80'],
    POOL.replace('unix:/tmp/x', '/run/p').format('echo {}'): [2, 'unix:/run/p'],
    POOL.replace('unix:/tmp/x', 'tcp://h:1').format('echo {}'): [2, 'HOST:PORT, without tcp:'],
    POOL.replace('unix:/tmp/x', 'udp:h:1').format('echo {}'): [2, 'stream'],
    # PHP's FPM
    NO_SIZE.format('pm = "dynamic"'): [4, 'pm.*min_workers and max_workers'],
    NO_SIZE.format('max_children = 5'): [4, 'max_workers'],
    NO_SIZE.format('pm.max_children = 5'): [4, 'max_workers'],
    echo('start_servers = 2'): [4, 'min_workers'],
    echo('request_terminate_timeout = 30'): [4, 'request_timeout'],
    echo('listen.owner = "www-data"'): [4, 'socket_user'],
    echo('listen_mode = 0660'): [4, 'socket_mode'],
    '[www]\n' + echo(''): [1, r'pool "NAME" \{'],
    '; a comment\n' + echo(''): [1, 'comment begins with # or //'],
    echo('chdir = "/"'): [4, 'directory'],
    echo('env = { "A=b" }'): [4, r'environment = \{ "NAME=VALUE" \}'],
    echo('rlimit_files = 1024'): [4, r'limits \{ nofile = N \}'],
    # whole files of others: what it is, and where its translation stands
    'service x { user = "nobody" }\n' + echo(''): [1, r'preforkd-handlers\(7\), FROM XINETD$'],
    'finger stream tcp nowait nobody /x x\n': [1, r'of inetd\.conf.*\(7\), FROM INETD$'],
    '[global]\npid = /x\n': [1, r'ini file.*pool "NAME".*\(7\), From php-fpm$'],
    '[program:x]\n': [1, r'supervisord.*\(7\), From supervisord.s fcgi-program$'],
    '[Unit]\n': [1, r'unit of systemd.*\(7\), FROM ACCEPT=YES$'],
    '<VirtualHost *:80>\n': [1, r'Apache, or XML.*NAME \{ \.\.\. \}$'],
    'StartServers 5\n': [1, 'unexpected 5 behind StartServers.*write min_workers$'],
    'events { }\n' + echo(''): [1, 'each pool has its own workers'],
    NO_SIZE.format('pm = dynamic'): [4, r'max_workers.*preforkd-handlers\(7\), From php-fpm$'],
    POOL.replace('unix:/tmp/x', 'unix:/etc/passwd').format('echo {}'): [2, 'a file that is not a'],
    'control = "/etc/passwd"\n' + echo(''): [1, 'control "/etc/passwd": a file that is not a'],
    POOL.format('exec = "/bin/x"'): [4, r'exec is a section: exec \{ \.\.\. \}$'],
    echo('user = "nosuch"'): [4, 'no user "nosuch"; the handler is checked once there is one$'],
    ''.join(f'pool "{i}" {{ listen = "unix:/tmp/x{i}" workers = 1 echo {{}} }}\n'
            for i in range(300)): [257, '44 pools too many: at most 256 are possible$'],
    ''.join(f'pool "{i}" {{ workers = 1 echo {{}} listen = {{ ' +
            ', '.join(f'"unix:@{i}.{k}"' for k in range(128)) + ' } }\n'
            for i in range(34)): [33, '256 addresses too many: at most 4096 are possible$'],
    # shells, YAML, JSON, word processors
    POOL.format('exec { command = { "/bin/cat -u" } }'): [4, r'\{ "/bin/cat", "ARGUMENT" \}'],
    POOL.format('exec { command = { "~/bin/x" } }'): [4, 'absolute path; ~ and'],
    echo('umask: 022'): [4, 'NAME = VALUE'],
    echo('environment = [ "A=1", "B=2" ]'): [4, r'braces: environment = \{'],
    echo('directory = \u201c/\u201d'): [4, r'in " or \''],
    echo('request_timeout = "1m"'): [4, 'number of seconds'],
    # values that are missing, or that are too many
    POOL.format('echo {}\nnice'): [5, 'nice is not complete; write nice = VALUE'],
    POOL.format('echo {}\nnice =\n'): [5, 'nice = has no value; write nice = VALUE'],
    POOL.format('nice\necho {}'): [4, 'nice is not complete'],
    POOL.format('nice =\necho {}'): [4, 'nice = has no value'],
    POOL.format('nice\numask = 022\necho {}'): [4, 'nice is not complete'],
    POOL.format('nice =\numask = 022\necho {}'): [4, 'nice = has no value'],
    POOL.format('exec {\ncommand\nstderr = "log" }'): [5, 'command is not complete'],
    'user\n' + echo(''): [1, 'user is not complete'],
    'user =\n' + echo(''): [1, 'user = has no value'],
    'user =\ninclude("x")\n' + echo(''): [1, 'user = has no value'],
    'user =\nlog {}\n' + echo(''): [1, 'user = has no value'],
    'log {\nlevel\n}\n' + echo(''): [2, 'level is not complete'],
    'log {\nlevel =\n}\n' + echo(''): [2, 'level = has no value'],
    'include\n' + echo(''): [1, r'include is written include\("PATTERN"\)'],
    echo('nice = 4,'): [4, r'comma .* list: nice = \{ 4, \.\.\. \}'],
    echo('allow = "192.0.2.1", "192.0.2.2"'): [4, r'allow = \{ "192.0.2.1", \.\.\. \}'],
    echo('environment = A=b'): [4, 'value with = in it stands in quotes'],
    echo('nice = ""'): [4, 'nice is empty; it takes a number from -20 to 19$'],
    echo('chroot = ""'): [4, 'chroot is empty; it takes a text of 1 to 4095 bytes$'],
    echo('allow = { }'): [4, 'allow is empty; it takes a list of 1 to 16384 values$'],
    echo('nice = 4 5'): [4, 'nice = 4 is followed by a second value, 5;'],
    echo('allow = "192.0.2.1" "192.0.2.2"'): [4, 'a second value, "192.0.2.2"; only a list'],
    echo('nice { 5 }'): [4, 'options, not 5; if nice is an option, write nice = '],
    echo('allow { "192.0.2.1" }'): [4, 'not "192.0.2.1"; if allow is .* or allow = {'],
    POOL.format('exec = { command = "/bin/cat" }'): [4, 'exec is a section, write exec {'],
    POOL.replace('"p"', 'a b').format('echo {}'): [1, 'unexpected "b"; expected { behind'],
    'include { "x" }\n' + echo(''): [1, r'include is written include\("PATTERN"\)'],
    # the wrong section
    'stderr = "log"\n' + echo(''): [1, r'it belongs in exec \{ \} or cgi \{ \}$'],
    'level = "info"\n' + echo(''): [1, r'it belongs in log \{ \}$'],
    'nofile = 99\n' + echo(''): [1, r'it belongs in limits \{ \}$'],
    'workers = 1\n' + echo(''): [1, 'it belongs in a pool$'],
    'limits { nofile = 99 }\n' + echo(''): [1, 'it belongs in a pool$'],
    'log { user = "nobody" }\n' + echo(''): [1, 'log: .*it belongs outside of all pools$'],
    'log { workers = 1 }\n' + echo(''): [1, 'log: .*it belongs in a pool$'],
    echo('control = "/x"'): [4, 'it belongs outside of all pools$'],
    echo('level = "info"'): [4, r'it belongs in log \{ \}$'],
    POOL.format('root = "/srv"'): [4, r'it belongs in cgi \{ \}$'],
    POOL.format('stderr = "log" exec { command = "/bin/cat" }'): [4, r'in exec \{ \} or cgi'],
    POOL.format('exec { command = "/bin/cat" root = "/" }'): [4, r'exec: .*in cgi \{ \}$'],
    POOL.format('exec { command = "/bin/cat" nofile = 9 }'): [4, r'exec: .*in limits \{ \}$'],
    POOL.format('exec { command = "/bin/cat" umask = 022 }'): [4, 'exec: .*in the pool itself$'],
    POOL.format('echo { roll_at_once = 2 }'): [4, r'echo: .*in app \{ \}$'],
    # preforkd itself
    POOL.format('handler = "echo"'): [4, r'section, such as echo \{\}'],
    POOL.format('echo'): [4, r'echo is not complete'],
    POOL.format('Echo {}'): [4, 'did you mean "echo"'],
    POOL.replace('listen =', 'Listen =').format('echo {}'): [2, 'did you mean "listen"'],
    POOL.replace('pool "p"', 'pool = "p"').format('echo {}'): [1, r'pool "NAME" \{ ... \}, with'],
    echo('user = "nobody:nogroup"'): [4, 'two options'],
    'log_level = "debug"\n' + echo(''): [1, r'log \{ level'],
    'log = "syslog"\n' + echo(''): [1, r'log \{ ... \}'],
    echo('nofile = 512'): [4, r'limits \{ \}'],
}


class Mistakes(daemon.Case):
    def test_each_is_told_once_at_its_line_with_its_cure(self):
        for text, (line, pattern) in MISTAKES.items():
            with self.subTest(text):
                it = self.make(text)
                done = self.run_preforkd('-t', '-c', it.file)
                said = done.stderr.splitlines()
                self.assertEqual((done.returncode, len(said)), (1, 1), done.stderr)
                self.assertRegex(said[0], rf'^{re.escape(it.file)}:{line}: .*({pattern})')

    def test_no_value_at_the_end_of_the_file(self):
        for text in ('user', 'user\n', 'user =', 'user =\n\n', 'pool "p" { workers',
                     'pool "p" { workers =\n'):
            with self.subTest(text):
                it = self.make('', prelude=False)
                it.put('preforkd.conf', text)
                said = self.run_preforkd('-t', '-c', it.file).stderr
                self.assertRegex(said, r'conf:1: (user|workers) (is not complete|= has no value);')
                self.assertEqual(said.count('\n'), 1, said)

    def test_a_file_at_the_path_of_a_running_listener(self):
        """Whoever may write to the directory can put one there, and must not stop a reload."""
        it = self.start('pool "p" { listen = { "unix:@DIR@/p" } workers = 1 echo {} }\n')
        it.announce('warning')
        os.unlink(it.path('p'))
        it.put('p', '')
        it.reload()
        self.assertEqual(self.run_preforkd('-t', '-c', it.file).returncode, 1)

    def test_a_word_with_a_semicolon_is_no_user(self):
        """`user = nobody;` names no such user: it is a typing mistake."""
        it = self.make(echo('ident = foo;').replace('ident', 'group'))
        self.assertRegex(self.run_preforkd('-t', '-c', it.file).stderr, 'no semicolon')

    def test_two_mistakes_are_both_told(self):
        """An error that hides what is missing hides no other error."""
        it = self.make('pool "p" {\nport = 7\n}\n')
        said = self.run_preforkd('-t', '-c', it.file).stderr
        for pattern in ('listen =', 'size is missing', 'no section names the handler'):
            self.assertRegex(said, pattern)
        self.assertNotIn('"listen" is missing', said)

    def test_each_sound_pool_has_its_handler_checked(self):
        """A mistake elsewhere doesn't hide what the handler of a sound pool finds."""
        pool = ('pool "{0}" {{ listen = "unix:@{0}" workers = 1 {1} '
                'exec {{ command = "/none" }} }}\n')
        lines = pool.format('a', '') + pool.format('b', 'nice = 99') + pool.format('c', '')
        it = self.make('graceful_timeout = -1\n' + lines)
        said = self.run_preforkd('-t', '-c', it.file).stderr
        self.assertEqual(said.count('\n'), 4, said)
        for pattern in ("pool a: exec: the pool's user can't find the program /none",
                        'pool b: nice', 'pool c: exec', 'graceful_timeout'):
            self.assertIn(pattern, said)
        wrong_for_all = [lines + 'pool "d" {'] + daemon.ROOT * ['user = "nosuch"\n' + lines]
        for broken in wrong_for_all:
            it.put('preforkd.conf', broken)
            said = self.run_preforkd('-t', '-c', it.file).stderr
            self.assertNotIn('/none', said)


if __name__ == '__main__':
    daemon.main()
