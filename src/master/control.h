/*
 * control - the control socket: its access check, and the connections of its clients, by each of
 * which one request comes in and its reply goes out.
 *
 * Owns:      a bounded table of clients. If it is full, further clients wait in the kernel's queue.
 *            Each has deadlines: 5 s for the request, 30 s for the reply to be read; in between,
 *            while the request waits for its answer, none. Nothing here blocks.
 * Knows not: what is asked, and where the socket is: it is handed a listener.
 * Called by: master, main_loop.
 * Runs in:   the master.
 */
#ifndef PREFORKD_MASTER_CONTROL_H
#define PREFORKD_MASTER_CONTROL_H

#include "../base/log.h"
#include "../base/loop.h"
#include "request.h"
#include "state.h"

struct client;

struct control {
    struct loop *loop;
    struct loop_watch watch; /* fd -1: there is no socket, or it is not watched */
    int socket;              /* -1: none */
    usec again;              /* after an error of accept() */
    gid_t group;             /* whose members may ask too; IDENTITY_NO_GROUP: none */
    struct client *clients;  /* in memory that children don't get */
    int in_use;              /* or were at the last step */
    struct log_rate refusals;
};

/* 0 or -errno. */
int control_open(struct control *control, struct loop *loop);
void control_close(struct control *control);

/* Accepts from this socket (-1: none) from now on, whose owner it does not become. */
void control_listen(struct control *control, int socket, gid_t group);

/* An upgrade is about to replace the binary: answers the clients that wait for anything else, so
 * that they are not just cut off. */
void control_part(struct control *control);

/* The clients that wait for the upgrade, for the new binary; and, in it, these clients again:
 * `wait` tells when their answer is complete. */
bool control_save(const struct control *control, struct state *state);
void control_adopt(struct control *control, const struct state *state, request_wait_fn *wait);

/* The next request that is to be carried out; NULL: there is none. */
struct request *control_next(struct control *control);

/* Asks each request that was carried out whether its answer is complete, and sends the answer;
 * closes clients whose timeout has expired. Returns the time of the next call. It is the last step
 * of a round: a client that it frees lets others in, and an answer that it sends has a deadline. */
usec control_step(struct control *control, request_wait_fn *settled, struct master *master,
                  usec now);

#endif
