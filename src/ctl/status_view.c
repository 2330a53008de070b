#include "views.h"

#include "../base/units.h"
#include "fields.h"
#include "table.h"

#include <string.h>

struct page {
    FILE *out;
    const json_t *pools;
    bool coloured;
};

static void print_daemon(FILE *out, const json_t *status)
{
    const json_t *reloads = json_object_get(status, "reloads");
    struct field text, time;
    char span[UNITS_TEXT];
    fprintf(out, "preforkd %s, pid %lld, up %s, generation %lld\n",
            field_text(status, "preforkd", &text), field_number(status, "pid"),
            units_span(field_span(status, "uptime"), span), field_number(status, "generation"));
    field_text(reloads, "refusal", &text);
    if (field_has(reloads, "last"))
        fprintf(out, "last reload: %s, %s%s\n", field_text(reloads, "last", &time),
                text.text[0] ? "refused: " : "done", text.text);
}

static bool is_word(const json_t *object, const char *key, const char *word)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text && strcmp(text, word) == 0;
}

static enum colour state_paint(const json_t *pool)
{
    static const char *const bad[] = {"degraded", "unreachable", "full"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (is_word(pool, "state", bad[i]))
            return COLOUR_BAD;
    return is_word(pool, "state", "serving") ? COLOUR_GOOD : COLOUR_ODD;
}

static void add_text(struct table *table, const json_t *object, const char *key)
{
    struct field text;
    table_add(table, "%s", field_text(object, key, &text));
}

/* A count, in a colour unless it is 0. */
static void add_number(struct table *table, long long number, enum colour paint)
{
    table_paint(table, number ? paint : COLOUR_NONE, "%lld", number);
}

static void add_workers(struct table *table, const json_t *pool)
{
    struct field state;
    long long busy = field_number(pool, "busy");
    long long least = field_number(pool, "min_workers"), most = field_number(pool, "max_workers");
    add_text(table, pool, "name");
    add_text(table, pool, "handler");
    table_paint(table, state_paint(pool), "%s", field_text(pool, "state", &state));
    table_bar(table, busy, most, is_word(pool, "state", "full") ? COLOUR_BAD : COLOUR_GOOD);
    add_number(table, busy, COLOUR_NONE);
    add_number(table, field_number(pool, "idle"), COLOUR_NONE);
    table_add(table, "%lld/%lld", field_number(pool, "ready"), field_number(pool, "target"));
    if (least != most)
        table_add(table, "%lld-%lld", least, most);
    else
        table_add(table, "%lld", most);
    add_number(table, field_number(pool, "starting"), COLOUR_NONE);
    add_number(table, field_number(pool, "retiring"), COLOUR_NONE);
}

static void add_counts(struct table *table, const json_t *pool)
{
    unsigned long long refused = 0;
    const char *reason;
    json_t *count;
    json_object_foreach(json_object_get(pool, "refused"), reason, count) refused +=
        (unsigned long long)json_integer_value(count);
    add_text(table, pool, "name");
    add_number(table, field_number(pool, "accepted"), COLOUR_NONE);
    add_number(table, field_number(pool, "served"), COLOUR_NONE);
    add_number(table, field_number(pool, "errors"), COLOUR_NONE);
    add_number(table, (long long)refused, COLOUR_ODD);
    add_number(table, field_number(pool, "retirements"), COLOUR_NONE);
    add_number(table, field_number(pool, "deaths"), COLOUR_BAD);
}

static void add_span(struct table *table, usec span)
{
    char text[UNITS_TEXT];
    table_add(table, "%s", span >= 0 ? units_span(span, text) : "-");
}

static void add_times(struct table *table, const json_t *pool)
{
    const json_t *service = json_object_get(pool, "service_time");
    const json_t *exited = json_object_get(pool, "cpu_ended");
    char text[UNITS_TEXT];
    add_text(table, pool, "name");
    add_span(table, field_span(service, "p50"));
    add_span(table, field_span(service, "p99"));
    add_span(table, field_span(json_object_get(pool, "queue_wait"), "p99"));
    table_add(table, "%s", units_size(field_number(pool, "bytes_in"), text));
    table_add(table, "%s", units_size(field_number(pool, "bytes_out"), text));
    add_span(table, field_span(exited, "user") + field_span(exited, "system"));
}

/* How many wait, and how many could. */
static void add_listeners(struct table *table, const json_t *pool)
{
    size_t i;
    json_t *listener;
    json_array_foreach(json_object_get(pool, "listeners"), i, listener)
    {
        long long queue = field_number(listener, "queue"), room = field_number(listener, "room");
        add_text(table, listener, "address");
        add_text(table, pool, "name");
        table_bar(table, queue, room, queue ? COLOUR_ODD : COLOUR_NONE);
        if (field_has(listener, "queue"))
            table_add(table, "%lld/%lld", queue, room);
        else
            table_add(table, "?/%lld", field_number(listener, "backlog"));
    }
}

/* A table with what `add` makes of each pool, and a line between it and what stands above. */
static bool print_table(const struct page *page, struct table table,
                        void (*add)(struct table *table, const json_t *pool))
{
    size_t i;
    json_t *pool;
    table.coloured = page->coloured;
    json_array_foreach(page->pools, i, pool) add(&table, pool);
    if (table.count)
        fputc('\n', page->out);
    return table_print(&table, page->out);
}

/* The lines between the tables: the first one of a kind has an empty line above. */
static void begin_line(const struct page *page, bool *first)
{
    if (*first)
        fputc('\n', page->out);
    *first = false;
}

/* A line for each pool that doesn't simply serve. */
static void print_troubles(const struct page *page)
{
    size_t i;
    json_t *pool;
    bool first = true;
    json_array_foreach(page->pools, i, pool)
    {
        enum colour paint = page->coloured ? state_paint(pool) : COLOUR_NONE;
        struct field name, state, trouble;
        char span[UNITS_TEXT];
        if (is_word(pool, "state", "serving"))
            continue;
        begin_line(page, &first);
        field_text(pool, "trouble", &trouble);
        fprintf(page->out, "%spool %s: %s for %s", colour_begin(paint),
                field_text(pool, "name", &name), field_text(pool, "state", &state),
                units_span(field_span(pool, "seconds"), span));
        fprintf(page->out, "%s%s%s\n", trouble.text[0] ? ": " : "", trouble.text,
                colour_end(paint));
    }
}

/* What the process of a slow request is doing. */
static void print_process(FILE *out, const json_t *worker, const json_t *slow)
{
    struct field text;
    size_t i;
    json_t *child;
    usec cpu = field_span(slow, "cpu");
    long long pid = field_number(field_has(slow, "program") ? slow : worker,
                                 field_has(slow, "program") ? "program" : "pid");
    fprintf(out, "  %s %lld is ", field_text(slow, "command", &text), pid);
    fputs(field_text(slow, "state", &text)[0] ? text.text : "gone", out);
    if (field_text(slow, "wchan", &text)[0])
        fprintf(out, " in %s", text.text);
    if (field_text(slow, "syscall", &text)[0])
        fprintf(out, " (%s)", text.text);
    if (cpu >= 0)
        fprintf(out, ", %.2f s of CPU", clock_seconds(cpu));
    json_array_foreach(json_object_get(slow, "children"), i, child)
        fprintf(out, "%s%s", i ? ", " : ", children: ", field_text(child, "command", &text));
    field_text(slow, "hidden", &text);
    fprintf(out, "%s%s\n", text.text[0] ? "; " : "", text.text);
}

/* Two lines for a request that is slow. */
static void print_slow(const struct page *page, const json_t *pool, const json_t *worker)
{
    const json_t *slow = json_object_get(worker, "slow");
    enum colour paint = page->coloured ? COLOUR_ODD : COLOUR_NONE;
    struct field name, peer;
    char span[UNITS_TEXT];
    field_text(worker, "peer", &peer);
    fprintf(page->out, "%spool %s: worker %lld is slow, for %s, serving %s%s\n",
            colour_begin(paint), field_text(pool, "name", &name), field_number(worker, "pid"),
            units_span(field_span(slow, "seconds"), span), peer.text[0] ? peer.text : "?",
            colour_end(paint));
    print_process(page->out, worker, slow);
}

/* What a program says of itself. */
static void print_said(const struct page *page, const json_t *pool, const json_t *worker)
{
    struct field name, status;
    fprintf(page->out, "pool %s: worker %lld: %s\n", field_text(pool, "name", &name),
            field_number(worker, "pid"), field_text(worker, "status", &status));
}

/* Prints the workers that have this key. */
static void print_workers(const struct page *page, const char *key,
                          void (*print)(const struct page *page, const json_t *pool,
                                        const json_t *worker))
{
    size_t i, j;
    json_t *pool, *worker;
    bool first = true;
    json_array_foreach(page->pools, i, pool)
        json_array_foreach(json_object_get(pool, "workers"), j, worker) if (field_has(worker, key))
    {
        begin_line(page, &first);
        print(page, pool, worker);
    }
}

bool status_view(FILE *out, const json_t *status, bool coloured)
{
    static const struct table workers = {.heads = {"POOL", "HANDLER", "STATE", "SEATS", ">BUSY",
                                                   ">IDLE", ">READY", ">SIZE", ">START",
                                                   ">RETIRE"}};
    static const struct table counts = {
        .heads = {"POOL", ">ACCEPTED", ">SERVED", ">ERRORS", ">REFUSED", ">RETIRED", ">DIED"}};
    static const struct table times = {
        .heads = {"POOL", ">P50", ">P99", ">WAIT P99", ">IN", ">OUT", ">EXITED CPU"}};
    static const struct table listeners = {.heads = {"LISTENER", "POOL", "QUEUE", ">WAITING"}};
    const struct page page = {out, json_object_get(status, "pools"), coloured};
    print_daemon(out, status);
    bool whole = print_table(&page, workers, add_workers);
    whole = print_table(&page, counts, add_counts) && whole;
    whole = print_table(&page, times, add_times) && whole;
    print_troubles(&page);
    print_workers(&page, "slow", print_slow);
    print_workers(&page, "status", print_said);
    return print_table(&page, listeners, add_listeners) && whole;
}
