"""What a worker becomes before it touches a connection, as its program sees it."""

import grp
import os
import pwd
import re
import resource

import client
import daemon
import processes
from daemon import shell


class Becoming(daemon.Case):
    def answer(self, script, options, **more):
        it = self.make(shell(script, options), **more)
        os.makedirs(it.path('jail/tmp'), exist_ok=True)
        it.launch().ready()
        return client.ask(it.address('x')).decode().strip()

    def test_umask(self):
        self.assertRegex(self.answer('umask', 'umask = 027'), r'^0*27$')

    def test_umask_by_default(self):
        self.assertRegex(self.answer('umask', ''), r'^0*22$')

    def test_nice(self):
        self.assertEqual(self.answer('nice', f'nice = {os.nice(0) + 7}'), str(os.nice(0) + 7))

    def test_directory(self):
        self.assertEqual(self.answer('pwd', 'directory = "/usr/lib"'), '/usr/lib')

    def test_limits(self):
        text = self.answer('ulimit -n; ulimit -Hn; ulimit -c; ulimit -t; ulimit -v',
                           'limits { nofile = 77 core = 0 cpu = 100 ' +
                           ('' if daemon.sanitized() else 'as = 512M ') + '}')
        soft, hard, core, cpu, space = text.split()
        self.assertEqual((soft, hard, core, cpu), ('77', '77', '0', '100'))
        self.assertIn(space, ('524288', 'unlimited'))

    def test_limit_of_open_files_is_the_starters(self):
        """The master may raise its own, its workers get back what it was started with."""
        self.assertEqual(self.answer('ulimit -n', ''),
                         str(resource.getrlimit(resource.RLIMIT_NOFILE)[0]))

    @daemon.needs_root
    def test_negative_nice(self):
        self.assertEqual(self.answer('nice', 'nice = -3'), '-3')

    @daemon.needs_root
    def test_user_and_group(self):
        user = pwd.getpwnam('daemon')
        text = self.answer('id -u; id -g; id -ru; id -rg', 'user = "daemon" group = "games"')
        gid = grp.getgrnam('games').gr_gid
        self.assertEqual(text.split(), [str(user.pw_uid), str(gid)] * 2)

    @daemon.needs_root
    def test_group_and_groups_are_the_users_own(self):
        user = pwd.getpwnam('daemon')
        text = self.answer('id -g; id -G; env', 'user = "daemon"')
        lines = text.splitlines()
        self.assertEqual(lines[0], str(user.pw_gid))
        self.assertEqual(sorted(map(int, lines[1].split())),
                         sorted(os.getgrouplist('daemon', user.pw_gid)))
        self.assertIn(f'HOME={user.pw_dir}', lines)
        self.assertIn('LOGNAME=daemon', lines)

    @daemon.needs_root
    def test_no_way_back_to_root(self):
        text = self.answer('cat /proc/self/status', '')
        shown = dict(re.findall(r'(?m)^(\w+):\t(.*)$', text))
        uid = str(pwd.getpwnam(daemon.USER).pw_uid)
        self.assertEqual(shown['Uid'].split(), [uid] * 4)
        self.assertEqual(int(shown['CapEff'], 16) | int(shown['CapPrm'], 16), 0)

    @daemon.needs_root
    def test_chroot(self):
        """With a shell in it, since a program is looked for within."""
        it = self.make('pool "x" { listen = { "systemd:x" } workers = 1 chroot = "@DIR@/jail"\n'
                       'directory = "/tmp" exec { command = { "/bin/sh", "-c", '
                       '"echo *; pwd; cd /; echo *" } } }')
        os.makedirs(it.path('jail/tmp/deep'))
        processes.copy_program('/bin/sh', it.path('jail'), '/bin/sh')
        it.launch().ready()
        names = ' '.join(sorted(os.listdir(it.path('jail'))))
        self.assertEqual(client.ask(it.address('x')).decode(), f'deep\n/tmp\n{names}\n')

    @daemon.needs_root
    def test_chroot_of_a_handler_inside(self):
        it = self.make('pool "x" { listen = { "systemd:x" } workers = 1 chroot = "@DIR@/jail"\n'
                       'echo {} }')
        os.makedirs(it.path('jail'))
        it.launch().ready()
        worker, = it.workers()
        self.assertEqual(os.readlink(f'/proc/{worker}/root'), it.path('jail'))
        self.assertEqual(client.ask(it.address('x'), b'x'), b'x')


if __name__ == '__main__':
    daemon.main()
