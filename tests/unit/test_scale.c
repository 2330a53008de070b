#include "../../src/master/scale.h"
#include "unit.h"

#include <check.h>
#include <stdlib.h>

#define MSEC ((usec)1000)
#define SEC  USEC_SECOND
#define T0   (1000 * SEC) /* 0 means never */

#define LENGTH(array) ((int)(sizeof(array) / sizeof *(array)))

/* What is seen at a moment, and what must follow from it. */
struct look {
    usec at; /* after T0 */
    int ready, idle;
    bool waiting;
    int goal; /* expected, like all below */
    bool arm, watch;
    usec look; /* after `at`; 0: never */
};

static const struct scale_limits usual = {1, 64, 1, 4, 10 * SEC, 1};
static const struct scale_limits roomy = {4, 256, 8, 16, 10 * SEC, 1};
static const struct scale_limits on_demand = {0, 64, 0, 4, 10 * SEC, 1};

static void check_looks(const struct scale_limits *limits, struct scale scale,
                        const struct look *looks, int count)
{
    for (int i = 0; i < count; i++) {
        const struct look *l = &looks[i];
        struct scale_facts facts = {l->ready, l->idle, l->waiting, T0 + l->at};
        struct scale_orders orders = scale_step(&scale, limits, &facts);
        usec look = orders.look == USEC_NEVER ? 0 : orders.look - facts.now;
        ck_assert_msg(scale.goal == l->goal, "look %d: goal %d", i, scale.goal);
        ck_assert_msg(orders.arm == l->arm, "look %d: arm %d", i, orders.arm);
        ck_assert_msg(orders.watch == l->watch, "look %d: watch %d", i, orders.watch);
        ck_assert_msg(look == l->look, "look %d: looks again after %lld", i, (long long)look);
    }
}

#define CHECK_LOOKS(limits, goal_at_first, looks)                                                  \
    check_looks(&(limits), (struct scale){.goal = goal_at_first}, looks, LENGTH(looks))

START_TEST(begins_with_what_must_be_there)
{
    static const struct look plain[] = {{0, 0, 0, false, 1, false, false, 100 * MSEC},
                                        {MSEC, 1, 1, false, 1, true, false, 0}};
    static const struct look spare[] = {{0, 0, 0, false, 8, false, false, 100 * MSEC},
                                        {MSEC, 8, 8, false, 8, true, false, 0}};
    static const struct look nobody[] = {{0, 0, 0, false, 0, false, true, 0}};
    CHECK_LOOKS(usual, 0, plain);
    CHECK_LOOKS(roomy, 0, spare);
    CHECK_LOOKS(on_demand, 0, nobody);
}
END_TEST

START_TEST(doubles_while_a_burst_lasts)
{
    static const struct look looks[] = {
        {0, 4, 0, false, 5, false, false, 100 * MSEC},
        {1 * MSEC, 5, 0, false, 7, false, false, 100 * MSEC},
        {2 * MSEC, 6, 0, false, 7, false, false, 100 * MSEC}, /* one of two is ready */
        {3 * MSEC, 7, 0, false, 11, false, false, 100 * MSEC},
        {5 * MSEC, 11, 0, false, 19, false, false, 100 * MSEC},
        {9 * MSEC, 19, 0, false, 35, false, false, 100 * MSEC},
        {17 * MSEC, 35, 0, false, 64, false, false, 100 * MSEC}, /* the maximum */
        {33 * MSEC, 64, 0, false, 64, false, false, SEC},
    };
    CHECK_LOOKS(usual, 4, looks);
}
END_TEST

/* The last worker of a batch is ready, and has no connection yet. */
START_TEST(a_glimpse_of_a_free_seat_ends_no_burst)
{
    static const struct look looks[] = {
        {0, 4, 0, false, 5, false, false, 100 * MSEC},
        {2 * MSEC, 5, 1, false, 5, true, false, SEC},
        {3 * MSEC, 5, 0, false, 7, false, false, 100 * MSEC},
        {6 * MSEC, 7, 1, false, 7, true, false, SEC},
        {7 * MSEC, 7, 0, false, 11, false, false, 100 * MSEC},
    };
    CHECK_LOOKS(usual, 4, looks);
}
END_TEST

START_TEST(begins_anew_after_a_calm)
{
    static const struct look looks[] = {
        {0, 4, 0, false, 5, false, false, 100 * MSEC},
        {2 * MSEC, 5, 0, false, 7, false, false, 100 * MSEC},
        {5 * MSEC, 7, 2, false, 7, true, false, SEC},
        {100 * MSEC, 7, 0, false, 8, false, false, 100 * MSEC},
        {102 * MSEC, 8, 1, false, 8, true, false, SEC},
        {200 * MSEC, 8, 0, false, 9, false, false, 100 * MSEC},
    };
    CHECK_LOOKS(usual, 4, looks);
}
END_TEST

START_TEST(keeps_min_spare_seats_free)
{
    static const struct look looks[] = {
        {0, 8, 8, false, 8, true, false, 0},
        {MSEC, 8, 7, false, 9, false, false, 100 * MSEC},
        {2 * MSEC, 8, 3, false, 13, false, false, 100 * MSEC}, /* one comes: four more */
        {3 * MSEC, 8, 3, false, 13, false, false, 100 * MSEC},
        {9 * MSEC, 13, 0, false, 23, false, false, 100 * MSEC}, /* the batch of five, doubled */
        {19 * MSEC, 23, 9, false, 23, true, false, SEC},
    };
    CHECK_LOOKS(roomy, 8, looks);
}
END_TEST

START_TEST(seats_far_too_many_go_after_a_second)
{
    static const struct look looks[] = {
        {0, 64, 64, false, 64, false, false, SEC},
        {SEC / 2, 64, 40, false, 64, false, false, SEC}, /* the minimum that was idle */
        {SEC, 64, 64, false, 28, true, false, SEC},
        {SEC + MSEC, 28, 28, false, 28, true, false, SEC},
        {2 * SEC + MSEC, 28, 28, false, 4, true, false, SEC},
        {3 * SEC, 4, 4, false, 4, true, false, SEC},
        {4 * SEC, 4, 4, false, 4, true, false, SEC},
        {10 * SEC, 4, 4, false, 1, true, false, 0},
    };
    CHECK_LOOKS(usual, 64, looks);
}
END_TEST

START_TEST(a_seat_that_is_needed_now_and_then_stays)
{
    static const struct look looks[] = {
        {0, 8, 3, false, 8, true, false, SEC},        {5 * SEC, 8, 1, false, 8, true, false, SEC},
        {9 * SEC, 8, 3, false, 8, true, false, SEC},  {14 * SEC, 8, 2, false, 8, true, false, SEC},
        {20 * SEC, 8, 4, false, 7, true, false, SEC},
    };
    CHECK_LOOKS(usual, 8, looks);
}
END_TEST

START_TEST(never_below_min_workers)
{
    static const struct look looks[] = {
        {0, 20, 20, false, 20, true, false, SEC},
        {SEC, 20, 20, false, 16, true, false, SEC},
        {10 * SEC, 16, 16, false, 8, true, false, 0},
        {50 * SEC, 8, 8, false, 8, true, false, 0},
    };
    static const struct scale_limits ten = {10, 64, 1, 4, 10 * SEC, 1};
    static const struct look above[] = {
        {0, 12, 12, false, 12, true, false, SEC},
        {SEC, 12, 12, false, 10, true, false, 0},
        {99 * SEC, 10, 10, false, 10, true, false, 0},
    };
    CHECK_LOOKS(roomy, 20, looks);
    CHECK_LOOKS(ten, 12, above);
}
END_TEST

START_TEST(the_first_worker_comes_with_the_first_connection)
{
    static const struct look looks[] = {
        {0, 0, 0, false, 0, false, true, 0},
        {SEC, 0, 0, true, 1, false, false, 100 * MSEC},
        {SEC + MSEC, 0, 0, true, 1, false, false, 100 * MSEC}, /* a worker is being started */
        {SEC + 2 * MSEC, 1, 0, false, 1, false, true, 10 * SEC},
        {SEC + 3 * MSEC, 1, 0, true, 3, false, false, 100 * MSEC},
        {SEC + 9 * MSEC, 3, 3, false, 3, true, false, SEC},
        {11 * SEC + 9 * MSEC, 3, 3, false, 0, false, true, 0},
    };
    CHECK_LOOKS(on_demand, 0, looks);
}
END_TEST

START_TEST(is_full_only_at_the_most_and_without_a_free_seat)
{
    static const struct {
        int ready, idle;
        bool full;
    } cases[] = {{63, 0, false}, {64, 1, false}, {64, 0, true}, {64, 0, true}, {64, 2, false}};
    struct scale scale = {.goal = 64};
    usec since = 0;
    for (int i = 0; i < LENGTH(cases); i++) {
        struct scale_facts facts = {cases[i].ready, cases[i].idle, false, T0 + i * SEC};
        scale_step(&scale, &usual, &facts);
        ck_assert_msg((scale.full_since != 0) == cases[i].full, "case %d", i);
        if (scale.full_since && since)
            ck_assert(scale.full_since == since); /* of the first look */
        since = scale.full_since;
    }
}
END_TEST

START_TEST(new_limits_are_kept_to_at_once)
{
    static const struct {
        struct scale_limits limits;
        int before, after;
    } cases[] = {
        {{1, 10, 1, 4, SEC, 1}, 64, 10},
        {{20, 64, 1, 4, SEC, 1}, 10, 20},
        {{5, 5, 1, 4, SEC, 1}, 64, 5},
    };
    for (int i = 0; i < LENGTH(cases); i++) {
        struct scale scale = {.goal = cases[i].before};
        struct scale_facts facts = {cases[i].before, 1, false, T0};
        struct scale_orders orders = scale_step(&scale, &cases[i].limits, &facts);
        ck_assert_msg(scale.goal == cases[i].after, "case %d: goal %d", i, scale.goal);
        ck_assert(orders.arm == (cases[i].after < cases[i].limits.max_workers));
    }
}
END_TEST

/* Spare is counted in seats, but workers come and go as a whole: one goes only if enough seats
 * remain. */
START_TEST(workers_of_several_seats)
{
    static const struct scale_limits ten = {1, 8, 5, 12, 10 * SEC, 10};
    static const struct look looks[] = {
        {0, 0, 0, false, 1, false, false, 100 * MSEC},
        {1 * MSEC, 1, 10, false, 1, true, false, 0},
        {2 * MSEC, 1, 5, false, 1, true, false, 0},
        {3 * MSEC, 1, 4, false, 2, false, false, 100 * MSEC}, /* 5 - 4 seats missing: one worker */
        {4 * MSEC, 2, 14, false, 2, true, false, 10 * SEC},
        {5 * MSEC, 2, 0, false, 4, false, false, 100 * MSEC}, /* 5 seats, then twice as many */
        {6 * MSEC, 4, 20, false, 4, true, false, SEC},
        {2 * SEC, 4, 21, false, 4, true, false, SEC},
        {3 * SEC, 4, 22, false, 4, true, false, SEC}, /* 12 seats would remain */
        {4 * SEC, 4, 32, false, 3, true, false, SEC}, /* one for a second; a second one just now */
        {5 * SEC, 3, 30, false, 3, true, false, SEC},
        {6 * SEC, 3, 21, false, 3, true, false, SEC},
    };
    CHECK_LOOKS(ten, 0, looks);
}
END_TEST

/* Whatever is seen, the goal stays within its bounds, and without changes the pool comes to rest.
 * */
START_TEST(any_story_keeps_its_bounds_and_comes_to_rest)
{
    unsigned seed = 7;
    for (int story = 0; story < 200; story++) {
        struct scale_limits limits = {.min_workers = rand_r(&seed) % 9,
                                      .spare_timeout = (1 + rand_r(&seed) % 20) * SEC,
                                      .seats = story % 2 ? 1 + rand_r(&seed) % 20 : 1};
        limits.max_workers = limits.min_workers + 1 + rand_r(&seed) % 40;
        limits.min_spare = limits.min_workers ? rand_r(&seed) % 4 : 0;
        if (limits.min_spare > limits.max_workers)
            limits.min_spare = limits.max_workers;
        limits.max_spare = limits.min_spare + rand_r(&seed) % 9;
        struct scale scale = {0};
        usec now = T0, look = T0;
        for (int i = 0; i < 200 && look != USEC_NEVER; i++) {
            bool wild = i < 100;
            int ready = wild ? rand_r(&seed) % (limits.max_workers + 5) : scale.goal;
            int seats = ready * limits.seats;
            int idle = wild && ready ? rand_r(&seed) % seats : seats;
            struct scale_facts facts = {ready, idle, wild && rand_r(&seed) % 2, now};
            struct scale_orders orders = scale_step(&scale, &limits, &facts);
            ck_assert(scale.goal >= limits.min_workers && scale.goal <= limits.max_workers);
            ck_assert(!orders.arm || scale.goal < limits.max_workers);
            ck_assert(!orders.arm || !orders.watch);
            ck_assert(orders.look > now);
            now = wild ? now + rand_r(&seed) % SEC + 1 : orders.look;
            look = wild ? now : orders.look;
        }
        ck_assert_msg(look == USEC_NEVER, "story %d: goal %d", story, scale.goal);
    }
}
END_TEST

/* The same, with only the queue visible. */
struct glimpse {
    usec at;
    int ready, queue;
    int goal; /* expected, like all below */
    bool watch, full;
};

static void check_glimpses(const struct scale_limits *limits, struct scale scale,
                           const struct glimpse *glimpses, int count)
{
    for (int i = 0; i < count; i++) {
        const struct glimpse *g = &glimpses[i];
        struct scale_blind facts = {g->ready, g->queue, T0 + g->at};
        struct scale_orders orders = scale_step_blind(&scale, limits, &facts);
        ck_assert_msg(scale.goal == g->goal, "glimpse %d: goal %d", i, scale.goal);
        ck_assert_msg(orders.watch == g->watch, "glimpse %d: watch %d", i, orders.watch);
        ck_assert_msg((scale.full_since != 0) == g->full, "glimpse %d: full", i);
        ck_assert(!orders.arm);
        ck_assert_int_eq(orders.look, g->watch ? USEC_NEVER : facts.now + 100 * MSEC);
    }
}

#define CHECK_GLIMPSES(limits, goal_at_first, glimpses)                                            \
    check_glimpses(&(limits), (struct scale){.goal = goal_at_first}, glimpses, LENGTH(glimpses))

START_TEST(grows_when_connections_have_waited)
{
    static const struct glimpse looks[] = {
        {0, 4, 0, 4, false, false},
        {100 * MSEC, 4, 1, 4, false, false}, /* about to be accepted */
        {200 * MSEC, 4, 0, 4, false, false},
        {300 * MSEC, 4, 2, 4, false, false},
        {400 * MSEC, 4, 2, 5, false, false}, /* no longer */
        {500 * MSEC, 4, 9, 5, false, false}, /* one worker starts */
        {600 * MSEC, 5, 9, 7, false, false}, /* and was not enough */
        {700 * MSEC, 7, 9, 11, false, false},
        {800 * MSEC, 11, 0, 11, false, false},
    };
    static const struct glimpse burst[] = {{0, 4, 5, 5, false, false}};
    CHECK_GLIMPSES(usual, 4, looks);
    CHECK_GLIMPSES(usual, 4, burst);
}
END_TEST

START_TEST(tries_fewer_when_nobody_had_to_wait)
{
    static const struct scale_limits limits = {2, 20, 1, 4, 10 * SEC, 1};
    static const struct glimpse looks[] = {
        {0, 20, 0, 20, false, false},        {9 * SEC, 20, 0, 20, false, false},
        {10 * SEC, 20, 0, 16, false, false}, /* a quarter of 18 */
        {19 * SEC, 16, 0, 16, false, false}, {20 * SEC, 16, 0, 13, false, false},
        {25 * SEC, 13, 1, 13, false, false}, /* one must not suffice */
        {26 * SEC, 13, 0, 13, false, false}, {35 * SEC, 13, 0, 13, false, false},
        {36 * SEC, 13, 0, 11, false, false}, {46 * SEC, 11, 0, 9, false, false},
        {56 * SEC, 9, 0, 8, false, false},   {66 * SEC, 8, 0, 7, false, false},
        {76 * SEC, 7, 0, 6, false, false},   {86 * SEC, 6, 0, 5, false, false},
        {96 * SEC, 5, 0, 4, false, false},   {106 * SEC, 4, 0, 3, false, false},
        {116 * SEC, 3, 0, 2, false, false},  {300 * SEC, 2, 0, 2, false, false},
    };
    CHECK_GLIMPSES(limits, 20, looks);
}
END_TEST

START_TEST(blind_the_first_comes_with_the_first_connection)
{
    static const struct glimpse looks[] = {
        {0, 0, 0, 0, true, false},        {SEC, 0, 1, 1, false, false},
        {2 * SEC, 0, 1, 1, false, false}, /* a worker is being started */
        {3 * SEC, 1, 0, 1, false, false}, {13 * SEC, 1, 0, 0, false, false},
        {14 * SEC, 0, 0, 0, true, false},
    };
    CHECK_GLIMPSES(on_demand, 0, looks);
}
END_TEST

START_TEST(blind_is_full_at_the_most_while_some_wait)
{
    static const struct scale_limits limits = {1, 4, 1, 4, 10 * SEC, 1};
    static const struct glimpse looks[] = {
        {0, 4, 5, 4, false, true}, {SEC, 4, 1, 4, false, true}, {2 * SEC, 4, 0, 4, false, false}};
    CHECK_GLIMPSES(limits, 4, looks);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("sizing");
    tcase_add_test(tests, begins_with_what_must_be_there);
    tcase_add_test(tests, doubles_while_a_burst_lasts);
    tcase_add_test(tests, a_glimpse_of_a_free_seat_ends_no_burst);
    tcase_add_test(tests, begins_anew_after_a_calm);
    tcase_add_test(tests, keeps_min_spare_seats_free);
    tcase_add_test(tests, seats_far_too_many_go_after_a_second);
    tcase_add_test(tests, a_seat_that_is_needed_now_and_then_stays);
    tcase_add_test(tests, never_below_min_workers);
    tcase_add_test(tests, the_first_worker_comes_with_the_first_connection);
    tcase_add_test(tests, is_full_only_at_the_most_and_without_a_free_seat);
    tcase_add_test(tests, workers_of_several_seats);
    tcase_add_test(tests, new_limits_are_kept_to_at_once);
    tcase_add_test(tests, grows_when_connections_have_waited);
    tcase_add_test(tests, tries_fewer_when_nobody_had_to_wait);
    tcase_add_test(tests, blind_the_first_comes_with_the_first_connection);
    tcase_add_test(tests, blind_is_full_at_the_most_while_some_wait);
    tcase_add_test(tests, any_story_keeps_its_bounds_and_comes_to_rest);
    return unit_run("sizing", tests);
}
