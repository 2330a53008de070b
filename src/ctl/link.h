/*
 * link - a connection to the daemon: one request, and its reply piece by piece.
 *
 * Owns:      the socket, and where in the reply it is.
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
    uint8_t head[MESSAGE_HEAD];
    size_t head_used;
    struct message_frame frame;
    size_t left; /* bytes of the frame that are still to come */
    bool ended;  /* MESSAGE_EXIT was there */
    int status;  /* its byte */
};

/* Connects, and sends the request. `path` is NULL: where the daemon is by default. 0, or -errno;
 * *where is then the path that was tried last. */
int link_open(struct link *link, const char *path, const struct message_request *request,
              const char **where);

/* Reads once, and hands on what came of text. 1: there is more to come; 0: the end, whose status is
 * there; -errno, -EPROTO where it was cut off. */
typedef void link_taker(void *owner, uint8_t type, const char *text, size_t size);
int link_read(struct link *link, link_taker *take, void *owner);

void link_close(struct link *link);

#endif
