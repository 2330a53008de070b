/*
 * cgi_peer - waiting for the web server: for its next request, for its body, for its end.
 *
 * Owns:      how long each of these may hold the worker.
 * Knows not: programs.
 * Called by: cgi.
 * Runs in:   a worker.
 */
#ifndef PREFORKD_HANDLERS_CGI_PEER_H
#define PREFORKD_HANDLERS_CGI_PEER_H

#include "cgi_session.h"

/* When the request in hand must be done with; USEC_NEVER: no limit. */
usec cgi_peer_deadline(const struct cgi_session *session);

/* Whether the worker is wanted elsewhere: it is told to finish, or a connection waits at a listener,
 * and no other seat is free. */
bool cgi_peer_keeps_others(const struct cgi_session *session);

/* Writes all output. 0, or -errno. */
int cgi_peer_flush(struct cgi_session *session);

/* Reads more, waiting for it. 0, or -errno; -ENODATA at the end of the stream, -ECANCELED where the
 * connection is `resting`, between two requests, and keeps others from being served. */
int cgi_peer_read(struct cgi_session *session, bool resting);

/* The answer is out, and the connection takes no further request: says so, and takes in what the web
 * server still sends. */
void cgi_peer_finish(struct cgi_session *session);

#endif
