#include "gate.h"

#include "../base/log.h"
#include "../config/blocks.h"
#include "../conn/proxied.h"

#include <stdio.h>
#include <sys/socket.h>

struct gate {
    const struct pool_config *pool;
    struct slot *slot;
    struct seat seat;
    bool seated; /* a seat is held */
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
    return pool->admitted || pool->proxies || pool->max_per_source || pool->rate_per_source;
}

struct gate *gate_open(const struct pool_config *pool, struct slot *slot, struct limits *limits,
                       uint32_t seat)
{
    static struct gate gate;
    if (!is_configured(pool))
        return NULL;
    gate.pool = pool;
    gate.slot = slot;
    if (limits)
        gate.seat = (struct seat){.limits = limits, .claim = &limits->claims[seat]};
    return &gate;
}

static bool is_proxy(const struct pool_config *pool, const struct addr *peer)
{
    struct addr_number number;
    if (addr_number(peer, &number))
        return blocks_find(pool->proxies, &number) == BLOCK_ALLOW;
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
    switch (blocks_find(pool->admitted, &number)) {
    case BLOCK_ALLOW: return welcome;
    case BLOCK_DENY: return because(REFUSED_DENIED, "it is in deny");
    case BLOCK_NONE: break;
    }
    return pool->allow.count ? because(REFUSED_DENIED, "it is not in allow") : welcome;
}

/* Of a Unix socket the kernel knows the user: that of our peer, who is nobody's proxy here. */
static struct source source_of(const struct conn *conn)
{
    struct ucred user;
    socklen_t length = sizeof user;
    if (conn->peer.sa.sa_family != AF_UNIX || conn->proxied)
        return sources_of(&conn->peer);
    if (getsockopt(conn->fd, SOL_SOCKET, SO_PEERCRED, &user, &length) != 0)
        return (struct source){.kind = SOURCE_NONE};
    return sources_of_user(user.uid);
}

/* First the rate: who is too fast costs no look at the others' slots. */
static struct refused limit(struct gate *gate, const struct conn *conn)
{
    const struct pool_config *pool = gate->pool;
    struct source source = source_of(conn);
    if (source.kind == SOURCE_NONE)
        return welcome;
    if (pool->rate_per_source &&
        !sources_pace(gate->seat.limits, &source, (uint32_t)pool->rate_per_source, clock_now()))
        return because(REFUSED_RATE, "its source is faster than rate_per_source");
    if (!pool->max_per_source)
        return welcome;
    gate->seated = sources_claim(&gate->seat, &source, (uint32_t)pool->max_per_source);
    return gate->seated ? welcome
                        : because(REFUSED_MAX_PER_SOURCE, "its source has max_per_source already");
}

/* Each kind has its own pace, so that many of one don't hide the first of another. */
static void tell(const struct gate *gate, const struct conn *conn, const struct refused *refused)
{
    static struct log_rate rates[REFUSALS];
    const char *pool = gate->pool->name;
    unsigned missed;
    char peer[ADDR_TEXT];
    if (!log_wanted(LOG_INFO) || !log_rate_ok(&rates[refused->kind], USEC_SECOND, &missed))
        return;
    addr_print(&conn->peer, peer);
    log_info("pool %s: refused the connection from %s: %s pool=%s peer=%s reason=%s missed=%u",
             pool, peer, refused->why, pool, peer, refusal_words[refused->kind], missed);
}

bool gate_admit(struct gate *gate, struct conn *conn)
{
    const struct pool_config *pool = gate->pool;
    struct refused refused = welcome;
    if (pool->proxies)
        refused = take_header(pool, conn);
    if (refused.kind == REFUSALS && pool->admitted)
        refused = judge(pool, &conn->peer);
    if (refused.kind == REFUSALS && (pool->max_per_source || pool->rate_per_source))
        refused = limit(gate, conn);
    if (refused.kind == REFUSALS)
        return true;
    gate->slot->refused[refused.kind]++;
    tell(gate, conn, &refused);
    return false;
}

void gate_leave(struct gate *gate)
{
    if (gate->seated)
        sources_release(&gate->seat);
    gate->seated = false;
}
