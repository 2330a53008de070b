"""Serves the page with a made-up status.json, for states that a daemon can't be forced into. The
page is that of this tree, with the policy under which the daemon serves it."""

import http.server
import json
import os
import re
import subprocess
import sys
import threading

HANDLERS = os.path.join(os.path.dirname(os.path.abspath(__file__)), '../../src/handlers')
PAGE = os.path.join(HANDLERS, 'status_page.html')


def policy():
    """The policy, from the script that builds it and the page into the daemon."""
    header = subprocess.run([sys.executable, '-B', os.path.join(HANDLERS, 'status_page.py'), PAGE],
                            check=True, capture_output=True, text=True).stdout
    return re.search(r'status_page_policy\[\] = "(.*)";', header)[1]


class Stub:
    """Serves `document`, a dictionary or a function that makes one."""

    def __init__(self, document):
        self.document = document
        self.status = 200
        self.requests = 0
        stub = self
        with open(PAGE, encoding='utf-8') as file:
            page = file.read()
        allowed = policy()

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def do_GET(self):
                if self.path == '/':
                    return self.reply('text/html; charset=utf-8', page, 200,
                                      {'Content-Security-Policy': allowed})
                if self.path != '/status.json':
                    return self.send_error(404)
                stub.requests += 1
                answer = stub.document() if callable(stub.document) else stub.document
                text = answer if isinstance(answer, str) else json.dumps(answer)
                return self.reply('application/json', text, stub.status, {})

            def reply(self, kind, text, status, headers):
                body = text.encode()
                self.send_response(status)
                for name, value in {'Content-Type': kind, 'Content-Length': str(len(body)),
                                    'Connection': 'close', **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

        self.server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
        self.address = 'http://127.0.0.1:%d/' % self.server.server_port
        self.thread = threading.Thread(target=self.server.serve_forever, args=(.05,), daemon=True)
        self.thread.start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()
