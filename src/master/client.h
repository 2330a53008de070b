/*
 * client - one connection of the control socket: its request comes in, its reply goes out.
 *
 * Owns:      the connection and its deadlines: 5 s for the request, 30 s for the reply to be read;
 *            in between, for as long as the request waits, none. Nothing here blocks.
 * Knows not: who may ask (control), what is asked.
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
    CLIENT_ASKING,  /* it is, and nobody has looked at it */
    CLIENT_WAITING, /* for its answer */
    CLIENT_WRITING,
};

struct client {
    enum client_state state;
    struct loop *loop;
    struct loop_watch watch;
    usec deadline;
    struct request request;
    uint8_t bytes[MESSAGE_REQUEST_MAX];
    size_t got;
    struct buffer reply;
    size_t sent;
    bool lasts; /* stays open when it has its reply: that the process ends will close it */
};

/* Takes over a connection. It may be gone again when this returns: then its state is free. */
void client_open(struct client *client, struct loop *loop, int fd, pid_t pid, uid_t uid);

/* One whose request a program before us took. */
void client_adopt(struct client *client, struct loop *loop, int fd);

/* The request has its answer: sends that. */
void client_answer(struct client *client);

/* Ends it where its time is over. Returns when it wants to be called again. */
usec client_step(struct client *client, usec now);

void client_close(struct client *client);

#endif
