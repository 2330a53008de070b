"""A FastCGI client: whole requests, or single records, well formed or not."""

import struct

import client

(BEGIN_REQUEST, ABORT_REQUEST, END_REQUEST, PARAMS, STDIN, STDOUT, STDERR, DATA, GET_VALUES,
 GET_VALUES_RESULT, UNKNOWN_TYPE) = range(1, 12)
RESPONDER, AUTHORIZER = 1, 2
COMPLETE, CANT_MPX, OVERLOADED, UNKNOWN_ROLE = range(4)


def record(kind, request, content=b'', padding=0, version=1):
    header = struct.pack('>BBHHBB', version, kind, request, len(content), padding, 0)
    return header + content + b'\xff' * padding


def begin(request=1, role=RESPONDER, keep=False):
    return record(BEGIN_REQUEST, request, struct.pack('>HB5x', role, keep))


def pair(name, value):
    def length(size):
        return struct.pack('>B', size) if size < 128 else struct.pack('>I', size | 1 << 31)
    name = name.encode() if isinstance(name, str) else name
    value = value.encode() if isinstance(value, str) else value
    return length(len(name)) + length(len(value)) + name + value


def pairs(params):
    items = params.items() if isinstance(params, dict) else params
    return b''.join(pair(name, value) for name, value in items)


def unpair(data):
    found = {}
    while data:
        sizes = []
        for _ in range(2):
            if data[0] < 128:
                sizes.append(data[0])
                data = data[1:]
            else:
                sizes.append(struct.unpack('>I', data[:4])[0] & 0x7fffffff)
                data = data[4:]
        found[data[:sizes[0]].decode()] = data[sizes[0]:sum(sizes)].decode()
        data = data[sum(sizes):]
    return found


def stream(kind, request, data, size=65535, padding=0):
    """A stream as records of `size` bytes, with the empty record that ends it."""
    cut = [data[at:at + size] for at in range(0, len(data), size)]
    return b''.join(record(kind, request, piece, padding) for piece in cut + [b''])


def head(params, request=1, keep=False):
    return begin(request, keep=keep) + stream(PARAMS, request, pairs(params))


def whole(params, body=b'', request=1, keep=False):
    return head(params, request, keep) + stream(STDIN, request, body)


def read_record(connection):
    """(type, id, content)"""
    _, kind, request, size, padding, _ = struct.unpack('>BBHHBB',
                                                       client.read_exactly(connection, 8))
    return kind, request, client.read_exactly(connection, size + padding)[:size]


class Answer:
    """The answer to one request."""

    def __init__(self):
        self.stdout = bytearray()
        self.stderr = bytearray()
        self.kinds = []  # of the records, in order
        self.requests = set()
        self.ended = False    # by END_REQUEST
        self.app_status = self.protocol_status = None

    @property
    def header(self):
        text = self.stdout[:70000].replace(b'\r\n', b'\n').partition(b'\n\n')[0].decode()
        return dict(line.split(': ', 1) for line in text.split('\n') if ': ' in line)

    @property
    def body(self):
        at = [(self.stdout.find(end), end) for end in (b'\r\n\r\n', b'\n\n')]
        at = [(where, end) for where, end in at if where >= 0]
        where, end = min(at)
        return self.stdout[where + len(end):]

    @property
    def status(self):
        return int(self.header.get('Status', '200').split()[0])

    def add(self, kind, request, content):
        self.kinds.append(kind)
        self.requests.add(request)
        if kind == STDOUT:
            self.stdout += content
        elif kind == STDERR:
            self.stderr += content
        elif kind == END_REQUEST:
            self.ended = True
            self.app_status, self.protocol_status = struct.unpack('>IB3x', content)


def read_answer(connection):
    """Reads up to END_REQUEST, or to the end of the stream."""
    answer = Answer()
    while not answer.ended:
        try:
            answer.add(*read_record(connection))
        except (EOFError, ConnectionError):
            break
    return answer


def parse(data):
    """The answer in all bytes of a connection."""
    answer = Answer()
    at = 0
    while at < len(data):
        kind, request, size, padding = struct.unpack_from('>xBHHBx', data, at)
        answer.add(kind, request, data[at + 8:at + 8 + size])
        at += 8 + size + padding
    return answer


def ask(address, params, body=b'', request=1):
    """Sends one request on its own connection, which must be closed after the answer."""
    with client.connect(address) as connection:
        connection.sendall(whole(params, body, request))
        answer = read_answer(connection)
        if answer.ended and connection.recv(1):
            raise AssertionError('data after END_REQUEST')
        return answer
