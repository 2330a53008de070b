/*
 * preforkd/module.h - what preforkd and a module of yours know of each other; preforkd-module(3)
 * has the whole of it.
 *
 * A module is a shared object that defines one symbol, `preforkd_module`. It links against nothing
 * of preforkd's: what it may call comes to it in struct preforkd_host.
 *
 * Whoever reads a struct of the other side's looks at its `abi` and its `size` first. A new version
 * of preforkd may have more fields at the end of both structs; the ABI's number changes only where
 * a module that was built before would go wrong.
 */
#ifndef PREFORKD_MODULE_H
#define PREFORKD_MODULE_H

#include <stddef.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PREFORKD_MODULE_ABI 2

/* The ways to serve that a module may live in: bits of `models`. */
enum preforkd_model {
    PREFORKD_PROCESS = 1, /* one connection at a time; every module can */
    PREFORKD_THREAD = 2,  /* one a thread, so that several run at the same time */
    PREFORKD_EVENT = 4    /* many on one thread, which change wherever one waits in our functions */
};

/* How much a line of the log matters: the numbers of syslog(3). */
enum preforkd_level {
    PREFORKD_ERR = 3,
    PREFORKD_WARNING = 4,
    PREFORKD_NOTICE = 5,
    PREFORKD_INFO = 6,
    PREFORKD_DEBUG = 7
};

/* The room that a peer's text never exceeds, its closing NUL included. */
enum { PREFORKD_PEER_TEXT = 512 };

/* One accepted connection: preforkd's, and yours to use until serve returns. */
struct preforkd_conn;

/* What preforkd lends to a module. It and all that it points to live as long as the process. */
struct preforkd_host {
    unsigned abi;            /* the module's own */
    unsigned size;           /* of this struct, there */
    const char *pool;        /* the pool's name */
    const char *const *args; /* the words of `args`, "NAME=VALUE", ended by NULL */

    /* The value of an argument; NULL where it isn't given. */
    const char *(*arg)(const struct preforkd_host *host, const char *name);

    /* Writes a line to the log. */
    void (*log)(const struct preforkd_host *host, int level, const char *format, ...)
        __attribute__((format(printf, 3, 4)));

    /* Whether the worker was told to finish: not 0 once it was. */
    int (*stopping)(const struct preforkd_host *host);

    /* Reads what is there, up to `size` bytes: how many, 0 at the end of the stream, -ETIMEDOUT
     * after idle_timeout, or another -errno. */
    ssize_t (*read)(struct preforkd_conn *conn, void *data, size_t size);

    /* Writes all of it: 0, -ETIMEDOUT, or another -errno. */
    int (*write)(struct preforkd_conn *conn, const void *data, size_t size);

    /* Says that no more will come, and reads for 2 s at most what the peer still sends, so that
     * closing can't take back what was just written. */
    void (*finish)(struct preforkd_conn *conn);

    /* Writes "192.0.2.1:4711", "[2001:db8::1]:4711" or "unix" into the text, and returns it. */
    const char *(*peer)(const struct preforkd_conn *conn, char *text, size_t size);

    /* The socket, which stays preforkd's: don't close it. */
    int (*descriptor)(struct preforkd_conn *conn);

    /* From ABI 2 on. */

    /* What lane_start has stored for the lane of this connection. */
    void *(*lane)(const struct preforkd_conn *conn);

    /* A place for a pointer of the connection's own, which is NULL at first. */
    void **(*own)(struct preforkd_conn *conn);

    /* Waits until the socket has one of these events of poll(2), or is at its end: 0; -ETIMEDOUT
     * after so many milliseconds, or another -errno. In every model this is the way to wait for a
     * socket of `descriptor`. */
    int (*wait)(struct preforkd_conn *conn, short events, int msec);
};

/* What a module offers. All but `serve` may be NULL. */
struct preforkd_module {
    unsigned abi;  /* PREFORKD_MODULE_ABI */
    unsigned size; /* sizeof(struct preforkd_module) */

    /* Looks at the arguments, in a child that ends after it. 0; or anything else, with a sentence
     * in `why` that says what is wrong. */
    int (*check)(const struct preforkd_host *host, char *why, size_t size);

    /* Makes a worker ready. 0, and what `*state` is set to comes back in serve and stop; or
     * anything else, with a sentence in `why`: then this worker ends. */
    int (*start)(const struct preforkd_host *host, void **state, char *why, size_t size);

    /* Serves one connection to its end, and does not close it. 0, or -errno for the log. */
    int (*serve)(const struct preforkd_host *host, struct preforkd_conn *conn, void *state);

    /* At a worker's orderly end. */
    void (*stop)(const struct preforkd_host *host, void *state);

    /* From ABI 2 on. */

    unsigned models; /* bits of enum preforkd_model; 0: PREFORKD_PROCESS alone */

    /* Makes a lane ready, in its own thread: of connections on one lane never two run at the same
     * time. 0, and `*lane` comes back by host->lane and in lane_stop; or anything else, with a
     * sentence in `why`: then the worker ends. */
    int (*lane_start)(const struct preforkd_host *host, void *state, void **lane, char *why,
                      size_t size);

    /* At a lane's orderly end. */
    void (*lane_stop)(const struct preforkd_host *host, void *state, void *lane);
};

/* The first two fields, as in
 * `const struct preforkd_module preforkd_module = {PREFORKD_MODULE_HEAD, ...}`. */
#define PREFORKD_MODULE_HEAD .abi = PREFORKD_MODULE_ABI, .size = sizeof(struct preforkd_module)

extern const struct preforkd_module preforkd_module __attribute__((visibility("default")));

#ifdef __cplusplus
}
#endif

#endif
