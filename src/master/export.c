#include "export.h"

#include "../base/log.h"
#include "../base/sysd.h"
#include "../base/text.h"
#include "../reports/snapshot.h"

#include "build-config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static enum pool_state state_of(const struct pool *pool, const struct counts *counts)
{
    if (pool->removed)
        return POOL_REMOVED;
    if (pool->drained)
        return POOL_DRAINED;
    if (pool->unreachable)
        return POOL_UNREACHABLE;
    if (counts->degraded || pool->halted)
        return POOL_DEGRADED;
    return counts->ready < pool_target(pool) ? POOL_STARTING : POOL_SERVING;
}

void export_pool(struct export *export, const struct runtime *runtime, struct pool *pool, usec now)
{
    const struct pool_config *conf = pool->conf;
    struct overview_pool *out = &runtime->spawner.boards.overview->pools[pool->resources.place];
    const struct listener *unreachable = NULL;
    int unreachable_count = 0;
    for (int i = pool->listener_count - 1; i >= 0; i--)
        if (!listener_is_reachable(pool->listeners[i])) {
            unreachable = pool->listeners[i];
            unreachable_count++;
        }
    if (pool->unreachable != unreachable_count)
        export->generation = 0; /* publishes the listeners again */
    pool->unreachable = unreachable_count;

    struct counts counts = pool_counts(pool);
    enum pool_state state = state_of(pool, &counts);
    bool troubled = state == POOL_STARTING || state == POOL_DEGRADED;
    if (out->state != state) {
        out->state = state;
        out->state_since = now;
    }
    if (state == POOL_UNREACHABLE)
        snprintf(out->trouble, sizeof out->trouble,
                 "nobody can connect to %.100s: a reload binds it anew", unreachable->text);
    else if (troubled || out->trouble[0])
        snprintf(out->trouble, sizeof out->trouble, "%.*s", SCOREBOARD_REASON - 1,
                 troubled ? pool->trouble : "");
    if (!out->handler[0] || out->generation != pool->generation)
        snprintf(out->handler, sizeof out->handler, "%s", conf->handler->name);
    bool dynamic = pool_config_is_dynamic(conf);
    out->generation = pool->generation;
    out->target = pool_target(pool);
    out->model = (uint32_t)conf->model;
    out->seats = (uint32_t)conf->seats;
    out->min_workers = dynamic ? conf->min_workers : conf->workers + pool->extra;
    out->max_workers = dynamic ? conf->max_workers : conf->workers + pool->extra;
    out->min_spare = conf->min_spare;
    out->max_spare = conf->max_spare;
    pool->ready = counts.ready;
    pool->retiring = counts.retiring + counts.stale;
    export->changed = true;
}

void export_runtime(struct export *export, const struct runtime *runtime)
{
    struct overview *overview = runtime->spawner.boards.overview;
    if (export->generation == runtime->generation &&
        (runtime->listeners || !overview->listeners_end))
        return;
    uint32_t at = 0;
    /* The listeners of a removed pool are closed; in a stop, all are. */
    for (const struct pool *pool = runtime->pools; pool && runtime->listeners; pool = pool->next) {
        bool listens = !pool->removed && !pool->on_trial;
        for (int i = 0; listens && i < pool->listener_count && at < SCOREBOARD_LISTENERS; i++) {
            const struct listener *listener = pool->listeners[i];
            struct overview_listener *out = &overview->listeners[at++];
            struct stat socket;
            out->pool = (uint32_t)pool->resources.place;
            out->inode = fstat(listener->fd, &socket) == 0 ? socket.st_ino : 0;
            out->backlog = pool->conf->backlog;
            out->unreachable = !listener_is_reachable(listener);
            snprintf(out->text, sizeof out->text, "%s", listener->text);
            out->used = 1;
        }
    }
    for (uint32_t i = at; i < overview->listeners_end; i++)
        overview->listeners[i].used = 0;
    overview->listeners_end = at;
    if (gethostname(overview->host, sizeof overview->host - 1) != 0)
        overview->host[0] = '\0';
    snprintf(overview->release, sizeof overview->release, "%s", PREFORKD_VERSION);
    overview->generation = export->generation = runtime->generation;
}

static void print_status(const struct runtime *runtime, char *text, size_t size)
{
    const struct overview *overview = runtime->spawner.boards.overview;
    struct text_line line = {.at = text, .room = size};
    int retiring = 0;
    for (const struct pool *pool = runtime->pools; pool; pool = pool->next) {
        retiring += pool->retiring;
        if (pool->removed)
            continue;
        uint32_t state = overview->pools[pool->resources.place].state;
        const char *word = state == POOL_DEGRADED      ? " degraded"
                           : state == POOL_UNREACHABLE ? " unreachable"
                                                       : "";
        text_add(&line, "%s%s %d/%d%s", line.length ? ", " : "", pool->name, pool->ready,
                 pool_target(pool), word);
    }
    text_add(&line, " workers ready, %d retiring", retiring);
}

void export_ready(struct export *export, const struct runtime *runtime, usec now)
{
    print_status(runtime, export->status, sizeof export->status);
    export->status_at = now;
    sysd_notify("READY=1\nSTATUS=%s", export->status);
}

usec export_status(struct export *export, const struct runtime *runtime, usec now)
{
    char text[sizeof export->status];
    if (!export->changed)
        return USEC_NEVER;
    if (now < export->status_at + USEC_SECOND)
        return export->status_at + USEC_SECOND;
    print_status(runtime, text, sizeof text);
    export->status_at = now;
    if (strcmp(text, export->status) != 0 && !sysd_offer("STATUS=%s", text))
        return now + USEC_SECOND; /* systemd's socket is full */
    export->changed = false;
    memcpy(export->status, text, sizeof text);
    return USEC_NEVER;
}

void export_log(struct runtime *runtime)
{
    const struct view view = boards_view(&runtime->spawner.boards);
    struct snapshot *snapshot = snapshot_take(&view, NULL);
    for (int i = 0; snapshot && i < snapshot->count; i++) {
        const struct snapshot_pool *pool = &snapshot->pools[i];
        const char *state = pool_state_words[pool->state];
        int ready = snapshot_ready(pool);
        char held[48] = "";
        if (pool->model != MODEL_PROCESS)
            snprintf(held, sizeof held, " (%d of %d seats)", pool->seats_busy, pool->seats);
        unsigned long long accepted = pool->counts.accepted, served = pool->counts.served;
        if (pool->used)
            log_notice("pool %s: %s, %d of %d workers ready, %d busy%s, %d retiring; "
                       "connections: %llu accepted, %llu served pool=%s state=%s workers=%d "
                       "ready=%d busy=%d retiring=%d seats=%d busy_seats=%d generation=%u "
                       "accepted=%llu served=%llu",
                       pool->name, state, ready, pool->target, pool->busy, held, pool->retiring,
                       accepted, served, pool->name, state, pool->target, ready, pool->busy,
                       pool->retiring, pool->seats, pool->seats_busy, pool->generation, accepted,
                       served);
    }
    free(snapshot);
}
