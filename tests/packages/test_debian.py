"""Debian's packages: built, judged by lintian, installed, upgraded under load, removed, purged.

conf/packaging/build-deb builds them, and they are tried on a machine with a systemd of its own; see
../systemd/machine.py. Exit status 77, skipped, where that is impossible; with RIG_REQUIRED set,
1.
"""

import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.join(HERE, '..', '..')
sys.path.insert(0, os.path.join(HERE, '..', 'systemd'))
from machine import Clients, Machine, Unable, enclose  # noqa: E402

TOOLS = ('dh', 'dpkg-buildpackage', 'lintian')
PLACE = '/srv/packages'  # on the machine
PACKAGES = ('preforkd', 'preforkd-dev', 'preforkd-dbgsym')
CONF = '/etc/preforkd/preforkd.conf'
POOL = '/etc/preforkd/pools.d/rig.conf'
PORT = 7008
ECHO = f'pool "rig" {{ listen = {{ "127.0.0.1:{PORT}" }} workers = 4 echo {{}} }}\n'


class Packages:
    """The packages from build-deb, on the machine's own file system, which is removed with it."""

    def __init__(self, machine):
        self.machine = machine
        self.here = machine.place / 'packages'
        self.there = machine.root / PLACE.lstrip('/')
        self.there.mkdir(parents=True)
        temporary = machine.place / 'temporary'
        temporary.mkdir()
        built = subprocess.run(
            [os.path.join(TOP, 'conf', 'packaging', 'build-deb'), self.here],
            env=os.environ | {'TMPDIR': str(temporary), 'DEB_BUILD_OPTIONS': 'nocheck'},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.output = built.stdout
        self.status = built.returncode
        self.version = ''

    def files(self):
        """Copies them to the machine; returns {name: path there}."""
        found = {}
        for file in sorted(self.here.glob('*.deb')):
            name, self.version, _ = file.name.split('_')
            shutil.copy(file, self.there)
            found[name] = f'{PLACE}/{file.name}'
        return found

    def later(self, version):
        """Makes a later version of the daemon's package with a changed unit; returns its path
        there."""
        original, = self.here.glob('preforkd_*.deb')
        tree = self.here / version
        subprocess.run(['dpkg-deb', '--raw-extract', original, tree], check=True)
        for path, pattern, text in (('DEBIAN/control', r'(?m)^Version: .*$', f'Version: {version}'),
                                    ('lib/systemd/system/preforkd.service',
                                     r'(?m)^Description=.*$', f'Description=Version {version}')):
            file = tree / path
            file.write_text(re.sub(pattern, text, file.read_text()))
        subprocess.run(['dpkg-deb', '--build', '-Zgzip', tree, self.there / f'{version}.deb'],
                       check=True, stdout=subprocess.DEVNULL)
        return f'{PLACE}/{version}.deb'


class Story(unittest.TestCase):
    """One machine's life: each test continues where the previous one ended."""

    machine = None
    packages = None
    files = None
    names_before = None

    def test_the_packages_are_built_and_lintian_has_no_fault(self):
        Story.packages = Packages(self.machine)
        self.assertEqual(self.packages.status, 0, self.packages.output)
        Story.files = self.packages.files()
        self.assertEqual(sorted(self.files), sorted(PACKAGES))
        sources = {file.suffix for file in self.packages.here.iterdir()}
        self.assertLessEqual({'.dsc', '.xz', '.changes', '.buildinfo'}, sources)

    def test_installed_it_waits_to_be_configured(self):
        Story.names_before = self.names()
        self.machine.run('dpkg', '--install', *self.files.values())
        self.assertEqual(self.machine.attempt('systemctl', 'is-enabled', 'preforkd')[1],
                         'disabled\n')
        self.assertEqual(self.show('ActiveState'), 'inactive')
        self.assertEqual(self.machine.run('dpkg', '--verify', *PACKAGES), '')
        self.assertEqual(self.machine.run('dpkg-query', '-W', '-f', '${Conffiles}', 'preforkd')
                         .split()[0::2], [CONF])
        self.machine.run('getent', 'passwd', 'preforkd')
        self.machine.run('preforkd', '-t')
        for name in ('doc/preforkd/README.Debian', 'doc/preforkd/copyright',
                     'doc/preforkd/SECURITY.md.gz', 'doc/preforkd/examples/nginx.conf',
                     'bash-completion/completions/preforkctl',
                     'fish/vendor_completions.d/preforkctl.fish',
                     'zsh/vendor-completions/_preforkctl'):
            self.machine.run('test', '-e', f'/usr/share/{name}')

    def test_a_module_is_built_with_the_development_package(self):
        source = pathlib.Path(TOP, 'conf/examples/module/hello.c').read_text(encoding='utf-8')
        self.machine.write('/srv/hello.c', source)
        self.machine.run('sh', '-c', 'cc -shared -fPIC $(pkg-config --cflags preforkd) '
                         '-o /srv/hello.so /srv/hello.c')

    def test_debug_symbols_belong_to_the_program(self):
        notes = self.machine.run('readelf', '-n', '/usr/sbin/preforkd')
        number = re.search('Build ID: ([0-9a-f]+)', notes)[1]
        self.machine.run('test', '-e',
                         f'/usr/lib/debug/.build-id/{number[:2]}/{number[2:]}.debug')
        # They fit no other version.
        self.machine.run('dpkg', '--purge', 'preforkd-dbgsym')

    def test_an_upgrade_does_not_start_it(self):
        self.upgrade('1.0')
        self.assertEqual(self.show('ActiveState'), 'inactive')

    def test_configured_it_is_started(self):
        self.machine.write(POOL, ECHO)
        self.machine.write(CONF, self.machine.read(CONF) + '# changed\n')
        self.machine.run('systemctl', 'enable', '--now', 'preforkd')
        self.assert_echoes()

    def test_an_upgrade_replaces_the_running_program_and_breaks_nothing(self):
        master, program = self.master(), self.program()
        with self.connect() as held, Load(self) as load:
            self.exchange(held)
            self.upgrade('1.1')
            self.assertNotEqual(self.program(), program)
            load.await_more()
            self.exchange(held)
        self.assertEqual(load.faults, [])
        self.assertEqual(self.master(), master)
        self.assertEqual(self.show('ActiveState'), 'active')
        self.assertEqual(self.show('NRestarts'), '0')
        self.assertEqual(self.show('Description'), 'Version 1.1')
        self.assertEqual(self.machine.run('systemctl', 'is-enabled', 'preforkd'), 'enabled\n')
        self.assertIn('# changed\n', self.machine.read(CONF))

    def test_a_program_that_refuses_leaves_the_old_one_at_work(self):
        master, program = self.master(), self.program()
        broken = '/etc/preforkd/pools.d/broken.conf'
        self.machine.write(broken, 'wrokers = 1\n')
        with Load(self) as load:
            output = self.upgrade('1.2')
            self.assertIn(f'{broken}:1: ', output)
            self.assertIn('the old daemon continues', output)
            load.await_more()
            self.assertEqual(self.master(), master)
            self.machine.remove(broken)
            self.machine.run('preforkctl', 'upgrade')
            load.await_more()
        self.assertEqual(load.faults, [])
        self.assertEqual(self.master(), master)
        self.assertNotEqual(self.program(), program)

    def test_a_daemon_without_a_control_socket_is_upgraded_too(self):
        conf = self.machine.read(CONF)
        self.machine.write(CONF, 'control = "none"\n' + conf)
        self.machine.run('systemctl', 'restart', 'preforkd')
        master, program = self.master(), self.program()
        self.machine.journal.begin()
        with Load(self) as load:
            self.assertIn('no answer on the control socket', self.upgrade('1.3'))
            self.machine.journal.wait('^preforkd: upgraded from')
            load.await_more()
        self.assertEqual(load.faults, [])
        self.assertEqual(self.master(), master)
        self.assertNotEqual(self.program(), program)
        self.machine.write(CONF, conf)
        self.machine.run('systemctl', 'restart', 'preforkd')

    def test_removed_it_is_stopped_and_its_configuration_stays(self):
        with self.connect() as held:
            self.exchange(held)
            removal = self.machine.start('dpkg', '--remove', 'preforkd', stdout=subprocess.DEVNULL)
            self.machine.journal.wait('^preforkd: stopping')
            self.exchange(held)
        self.assertEqual(removal.wait(60), 0)
        self.assertRaises(ConnectionRefusedError, self.connect)
        self.machine.run('test', '!', '-e', '/usr/sbin/preforkd')
        self.assertIn('# changed\n', self.machine.read(CONF))
        self.assertEqual(self.machine.read(POOL), ECHO)

    def test_purged_it_leaves_nothing(self):
        self.machine.run('dpkg', '--purge', 'preforkd', 'preforkd-dev')
        self.assertEqual(self.names() - self.names_before, set())
        output = self.machine.attempt('dpkg-query', '-W', *PACKAGES)[1]
        self.assertEqual(output.count('no packages'), len(PACKAGES), output)

    # -- helpers

    def upgrade(self, version):
        """Installs the daemon's package as a later version; returns dpkg's output."""
        output = self.machine.run('dpkg', '--install', self.packages.later(version))
        self.assertEqual(self.machine.run('dpkg-query', '-W', '-f', '${Version}', 'preforkd'),
                         version)
        return output

    def names(self):
        """All files named after the daemon."""
        places = ('/etc', '/home', '/lib', '/opt', '/root', '/run', '/tmp', '/usr', '/var')
        return set(self.machine.run('find', *places, '-name', '*preforkd*').splitlines())

    def show(self, name):
        return self.machine.run('systemctl', 'show', '-P', name, 'preforkd.service').strip()

    def master(self):
        return int(self.show('MainPID'))

    def program(self):
        """The file that the master executes."""
        return self.machine.run('stat', '-L', '-c', '%i', f'/proc/{self.master()}/exe')

    def connect(self):
        return self.machine.connect(PORT)

    def exchange(self, connection):
        sent = os.urandom(64)
        connection.sendall(sent)
        self.assertEqual(connection.recv(64, socket.MSG_WAITALL), sent)

    def assert_echoes(self):
        with self.connect() as connection:
            self.exchange(connection)


class Load(Clients):
    """Clients connect, exchange data and read the end. Failures are recorded: a refusal, a broken
    connection, a wrong byte."""

    def __init__(self, story):
        super().__init__(story.machine, *[self._converse] * 4)
        self.story = story
        self.faults = []

    def _converse(self):
        try:
            with self.story.connect() as connection:
                self.story.exchange(connection)
                connection.shutdown(socket.SHUT_WR)
                rest = connection.recv(1)
                if rest:
                    self.faults.append(f'more than was sent: {rest}')
        except (OSError, AssertionError) as error:
            self.faults.append(repr(error))


def load_tests(loader, _tests, _pattern):
    """The tests in the order of their definition."""
    wanted = loader.getTestCaseNames(Story)
    return unittest.TestSuite(Story(name) for name in vars(Story) if name in wanted)


def main():
    """Boots the machine and runs the story up to its first failure."""
    try:
        for tool in TOOLS:
            if not shutil.which(tool):
                raise Unable(f'there is no {tool}')
        enclose()
        Story.machine = Machine()
    except Unable as reason:
        print(f'skipped: {reason}')
        sys.exit(1 if 'RIG_REQUIRED' in os.environ else 77)
    try:
        # Either may exist: one keeps packages from starting services, the other rebuilds the whole
        # index of manuals at each installation.
        for path in ('/usr/sbin/policy-rc.d', '/var/lib/man-db/auto-update'):
            Story.machine.remove(path)
        unittest.main(verbosity=2, failfast=True)
    finally:
        Story.machine.close()


if __name__ == '__main__':
    main()
