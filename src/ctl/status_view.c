#include "status_view.h"

#include "../base/json.h"
#include "../base/text.h"
#include "../base/units.h"
#include "arrange.h"
#include "table.h"

#include <stdlib.h>
#include <string.h>

struct page {
    FILE *out;
    const json_t *pools; /* those to show */
    const struct view_options *options;
    bool whole; /* memory was never short */
};

enum { INDENT = 4, LEAST = 2 * INDENT }; /* a terminal with fewer columns gets no wrapping */

/* How many bytes of the text fit in one line. Each character takes one column. */
static size_t line_of(const char *text, int columns)
{
    size_t i = 0, space = 0;
    for (int used = 0; text[i]; used++) {
        if (used == columns)
            return space ? space : i;
        if (text[i] == ' ' && i && text[i - 1] != ' ')
            space = i;
        i++;
        while (((unsigned char)text[i] & 0xc0) == 0x80)
            i++;
        if (used + 1 == columns && text[i] == ' ')
            return i;
    }
    return i;
}

/* Breaks a sentence at spaces, or within a word that is longer than a line. Indents all lines but
 * the first. With 0 columns, prints one line. */
static void print_wrapped(FILE *out, const char *text, int columns, enum colour colour)
{
    int indent = 0;
    do {
        size_t length = columns >= LEAST ? line_of(text, columns - indent) : strlen(text);
        fprintf(out, "%*s%s%.*s%s\n", indent, "", colour_begin(colour), (int)length, text,
                colour_end(colour));
        text += length;
        text += strspn(text, " ");
        indent = INDENT;
    } while (*text);
}

/* Closes the text, and prints it as a sentence. */
static void end_sentence(struct page *page, struct text *text, enum colour colour)
{
    char *line = text_close(text, true);
    if (line)
        print_wrapped(page->out, line, page->options->columns,
                      page->options->coloured ? colour : COLOUR_NONE);
    page->whole = page->whole && line;
    free(line);
}

static bool begin_sentence(struct page *page, struct text *text)
{
    page->whole = text_open(text) && page->whole;
    return page->whole;
}

static void print_daemon(struct page *page, const json_t *status)
{
    const json_t *reloads = json_object_get(status, "reloads");
    struct field text, time;
    struct text line;
    char span[UNITS_TEXT];
    fprintf(page->out, "preforkd %s, pid %lld, up %s, generation %lld\n",
            field_text(status, "preforkd", &text), field_number(status, "pid"),
            units_span(field_span(status, "uptime"), span), field_number(status, "generation"));
    field_text(reloads, "refusal", &text);
    if (!field_has(reloads, "last") || !begin_sentence(page, &line))
        return;
    fprintf(line.out, "last reload: %s, %s%s", field_text(reloads, "last", &time),
            text.text[0] ? "failed: " : "done", text.text);
    end_sentence(page, &line, text.text[0] ? COLOUR_ODD : COLOUR_NONE);
}

static bool is_word(const json_t *object, const char *key, const char *word)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text && strcmp(text, word) == 0;
}

static long long count_state(const json_t *pools, const char *state)
{
    long long count = 0;
    size_t i;
    json_t *pool;
    json_array_foreach(pools, i, pool) count += is_word(pool, "state", state);
    return count;
}

/* Prints the number of pools in each state, worst first, and how many are not shown, with the key
 * that shows them. */
static void print_summary(struct page *page, const json_t *all, const struct arranged *arranged)
{
    static const char *const states[] = {"unreachable", "degraded", "full", "drained", "serving"};
    long long left = (long long)json_array_size(all);
    const char *between = ": ";
    struct text line;
    if (!begin_sentence(page, &line))
        return;
    fprintf(line.out, "%lld pool%s", left, left == 1 ? "" : "s");
    for (size_t i = 0; i <= sizeof states / sizeof *states; i++) {
        bool others = i == sizeof states / sizeof *states;
        long long count = others ? left : count_state(all, states[i]);
        left -= count;
        if (!count)
            continue;
        fprintf(line.out, "%s%lld %s", between, count, others ? "in other states" : states[i]);
        between = ", ";
    }
    if (arranged->idle || arranged->unmatched)
        fputs("; not shown: ", line.out);
    if (arranged->idle)
        fprintf(line.out, "%lld idle (key i)%s", arranged->idle, arranged->unmatched ? ", " : "");
    if (arranged->unmatched)
        fprintf(line.out, "%lld without \"%s\"", arranged->unmatched, page->options->pattern);
    end_sentence(page, &line, COLOUR_NONE);
}

static enum colour state_colour(const json_t *pool)
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

/* Adds a count, coloured unless it is 0. */
static void add_number(struct table *table, long long number, enum colour colour)
{
    table_paint(table, number ? colour : COLOUR_NONE, "%lld", number);
}

static void add_workers(struct table *table, const json_t *pool)
{
    struct field state;
    long long busy = field_number(pool, "busy_seats"), seats = field_number(pool, "seats");
    long long least = field_number(pool, "min_workers"), most = field_number(pool, "max_workers");
    add_text(table, pool, "name");
    add_text(table, pool, "handler");
    table_paint(table, state_colour(pool), "%s", field_text(pool, "state", &state));
    table_bar(table, busy, field_number(pool, "max_seats"),
              is_word(pool, "state", "full") ? COLOUR_BAD : COLOUR_GOOD);
    add_number(table, busy, COLOUR_NONE);
    add_number(table, seats - busy, COLOUR_NONE);
    table_add(table, "%lld/%lld", field_number(pool, "ready"), field_number(pool, "target"));
    if (least != most)
        table_add(table, "%lld-%lld", least, most);
    else
        table_add(table, "%lld", most);
}

/* Adds what the workers count of their connections; "-" for app, whose programs accept by
 * themselves. */
static void add_count(struct table *table, const json_t *pool, long long number, enum colour colour)
{
    if (is_word(pool, "handler", "app"))
        table_add(table, "-");
    else
        add_number(table, number, colour);
}

static void add_counts(struct table *table, const json_t *pool)
{
    unsigned long long refused = 0;
    const char *reason;
    json_t *count;
    json_object_foreach(json_object_get(pool, "refused"), reason, count) refused +=
        (unsigned long long)json_integer_value(count);
    add_text(table, pool, "name");
    add_number(table, field_number(pool, "starting"), COLOUR_NONE);
    add_number(table, field_number(pool, "retiring"), COLOUR_NONE);
    add_count(table, pool, field_number(pool, "accepted"), COLOUR_NONE);
    add_count(table, pool, field_number(pool, "served"), COLOUR_NONE);
    add_count(table, pool, field_number(pool, "errors"), COLOUR_NONE);
    add_count(table, pool, (long long)refused, COLOUR_ODD);
    add_number(table, field_number(pool, "retirements"), COLOUR_NONE);
    add_number(table, field_number(pool, "deaths"), COLOUR_BAD);
}

static void add_span(struct table *table, usec span)
{
    char text[UNITS_TEXT];
    table_add(table, "%s", span >= 0 ? units_span(span, text) : "-");
}

/* Adds a number of bytes; "-" if a program has the connections. */
static void add_bytes(struct table *table, const json_t *pool, const char *key)
{
    char text[UNITS_TEXT];
    bool unknown = is_word(pool, "handler", "app") || is_word(pool, "handler", "exec");
    table_add(table, "%s", unknown ? "-" : units_size(field_number(pool, key), text));
}

static void add_times(struct table *table, const json_t *pool)
{
    const json_t *service = json_object_get(pool, "service_time");
    const json_t *exited = json_object_get(pool, "cpu_ended");
    add_text(table, pool, "name");
    add_span(table, field_span(service, "p50"));
    add_span(table, field_span(service, "p99"));
    add_span(table, field_span(json_object_get(pool, "queue_wait"), "p99"));
    add_bytes(table, pool, "bytes_in");
    add_bytes(table, pool, "bytes_out");
    add_span(table, field_span(exited, "user") + field_span(exited, "system"));
}

/* Adds a row only for a pool with templates. Without their memory, because the master reads no
 * processes. */
static void add_templates(struct table *table, const json_t *pool)
{
    const json_t *templates = json_object_get(pool, "templates");
    if (!templates)
        return;
    add_text(table, pool, "name");
    add_number(table, field_number(templates, "forks"), COLOUR_NONE);
    add_number(table, field_number(templates, "cold_starts"), COLOUR_ODD);
    add_number(table, field_number(templates, "restarts"), COLOUR_BAD);
}

/* Adds a row for each listener: how many connections wait, and how many could. */
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

/* Prints a table of the rows that `add` makes for each pool, after an empty line. */
static void print_table(struct page *page, struct table table,
                        void (*add)(struct table *table, const json_t *pool))
{
    size_t i;
    json_t *pool;
    table.coloured = page->options->coloured;
    json_array_foreach(page->pools, i, pool) add(&table, pool);
    if (table.count)
        fputc('\n', page->out);
    page->whole = table_print(&table, page->out) && page->whole;
}

/* Prints an empty line above the first sentence of a kind. */
static void begin_line(const struct page *page, bool *first)
{
    if (*first)
        fputc('\n', page->out);
    *first = false;
}

/* Prints a sentence for each pool that is not in state serving. */
static void print_troubles(struct page *page)
{
    size_t i;
    json_t *pool;
    bool first = true;
    json_array_foreach(page->pools, i, pool)
    {
        struct field name, state, trouble;
        struct text line;
        char span[UNITS_TEXT];
        if (is_word(pool, "state", "serving") || !begin_sentence(page, &line))
            continue;
        begin_line(page, &first);
        field_text(pool, "trouble", &trouble);
        fprintf(line.out, "pool %s: %s for %s", field_text(pool, "name", &name),
                field_text(pool, "state", &state), units_span(field_span(pool, "seconds"), span));
        fprintf(line.out, "%s%s", trouble.text[0] ? ": " : "", trouble.text);
        end_sentence(page, &line, state_colour(pool));
    }
}

/* Prints what the process of a slow request is doing. */
static void print_process(struct page *page, const json_t *worker, const json_t *slow)
{
    struct field text;
    struct text line;
    size_t i;
    json_t *child;
    usec cpu = field_span(slow, "cpu");
    long long pid = field_number(field_has(slow, "program") ? slow : worker,
                                 field_has(slow, "program") ? "program" : "pid");
    if (!begin_sentence(page, &line))
        return;
    fprintf(line.out, "  %s %lld is ", field_text(slow, "command", &text), pid);
    fputs(field_text(slow, "state", &text)[0] ? text.text : "gone", line.out);
    if (field_text(slow, "wchan", &text)[0])
        fprintf(line.out, " in %s", text.text);
    if (field_text(slow, "syscall", &text)[0])
        fprintf(line.out, " (%s)", text.text);
    if (cpu >= 0)
        fprintf(line.out, ", %.2f s of CPU", clock_seconds(cpu));
    json_array_foreach(json_object_get(slow, "children"), i, child)
        fprintf(line.out, "%s%s", i ? ", " : ", children: ", field_text(child, "command", &text));
    field_text(slow, "hidden", &text);
    fprintf(line.out, "%s%s", text.text[0] ? "; " : "", text.text);
    end_sentence(page, &line, COLOUR_NONE);
}

/* Prints two sentences about a slow request. */
static void print_slow(struct page *page, const json_t *pool, const json_t *worker)
{
    const json_t *slow = json_object_get(worker, "slow");
    struct field name, peer;
    struct text line;
    char span[UNITS_TEXT];
    if (!begin_sentence(page, &line))
        return;
    field_text(worker, "peer", &peer);
    fprintf(line.out, "pool %s: worker %lld is slow, for %s, serving %s",
            field_text(pool, "name", &name), field_number(worker, "pid"),
            units_span(field_span(slow, "seconds"), span), peer.text[0] ? peer.text : "?");
    end_sentence(page, &line, COLOUR_ODD);
    print_process(page, worker, slow);
}

/* Prints the status that a program reported. */
static void print_program_status(struct page *page, const json_t *pool, const json_t *worker)
{
    struct field name, status;
    struct text line;
    if (!begin_sentence(page, &line))
        return;
    fprintf(line.out, "pool %s: worker %lld: %s", field_text(pool, "name", &name),
            field_number(worker, "pid"), field_text(worker, "status", &status));
    end_sentence(page, &line, COLOUR_NONE);
}

/* Calls `print` for each worker that has this key. */
static void print_workers(struct page *page, const char *key,
                          void (*print)(struct page *page, const json_t *pool,
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

static void print_problems(struct page *page)
{
    print_troubles(page);
    print_workers(page, "slow", print_slow);
}

/* Each table fits into 80 columns if the names of pools are not long. */
bool status_view(FILE *out, const json_t *status, const struct view_options *options)
{
    static const struct table workers = {
        .heads = {"POOL", "HANDLER", "STATE", "SEATS", ">BUSY", ">IDLE", ">READY", ">SIZE"}};
    static const struct table counts = {.heads = {"POOL", ">START", ">RETIRE", ">ACCEPTED",
                                                  ">SERVED", ">ERRORS", ">REFUSED", ">RETIRED",
                                                  ">DIED"}};
    static const struct table times = {
        .heads = {"POOL", ">P50", ">P99", ">WAIT P99", ">IN", ">OUT", ">EXITED CPU"}};
    static const struct table templates = {
        .heads = {"POOL", ">FORKS", ">COLD STARTS", ">RESTARTS"}};
    static const struct table listeners = {.heads = {"LISTENER", "POOL", "QUEUE", ">WAITING"}};
    const json_t *all = json_object_get(status, "pools");
    struct arranged arranged = arrange(all, options);
    struct page page = {out, arranged.pools, options, arranged.pools};
    print_daemon(&page, status);
    if (options->live) {
        print_summary(&page, all, &arranged);
        print_problems(&page);
    }
    print_table(&page, workers, add_workers);
    print_table(&page, counts, add_counts);
    print_table(&page, times, add_times);
    print_table(&page, templates, add_templates);
    if (!options->live)
        print_problems(&page);
    print_workers(&page, "status", print_program_status);
    print_table(&page, listeners, add_listeners);
    json_decref(arranged.pools);
    return page.whole;
}
