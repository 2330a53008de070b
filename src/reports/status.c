#include "status.h"

#include "../base/units.h"
#include "snapshot.h"

#include "build-config.h"

#include <stdlib.h>

static void print_pool(FILE *out, const struct snapshot_pool *pool)
{
    fprintf(out, "pool %s: %s, %d of %d workers ready, %d ", pool->name,
            pool_state_words[pool->state], snapshot_ready(pool), pool->target, pool->seats_busy);
    if (pool->model != MODEL_PROCESS)
        fprintf(out, "of %d connections ", pool->seats);
    fprintf(out, "busy%s%s\n", pool->trouble[0] ? ": " : "", pool->trouble);
}

char *status_text(const struct view *view, usec now)
{
    const struct overview *overview = view->overview;
    char span[UNITS_TEXT], release[TEXT_CLEAN(sizeof overview->release)];
    struct text text;
    struct snapshot *snapshot = snapshot_take(view, NULL);
    if (!snapshot || !text_open(&text)) {
        free(snapshot);
        return NULL;
    }
    text_clean(release, sizeof release, overview->release, sizeof overview->release);
    fprintf(text.out, "preforkd %s, pid %d, up %s, generation %u\n", release, (int)overview->master,
            units_span(snapshot_span(overview->started, now), span), overview->generation);
    for (int i = 0; i < snapshot->count; i++)
        if (snapshot->pools[i].used)
            print_pool(text.out, &snapshot->pools[i]);
    free(snapshot);
    return text_close(&text, true);
}

static void print_death(FILE *out, const struct death *death)
{
    char when[UNITS_TEXT], pool[TEXT_CLEAN(SCOREBOARD_NAME)], why[TEXT_CLEAN(SCOREBOARD_REASON)];
    fprintf(out, "%s pool %s: worker %d %s\n", units_time(death->when, when),
            text_clean(pool, sizeof pool, death->pool, sizeof death->pool), (int)death->pid,
            text_clean(why, sizeof why, death->why, sizeof death->why));
}

char *deaths_text(const struct overview *overview)
{
    struct text text;
    struct death *list = calloc(SCOREBOARD_DEATHS, sizeof *list);
    if (!list || !text_open(&text)) {
        free(list);
        return NULL;
    }
    int count = deaths_list(overview, list);
    if (count == 0)
        fputs("no worker has ended unexpectedly\n", text.out);
    for (int i = 0; i < count; i++)
        print_death(text.out, &list[i]);
    free(list);
    return text_close(&text, true);
}

#if HAVE_JANSSON

#include "../base/daemon.h"
#include "../base/json.h"

#include <sys/wait.h>

enum { SCHEMA = 1 }; /* may stay when keys are added, changes when readers would break */

/* --- the ledger as JSON ----------------------------------------------------------------------- */

static void put_exit(json_t *object, const struct death *death)
{
    uint32_t cause = (uint32_t)death->cause;
    bool exited = WIFEXITED(death->status);
    json_object_set_new(object, "exit",
                        exited ? json_integer(WEXITSTATUS(death->status)) : json_null());
    json_text(object, "signal", exited ? NULL : daemon_signal_word(WTERMSIG(death->status)));
    json_text(object, "cause", cause < DEATH_CAUSES ? death_cause_words[cause] : NULL);
    json_field(object, "why", death->why, sizeof death->why);
    json_flag(object, "core", WCOREDUMP(death->status));
    json_field(object, "core_text", death->core, sizeof death->core);
    json_flag(object, "out_of_memory", death->out_of_memory);
}

/* Null where nobody counts: programs of app accept by themselves. */
static void put_count(json_t *object, const char *key, bool counted, uint64_t count)
{
    json_object_set_new(object, key, counted ? json_integer((long long)count) : json_null());
}

static void put_life(json_t *object, const struct death *death)
{
    char peer[ADDR_TEXT];
    json_flag(object, "ready", death->was_ready);
    json_seconds(object, "age", death->age);
    put_count(object, "served", death->served >= 0, (uint64_t)death->served);
    json_number(object, "connections", death->in_hand);
    json_text(object, "peer", snapshot_peer(&death->peer, peer));
    json_exact(object, "cpu_user", death->cpu_user);
    json_exact(object, "cpu_system", death->cpu_system);
    json_number(object, "memory", death->memory);
    json_field(object, "last", death->last, sizeof death->last);
}

static json_t *death_object(const struct death *death)
{
    json_t *object = json_object();
    json_number(object, "number", (long long)death->number);
    json_time(object, "time", death->when);
    json_field(object, "pool", death->pool, sizeof death->pool);
    json_number(object, "pid", death->pid);
    json_number(object, "generation", death->generation);
    put_exit(object, death);
    put_life(object, death);
    return object;
}

/* The oldest first; NULL: no memory. */
static json_t *deaths_array(const struct overview *overview)
{
    struct death *list = calloc(SCOREBOARD_DEATHS, sizeof *list);
    json_t *array = list ? json_array() : NULL;
    int count = list ? deaths_list(overview, list) : 0;
    for (int i = 0; i < count; i++)
        json_array_append_new(array, death_object(&list[i]));
    free(list);
    return array;
}

/* --- the pools as JSON ------------------------------------------------------------------------ */

/* The lists of one pool. One pass over all workers and listeners fills those of all pools. */
struct lists {
    json_t *workers, *listeners;
};

/* Adds the span that so many of a thousand values don't exceed; null if there are no values. */
static void put_quantile(json_t *object, const char *key, const struct histogram *histogram,
                         unsigned thousandths)
{
    if (histogram_total(histogram))
        json_exact(object, key, histogram_quantile(histogram, thousandths));
    else
        json_object_set_new(object, key, json_null());
}

/* Each bucket is a pair: a bound in seconds, null for the last, and how many values it covers. */
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
    json_number(object, "count", (long long)count);
    json_exact(object, "sum", (usec)histogram->sum);
    put_quantile(object, "p50", histogram, 500);
    put_quantile(object, "p99", histogram, 990);
    json_object_set_new(object, "buckets", buckets);
    return object;
}

static json_t *process_object(const struct slow_process *process)
{
    json_t *object = json_object();
    json_number(object, "pid", process->pid);
    json_field(object, "command", process->command, sizeof process->command);
    json_text(object, "state", snapshot_process_state(process->state));
    return object;
}

static void put_slow_process(json_t *object, const struct slow *slow)
{
    json_number_or_null(object, "program", slow->is_program ? slow->process.pid : 0);
    json_field(object, "command", slow->process.command, sizeof slow->process.command);
    json_text(object, "state", snapshot_process_state(slow->process.state));
    json_field(object, "wchan", slow->channel, sizeof slow->channel);
    json_field(object, "syscall", slow->call, sizeof slow->call);
    json_seconds_or_null(object, "cpu", slow->cpu);
    json_seconds_or_null(object, "wait", slow->wait);
    json_field(object, "hidden", slow->hidden, sizeof slow->hidden);
}

/* What a slow request is doing; null: the request is not slow. */
static json_t *slow_object(const struct overview *overview, const struct snapshot_worker *worker,
                           usec now)
{
    struct slow slow;
    if (!snapshot_slow(overview, worker, &slow))
        return json_null();
    json_t *object = json_object(), *children = json_array();
    json_seconds(object, "seconds", snapshot_span(slow.since, now));
    json_seconds(object, "sampled", snapshot_span(slow.sampled, now));
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
    json_number(object, "slot", worker->number);
    json_number_or_null(object, "pid", worker->pid);
    json_text(object, "state", slot_state_words[worker->state]);
    json_flag(object, "retiring", worker->retiring);
    json_flag(object, "stuck", worker->stuck);
    json_seconds(object, "seconds", snapshot_span(worker->since, now));
    json_seconds(object, "age", snapshot_span(worker->born, now));
    json_number(object, "generation", worker->generation);
    json_number(object, "seats", worker->seats);
    json_number(object, "busy", worker->busy);
    put_count(object, "accepted", !snapshot_is_program(worker), worker->accepted);
    put_count(object, "served", !snapshot_is_program(worker), worker->served);
    json_text(object, "peer", snapshot_peer(&worker->peer, peer));
    json_number_or_null(object, "program", worker->program);
    json_text(object, "status", snapshot_status(worker, status));
    json_object_set_new(object, "slow", slow_object(overview, worker, now));
    return object;
}

static json_t *listener_object(const struct overview_listener *listener, const char *text,
                               const struct procstat *procstat)
{
    const struct accept_queue *queue =
        procstat ? accept_queues_find(&procstat->queues, listener->inode) : NULL;
    json_t *object = json_object();
    json_text(object, "address", text);
    json_number(object, "backlog", listener->backlog);
    json_flag(object, "unreachable", listener->unreachable);
    json_number(object, "inode", (long long)listener->inode);
    json_object_set_new(object, "queue", queue ? json_integer(queue->depth) : json_null());
    json_object_set_new(object, "room", queue ? json_integer(queue->room) : json_null());
    return object;
}

static void put_size(json_t *object, const struct snapshot_pool *pool)
{
    json_number(object, "target", pool->target);
    json_number(object, "min_workers", pool->min_workers);
    json_number(object, "max_workers", pool->max_workers);
    json_number(object, "min_spare", pool->min_spare);
    json_number(object, "max_spare", pool->max_spare);
    json_number(object, "ready", snapshot_ready(pool));
    json_number(object, "busy", pool->busy);
    json_number(object, "idle", pool->idle);
    json_text(object, "model", serve_model_words[pool->model]);
    json_number(object, "seats", pool->seats);
    json_number(object, "busy_seats", pool->seats_busy);
    json_number(object, "max_seats", snapshot_most_seats(pool));
    json_number(object, "starting", pool->starting);
    json_number(object, "retiring", pool->retiring);
    json_number(object, "waiting", pool->waiting);
}

/* Null if the times are unknown. */
static json_t *cpu_object(usec user, usec system, usec age)
{
    json_t *object = age >= 0 ? json_object() : json_null();
    json_exact(object, "user", user);
    json_exact(object, "system", system);
    json_seconds(object, "age", age);
    return object;
}

static json_t *memory_object(const struct snapshot_pool *pool)
{
    json_t *object = pool->age >= 0 ? json_object() : json_null();
    json_number(object, "bytes", pool->memory);
    json_seconds(object, "age", pool->age);
    return object;
}

static json_t *templates_object(const struct snapshot_pool *pool)
{
    json_t *object = json_object();
    for (int i = 0; i < TEMPLATE_COUNTS; i++)
        json_number(object, template_count_words[i], (long long)pool->counts.templates[i]);
    if (pool->age >= 0)
        json_number(object, "memory", pool->template_memory);
    return object;
}

static void put_counts(json_t *object, const struct snapshot_pool *pool)
{
    json_t *refused = json_object();
    bool counted = !snapshot_is_app(pool);
    put_count(object, "accepted", counted, pool->counts.accepted);
    put_count(object, "served", counted, pool->counts.served);
    json_number(object, "errors", (long long)pool->counts.errors);
    for (int i = 0; i < REFUSALS; i++)
        json_number(refused, refusal_words[i], (long long)pool->counts.refused[i]);
    json_object_set_new(object, "refused", refused);
    if (snapshot_has_templates(pool))
        json_object_set_new(object, "templates", templates_object(pool));
    json_number(object, "retirements", (long long)pool->retirements);
    json_number(object, "deaths", (long long)pool->deaths);
    json_number(object, "bytes_in", (long long)pool->counts.bytes_in);
    json_number(object, "bytes_out", (long long)pool->counts.bytes_out);
    json_object_set_new(object, "service_time", histogram_object(&pool->counts.service));
    json_object_set_new(object, "queue_wait", histogram_object(&pool->counts.wait));
    json_object_set_new(object, "cpu", cpu_object(pool->cpu_user, pool->cpu_system, pool->age));
    json_object_set_new(object, "memory", memory_object(pool));
    json_object_set_new(object, "cpu_ended", cpu_object(pool->exited_user, pool->exited_system, 0));
}

static json_t *pool_object(const struct snapshot_pool *pool, usec now)
{
    json_t *object = json_object();
    json_text(object, "name", pool->name);
    json_text(object, "handler", pool->handler);
    json_text(object, "state", pool_state_words[pool->state]);
    json_seconds(object, "seconds", snapshot_span(pool->state_since, now));
    json_text(object, "trouble", pool->trouble);
    json_number(object, "generation", pool->generation);
    put_size(object, pool);
    put_counts(object, pool);
    return object;
}

static bool is_notable(const struct overview *overview, const struct snapshot_worker *worker)
{
    char status[TEXT_CLEAN(SCOREBOARD_REASON)];
    struct slow slow;
    return snapshot_status(worker, status) || snapshot_slow(overview, worker, &slow);
}

static void list_workers(const struct view *view, const struct snapshot *snapshot,
                         struct lists *lists, enum status_detail detail, usec now)
{
    struct snapshot_worker worker;
    for (int i = 0; i < snapshot_workers(view->overview); i++)
        if (snapshot_worker(view, i, &worker) && worker.pool < (uint32_t)snapshot->count &&
            (detail == STATUS_WHOLE || is_notable(view->overview, &worker)))
            json_array_append_new(lists[worker.pool].workers,
                                  worker_object(view->overview, &worker, now));
}

static void list_listeners(const struct overview *overview, const struct snapshot *snapshot,
                           const struct procstat *procstat, struct lists *lists)
{
    char text[TEXT_CLEAN(SCOREBOARD_ADDRESS)];
    for (int i = 0; i < snapshot_listeners(overview); i++) {
        const struct overview_listener *listener = &overview->listeners[i];
        uint32_t pool = listener->pool;
        if (snapshot_listener(overview, i, text) && pool < (uint32_t)snapshot->count)
            json_array_append_new(lists[pool].listeners, listener_object(listener, text, procstat));
    }
}

/* Takes ownership of the lists. */
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
    json_number(object, "done", overview->reloads);
    json_number(object, "refused", overview->reloads_refused);
    json_time(object, "last", overview->reloaded);
    json_field(object, "refusal", overview->refusal, sizeof overview->refusal);
    return object;
}

static json_t *daemon_object(const struct overview *overview, usec now)
{
    json_t *object = json_object();
    json_number(object, "version", SCHEMA);
    json_field(object, "preforkd", overview->release, sizeof overview->release);
    json_field(object, "host", overview->host, sizeof overview->host);
    json_number(object, "pid", overview->master);
    json_time(object, "time", clock_real());
    json_seconds(object, "uptime", snapshot_span(overview->started, now));
    json_number(object, "generation", overview->generation);
    json_object_set_new(object, "reloads", reloads_object(overview));
    json_number(object, "upgrades", overview->upgrades);
    json_number(object, "deaths", (long long)overview->deaths_written);
    return object;
}

char *status_json(const struct view *view, const struct procstat *procstat,
                  enum status_detail detail, usec now)
{
    struct snapshot *snapshot = snapshot_take(view, procstat);
    struct lists *lists = snapshot ? calloc((size_t)snapshot->count + 1, sizeof *lists) : NULL;
    if (!lists) {
        free(snapshot);
        return NULL;
    }
    for (int i = 0; i < snapshot->count; i++)
        lists[i] = (struct lists){.workers = json_array(), .listeners = json_array()};
    list_workers(view, snapshot, lists, detail, now);
    list_listeners(view->overview, snapshot, procstat, lists);
    json_t *document = daemon_object(view->overview, now);
    json_object_set_new(document, "pools", pools_array(snapshot, lists, now));
    if (detail == STATUS_WHOLE)
        json_object_set_new(document, "ledger", deaths_array(view->overview));
    free(lists);
    free(snapshot);
    return json_print(document);
}

char *deaths_json(const struct overview *overview)
{
    json_t *document = json_object();
    json_number(document, "version", SCHEMA);
    json_number(document, "count", (long long)overview->deaths_written);
    json_object_set_new(document, "deaths", deaths_array(overview));
    return json_print(document);
}

#else

char *status_json(const struct view *view, const struct procstat *procstat,
                  enum status_detail detail, usec now)
{
    (void)view, (void)procstat, (void)detail, (void)now;
    return NULL;
}

char *deaths_json(const struct overview *overview)
{
    (void)overview;
    return NULL;
}

#endif
