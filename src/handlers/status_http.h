/*
 * status_http - serves one HTTP request on one connection, by libmicrohttpd; status knows the
 * answer.
 *
 * It is a shared object, which only the workers of status load: libmicrohttpd brings ten libraries
 * along, and every worker pays for what the master has linked. A package upgrade may replace the
 * file while an older master still runs, so the interface between the two is small and has an ABI
 * number.
 */
#ifndef PREFORKD_HANDLERS_STATUS_HTTP_H
#define PREFORKD_HANDLERS_STATUS_HTTP_H

#include "../base/clock.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

enum { STATUS_HTTP_ABI = 1 };
#define STATUS_HTTP_FILE   "status_http.so"
#define STATUS_HTTP_SYMBOL "preforkd_status_http"

/* Texts as the client sent them; `target` has no query; `accept` is NULL without that header. */
struct status_question {
    const char *method, *target, *accept;
};

struct status_answer {
    int code;
    const char *type;   /* Content-Type */
    bool is_page;       /* the body is the page, and `body` is not used */
    char *body;         /* from malloc(), freed once it is sent; NULL: none */
    size_t size;        /* of `body`, without the NUL that ends it */
    const char *allow;  /* for a 405: the allowed methods; else NULL */
    const char *varies; /* the request header that the answer depends on; NULL: none */
};

/* A connection to serve. */
struct status_call {
    int fd;
    const struct sockaddr *peer;
    socklen_t peer_length;
    unsigned idle; /* seconds that the client may send or read nothing */
    usec deadline; /* for the whole connection */
    void (*answer)(void *owner, const struct status_question *question,
                   struct status_answer *answer);
    void *owner;
};

struct status_http {
    uint32_t abi;

    /* Serves a connection, at most one request, until the answer is sent. 0, -ETIMEDOUT, or -errno.
     * The descriptor stays open, but becomes non-blocking. */
    int (*serve)(const struct status_call *call);
};

extern const struct status_http preforkd_status_http;

#endif
