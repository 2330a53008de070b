#include "../../src/master/exits.h"
#include "unit.h"

#include <check.h>
#include <stdlib.h>

#define MSEC      ((usec)1000)
#define NOT_READY ((usec)-1)

/* A life, and the result of its end. */
struct life {
    bool accepted;
    usec ready_for;
    usec delay; /* expected */
    bool grew;
    bool degraded;
};

static void check_lives(const struct life *lives, int count)
{
    struct backoff backoff = {0};
    for (int i = 0; i < count; i++) {
        bool grew;
        usec delay = backoff_death(&backoff, lives[i].accepted, lives[i].ready_for, &grew);
        ck_assert_msg(delay == lives[i].delay, "life %d: delay %lld", i, (long long)delay);
        ck_assert_msg(grew == lives[i].grew, "life %d: grew", i);
        ck_assert_msg(backoff.degraded == lives[i].degraded, "life %d: degraded", i);
    }
}

#define CHECK_LIVES(lives) check_lives(lives, (int)(sizeof(lives) / sizeof *(lives)))

START_TEST(each_further_early_death_waits_longer)
{
    static const struct life lives[] = {
        {false, NOT_READY, 0, false, false},         {false, 0, 100 * MSEC, true, true},
        {false, 999 * MSEC, 200 * MSEC, true, true}, {false, 0, 400 * MSEC, true, true},
        {false, 0, 800 * MSEC, true, true},          {false, 0, 1600 * MSEC, true, true},
        {false, 0, 3200 * MSEC, true, true},         {false, 0, 6400 * MSEC, true, true},
        {false, 0, 10000 * MSEC, true, true},        {false, 0, 10000 * MSEC, false, true},
    };
    CHECK_LIVES(lives);
}
END_TEST

/* A client that crashes workers must not slow their replacement. */
START_TEST(who_accepted_is_replaced_at_once)
{
    static const struct life lives[] = {
        {true, 0, 0, false, false},
        {true, 0, 0, false, false},
        {true, 5 * MSEC, 0, false, false},
    };
    CHECK_LIVES(lives);
}
END_TEST

START_TEST(an_accepting_worker_ends_the_row_and_the_state)
{
    static const struct life lives[] = {
        {false, 0, 0, false, false},
        {false, 0, 100 * MSEC, true, true},
        {true, 0, 0, false, false},
        {false, 0, 0, false, false},
    };
    CHECK_LIVES(lives);
}
END_TEST

/* A second after READY, a death is no longer early, but the worker has not proved healthy yet. */
START_TEST(a_later_death_ends_the_row_alone)
{
    static const struct life lives[] = {
        {false, 0, 0, false, false},
        {false, 0, 100 * MSEC, true, true},
        {false, BACKOFF_EARLY, 0, false, true},
        {false, 0, 0, false, true},
        {false, BACKOFF_HEALED, 0, false, false},
    };
    CHECK_LIVES(lives);
}
END_TEST

START_TEST(ten_seconds_heal_a_living_one)
{
    struct backoff backoff = {.early = 3, .delay = 200 * MSEC, .degraded = true};
    backoff_alive(&backoff, false, BACKOFF_HEALED - 1);
    ck_assert(backoff.degraded);
    backoff_alive(&backoff, false, BACKOFF_HEALED);
    ck_assert(!backoff.degraded);
    ck_assert_int_eq(backoff.early, 0);
}
END_TEST

/* A program that exited with status 0. */
struct orderly {
    usec life, ready_for;
    usec delay, alive; /* expected */
};

START_TEST(an_orderly_end_waits_for_what_is_left_of_a_tenth)
{
    static const struct orderly lives[] = {
        {0, NOT_READY, 100 * MSEC, 0},
        {5 * MSEC, NOT_READY, 95 * MSEC, 0},
        {20 * MSEC, NOT_READY, 80 * MSEC, 0}, /* alive for a fifth of the time: no credit */
        {60 * MSEC, NOT_READY, 40 * MSEC, 50 * MSEC},
        {100 * MSEC, NOT_READY, 0, 150 * MSEC},
        {700 * MSEC, NOT_READY, 0, 850 * MSEC},
        {300 * MSEC, 150 * MSEC, 0, USEC_SECOND},
        {3600 * USEC_SECOND, 3599 * USEC_SECOND, 0, USEC_SECOND},
        {0, 0, 100 * MSEC, 975 * MSEC}, /* the credit is lost again */
    };
    struct backoff backoff = {0};
    for (size_t i = 0; i < sizeof lives / sizeof *lives; i++) {
        usec delay = backoff_orderly(&backoff, lives[i].life, lives[i].ready_for);
        ck_assert_msg(delay == lives[i].delay, "life %zu: delay %lld", i, (long long)delay);
        ck_assert_msg(backoff.alive == lives[i].alive, "life %zu: alive %lld", i,
                      (long long)backoff.alive);
        ck_assert(!backoff.degraded);
        ck_assert_int_eq(backoff.early, 0);
    }
}
END_TEST

START_TEST(orderly_ends_never_grow_into_a_back_off)
{
    struct backoff backoff = {0};
    for (int i = 0; i < 10000; i++) {
        ck_assert_int_eq(backoff_orderly(&backoff, MSEC, NOT_READY), 99 * MSEC);
        ck_assert(!backoff.degraded && backoff.alive == 0);
    }
}
END_TEST

/* Ready for ten seconds in total, after early deaths. */
START_TEST(orderly_ends_heal_as_a_long_life_does)
{
    struct backoff backoff = {.early = 3, .delay = 200 * MSEC, .degraded = true};
    for (int i = 0; i < 19; i++) {
        backoff_orderly(&backoff, USEC_SECOND, USEC_SECOND / 2);
        ck_assert(backoff.degraded);
    }
    backoff_orderly(&backoff, USEC_SECOND, USEC_SECOND / 2);
    ck_assert(!backoff.degraded && backoff.early == 0 && backoff.delay == 0);
}
END_TEST

/* min_ready_time may be longer than a back-off lasts. */
START_TEST(orderly_ends_add_up_without_end)
{
    struct backoff backoff = {0};
    for (int i = 1; i <= 100; i++) {
        backoff_orderly(&backoff, USEC_SECOND, USEC_SECOND);
        ck_assert_int_eq(backoff.ready, i * USEC_SECOND);
    }
}
END_TEST

START_TEST(another_death_loses_what_they_lived)
{
    struct backoff backoff = {0};
    bool grew;
    backoff_orderly(&backoff, 5 * USEC_SECOND, 4 * USEC_SECOND);
    ck_assert_int_eq(backoff.alive, USEC_SECOND);
    ck_assert_int_eq(backoff.ready, 4 * USEC_SECOND);
    ck_assert_int_eq(backoff_death(&backoff, false, 0, &grew), 0);
    ck_assert(backoff.alive == 0 && backoff.ready == 0 && backoff.early == 1);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("backoff");
    tcase_add_test(tcase, each_further_early_death_waits_longer);
    tcase_add_test(tcase, who_accepted_is_replaced_at_once);
    tcase_add_test(tcase, an_accepting_worker_ends_the_row_and_the_state);
    tcase_add_test(tcase, a_later_death_ends_the_row_alone);
    tcase_add_test(tcase, ten_seconds_heal_a_living_one);
    tcase_add_test(tcase, an_orderly_end_waits_for_what_is_left_of_a_tenth);
    tcase_add_test(tcase, orderly_ends_never_grow_into_a_back_off);
    tcase_add_test(tcase, orderly_ends_heal_as_a_long_life_does);
    tcase_add_test(tcase, orderly_ends_add_up_without_end);
    tcase_add_test(tcase, another_death_loses_what_they_lived);
    return unit_run("backoff", tcase);
}
