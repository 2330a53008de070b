"""A program that signals whatever it may, and one that became root: neither goes unnoticed."""

import os
import shutil
import signal
import time

import hostile
import processes
import wording
from processes import wait_until

# A pool whose program becomes root by the set-user-ID bit, beside an ordinary pool.
BECOME = '''
control = "@DIR@/control"
user = "daemon"
group = "daemon"
graceful_timeout = 1
pool "echo" { listen = { "systemd:echo" } workers = 1 echo {} }
pool "root" { listen = { "systemd:root" } workers = 1 request_timeout = %d
user = "nobody" group = "nogroup" exec { command = { "@DIR@/rooted", "root" } } }
'''
SIGNALS = {'stop': signal.SIGSTOP, 'term': signal.SIGTERM, 'kill': signal.SIGKILL,
           'quit': signal.SIGQUIT, 'urg': signal.SIGURG, 'chld': signal.SIGCHLD,
           'hup': signal.SIGHUP, 'usr2': signal.SIGUSR2, 'alrm': signal.SIGALRM}
SECONDS = 1


class Signals(hostile.Case):
    """Signals to every process that the program's user may signal."""

    def ask_intruder(self, it, line):
        connection = it.connect('intrude', hostile.BOUND)
        self.addCleanup(connection.close)
        connection.sendall(line.encode() + b'\n')
        return connection

    def others_work_meanwhile(self, it, seconds):
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.ctl(it, 'ping')
            for name in ('echo', 'load', 'run'):
                self.assertTrue(hostile.serves(it.address(name)), name)
            self.ctl(it, 'scale', 'echo', '3')
            self.true_report(it, 'echo', 3)
            self.ctl(it, 'scale', 'echo', '2')
            self.true_report(it, 'echo', 2)

    def attack(self, line, seconds):
        """Pools of the attacker's own user may suffer, no other."""
        it = self.begin(limit=1)
        it.announce('killed by signal', 'request_timeout')
        self.ask_intruder(it, line)
        self.others_work_meanwhile(it, seconds)
        self.before = self.figures(it)
        self.everything_works(it)

    def test_every_one(self):
        self.attack('signals', 1)


class BecomesRoot(hostile.Case):
    """A program that became root ends, or a warning names it and its slot stays occupied. Once the
    master is killed, nobody is left to do that: see the manual."""

    def begin_become(self, limit=3600):
        it = self.make(BECOME % limit)
        program = it.path('rooted')
        shutil.copy(os.path.join(hostile.BUILD, 'intruder'), program)
        os.chmod(program, 0o4755)
        if os.statvfs(program).f_flag & os.ST_NOSUID:
            self.skipTest(f'{it.directory} is mounted nosuid')
        it.launch().ready()
        it.announce(r'pool=root\b')
        connection = it.connect('root', hostile.BOUND)
        self.addCleanup(connection.close)
        pid, user = connection.makefile('r').readline().split()
        self.assertEqual(user, '0')
        self.assertTrue(processes.alive(int(pid)))
        return it, int(pid), it.workers('root')[0]

    def named(self, it, pid):
        return it.log.find(rf'(warning|err): .*\b{pid}\b')

    def gone_or_named(self, it, pid, running=True):
        def judged():
            return not processes.alive(pid) or self.named(it, pid)
        try:
            wait_until(judged, f'an end of {pid}, or a warning', timeout=hostile.BOUND)
            if running and processes.alive(pid):  # its slot stays occupied
                self.assertEqual(it.workers('root'), [])
        finally:
            if processes.alive(pid):
                os.kill(pid, signal.SIGKILL)
        if running:
            self.assertTrue(hostile.serves(it.address('echo')))
            it.wait_for_workers(1, pool='root')
            it.stop(timeout=hostile.BOUND)

    def test_request_timeout(self):
        it, pid, worker = self.begin_become(5)
        wait_until(lambda: worker not in it.workers(), 'the end of its worker',
                   timeout=hostile.BOUND)
        self.gone_or_named(it, pid)

    def test_killed_worker(self):
        it, pid, worker = self.begin_become()
        it.kill(signal.SIGKILL, worker)
        it.wait_for_log(wording.obituary(worker))
        self.gone_or_named(it, pid)

    def test_stop(self):
        for number in (signal.SIGTERM, signal.SIGQUIT):
            with self.subTest(number.name):
                it, pid, _ = self.begin_become()
                it.kill(number)
                self.assertEqual(it.exited(hostile.BOUND), 0)
                self.gone_or_named(it, pid, running=False)


def add(name, number):
    def test(self):
        self.attack(f'signal {int(number)} {SECONDS}', SECONDS + 1)
    setattr(Signals, 'test_' + name, test)


for words, chosen in SIGNALS.items():
    add(words, chosen)

if __name__ == '__main__':
    hostile.main()
