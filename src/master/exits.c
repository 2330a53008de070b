#include "exits.h"

#include "../base/log.h"
#include "../board/deaths.h"
#include "../handlers/handler.h"

#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* A plain retirement is counted; every other end has its entry in the ledger, unless a stop asked
 * for it. */
static void record(struct overview *overview, int place, const struct exit_report *report)
{
    struct death death;
    if (exit_report_is_expected(report)) {
        overview->pools[place].retirements++;
        return;
    }
    overview->pools[place].deaths++;
    exit_report_record(report, clock_real(), &death);
    deaths_write(overview, &death);
}

/* Whether it ended by its own doing, and not in order, before it had stayed ready as long as it was to.
 */
static bool is_failure(const struct worker *worker, const struct exit_report *report)
{
    bool asked = worker->cause == DEATH_RETIRED || worker->cause == DEATH_OVERDUE ||
                 worker->cause == DEATH_STOPPED || worker->cause == DEATH_TIMEOUT;
    return worker->role != ROLE_RETIRING && !asked && !worker->stayed &&
           worker->conf->min_ready_time > 0 && !exit_report_is_orderly(report);
}

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
    FILE *file = fopen("/proc/sys/kernel/core_pattern", "re");
    char words[64] = "";
    if (file && fgets(words, sizeof words, file))
        words[strcspn(words, "\n")] = '\0';
    if (file)
        fclose(file);
    snprintf(pattern, sizeof pattern, "see directory, its rights, and kernel.core_pattern = %s",
             words);
    return pattern;
}

/* The facts of its death, for the log; texts point into the worker. */
static void fill_exit_report(const struct worker *worker, struct exit_report *report)
{
    const struct slot *slot = worker->slot;
    uint64_t served = slot->served - worker->served_before;
    usec age = worker->died - worker->born;
    int status = worker->status;
    if (served > (uint64_t)age + USEC_SECOND) {
        spawn_tell_broken(worker, "more connections than there can have been");
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
}

void exits_begin(struct worker *worker, struct overview *overview, struct exit_report *report)
{
    stderr_log_close(&worker->lines);
    fill_exit_report(worker, report);
    report->ended_early = is_failure(worker, report);
    worker->expected = exit_report_is_orderly(report);
    record(overview, worker->resources->place, report);
    worker->mourned = true;
}

/* A successor of one that was ready is so too, unless it is to say that by itself. */
static void set_orderly(struct worker *worker, struct exit_report *report, usec ready_for, usec now)
{
    usec patience = worker->conf->ready_timeout * USEC_SECOND;
    usec life = worker->died - worker->born;
    bool ready = worker->was_ready || worker->continues;
    report->delay = backoff_orderly(&worker->backoff, life, ready_for);
    worker->continues = ready && !worker->app_policy.notifies;
    worker->late = worker->trying_since && now - worker->trying_since >= patience;
}

void exits_set_respawn(struct worker *worker, struct exit_report *report, usec now)
{
    usec ready_for = worker->was_ready ? worker->died - worker->ready_at : -1;
    bool accepted = spawn_has_accepted(worker);
    report->replaced = true;
    if (exit_report_is_orderly(report)) {
        set_orderly(worker, report, ready_for, now);
    } else {
        worker->continues = worker->late = worker->stayed = false;
        report->delay = backoff_death(&worker->backoff, accepted, ready_for, &report->delay_grew);
    }
    worker->respawn_at = now + report->delay;
}

void exits_end(const struct exit_report *report)
{
    char text[LOG_LINE_MAX];
    exit_report_print(report, text, sizeof text);
    log_event(exit_report_level(report), "%s", text);
}
