#include "source_limits.h"

#include "../base/fd.h"

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
        limits->seed = (uint64_t)clock_now(); /* early after boot: no entropy yet */
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

/* The fractional part of the golden ratio, in 64 bits: odd, and its bits look random. */
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

/* The low bits are a source's first place in a table; the high bits are its tag there. */
static uint64_t hash_of(const struct limits *limits, const struct source *source)
{
    return mix(limits->seed ^ mix(source->key ^ mix(source->kind)));
}

enum { PROBES = 8 };

#define PLACE_MASK (SOURCE_LIMITS_PLACES - 1)

_Static_assert((SOURCE_LIMITS_PLACES & PLACE_MASK) == 0, "a mask finds a place");

/* --- connections at once ---------------------------------------------------------------------- */

/*
 * A counter is one word, changed by compare-and-swap. So of many connections that arrive in the
 * same instant, exactly as many are admitted as the limit allows, and a connection is refused only
 * if the limit is reached. No worker waits for another: a swap fails only if another one succeeded.
 *
 * What if a worker dies? If it was killed just before its swap, it isn't counted; just after it, it
 * is. To tell the two, the counter names the seat that changed it last, and before a swap the
 * worker writes into its note which change it is about to make: of which counter, to which version.
 * The next worker that changes the counter first confirms the last change in that seat's note. So a
 * change was made if the note confirms it, or if the counter still names it, and `holds` is always
 * right. Versions repeat after 65536 changes. For a mistake, a worker would have to stand still
 * between two instructions for exactly so many changes, and then find the counter last changed by
 * the same worker, which is again about to make the same change.
 *
 * What if hashes collide? A source has several possible places, and a counter above 0 belongs to
 * the source with its tag. If other sources have taken all its places, a source is admitted
 * uncounted: no source is refused because of another one's connections, unless 29 bits of their
 * hashes agree. There are as many places as there can be workers, and the seed is secret, so that
 * is rare and nobody can aim at it. A source gets a second counter if the place before its own
 * becomes free while two workers claim its first connections; that is rarer still, and ends with
 * either of the connections.
 *
 * What if a worker lies? Seats and places are masked or bounded, a counter stays between 0 and what
 * its bits hold, and this memory is one pool's. When the last worker of a generation is gone, the
 * counters are set anew from the notes of the workers that are left.
 *
 * All accesses are sequentially consistent: pools without limits don't pay for it.
 */
enum { MASTER = SCOREBOARD_SLOTS }; /* instead of a seat: the master made the last change */

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

/* Whether the counter that the note names, as it stands, includes the seat's connection. */
static bool holds(union note note, uint32_t seat, union counter counter)
{
    bool made = counter.seat == seat && counter.version == note.version;
    return note.state == NOTE_HELD || (note.state == NOTE_TAKING && made) ||
           (note.state == NOTE_GIVING && !made);
}

/* Changes a counter from `found` to `next`; false if it was changed meanwhile. */
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

/* Finds the source's counter, or a free one for it. False if there is none. */
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

/* One attempt. The note is read again after the counter: if it is the same, nobody changed the
 * counter after this seat. */
static bool give_back(struct limits *limits, uint32_t seat)
{
    union note note = note_of(limits, seat);
    union counter found = counter_at(limits, note.place), next = found;
    next.count -= found.count > 0;
    return note_of(limits, seat).word == note.word &&
           (!holds(note, seat, found) || change(limits, note.place, found, next, MASTER));
}

/* Each seat has one attempt. The further ones are bounded for all seats together, because workers
 * that lie could go on changing the words, and a worker has up to 30000 seats. */
void source_limits_forget(struct limits *limits, uint32_t first, uint32_t count)
{
    int retries = 10000;
    for (uint32_t seat = first; seat < first + count; seat++) {
        while (!give_back(limits, seat) && retries > 0)
            retries--;
        atomic_store(&limits->notes[seat], 0);
    }
}

struct recount {
    union counter seen;
    uint32_t holders;
};

/* If a counter hasn't changed since before the notes were read, the notes were right about it. */
void source_limits_recount(struct limits *limits, uint32_t end)
{
    enum { ROUNDS = 4 }; /* the further ones for counters that changed meanwhile */
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
 * A word of the table holds the tag of its source, and the time at which the source's token bucket
 * will be full again. Each connection puts that time off by its part of a second, up to one second
 * away. Once the time has come, the bucket is full, which is the same as no bucket, and any source
 * may take the place. A worker may have read the clock some time before it reads the word, so a
 * time somewhat further away than a second means that the bucket is empty. Times repeat after
 * twelve days; a time further away than that has passed.
 */
enum { TAG_BITS = 20, TIME_BITS = 64 - TAG_BITS, PARTS = 16 };

#define TIME_MASK  (((uint64_t)1 << TIME_BITS) - 1)
#define ONE_SECOND ((uint64_t)USEC_SECOND * PARTS)
#define OLD_CLOCK  (10 * ONE_SECOND)

/* How long after `now` a bucket is full; 0 if it is, as one that was never used: its word has no
 * time. */
static uint64_t until_full(uint64_t word, uint64_t now)
{
    if (!word)
        return 0;
    uint64_t left = ((word & TIME_MASK) - now) & TIME_MASK;
    return left <= ONE_SECOND ? left : left <= OLD_CLOCK ? ONE_SECOND : 0;
}

/* The source's place, or a free one for it; NULL if there is none. *word is its content. */
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
