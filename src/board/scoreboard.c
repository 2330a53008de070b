#include "scoreboard.h"

#include "../base/fd.h"

#include <netinet/in.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>

const char *const slot_state_words[SLOT_STATES] = {
    [SLOT_FREE] = "free", [SLOT_WAITING] = "waiting", [SLOT_STARTING] = "starting",
    [SLOT_IDLE] = "idle", [SLOT_BUSY] = "busy",
};

const char *const template_count_words[TEMPLATE_COUNTS] = {
    [TEMPLATE_FORKS] = "forks",
    [TEMPLATE_COLD_STARTS] = "cold_starts",
    [TEMPLATE_RESTARTS] = "restarts",
};

const char *const refusal_words[REFUSALS] = {
    [REFUSED_DENIED] = "denied",        [REFUSED_MAX_PER_SOURCE] = "max_per_source",
    [REFUSED_RATE] = "rate_per_source", [REFUSED_PROXY] = "proxy_protocol",
    [REFUSED_QUEUE] = "queue",
};

int scoreboard_create(void)
{
    return shm_create("preforkd-scoreboard", sizeof(struct scoreboard));
}

struct scoreboard *scoreboard_map(int fd, bool writable)
{
    return shm_map(fd, sizeof(struct scoreboard), writable);
}

void scoreboard_unmap(struct scoreboard *board)
{
    if (board)
        munmap(board, sizeof *board);
}

/* Count the version up when the layout changes, but the sizes don't. */
int64_t scoreboard_layout(void)
{
    enum { VERSION = 7 };
    return (int64_t)VERSION << 48 | (int64_t)sizeof(struct slot) << 32 |
           (int64_t)offsetof(struct scoreboard, slots);
}

/* The peer's address as IPv6. An IPv4 address is mapped, so that both of its forms are equal. */
static struct in6_addr ip_of(const struct slot_peer *peer)
{
    struct in6_addr ip = {.s6_addr = {[10] = 0xff, [11] = 0xff}};
    if (peer->family == AF_INET)
        memcpy(&ip.s6_addr[12], peer->ip, 4);
    else
        memcpy(&ip, peer->ip, sizeof ip);
    return ip;
}

unsigned scoreboard_same_peer(const struct scoreboard *board, uint32_t number)
{
    struct in6_addr wanted = ip_of(&board->slots[number].peer);
    uint32_t end = scoreboard_end(board);
    unsigned found = 1;
    for (uint32_t i = 0; i < end; i++) {
        const struct slot *slot = &board->slots[i];
        bool is_ip = slot->peer.family == AF_INET || slot->peer.family == AF_INET6;
        if (i == number || slot->state != SLOT_BUSY || !is_ip)
            continue;
        struct in6_addr ip = ip_of(&slot->peer);
        found += IN6_ARE_ADDR_EQUAL(&ip, &wanted);
    }
    return found;
}

static bool is_idle(const struct slot *slot)
{
    return atomic_load_explicit(&slot->state, memory_order_relaxed) == SLOT_IDLE &&
           !atomic_load_explicit(&slot->retiring, memory_order_relaxed);
}

/* Counts the free slots of the worker at this slot, or of this slot alone; *looked is how many
 * slots that covers. The worker's two numbers may be a lie. Then the answer is wrong, for this pool
 * only, but no slot beyond the end is read. */
static uint32_t count_idle(const struct scoreboard *board, uint32_t at, uint32_t end, uint32_t own,
                           uint32_t *looked)
{
    const struct slot *slot = &board->slots[at];
    uint32_t seats = atomic_load_explicit(&slot->seats, memory_order_relaxed);
    uint32_t count = atomic_load_explicit(&slot->free_seats, memory_order_relaxed);
    *looked = 1;
    if (seats == 0 || seats > end - at)
        return at != own && is_idle(slot);
    *looked = seats;
    if (!atomic_load_explicit(&slot->ready, memory_order_relaxed) ||
        atomic_load_explicit(&slot->retiring, memory_order_relaxed))
        return 0;
    return count < seats ? count : seats;
}

/* Begins at the worker's own slots, so that workers that look at the same time don't all read the
 * first slots. */
bool scoreboard_has_idle(const struct scoreboard *board, uint32_t head, uint32_t own, int wanted)
{
    const uint32_t end = scoreboard_end(board), first = head < end ? head : end;
    const uint32_t parts[][2] = {{first, end}, {0, first}};
    int64_t left = wanted;
    for (int part = 0; part < 2; part++)
        for (uint32_t at = parts[part][0], looked; at < parts[part][1]; at += looked)
            if ((left -= count_idle(board, at, parts[part][1], own, &looked)) <= 0)
                return true;
    return false;
}

void slot_read(const struct slot *slot, struct slot_counts *counts)
{
    *counts = (struct slot_counts){0};
    counts->served = slot->served; /* before `accepted`, which it must not exceed: both grow */
    for (int i = 0; i < REFUSALS; i++)
        counts->refused[i] = slot->refused[i];
    for (int i = 0; i < TEMPLATE_COUNTS; i++)
        counts->templates[i] = slot->templates.counts[i];
    counts->accepted = slot->accepted;
    counts->errors = slot->errors;
    counts->bytes_in = slot->bytes_in;
    counts->bytes_out = slot->bytes_out;
    histogram_add(&counts->service, &slot->service);
    histogram_add(&counts->wait, &slot->wait);
}

void slot_counts_add(struct slot_counts *to, const struct slot_counts *from)
{
    to->accepted += from->accepted;
    to->served += from->served;
    to->errors += from->errors;
    to->bytes_in += from->bytes_in;
    to->bytes_out += from->bytes_out;
    for (int i = 0; i < REFUSALS; i++)
        to->refused[i] += from->refused[i];
    for (int i = 0; i < TEMPLATE_COUNTS; i++)
        to->templates[i] += from->templates[i];
    histogram_add(&to->service, &from->service);
    histogram_add(&to->wait, &from->wait);
}

/* `most` bounds each class, `longest` the sum. Requests were served one after the other, within the
 * worker's age; but a connection may have waited long before its worker existed. */
static bool is_possible(const struct histogram *histogram, uint64_t most, uint64_t longest)
{
    for (int i = 0; i < HISTOGRAM_CLASSES; i++)
        if (histogram->classes[i] > most)
            return false;
    return histogram->sum <= longest;
}

bool slot_counts_possible(const struct slot_counts *counts, usec age)
{
    /* A worker can't accept a connection per microsecond, nor move 100 GB a second. */
    const uint64_t slack = USEC_SECOND, most = (age > 0 ? (uint64_t)age : 0) + slack;
    const uint64_t bytes = most <= UINT64_MAX >> 17 ? most << 17 : UINT64_MAX;
    const uint64_t waited = (uint64_t)1 << 56; /* two thousand years, of all together */
    uint64_t refused = 0;
    for (int i = 0; i < REFUSALS; i++)
        refused += counts->refused[i];
    for (int i = 0; i < TEMPLATE_COUNTS; i++)
        if (counts->templates[i] > most)
            return false;
    return counts->accepted <= most && counts->served <= counts->accepted &&
           refused <= counts->accepted && counts->errors <= most && counts->bytes_in <= bytes &&
           counts->bytes_out <= bytes && is_possible(&counts->service, most, 2 * most) &&
           is_possible(&counts->wait, most, waited);
}

/* --- the seats of one worker ------------------------------------------------------------------ */

static uint32_t state_of(const struct slot *slot)
{
    return atomic_load_explicit(&slot->state, memory_order_acquire);
}

void seats_look(const struct slot *first, uint32_t count, struct seats_load *load)
{
    usec last = first->since;
    *load = (struct seats_load){0};
    for (const struct slot *slot = first; slot < first + count; slot++) {
        bool busy = state_of(slot) == SLOT_BUSY;
        usec since = atomic_load_explicit(&slot->since, memory_order_relaxed);
        if (busy && (!load->busy || since < load->since)) {
            load->longest = slot;
            load->since = since;
        }
        load->busy += busy;
        load->served += slot->served; /* before `accepted`, which it must not exceed: both grow */
        load->accepted += slot->accepted;
        last = since > last ? since : last;
    }
    if (!load->busy)
        load->since = last;
}

uint32_t seats_busy(const struct slot *first, uint32_t count)
{
    uint32_t busy = 0;
    for (uint32_t i = 0; i < count; i++)
        busy += state_of(&first[i]) == SLOT_BUSY;
    return busy;
}

bool seats_have(const struct slot *first, uint32_t count, enum slot_state state)
{
    for (uint32_t i = 0; i < count; i++)
        if (state_of(&first[i]) == state)
            return true;
    return false;
}

bool seats_have_other(const struct slot *first, uint32_t count, enum slot_state state)
{
    for (uint32_t i = 0; i < count; i++)
        if (state_of(&first[i]) != state)
            return true;
    return false;
}

bool seats_read(const struct slot *first, uint32_t count, usec age, struct slot_counts *sum)
{
    bool possible = true;
    *sum = (struct slot_counts){0};
    for (uint32_t i = 0; i < count; i++) {
        struct slot_counts counts;
        if (first[i].accepted + first[i].errors == 0)
            continue;
        slot_read(&first[i], &counts);
        bool sound = slot_counts_possible(&counts, age);
        if (sound)
            slot_counts_add(sum, &counts);
        possible = possible && sound;
    }
    return possible;
}

void seats_retire(struct slot *first, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        first[i].retiring = 1;
}

void seats_close(struct slot *first, uint32_t count)
{
    first->seats = first->free_seats = 0;
    for (uint32_t i = 0; i < count; i++) {
        first[i].state = SLOT_FREE;
        first[i].retiring = 0;
        first[i].peer.family = 0;
    }
}
