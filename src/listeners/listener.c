#include "listener.h"

#include "../base/fd.h"
#include "../base/log.h"
#include "accept_queue.h"
#include "socket_path.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

const char *const listener_loss_words[] = {
    [LISTENER_SOUND] = "nothing is wrong",
    [LISTENER_REMOVED] = "its path was removed",
    [LISTENER_SHUT] = "it was shut down",
};

static int complain(char *why, size_t size, const char *what, int error)
{
    snprintf(why, size, "%s: %s", what, strerror(error));
    return -error;
}

static struct socket_owner owner_of(const struct listener_options *options)
{
    return (struct socket_owner){
        .uid = options->uid, .gid = options->gid, .mode = (mode_t)options->mode};
}

static int bind_socket(int fd, struct listener *listener, const struct listener_options *options)
{
    static const int on = 1, off = 0;
    const struct addr *addr = &listener->asked;
    struct socket_owner owner = owner_of(options);
    if (socket_path_has(addr))
        return socket_path_bind(fd, addr, &owner, &listener->made);
    if (addr->sa.sa_family != AF_UNIX)
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (addr->sa.sa_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, listener->any_family ? &off : &on, sizeof on);
    return bind(fd, &addr->sa, addr->len) == 0 ? 0 : -errno;
}

static int bind_fresh(struct listener *listener, const struct listener_options *options)
{
    int fd = socket(listener->asked.sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int error = fd < 0 ? -errno : bind_socket(fd, listener, options);
    if (error == 0) {
        listener->fd = fd;
        return 0;
    }
    if (fd >= 0)
        close(fd);
    if (!listener->any_family || listener->asked.sa.sa_family != AF_INET6 ||
        (error != -EAFNOSUPPORT && error != -EADDRNOTAVAIL))
        return error;
    addr_any(&listener->asked, AF_INET, addr_port(&listener->asked)); /* `*:PORT` without IPv6 */
    return bind_fresh(listener, options);
}

/* Asks the kernel where the socket listens. */
static int learn_address(struct listener *listener)
{
    struct addr *bound = &listener->bound;
    bound->len = sizeof *bound - offsetof(struct addr, sa);
    if (getsockname(listener->fd, &bound->sa, &bound->len) != 0)
        return -errno;
    addr_print(bound, listener->text);
    return 0;
}

/* Identifies the path's directory, so that other spellings of the path match. */
static void learn_directory(struct listener *listener)
{
    if (socket_path_has(&listener->asked))
        entry_directory(listener->asked.un.sun_path, &listener->directory);
}

static int start_listening(struct listener *listener, const struct listener_options *options,
                           char *why, size_t size)
{
    if (listen(listener->fd, options->backlog) != 0)
        return complain(why, size, "can't listen", errno);
    int error = learn_address(listener);
    if (error)
        return complain(why, size, "can't tell the address", -error);
    learn_directory(listener);
    return 0;
}

static int complain_of_bind(char *why, size_t size, int error)
{
    if (error == -EEXIST)
        snprintf(why, size,
                 "can't bind: a file that is not a socket is there; it is left unchanged");
    else if (error == -ESTALE)
        snprintf(why, size, "can't bind: the new socket was replaced by another process");
    else
        complain(why, size, "can't bind", -error);
    return error;
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
    int error = bind_fresh(listener, options);
    if (error)
        complain_of_bind(why, size, error);
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

static bool is_listening(int fd)
{
    int listening = 0;
    socklen_t size = sizeof listening;
    return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) == 0 && listening;
}

/* Access lists and timeouts know IP and Unix only: a peer of another family, such as AF_VSOCK, is
 * in no list, and inherits no timeout. */
static bool is_stream(int fd)
{
    int type = 0, family = 0;
    socklen_t size = sizeof type;
    return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_STREAM &&
           getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &size) == 0 &&
           (family == AF_INET || family == AF_INET6 || family == AF_UNIX);
}

static struct listener *refuse(char *why, size_t size, int fd)
{
    snprintf(why, size, "descriptor %d is no listening stream socket of IP or Unix", fd);
    return NULL;
}

/* Heals a listener that was shut down while the earlier master had it. */
struct listener *listener_revive(int fd, const struct listener_facts *facts, char *why, size_t size)
{
    if (!is_stream(fd))
        return refuse(why, size, fd);
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
        .timeouts = -1,
        .made = {.device = facts->device, .number = facts->inode},
    };
    learn_address(listener);
    if (!is_listening(fd) && listener_heal(listener, SOMAXCONN) != 0) {
        free(copy);
        free(listener);
        return refuse(why, size, fd);
    }
    listener->asked = listener->bound;
    if (listener->asked.sa.sa_family == AF_INET)
        listener->asked.in.sin_port = htons((uint16_t)facts->port);
    else if (listener->asked.sa.sa_family == AF_INET6)
        listener->asked.in6.sin6_port = htons((uint16_t)facts->port);
    learn_directory(listener);
    return listener;
}

struct listener *listener_adopt(int fd, const char *name, char *why, size_t size)
{
    struct listener_facts facts = {.origin = LISTENER_ACTIVATED, .passed_name = name};
    if (!is_listening(fd))
        return refuse(why, size, fd);
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
        .device = listener->made.device,
        .inode = listener->made.number,
    };
}

/* The socket's inode makes the name unique. The address is for people, as far as there is room. The
 * store takes ASCII only, no colons and no control characters: see sd_pid_notify_with_fds(3). */
void listener_name(const struct listener *listener, char name[static LISTENER_NAME])
{
    struct stat socket;
    if (fstat(listener->fd, &socket) != 0)
        socket.st_ino = 0;
    int used =
        snprintf(name, LISTENER_NAME, "preforkd,%u,%d,%llx,%llx,%llu,", addr_port(&listener->asked),
                 listener->any_family, (unsigned long long)listener->made.device,
                 (unsigned long long)listener->made.number, (unsigned long long)socket.st_ino);
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
    char text[LOG_QUOTED(ADDR_TEXT)];
    if (setsockopt(listener->fd, level, name, value, size) != 0)
        log_warning("%s: can't set %s: %s listener=%s", listener->text, what, strerror(errno),
                    log_quoted(text, sizeof text, listener->text));
}

/* TCP connections inherit them at no cost (tcp(7)); Unix connections do not. */
static void set_timeouts(struct listener *listener, int seconds)
{
    struct timeval idle = {.tv_sec = seconds};
    listener->timeouts = seconds;
    if (listener->bound.sa.sa_family == AF_UNIX)
        return;
    set_option(listener, SOL_SOCKET, SO_RCVTIMEO, &idle, sizeof idle, "the time-out");
    set_option(listener, SOL_SOCKET, SO_SNDTIMEO, &idle, sizeof idle, "the time-out");
}

void listener_prepare(struct listener *listener, const struct listener_options *options)
{
    if (listener->lent)
        return;
    if (options->nonblocking || options->lent)
        fd_set_nonblocking(listener->fd, options->nonblocking);
    if (options->lent)
        set_timeouts(listener, 0);
    listener->lent = options->lent;
}

/* Sets what programs that share the listener would notice. Takes back SO_LINGER, by which a program
 * could have the connections of the next handler reset when they are closed. */
static void take_over(struct listener *listener, const struct listener_options *options)
{
    static const struct linger none = {0};
    int error = fd_set_nonblocking(listener->fd, options->nonblocking);
    if (error)
        log_warning("%s: can't set how it blocks: %s", listener->text, strerror(-error));
    set_timeouts(listener, options->idle_timeout);
    if (listener->bound.sa.sa_family != AF_UNIX)
        set_option(listener, SOL_SOCKET, SO_LINGER, &none, sizeof none, "how it closes");
}

void listener_reclaim(struct listener *listener, const struct listener_options *options)
{
    take_over(listener, options);
    listener->lent = options->lent;
}

void listener_apply(struct listener *listener, const struct listener_options *options)
{
    int on = options->keepalive > 0;
    if (listener->bound.sa.sa_family != AF_UNIX) {
        set_option(listener, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on, "keep-alive");
        if (on)
            set_option(listener, IPPROTO_TCP, TCP_KEEPIDLE, &options->keepalive,
                       sizeof options->keepalive, "the keep-alive time");
    }
    if (!listener->lent)
        take_over(listener, options);
    listener->lent = listener->lent || options->lent;
    if (listener->origin == LISTENER_ACTIVATED)
        return;
    int error;
    /* listen(2) alone would reopen a listener that was shut down with what the shutdown left. */
    if (!is_listening(listener->fd))
        error = listener_heal(listener, options->backlog);
    else
        error = listen(listener->fd, options->backlog) == 0 ? 0 : -errno;
    if (error)
        log_warning("%s: can't set the backlog: %s", listener->text, strerror(-error));
    struct socket_owner owner = owner_of(options);
    error = listener->made.number ? socket_path_own(&listener->asked, &listener->made, &owner) : 0;
    if (error == -ESTALE)
        listener->unreachable = true; /* the path leads to something that isn't ours */
    else if (error)
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
    if (socket_path_has(&listener->asked) && socket_path_has(&spec->addr) &&
        entry_same(listener->asked.un.sun_path, &listener->directory, spec->addr.un.sun_path,
                   &spec->directory))
        return true;
    if (spec->any_family) /* the listener may have fallen back to IPv4 */
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

/* A TCP socket stops listening when it is shut down. A Unix socket still claims to listen, and only
 * poll(2) shows the shutdown. */
bool listener_is_shut(const struct listener *listener)
{
    struct pollfd end = {.fd = listener->fd, .events = POLLRDHUP};
    if (listener->bound.sa.sa_family != AF_UNIX)
        return !is_listening(listener->fd);
    return poll(&end, 1, 0) == 1 && end.revents & (POLLHUP | POLLRDHUP);
}

enum listener_loss listener_look(struct listener *listener)
{
    enum listener_loss loss = LISTENER_SOUND;
    if (listener->fd < 0)
        return loss;
    if (listener_is_shut(listener))
        loss = LISTENER_SHUT;
    else if (listener->made.number && !socket_path_is(&listener->asked, &listener->made))
        loss = LISTENER_REMOVED;
    listener->unreachable = loss != LISTENER_SOUND;
    return loss;
}

bool listener_is_reachable(const struct listener *listener)
{
    return !listener->unreachable;
}

/* A shutdown closes a listening TCP socket. A second shutdown, or a program that goes on to use it
 * as a client, leaves more state on it, which accepted connections would inherit. connect(2) to
 * AF_UNSPEC clears all of that. It also frees a port that the kernel chose: bind(2) takes it again,
 * unless another process was faster. A port that was asked for is kept, and bind(2) says EINVAL. */
static int listen_again(const struct listener *listener, int backlog)
{
    static const struct sockaddr nowhere = {.sa_family = AF_UNSPEC};
    const struct addr *bound = &listener->bound;
    struct addr now = {.len = sizeof now - offsetof(struct addr, sa)};
    if (connect(listener->fd, &nowhere, sizeof nowhere) != 0)
        return -errno;
    if (bind(listener->fd, &bound->sa, bound->len) != 0 && errno != EINVAL)
        return -errno;
    if (listen(listener->fd, backlog) != 0)
        return -errno;
    if (getsockname(listener->fd, &now.sa, &now.len) != 0 || !addr_equal(&now, bound))
        return -EADDRNOTAVAIL;
    return 0;
}

/* Whether the socket was shut down just between the connect and the listen above, which only
 * sock_diag(7) shows. A shutdown once it listens ends the listening, and is noticed. */
static bool is_half_shut(const struct listener *listener)
{
    struct stat socket;
    struct accept_queues queues = {0};
    const struct accept_queue *queue = NULL;
    accept_queues_ask(&queues); /* even after an error, the list may have this socket */
    if (fstat(listener->fd, &socket) == 0)
        queue = accept_queues_find(&queues, socket.st_ino);
    bool shut = queue && queue->half_shut;
    accept_queues_free(&queues);
    return shut;
}

enum { HEAL_TRIES = 10 };

int listener_heal(struct listener *listener, int backlog)
{
    if (listener->bound.sa.sa_family == AF_UNIX)
        return -EOPNOTSUPP;
    for (int tries = 0; tries < HEAL_TRIES; tries++) {
        int error = listen_again(listener, backlog);
        if (error)
            return error;
        if (!is_half_shut(listener)) {
            listener->unreachable = false;
            return 0;
        }
    }
    return -EAGAIN;
}

void listener_close(struct listener *listener)
{
    if (!listener)
        return;
    if (listener->origin == LISTENER_BOUND && listener->made.number)
        socket_path_unlink(&listener->asked, &listener->made);
    if (listener->origin != LISTENER_ACTIVATED && listener->fd >= 0)
        fd_close_foreign(listener->fd);
    free(listener->passed_name);
    free(listener);
}
