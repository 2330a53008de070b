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

/* --- out of memory ---------------------------------------------------------------------------- */

/* Processes that the kernel kills together are reaped within this time. */
#define CLAIM_TIMEOUT (USEC_SECOND / 10)

/* The value of oom_kill; -1 if it can't be read. */
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

/* --- the report ------------------------------------------------------------------------------- */

bool exit_report_signal_dumps(int number)
{
    return number == SIGABRT || number == SIGBUS || number == SIGFPE || number == SIGILL ||
           number == SIGQUIT || number == SIGSEGV || number == SIGSYS || number == SIGTRAP ||
           number == SIGXCPU || number == SIGXFSZ;
}

/* Whether a signal that dumps core left none, and why is known. */
static bool lacks_core(const struct exit_report *report)
{
    return WIFSIGNALED(report->status) && exit_report_signal_dumps(WTERMSIG(report->status)) &&
           report->no_core;
}

/* A program that is told to finish may be ended by the signal, or exit with the status by which a
 * shell reports such an end. */
static bool obeyed(const struct exit_report *report)
{
    if (!report->program || report->cause != DEATH_RETIRED)
        return false;
    if (WIFSIGNALED(report->status))
        return WTERMSIG(report->status) == report->stop_signal;
    return WEXITSTATUS(report->status) == 128 + report->stop_signal;
}

/* A worker of ours exits only without a connection. Foreign code in it may call exit(3) in the
 * middle of one. */
static bool exited_well(const struct exit_report *report)
{
    bool dropped = !report->program && report->in_hand;
    return (WIFEXITED(report->status) && WEXITSTATUS(report->status) == WORKER_RETIRED &&
            !dropped) ||
           obeyed(report);
}

/* Whether a worker exited with one of our statuses, for which it gives a reason. The status of a
 * program, or of foreign code in a worker, may be any number. */
static bool exited_as(const struct exit_report *report, int code)
{
    bool by_us = code == WORKER_ENDED || report->reason[0];
    return !report->program && by_us && WIFEXITED(report->status) &&
           WEXITSTATUS(report->status) == code;
}

/* Whether a program ended by itself and in order, as many do after so many requests: with status 0,
 * and without leaving a process. One that went into the background leaves a process. */
static bool is_orderly(const struct exit_report *report)
{
    return report->program && report->cause == DEATH_OWN && exited_well(report) &&
           !report->left_group;
}

/* Whether a worker ended after max_requests, in order too. That it served so many is its own word,
 * as it is that it was ready. A worker may serve a tenth less: see with_jitter in worker.c. */
static bool is_used_up(const struct exit_report *report)
{
    uint64_t least = (uint64_t)(report->max_requests - report->max_requests / 10);
    return report->max_requests && report->ready && !report->program &&
           report->cause == DEATH_OWN && WIFEXITED(report->status) && exited_well(report) &&
           report->served >= least;
}

/* A program went into the background. */
static bool went_away(const struct exit_report *report)
{
    return report->program && report->cause == DEATH_OWN && exited_well(report) &&
           report->left_group;
}

static int level_of_end(const struct exit_report *report)
{
    if (report->cause == DEATH_TIMEOUT)
        return LOG_WARNING;
    if (went_away(report))
        return LOG_NOTICE;
    if (exited_well(report))
        return LOG_INFO;
    if (exited_as(report, WORKER_CANT_START))
        return LOG_ERR;
    switch (report->cause) {
    case DEATH_NOT_READY:
    case DEATH_WATCHDOG:
    case DEATH_OVERDUE: return LOG_WARNING;
    case DEATH_STOPPED: return LOG_INFO;
    default: return LOG_NOTICE;
    }
}

/* As long as the delay of a back-off does not grow, further exits are logged at debug level. */
int exit_report_level(const struct exit_report *report)
{
    int level = level_of_end(report);
    if (is_orderly(report))
        return LOG_INFO;
    if (report->delay && !report->delay_grew)
        return LOG_DEBUG;
    return report->delay && level > LOG_WARNING ? LOG_WARNING : level;
}

bool exit_report_is_expected(const struct exit_report *report)
{
    bool well = exited_well(report) && report->cause != DEATH_TIMEOUT && !went_away(report);
    return well || report->cause == DEATH_STOPPED;
}

static void add_exit(struct text_line *line, const struct exit_report *report)
{
    int code = WEXITSTATUS(report->status);
    if (exited_well(report) && code == WORKER_RETIRED)
        text_add(line, "ended");
    else if (exited_as(report, WORKER_CANT_START))
        text_add(line, "can't start: %s", report->reason);
    else if (exited_as(report, WORKER_LISTENER))
        text_add(line, "lost its listener: %s", report->reason);
    else if (exited_as(report, WORKER_SHORT))
        text_add(line, "couldn't accept connections any more: %s", report->reason);
    else if (exited_as(report, WORKER_ENDED))
        text_add(line, "ended at once");
    else
        text_add(line, "exited with status %d", code);
}

/* If a deadline or the watchdog ended the worker, that is named before the signal. */
static bool add_cause(struct text_line *line, const struct exit_report *report)
{
    if (report->cause == DEATH_WATCHDOG)
        text_add(line, "%s", report->hung ? "sent WATCHDOG=trigger" : "stopped sending WATCHDOG=1");
    else if (report->cause == DEATH_NOT_READY && report->ready_timeout)
        text_add(line, "not ready within ready_timeout (%d s)", report->ready_timeout);
    else if (report->cause == DEATH_NOT_READY)
        text_add(line, "not ready within ready_timeout");
    else
        return false;
    return true;
}

static void add_how(struct text_line *line, const struct exit_report *report, bool with_core)
{
    static const char *const causes[] = {
        [DEATH_NOT_READY] = " by us",
        [DEATH_OVERDUE] = " by us, not done within graceful_timeout",
        [DEATH_STOPPED] = " by us, told to stop at once",
        [DEATH_WATCHDOG] = " by us",
        [DEATH_TIMEOUT] = " by us, its request took more than request_timeout",
    };
    if (add_cause(line, report))
        text_add(line, ": ");
    if (WIFEXITED(report->status)) {
        add_exit(line, report);
    } else {
        int number = WTERMSIG(report->status);
        text_add(line, "%s by signal %d (%s", obeyed(report) ? "ended" : "killed", number,
                 strsignal(number));
        if (report->out_of_memory)
            text_add(line, ", out of memory");
        if (with_core && WCOREDUMP(report->status))
            text_add(line, ", core dumped");
        else if (with_core && lacks_core(report))
            text_add(line, ", no core: %s", report->no_core);
        text_add(line, ")");
    }
    bool asked = report->cause != DEATH_NOT_READY && report->cause != DEATH_WATCHDOG;
    if (report->cause < sizeof causes / sizeof *causes && causes[report->cause] &&
        (asked || WIFSIGNALED(report->status)))
        text_add(line, "%s", causes[report->cause]);
}

static void add_keys(struct text_line *line, const struct exit_report *report)
{
    char peer[ADDR_TEXT], last[TEXT_CLEAN(SCOREBOARD_REASON)];
    text_add(line, " pool=%s pid=%d", report->pool, (int)report->pid);
    if (WIFSIGNALED(report->status))
        text_add(line, " signal=%s core=%s", daemon_signal_word(WTERMSIG(report->status)),
                 WCOREDUMP(report->status) ? "yes" : "no");
    else
        text_add(line, " exit=%d", WEXITSTATUS(report->status));
    if (!report->program)
        text_add(line, " served=%llu", (unsigned long long)report->served);
    text_add(line, " age=%.1f", clock_seconds(report->age));
    if (report->replacement)
        text_add(line, " new=%d", (int)report->replacement);
    if (report->out_of_memory)
        text_add(line, " oom=yes");
    if (report->in_hand > 1)
        text_add(line, " connections=%u", report->in_hand);
    if (snapshot_peer(&report->peer, peer)[0])
        text_add(line, " peer=%s", peer);
    if (report->last[0])
        text_add(line, " last=\"%s\"", log_value(last, sizeof last, report->last));
}

int exit_report_print(const struct exit_report *report, char *text, size_t size)
{
    struct text_line line = {.at = text, .room = size};
    text_add(&line, "pool %s: worker %d ", report->pool, (int)report->pid);
    add_how(&line, report, /* with_core: */ true);
    if (!report->program)
        text_add(&line, " after %llu request%s", (unsigned long long)report->served,
                 report->served == 1 ? "" : "s");
    else
        text_add(&line, " after %.1f s", clock_seconds(report->age));
    if (report->in_hand > 1)
        text_add(&line, ", and with it %u connections", report->in_hand);
    if (went_away(report))
        text_add(&line, ", and left processes behind: it must stay in the foreground");
    else if (is_orderly(report) && !report->ready)
        text_add(&line, ", before it was ready");
    if (report->replacement)
        text_add(&line, "; respawned as %d", (int)report->replacement);
    else if (report->replaced)
        text_add(&line, "; respawned in %.1f s", clock_seconds(report->delay));
    add_keys(&line, report);
    return (int)line.length;
}

bool exit_report_is_trouble(const struct exit_report *report)
{
    bool told = report->cause == DEATH_RETIRED || report->cause == DEATH_OVERDUE ||
                report->cause == DEATH_STOPPED;
    return exited_as(report, WORKER_CANT_START) || went_away(report) || (!report->ready && !told) ||
           report->ended_early;
}

void exit_report_print_trouble(const struct exit_report *report, char *text, size_t size)
{
    struct text_line line = {.at = text, .room = size};
    const char *colon = report->last[0] ? ": " : "";
    if (exited_as(report, WORKER_CANT_START))
        text_add(&line, "%s", report->reason);
    else if (went_away(report))
        text_add(&line,
                 "its program ended, with status 0, and left processes behind: it must stay in "
                 "the foreground");
    else if (report->ended_early && report->ready) {
        if (report->program)
            text_add(&line, "its program ");
        else
            text_add(&line, "worker %d ", (int)report->pid);
        add_how(&line, report, /* with_core: */ false);
        text_add(&line, ", %.1f s after it was ready (min_ready_time is %d s)%s%s",
                 clock_seconds(report->ready_for), report->min_ready_time, colon, report->last);
    } else if (add_cause(&line, report))
        text_add(&line, "%s%s", report->last[0] ? "; it last wrote: " : "", report->last);
    else if (!report->program)
        text_add(&line, "worker %d died before it was ready", (int)report->pid);
    else if (is_orderly(report))
        text_add(&line, "its program ended, with status 0, before it was ready");
    else
        text_add(&line, "its program %s before it was ready%s%s",
                 WIFEXITED(report->status) ? "exited" : "was killed", colon, report->last);
}

void exit_report_record(const struct exit_report *report, usec when, struct death *death)
{
    *death = (struct death){
        .when = when,
        .pid = report->pid,
        .generation = report->generation,
        .status = report->status,
        .cause = (int32_t)report->cause,
        .age = report->age,
        .served = report->program ? -1 : (int64_t)report->served,
        .cpu_user = report->cpu_user,
        .cpu_system = report->cpu_system,
        .memory = report->memory,
        .was_ready = report->ready,
        .out_of_memory = report->out_of_memory,
        .in_hand = report->in_hand,
        .peer = report->peer,
    };
    struct text_line why = {.at = death->why, .room = sizeof death->why};
    add_how(&why, report, /* with_core: */ false);
    if (WIFSIGNALED(report->status) && WCOREDUMP(report->status))
        snprintf(death->core, sizeof death->core, "dumped");
    else if (lacks_core(report))
        snprintf(death->core, sizeof death->core, "none: %s", report->no_core);
    snprintf(death->pool, sizeof death->pool, "%s", report->pool);
    snprintf(death->last, sizeof death->last, "%s", report->last);
}

/* --- the back-off ----------------------------------------------------------------------------- */

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

/* A gap counts against `alive` by a quarter: so a program that ends at once never reaches
 * BACKOFF_EARLY, and one that is alive for a fifth of the time does. */
usec backoff_orderly(struct backoff *backoff, usec life, usec ready_for)
{
    usec delay = life < BACKOFF_FIRST ? BACKOFF_FIRST - life : 0;
    usec alive = backoff->alive + life - delay / 4;
    backoff->alive = alive < 0 ? 0 : clock_earlier(alive, BACKOFF_EARLY);
    if (ready_for < 0)
        return delay;
    backoff->ready += ready_for;
    backoff_alive(backoff, /* accepted: */ false, backoff->ready);
    return delay;
}

/* --- an exit ---------------------------------------------------------------------------------- */

/* Why there is no core (core(5)). */
static const char *core_reason(const struct worker *worker)
{
    static char pattern[128];
    long long limit = worker->conf->limits.value[LIMIT_CORE];
    struct rlimit ours;
    if (limit == 0)
        return "limits { core = 0 }";
    if (limit == OPTION_UNSET && getrlimit(RLIMIT_CORE, &ours) == 0 && ours.rlim_cur == 0)
        return "the limit of core files is 0, see limits { core }";
    if (limit == OPTION_UNSET && geteuid() == 0)
        return "it has changed its user, see limits { core }";
    char words[64];
    snprintf(pattern, sizeof pattern, "see directory, its rights, and kernel.core_pattern = %s",
             procfs_setting("kernel/core_pattern", words, sizeof words));
    return pattern;
}

void exits_begin(struct worker *worker, struct overview *overview, struct exit_report *report)
{
    struct overview_pool *shown = &overview->pools[worker->resources->place];
    uint64_t served = spawn_load(worker, worker->died).served - worker->served_before;
    usec age = worker->died - worker->born;
    int status = worker->exit_status;
    stderr_log_close(&worker->lines);
    if (served > (uint64_t)age + USEC_SECOND) {
        spawn_warn_broken(worker, "more connections than there can have been");
        served = 0;
    }
    bool core_expected =
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
        .last = worker->lines.last,
        .program = worker->was_program,
        .left_group = worker->left_group,
        .ready_for = worker->was_ready ? worker->died - worker->ready_at : 0,
        .min_ready_time = worker->conf->min_ready_time,
        .max_requests = worker->conf->max_requests,
        .stop_signal = worker->app_policy.stop_signal,
        .no_core = core_expected ? core_reason(worker) : NULL,
    };
    /* A copy with an end, because others of the pool may go on writing to the slot. */
    memcpy(report->reason, worker->slot->reason, sizeof report->reason - 1);
    worker->expected = is_orderly(report) || is_used_up(report);
    bool told = worker->cause == DEATH_RETIRED || worker->cause == DEATH_OVERDUE ||
                worker->cause == DEATH_STOPPED || worker->cause == DEATH_TIMEOUT;
    report->ended_early = worker->role != ROLE_RETIRING && !told && !worker->stayed &&
                          worker->conf->min_ready_time > 0 && !worker->expected;
    /* Expected exits are only counted; all others are entered in the ledger too. */
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

/* The successor of a worker that is used up starts at once, and goes on with the time for which its
 * predecessors were ready: it runs the same code under the same configuration. */
static void set_respawn_used_up(struct worker *worker, usec ready_for)
{
    struct backoff *backoff = &worker->backoff;
    backoff->ready += ready_for;
    backoff_alive(backoff, /* accepted: */ true, ready_for);
    worker->stayed = worker->stayed || backoff->ready >= worker->conf->min_ready_time * USEC_SECOND;
    worker->continues = worker->late = false;
    worker->trying_since = 0;
}

void exits_set_respawn(struct worker *worker, struct exit_report *report, usec now)
{
    usec ready_for = worker->was_ready ? worker->died - worker->ready_at : -1;
    report->replaced = true;
    if (is_orderly(report)) {
        usec timeout = worker->conf->ready_timeout * USEC_SECOND;
        report->delay = backoff_orderly(&worker->backoff, worker->died - worker->born, ready_for);
        /* The successor of a ready program counts as ready, unless it has to say so itself. */
        worker->continues =
            (worker->was_ready || worker->continues) && !worker->app_policy.notifies;
        worker->late = worker->trying_since && now - worker->trying_since >= timeout;
    } else if (is_used_up(report)) {
        set_respawn_used_up(worker, ready_for);
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
