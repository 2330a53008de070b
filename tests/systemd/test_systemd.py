"""preforkd as systemd runs it: installed on a machine of its own, started, reloaded, hurt, stopped.

Usage: test_systemd.py BUILD-DIRECTORY [unittest's arguments]
Exit status 77, skipped, if no such machine can be made; with RIG_REQUIRED set, 1.
"""

import functools
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import unittest

from machine import Clients, Machine, Unable, enclose

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '..', 'behaviour'))
import fastcgi  # noqa: E402

CONF = '/etc/preforkd/preforkd.conf'
HANDLERS = os.path.join(HERE, '..', '..', 'man', 'preforkd-handlers.7')
DROP_INS = '/etc/systemd/system/preforkd.service.d'
SOCKET_UNIT = '/etc/systemd/system/preforkd-web.socket'
PORT = 7007  # of the installed configuration
OTHER_PORT = 7008

ECHO = f'pool "echo" {{ listen = {{ "127.0.0.1:{PORT}" }} workers = 2 echo {{}} }}\n'
OTHER = f'pool "other" {{ listen = {{ "127.0.0.1:{OTHER_PORT}" }} workers = 1 echo {{}} }}\n'

# Tries what ordinary programs do, as the pool's user, and prints what it was refused.
PROBE = '''#!/usr/bin/python3
import json, mmap, os, resource, socket, subprocess
refused = {}
def attempt(name, work):
    try:
        work()
    except Exception as error:
        refused[name] = str(error)
def write(path):
    with open(path, "w") as file:
        file.write("data")
    os.unlink(path)
def expect(value, wanted):
    if value != wanted:
        raise ValueError(value)
attempt("data", lambda: write("/srv/rig/data/file"))
attempt("spool", lambda: write("/var/tmp/rig"))
attempt("tmp", lambda: write("/tmp/rig"))
attempt("shm", lambda: write("/dev/shm/rig"))
attempt("jit", lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC))
attempt("netlink", lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0).bind((0, 0)))
attempt("interfaces", socket.if_nameindex)
attempt("first process", lambda: open("/proc/1/stat").read())
attempt("processors", lambda: open("/proc/cpuinfo").read())
attempt("kernel", lambda: open("/proc/sys/kernel/osrelease").read())
attempt("random", lambda: open("/dev/urandom", "rb").read(1))
attempt("terminal", os.openpty)
attempt("log", lambda: subprocess.run(["logger", "-t", "rig", "from a program"], check=True))
attempt("nice", lambda: os.nice(1))
attempt("limits", lambda: resource.setrlimit(resource.RLIMIT_CORE, (0, 0)))
attempt("umask", lambda: expect(os.umask(0), 0o022))
attempt("set-id", lambda: expect(subprocess.check_output(["/srv/rig/id", "-u"]), b"0\\n"))
print(json.dumps({"uid": os.getuid(), "refused": refused}))
'''


class Story(unittest.TestCase):
    """Each test starts with the unit stopped, as installed, and the installed configuration."""

    machine = None
    installed = None

    def setUp(self):
        for path in (DROP_INS, SOCKET_UNIT):
            self.machine.remove(path)
        self.machine.write(CONF, self.installed)
        self.systemctl('daemon-reload')
        self.systemctl('reset-failed')
        self.machine.journal.begin()

    def tearDown(self):
        self.machine.attempt('systemctl', 'stop', 'preforkd-web.socket', 'preforkd.service')
        self.assertNotRegex(str(self.machine.journal), 'AddressSanitizer|runtime error:')

    def test_sysusers_makes_the_user(self):
        self.machine.run('systemd-sysusers')
        user = self.machine.run('getent', 'passwd', 'preforkd').strip().split(':')
        self.assertNotEqual(user[2], '0')
        self.assertTrue(user[6].endswith('nologin'), user)
        self.machine.run('getent', 'group', 'preforkd')

    def test_the_unit_has_no_fault(self):
        man = 'yes' if shutil.which('man') else 'no'
        output = self.machine.run('systemd-analyze', 'verify', '--recursive-errors=no',
                                  f'--man={man}', 'preforkd.service')
        self.assertEqual(output, '')

    def test_the_unit_is_hardened(self):
        output = self.machine.run('systemd-analyze', 'security', '--threshold=40',
                                  'preforkd.service')
        self.assertRegex(output, r'(?m)Overall exposure level .*: [0-4]\.\d OK')

    def test_start_returns_when_the_pool_serves(self):
        self.systemctl('start', 'preforkd')
        self.assert_serves(PORT)

    def test_status_counts_the_workers(self):
        self.drop_in('WatchdogSec=0')  # the watchdog would update the status, too
        self.systemctl('start', 'preforkd')
        self.await_status('echo 4/4')
        self.machine.run('kill', '-KILL', str(self.workers()[0]))
        self.await_status('echo 4/4')
        self.assertIn('Status: "echo 4/4', self.systemctl('status', 'preforkd'))

    def test_reload_adds_a_pool(self):
        self.drop_in('WatchdogSec=0')
        self.systemctl('start', 'preforkd')
        master = self.master()
        self.machine.write('/etc/preforkd/pools.d/other.conf', OTHER)
        self.addCleanup(self.machine.remove, '/etc/preforkd/pools.d/other.conf')
        self.systemctl('reload', 'preforkd')
        self.assert_serves(OTHER_PORT)  # at once, because the reload has waited
        self.assert_serves(PORT)
        self.assertEqual(self.master(), master)
        self.machine.journal.wait_until(lambda: self.show('SubState') == 'running', 'reloaded')
        self.await_status('other 1/1')

    def test_reload_of_a_broken_file_changes_nothing(self):
        self.systemctl('start', 'preforkd')
        master = self.master()
        self.machine.write(CONF, ECHO + '\npool "other" {\n    wrokers = 1\n    echo {}\n}\n')
        status, _ = self.machine.attempt('systemctl', 'reload', 'preforkd')
        self.assertNotEqual(status, 0)
        self.machine.journal.wait(rf'^preforkd: .*{CONF}:4: .*wrokers')
        self.machine.journal.wait(rf'^preforkctl: {CONF}:4: .*wrokers')
        self.machine.journal.wait_until(lambda: self.show('SubState') == 'running', 'reloaded')
        self.assertEqual(self.show('ActiveState'), 'active')
        self.assertEqual(self.master(), master)
        self.assert_serves(PORT)

    def test_reload_that_takes_longer_than_the_unit_allows(self):
        self.drop_in('TimeoutStartSec=2')
        self.machine.write(CONF, ECHO)
        self.systemctl('start', 'preforkd')
        self.machine.write(CONF, ECHO.replace('echo {}', 'min_ready_time = 4 nice = 1 echo {}'))
        self.systemctl('reload', 'preforkd')
        self.assert_serves(PORT)

    def test_preforkctl_finds_it(self):
        self.systemctl('start', 'preforkd')
        self.assertIn(f'pid {self.master()}, serving', self.machine.run('preforkctl', 'ping'))
        self.assertIn('pool echo: kept', self.machine.run('preforkctl', 'reload', '--dry-run'))
        old = self.workers()
        self.machine.run('preforkctl', 'restart', 'echo')
        self.assertEqual(set(old) & set(self.workers()), set())
        self.machine.run('preforkctl', 'drain', 'echo')
        self.assertEqual(self.workers(), [])
        self.systemctl('reload', 'preforkd')
        self.assertEqual(len(self.workers()), 4)
        status, output = self.machine.attempt('runuser', '-u', 'nobody', 'preforkctl', 'ping')
        self.assertEqual(status, 1, output)

    @unittest.skipUnless(shutil.which('curl'), 'no curl here')
    def test_the_status_handler_works_under_the_unit(self):
        """Its shared object is found where it was installed, and it sees the queues."""
        self.machine.write(CONF, ECHO + f'pool "status" {{ listen = {{ "127.0.0.1:{OTHER_PORT}", '
                           '"unix:/run/preforkd/status" } workers = 2 chroot = "/var/empty"\n'
                           'status {} }\n')
        self.machine.run('mkdir', '-p', '/var/empty')
        self.systemctl('start', 'preforkd')
        web = ('curl', '-sSf', '--noproxy', '*')
        by_path = ('--unix-socket', '/run/preforkd/status')
        self.assertEqual(self.machine.run(*web, *by_path, 'http://x/healthz'), 'ok\n')
        self.assertIn('<!DOCTYPE html>', self.machine.run(*web, f'http://127.0.0.1:{OTHER_PORT}/'))
        metrics = self.machine.run(*web, *by_path, 'http://x/metrics')
        for pool, listener in (('status', 'unix:/run/preforkd/status'),
                               ('echo', f'127.0.0.1:{PORT}')):
            self.assertIn(f'preforkd_queue_depth{{pool="{pool}",listener="{listener}"}} 0\n',
                          metrics)

    def test_preforkctl_stops_it(self):
        self.systemctl('start', 'preforkd')
        self.machine.run('preforkctl', 'stop')
        self.machine.journal.wait_until(lambda: self.show('ActiveState') == 'inactive', 'the end')
        self.assertEqual(self.show('Result'), 'success')
        status, _ = self.machine.attempt('preforkctl', 'ping')
        self.assertEqual(status, 3)

    def test_restart_makes_a_new_master(self):
        self.systemctl('start', 'preforkd')
        master = self.master()
        self.systemctl('restart', 'preforkd')
        self.assertNotEqual(self.master(), master)
        self.assert_serves(PORT)

    def test_a_socket_unit_starts_it_by_name(self):
        self.machine.write(SOCKET_UNIT, f'[Socket]\nListenStream=127.0.0.1:{OTHER_PORT}\n'
                           'FileDescriptorName=web\nService=preforkd.service\n')
        self.machine.write(CONF, ECHO + 'pool "web" { listen = { "systemd:web" } workers = 1 '
                           'echo {} }\n')
        self.systemctl('daemon-reload')
        self.systemctl('start', 'preforkd-web.socket')
        self.assertEqual(self.show('ActiveState'), 'inactive')
        self.assert_serves(OTHER_PORT)
        self.assert_serves(PORT)
        self.systemctl('restart', 'preforkd')
        self.assert_serves(OTHER_PORT)

    def test_stop_waits_for_the_connection_in_hand(self):
        self.systemctl('start', 'preforkd')
        with self.machine.connect(PORT) as connection:
            self.assert_echoes(connection)
            stop = self.machine.start('systemctl', 'stop', 'preforkd')
            self.machine.journal.wait(r'^systemd: Stopping preforkd.service')
            self.assert_echoes(connection)
            self.assertIsNone(stop.poll())
        self.assertEqual(stop.wait(15), 0)
        self.assertEqual(self.show('Result'), 'success')
        self.assertEqual(self.show('ExecMainStatus'), '0')

    def test_stop_waits_for_all_of_a_long_graceful_timeout(self):
        self.drop_in('TimeoutStopSec=2')
        self.machine.write(CONF, 'graceful_timeout = 6\n' + ECHO)
        self.systemctl('start', 'preforkd')
        with self.machine.connect(PORT) as connection:
            self.assert_echoes(connection)
            started = time.monotonic()
            stop = self.machine.start('systemctl', 'stop', 'preforkd')
            self.assertEqual(self.read_all(connection), b'')
            self.assertGreater(time.monotonic() - started, 5.5)
        self.assertEqual(stop.wait(15), 0)
        self.assertLess(time.monotonic() - started, 15)
        self.assertEqual(self.show('Result'), 'success')

    def test_a_killed_worker_is_reported(self):
        self.systemctl('start', 'preforkd')
        worker = self.workers()[0]
        self.machine.run('kill', '-KILL', str(worker))
        line = self.machine.journal.wait(
            rf'^preforkd: (.*worker {worker} killed by signal 9.*)$')[1]
        successor = int(line.partition('new=')[2].split()[0])
        self.machine.journal.wait_until(lambda: successor in self.workers(), 'the replacement')
        for filters in (['-u', 'preforkd'], ['-t', 'preforkd'],
                        ['PREFORKD_EVENT=death', 'PREFORKD_POOL=echo', f'PREFORKD_PID={worker}']):
            self.assertIn(line, self.machine.run('journalctl', '--no-pager', *filters))
        self.machine.journal.wait_until(lambda: line in self.machine.read('/var/log/daemon.log'),
                                        "rsyslog's file")
        self.machine.run('journalctl', '--update-catalog')
        explained = self.machine.run('journalctl', '--no-pager', '-x', f'PREFORKD_PID={worker}')
        self.assertIn('A worker of pool echo ended unexpectedly', explained)
        with self.machine.start('timeout', '60', 'preforkctl', 'logs', 'echo',
                                stdout=subprocess.PIPE, text=True) as follows:
            self.assertTrue(any(line in text for text in iter(follows.stdout.readline, '')))
            follows.terminate()
        self.assert_serves(PORT)

    def test_a_broken_file_fails_the_start(self):
        self.machine.write(CONF, ECHO + '\npool "other" {\n    wrokers = 1\n    echo {}\n}\n')
        status, _ = self.machine.attempt('systemctl', 'start', 'preforkd')
        self.assertNotEqual(status, 0)
        self.machine.journal.wait(rf'^preforkd: .*{CONF}:4: .*wrokers')
        self.assertEqual(self.show('ActiveState'), 'failed')
        self.assertEqual(self.show('ExecMainStatus'), '1')
        self.assertEqual(self.show('NRestarts'), '0')

    def test_a_stuck_master_is_replaced(self):
        self.drop_in('WatchdogSec=2')
        self.systemctl('start', 'preforkd')
        master = self.master()
        self.machine.run('kill', '-STOP', str(master))
        self.machine.journal.wait(r'^systemd: preforkd.service: Watchdog timeout')
        self.await_new_master(master)

    def test_a_watched_master_that_works_is_left_alone(self):
        self.drop_in('WatchdogSec=1')
        self.systemctl('start', 'preforkd')
        master = self.master()
        with self.machine.connect(PORT) as idle:
            idle.settimeout(4)
            with self.assertRaises(TimeoutError):
                idle.recv(1)
        self.assertEqual(self.master(), master)

    def test_a_killed_master_leaves_no_worker_and_comes_back(self):
        self.systemctl('start', 'preforkd')
        master, workers = self.master(), self.workers()
        self.assertTrue(workers)
        self.machine.run('kill', '-KILL', str(master))
        self.await_new_master(master)
        for worker in workers:
            self.assertFalse(os.path.exists(f'{self.machine.root}/proc/{worker}'))

    def test_no_client_is_refused_while_the_master_is_replaced(self):
        self.machine.write(CONF, ECHO + 'pool "path" { listen = { '
                           '"unix:/run/preforkd/rig.sock" } workers = 1 echo {} }\n')
        self.systemctl('start', 'preforkd')
        for count in (1, 2):
            master, sockets = self.master(), self.listeners()
            with Connects(self.machine, PORT, '/run/preforkd/rig.sock') as connects:
                self.machine.run('kill', '-KILL', str(master))
                self.await_new_master(master, count)
                connects.await_more()
            self.assertEqual(connects.refused, [])
            self.assertEqual(self.listeners(), sockets)
            self.assert_serves('/run/preforkd/rig.sock')

    def test_a_restart_refuses_no_client(self):
        self.systemctl('start', 'preforkd')
        sockets = self.listeners()
        with Connects(self.machine, PORT) as connects:
            self.systemctl('restart', 'preforkd')
            connects.await_more()
        self.assertEqual(connects.refused, [])
        self.assertEqual(self.listeners(), sockets)

    def test_a_closed_listener_leaves_the_store(self):
        self.machine.write(CONF, ECHO + OTHER)
        self.systemctl('start', 'preforkd')
        self.assertEqual(self.show('NFileDescriptorStore'), '2')
        self.machine.write(CONF, ECHO)
        self.systemctl('reload', 'preforkd')
        self.machine.journal.wait(r'^preforkd: .*reload done')
        self.machine.journal.wait_until(lambda: self.show('NFileDescriptorStore') == '1',
                                        'the listener to leave the store')
        with self.assertRaises(ConnectionRefusedError):
            self.machine.connect(OTHER_PORT)
        master = self.master()
        self.machine.run('kill', '-KILL', str(master))
        self.await_new_master(master)
        with self.assertRaises(ConnectionRefusedError):
            self.machine.connect(OTHER_PORT)

    def test_an_address_that_changed_while_the_master_was_dead(self):
        """The old listener leaves systemd's store before the new one is bound."""
        self.drop_in('RestartSec=1')
        self.machine.write(CONF, ECHO.replace('127.0.0.1', '*'))
        self.systemctl('start', 'preforkd')
        master = self.master()
        self.machine.write(CONF, ECHO)
        self.machine.run('kill', '-KILL', str(master))
        self.await_new_master(master)
        self.assertEqual(self.show('NFileDescriptorStore'), '1')

    def test_a_stop_empties_the_store(self):
        self.systemctl('start', 'preforkd')
        self.systemctl('stop', 'preforkd')
        self.assertEqual(self.show('NFileDescriptorStore'), '0')
        with self.assertRaises(ConnectionRefusedError):
            self.machine.connect(PORT)

    def test_an_upgrade_is_the_same_service(self):
        program = '/usr/sbin/preforkd'
        self.systemctl('start', 'preforkd')
        master, sockets = self.master(), self.listeners()
        with self.machine.connect(PORT) as held:
            self.assert_echoes(held)
            for _ in range(2):
                before = self.machine.run('stat', '-L', '-c', '%i', f'/proc/{master}/exe')
                self.machine.run('cp', program, program + '.new')
                self.machine.run('mv', program + '.new', program)
                self.machine.journal.begin()
                self.machine.run('kill', '-USR2', str(master))
                self.machine.journal.wait(r'^preforkd: upgraded from')
                after = self.machine.run('stat', '-L', '-c', '%i', f'/proc/{master}/exe')
                self.assertNotEqual(after, before)
                self.assert_echoes(held)
                self.assert_serves(PORT)
                self.machine.journal.wait_until(lambda: self.show('SubState') == 'running', 'done')
        self.assertEqual(self.master(), master)
        self.assertEqual(self.show('ActiveState'), 'active')
        self.assertEqual(self.show('NRestarts'), '0')
        self.assertEqual(self.listeners(), sockets)
        self.assertEqual(self.show('NFileDescriptorStore'), str(len(sockets)))
        self.machine.run('kill', '-KILL', str(master))
        self.await_new_master(master)
        self.assertEqual(self.listeners(), sockets)

    def test_a_binary_that_is_not_preforkd_is_refused(self):
        program = '/usr/sbin/preforkd'
        self.systemctl('start', 'preforkd')
        master = self.master()
        self.machine.run('cp', program, '/tmp/rig.saved')
        self.addCleanup(self.machine.run, 'mv', '/tmp/rig.saved', program)
        self.machine.run('cp', '/bin/true', program + '.new')
        self.machine.run('mv', program + '.new', program)
        self.machine.run('kill', '-USR2', str(master))
        self.machine.journal.wait(r'^preforkd: upgrade refused')
        self.assertEqual(self.master(), master)
        self.assert_serves(PORT)

    def test_a_worker_out_of_memory_does_not_end_the_service(self):
        self.assertEqual(self.show('OOMPolicy'), 'continue')

    def test_programs_have_what_they_need(self):
        self.machine.write('/srv/rig/probe', PROBE, mode=0o755)
        self.machine.run('install', '-d', '-o', 'preforkd', '/srv/rig/data')
        self.machine.run('install', '-m', '4755', '/usr/bin/id', '/srv/rig/id')
        self.machine.write(CONF, f'pool "probe" {{ listen = {{ "127.0.0.1:{PORT}" }} workers = 1 '
                           'exec { command = { "/srv/rig/probe" } } }\n')
        self.systemctl('start', 'preforkd')
        with self.machine.connect(PORT) as connection:
            found = json.loads(self.read_all(connection))
        self.assertEqual(found['refused'], {})
        self.assertNotEqual(found['uid'], 0)

    def test_a_pool_of_roots_can_log_users_in(self):
        self.machine.write(CONF, f'pool "login" {{ listen = {{ "127.0.0.1:{PORT}" }} workers = 1 '
                           'user = "root" exec { command = { "/bin/su", "-s", "/bin/sh", "-c", '
                           '"id -u", "nobody" } } }\n')
        self.systemctl('start', 'preforkd')
        with self.machine.connect(PORT) as connection:
            self.assertEqual(self.read_all(connection), b'65534\n')

    def test_pools_have_what_their_options_need(self):
        self.machine.write(CONF, 'pool "jail" { listen = { "unix:/tmp/rig.sock" } workers = 1 '
                           'user = "nobody" group = "nogroup" chroot = "/srv" directory = "/" '
                           'umask = 077 nice = -5 limits { nofile = 64 nproc = 100 } echo {} }\n')
        self.systemctl('start', 'preforkd')
        self.assert_serves('/tmp/rig.sock')
        worker = self.workers()[0]
        status = self.machine.read(f'/proc/{worker}/status')
        self.assertRegex(status, r'(?m)^Uid:(\t65534){4}$')
        limits = self.machine.read(f'/proc/{worker}/limits')
        self.assertRegex(limits, r'(?m)^Max open files +64 +64 ')
        self.assertEqual(self.machine.run('ps', '-o', 'ni=', '-p', str(worker)).strip(), '-5')
        self.assertEqual(self.machine.run('readlink', f'/proc/{worker}/root').strip(), '/srv')

    @unittest.skipUnless(os.path.exists('/lib/systemd/system/fcgiwrap.socket'), 'no fcgiwrap here')
    def test_fcgiwrap_is_replaced_in_the_manuals_steps(self):
        """The web server finds the same socket, with the same owner."""
        with open(HANDLERS, encoding='utf-8') as page:
            steps = page.read().partition('.Sh FROM FCGIWRAP')[2]
        pool = re.search(r'(?s)\.Bd -literal\n(.*?)\.Ed', steps)[1]
        stop, start = re.findall(r'(?m)^\.Dl (.*)$', steps)[:2]
        place = f'/proc/{self.machine.leader}/root/run/fcgiwrap.socket'
        params = {'SCRIPT_FILENAME': '/usr/lib/rig/cgi', 'REQUEST_METHOD': 'GET'}
        self.machine.write('/usr/lib/rig/cgi', '#!/bin/sh\necho Content-Type: text/plain\necho\n'
                           'cut -d" " -f4 /proc/$PPID/stat | xargs -I{} cat /proc/{}/comm\nid -un',
                           0o755)
        self.systemctl('enable', '--now', 'fcgiwrap.socket')
        self.addCleanup(self.machine.attempt, 'systemctl', 'disable', '--now', 'fcgiwrap.socket')
        before, owner = fastcgi.ask(place, params), os.stat(place)
        self.assertEqual(before.body.split()[-1:], [b'www-data'], before.stdout)
        self.systemctl('start', 'preforkd')
        self.machine.write('/etc/preforkd/pools.d/cgi.conf', pool)
        self.addCleanup(self.machine.remove, '/etc/preforkd/pools.d/cgi.conf')
        for step in (stop, start):
            self.machine.run('sh', '-c', step)
        after, owner_then = fastcgi.ask(place, params), os.stat(place)
        self.assertEqual(after.body, b'preforkd\nwww-data\n')
        for name in ('st_uid', 'st_gid', 'st_mode'):
            self.assertEqual(getattr(owner, name), getattr(owner_then, name), name)
        self.assertEqual(self.machine.attempt('systemctl', 'is-active', 'fcgiwrap.service',
                                              'fcgiwrap.socket')[1], 'inactive\ninactive\n')
        self.systemctl('restart', 'preforkd')
        self.assertEqual(fastcgi.ask(place, params).body, after.body)

    def systemctl(self, *arguments):
        """Runs systemctl, which must succeed."""
        return self.machine.run('systemctl', *arguments)

    def show(self, name):
        """Returns a property of the service."""
        return self.systemctl('show', '-P', name, 'preforkd.service').strip()

    def drop_in(self, *lines):
        """Adds lines to the unit's [Service]."""
        self.machine.write(f'{DROP_INS}/rig.conf', '\n'.join(('[Service]', *lines, '')))
        self.systemctl('daemon-reload')

    def master(self):
        """Returns the pid of the main process on the machine."""
        return int(self.show('MainPID'))

    def workers(self):
        """Returns the pids of the master's children."""
        master = self.master()
        return [int(pid) for pid in
                self.machine.read(f'/proc/{master}/task/{master}/children').split()]

    def await_status(self, part):
        """Waits until the status line of the service contains this."""
        self.machine.journal.wait_until(lambda: part in self.show('StatusText'), f'status {part}')

    def listeners(self):
        """Returns the inodes of the sockets on which the master's pools listen."""
        master = self.master()
        held = self.machine.run('ls', '-l', f'/proc/{master}/fd')
        listening = '\n'.join(line for line in self.machine.run('ss', '-Hlxnte').splitlines()
                              if 'control.sock' not in line)
        found = sorted(number for number in re.findall(r'socket:\[(\d+)\]', held)
                       if re.search(rf'\bino:{number}\b|\s{number}\s', listening))
        self.assertTrue(found)
        return found

    def await_new_master(self, old, restarts=1):
        """Waits until systemd has replaced the main process, which must serve."""
        self.machine.journal.wait_until(
            lambda: self.show('ActiveState') == 'active' and self.master() not in (0, old),
            'a new master')
        self.assertEqual(self.show('NRestarts'), str(restarts))
        self.assert_serves(PORT)

    def assert_serves(self, address):
        """A new connection is echoed."""
        with self.machine.connect(address) as connection:
            self.assert_echoes(connection)
            connection.shutdown(socket.SHUT_WR)
            self.assertEqual(self.read_all(connection), b'')

    def assert_echoes(self, connection):
        """The connection sends back what it receives."""
        sent = os.urandom(64)
        connection.sendall(sent)
        self.assertEqual(connection.recv(64, socket.MSG_WAITALL), sent)

    @staticmethod
    def read_all(connection):
        """Reads to the end of the stream, or to a reset."""
        received = b''
        try:
            while part := connection.recv(65536):
                received += part
        except ConnectionResetError:
            pass
        return received


class Connects(Clients):
    """They connect. A refused connection is recorded; a broken one is not, because its worker may
    die with the master."""

    def __init__(self, machine, *addresses):
        super().__init__(machine, *(functools.partial(self._connect, address)
                                    for address in addresses for _ in range(2)))
        self.refused = []

    def _connect(self, address):
        try:
            with self.machine.connect(address) as connection:
                connection.sendall(b'x')
                connection.recv(1)
        except (ConnectionRefusedError, FileNotFoundError) as error:
            self.refused.append(f'{address}: {error}')
        except OSError:
            pass


class Result(unittest.TextTestResult):
    """Shows the journal with each failure."""

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self.stream.writeln(f'the journal:\n{Story.machine.journal}')

    def addError(self, test, err):
        super().addError(test, err)
        self.stream.writeln(f'the journal:\n{Story.machine.journal}')


def load_tests(loader, _tests, _pattern):
    """The tests in the order of their definition."""
    wanted = loader.getTestCaseNames(Story)
    return unittest.TestSuite(Story(name) for name in vars(Story) if name in wanted)


def main():
    """Boots the machine, and runs the tests."""
    try:
        enclose()
        Story.machine = Machine(sys.argv.pop(1))
    except Unable as reason:
        print(f'skipped: {reason}')
        sys.exit(1 if 'RIG_REQUIRED' in os.environ else 77)
    try:
        Story.installed = Story.machine.read(CONF)
        unittest.main(testRunner=unittest.TextTestRunner(resultclass=Result, verbosity=2))
    finally:
        Story.machine.close()


if __name__ == '__main__':
    main()
