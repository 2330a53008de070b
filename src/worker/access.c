#include "access.h"

#include "../base/fd.h"
#include "../base/kernel.h"
#include "../base/log.h"
#include "../config/access_list.h"
#include "../conn/conn.h"
#include "../wire/proxy.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { LEAVE_MSEC = 1000 };

/* Why a connection is not served: the kind that is counted, and in words. */
struct refused {
    enum refusal kind;
    const char *why;
};

static const struct refused welcome = {.kind = REFUSALS};

static struct refused because(enum refusal kind, const char *why)
{
    return (struct refused){.kind = kind, .why = why};
}

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
    return access;
}

/* The memory for a header: pages that are never touched cost nothing. A worker with one seat needs
 * it once; where others are served meanwhile, each has its own for so long. */
static const char *take_bytes(const struct pool_config *pool, struct conn *conn, usec deadline)
{
    static uint8_t alone[PROXY_MAX];
    if (pool->seats == 1)
        return conn_take_proxy(conn, alone, deadline);
    uint8_t *bytes = malloc(PROXY_MAX);
    const char *why = bytes ? conn_take_proxy(conn, bytes, deadline) : "out of memory";
    free(bytes);
    return why;
}

static struct refused take_header(const struct pool_config *pool, struct conn *conn)
{
    usec deadline = clock_now() + pool->proxy_timeout * USEC_SECOND;
    struct addr_number number;
    bool is_proxy = addr_number(&conn->peer, &number)
                        ? cidr_find(pool->proxies, &number) == CIDR_ALLOW
                        : conn->peer.sa.sa_family == AF_UNIX && pool->proxies_unix;
    if (!is_proxy)
        return because(REFUSED_PROXY, "it is not in proxy_from");
    const char *why = take_bytes(pool, conn, deadline);
    return why ? because(REFUSED_PROXY, why) : welcome;
}

static struct refused judge(const struct pool_config *pool, const struct addr *peer)
{
    struct addr_number number;
    if (!addr_number(peer, &number))
        return welcome;
    switch (cidr_find(pool->admitted, &number)) {
    case CIDR_ALLOW: return welcome;
    case CIDR_DENY: return because(REFUSED_DENIED, "it is in deny");
    case CIDR_NONE: break;
    }
    return pool->allow.count ? because(REFUSED_DENIED, "it is not in allow") : welcome;
}

/* Of a Unix socket the kernel knows the user: that of our peer, which is not a proxy here. */
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

static bool has_ended(pid_t program)
{
    struct pollfd end = {.fd = program > 0 ? kernel_pidfd_open(program) : -1, .events = POLLIN};
    bool ended = end.fd < 0 || poll(&end, 1, 0) > 0;
    fd_cleanup(&end.fd);
    return ended;
}

/* Whether a worker of our generation that serves our source is about to finish its connection: no
 * program runs there any more, or none yet. */
static bool someone_leaves(const struct access *access)
{
    uint32_t end = scoreboard_end(access->board);
    for (uint32_t seat = 0; seat < end; seat++) {
        const struct slot *slot = &access->board->slots[seat];
        if (slot->state == SLOT_BUSY && source_limits_shared(access->limits, access->seat, seat) &&
            has_ended(slot->program))
            return true;
    }
    return false;
}

/* If a program has the connection alone, its client sees the end a moment before the worker has
 * reaped the program and counts one less. A client that comes again at once must not be refused for
 * that: so before a refusal we wait for a millisecond, in which an exiting program becomes a dead
 * one, and for as long as a worker is about to leave, which nobody but itself can delay. A client
 * that keeps all its connections costs us that millisecond, as much as to start a program for it.
 * */
static bool claim(const struct access *access, const struct source *source)
{
    uint32_t most = (uint32_t)access->pool->max_per_source;
    bool claimed = source_limits_claim(access->limits, access->seat, source, most);
    for (int i = 0; !claimed && i < access->leave_timeout; i++) {
        poll(NULL, 0, 1);
        bool leaving = someone_leaves(access); /* first, or a worker that left between is missed */
        claimed = source_limits_claim(access->limits, access->seat, source, most);
        if (!leaving)
            break;
    }
    return claimed;
}

/* The rate is first: one that is refused for its rate is not counted. */
static struct refused limit(const struct access *access, const struct conn *conn)
{
    const struct pool_config *pool = access->pool;
    struct source source = source_of(conn);
    if (source.kind == SOURCE_NONE)
        return welcome;
    if (pool->rate_per_source &&
        !source_limits_pace(access->limits, &source, (uint32_t)pool->rate_per_source, clock_now()))
        return because(REFUSED_RATE, "its source exceeds rate_per_source");
    if (pool->max_per_source && !claim(access, &source))
        return because(REFUSED_MAX_PER_SOURCE, "its source has reached max_per_source");
    return welcome;
}

/* Each kind has its own pace, so that many of one don't hide the first of another. */
static void tell(const struct access *access, const struct conn *conn,
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
              "pool %s: refused the connection from %s: %s pool=%s peer=%s reason=%s missed=%u",
              pool, peer, refused->why, pool, peer, refusal_words[refused->kind], missed);
}

/* A client that is too late is not waited for. If there is an answer to that, it is for those alone
 * that would be served, and it comes behind the PROXY header. */
static struct refused ask(struct access *access, struct conn *conn)
{
    const struct pool_config *pool = access->pool;
    const struct refused late = because(REFUSED_QUEUE, "it waited longer than queue_timeout");
    struct refused refused = conn->late && !access->answers ? late : welcome;
    if (refused.kind == REFUSALS && pool->proxies)
        refused = take_header(pool, conn);
    if (refused.kind == REFUSALS && pool->admitted)
        refused = judge(pool, &conn->peer);
    if (refused.kind == REFUSALS && (pool->max_per_source || pool->rate_per_source))
        refused = limit(access, conn);
    return refused.kind == REFUSALS && conn->late ? late : refused;
}

enum refusal access_admit(struct access *access, struct conn *conn)
{
    struct refused refused = ask(access, conn);
    if (refused.kind == REFUSALS)
        return REFUSALS;
    access->slot->refused[refused.kind]++;
    tell(access, conn, &refused);
    return refused.kind;
}

void access_leave(struct access *access)
{
    if (access->pool->max_per_source)
        source_limits_release(access->limits, access->seat);
}
