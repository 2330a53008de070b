#include "slow.h"

#include "../base/log.h"
#include "../base/procfs.h"
#include "../base/text.h"
#include "../handlers/handler.h"
#include "../reports/snapshot.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* From one inspection of a request to the next. */
#define PERIOD (2 * USEC_SECOND)

/* Lines in the log; a request beyond that is logged at its next inspection. */
enum { LINES_A_SECOND = 20 };

_Static_assert((int)PROCESS_COMMAND == (int)SCOREBOARD_COMMAND, "a name has room in the overview");

/* Takes an entry whose owner, if any, has given it up. */
static bool take_entry(struct worker *worker, struct spawner *spawner)
{
    for (int entry = 0; entry < SCOREBOARD_SLOW; entry++) {
        uint32_t owner = spawner->slow_owners[entry];
        if (owner && spawner->workers[owner - 1].slow == entry + 1)
            continue;
        spawner->slow_owners[entry] = (uint32_t)spawn_number(spawner, worker) + 1;
        worker->slow = entry + 1;
        return true;
    }
    return false;
}

/* The process to inspect: the program that the worker says it runs, if it is the worker's child;
 * else the worker itself. */
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

/* The CPU time of all threads, and of the children waited for, is counted in ticks; that of the
 * first thread is exact. The larger of the two is closer to the truth. */
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

/* Finds out where the process is in the kernel: wait channel and system call. Without the right to
 * see the channel we read an empty one; so a process that sleeps without a channel hides it.
 * Reading the call takes a lock that a process holds while it executes a program, and a file system
 * may hold that process up: in state D, or, on a FUSE that can be interrupted, in S with the
 * channel request_wait_answer. So the call of such a process is not read. */
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

static void print_name(FILE *out, const struct slow_process *process)
{
    char name[TEXT_CLEAN(SCOREBOARD_COMMAND)];
    fputs(text_clean(name, sizeof name, process->command, sizeof process->command), out);
}

/* "sh 31242 is sleeping in do_wait (wait4), 0.02 s of CPU, children: sleep, cat" */
static void print_slow(FILE *out, const struct slow *slow)
{
    const char *state = snapshot_process_state(slow->process.state);
    char place[TEXT_CLEAN(sizeof slow->channel)], call[TEXT_CLEAN(sizeof slow->call)];
    text_clean(place, sizeof place, slow->channel, sizeof slow->channel);
    text_clean(call, sizeof call, slow->call, sizeof slow->call);
    print_name(out, &slow->process);
    fprintf(out, " %d is %s", (int)slow->process.pid, state ? state : "gone");
    if (place[0])
        fprintf(out, " in %s", place);
    if (call[0])
        fprintf(out, " (%s)", call);
    if (slow->cpu >= 0)
        fprintf(out, ", %.2f s of CPU", clock_seconds(slow->cpu));
    for (int i = 0; i < slow->child_count && i < SCOREBOARD_CHILDREN; i++) {
        fputs(i ? ", " : ", children: ", out);
        print_name(out, &slow->children[i]);
    }
}

static void log_slow(struct worker *worker, struct spawner *spawner, const struct slow *slow,
                     usec now)
{
    const char *pool = worker->conf->name;
    const struct slot *longest = spawn_load(worker, now).longest;
    struct slot_peer peer = (longest ? longest : worker->slot)->peer;
    char client[ADDR_TEXT];
    double seconds = clock_seconds(now - slow->since);
    struct text text;
    if (now - spawner->slow_second >= USEC_SECOND) {
        spawner->slow_second = now;
        spawner->slow_lines = 0;
    }
    if (worker->slow_logged == slow->since || spawner->slow_lines++ >= LINES_A_SECOND ||
        !text_open(&text))
        return;
    worker->slow_logged = slow->since;
    snapshot_peer(&peer, client);
    fprintf(text.out, "pool %s: a request is slow, after %.1f s: worker %d serves %s: ", pool,
            seconds, (int)worker->pid, client[0] ? client : "?");
    print_slow(text.out, slow);
    fprintf(text.out,
            " pool=%s pid=%d peer=%s seconds=%.1f process=%d state=%c wchan=%s syscall=%s "
            "children=%d",
            pool, (int)worker->pid, client[0] ? client : "?", seconds, (int)slow->process.pid,
            slow->process.state ? slow->process.state : '?', slow->channel[0] ? slow->channel : "-",
            slow->call[0] ? slow->call : "-", slow->child_count);
    char *line = text_close(&text, true);
    if (line)
        log_notice("%s", line);
    free(line);
}

static void inspect(struct worker *worker, struct spawner *spawner, usec since, usec now)
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

    pid_t children[SCOREBOARD_CHILDREN];
    int count = procfs_children(slow.process.pid, children, SCOREBOARD_CHILDREN);
    for (int i = 0; i < count; i++) {
        struct slow_process *child = &slow.children[slow.child_count];
        if (procfs_stat(children[i], &stat) != 0)
            continue;
        child->pid = children[i];
        child->state = stat.state;
        memcpy(child->command, stat.command, sizeof child->command);
        slow.child_count++;
    }
    if (spawn_load(worker, now).since != since) /* it is over; we inspected the next one */
        return;

    struct slow *entry = &spawner->boards.overview->slow[worker->slow - 1];
    size_t behind = sizeof entry->turn;
    uint64_t turn = entry->turn | 1; /* readers that find it odd, or changed, show nothing */
    atomic_store_explicit(&entry->turn, turn, memory_order_relaxed);
    atomic_thread_fence(memory_order_release);
    memcpy((char *)entry + behind, (const char *)&slow + behind, sizeof *entry - behind);
    atomic_store_explicit(&entry->turn, turn + 1, memory_order_release);
    worker->shown->slow = (uint32_t)worker->slow;
    log_slow(worker, spawner, &slow, now);
}

usec slow_watch(struct worker *worker, struct spawner *spawner, const struct seats_load *load,
                usec threshold, usec now)
{
    usec since = load->since;
    bool busy = spawn_is_ready(worker) && load->busy;
    usec lasts = busy ? snapshot_span(since, now) : 0;
    if (lasts < threshold) {
        if (worker->slow)
            worker->slow = worker->shown->slow = 0;
        return now + threshold - lasts;
    }
    if (worker->slow && worker->slow_since == since && now < worker->slow_next)
        return worker->slow_next;
    worker->slow_next = now + PERIOD;
    if (worker->slow || take_entry(worker, spawner))
        inspect(worker, spawner, since, now);
    return worker->slow_next;
}
