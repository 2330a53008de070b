#include "metrics.h"

#include "../base/text.h"
#include "snapshot.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum kind { GAUGE, COUNTER, HISTOGRAM };

static const char *const kind_words[] = {
    [GAUGE] = "gauge", [COUNTER] = "counter", [HISTOGRAM] = "histogram"};

/* What a report is made from. */
struct report {
    FILE *out;
    enum metrics_format format;
    const struct overview *overview;
    const struct procstat *procstat;
    const struct snapshot *snapshot;
};

/* A counter's samples end in _total. In OpenMetrics, its family's name does not. */
static void open_family(const struct report *report, const char *name, enum kind kind,
                        const char *help)
{
    const char *end = kind == COUNTER && report->format == METRICS_TEXT ? "_total" : "";
    fprintf(report->out, "# HELP preforkd_%s%s %s\n# TYPE preforkd_%s%s %s\n", name, end, help,
            name, end, kind_words[kind]);
}

static void put_quoted(FILE *out, const char *text)
{
    putc_unlocked('"', out);
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            putc_unlocked('\\', out);
        putc_unlocked(*text, out);
    }
    putc_unlocked('"', out);
}

/* Writes a sample up to its value: its name, the label of the pool, and one more label if `label`
 * is not NULL. */
static void begin(const struct report *report, const char *name, const char *end, const char *pool,
                  const char *label, const char *value)
{
    FILE *out = report->out;
    fprintf(out, "preforkd_%s%s{pool=", name, end);
    put_quoted(out, pool);
    if (label) {
        fprintf(out, ",%s=", label);
        put_quoted(out, value);
    }
    fputs("} ", out);
}

/* Only a hostile worker can make a time negative; it is shown as 0. */
static void put_seconds(FILE *out, usec span)
{
    span = span < 0 ? 0 : span;
    fprintf(out, "%" PRId64 ".%06d\n", span / USEC_SECOND, (int)(span % USEC_SECOND));
}

/* --- pools --------------------------------------------------------------------------------- */

/* A metric that each pool has. */
struct family {
    const char *name;
    enum kind kind;
    void (*put)(const struct report *report, const struct family *family,
                const struct snapshot_pool *pool);
    const char *help;
    uint64_t (*of)(const struct snapshot_pool *pool); /* for put_number */
};

/* Writes a pool's sample up to its value. */
static void open_sample(const struct report *report, const struct family *family,
                        const struct snapshot_pool *pool, const char *label, const char *value)
{
    begin(report, family->name, family->kind == COUNTER ? "_total" : "", pool->name, label, value);
}

static uint64_t as_count(int number)
{
    return number > 0 ? (uint64_t)number : 0;
}

#define NUMBER(name, expression)                                                                   \
    static uint64_t name(const struct snapshot_pool *pool)                                         \
    {                                                                                              \
        return expression;                                                                         \
    }

NUMBER(target_of, as_count(pool->target))
NUMBER(least_of, as_count(pool->min_workers))
NUMBER(most_of, as_count(pool->max_workers))
NUMBER(seats_most_of, as_count(snapshot_most_seats(pool)))
NUMBER(generation_of, pool->generation)
NUMBER(accepted_of, pool->counts.accepted)
NUMBER(served_of, pool->counts.served)
NUMBER(errors_of, pool->counts.errors)
NUMBER(forks_of, pool->counts.templates[TEMPLATE_FORKS])
NUMBER(cold_starts_of, pool->counts.templates[TEMPLATE_COLD_STARTS])
NUMBER(restarts_of, pool->counts.templates[TEMPLATE_RESTARTS])
NUMBER(template_memory_of, (uint64_t)pool->template_memory)
NUMBER(retirements_of, pool->retirements)
NUMBER(deaths_of, pool->deaths)
NUMBER(slow_of, as_count(pool->slow))
NUMBER(bytes_in_of, pool->counts.bytes_in)
NUMBER(bytes_out_of, pool->counts.bytes_out)

static void put_number(const struct report *report, const struct family *family,
                       const struct snapshot_pool *pool)
{
    open_sample(report, family, pool, NULL, NULL);
    fprintf(report->out, "%" PRIu64 "\n", family->of(pool));
}

static void put_connections(const struct report *report, const struct family *family,
                            const struct snapshot_pool *pool)
{
    if (!snapshot_is_app(pool))
        put_number(report, family, pool);
}

static void put_info(const struct report *report, const struct family *family,
                     const struct snapshot_pool *pool)
{
    open_sample(report, family, pool, "handler", pool->handler);
    fputs("1\n", report->out);
}

static void put_states(const struct report *report, const struct family *family,
                       const struct snapshot_pool *pool)
{
    for (int state = 0; state < POOL_STATES; state++) {
        open_sample(report, family, pool, "state", pool_state_words[state]);
        fputs((int)pool->state == state ? "1\n" : "0\n", report->out);
    }
}

static void put_workers(const struct report *report, const struct family *family,
                        const struct snapshot_pool *pool)
{
    const struct {
        const char *word;
        int count;
    } kinds[] = {
        {"idle", pool->idle},         {"busy", pool->busy},       {"starting", pool->starting},
        {"retiring", pool->retiring}, {"waiting", pool->waiting},
    };
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        open_sample(report, family, pool, "state", kinds[i].word);
        fprintf(report->out, "%d\n", kinds[i].count);
    }
}

static void put_seats(const struct report *report, const struct family *family,
                      const struct snapshot_pool *pool)
{
    open_sample(report, family, pool, "state", "busy");
    fprintf(report->out, "%d\n", pool->seats_busy);
    open_sample(report, family, pool, "state", "free");
    fprintf(report->out, "%d\n", snapshot_free_seats(pool));
}

static void put_refusals(const struct report *report, const struct family *family,
                         const struct snapshot_pool *pool)
{
    for (int reason = 0; reason < REFUSALS; reason++) {
        open_sample(report, family, pool, "reason", refusal_words[reason]);
        fprintf(report->out, "%" PRIu64 "\n", pool->counts.refused[reason]);
    }
}

/* Writes a bound in seconds, as Prometheus does: "5e-05", "0.25", "1.0". */
static const char *print_bound(char text[static 32], usec bound)
{
    snprintf(text, 32, "%g", clock_seconds(bound));
    if (strspn(text, "0123456789") == strlen(text))
        strcat(text, ".0");
    return text;
}

static void put_histogram(const struct report *report, const char *name, const char *pool,
                          const struct histogram *histogram)
{
    char bound[32];
    uint64_t count = 0;
    for (int i = 0; i < HISTOGRAM_CLASSES; i++) {
        bool last = i == HISTOGRAM_CLASSES - 1;
        count += histogram->classes[i];
        begin(report, name, "_bucket", pool, "le",
              last ? "+Inf" : print_bound(bound, histogram_bounds[i]));
        fprintf(report->out, "%" PRIu64 "\n", count);
    }
    begin(report, name, "_sum", pool, NULL, NULL);
    put_seconds(report->out, (usec)histogram->sum);
    begin(report, name, "_count", pool, NULL, NULL);
    fprintf(report->out, "%" PRIu64 "\n", count);
}

static void put_service(const struct report *report, const struct family *family,
                        const struct snapshot_pool *pool)
{
    put_histogram(report, family->name, pool->name, &pool->counts.service);
}

static void put_wait(const struct report *report, const struct family *family,
                     const struct snapshot_pool *pool)
{
    put_histogram(report, family->name, pool->name, &pool->counts.wait);
}

/* If not all processes were read, there is no sample, because a partial sum would go back. */
static void put_processor_time(const struct report *report, const struct family *family,
                               const struct snapshot_pool *pool)
{
    if (pool->age < 0)
        return;
    open_sample(report, family, pool, "mode", "user");
    put_seconds(report->out, pool->cpu_user);
    open_sample(report, family, pool, "mode", "system");
    put_seconds(report->out, pool->cpu_system);
}

static void put_memory(const struct report *report, const struct family *family,
                       const struct snapshot_pool *pool)
{
    if (pool->age < 0)
        return;
    open_sample(report, family, pool, NULL, NULL);
    fprintf(report->out, "%" PRId64 "\n", pool->memory);
}

static void put_age(const struct report *report, const struct family *family,
                    const struct snapshot_pool *pool)
{
    if (pool->age < 0)
        return;
    open_sample(report, family, pool, NULL, NULL);
    put_seconds(report->out, pool->age);
}

static const struct family families[] = {
    {"pool_info", GAUGE, put_info, "Always 1; the label names the pool's handler."},
    {"pool_state", GAUGE, put_states, "1 for the state that the pool is in."},
    {"workers", GAUGE, put_workers,
     "Workers by what they do; waiting: died, and are not yet replaced."},
    {"workers_target", GAUGE, put_number, "Workers that the pool should have now.", target_of},
    {"workers_min", GAUGE, put_number, "Workers that the pool has at least.", least_of},
    {"workers_max", GAUGE, put_number, "Workers that the pool has at most.", most_of},
    {"seats", GAUGE, put_seats, "Connections that the ready workers have, and have room for."},
    {"seats_max", GAUGE, put_number, "Connections that the pool may have at most.", seats_most_of},
    {"workers_slow", GAUGE, put_number, "Workers whose request takes longer than slow_threshold.",
     slow_of},
    {"pool_generation", GAUGE, put_number, "Generation of the pool's configuration.",
     generation_of},
    {"connections_accepted", COUNTER, put_connections, "Connections that workers accepted.",
     accepted_of},
    {"connections_served", COUNTER, put_connections, "Connections that workers are done with.",
     served_of},
    {"accept_errors", COUNTER, put_number, "Passing errors of accept().", errors_of},
    {"received_bytes", COUNTER, put_number, "Bytes that clients sent, where known.", bytes_in_of},
    {"sent_bytes", COUNTER, put_number, "Bytes that clients were sent, where known.", bytes_out_of},
    {"worker_retirements", COUNTER, put_number, "Workers that ended as they were told to.",
     retirements_of},
    {"worker_deaths", COUNTER, put_number, "Workers that ended in another way.", deaths_of},
    {"connections_refused", COUNTER, put_refusals, "Connections that were closed unserved."},
    {"template_forks", COUNTER, put_number, "Programs that ran in a fork of a template.", forks_of},
    {"template_cold_starts", COUNTER, put_number,
     "Programs that were started without the template that they have.", cold_starts_of},
    {"template_restarts", COUNTER, put_number, "Templates that were started again.", restarts_of},
    {"template_memory_bytes", GAUGE, put_number, "Memory of templates, as read in turns.",
     template_memory_of},
    {"service_time_seconds", HISTOGRAM, put_service,
     "How long connections, or requests where one has several, took to be served."},
    {"queue_wait_seconds", HISTOGRAM, put_wait,
     "How long connections waited to be accepted, as a sample tells."},
    {"cpu_seconds", COUNTER, put_processor_time,
     "Processor time of workers and of what they ran, ended workers included."},
    {"memory_bytes", GAUGE, put_memory,
     "Memory of workers and of the programs that they run, as read in turns."},
    {"process_age_seconds", GAUGE, put_age,
     "How long ago the process was read whose figures are the oldest."},
};

/* Whether the pool's samples are written. A removed pool, whose last workers finish, is left out if
 * there is another pool of its name, which a later reload added. */
static bool is_shown(const struct snapshot *snapshot, int place)
{
    const struct snapshot_pool *pool = &snapshot->pools[place];
    if (!pool->used)
        return false;
    for (int i = 0; i < snapshot->count; i++) {
        const struct snapshot_pool *other = &snapshot->pools[i];
        bool comes_first = pool->state == POOL_REMOVED ? other->state != POOL_REMOVED || i < place
                                                       : other->state != POOL_REMOVED && i < place;
        if (i != place && other->used && comes_first && strcmp(other->name, pool->name) == 0)
            return false;
    }
    return true;
}

static void put_family(const struct report *report, const struct family *family)
{
    open_family(report, family->name, family->kind, family->help);
    for (int i = 0; i < report->snapshot->count; i++)
        if (report->snapshot->pools[i].used)
            family->put(report, family, &report->snapshot->pools[i]);
}

/* --- listeners ----------------------------------------------------------------------------- */

struct listener_name {
    uint32_t pool;
    char text[TEXT_CLEAN(SCOREBOARD_ADDRESS)];
};

static bool read_listener(const struct report *report, int number, struct listener_name *name)
{
    const struct snapshot *snapshot = report->snapshot;
    name->pool = report->overview->listeners[number].pool;
    return snapshot_listener(report->overview, number, name->text) &&
           name->pool < (uint32_t)snapshot->count && snapshot->pools[name->pool].used;
}

/* Sums up sockets with the same address, which systemd may pass: the first one stands for all.
 * False for the others. */
static bool sum_queues(const struct report *report, int number, const struct listener_name *name,
                       struct accept_queue *sum)
{
    struct listener_name other;
    const struct overview_listener *list = report->overview->listeners;
    *sum = (struct accept_queue){0};
    for (int i = 0; i < snapshot_listeners(report->overview); i++) {
        if (list[i].pool != name->pool || !read_listener(report, i, &other) ||
            strcmp(other.text, name->text) != 0)
            continue;
        if (i < number)
            return false;
        const struct accept_queue *queue =
            accept_queues_find(&report->procstat->queues, list[i].inode);
        sum->inode |= queue ? queue->inode : 0;
        sum->depth += queue ? queue->depth : 0;
        sum->room += queue ? queue->room : 0;
    }
    return true;
}

static void put_queues(const struct report *report, const char *name, const char *help,
                       int (*of)(const struct accept_queue *queue))
{
    struct listener_name listener;
    struct accept_queue queue;
    open_family(report, name, GAUGE, help);
    for (int i = 0; i < snapshot_listeners(report->overview); i++) {
        if (!read_listener(report, i, &listener) || !sum_queues(report, i, &listener, &queue) ||
            !queue.inode)
            continue;
        begin(report, name, "", report->snapshot->pools[listener.pool].name, "listener",
              listener.text);
        fprintf(report->out, "%d\n", of(&queue));
    }
}

static int depth_of(const struct accept_queue *queue)
{
    return queue->depth;
}

static int room_of(const struct accept_queue *queue)
{
    return queue->room;
}

/* --- the daemon ---------------------------------------------------------------------------- */

static void put_plain(const struct report *report, const char *name, enum kind kind,
                      const char *help, uint64_t value)
{
    open_family(report, name, kind, help);
    fprintf(report->out, "preforkd_%s%s %" PRIu64 "\n", name, kind == COUNTER ? "_total" : "",
            value);
}

static void put_build(const struct report *report)
{
    const struct overview *overview = report->overview;
    char release[TEXT_CLEAN(sizeof overview->release)];
    text_clean(release, sizeof release, overview->release, sizeof overview->release);
    open_family(report, "build_info", GAUGE, "Always 1; the label tells the version that runs.");
    fputs("preforkd_build_info{version=", report->out);
    put_quoted(report->out, release);
    fputs("} 1\n", report->out);
}

static void put_reloads(const struct report *report)
{
    const struct overview *overview = report->overview;
    open_family(report, "reloads", COUNTER, "Reloads of the configuration, by their result.");
    fprintf(report->out,
            "preforkd_reloads_total{result=\"done\"} %u\n"
            "preforkd_reloads_total{result=\"refused\"} %u\n",
            overview->reloads, overview->reloads_refused);
    put_plain(report, "last_reload_successful", GAUGE,
              "0 where the last reload was refused or failed, 1 else.", !overview->refusal[0]);
    open_family(report, "last_reload_timestamp_seconds", GAUGE,
                "When the last reload ended, done or refused; 0: there was none.");
    fputs("preforkd_last_reload_timestamp_seconds ", report->out);
    put_seconds(report->out, overview->reloaded);
}

static void put_daemon(const struct report *report)
{
    const struct overview *overview = report->overview;
    put_build(report);
    open_family(report, "start_time_seconds", GAUGE, "When the daemon was started.");
    fputs("preforkd_start_time_seconds ", report->out);
    put_seconds(report->out, overview->started_at);
    put_plain(report, "generation", GAUGE, "Generation of the configuration in force.",
              overview->generation);
    put_reloads(report);
    put_plain(report, "upgrades", COUNTER, "Upgrades of the program in place.", overview->upgrades);
}

static void put_report(const struct report *report)
{
    put_daemon(report);
    for (size_t i = 0; i < sizeof families / sizeof *families; i++)
        put_family(report, &families[i]);
    put_queues(report, "queue_depth", "Connections that wait at the listener to be accepted.",
               depth_of);
    put_queues(report, "queue_capacity", "How many connections can wait at the listener.", room_of);
    fputs("# EOF\n", report->out);
}

char *metrics_text(const struct view *view, const struct procstat *procstat,
                   enum metrics_format format)
{
    struct text text;
    struct snapshot *snapshot = snapshot_take(view, procstat);
    if (!snapshot || !text_open(&text)) {
        free(snapshot);
        return NULL;
    }
    for (int i = 0; i < snapshot->count; i++)
        snapshot->pools[i].used = is_shown(snapshot, i);
    const struct report report = {.out = text.out,
                                  .format = format,
                                  .overview = view->overview,
                                  .procstat = procstat,
                                  .snapshot = snapshot};
    put_report(&report);
    free(snapshot);
    return text_close(&text, true);
}
