"""The control socket without preforkctl: the protocol of src/wire/message.h."""

import contextlib
import socket
import subprocess

import client
import daemon

STATUS = {'ok': 0, 'refused': 1, 'usage': 2}


def request(*words):
    """Encodes a request."""
    return ' '.join(words).encode() + b'\n'


class Answer:
    """A complete reply."""

    def __init__(self, data):
        head, _, text = data.partition(b'\n')
        word, out, err = head.decode().split(' ')
        if len(text) != int(out) + int(err):
            raise AssertionError(f'{len(text)} bytes of {out} and {err}')
        self.status = STATUS[word]
        self.out, self.err = text[:int(out)].decode(), text[int(out):].decode()

    def __repr__(self):
        return f'status {self.status}, {self.out!r}, {self.err!r}'


class Caller:
    """A client of the control socket, which may wait, leave, or do nothing at all."""

    def __init__(self, path, *words):
        self.connection = client.connect(path)
        if words:
            with contextlib.suppress(BrokenPipeError):  # a refusal may come first
                self.connection.sendall(request(*words))

    def answer(self):
        got = b''
        with self.connection, contextlib.suppress(ConnectionResetError):
            while piece := self.connection.recv(65536):
                got += piece
        return Answer(got)

    def waits(self):
        """Whether no answer has arrived yet."""
        self.connection.setblocking(False)
        try:
            return not self.connection.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        finally:
            self.connection.settimeout(client.PATIENCE)

    def leave(self):
        self.connection.close()


def ask(it, *words):
    return Caller(it.path('control'), *words).answer()


def run(it, *arguments, timeout=daemon.PATIENCE, **more):
    """Runs preforkctl to its end."""
    return subprocess.run([daemon.CONTROL_BINARY, '-s', it.path('control'), *arguments],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=timeout, check=False, **more)
