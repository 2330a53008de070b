/*
 * cgi_session - one connection from a web server: splits its records, collects its request, writes
 * records to it, all in bounded buffers; and decides how long it may keep the worker waiting.
 *
 * The buffers are static: each worker has one session at a time. GET_VALUES, records of unknown
 * types, second requests and unknown roles are answered here.
 */
#ifndef PREFORKD_HANDLERS_CGI_SESSION_H
#define PREFORKD_HANDLERS_CGI_SESSION_H

#include "../base/clock.h"
#include "../wire/fcgi.h"
#include "cgi_env.h"
#include "handler.h"

enum {
    CGI_INPUT = 64 * 1024,                /* bytes of one read from the web server */
    CGI_OUTPUT = 64 * 1024 - FCGI_HEADER, /* of one read from the program: a record's content */
    CGI_ERRORS = 4 * 1024,                /* of one read from its standard error */
    CGI_GATHERED = 1024,                  /* of a record that must be seen as a whole */
};

/* The request in hand, as far as it was read. */
struct cgi_request {
    uint16_t id; /* 0: there is no request */
    bool keep;   /* keep the connection after it */
    bool params_ended, stdin_ended;
    bool head_only; /* it is a HEAD: the answer has no body */
    size_t params_size;
    usec since; /* of a connection that had none yet: when it came */
};

/* A piece of the request's body. */
struct cgi_body {
    const unsigned char *data;
    size_t size;
};

struct cgi_session {
    struct service *service;
    struct conn *conn;
    struct fcgi_reader reader;
    struct fcgi_bytes in; /* bytes that were read, but not taken yet */
    bool in_ended;        /* the web server sends no more */
    int reads;            /* that cgi_session_read_more has made without a pause */
    size_t out_at, out_end;
    size_t gathered;
    struct cgi_request request;
    uint64_t in_before, out_before; /* the connection's byte counts before this request */
};

enum cgi_event {
    CGI_EVENT_NONE,    /* all input is taken: read more */
    CGI_EVENT_FULL,    /* write the output first */
    CGI_EVENT_PARAMS,  /* the parameters are complete */
    CGI_EVENT_BODY,    /* a piece of the body */
    CGI_EVENT_END,     /* the body is complete */
    CGI_EVENT_ABORT,   /* the web server gave the request up */
    CGI_EVENT_BROKEN,  /* the input is not FastCGI */
    CGI_EVENT_REFUSED, /* a request was refused; request.keep: the connection was not */
};

void cgi_session_begin(struct cgi_session *session, struct service *service, struct conn *conn);

/* Takes records until there is an event to handle. Records of any request but the one in hand are
 * skipped. */
enum cgi_event cgi_session_take(struct cgi_session *session, struct cgi_body *body);

/* Whether all input is taken. */
static inline bool cgi_session_input_empty(const struct cgi_session *session)
{
    return session->in.at == session->in.end;
}

/* Reads once; all input must be taken. 0, -EAGAIN, or another -errno. At the end of the stream it
 * sets in_ended, and returns 0. */
int cgi_session_read(struct cgi_session *session);

/* The parameters collected so far. */
char *cgi_session_params(void);

/* Whether there is output to be written. If there is none, the buffer is empty. */
static inline bool cgi_session_pending(const struct cgi_session *session)
{
    return session->out_at < session->out_end;
}

/* Writes what the socket takes. 0 if nothing is left, -EAGAIN, or another -errno. */
int cgi_session_write(struct cgi_session *session);

/* Drops all output: nobody reads it. */
void cgi_session_drop(struct cgi_session *session);

/* cgi_session_room: where to put the content of the next record: if nothing is pending, CGI_OUTPUT
 * bytes of STDOUT and CGI_ERRORS of STDERR fit. cgi_session_put makes the record; an empty one ends
 * the stream. */
unsigned char *cgi_session_room(struct cgi_session *session);
void cgi_session_put(struct cgi_session *session, enum fcgi_type type, size_t size);

/* Puts the end of the request in hand. */
void cgi_session_put_end(struct cgi_session *session, uint32_t app_status);

/* Puts something that no web server can take for an end, or for anything else. */
void cgi_session_put_broken(struct cgi_session *session);

/* When the request in hand must be done; USEC_NEVER: no limit. */
usec cgi_session_deadline(const struct cgi_session *session);

/* Whether the connection keeps the worker from other work: the worker was told to finish, or no
 * seat is free and a connection waits at a listener. */
bool cgi_session_keeps_others(const struct cgi_session *session);

/* Writes all output, and waits until it is out. 0 or -errno. */
int cgi_session_flush(struct cgi_session *session);

/* Waits for more input, and reads it. 0 or -errno; -ENODATA at the end of the stream; -ECANCELED if
 * the connection is `resting`, between two requests, and keeps others from being served. */
int cgi_session_read_more(struct cgi_session *session, bool resting);

/* The answer is out, and the connection takes no further request: shuts down our side, and discards
 * what the web server still sends. */
void cgi_session_finish(struct cgi_session *session);

#endif
