"""preforkctl in a terminal of its own."""

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import threading
import time

import daemon
import processes
from processes import PATIENCE, wait_until


class Terminal:
    """preforkctl in a terminal of its own; a thread collects its output."""

    def __init__(self, case, it, rows=24, columns=80, command='top', **environment):
        self.master, slave = pty.openpty()
        case.addCleanup(os.close, self.master)
        self.resize(rows, columns)
        self.before = termios.tcgetattr(slave)
        self.slave = slave
        case.addCleanup(os.close, slave)
        self.bytes = b''
        self.changed = threading.Condition()

        def become_foreground():
            """Becomes a session leader with a foreground job, as a shell does."""
            os.setsid()
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
            job = os.fork()
            if job == 0:
                signal.signal(signal.SIGTTOU, signal.SIG_IGN)
                os.setpgid(0, 0)
                os.tcsetpgrp(0, os.getpid())
                signal.signal(signal.SIGTTOU, signal.SIG_DFL)
                return
            os.closerange(3, 1024)
            code = os.waitstatus_to_exitcode(os.waitpid(job, 0)[1])
            os._exit(code if code >= 0 else 128 - code)
        self.process = subprocess.Popen(
            [daemon.CONTROL_BINARY, '-s', it.path('control'), command], stdin=slave, stdout=slave,
            stderr=slave, preexec_fn=become_foreground,
            env=os.environ | {'TERM': 'xterm', 'NO_COLOR': '1'} | environment)
        case.addCleanup(self.end)
        self.pid = None  # stays None if it ends by itself
        if command == 'top':
            self.pid, = wait_until(lambda: processes.children(self.process.pid)
                                   or [None] * (self.process.poll() is not None), 'the job')
        threading.Thread(target=self._collect, daemon=True).start()

    def _collect(self):
        while True:
            try:
                if not select.select([self.master], [], [], PATIENCE)[0]:
                    return
                data = os.read(self.master, 65536)
            except (OSError, ValueError):
                return
            with self.changed:
                self.bytes += data
                self.changed.notify_all()

    def resize(self, rows, columns):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack('HHHH', rows, columns, 0, 0))

    def signal(self, number):
        os.kill(self.pid, number)

    def type(self, keys):
        os.write(self.master, keys)

    def wait(self, pattern, since=0):
        """Waits for output that matches, and returns the offset after it."""
        deadline = time.monotonic() + PATIENCE
        with self.changed:
            while True:
                found = re.search(pattern, self.bytes[since:], re.S)
                if found:
                    return since + found.end()
                if time.monotonic() > deadline:
                    raise AssertionError(f'no {pattern} in {self.bytes[since:]!r}')
                self.changed.wait(1)

    def frame(self, since=0):
        """The lines of the next complete frame."""
        begin = self.wait(rb'\033\[H(?!\033\[2J)', since)
        end = self.wait(rb'\033\[J', begin)
        text = self.bytes[begin:end].decode().replace('\r', '')
        return [line.removesuffix('\033[K') for line in text.removesuffix('\033[J').split('\n')]

    def end(self):
        if self.pid and self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                self.signal(signal.SIGKILL)
        self.process.wait(PATIENCE)
