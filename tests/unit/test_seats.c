/* The seats of workers: which slots they use, and what those say. */
#include "../../src/board/scoreboard.h"
#include "../../src/master/boards.h"
#include "unit.h"

#include <check.h>
#include <stdlib.h>

static struct resources *resources;
static struct slot slots[8];

static void set_up(void)
{
    resources = calloc(1, sizeof *resources);
    ck_assert_ptr_nonnull(resources);
}

static void tear_down(void)
{
    free(resources);
}

START_TEST(the_lowest_run_that_is_free)
{
    ck_assert_int_eq(resources_take_seats(resources, 1), 0);
    ck_assert_int_eq(resources_take_seats(resources, 100), 1);
    ck_assert_int_eq(resources_take_seats(resources, 1), 101);
    ck_assert_int_eq(resources_take_seats(resources, 5000), 102);
    resources_give_seats(resources, 1, 100);
    ck_assert_int_eq(resources_take_seats(resources, 101), 5102);
    ck_assert_int_eq(resources_take_seats(resources, 64), 1);
    ck_assert_int_eq(resources_take_seats(resources, 36), 65);
    ck_assert_int_eq(resources_take_seats(resources, 1), 5203);
}
END_TEST

/* Full words are skipped, and the last seat is used too. */
START_TEST(until_none_is_left)
{
    ck_assert_int_eq(resources_take_seats(resources, 30000), 0);
    ck_assert_int_eq(resources_take_seats(resources, 30000), 30000);
    ck_assert_int_eq(resources_take_seats(resources, 5537), -1);
    ck_assert_int_eq(resources_take_seats(resources, 5536), 60000);
    ck_assert_int_eq(resources_take_seats(resources, 1), -1);
    resources_give_seats(resources, SCOREBOARD_SLOTS - 1, 1);
    ck_assert_int_eq(resources_take_seats(resources, 2), -1);
    ck_assert_int_eq(resources_take_seats(resources, 1), SCOREBOARD_SLOTS - 1);
}
END_TEST

/* Seats claimed by another binary are all taken, or none. */
START_TEST(these_and_no_others)
{
    ck_assert(resources_take_these_seats(resources, 10, 10));
    ck_assert(!resources_take_these_seats(resources, 19, 2));
    ck_assert(!resources_take_these_seats(resources, 5, 6));
    ck_assert(resources_take_these_seats(resources, 5, 5));
    ck_assert(resources_take_these_seats(resources, SCOREBOARD_SLOTS - 2, 2));
    ck_assert(!resources_take_these_seats(resources, SCOREBOARD_SLOTS, 1));
    ck_assert(!resources_take_these_seats(resources, SCOREBOARD_SLOTS - 4, 5));
    ck_assert(!resources_take_these_seats(resources, 30, 0));
    ck_assert(!resources_take_these_seats(resources, 30, UINT32_MAX));
    ck_assert_int_eq(resources_take_seats(resources, 5), 0);
    ck_assert_int_eq(resources_take_seats(resources, 1), 20);
}
END_TEST

START_TEST(what_they_do)
{
    struct seats_load load;
    for (int i = 0; i < 8; i++) {
        slots[i].state = SLOT_IDLE;
        slots[i].since = 100 + i;
    }
    seats_look(slots, 7, &load);
    ck_assert_uint_eq(load.busy, 0);
    ck_assert_ptr_null(load.longest);
    ck_assert_int_eq(load.since, 106); /* the last one that became idle */
    ck_assert(!seats_have(slots, 8, SLOT_BUSY) && seats_have_other(slots, 8, SLOT_BUSY));
    slots[5].state = slots[3].state = slots[7].state = SLOT_BUSY;
    slots[3].since = 200;
    seats_look(slots, 7, &load);
    ck_assert_uint_eq(load.busy, 2);
    ck_assert_ptr_eq(load.longest, &slots[5]);
    ck_assert_int_eq(load.since, 105);
    ck_assert_uint_eq(seats_busy(slots, 8), 3);
    ck_assert(seats_have(slots, 8, SLOT_BUSY) && !seats_have_other(&slots[7], 1, SLOT_BUSY));
}
END_TEST

START_TEST(what_they_counted)
{
    struct slot_counts sum;
    struct seats_load load;
    for (unsigned i = 0; i < 8; i++) {
        slots[i].accepted = 10 + i;
        slots[i].served = 10;
        slots[i].bytes_in = 1;
        slots[i].refused[REFUSED_RATE] = i % 2;
    }
    seats_look(slots, 8, &load);
    ck_assert_uint_eq(load.accepted, 108);
    ck_assert_uint_eq(load.served, 80);
    ck_assert(seats_read(slots, 8, USEC_SECOND, &sum));
    ck_assert_uint_eq(sum.accepted, 108);
    ck_assert_uint_eq(sum.bytes_in, 8);
    ck_assert_uint_eq(sum.refused[REFUSED_RATE], 4);
    slots[2].served = 13; /* more than it accepted: its whole report is ignored */
    ck_assert(!seats_read(slots, 8, USEC_SECOND, &sum));
    ck_assert_uint_eq(sum.accepted, 96);
    ck_assert_uint_eq(sum.served, 70);
}
END_TEST

/* Counts stay, states don't. */
START_TEST(nobody_sits_there_any_more)
{
    slots[3].state = SLOT_BUSY;
    slots[3].accepted = 4;
    slots[3].peer.family = 2;
    seats_retire(slots, 8);
    ck_assert_uint_eq(slots[0].retiring + slots[7].retiring, 2);
    seats_close(slots, 8);
    ck_assert_uint_eq(slots[3].state, SLOT_FREE);
    ck_assert_uint_eq(slots[3].peer.family, 0);
    ck_assert_uint_eq(slots[3].accepted, 4);
    ck_assert_uint_eq(slots[0].retiring + slots[7].retiring, 0);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("seats");
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_test(tests, the_lowest_run_that_is_free);
    tcase_add_test(tests, until_none_is_left);
    tcase_add_test(tests, these_and_no_others);
    tcase_add_test(tests, what_they_do);
    tcase_add_test(tests, what_they_counted);
    tcase_add_test(tests, nobody_sits_there_any_more);
    return unit_run("seats", tests);
}
