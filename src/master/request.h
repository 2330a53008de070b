/*
 * request - a command that came by the control socket, and its answer.
 *
 * Owns:      the words, the client's identity, the answer as it grows, and what it waits for.
 * Knows not: sockets, and what the words mean.
 * Called by: control, commands.
 * Runs in:   the master.
 *
 * A signal runs the same command without a request: so each function that a command calls lets NULL
 * pass.
 */
#ifndef PREFORKD_MASTER_REQUEST_H
#define PREFORKD_MASTER_REQUEST_H

#include "../base/buffer.h"
#include "../config/config.h"
#include "../wire/message.h"

struct master;
struct request;

/* Asked after each round of the master. True: the answer is complete. */
typedef bool request_wait_fn(struct master *master, struct request *request);

struct request {
    struct message_request words; /* point into the client's memory */
    bool json;
    pid_t pid; /* of the client; 0: not to be seen from here */
    uid_t uid;

    struct buffer said, failed; /* for standard output, and for standard error */
    bool whole;                 /* `said` is in the format that was asked for, JSON or text */
    int status;                 /* enum message_status */
    bool carried;               /* the binary that an upgrade starts is to answer */
    bool lasts;                 /* the connection stays open until the process has ended */

    request_wait_fn *wait; /* NULL: for nothing */
    uint64_t ticket;       /* of the reload that it waits for */
    char pool[POOL_NAME_MAX + 1];
};

/* Takes the words. `--json` among them asks for JSON, wherever it stands. */
void request_init(struct request *request, const struct message_request *words, pid_t pid,
                  uid_t uid);
void request_done(struct request *request);

/* The word of this number: 0 the command, its arguments from 1 on; NULL: there is none. */
const char *request_argument(const struct request *request, int number);

/* Adds a line to the answer. */
void request_say(struct request *request, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* The answer as a whole, in the format that was asked for; frees it. NULL: out of memory. */
void request_give(struct request *request, char *text);

/* Refuses, with the reason. For a signal, the reason goes to the log. */
void request_fail(struct request *request, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* The same if the words themselves are wrong. */
void request_misuse(struct request *request, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* The answer comes when this is true. */
void request_wait(struct request *request, request_wait_fn *wait);

/* Writes the answer as it is sent. */
void request_reply(struct request *request, struct buffer *reply);

#endif
