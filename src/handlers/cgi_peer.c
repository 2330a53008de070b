#include "cgi_peer.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

/* How often a connection at rest asks whether it should be given up. */
#define REST_SLICE ((usec)250 * 1000)

/* How long the rest of a body is waited for: between two pieces of it, and however late the request is.
 * With what a program may take to end, less than the master waits beyond request_timeout. */
#define DRAIN_SPAN (2 * USEC_SECOND)

static usec idle_span(const struct cgi_session *session)
{
    return session->service->idle_timeout * USEC_SECOND;
}

usec cgi_peer_deadline(const struct cgi_session *session)
{
    int seconds = session->service->request_timeout;
    return seconds ? session->request.since + seconds * USEC_SECOND : USEC_NEVER;
}

/* Looking takes nothing from the queue: who is seen there may go to another worker, and then one
 * connection too many was given up. One that isn't seen yet is seen REST_SLICE later. */
static bool has_waiting(const struct service *service)
{
    for (int i = 0; i < service->listener_count; i++) {
        struct pollfd input = {.fd = service->listeners[i], .events = POLLIN};
        if (poll(&input, 1, 0) > 0)
            return true;
    }
    return false;
}

bool cgi_peer_keeps_others(const struct cgi_session *session)
{
    struct service *service = session->service;
    return *service->stopping || (service->crowded(service) && has_waiting(service));
}

int cgi_peer_flush(struct cgi_session *session)
{
    int error;
    while ((error = cgi_session_write(session)) == -EAGAIN) {
        error = cgi_session_wait(session, POLLOUT, clock_now() + idle_span(session));
        if (error && error != -EINTR)
            return error;
    }
    return error;
}

/* Between two requests: a connection that is kept for later must not keep others waiting now. TERM
 * ends the poll, or comes just before it and is seen a slice later. */
static int await_next(struct cgi_session *session)
{
    struct service *service = session->service;
    usec end = clock_now() + idle_span(session);
    for (;;) {
        if (cgi_peer_keeps_others(session))
            return -ECANCELED;
        service->renew(service);
        usec slice = clock_earlier(end, clock_now() + REST_SLICE);
        int error = cgi_session_wait(session, POLLIN, slice);
        if (error == 0 || (error == -ETIMEDOUT && slice == end))
            return error;
    }
}

static int await_input(struct cgi_session *session, bool resting)
{
    if (resting)
        return await_next(session);
    usec deadline = clock_now() + idle_span(session);
    if (session->request.id)
        deadline = clock_earlier(deadline, cgi_peer_deadline(session));
    int error = cgi_session_wait(session, POLLIN, deadline);
    return error == -EINTR ? 0 : error;
}

int cgi_peer_read(struct cgi_session *session, bool resting)
{
    int error = cgi_peer_flush(session);
    if (error == 0 && !session->in_ended)
        error = cgi_session_read(session);
    while (error == -EAGAIN) {
        error = await_input(session, resting);
        if (error == 0)
            error = cgi_session_read(session);
    }
    return error == 0 && session->in_ended ? -ENODATA : error;
}

/* Takes what was read. Whether more of the body is to come. */
static bool take_rest(struct cgi_session *session)
{
    struct cgi_body body;
    while (!session->request.stdin_ended) {
        switch (cgi_session_take(session, &body)) {
        case CGI_EVENT_NONE: return !session->in_ended;
        case CGI_EVENT_BROKEN: return false;
        case CGI_EVENT_FULL: session->out_at = session->out_end = 0; break; /* nobody hears it */
        default: break;
        }
    }
    return !session->in_ended && !fcgi_at_rest(&session->reader);
}

static usec drain_end(const struct cgi_session *session)
{
    usec least = clock_now() + DRAIN_SPAN, late = cgi_peer_deadline(session);
    return clock_earlier(clock_now() + idle_span(session), late > least ? late : least);
}

/* Closing while something is unread resets a TCP connection, which may take back the answer that the
 * web server has not read yet (RFC 1122, 4.2.2.13); one over a Unix socket it fails, behind the answer
 * (unix(7)). So our end is told first, and then the rest is taken in: Caddy reads the answer only when
 * it has sent the body. nginx sends no more of that, and waits for nothing but our end: it closes then,
 * and a wait for its own end before ours would be one for ever. Whoever does neither, as HAProxy, is
 * waited for DRAIN_SPAN; whoever goes on to send, for as long as nobody else wants the worker, up to
 * idle_timeout, and not beyond the time that the request has. */
void cgi_peer_finish(struct cgi_session *session)
{
    if (!take_rest(session) || shutdown(session->conn->fd, SHUT_WR) != 0)
        return;
    usec end = drain_end(session), silent = clock_now() + DRAIN_SPAN;
    usec look = clock_now() + REST_SLICE; /* so long the answer has to arrive */
    for (;;) {
        int error = cgi_session_read(session);
        if (error == 0 && !take_rest(session))
            return;
        if (error == -EAGAIN)
            error =
                cgi_session_wait(session, POLLIN, clock_earlier(look, clock_earlier(end, silent)));
        else if (error == 0)
            silent = clock_now() + DRAIN_SPAN;
        if (error && error != -ETIMEDOUT && error != -EINTR)
            return;
        usec now = clock_now();
        if (now >= end || now >= silent || (now >= look && cgi_peer_keeps_others(session)))
            return;
        if (now >= look)
            look = now + REST_SLICE;
    }
}
