/*
 * queue - how many connections wait at listening sockets to be accepted.
 *
 * Owns:      the way of asking: sock_diag(7), which tells of every listening socket of the network
 *            namespace, TCP and Unix, and knows each by its inode. So nobody needs a descriptor of
 *            the socket that is asked about, and all are asked about at once.
 * Knows not: listeners, pools.
 * Called by: the master, figures.
 * Runs in:   any process. It never waits: the kernel answers while it is asked.
 */
#ifndef PREFORKD_SHARED_QUEUE_H
#define PREFORKD_SHARED_QUEUE_H

#include <stdbool.h>
#include <stdint.h>

struct queue {
    uint64_t inode;
    int depth;      /* how many wait, */
    int room;       /* and how many could: the backlog, as the kernel has it */
    bool half_shut; /* of TCP: it listens, but what it accepts is shut down from its birth */
};

struct queues {
    struct queue *list; /* by inode */
    int count, room;
};

/* Forgets what it knew and asks again. 0, or -errno where some couldn't be asked about. */
int queues_ask(struct queues *queues);

/* NULL where nothing is known of it. */
const struct queue *queues_find(const struct queues *queues, uint64_t inode);
void queues_free(struct queues *queues);

#endif
