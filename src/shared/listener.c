#include "listener.h"

#include "../base/fd.h"
#include "../base/log.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

static bool has_path(const struct addr *addr)
{
    return addr->sa.sa_family == AF_UNIX && !addr_is_abstract(addr);
}

static int complain(char *why, size_t size, const char *what, int error)
{
    snprintf(why, size, "%s: %s", what, strerror(error));
    return -error;
}

/* Somebody has this path. True where it was a socket that nobody listens on any more, and is gone.
 */
static bool unlink_stale(const struct addr *addr)
{
    struct stat there;
    if (lstat(addr->un.sun_path, &there) != 0 || !S_ISSOCK(there.st_mode))
        return false;
    int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (probe < 0)
        return false;
    bool stale = connect(probe, &addr->sa, addr->len) != 0 && errno == ECONNREFUSED;
    close(probe);
    return stale && unlink(addr->un.sun_path) == 0;
}

/* Binds a path that nobody can connect to until its owner and mode are set. */
static int bind_path(int fd, const struct addr *addr)
{
    mode_t mask = umask(0777);
    int error = bind(fd, &addr->sa, addr->len) == 0 ? 0 : errno;
    if (error == EADDRINUSE && unlink_stale(addr))
        error = bind(fd, &addr->sa, addr->len) == 0 ? 0 : errno;
    umask(mask);
    return -error;
}

static int bind_socket(int fd, const struct listener *listener)
{
    static const int on = 1, off = 0;
    const struct addr *addr = &listener->asked;
    if (has_path(addr))
        return bind_path(fd, addr);
    if (addr->sa.sa_family != AF_UNIX)
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (addr->sa.sa_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, listener->any_family ? &off : &on, sizeof on);
    return bind(fd, &addr->sa, addr->len) == 0 ? 0 : -errno;
}

/* `*:PORT` where the kernel has no IPv6. */
static bool fall_back_to_ipv4(struct listener *listener, int error)
{
    if (!listener->any_family || listener->asked.sa.sa_family != AF_INET6)
        return false;
    if (error != -EAFNOSUPPORT && error != -EADDRNOTAVAIL)
        return false;
    addr_any(&listener->asked, AF_INET, addr_port(&listener->asked));
    return true;
}

static int bind_fresh(struct listener *listener)
{
    int fd = socket(listener->asked.sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int error = fd < 0 ? -errno : bind_socket(fd, listener);
    if (error == 0) {
        listener->fd = fd;
        return 0;
    }
    if (fd >= 0)
        close(fd);
    return fall_back_to_ipv4(listener, error) ? bind_fresh(listener) : error;
}

static void remember_path(struct listener *listener)
{
    struct stat made;
    if (has_path(&listener->asked) && lstat(listener->asked.un.sun_path, &made) == 0) {
        listener->device = made.st_dev;
        listener->inode = made.st_ino;
    }
}

/* Where it listens; of an activated one as systemd bound it. */
static int learn_address(struct listener *listener)
{
    struct addr *bound = &listener->bound;
    bound->len = sizeof *bound - offsetof(struct addr, sa);
    if (getsockname(listener->fd, &bound->sa, &bound->len) != 0)
        return -errno;
    addr_print(bound, listener->text);
    return 0;
}

static int set_path_owner(const struct listener *listener, const struct listener_options *options)
{
    const char *path = listener->asked.un.sun_path;
    if (lchown(path, options->uid, options->gid) != 0)
        return -errno;
    return chmod(path, (mode_t)options->mode) == 0 ? 0 : -errno;
}

static int start_listening(struct listener *listener, const struct listener_options *options,
                           char *why, size_t size)
{
    remember_path(listener);
    if (has_path(&listener->asked)) {
        int error = set_path_owner(listener, options);
        if (error)
            return complain(why, size, "can't set the socket's owner and mode", -error);
    }
    if (listen(listener->fd, options->backlog) != 0)
        return complain(why, size, "can't listen", errno);
    int error = learn_address(listener);
    return error ? complain(why, size, "can't tell the address", -error) : 0;
}

int listener_open(struct listener **out, const struct listen_spec *spec,
                  const struct listener_options *options, char *why, size_t size)
{
    struct listener *listener = calloc(1, sizeof *listener);
    if (!listener)
        return complain(why, size, "can't listen", ENOMEM);
    listener->fd = -1;
    listener->asked = spec->addr;
    listener->any_family = spec->any_family;
    int error = bind_fresh(listener);
    if (error)
        complain(why, size, "can't bind", -error);
    else
        error = start_listening(listener, options, why, size);
    if (error) {
        listener_close(listener);
        return error;
    }
    listener_apply(listener, options);
    *out = listener;
    return 0;
}

static bool is_stream_listener(int fd)
{
    int type = 0, listening = 0;
    socklen_t size = sizeof type;
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) != 0 || type != SOCK_STREAM)
        return false;
    size = sizeof listening;
    return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) == 0 && listening;
}

static void set_asked(struct listener *listener, unsigned port)
{
    listener->asked = listener->bound;
    if (listener->asked.sa.sa_family == AF_INET)
        listener->asked.in.sin_port = htons((uint16_t)port);
    else if (listener->asked.sa.sa_family == AF_INET6)
        listener->asked.in6.sin6_port = htons((uint16_t)port);
}

struct listener *listener_revive(int fd, const struct listener_facts *facts, char *why, size_t size)
{
    if (!is_stream_listener(fd)) {
        snprintf(why, size, "descriptor %d is no listening stream socket", fd);
        return NULL;
    }
    struct listener *listener = calloc(1, sizeof *listener);
    char *copy = facts->passed_name ? strdup(facts->passed_name) : NULL;
    if (!listener || (facts->passed_name && !copy)) {
        free(listener);
        free(copy);
        complain(why, size, "can't adopt it", ENOMEM);
        return NULL;
    }
    *listener = (struct listener){
        .origin = facts->origin,
        .fd = fd,
        .passed_name = copy,
        .any_family = facts->any_family,
        .lent = facts->lent,
        .device = facts->device,
        .inode = facts->inode,
    };
    learn_address(listener);
    set_asked(listener, facts->port);
    return listener;
}

struct listener *listener_adopt(int fd, const char *name, char *why, size_t size)
{
    struct listener_facts facts = {.origin = LISTENER_ACTIVATED, .passed_name = name};
    struct listener *listener = listener_revive(fd, &facts, why, size);
    if (listener)
        listener->asked = listener->bound;
    return listener;
}

struct listener_facts listener_facts(const struct listener *listener)
{
    return (struct listener_facts){
        .origin = listener->origin,
        .passed_name = listener->passed_name,
        .port = addr_port(&listener->asked),
        .any_family = listener->any_family,
        .lent = listener->lent,
        .device = listener->device,
        .inode = listener->inode,
    };
}

/* The number of the socket makes it unlike others, the address behind it is for people, as far as
 * there is room. No colon, no control character, nothing but ASCII: see sd_pid_notify_with_fds(3). */
void listener_name(const struct listener *listener, char name[static LISTENER_NAME])
{
    struct stat socket;
    if (fstat(listener->fd, &socket) != 0)
        socket.st_ino = 0;
    int used =
        snprintf(name, LISTENER_NAME, "preforkd,%u,%d,%llx,%llx,%llu,", addr_port(&listener->asked),
                 listener->any_family, (unsigned long long)listener->device,
                 (unsigned long long)listener->inode, (unsigned long long)socket.st_ino);
    for (const char *c = listener->text; *c && used < LISTENER_NAME - 1; c++)
        name[used++] = *c > ' ' && *c < 0x7f && *c != ':' ? *c : '_';
    name[used] = '\0';
}

bool listener_name_read(const char *name, struct listener_facts *facts)
{
    unsigned port, any_family;
    unsigned long long device, inode, socket;
    if (sscanf(name, "preforkd,%5u,%1u,%16llx,%16llx,%20llu,", &port, &any_family, &device, &inode,
               &socket) != 5)
        return false;
    *facts = (struct listener_facts){.origin = LISTENER_STORED,
                                     .port = port,
                                     .any_family = any_family,
                                     .device = device,
                                     .inode = inode};
    return true;
}

static void set_option(const struct listener *listener, int level, int name, const void *value,
                       socklen_t size, const char *what)
{
    if (setsockopt(listener->fd, level, name, value, size) != 0)
        log_warning("%s: can't set %s: %s listener=%s", listener->text, what, strerror(errno),
                    listener->text);
}

static void set_timeouts(const struct listener *listener, int seconds)
{
    struct timeval idle = {.tv_sec = seconds};
    set_option(listener, SOL_SOCKET, SO_RCVTIMEO, &idle, sizeof idle, "the time-out");
    set_option(listener, SOL_SOCKET, SO_SNDTIMEO, &idle, sizeof idle, "the time-out");
}

/* What accepted connections inherit at no cost (tcp(7)); a Unix socket hands on none of it. */
static void apply_tcp(struct listener *listener, const struct listener_options *options)
{
    int on = options->keepalive > 0;
    set_option(listener, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on, "keep-alive");
    if (on)
        set_option(listener, IPPROTO_TCP, TCP_KEEPIDLE, &options->keepalive,
                   sizeof options->keepalive, "the keep-alive time");
    set_timeouts(listener, options->idle_timeout);
}

void listener_prepare(struct listener *listener, const struct listener_options *options)
{
    if (options->nonblocking || (options->lent && !listener->lent))
        fd_set_nonblocking(listener->fd, options->nonblocking);
    if (!options->idle_timeout && listener->bound.sa.sa_family != AF_UNIX)
        set_timeouts(listener, 0);
}

void listener_apply(struct listener *listener, const struct listener_options *options)
{
    if (listener->bound.sa.sa_family != AF_UNIX)
        apply_tcp(listener, options);
    int error = options->lent && listener->lent
                    ? 0
                    : fd_set_nonblocking(listener->fd, options->nonblocking);
    if (error)
        log_warning("%s: can't set how it blocks: %s", listener->text, strerror(-error));
    listener->lent = options->lent;
    if (listener->origin == LISTENER_ACTIVATED)
        return;
    if (listen(listener->fd, options->backlog) != 0)
        log_warning("%s: can't set the backlog: %s", listener->text, strerror(errno));
    error = has_path(&listener->asked) ? set_path_owner(listener, options) : 0;
    if (error)
        log_warning("%s: can't set owner and mode: %s", listener->text, strerror(-error));
}

struct listener *listener_find(struct listener *list, int fd)
{
    while (list && list->fd != fd)
        list = list->next;
    return list;
}

bool listener_is(const struct listener *listener, const struct listen_spec *spec)
{
    if (spec->passed_name)
        return listener->passed_name && strcmp(listener->passed_name, spec->passed_name) == 0;
    if (listener->passed_name || listener->any_family != spec->any_family)
        return false;
    if (spec->any_family) /* which may have fallen back to IPv4 */
        return addr_port(&listener->asked) == addr_port(&spec->addr);
    return addr_equal(&listener->asked, &spec->addr);
}

bool listener_collides(const struct listener *listener, const struct listen_spec *spec)
{
    const struct addr *old = &listener->asked, *new = &spec->addr;
    if (spec->passed_name || old->sa.sa_family == AF_UNIX || new->sa.sa_family == AF_UNIX)
        return false;
    if (listener_is(listener, spec) || !addr_port(new) || addr_port(old) != addr_port(new))
        return false;
    bool same_family = old->sa.sa_family == new->sa.sa_family;
    if (listener->any_family || spec->any_family)
        return true;
    return same_family && (addr_is_any(old) || addr_is_any(new));
}

static bool owns_path(const struct listener *listener)
{
    struct stat there;
    return listener->inode && lstat(listener->asked.un.sun_path, &there) == 0 &&
           there.st_ino == listener->inode && there.st_dev == listener->device;
}

bool listener_is_reachable(const struct listener *listener)
{
    return !has_path(&listener->asked) || owns_path(listener);
}

void listener_close(struct listener *listener)
{
    if (!listener)
        return;
    if (listener->origin == LISTENER_BOUND && has_path(&listener->asked) && owns_path(listener))
        unlink(listener->asked.un.sun_path);
    if (listener->origin != LISTENER_ACTIVATED && listener->fd >= 0)
        close(listener->fd);
    free(listener->passed_name);
    free(listener);
}
