#include "status.h"

#include "../base/table.h"
#include "../base/units.h"
#include "slow_text.h"
#include "snapshot.h"

#include <stdlib.h>

static void print_daemon(FILE *out, const struct overview *overview, usec now)
{
    char release[TEXT_CLEAN(sizeof overview->release)], result[TEXT_CLEAN(SCOREBOARD_REASON)];
    char span[UNITS_TEXT], when[UNITS_TEXT];
    text_clean(release, sizeof release, overview->release, sizeof overview->release);
    text_clean(result, sizeof result, overview->refusal, sizeof overview->refusal);
    fprintf(out, "preforkd %s, pid %d, up %s, generation %u\n", release, (int)overview->master,
            units_span(snapshot_span(overview->started, now), span), overview->generation);
    if (overview->reloaded)
        fprintf(out, "last reload: %s, %s%s\n", units_time(overview->reloaded, when),
                result[0] ? "refused: " : "done", result);
}

/* What all tables are made of. */
struct report {
    FILE *out;
    const struct view *view;
    const struct overview *overview;
    const struct procstat *figures;
    const struct snapshot *snapshot;
    bool coloured;
    usec now;
};

/* A line's colour, and nothing where there are none. */
static enum colour colour_of(const struct report *report, enum colour paint)
{
    return report->coloured ? paint : COLOUR_NONE;
}

static enum colour state_paint(enum pool_state state)
{
    switch (state) {
    case POOL_SERVING: return COLOUR_GOOD;
    case POOL_DEGRADED:
    case POOL_UNREACHABLE:
    case POOL_FULL: return COLOUR_BAD;
    default: return COLOUR_ODD;
    }
}

/* Prints what was added, and a line between it and what stands above. */
static bool print_table(const struct report *report, struct table *table)
{
    if (table->count)
        fputc('\n', report->out);
    return table_print(table, report->out);
}

static void add_pool(struct table *table, const struct snapshot_pool *pool)
{
    table_add(table, "%s", pool->name);
    table_add(table, "%s", pool->handler);
    table_paint(table, state_paint(pool->state), "%s", pool_state_words[pool->state]);
    table_bar(table, pool->busy, pool->max_workers,
              pool->state == POOL_FULL ? COLOUR_BAD : COLOUR_GOOD);
    table_add(table, "%d", pool->busy);
    table_add(table, "%d", pool->idle);
    table_add(table, "%d/%d", snapshot_ready(pool), pool->target);
    if (snapshot_is_dynamic(pool))
        table_add(table, "%d-%d", pool->min_workers, pool->max_workers);
    else
        table_add(table, "%d", pool->max_workers);
    table_add(table, "%d", pool->starting);
    table_add(table, "%d", pool->retiring);
}

/* A table with a row a pool. */
static bool print_pools(const struct report *report, struct table *table,
                        void (*add)(struct table *table, const struct snapshot_pool *pool))
{
    for (int i = 0; i < report->snapshot->count; i++)
        if (report->snapshot->pools[i].used)
            add(table, &report->snapshot->pools[i]);
    return print_table(report, table);
}

static bool print_workers(const struct report *report)
{
    struct table table = {.heads = {"POOL", "HANDLER", "STATE", "SEATS", ">BUSY", ">IDLE", ">READY",
                                    ">SIZE", ">START", ">RETIRE"},
                          .coloured = report->coloured};
    return print_pools(report, &table, add_pool);
}

static void add_counts(struct table *table, const struct snapshot_pool *pool)
{
    table_add(table, "%s", pool->name);
    table_add(table, "%llu", (unsigned long long)pool->accepted);
    table_add(table, "%llu", (unsigned long long)pool->served);
    table_add(table, "%llu", (unsigned long long)pool->errors);
    table_paint(table, snapshot_refused(pool) ? COLOUR_ODD : COLOUR_NONE, "%llu",
                (unsigned long long)snapshot_refused(pool));
    table_add(table, "%llu", (unsigned long long)pool->retirements);
    table_paint(table, pool->deaths ? COLOUR_BAD : COLOUR_NONE, "%llu",
                (unsigned long long)pool->deaths);
}

static bool print_counts(const struct report *report)
{
    struct table table = {
        .heads = {"POOL", ">ACCEPTED", ">SERVED", ">ERRORS", ">REFUSED", ">RETIRED", ">DIED"},
        .coloured = report->coloured};
    return print_pools(report, &table, add_counts);
}

/* What so many of a thousand took at most; "-" where nothing was counted. */
static void add_quantile(struct table *table, const struct histogram *histogram,
                         unsigned thousandths)
{
    char span[UNITS_TEXT];
    bool any = histogram_total(histogram) > 0;
    table_add(table, "%s",
              any ? units_span(histogram_quantile(histogram, thousandths), span) : "-");
}

static void add_times(struct table *table, const struct snapshot_pool *pool)
{
    char text[UNITS_TEXT];
    table_add(table, "%s", pool->name);
    add_quantile(table, &pool->service, 500);
    add_quantile(table, &pool->service, 990);
    add_quantile(table, &pool->wait, 990);
    table_add(table, "%s", units_size((int64_t)pool->bytes_in, text));
    table_add(table, "%s", units_size((int64_t)pool->bytes_out, text));
    table_add(table, "%s", units_span(pool->dead_user + pool->dead_system, text));
}

static bool print_times(const struct report *report)
{
    struct table table = {
        .heads = {"POOL", ">P50", ">P99", ">WAIT P99", ">IN", ">OUT", ">DEAD'S CPU"},
        .coloured = report->coloured};
    return print_pools(report, &table, add_times);
}

/* A line for each pool that doesn't simply serve. */
static void print_troubles(const struct report *report)
{
    bool first = true;
    for (int i = 0; i < report->snapshot->count; i++) {
        const struct snapshot_pool *pool = &report->snapshot->pools[i];
        enum colour paint = colour_of(report, state_paint(pool->state));
        char span[UNITS_TEXT];
        if (!pool->used || pool->state == POOL_SERVING)
            continue;
        fprintf(report->out, "%s%spool %s: %s for %s%s%s%s\n", first ? "\n" : "",
                colour_begin(paint), pool->name, pool_state_words[pool->state],
                units_span(snapshot_span(pool->state_since, report->now), span),
                pool->trouble[0] ? ": " : "", pool->trouble, colour_end(paint));
        first = false;
    }
}

static void print_slow_one(const struct report *report, const struct snapshot_worker *worker,
                           const struct slow *slow)
{
    char span[UNITS_TEXT], peer[ADDR_TEXT], why[TEXT_CLEAN(sizeof slow->hidden)];
    enum colour paint = colour_of(report, COLOUR_ODD);
    snapshot_peer(&worker->peer, peer);
    text_clean(why, sizeof why, slow->hidden, sizeof slow->hidden);
    fprintf(report->out, "%spool %s: worker %d is slow, for %s, serving %s%s\n  ",
            colour_begin(paint), report->snapshot->pools[worker->pool].name, (int)worker->pid,
            units_span(snapshot_span(slow->since, report->now), span), peer[0] ? peer : "?",
            colour_end(paint));
    slow_text(report->out, slow);
    fprintf(report->out, "%s%s\n", why[0] ? "; " : "", why);
}

/* Two lines for each request that is slow. */
static void print_slow(const struct report *report)
{
    bool first = true;
    for (int i = 0; i < snapshot_workers(report->overview); i++) {
        struct snapshot_worker worker;
        struct slow slow;
        if (!snapshot_worker(report->view, i, &worker) ||
            worker.pool >= (uint32_t)report->snapshot->count ||
            !snapshot_slow(report->overview, &worker, &slow))
            continue;
        if (first)
            fputc('\n', report->out);
        print_slow_one(report, &worker, &slow);
        first = false;
    }
}

/* A line for each program that says how it is. */
static void print_statuses(const struct report *report)
{
    const struct snapshot *snapshot = report->snapshot;
    struct snapshot_worker worker;
    char status[TEXT_CLEAN(SCOREBOARD_REASON)];
    bool first = true;
    for (int i = 0; i < snapshot_workers(report->overview); i++) {
        if (!snapshot_worker(report->view, i, &worker) ||
            worker.pool >= (uint32_t)snapshot->count || !snapshot_status(&worker, status))
            continue;
        fprintf(report->out, "%spool %s: worker %d: %s\n", first ? "\n" : "",
                snapshot->pools[worker.pool].name, (int)worker.pid, status);
        first = false;
    }
}

/* How many wait, and how many could. */
static void add_queue(const struct report *report, struct table *table,
                      const struct overview_listener *listener)
{
    const struct accept_queue *queue =
        report->figures ? accept_queues_find(&report->figures->queues, listener->inode) : NULL;
    table_bar(table, queue ? queue->depth : 0, queue ? queue->room : 0,
              queue && queue->depth ? COLOUR_ODD : COLOUR_NONE);
    if (queue)
        table_add(table, "%d/%d", queue->depth, queue->room);
    else
        table_add(table, "?/%d", listener->backlog);
}

static bool print_listeners(const struct report *report)
{
    struct table table = {.heads = {"LISTENER", "POOL", "QUEUE", ">WAITING"},
                          .coloured = report->coloured};
    char text[TEXT_CLEAN(SCOREBOARD_ADDRESS)];
    for (int i = 0; i < snapshot_listeners(report->overview); i++) {
        uint32_t pool = report->overview->listeners[i].pool;
        if (!snapshot_listener(report->overview, i, text) ||
            pool >= (uint32_t)report->snapshot->count)
            continue;
        table_add(&table, "%s", text);
        table_add(&table, "%s", report->snapshot->pools[pool].name);
        add_queue(report, &table, &report->overview->listeners[i]);
    }
    return print_table(report, &table);
}

char *status_text(const struct view *view, const struct procstat *figures, enum status_form form,
                  usec now)
{
    struct text text;
    struct snapshot *snapshot = snapshot_take(view, figures);
    if (!snapshot || !text_open(&text)) {
        free(snapshot);
        return NULL;
    }
    struct report report = {
        text.out, view, view->overview, figures, snapshot, form == STATUS_COLOURED, now};
    print_daemon(text.out, view->overview, now);
    bool whole = print_workers(&report);
    whole = print_counts(&report) && whole;
    whole = print_times(&report) && whole;
    print_troubles(&report);
    print_slow(&report);
    print_statuses(&report);
    whole = print_listeners(&report) && whole;
    free(snapshot);
    return text_close(&text, whole);
}
