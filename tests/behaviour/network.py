"""Network namespaces for a test."""

import ctypes
import os
import subprocess
import threading

from processes import wait_until

LIBC = ctypes.CDLL(None, use_errno=True)


class Network:
    """A network namespace, kept alive by a process in it."""

    def __init__(self, case):
        own = os.readlink('/proc/self/ns/net')
        self.holder = subprocess.Popen(['unshare', '--net', 'cat'], stdin=subprocess.PIPE)
        self.path = f'/proc/{self.holder.pid}/ns/net'
        case.addCleanup(self.close)
        wait_until(lambda: os.readlink(self.path) != own, 'a new network namespace')
        self.run('ip', 'link', 'set', 'lo', 'up')

    def close(self):
        self.holder.stdin.close()
        self.holder.wait()

    def command(self, *words):
        return ['nsenter', f'--net={self.path}', *words]

    def run(self, *words):
        subprocess.run(self.command(*words), check=True)

    def enter(self):
        """Moves the calling thread into the namespace, for good."""
        with open(self.path, encoding='ascii') as file:
            if LIBC.setns(file.fileno(), 0) != 0:
                raise OSError(ctypes.get_errno(), 'setns')

    def call(self, function, *arguments):
        """Calls a function in the namespace, in a thread of its own."""
        result = []

        def run():
            self.enter()
            result.append(function(*arguments))
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        return result[0]
