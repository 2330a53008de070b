#include "scoreboard.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

const char *const slot_state_words[SLOT_STATES] = {
    [SLOT_FREE] = "free", [SLOT_WAITING] = "waiting", [SLOT_STARTING] = "starting",
    [SLOT_IDLE] = "idle", [SLOT_BUSY] = "busy",
};

const char *const refusal_words[REFUSALS] = {
    [REFUSED_DENIED] = "denied",
    [REFUSED_MAX_PER_SOURCE] = "max_per_source",
    [REFUSED_RATE] = "rate_per_source",
    [REFUSED_PROXY] = "proxy_protocol",
};

const char *const pool_state_words[POOL_STATES] = {
    [POOL_STARTING] = "starting", [POOL_SERVING] = "serving", [POOL_DEGRADED] = "degraded",
    [POOL_FULL] = "full",         [POOL_DRAINED] = "drained", [POOL_REMOVED] = "removed",
};

const char *const death_cause_words[DEATH_CAUSES] = {
    [DEATH_OWN] = "own",           [DEATH_RETIRED] = "retired", [DEATH_NOT_READY] = "not ready",
    [DEATH_OVERDUE] = "overdue",   [DEATH_STOPPED] = "stopped", [DEATH_TIMEOUT] = "timeout",
    [DEATH_WATCHDOG] = "watchdog",
};
static struct scoreboard *map(int fd)
{
    void *board = mmap(NULL, sizeof(struct scoreboard), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    return board == MAP_FAILED ? NULL : board;
}

struct scoreboard *scoreboard_adopt(int fd)
{
    struct stat file;
    if (fstat(fd, &file) != 0)
        return NULL;
    struct scoreboard *board = file.st_size == sizeof *board ? map(fd) : NULL;
    if (board && board->version == SCOREBOARD_VERSION && board->slot_size == sizeof(struct slot))
        return board;
    if (board)
        munmap(board, sizeof *board);
    errno = EPROTO;
    return NULL;
}

struct scoreboard *scoreboard_open(int *fd)
{
    int memory = memfd_create("preforkd-scoreboard", MFD_CLOEXEC);
    if (memory < 0)
        return NULL;
    struct scoreboard *board = ftruncate(memory, sizeof *board) == 0 ? map(memory) : NULL;
    if (!board) {
        close(memory);
        return NULL;
    }
    board->version = SCOREBOARD_VERSION;
    board->slot_size = sizeof(struct slot);
    board->master = getpid();
    board->started = clock_now();
    board->started_at = clock_real();
    if (getrandom(&board->seed, sizeof board->seed, GRND_NONBLOCK) < 0)
        board->seed = (uint64_t)board->started; /* so early after boot that there is none yet */
    *fd = memory;
    return board;
}

void scoreboard_close(struct scoreboard *board, int fd)
{
    munmap(board, sizeof *board);
    close(fd);
}

struct slot *scoreboard_take(struct scoreboard *board, int number, int pool)
{
    struct slot *slot = &board->slots[number];
    memset(slot, 0, sizeof *slot);
    slot->state = SLOT_WAITING;
    slot->pool = (uint32_t)pool;
    if (board->slots_end <= (uint32_t)number)
        board->slots_end = (uint32_t)number + 1;
    return slot;
}

void scoreboard_give(struct scoreboard *board, int number, int place)
{
    struct slot *slot = &board->slots[number];
    struct scoreboard_pool *pool = &board->pools[place];
    scoreboard_begin_move(board);
    pool->accepted += slot->accepted;
    pool->served += slot->served;
    pool->errors += slot->errors;
    pool->bytes_in += slot->bytes_in;
    pool->bytes_out += slot->bytes_out;
    for (int i = 0; i < REFUSALS; i++) {
        pool->refused[i] += slot->refused[i];
        slot->refused[i] = 0;
    }
    histogram_add(&pool->service, &slot->service);
    histogram_add(&pool->wait, &slot->wait);
    histogram_clear(&slot->service);
    histogram_clear(&slot->wait);
    slot->accepted = slot->served = slot->errors = slot->bytes_in = slot->bytes_out = 0;
    slot->slow = 0;
    slot->state = SLOT_FREE;
    scoreboard_end_move(board);
}

/* Whatever a worker has written there, it is odd from here to the end, and another even number
 * then. */
void scoreboard_begin_move(struct scoreboard *board)
{
    atomic_store_explicit(&board->moves, board->moves | 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_release);
}

void scoreboard_end_move(struct scoreboard *board)
{
    atomic_store_explicit(&board->moves, (board->moves | 1) + 1, memory_order_release);
}

int scoreboard_add_pool(struct scoreboard *board, const char *name)
{
    for (int i = 0; i < SCOREBOARD_POOLS; i++) {
        struct scoreboard_pool *pool = &board->pools[i];
        if (pool->used)
            continue;
        *pool = (struct scoreboard_pool){.state_since = clock_now()};
        if (board->shown[i].user || board->shown[i].system)
            board->shown[i] = (struct shown_time){0};
        snprintf(pool->name, sizeof pool->name, "%s", name);
        pool->used = 1;
        if (board->pools_end <= (uint32_t)i)
            board->pools_end = (uint32_t)i + 1;
        return i;
    }
    return -1;
}

void scoreboard_remove_pool(struct scoreboard *board, int pool)
{
    board->pools[pool].used = 0;
}

/* An IPv4 address as it is mapped into IPv6, however it came. */
static struct in6_addr ip_of(const struct slot_peer *peer)
{
    struct in6_addr ip = {.s6_addr = {[10] = 0xff, [11] = 0xff}};
    if (peer->family == AF_INET)
        memcpy(&ip.s6_addr[12], peer->ip, 4);
    else
        memcpy(&ip, peer->ip, sizeof ip);
    return ip;
}

static bool is_ip(const struct slot_peer *peer)
{
    return peer->family == AF_INET || peer->family == AF_INET6;
}

unsigned scoreboard_same_peer(const struct slot *slots, uint32_t number)
{
    const struct slot *own = &slots[number];
    struct in6_addr wanted = ip_of(&own->peer);
    uint32_t at = own->next_seat;
    unsigned found = 1;
    for (int steps = 0; at != number && steps < SCOREBOARD_SLOTS; steps++) {
        if (at >= SCOREBOARD_SLOTS || slots[at].pool != own->pool)
            break; /* the ring is being changed */
        if (slots[at].state == SLOT_BUSY && is_ip(&slots[at].peer)) {
            struct in6_addr ip = ip_of(&slots[at].peer);
            found += IN6_ARE_ADDR_EQUAL(&ip, &wanted);
        }
        at = slots[at].next_seat;
    }
    return found;
}

void scoreboard_note_reload(struct scoreboard *board, const char *refusal)
{
    if (refusal)
        board->reloads_refused++;
    else
        board->reloads++;
    snprintf(board->refusal, sizeof board->refusal, "%s", refusal ? refusal : "");
    board->reloaded = clock_real();
}
