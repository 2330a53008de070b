#include "access.h"

#include "../base/fd.h"
#include "../base/kernel.h"
#include "../base/log.h"
#include "../base/procfs.h"
#include "../config/access_list.h"
#include "../conn/conn.h"
#include "../wire/proxy.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { LEAVE_MSEC = 1000 };

/* Why a connection is refused: the kind, by which it is counted, and a sentence. */
struct refused {
    enum refusal kind;
    const char *about, *why; /* the sentence's two parts; `about` may be empty */
};

static const struct refused admitted = {.kind = ADMITTED};

static struct refused because(enum refusal kind, const char *why)
{
    return (struct refused){.kind = kind, .about = "", .why = why};
}

/* Of a worker with one seat. Its untouched pages cost nothing. */
static uint8_t only_header[PROXY_MAX];

struct access *access_open(struct access *access, const struct pool_config *pool,
                           struct scoreboard *board, struct limits *limits, uint32_t seat,
                           bool answers, bool gives_away)
{
    if (!pool->admitted && !pool->proxies && !pool->max_per_source && !pool->rate_per_source &&
        !pool->queue_timeout)
        return NULL;
    access->pool = pool;
    access->board = board;
    access->slot = &board->slots[seat];
    access->answers = answers;
    access->leave_timeout = gives_away ? LEAVE_MSEC : 0;
    access->limits = limits;
    access->seat = seat;
    access->header = only_header;
    return access;
}

/* Where connections share a thread, each header has its own memory while it is read. That thread is
 * the worker's first: the first malloc() of another one may make calls that are on no list, because
 * glibc then counts the processors. */
static const char *read_header(const struct access *access, struct conn *conn, usec deadline)
{
    if (!conn->waiter)
        return conn_take_proxy(conn, access->header, deadline);
    uint8_t *bytes = malloc(PROXY_MAX);
    const char *why = bytes ? conn_take_proxy(conn, bytes, deadline) : "out of memory";
    free(bytes);
    return why;
}

static struct refused take_header(const struct access *access, struct conn *conn)
{
    const struct pool_config *pool = access->pool;
    usec deadline = clock_now() + pool->proxy_timeout * USEC_SECOND;
    struct addr_number number;
    bool is_proxy = addr_number(&conn->peer, &number)
                        ? cidr_find(pool->proxies, &number) == CIDR_ALLOW
                        : conn->peer.sa.sa_family == AF_UNIX && pool->proxies_unix;
    if (!is_proxy)
        return because(REFUSED_PROXY, "it is not in proxy_from");
    const char *why = read_header(access, conn, deadline);
    return why ? (struct refused){REFUSED_PROXY, "its PROXY header: ", why} : admitted;
}

static struct refused check_access_list(const struct pool_config *pool, const struct addr *peer)
{
    struct addr_number number;
    if (!addr_number(peer, &number))
        return admitted;
    switch (cidr_find(pool->admitted, &number)) {
    case CIDR_ALLOW: return admitted;
    case CIDR_DENY: return because(REFUSED_DENIED, "it is in deny");
    case CIDR_NONE: break;
    }
    return pool->allow.count ? because(REFUSED_DENIED, "it is not in allow") : admitted;
}

/* A Unix connection's source is its user, whom the kernel knows, unless a proxy is in between. */
static struct source source_of(const struct conn *conn)
{
    struct ucred user;
    socklen_t length = sizeof user;
    if (conn->peer.sa.sa_family != AF_UNIX || conn->proxied)
        return source_limits_of(&conn->peer);
    if (getsockopt(conn->fd, SOL_SOCKET, SO_PEERCRED, &user, &length) != 0)
        return (struct source){.kind = SOURCE_NONE};
    return source_limits_of_user(user.uid);
}

/* A program that exits has its connection closed by the kernel, and may then be kept from ending by
 * other programs on a busy machine, or by the memory that it frees. Where /proc can't be read, as
 * in most chroots, only a program that has ended counts. */
static bool is_ending(pid_t program)
{
    struct pollfd end = {.fd = program > 0 ? kernel_pidfd_open(program) : -1, .events = POLLIN};
    bool ending = end.fd < 0 || poll(&end, 1, 0) > 0 || procfs_exits(program);
    fd_cleanup(&end.fd);
    return ending;
}

/* Whether a worker of this generation is about to finish a connection of this source: it runs no
 * program any more, or none yet. */
static bool is_one_finishing(const struct access *access)
{
    uint32_t end = scoreboard_end(access->board);
    for (uint32_t seat = 0; seat < end; seat++) {
        const struct slot *slot = &access->board->slots[seat];
        if (slot->state == SLOT_BUSY && source_limits_shared(access->limits, access->seat, seat) &&
            is_ending(slot->program))
            return true;
    }
    return false;
}

/* If a program alone has the connection, the client sees its end a moment before the worker reaps
 * the program and gives the count back. A client that connects again at once must not be refused
 * for that. So a refusal waits for a millisecond, in which a program that has closed the connection
 * begins to exit, and then for as long as that program exits or its worker is about to finish, but
 * for leave_timeout at most. A client that keeps all its connections open costs us that
 * millisecond, no more than starting a program for it would. */
static bool claim(const struct access *access, const struct source *source)
{
    uint32_t most = (uint32_t)access->pool->max_per_source;
    bool claimed = source_limits_claim(access->limits, access->seat, source, most);
    for (int i = 0; !claimed && i < access->leave_timeout; i++) {
        poll(NULL, 0, 1);
        /* Before the claim, or a worker that finishes between the two is missed. */
        bool finishing = is_one_finishing(access);
        claimed = source_limits_claim(access->limits, access->seat, source, most);
        if (!finishing)
            break;
    }
    return claimed;
}

/* Checks the rate first: a connection refused for its rate doesn't count towards max_per_source. */
static struct refused check_limits(const struct access *access, const struct conn *conn)
{
    const struct pool_config *pool = access->pool;
    struct source source = source_of(conn);
    if (source.kind == SOURCE_NONE)
        return admitted;
    if (pool->rate_per_source &&
        !source_limits_pace(access->limits, &source, (uint32_t)pool->rate_per_source, clock_now()))
        return because(REFUSED_RATE, "its source exceeds rate_per_source");
    if (pool->max_per_source && !claim(access, &source))
        return because(REFUSED_MAX_PER_SOURCE, "its source has reached max_per_source");
    return admitted;
}

/* Each kind has a rate limit of its own, so that many of one don't hide the first of another. */
static void log_refusal(const struct access *access, const struct conn *conn,
                        const struct refused *refused)
{
    static struct log_rate rates[REFUSALS];
    const char *pool = access->pool->name;
    unsigned missed;
    char peer[ADDR_TEXT];
    if (!log_wanted(LOG_INFO) || !log_rate_ok(&rates[refused->kind], USEC_SECOND, &missed))
        return;
    addr_print_peer(&conn->peer, peer);
    log_named(refused->kind == REFUSED_QUEUE ? LOG_NAME_OVERLOAD : LOG_NAME_NONE, LOG_INFO,
              "pool %s: refused the connection from %s: %s%s pool=%s peer=%s reason=%s missed=%u",
              pool, peer, refused->about, refused->why, pool, peer, refusal_words[refused->kind],
              missed);
}

/* A late connection is refused at once, before its PROXY header. If the handler answers it,
 * however, the answer follows the header, and only a client that would be admitted gets it. */
static struct refused check(struct access *access, struct conn *conn)
{
    const struct pool_config *pool = access->pool;
    const struct refused late = because(REFUSED_QUEUE, "it waited longer than queue_timeout");
    struct refused refused = conn->late && !access->answers ? late : admitted;
    if (refused.kind == ADMITTED && pool->proxies)
        refused = take_header(access, conn);
    if (refused.kind == ADMITTED && pool->admitted)
        refused = check_access_list(pool, &conn->peer);
    if (refused.kind == ADMITTED && (pool->max_per_source || pool->rate_per_source))
        refused = check_limits(access, conn);
    return refused.kind == ADMITTED && conn->late ? late : refused;
}

enum refusal access_admit(struct access *access, struct conn *conn)
{
    struct refused refused = check(access, conn);
    if (refused.kind == ADMITTED)
        return ADMITTED;
    access->slot->refused[refused.kind]++;
    log_refusal(access, conn, &refused);
    return refused.kind;
}

void access_leave(struct access *access)
{
    if (access->pool->max_per_source)
        source_limits_release(access->limits, access->seat);
}
