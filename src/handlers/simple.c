/*
 * simple - the small services: echo, discard, daytime, time, chargen, over a stream.
 *
 * Their sections are empty. They are for trying and measuring a pool, and for what still asks them.
 */
#include "handler.h"

#include <arpa/inet.h>
#include <string.h>
#include <time.h>

/* Most clients say little: what they say fits into the first, on a page of the stack that is there
 * already. The large one is for those that fill it. */
enum { FEW = 512, BUFFER = 16 * 1024 };

/* What a service does with one buffer. 1: a read filled it, which makes it too small. */
typedef int (*with_buffer)(struct conn *conn, char *buffer, size_t size);

/* On the stack: other connections are served between a read and its write. */
__attribute__((noinline)) static int serve_many_bytes(struct conn *conn, with_buffer serve)
{
    char buffer[BUFFER];
    int error;
    do
        error = serve(conn, buffer, sizeof buffer);
    while (error > 0);
    return error;
}

static int serve_bytes(struct conn *conn, with_buffer serve)
{
    char buffer[FEW];
    int error = serve(conn, buffer, sizeof buffer);
    return error > 0 ? serve_many_bytes(conn, serve) : error;
}

static const struct option_row no_rows[] = {OPTION_END};

static int echo(struct conn *conn, char *buffer, size_t size)
{
    for (;;) {
        ssize_t n = conn_read(conn, buffer, size);
        if (n <= 0)
            return (int)n;
        int error = conn_write(conn, buffer, (size_t)n);
        if (error || (size_t)n == size)
            return error ? error : 1;
    }
}

/* RFC 862: sends back whatever comes, until the client has ended its side. */
static int echo_serve(struct service *service, struct conn *conn)
{
    (void)service;
    return serve_bytes(conn, echo);
}

const struct handler handler_echo = {
    .section = {.name = "echo",
                .rows = no_rows,
                .scopes = SCOPE_CONNECTIONS | SCOPE_CLIENT,
                .models = 1 << MODEL_THREAD | 1 << MODEL_EVENT},
    .calls = CALLS_SERVE,
    .serve = echo_serve,
};

static int discard(struct conn *conn, char *buffer, size_t size)
{
    ssize_t n;
    do
        n = conn_read(conn, buffer, size);
    while (n > 0 && (size_t)n < size);
    return n > 0 ? 1 : (int)n;
}

/* RFC 863: throws away whatever comes. */
static int discard_serve(struct service *service, struct conn *conn)
{
    (void)service;
    return serve_bytes(conn, discard);
}

const struct handler handler_discard = {
    .section = {.name = "discard",
                .rows = no_rows,
                .scopes = SCOPE_CONNECTIONS | SCOPE_CLIENT,
                .models = 1 << MODEL_THREAD | 1 << MODEL_EVENT},
    .calls = CALLS_SERVE,
    .serve = discard_serve,
};

/* RFC 867: one line for people, in the first of the forms that it suggests. */
static int daytime_serve(struct service *service, struct conn *conn)
{
    (void)service;
    char line[80];
    time_t now = time(NULL);
    struct tm local;
    size_t length =
        strftime(line, sizeof line, "%A, %B %d, %Y %H:%M:%S-%Z\r\n", localtime_r(&now, &local));
    int error = conn_write(conn, line, length);
    if (error == 0)
        conn_finish(conn);
    return error;
}

const struct handler handler_daytime = {
    .section = {.name = "daytime",
                .rows = no_rows,
                .scopes = SCOPE_CONNECTIONS | SCOPE_CLIENT,
                .models = 1 << MODEL_THREAD | 1 << MODEL_EVENT},
    .calls = CALLS_SERVE,
    .serve = daytime_serve,
};

/* RFC 868: seconds since 1900 in 32 bits, most significant byte first. They start anew in 2036. */
static int time_serve(struct service *service, struct conn *conn)
{
    (void)service;
    static const uint64_t from_1900_to_1970 = 2208988800;
    uint32_t seconds = htonl((uint32_t)((uint64_t)time(NULL) + from_1900_to_1970));
    int error = conn_write(conn, &seconds, sizeof seconds);
    if (error == 0)
        conn_finish(conn);
    return error;
}

const struct handler handler_time = {
    .section = {.name = "time",
                .rows = no_rows,
                .scopes = SCOPE_CONNECTIONS | SCOPE_CLIENT,
                .models = 1 << MODEL_THREAD | 1 << MODEL_EVENT},
    .calls = CALLS_SERVE,
    .serve = time_serve,
};

enum {
    CHARGEN_FIRST = ' ',
    CHARGEN_COUNT = 95,
    CHARGEN_WIDTH = 72,
    CHARGEN_LINE = CHARGEN_WIDTH + 2
};

/* RFC 864: lines of 72 printable characters, each beginning one further on, as long as the client
 * takes them. What it sends is not looked at. */
static int chargen_serve(struct service *service, struct conn *conn)
{
    (void)service;
    char lines[CHARGEN_COUNT * CHARGEN_LINE]; /* a whole turn */
    char *at = lines;
    for (int row = 0; row < CHARGEN_COUNT; row++) {
        for (int column = 0; column < CHARGEN_WIDTH; column++)
            *at++ = (char)(CHARGEN_FIRST + (row + column) % CHARGEN_COUNT);
        memcpy(at, "\r\n", 2);
        at += 2;
    }
    for (;;) {
        int error = conn_write(conn, lines, sizeof lines);
        if (error)
            return error;
    }
}

const struct handler handler_chargen = {
    .section = {.name = "chargen",
                .rows = no_rows,
                .scopes = SCOPE_CONNECTIONS | SCOPE_CLIENT,
                .models = 1 << MODEL_THREAD | 1 << MODEL_EVENT},
    .calls = CALLS_SERVE,
    .serve = chargen_serve,
};
