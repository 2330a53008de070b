#include "snapshot.h"

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

static int bounded(uint32_t end, int most)
{
    return end < (uint32_t)most ? (int)end : most;
}

int snapshot_slots(const struct scoreboard *board)
{
    return bounded(board->slots_end, SCOREBOARD_SLOTS);
}

int snapshot_listeners(const struct scoreboard *board)
{
    return bounded(board->listeners_end, SCOREBOARD_LISTENERS);
}

const char *snapshot_listener(const struct scoreboard *board, int number,
                              char text[static TEXT_CLEAN(SCOREBOARD_ADDRESS)])
{
    const struct scoreboard_listener *listener = &board->listeners[number];
    if (!listener->used)
        return NULL;
    return text_clean(text, TEXT_CLEAN(SCOREBOARD_ADDRESS), listener->text, SCOREBOARD_ADDRESS);
}

const char *snapshot_peer(const struct slot_peer *peer, char text[static ADDR_TEXT])
{
    struct addr addr = {0};
    text[0] = '\0';
    if (peer->family == AF_INET) {
        addr = (struct addr){.len = sizeof addr.in, .in = {.sin_family = AF_INET}};
        addr.in.sin_port = htons(peer->port);
        memcpy(&addr.in.sin_addr, peer->ip, sizeof addr.in.sin_addr);
    } else if (peer->family == AF_INET6) {
        addr = (struct addr){.len = sizeof addr.in6, .in6 = {.sin6_family = AF_INET6}};
        addr.in6.sin6_port = htons(peer->port);
        memcpy(&addr.in6.sin6_addr, peer->ip, sizeof addr.in6.sin6_addr);
    } else if (peer->family == AF_UNIX) {
        snprintf(text, ADDR_TEXT, peer->uid == (uint32_t)-1 ? "unix" : "unix,uid=%u", peer->uid);
        return text;
    }
    return addr_print(&addr, text);
}

/* What a living worker does: `state` is its own word, any number. */
static enum slot_state state_of_living(const struct slot *slot)
{
    uint32_t state = slot->state;
    if (state == SLOT_STARTING || state == SLOT_IDLE || state == SLOT_BUSY)
        return (enum slot_state)state;
    return slot->ready ? SLOT_IDLE : SLOT_STARTING;
}

bool snapshot_worker(const struct scoreboard *board, int number, struct snapshot_worker *worker)
{
    const struct slot *slot = &board->slots[number];
    pid_t pid = slot->pid;
    if (pid <= 0 && slot->state != SLOT_WAITING)
        return false;
    *worker = (struct snapshot_worker){
        .slot = number,
        .pool = slot->pool,
        .pid = pid > 0 ? pid : 0,
        .program = slot->program,
        .generation = slot->generation,
        .state = pid > 0 ? state_of_living(slot) : SLOT_WAITING,
        .retiring = slot->retiring,
        .since = slot->since > slot->born ? slot->since : slot->born,
        .born = slot->born,
        .accepted = slot->accepted,
        .served = slot->served,
        .errors = slot->errors,
    };
    if (worker->state == SLOT_BUSY)
        worker->peer = slot->peer;
    return true;
}

static void copy_pool(const struct scoreboard_pool *from, struct snapshot_pool *to)
{
    to->used = from->used;
    if (!to->used)
        return;
    text_clean(to->name, sizeof to->name, from->name, sizeof from->name);
    text_clean(to->handler, sizeof to->handler, from->handler, sizeof from->handler);
    text_clean(to->trouble, sizeof to->trouble, from->trouble, sizeof from->trouble);
    to->state = from->state < POOL_STATES ? (enum pool_state)from->state : POOL_STARTING;
    to->state_since = from->state_since;
    to->generation = from->generation;
    to->target = from->target;
    to->min_workers = from->min_workers;
    to->max_workers = from->max_workers;
    to->min_spare = from->min_spare;
    to->max_spare = from->max_spare;
    to->accepted = from->accepted;
    to->served = from->served;
    to->errors = from->errors;
    for (int i = 0; i < REFUSALS; i++)
        to->refused[i] = from->refused[i];
    to->retirements = from->retirements;
    to->deaths = from->deaths;
}

static void count_worker(struct snapshot_pool *pool, const struct snapshot_worker *worker)
{
    if (worker->state == SLOT_WAITING)
        pool->waiting++;
    else if (worker->retiring || worker->generation < pool->generation)
        pool->retiring++;
    else if (worker->state == SLOT_BUSY)
        pool->busy++;
    else if (worker->state == SLOT_IDLE)
        pool->idle++;
    else
        pool->starting++;
}

static void add_slot(const struct scoreboard *board, int number, struct snapshot *snapshot)
{
    struct snapshot_worker worker;
    if (!snapshot_worker(board, number, &worker) || worker.pool >= (uint32_t)snapshot->count)
        return;
    struct snapshot_pool *pool = &snapshot->pools[worker.pool];
    count_worker(pool, &worker);
    pool->accepted += worker.accepted;
    pool->served += worker.served;
    pool->errors += worker.errors;
    for (int i = 0; i < REFUSALS; i++)
        pool->refused[i] += board->slots[number].refused[i];
    if (worker.state == SLOT_BUSY && worker.since > pool->busy_since)
        pool->busy_since = worker.since;
}

/* The master is not told of each connection, so it can't know. */
static void judge_fullness(struct snapshot_pool *pool)
{
    bool full = pool->max_workers > 0 && pool->idle == 0 && pool->busy >= pool->max_workers;
    if (pool->state != POOL_SERVING || !full)
        return;
    pool->state = POOL_FULL;
    if (pool->busy_since > pool->state_since)
        pool->state_since = pool->busy_since;
}

struct snapshot *snapshot_take(const struct scoreboard *board)
{
    int count = bounded(board->pools_end, SCOREBOARD_POOLS);
    int slots = snapshot_slots(board);
    struct snapshot *snapshot =
        calloc(1, sizeof *snapshot + (size_t)count * sizeof *snapshot->pools);
    if (!snapshot)
        return NULL;
    snapshot->count = count;
    for (int i = 0; i < count; i++)
        copy_pool(&board->pools[i], &snapshot->pools[i]);
    for (int i = 0; i < slots; i++)
        add_slot(board, i, snapshot);
    for (int i = 0; i < count; i++)
        judge_fullness(&snapshot->pools[i]);
    return snapshot;
}
