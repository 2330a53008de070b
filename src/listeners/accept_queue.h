/*
 * accept_queue - how many connections wait at listening sockets to be accepted.
 *
 * sock_diag(7) tells of every listening socket of the network namespace, TCP and Unix, and knows
 * each by its inode. So nobody needs a descriptor of the socket, and all are asked about at once.
 * Nothing waits: the kernel answers while it is asked.
 */
#ifndef PREFORKD_LISTENERS_ACCEPT_QUEUE_H
#define PREFORKD_LISTENERS_ACCEPT_QUEUE_H

#include <stdbool.h>
#include <stdint.h>

struct accept_queue {
    uint64_t inode;
    int depth;      /* how many wait, */
    int room;       /* and how many could: the backlog, as the kernel has it */
    bool half_shut; /* of TCP: it listens, but what it accepts is shut down from its start */
};

struct accept_queues {
    struct accept_queue *list; /* by inode */
    int count, room;
};

/* Forgets what it knew and asks again. 0, or -errno if some couldn't be asked about. */
int accept_queues_ask(struct accept_queues *queues);

/* NULL if nothing is known of it. */
const struct accept_queue *accept_queues_find(const struct accept_queues *queues, uint64_t inode);
void accept_queues_free(struct accept_queues *queues);

#endif
