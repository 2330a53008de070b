#include "cgi_session.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

/* One for all connections of the process, which come one after the other. What is never touched costs
 * nothing. */
static unsigned char input[CGI_INPUT];
static unsigned char gathered[CGI_GATHERED];
static char params[CGI_PARAMS_MAX];

/* Room for what one round puts there: both streams' records and their ends, the request's end, and
 * some replies besides. */
static unsigned char output[FCGI_HEADER + CGI_OUTPUT + FCGI_HEADER + CGI_ERRORS + 16 * FCGI_REPLY];

void cgi_session_begin(struct cgi_session *session, struct service *service, struct conn *conn)
{
    *session = (struct cgi_session){
        .service = service,
        .conn = conn,
        .in = {input, input},
    };
}

char *cgi_session_params(void)
{
    return params;
}

/* --- output -------------------------------------------------------------------------------- */

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

int cgi_session_write(struct cgi_session *session)
{
    while (cgi_session_pending(session)) {
        ssize_t n = conn_write_now(session->conn, output + session->out_at,
                                   session->out_end - session->out_at);
        if (n < 0)
            return (int)n;
        session->out_at += (size_t)n;
    }
    session->out_at = session->out_end = 0;
    return 0;
}

/* Whether there is room for a reply, and for the end of a request behind it. */
static bool has_room(const struct cgi_session *session)
{
    return sizeof output - session->out_end >= 8 * FCGI_REPLY;
}

/* --- input --------------------------------------------------------------------------------- */

int cgi_session_read(struct cgi_session *session)
{
    ssize_t n = conn_read_now(session->conn, input, sizeof input);
    if (n < 0)
        return (int)n;
    session->in = (struct fcgi_bytes){input, input + n};
    session->in_ended = n == 0;
    return 0;
}

int cgi_session_wait(struct cgi_session *session, short events, usec deadline)
{
    struct pollfd ready = {.fd = session->conn->fd, .events = events};
    usec left = deadline - clock_now();
    if (left <= 0)
        return -ETIMEDOUT;
    int msec = left / 1000 < 1000000 ? (int)(left / 1000) + 1 : 1000000;
    int n = poll(&ready, 1, msec);
    return n > 0 ? 0 : n == 0 ? -ETIMEDOUT : -errno;
}

/* Collects a record's content: true once it is whole. What doesn't fit is cut off. */
static bool gather(struct cgi_session *session, const struct fcgi_piece *piece)
{
    size_t room = sizeof gathered - session->gathered;
    size_t n = piece->size < room ? piece->size : room;
    memcpy(gathered + session->gathered, piece->data, n);
    session->gathered += n;
    return piece->last;
}

/* Records that are about no request. */
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
    if (begin.role != FCGI_RESPONDER) {
        refuse_request(session, piece->id, FCGI_UNKNOWN_ROLE);
        return begin.keep ? CGI_EVENT_NONE : CGI_EVENT_REFUSED;
    }
    *request = (struct cgi_request){.id = piece->id, .keep = begin.keep, .since = clock_now()};
    return CGI_EVENT_NONE;
}

/* More than fit are counted, but not kept: whoever asks for the size sees that they are too many. */
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
        if (!has_room(session))
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
