#!/usr/bin/python3
"""An HTTP server by Python's own library. Descriptor 3 is the listener; told to stop, it finishes
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

    def address_string(self):  # a Unix socket's peer has none
        return self.headers.get('X-Forwarded-For', '-')

    def log_message(self, *_):
        pass


class Server(socketserver.BaseServer):
    """On a socket that is there already, and that others accept from too."""

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
    """As sd_notify(3) does."""
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
