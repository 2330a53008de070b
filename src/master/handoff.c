#include "handoff.h"

#include "../base/fd.h"
#include "../base/log.h"
#include "../base/sysd.h"
#include "../config/identity.h"
#include "../handlers/handler.h"
#include "stop.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(2 * sizeof(struct slot_peer) < STATE_NAME, "a peer has room");

/* --- conversions ------------------------------------------------------------------------------ */

/* A list of numbers: "3,0,17". */
static void print_numbers(char text[static STATE_NUMBERS], const uint64_t *numbers, int count)
{
    int at = 0;
    for (int i = 0; i < count && at < STATE_NUMBERS; i++)
        at += snprintf(text + at, (size_t)(STATE_NUMBERS - at), "%s%llu", i ? "," : "",
                       (unsigned long long)numbers[i]);
}

static void read_numbers(const char *text, uint64_t *numbers, int count)
{
    char *end;
    for (int i = 0; i < count && *text; i++) {
        numbers[i] = strtoull(text, &end, 10);
        text = *end == ',' ? end + 1 : "";
    }
}

/* The list begins with the sum; the classes follow. */
static void print_histogram(char text[static STATE_NUMBERS], const struct histogram *histogram)
{
    uint64_t all[HISTOGRAM_CLASSES + 1] = {histogram->sum};
    for (int i = 0; i < HISTOGRAM_CLASSES; i++)
        all[i + 1] = histogram->classes[i];
    print_numbers(text, all, HISTOGRAM_CLASSES + 1);
}

static void read_histogram(const char *text, struct histogram *histogram)
{
    uint64_t all[HISTOGRAM_CLASSES + 1] = {0};
    read_numbers(text, all, HISTOGRAM_CLASSES + 1);
    histogram->sum = all[0];
    for (int i = 0; i < HISTOGRAM_CLASSES; i++)
        histogram->classes[i] = all[i + 1];
}

static void print_counts(struct state_counts *saved, const struct slot_counts *counts)
{
    saved->accepted = (long long)counts->accepted;
    saved->served = (long long)counts->served;
    saved->errors = (long long)counts->errors;
    saved->bytes_in = (long long)counts->bytes_in;
    saved->bytes_out = (long long)counts->bytes_out;
    print_numbers(saved->refused, counts->refused, REFUSALS);
    saved->forks = (long long)counts->templates[TEMPLATE_FORKS];
    saved->cold_starts = (long long)counts->templates[TEMPLATE_COLD_STARTS];
    saved->restarts = (long long)counts->templates[TEMPLATE_RESTARTS];
    print_histogram(saved->service, &counts->service);
    print_histogram(saved->wait, &counts->wait);
}

static void read_counts(const struct state_counts *saved, struct slot_counts *counts)
{
    *counts = (struct slot_counts){
        .accepted = (uint64_t)saved->accepted,
        .served = (uint64_t)saved->served,
        .errors = (uint64_t)saved->errors,
        .bytes_in = (uint64_t)saved->bytes_in,
        .bytes_out = (uint64_t)saved->bytes_out,
        .templates = {[TEMPLATE_FORKS] = (uint64_t)saved->forks,
                      [TEMPLATE_COLD_STARTS] = (uint64_t)saved->cold_starts,
                      [TEMPLATE_RESTARTS] = (uint64_t)saved->restarts},
    };
    read_numbers(saved->refused, counts->refused, REFUSALS);
    read_histogram(saved->service, &counts->service);
    read_histogram(saved->wait, &counts->wait);
}

/* The numbers of an entry of the ledger, which have the same names in its record. */
#define DEATH_NUMBERS(OF)                                                                          \
    OF(when), OF(pid), OF(generation), OF(status), OF(cause), OF(age), OF(served), OF(cpu_user),   \
        OF(cpu_system), OF(memory), OF(was_ready), OF(out_of_memory), OF(in_hand)
#define SAVE(name)    saved->name = death->name
#define RESTORE(name) death.name = (__typeof__(death.name))saved->name

static void save_deaths(const struct overview *overview, struct state *state)
{
    struct death *list = calloc(SCOREBOARD_DEATHS, sizeof *list);
    int count = list ? deaths_list(overview, list) : 0;
    state->cut = state->cut || !list;
    for (int i = 0; i < count; i++) {
        const struct death *death = &list[i];
        struct state_death *saved = state_add(state, STATE_DEATH);
        saved->number = (long long)death->number;
        DEATH_NUMBERS(SAVE);
        snprintf(saved->pool, sizeof saved->pool, "%s", death->pool);
        snprintf(saved->why, sizeof saved->why, "%s", death->why);
        snprintf(saved->core, sizeof saved->core, "%s", death->core);
        snprintf(saved->last, sizeof saved->last, "%s", death->last);
        const unsigned char *peer = (const unsigned char *)&death->peer;
        for (size_t k = 0; k < sizeof death->peer; k++)
            sprintf(saved->peer + 2 * k, "%02x", peer[k]);
    }
    free(list);
}

/* Restores what the overview shows of the daemon's life, and the ledger, which must be empty. */
static void adopt_history(struct overview *overview, const struct state *state)
{
    const struct state_daemon *daemon = state_at(state, STATE_DAEMON, 0);
    const struct state_death *saved;
    overview->started = daemon->started;
    overview->started_at = daemon->started_at;
    overview->reloads = (uint32_t)daemon->reloads;
    overview->reloads_refused = (uint32_t)daemon->reloads_refused;
    overview->upgrades = (uint32_t)daemon->upgrades;
    overview->reloaded = daemon->reloaded;
    snprintf(overview->refusal, sizeof overview->refusal, "%.*s", SCOREBOARD_REASON - 1,
             daemon->refusal);
    for (int i = 0; (saved = state_at(state, STATE_DEATH, i)); i++) {
        struct death death = {0};
        DEATH_NUMBERS(RESTORE);
        snprintf(death.pool, sizeof death.pool, "%.*s", SCOREBOARD_NAME - 1, saved->pool);
        snprintf(death.why, sizeof death.why, "%.*s", SCOREBOARD_REASON - 1, saved->why);
        snprintf(death.core, sizeof death.core, "%.*s", SCOREBOARD_REASON - 1, saved->core);
        snprintf(death.last, sizeof death.last, "%.*s", (int)sizeof death.last - 1, saved->last);
        unsigned char *peer = (unsigned char *)&death.peer;
        unsigned byte;
        for (size_t k = 0; k < sizeof death.peer && sscanf(saved->peer + 2 * k, "%2x", &byte) == 1;
             k++)
            peer[k] = (unsigned char)byte;
        overview->deaths_written = (uint64_t)saved->number - 1;
        deaths_write(overview, &death);
    }
}

/* --- in the old binary ------------------------------------------------------------------------ */

static void save_listener(const struct listener *listener, struct state *state,
                          enum state_kind kind)
{
    struct state_listener *saved = state_add(state, kind);
    struct listener_facts facts = listener_facts(listener);
    *saved = (struct state_listener){
        .fd = listener->fd,
        .origin = facts.origin,
        .port = facts.port,
        .any_family = facts.any_family,
        .lent = facts.lent,
        .device = (long long)facts.device,
        .inode = (long long)facts.inode,
    };
    snprintf(saved->pool, sizeof saved->pool, "%s", listener->pool);
    snprintf(saved->name, sizeof saved->name, "%s", facts.passed_name ? facts.passed_name : "");
}

/* Saves a scoreboard, and the sum of what its present workers have counted. */
static void save_board(const struct pool *pool, const struct board *board, usec age,
                       struct state *state)
{
    struct slot_counts sum = {0}, counts;
    struct state_board *saved = state_add(state, STATE_BOARD);
    *saved = (struct state_board){
        .place = pool->resources.place,
        .generation = board->generation,
        .fd = board->fd,
        .wakeup_fd = board->wakeup.fd,
        .layout = scoreboard_layout(),
    };
    for (const struct worker *w = pool->workers; w; w = w->next) {
        if (w->board != board)
            continue;
        seats_read(w->slot, w->seats, age, &counts);
        slot_counts_add(&sum, &counts);
    }
    struct state_counts *counted = state_add(state, STATE_COUNTS);
    counted->place = pool->resources.place;
    counted->generation = board->generation;
    print_counts(counted, &sum);
}

static void save_pool(const struct pool *pool, const struct spawner *spawner, struct state *state)
{
    const struct overview *overview = spawner->boards.overview;
    const struct overview_pool *shown = &overview->pools[pool->resources.place];
    usec age = clock_now() - overview->started;
    pool_save(pool, state_add(state, STATE_POOL));
    struct state_counts *total = state_add(state, STATE_COUNTS);
    total->place = pool->resources.place;
    total->retirements = (long long)shown->retirements;
    total->deaths = (long long)shown->deaths;
    total->cpu_user = shown->cpu_user;
    total->cpu_system = shown->cpu_system;
    print_counts(total, &shown->counts);
    for (const struct group *g = pool->resources.groups.first; g; g = g->next) {
        struct state_group *saved = state_add(state, STATE_GROUP);
        *saved = (struct state_group){
            .place = pool->resources.place,
            .session = g->session,
            .number = g->number,
            .since = g->since,
            .deadline = g->deadline,
        };
    }
    for (const struct board *b = pool->resources.boards; b; b = b->next)
        save_board(pool, b, age, state);
    for (const struct worker *w = pool->workers; w; w = w->next)
        spawn_save(w, state_add(state, STATE_WORKER));
}

void handoff_save(const struct runtime *runtime, struct state *state)
{
    const struct stderr_log_set *set = runtime->spawner.lines;
    const struct stderr_log *lines = NULL;
    for (int i = 0; i < sysd_socket_count(); i++) {
        const struct sysd_socket *passed = sysd_socket(i);
        struct state_socket *saved = state_add(state, STATE_SOCKET);
        saved->fd = passed->fd;
        snprintf(saved->name, sizeof saved->name, "%s", passed->name);
    }
    for (const struct listener *l = runtime->listeners; l; l = l->next)
        save_listener(l, state, STATE_LISTENER);
    if (runtime->control)
        save_listener(runtime->control, state, STATE_CONTROL);
    for (const struct pool *p = runtime->pools; p; p = p->next)
        save_pool(p, &runtime->spawner, state);
    save_deaths(runtime->spawner.boards.overview, state);
    while ((lines = stderr_log_next_detached(set, lines))) {
        struct state_detached *saved = state_add(state, STATE_DETACHED);
        saved->fd = lines->watch.fd;
        saved->pid = lines->pid;
        snprintf(saved->pool, sizeof saved->pool, "%s", lines->pool);
    }
}

void handoff_inherit(const struct state *state, bool wanted)
{
    struct state_cursor cursor = {0};
    int fd;
    while ((fd = state_next_fd(state, &cursor)) >= 0)
        fd_set_inherited(fd, wanted);
}

/* --- in the new binary ------------------------------------------------------------------------ */

static struct listener *adopt_listener(const struct state_listener *saved)
{
    char why[100];
    struct listener_facts facts = {
        .origin = (enum listener_origin)saved->origin,
        .passed_name = saved->name[0] ? saved->name : NULL,
        .port = (unsigned)saved->port,
        .any_family = saved->any_family,
        .lent = saved->lent,
        .device = (dev_t)saved->device,
        .inode = (ino_t)saved->inode,
    };
    struct listener *listener = listener_revive((int)saved->fd, &facts, why, sizeof why);
    if (listener)
        snprintf(listener->pool, sizeof listener->pool, "%.*s", POOL_NAME_MAX, saved->pool);
    else
        log_err("a listener of the binary before can't be used: %s", why);
    return listener;
}

/* Includes the sockets that systemd passed. 0 or -errno. */
static int adopt_listeners(struct runtime *runtime, const struct state *state)
{
    const struct state_listener *saved;
    const struct state_socket *socket;
    struct listener **end = &runtime->listeners;
    int error = 0;
    for (int i = 0; (saved = state_at(state, STATE_LISTENER, i)); i++) {
        *end = adopt_listener(saved);
        if (*end)
            end = &(*end)->next;
    }
    saved = state_at(state, STATE_CONTROL, 0);
    runtime->control = saved ? adopt_listener(saved) : NULL;
    for (int i = 0; !error && (socket = state_at(state, STATE_SOCKET, i)); i++)
        error = sysd_add_socket((int)socket->fd, socket->name);
    return error;
}

/* Options that the state does not have get their defaults, so the stub is complete whatever is read
 * of it. */
static const struct pool_config *make_stub(struct config *config, const struct state_pool *saved)
{
    struct pool_config *conf = arena_take(config->arena, sizeof *conf);
    const struct handler_section *const *handler = handler_sections;
    while (*handler && strcmp((*handler)->name, saved->handler) != 0)
        handler++;
    option_defaults(pool_rows, conf, config->arena);
    option_defaults(limit_rows, &conf->limits, config->arena);
    conf->name = arena_text(config->arena, saved->name);
    conf->origin.file = config->file;
    conf->workers = (int)saved->workers;
    conf->graceful_timeout = (int)saved->graceful_timeout;
    conf->request_timeout = (int)saved->request_timeout;
    conf->model = saved->model < SERVE_MODELS ? (int)saved->model : MODEL_PROCESS;
    conf->seats = saved->seats ? (int)saved->seats : 1;
    conf->handler = *handler ? *handler : &handler_discard.section;
    conf->handler_origin.file = config->file;
    void *section = arena_take(config->arena, conf->handler->size);
    option_defaults(conf->handler->rows, section, config->arena);
    conf->handler_config = section;
    return conf;
}

/* The pool's stub; or, for a worker of an earlier configuration, a copy with what differs in its
 * request_timeout and at its exit. */
static const struct pool_config *worker_conf(struct config *config, const struct pool_config *conf,
                                             const struct state_worker *saved)
{
    if (conf->identity.uid == (uid_t)saved->uid && conf->limits.value[LIMIT_CORE] == saved->core &&
        conf->request_timeout == saved->request_timeout)
        return conf;
    struct pool_config *own = arena_take(config->arena, sizeof *own);
    *own = *conf;
    own->identity.uid = (uid_t)saved->uid;
    own->limits.value[LIMIT_CORE] = saved->core;
    own->request_timeout = (int)saved->request_timeout;
    return own;
}

/* Maps the places in the state to pools. */
struct places {
    struct pool *pools[SCOREBOARD_POOLS];
};

static struct pool *pool_at(const struct places *places, long long place)
{
    return place < SCOREBOARD_POOLS ? places->pools[place] : NULL;
}

static int adopt_pools(struct runtime *runtime, const struct state *state, struct places *places)
{
    const struct state_pool *saved;
    struct config *config = runtime->config;
    struct pool **end = &runtime->pools;
    for (int i = 0; (saved = state_at(state, STATE_POOL, i)); i++) {
        if (saved->place >= SCOREBOARD_POOLS || places->pools[saved->place])
            return -EINVAL;
        *end = pool_adopt(&runtime->spawner, saved, config, make_stub(config, saved));
        if (!*end)
            return -ENOMEM;
        places->pools[saved->place] = *end;
        end = &(*end)->next;
    }
    return 0;
}

/* Until a reload is applied, the pools look here for connections that wait. */
static int adopt_pool_listeners(struct runtime *runtime)
{
    for (struct listener *l = runtime->listeners; l; l = l->next) {
        struct pool *pool = runtime_find(runtime, l->pool);
        if (!pool)
            continue; /* it was removed */
        size_t size = (size_t)(pool->listener_count + 1) * sizeof l;
        struct listener **list = realloc(pool->listeners, size);
        if (!list)
            return -ENOMEM;
        list[pool->listener_count++] = l;
        pool->listeners = list;
    }
    return 0;
}

/* Workers of a scoreboard with another layout go on counting in it, unseen. */
static int adopt_boards(struct runtime *runtime, const struct state *state,
                        const struct places *places)
{
    const struct state_board *saved;
    int replaced = 0;
    for (int i = 0; (saved = state_at(state, STATE_BOARD, i)); i++) {
        struct pool *pool = pool_at(places, saved->place);
        if (!pool)
            return -EINVAL;
        const struct board *board = resources_adopt_board(
            &pool->resources, &runtime->spawner.boards, (unsigned)saved->generation, (int)saved->fd,
            (int)saved->wakeup_fd, saved->layout == scoreboard_layout());
        if (!board)
            return -errno;
        replaced += board->fd < 0;
    }
    if (replaced)
        log_notice(
            "upgrade: %d scoreboard%s of the binary before %s another layout: what its workers "
            "do is not shown until they are done",
            replaced, replaced == 1 ? "" : "s", replaced == 1 ? "has" : "have");
    return 0;
}

/* Skips the counts of scoreboards that were adopted: they hold these counts themselves. */
static int adopt_counts(struct runtime *runtime, const struct state *state,
                        const struct places *places)
{
    const struct state_counts *saved;
    for (int i = 0; (saved = state_at(state, STATE_COUNTS, i)); i++) {
        struct pool *pool = pool_at(places, saved->place);
        if (!pool)
            return -EINVAL;
        const struct board *board =
            resources_find_board(&pool->resources, (unsigned)saved->generation);
        if (saved->generation && board && board->fd >= 0)
            continue;
        struct overview_pool *shown =
            &runtime->spawner.boards.overview->pools[pool->resources.place];
        struct slot_counts counts;
        read_counts(saved, &counts);
        slot_counts_add(&shown->counts, &counts);
        shown->retirements += (uint64_t)saved->retirements;
        shown->deaths += (uint64_t)saved->deaths;
        shown->cpu_user += saved->cpu_user;
        shown->cpu_system += saved->cpu_system;
    }
    return 0;
}

static int adopt_groups(const struct state *state, const struct places *places)
{
    const struct state_group *saved;
    for (int i = 0; (saved = state_at(state, STATE_GROUP, i)); i++) {
        struct pool *pool = pool_at(places, saved->place);
        if (!pool || !process_groups_adopt(&pool->resources.groups, saved))
            return pool ? -ENOMEM : -EINVAL;
    }
    return 0;
}

static int adopt_workers(struct runtime *runtime, const struct state *state,
                         const struct places *places)
{
    const struct state_worker *saved;
    const struct pool_config *conf = NULL;
    for (int i = 0; (saved = state_at(state, STATE_WORKER, i)); i++) {
        struct pool *pool = pool_at(places, saved->place);
        if (!pool)
            return -EINVAL;
        bool same = conf && conf->name == pool->conf->name;
        conf = worker_conf(runtime->config, same ? conf : pool->conf, saved);
        if (!pool_adopt_worker(pool, &runtime->spawner, saved, runtime->config, conf))
            return -EINVAL;
    }
    return 0;
}

static struct config *make_stub_config(const struct state_daemon *daemon, const char *file)
{
    struct config *config = config_new();
    if (!config)
        return NULL;
    config->file = arena_text(config->arena, file);
    config->control_gid = IDENTITY_NO_GROUP;
    config->log.level = (int)daemon->log_level;
    config->log.facility = (int)daemon->log_facility;
    config->log.format_choice = daemon->log_json ? LOG_FORMAT_JSON : LOG_FORMAT_PLAIN;
    config->log.ident = arena_text(config->arena, daemon->log_ident);
    return config;
}

int handoff_adopt(struct runtime *runtime, const struct state *state, const char *file)
{
    struct places places = {{NULL}};
    const struct state_daemon *daemon = state_at(state, STATE_DAEMON, 0);
    const struct state_detached *detached;
    runtime->config = make_stub_config(daemon, file);
    if (!runtime->config)
        return -errno;
    runtime->generation = (unsigned)daemon->generation;
    int error = adopt_listeners(runtime, state);
    adopt_history(runtime->spawner.boards.overview, state);
    if (!error)
        error = adopt_pools(runtime, state, &places);
    if (!error)
        error = adopt_pool_listeners(runtime);
    if (!error)
        error = adopt_boards(runtime, state, &places);
    if (!error)
        error = adopt_counts(runtime, state, &places);
    if (!error)
        error = adopt_groups(state, &places);
    if (!error)
        error = adopt_workers(runtime, state, &places);
    for (int i = 0; (detached = state_at(state, STATE_DETACHED, i)); i++) {
        struct pool *pool = runtime_find(runtime, detached->pool); /* NULL: it was removed */
        stderr_log_adopt_detached(runtime->spawner.lines, (int)detached->fd, (pid_t)detached->pid,
                                  detached->pool, pool ? &pool->resources.rate : NULL);
    }
    handoff_inherit(state, false);
    arena_seal(runtime->config->arena);
    return error;
}
