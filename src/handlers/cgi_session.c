#include "cgi_session.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

/* Static, because a worker serves one connection at a time. Pages that are never touched cost
 * nothing. */
static unsigned char input[CGI_INPUT];
static unsigned char gathered[CGI_GATHERED];
static char params[CGI_PARAMS_MAX];

/* Room for what one round puts there: a record of each stream and its end, the request's end, and
 * some replies besides. */
static unsigned char output[FCGI_HEADER + CGI_OUTPUT + FCGI_HEADER + CGI_ERRORS + 16 * FCGI_REPLY];

void cgi_session_begin(struct cgi_session *session, struct service *service, struct conn *conn)
{
    *session = (struct cgi_session){
        .service = service,
        .conn = conn,
        .in = {input, input},
        .request.since = clock_now(),
    };
}

char *cgi_session_params(void)
{
    return params;
}

/* --- output ----------------------------------------------------------------------------------- */

unsigned char *cgi_session_room(struct cgi_session *session)
{
    return output + session->out_end + FCGI_HEADER;
}

void cgi_session_put(struct cgi_session *session, enum fcgi_type type, size_t size)
{
    unsigned char *to = output + session->out_end;
    session->out_end += fcgi_put_header(to, type, session->request.id, size) + size;
}

void cgi_session_put_end(struct cgi_session *session, uint32_t app_status)
{
    session->out_end += fcgi_put_end(output + session->out_end, session->request.id, app_status,
                                     FCGI_REQUEST_COMPLETE);
}

void cgi_session_put_broken(struct cgi_session *session)
{
    session->out_end += fcgi_put_broken(output + session->out_end);
}

void cgi_session_drop(struct cgi_session *session)
{
    session->out_at = session->out_end = 0;
}

int cgi_session_write(struct cgi_session *session)
{
    while (cgi_session_pending(session)) {
        ssize_t n = conn_write_now(session->conn, output + session->out_at,
                                   session->out_end - session->out_at);
        if (n < 0)
            return (int)n;
        session->out_at += (size_t)n;
    }
    cgi_session_drop(session);
    return 0;
}

/* --- input ------------------------------------------------------------------------------------ */

int cgi_session_read(struct cgi_session *session)
{
    ssize_t n = conn_read_now(session->conn, input, sizeof input);
    if (n < 0)
        return (int)n;
    session->in = (struct fcgi_bytes){input, input + n};
    session->in_ended = n == 0;
    return 0;
}

/* Waits until the connection is ready for one of the poll(2) events. 0, -ETIMEDOUT, or -EINTR. A
 * long wait takes several polls (clock_msec), and takes them here: a caller that waits anew begins
 * a new time. */
static int wait_until_ready(struct cgi_session *session, short events, usec deadline)
{
    struct pollfd ready = {.fd = session->conn->fd, .events = events};
    int n = 0;
    while (n == 0) {
        usec left = deadline - clock_now();
        if (left <= 0)
            return -ETIMEDOUT;
        n = poll(&ready, 1, clock_msec(left));
    }
    return n > 0 ? 0 : -errno;
}

/* Collects a record's content; true once it is whole. What does not fit is dropped. */
static bool gather(struct cgi_session *session, const struct fcgi_piece *piece)
{
    size_t room = sizeof gathered - session->gathered;
    size_t n = piece->size < room ? piece->size : room;
    memcpy(gathered + session->gathered, piece->data, n);
    session->gathered += n;
    return piece->last;
}

/* Answers a record that belongs to no request. */
static void answer_management(struct cgi_session *session, const struct fcgi_piece *piece)
{
    unsigned char *to = output + session->out_end;
    if (!gather(session, piece))
        return;
    struct fcgi_bytes asked = {gathered, gathered + session->gathered};
    session->gathered = 0;
    session->out_end += piece->type == FCGI_GET_VALUES
                            ? fcgi_put_values(to, asked, session->service->seats)
                            : fcgi_put_unknown_type(to, piece->type);
}

static void refuse_request(struct cgi_session *session, uint16_t id, enum fcgi_end end)
{
    session->out_end += fcgi_put_end(output + session->out_end, id, 0, end);
}

static enum cgi_event take_begin(struct cgi_session *session, const struct fcgi_piece *piece)
{
    struct cgi_request *request = &session->request;
    if (!gather(session, piece))
        return CGI_EVENT_NONE;
    struct fcgi_begin begin = fcgi_begin(gathered);
    bool whole = session->gathered >= FCGI_BODY;
    session->gathered = 0;
    if (!whole || request->id == piece->id)
        return CGI_EVENT_BROKEN;
    if (request->id) {
        refuse_request(session, piece->id, FCGI_CANT_MPX_CONN);
        return CGI_EVENT_NONE;
    }
    *request = (struct cgi_request){.keep = begin.keep, .since = clock_now()};
    session->service->renew(session->service);
    if (begin.role != FCGI_RESPONDER) {
        refuse_request(session, piece->id, FCGI_UNKNOWN_ROLE);
        return CGI_EVENT_REFUSED;
    }
    request->id = piece->id;
    return CGI_EVENT_NONE;
}

/* Bytes beyond the buffer are counted, but not kept: the size shows that there are too many. */
static enum cgi_event take_params(struct cgi_session *session, const struct fcgi_piece *piece)
{
    struct cgi_request *request = &session->request;
    if (request->params_ended)
        return CGI_EVENT_NONE;
    if (piece->whole && piece->size == 0) {
        request->params_ended = true;
        return CGI_EVENT_PARAMS;
    }
    if (request->params_size + piece->size <= sizeof params)
        memcpy(params + request->params_size, piece->data, piece->size);
    request->params_size += piece->size;
    return request->params_size > sizeof params ? CGI_EVENT_PARAMS : CGI_EVENT_NONE;
}

static enum cgi_event take_stdin(struct cgi_session *session, const struct fcgi_piece *piece,
                                 struct cgi_body *body)
{
    struct cgi_request *request = &session->request;
    if (!request->params_ended)
        return CGI_EVENT_BROKEN;
    if (request->stdin_ended)
        return CGI_EVENT_NONE;
    if (piece->whole && piece->size == 0) {
        request->stdin_ended = true;
        return CGI_EVENT_END;
    }
    *body = (struct cgi_body){piece->data, piece->size};
    return CGI_EVENT_BODY;
}

static enum cgi_event take_piece(struct cgi_session *session, const struct fcgi_piece *piece,
                                 struct cgi_body *body)
{
    if (piece->id == 0) {
        answer_management(session, piece);
        return CGI_EVENT_NONE;
    }
    if (piece->type == FCGI_BEGIN_REQUEST)
        return take_begin(session, piece);
    if (piece->id != session->request.id)
        return CGI_EVENT_NONE;
    switch (piece->type) {
    case FCGI_PARAMS: return take_params(session, piece);
    case FCGI_STDIN: return take_stdin(session, piece, body);
    case FCGI_ABORT_REQUEST: return piece->last ? CGI_EVENT_ABORT : CGI_EVENT_NONE;
    default: return CGI_EVENT_NONE;
    }
}

enum cgi_event cgi_session_take(struct cgi_session *session, struct cgi_body *body)
{
    struct fcgi_piece piece;
    for (;;) {
        if (sizeof output - session->out_end <
            8 * FCGI_REPLY) /* for a reply, and the request's end */
            return CGI_EVENT_FULL;
        switch (fcgi_next(&session->reader, &session->in, &piece)) {
        case FCGI_MORE: return CGI_EVENT_NONE;
        case FCGI_BROKEN: return CGI_EVENT_BROKEN;
        case FCGI_PIECE: break;
        }
        enum cgi_event event = take_piece(session, &piece, body);
        if (event != CGI_EVENT_NONE)
            return event;
    }
}

/* --- waiting for the web server --------------------------------------------------------------- */

/* How often a resting connection checks whether it should be given up. */
#define REST_INTERVAL ((usec)250 * 1000)

/* How long to wait for each next piece of a body that nobody reads, and in all if the request is
 * late. Together with the time that a program may take to end, this is less than what the master
 * waits beyond request_timeout. */
#define DRAIN_TIMEOUT (2 * USEC_SECOND)

static usec idle_timeout(const struct cgi_session *session)
{
    return session->service->idle_timeout * USEC_SECOND;
}

usec cgi_session_deadline(const struct cgi_session *session)
{
    int seconds = session->service->request_timeout;
    return seconds ? session->request.since + seconds * USEC_SECOND : USEC_NEVER;
}

/* Polling takes nothing from the queue. If another worker takes the connection that is seen here,
 * this one was given up needlessly. A connection that is not seen yet is seen REST_INTERVAL
 * later. */
static bool connection_waits(const struct service *service)
{
    for (int i = 0; i < service->listener_count; i++) {
        struct pollfd queue = {.fd = service->listeners[i], .events = POLLIN};
        if (poll(&queue, 1, 0) > 0)
            return true;
    }
    return false;
}

bool cgi_session_keeps_others(const struct cgi_session *session)
{
    struct service *service = session->service;
    return *service->stopping || (service->crowded(service) && connection_waits(service));
}

int cgi_session_flush(struct cgi_session *session)
{
    int error;
    while ((error = cgi_session_write(session)) == -EAGAIN) {
        error = wait_until_ready(session, POLLOUT, clock_now() + idle_timeout(session));
        if (error && error != -EINTR)
            return error;
    }
    return error;
}

/* Between two requests: a connection that is kept for later must not keep others waiting now. TERM
 * ends the poll; if it comes just before it, it is seen REST_INTERVAL later. */
static int await_next(struct cgi_session *session)
{
    struct service *service = session->service;
    usec end = clock_now() + idle_timeout(session);
    for (;;) {
        if (cgi_session_keeps_others(session))
            return -ECANCELED;
        service->renew(service);
        usec slice = clock_earlier(end, clock_now() + REST_INTERVAL);
        int error = wait_until_ready(session, POLLIN, slice);
        if (error == 0 || (error == -ETIMEDOUT && slice == end))
            return error;
    }
}

static int await_input(struct cgi_session *session, bool resting)
{
    if (resting)
        return await_next(session);
    usec deadline =
        clock_earlier(clock_now() + idle_timeout(session), cgi_session_deadline(session));
    int error = wait_until_ready(session, POLLIN, deadline);
    return error == -EINTR ? 0 : error;
}

/* The limits are looked at where the worker waits. A web server that never pauses is waited for all
 * the same, once in a while. */
int cgi_session_read_more(struct cgi_session *session, bool resting)
{
    enum { READS = 16 };
    int error = cgi_session_flush(session);
    if (error == 0 && !session->in_ended)
        error = session->reads++ < READS ? cgi_session_read(session) : -EAGAIN;
    while (error == -EAGAIN) {
        session->reads = 0;
        error = await_input(session, resting);
        if (error == 0)
            error = cgi_session_read(session);
    }
    return error == 0 && session->in_ended ? -ENODATA : error;
}

/* Takes all input, and drops it. Whether more of the body is to come. */
static bool discard_body(struct cgi_session *session)
{
    struct cgi_body body;
    while (!session->request.stdin_ended) {
        switch (cgi_session_take(session, &body)) {
        case CGI_EVENT_NONE: return !session->in_ended;
        case CGI_EVENT_BROKEN: return false;
        case CGI_EVENT_FULL: cgi_session_drop(session); break; /* nobody reads the replies */
        default: break;
        }
    }
    return !session->in_ended && !fcgi_at_rest(&session->reader);
}

/* If unread input is left, close() resets a TCP connection, and the reset may discard an answer
 * that the web server has not read yet (RFC 1122, 4.2.2.13); on a Unix socket, the web server gets
 * an error behind the answer (unix(7)). So shut down our side first, then read the rest: Caddy
 * reads the answer only when it has sent the body. nginx stops sending, and waits for our end, upon
 * which it closes; if we waited for its end first, both would wait forever. A server that does
 * neither, such as HAProxy, is given DRAIN_TIMEOUT. One that keeps sending is read from as long as
 * no connection wants the worker, up to idle_timeout, and not beyond the request's deadline. */
void cgi_session_finish(struct cgi_session *session)
{
    if (!discard_body(session) || shutdown(session->conn->fd, SHUT_WR) != 0)
        return;
    usec silent_until = clock_now() + DRAIN_TIMEOUT, deadline = cgi_session_deadline(session);
    usec end = clock_earlier(clock_now() + idle_timeout(session),
                             deadline > silent_until ? deadline : silent_until);
    usec check_at = clock_now() + REST_INTERVAL; /* leaves the answer time to arrive */
    for (;;) {
        int error = cgi_session_read(session);
        if (error == 0 && !discard_body(session))
            return;
        if (error == -EAGAIN)
            error = wait_until_ready(session, POLLIN,
                                     clock_earlier(check_at, clock_earlier(end, silent_until)));
        else if (error == 0)
            silent_until = clock_now() + DRAIN_TIMEOUT;
        if (error && error != -ETIMEDOUT && error != -EINTR)
            return;
        usec now = clock_now();
        if (now >= end || now >= silent_until ||
            (now >= check_at && cgi_session_keeps_others(session)))
            return;
        if (now >= check_at)
            check_at = now + REST_INTERVAL;
    }
}
