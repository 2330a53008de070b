"""The master waits for nothing that another user can hold up."""

import contextlib
import ctypes
import json
import os
import signal
import socket
import struct
import subprocess

import client
import control
import daemon
import processes
import test_app

CONTROL = 'control = "@DIR@/control"\n'
UNTIL = struct.pack('ii', 1, 100000)  # SO_LINGER: a close waits so many seconds for its data


@contextlib.contextmanager
def slow_to_close():
    """A connection whose last close waits until its data is read, which nobody does."""
    with daemon.listen_tcp() as listener:
        connection = socket.create_connection(listener.getsockname())
        with listener.accept()[0]:
            connection.setblocking(False)
            with connection:
                with contextlib.suppress(BlockingIOError):
                    while True:
                        connection.send(bytes(65536))
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, UNTIL)
                yield connection
                if connection.fileno() >= 0:  # nobody took it
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, bytes(8))


class Descriptors(test_app.Case):
    """Descriptors that another user sends to the master, and whose close waits."""

    def send(self, through, data=b'x'):
        """Sends the last copy of such a descriptor. The master is paused: had it dropped its copy
        first, ours would be the last, and we would wait."""
        connection = self.enterContext(slow_to_close())
        socket.send_fds(through, [data], [connection.fileno()])
        connection.close()

    def enterContext(self, manager):  # unittest has it from Python 3.11 on
        result = manager.__enter__()
        self.addCleanup(manager.__exit__, None, None, None)
        return result

    def start_notified(self):
        it = self.start(CONTROL + test_app.app('workers = 1', 'ready = "notify"', ['READY=1']))
        it.same_descriptors = True
        stranger = self.enterContext(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        stranger.connect(self.facts(it)['environment']['NOTIFY_SOCKET'])
        return it, stranger

    def answers(self, it):
        self.assertEqual(control.ask(it, 'ping').status, 0)

    def test_in_a_notice(self):
        it, stranger = self.start_notified()
        for _ in range(3):
            with it.paused():
                self.send(stranger, b'FDSTORE=1')
        self.answers(it)
        it.stop()

    def test_in_a_notice_that_is_not_read(self):
        """It is in the queue when the socket is closed."""
        it, stranger = self.start_notified()
        worker, = it.workers()
        with it.paused():
            for _ in range(5):
                self.send(stranger)
            it.kill(signal.SIGKILL, worker)
        it.announce('killed by signal 9')
        it.wait_for_workers(1, without=[worker])
        self.answers(it)
        it.stop()

    def test_in_a_request(self):
        it = self.start(CONTROL + test_app.app())
        for data in (b'ping\n', b'ping', b'\0\n'):
            with client.connect(it.path('control')) as caller, it.paused():
                self.send(caller, data)
        self.answers(it)
        it.stop()

    def test_in_a_request_that_is_not_read(self):
        """It follows the request, and is in the queue when the connection is closed."""
        it = self.start(CONTROL + test_app.app())
        with client.connect(it.path('control')) as caller:
            with it.paused():
                caller.sendall(b'ping\n')
                self.send(caller)
        self.answers(it)
        it.stop()

    def test_in_the_queue_of_a_listener(self):
        kept = CONTROL + 'pool "y" { listen = { "unix:@DIR@/y" } workers = 1 echo {} }\n'
        it = self.start(kept + 'pool "x" { listen = { "unix:@DIR@/x" } workers = 1 echo {} }\n')
        self.assertEqual(control.ask(it, 'drain', 'x').status, 0)
        with client.connect(it.path('x')) as connection:
            self.send(connection)
        it.reload(kept)
        self.answers(it)
        it.stop()


# The first of these leaves a process that has a file instead of the listener; the others serve.
LEAVES = """
import os, time
try:
    os.mkdir('@DIR@/open/left')
except FileExistsError:
    os.execv('@PYTHON@', ['@PYTHON@', '-I', '@DIR@/server.py'])
reader, writer = os.pipe()
child = os.fork()
if child == 0:
    os.setsid()
    held = os.open('@DIR@/files', os.O_PATH)
    os.dup2(held, 0)
    os.dup2(held, 3)
    os.write(writer, b'x')
    time.sleep(1000)
with open('@DIR@/open/pid', 'w') as file:
    file.write(str(child))
os.read(reader, 1)
"""


@daemon.needs_root
class Files(test_app.Case):
    """Files of a file system whose server never answers (FUSE)."""

    def mount(self, place):
        libc = ctypes.CDLL(None, use_errno=True)
        server = os.open('/dev/fuse', os.O_RDWR)
        self.addCleanup(os.close, server)  # whoever waits for it goes on
        options = f'fd={server},rootmode=40000,user_id=0,group_id=0,allow_other'
        if libc.mount(b'silent', place.encode(), b'fuse', 0, options.encode()) != 0:
            raise OSError(ctypes.get_errno(), 'mount')
        self.addCleanup(libc.umount2, place.encode(), 2)  # MNT_DETACH

    def test_held_by_a_process_in_the_background(self):
        it = self.make(CONTROL + test_app.run([test_app.PYTHON, '-I', '@DIR@/leaves.py']))
        it.put('leaves.py', it.expand(LEAVES.replace('@PYTHON@', test_app.PYTHON)))
        for name in ('files', 'open'):
            os.mkdir(it.path(name))
        os.chmod(it.path('open'), 0o777)
        self.mount(it.path('files'))
        it.launch().ready()
        with open(it.path('open/pid'), encoding='ascii') as file:
            left = int(file.read())
        self.addCleanup(os.kill, left, signal.SIGKILL)
        self.assertEqual(os.readlink(f'/proc/{left}/fd/3'), it.path('files'))
        self.assertEqual(self.ask(it, 'pid'), str(it.workers()[0]))
        self.assertEqual(control.ask(it, 'ping').status, 0)
        it.stop()


# Traces a process, and never asks what became of it.
TRACES = """
import ctypes, signal, sys
if ctypes.CDLL(None).ptrace(0x4206, int(sys.argv[1]), 0, 0) != 0:  # PTRACE_SEIZE
    sys.exit(1)
print('traces', flush=True)
signal.pause()
"""


class Traced(test_app.Case):
    """A process that was killed stays until its tracer has waited for it (ptrace(2))."""

    def trace(self, worker):
        tracer = subprocess.Popen([test_app.PYTHON, '-I', '-c', TRACES, str(worker)],
                                  stdout=subprocess.PIPE, text=True)
        self.addCleanup(tracer.communicate)
        self.addCleanup(tracer.kill)
        if tracer.stdout.readline() != 'traces\n':
            self.skipTest('nothing can be traced here')
        return tracer

    def start_traced(self):
        it = self.start(CONTROL + test_app.app('workers = 1 graceful_timeout = 0'))
        worker, = it.workers()
        it.announce('does not end', 'killed by signal 9')
        return it, worker, self.trace(worker)

    def test_drain_and_stop(self):
        it, worker, _ = self.start_traced()
        self.assertRegex(control.ask(it, 'drain').out, 'left but what was killed')
        it.wait_for_log(f' warning: pool x: worker {worker} was killed and does not end: '
                        rf'another process traces it pool=x pid={worker}')
        shown, = json.loads(control.ask(it, 'status', '--json').out)['pools'][0]['workers']
        self.assertEqual((shown['pid'], shown['retiring'], shown['stuck']), (worker, True, True))
        it.stop()

    def test_an_upgrade(self):
        """The next binary finds out by itself."""
        it, worker, _ = self.start_traced()
        self.assertEqual(control.ask(it, 'drain').status, 0)
        it.upgrade()
        mark = it.mark()
        it.wait_for_log(f'worker {worker} was killed and does not end', mark)
        it.stop()

    def test_until_it_ends(self):
        it, worker, tracer = self.start_traced()
        self.assertEqual(control.ask(it, 'drain').status, 0)
        tracer.kill()
        it.wait_for_log(rf' pool x: worker {worker} .*pool=x pid={worker}')
        processes.wait_until(lambda: not processes.alive(worker), 'the end of the worker')
        self.assertEqual(control.ask(it, 'resume').status, 0)
        it.wait_for_workers(1, without=[worker])
        it.stop()

    def test_a_reload(self):
        """Its first worker is killed because it does not become ready."""
        it = self.start(CONTROL + test_app.app())
        old = it.workers()
        it.announce('does not end', 'not ready within', 'err: ')
        it.write(CONTROL + test_app.app('workers = 1 ready_timeout = 5', 'ready = "notify"'))
        asking = control.Caller(it.path('control'), 'reload')
        worker, = processes.wait_until(
            lambda: [pid for pid in it.workers()
                     if pid not in old and 'server.py' in processes.title(pid)], 'a new program')
        with it.paused():
            self.trace(worker)
        self.assertRegex(asking.answer().err, 'its first worker did not become ready')
        self.assertLessEqual(set(old), set(it.workers()))
        it.stop()


if __name__ == '__main__':
    daemon.main()
