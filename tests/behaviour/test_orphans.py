"""A killed master leaves no process behind. Orphans become children of the test, which sees them
all."""

import signal
import subprocess

import client
import daemon
import processes
from processes import wait_until


class Orphans(daemon.Case):
    def killed(self, it):
        """Kills the master, and waits for the end of all processes below it."""
        family = processes.descendants(it.pid)
        it.kill(signal.SIGKILL)
        self.assertEqual(it.exited(), -signal.SIGKILL)
        wait_until(lambda: not processes.reap_strays(set()), lambda: 'no process left of '
                   f'{[(pid, processes.title(pid)) for pid in processes.reap_strays(set())]}',
                   timeout=20)
        self.assertFalse([pid for pid in family if processes.alive(pid)])

    def test_idle_workers(self):
        for workers in (1, 8, 64):
            it = self.start(f'pool "echo" {{ listen = {{ "systemd:echo" }} workers = {workers} '
                            'echo {} }\n')
            self.killed(it)
            self.assertRaises(OSError, client.connect, it.address('echo'))

    def test_workers_of_several_listeners(self):
        it = self.start('pool "echo" { listen = { "systemd:one", "systemd:two" } workers = 8\n'
                        'echo {} }\n')
        self.killed(it)

    def test_busy_workers(self):
        it = self.start('pool "echo" { listen = { "systemd:echo" } workers = 4 echo {} }\n')
        it.occupy('echo', 3)
        self.killed(it)

    def test_under_load(self):
        it = self.start('pool "echo" { listen = { "systemd:echo" } workers = 4 echo {} }\n')
        with client.Load(it.address('echo'), 4) as load:
            wait_until(lambda: load.served > 100, 'a running load')
            self.killed(it)

    def test_programs_and_their_children(self):
        """Including programs that ignore what can be ignored."""
        it = self.start('pool "x" { listen = { "systemd:x" } workers = 3 exec { command = {\n'
                        '"/bin/sh", "-c", "trap \'\' TERM HUP INT QUIT; '
                        '(sleep 1000 | sleep 1000) & sleep 1000 & echo hello; cat; wait" } } }\n')
        held = []
        for _ in range(3):
            connection = it.connect('x')
            self.addCleanup(connection.close)
            self.assertEqual(client.read_exactly(connection, 6), b'hello\n')
            held.append(connection)
        self.assertGreater(len(processes.descendants(it.pid)), 9)
        self.killed(it)

    def test_while_workers_are_born(self):
        """The master is killed while it forks: a worker may lose it before it asked for the death
        signal."""
        for _ in range(10):
            it = self.make('pool "echo" { listen = { "systemd:echo" } workers = 50 echo {} }\n')
            it.launch()
            wait_until(lambda: len(processes.children(it.pid)) > 3, 'the first workers')
            self.killed(it)

    def test_during_a_reload(self):
        config = 'pool "echo" { listen = { "systemd:echo" } workers = 20 umask = %s echo {} }\n'
        for _ in range(5):
            it = self.start(config % '022')
            before = set(it.workers())
            it.write(config % '077')
            it.kill(signal.SIGHUP)
            wait_until(lambda: set(it.workers()) - before, 'a worker of the reload')
            self.killed(it)

    def test_stopped_master(self):
        """Workers of a stopped master go on serving, and still end with it."""
        it = self.start('pool "echo" { listen = { "systemd:echo" } workers = 2 echo {} }\n')
        it.kill(signal.SIGSTOP)
        self.assertEqual(client.ask(it.address('echo'), b'x'), b'x')
        self.killed(it)

    @daemon.needs_root
    def test_after_the_user_was_dropped(self):
        """Changing the user clears a death signal requested before."""
        it = self.start('pool "a" { listen = { "systemd:a" } workers = 2 echo {}\n'
                        ' user = "daemon" }\n'
                        'pool "b" { listen = { "systemd:b" } workers = 2 echo {} }\n')
        uids = {processes.status(pid)['Uid'].split()[0] for pid in it.workers()}
        self.assertEqual(len(uids), 2)
        self.assertNotIn('0', uids)
        self.killed(it)

    def test_processes_of_others_are_let_be(self):
        """Tests the test: of its children, only those that it has not registered are strays."""
        with subprocess.Popen(['sleep', '1000'], stdin=subprocess.DEVNULL) as child:
            try:
                self.assertEqual(processes.reap_strays(set()), [child.pid])
                self.assertEqual(processes.reap_strays({child.pid}), [])
                processes.OURS.add(child.pid)
                self.assertEqual(processes.reap_strays(set()), [])
            finally:
                processes.OURS.discard(child.pid)
                child.kill()


if __name__ == '__main__':
    daemon.main()
