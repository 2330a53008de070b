#include "access.h"

#include "../base/log.h"
#include "../config/cidr.h"
#include "../conn/proxied.h"

#include <poll.h>
#include <stdio.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <unistd.h>

enum { LEAVE_MSEC = 1000 };

struct access {
    const struct pool_config *pool;
    const struct scoreboard *board;
    struct slot *slot;
    struct seat seat;
    bool seated;  /* a seat is held */
    bool answers; /* who comes too late is told so */
    int patience; /* milliseconds for workers that are about to leave */
};

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

static bool is_configured(const struct pool_config *pool)
{
    return pool->admitted || pool->proxies || pool->max_per_source || pool->rate_per_source ||
           pool->queue_timeout;
}

struct access *access_open(const struct pool_config *pool, struct scoreboard *board,
                           struct limits *limits, uint32_t seat, bool answers, bool gives_away)
{
    static struct access access;
    if (!is_configured(pool))
        return NULL;
    access.pool = pool;
    access.board = board;
    access.slot = &board->slots[seat];
    access.answers = answers;
    access.patience = gives_away ? LEAVE_MSEC : 0;
    if (limits)
        access.seat = (struct seat){.limits = limits, .claim = &limits->claims[seat]};
    return &access;
}

static bool is_proxy(const struct pool_config *pool, const struct addr *peer)
{
    struct addr_number number;
    if (addr_number(peer, &number))
        return cidr_find(pool->proxies, &number) == CIDR_ALLOW;
    return peer->sa.sa_family == AF_UNIX && pool->proxies_unix;
}

static struct refused take_header(const struct pool_config *pool, struct conn *conn)
{
    usec deadline = clock_now() + pool->proxy_timeout * USEC_SECOND;
    if (!is_proxy(pool, &conn->peer))
        return because(REFUSED_PROXY, "it is not in proxy_from");
    const char *why = proxied_take(conn, deadline);
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

/* Of a Unix socket the kernel knows the user: that of our peer, who is nobody's proxy here. */
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
    struct pollfd end = {.fd = pidfd_open(program, 0), .events = POLLIN};
    if (end.fd < 0)
        return true;
    bool ended = poll(&end, 1, 0) > 0;
    close(end.fd);
    return ended;
}

/* Whether a worker of our generation that serves our source is about to give its seat back: no program
 * runs there any more, or none yet. */
static bool someone_leaves(const struct access *access)
{
    const struct claim *own = access->seat.claim, *claim = access->seat.limits->claims;
    uint32_t end = scoreboard_end(access->board);
    for (const struct slot *slot = access->board->slots; end > 0; end--, slot++, claim++) {
        pid_t program = slot->program;
        bool same = slot->state == SLOT_BUSY && claim->source[0] == own->source[0] &&
                    claim->source[1] == own->source[1];
        if (same && claim != own && (program <= 0 || has_ended(program)))
            return true;
    }
    return false;
}

/* Where a program has the connection alone, its client sees the end a moment before the worker has
 * reaped the program and gives the seat back. Who comes again at once must not be refused for that: so
 * before a refusal we wait for a millisecond, in which an exiting program becomes a dead one, and for
 * as long as a worker is about to leave, which nobody but itself can delay. Whoever keeps all its
 * seats costs us that millisecond, as much as to start a program for it. */
static bool claim(const struct access *access, const struct source *source)
{
    uint32_t most = (uint32_t)access->pool->max_per_source;
    bool seated = source_limits_claim(&access->seat, source, most);
    for (int i = 0; !seated && i < access->patience; i++) {
        poll(NULL, 0, 1);
        bool leaving = someone_leaves(access); /* first, or who left between is missed */
        seated = source_limits_claim(&access->seat, source, most);
        if (!leaving)
            break;
    }
    return seated;
}

/* First the rate: who is too fast costs no look at the others' slots. */
static struct refused limit(struct access *access, const struct conn *conn)
{
    const struct pool_config *pool = access->pool;
    struct source source = source_of(conn);
    if (source.kind == SOURCE_NONE)
        return welcome;
    if (pool->rate_per_source && !source_limits_pace(access->seat.limits, &source,
                                                     (uint32_t)pool->rate_per_source, clock_now()))
        return because(REFUSED_RATE, "its source is faster than rate_per_source");
    if (!pool->max_per_source)
        return welcome;
    access->seated = claim(access, &source);
    return access->seated
               ? welcome
               : because(REFUSED_MAX_PER_SOURCE, "its source has max_per_source already");
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
    addr_print(&conn->peer, peer);
    log_info("pool %s: refused the connection from %s: %s pool=%s peer=%s reason=%s missed=%u",
             pool, peer, refused->why, pool, peer, refusal_words[refused->kind], missed);
}

/* Who is too late is not waited for. Where there is an answer to that, it is for those alone that would
 * be served, and it comes behind the PROXY header. */
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
    if (access->seated)
        source_limits_release(&access->seat);
    access->seated = false;
}
