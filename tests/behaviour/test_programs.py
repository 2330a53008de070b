"""Programs that people run over a socket: what goes in comes out."""

import filecmp
import http.client
import os
import random
import shutil
import socket
import subprocess
import unittest

import client
import daemon
from daemon import shell

needs_rsync = unittest.skipUnless(shutil.which('rsync'), 'no rsync here')
needs_git = unittest.skipUnless(shutil.which('git'), 'no git here')
SSHD = '/usr/sbin/sshd'
TCPD = '/usr/sbin/tcpd'
BUSYBOX = shutil.which('busybox', path='/bin:/usr/bin')


def make_tree(directory):
    """A tree with files of all sizes and names, empty directories, links, modes and old times."""
    choose = random.Random(4711)
    for number in range(120):
        folder = os.path.join(directory, *(f'd{choose.randrange(4)}' for _ in range(number % 4)))
        os.makedirs(folder, exist_ok=True)
        path = os.path.join(folder, f'file {number}\u00fc')
        with open(path, 'wb') as file:
            file.write(choose.randbytes(choose.choice((0, 1, 4095, 4096, 70000, 300000))))
        os.chmod(path, choose.choice((0o644, 0o600 | 0o044, 0o755)))
        os.utime(path, (1000000000 + number, 1000000000 + number))
    os.makedirs(os.path.join(directory, 'empty'))
    os.symlink('d1/nowhere', os.path.join(directory, 'link'))


def look(directory):
    """{path: type, mode, content} of a tree."""
    found = {}
    for folder, folders, files in os.walk(directory):
        for name in folders + files:
            path = os.path.join(folder, name)
            here = os.lstat(path)
            if os.path.islink(path):
                what = os.readlink(path)
            elif os.path.isdir(path):
                what = 'directory'
            else:
                what = (here.st_size, int(here.st_mtime))
            found[os.path.relpath(path, directory)] = (oct(here.st_mode), what)
    return found


class Programs(daemon.Case):
    def same_trees(self, one, other):
        seen = look(one)
        self.assertEqual(seen, look(other))
        for path, (_, what) in seen.items():
            if isinstance(what, tuple):
                self.assertTrue(filecmp.cmp(os.path.join(one, path), os.path.join(other, path),
                                            shallow=False), path)

    def run_quietly(self, *command, **more):
        done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False,
                              **more)
        self.assertEqual(done.returncode, 0, f'{command}: {done.stdout}{done.stderr}')
        return done.stdout

    @daemon.needs_root
    @unittest.skipUnless(os.path.exists(TCPD), 'no tcpd here')
    def test_tcpd(self):
        """tcpd takes the program from its argument 0, and access rules from hosts.allow, for which
        the daemon has its own mount namespace."""
        it = self.make('pool "x" { listen = { "systemd:x" } workers = 2 exec { command = {\n'
                       f'"/bin/bash", "-c", "exec -a @DIR@/in.greet {TCPD}" }} }} }}')
        it.put('hosts.allow', 'in.greet: 127.0.0.1\n')
        it.put('hosts.deny', 'ALL: ALL\n')
        it.put('in.greet', '#!/bin/sh\necho hello\n', mode=0o755)
        it.program = it.put('inside', (
            '#!/bin/sh\nexec unshare -m sh -c \'mount --make-rprivate / &&\n'
            'mount --bind @DIR@/hosts.allow /etc/hosts.allow &&\n'
            'mount --bind @DIR@/hosts.deny /etc/hosts.deny &&\n'
            f'exec {daemon.BINARY} "$@"\' sh "$@"\n'), mode=0o755)
        it.launch().ready()
        for source, answer in (('127.0.0.1', b'hello\n'), ('127.0.0.2', b'')):
            with socket.create_connection(it.address('x'), client.PATIENCE,
                                          (source, 0)) as connection:
                self.assertEqual(client.read_all(connection), answer)

    @needs_rsync
    def test_rsync(self):
        it = self.make('pool "x" { listen = { "systemd:x" } workers = 4\n'
                       'exec { command = { "/usr/bin/rsync", "--daemon", '
                       '"--config=@DIR@/rsyncd.conf" } } }')
        it.put('rsyncd.conf', 'use chroot = no\nlog file = /dev/null\n'
                              '[tree]\npath = @DIR@/tree\n')
        make_tree(it.path('tree'))
        it.launch().ready()
        host, port = it.address('x')
        url = f'rsync://{host}:{port}'
        self.assertIn('tree', self.run_quietly('rsync', url + '/'))
        self.run_quietly('rsync', '-rlpt', '--checksum', url + '/tree/', it.path('copy'))
        self.same_trees(it.path('tree'), it.path('copy'))
        with open(it.path('tree/file 0\u00fc'), 'ab') as file:  # makes rsync send a difference
            file.write(os.urandom(1000))
        self.run_quietly('rsync', '-rlpt', '--checksum', url + '/tree/', it.path('copy'))
        self.same_trees(it.path('tree'), it.path('copy'))

    @needs_rsync
    def test_rsync_knows_its_client(self):
        """It asks the socket for its peer."""
        it = self.make('pool "x" { listen = { "systemd:x" } workers = 1\n'
                       'exec { command = { "/usr/bin/rsync", "--daemon", "--log-file=/dev/stderr",'
                       '"--config=@DIR@/rsyncd.conf" } } }')
        it.put('rsyncd.conf', 'use chroot = no\n[tree]\npath = @DIR@\nhosts allow = 127.0.0.1\n')
        it.launch().ready()
        host, port = it.address('x')
        self.run_quietly('rsync', f'rsync://{host}:{port}/tree/')

    @needs_git
    def test_git_clone(self):
        it = self.make('pool "x" { listen = { "systemd:x" } workers = 4\n'
                       'environment = { "HOME=@DIR@", "GIT_CONFIG_NOSYSTEM=1",\n'
                       '"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory",\n'
                       '"GIT_CONFIG_VALUE_0=*" }\n'
                       'exec { command = { "/usr/bin/git", "daemon", "--inetd", "--export-all",\n'
                       '"--base-path=@DIR@" } } }')
        git = ['git', '-c', 'user.name=t', '-c', 'user.email=t@example.org',
               '-c', 'protocol.version=2', '-C']
        self.run_quietly('git', 'init', '-q', '--initial-branch=main', it.path('work'))
        make_tree(it.path('work/tree'))
        self.run_quietly(*git, it.path('work'), 'add', '.')
        self.run_quietly(*git, it.path('work'), 'commit', '-q', '-m', 'one')
        self.run_quietly('git', 'clone', '-q', '--bare', it.path('work'), it.path('r.git'))
        it.launch().ready()
        it.announce('git')
        host, port = it.address('x')
        url = f'git://{host}:{port}/r.git'
        self.assertIn('refs/heads/main', self.run_quietly('git', 'ls-remote', url))
        self.run_quietly(*git, it.directory, 'clone', '-q', url, 'copy')
        for path in ('work', 'copy'):
            self.run_quietly(*git, it.path(path), 'fsck', '--full', '--strict')
        heads = {self.run_quietly(*git, it.path(path), 'rev-parse', 'HEAD')
                 for path in ('work', 'copy')}
        self.assertEqual(len(heads), 1)
        for path in look(it.path('work/tree')):
            one, other = it.path(f'work/tree/{path}'), it.path(f'copy/tree/{path}')
            if os.path.isfile(one):
                self.assertTrue(filecmp.cmp(one, other, shallow=False), path)

    @unittest.skipUnless(BUSYBOX, 'no busybox here')
    def test_busybox_httpd(self):
        it = self.make('pool "x" { listen = { "systemd:x" } workers = 4\n'
                       f'exec {{ command = {{ "{BUSYBOX}", "httpd", "-i", "-h", "@DIR@/www" }} }}'
                       ' }')
        data = os.urandom(500000)
        os.makedirs(it.path('www'))
        with open(it.path('www/data'), 'wb') as file:
            file.write(data)
        it.launch().ready()
        it.announce('program for')  # its exit status varies
        for path, status, body in (('/data', 200, data), ('/none', 404, None)):
            server = http.client.HTTPConnection(*it.address('x'), timeout=client.PATIENCE)
            server.request('GET', path, headers={'X-Long': 'x' * 2000})
            answer = server.getresponse()
            got = answer.read()
            server.close()
            self.assertEqual(answer.status, status)
            if body is not None:
                self.assertTrue(got == body, f'{len(got)} bytes')

    @daemon.needs_root
    @unittest.skipUnless(os.path.exists(SSHD), 'no sshd here')
    def test_sshd(self):
        """Logs in with a key, as root, to a server that handles one connection."""
        it = self.make('pool "x" { listen = { "systemd:x" } workers = 2 user = "root"\n'
                       f'exec {{ command = {{ "{SSHD}", "-i", "-e", "-f", "@DIR@/config" }} }} }}')
        for key in ('host', 'key'):
            self.run_quietly('ssh-keygen', '-q', '-t', 'ed25519', '-N', '', '-f', it.path(key))
        shutil.copy(it.path('key.pub'), it.path('keys'))
        it.put('config', 'HostKey @DIR@/host\nAuthorizedKeysFile @DIR@/keys\nStrictModes no\n'
                         'UsePAM no\nPermitRootLogin prohibit-password\nPrintMotd no\n'
                         'PrintLastLog no\nPidFile none\n')
        os.makedirs('/run/sshd', mode=0o755, exist_ok=True)
        it.launch().ready()
        it.announce('root', 'program for')
        host, port = it.address('x')
        data = 'what went in\n' * 20000
        out = self.run_quietly(
            'ssh', '-F', 'none', '-i', it.path('key'), '-p', str(port), '-o', 'BatchMode=yes',
            '-o', 'StrictHostKeyChecking=no', '-o', f'UserKnownHostsFile={it.path("known")}',
            f'root@{host}', 'echo "$SSH_CONNECTION"; cat', input=data)
        line, rest = out.split('\n', 1)
        self.assertEqual(line.split()[0::2], ['127.0.0.1', '127.0.0.1'])
        self.assertTrue(rest == data)
        it.wait_for_log(r'Accepted publickey for root from 127\.0\.0\.1')

    def test_500_scripts_at_once(self):
        """All run at the same time, each with its client."""
        count = 100 if daemon.sanitized() else 500
        it = self.start(shell('echo $$ $TCPREMOTEPORT; read line; echo "$line"', workers=count))
        held = [it.connect('x') for _ in range(count)]
        for connection in held:
            self.addCleanup(connection.close)
        programs = set()
        for connection in held:
            pid, port = read_line(connection).split()
            self.assertEqual(int(port), connection.getsockname()[1])
            programs.add(int(pid))
        self.assertEqual(len(programs), count)
        for number, connection in enumerate(held):
            connection.sendall(b'%d\n' % number)
        for number, connection in enumerate(held):
            self.assertEqual(client.read_all(connection), b'%d\n' % number)
        self.assertEqual(len(it.workers()), count)


def read_line(connection):
    line = b''
    while not line.endswith(b'\n'):
        line += client.read_exactly(connection, 1)
    return line.decode()


if __name__ == '__main__':
    daemon.main()
