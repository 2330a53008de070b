/*
 * simple - the small services: echo, discard, daytime, time and chargen, over a stream.
 *
 * They have no options. They serve to try and to measure a pool, and the clients that still use
 * them.
 */
#include "handler.h"

#include <arpa/inet.h>
#include <string.h>
#include <time.h>

static const struct option_row no_rows[] = {OPTION_END};

/* What the sections of these handlers have in common. */
#define SIMPLE_SECTION                                                                             \
    .scopes = SCOPE_CONNECTIONS | SCOPE_CLIENT, .models = 1 << MODEL_THREAD | 1 << MODEL_EVENT

/* Most clients send little: SMALL bytes fit into a page of the stack that is already in use. The
 * large buffer is for clients that fill the small one. */
enum { SMALL = 512, LARGE = 16 * 1024 };

/* Serves the connection with one buffer. 0, -errno, or 1: a read filled the buffer, so a larger one
 * is better. */
typedef int (*serve_function)(struct conn *conn, char *buffer, size_t size);

/* The buffers are on the stack because other connections are served between a read and its write.
 * Not inlined, so that clients that send little do not pay for the large one. */
__attribute__((noinline)) static int serve_with_large_buffer(struct conn *conn,
                                                             serve_function serve)
{
    char buffer[LARGE];
    int error;
    do
        error = serve(conn, buffer, sizeof buffer);
    while (error > 0);
    return error;
}

static int serve_with_small_buffer(struct conn *conn, serve_function serve)
{
    char buffer[SMALL];
    int error = serve(conn, buffer, sizeof buffer);
    return error > 0 ? serve_with_large_buffer(conn, serve) : error;
}

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

/* RFC 862: sends back all input, until the client shuts down its side. */
static int echo_serve(struct service *service, struct conn *conn)
{
    (void)service;
    return serve_with_small_buffer(conn, echo);
}

const struct handler handler_echo = {
    .section = {.name = "echo", .rows = no_rows, SIMPLE_SECTION},
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

/* RFC 863: discards all input. */
static int discard_serve(struct service *service, struct conn *conn)
{
    (void)service;
    return serve_with_small_buffer(conn, discard);
}

const struct handler handler_discard = {
    .section = {.name = "discard", .rows = no_rows, SIMPLE_SECTION},
    .calls = CALLS_SERVE,
    .serve = discard_serve,
};

/* Writes the whole answer, and ends the connection in order. */
static int write_answer(struct conn *conn, const void *data, size_t size)
{
    int error = conn_write(conn, data, size);
    if (error == 0)
        conn_finish(conn);
    return error;
}

/* RFC 867: one line for people, in the first format that it suggests. */
static int daytime_serve(struct service *service, struct conn *conn)
{
    (void)service;
    char line[80];
    time_t now = time(NULL);
    struct tm local;
    size_t length =
        strftime(line, sizeof line, "%A, %B %d, %Y %H:%M:%S-%Z\r\n", localtime_r(&now, &local));
    return write_answer(conn, line, length);
}

const struct handler handler_daytime = {
    .section = {.name = "daytime", .rows = no_rows, SIMPLE_SECTION},
    .calls = CALLS_SERVE,
    .serve = daytime_serve,
};

/* RFC 868: seconds since 1900 in 32 bits, most significant byte first. They wrap in 2036. */
static int time_serve(struct service *service, struct conn *conn)
{
    (void)service;
    static const uint64_t from_1900_to_1970 = 2208988800;
    uint32_t seconds = htonl((uint32_t)((uint64_t)time(NULL) + from_1900_to_1970));
    return write_answer(conn, &seconds, sizeof seconds);
}

const struct handler handler_time = {
    .section = {.name = "time", .rows = no_rows, SIMPLE_SECTION},
    .calls = CALLS_SERVE,
    .serve = time_serve,
};

enum {
    CHARGEN_FIRST = ' ',
    CHARGEN_COUNT = 95,
    CHARGEN_WIDTH = 72,
    CHARGEN_LINE = CHARGEN_WIDTH + 2
};

/* RFC 864: lines of 72 printable characters, each starting one character further on, for as long as
 * the client reads. Its input is ignored. */
static int chargen_serve(struct service *service, struct conn *conn)
{
    (void)service;
    char lines[CHARGEN_COUNT * CHARGEN_LINE]; /* one full rotation */
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
    .section = {.name = "chargen", .rows = no_rows, SIMPLE_SECTION},
    .calls = CALLS_SERVE,
    .serve = chargen_serve,
};
