#include "plan.h"

#include "../base/daemon.h"
#include "../base/sysd.h"
#include "../config/access_list.h"
#include "../config/identity.h"
#include "../config/listens.h"
#include "../handlers/handler.h"
#include "../worker/worker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct listener_options plan_listener_options(const struct pool_config *conf, bool polls)
{
    return (struct listener_options){
        .backlog = conf->backlog,
        .mode = conf->socket_mode,
        .uid = conf->socket_uid,
        .gid = conf->socket_gid,
        .keepalive = conf->keepalive,
        .idle_timeout = handler_timeouts(conf->handler, conf->idle_timeout),
        .nonblocking = polls,
        .lent = handler_of(conf->handler)->exec != NULL,
    };
}

struct listener_options plan_control_options(const struct config *config)
{
    bool shared = config->control_gid != IDENTITY_NO_GROUP;
    return (struct listener_options){
        .backlog = 1024, /* clients must not be refused while a round takes long */
        .mode = shared ? 0660 : 0600,
        .uid = geteuid(),
        .gid = shared ? config->control_gid : getegid(),
        .nonblocking = true,
    };
}

bool plan_needs_workers(const struct plan *plan)
{
    return plan->kind == PLAN_REPLACED || plan->kind == PLAN_ADDED;
}

static const struct plan *plan_of(const struct plans *plans, const struct pool *pool)
{
    for (int i = 0; i < plans->count; i++)
        if (plans->at[i].pool == pool)
            return &plans->at[i];
    return NULL;
}

bool plans_have(const struct plans *plans, const struct pool *pool)
{
    return plan_of(plans, pool);
}

static void add_fault(const struct plans *plans, const struct plan *plan,
                      const struct listen_spec *spec, const char *why)
{
    faults_add(plans->faults, spec->file, spec->line, "pool %s: listen \"%s\": %s",
               plan->conf->name, spec->word, why);
}

static void take(struct plans *plans, struct plan *plan, const struct listen_spec *spec,
                 struct listener *listener)
{
    listener->wanted = true;
    if (plan->listener_count == WORKER_LISTENERS_MAX) {
        add_fault(plans, plan, spec, "more addresses than a pool can have");
        return;
    }
    plan->listeners[plan->listener_count++] = listener;
}

static void take_opened(struct plans *plans, struct plan *plan, const struct listen_spec *spec,
                        struct listener *listener)
{
    struct listener **end = &plans->opened;
    while (*end)
        end = &(*end)->next;
    *end = listener;
    take(plans, plan, spec, listener);
}

/* Opens a listener. In a dry run, makes one without a socket, for the plan's lines. NULL with a
 * sentence in `why`. */
static struct listener *open_or_stand_in(const struct plans *plans, const struct listen_spec *spec,
                                         const struct listener_options *options, char *why,
                                         size_t size)
{
    struct listener *listener = NULL;
    snprintf(why, size, "out of memory");
    if (!plans->dry_run) {
        listener_open(&listener, spec, options, why, size);
        return listener;
    }
    listener = calloc(1, sizeof *listener);
    if (!listener)
        return NULL;
    listener->fd = -1;
    listener->asked = listener->bound = spec->addr;
    listener->any_family = spec->any_family;
    addr_print(&spec->addr, listener->text);
    return listener;
}

static struct listener *open_for_pool(const struct plans *plans, const struct plan *plan,
                                      const struct listen_spec *spec, char *why, size_t size)
{
    const struct pool_config *conf = plan->conf;
    struct listener_options options =
        plan_listener_options(conf, pool_polls(conf, conf->listen_count));
    return open_or_stand_in(plans, spec, &options, why, size);
}

static void open_new(struct plans *plans, struct plan *plan, const struct listen_spec *spec)
{
    char why[ADDR_TEXT + 100];
    for (const struct listener *old = plans->in_force; old; old = old->next)
        if (listener_collides(old, spec)) {
            snprintf(why, sizeof why,
                     "a reload can't go to it from %s: a wildcard and an address of one port "
                     "exclude each other; restart",
                     old->text);
            add_fault(plans, plan, spec, why);
            return;
        }
    struct listener *listener = open_for_pool(plans, plan, spec, why, sizeof why);
    if (listener)
        take_opened(plans, plan, spec, listener);
    else
        add_fault(plans, plan, spec, why);
}

/* Whether the job concerns the pool: a restart leaves the others alone. */
static bool is_concerned(const struct plans *plans, const struct plan *plan)
{
    const char *only = plans->only;
    const struct pool *pool = plan->pool;
    if (!only)
        return true;
    return only[0] ? strcmp(only, plan->conf->name) == 0 : pool && !pool->drained;
}

/* Opens a new listener in the place of a lost one. If that fails, keeps the old listener and adds
 * no fault: else a user who may write to the directory of a path could block every reload. */
static void reopen(struct plans *plans, struct plan *plan, const struct listen_spec *spec,
                   struct listener *old, enum listener_loss loss)
{
    struct listener *fresh = open_for_pool(plans, plan, spec, old->trouble, sizeof old->trouble);
    if (!fresh) {
        take(plans, plan, spec, old);
        return;
    }
    old->trouble[0] = '\0';
    old->successor = fresh;
    fresh->mended = loss;
    /* Workers keep the lost listener until they end, so the pool needs new workers. */
    if (!plan_needs_workers(plan)) {
        plan->kind = PLAN_REPLACED;
        snprintf(plan->what, sizeof plan->what, "listener %s, %s", old->text,
                 listener_loss_words[loss]);
    }
    take_opened(plans, plan, spec, fresh);
}

static void take_old(struct plans *plans, struct plan *plan, const struct listen_spec *spec,
                     struct listener *old)
{
    enum listener_loss loss = is_concerned(plans, plan) ? listener_look(old) : LISTENER_SOUND;
    /* After shutdown(2) a listener can listen again in place, unless it is a Unix socket. */
    if (loss == LISTENER_SHUT && (plans->dry_run ? old->bound.sa.sa_family != AF_UNIX
                                                 : listener_heal(old, plan->conf->backlog) == 0)) {
        old->mended = loss;
        loss = LISTENER_SOUND;
    }
    if (loss == LISTENER_SOUND)
        take(plans, plan, spec, old);
    else if (old->origin != LISTENER_ACTIVATED)
        reopen(plans, plan, spec, old, loss);
    else {
        snprintf(old->trouble, sizeof old->trouble,
                 "it is systemd's: restart its .socket unit and preforkd");
        take(plans, plan, spec, old);
    }
}

/* Takes every socket that systemd passed under the name. */
static void take_passed(struct plans *plans, struct plan *plan, const struct listen_spec *spec)
{
    const struct pool_config *conf = plan->conf;
    char why[200];
    bool found = false;
    for (int i = 0; i < sysd_socket_count(); i++) {
        const struct sysd_socket *passed = sysd_socket(i);
        if (strcmp(passed->name, spec->passed_name) != 0)
            continue;
        found = true;
        struct listener *listener = listener_find(plans->in_force, passed->fd);
        bool known = listener != NULL;
        if (!known)
            listener = listener_adopt(passed->fd, passed->name, why, sizeof why);
        if (!listener)
            add_fault(plans, plan, spec, why);
        else if (known)
            take_old(plans, plan, spec, listener);
        else
            take_opened(plans, plan, spec, listener);
        /* Only now do we know that it is a Unix socket. */
        bool is_unix = listener && listener->bound.sa.sa_family == AF_UNIX;
        if (is_unix && conf->queue_timeout)
            faults_add(plans->faults, conf->origin.file,
                       option_line(pool_rows, &conf->origin, "queue_timeout"),
                       "pool %s: queue_timeout doesn't work with the passed socket "
                       "%s: " ACCESS_LIST_NO_QUEUE_TIME,
                       conf->name, listener->text);
        if (is_unix && conf->proxy_protocol != PROXY_PROTOCOL_OFF && !conf->proxies_unix)
            faults_add(plans->faults, conf->origin.file,
                       option_line(pool_rows, &conf->origin, "proxy_from"),
                       "pool %s: every connection to the passed socket "
                       "%s " ACCESS_LIST_NO_UNIX_PROXY,
                       conf->name, listener->text);
    }
    if (!found)
        add_fault(plans, plan, spec,
                  "no socket of this name was passed, see FileDescriptorName= in "
                  "systemd.socket(5)");
}

/* Whether another pool has this listener, and its new configuration still matches it. */
static bool is_claimed(const struct plans *plans, const struct plan *by_other_than,
                       const struct listener *listener)
{
    for (int i = 0; i < plans->count; i++) {
        const struct plan *plan = &plans->at[i];
        if (plan == by_other_than || strcmp(plan->conf->name, listener->pool) != 0)
            continue;
        for (int k = 0; k < plan->conf->listen_count; k++)
            if (listener_is(listener, &plan->conf->listens[k]))
                return true;
    }
    return false;
}

/* Finds the listener in force for an address of the file: the pool's own, or one that another pool
 * gives up. Port 0 can match several listeners. A pool that is kept must then keep its own, because
 * its workers accept there. NULL: none matches. */
static struct listener *find_old(const struct plans *plans, const struct plan *plan,
                                 const struct listen_spec *spec)
{
    struct listener *other = NULL;
    for (struct listener *old = plans->in_force; old; old = old->next) {
        if (old->wanted || !listener_is(old, spec))
            continue;
        if (strcmp(old->pool, plan->conf->name) == 0)
            return old;
        if (!other && !is_claimed(plans, plan, old))
            other = old;
    }
    return other;
}

static void plan_listeners(struct plans *plans, struct plan *plan)
{
    plan->listeners = calloc(WORKER_LISTENERS_MAX, sizeof(struct listener *));
    if (!plan->listeners) {
        faults_add(plans->faults, plan->conf->origin.file, plan->conf->origin.line,
                   "out of memory");
        return;
    }
    for (int i = 0; i < plan->conf->listen_count; i++) {
        const struct listen_spec *spec = &plan->conf->listens[i];
        struct listener *old = find_old(plans, plan, spec);
        if (spec->passed_name)
            take_passed(plans, plan, spec);
        else if (old)
            take_old(plans, plan, spec, old);
        else
            open_new(plans, plan, spec);
    }
}

/* Whether a log option differs. Workers keep the log options under which they were forked, so a
 * change needs new workers. */
static bool log_differs(const struct config *old, const struct config *new, char *what, size_t size)
{
    for (const struct option_row *row = log_rows; row->name; row++) {
        if (option_equal(row, &old->log, &new->log))
            continue;
        char from[64], to[64];
        option_print(row, &old->log, from, sizeof from);
        option_print(row, &new->log, to, sizeof to);
        snprintf(what, size, "log %s %s to %s", row->name, from, to);
        return true;
    }
    return false;
}

static void plan_pool(const struct plans *plans, struct plan *plan, const struct runtime *runtime)
{
    const struct config *config = plans->config;
    plan->kind = PLAN_ADDED;
    plan->pool = runtime_find(runtime, plan->conf->name);
    if (!plan->pool)
        return;
    if (plan->pool->carried) {
        plan->kind = PLAN_REPLACED;
        snprintf(plan->what, sizeof plan->what, "the binary");
        return;
    }
    struct pool_config now = *plan->pool->conf;
    if (!plans->only) /* a reload ends the size that was set by hand */
        now.workers += plan->pool->extra;
    plan->kind = (enum plan_kind)config_compare(&now, plan->conf, plan->what, sizeof plan->what);
    if (plan->kind != PLAN_REPLACED &&
        log_differs(runtime->config, config, plan->what, sizeof plan->what))
        plan->kind = PLAN_REPLACED;
    if (plan->kind != PLAN_REPLACED && plan->pool->halted && is_concerned(plans, plan)) {
        plan->kind = PLAN_REPLACED;
        snprintf(plan->what, sizeof plan->what, "its old workers, which went on");
    }
}

static int plan_control(struct plans *plans, const struct runtime *runtime)
{
    const struct config *config = plans->config;
    struct listen_spec spec = {.word = config->control};
    struct listener_options options = plan_control_options(config);
    char why[LISTENER_TROUBLE];
    struct listener *old = runtime->control;
    if (!addr_from_path(&spec.addr, config->control) || config->control[0] != '/')
        return 0;
    entry_directory(spec.word, &spec.directory);
    old = old && listener_is(old, &spec) ? old : NULL;
    enum listener_loss loss = old && !plans->only ? listener_look(old) : LISTENER_SOUND;
    plans->control = old;
    if (old && loss == LISTENER_SOUND)
        return 0;
    struct listener *fresh = open_or_stand_in(plans, &spec, &options, why, sizeof why);
    if (fresh) {
        plans->control = fresh;
        fresh->mended = loss;
    } else if (old) {
        snprintf(old->trouble, sizeof old->trouble, "%s", why); /* see reopen */
    } else {
        faults_add(plans->faults, option_file(global_rows, &config->origin, "control"),
                   option_line(global_rows, &config->origin, "control"), "control \"%s\": %s",
                   config->control, why);
        return -1;
    }
    return 0;
}

/* Makes the directory of the default paths if a socket needs it: a daemon that is started by hand
 * has no unit that does so. This is safe because only root can write to the parent directory. */
static void make_run_directory(const struct config *config)
{
    bool wanted = listens_in_default_place(config->control);
    for (int i = 0; i < config->pool_count; i++)
        for (int k = 0; k < config->pools[i]->listen_count; k++) {
            const char *word = config->pools[i]->listens[k].word;
            wanted =
                wanted || (strncmp(word, "unix:", 5) == 0 && listens_in_default_place(word + 5));
        }
    if (wanted)
        entry_make_directory(PLACE_RUN, 0755);
}

/* Clears what the previous plan has left. */
static void reset_listener(struct listener *listener)
{
    listener->wanted = false;
    listener->successor = NULL;
    listener->mended = LISTENER_SOUND;
    listener->trouble[0] = '\0';
}

/* Spares the board of the next generation, which the canary of a refused reload may have made. */
void plans_own_timeouts(const struct plans *plans, const struct runtime *runtime)
{
    for (const struct pool *pool = runtime->pools; pool; pool = pool->next) {
        const struct plan *plan = plan_of(plans, pool);
        for (struct board *b = pool->resources.boards; b && (!plan || plan_needs_workers(plan));
             b = b->next)
            if (b->generation <= runtime->generation)
                atomic_store(&b->map->own_timeouts, 1);
    }
}

/* Canaries accept before the new options are applied to sockets in force. Only a program needs some
 * of them by then. If it is refused they are put back, but connections that wait have them. */
static void prepare_listeners(const struct plans *plans, const struct runtime *runtime)
{
    for (int i = 0; i < plans->count; i++) {
        const struct plan *plan = &plans->at[i];
        struct listener_options options =
            plan_listener_options(plan->conf, pool_polls(plan->conf, plan->listener_count));
        for (int k = 0; plan_needs_workers(plan) && k < plan->listener_count; k++) {
            if (options.lent && !plan->listeners[k]->lent)
                plans_own_timeouts(plans, runtime);
            /* The last program has ended, as in a drained pool: the next one finds no trace. */
            if (plan->listeners[k]->lent && !runtime_has_program(runtime, plan->listeners[k]))
                listener_reclaim(plan->listeners[k], &options);
            listener_prepare(plan->listeners[k], &options);
        }
    }
}

int plans_make(struct plans *plans, const struct runtime *runtime)
{
    const struct config *config = plans->config;
    unsigned faults_before = plans->faults->count;
    plans->at = calloc((size_t)config->pool_count, sizeof *plans->at);
    if (!plans->at) {
        faults_add(plans->faults, config->file, 0, "out of memory");
        return -1;
    }
    plans->count = config->pool_count;
    plans->in_force = runtime->listeners;
    for (struct listener *l = runtime->listeners; l; l = l->next)
        reset_listener(l);
    if (runtime->control)
        reset_listener(runtime->control);
    if (!plans->dry_run)
        make_run_directory(config);
    for (int i = 0; i < plans->count; i++) {
        struct plan *plan = &plans->at[i];
        plan->conf = config->pools[i];
        plan_pool(plans, plan, runtime);
    }
    for (int i = 0; i < plans->count; i++)
        plan_listeners(plans, &plans->at[i]);
    if (plan_control(plans, runtime) != 0 || plans->faults->count != faults_before)
        return -1;
    if (!plans->dry_run)
        prepare_listeners(plans, runtime);
    for (int i = 0; plans->only && i < plans->count; i++) {
        struct plan *plan = &plans->at[i];
        if (!is_concerned(plans, plan))
            continue;
        plan->kind = PLAN_REPLACED;
        snprintf(plan->what, sizeof plan->what, "as asked");
    }
    return 0;
}

/* How many workers the plan forks, its canary included. A restart keeps the size. */
static int count_starts(const struct plans *plans, const struct plan *plan)
{
    bool dynamic = pool_config_is_dynamic(plan->conf);
    int active = plan->pool ? pool_counts(plan->pool).active : 0;
    int wanted = dynamic ? plan->conf->min_workers : plan->conf->workers;
    if (plans->only && plan->pool)
        wanted = pool_target(plan->pool);
    if (dynamic && wanted < active)
        wanted = active;
    if (plan_needs_workers(plan))
        return wanted ? wanted : 1;
    return wanted > active ? wanted - active : 0;
}

int plans_fit(const struct plans *plans, const struct runtime *runtime)
{
    int starts = 0, room = runtime_room(runtime);
    for (int i = 0; i < plans->count; i++)
        starts += count_starts(plans, &plans->at[i]);
    if (starts > room)
        faults_add(plans->faults, plans->config->file, 0,
                   "%d new workers, and there is room for %d: wait until old ones are done "
                   "with their connections",
                   starts, room);
    bool fits = starts <= room;
    for (int i = 0; fits && i < plans->count; i++) {
        const struct plan *plan = &plans->at[i];
        int seats = count_starts(plans, plan) * plan->conf->seats;
        int left = plan->pool ? pool_room(plan->pool) : SCOREBOARD_SLOTS;
        fits = seats <= left;
        if (!fits)
            faults_add(plans->faults, plan->conf->origin.file, plan->conf->origin.line,
                       "pool %s: its new workers have %d seats, and there is room for %d: wait "
                       "until old ones are done with their connections",
                       plan->conf->name, seats, left);
    }
    return fits ? 0 : -1;
}

void plans_done(struct plans *plans)
{
    for (int i = 0; i < plans->count; i++)
        free(plans->at[i].listeners);
    free(plans->at);
    *plans = (struct plans){0};
}

void plans_abandon(struct plans *plans, const struct runtime *runtime)
{
    while (plans->opened) {
        struct listener *next = plans->opened->next;
        listener_close(plans->opened);
        plans->opened = next;
    }
    for (struct listener *l = runtime->listeners; l; l = l->next)
        l->successor = NULL;
    if (plans->control != runtime->control)
        listener_close(plans->control);
    plans_done(plans);
}

/* --- printing --------------------------------------------------------------------------------- */

/* A line ends with the reason, if any: "listener unix:/x: opened: its path was removed". Returns
 * whether it tells of a change. */
static bool print_socket(const char *kind, const struct listener *listener, const char *word,
                         plan_line *print, void *owner)
{
    char line[2 * ADDR_TEXT + LISTENER_TROUBLE];
    const char *why = listener->mended ? listener_loss_words[listener->mended] : listener->trouble;
    const char *between = listener->trouble[0] ? ", unreachable: " : why[0] ? ": " : "";
    if (listener->mended)
        word = "opened";
    snprintf(line, sizeof line, "%s %s: %s%s%s", kind, listener->text, word, between, why);
    bool changes = between[0] || strcmp(word, "kept") != 0;
    print(owner, changes, line);
    return changes;
}

struct plans_kept plans_print(const struct plans *plans, const struct runtime *runtime,
                              plan_line *print, void *owner)
{
    static const char *const words[] = {
        [PLAN_KEPT] = "kept",         [PLAN_ADJUSTED] = "adjusted", [PLAN_RESIZED] = "resized",
        [PLAN_REPLACED] = "replaced", [PLAN_ADDED] = "added",
    };
    char line[POOL_NAME_MAX + sizeof plans->at->what + 40], closed[POOL_NAME_MAX + 40];
    const struct listener *old = runtime->control, *new = plans->control;
    struct plans_kept kept = {0};
    for (int i = 0; i < plans->count; i++) {
        const struct plan *plan = &plans->at[i];
        const char *between = plan->kind == PLAN_RESIZED ? " " : ": ";
        snprintf(line, sizeof line, "pool %s: %s%s%s", plan->conf->name, words[plan->kind],
                 plan->what[0] ? between : "", plan->what);
        print(owner, plan->kind != PLAN_KEPT, line);
        kept.pools += plan->kind == PLAN_KEPT;
        if (plan->pool && plan->pool->drained && !plans->only) {
            snprintf(line, sizeof line, "pool %s: its drain ends", plan->conf->name);
            print(owner, true, line);
        }
    }
    for (const struct pool *p = runtime->pools; p; p = p->next)
        if (!p->removed && !plans_have(plans, p)) {
            snprintf(line, sizeof line, "pool %s: removed", p->name);
            print(owner, true, line);
        }
    for (const struct listener *l = runtime->listeners; l; l = l->next) {
        snprintf(closed, sizeof closed, "closed%s%s", l->pool[0] ? ": it was of pool " : "",
                 l->pool);
        if (!l->successor)
            kept.listeners +=
                !print_socket("listener", l, l->wanted ? "kept" : closed, print, owner);
    }
    for (const struct listener *l = plans->opened; l; l = l->next)
        print_socket("listener", l, "opened", print, owner);
    if (old && old == new && old->trouble[0])
        print_socket("control", old, "kept", print, owner);
    if (old && old != new && !(new &&new->mended))
        print_socket("control", old, "closed", print, owner);
    if (new &&old != new)
        print_socket("control", new, "opened", print, owner);
    return kept;
}
