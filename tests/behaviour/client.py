"""Clients: single conversations, and a load of many."""

import contextlib
import os
import random
import re
import socket
import struct
import threading
import time

PATIENCE = 60  # seconds that a single read or write may take
LONGEST = 600  # seconds that a load may last


def connect(address, timeout=PATIENCE):
    """Connects to (host, port), or to the path of a Unix socket; '@NAME' is an abstract one."""
    if isinstance(address, str):
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        address = '\0' + address[1:] if address.startswith('@') else address
    else:
        family = socket.AF_INET6 if ':' in address[0] else socket.AF_INET
        connection = socket.socket(family, socket.SOCK_STREAM)
    connection.settimeout(timeout)
    try:
        connection.connect(address)
    except OSError:
        connection.close()
        raise
    return connection


def read_exactly(connection, size):
    got = bytearray()
    while len(got) < size:
        piece = connection.recv(min(65536, size - len(got)))
        if not piece:
            raise EOFError(f'closed after {len(got)} of {size} bytes')
        got += piece
    return bytes(got)


def read_all(connection):
    got = bytearray()
    while piece := connection.recv(65536):
        got += piece
    return bytes(got)


def ask(address, data=b'', timeout=PATIENCE):
    """Sends the data, shuts down the sending side, and returns the whole answer."""
    with connect(address, timeout) as connection:
        with contextlib.suppress(BrokenPipeError):  # a server may close without reading
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
        return read_all(connection)


def echo(connection, data):
    """Sends data and reads it back; it must fit into the socket buffers."""
    connection.sendall(data)
    return read_exactly(connection, len(data))


def reset(connection):
    """Closes with RST instead of FIN."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
    connection.close()


def exchange(connection, data):
    """Sends any amount while reading; returns the whole answer."""
    def send():
        try:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # the reader sees what is missing
    sender = threading.Thread(target=send, daemon=True)
    sender.start()
    try:
        return read_all(connection)
    finally:
        sender.join(PATIENCE)


class Load:
    """Clients that connect, send random bytes, expect them back, close, and start again."""

    def __init__(self, address, clients=8, largest=4096, longest=LONGEST):
        self.address = address
        self.largest = largest
        self.longest = longest
        self.stopping = threading.Event()
        self.lock = threading.Lock()
        self.served = 0
        self.failures = []
        self.threads = [threading.Thread(target=self._client, args=(n,), daemon=True)
                        for n in range(clients)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        for thread in self.threads:
            thread.join(2 * PATIENCE)
        if any(thread.is_alive() for thread in self.threads):
            raise AssertionError('a client of the load hangs')

    def _client(self, number):
        choose = random.Random(number)
        until = time.monotonic() + self.longest
        while not self.stopping.is_set() and time.monotonic() < until:
            try:
                problem = self.converse(number, choose)
            except (OSError, EOFError) as error:
                problem = repr(error)
            with self.lock:
                self.served += problem is None
                if problem:
                    self.failures.append(problem)
                if len(self.failures) > 10000:
                    return

    def converse(self, number, choose):
        """Makes one connection; returns what went wrong, or None."""
        data = number.to_bytes(4, 'big') + os.urandom(choose.randrange(1, self.largest))
        with connect(self.address) as connection:
            back = echo(connection, data)
        return None if back == data else f'{len(data)} bytes came back changed'


class Asking(Load):
    """Clients that repeat one request; each answer must match a pattern."""

    def __init__(self, address, clients, question, right, longest=LONGEST):
        super().__init__(address, clients, longest=longest)
        self.question, self.right = question, right

    def converse(self, number, choose):
        with connect(self.address) as connection:
            connection.sendall(self.question)
            answer = read_all(connection)
        return None if re.fullmatch(self.right, answer) else f'the answer was {answer}'
