#include "procstat.h"

#include "../base/procfs.h"

#include <stdlib.h>
#include <string.h>

/* Processes are read as long as this, at one look. */
#define LOOK_TIMEOUT (5 * USEC_SECOND / 1000)

static int workers_of(const struct overview *overview)
{
    uint32_t end = overview->workers_end;
    return end < SCOREBOARD_SLOTS ? (int)end : SCOREBOARD_SLOTS;
}

static bool make_room(struct procstat *figures, int workers)
{
    if (workers <= figures->room)
        return true;
    struct procstat_process *list = realloc(figures->list, (size_t)workers * sizeof *list);
    if (!list)
        return false;
    memset(list + figures->room, 0, (size_t)(workers - figures->room) * sizeof *list);
    figures->list = list;
    figures->room = workers;
    return true;
}

static int64_t shm_of(pid_t pid)
{
    int64_t bytes;
    return pid > 0 && procfs_memory(pid, &bytes) == 0 ? bytes : 0;
}

/* Which processes a worker has, is its word: only its own children count, and what its templates
 * have forked. What those take is the worker's when it has waited for them; a template is
 * waited for at its end, and has waited for its programs. */
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
        worker->template_memory += shm_of(pid);
    }
    worker->memory += worker->template_memory + (own ? shm_of(program) : 0);
}

/* Whether there was a process to look at. */
static bool read_worker(const struct procstat *figures, const struct view *view, int number,
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
        read.read_at = figures->looked_at;
        read.user = stat.user + stat.children_user;
        read.system = stat.system + stat.children_system;
        read.memory = shm_of(pid);
        if (slot)
            add_children(slot, &read);
    }
    if (worker->pid == pid) /* else it is gone meanwhile, and its number may be another's */
        *known = read;
    return true;
}

static void look_at_processes(struct procstat *figures, const struct view *view)
{
    int workers = workers_of(view->overview), looked = 0;
    for (int i = 0; i < workers; i++) /* a scoreboard that is new is fetched: not in this time */
        if (view->overview->workers[i].pid > 1)
            view_slot(view, &view->overview->workers[i]);
    usec end = clock_now() + LOOK_TIMEOUT;
    if (!workers || !make_room(figures, workers))
        return;
    for (int i = 0; i < workers && looked < PROCSTAT_A_LOOK; i++) {
        figures->next = figures->next < workers ? figures->next : 0;
        bool there = read_worker(figures, view, figures->next, &figures->list[figures->next]);
        figures->next++;
        looked += there;
        if (there && clock_now() >= end)
            break;
    }
}

void procstat_look(struct procstat *figures, const struct view *view, usec now)
{
    figures->looked_at = now;
    accept_queues_ask(&figures->queues); /* what can't be known is told as unknown */
    if (figures->processes)
        look_at_processes(figures, view);
}

const struct procstat_process *procstat_process(const struct procstat *figures,
                                                const struct overview *overview, int worker)
{
    if (worker >= figures->room)
        return NULL;
    const struct procstat_process *known = &figures->list[worker];
    bool same = known->read_at && known->pid == overview->workers[worker].pid &&
                known->born == overview->workers[worker].born;
    return same ? known : NULL;
}

void procstat_done(struct procstat *figures)
{
    accept_queues_free(&figures->queues);
    free(figures->list);
    figures->list = NULL;
    figures->room = 0;
}
