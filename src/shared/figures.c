#include "figures.h"

#include "../base/process.h"

#include <stdlib.h>
#include <string.h>

/* Processes are read as long as this, at one look. */
#define PATIENCE (5 * USEC_SECOND / 1000)

static int slots_of(const struct scoreboard *board)
{
    return board->slots_end < SCOREBOARD_SLOTS ? (int)board->slots_end : SCOREBOARD_SLOTS;
}

static bool make_room(struct figures *figures, int slots)
{
    if (slots <= figures->room)
        return true;
    struct figures_process *list = realloc(figures->list, (size_t)slots * sizeof *list);
    if (!list)
        return false;
    memset(list + figures->room, 0, (size_t)(slots - figures->room) * sizeof *list);
    figures->list = list;
    figures->room = slots;
    return true;
}

static int64_t memory_of(pid_t pid)
{
    int64_t bytes;
    return pid > 0 && process_memory(pid, &bytes) == 0 ? bytes : 0;
}

/* Which program it is, is the worker's word: only a child of its own counts. */
static int64_t program_memory(const struct slot *slot, pid_t worker)
{
    struct process_stat stat;
    pid_t program = slot->program;
    bool own = program > 1 && process_stat(program, &stat) == 0 && stat.parent == worker;
    return own ? memory_of(program) : 0;
}

/* Whether there was somebody to look at. */
static bool read_slot(const struct figures *figures, const struct slot *slot,
                      struct figures_process *known)
{
    struct process_stat stat;
    pid_t pid = slot->pid;
    usec born = slot->born;
    if (pid <= 1)
        return false;
    bool found = process_stat(pid, &stat) == 0;
    int64_t memory = found ? memory_of(pid) + program_memory(slot, pid) : 0;
    if (slot->pid != pid) /* gone meanwhile: then its number may be another's */
        return true;
    *known = (struct figures_process){.pid = pid, .born = born, .read_at = -1};
    if (!found)
        return true;
    known->read_at = figures->looked_at;
    known->user = stat.user + stat.children_user;
    known->system = stat.system + stat.children_system;
    known->memory = memory;
    return true;
}

static void look_at_processes(struct figures *figures, const struct scoreboard *board)
{
    int slots = slots_of(board), looked = 0;
    usec end = clock_now() + PATIENCE;
    if (!slots || !make_room(figures, slots))
        return;
    for (int i = 0; i < slots && looked < FIGURES_A_LOOK; i++) {
        figures->next = figures->next < slots ? figures->next : 0;
        bool there =
            read_slot(figures, &board->slots[figures->next], &figures->list[figures->next]);
        figures->next++;
        looked += there;
        if (there && clock_now() >= end)
            break;
    }
}

void figures_look(struct figures *figures, const struct scoreboard *board, usec now)
{
    figures->looked_at = now;
    queues_ask(&figures->queues); /* what can't be known is told as unknown */
    if (figures->processes)
        look_at_processes(figures, board);
}

const struct figures_process *figures_process(const struct figures *figures,
                                              const struct scoreboard *board, int slot)
{
    if (slot >= figures->room)
        return NULL;
    const struct figures_process *known = &figures->list[slot];
    bool same = known->read_at && known->pid == board->slots[slot].pid &&
                known->born == board->slots[slot].born;
    return same ? known : NULL;
}

void figures_done(struct figures *figures)
{
    queues_free(&figures->queues);
    free(figures->list);
    figures->list = NULL;
    figures->room = 0;
}
