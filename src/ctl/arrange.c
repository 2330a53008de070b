#include "arrange.h"

#include "../base/json.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* A pool with its sort keys. */
struct row {
    json_t *pool;
    size_t place; /* in the file; decides between equals */
    long long key;
    const char *name;
};

/* How many connections wait at a pool's listeners. */
static long long queue_of(const json_t *pool)
{
    long long sum = 0;
    size_t i;
    json_t *listener;
    json_array_foreach(json_object_get(pool, "listeners"), i, listener)
    {
        long long queue = field_number(listener, "queue");
        sum += queue > 0 && queue < 1 << 30 ? queue : 0;
    }
    return sum;
}

static const char *text_of(const json_t *pool, const char *key)
{
    const char *text = json_string_value(json_object_get(pool, key));
    return text ? text : "";
}

static bool is_slow(const json_t *pool)
{
    size_t i;
    json_t *worker;
    json_array_foreach(json_object_get(pool, "workers"), i,
                       worker) if (field_has(worker, "slow")) return true;
    return false;
}

/* Lower is worse. */
static int trouble_rank(const json_t *pool)
{
    static const char *const states[] = {"unreachable", "degraded", "full"};
    enum { STATES = sizeof states / sizeof *states };
    const char *state = text_of(pool, "state");
    for (int i = 0; i < STATES; i++)
        if (strcmp(state, states[i]) == 0)
            return i;
    if (strcmp(state, "serving") != 0)
        return STATES;
    if (is_slow(pool) || queue_of(pool))
        return STATES + 1;
    return STATES + 2 + !field_number(pool, "busy");
}

static bool is_idle(const json_t *pool)
{
    return strcmp(text_of(pool, "state"), "serving") == 0 && !field_number(pool, "busy") &&
           !queue_of(pool) && !is_slow(pool);
}

static bool matches(const json_t *pool, const char *pattern)
{
    static const char *const keys[] = {"name", "handler", "state"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (strcasestr(text_of(pool, keys[i]), pattern))
            return true;
    return false;
}

/* Rows are sorted in ascending order, so a key is negative if its largest value comes first. */
static long long key_of(const json_t *pool, enum order order)
{
    switch (order) {
    case ORDER_TROUBLE: return trouble_rank(pool);
    case ORDER_BUSY: return -field_number(pool, "busy");
    case ORDER_QUEUE: return -queue_of(pool);
    case ORDER_P99: return -field_span(json_object_get(pool, "service_time"), "p99");
    case ORDER_DEATHS: return -field_number(pool, "deaths");
    case ORDER_NAME:
    case ORDERS: break;
    }
    return 0;
}

static int compare(const void *one, const void *other)
{
    const struct row *a = one, *b = other;
    if (a->key != b->key)
        return a->key < b->key ? -1 : 1;
    int names = a->name ? strcasecmp(a->name, b->name) : 0;
    return names ? names : a->place < b->place ? -1 : 1;
}

/* FOLD_MANY folds only if the table of all pools, with the lines above it, doesn't fit the
 * screen. */
static bool is_folding(const struct view_options *options, size_t pools)
{
    enum { LINES_ABOVE = 8 };
    bool fits = options->rows <= 0 || (long long)pools + LINES_ABOVE <= options->rows;
    return options->live && (options->fold == FOLD_ALL || (options->fold == FOLD_MANY && !fits));
}

struct arranged arrange(const json_t *pools, const struct view_options *options)
{
    struct arranged arranged = {0};
    size_t count = 0, total = json_array_size(pools);
    bool folding = is_folding(options, total);
    struct row *rows = calloc(total + 1, sizeof *rows);
    for (size_t i = 0; rows && i < total; i++) {
        json_t *pool = json_array_get(pools, i);
        bool unmatched = options->pattern && !matches(pool, options->pattern);
        bool idle = !unmatched && folding && is_idle(pool);
        arranged.unmatched += unmatched;
        arranged.idle += idle;
        if (!unmatched && !idle)
            rows[count++] = (struct row){
                pool, i, options->live ? key_of(pool, options->order) : 0,
                options->live && options->order == ORDER_NAME ? text_of(pool, "name") : NULL};
    }
    if (rows && options->live)
        qsort(rows, count, sizeof *rows, compare);
    arranged.pools = rows ? json_array() : NULL;
    for (size_t i = 0; arranged.pools && i < count; i++)
        json_array_append(arranged.pools, rows[options->reversed ? count - 1 - i : i].pool);
    free(rows);
    return arranged;
}
