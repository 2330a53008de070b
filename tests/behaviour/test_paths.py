"""Paths in directories where others may write: root acts on nothing but what it made. Listeners
that vanish, or that a program shut down, are seen and opened again."""

import os
import re
import shutil
import socket
import stat
import subprocess
import threading

import client
import daemon
import processes
import wording
from processes import wait_until

PYTHON = shutil.which('python3', path='/usr/bin:/bin') or '/usr/bin/python3'


def pool(listen, options='', name='echo', workers=2, handler='echo {}'):
    return (f'pool "{name}" {{ listen = {{ {listen} }} workers = {workers} {options}\n'
            f'{handler} }}\n')


CONTROL = 'control = "@DIR@/control"\n'
OPEN = 'socket_mode = 0666'

EXCHANGER = '''
import os, sys, time
os.chdir(sys.argv[1])
end = time.monotonic() + 60
print('begins', flush=True)
while time.monotonic() < end and not os.path.exists('enough'):
    for a, b in (('s', 'real'), ('link', 's'), ('s', 'link'), ('real', 's')):
        try:
            os.rename(a, b)
        except FileNotFoundError:
            pass
'''


def as_user(*command, **more):
    """Runs it as the user that the pool's workers are."""
    return subprocess.run(command, user=daemon.USER, group=daemon.GROUP, extra_groups=[],
                          check=True, timeout=daemon.PATIENCE, **more)


@daemon.needs_root
class Trust(daemon.Case):
    """The directory belongs to the pool's user, who turns against the daemon."""

    def begin(self, config, **arguments):
        it = self.make(config, **arguments)
        os.mkdir(it.path('d'))
        os.chown(it.path('d'), 65534, 65534)
        it.put('secret', 'secret\n', mode=0o640)
        self.before = self.secret(it)
        return it

    def secret(self, it):
        seen = os.stat(it.path('secret'))
        return seen.st_mode, seen.st_uid, seen.st_gid, seen.st_size

    def put_link(self, it, name='s'):
        as_user('/bin/ln', '-sfn', it.path('secret'), it.path(f'd/{name}'))

    def test_a_reload_does_nothing_behind_a_link(self):
        config = pool('"unix:@DIR@/d/s"', OPEN)
        it = self.begin(config).launch().ready()
        it.announce(wording.UNREACHABLE, wording.STILL_LOST)
        self.put_link(it)
        for _ in range(3):
            it.reload(config)
            self.assertEqual(self.secret(it), self.before)
        it.reload(config.replace('0666', '0600'))
        self.assertEqual(self.secret(it), self.before)
        it.stop()
        self.assertTrue(os.path.islink(it.path('d/s')))

    def test_nor_for_the_control_socket(self):
        config = 'control = "@DIR@/d/s"\n' + pool('"systemd:echo"')
        it = self.begin(config).launch().ready()
        it.announce(wording.UNREACHABLE, wording.STILL_LOST)
        self.put_link(it)
        it.reload(config)
        self.assertEqual(self.secret(it), self.before)

    def test_nor_in_a_race(self):
        config = pool('"unix:@DIR@/d/s"', OPEN)
        it = self.begin(config).launch().ready()
        it.announce(wording.UNREACHABLE, wording.STILL_LOST)
        as_user('/bin/ln', '-s', it.path('secret'), it.path('d/link'))
        other = subprocess.Popen([PYTHON, '-c', EXCHANGER, it.path('d')],
                                 user=daemon.USER, group=daemon.GROUP, stdout=subprocess.PIPE)
        processes.OURS.add(other.pid)
        self.addCleanup(other.wait)
        self.addCleanup(other.kill)
        self.addCleanup(other.stdout.close)
        self.assertEqual(other.stdout.readline(), b'begins\n')
        for number in range(60):
            it.reload(config.replace('0666', '0660') if number % 2 else config)
            self.assertEqual(self.secret(it), self.before, f'at reload {number}')
        as_user('/bin/touch', it.path('d/enough'))

    def test_a_stale_socket_is_unlinked_where_it_was_found(self):
        """The way to it is exchanged, all the time, against one to a file of the same name."""
        it = self.begin(pool('"unix:@DIR@/d/way/s"'))
        for name in ('d/mine', 'd/theirs'):
            os.mkdir(it.path(name))
            os.chown(it.path(name), 65534, 65534)
        it.put('d/theirs/s', 'precious\n')
        for name, target in (('a', 'mine'), ('b', 'theirs')):
            os.symlink(target, it.path(f'd/{name}'))
        os.symlink('mine', it.path('d/way'))
        enough = threading.Event()

        def exchange():
            for _ in range(10**7):
                if enough.is_set():
                    return
                for name, target in (('b', 'theirs'), ('a', 'mine')):
                    os.rename(it.path(f'd/{name}'), it.path('d/way'))
                    os.symlink(target, it.path(f'd/{name}'))
        thread = threading.Thread(target=exchange, daemon=True)
        thread.start()
        try:
            for number in range(60):
                if not os.path.lexists(it.path('d/mine/s')):
                    daemon.listen_unix(it.path('d/mine/s')).close()
                with subprocess.Popen([daemon.BINARY, '-e', '-c', it.file], text=True,
                                      stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                      stderr=subprocess.PIPE) as child:
                    processes.OURS.add(child.pid)
                    for line in child.stderr:
                        if re.search(wording.READY, line):
                            child.terminate()
                self.assertTrue(os.path.exists(it.path('d/theirs/s')), f'at start {number}')
        finally:
            enough.set()
            thread.join(daemon.PATIENCE)

    def pid_file_refused(self, it):
        it.announce("can't start: .*no pid file of ours|can't start: .*Too many levels")
        it.launch()
        self.assertEqual(it.exited(), 3)
        self.assertEqual(self.secret(it), self.before)

    def test_pid_file_is_a_link(self):
        it = self.begin(pool('"systemd:echo"'), arguments=['-p', '@DIR@/d/pid'])
        self.put_link(it, 'pid')
        self.pid_file_refused(it)

    def test_pid_file_is_another_name_of_a_file_of_ours(self):
        it = self.begin(pool('"systemd:echo"'), arguments=['-p', '@DIR@/d/pid'])
        it.put('secret', '1\n', mode=0o640)
        self.before = self.secret(it)
        os.link(it.path('secret'), it.path('d/pid'))
        self.pid_file_refused(it)
        with open(it.path('secret'), encoding='ascii') as file:
            self.assertEqual(file.read(), '1\n')

    def test_pid_file_is_somebody_elses(self):
        """Who could write another number into it, for others to kill."""
        it = self.begin(pool('"systemd:echo"'), arguments=['-p', '@DIR@/d/pid'])
        as_user('/bin/touch', it.path('d/pid'))
        self.pid_file_refused(it)

    def test_pid_file_that_was_exchanged_is_left_alone(self):
        it = self.begin(pool('"systemd:echo"'), arguments=['-p', '@DIR@/d/pid']).launch().ready()
        self.put_link(it, 'pid')
        it.stop()
        self.assertTrue(os.path.islink(it.path('d/pid')))
        self.assertEqual(self.secret(it), self.before)

    def test_a_reload_that_changes_nothing_does_nothing(self):
        config = CONTROL + pool('"unix:@DIR@/s"', OPEN)
        it = self.start(config)
        names = 'chmod,fchmod,fchmodat,chown,fchown,lchown,fchownat,unlink,unlinkat,bind'
        trace = subprocess.Popen(['strace', '-q', '-e', 'trace=' + names, '-p', str(it.pid),
                                  '-o', it.path('trace')])
        processes.OURS.add(trace.pid)
        self.addCleanup(trace.kill)
        wait_until(lambda: processes.status(it.pid)['TracerPid'] != '0' or trace.poll(), 'strace')
        if trace.poll():
            self.skipTest('strace can not trace here')
        it.reload(config)
        it.reload(config.replace('0666', '0600'))
        trace.terminate()
        trace.wait(daemon.PATIENCE)
        with open(it.path('trace'), encoding='utf-8') as file:
            calls = re.findall(r'(?m)^\w+(?=\()', file.read())
        self.assertEqual(calls, ['chmod'])  # that of the second one
        self.assertEqual(stat.S_IMODE(os.stat(it.path('s')).st_mode), 0o600)

    def test_owner_and_mode_change_in_place(self):
        config = pool('"unix:@DIR@/s"', 'socket_mode = 0601')
        it = self.start(config)
        inode = os.stat(it.path('s')).st_ino
        it.reload(config.replace('0601', '0640 socket_user = "root" socket_group = "daemon"'))
        seen = os.stat(it.path('s'))
        self.assertEqual((seen.st_ino, stat.S_IMODE(seen.st_mode), seen.st_uid, seen.st_gid),
                         (inode, 0o640, 0, 1))


if __name__ == '__main__':
    daemon.main()
