"""A machine of its own, with systemd as its first process, on which preforkd is installed and run.

It is a container over an overlay of this machine's root: it has whatever is installed here, and
what it writes goes to memory. This program first moves into namespaces and control groups of its
own, so that however it ends, nothing of it is left: no process, no mount, no file.
"""

import ctypes
import json
import os
import pathlib
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

PATIENCE = 30  # seconds: far more than anything here takes
BOOT_PATIENCE = 120

PR_SET_CHILD_SUBREAPER = 36
CLONE_NEWNET = 0x40000000

TOOLS = ('setpriv', 'unshare', 'nsenter', 'mount', 'meson', 'systemd-nspawn', 'systemctl',
         'journalctl', 'rsyslogd')
ENVIRONMENT = {'PATH': '/usr/sbin:/usr/bin:/sbin:/bin', 'LANG': 'C.UTF-8', 'TERM': 'dumb',
               'SYSTEMD_COLORS': '0', 'SYSTEMD_PAGER': ''}

# Only what the tests need is started, whatever else is enabled on this machine.
TARGET = '''[Unit]
Requires=sysinit.target dbus.socket syslog.socket rsyslog.service
After=sysinit.target dbus.socket syslog.socket rsyslog.service
'''
MASKED = ('systemd-networkd-wait-online.service', 'NetworkManager-wait-online.service',
          'ifupdown-wait-online.service', 'networking.service', 'systemd-udevd.service',
          'systemd-udev-trigger.service', 'systemd-udev-settle.service',
          'systemd-timesyncd.service', 'systemd-binfmt.service')
FILES = {
    'etc/fstab': '',
    'etc/crypttab': '',
    'etc/machine-id': '',
    'etc/systemd/system/rig.target': TARGET,
    'etc/systemd/journald.conf.d/rig.conf':
        '[Journal]\nStorage=volatile\nForwardToSyslog=yes\nRateLimitBurst=0\n',
    # A build with AddressSanitizer looks for leaks by ptrace(), which the unit closes.
    'etc/systemd/system.conf.d/rig.conf':
        '[Manager]\nDefaultEnvironment=ASAN_OPTIONS=detect_leaks=0\n',
    'etc/rsyslog.conf': 'module(load="imuxsock")\ndaemon.* /var/log/daemon.log\n',
}


class Unable(Exception):
    """No such machine can be made here; the text gives the reason."""


def enclose():
    """Moves this program into namespaces and control groups of its own. The process outside waits,
    cleans up, and exits with the same status."""
    if 'RIG_GROUPS' in os.environ:
        for group in os.environ['RIG_GROUPS'].split(':'):
            pathlib.Path(group, 'cgroup.procs').write_text('0')
        return
    missing = _missing()
    if missing:
        raise Unable(missing)
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    groups = [group / f'preforkd-rig-{os.getpid()}' for group in _own_groups()]
    place = tempfile.mkdtemp(prefix='preforkd-rig-')
    try:
        for group in groups:
            _make_group(group)
        status = _run_inside(groups, place)
    finally:
        _reap_all()
        for group in groups:
            _remove_group(group)
        os.rmdir(place)
    sys.exit(status)


def _missing():
    if os.geteuid() != 0:
        return 'only root can boot a container'
    for tool in TOOLS:
        if not shutil.which(tool, path=os.environ['PATH'] + ':/usr/sbin:/sbin'):
            return f'there is no {tool}'
    spaces = subprocess.run(['unshare', '--mount', '--pid', '--fork', 'true'],
                            capture_output=True, text=True, check=False)
    if spaces.returncode != 0:
        return f'no namespaces can be made: {spaces.stderr.strip()}'
    return None


def _own_groups():
    """The directories of this process's control groups, in the hierarchies that systemd uses."""
    paths = {}
    for line in pathlib.Path('/proc/self/cgroup').read_text().splitlines():
        _, name, path = line.split(':', 2)
        paths[name] = path
    for line in pathlib.Path('/proc/self/mountinfo').read_text().splitlines():
        before, after = line.split(' - ')
        root, mount_point = before.split()[3:5]
        kind, _, options = after.split(' ', 2)
        if kind == 'cgroup2':
            name = ''
        elif kind == 'cgroup' and 'name=systemd' in options.split(','):
            name = 'name=systemd'
        else:
            continue
        if name in paths:
            yield pathlib.Path(mount_point, os.path.relpath(paths.pop(name), root))


def _make_group(group):
    try:
        group.mkdir()
    except OSError as error:
        raise Unable(f'no control group can be made: {error}') from None


def _remove_group(group):
    for folder, _, _ in os.walk(group, topdown=False):
        os.rmdir(folder)


def _run_inside(groups, place):
    command = ['setpriv', '--pdeathsig', 'KILL',
               'unshare', '--mount', '--pid', '--fork', '--kill-child', '--mount-proc',
               sys.executable, *sys.argv]
    inside = {'RIG_GROUPS': ':'.join(map(str, groups)), 'RIG_PLACE': place}
    return subprocess.call(command, env=os.environ | inside)


def _reap_all():
    """Waits for the first process of the namespace, too: with it, all the others end."""
    try:
        while True:
            os.wait()
    except ChildProcessError:
        pass


class Machine:
    """The booted machine: its commands, files, connections and journal."""

    def __init__(self, build=None):
        """Installs preforkd from the build directory, if one is given."""
        self.place = pathlib.Path(os.environ['RIG_PLACE'])
        self._lay_root()
        if build:
            self._install(build)
        self._boot()
        self.root = pathlib.Path(f'/proc/{self.leader}/root')
        self._enter_network()
        self.journal = Journal(self)

    def close(self):
        self.journal.close()
        self.nspawn.terminate()  # which powers the machine off
        try:
            self.nspawn.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.nspawn.kill()

    def run(self, *command):
        """Runs a command there, which must succeed; returns its output from both streams."""
        status, text = self.attempt(*command)
        if status != 0:
            raise AssertionError(f'{" ".join(command)}: exit {status}\n{text}')
        return text

    def attempt(self, *command):
        """Runs a command there; returns its exit status and its output."""
        result = subprocess.run(self._enter(command), env=ENVIRONMENT, stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                errors='replace', timeout=BOOT_PATIENCE)
        return result.returncode, result.stdout

    def start(self, *command, **options):
        """Starts a command there, without waiting for it."""
        return subprocess.Popen(self._enter(command), env=ENVIRONMENT, stdin=subprocess.DEVNULL,
                                **options)

    def write(self, path, text, mode=0o644):
        """Writes a file there, and makes its directories."""
        file = self.root / path.lstrip('/')
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)

    def read(self, path):
        """Returns the text of a file there."""
        return (self.root / path.lstrip('/')).read_text()

    def remove(self, path):
        """Removes a file or directory there, if it exists."""
        _remove(self.root / path.lstrip('/'))

    def connect(self, address):
        """Connects to a port of its loopback interface, or to the path of a Unix socket."""
        if isinstance(address, int):
            return socket.create_connection(('127.0.0.1', address), timeout=PATIENCE)
        peer = socket.socket(socket.AF_UNIX)
        peer.settimeout(PATIENCE)
        peer.connect(str(self.root / address.lstrip('/')))
        return peer

    def _enter(self, command):
        return ['nsenter', '-t', str(self.leader), '-a', '--', *command]

    def _lay_root(self):
        overlay = self.place / 'root'
        _mount('-t', 'tmpfs', '-o', 'mode=755', 'preforkd-rig', self.place)
        # On /run too, because nspawn leaves files there.
        _mount('-t', 'tmpfs', '-o', 'mode=755', 'preforkd-rig', '/run')
        for name in ('upper', 'work', 'root'):
            (self.place / name).mkdir()
        _mount('-t', 'overlay', 'overlay', '-o', f'lowerdir=/,upperdir={self.place}/upper,'
               f'workdir={self.place}/work', overlay)
        units = overlay / 'etc/systemd/system'
        for old in (overlay / 'etc/preforkd', overlay / 'etc/rsyslog.d', *units.glob('preforkd*')):
            _remove(old)
        for name, text in FILES.items():
            (overlay / name).parent.mkdir(parents=True, exist_ok=True)
            (overlay / name).write_text(text)
        for name, target in [(unit, '/dev/null') for unit in MASKED] + [
                ('syslog.service', '/lib/systemd/system/rsyslog.service')]:
            (units / name).unlink(missing_ok=True)
            (units / name).symlink_to(target)

    def _install(self, build):
        subprocess.run(['meson', 'install', '-C', build, '--no-rebuild', '--quiet', '--destdir',
                        self.place / 'root'], check=True, timeout=BOOT_PATIENCE)

    def _boot(self):
        notices = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        notices.bind(str(self.place / 'notify'))
        console = open(self.place / 'console', 'w+b')
        self.nspawn = subprocess.Popen(
            ['systemd-nspawn', '-D', self.place / 'root', '--machine=preforkd-rig', '--register=no',
             '--keep-unit', '--private-network', '--resolv-conf=off', '--timezone=off',
             '--console=pipe', '--notify-ready=yes', '--boot', '--', '--unit=rig.target'],
            env=ENVIRONMENT | {'NOTIFY_SOCKET': str(self.place / 'notify')},
            stdin=subprocess.DEVNULL, stdout=console, stderr=subprocess.STDOUT)
        self.leader = self._listen(notices, re.compile(r'X_NSPAWN_LEADER_PID=(\d+)'), console)
        self._listen(notices, re.compile(r'(?m)^(READY=1)$'), console)

    def _listen(self, notices, pattern, console):
        """Waits for a notification from nspawn, or until nspawn ends."""
        ended = os.pidfd_open(self.nspawn.pid)
        deadline = time.monotonic() + BOOT_PATIENCE
        try:
            while True:
                rest = max(0, deadline - time.monotonic())
                ready = select.select([notices, ended], [], [], rest)[0]
                if notices not in ready:
                    console.seek(0)
                    output = console.read().decode(errors='replace').strip()
                    raise Unable(f'the container does not boot: {output}')
                found = pattern.search(notices.recv(4096).decode())
                if found:
                    return found[1]
        finally:
            os.close(ended)

    def _enter_network(self):
        """From here on this process makes its sockets there; its files and children stay here."""
        with open(f'/proc/{self.leader}/ns/net', 'rb') as namespace:
            if ctypes.CDLL(None).setns(namespace.fileno(), CLONE_NEWNET) != 0:
                raise Unable('its network can\'t be entered')


class Journal:
    """The machine's journal, read as it is written. A test sees the lines after its `begin`."""

    def __init__(self, machine):
        self.machine = machine
        # It runs outside: on the machine it would outlive the nsenter that `close` can kill.
        self.reader = subprocess.Popen(
            ['journalctl', '--directory', machine.root / 'run/log/journal', '--follow', '--no-tail',
             '--output=json', '--output-fields=MESSAGE,SYSLOG_IDENTIFIER'],
            env=ENVIRONMENT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        self.rest = b''
        self.lines = []
        self.begun = 0

    def close(self):
        self.reader.kill()
        self.reader.wait()
        self.reader.stdout.close()

    def begin(self):
        """Forgets all lines so far."""
        self.begun += 1
        self.machine.run('logger', '-t', 'rig', f'begin {self.begun}')
        self.wait(rf'^rig: begin {self.begun}$')
        self.lines.clear()

    def wait(self, pattern):
        """Waits for a line `IDENT: MESSAGE` that contains the pattern; returns the match."""
        found = None

        def look():
            nonlocal found
            found = next(filter(None, (re.search(pattern, line) for line in self.lines)), None)
            return found
        self.wait_until(look, f'a line of the journal like {pattern}')
        return found

    def wait_until(self, condition, what):
        """Waits until the condition holds. It is checked after each line of the journal, and five
        times a second, because a line may come before the change that it reports."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            if time.monotonic() > deadline:
                raise AssertionError(f'{what}: not within {PATIENCE} s; the journal has\n{self}')
            self._read(0.2)

    def _read(self, timeout):
        if select.select([self.reader.stdout], [], [], timeout)[0]:
            read = self.rest + os.read(self.reader.stdout.fileno(), 65536)
            *lines, self.rest = read.split(b'\n')
            for entry in map(json.loads, lines):
                self.lines.append(f'{entry.get("SYSLOG_IDENTIFIER")}: {entry.get("MESSAGE")}')

    def __str__(self):
        self._read(0)
        return '\n'.join(f'    {line}' for line in self.lines)


class Clients:
    """Threads that repeat actions on the machine; `count` is how many actions are done."""

    def __init__(self, machine, *actions):
        self.machine = machine
        self.ended = threading.Event()
        self.count = 0
        self.threads = [threading.Thread(target=self._run, args=(action,), daemon=True)
                        for action in actions]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        self.await_more()
        return self

    def __exit__(self, *_):
        self.ended.set()
        for thread in self.threads:
            thread.join()

    def await_more(self):
        """Waits until a hundred more actions are done."""
        least = self.count + 100
        self.machine.journal.wait_until(lambda: self.count > least, 'more connections')

    def _run(self, action):
        while not self.ended.is_set():
            action()
            self.count += 1


def _remove(there):
    if there.is_dir() and not there.is_symlink():
        shutil.rmtree(there)
    else:
        there.unlink(missing_ok=True)


def _mount(*arguments):
    result = subprocess.run(['mount', *arguments], stderr=subprocess.PIPE, text=True)
    if result.returncode != 0:
        raise Unable(result.stderr.strip())
