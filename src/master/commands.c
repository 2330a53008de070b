#include "commands.h"

#include "../base/log.h"
#include "../base/suggest.h"
#include "../config/rules.h"
#include "../handlers/handler.h"
#include "../reports/status.h"
#include "../wire/message.h"

#include "build-config.h"

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

/* After an upgrade, no worker can be forked until a reload succeeds: the upgrade's own, or one that
 * was asked for since. */
static bool awaits_reload(const struct master *master)
{
    return runtime_is_carried(&master->runtime) &&
           !(reload_is_idle(&master->reload) && upgrade_has_arrived(&master->upgrade));
}

static bool run_after_upgrade(struct master *master, struct request *request)
{
    if (awaits_reload(master))
        return false;
    request_wait(request, NULL);
    commands_by_request(request)->run(master, request);
    return !request->wait;
}

/* A request waits for a reload that is under way, and is refused after one that failed. */
static bool is_held_by_upgrade(struct master *master, struct request *request)
{
    bool carried = runtime_is_carried(&master->runtime);
    if (request && awaits_reload(master))
        request_wait(request, run_after_upgrade);
    else if (carried)
        request_fail(request, "%s" RUNTIME_CARRIED, master->runtime.config->file);
    return carried;
}

/* The pools of a command: the one that its first argument names, or all. */

static bool is_selected(const struct pool *pool, const char *name)
{
    return !pool->removed && !pool->on_trial && (!name[0] || strcmp(pool->name, name) == 0);
}

/* The pool's name, which the request keeps; empty: all pools. NULL: the command is refused. */
static const char *pool_argument(const struct master *master, struct request *request)
{
    if (is_refused_by_stop(master, request))
        return NULL;
    const char *name = request_argument(request, 1);
    if (!name)
        return "";
    const struct pool *pool = runtime_find(&master->runtime, name);
    if (pool && !pool->on_trial) {
        snprintf(request->pool, sizeof request->pool, "%s", pool->name);
        return request->pool;
    }
    struct suggest near;
    suggest_init(&near, name);
    for (const struct pool *p = master->runtime.pools; p; p = p->next)
        if (is_selected(p, ""))
            suggest_offer(&near, p->name);
    if (near.nearest)
        request_fail(request, "there is no pool \"%.80s\"; did you mean \"%s\"?", name,
                     near.nearest);
    else
        request_fail(request, "there is no pool \"%.80s\"", name);
    return NULL;
}

/* --- reload, dry run, restart ----------------------------------------------------------------- */

static bool is_reloaded(struct master *master, struct request *request)
{
    const struct reload_result *result = reload_result(&master->reload, request->ticket);
    if (!result)
        return false;
    buffer_add(&request->output, result->lines.at, result->lines.used);
    buffer_add(&request->errors, result->faults.at, result->faults.used);
    if (result->refused)
        request->status = MESSAGE_REFUSED;
    return true;
}

static void queue_job(struct master *master, struct request *request, enum job_kind kind,
                      const char *pool)
{
    uint64_t ticket = reload_ask(&master->reload, kind, pool);
    if (!ticket)
        request_fail(request, "too many jobs are waiting");
    if (!ticket || !request)
        return;
    request->ticket = ticket;
    request_wait(request, is_reloaded);
}

static void reload(struct master *master, struct request *request)
{
    if (!is_refused_by_stop(master, request))
        queue_job(master, request, request_argument(request, 1) ? JOB_DRY_RUN : JOB_RELOAD, "");
}

static void restart(struct master *master, struct request *request)
{
    const char *name = pool_argument(master, request);
    if (!name)
        return;
    if (name[0] && runtime_find(&master->runtime, name)->drained)
        request_fail(request, POOL_IS_DRAINED, name);
    else
        queue_job(master, request, JOB_RESTART, name);
}

/* --- drain and resume ------------------------------------------------------------------------- */

/* A drain of all pools spares pools that report: without a report that tells it to stop, a load
 * balancer would go on sending. Draining such a pool by name silences it. */
static bool is_drainable(const struct pool *pool, const char *name)
{
    return is_selected(pool, name) && (name[0] || !handler_of(pool->conf->handler)->reads_board);
}

static bool is_drained(struct master *master, struct request *request)
{
    bool left = false, stuck = false, found = !request->pool[0];
    for (const struct pool *p = master->runtime.pools; p; p = p->next) {
        if (!is_drainable(p, request->pool))
            continue;
        found = true;
        left = left || !pool_has_ended(p);
        stuck = stuck || !pool_is_empty(p);
        if (!p->drained) {
            request_fail(request, "pool %s is no longer drained: it was resumed or reloaded",
                         p->name);
            return true;
        }
    }
    if (found && left)
        return false;
    if (found)
        request_say(request, "drained: no worker is left%s, the sockets stay",
                    stuck ? " but what was killed and does not end" : "");
    else
        request_fail(request, "pool %s was removed by a reload", request->pool);
    return true;
}

static void drain(struct master *master, struct request *request)
{
    const char *name = pool_argument(master, request);
    if (!name)
        return;
    if (!name[0])
        log_notice("draining: the sockets stay, nothing is accepted until a resume or a reload");
    for (struct pool *p = master->runtime.pools; p; p = p->next) {
        if (!is_drainable(p, name) || p->drained)
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

/* Whether the selected pools serve, or one has failed. On success the answer is `done`, if any. */
static bool are_serving(struct master *master, struct request *request, const char *done)
{
    char why[SCOREBOARD_REASON + 100];
    bool found = false;
    for (const struct pool *p = master->runtime.pools; p; p = p->next) {
        if (!is_selected(p, request->pool))
            continue;
        found = true;
        struct counts counts = pool_counts(p);
        if (p->drained) {
            request_fail(request, "pool %s was drained again", p->name);
            return true;
        }
        if (!pool_has_tried(p, &counts))
            return false;
        if (pool_has_failed(p, &counts, why, sizeof why)) {
            request_fail(request, "pool %s: %s", p->name, why);
            return true;
        }
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

static void resume(struct master *master, struct request *request)
{
    const char *name = pool_argument(master, request);
    if (!name || is_held_by_upgrade(master, request))
        return;
    for (struct pool *p = master->runtime.pools; p; p = p->next) {
        if (!is_selected(p, name) || !p->drained)
            continue;
        p->drained = false;
        pool_touch(p);
        log_notice("pool %s: resumed pool=%s", p->name, p->name);
    }
    request_wait(request, is_resumed);
}

/* --- pool sizes ------------------------------------------------------------------------------- */

static bool is_resized(struct master *master, struct request *request)
{
    return are_serving(master, request, NULL);
}

static void set_size(struct pool *pool, int wanted)
{
    pool->extra = wanted - pool->conf->workers;
    pool_touch(pool);
    log_notice("pool %s: resized to %d workers, until the next reload pool=%s workers=%d",
               pool->name, wanted, pool->name, wanted);
}

/* Whether a file could not set this size; the request is then refused. Without descriptors left the
 * master could not accept the request that takes the size back. */
static bool is_size_refused(const struct master *master, const struct pool *pool, long wanted,
                            struct request *request)
{
    struct rules_sizes others = {0};
    const char *why;
    for (const struct pool *p = master->runtime.pools; p; p = p->next)
        if (p != pool && !p->removed)
            rules_add_size(&others, p->conf, pool_config_most(p->conf) + p->extra);
    long long most = rules_workers_most(pool->conf, &others, &why);
    if (most < pool->conf->workers + pool->extra)
        most = pool->conf->workers + pool->extra;
    if (wanted >= 1 && wanted <= most)
        return false;
    request_fail(request, "pool %s: a size is 1 to %lld%s", pool->name, most, why);
    return true;
}

static void scale(struct master *master, struct request *request)
{
    const char *name = pool_argument(master, request);
    if (!name || is_held_by_upgrade(master, request))
        return;
    long wanted = strtol(request_argument(request, 2), NULL, 10);
    struct pool *pool = runtime_find(&master->runtime, name);
    int old_size = pool->conf->workers + pool->extra;
    if (pool_config_is_dynamic(pool->conf)) {
        request_fail(request, "pool %s follows the load: see max_workers", pool->name);
        return;
    }
    if (is_size_refused(master, pool, wanted, request))
        return;
    if (wanted != old_size)
        set_size(pool, (int)wanted);
    request_say(request, "pool %s: %d to %ld workers, until the next reload%s", pool->name,
                old_size, wanted, pool->drained ? "; it is drained" : "");
    if (!pool->drained)
        request_wait(request, is_resized);
}

static void change_all(struct master *master, struct request *request, int by)
{
    if (is_refused_by_stop(master, request) || is_held_by_upgrade(master, request))
        return;
    for (struct pool *p = master->runtime.pools; p; p = p->next) {
        int wanted = p->conf->workers + p->extra + by;
        if (is_selected(p, "") && !pool_config_is_dynamic(p->conf) && wanted >= 1 &&
            !is_size_refused(master, p, wanted, request))
            set_size(p, wanted);
    }
}

static void one_more(struct master *master, struct request *request)
{
    change_all(master, request, 1);
}

static void one_fewer(struct master *master, struct request *request)
{
    change_all(master, request, -1);
}

/* --- upgrade and stop ------------------------------------------------------------------------- */

static bool answer_upgrade(struct master *master, struct request *request, bool over)
{
    const char *refusal = master->upgrade.refusal;
    if (over && refusal[0])
        request_fail(request, "%.*s", (int)strlen(refusal) - 1, refusal);
    else if (over)
        request_say(request, "upgraded: preforkd %s, generation %u", PREFORKD_VERSION,
                    master->runtime.generation);
    return over;
}

static bool is_upgraded(struct master *master, struct request *request)
{
    return answer_upgrade(master, request, upgrade_is_over(&master->upgrade));
}

/* For a request from before the binary was replaced, which must not wait for an upgrade that was
 * asked for since. */
static bool has_arrived(struct master *master, struct request *request)
{
    return answer_upgrade(master, request, upgrade_has_arrived(&master->upgrade));
}

static void upgrade(struct master *master, struct request *request)
{
    if (is_refused_by_stop(master, request) ||
        (master->upgrade.reload_refused && is_held_by_upgrade(master, request)))
        return;
    upgrade_begin(&master->upgrade);
    if (request)
        request->survives_upgrade = true;
    request_wait(request, is_upgraded);
}

void commands_adopt_callers(struct master *master, const struct state *state)
{
    control_adopt(&master->control, state, has_arrived);
}

static bool is_stopped(struct master *master, struct request *request)
{
    if (master->phase != PHASE_ENDED)
        return false;
    request_say(request, "stopped");
    request->keep_open = true;
    return true;
}

static void stop(struct master *master, struct request *request)
{
    master_stop(master);
    request_wait(request, is_stopped);
}

static void stop_now(struct master *master, struct request *request)
{
    master_stop_now(master);
    request_wait(request, is_stopped);
}

/* --- reports ---------------------------------------------------------------------------------- */

/* `json` is NULL if memory ran out, and always in a build without jansson. */
static void answer_json(struct request *request, char *json)
{
    if (json || HAVE_JANSSON)
        request_answer(request, json);
    else
        request_fail(request, "this preforkd was built without jansson: it has no JSON");
}

static void status(struct master *master, struct request *request)
{
    usec now = clock_now();
    /* The pools are stepped later in this round, but must show what its commands have changed. */
    for (struct pool *p = master->runtime.pools; p; p = p->next)
        if (p->resources.changed)
            master_publish_pool(master, p, now);
    const struct view view = boards_view(&master->runtime.spawner.boards);
    if (!request->json) {
        request_answer(request, status_text(&view, now));
        return;
    }
    struct procstat figures = {0};
    procstat_look(&figures, &view, now);
    enum status_detail detail = request_argument(request, 1) ? STATUS_BRIEF : STATUS_WHOLE;
    answer_json(request, status_json(&view, &figures, detail, now));
    procstat_done(&figures);
}

static void deaths(struct master *master, struct request *request)
{
    const struct overview *overview = master->runtime.spawner.boards.overview;
    if (request->json)
        answer_json(request, deaths_json(overview));
    else
        request_answer(request, deaths_text(overview));
}

static void ping(struct master *master, struct request *request)
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

static void log_state(struct master *master, struct request *request)
{
    (void)request;
    master->log_state = true;
}

static void help(struct master *master, struct request *request);

/* --- the table -------------------------------------------------------------------------------- */

/* The help of a word is in usage_table. */
const struct command commands_table[] = {
    {"status", 0, status, .read_only = true},
    {"deaths", 0, deaths, .read_only = true},
    {"reload", SIGHUP, reload},
    {"restart", 0, restart},
    {"scale", 0, scale},
    {"drain", SIGWINCH, drain},
    {"resume", 0, resume},
    {"stop", SIGTERM, stop},
    {"upgrade", SIGUSR2, upgrade},
    {"ping", 0, ping, .read_only = true},
    {"help", 0, help, .read_only = true},
    {NULL, SIGINT, stop, "finish the connections in hand, and stop; twice: stop now"},
    {NULL, SIGQUIT, stop_now, "stop now"},
    {NULL, SIGUSR1, log_state, "write each pool's state to the log"},
    {NULL, SIGTTIN, one_more, "add one worker to every pool of fixed size"},
    {NULL, SIGTTOU, one_fewer, "remove one worker from every pool of fixed size"},
    {NULL, SIGCHLD, NULL, "a child ended"},
    {0},
};

const char *commands_help(const struct command *command)
{
    return command->word ? usage_find(command->word)->help : command->help;
}

static bool is_row(const struct command *command)
{
    return command->word || command->signal;
}

void commands_signals(sigset_t *set)
{
    sigemptyset(set);
    for (const struct command *command = commands_table; is_row(command); command++)
        if (command->signal)
            sigaddset(set, command->signal);
}

const struct command *commands_by_signal(int number)
{
    for (const struct command *command = commands_table; is_row(command); command++)
        if (command->signal == number)
            return command;
    return NULL;
}

const struct command *commands_by_request(struct request *request)
{
    char why[USAGE_WHY];
    if (!usage_accepts(&request->words, why)) {
        request_misuse(request, "%s", why);
        return NULL;
    }
    const char *word = request_argument(request, 0);
    for (const struct command *command = commands_table; is_row(command); command++)
        if (command->word && strcmp(command->word, word) == 0)
            return command;
    request_misuse(request, "%s is a command of preforkctl, not of the daemon", word);
    return NULL;
}

static void help(struct master *master, struct request *request)
{
    char line[USAGE_LINE], why[USAGE_WHY];
    const char *word = request_argument(request, 1);
    (void)master;
    for (const struct command *command = commands_table; is_row(command); command++)
        if (command->word && (!word || strcmp(command->word, word) == 0))
            request_say(request, "%s", usage_line(usage_find(command->word), line));
    if (!request->output.used) {
        usage_unknown(word, why);
        request_misuse(request, "%s", why);
    }
}

bool commands_settled(struct master *master, struct request *request)
{
    if (!request->wait)
        return true;
    if (!is_stopping(master) || request->wait == is_stopped)
        return request->wait(master, request);
    return is_refused_by_stop(master, request);
}
