/*
 * agent - HAProxy's agent-check: a line that says how much more the pools can take.
 *
 * HAProxy connects, reads up to a newline, and closes. Its agent-send string is not read: nothing
 * marks its end.
 */
#include "../reports/snapshot.h"
#include "handler.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Room for a pool's name and its trouble, with every byte escaped. */
enum { LINE_MAX_BYTES = 1024 };

static const struct option_row no_rows[] = {OPTION_END};

/* The sum over all pools that serve. */
struct sum {
    long long seats, free;
    int pools, drained;
    const struct snapshot_pool *down; /* the first that is degraded or unreachable */
};

/* A pool that may still grow counts with the seats that it does not have yet. */
static void add_pool(struct sum *sum, const struct snapshot_pool *pool)
{
    int room = snapshot_is_dynamic(pool) ? pool->max_workers - pool->target : 0;
    if (!pool->used || pool->state == POOL_REMOVED || !health_serves(pool))
        return;
    sum->pools++;
    sum->drained += pool->state == POOL_DRAINED;
    if ((pool->state == POOL_DEGRADED || pool->state == POOL_UNREACHABLE) && !sum->down)
        sum->down = pool;
    if (pool->state == POOL_DRAINED || snapshot_is_app(pool))
        return; /* a program that accepts by itself is busy unseen */
    sum->seats += snapshot_most_seats(pool);
    sum->free += snapshot_free_seats(pool) + (room > 0 ? room * pool->seats_each : 0);
}

static void write_line(const struct sum *sum, char *line, size_t size)
{
    const struct snapshot_pool *pool = sum->down;
    long long percent = sum->seats > 0 ? sum->free * 100 / sum->seats : 100;
    if (percent < 1)
        percent = 1; /* HAProxy would take 0 for a drain, which nobody asked for */
    if (pool)
        snprintf(line, size, "down #pool %s is %s%s%s\n", pool->name, pool_state_words[pool->state],
                 pool->trouble[0] ? ": " : "", pool->trouble);
    else if (sum->pools && sum->drained == sum->pools)
        snprintf(line, size, "drain\n");
    else
        snprintf(line, size, "up ready %d%%\n", percent > 100 ? 100 : (int)percent);
}

static int agent_serve(struct service *service, struct conn *conn)
{
    char line[LINE_MAX_BYTES];
    struct sum sum = {0};
    struct snapshot *snapshot = snapshot_take(service->view, NULL);
    if (!snapshot)
        return -ENOMEM;
    for (int i = 0; i < snapshot->count; i++)
        add_pool(&sum, &snapshot->pools[i]);
    write_line(&sum, line, sizeof line);
    free(snapshot);
    int error = conn_write(conn, line, strlen(line));
    if (error == 0)
        conn_finish(conn);
    return error;
}

const struct handler handler_agent = {
    .section = {.name = "agent",
                .rows = no_rows,
                .scopes = SCOPE_CONNECTIONS | SCOPE_CLIENT,
                .process_only = "a look at all pools would hold up the other connections"},
    .calls = CALLS_REPORT,
    .reads_board = true,
    .serve = agent_serve,
};
