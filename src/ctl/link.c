#include "link.h"

#include "../base/control_path.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static int connect_to(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path)
        return -ENAMETOOLONG;
    strcpy(address.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (const struct sockaddr *)&address, sizeof address) == 0)
        return fd < 0 ? -errno : fd;
    int error = -errno;
    close(fd);
    return error;
}

/* The user's own daemon, and, where there is none, the system's. */
static int connect_to_default(const char **where)
{
    static char own[4096];
    const char *directory = geteuid() == 0 ? NULL : getenv(PLACE_OWN_UNDER);
    if (directory && directory[0] == '/') {
        snprintf(own, sizeof own, "%s/" PLACE_OWN_NAME, directory);
        *where = own;
        int fd = connect_to(own);
        if (fd >= 0)
            return fd;
    }
    *where = PLACE_CONTROL;
    return connect_to(PLACE_CONTROL);
}

/* What can't be sent is no error yet: a daemon that refuses us says so without reading. */
static void send_request(int fd, const uint8_t *bytes, size_t size)
{
    while (size) {
        ssize_t n = send(fd, bytes, size, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return;
        bytes += n;
        size -= (size_t)n;
    }
}

int link_open(struct link *link, const char *path, const struct message_request *request,
              const char **where)
{
    uint8_t bytes[MESSAGE_REQUEST_MAX];
    int size = message_write_request(request, bytes);
    *link = (struct link){.fd = -1};
    *where = path ? path : "the request";
    if (size < 0)
        return size;
    int fd = path ? connect_to(path) : connect_to_default(where);
    if (fd < 0)
        return fd;
    link->fd = fd;
    send_request(fd, bytes, (size_t)size);
    return 0;
}

static size_t take_head(struct link *link, const char *at, size_t size)
{
    size_t missing = MESSAGE_HEAD - link->head_used;
    size_t taken = size < missing ? size : missing;
    memcpy(link->head + link->head_used, at, taken);
    link->head_used += taken;
    if (link->head_used == MESSAGE_HEAD) {
        message_read_head(&link->frame, link->head);
        link->left = link->frame.length;
    }
    return taken;
}

/* Its text is handed on; of the last frame it is the status. */
static size_t take_body(struct link *link, const char *at, size_t size, link_taker *take,
                        void *owner)
{
    if (size > link->left)
        size = link->left;
    if (link->frame.type == MESSAGE_EXIT) {
        link->ended = true;
        link->status = (uint8_t)*at;
    } else {
        take(owner, link->frame.type, at, size);
    }
    link->left -= size;
    return size;
}

static void take_bytes(struct link *link, const char *at, size_t size, link_taker *take,
                       void *owner)
{
    while (size && !link->ended) {
        size_t taken = link->head_used < MESSAGE_HEAD ? take_head(link, at, size)
                                                      : take_body(link, at, size, take, owner);
        if (link->head_used == MESSAGE_HEAD && link->left == 0)
            link->head_used = 0;
        at += taken;
        size -= taken;
    }
}

int link_read(struct link *link, link_taker *take, void *owner)
{
    char bytes[16384];
    ssize_t n = recv(link->fd, bytes, sizeof bytes, 0);
    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return 1;
    if (n <= 0 && link->ended)
        return 0;
    if (n <= 0)
        return n < 0 ? -errno : -EPROTO;
    take_bytes(link, bytes, (size_t)n, take, owner);
    return 1;
}

void link_close(struct link *link)
{
    if (link->fd >= 0)
        close(link->fd);
    link->fd = -1;
}
