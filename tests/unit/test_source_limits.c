/* Limits per source: all interleavings of the steps of three workers, and of the master after a
 * worker's death.
 *
 * The room's source is included here, and its accesses to shared memory go through `act`, so that
 * the test can stop a worker before each access, and kill it there. It stops a worker by leaving
 * the function altogether. At its next turn the worker starts again, gets the recorded results of
 * its earlier steps, and takes one step more. A worker knows nothing but those results, so what can
 * follow a state depends on them and on the memory alone: states seen before are not entered again.
 */
#include "../../src/board/scoreboard.h"

#include <setjmp.h>
#include <stdbool.h>

enum act { ACT_LOAD, ACT_STORE, ACT_SWAP };

static uint64_t act(enum act act, _Atomic uint64_t *at, uint64_t expected, uint64_t value);

static bool act_swap(_Atomic uint64_t *at, uint64_t *expected, uint64_t value)
{
    uint64_t found = act(ACT_SWAP, at, *expected, value);
    bool done = found == *expected;
    *expected = found;
    return done;
}

#undef atomic_load
#undef atomic_store
#undef atomic_compare_exchange_strong
#define atomic_load(at) act(ACT_LOAD, (_Atomic uint64_t *)(at), 0, 0)

#define atomic_store(at, value)                             act(ACT_STORE, at, 0, value)
#define atomic_compare_exchange_strong(at, expected, value) act_swap(at, expected, value)

#include "../../src/board/source_limits.c"

#include "unit.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- the workers --------------------------------------------------------------------------- */

enum {
    ALL = 1000, /* turns: all interleavings */
    WORKERS = 3,
    LOG_MAX = 160,
    WORDS = WORKERS + 1, /* each worker's note, and the counter */
    CONNECTIONS_MAX = 5, /* as many as a word can hold sets of */
};

/* What a worker does in its life: one connection after the other. When it dies, the master takes
 * its steps until it is forgotten. */
enum phase { PHASE_CLAIMING, PHASE_SERVING, PHASE_RELEASING, PHASE_DEAD, PHASE_DONE };

/* A connection, from before its first step. */
struct connection {
    uint32_t crowds; /* who was in while this one was judged: a set of sets of connections */
    bool was_held;
};

struct state {
    uint64_t memory[WORDS];
    struct {
        enum phase phase;
        int connection; /* the one in hand */
        int left;       /* connections to come */
        int told_count;
        uint64_t told[LOG_MAX]; /* the results of its steps in this phase */
    } workers[WORKERS];
    struct connection connections[CONNECTIONS_MAX];
    int connection_count;
    int kills_left;
    int last;       /* the worker of the last step */
    int turns_left; /* how many more switches between unfinished workers are allowed */
};

static struct limits limits; /* untouched pages cost nothing */
static struct state now;
static const struct source source = {.kind = SOURCE_IPV4, .key = 7};
static int most;                     /* the limit */
static int running, replayed, acted; /* the current worker; steps replayed; steps taken */
static bool checking;                /* false: every step is done at once, as outside this test */
static jmp_buf stop;
static bool lying; /* each word is changed as soon as it is read */
static int acts;   /* accesses done */

static _Atomic uint64_t *word_at(int index)
{
    return index < WORKERS ? &limits.notes[index]
                           : &limits.counters[hash_of(&limits, &source) & PLACE_MASK];
}

static uint64_t do_act(enum act act, _Atomic uint64_t *at, uint64_t expected, uint64_t value)
{
    uint64_t found = act == ACT_STORE ? 0 : *at;
    acts++;
    if (act == ACT_STORE)
        *at = value;
    else if (act == ACT_SWAP && found == expected)
        *at = value;
    else if (lying)
        *at += (union note){.version = 1}.word;
    return found;
}

/* A counter that nobody changes is read together with the next access. */
static bool is_seen(const _Atomic uint64_t *at)
{
    for (int i = 0; i < WORDS; i++)
        if (at == word_at(i))
            return true;
    return false;
}

static uint64_t act(enum act act, _Atomic uint64_t *at, uint64_t expected, uint64_t value)
{
    if (!checking)
        return do_act(act, at, expected, value);
    if (replayed < now.workers[running].told_count)
        return now.workers[running].told[replayed++];
    if (acted && is_seen(at))
        longjmp(stop, 1);
    acted += is_seen(at);
    if (now.workers[running].told_count == LOG_MAX)
        ck_abort_msg("it goes on and on");
    uint64_t found = do_act(act, at, expected, value);
    now.workers[running].told[now.workers[running].told_count++] = found;
    replayed++;
    return found;
}

/* --- what must hold ------------------------------------------------------------------------ */

static bool is_held(int worker)
{
    union note note = {.word = limits.notes[worker]};
    return holds(note, (uint32_t)worker, (union counter){.word = *word_at(WORKERS)});
}

/* Each claim under judgement remembers the connections accepted and not over. */
static void note_crowd(void)
{
    uint32_t crowd = 0;
    for (int w = 0; w < WORKERS; w++) {
        if (now.workers[w].phase != PHASE_DONE &&
            (now.workers[w].phase != PHASE_CLAIMING || now.workers[w].told_count)) {
            crowd |= (uint32_t)1 << now.workers[w].connection;
            if (is_held(w))
                now.connections[now.workers[w].connection].was_held = true;
        }
    }
    for (int w = 0; w < WORKERS; w++)
        if (now.workers[w].phase == PHASE_CLAIMING && now.workers[w].told_count)
            now.connections[now.workers[w].connection].crowds |= (uint32_t)1 << crowd;
}

static int holders_in(uint32_t crowd, int own)
{
    int count = 0;
    for (int i = 0; i < now.connection_count; i++)
        count += i != own && (crowd >> i & 1) && now.connections[i].was_held;
    return count;
}

/* At some moment during the judgement the source was at its limit, with accepted connections only.
 * */
static void check_refusal(int connection)
{
    int found = 0;
    for (uint32_t crowd = 0; crowd < 32; crowd++) {
        int holders = holders_in(crowd, connection);
        if (now.connections[connection].crowds >> crowd & 1)
            found = holders > found ? holders : found;
    }
    if (found < most)
        ck_abort_msg("refused while %d of %d were there", found, most);
}

static void check_seats(void)
{
    union counter counter = {.word = *word_at(WORKERS)};
    int served = 0, held = 0, dead = 0, count = (int)counter.count;
    for (int w = 0; w < WORKERS; w++) {
        served += now.workers[w].phase == PHASE_SERVING;
        dead += now.workers[w].phase == PHASE_DEAD;
        held += now.workers[w].phase != PHASE_DEAD && is_held(w);
    }
    if (served > most || count > most || count < held || count > held + dead)
        ck_abort_msg("%d served, %d held, %d dead, %d counted", served, held, dead, count);
}

/* --- the ways ------------------------------------------------------------------------------ */

static void load_memory(void)
{
    for (int i = 0; i < WORDS; i++)
        *word_at(i) = now.memory[i];
}

static void save_memory(void)
{
    for (int i = 0; i < WORDS; i++)
        now.memory[i] = *word_at(i);
}

static void next_connection(int worker)
{
    now.workers[worker].told_count = 0;
    now.workers[worker].phase = now.workers[worker].left ? PHASE_CLAIMING : PHASE_DONE;
    if (!now.workers[worker].left)
        return;
    now.workers[worker].left--;
    now.workers[worker].connection = now.connection_count++;
}

static void enter(int worker, enum phase phase)
{
    now.workers[worker].phase = phase;
    now.workers[worker].told_count = 0;
}

/* A worker's work in this phase, or the master's for it. True: it was admitted. */
static bool act_phase(int worker)
{
    uint32_t seat = (uint32_t)worker;
    switch (now.workers[worker].phase) {
    case PHASE_CLAIMING: return source_limits_claim(&limits, seat, &source, (uint32_t)most);
    case PHASE_DEAD: source_limits_forget(&limits, seat, 1); return false;
    default: source_limits_release(&limits, seat); return false;
    }
}

/* One step, and the end of the phase if that was its last. */
static void step(int worker)
{
    if (now.workers[worker].phase == PHASE_SERVING)
        enter(worker, PHASE_RELEASING);
    running = worker;
    replayed = acted = 0;
    checking = true;
    bool stopped = setjmp(stop) != 0;
    bool admitted = !stopped && act_phase(worker);
    checking = false;
    note_crowd();
    if (stopped)
        return;
    if (admitted) {
        enter(worker, PHASE_SERVING);
        return;
    }
    if (now.workers[worker].phase == PHASE_CLAIMING)
        check_refusal(now.workers[worker].connection);
    next_connection(worker);
}

/* Its successor gets the remaining connections. */
static void kill_worker(int worker)
{
    enter(worker, PHASE_DEAD);
    now.kills_left--;
}

/* States seen before, by a hash: a collision would hide a state, at odds of one in 2^40. */
static struct {
    uint64_t *hashes;
    size_t size, count;
} seen;

static uint64_t hash_bytes(const void *data, size_t size)
{
    const unsigned char *bytes = data;
    uint64_t hash = 1469598103934665603u;
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ bytes[i]) * 1099511628211u;
    return hash ? hash : 1;
}

static uint64_t hash_now(void)
{
    uint64_t hash = hash_bytes(now.memory, sizeof now.memory);
    hash = hash * 31 + (uint64_t)(now.kills_left * 64 + now.turns_left * 4 + now.last);
    for (int w = 0; w < WORKERS; w++) {
        hash = hash * 31 + hash_bytes(now.workers[w].told,
                                      (size_t)now.workers[w].told_count * sizeof(uint64_t));
        hash = hash * 31 + (uint64_t)(now.workers[w].phase * 64 + now.workers[w].left * 8 +
                                      now.workers[w].connection);
    }
    for (int i = 0; i < now.connection_count; i++)
        hash = hash * 31 + hash_bytes(&now.connections[i], sizeof now.connections[i]);
    return mix(hash);
}

static bool is_new(void)
{
    uint64_t hash = hash_now();
    size_t at = hash & (seen.size - 1);
    while (seen.hashes[at] && seen.hashes[at] != hash)
        at = (at + 1) & (seen.size - 1);
    if (seen.hashes[at])
        return false;
    seen.hashes[at] = hash;
    if (++seen.count > seen.size / 8 * 7)
        ck_abort_msg("more states than expected");
    return true;
}

static void explore(void)
{
    struct state before;
    check_seats();
    if (!is_new())
        return;
    memcpy(&before, &now, sizeof now);
    for (int choice = 0; choice < 2 * WORKERS; choice++) {
        int worker = choice % WORKERS;
        bool kills = choice >= WORKERS;
        bool between = worker != before.last && before.workers[before.last].told_count;
        if (before.workers[worker].phase == PHASE_DONE || (between && !before.turns_left) ||
            (kills && (!before.kills_left || before.workers[worker].phase == PHASE_DEAD)))
            continue;
        if (before.turns_left != ALL) {
            now.last = worker;
            now.turns_left -= between;
        }
        load_memory();
        if (kills)
            kill_worker(worker);
        else
            step(worker);
        save_memory();
        explore();
        memcpy(&now, &before, sizeof now);
    }
}

static const struct {
    int most, connections[WORKERS], kills, turns;
} ways[] = {
    {1, {1, 1, 0}, 0, ALL}, {1, {1, 1, 0}, 1, ALL}, {2, {1, 1, 0}, 1, ALL},
    {1, {2, 1, 0}, 1, ALL}, {1, {1, 1, 1}, 0, 3},   {2, {1, 1, 1}, 0, 3},
    {1, {1, 1, 1}, 1, 2},   {2, {1, 1, 1}, 1, 1},   {1, {2, 1, 1}, 0, 3},
};

START_TEST(every_way)
{
    seen.size = (size_t)1 << 20;
    seen.hashes = calloc(seen.size, sizeof *seen.hashes);
    seen.count = 0;
    memset(&now, 0, sizeof now);
    most = ways[_i].most;
    memset(limits.notes, 0, WORKERS * sizeof *limits.notes);
    *word_at(WORKERS) = 0;
    now.turns_left = ways[_i].turns;
    now.kills_left = ways[_i].kills;
    for (int w = 0; w < WORKERS; w++) {
        now.workers[w].left = ways[_i].connections[w];
        next_connection(w);
    }
    explore();
    printf("way %d: %zu states\n", _i, seen.count);
    free(seen.hashes);
}
END_TEST

static int counted(const struct source *of)
{
    uint32_t place;
    union counter counter;
    return find_counter(&limits, hash_of(&limits, of), &place, &counter) ? (int)counter.count : -1;
}

/* Workers of an old generation wrote nonsense: only what the remaining ones hold counts. */
START_TEST(recounts)
{
    static const struct source other = {.kind = SOURCE_IPV4, .key = 8};
    ck_assert(source_limits_claim(&limits, 0, &source, 5));
    ck_assert(source_limits_claim(&limits, 1, &source, 5));
    ck_assert(source_limits_claim(&limits, 2, &other, 5));
    limits.counters[hash_of(&limits, &source) & PLACE_MASK] += 3;
    limits.counters[1] = 7;
    ck_assert(!source_limits_claim(&limits, 3, &source, 5));
    limits.notes[2] = 0;
    source_limits_recount(&limits, 4);
    ck_assert_int_eq(counted(&source), 2);
    ck_assert_int_eq(counted(&other), 0);
    ck_assert_uint_eq(((union counter){.word = limits.counters[1]}).count, 0);
    source_limits_release(&limits, 0);
    source_limits_forget(&limits, 1, 1);
    ck_assert_int_eq(counted(&source), 0);
}
END_TEST

/* A source finds a place after those of others; if all are taken, it is admitted uncounted. */
START_TEST(places_are_taken)
{
    uint64_t hash = hash_of(&limits, &source);
    union counter stranger = {.count = 1, .tag = (hash >> 48) + 1};
    for (int taken = 0; taken <= PROBES; taken++) {
        ck_assert(source_limits_claim(&limits, 0, &source, 1));
        ck_assert_int_eq(source_limits_claim(&limits, 1, &source, 1), taken == PROBES);
        ck_assert_int_eq(source_limits_shared(&limits, 1, 0), taken < PROBES);
        source_limits_release(&limits, 0);
        ck_assert_int_eq(counted(&source), taken == PROBES ? -1 : 0);
        limits.counters[(hash + (uint64_t)taken) & PLACE_MASK] = stranger.word;
    }
}
END_TEST

/* A lie in a note ends at the master's last attempt, and no counter falls below zero. */
START_TEST(lies_do_no_harm)
{
    limits.notes[0] = ((union note){.state = NOTE_HELD, .place = 9}).word;
    source_limits_forget(&limits, 0, 1);
    ck_assert_uint_eq(((union counter){.word = limits.counters[9]}).count, 0);
    limits.notes[0] = UINT64_MAX;
    source_limits_forget(&limits, 0, 1);
    ck_assert_uint_eq(limits.notes[0], 0);
}
END_TEST

/* The master's attempts are bounded for all seats of a worker together. */
START_TEST(lies_take_little_time)
{
    enum { SEATS = 30000, ATTEMPTS = SEATS + 10000, ACTS = 4 };
    acts = 0;
    lying = true;
    source_limits_forget(&limits, 0, SEATS);
    lying = false;
    ck_assert_int_le(acts, ATTEMPTS * ACTS + SEATS);
    for (int seat = 0; seat < SEATS; seat++)
        ck_assert_uint_eq(limits.notes[seat], 0);
}
END_TEST

/* A burst, then one for each part of a second that has passed. */
START_TEST(keeps_the_pace)
{
    const usec moment = 1000 * USEC_SECOND;
    memset(&limits, 0, sizeof limits);
    ck_assert(source_limits_pace(&limits, &source, 2, moment));
    ck_assert(source_limits_pace(&limits, &source, 2, moment));
    ck_assert(!source_limits_pace(&limits, &source, 2, moment));
    /* A worker that read the clock before the one that took the last token. */
    ck_assert(!source_limits_pace(&limits, &source, 2, moment - 1));
    ck_assert(!source_limits_pace(&limits, &source, 2, moment - 5 * USEC_SECOND));
    ck_assert(!source_limits_pace(&limits, &source, 2, moment + USEC_SECOND / 2 - 1));
    ck_assert(source_limits_pace(&limits, &source, 2, moment + USEC_SECOND / 2));
    ck_assert(!source_limits_pace(&limits, &source, 2, moment + USEC_SECOND / 2));
    ck_assert(source_limits_pace(&limits, &source, 2, moment + 2 * USEC_SECOND));
    ck_assert(source_limits_pace(&limits, &source, 2, moment + 2 * USEC_SECOND));
    ck_assert(!source_limits_pace(&limits, &source, 2, moment + 2 * USEC_SECOND));
}
END_TEST

/* The words hold a part of the time, which begins anew after days. Empty ones hold no time. */
START_TEST(keeps_the_pace_when_the_time_wraps)
{
    const usec moment = ((usec)1 << TIME_BITS) / PARTS - 5 * USEC_SECOND;
    memset(&limits, 0, sizeof limits);
    ck_assert(source_limits_pace(&limits, &source, 1, moment));
    ck_assert(!source_limits_pace(&limits, &source, 1, moment));
}
END_TEST

/* Another source's bucket in the place where ours would be first is not ours. */
START_TEST(strangers_have_their_own_pace)
{
    const usec moment = 1000 * USEC_SECOND;
    memset(&limits, 0, sizeof limits);
    uint64_t hash = hash_of(&limits, &source), time = (uint64_t)moment * PARTS & TIME_MASK;
    limits.rates[hash & PLACE_MASK] =
        ((hash >> TIME_BITS << TIME_BITS) ^ (uint64_t)1 << TIME_BITS) | (time + ONE_SECOND);
    ck_assert(source_limits_pace(&limits, &source, 1, moment));
    ck_assert(!source_limits_pace(&limits, &source, 1, moment));
}
END_TEST

static struct source source_at(const char *ip)
{
    struct addr addr;
    ck_assert(addr_from_ip(&addr, ip, 80));
    return source_limits_of(&addr);
}

/* An IPv4 address in any form; of IPv6 the upper half, because a host may use the whole lower half.
 * */
START_TEST(who_is_a_source)
{
    struct source a = source_at("2001:db8:0:1::1"), b = source_at("2001:db8:0:1:ffff::2");
    struct source other = source_at("2001:db8:0:2::1"), four = source_at("192.0.2.1");
    struct source mapped = source_at("::ffff:192.0.2.1");
    ck_assert(a.kind == SOURCE_IPV6 && b.kind == a.kind && a.key == b.key);
    ck_assert(other.key != a.key);
    ck_assert(four.kind == SOURCE_IPV4 && mapped.kind == four.kind && mapped.key == four.key);
    ck_assert_uint_ne(source_at("192.0.2.2").key, four.key);
    struct addr path;
    ck_assert(addr_from_path(&path, "/x"));
    ck_assert_int_eq(source_limits_of(&path).kind, SOURCE_NONE);
    ck_assert(source_limits_claim(&limits, 0, &a, 5));
    ck_assert(!source_limits_shared(&limits, 0, 0)); /* shared with others only */
    source_limits_release(&limits, 0);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("sources");
    tcase_add_test(tests, recounts);
    tcase_add_test(tests, places_are_taken);
    tcase_add_test(tests, lies_do_no_harm);
    tcase_add_test(tests, lies_take_little_time);
    tcase_add_test(tests, keeps_the_pace);
    tcase_add_test(tests, keeps_the_pace_when_the_time_wraps);
    tcase_add_test(tests, strangers_have_their_own_pace);
    tcase_add_test(tests, who_is_a_source);
    tcase_add_loop_test(tests, every_way, 0, sizeof ways / sizeof *ways);
    tcase_set_timeout(tests, 300);
    return unit_run("sources", tests);
}
