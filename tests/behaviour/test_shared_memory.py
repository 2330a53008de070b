"""The memory that workers share with the master and can write to: their pool's scoreboard only."""

import os
import shutil
import signal

import client
import control
import daemon
from processes import wait_until

ECHO = ('control = "@DIR@/control"\n'
        'pool "e" { listen = { "systemd:e" } workers = 2 %s\necho {} }\n')
SLOW = 'pool "slow" { listen = { "systemd:slow" } workers = 1 module { path = "@DIR@/evil.so"\n' \
       'args = { "check=hang" } } }\n'


def writable(pid):
    """The writable shared mappings of a process."""
    with open(f'/proc/{pid}/maps', encoding='ascii') as file:
        rows = [line.split(maxsplit=5) for line in file]
    return sorted(row[5].strip() if len(row) > 5 else 'anonymous'
                  for row in rows if row[1][1] == 'w' and row[1][3] == 's')


class Workers(daemon.Case):
    OWN = ['/memfd:preforkd-scoreboard (deleted)']

    def check(self, it, known=()):
        """Checks each worker of the pool that is not in `known`."""
        found = wait_until(lambda: [pid for pid in it.workers('e') if pid not in known],
                           'a new worker')
        for pid in found:
            with self.subTest(pid):
                self.assertEqual(writable(pid), self.OWN)
        return found

    def replace(self, it):
        """Kills a worker, so that the master forks one in its present state."""
        it.announce('killed by signal 9 .*respawned')
        known = it.workers('e')
        it.kill(signal.SIGKILL, max(known))  # the youngest is not about to retire
        self.check(it, known)

    def begin(self, more=''):
        it = self.make(ECHO % '' + more)
        shutil.copy(os.path.join(os.path.dirname(daemon.BINARY), '../tests/behaviour/evil.so'),
                    it.path('evil.so'))
        return it.launch().ready()

    def test_at_the_start(self):
        it = self.begin()
        self.check(it)
        self.replace(it)

    def test_limits_per_source(self):
        it = self.make(ECHO % 'max_per_source = 2').launch().ready()
        for pid in it.workers('e'):
            self.assertEqual(writable(pid), ['/memfd:preforkd-limits (deleted)'] + self.OWN)

    def test_workers_of_several_seats(self):
        for model in ('model = "thread" threads = 4', 'model = "event" connections = 40'):
            self.check(self.make(ECHO % model).launch().ready())

    def test_reload(self):
        it = self.begin()
        it.reload(ECHO % 'umask = 027')
        self.check(it)
        self.replace(it)

    def test_while_a_file_is_checked(self):
        """A child fills memory with the configuration; no other child gets that memory."""
        it = self.begin()
        it.announce('refused|its check took more than')
        it.write(ECHO % 'umask = 027' + SLOW)
        mark = it.mark()
        it.kill(signal.SIGHUP)
        wait_until(lambda: [pid for pid in daemon.processes.children(it.pid)
                            if 'checking' in daemon.processes.title(pid)], 'the check')
        self.replace(it)
        it.wait_for_log('refused', mark)
        self.replace(it)

    def test_restart(self):
        it = self.begin()
        known = it.workers('e')
        control.ask(it, 'restart', 'e')
        self.check(it, known)
        self.replace(it)

    def test_upgrade(self):
        it = self.begin()
        it.upgrade()
        self.replace(it)
        it.reload()
        self.replace(it)
        self.assertEqual(client.ask(it.address('e'), b'x'), b'x')

    def test_upgrade_with_another_file(self):
        """Old workers stay for their clients; what the master keeps of them is its own."""
        it = self.begin()
        held, = it.occupy('e', 1)
        old = it.workers('e')
        it.write(ECHO % 'umask = 027')
        it.upgrade()
        self.check(it, old)
        self.replace(it)
        self.assertEqual(client.echo(held, b'still'), b'still')
        held.close()


class Texts(daemon.Case):
    """A worker that can't start says why in shared memory, where others of its pool write too."""

    def test_reason_without_an_end(self):
        it = self.make('control = "@DIR@/control"\n'
                       'pool "m" { listen = { "systemd:m" } workers = 1\n'
                       'module { path = "@DIR@/hostile.so" } }\n')
        shutil.copy(os.path.join(os.path.dirname(daemon.BINARY), '../tests/behaviour/hostile.so'),
                    it.path('hostile.so'))
        it.announce("can't start: A{159} ")
        it.launch().ready()
        control.ask(it, 'restart', 'm')
        self.assertEqual(client.ask(it.address('m'), b'endless - 1\n'), b'done\n')
        for _ in range(50):
            client.ask(it.address('m'), b'exit - 71\n')
        it.wait_for_log("can't start: A{159} ")
        control.ask(it, 'ping')


if __name__ == '__main__':
    daemon.main()
