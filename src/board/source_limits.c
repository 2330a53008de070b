#include "source_limits.h"

#include "../base/shm.h"

#include <errno.h>
#include <stdlib.h>
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
    enum { VERSION = 2 };
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

/* The low bits say where a source is looked for in a table, the high ones tell it from others
 * there. */
static uint64_t hash_of(const struct limits *limits, const struct source *source)
{
    return mix(limits->seed ^ mix(source->key ^ mix(source->kind)));
}

enum { PROBES = 8 };

#define PLACE_MASK (SOURCE_LIMITS_PLACES - 1)

_Static_assert((SOURCE_LIMITS_PLACES & PLACE_MASK) == 0, "a mask finds a place");

/* --- connections at once ---------------------------------------------------------------------- */

/*
 * A counter is one word, changed by compare-and-swap: so of many connections that come in the same
 * instant exactly as many get in as may, and each is refused only if as many others are there.
 * Nobody waits for anybody: a swap fails only if another one succeeded.
 *
 * Which deaths can do harm: a worker killed just before its swap was not counted, one killed just
 * behind it was. So the word names the worker that changed it last, and a worker writes in its note
 * which change it is about to make: of which counter, to which version. The next one that changes
 * the word writes into the note of the last one, before that, that its change was made. So a change
 * was made if the note says so, or if the word still names it, and `holds` is always right.
 * Versions come round after 65536 changes: to be mistaken, a worker must stand still for exactly so
 * many between two instructions, and meet the same worker in the same place about to make the same
 * change.
 *
 * Which collisions can do harm: a source is looked for in several places, and a counter that counts
 * belongs to the source with its tag. A source that finds all its places taken by others is let in
 * uncounted: nobody is refused for a stranger's connections, unless 29 bits of their hashes agree.
 * As there are as many places as there can be workers, and the seed is secret, that is rare, and
 * nobody can aim at it. A source may get a second counter, if the place in front of its own becomes
 * free just when it takes its first one in two workers at once; that is rarer still, and ends with
 * either.
 *
 * What a lie can do: seats and places are masked or compared with their ends, a counter stays
 * between 0 and what its bits hold, and all this memory is one pool's. When the last worker of a
 * generation is gone the counters are made anew from the notes of those that are left.
 *
 * All accesses are sequentially consistent: no connection of a pool without limits comes here.
 */
enum { MASTER = SCOREBOARD_SLOTS }; /* no worker's seat: the master made the last change */

union counter {
    uint64_t word;
    struct {
        uint64_t count : 15, version : 16, seat : 17, tag : 16;
    };
};

enum note_state { NOTE_FREE, NOTE_TAKING, NOTE_HELD, NOTE_GIVING };

union note {
    uint64_t word;
    struct {
        uint64_t state : 2, version : 16, place : 16;
    };
};

static union counter counter_at(const struct limits *limits, uint32_t place)
{
    return (union counter){.word = atomic_load(&limits->counters[place])};
}

static union note note_of(const struct limits *limits, uint32_t seat)
{
    return (union note){.word = atomic_load(&limits->notes[seat])};
}

/* Whether a worker is counted in the counter of its note, as that counter stands. */
static bool holds(union note note, uint32_t seat, union counter counter)
{
    bool made = counter.seat == seat && counter.version == note.version;
    return note.state == NOTE_HELD || (note.state == NOTE_TAKING && made) ||
           (note.state == NOTE_GIVING && !made);
}

/* Changes a counter from what it was found to be; false if it was changed meanwhile. */
static bool change(struct limits *limits, uint32_t place, union counter found, union counter next,
                   uint32_t seat)
{
    next.seat = seat;
    next.version = found.version + 1;
    if (found.seat < SCOREBOARD_SLOTS) {
        union note last = note_of(limits, found.seat), made = last;
        made.state = last.state == NOTE_TAKING ? NOTE_HELD : NOTE_FREE;
        if (last.place == place && last.version == found.version &&
            (last.state == NOTE_TAKING || last.state == NOTE_GIVING))
            atomic_compare_exchange_strong(&limits->notes[found.seat], &last.word, made.word);
    }
    return atomic_compare_exchange_strong(&limits->counters[place], &found.word, next.word);
}

/* The place of a source's counter, or of one that it can have. False if there is none. */
static bool find_counter(const struct limits *limits, uint64_t hash, uint32_t *place,
                         union counter *counter)
{
    bool found = false;
    for (unsigned i = 0; i < PROBES; i++) {
        uint32_t at = (uint32_t)(hash + i) & PLACE_MASK;
        union counter here = counter_at(limits, at);
        bool own = here.count && here.tag == hash >> 48;
        if (own || (!here.count && !found)) {
            *place = at;
            *counter = here;
            found = true;
        }
        if (own)
            break;
    }
    return found;
}

bool source_limits_claim(struct limits *limits, uint32_t seat, const struct source *source,
                         uint32_t most)
{
    uint64_t hash = hash_of(limits, source);
    union counter found;
    uint32_t place = 0;
    while (find_counter(limits, hash, &place, &found)) {
        union note note = {.state = NOTE_FREE, .place = place, .version = found.version + 1};
        if (found.count >= most) {
            atomic_store(&limits->notes[seat], note.word);
            return false;
        }
        note.state = NOTE_TAKING;
        atomic_store(&limits->notes[seat], note.word);
        union counter next = {.count = found.count + 1, .tag = hash >> 48};
        if (change(limits, place, found, next, seat)) {
            note.state = NOTE_HELD;
            atomic_store(&limits->notes[seat], note.word);
            return true;
        }
    }
    atomic_store(&limits->notes[seat], 0);
    return true;
}

void source_limits_release(struct limits *limits, uint32_t seat)
{
    union note note = note_of(limits, seat);
    while (note.state != NOTE_FREE) {
        union counter found = counter_at(limits, note.place), next = found;
        note.version = found.version + 1;
        note.state = NOTE_GIVING;
        atomic_store(&limits->notes[seat], note.word);
        next.count -= found.count > 0;
        if (change(limits, note.place, found, next, seat))
            note.state = NOTE_FREE;
    }
    atomic_store(&limits->notes[seat], 0);
}

bool source_limits_shared(const struct limits *limits, uint32_t seat, uint32_t other)
{
    union note note = note_of(limits, other);
    return note.state != NOTE_FREE && note.place == note_of(limits, seat).place && other != seat;
}

/* A number of attempts, for workers that lie could change the counter for ever. The note is read
 * again behind the counter: if it still says the same, nobody changed the counter behind its
 * change. */
void source_limits_forget(struct limits *limits, uint32_t seat)
{
    enum { ATTEMPTS = 10000 };
    for (int i = 0; i < ATTEMPTS; i++) {
        union note note = note_of(limits, seat);
        union counter found = counter_at(limits, note.place), next = found;
        if (note_of(limits, seat).word != note.word)
            continue;
        next.count -= found.count > 0;
        if (!holds(note, seat, found) || change(limits, note.place, found, next, MASTER))
            break;
    }
    atomic_store(&limits->notes[seat], 0);
}

struct recount {
    union counter seen;
    uint32_t holders;
};

/* If a counter is still what it was before the notes were read, they were right about it. */
void source_limits_recount(struct limits *limits, uint32_t end)
{
    enum { ROUNDS = 4 }; /* for counters that were changed meanwhile */
    struct recount *counts = calloc(SOURCE_LIMITS_PLACES, sizeof *counts);
    bool again = counts != NULL;
    for (int round = 0; again && round < ROUNDS; round++) {
        for (uint32_t place = 0; place < SOURCE_LIMITS_PLACES; place++)
            counts[place] = (struct recount){.seen = counter_at(limits, place)};
        for (uint32_t seat = 0; seat < end; seat++) {
            union note note = note_of(limits, seat);
            counts[note.place].holders += holds(note, seat, counts[note.place].seen);
        }
        again = false;
        for (uint32_t place = 0; place < SOURCE_LIMITS_PLACES; place++) {
            union counter seen = counts[place].seen, right = seen;
            right.count = counts[place].holders;
            if (right.count != seen.count)
                again |= !change(limits, place, seen, right, MASTER);
        }
    }
    free(counts);
}

/* --- connections in a second ------------------------------------------------------------------ */

/*
 * A word of the table is a tag of its source, and the time at which its bucket will be full again:
 * each connection puts that off by a second's part, and it may be no more than a second away. A
 * word whose time has come is a full bucket, which is the same as none: any source may have its
 * place. Times come round again after twelve days: those that are more than a second away are of
 * the past.
 */
enum { TAG_BITS = 20, TIME_BITS = 64 - TAG_BITS, PARTS = 16 };

#define TIME_MASK  (((uint64_t)1 << TIME_BITS) - 1)
#define ONE_SECOND ((uint64_t)USEC_SECOND * PARTS)

/* How long after `now` a bucket is full; 0 if it is. */
static uint64_t until_full(uint64_t word, uint64_t now)
{
    uint64_t left = ((word & TIME_MASK) - now) & TIME_MASK;
    return left <= ONE_SECOND ? left : 0;
}

/* The place of a source, or one that it can have; NULL if there is none. *word is its content. */
static _Atomic uint64_t *find_place(struct limits *limits, uint64_t hash, uint64_t now,
                                    uint64_t *word)
{
    _Atomic uint64_t *place = NULL;
    for (unsigned i = 0; i < PROBES; i++) {
        _Atomic uint64_t *at = &limits->rates[(hash + i) & PLACE_MASK];
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
    uint64_t hash = hash_of(limits, source);
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
