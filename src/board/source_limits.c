#include "source_limits.h"

#include "../base/shm.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

struct limits *limits_map(int fd)
{
    return shm_map(fd, sizeof(struct limits), true);
}

struct limits *limits_open(int *fd)
{
    int memory = shm_create("preforkd-limits", sizeof(struct limits));
    struct limits *limits = memory < 0 ? NULL : limits_map(memory);
    if (!limits) {
        int error = memory < 0 ? -memory : errno;
        if (memory >= 0)
            close(memory);
        errno = error;
        return NULL;
    }
    if (getrandom(&limits->seed, sizeof limits->seed, GRND_NONBLOCK) < 0)
        limits->seed = (uint64_t)clock_now(); /* so early after boot that there is none yet */
    *fd = memory;
    return limits;
}

void limits_close(struct limits *limits, int fd)
{
    if (!limits)
        return;
    munmap(limits, sizeof *limits);
    close(fd);
}

int64_t limits_layout(void)
{
    enum { VERSION = 1 };
    return (int64_t)VERSION << 48 | (int64_t)sizeof(struct limits);
}

struct source source_limits_of(const struct addr *peer)
{
    struct addr_number number;
    if (!addr_number(peer, &number))
        return (struct source){SOURCE_NONE, 0};
    if (number.family == AF_INET)
        return (struct source){SOURCE_IPV4, number.low};
    return (struct source){SOURCE_IPV6, number.high};
}

struct source source_limits_of_user(uid_t uid)
{
    return (struct source){SOURCE_UNIX, uid};
}

/* --- seats --------------------------------------------------------------------------------- */

/*
 * A claim's word `ticket` says in what state its claim is, and its number. A claim runs through
 *
 *   FREE -> PENDING -> OPEN -> HELD -> FREE
 *                          \-> REFUSED -> FREE
 *
 * PENDING is written before the number is taken: so whoever takes a later number sees that there is
 * one to come. He takes a number for it, later than his own: so it has one, and will count him. OPEN
 * has a number and waits for its judgement, which anybody can give: refused where as many as may be
 * hold lower numbers. Each step but the first and the last is a compare-and-swap from a word that
 * never comes again, because the number in it is of this claim alone (of PENDING: of the worker's claim
 * before, or a fresh one). So one who stood still in the middle of helping changes nothing any more.
 *
 * The source is written while the word is FREE: who reads the same other word before and behind it
 * has read that claim's source.
 *
 * All of these are sequentially consistent: it is no path of those without limits.
 */
enum claim_state { CLAIM_FREE, CLAIM_PENDING, CLAIM_OPEN, CLAIM_HELD, CLAIM_REFUSED };

enum { CLAIM_BITS = 3 };

static uint64_t word_of(enum claim_state state, uint64_t number)
{
    return number << CLAIM_BITS | state;
}

static enum claim_state state_of(uint64_t word)
{
    return (enum claim_state)(word & ((1 << CLAIM_BITS) - 1));
}

static uint64_t number_of(uint64_t word)
{
    return word >> CLAIM_BITS;
}

static uint64_t next_number(const struct seat *seat)
{
    return atomic_fetch_add(&seat->limits->tickets, 1) + 1;
}

/* What a claim holds. Its first word has the limit too, for it is judged by its own: those of a
 * generation before may have had another. */
static uint64_t first_word(const struct source *source, uint32_t most)
{
    return (uint64_t)most << 32 | source->kind;
}

/* A claim of another worker, as it was at one moment. */
struct rival {
    struct claim *claim;
    uint64_t word;
    uint32_t most;
};

/* Reads a claim. False where it is none for this source. */
static bool look_at(struct claim *claim, const struct source *source, struct rival *rival)
{
    for (;;) {
        uint64_t word = atomic_load(&claim->ticket);
        if (state_of(word) == CLAIM_FREE)
            return false;
        uint64_t first = atomic_load(&claim->source[0]), key = atomic_load(&claim->source[1]);
        if (atomic_load(&claim->ticket) != word)
            continue;
        *rival = (struct rival){claim, word, (uint32_t)(first >> 32)};
        return (uint32_t)first == source->kind && key == source->key;
    }
}

/* Gives a number to a claim that waits for one. What it is then, is in *rival. False where the claim
 * is over. */
static bool number_it(const struct seat *seat, const struct source *source, struct rival *rival)
{
    uint64_t pending = rival->word;
    uint64_t numbered = word_of(CLAIM_OPEN, next_number(seat));
    if (atomic_compare_exchange_strong(&rival->claim->ticket, &pending, numbered)) {
        rival->word = numbered;
        return true;
    }
    return look_at(rival->claim, source, rival);
}

/* The next claim that may have been taken. */
static struct claim *next_claim(const struct seat *seat, uint32_t *at)
{
    uint32_t end = atomic_load_explicit(&seat->limits->end, memory_order_acquire);
    return *at < end && *at < SCOREBOARD_SLOTS ? &seat->limits->claims[(*at)++] : NULL;
}

/* What stands before a number. */
struct accept_queue {
    uint32_t held, open;
    struct rival first; /* of the open ones, the lowest */
};

static void count_rival(struct accept_queue *queue, const struct rival *rival)
{
    enum claim_state state = state_of(rival->word);
    queue->held += state == CLAIM_HELD;
    if (state != CLAIM_OPEN)
        return;
    if (queue->open++ == 0 || number_of(rival->word) < number_of(queue->first.word))
        queue->first = *rival;
}

static struct accept_queue queue_before(const struct seat *seat, const struct source *source,
                                        uint64_t number)
{
    struct accept_queue queue = {0};
    struct rival rival;
    uint32_t at = 0;
    for (struct claim *claim; (claim = next_claim(seat, &at));) {
        bool theirs = look_at(claim, source, &rival);
        while (theirs && state_of(rival.word) == CLAIM_PENDING)
            theirs = number_it(seat, source, &rival);
        if (theirs && number_of(rival.word) < number)
            count_rival(&queue, &rival);
    }
    return queue;
}

/* Brings an open claim to its end: those before it first, where it depends on them. */
static void judge(const struct seat *seat, const struct source *source, const struct rival *open)
{
    struct rival target = *open;
    while (state_of(atomic_load(&open->claim->ticket)) == CLAIM_OPEN) {
        uint64_t number = number_of(target.word);
        struct accept_queue queue = queue_before(seat, source, number);
        bool full = queue.held >= target.most;
        if (!full && queue.held + queue.open >= target.most) {
            target = queue.first;
            continue;
        }
        uint64_t word = target.word;
        atomic_compare_exchange_strong(&target.claim->ticket, &word,
                                       word_of(full ? CLAIM_REFUSED : CLAIM_HELD, number));
        target = *open;
    }
}

bool source_limits_claim(const struct seat *seat, const struct source *source, uint32_t most)
{
    struct claim *claim = seat->claim;
    uint64_t unused = number_of(atomic_load(&claim->ticket));
    uint64_t pending = word_of(CLAIM_PENDING, unused ? unused : next_number(seat));
    atomic_store(&claim->source[0], first_word(source, most));
    atomic_store(&claim->source[1], source->key);
    atomic_store(&claim->ticket, pending);
    struct rival own = {claim, pending, most};
    number_it(seat, source, &own);
    judge(seat, source, &own);
    if (state_of(atomic_load(&claim->ticket)) == CLAIM_HELD)
        return true;
    source_limits_release(seat);
    return false;
}

void source_limits_release(const struct seat *seat)
{
    uint64_t word = atomic_load(&seat->claim->ticket);
    atomic_store(&seat->claim->ticket, word_of(CLAIM_FREE, number_of(word)));
}

void source_limits_forget(struct limits *limits, uint32_t seat)
{
    atomic_store(&limits->claims[seat].ticket, 0);
}

/* --- rates --------------------------------------------------------------------------------- */

/*
 * A word of the table is a tag of its source, and the time at which its bucket will be full again:
 * each connection puts that off by a second's part, and it may be no more than a second away. A word
 * whose time has come is a full bucket, which is the same as none: anybody may have its place.
 * Times come round again after twelve days: those that are more than a second away are of the past.
 */
enum { TAG_BITS = 20, TIME_BITS = 64 - TAG_BITS, PARTS = 16, PROBES = 8 };

#define TIME_MASK  (((uint64_t)1 << TIME_BITS) - 1)
#define ONE_SECOND ((uint64_t)USEC_SECOND * PARTS)

_Static_assert((SOURCE_LIMITS_RATES & (SOURCE_LIMITS_RATES - 1)) == 0, "a mask finds a place");

/* The golden ratio's part behind the point, in 64 bits: odd, and its bits are as good as any. */
#define MIXER 0x9e3779b97f4a7c15

/* Every bit of the result depends on every bit of the number. */
static uint64_t mix(uint64_t number)
{
    number ^= number >> 32;
    number *= MIXER;
    number ^= number >> 32;
    number *= MIXER;
    return number ^ number >> 32;
}

/* How long after `now` a bucket is full; 0 where it is. */
static uint64_t until_full(uint64_t word, uint64_t now)
{
    uint64_t left = ((word & TIME_MASK) - now) & TIME_MASK;
    return left <= ONE_SECOND ? left : 0;
}

/* The place of a source, or one that it can have; NULL where there is none. *word is what stands
 * there. */
static _Atomic uint64_t *find_place(struct limits *limits, uint64_t hash, uint64_t now,
                                    uint64_t *word)
{
    _Atomic uint64_t *place = NULL;
    for (unsigned i = 0; i < PROBES; i++) {
        _Atomic uint64_t *at = &limits->rates[(hash + i) & (SOURCE_LIMITS_RATES - 1)];
        uint64_t found = atomic_load(at);
        bool full = until_full(found, now) == 0;
        if (!full && found >> TIME_BITS == hash >> TIME_BITS) {
            *word = found;
            return at;
        }
        if (full && !place) {
            *word = found;
            place = at;
        }
    }
    return place;
}

bool source_limits_pace(struct limits *limits, const struct source *source, uint32_t per_second,
                        usec now)
{
    uint64_t hash = mix(limits->seed ^ mix(source->key ^ mix(source->kind)));
    uint64_t time = (uint64_t)now * PARTS & TIME_MASK, part = ONE_SECOND / per_second;
    for (;;) {
        uint64_t word;
        _Atomic uint64_t *place = find_place(limits, hash, time, &word);
        if (!place)
            return true;
        uint64_t full = until_full(word, time) + part;
        if (full > part * per_second)
            return false;
        uint64_t next = (hash >> TIME_BITS << TIME_BITS) | ((time + full) & TIME_MASK);
        if (atomic_compare_exchange_strong(place, &word, next))
            return true;
    }
}
