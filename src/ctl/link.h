/*
 * link - a connection to the daemon: sends a request, and reads the reply piece by piece.
 *
 * Owns:      the socket, and the place in the reply that was reached.
 * Knows not: commands, terminals.
 * Called by: preforkctl, top.
 * Runs in:   preforkctl.
 */
#ifndef PREFORKD_CTL_LINK_H
#define PREFORKD_CTL_LINK_H

#include "../wire/message.h"

#include <stdbool.h>
#include <sys/types.h>

struct link {
    int fd; /* -1: none */
    char line[MESSAGE_HEAD];
    size_t line_used;
    bool begun; /* the first line of the reply was there */
    struct message_head head;
    size_t left; /* bytes that are still to come of both texts */
};

/* Connects, and sends the request. `path` is NULL: where the daemon is by default. 0, or -errno;
 * *where is then the path that was tried last. */
int link_open(struct link *link, const char *path, const struct message_request *request,
              const char **where);

/* Reads once, and hands on what came of text. 1: there is more to come; 0: the reply was read, and
 * the daemon has closed; -errno; -ECONNABORTED if the reply was cut off, -EPROTO if it is no reply.
 */
typedef void link_taker(void *owner, bool is_error, const char *text, size_t size);
int link_read(struct link *link, link_taker *take, void *owner);

static inline bool link_ended(const struct link *link)
{
    return link->begun && link->left == 0;
}

void link_close(struct link *link);

#endif
