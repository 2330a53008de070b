"""An HTTP client for the handler status: one request per connection, sent as written."""

import http.client
import io
import json

import client


class Response:
    """A whole answer, read by Python's own parser."""

    def __init__(self, data, method='GET'):
        self.raw = data
        parsed = http.client.HTTPResponse(_Bytes(data), method=method)
        parsed.begin()
        self.status = parsed.status
        self.headers = parsed.headers
        self.body = parsed.read()
        self.text = self.body.decode()

    def json(self):
        return json.loads(self.text)

    def __repr__(self):
        return f'{self.raw[:300]!r}'


class _Bytes:
    """The part of a socket that http.client uses."""

    def __init__(self, data):
        self.data = data

    def makefile(self, *_):
        return io.BytesIO(self.data)


def send(address, data, method='GET', timeout=client.PATIENCE):
    """Sends bytes, and reads the answer to its end, without closing our side."""
    with client.connect(address, timeout) as connection:
        connection.sendall(data)
        return Response(client.read_all(connection), method)


def request(target, method='GET', version='1.1', headers=()):
    lines = [f'{method} {target} HTTP/{version}', 'Host: localhost', *headers, '', '']
    return '\r\n'.join(lines).encode()


def get(address, target='/', method='GET', headers=(), timeout=client.PATIENCE):
    return send(address, request(target, method, headers=headers), method, timeout)
