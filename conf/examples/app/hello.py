"""A WSGI application, for gunicorn."""


def application(_environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'hello from gunicorn\n']
