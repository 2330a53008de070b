#include "procstat.h"

#include "../base/arena.h"
#include "../base/procfs.h"

#include <stdlib.h>

/* How long one look may read processes. */
#define LOOK_TIMEOUT (5 * USEC_SECOND / 1000)

static int64_t memory_of(pid_t pid)
{
    int64_t bytes;
    return pid > 0 && procfs_memory(pid, &bytes) == 0 ? bytes : 0;
}

/* The pids come from the worker's slot, and the worker may lie. So a process counts only if the
 * kernel says that it is the worker's child, or was forked by one of its templates. The processor
 * time of children becomes the worker's when it waits for them: it waits for a template at the
 * template's end, and the template has waited for its programs. */
static void add_children(const struct slot *slot, struct procstat_process *worker)
{
    struct procfs_stat stat;
    pid_t program = slot->program, parent = 0;
    if (program > 1 && procfs_stat(program, &stat) == 0)
        parent = stat.parent;
    bool own = parent == worker->pid;
    for (int i = 0; i < TEMPLATES_MOST; i++) {
        pid_t pid = slot->templates.pids[i];
        if (pid <= 1 || procfs_stat(pid, &stat) != 0 || stat.parent != worker->pid)
            continue;
        own = own || parent == pid;
        worker->user += stat.user + stat.children_user;
        worker->system += stat.system + stat.children_system;
        worker->template_memory += memory_of(pid);
    }
    worker->memory += worker->template_memory + (own ? memory_of(program) : 0);
}

/* Reads one worker. False if it has no process. */
static bool read_worker(const struct procstat *procstat, const struct view *view, int number,
                        struct procstat_process *known)
{
    const struct overview_worker *worker = &view->overview->workers[number];
    struct procfs_stat stat;
    pid_t pid = worker->pid;
    usec born = worker->born;
    if (pid <= 1)
        return false;
    struct procstat_process read = {.pid = pid, .born = born, .read_at = -1};
    const struct slot *slot = view_slot(view, worker);
    if (procfs_stat(pid, &stat) == 0) {
        read.read_at = procstat->looked_at;
        read.user = stat.user + stat.children_user;
        read.system = stat.system + stat.children_system;
        read.memory = memory_of(pid);
        if (slot)
            add_children(slot, &read);
    }
    if (worker->pid == pid) /* otherwise it has ended, and its pid may be another's */
        *known = read;
    return true;
}

static void look_at_processes(struct procstat *procstat, const struct view *view)
{
    uint32_t end_of_workers = view->overview->workers_end;
    int workers = end_of_workers < SCOREBOARD_SLOTS ? (int)end_of_workers : SCOREBOARD_SLOTS;
    int looked = 0;
    for (int i = 0; i < workers; i++) /* fetch new scoreboards before the time starts */
        if (view->overview->workers[i].pid > 1)
            view_slot(view, &view->overview->workers[i]);
    usec end = clock_now() + LOOK_TIMEOUT;
    if (!workers ||
        !list_grow(&procstat->list, &procstat->room, (uint32_t)workers, sizeof *procstat->list))
        return;
    for (int i = 0; i < workers && looked < PROCSTAT_A_LOOK; i++) {
        procstat->next = procstat->next < workers ? procstat->next : 0;
        bool there = read_worker(procstat, view, procstat->next, &procstat->list[procstat->next]);
        procstat->next++;
        looked += there;
        if (there && clock_now() >= end)
            break;
    }
}

void procstat_look(struct procstat *procstat, const struct view *view, usec now)
{
    procstat->looked_at = now;
    accept_queues_ask(&procstat->queues); /* on failure the queues are shown as unknown */
    if (procstat->processes)
        look_at_processes(procstat, view);
}

const struct procstat_process *procstat_process(const struct procstat *procstat,
                                                const struct overview *overview, int worker)
{
    if ((uint32_t)worker >= procstat->room)
        return NULL;
    const struct procstat_process *known = &procstat->list[worker];
    bool same = known->read_at && known->pid == overview->workers[worker].pid &&
                known->born == overview->workers[worker].born;
    return same ? known : NULL;
}

void procstat_done(struct procstat *procstat)
{
    accept_queues_free(&procstat->queues);
    free(procstat->list);
    procstat->list = NULL;
    procstat->room = 0;
}
