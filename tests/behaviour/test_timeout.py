"""request_timeout: a request that takes too long ends with all its processes, and nothing else
does."""

import signal
import time

import client
import daemon
import processes
import wording
from daemon import shell
from processes import wait_until

LATE = r'warning: .*by us, its request took more than request_timeout'


class Programs(daemon.Case):
    def begin(self, script, workers=1):
        it = self.start(shell(script, 'request_timeout = 5', workers))
        it.announce(LATE, 'the program for .* was killed by signal (9|15)')
        it.same_descriptors = True
        return it, it.workers()

    def test_program_that_obeys(self):
        it, (worker,) = self.begin('echo hello; exec sleep 1000')
        text = client.ask(it.address('x'))
        self.assertEqual(text, b'hello\n')
        line = it.wait_for_log(LATE).string
        self.assertEqual(wording.field(line, 'pid'), str(worker))
        self.assertEqual(wording.field(line, 'exit'), '0')
        it.wait_for_workers(1, without=[worker])

    def test_program_that_ignores_term_and_its_child(self):
        """Both are killed, and the replacement serves long before."""
        it, (worker,) = self.begin(
            "trap '' TERM; sleep 1000 & echo $$ $!; while :; do wait; done")
        with it.connect('x') as connection:
            family = [int(word) for word in connection.recv(100).split()]
            other = wait_until(lambda: [pid for pid in it.workers() if pid != worker],
                               'the replacement')
            self.assertTrue(all(map(processes.alive, [worker, *family])), 'it came before the end')
            with it.connect('x') as another:
                self.assertRegex(another.recv(100), rb'^\d+ \d+\n$')
                wait_until(lambda: not any(map(processes.alive, [worker, *family])), 'all gone')
        self.assertNotIn(worker, other)
        self.assertTrue(it.wait_for_log(LATE + rf'.*pid={worker}\b'))

    def test_child_that_outlives_the_program(self):
        it, (worker,) = self.begin("(trap '' TERM; sleep 1000) & echo $!; exec sleep 1000")
        with it.connect('x') as connection:
            child = int(connection.recv(100))
            wait_until(lambda: not processes.alive(child), 'the end of the child')
        it.wait_for_workers(1, without=[worker])

    def test_stopped_worker(self):
        """A stopped worker can't obey, and neither can its program."""
        it, (worker,) = self.begin("trap '' TERM; echo $$; kill -STOP $$")
        it.announce('killed by signal 9')
        with it.connect('x') as connection:
            program = int(connection.recv(100))
            it.kill(signal.SIGSTOP, worker)
            it.wait_for_log(rf'killed by signal 9 .*request_timeout.*pid={worker}\b')
            wait_until(lambda: not processes.alive(program), 'the end of the program')

    def test_master_and_neighbours_stay(self):
        it, _ = self.begin('echo hello; exec sleep 1000', workers=3)
        for _ in range(4):
            old = it.workers()
            held = [it.connect('x') for _ in range(3)]
            for connection in held:
                self.assertEqual(client.read_all(connection), b'hello\n')
                connection.close()
            it.wait_for_workers(3, without=old)

    def test_in_time_is_untouched(self):
        it = self.start(shell('echo hello; cat', 'request_timeout = 3600'))
        worker = it.workers()
        for _ in range(3):
            self.assertEqual(client.ask(it.address('x'), b'data'), b'hello\ndata')
        self.assertEqual(it.workers(), worker)


class Inside(daemon.Case):
    def chargen(self, options='workers = 1 request_timeout = 5'):
        it = self.start(f'pool "c" {{ listen = {{ "systemd:c" }} {options} chargen {{}} }}\n')
        it.announce(LATE, 'killed by signal 9')
        return it, it.workers()[0]

    def test_client_that_reads_for_ever(self):
        it, worker = self.chargen()
        with it.connect('c') as connection:
            got = 0
            try:
                while piece := connection.recv(65536):
                    got += len(piece)
            except ConnectionResetError:
                pass
            self.assertGreater(got, 0)
        it.wait_for_log(LATE + rf'.*pid={worker}\b')
        it.wait_for_workers(1, without=[worker])

    def test_client_that_reads_nothing(self):
        it, worker = self.chargen()
        with it.connect('c'):
            it.wait_for_log(LATE + rf'.*pid={worker}\b')
            it.wait_for_workers(1, without=[worker])

    def test_stopped_worker(self):
        it, worker = self.chargen()
        with it.connect('c') as connection:
            connection.recv(1)
            it.kill(signal.SIGSTOP, worker)
            it.wait_for_log(rf'killed by signal 9 .*request_timeout.*pid={worker}\b')
        it.wait_for_workers(1, without=[worker])

    def test_idle_worker_is_never_late(self):
        it = self.start('pool "e" { listen = { "systemd:e" } workers = 2 request_timeout = 5\n'
                        'echo {} }\n')
        workers = it.workers()
        until = time.monotonic() + 7
        while time.monotonic() < until:
            self.assertEqual(client.ask(it.address('e'), b'x'), b'x')
        self.assertEqual(it.workers(), workers)

    def test_changes_in_place(self):
        it, worker = self.chargen('workers = 1')
        it.announce(LATE)
        with it.connect('c') as connection:
            connection.recv(1)
            config = 'pool "c" { listen = { "systemd:c" } workers = 1 %s chargen {} }\n'
            it.reload(config % 'request_timeout = 3600')
            self.assertEqual(it.workers(), [worker])
            it.reload(config % 'request_timeout = 1')
            it.wait_for_log(LATE + rf'.*pid={worker}\b')

    def test_retiring_worker_is_late_too(self):
        it, worker = self.chargen()
        with it.connect('c') as connection:
            connection.recv(1)
            it.reload('pool "c" { listen = { "systemd:c" } workers = 1 request_timeout = 5\n'
                      'chargen {} umask = 077 }\n')
            it.wait_for_log(LATE + rf'.*pid={worker}\b')


if __name__ == '__main__':
    daemon.main()
