/*
 * cgi_session - one connection of a web server: its records taken apart, its request collected,
 * records written to it, all with bounded buffers; and how long it may keep the worker waiting.
 *
 * The buffers of both ways are there once in a worker. GET_VALUES, unknown types, second requests
 * and other roles are answered here.
 */
#ifndef PREFORKD_HANDLERS_CGI_SESSION_H
#define PREFORKD_HANDLERS_CGI_SESSION_H

#include "../base/clock.h"
#include "../wire/fcgi.h"
#include "cgi_env.h"
#include "handler.h"

enum {
    CGI_INPUT = 64 * 1024,                /* bytes of one read from the web server, */
    CGI_OUTPUT = 64 * 1024 - FCGI_HEADER, /* and of one from the program: a record's content */
    CGI_ERRORS = 4 * 1024,                /* of one from its standard error */
    CGI_GATHERED = 1024,                  /* of a record that must be seen as a whole */
};

/* What a request is, as far as it is here. */
struct cgi_request {
    uint16_t id; /* 0: none is in hand */
    bool keep;   /* the connection is to be kept after it */
    bool params_ended, stdin_ended;
    size_t params_size;
    usec since;
};

/* A part of the request's body. */
struct cgi_body {
    const unsigned char *data;
    size_t size;
};

struct cgi_session {
    struct service *service;
    struct conn *conn;
    struct fcgi_reader reader;
    struct fcgi_bytes in; /* what was read and is not taken yet */
    bool in_ended;        /* the web server sends no more */
    size_t out_at, out_end;
    size_t gathered;
    struct cgi_request request;
    uint64_t in_before, out_before; /* the connection's bytes, when it began to wait for this one */
};

enum cgi_event {
    CGI_EVENT_NONE,    /* all input is taken: read more */
    CGI_EVENT_FULL,    /* the output must be written first */
    CGI_EVENT_PARAMS,  /* the parameters are complete */
    CGI_EVENT_BODY,    /* a part of the body */
    CGI_EVENT_END,     /* the body is complete */
    CGI_EVENT_ABORT,   /* the request is not wanted any more */
    CGI_EVENT_BROKEN,  /* this is no FastCGI */
    CGI_EVENT_REFUSED, /* a request was refused, and with it the connection */
};

void cgi_session_begin(struct cgi_session *session, struct service *service, struct conn *conn);

/* Takes records until something is to be done about one. Of other requests than the one in hand
 * nothing is told. */
enum cgi_event cgi_session_take(struct cgi_session *session, struct cgi_body *body);

/* Whether all that was read is taken. */
static inline bool cgi_session_taken(const struct cgi_session *session)
{
    return session->in.at == session->in.end;
}

/* Reads once, if all is taken. 0, or -EAGAIN, or -errno; at the end of the stream 0 too, and
 * in_ended is set. */
int cgi_session_read(struct cgi_session *session);

/* The parameters that were collected. */
char *cgi_session_params(void);

/* Whether output waits to be written. */
static inline bool cgi_session_pending(const struct cgi_session *session)
{
    return session->out_at < session->out_end;
}

/* Writes what it can. 0 if nothing is left, -EAGAIN, or -errno. */
int cgi_session_write(struct cgi_session *session);

/* Where the content of the next record of output may be put: CGI_OUTPUT bytes of STDOUT, CGI_ERRORS
 * of STDERR, where nothing is pending; then the record is made of it. An empty one ends the stream.
 * */
unsigned char *cgi_session_room(struct cgi_session *session);
void cgi_session_put(struct cgi_session *session, enum fcgi_type type, size_t size);

/* The end of the request in hand. */
void cgi_session_put_end(struct cgi_session *session, uint32_t app_status);

/* What no web server can take for an end, nor for anything else. */
void cgi_session_put_broken(struct cgi_session *session);

/* Waits until the connection is ready for one of these poll(2) events: 0, or -ETIMEDOUT, or -EINTR.
 * */
int cgi_session_wait(struct cgi_session *session, short events, usec deadline);

/* When the request in hand must be done with; USEC_NEVER: no limit. */
usec cgi_peer_deadline(const struct cgi_session *session);

/* Whether the worker is wanted elsewhere: it is told to finish, or a connection waits at a
 * listener, and no other seat is free. */
bool cgi_peer_keeps_others(const struct cgi_session *session);

/* Writes all output. 0, or -errno. */
int cgi_peer_flush(struct cgi_session *session);

/* Reads more, waiting for it. 0, or -errno; -ENODATA at the end of the stream, -ECANCELED if the
 * connection is `resting`, between two requests, and keeps others from being served. */
int cgi_peer_read(struct cgi_session *session, bool resting);

/* The answer is out, and the connection takes no further request: says so, and takes in what the
 * web server still sends. */
void cgi_peer_finish(struct cgi_session *session);

#endif
