#include "status.h"

#include "../base/table.h"
#include "../base/units.h"
#include "snapshot.h"

#include <stdlib.h>

static void print_daemon(FILE *out, const struct scoreboard *board, usec now)
{
    char release[TEXT_CLEAN(sizeof board->release)], result[TEXT_CLEAN(SCOREBOARD_REASON)];
    char span[UNITS_TEXT], when[UNITS_TEXT];
    text_clean(release, sizeof release, board->release, sizeof board->release);
    text_clean(result, sizeof result, board->refusal, sizeof board->refusal);
    fprintf(out, "preforkd %s, pid %d, up %s, generation %u\n", release, (int)board->master,
            units_span(snapshot_span(board->started, now), span), board->generation);
    if (board->reloaded)
        fprintf(out, "last reload: %s, %s%s\n", units_time(board->reloaded, when),
                result[0] ? "refused: " : "done", result);
}

static bool print_workers(FILE *out, const struct snapshot *snapshot)
{
    struct table table = {{"POOL", "HANDLER", "STATE", ">READY", ">SIZE", ">BUSY", ">IDLE",
                           ">STARTING", ">RETIRING"}};
    for (int i = 0; i < snapshot->count; i++) {
        const struct snapshot_pool *pool = &snapshot->pools[i];
        if (!pool->used)
            continue;
        table_add(&table, "%s", pool->name);
        table_add(&table, "%s", pool->handler);
        table_add(&table, "%s", pool_state_words[pool->state]);
        table_add(&table, "%d/%d", snapshot_ready(pool), pool->target);
        if (snapshot_is_dynamic(pool))
            table_add(&table, "%d-%d", pool->min_workers, pool->max_workers);
        else
            table_add(&table, "%d", pool->max_workers);
        table_add(&table, "%d", pool->busy);
        table_add(&table, "%d", pool->idle);
        table_add(&table, "%d", pool->starting);
        table_add(&table, "%d", pool->retiring);
    }
    return table_print(&table, out);
}

static bool print_counts(FILE *out, const struct snapshot *snapshot)
{
    struct table table = {
        {"POOL", ">ACCEPTED", ">SERVED", ">ERRORS", ">REFUSED", ">RETIRED", ">DIED"}};
    for (int i = 0; i < snapshot->count; i++) {
        const struct snapshot_pool *pool = &snapshot->pools[i];
        if (!pool->used)
            continue;
        table_add(&table, "%s", pool->name);
        table_add(&table, "%llu", (unsigned long long)pool->accepted);
        table_add(&table, "%llu", (unsigned long long)pool->served);
        table_add(&table, "%llu", (unsigned long long)pool->errors);
        table_add(&table, "%llu", (unsigned long long)snapshot_refused(pool));
        table_add(&table, "%llu", (unsigned long long)pool->retirements);
        table_add(&table, "%llu", (unsigned long long)pool->deaths);
    }
    if (table.count)
        fputc('\n', out);
    return table_print(&table, out);
}

/* A line for each pool that doesn't simply serve. */
static void print_troubles(FILE *out, const struct snapshot *snapshot, usec now)
{
    bool first = true;
    for (int i = 0; i < snapshot->count; i++) {
        const struct snapshot_pool *pool = &snapshot->pools[i];
        char span[UNITS_TEXT];
        if (!pool->used || pool->state == POOL_SERVING)
            continue;
        fprintf(out, "%spool %s: %s for %s%s%s\n", first ? "\n" : "", pool->name,
                pool_state_words[pool->state],
                units_span(snapshot_span(pool->state_since, now), span),
                pool->trouble[0] ? ": " : "", pool->trouble);
        first = false;
    }
}

/* A line for each program that says how it is. */
static void print_statuses(FILE *out, const struct scoreboard *board,
                           const struct snapshot *snapshot)
{
    struct snapshot_worker worker;
    char status[TEXT_CLEAN(SCOREBOARD_REASON)];
    bool first = true;
    for (int i = 0; i < snapshot_slots(board); i++) {
        if (!snapshot_worker(board, i, &worker) || worker.pool >= (uint32_t)snapshot->count ||
            !snapshot_status(board, &worker, status))
            continue;
        fprintf(out, "%spool %s: worker %d: %s\n", first ? "\n" : "",
                snapshot->pools[worker.pool].name, (int)worker.pid, status);
        first = false;
    }
}

/* How many wait, and how many could. */
static void add_queue(struct table *table, const struct scoreboard_listener *listener,
                      const struct figures *figures)
{
    const struct queue *queue = figures ? queues_find(&figures->queues, listener->inode) : NULL;
    if (queue)
        table_add(table, "%d/%d", queue->depth, queue->room);
    else
        table_add(table, "?/%d", listener->backlog);
}

static bool print_listeners(FILE *out, const struct scoreboard *board,
                            const struct figures *figures, const struct snapshot *snapshot)
{
    struct table table = {{"LISTENER", "POOL", ">QUEUE"}};
    char text[TEXT_CLEAN(SCOREBOARD_ADDRESS)];
    for (int i = 0; i < snapshot_listeners(board); i++) {
        uint32_t pool = board->listeners[i].pool;
        if (!snapshot_listener(board, i, text) || pool >= (uint32_t)snapshot->count)
            continue;
        table_add(&table, "%s", text);
        table_add(&table, "%s", snapshot->pools[pool].name);
        add_queue(&table, &board->listeners[i], figures);
    }
    if (table.count)
        fputc('\n', out);
    return table_print(&table, out);
}

char *status_text(const struct scoreboard *board, const struct figures *figures, usec now)
{
    struct text text;
    struct snapshot *snapshot = snapshot_take(board, figures);
    if (!snapshot || !text_open(&text)) {
        free(snapshot);
        return NULL;
    }
    print_daemon(text.out, board, now);
    fputc('\n', text.out);
    bool whole = print_workers(text.out, snapshot);
    whole = print_counts(text.out, snapshot) && whole;
    print_troubles(text.out, snapshot, now);
    print_statuses(text.out, board, snapshot);
    whole = print_listeners(text.out, board, figures, snapshot) && whole;
    free(snapshot);
    return text_close(&text, whole);
}
