"""A program that accepts by itself, for tests/chaos: it echoes one connection at a time, and exits
with status 0 on SIGTERM."""

import signal
import socket
import sys

ended = False


def end(*_):
    global ended
    ended = True


def main():
    signal.signal(signal.SIGTERM, end)
    signal.siginterrupt(signal.SIGTERM, True)
    listening = socket.socket(fileno=3)
    listening.settimeout(0.2)
    while not ended:
        try:
            connection, _ = listening.accept()
        except (TimeoutError, InterruptedError):
            continue
        with connection:
            connection.settimeout(10)
            try:
                while data := connection.recv(65536):
                    connection.sendall(data)
            except OSError:
                pass


if __name__ == '__main__':
    sys.exit(main())
