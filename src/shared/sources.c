#include "sources.h"

struct source sources_of(const struct addr *peer)
{
    struct addr_number number;
    if (!addr_number(peer, &number))
        return (struct source){SOURCE_NONE, 0};
    if (number.family == AF_INET)
        return (struct source){SOURCE_IPV4, number.low};
    return (struct source){SOURCE_IPV6, number.high};
}

struct source sources_of_user(uid_t uid)
{
    return (struct source){SOURCE_UNIX, uid};
}

/* --- seats --------------------------------------------------------------------------------- */

/*
 * A slot's word `ticket` says in what state its claim is, and its number. A claim runs through
 *
 *   FREE -> PENDING -> OPEN -> HELD -> FREE
 *                          \-> REFUSED -> FREE
 *
 * PENDING is written before the number is taken: so whoever takes a later number sees that there is
 * one to come. He takes a number for it, later than his own: so it has one, and will count him. OPEN
 * has a number and waits for its judgement, which anybody can give: refused where as many as may be
 * hold lower numbers. Each step but the first and the last is a compare-and-swap from a word that
 * never comes again, because the number in it is of this claim alone (of PENDING: of the slot's claim
 * before, or a fresh one). So one who stood still in the middle of helping changes nothing any more.
 *
 * The source is written while the word is FREE: who reads the same other word before and behind it
 * has read that claim's source.
 *
 * All of these are sequentially consistent: it is no path of those without limits.
 */
enum claim { CLAIM_FREE, CLAIM_PENDING, CLAIM_OPEN, CLAIM_HELD, CLAIM_REFUSED };

enum { CLAIM_BITS = 3, POOL_BITS = 10, NUMBER_AT = CLAIM_BITS + POOL_BITS };

_Static_assert(SCOREBOARD_POOLS <= 1 << POOL_BITS, "a word has room for each pool");

static uint64_t word_of(enum claim claim, uint32_t pool, uint64_t number)
{
    return number << NUMBER_AT | (uint64_t)pool << CLAIM_BITS | claim;
}

static enum claim claim_of(uint64_t word)
{
    return (enum claim)(word & ((1 << CLAIM_BITS) - 1));
}

static uint32_t pool_of(uint64_t word)
{
    return word >> CLAIM_BITS & ((1 << POOL_BITS) - 1);
}

static uint64_t number_of(uint64_t word)
{
    return word >> NUMBER_AT;
}

static uint64_t next_number(const struct seat *seat)
{
    return atomic_fetch_add(&seat->board->pools[seat->pool].tickets, 1) + 1;
}

/* What a slot holds. Its first word has the limit too, for it is judged by its own: those of a
 * generation before may have had another. */
static uint64_t first_word(const struct source *source, uint32_t most)
{
    return (uint64_t)most << 32 | source->kind;
}

/* A claim of another slot, as it was at one moment. */
struct rival {
    struct slot *slot;
    uint64_t word;
    uint32_t most;
};

/* Reads the claim of a slot. False where it has none for this source in this pool. */
static bool look_at(struct slot *slot, uint32_t pool, const struct source *source,
                    struct rival *rival)
{
    for (;;) {
        uint64_t word = atomic_load(&slot->ticket);
        if (claim_of(word) == CLAIM_FREE || pool_of(word) != pool)
            return false;
        uint64_t first = atomic_load(&slot->source[0]), key = atomic_load(&slot->source[1]);
        if (atomic_load(&slot->ticket) != word)
            continue;
        *rival = (struct rival){slot, word, (uint32_t)(first >> 32)};
        return (uint32_t)first == source->kind && key == source->key;
    }
}

/* Gives a number to a claim that waits for one. What it is then, is in *rival. False where the claim
 * is over. */
static bool number_it(const struct seat *seat, const struct source *source, struct rival *rival)
{
    uint64_t pending = rival->word;
    uint64_t numbered = word_of(CLAIM_OPEN, seat->pool, next_number(seat));
    if (atomic_compare_exchange_strong(&rival->slot->ticket, &pending, numbered)) {
        rival->word = numbered;
        return true;
    }
    return look_at(rival->slot, seat->pool, source, rival);
}

/* The next slot that may be of the pool. */
static struct slot *next_slot(const struct seat *seat, uint32_t *at)
{
    uint32_t end = atomic_load_explicit(&seat->board->slots_end, memory_order_acquire);
    return *at < end ? &seat->board->slots[(*at)++] : NULL;
}

/* What stands before a number. */
struct queue {
    uint32_t held, open;
    struct rival first; /* of the open ones, the lowest */
};

static void count_rival(struct queue *queue, const struct rival *rival)
{
    enum claim claim = claim_of(rival->word);
    queue->held += claim == CLAIM_HELD;
    if (claim != CLAIM_OPEN)
        return;
    if (queue->open++ == 0 || number_of(rival->word) < number_of(queue->first.word))
        queue->first = *rival;
}

static struct queue queue_before(const struct seat *seat, const struct source *source,
                                 uint64_t number)
{
    struct queue queue = {0};
    struct rival rival;
    uint32_t at = 0;
    for (struct slot *slot; (slot = next_slot(seat, &at));) {
        bool theirs = look_at(slot, seat->pool, source, &rival);
        while (theirs && claim_of(rival.word) == CLAIM_PENDING)
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
    while (claim_of(atomic_load(&open->slot->ticket)) == CLAIM_OPEN) {
        uint64_t number = number_of(target.word);
        struct queue queue = queue_before(seat, source, number);
        bool full = queue.held >= target.most;
        if (!full && queue.held + queue.open >= target.most) {
            target = queue.first;
            continue;
        }
        uint64_t word = target.word;
        atomic_compare_exchange_strong(
            &target.slot->ticket, &word,
            word_of(full ? CLAIM_REFUSED : CLAIM_HELD, seat->pool, number));
        target = *open;
    }
}

bool sources_claim(const struct seat *seat, const struct source *source, uint32_t most)
{
    struct slot *slot = seat->slot;
    uint64_t unused = number_of(atomic_load(&slot->ticket));
    uint64_t pending = word_of(CLAIM_PENDING, seat->pool, unused ? unused : next_number(seat));
    atomic_store(&slot->source[0], first_word(source, most));
    atomic_store(&slot->source[1], source->key);
    atomic_store(&slot->ticket, pending);
    struct rival own = {slot, pending, most};
    number_it(seat, source, &own);
    judge(seat, source, &own);
    if (claim_of(atomic_load(&slot->ticket)) == CLAIM_HELD)
        return true;
    sources_release(seat);
    return false;
}

void sources_release(const struct seat *seat)
{
    uint64_t word = atomic_load(&seat->slot->ticket);
    atomic_store(&seat->slot->ticket, word_of(CLAIM_FREE, seat->pool, number_of(word)));
}

void sources_forget(struct slot *slot)
{
    atomic_store(&slot->ticket, 0);
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

_Static_assert((SCOREBOARD_RATES & (SCOREBOARD_RATES - 1)) == 0, "a mask finds a place");

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
static _Atomic uint64_t *find_place(struct scoreboard *board, uint64_t hash, uint64_t now,
                                    uint64_t *word)
{
    _Atomic uint64_t *place = NULL;
    for (unsigned i = 0; i < PROBES; i++) {
        _Atomic uint64_t *at = &board->rates[(hash + i) & (SCOREBOARD_RATES - 1)];
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

bool sources_pace(struct scoreboard *board, uint32_t pool, const struct source *source,
                  uint32_t per_second, usec now)
{
    uint64_t hash = mix(board->seed ^ mix(source->key ^ mix((uint64_t)pool << 2 | source->kind)));
    uint64_t time = (uint64_t)now * PARTS & TIME_MASK, part = ONE_SECOND / per_second;
    for (;;) {
        uint64_t word;
        _Atomic uint64_t *place = find_place(board, hash, time, &word);
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
