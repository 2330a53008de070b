/*
 * status_http - one HTTP request on one connection, by libmicrohttpd; status knows the answer.
 *
 * It is a shared object of its own, which the workers of status load: libmicrohttpd brings ten
 * libraries along, and what the master has linked, each of its workers pays for. A package may
 * replace the file while an older master runs on. So what passes between the two is little, and has
 * a number.
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

/* Texts as the client sent them: `target` without its query; `accept` is NULL if there is none. */
struct status_question {
    const char *method, *target, *accept;
};

struct status_answer {
    int code;
    const char *type;   /* Content-Type */
    bool is_page;       /* the body is the page; else */
    char *body;         /* from malloc(), and given back once it is sent; NULL: none */
    size_t size;        /* of that, without the NUL behind it */
    const char *allow;  /* the methods that there are, of a 405; else NULL */
    const char *varies; /* the header of the request that it depends on; NULL: on none */
};

/* A connection to be served. */
struct status_call {
    int fd;
    const struct sockaddr *peer;
    socklen_t peer_length;
    unsigned idle; /* seconds that it may keep silent, or take nothing */
    usec deadline; /* of all of it */
    void (*answer)(void *owner, const struct status_question *question,
                   struct status_answer *answer);
    void *owner;
};

struct status_http {
    uint32_t abi;

    /* Serves one, one request at most, until there is no more to be sent. 0, -ETIMEDOUT, or
     * -errno; the descriptor stays open, but non-blocking. */
    int (*serve)(const struct status_call *call);
};

extern const struct status_http preforkd_status_http;

#endif
