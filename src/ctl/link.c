#include "link.h"

#include "../base/daemon.h"

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
    if (!path[0]) /* an abstract name, which any user can take */
        return -ENOENT;
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

/* Connects to the user's own daemon, or else to the system's. */
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

/* Ignores errors: a daemon that refuses us answers without reading, and that answer is still to be
 * read. */
static void send_request(int fd, const char *bytes, size_t size)
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
    char bytes[MESSAGE_REQUEST_MAX];
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

/* Consumes bytes of the reply's first line. Returns how many, or -EPROTO. */
static int take_head(struct link *link, const char *at, size_t size)
{
    size_t before = link->line_used, room = sizeof link->line - before;
    size_t taken = size < room ? size : room;
    memcpy(link->line + before, at, taken);
    link->line_used += taken;
    int length = message_read_head(&link->head, link->line, link->line_used);
    if (length <= 0)
        return length < 0 ? length : (int)taken;
    link->begun = true;
    link->left = link->head.out + link->head.err;
    return length - (int)before;
}

static void take_text(struct link *link, const char *at, size_t size, link_taker *take, void *owner)
{
    size_t out = link->left > link->head.err ? link->left - link->head.err : 0;
    size = size < link->left ? size : link->left;
    out = out < size ? out : size;
    if (out)
        take(owner, false, at, out);
    if (size > out)
        take(owner, true, at + out, size - out);
    link->left -= size;
}

int link_read(struct link *link, link_taker *take, void *owner)
{
    char bytes[16384];
    int taken = 0;
    ssize_t n = recv(link->fd, bytes, sizeof bytes, 0);
    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return 1;
    if (n <= 0 && link_ended(link))
        return 0;
    if (n <= 0)
        return n < 0 ? -errno : -ECONNABORTED;
    if (!link->begun)
        taken = take_head(link, bytes, (size_t)n);
    if (taken >= 0 && link->begun)
        take_text(link, bytes + taken, (size_t)(n - taken), take, owner);
    return taken < 0 ? taken : 1;
}

void link_close(struct link *link)
{
    if (link->fd >= 0)
        close(link->fd);
    link->fd = -1;
}
