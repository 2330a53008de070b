#include "handoff.h"

#include "../base/fd.h"
#include "../base/log.h"
#include "../base/sysd.h"
#include "../config/identity.h"
#include "../handlers/handler.h"
#include "handoff_counts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Saving. */

static bool save_listener(const struct listener *listener, struct state *state,
                          enum state_kind kind)
{
    struct state_listener *saved = state_add(state, kind);
    if (!saved)
        return false;
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
    snprintf(saved->name, sizeof saved->name, "%s", facts.passed_name ? facts.passed_name : "");
    return true;
}

static bool save_socket(const struct sysd_socket *passed, struct state *state)
{
    struct state_socket *saved = state_add(state, STATE_SOCKET);
    if (!saved)
        return false;
    saved->fd = passed->fd;
    snprintf(saved->name, sizeof saved->name, "%s", passed->name);
    return true;
}

/* What was counted so far by the workers that have a slot in a scoreboard. */
static struct slot_counts counts_of(const struct pool *pool, const struct board *board, usec age)
{
    struct slot_counts sum = {0}, counts;
    for (const struct worker *w = pool->ring.first; w; w = w->next) {
        if (w->board != board)
            continue;
        slot_read(w->slot, &counts);
        if (slot_counts_possible(&counts, age))
            overview_add_counts(&sum, &counts);
    }
    return sum;
}

static bool save_totals(const struct pool *pool, const struct overview *overview,
                        struct state *state)
{
    const struct overview_pool *shown = &overview->pools[pool->resources.place];
    struct state_counts *saved = state_add(state, STATE_COUNTS);
    if (!saved)
        return false;
    saved->place = pool->resources.place;
    saved->retirements = (long long)shown->retirements;
    saved->deaths = (long long)shown->deaths;
    saved->cpu_user = shown->cpu_user;
    saved->cpu_system = shown->cpu_system;
    handoff_print_counts(saved, &shown->counts);
    return true;
}

static bool save_board(const struct pool *pool, const struct board *board, usec age,
                       struct state *state)
{
    struct state_board *saved = state_add(state, STATE_BOARD);
    struct state_counts *counts = saved ? state_add(state, STATE_COUNTS) : NULL;
    if (!counts)
        return false;
    *saved = (struct state_board){
        .place = pool->resources.place,
        .generation = board->generation,
        .fd = board->fd,
        .wakeup_fd = board->wakeup.fd,
        .layout = scoreboard_layout(),
    };
    counts->place = saved->place;
    counts->generation = saved->generation;
    const struct slot_counts sum = counts_of(pool, board, age);
    handoff_print_counts(counts, &sum);
    return true;
}

static bool save_groups(const struct pool *pool, struct state *state)
{
    for (const struct group *g = pool->resources.groups.first; g; g = g->next) {
        struct state_group *saved = state_add(state, STATE_GROUP);
        if (!saved)
            return false;
        *saved = (struct state_group){
            .place = pool->resources.place,
            .session = g->session,
            .number = g->number,
            .since = g->since,
            .deadline = g->deadline,
        };
    }
    return true;
}

static bool save_pool(const struct pool *pool, const struct spawner *spawner, struct state *state)
{
    const struct overview *overview = spawner->boards.overview;
    usec age = clock_now() - overview->started;
    struct state_pool *saved = state_add(state, STATE_POOL);
    if (!saved)
        return false;
    pool_save(pool, saved);
    bool whole = save_totals(pool, overview, state) && save_groups(pool, state);
    for (const struct board *b = pool->resources.boards; whole && b; b = b->next)
        whole = save_board(pool, b, age, state);
    for (const struct worker *w = pool->ring.first; whole && w; w = w->next) {
        struct state_worker *worker = state_add(state, STATE_WORKER);
        whole = worker;
        if (worker)
            spawn_save(w, worker);
    }
    return whole;
}

static bool save_detached(const struct stderr_log *lines, struct state *state)
{
    struct state_detached *saved = state_add(state, STATE_DETACHED);
    if (!saved)
        return false;
    saved->fd = lines->watch.fd;
    saved->pid = lines->pid;
    snprintf(saved->pool, sizeof saved->pool, "%s", lines->pool);
    return true;
}

int handoff_save(const struct runtime *runtime, struct state *state)
{
    const struct stderr_log_set *set = runtime->spawner.lines;
    const struct stderr_log *lines = NULL;
    bool saved = true;
    for (int i = 0; saved && i < sysd_socket_count(); i++)
        saved = save_socket(sysd_socket(i), state);
    for (const struct listener *l = runtime->listeners; saved && l; l = l->next)
        saved = save_listener(l, state, STATE_LISTENER);
    if (saved && runtime->control)
        saved = save_listener(runtime->control, state, STATE_CONTROL);
    for (const struct pool *p = runtime->pools; saved && p; p = p->next)
        saved = save_pool(p, &runtime->spawner, state);
    saved = saved && handoff_save_deaths(runtime->spawner.boards.overview, state);
    while (saved && (lines = stderr_log_next_detached(set, lines)))
        saved = save_detached(lines, state);
    return saved ? 0 : -ENOMEM;
}

void handoff_inherit(const struct state *state, bool wanted)
{
    const struct state_daemon *daemon = state_at(state, STATE_DAEMON, 0);
    const struct state_socket *socket;
    const struct state_listener *listener;
    const struct state_worker *worker;
    const struct state_caller *caller;
    const struct state_board *board;
    const struct state_pool *pool;
    const struct state_detached *detached;
    for (int i = 0; (board = state_at(state, STATE_BOARD, i)); i++) {
        if (board->fd >= 0)
            fd_set_inherited((int)board->fd, wanted);
        if (board->wakeup_fd >= 0)
            fd_set_inherited((int)board->wakeup_fd, wanted);
    }
    for (int i = 0; (pool = state_at(state, STATE_POOL, i)); i++)
        if (pool->limits_fd >= 0)
            fd_set_inherited((int)pool->limits_fd, wanted);
    if (daemon->pidfile_fd >= 0)
        fd_set_inherited((int)daemon->pidfile_fd, wanted);
    for (int i = 0; (socket = state_at(state, STATE_SOCKET, i)); i++)
        fd_set_inherited((int)socket->fd, wanted);
    for (int i = 0; (listener = state_at(state, STATE_LISTENER, i)); i++)
        fd_set_inherited((int)listener->fd, wanted);
    for (int i = 0; (listener = state_at(state, STATE_CONTROL, i)); i++)
        fd_set_inherited((int)listener->fd, wanted);
    for (int i = 0; (caller = state_at(state, STATE_CALLER, i)); i++)
        fd_set_inherited((int)caller->fd, wanted);
    for (int i = 0; (detached = state_at(state, STATE_DETACHED, i)); i++)
        fd_set_inherited((int)detached->fd, wanted);
    for (int i = 0; (worker = state_at(state, STATE_WORKER, i)); i++) {
        if (worker->error_fd >= 0)
            fd_set_inherited((int)worker->error_fd, wanted);
        if (worker->notify_fd > STDERR_FILENO)
            fd_set_inherited((int)worker->notify_fd, wanted);
    }
}

/* Adopting. */

static int adopt_sockets(const struct state *state)
{
    const struct state_socket *saved;
    int error = 0;
    for (int i = 0; !error && (saved = state_at(state, STATE_SOCKET, i)); i++)
        error = sysd_add_socket((int)saved->fd, saved->name);
    return error;
}

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
    if (!listener)
        log_err("a listener of the program before can't be used: %s", why);
    return listener;
}

static void adopt_listeners(struct runtime *runtime, const struct state *state)
{
    const struct state_listener *saved;
    struct listener **end = &runtime->listeners;
    for (int i = 0; (saved = state_at(state, STATE_LISTENER, i)); i++) {
        *end = adopt_listener(saved);
        if (*end)
            end = &(*end)->next;
    }
    saved = state_at(state, STATE_CONTROL, 0);
    runtime->control = saved ? adopt_listener(saved) : NULL;
}

static const struct handler_section *find_handler(const char *name)
{
    const struct handler_section *const *at = handler_sections;
    while (*at && strcmp((*at)->name, name) != 0)
        at++;
    return *at ? *at : &handler_discard.section;
}

/* All defaults, but for what was carried: so nothing in it is missing, whoever looks. */
static const struct pool_config *make_conf(struct config *config, const struct state_pool *saved)
{
    struct pool_config *conf = arena_take(config->arena, sizeof *conf);
    option_defaults(pool_rows, conf, config->arena);
    option_defaults(limit_rows, &conf->limits, config->arena);
    conf->name = arena_text(config->arena, saved->name);
    conf->origin.file = config->file;
    conf->workers = (int)saved->workers;
    conf->graceful_timeout = (int)saved->graceful_timeout;
    conf->request_timeout = (int)saved->request_timeout;
    conf->handler = find_handler(saved->handler);
    conf->handler_origin.file = config->file;
    void *section = arena_take(config->arena, conf->handler->size);
    option_defaults(conf->handler->rows, section, config->arena);
    conf->handler_config = section;
    return conf;
}

/* The pool's, unless a worker is of one before it: then what differs at its end. */
static const struct pool_config *worker_conf(struct config *config, const struct pool_config *conf,
                                             const struct state_worker *saved)
{
    if (conf->identity.uid == (uid_t)saved->uid && conf->limits.value[LIMIT_CORE] == saved->core)
        return conf;
    struct pool_config *its = arena_take(config->arena, sizeof *its);
    *its = *conf;
    its->identity.uid = (uid_t)saved->uid;
    its->limits.value[LIMIT_CORE] = saved->core;
    return its;
}

static int adopt_pools(struct runtime *runtime, const struct state *state, struct config *config,
                       struct pool *pools[static SCOREBOARD_POOLS])
{
    const struct state_pool *saved;
    struct pool **end = &runtime->pools;
    for (int i = 0; (saved = state_at(state, STATE_POOL, i)); i++) {
        if (saved->place >= SCOREBOARD_POOLS || pools[saved->place])
            return -EINVAL;
        *end = pool_adopt(&runtime->spawner, saved, config, make_conf(config, saved));
        if (!*end)
            return -ENOMEM;
        pools[saved->place] = *end;
        end = &(*end)->next;
    }
    return 0;
}

static struct pool *pool_at(struct pool *const pools[static SCOREBOARD_POOLS], long long place)
{
    return place < SCOREBOARD_POOLS ? pools[place] : NULL;
}

/* A scoreboard that can't be gone on with is one in which the old workers count unseen from now on. */
static int adopt_boards(struct runtime *runtime, const struct state *state,
                        struct pool *const pools[static SCOREBOARD_POOLS])
{
    const struct state_board *saved;
    int others = 0;
    for (int i = 0; (saved = state_at(state, STATE_BOARD, i)); i++) {
        struct pool *pool = pool_at(pools, saved->place);
        if (!pool)
            return -EINVAL;
        struct resources *resources = &pool->resources;
        struct board *board = board_adopt(
            &runtime->spawner.boards, (unsigned)saved->generation, &resources->changed,
            (int)saved->fd, (int)saved->wakeup_fd, saved->layout == scoreboard_layout());
        if (!board)
            return -errno;
        others += board->fd < 0;
        board->next = resources->boards;
        resources->boards = board;
    }
    if (others)
        log_notice("upgrade: %d scoreboard%s of the program before %s laid out otherwise: what its "
                   "workers do is not shown until they are done",
                   others, others == 1 ? "" : "s", others == 1 ? "is" : "are");
    return 0;
}

/* Those of a scoreboard that we go on with are in it. */
static int adopt_counts(struct runtime *runtime, const struct state *state,
                        struct pool *const pools[static SCOREBOARD_POOLS])
{
    const struct state_counts *saved;
    for (int i = 0; (saved = state_at(state, STATE_COUNTS, i)); i++) {
        struct pool *pool = pool_at(pools, saved->place);
        if (!pool)
            return -EINVAL;
        const struct board *board =
            resources_find_board(&pool->resources, (unsigned)saved->generation);
        if (saved->generation && board && board->fd >= 0)
            continue;
        struct overview_pool *shown =
            &runtime->spawner.boards.overview->pools[pool->resources.place];
        struct slot_counts counts;
        handoff_read_counts(saved, &counts);
        overview_add_counts(&shown->counts, &counts);
        shown->retirements += (uint64_t)saved->retirements;
        shown->deaths += (uint64_t)saved->deaths;
        shown->cpu_user += saved->cpu_user;
        shown->cpu_system += saved->cpu_system;
    }
    return 0;
}

static int adopt_groups(const struct state *state,
                        struct pool *const pools[static SCOREBOARD_POOLS])
{
    const struct state_group *saved;
    for (int i = 0; (saved = state_at(state, STATE_GROUP, i)); i++) {
        struct pool *pool = pool_at(pools, saved->place);
        if (!pool || !process_groups_adopt(&pool->resources.groups, saved))
            return pool ? -ENOMEM : -EINVAL;
    }
    return 0;
}

static int adopt_workers(struct runtime *runtime, const struct state *state, struct config *config,
                         struct pool *const pools[static SCOREBOARD_POOLS])
{
    const struct state_worker *saved;
    const struct pool_config *conf = NULL;
    for (int i = 0; (saved = state_at(state, STATE_WORKER, i)); i++) {
        struct pool *pool = pool_at(pools, saved->place);
        if (!pool)
            return -EINVAL;
        bool same = conf && conf->name == pool->conf->name;
        conf = worker_conf(config, same ? conf : pool->conf, saved);
        if (!pool_adopt_worker(pool, &runtime->spawner, saved, config, conf))
            return -EINVAL;
    }
    return 0;
}

static void adopt_history(struct overview *overview, const struct state_daemon *daemon)
{
    overview->started = daemon->started;
    overview->started_at = daemon->started_at;
    overview->reloads = (uint32_t)daemon->reloads;
    overview->reloads_refused = (uint32_t)daemon->reloads_refused;
    overview->upgrades = (uint32_t)daemon->upgrades;
    overview->reloaded = daemon->reloaded;
    snprintf(overview->refusal, sizeof overview->refusal, "%.*s", SCOREBOARD_REASON - 1,
             daemon->refusal);
}

/* Of a pool that goes on, or of none. */
static void adopt_detached(struct runtime *runtime, const struct state *state)
{
    const struct state_detached *saved;
    for (int i = 0; (saved = state_at(state, STATE_DETACHED, i)); i++) {
        struct pool *pool = runtime_find(runtime, saved->pool);
        stderr_log_adopt_detached(runtime->spawner.lines, (int)saved->fd, (pid_t)saved->pid,
                                  saved->pool, pool ? &pool->resources.rate : NULL);
    }
}

static struct config *make_config(const struct state *state, const char *file)
{
    const struct state_daemon *daemon = state_at(state, STATE_DAEMON, 0);
    struct config *config = config_new();
    if (!config)
        return NULL;
    config->file = arena_text(config->arena, file);
    config->control_gid = IDENTITY_NO_GROUP;
    config->log.level = (int)daemon->log_level;
    config->log.facility = (int)daemon->log_facility;
    config->log.ident = arena_text(config->arena, daemon->log_ident);
    return config;
}

int handoff_adopt(struct runtime *runtime, const struct state *state, const char *file)
{
    struct pool *pools[SCOREBOARD_POOLS] = {NULL};
    const struct state_daemon *daemon = state_at(state, STATE_DAEMON, 0);
    runtime->config = make_config(state, file);
    if (!runtime->config)
        return -errno;
    runtime->generation = (unsigned)daemon->generation;
    adopt_listeners(runtime, state);
    int error = adopt_sockets(state);
    adopt_history(runtime->spawner.boards.overview, daemon);
    handoff_adopt_deaths(runtime->spawner.boards.overview, state);
    if (!error)
        error = adopt_pools(runtime, state, runtime->config, pools);
    if (!error)
        error = adopt_boards(runtime, state, pools);
    if (!error)
        error = adopt_counts(runtime, state, pools);
    if (!error)
        error = adopt_groups(state, pools);
    if (!error)
        error = adopt_workers(runtime, state, runtime->config, pools);
    adopt_detached(runtime, state);
    handoff_inherit(state, false);
    arena_seal(runtime->config->arena);
    return error;
}

bool handoff_is_left(const struct runtime *runtime)
{
    for (const struct pool *pool = runtime->pools; pool; pool = pool->next)
        if (pool->carried && !pool->removed)
            return true;
    return false;
}
