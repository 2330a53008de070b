#include "exits.h"

#include "../base/log.h"
#include "../base/procfs.h"

#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

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
