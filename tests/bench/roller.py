"""An echo server that accepts by itself from descriptor 3, and finishes the connection in hand when
it is stopped: run-app rolls it."""

import os
import selectors
import signal
import socket

stopping = False


def on_term(*_):
    global stopping
    stopping = True


def main():
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer)
    signal.signal(signal.SIGTERM, on_term)
    listener = socket.socket(fileno=3)
    listener.setblocking(False)
    selector = selectors.DefaultSelector()
    selector.register(reader, selectors.EVENT_READ)
    selector.register(listener, selectors.EVENT_READ, listener)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as speaker:
        speaker.sendto(b'READY=1', os.environ['NOTIFY_SOCKET'].replace('@', '\0', 1))
    while not stopping:
        selector.select()
        if stopping:
            return
        try:
            connection, _ = listener.accept()
        except BlockingIOError:  # another process was faster
            continue
        with connection:
            connection.setblocking(True)
            while data := connection.recv(4096):
                connection.sendall(data)


main()
