#include "overview.h"

#include "../base/fd.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

const char *const pool_state_words[POOL_STATES] = {
    [POOL_STARTING] = "starting",       [POOL_SERVING] = "serving", [POOL_DEGRADED] = "degraded",
    [POOL_UNREACHABLE] = "unreachable", [POOL_FULL] = "full",       [POOL_DRAINED] = "drained",
    [POOL_REMOVED] = "removed",
};

const char *const death_cause_words[DEATH_CAUSES] = {
    [DEATH_OWN] = "own",           [DEATH_RETIRED] = "retired", [DEATH_NOT_READY] = "not ready",
    [DEATH_OVERDUE] = "overdue",   [DEATH_STOPPED] = "stopped", [DEATH_TIMEOUT] = "timeout",
    [DEATH_WATCHDOG] = "watchdog",
};

struct overview *overview_open(int *reader)
{
    int fd = shm_create("preforkd-overview", sizeof(struct overview));
    struct overview *overview = fd < 0 ? NULL : shm_map(fd, sizeof *overview, true);
    int error = fd < 0 ? fd : overview ? shm_seal(fd) : -errno;
    *reader = error ? error : shm_reader(fd);
    if (fd >= 0)
        close(fd);
    if (*reader < 0) {
        if (overview)
            munmap(overview, sizeof *overview);
        errno = -*reader;
        return NULL;
    }
    overview->master = getpid();
    overview->started = clock_now();
    overview->started_at = clock_real();
    return overview;
}

void overview_close(struct overview *overview, int reader)
{
    munmap(overview, sizeof *overview);
    close(reader);
}

const struct overview *overview_map(int reader)
{
    return shm_map(reader, sizeof(struct overview), false);
}

void overview_unmap(const struct overview *overview)
{
    munmap((void *)overview, sizeof *overview);
}

void overview_begin_move(struct overview *overview)
{
    atomic_store_explicit(&overview->moves, overview->moves | 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_release);
}

void overview_end_move(struct overview *overview)
{
    atomic_store_explicit(&overview->moves, (overview->moves | 1) + 1, memory_order_release);
}

int overview_add_pool(struct overview *overview, const char *name)
{
    for (int i = 0; i < SCOREBOARD_POOLS; i++) {
        struct overview_pool *pool = &overview->pools[i];
        if (pool->used)
            continue;
        *pool = (struct overview_pool){.state_since = clock_now(), .serial = ++overview->serials};
        snprintf(pool->name, sizeof pool->name, "%s", name);
        pool->used = 1;
        if (overview->pools_end <= (uint32_t)i)
            overview->pools_end = (uint32_t)i + 1;
        return i;
    }
    return -1;
}

void overview_remove_pool(struct overview *overview, int pool)
{
    overview->pools[pool].used = 0;
}

void overview_note_reload(struct overview *overview, const char *refusal)
{
    if (refusal)
        overview->reloads_refused++;
    else
        overview->reloads++;
    snprintf(overview->refusal, sizeof overview->refusal, "%s", refusal ? refusal : "");
    overview->reloaded = clock_real();
}

/* --- the ledger of deaths --------------------------------------------------------------------- */

void deaths_write(struct overview *overview, const struct death *facts)
{
    uint64_t number = overview->deaths_written + 1;
    struct death *entry = &overview->deaths[number % SCOREBOARD_DEATHS];
    size_t behind = sizeof entry->number;
    atomic_store_explicit(&entry->number, 0, memory_order_relaxed);
    atomic_thread_fence(memory_order_release);
    memcpy((char *)entry + behind, (const char *)facts + behind, sizeof *entry - behind);
    atomic_store_explicit(&entry->number, number, memory_order_release);
    overview->deaths_written = number;
}

/* False if the entry is empty, or was written meanwhile. */
static bool copy_entry(const struct death *entry, uint64_t place, struct death *copy)
{
    uint64_t number = atomic_load_explicit(&entry->number, memory_order_acquire);
    if (number == 0 || number % SCOREBOARD_DEATHS != place)
        return false;
    memcpy((void *)copy, (const void *)entry, sizeof *copy);
    atomic_thread_fence(memory_order_acquire);
    copy->number = number;
    copy->pool[sizeof copy->pool - 1] = '\0';
    copy->why[sizeof copy->why - 1] = '\0';
    copy->core[sizeof copy->core - 1] = '\0';
    copy->last[sizeof copy->last - 1] = '\0';
    return atomic_load_explicit(&entry->number, memory_order_relaxed) == number;
}

static int by_number(const void *a, const void *b)
{
    uint64_t first = ((const struct death *)a)->number, second = ((const struct death *)b)->number;
    return (first > second) - (first < second);
}

int deaths_list(const struct overview *overview, struct death list[static SCOREBOARD_DEATHS])
{
    int count = 0;
    for (int i = 0; i < SCOREBOARD_DEATHS; i++)
        count += copy_entry(&overview->deaths[i], (uint64_t)i, &list[count]);
    qsort(list, (size_t)count, sizeof *list, by_number);
    return count;
}

uint64_t overview_layout(void)
{
    enum { VERSION = 2 };
    return (uint64_t)scoreboard_layout() ^ (uint64_t)VERSION << 56 ^ sizeof(struct overview) << 8;
}

/* --- a reader's view -------------------------------------------------------------------------- */

const struct slot *view_slot(const struct view *view, const struct overview_worker *worker)
{
    const struct scoreboard *board = view->board(view->owner, worker->board, worker->serial);
    bool fits = worker->seat < SCOREBOARD_SLOTS &&
                worker->seats <= SCOREBOARD_SLOTS - worker->seat && worker->seats > 0;
    return board && fits ? &board->slots[worker->seat] : NULL;
}
