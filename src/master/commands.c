#include "commands.h"

#include "../base/log.h"
#include "../config/suggest.h"
#include "../handlers/handler.h"
#include "../reports/status.h"

#include "build-config.h"
#include <errno.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool is_stopping(const struct master *master)
{
    return master->phase == PHASE_STOPPING || master->phase == PHASE_ENDED;
}

static bool is_refused_by_stop(const struct master *master, struct request *request)
{
    if (is_stopping(master))
        request_fail(request, "the daemon is stopping");
    return is_stopping(master);
}

/* The pools of an order: that which its first argument names, or all. */

static struct pool *named_pool(const struct master *master, struct request *request)
{
    const char *name = request_argument(request, 1);
    struct pool *pool = runtime_find(&master->runtime, name);
    if (pool)
        return pool;
    struct suggest near;
    suggest_init(&near, name);
    for (const struct pool *p = master->runtime.pools; p; p = p->next)
        if (!p->removed)
            suggest_offer(&near, p->name);
    if (near.nearest)
        request_fail(request, "there is no pool \"%.80s\"; did you mean \"%s\"?", name,
                     near.nearest);
    else
        request_fail(request, "there is no pool \"%.80s\"", name);
    return NULL;
}

static bool is_meant(const struct pool *pool, const char *name)
{
    return !pool->removed && !pool->on_trial && (!name[0] || strcmp(pool->name, name) == 0);
}

/* Notes which pools an order is for. False where it is for none: then that is said. */
static bool take_pools(const struct master *master, struct request *request)
{
    if (is_refused_by_stop(master, request))
        return false;
    if (!request_argument(request, 1))
        return true;
    const struct pool *pool = named_pool(master, request);
    if (pool)
        snprintf(request->pool, sizeof request->pool, "%s", pool->name);
    return pool != NULL;
}

static const char *pools_of(const struct request *request)
{
    return request ? request->pool : "";
}

/* Reload, dry run, restart. */

static bool is_reloaded(struct master *master, struct request *request)
{
    const struct reload_result *result = reload_result(&master->reload, request->ticket);
    if (!result)
        return false;
    buffer_add(&request->said, result->lines.at, result->lines.used);
    buffer_add(&request->failed, result->faults.at, result->faults.used);
    if (result->refused)
        request->status = MESSAGE_REFUSED;
    return true;
}

static void follow(struct master *master, struct request *request, enum job_kind kind,
                   const char *pool)
{
    uint64_t ticket = reload_ask(&master->reload, kind, pool);
    if (!ticket)
        request_fail(request, "too many wait already");
    if (!ticket || !request)
        return;
    request->ticket = ticket;
    request_wait(request, is_reloaded);
}

void commands_reload(struct master *master, struct request *request)
{
    const char *argument = request_argument(request, 1);
    if (argument && strcmp(argument, "--dry-run") != 0)
        request_misuse(request, "usage: preforkctl reload [--dry-run]");
    else if (!is_refused_by_stop(master, request))
        follow(master, request, argument ? JOB_DRY_RUN : JOB_RELOAD, "");
}

void commands_restart(struct master *master, struct request *request)
{
    if (!take_pools(master, request))
        return;
    const char *name = pools_of(request);
    if (name[0] && runtime_find(&master->runtime, name)->drained)
        request_fail(request, "pool %s is drained: resume it instead", name);
    else
        follow(master, request, JOB_RESTART, name);
}

/* Drain and resume. */

/* A drain of everything leaves those alone that tell of it: a balancer that heard nothing more would go
 * on sending. Drained by its name, such a pool is silent. */
static bool is_to_drain(const struct pool *pool, const char *name)
{
    return is_meant(pool, name) && (name[0] || !handler_of(pool->conf->handler)->reads_board);
}

static bool is_drained(struct master *master, struct request *request)
{
    bool left = false, found = !request->pool[0];
    for (const struct pool *p = master->runtime.pools; p; p = p->next) {
        if (!is_to_drain(p, request->pool))
            continue;
        found = true;
        left = left || !pool_is_empty(p);
        if (!p->drained) {
            request_fail(request, "pool %s is no longer drained: somebody resumed or reloaded it",
                         p->name);
            return true;
        }
    }
    if (found && left)
        return false;
    if (found)
        request_say(request, "drained: no worker is left, the sockets stay");
    else
        request_fail(request, "pool %s was removed by a reload", request->pool);
    return true;
}

void commands_drain(struct master *master, struct request *request)
{
    if (!take_pools(master, request))
        return;
    const char *name = pools_of(request);
    if (!name[0])
        log_notice("draining: the sockets stay, nothing is accepted until a reload");
    for (struct pool *p = master->runtime.pools; p; p = p->next) {
        if (!is_to_drain(p, name) || p->drained)
            continue;
        p->drained = true;
        pool_touch(p);
        if (name[0])
            log_notice("pool %s: draining: the sockets stay, nothing is accepted until it is "
                       "resumed, or a reload pool=%s",
                       name, name);
    }
    request_wait(request, is_drained);
}

/* Whether it serves again; or says why it won't. */
static bool is_serving(const struct pool *pool, struct request *request)
{
    struct counts counts = pool_counts(pool);
    char why[SCOREBOARD_REASON + 100];
    if (pool->drained) {
        request_fail(request, "pool %s was drained again", pool->name);
        return true;
    }
    if (!pool_has_tried(pool, &counts))
        return false;
    if (pool_has_failed(pool, &counts, why, sizeof why))
        request_fail(request, "pool %s: %s", pool->name, why);
    return true;
}

/* Whether all pools of an order do, or one doesn't; `done` is what to say of it. */
static bool are_serving(struct master *master, struct request *request, const char *done)
{
    bool found = false;
    for (const struct pool *p = master->runtime.pools; p; p = p->next) {
        if (!is_meant(p, request->pool))
            continue;
        found = true;
        if (!is_serving(p, request))
            return false;
        if (request->status)
            return true;
    }
    if (found && done)
        request_say(request, "%s", done);
    else if (!found)
        request_fail(request, "pool %s was removed by a reload", request->pool);
    return true;
}

static bool is_resumed(struct master *master, struct request *request)
{
    return are_serving(master, request, "resumed");
}

void commands_resume(struct master *master, struct request *request)
{
    if (!take_pools(master, request))
        return;
    for (struct pool *p = master->runtime.pools; p; p = p->next) {
        if (!is_meant(p, pools_of(request)) || !p->drained)
            continue;
        p->drained = false;
        pool_touch(p);
        log_notice("pool %s: resumed pool=%s", p->name, p->name);
    }
    request_wait(request, is_resumed);
}

/* Sizes. */

/* How many workers all other pools should have. */
static int workers_beside(const struct master *master, const struct pool *pool)
{
    int sum = 0;
    for (const struct pool *p = master->runtime.pools; p; p = p->next)
        if (p != pool && !p->removed)
            sum += pool_config_most(p->conf) + p->extra;
    return sum;
}

/* Whether the pool may be made so large. If not, that is said. */
static bool is_possible(const struct master *master, const struct pool *pool, long wanted,
                        struct request *request)
{
    int most = POOL_WORKERS_MAX - workers_beside(master, pool);
    if (wanted >= 1 && wanted <= most)
        return true;
    request_fail(request, "pool %s: a size is 1 to %d%s", pool->name, most,
                 most < POOL_WORKERS_MAX ? ", with the workers of the other pools" : "");
    return false;
}

static bool is_resized(struct master *master, struct request *request)
{
    return are_serving(master, request, NULL);
}

static void resize(struct pool *pool, int wanted)
{
    pool->extra = wanted - pool->conf->workers;
    pool_touch(pool);
    log_notice("pool %s: resized to %d workers, until the next reload pool=%s workers=%d",
               pool->name, wanted, pool->name, wanted);
}

void commands_scale(struct master *master, struct request *request)
{
    if (!take_pools(master, request))
        return;
    char *end;
    const char *word = request_argument(request, 2);
    long wanted = strtol(word, &end, 10);
    if (end == word || *end) {
        request_misuse(request, "\"%.80s\" is no number of workers", word);
        return;
    }
    struct pool *pool = runtime_find(&master->runtime, pools_of(request));
    int before = pool->conf->workers + pool->extra;
    if (pool_config_is_dynamic(pool->conf)) {
        request_fail(request, "pool %s follows the load: see max_workers", pool->name);
        return;
    }
    if (!is_possible(master, pool, wanted, request))
        return;
    if (wanted != before)
        resize(pool, (int)wanted);
    request_say(request, "pool %s: %d to %ld workers, until the next reload%s", pool->name, before,
                wanted, pool->drained ? "; it is drained" : "");
    if (!pool->drained)
        request_wait(request, is_resized);
}

static void resize_all(struct master *master, struct request *request, int by)
{
    if (is_refused_by_stop(master, request))
        return;
    for (struct pool *p = master->runtime.pools; p; p = p->next) {
        int wanted = p->conf->workers + p->extra + by;
        if (is_meant(p, "") && !pool_config_is_dynamic(p->conf) && wanted >= 1 &&
            wanted <= POOL_WORKERS_MAX)
            resize(p, wanted);
    }
}

void commands_more(struct master *master, struct request *request)
{
    resize_all(master, request, 1);
}

void commands_fewer(struct master *master, struct request *request)
{
    resize_all(master, request, -1);
}

/* Upgrade. */

static void tell_upgrade(const struct master *master, struct request *request)
{
    const struct upgrade *upgrade = &master->upgrade;
    if (upgrade->refusal[0])
        request_fail(request, "%.*s", (int)strlen(upgrade->refusal) - 1, upgrade->refusal);
    else
        request_say(request, "upgraded: preforkd %s, generation %u", PREFORKD_VERSION,
                    master->runtime.generation);
}

static bool is_upgraded(struct master *master, struct request *request)
{
    bool over = upgrade_is_over(&master->upgrade);
    if (over)
        tell_upgrade(master, request);
    return over;
}

/* Who asked the program before us: the next upgrade, which somebody may want already, is not theirs. */
static bool has_arrived(struct master *master, struct request *request)
{
    bool arrived = upgrade_has_arrived(&master->upgrade);
    if (arrived)
        tell_upgrade(master, request);
    return arrived;
}

void commands_upgrade(struct master *master, struct request *request)
{
    if (is_refused_by_stop(master, request))
        return;
    upgrade_begin(&master->upgrade);
    if (request)
        request->carried = true;
    request_wait(request, is_upgraded);
}

void commands_adopt_callers(struct master *master, const struct state *state)
{
    control_adopt(&master->control, state, has_arrived);
}

/* The end. */

static bool is_stopped(struct master *master, struct request *request)
{
    if (master->phase != PHASE_ENDED)
        return false;
    request_say(request, "stopped");
    request->lasts = true;
    return true;
}

void commands_stop(struct master *master, struct request *request)
{
    master_stop(master);
    request_wait(request, is_stopped);
}

void commands_stop_now(struct master *master, struct request *request)
{
    master_stop_now(master);
    request_wait(request, is_stopped);
}

/* What there is to see. */

/* An order of this same round is not carried out yet, but a report must show that it was given. */
static void refresh(struct master *master)
{
    usec now = clock_now();
    for (struct pool *p = master->runtime.pools; p; p = p->next)
        if (p->resources.changed)
            export_pool(&master->export, &master->runtime, p, now);
}

void commands_status(struct master *master, struct request *request)
{
    refresh(master);
    const struct view view = boards_view(&master->runtime.spawner.boards);
    struct procstat figures = {0};
    enum status_form form = request->coloured ? STATUS_COLOURED : STATUS_PLAIN;
    usec now = clock_now();
    procstat_look(&figures, &view, now);
    request_give(request, request->json ? status_json(&view, &figures, now)
                                        : status_text(&view, &figures, form, now));
    procstat_done(&figures);
}

void commands_deaths(struct master *master, struct request *request)
{
    const struct overview *overview = master->runtime.spawner.boards.overview;
    request_give(request, request->json ? deaths_json(overview) : deaths_text(overview));
}

void commands_ping(struct master *master, struct request *request)
{
    static const char *const words[] = {
        [PHASE_STARTING] = "starting",
        [PHASE_SERVING] = "serving",
        [PHASE_STOPPING] = "stopping",
        [PHASE_ENDED] = "stopped",
    };
    request_say(request, "pid %d, %s, generation %u of %s", (int)master->runtime.spawner.master,
                words[master->phase], master->runtime.generation, master->runtime.config->file);
}

void commands_tell(struct master *master, struct request *request)
{
    (void)request;
    master->tell = true;
}

bool commands_settled(struct master *master, struct request *request)
{
    if (!request->wait)
        return true;
    if (!is_stopping(master) || request->wait == is_stopped)
        return request->wait(master, request);
    return is_refused_by_stop(master, request);
}
