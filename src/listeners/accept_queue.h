/*
 * accept_queue - how many connections wait at listening sockets to be accepted.
 *
 * sock_diag(7) lists every listening socket of the network namespace, TCP and Unix, by its inode.
 * So one request covers all sockets, and the caller needs no descriptor of them. It never blocks:
 * the kernel answers while it is asked.
 */
#ifndef PREFORKD_LISTENERS_ACCEPT_QUEUE_H
#define PREFORKD_LISTENERS_ACCEPT_QUEUE_H

#include <stdbool.h>
#include <stdint.h>

struct accept_queue {
    uint64_t inode;
    int depth;      /* how many connections wait */
    int room;       /* how many can wait: the backlog, as the kernel has it */
    bool half_shut; /* TCP only: it listens, but the connections it accepts are born shut down */
};

struct accept_queues {
    struct accept_queue *list; /* by inode */
    int count;
    uint32_t room;
};

/* Replaces the list with a new answer. 0, or -errno if a part of it couldn't be had. */
int accept_queues_ask(struct accept_queues *queues);

/* NULL if the socket is not in the list. */
const struct accept_queue *accept_queues_find(const struct accept_queues *queues, uint64_t inode);
void accept_queues_free(struct accept_queues *queues);

#endif
