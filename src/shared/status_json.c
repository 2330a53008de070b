#include "status.h"

#include "build-config.h"

#if HAVE_JANSSON

#include "../base/document.h"
#include "deaths_json.h"
#include "snapshot.h"

#include <stdlib.h>

enum { SCHEMA = 1 }; /* what readers rely on; further keys may come without a new number */

/* The lists of all pools, filled in one look through the slots and the listeners. */
struct lists {
    json_t *workers, *listeners;
};

/* Pairs of a bound in seconds and how many took no longer; the last one is of all. */
static json_t *histogram_object(const struct histogram *histogram)
{
    json_t *object = json_object(), *buckets = json_array();
    uint64_t count = 0;
    for (int i = 0; i < HISTOGRAM_CLASSES; i++) {
        bool last = i == HISTOGRAM_CLASSES - 1;
        json_t *pair = json_array();
        count += histogram->classes[i];
        json_array_append_new(pair,
                              last ? json_null() : json_real(clock_seconds(histogram_bounds[i])));
        json_array_append_new(pair, json_integer((long long)count));
        json_array_append_new(buckets, pair);
    }
    document_number(object, "count", (long long)count);
    document_exact(object, "sum", (usec)histogram->sum);
    json_object_set_new(object, "buckets", buckets);
    return object;
}

static json_t *process_object(const struct slow_process *process)
{
    json_t *object = json_object();
    document_number(object, "pid", process->pid);
    document_field(object, "command", process->command, sizeof process->command);
    document_text(object, "state", snapshot_process_state(process->state));
    return object;
}

static void put_slow_process(json_t *object, const struct slow *slow)
{
    document_number_or_null(object, "program", slow->is_program ? slow->process.pid : 0);
    document_field(object, "command", slow->process.command, sizeof slow->process.command);
    document_text(object, "state", snapshot_process_state(slow->process.state));
    document_field(object, "wchan", slow->channel, sizeof slow->channel);
    document_field(object, "syscall", slow->call, sizeof slow->call);
    document_seconds_or_null(object, "cpu", slow->cpu);
    document_seconds_or_null(object, "wait", slow->wait);
    document_field(object, "hidden", slow->hidden, sizeof slow->hidden);
}

/* What a request is at that takes too long; null: it doesn't. */
static json_t *slow_object(const struct overview *overview, const struct snapshot_worker *worker,
                           usec now)
{
    struct slow slow;
    if (!snapshot_slow(overview, worker, &slow))
        return json_null();
    json_t *object = json_object(), *children = json_array();
    document_seconds(object, "seconds", snapshot_span(slow.since, now));
    document_seconds(object, "sampled", snapshot_span(slow.sampled, now));
    put_slow_process(object, &slow);
    for (int i = 0; i < slow.child_count; i++)
        json_array_append_new(children, process_object(&slow.children[i]));
    json_object_set_new(object, "children", children);
    return object;
}

static json_t *worker_object(const struct overview *overview, const struct snapshot_worker *worker,
                             usec now)
{
    char peer[ADDR_TEXT], status[TEXT_CLEAN(SCOREBOARD_REASON)];
    json_t *object = json_object();
    document_number(object, "slot", worker->number);
    document_number_or_null(object, "pid", worker->pid);
    document_text(object, "state", slot_state_words[worker->state]);
    document_flag(object, "retiring", worker->retiring);
    document_seconds(object, "seconds", snapshot_span(worker->since, now));
    document_seconds(object, "age", snapshot_span(worker->born, now));
    document_number(object, "generation", worker->generation);
    document_number(object, "accepted", (long long)worker->accepted);
    document_number(object, "served", (long long)worker->served);
    document_text(object, "peer", snapshot_peer(&worker->peer, peer));
    document_number_or_null(object, "program", worker->program);
    document_text(object, "status", snapshot_status(worker, status));
    json_object_set_new(object, "slow", slow_object(overview, worker, now));
    return object;
}

static json_t *listener_object(const struct overview_listener *listener, const char *text,
                               const struct figures *figures)
{
    const struct queue *queue = figures ? queues_find(&figures->queues, listener->inode) : NULL;
    json_t *object = json_object();
    document_text(object, "address", text);
    document_number(object, "backlog", listener->backlog);
    document_flag(object, "unreachable", listener->unreachable);
    document_number(object, "inode", (long long)listener->inode);
    json_object_set_new(object, "queue", queue ? json_integer(queue->depth) : json_null());
    json_object_set_new(object, "room", queue ? json_integer(queue->room) : json_null());
    return object;
}

static void put_size(json_t *object, const struct snapshot_pool *pool)
{
    document_number(object, "target", pool->target);
    document_number(object, "min_workers", pool->min_workers);
    document_number(object, "max_workers", pool->max_workers);
    document_number(object, "min_spare", pool->min_spare);
    document_number(object, "max_spare", pool->max_spare);
    document_number(object, "ready", snapshot_ready(pool));
    document_number(object, "busy", pool->busy);
    document_number(object, "idle", pool->idle);
    document_number(object, "starting", pool->starting);
    document_number(object, "retiring", pool->retiring);
    document_number(object, "waiting", pool->waiting);
}

/* Null where the age is unknown. */
static json_t *cpu_object(usec user, usec system, usec age)
{
    json_t *object = age >= 0 ? json_object() : json_null();
    document_exact(object, "user", user);
    document_exact(object, "system", system);
    document_seconds(object, "age", age);
    return object;
}

static json_t *memory_object(const struct snapshot_pool *pool)
{
    json_t *object = pool->age >= 0 ? json_object() : json_null();
    document_number(object, "bytes", pool->memory);
    document_seconds(object, "age", pool->age);
    return object;
}

static void put_counts(json_t *object, const struct snapshot_pool *pool)
{
    json_t *refused = json_object();
    document_number(object, "accepted", (long long)pool->accepted);
    document_number(object, "served", (long long)pool->served);
    document_number(object, "errors", (long long)pool->errors);
    for (int i = 0; i < REFUSALS; i++)
        document_number(refused, refusal_words[i], (long long)pool->refused[i]);
    json_object_set_new(object, "refused", refused);
    document_number(object, "retirements", (long long)pool->retirements);
    document_number(object, "deaths", (long long)pool->deaths);
    document_number(object, "bytes_in", (long long)pool->bytes_in);
    document_number(object, "bytes_out", (long long)pool->bytes_out);
    json_object_set_new(object, "service_time", histogram_object(&pool->service));
    json_object_set_new(object, "queue_wait", histogram_object(&pool->wait));
    json_object_set_new(object, "cpu", cpu_object(pool->cpu_user, pool->cpu_system, pool->age));
    json_object_set_new(object, "memory", memory_object(pool));
    json_object_set_new(object, "cpu_ended", cpu_object(pool->dead_user, pool->dead_system, 0));
}

static json_t *pool_object(const struct snapshot_pool *pool, usec now)
{
    json_t *object = json_object();
    document_text(object, "name", pool->name);
    document_text(object, "handler", pool->handler);
    document_text(object, "state", pool_state_words[pool->state]);
    document_seconds(object, "seconds", snapshot_span(pool->state_since, now));
    document_text(object, "trouble", pool->trouble);
    document_number(object, "generation", pool->generation);
    put_size(object, pool);
    put_counts(object, pool);
    return object;
}

static void list_workers(const struct view *view, const struct snapshot *snapshot,
                         struct lists *lists, usec now)
{
    struct snapshot_worker worker;
    for (int i = 0; i < snapshot_workers(view->overview); i++)
        if (snapshot_worker(view, i, &worker) && worker.pool < (uint32_t)snapshot->count)
            json_array_append_new(lists[worker.pool].workers,
                                  worker_object(view->overview, &worker, now));
}

static void list_listeners(const struct overview *overview, const struct snapshot *snapshot,
                           const struct figures *figures, struct lists *lists)
{
    char text[TEXT_CLEAN(SCOREBOARD_ADDRESS)];
    for (int i = 0; i < snapshot_listeners(overview); i++) {
        const struct overview_listener *listener = &overview->listeners[i];
        uint32_t pool = listener->pool;
        if (snapshot_listener(overview, i, text) && pool < (uint32_t)snapshot->count)
            json_array_append_new(lists[pool].listeners, listener_object(listener, text, figures));
    }
}

/* Takes over the lists. */
static json_t *pools_array(const struct snapshot *snapshot, struct lists *lists, usec now)
{
    json_t *array = json_array();
    for (int i = 0; i < snapshot->count; i++) {
        json_t *pool = snapshot->pools[i].used ? pool_object(&snapshot->pools[i], now) : NULL;
        json_object_set_new(pool, "listeners", lists[i].listeners);
        json_object_set_new(pool, "workers", lists[i].workers);
        if (pool)
            json_array_append_new(array, pool);
    }
    return array;
}

static json_t *reloads_object(const struct overview *overview)
{
    json_t *object = json_object();
    document_number(object, "done", overview->reloads);
    document_number(object, "refused", overview->reloads_refused);
    document_time(object, "last", overview->reloaded);
    document_field(object, "refusal", overview->refusal, sizeof overview->refusal);
    return object;
}

static json_t *daemon_object(const struct overview *overview, usec now)
{
    json_t *object = json_object();
    document_number(object, "version", SCHEMA);
    document_field(object, "preforkd", overview->release, sizeof overview->release);
    document_number(object, "pid", overview->master);
    document_time(object, "time", clock_real());
    document_seconds(object, "uptime", snapshot_span(overview->started, now));
    document_number(object, "generation", overview->generation);
    json_object_set_new(object, "reloads", reloads_object(overview));
    document_number(object, "upgrades", overview->upgrades);
    document_number(object, "deaths", (long long)overview->deaths_written);
    return object;
}

char *status_json(const struct view *view, const struct figures *figures, usec now)
{
    struct snapshot *snapshot = snapshot_take(view, figures);
    struct lists *lists = snapshot ? calloc((size_t)snapshot->count + 1, sizeof *lists) : NULL;
    if (!lists) {
        free(snapshot);
        return NULL;
    }
    for (int i = 0; i < snapshot->count; i++)
        lists[i] = (struct lists){.workers = json_array(), .listeners = json_array()};
    list_workers(view, snapshot, lists, now);
    list_listeners(view->overview, snapshot, figures, lists);
    json_t *document = daemon_object(view->overview, now);
    json_object_set_new(document, "pools", pools_array(snapshot, lists, now));
    json_object_set_new(document, "ledger", deaths_array(view->overview));
    free(lists);
    free(snapshot);
    return document_print(document);
}

#else

#include <stddef.h>

char *status_json(const struct view *view, const struct figures *figures, usec now)
{
    (void)view;
    (void)figures;
    (void)now;
    return NULL;
}

#endif
