#include "../../src/master/backoff.h"
#include "unit.h"

#include <check.h>
#include <stdlib.h>

#define MSEC      ((usec)1000)
#define NOT_READY ((usec)-1)

/* A life, and what its end brings. */
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

/* Whoever can crash a worker by a connection must not slow its replacement. */
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

/* A second after ready it is no early death any more, but not yet a proof of health. */
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

int main(void)
{
    TCase *tcase = tcase_create("backoff");
    tcase_add_test(tcase, each_further_early_death_waits_longer);
    tcase_add_test(tcase, who_accepted_is_replaced_at_once);
    tcase_add_test(tcase, an_accepting_worker_ends_the_row_and_the_state);
    tcase_add_test(tcase, a_later_death_ends_the_row_alone);
    tcase_add_test(tcase, ten_seconds_heal_a_living_one);
    return unit_run("backoff", tcase);
}
