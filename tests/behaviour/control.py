"""The control socket, spoken without preforkctl: what src/wire/message.h says."""

import contextlib
import socket
import struct
import subprocess

import client
import daemon

JSON = 1


def request(*words, flags=0):
    """The bytes of a request."""
    body = bytes([flags]) + b''.join(word.encode() + b'\0' for word in words)
    return struct.pack('!I', len(body)) + body


class Answer:
    """A whole reply."""

    def __init__(self, data):
        self.out = self.err = ''
        self.status = None
        while data:
            kind, size = data[:1], struct.unpack('!I', data[1:5])[0]
            piece, data = data[5:5 + size], data[5 + size:]
            if len(piece) < size:
                raise AssertionError(f'a frame is cut off: {len(piece)} of {size} bytes')
            if kind == b'o':
                self.out += piece.decode()
            elif kind == b'e':
                self.err += piece.decode()
            else:
                assert kind == b'x' and size == 1 and not data, (kind, size, data)
                self.status = piece[0]

    def __repr__(self):
        return f'status {self.status}, {self.out!r}, {self.err!r}'


class Caller:
    """One that has asked, and may wait, leave, or do nothing at all."""

    def __init__(self, path, *words, flags=0):
        self.connection = client.connect(path)
        if words:
            with contextlib.suppress(BrokenPipeError):  # one who may not ask is answered at once
                self.connection.sendall(request(*words, flags=flags))

    def answer(self):
        got = b''
        with self.connection, contextlib.suppress(ConnectionResetError):
            while piece := self.connection.recv(65536):
                got += piece
        return Answer(got)

    def waits(self):
        """Whether no answer is there."""
        self.connection.setblocking(False)
        try:
            return not self.connection.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        finally:
            self.connection.settimeout(client.PATIENCE)

    def leave(self):
        self.connection.close()


def ask(it, *words, flags=0):
    return Caller(it.path('control'), *words, flags=flags).answer()


def run(it, *arguments, timeout=daemon.PATIENCE, **more):
    """Runs preforkctl to its end."""
    return subprocess.run([daemon.CONTROL_BINARY, '-s', it.path('control'), *arguments],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=timeout, check=False, **more)
