/* What a pool concludes from its workers: counts of each kind, the size it should have, and whether
 * a job that changed them has failed. */
#include "../../src/master/pool.h"
#include "../../src/master/stop.h"
#include "unit.h"

#include <check.h>
#include <string.h>

enum { MOST = 8, GENERATION = 7 };

static struct pool pool;
static struct pool_config conf;
static struct worker workers[MOST];
static struct slot slots[MOST];

static void begin(void)
{
    conf = (struct pool_config){.handler = &handler_echo.section, .workers = 4, .seats = 1};
    pool = (struct pool){.conf = &conf, .generation = GENERATION};
    memset(workers, 0, sizeof workers);
    memset(slots, 0, sizeof slots);
}

/* A living worker of the current generation, ready and idle. */
static struct worker *add(void)
{
    int number = 0;
    while (workers[number].slot)
        number++;
    struct worker *worker = &workers[number];
    slots[number].state = SLOT_IDLE;
    slots[number].ready = 1;
    *worker = (struct worker){.slot = &slots[number],
                              .seats = 1,
                              .conf = &conf,
                              .generation = GENERATION,
                              .pid = 1000 + number,
                              .next = pool.workers};
    pool.workers = worker;
    return worker;
}

START_TEST(counts_by_kind)
{
    struct worker *w = add(); /* idle */
    w = add();
    w->slot->state = SLOT_BUSY;
    w = add(); /* not ready */
    w->slot->ready = 0;
    w = add();
    w->generation = GENERATION - 1;
    w = add();
    w->role = ROLE_CANARY;
    w->generation = GENERATION + 1;
    w = add();
    w->role = ROLE_RETIRING;
    w = add();
    w->role = ROLE_RETIRING;
    w->slot->state = SLOT_BUSY;
    struct counts counts = pool_counts(&pool);
    ck_assert_int_eq(counts.active, 3);
    ck_assert_int_eq(counts.ready, 2);
    ck_assert_int_eq(counts.stayed, 2);
    ck_assert_int_eq(pool_seats(&pool).count, 2);
    ck_assert_int_eq(pool_seats(&pool).busy, 1);
    ck_assert_int_eq(counts.stale, 1);
    ck_assert_int_eq(counts.canaries, 1);
    ck_assert_int_eq(counts.canaries_stayed, 1);
    ck_assert_int_eq(counts.retiring, 2);
    ck_assert_int_eq(counts.retiring_idle, 1);
    ck_assert_int_eq(counts.failed, 0);
    ck_assert(!counts.degraded);
}
END_TEST

/* A worker's word does not count once its process is gone. */
START_TEST(counts_no_dead_worker_as_ready)
{
    struct worker *w = add();
    w->pid = 0;
    w->slot->state = SLOT_BUSY;
    struct counts counts = pool_counts(&pool);
    ck_assert_int_eq(counts.active, 1);
    ck_assert_int_eq(counts.ready + counts.stayed + counts.failed, 0);
    ck_assert_int_eq(pool_seats(&pool).busy, 0);
    w->role = ROLE_RETIRING;
    ck_assert_int_eq(pool_counts(&pool).retiring_idle, 0);
}
END_TEST

static const struct {
    bool lives, waits, expected, late, continues, stayed, stays, stuck;
    int failures;
    int ready, has_stayed, failed, tried;
} tries[] = {
    /* min_ready_time is not over */
    {.lives = true, .stays = true, .ready = 1},
    {.lives = true, .stays = true, .stayed = true, .ready = 1, .has_stayed = 1, .tried = 1},
    {.lives = true, .ready = 1, .has_stayed = 1, .tried = 1},
    /* dead, and waits for its respawn */
    {.waits = true, .failed = 1, .tried = 1},
    {.waits = true, .expected = true},
    {.waits = true, .expected = true, .late = true, .failed = 1, .tried = 1},
    {.waits = true, .expected = true, .stayed = true, .has_stayed = 1, .tried = 1},
    {.waits = true, .expected = true, .continues = true, .ready = 1},
    {.waits = false},
    /* killed, and does not end */
    {.lives = true, .stuck = true, .failed = 1, .tried = 1},
    {.lives = true, .stuck = true, .stayed = true, .expected = true, .failed = 1, .tried = 1},
    /* respawned at once, after so many deaths before min_ready_time */
    {.lives = true, .stays = true, .failures = 1, .ready = 1},
    {.lives = true, .stays = true, .failures = 2, .ready = 1, .tried = 1},
    {.waits = true, .failures = 2, .failed = 1, .tried = 1},
};

START_TEST(counts_tries)
{
    struct worker *w = add();
    conf.min_ready_time = tries[_i].stays ? 2 : 0;
    w->pid = tries[_i].lives ? w->pid : 0;
    w->respawn_at = tries[_i].waits;
    w->expected = tries[_i].expected;
    w->late = tries[_i].late;
    w->continues = tries[_i].continues;
    w->stayed = tries[_i].stayed;
    w->stuck = tries[_i].stuck;
    w->failures = tries[_i].failures;
    struct counts counts = pool_counts(&pool);
    ck_assert_int_eq(counts.ready, tries[_i].ready);
    ck_assert_int_eq(counts.stayed, tries[_i].has_stayed);
    ck_assert_int_eq(counts.failed, tries[_i].failed);
    ck_assert_int_eq(counts.tried, tries[_i].tried);
    w->role = ROLE_CANARY;
    ck_assert_int_eq(pool_counts(&pool).canaries, !tries[_i].stuck);
}
END_TEST

static const struct {
    int workers, extra, min_workers, max_workers, goal;
    bool removed, drained, on_trial;
    int target;
} targets[] = {
    {.workers = 4, .target = 4},
    {.workers = 4, .extra = 2, .target = 6},
    {.workers = 4, .extra = -3, .target = 1},
    {.workers = 4, .extra = -4, .target = 1},
    {.workers = 4, .extra = -9, .target = 1},
    {.max_workers = 9, .goal = 5, .target = 5},
    {.max_workers = 9, .goal = 0, .target = 0},
    {.max_workers = 9, .goal = 5, .extra = 3, .target = 5},
    {.workers = 4, .removed = true, .target = 0},
    {.workers = 4, .drained = true, .target = 0},
    {.workers = 4, .on_trial = true, .target = 0},
};

START_TEST(knows_its_target)
{
    conf.workers = targets[_i].workers;
    conf.min_workers = targets[_i].min_workers;
    conf.max_workers = targets[_i].max_workers;
    pool.extra = targets[_i].extra;
    pool.scale.goal = targets[_i].goal;
    pool.removed = targets[_i].removed;
    pool.drained = targets[_i].drained;
    pool.on_trial = targets[_i].on_trial;
    ck_assert_int_eq(pool_target(&pool), targets[_i].target);
}
END_TEST

/* A worker that can't be ended keeps its seat. */
START_TEST(rolls_around_what_is_stuck)
{
    struct counts counts = {.stayed = 1, .tried = 3, .stale = 3};
    pool.resources.groups.stuck = 1;
    struct roll roll = pool_roll(&pool, &counts);
    ck_assert_int_eq(roll.target, 3);
    ck_assert_int_eq(roll.tried, 3);
    ck_assert_int_eq(roll.stale, 3);
    pool.resources.groups.stuck = 5;
    ck_assert_int_eq(pool_roll(&pool, &counts).target, 0);
}
END_TEST

/* Workers that find no place have had their try. */
START_TEST(rolls_beside_what_has_no_place)
{
    struct counts counts = {.stayed = 1, .tried = 2};
    pool.unplaced = 1;
    ck_assert(!pool_has_tried(&pool, &counts));
    pool.unplaced = 2;
    ck_assert(pool_has_tried(&pool, &counts));
}
END_TEST

static const struct {
    int workers, stayed, stale;
    bool halted;
    const char *trouble, *why; /* NULL: it has not failed */
} failures[] = {
    {4, 1, 0, false, "", NULL},
    {4, 0, 0, false, "", "no reason is known: no worker becomes ready"},
    {4, 0, 2, false, "x died", "x died: no worker becomes ready, the old ones go on"},
    {4, 1, 2, true, "x died", "x died: its new workers don't stay ready, the old ones go on"},
    {4, 1, 0, true, "x died", NULL},
    {0, 0, 0, false, "x died", NULL}, /* drained */
};

START_TEST(tells_why_it_has_failed)
{
    char why[200] = "untouched";
    struct counts counts = {.stayed = failures[_i].stayed, .stale = failures[_i].stale};
    pool.drained = failures[_i].workers == 0;
    pool.halted = failures[_i].halted;
    strcpy(pool.trouble, failures[_i].trouble);
    bool failed = pool_has_failed(&pool, &counts, why, sizeof why);
    ck_assert_int_eq(failed, failures[_i].why != NULL);
    ck_assert_str_eq(why, failures[_i].why ? failures[_i].why : "untouched");
}
END_TEST

START_TEST(is_empty_without_workers_and_groups)
{
    struct group stuck = {.stuck = true}, other = {.next = &stuck};
    ck_assert(pool_is_empty(&pool));
    pool.resources.groups.first = &stuck;
    ck_assert(pool_is_empty(&pool)); /* it can't be ended, and holds nothing up */
    pool.resources.groups.first = &other;
    ck_assert(!pool_is_empty(&pool));
    pool.resources.groups.first = NULL;
    struct worker *worker = add();
    ck_assert(!pool_is_empty(&pool) && !pool_has_ended(&pool));
    worker->stuck = true;
    ck_assert(!pool_is_empty(&pool) && pool_has_ended(&pool));
}
END_TEST

/* A program may keep shutting its listener down: restarts for that are delayed. */
START_TEST(restarts_for_a_lost_listener)
{
    usec next = USEC_NEVER, now = 100 * USEC_SECOND;
    ck_assert(!pool_restart_is_due(&pool, now, &next));
    ck_assert_int_eq(next, USEC_NEVER);
    pool.restart_at = now + 1;
    ck_assert(!pool_restart_is_due(&pool, now, &next));
    ck_assert_int_eq(next, now + 1);
    ck_assert(!pool_restart_is_due(&pool, now + 1, &next)); /* a reload has bound it again */
    ck_assert_int_eq(pool.restart_at, 0);
    ck_assert_int_eq(pool.restarted, 0);
}
END_TEST

START_TEST(waits_as_it_was_configured)
{
    ck_assert(!pool_polls(&conf, 1));
    ck_assert(pool_polls(&conf, 2));
    conf.workers = POOL_POLLS_FROM - 1;
    ck_assert(!pool_polls(&conf, 1));
    conf.workers = POOL_POLLS_FROM;
    ck_assert(pool_polls(&conf, 1));
    conf.handler = &handler_app.section; /* its programs wait in any way */
    ck_assert(!pool_polls(&conf, 2));
}
END_TEST

#define COUNT(table) (int)(sizeof(table) / sizeof *(table))

int main(void)
{
    TCase *tests = tcase_create("pool");
    tcase_add_checked_fixture(tests, begin, NULL);
    tcase_add_test(tests, counts_by_kind);
    tcase_add_test(tests, counts_no_dead_worker_as_ready);
    tcase_add_loop_test(tests, counts_tries, 0, COUNT(tries));
    tcase_add_loop_test(tests, knows_its_target, 0, COUNT(targets));
    tcase_add_test(tests, rolls_around_what_is_stuck);
    tcase_add_test(tests, rolls_beside_what_has_no_place);
    tcase_add_loop_test(tests, tells_why_it_has_failed, 0, COUNT(failures));
    tcase_add_test(tests, is_empty_without_workers_and_groups);
    tcase_add_test(tests, restarts_for_a_lost_listener);
    tcase_add_test(tests, waits_as_it_was_configured);
    return unit_run("pool", tests);
}
