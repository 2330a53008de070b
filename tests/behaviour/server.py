"""A server that accepts by itself, like the programs of app pools, and obeys its clients.

It polls the listeners from descriptor 3 on. On SIGTERM it finishes the connection in hand and
exits. Each connection sends one line: a command and its arguments.
"""

import json
import os
import selectors
import signal
import socket
import sys

STOPPING = False


def on_term(*_):
    global STOPPING
    STOPPING = True


def notify(text):
    """As sd_notify(3) does."""
    address = os.environ['NOTIFY_SOCKET']
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as speaker:
        speaker.sendto(text.encode(), '\0' + address[1:] if address[0] == '@' else address)


def descriptors():
    """{number: target}, without the descriptor of the listing itself."""
    found = {}
    for name in os.listdir('/proc/self/fd'):
        try:
            found[name] = os.readlink(f'/proc/self/fd/{name}')
        except FileNotFoundError:
            pass
    return found


def status():
    with open('/proc/self/status', encoding='ascii') as file:
        return dict(line.rstrip('\n').split(':\t', 1) for line in file if ':\t' in line)


def serve(connection, words):
    """Executes a command, and returns the answer."""
    word, _, rest = words.partition(' ')
    if word == 'facts':
        return json.dumps({'pid': os.getpid(), 'group': os.getpgrp(), 'parent': os.getppid(),
                           'environment': dict(os.environ), 'arguments': sys.argv,
                           'status': FIRST_STATUS, 'descriptors': FIRST_DESCRIPTORS})
    if word == 'pid':
        return str(os.getpid())
    if word == 'slot':
        return os.environ['PREFORKD_SLOT']
    if word == 'say':
        print(rest, flush=True)
    if word == 'complain':
        print(rest, file=sys.stderr, flush=True)
    if word == 'notify':
        notify(rest.replace('\\n', '\n'))
    if word == 'watchdog':
        notify('WATCHDOG=1')
        return str(os.getpid())
    if word == 'exit':
        os._exit(int(rest))
    if word == 'kill':
        os.kill(os.getpid(), int(rest))
    if word == 'keep':
        connection.sendall(serve(connection, rest).encode() + b'\n')
        connection.recv(1)
    if word == 'hold':
        connection.sendall(b'held\n')
        connection.recv(1)
    if word == 'fork':
        child = os.fork()
        if child == 0:
            os.close(connection.fileno())
            for number in (signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)
            while True:
                signal.pause()
        return str(child)
    return 'done'


def take(listener):
    """Accepts a connection, unless another program was faster."""
    try:
        connection, _ = listener.accept()
    except BlockingIOError:
        return
    with connection:
        connection.setblocking(True)
        words = connection.makefile('r', encoding='utf-8').readline().rstrip('\n')
        try:
            connection.sendall(serve(connection, words).encode() + b'\n')
        except OSError:
            pass


def main():
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer)
    signal.signal(signal.SIGTERM, on_term)
    selector = selectors.DefaultSelector()
    selector.register(reader, selectors.EVENT_READ, None)
    for number in range(int(os.environ['LISTEN_FDS'])):
        listener = socket.socket(fileno=3 + number)
        listener.setblocking(False)
        selector.register(listener, selectors.EVENT_READ, listener)
    for text in sys.argv[1:]:
        notify(text.replace('\\n', '\n'))
    while not STOPPING:
        for key, _ in selector.select():
            if key.data and not STOPPING:
                take(key.data)


FIRST_DESCRIPTORS = descriptors()
FIRST_STATUS = status()
main()
