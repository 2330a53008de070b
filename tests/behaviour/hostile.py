"""A daemon with attackers among its pools, and what must hold after any attack.

All of it runs in a PID namespace of its own, since an attacker signals whatever it may. The pools
`evil` (a module, hostile.c) and `intrude` (a program, intruder.c) run as a user that nobody else
has; the other pools must not notice anything.
"""

import contextlib
import ctypes
import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys

import client
import control
import daemon
import processes
import web
from processes import wait_until

BUILD = os.path.join(os.path.dirname(daemon.BINARY), '../tests/behaviour')
BOUND = 20  # seconds; a healthy daemon needs less for anything here

CONFIG = '''
control = "@DIR@/control"
user = "daemon"
group = "daemon"
graceful_timeout = 2
pool "echo" { listen = { "systemd:echo" } workers = 2 user = "root" group = "root" echo {} }
pool "load" { listen = { "systemd:load" } max_workers = %(most)d echo {} }
pool "run" { listen = { "systemd:run" } workers = %(runners)d request_timeout = 30
exec { command = { "/bin/cat" } } }
pool "web" { listen = { "systemd:web" } workers = 1 %(web)s {} }
pool "check" { listen = { "systemd:check" } workers = 1 agent {} }
pool "evil" { listen = { "unix:@DIR@/evil%(turn)d", "127.0.0.1:%(port)d" } socket_mode = 0666
workers = 2 user = "nobody" group = "nogroup" module { path = "@DIR@/hostile.so" } }
pool "intrude" { listen = { "systemd:intrude" } workers = 1 request_timeout = %(limit)d
user = "nobody" group = "nogroup" exec { command = { "@DIR@/intruder" } } }
'''
ADDED = 'pool "added" { listen = { "unix:@DIR@/added" } workers = 1 echo {} }\n'
UNHURT = ('echo', 'load', 'run', 'web', 'check')
HURT = r'pool=(evil|intrude)\b|pool (evil|intrude)\b'  # the lines that an attack may cause
MOST_LINES = 40  # the most lines that the daemon may log about one attack and its end


def has_web():
    done = subprocess.run([daemon.BINARY, '-V'], capture_output=True, text=True, check=False)
    return '+microhttpd' in done.stdout


def serves(connection_or_address, data=b'are you there?'):
    return client.ask(connection_or_address, data, BOUND) == data


def dumpable(pid):
    """Whether a process below us could dump core: only then may a process that is like it, but
    lacks CAP_SYS_PTRACE, read its memory (ptrace(2))."""
    libc = ctypes.CDLL(None, use_errno=True)
    header, had = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    nowhere, byte = (ctypes.c_size_t * 2)(1, 1), ctypes.create_string_buffer(1)
    here = (ctypes.c_size_t * 2)(ctypes.addressof(byte), 1)
    if libc.capget(header, had) != 0:
        raise OSError(ctypes.get_errno(), 'capget')
    fewer = (ctypes.c_uint32 * 6)(had[0] & ~(1 << 19), *had[1:])
    if libc.capset(header, fewer) != 0:  # of this thread only
        raise OSError(ctypes.get_errno(), 'capset')
    try:
        libc.process_vm_readv(pid, here, 1, nowhere, 1, 0)
        return ctypes.get_errno() == errno.EFAULT
    finally:
        libc.capset(header, had)


class Witness:
    """A process that nobody may touch, in its own session and group."""

    def __init__(self, case, user):
        self.user = user
        self.child = subprocess.Popen(['sleep', '1000'], user=user, start_new_session=True,
                                      stdin=subprocess.DEVNULL)
        self.pid = self.child.pid
        processes.OURS.add(self.pid)
        case.addCleanup(self.end)

    def end(self):
        self.child.kill()
        self.child.wait()
        processes.OURS.discard(self.pid)

    def unhurt(self):
        return self.child.poll() is None and processes.stat(self.pid)[0] == 'S'


@daemon.needs_root
class Case(daemon.Case):
    def setUp(self):
        super().setUp()
        self.witnesses = [Witness(self, user) for user in ('root', 'daemon')]

    # -- the daemon

    def begin(self, limit=30, **arguments):
        """Starts the daemon with the attackers in it, and records how it is at rest."""
        self.ports = [daemon.reserve_port(self) for _ in range(2)]
        self.values = {'most': 4, 'runners': 1, 'turn': 0, 'port': self.ports[0], 'limit': limit,
                       'web': 'status' if has_web() else 'daytime'}
        it = self.make(CONFIG % self.values, **arguments).own_program()
        for name in ('hostile.so', 'intruder'):
            shutil.copy(os.path.join(BUILD, name), it.path(name))
            os.chmod(it.path(name), 0o755)
        it.announce(HURT)
        it.launch().ready()
        self.workers_then = len(it.workers())
        self.memory_then = processes.memory_kilobytes(it.pid)[0]
        self.dumpable_then = dumpable(it.pid)
        self.descriptors_then = self.descriptors(it)
        self.mark = it.mark()
        self.before = self.figures(it)
        self.assertEqual(self.before, self.truth(it))
        return it

    def configure(self, it, more='', **changed):
        self.values |= changed
        return CONFIG % self.values + more

    def ctl(self, it, *arguments):
        done = control.run(it, *arguments, timeout=BOUND)
        self.assertEqual(done.returncode, 0, f'{arguments}: {done.stdout}{done.stderr}')
        return done

    def report(self, it):
        """{name: the daemon's report of a pool}."""
        pools = json.loads(self.ctl(it, '--json', 'status').stdout)['pools']
        return {pool['name']: pool for pool in pools}

    def figures(self, it, names=UNHURT):
        """The figures of each pool that stay the same while it is idle."""
        report = self.report(it)
        return {name: (pool['state'], pool['ready'], pool['accepted'], pool['served'],
                       pool['refused']['denied'],
                       sorted((worker['pid'], worker['state']) for worker in pool['workers']))
                for name, pool in report.items() if name in names}

    def truth(self, it, names=UNHURT):
        """The same figures for unused pools, as the process list shows them."""
        there = {name: it.workers(name) for name in names}
        return {name: ('serving', len(pids), 0, 0, 0, [(pid, 'idle') for pid in pids])
                for name, pids in there.items()}

    def true_report(self, it, name, count=None):
        """Waits until a pool's report agrees with the process list, and is sound."""
        def is_true():
            told, there = self.report(it).get(name), it.workers(name)
            if not told or told['state'] != 'serving':
                return False
            old = [worker for worker in told['workers'] if worker['retiring']]
            if old and name in UNHURT:  # an attacker that hangs may stay behind
                return False
            now = [worker for worker in told['workers'] if not worker['retiring']]
            return (told['ready'] == len(now) and told['idle'] + told['busy'] >= len(now)
                    and sorted(worker['pid'] for worker in told['workers']) == there
                    and all(worker['generation'] == told['generation'] and worker['age'] < 3600
                            for worker in now)
                    and (count is None or len(there) == count))
        wait_until(is_true, lambda: f'a true report of {name}, where {it.workers(name)} are: '
                                    f'{self.report(it).get(name)}', timeout=BOUND)

    # -- attacks

    def evil(self, it, line, timeout=BOUND):
        """Sends the module a command; returns its answer, or None."""
        with contextlib.suppress(OSError):
            with client.connect(it.path(f'evil{self.values["turn"]}'), timeout) as connection:
                connection.sendall(line.encode() + b'\n')
                return client.read_all(connection).decode(errors='replace')
        return None

    def expand(self, it, text):
        for name, value in {'MASTER': it.pid, 'WITNESS': self.witnesses[0].pid,
                            'WORKER': it.workers('echo')[0]}.items():
            text = text.replace(name, str(value))
        return text

    # -- what must hold after any attack

    def everything_works(self, it, listeners_hurt=False):
        self.others_did_not_notice(it)
        self.others_serve(it)
        self.others_obey(it)
        self.attacker_is_healed(it, listeners_hurt)
        self.death_is_replaced(it)
        self.master_is_as_it_was(it)
        self.upgrade_goes_through(it)
        self.log_is_sober(it)
        it.stop(timeout=BOUND)
        for witness in self.witnesses:
            self.assertTrue(witness.unhurt(), f'the witness of {witness.user}')

    def others_did_not_notice(self, it):
        self.ctl(it, 'ping')
        wait_until(lambda: self.figures(it) == self.before, timeout=BOUND,
                   what=lambda: f'the same figures: {self.before}; they are {self.figures(it)}')

    def others_serve(self, it):
        for name in ('echo', 'load', 'run'):
            for _ in range(3):
                self.assertTrue(serves(it.address(name)), name)
        answer = client.ask(it.address('check'), b'', BOUND)
        self.assertRegex(answer, rb'^\d+%|^up|^ready|^down #pool (evil|intrude) ')
        if has_web():
            pools = web.get(it.address('web'), '/status.json', timeout=BOUND).json()['pools']
            told = next(pool for pool in pools if pool['name'] == 'echo')
            self.assertEqual(sorted(worker['pid'] for worker in told['workers']),
                             it.workers('echo'))

    def others_obey(self, it):
        """Scales, reloads and restarts the other pools."""
        self.ctl(it, 'scale', 'echo', '3')
        self.true_report(it, 'echo', 3)
        it.kill(signal.SIGTTIN)
        self.true_report(it, 'echo', 4)
        it.write(self.configure(it, ADDED, runners=2))
        # The attacker's output may fill the log and push our lines out: ask preforkctl.
        self.assertIn('pool added: added', self.ctl(it, 'reload').stdout)
        self.assertTrue(serves(it.path('added')))
        self.true_report(it, 'added', 1)
        self.true_report(it, 'run', 2)
        self.ctl(it, 'restart', 'load')
        self.true_report(it, 'load')
        for name in ('echo', 'load', 'run'):
            self.assertTrue(serves(it.address(name)), name)
        it.write(self.configure(it, runners=1))
        self.ctl(it, 'reload')
        self.true_report(it, 'echo', 2)

    def attacker_is_healed(self, it, listeners_hurt):
        """Replaces the attackers' workers; nothing of the attack is left in their new memory."""
        if listeners_hurt:
            it.write(self.configure(it, turn=self.values['turn'] + 1, port=self.ports[1]))
            self.ctl(it, 'reload')
        else:
            self.ctl(it, 'restart', 'evil')
        self.ctl(it, 'restart', 'intrude')
        for name in ('evil', 'intrude'):
            self.true_report(it, name)
        then = self.report(it)['evil']['accepted']
        self.assertEqual(self.evil(it, 'hello'), 'hello\n')
        wait_until(lambda: self.report(it)['evil']['accepted'] == then + 1,
                   lambda: f'{then + 1} accepted: {self.report(it)["evil"]}', timeout=BOUND)

    def death_is_replaced(self, it):
        for name in ('echo', 'load'):
            worker = it.workers(name)[0]
            it.announce(rf'killed by signal 9 .*pid={worker}\b')
            it.kill(signal.SIGKILL, worker)
            wait_until(lambda: it.workers(name) and worker not in it.workers(name),
                       'a replacement', timeout=BOUND)
            self.true_report(it, name)
            ledger = json.loads(self.ctl(it, '--json', 'status').stdout)['ledger']
            self.assertEqual([death['signal'] for death in ledger
                              if (death['pool'], death['pid']) == (name, worker)], ['KILL'])

    def descriptors(self, it):
        """(the master's descriptors except scoreboards, those of scoreboards). Each scoreboard has
        a second one once a reporter has asked for it."""
        texts = processes.descriptors(it.pid).values()
        boards = sum('preforkd-scoreboard' in text for text in texts)
        return len(texts) - boards, boards

    def master_is_as_it_was(self, it):
        """The master is as before, except for attackers that hang: they stay until the stop, with
        their scoreboards and an eventfd each."""
        def same():
            pools = self.report(it)
            left = {(name, worker['generation']) for name, pool in pools.items()
                    for worker in pool['workers'] if worker['retiring']}
            more = len(it.workers()) - self.workers_then + len(left)  # a pipe each
            others, boards = self.descriptors(it)
            least = len(pools) + len(left)
            return others == self.descriptors_then[0] + more and least <= boards <= 2 * least
        wait_until(same, lambda: f'{self.descriptors_then} descriptors with {self.workers_then} '
                   f'workers: {processes.descriptors(it.pid)}, {it.workers()}', timeout=BOUND)
        memory = processes.memory_kilobytes(it.pid)[0]
        if not daemon.sanitized():  # sanitizers keep freed memory
            self.assertLessEqual(memory, 2 * self.memory_then + 1024, 'memory of the master')
        self.assertEqual(dumpable(it.pid), self.dumpable_then, 'whether it may dump core')

    def upgrade_goes_through(self, it):
        held = it.occupy('echo', 1) + it.occupy('load', 2)
        mark = it.mark()
        it.install()
        self.ctl(it, 'upgrade')
        it.wait_for_log('upgraded from preforkd', mark, timeout=BOUND)  # a pipe: nothing gets lost
        for connection in held:
            self.assertEqual(client.echo(connection, b'goes on'), b'goes on')
            connection.close()
        for name in ('echo', 'load', 'run'):
            self.assertTrue(serves(it.address(name)), name)
        for name in UNHURT:
            self.true_report(it, name)
        self.assertEqual(self.evil(it, 'hello'), 'hello\n')

    def log_is_sober(self, it):
        """The log blames the pool that broke something, and does not repeat itself."""
        trouble = [line for line in it.log.lines[self.mark:] if re.search(HURT, line)
                   and re.search(r'\]: (err|warning): ', line)]
        self.assertLessEqual(len(trouble), MOST_LINES, '\n'.join(trouble))


def main():
    """Like daemon.main, in new PID and mount namespaces: an attacker that signals everybody reaches
    nobody outside, and nothing outlives the namespace."""
    inside = ['unshare', '--pid', '--fork', '--kill-child', '--mount-proc']
    if os.geteuid() == 0 and 'HOSTILE_INSIDE' not in os.environ:
        tried = subprocess.run([*inside, 'true'], capture_output=True, text=True, check=False)
        if tried.returncode != 0:
            print(f'skip: no namespaces of processes here: {tried.stderr}')
            raise SystemExit(77)
        os.environ['HOSTILE_INSIDE'] = 'yes'
        os.execvp(inside[0], [*inside, sys.executable, *sys.argv])
    daemon.main()
