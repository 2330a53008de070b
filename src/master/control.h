/*
 * control - the control socket: who may ask, and the connections of those who do.
 *
 * Owns:      a bounded table of clients. When it is full, the next ones wait in the kernel's queue.
 * Knows not: what is asked, and where the socket is: it is handed a listener.
 * Called by: master, main_loop.
 * Runs in:   the master.
 */
#ifndef PREFORKD_MASTER_CONTROL_H
#define PREFORKD_MASTER_CONTROL_H

#include "../base/log.h"
#include "client.h"
#include "state.h"

enum { CONTROL_CLIENTS = 64 };

struct control {
    struct loop *loop;
    struct loop_watch watch; /* fd -1: there is no socket, or it is not watched */
    int socket;              /* -1: none */
    usec again;              /* after an error of accept() */
    gid_t group;             /* may ask too; IDENTITY_NO_GROUP: none */
    struct client *clients;  /* in memory that children don't get */
    int in_use;              /* or were at the last step */
    struct log_rate strangers;
};

/* 0 or -errno. */
int control_open(struct control *control, struct loop *loop);
void control_close(struct control *control);

/* Accepts from this socket (-1: none) from now on, whose owner it does not become. */
void control_listen(struct control *control, int socket, gid_t group);

/* A program is about to replace us: those who wait for something else than that are told, and not
 * just cut off. */
void control_part(struct control *control);

/* Who waits for a program that replaces us; and there, where `wait` tells when the answer is
 * complete. */
bool control_save(const struct control *control, struct state *state);
void control_adopt(struct control *control, const struct state *state, request_wait_fn *wait);

/* A request that nobody has looked at; NULL: there is none. */
struct request *control_next(struct control *control);

/* Asks each request that was looked at whether it has its answer, and sends that; ends those whose
 * time is over. Returns when it wants to be called again. The last thing of a round: what it frees
 * lets others in, and what it sends has a deadline. */
usec control_step(struct control *control, request_wait_fn *settled, struct master *master,
                  usec now);

#endif
