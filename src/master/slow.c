#include "slow.h"

#include "../base/log.h"
#include "../base/procfs.h"
#include "../base/text.h"
#include "../handlers/handler.h"
#include "../reports/slow_text.h"
#include "../reports/snapshot.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* From one look at a slow request to the next. */
#define PERIOD (2 * USEC_SECOND)

/* In the log, a second; what can't be told now is told at the next look. */
enum { STDERR_LOG_MOST = 20 };

_Static_assert((int)PROCESS_COMMAND == (int)SCOREBOARD_COMMAND, "a name has room in the overview");

/* Entries. Whose one is, is kept beside them. */

static bool is_taken(const struct spawner *spawner, int entry)
{
    uint32_t owner = spawner->slow_owners[entry];
    return owner && spawner->workers[owner - 1].slow == entry + 1;
}

static bool take_entry(struct worker *worker, struct spawner *spawner)
{
    int entry = 0;
    while (entry < SCOREBOARD_SLOW && is_taken(spawner, entry))
        entry++;
    if (entry == SCOREBOARD_SLOW)
        return false;
    spawner->slow_owners[entry] = (uint32_t)spawn_number(spawner, worker) + 1;
    worker->slow = entry + 1;
    return true;
}

static void give_entry(struct worker *worker)
{
    if (!worker->slow)
        return;
    worker->slow = 0;
    worker->shown->slow = 0;
}

/* Looking. */

/* The program that it says to run, where that is its child; else it is itself what is looked at. */
static void find_process(const struct worker *worker, struct slow *slow, struct procfs_stat *stat)
{
    bool runs = handler_of(worker->conf->handler)->runs_programs;
    pid_t program = runs ? worker->slot->program : 0;
    *stat = (struct procfs_stat){0};
    slow->is_program =
        program > 1 && procfs_stat(program, stat) == 0 && stat->parent == worker->pid;
    slow->process.pid = slow->is_program ? program : worker->pid;
    if (!slow->is_program && procfs_stat(worker->pid, stat) != 0)
        *stat = (struct procfs_stat){0};
    memcpy(slow->process.command, stat->command, sizeof slow->process.command);
    slow->process.state = stat->state;
}

/* CPU of all its threads and of those it waited for comes in ticks, that of its first thread is
 * exact: what is more is nearer to the truth. */
static void measure(struct worker *worker, struct slow *slow, const struct procfs_stat *stat,
                    bool first)
{
    usec running, waiting;
    usec ticks = stat->user + stat->system + stat->children_user + stat->children_system;
    bool exact = procfs_schedule(slow->process.pid, &running, &waiting) == 0;
    usec cpu = exact && running > ticks ? running : ticks, wait = exact ? waiting : -1;
    if (first) {
        worker->slow_cpu = slow->is_program ? 0 : cpu;
        worker->slow_wait = slow->is_program || !exact ? 0 : wait;
    }
    bool known = slow->is_program || !first;
    slow->cpu = known && stat->state ? cpu - worker->slow_cpu : -1;
    slow->wait = known && exact ? wait - worker->slow_wait : -1;
}

static void hide(struct slow *slow, const char *what, int error)
{
    const char *why = strerror(error);
    if (error == EACCES || error == EPERM)
        why = "the kernel shows it to CAP_SYS_PTRACE alone";
    snprintf(slow->hidden, sizeof slow->hidden, "%s: %s", what, why);
}

/* Where it is in the kernel. What the channel is, those who may not know are told as "in none", so
 * the call is asked for too; but not of one that may be changing its program at that: it has the
 * lock that this takes, and a file system, be it one of FUSE that lets it be interrupted, may hold
 * it up. In the kernel without a channel: then that was not shown. */
static void locate(struct slow *slow)
{
    int number = -1;
    bool sleeps = slow->process.state == 'S' || slow->process.state == 'D';
    int error = procfs_channel(slow->process.pid, slow->channel, sizeof slow->channel);
    if (error) {
        hide(slow, "wchan", -error);
        return;
    }
    if (sleeps && !slow->channel[0]) {
        hide(slow, "wchan and syscall", EACCES);
        return;
    }
    if (slow->process.state != 'S' || strstr(slow->channel, "request_wait_answer"))
        return;
    error = procfs_call(slow->process.pid, &number);
    if (error)
        hide(slow, "syscall", -error);
    const char *name = procfs_call_name(number);
    if (name)
        snprintf(slow->call, sizeof slow->call, "%s", name);
    else if (number >= 0)
        snprintf(slow->call, sizeof slow->call, "%d", number);
}

static void find_children(struct slow *slow)
{
    pid_t list[SCOREBOARD_CHILDREN];
    int count = procfs_children(slow->process.pid, list, SCOREBOARD_CHILDREN);
    for (int i = 0; i < count; i++) {
        struct procfs_stat stat;
        struct slow_process *child = &slow->children[slow->child_count];
        if (procfs_stat(list[i], &stat) != 0)
            continue;
        child->pid = list[i];
        child->state = stat.state;
        memcpy(child->command, stat.command, sizeof child->command);
        slow->child_count++;
    }
}

static void show(struct overview *overview, struct worker *worker, const struct slow *slow)
{
    struct slow *entry = &overview->slow[worker->slow - 1];
    size_t behind = sizeof entry->turn;
    uint64_t turn = entry->turn | 1;
    atomic_store_explicit(&entry->turn, turn, memory_order_relaxed);
    atomic_thread_fence(memory_order_release);
    memcpy((char *)entry + behind, (const char *)slow + behind, sizeof *entry - behind);
    atomic_store_explicit(&entry->turn, turn + 1, memory_order_release);
    worker->shown->slow = (uint32_t)worker->slow;
}

/* Telling. */

static void print_line(FILE *out, const struct worker *worker, const struct slow *slow, usec now)
{
    const char *pool = worker->conf->name;
    struct slot_peer peer = worker->slot->peer;
    char who[ADDR_TEXT];
    double seconds = clock_seconds(now - slow->since);
    snapshot_peer(&peer, who);
    fprintf(out, "pool %s: a request is slow, after %.1f s: worker %d serves %s: ", pool, seconds,
            (int)worker->pid, who[0] ? who : "?");
    slow_text(out, slow);
    fprintf(out,
            " pool=%s pid=%d peer=%s seconds=%.1f process=%d state=%c wchan=%s syscall=%s "
            "children=%d",
            pool, (int)worker->pid, who[0] ? who : "?", seconds, (int)slow->process.pid,
            slow->process.state ? slow->process.state : '?', slow->channel[0] ? slow->channel : "-",
            slow->call[0] ? slow->call : "-", slow->child_count);
}

static bool may_tell(struct spawner *spawner, usec now)
{
    if (now - spawner->slow_second >= USEC_SECOND) {
        spawner->slow_second = now;
        spawner->slow_lines = 0;
    }
    return spawner->slow_lines++ < STDERR_LOG_MOST;
}

static void tell(struct worker *worker, struct spawner *spawner, const struct slow *slow, usec now)
{
    struct text text;
    if (worker->slow_told == slow->since || !may_tell(spawner, now) || !text_open(&text))
        return;
    worker->slow_told = slow->since;
    print_line(text.out, worker, slow, now);
    char *line = text_close(&text, true);
    if (line)
        log_notice("%s", line);
    free(line);
}

static void look(struct worker *worker, struct spawner *spawner, usec since, usec now)
{
    bool first = worker->slow_since != since;
    struct procfs_stat stat;
    struct slow slow = {
        .slot = (uint32_t)spawn_number(spawner, worker),
        .since = since,
        .sampled = now,
    };
    worker->slow_since = since;
    find_process(worker, &slow, &stat);
    measure(worker, &slow, &stat, first);
    locate(&slow);
    find_children(&slow);
    if (spawn_since(worker, now) != since) /* it is over: this was the next one's */
        return;
    show(spawner->boards.overview, worker, &slow);
    tell(worker, spawner, &slow, now);
}

usec slow_watch(struct worker *worker, struct spawner *spawner, usec threshold, usec now)
{
    usec since = spawn_since(worker, now);
    bool busy = spawn_is_ready(worker) && spawn_is_busy(worker);
    usec lasts = busy ? snapshot_span(since, now) : 0;
    if (lasts < threshold) {
        give_entry(worker);
        return now + threshold - lasts;
    }
    if (worker->slow && worker->slow_since == since && now < worker->slow_next)
        return worker->slow_next;
    worker->slow_next = now + PERIOD;
    if (worker->slow || take_entry(worker, spawner))
        look(worker, spawner, since, now);
    return worker->slow_next;
}
