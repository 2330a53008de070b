#!/usr/bin/python3
"""An HTTP server with Python's own library, on the listener in descriptor 3. On SIGTERM it finishes
the request in hand."""

import http.server
import os
import signal
import socket
import socketserver
import threading


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        text = b'hello from Python\n'
        self.send_response(200)
        self.send_header('Content-Type', 'text/plain')
        self.send_header('Content-Length', str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def address_string(self):  # a peer of a Unix socket has no address
        return self.headers.get('X-Forwarded-For', '-')

    def log_message(self, *_):
        pass


class Server(socketserver.BaseServer):
    """A server on an existing socket, from which other processes accept too."""

    def __init__(self, descriptor):
        super().__init__(None, Handler)
        self.socket = socket.socket(fileno=descriptor)
        self.socket.setblocking(False)

    def fileno(self):
        return self.socket.fileno()

    def get_request(self):
        return self.socket.accept()

    def shutdown_request(self, request):
        request.close()


def say(text):
    """Sends text as sd_notify(3) does."""
    address = os.environ.get('NOTIFY_SOCKET')
    if address:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as speaker:
            speaker.sendto(text, '\0' + address[1:] if address[0] == '@' else address)


def main():
    server = Server(3)
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    say(b'READY=1')
    server.serve_forever()


main()
