#include "../../src/worker/bell.h"
#include "unit.h"

#include <check.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { SEATS = 6, PLACE = 3 };

static struct scoreboard *board;
static struct bell bell;
static int board_fd;

/* A pool whose slots are 10, 12, 14, ... in a ring, all busy; the first is ours. */
static void begin(int min_spare)
{
    board = scoreboard_open(&board_fd);
    for (int i = 0; i < SEATS; i++) {
        struct slot *slot = scoreboard_take(board, 10 + 2 * i, PLACE);
        slot->state = SLOT_BUSY;
        slot->next_seat = (uint32_t)(10 + 2 * ((i + 1) % SEATS));
    }
    bell = (struct bell){.slots = board->slots,
                         .pool = &board->pools[PLACE],
                         .place = PLACE,
                         .seat = 10,
                         .fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
    bell.pool->min_spare = min_spare;
    bell.pool->armed = 1;
}

static void end(void)
{
    close(bell.fd);
    scoreboard_close(board, board_fd);
}

static bool rings(void)
{
    uint64_t count;
    bell_seat_taken(&bell);
    return read(bell.fd, &count, sizeof count) == sizeof count;
}

START_TEST(rings_where_too_few_are_free)
{
    static const struct {
        int min_spare, free;
        bool rings;
    } cases[] = {{0, 0, true}, {0, 1, false}, {1, 0, true}, {1, 1, false},
                 {3, 2, true}, {3, 3, false}, {9, 5, true}, {-1, 1, false}};
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        begin(cases[i].min_spare);
        for (int seat = 0; seat < cases[i].free; seat++)
            board->slots[10 + 2 * (SEATS - 1 - seat)].state = SLOT_IDLE;
        ck_assert_msg(rings() == cases[i].rings, "case %u", i);
        ck_assert_msg(bell.pool->armed == !cases[i].rings, "case %u: armed", i);
        end();
    }
}
END_TEST

START_TEST(rings_once)
{
    begin(1);
    ck_assert(rings());
    ck_assert(!rings());
    bell.pool->armed = 1;
    ck_assert(rings());
    end();
}
END_TEST

START_TEST(only_who_waits_and_stays_is_free)
{
    static const enum slot_state states[] = {SLOT_WAITING, SLOT_STARTING, SLOT_BUSY};
    begin(1);
    for (unsigned i = 0; i < sizeof states / sizeof *states; i++)
        board->slots[12 + 2 * i].state = states[i];
    board->slots[18].state = SLOT_IDLE;
    board->slots[18].retiring = 1;
    ck_assert(rings());
    board->slots[18].retiring = 0;
    bell.pool->armed = 1;
    ck_assert(!rings());
    end();
}
END_TEST

/* The ring is being changed, or somebody wrote nonsense into it: one ring too many, and an end. */
START_TEST(led_astray_it_rings)
{
    static const uint32_t nexts[] = {11, SCOREBOARD_SLOTS, UINT32_MAX, 12, 14};
    for (unsigned i = 0; i < sizeof nexts / sizeof *nexts; i++) {
        begin(1);
        board->slots[14].next_seat = nexts[i]; /* those of the last two lead round and round */
        board->slots[20].state = SLOT_IDLE;
        ck_assert_msg(rings(), "case %u", i);
        end();
    }
}
END_TEST

START_TEST(a_single_worker_takes_the_last_seat)
{
    begin(1);
    board->slots[10].next_seat = 10;
    ck_assert(rings());
    end();
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("bell");
    tcase_add_test(tests, rings_where_too_few_are_free);
    tcase_add_test(tests, rings_once);
    tcase_add_test(tests, only_who_waits_and_stays_is_free);
    tcase_add_test(tests, led_astray_it_rings);
    tcase_add_test(tests, a_single_worker_takes_the_last_seat);
    return unit_run("bell", tests);
}
