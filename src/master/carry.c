#include "carry.h"

#include "../base/fd.h"
#include "../base/sysd.h"
#include "../config/identity.h"
#include "../handlers/handler.h"

#include <errno.h>
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

static bool save_pool(const struct pool *pool, const struct spawner *spawner, struct state *state)
{
    struct state_pool *saved = state_add(state, STATE_POOL);
    if (!saved)
        return false;
    pool_save(pool, saved);
    for (const struct worker *w = pool->ring.first; w; w = w->next) {
        struct state_worker *worker = state_add(state, STATE_WORKER);
        if (!worker)
            return false;
        spawn_save(spawner, w, worker);
    }
    return true;
}

int carry_save(const struct realm *realm, struct state *state)
{
    bool saved = true;
    for (int i = 0; saved && i < sysd_socket_count(); i++)
        saved = save_socket(sysd_socket(i), state);
    for (const struct listener *l = realm->listeners; saved && l; l = l->next)
        saved = save_listener(l, state, STATE_LISTENER);
    if (saved && realm->control)
        saved = save_listener(realm->control, state, STATE_CONTROL);
    for (const struct pool *p = realm->pools; saved && p; p = p->next)
        saved = save_pool(p, &realm->spawner, state);
    return saved ? 0 : -ENOMEM;
}

void carry_inherit(const struct state *state, bool wanted)
{
    const struct state_daemon *daemon = state_at(state, STATE_DAEMON, 0);
    const struct state_socket *socket;
    const struct state_listener *listener;
    const struct state_worker *worker;
    const struct state_caller *caller;
    fd_set_inherited((int)daemon->board_fd, wanted);
    fd_set_inherited((int)daemon->bell_fd, wanted);
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

static void adopt_listeners(struct realm *realm, const struct state *state)
{
    const struct state_listener *saved;
    struct listener **end = &realm->listeners;
    for (int i = 0; (saved = state_at(state, STATE_LISTENER, i)); i++) {
        *end = adopt_listener(saved);
        if (*end)
            end = &(*end)->next;
    }
    saved = state_at(state, STATE_CONTROL, 0);
    realm->control = saved ? adopt_listener(saved) : NULL;
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

static int adopt_pools(struct realm *realm, const struct state *state, struct config *config,
                       struct pool *pools[static SCOREBOARD_POOLS])
{
    const struct state_pool *saved;
    struct pool **end = &realm->pools;
    for (int i = 0; (saved = state_at(state, STATE_POOL, i)); i++) {
        if (saved->place >= SCOREBOARD_POOLS || pools[saved->place])
            return -EINVAL;
        *end = pool_adopt(saved, config, make_conf(config, saved));
        if (!*end)
            return -ENOMEM;
        pools[saved->place] = *end;
        end = &(*end)->next;
    }
    return 0;
}

static int adopt_workers(struct realm *realm, const struct state *state, struct config *config,
                         struct pool *const pools[static SCOREBOARD_POOLS])
{
    const struct state_worker *saved;
    const struct pool_config *conf = NULL;
    for (int i = 0; (saved = state_at(state, STATE_WORKER, i)); i++) {
        struct pool *pool = saved->place < SCOREBOARD_POOLS ? pools[saved->place] : NULL;
        if (!pool)
            return -EINVAL;
        bool same = conf && conf->name == pool->conf->name;
        conf = worker_conf(config, same ? conf : pool->conf, saved);
        if (!pool_adopt_worker(pool, &realm->spawner, saved, config, conf))
            return -EINVAL;
    }
    return 0;
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

int carry_adopt(struct realm *realm, const struct state *state, const char *file)
{
    struct pool *pools[SCOREBOARD_POOLS] = {NULL};
    const struct state_daemon *daemon = state_at(state, STATE_DAEMON, 0);
    realm->config = make_config(state, file);
    if (!realm->config)
        return -errno;
    realm->generation = (unsigned)daemon->generation;
    adopt_listeners(realm, state);
    int error = adopt_sockets(state);
    if (!error)
        error = adopt_pools(realm, state, realm->config, pools);
    if (!error)
        error = adopt_workers(realm, state, realm->config, pools);
    carry_inherit(state, false);
    arena_seal(realm->config->arena);
    return error;
}

bool carry_is_left(const struct realm *realm)
{
    for (const struct pool *pool = realm->pools; pool; pool = pool->next)
        if (pool->carried && !pool->removed)
            return true;
    return false;
}
