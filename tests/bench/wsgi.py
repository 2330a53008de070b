"""One word by WSGI, for any server of it. Run by itself, it is a worker of preforkd's `app` that
serves this by the standard library's HTTP on descriptor 3."""

import os
import signal
import socket
import sys
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer


def application(_environment, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "5")])
    return [b"hello"]


class Handler(WSGIRequestHandler):
    def log_message(self, *_):
        pass

    def address_string(self):
        return self.client_address[0]


def main():
    server = WSGIServer(("127.0.0.1", 0), Handler, bind_and_activate=False)
    server.socket.close()
    server.socket = socket.socket(fileno=3)
    server.server_name, server.server_port = "localhost", 0
    server.setup_environ()
    server.set_app(application)
    stopping = []
    signal.signal(signal.SIGTERM, lambda *_: stopping.append(True))
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer)
    server.socket.setblocking(False)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as speaker:
        speaker.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"].replace("@", "\0", 1))
    serve(server, reader, stopping)


def serve(server, reader, stopping):
    import select
    poll = select.poll()
    for fd in (reader, server.socket.fileno()):
        poll.register(fd, select.POLLIN)
    while not stopping:
        poll.poll()
        if stopping:
            return
        server._handle_request_noblock()


if __name__ == "__main__":
    sys.exit(main())
