/*
 * control - the control socket: who may use it, its clients, and from each client one request,
 * which the master answers.
 *
 * Owns:      a bounded table of clients; if it is full, further clients wait in the kernel's queue.
 *            A client has 5 s to send its request and 30 s to read the reply, and no deadline while
 *            the command runs. Nothing here blocks.
 * Knows not: what a command does, and the path of the socket: it gets a listener's descriptor.
 * Called by: master, commands, upgrade, main_loop.
 * Runs in:   the master.
 */
#ifndef PREFORKD_MASTER_CONTROL_H
#define PREFORKD_MASTER_CONTROL_H

#include "../base/log.h"
#include "../base/loop.h"
#include "../base/text.h"
#include "../config/config.h"
#include "../wire/message.h"
#include "state.h"

struct client;
struct master;
struct request;

/* Asked after each round of the master. True: the answer is complete. */
typedef bool request_wait_fn(struct master *master, struct request *request);

struct request {
    struct message_request words; /* point into the client's memory */
    bool json;
    pid_t pid; /* of the client; 0: in a PID namespace that we can't see into */
    uid_t uid;

    struct buffer output, errors; /* for the client's standard output and standard error */
    bool formatted;               /* `output` is the JSON or text that was asked for */
    int status;                   /* enum message_status */
    bool survives_upgrade;        /* the next binary sends the answer */
    bool keep_open;               /* the connection stays open until this process ends */

    request_wait_fn *wait; /* NULL: the answer is complete */
    uint64_t ticket;       /* of the reload that the request waits for */
    char pool[POOL_NAME_MAX + 1];
};

/* A signal runs the same functions as a command, without a request. So request_argument,
 * request_say, request_fail, request_misuse and request_wait accept NULL. */

/* Takes the words out, and `--json` wherever it stands among them. */
void request_init(struct request *request, const struct message_request *words, pid_t pid,
                  uid_t uid);
void request_done(struct request *request);

/* Word 0 is the command, the arguments begin at 1. NULL: there are fewer words. */
const char *request_argument(const struct request *request, int number);

/* Adds a line to the answer. */
void request_say(struct request *request, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Makes `text` the answer, in the format that was asked for, and frees it. NULL: out of memory. */
void request_answer(struct request *request, char *text);

/* Refuses the command with a reason. Without a request, logs the reason. */
void request_fail(struct request *request, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* The same for a command whose words are wrong. */
void request_misuse(struct request *request, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Sends the answer once `wait` returns true. */
void request_wait(struct request *request, request_wait_fn *wait);

/* Writes the reply as the client gets it. */
void request_reply(struct request *request, struct buffer *reply);

struct control {
    struct loop *loop;
    struct loop_watch watch; /* fd -1: the socket is not watched, or there is none */
    int socket;              /* -1: none */
    usec paused_until;       /* after an error of accept() */
    bool held;               /* accepts no client: an upgrade is about to execute the next binary */
    gid_t group;             /* its members may use the socket; IDENTITY_NO_GROUP: none */
    struct client *clients;  /* in memory that children don't get */
    int in_use;              /* clients; an upper bound between two steps */
    struct log_rate refusals;
};

/* 0 or -errno. */
int control_open(struct control *control, struct loop *loop);
void control_close(struct control *control);

/* From now on accepts from this socket (-1: none), which stays the caller's. */
void control_listen(struct control *control, int socket, gid_t group);

/* Before an upgrade executes the next binary. A client in the middle of its request or its reply
 * would lose its connection, so the upgrade waits until there is none. Meanwhile the socket is
 * held: further clients wait in its queue, for the next binary. The master closes a client that is
 * silent for 5 s, or doesn't read for 30 s, so none can hold the upgrade up for longer. */
void control_hold(struct control *control, bool hold);
bool control_is_quiet(const struct control *control);

/* Then answers the clients that wait for anything but the upgrade, because the next binary does not
 * know them. */
void control_interrupt(struct control *control);

/* Saves the clients that wait for the upgrade. In the next binary, takes them over; `wait` tells
 * when their answer is complete. */
void control_save(const struct control *control, struct state *state);
void control_adopt(struct control *control, const struct state *state, request_wait_fn *wait);

/* The next request to carry out; NULL: none. */
struct request *control_next(struct control *control);

/* Sends the answer of each request that `settled` calls complete, and closes clients whose deadline
 * has passed. Returns the time of the next call. Must be the last step of a round: it makes room
 * for new clients, and sets deadlines. */
usec control_step(struct control *control, request_wait_fn *settled, struct master *master,
                  usec now);

#endif
