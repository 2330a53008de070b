#include "master.h"

#include "../base/arena.h"
#include "../base/log.h"
#include "../base/sysd.h"
#include "../base/text.h"
#include "../reports/snapshot.h"

#include "build-config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A stop lasts so much longer than graceful_timeout: QUIT, KILL, reaping. */
#define STOP_MARGIN (5 * USEC_SECOND)

int master_open(struct master *master, const sigset_t *signals, const struct upgrade_self *self)
{
    *master = (struct master){.control.socket = -1};
    int error = loop_open(&master->loop, signals);
    if (!error)
        error = spawn_open(&master->runtime.spawner, &master->loop);
    if (!error)
        error = control_open(&master->control, &master->loop);
    if (error)
        return error;
    master->runtime.spawner.master = getpid();
    upgrade_init(&master->upgrade, self, &master->control);
    error = listener_upkeep_open(&master->runtime.upkeep, &master->loop);
    if (error)
        log_notice("can't watch the paths of listeners: %s; a reload will see if one is removed",
                   strerror(-error));
    oom_open(&master->oom, "/proc/self/cgroup", "/sys/fs/cgroup");
    return 0;
}

int master_try(const struct state *state, const char *file)
{
    struct master *master = arena_unforked(sizeof *master);
    sigset_t none;
    sigemptyset(&none);
    int error = master ? loop_open(&master->loop, &none) : -ENOMEM;
    if (!error)
        error = spawn_open(&master->runtime.spawner, &master->loop);
    return error ? error : handoff_adopt(&master->runtime, state, file);
}

int master_start(struct master *master, struct config *config)
{
    if (reload_first(&master->reload, &master->runtime, config) != 0)
        return -1;
    usec timeout = 0; /* the longest ready_timeout, and a second */
    for (int i = 0; i < config->pool_count; i++)
        if (config->pools[i]->ready_timeout * USEC_SECOND > timeout)
            timeout = config->pools[i]->ready_timeout * USEC_SECOND;
    timeout += USEC_SECOND;
    char value[LOG_QUOTED(ADDR_TEXT)];
    master->phase = PHASE_STARTING;
    master->start_deadline = clock_now() + timeout;
    sysd_notify("EXTEND_TIMEOUT_USEC=%lld", (long long)(timeout + STOP_MARGIN));
    for (const struct pool *p = master->runtime.pools; p; p = p->next)
        for (int i = 0; i < p->listener_count; i++)
            log_notice("pool %s: listening on %s pool=%s listener=%s", p->name,
                       p->listeners[i]->text, p->name,
                       log_quoted(value, sizeof value, p->listeners[i]->text));
    for (int i = 0; i < sysd_socket_count(); i++) {
        const struct sysd_socket *passed = sysd_socket(i);
        /* systemd listens on the socket, but no worker will ever accept from it. */
        if (!listener_find(master->runtime.listeners, passed->fd))
            log_warning("the socket that was passed as systemd:%s is in no pool listener=%s",
                        passed->name, log_quoted(value, sizeof value, passed->name));
    }
    return 0;
}

int master_resume(struct master *master, const struct state *state)
{
    int error = handoff_adopt(&master->runtime, state, master->upgrade.self.config);
    if (error)
        return error;
    master->phase = PHASE_SERVING;
    master->start_deadline = USEC_NEVER;
    upgrade_arrive(&master->upgrade, state);
    listener_upkeep_watch(&master->runtime.upkeep, master->runtime.listeners);
    listener_upkeep_watch(&master->runtime.upkeep, master->runtime.control);
    return 0;
}

void master_close(struct master *master)
{
    runtime_close(&master->runtime);
    runtime_close_listeners(&master->runtime);
    listener_close(master->runtime.control);
    listener_upkeep_close(&master->runtime.upkeep);
    control_close(&master->control);
    reload_close(&master->reload);
    config_unref(master->runtime.config);
    spawn_close(&master->runtime.spawner);
    loop_close(&master->loop);
}

static void begin_stop(struct master *master)
{
    master->phase = PHASE_STOPPING;
    reload_abandon(&master->reload, &master->runtime);
    upgrade_abandon(&master->upgrade);
    runtime_close_listeners(&master->runtime);
}

void master_stop(struct master *master)
{
    if (master->phase == PHASE_STOPPING) {
        master_stop_now(master);
        return;
    }
    usec now = clock_now(), longest = 0;
    for (const struct pool *p = master->runtime.pools; p; p = p->next)
        if (p->conf->graceful_timeout * USEC_SECOND > longest)
            longest = p->conf->graceful_timeout * USEC_SECOND;
    sysd_notify("STOPPING=1\nEXTEND_TIMEOUT_USEC=%lld", (long long)(longest + STOP_MARGIN));
    log_notice("stopping: connections in hand may end within %d s", (int)(longest / USEC_SECOND));
    begin_stop(master);
    for (struct pool *p = master->runtime.pools; p; p = p->next)
        pool_stop(p, now);
}

void master_stop_now(struct master *master)
{
    usec now = clock_now();
    if (!master->stopping_now)
        log_notice("stopping now");
    master->stopping_now = true;
    sysd_notify("STOPPING=1");
    begin_stop(master);
    for (struct pool *p = master->runtime.pools; p; p = p->next)
        pool_stop_now(p, now);
}

/* --- what the master shows of itself ---------------------------------------------------------- */

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
    bool missing = pool->on_trial || counts->ready < pool_target(pool);
    return missing ? POOL_STARTING : POOL_SERVING;
}

void master_publish_pool(struct master *master, struct pool *pool, usec now)
{
    struct overview *overview = master->runtime.spawner.boards.overview;
    struct overview_pool *out = &overview->pools[pool->resources.place];
    const struct pool_config *conf = pool->conf;
    const struct listener *unreachable = NULL;
    int unreachable_count = 0;
    for (int i = pool->listener_count - 1; i >= 0; i--)
        if (!listener_is_reachable(pool->listeners[i])) {
            unreachable = pool->listeners[i];
            unreachable_count++;
        }
    if (pool->unreachable != unreachable_count)
        master->published.generation = 0; /* publishes the listeners again */
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
    else if (troubled)
        pool_trouble(pool, out->trouble, sizeof out->trouble);
    else
        out->trouble[0] = '\0';
    /* All workers have stayed ready, and no canary is judged: the reason is an old one. */
    if (state == POOL_SERVING && !pool->trial && counts.stayed >= pool_target(pool))
        pool->trouble[0] = '\0';
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
    master->published.changed = true;
}

void master_publish_listeners(struct master *master)
{
    const struct runtime *runtime = &master->runtime;
    struct overview *overview = runtime->spawner.boards.overview;
    if (master->published.generation == runtime->generation &&
        (runtime->listeners || !overview->listeners_end))
        return;
    uint32_t at = 0;
    /* The listeners of a removed pool are closed; in a stop, all are. */
    for (const struct pool *pool = runtime->pools; pool && runtime->listeners; pool = pool->next) {
        bool listens = !pool->removed && !pool->on_trial && !pool->carried;
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
    overview->generation = master->published.generation = runtime->generation;
}

static const char *trouble_of(const struct runtime *runtime, const struct pool *pool)
{
    switch (runtime->spawner.boards.overview->pools[pool->resources.place].state) {
    case POOL_DEGRADED: return " degraded";
    case POOL_UNREACHABLE: return " unreachable";
    default: return "";
    }
}

/* The sum over all pools, and as many pools in trouble as fit. */
static void print_summary(const struct runtime *runtime, char *text, size_t size)
{
    enum { MORE = 32 }; /* room for ", and N more" */
    struct text_line line = {.at = text, .room = size};
    char one[POOL_NAME_MAX + 64];
    int pools = 0, ready = 0, target = 0, retiring = 0, more = 0;
    for (const struct pool *pool = runtime->pools; pool; pool = pool->next) {
        retiring += pool->retiring;
        pools += !pool->removed;
        ready += pool->removed ? 0 : pool->ready;
        target += pool->removed ? 0 : pool_target(pool);
    }
    text_add(&line, "%d pools, %d/%d workers ready, %d retiring", pools, ready, target, retiring);
    for (const struct pool *pool = runtime->pools; pool; pool = pool->next) {
        const char *trouble = trouble_of(runtime, pool);
        if (pool->removed || !trouble[0])
            continue;
        int length = snprintf(one, sizeof one, ", %s %d/%d%s", pool->name, pool->ready,
                              pool_target(pool), trouble);
        if (more || line.length + (size_t)length + MORE > size)
            more++;
        else
            text_add(&line, "%s", one);
    }
    if (more)
        text_add(&line, ", and %d more", more);
}

static void print_status(const struct runtime *runtime, char *text, size_t size)
{
    struct text_line line = {.at = text, .room = size};
    int retiring = 0;
    for (const struct pool *pool = runtime->pools; pool; pool = pool->next) {
        retiring += pool->retiring;
        if (!pool->removed)
            text_add(&line, "%s%s %d/%d%s", line.length ? ", " : "", pool->name, pool->ready,
                     pool_target(pool), trouble_of(runtime, pool));
    }
    text_add(&line, " workers ready, %d retiring", retiring);
    if (line.length >= size)
        print_summary(runtime, text, size);
}

void master_publish_ready(struct master *master, usec now)
{
    print_status(&master->runtime, master->published.status, sizeof master->published.status);
    master->published.status_at = now;
    sysd_notify("READY=1\nSTATUS=%s", master->published.status);
}

usec master_publish_status(struct master *master, usec now, bool at_once)
{
    char text[sizeof master->published.status];
    if (!master->published.changed)
        return USEC_NEVER;
    if (!at_once && now < master->published.status_at + USEC_SECOND)
        return master->published.status_at + USEC_SECOND;
    print_status(&master->runtime, text, sizeof text);
    master->published.status_at = now;
    if (strcmp(text, master->published.status) != 0 && !sysd_try_notify("STATUS=%s", text))
        return now + USEC_SECOND; /* systemd's socket is full */
    master->published.changed = false;
    memcpy(master->published.status, text, sizeof text);
    return USEC_NEVER;
}

void master_log_state(struct master *master)
{
    const struct view view = boards_view(&master->runtime.spawner.boards);
    struct snapshot *snapshot = snapshot_take(&view, NULL);
    for (int i = 0; snapshot && i < snapshot->count; i++) {
        const struct snapshot_pool *pool = &snapshot->pools[i];
        const char *state = pool_state_words[pool->state];
        int ready = snapshot_ready(pool);
        char held[48] = "", counts[80] = "", pairs[80] = "";
        if (pool->model != MODEL_PROCESS)
            snprintf(held, sizeof held, " (%d of %d seats)", pool->seats_busy, pool->seats);
        unsigned long long accepted = pool->counts.accepted, served = pool->counts.served;
        if (!snapshot_is_app(pool)) {
            snprintf(counts, sizeof counts, "; connections: %llu accepted, %llu served", accepted,
                     served);
            snprintf(pairs, sizeof pairs, " accepted=%llu served=%llu", accepted, served);
        }
        if (pool->used)
            log_notice("pool %s: %s, %d of %d workers ready, %d busy%s, %d retiring%s pool=%s "
                       "state=%s workers=%d ready=%d busy=%d retiring=%d seats=%d busy_seats=%d "
                       "generation=%u%s",
                       pool->name, state, ready, pool->target, pool->busy, held, pool->retiring,
                       counts, pool->name, state, pool->target, ready, pool->busy, pool->retiring,
                       pool->seats, pool->seats_busy, pool->generation, pairs);
    }
    free(snapshot);
}
