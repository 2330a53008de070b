/*
 * link - a connection to the daemon: sends a request, and reads the reply piece by piece.
 *
 * Owns:      the socket, and the position in the reply.
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
    bool begun; /* the reply's first line is complete */
    struct message_head head;
    size_t left; /* bytes of the two texts that are still to come */
};

/* Connects to `path`, or to the default path if it is NULL, and sends the request. 0, or -errno;
 * then *where is the path that was tried last. */
int link_open(struct link *link, const char *path, const struct message_request *request,
              const char **where);

/* Reads once, and passes any text to `take`. 1: more may come; 0: the reply is complete, and the
 * daemon has closed the connection; or -errno: -ECONNABORTED if the reply was cut off, -EPROTO if
 * it is not a reply. */
typedef void link_taker(void *owner, bool is_error, const char *text, size_t size);
int link_read(struct link *link, link_taker *take, void *owner);

static inline bool link_ended(const struct link *link)
{
    return link->begun && link->left == 0;
}

void link_close(struct link *link);

#endif
