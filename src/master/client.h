/*
 * client - one connection of the control socket: its request comes in, its reply goes out.
 *
 * Owns:      the connection and its deadlines: 5 s for the request, 30 s for the reply to be read;
 *            in between, while the request waits for its answer, none. Nothing here blocks.
 * Knows not: the access check (control), what is asked.
 * Called by: control.
 * Runs in:   the master.
 */
#ifndef PREFORKD_MASTER_CLIENT_H
#define PREFORKD_MASTER_CLIENT_H

#include "../base/loop.h"
#include "request.h"

enum client_state {
    CLIENT_FREE,
    CLIENT_READING, /* the request is not all there */
    CLIENT_ASKING,  /* the request is there, and is to be carried out */
    CLIENT_WAITING, /* for the answer to be complete */
    CLIENT_WRITING,
};

struct client {
    enum client_state state;
    struct loop *loop;
    struct loop_watch watch;
    usec deadline;
    struct request request;
    char bytes[MESSAGE_REQUEST_MAX + 1]; /* a NUL behind the last word */
    size_t got;
    struct buffer reply;
    size_t sent;
    bool lasts; /* stays open behind the reply: the end of the process closes it */
};

/* Takes over a connection. If that fails, the client's state is free again. */
void client_open(struct client *client, struct loop *loop, int fd, pid_t pid, uid_t uid);

/* Takes over a connection whose request was read before an upgrade. */
void client_adopt(struct client *client, struct loop *loop, int fd);

/* Sends the answer, which is complete. */
void client_answer(struct client *client);

/* Closes the connection if its timeout has expired. Returns the time of the next call. */
usec client_step(struct client *client, usec now);

void client_close(struct client *client);

#endif
