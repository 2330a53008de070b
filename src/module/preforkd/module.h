/*
 * preforkd/module.h - the interface between preforkd and a module of yours; preforkd-module(3)
 * describes it.
 *
 * A module is a shared object that defines one symbol, `preforkd_module`. It links against no
 * library of preforkd's, but calls the functions in struct preforkd_host.
 *
 * Before either side reads the other's struct, it checks `abi` and `size`. Later versions of
 * preforkd may add fields at the end of both structs. The number of the ABI changes only if an
 * older module would fail.
 */
#ifndef PREFORKD_MODULE_H
#define PREFORKD_MODULE_H

#include <stddef.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PREFORKD_MODULE_ABI 2

/* The models that a module supports: bits of `models`. */
enum preforkd_model {
    PREFORKD_PROCESS = 1, /* one connection at a time; every module supports it */
    PREFORKD_THREAD = 2,  /* one connection a thread; several run at the same time */
    PREFORKD_EVENT = 4    /* many connections on one thread; others run while one waits in a
                             function of struct preforkd_host */
};

/* The level of a log line: the numbers of syslog(3). */
enum preforkd_level {
    PREFORKD_ERR = 3,
    PREFORKD_WARNING = 4,
    PREFORKD_NOTICE = 5,
    PREFORKD_INFO = 6,
    PREFORKD_DEBUG = 7
};

/* A buffer of this size holds any peer's text, with its closing NUL. */
enum { PREFORKD_PEER_TEXT = 512 };

/* An accepted connection. It belongs to preforkd; use it until serve returns. */
struct preforkd_conn;

/* What preforkd offers to a module. The struct and all that it points to exist as long as the
 * process. */
struct preforkd_host {
    unsigned abi;            /* the module's own */
    unsigned size;           /* of this struct in preforkd */
    const char *pool;        /* the pool's name */
    const char *const *args; /* the words of `args`, "NAME=VALUE", ended by NULL */

    /* The value of an argument; NULL if it isn't given. */
    const char *(*arg)(const struct preforkd_host *host, const char *name);

    /* Writes a line to the log. */
    void (*log)(const struct preforkd_host *host, int level, const char *format, ...)
        __attribute__((format(printf, 3, 4)));

    /* Returns a value other than 0 if the worker was told to finish. */
    int (*stopping)(const struct preforkd_host *host);

    /* Reads up to `size` bytes, at least one. Returns how many; 0 at the end of the stream;
     * -ETIMEDOUT after idle_timeout; or another -errno. */
    ssize_t (*read)(struct preforkd_conn *conn, void *data, size_t size);

    /* Writes all of the data. 0, -ETIMEDOUT, or another -errno. */
    int (*write)(struct preforkd_conn *conn, const void *data, size_t size);

    /* Ends the stream, and reads for 2 s at most what the peer still sends, so that closing the
     * socket can't destroy what was just written. */
    void (*finish)(struct preforkd_conn *conn);

    /* Writes "192.0.2.1:4711", "[2001:db8::1]:4711" or "unix" into `text`, and returns it. */
    const char *(*peer)(const struct preforkd_conn *conn, char *text, size_t size);

    /* The socket, which belongs to preforkd: don't close it. */
    int (*descriptor)(struct preforkd_conn *conn);

    /* From ABI 2 on. */

    /* The pointer that lane_start stored for this connection's lane. */
    void *(*lane)(const struct preforkd_conn *conn);

    /* A place for a pointer of this connection's own, NULL at first. */
    void **(*own)(struct preforkd_conn *conn);

    /* Waits until the socket has one of these events of poll(2), or has ended; with `events` 0 it
     * pauses. 0; -ETIMEDOUT after `msec` milliseconds, at once if negative; -EINVAL for what is no
     * event of poll(2); or another -errno. In every model, wait for the socket of `descriptor` by
     * this function. */
    int (*wait)(struct preforkd_conn *conn, short events, int msec);
};

/* What a module offers. All functions but `serve` may be NULL. */
struct preforkd_module {
    unsigned abi;  /* PREFORKD_MODULE_ABI */
    unsigned size; /* sizeof(struct preforkd_module) */

    /* Checks the arguments, in a child that exits afterwards. 0; or another value, with a sentence
     * in `why` that says what is wrong. */
    int (*check)(const struct preforkd_host *host, char *why, size_t size);

    /* Prepares a worker. 0, with a pointer in `*state` that serve and stop will get; or another
     * value, with a sentence in `why`, and this worker ends. */
    int (*start)(const struct preforkd_host *host, void **state, char *why, size_t size);

    /* Serves one connection to its end, without closing it. 0, or -errno for the log. Return: to
     * end the thread instead costs the connection, and in the models of one thread the worker. */
    int (*serve)(const struct preforkd_host *host, struct preforkd_conn *conn, void *state);

    /* Called at the orderly end of a worker. */
    void (*stop)(const struct preforkd_host *host, void *state);

    /* From ABI 2 on. */

    unsigned models; /* bits of enum preforkd_model; 0: PREFORKD_PROCESS alone */

    /* Prepares a lane, in the lane's own thread. Two connections of one lane never run at the same
     * time. 0, with a pointer in `*lane` that host->lane returns and lane_stop will get; or another
     * value, with a sentence in `why`, and the worker ends. */
    int (*lane_start)(const struct preforkd_host *host, void *state, void **lane, char *why,
                      size_t size);

    /* Called at the orderly end of a lane. */
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
