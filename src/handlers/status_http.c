#include "status_http.h"

#include "status_page.h"

#include <errno.h>
#include <fcntl.h>
#include <microhttpd.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* For the request line and all headers, those of the answer too. */
enum { REQUEST_BYTES = 16 * 1024 };

/* For everything but the page: loads nothing and runs nothing, so that a name which somebody put
 * into the status stays text. */
static const char strict_policy[] = "default-src 'none'; base-uri 'none'; form-action 'none'; "
                                    "frame-ancestors 'none'";

static const struct {
    const char *name, *value;
} common_headers[] = {
    {"Connection", "close"}, /* no client keeps a worker by sending nothing */
    {"Cache-Control", "no-store"},
    {"X-Content-Type-Options", "nosniff"},
    {"X-Frame-Options", "DENY"},
    {"Referrer-Policy", "no-referrer"},
    {"Cross-Origin-Resource-Policy", "same-origin"},
};

static const struct status_call *call; /* the one that is being served */
static bool request_seen, closed, timed_out;

static void add_header(struct MHD_Response *response, const char *name, const char *value)
{
    if (value)
        MHD_add_response_header(response, name, value);
}

/* Takes ownership of the body. */
static struct MHD_Response *response_of(const struct status_answer *answer)
{
    if (answer->is_page)
        return MHD_create_response_from_buffer(status_page_size, (void *)status_page,
                                               MHD_RESPMEM_PERSISTENT);
    struct MHD_Response *response =
        MHD_create_response_from_buffer_with_free_callback(answer->size, answer->body, free);
    if (!response)
        free(answer->body);
    return response;
}

static enum MHD_Result send_answer(struct MHD_Connection *connection,
                                   const struct status_answer *answer)
{
    struct MHD_Response *response = response_of(answer);
    if (!response)
        return MHD_NO;
    for (size_t i = 0; i < sizeof common_headers / sizeof *common_headers; i++)
        add_header(response, common_headers[i].name, common_headers[i].value);
    add_header(response, "Content-Type", answer->type);
    add_header(response, "Content-Security-Policy",
               answer->is_page ? status_page_policy : strict_policy);
    add_header(response, "Allow", answer->allow);
    add_header(response, "Vary", answer->varies);
    enum MHD_Result result = MHD_queue_response(connection, (unsigned)answer->code, response);
    MHD_destroy_response(response);
    return result;
}

/* Called with the headers, before any body. A body is never read, so nobody can keep us waiting for
 * one. */
static enum MHD_Result on_request(void *owner, struct MHD_Connection *connection,
                                  const char *target, const char *method, const char *version,
                                  const char *body, size_t *body_size, void **request)
{
    struct status_answer answer = {0};
    const struct status_question question = {
        .method = method,
        .target = target,
        .accept = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Accept"),
    };
    (void)owner, (void)version, (void)body, (void)body_size, (void)request;
    request_seen = true;
    call->answer(call->owner, &question, &answer);
    return send_answer(connection, &answer);
}

static void on_request_end(void *owner, struct MHD_Connection *connection, void **request,
                           enum MHD_RequestTerminationCode code)
{
    (void)owner, (void)connection, (void)request;
    timed_out = timed_out || code == MHD_REQUEST_TERMINATED_TIMEOUT_REACHED;
}

static void on_connection_change(void *owner, struct MHD_Connection *connection, void **socket,
                                 enum MHD_ConnectionNotificationCode code)
{
    (void)owner, (void)connection, (void)socket;
    closed = closed || code == MHD_CONNECTION_NOTIFY_CLOSED;
}

/* status compares the path as it was sent, and decodes it itself: libmicrohttpd would cut it at an
 * encoded NUL. */
static size_t keep_encoded(void *owner, struct MHD_Connection *connection, char *text)
{
    (void)owner, (void)connection;
    return strlen(text);
}

static struct MHD_Daemon *start_server(unsigned idle)
{
    return MHD_start_daemon(
        MHD_USE_NO_LISTEN_SOCKET | MHD_USE_EPOLL, 0, NULL, NULL, on_request, NULL,
        MHD_OPTION_CONNECTION_TIMEOUT, idle, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)REQUEST_BYTES, MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_UNESCAPE_CALLBACK,
        keep_encoded, NULL, MHD_OPTION_NOTIFY_COMPLETED, on_request_end, NULL,
        MHD_OPTION_NOTIFY_CONNECTION, on_connection_change, NULL, MHD_OPTION_END);
}

/* libmicrohttpd closes a connection that it is given, so it gets a duplicate. The original stays
 * open, to be closed in order. */
static int lend_connection(struct MHD_Daemon *server)
{
    int fd = fcntl(call->fd, F_DUPFD_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    errno = 0;
    if (MHD_add_connection(server, fd, call->peer, call->peer_length) == MHD_YES)
        return 0;
    return errno ? -errno : -EPROTO;
}

static void run(struct MHD_Daemon *server)
{
    usec left = 1;
    char byte;
    /* If a client shuts down its side in the middle of a request, libmicrohttpd would wait for the
     * rest; so peek whether the stream has ended. */
    while (!closed && (left = call->deadline - clock_now()) > 0 &&
           (request_seen || recv(call->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) != 0))
        MHD_run_wait(server, clock_msec(left));
    timed_out = timed_out || (!closed && left <= 0);
}

/* Each connection has a server of its own, so that nothing is left of one that was given up,
 * however far it came. */
static int http_serve(const struct status_call *to_serve)
{
    call = to_serve;
    request_seen = closed = timed_out = false;
    struct MHD_Daemon *server = start_server(call->idle);
    if (!server)
        return errno ? -errno : -ENOMEM;
    int error = lend_connection(server);
    if (error == 0)
        run(server);
    MHD_stop_daemon(server);
    return timed_out ? -ETIMEDOUT : error;
}

const struct status_http preforkd_status_http __attribute__((visibility("default"))) = {
    .abi = STATUS_HTTP_ABI,
    .serve = http_serve,
};
