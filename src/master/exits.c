#include "exits.h"

#include "../base/daemon.h"
#include "../base/log.h"
#include "../base/procfs.h"
#include "../base/text.h"
#include "../board/exitcode.h"
#include "../reports/snapshot.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <syslog.h>
#include <unistd.h>

/* Out of memory. */

/* Two that were killed together are reaped together, or nearly so. */
#define CLAIM_TIMEOUT (USEC_SECOND / 10)

/* The count; -1 if it can't be read. */
static long long read_count(const char *path)
{
    char word[64];
    long long number, count = -1;
    FILE *file = path[0] ? fopen(path, "re") : NULL;
    if (!file)
        return -1;
    while (count < 0 && fscanf(file, "%63s %lld", word, &number) == 2)
        if (strcmp(word, "oom_kill") == 0)
            count = number;
    fclose(file);
    return count;
}

/* The line of version 2 is "0::/PATH" (cgroups(7)). */
void oom_open(struct oom *oom, const char *own, const char *mounted)
{
    char line[OOM_PATH];
    FILE *file = fopen(own, "re");
    *oom = (struct oom){0};
    while (file && fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = '\0';
        if (strncmp(line, "0::/", 4) != 0)
            continue;
        int n = snprintf(oom->path, sizeof oom->path, "%s%s/memory.events", mounted, line + 3);
        if (n >= (int)sizeof oom->path)
            oom->path[0] = '\0';
    }
    if (file)
        fclose(file);
    oom->seen = read_count(oom->path);
}

bool oom_claim(struct oom *oom, usec now)
{
    long long count = read_count(oom->path);
    if (now >= oom->until)
        oom->unclaimed = 0;
    if (count > oom->seen && oom->seen >= 0) {
        oom->unclaimed += count - oom->seen;
        oom->until = now + CLAIM_TIMEOUT;
    }
    oom->seen = count;
    if (oom->unclaimed == 0)
        return false;
    oom->unclaimed--;
    return true;
}

/* The report. */

bool exit_report_signal_dumps(int number)
{
    return number == SIGABRT || number == SIGBUS || number == SIGFPE || number == SIGILL ||
           number == SIGQUIT || number == SIGSEGV || number == SIGSYS || number == SIGTRAP ||
           number == SIGXCPU || number == SIGXFSZ;
}

/* A signal that dumps core left none, and that is news. */
static bool lacks_core(const struct exit_report *o)
{
    return WIFSIGNALED(o->status) && exit_report_signal_dumps(WTERMSIG(o->status)) && o->no_core;
}

/* A program that is told to finish may end by the signal, or exit with the status by which a shell
 * says that it did. */
static bool obeyed(const struct exit_report *o)
{
    if (!o->program || o->cause != DEATH_RETIRED)
        return false;
    if (WIFSIGNALED(o->status))
        return WTERMSIG(o->status) == o->stop_signal;
    return WEXITSTATUS(o->status) == 128 + o->stop_signal;
}

static bool exited_well(const struct exit_report *o)
{
    return (WIFEXITED(o->status) && WEXITSTATUS(o->status) == WORKER_RETIRED) || obeyed(o);
}

/* Whether its exit status is one of ours: a program's own may be any. */
static bool exited_as(const struct exit_report *o, int code)
{
    return !o->program && WIFEXITED(o->status) && WEXITSTATUS(o->status) == code;
}

bool exit_report_is_orderly(const struct exit_report *o)
{
    return o->program && o->cause == DEATH_OWN && exited_well(o) && !o->left_group;
}

/* A program that goes on without the process that we know of. */
static bool went_away(const struct exit_report *o)
{
    return o->program && o->cause == DEATH_OWN && exited_well(o) && o->left_group;
}

static int level_of_end(const struct exit_report *o)
{
    if (o->cause == DEATH_TIMEOUT)
        return LOG_WARNING;
    if (went_away(o))
        return LOG_NOTICE;
    if (exited_well(o))
        return LOG_INFO;
    if (exited_as(o, WORKER_CANT_START))
        return LOG_ERR;
    switch (o->cause) {
    case DEATH_NOT_READY:
    case DEATH_WATCHDOG:
    case DEATH_OVERDUE: return LOG_WARNING;
    case DEATH_STOPPED: return LOG_INFO;
    default: return LOG_NOTICE;
    }
}

/* A back-off that stays as it was is logged once. */
int exit_report_level(const struct exit_report *o)
{
    int level = level_of_end(o);
    if (exit_report_is_orderly(o))
        return LOG_INFO;
    if (o->delay && !o->delay_grew)
        return LOG_DEBUG;
    return o->delay && level > LOG_WARNING ? LOG_WARNING : level;
}

bool exit_report_is_expected(const struct exit_report *o)
{
    bool well = exited_well(o) && o->cause != DEATH_TIMEOUT && !went_away(o);
    return well || o->cause == DEATH_STOPPED;
}

static void add_exit(struct text_line *line, const struct exit_report *o)
{
    int code = WEXITSTATUS(o->status);
    if (code == WORKER_RETIRED)
        text_add(line, "ended");
    else if (exited_as(o, WORKER_CANT_START))
        text_add(line, "can't start: %s", o->reason);
    else if (exited_as(o, WORKER_LISTENER))
        text_add(line, "lost its listener: %s", o->reason);
    else if (exited_as(o, WORKER_SHORT))
        text_add(line, "couldn't accept connections any more: %s", o->reason);
    else if (exited_as(o, WORKER_ENDED))
        text_add(line, "ended at once");
    else
        text_add(line, "exited with status %d", code);
}

/* If it was ended for what it did not do, or said itself, that comes before how it ended. */
static bool add_cause(struct text_line *line, const struct exit_report *o)
{
    if (o->cause == DEATH_WATCHDOG)
        text_add(line, "%s", o->hung ? "sent WATCHDOG=trigger" : "stopped sending WATCHDOG=1");
    else if (o->cause == DEATH_NOT_READY && o->ready_timeout)
        text_add(line, "not ready within ready_timeout (%d s)", o->ready_timeout);
    else if (o->cause == DEATH_NOT_READY)
        text_add(line, "not ready within ready_timeout");
    else
        return false;
    return true;
}

static void add_how(struct text_line *line, const struct exit_report *o, bool with_core)
{
    static const char *const causes[] = {
        [DEATH_NOT_READY] = " by us",
        [DEATH_OVERDUE] = " by us, not done within graceful_timeout",
        [DEATH_STOPPED] = " by us, told to stop at once",
        [DEATH_WATCHDOG] = " by us",
        [DEATH_TIMEOUT] = " by us, its request took more than request_timeout",
    };
    if (add_cause(line, o))
        text_add(line, ": ");
    if (WIFEXITED(o->status)) {
        add_exit(line, o);
    } else {
        int number = WTERMSIG(o->status);
        text_add(line, "%s by signal %d (%s", obeyed(o) ? "ended" : "killed", number,
                 strsignal(number));
        if (o->out_of_memory)
            text_add(line, ", out of memory");
        if (with_core && WCOREDUMP(o->status))
            text_add(line, ", core dumped");
        else if (with_core && lacks_core(o))
            text_add(line, ", no core: %s", o->no_core);
        text_add(line, ")");
    }
    bool asked = o->cause != DEATH_NOT_READY && o->cause != DEATH_WATCHDOG;
    if (o->cause < sizeof causes / sizeof *causes && causes[o->cause] &&
        (asked || WIFSIGNALED(o->status)))
        text_add(line, "%s", causes[o->cause]);
}

static void add_keys(struct text_line *line, const struct exit_report *o)
{
    char peer[ADDR_TEXT];
    text_add(line, " pool=%s pid=%d", o->pool, (int)o->pid);
    if (WIFSIGNALED(o->status))
        text_add(line, " signal=%s core=%s", daemon_signal_word(WTERMSIG(o->status)),
                 WCOREDUMP(o->status) ? "yes" : "no");
    else
        text_add(line, " exit=%d", WEXITSTATUS(o->status));
    if (!o->program)
        text_add(line, " served=%llu", (unsigned long long)o->served);
    text_add(line, " age=%.1f", clock_seconds(o->age));
    if (o->replacement)
        text_add(line, " new=%d", (int)o->replacement);
    if (o->out_of_memory)
        text_add(line, " oom=yes");
    if (o->in_hand > 1)
        text_add(line, " connections=%u", o->in_hand);
    if (snapshot_peer(&o->peer, peer)[0])
        text_add(line, " peer=%s", peer);
    if (o->last[0])
        text_add(line, " last=\"%s\"", o->last);
}

int exit_report_print(const struct exit_report *o, char *text, size_t size)
{
    struct text_line line = {.at = text, .room = size};
    text_add(&line, "pool %s: worker %d ", o->pool, (int)o->pid);
    add_how(&line, o, /* with_core: */ true);
    if (!o->program)
        text_add(&line, " after %llu request%s", (unsigned long long)o->served,
                 o->served == 1 ? "" : "s");
    else
        text_add(&line, " after %.1f s", clock_seconds(o->age));
    if (o->in_hand > 1)
        text_add(&line, ", and with it %u connections", o->in_hand);
    if (went_away(o))
        text_add(&line, ", and left processes behind: it must stay in the foreground");
    else if (exit_report_is_orderly(o) && !o->ready)
        text_add(&line, ", before it was ready");
    if (o->replacement)
        text_add(&line, "; respawned as %d", (int)o->replacement);
    else if (o->replaced)
        text_add(&line, "; respawned in %.1f s", clock_seconds(o->delay));
    add_keys(&line, o);
    return (int)line.length;
}

bool exit_report_is_trouble(const struct exit_report *o)
{
    bool told = o->cause == DEATH_RETIRED || o->cause == DEATH_OVERDUE || o->cause == DEATH_STOPPED;
    return exited_as(o, WORKER_CANT_START) || went_away(o) || (!o->ready && !told) ||
           o->ended_early;
}

void exit_report_print_trouble(const struct exit_report *o, char *text, size_t size)
{
    struct text_line line = {.at = text, .room = size};
    const char *colon = o->last[0] ? ": " : "";
    if (exited_as(o, WORKER_CANT_START))
        text_add(&line, "%s", o->reason);
    else if (went_away(o))
        text_add(&line,
                 "its program ended, with status 0, and left processes behind: it must stay in "
                 "the foreground");
    else if (o->ended_early && o->ready) {
        if (o->program)
            text_add(&line, "its program ");
        else
            text_add(&line, "worker %d ", (int)o->pid);
        add_how(&line, o, /* with_core: */ false);
        text_add(&line, ", %.1f s after it was ready (min_ready_time is %d s)%s%s",
                 clock_seconds(o->ready_for), o->min_ready_time, colon, o->last);
    } else if (add_cause(&line, o))
        text_add(&line, "%s%s", o->last[0] ? "; it last wrote: " : "", o->last);
    else if (!o->program)
        text_add(&line, "worker %d died before it was ready", (int)o->pid);
    else if (exit_report_is_orderly(o))
        text_add(&line, "its program ended, with status 0, before it was ready");
    else
        text_add(&line, "its program %s before it was ready%s%s",
                 WIFEXITED(o->status) ? "exited" : "was killed", colon, o->last);
}

void exit_report_record(const struct exit_report *o, usec when, struct death *death)
{
    *death = (struct death){
        .when = when,
        .pid = o->pid,
        .generation = o->generation,
        .status = o->status,
        .cause = (int32_t)o->cause,
        .age = o->age,
        .served = o->served,
        .cpu_user = o->cpu_user,
        .cpu_system = o->cpu_system,
        .memory = o->memory,
        .was_ready = o->ready,
        .out_of_memory = o->out_of_memory,
        .in_hand = o->in_hand,
        .peer = o->peer,
    };
    struct text_line why = {.at = death->why, .room = sizeof death->why};
    add_how(&why, o, /* with_core: */ false);
    if (WIFSIGNALED(o->status) && WCOREDUMP(o->status))
        snprintf(death->core, sizeof death->core, "dumped");
    else if (lacks_core(o))
        snprintf(death->core, sizeof death->core, "none: %s", o->no_core);
    snprintf(death->pool, sizeof death->pool, "%s", o->pool);
    snprintf(death->last, sizeof death->last, "%s", o->last);
}

/* The back-off. */

usec backoff_death(struct backoff *backoff, bool accepted, usec ready_for, bool *grew)
{
    *grew = false;
    backoff->alive = backoff->ready = 0;
    backoff_alive(backoff, accepted, ready_for);
    if (accepted || ready_for >= BACKOFF_EARLY) {
        backoff->early = 0;
        backoff->delay = 0;
        return 0;
    }
    backoff->early++;
    usec delay = 0;
    if (backoff->early >= 2)
        delay = backoff->delay ? clock_earlier(backoff->delay * 2, BACKOFF_MOST) : BACKOFF_FIRST;
    *grew = delay > backoff->delay;
    backoff->delay = delay;
    backoff->degraded = backoff->degraded || delay > 0;
    return delay;
}

void backoff_alive(struct backoff *backoff, bool accepted, usec ready_for)
{
    if (!accepted && ready_for < BACKOFF_HEALED)
        return;
    backoff->early = 0;
    backoff->delay = 0;
    backoff->degraded = false;
}

/* A gap counts a quarter against them: so a program that does nothing but end never gets anywhere,
 * and one that is there for a fifth of the time does. */
usec backoff_orderly(struct backoff *backoff, usec life, usec ready_for)
{
    usec delay = life < BACKOFF_FIRST ? BACKOFF_FIRST - life : 0;
    usec alive = backoff->alive + life - delay / 4;
    backoff->alive = alive < 0 ? 0 : clock_earlier(alive, BACKOFF_EARLY);
    if (ready_for < 0)
        return delay;
    backoff->ready = clock_earlier(backoff->ready + ready_for, BACKOFF_HEALED);
    backoff_alive(backoff, /* accepted: */ false, backoff->ready);
    return delay;
}

/* An exit. */

/* Why a signal that dumps core left none (core(5)). */
static const char *core_reason(const struct worker *worker)
{
    static char pattern[128];
    long long asked = worker->conf->limits.value[LIMIT_CORE];
    struct rlimit ours;
    if (asked == 0)
        return "limits { core = 0 }";
    if (asked == OPTION_UNSET && getrlimit(RLIMIT_CORE, &ours) == 0 && ours.rlim_cur == 0)
        return "the limit of core files is 0, see limits { core }";
    if (asked == OPTION_UNSET && geteuid() == 0)
        return "it has changed its user, see limits { core }";
    char words[64];
    snprintf(pattern, sizeof pattern, "see directory, its rights, and kernel.core_pattern = %s",
             procfs_setting("kernel/core_pattern", words, sizeof words));
    return pattern;
}

/* Texts point into the worker. */
void exits_begin(struct worker *worker, struct overview *overview, struct exit_report *report)
{
    const struct slot *slot = worker->slot;
    struct overview_pool *shown = &overview->pools[worker->resources->place];
    uint64_t served = seats_served(slot, worker->seats) - worker->served_before;
    usec age = worker->died - worker->born;
    int status = worker->status;
    stderr_log_close(&worker->lines);
    if (served > (uint64_t)age + USEC_SECOND) {
        spawn_warn_broken(worker, "more connections than there can have been");
        served = 0;
    }
    bool asks_core =
        WIFSIGNALED(status) && !WCOREDUMP(status) && exit_report_signal_dumps(WTERMSIG(status));
    *report = (struct exit_report){
        .pool = worker->conf->name,
        .pid = worker->lines.pid,
        .generation = worker->generation,
        .status = status,
        .cause = worker->cause,
        .hung = worker->hung,
        .ready_timeout = worker->conf->ready_timeout,
        .ready = worker->was_ready,
        .served = served,
        .age = age,
        .cpu_user = worker->cpu_user,
        .cpu_system = worker->cpu_system,
        .memory = worker->memory,
        .out_of_memory = worker->out_of_memory,
        .in_hand = worker->in_hand,
        .peer = worker->peer,
        .reason = slot->reason,
        .last = worker->lines.last,
        .program = worker->was_program,
        .left_group = worker->left_group,
        .ready_for = worker->was_ready ? worker->died - worker->ready_at : 0,
        .min_ready_time = worker->conf->min_ready_time,
        .stop_signal = worker->app_policy.stop_signal,
        .no_core = asks_core ? core_reason(worker) : NULL,
    };
    worker->expected = exit_report_is_orderly(report);
    /* It ended by its own doing, and not in order, before it had stayed ready as long as it was
     * to. */
    bool asked = worker->cause == DEATH_RETIRED || worker->cause == DEATH_OVERDUE ||
                 worker->cause == DEATH_STOPPED || worker->cause == DEATH_TIMEOUT;
    report->ended_early = worker->role != ROLE_RETIRING && !asked && !worker->stayed &&
                          worker->conf->min_ready_time > 0 && !worker->expected;
    /* A plain retirement is counted; every other exit has its entry in the ledger, unless a stop
     * asked for it. */
    if (exit_report_is_expected(report)) {
        shown->retirements++;
    } else {
        struct death death;
        shown->deaths++;
        exit_report_record(report, clock_real(), &death);
        deaths_write(overview, &death);
    }
    worker->exit_handled = true;
}

void exits_set_respawn(struct worker *worker, struct exit_report *report, usec now)
{
    usec ready_for = worker->was_ready ? worker->died - worker->ready_at : -1;
    report->replaced = true;
    if (exit_report_is_orderly(report)) {
        usec timeout = worker->conf->ready_timeout * USEC_SECOND;
        report->delay = backoff_orderly(&worker->backoff, worker->died - worker->born, ready_for);
        /* The next one of a worker that was ready is so too, unless it is to say that by itself. */
        worker->continues =
            (worker->was_ready || worker->continues) && !worker->app_policy.notifies;
        worker->late = worker->trying_since && now - worker->trying_since >= timeout;
    } else {
        worker->continues = worker->late = worker->stayed = false;
        report->delay = backoff_death(&worker->backoff, spawn_has_accepted(worker), ready_for,
                                      &report->delay_grew);
    }
    worker->respawn_at = now + report->delay;
}

void exits_end(const struct exit_report *report)
{
    char text[LOG_LINE_MAX];
    exit_report_print(report, text, sizeof text);
    log_named(report->delay_grew                ? LOG_NAME_BACK_OFF
              : exit_report_is_expected(report) ? LOG_NAME_NONE
                                                : LOG_NAME_DEATH,
              exit_report_level(report), "%s", text);
}
