#include "../../src/worker/serve.h"
#include "unit.h"

#include <check.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { SEATS = 6, OWN = 2 };

static struct scoreboard *board;
static struct wakeup wakeup;

/* A pool whose workers are all busy; the third is ours. */
static void begin(uint32_t min_spare)
{
    int fd = scoreboard_create();
    board = scoreboard_map(fd, true);
    ck_assert_ptr_nonnull(board);
    close(fd);
    for (int i = 0; i < SEATS; i++)
        board->slots[i].state = SLOT_BUSY;
    board->end = SEATS;
    board->min_spare = min_spare;
    board->armed = 1;
    wakeup =
        (struct wakeup){.board = board, .seat = OWN, .fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
}

static void end(void)
{
    close(wakeup.fd);
    scoreboard_unmap(board);
}

static bool rings(void)
{
    uint64_t count;
    wakeup_seat_taken(&wakeup);
    return read(wakeup.fd, &count, sizeof count) == sizeof count;
}

START_TEST(rings_where_too_few_are_free)
{
    static const struct {
        uint32_t min_spare;
        int free;
        bool rings;
    } cases[] = {{0, 0, true}, {0, 1, false}, {1, 0, true}, {1, 1, false},
                 {3, 2, true}, {3, 3, false}, {9, 5, true}, {UINT32_MAX, 1, false}};
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        begin(cases[i].min_spare);
        for (int seat = 0; seat < cases[i].free; seat++)
            board->slots[(OWN + SEATS - 1 - seat) % SEATS].state = SLOT_IDLE;
        ck_assert_msg(rings() == cases[i].rings, "case %u", i);
        ck_assert_msg(board->armed == !cases[i].rings, "case %u: armed", i);
        end();
    }
}
END_TEST

START_TEST(rings_once)
{
    begin(1);
    ck_assert(rings());
    ck_assert(!rings());
    board->armed = 1;
    ck_assert(rings());
    end();
}
END_TEST

START_TEST(only_who_waits_and_stays_is_free)
{
    static const enum slot_state states[] = {SLOT_WAITING, SLOT_STARTING, SLOT_BUSY};
    begin(1);
    for (unsigned i = 0; i < sizeof states / sizeof *states; i++)
        board->slots[OWN + 1 + i].state = states[i];
    board->slots[0].state = SLOT_IDLE;
    board->slots[0].retiring = 1;
    ck_assert(rings());
    board->slots[0].retiring = 0;
    board->armed = 1;
    ck_assert(!rings());
    end();
}
END_TEST

/* An invalid end bounds the search, and a seat beyond it doesn't count. */
START_TEST(led_astray_it_ends)
{
    begin(1);
    board->slots[SEATS].state = SLOT_IDLE;
    ck_assert(rings());
    board->armed = 1;
    board->end = UINT32_MAX;
    ck_assert(!rings());
    board->slots[SEATS].state = SLOT_FREE;
    ck_assert(rings());
    board->armed = 1;
    board->end = 0;
    board->slots[0].state = SLOT_IDLE;
    ck_assert(rings());
    end();
}
END_TEST

START_TEST(a_single_worker_takes_the_last_seat)
{
    begin(1);
    board->end = OWN + 1;
    ck_assert(rings());
    board->slots[OWN].state = SLOT_IDLE; /* its own is none that another finds */
    ck_assert(!scoreboard_has_idle(board, OWN, OWN, 1));
    end();
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("bell");
    tcase_add_test(tests, rings_where_too_few_are_free);
    tcase_add_test(tests, rings_once);
    tcase_add_test(tests, only_who_waits_and_stays_is_free);
    tcase_add_test(tests, led_astray_it_ends);
    tcase_add_test(tests, a_single_worker_takes_the_last_seat);
    return unit_run("wakeup", tests);
}
