#include "publish.h"

#include "../base/log.h"
#include "../base/sysd.h"
#include "../shared/snapshot.h"

#include "build-config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static enum pool_state state_of(const struct pool *pool, const struct census *census)
{
    if (pool->removed)
        return POOL_REMOVED;
    if (pool->drained)
        return POOL_DRAINED;
    if (census->degraded)
        return POOL_DEGRADED;
    return census->ready < pool_target(pool) ? POOL_STARTING : POOL_SERVING;
}

static void publish_pool(const struct pool *pool, struct scoreboard_pool *out, usec now)
{
    struct census census = pool_census(pool);
    enum pool_state state = state_of(pool, &census);
    bool troubled = state == POOL_STARTING || state == POOL_DEGRADED;
    if (out->state != state) {
        out->state = state;
        out->state_since = now;
    }
    if (!out->handler[0] || out->generation != pool->generation)
        snprintf(out->handler, sizeof out->handler, "%s", pool->conf->handler->name);
    if (troubled || out->trouble[0])
        snprintf(out->trouble, sizeof out->trouble, "%.*s", SCOREBOARD_REASON - 1,
                 troubled ? pool->trouble : "");
    out->generation = pool->generation;
    out->target = pool_target(pool);
    if (pool->conf->workers > 0) /* a fixed size */
        out->min_workers = out->max_workers = pool->conf->workers + pool->extra;
}

/* Returns where the list ends. */
static int publish_listeners_of(const struct pool *pool, struct scoreboard *board, int at)
{
    for (int i = 0; i < pool->listener_count && at < SCOREBOARD_LISTENERS; i++, at++) {
        const struct listener *listener = pool->listeners[i];
        struct scoreboard_listener *out = &board->listeners[at];
        struct stat socket;
        out->pool = (uint32_t)pool->board_pool;
        out->inode = fstat(listener->fd, &socket) == 0 ? socket.st_ino : 0;
        out->backlog = pool->conf->backlog;
        snprintf(out->text, sizeof out->text, "%s", listener->text);
        out->used = 1;
    }
    return at;
}

/* A removed pool's are closed, and in a stop everybody's. */
static void publish_listeners(const struct realm *realm)
{
    struct scoreboard *board = realm->spawner.board;
    int at = 0;
    for (const struct pool *pool = realm->pools; pool && realm->listeners; pool = pool->next)
        if (!pool->removed && !pool->on_trial)
            at = publish_listeners_of(pool, board, at);
    for (uint32_t i = (uint32_t)at; i < board->listeners_end && i < SCOREBOARD_LISTENERS; i++)
        board->listeners[i].used = 0;
    board->listeners_end = (uint32_t)at;
}

void publish_realm(struct publish *publish, const struct realm *realm, usec now)
{
    struct scoreboard *board = realm->spawner.board;
    for (const struct pool *pool = realm->pools; pool; pool = pool->next)
        publish_pool(pool, &board->pools[pool->board_pool], now);
    if (publish->generation == realm->generation && (realm->listeners || !board->listeners_end))
        return;
    publish_listeners(realm);
    snprintf(board->release, sizeof board->release, "%s", PREFORKD_VERSION);
    board->generation = publish->generation = realm->generation;
}

static void print_status(const struct scoreboard *board, char *text, size_t size)
{
    struct snapshot *snapshot = snapshot_take(board, NULL);
    int retiring = 0;
    size_t at = 0;
    text[0] = '\0';
    for (int i = 0; snapshot && i < snapshot->count; i++) {
        const struct snapshot_pool *pool = &snapshot->pools[i];
        retiring += pool->used ? pool->retiring : 0;
        if (!pool->used || pool->state == POOL_REMOVED || at >= size)
            continue;
        at += (size_t)snprintf(text + at, size - at, "%s%s %d/%d%s", at ? ", " : "", pool->name,
                               snapshot_ready(pool), pool->target,
                               pool->state == POOL_DEGRADED ? " degraded" : "");
    }
    if (snapshot && at < size)
        snprintf(text + at, size - at, " workers ready, %d retiring", retiring);
    free(snapshot);
}

void publish_ready(struct publish *publish, const struct scoreboard *board, usec now)
{
    print_status(board, publish->said, sizeof publish->said);
    publish->looked_at = now;
    sysd_notify("READY=1\nSTATUS=%s", publish->said);
}

usec publish_status(struct publish *publish, const struct scoreboard *board, usec now)
{
    char text[sizeof publish->said];
    if (now < publish->looked_at + USEC_SECOND)
        return publish->looked_at + USEC_SECOND;
    print_status(board, text, sizeof text);
    publish->looked_at = now;
    if (strcmp(text, publish->said) == 0)
        return USEC_NEVER;
    memcpy(publish->said, text, sizeof text);
    sysd_notify("STATUS=%s", text);
    return USEC_NEVER;
}

static void tell_pool(const struct snapshot_pool *pool)
{
    const char *state = pool_state_words[pool->state];
    int ready = snapshot_ready(pool);
    unsigned long long accepted = pool->accepted, served = pool->served;
    log_notice("pool %s: %s, %d of %d workers ready, %d busy, %d retiring; "
               "connections: %llu accepted, %llu served pool=%s state=%s workers=%d ready=%d "
               "busy=%d retiring=%d generation=%u accepted=%llu served=%llu",
               pool->name, state, ready, pool->target, pool->busy, pool->retiring, accepted, served,
               pool->name, state, pool->target, ready, pool->busy, pool->retiring, pool->generation,
               accepted, served);
}

void publish_tell(const struct scoreboard *board)
{
    struct snapshot *snapshot = snapshot_take(board, NULL);
    for (int i = 0; snapshot && i < snapshot->count; i++)
        if (snapshot->pools[i].used)
            tell_pool(&snapshot->pools[i]);
    free(snapshot);
}
