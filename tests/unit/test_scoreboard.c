#include "../../src/shared/scoreboard.h"
#include "unit.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static struct scoreboard *board;
static int fd;

static void set_up(void)
{
    board = scoreboard_open(&fd);
    ck_assert(board != NULL);
}

static void tear_down(void)
{
    scoreboard_close(board, fd);
}

START_TEST(a_taken_slot_is_clean)
{
    board->slots[7].served = 9;
    struct slot *slot = scoreboard_take(board, 7, 3);
    ck_assert_ptr_eq(slot, &board->slots[7]);
    ck_assert_uint_eq(slot->served, 0);
    ck_assert_uint_eq(slot->state, SLOT_WAITING);
    ck_assert_uint_eq(slot->pool, 3);
    scoreboard_give(board, 7, 3);
    ck_assert_uint_eq(slot->state, SLOT_FREE);
}
END_TEST

/* Sums never go back: what a slot counted stays with its pool, whatever a worker wrote there. */
START_TEST(counts_outlive_their_slot)
{
    int pool = scoreboard_add_pool(board, "web");
    struct slot *slot = scoreboard_take(board, 0, pool);
    slot->accepted = 5;
    slot->served = 4;
    slot->pool = 0x7fffffff;
    scoreboard_give(board, 0, pool);
    slot = scoreboard_take(board, 0, pool);
    ck_assert_uint_eq(slot->accepted, 0);
    slot->accepted = 2;
    scoreboard_give(board, 0, pool);
    ck_assert_uint_eq(board->pools[pool].accepted, 7);
    ck_assert_uint_eq(board->pools[pool].served, 4);
}
END_TEST

START_TEST(children_write_what_the_parent_reads)
{
    struct slot *slot = scoreboard_take(board, SCOREBOARD_SLOTS - 1, 0);
    pid_t pid = fork();
    if (pid == 0) {
        slot->accepted = 42;
        _exit(0);
    }
    waitpid(pid, NULL, 0);
    ck_assert_uint_eq(slot->accepted, 42);
}
END_TEST

START_TEST(places_for_pools_are_used_again)
{
    int first = scoreboard_add_pool(board, "a");
    int second = scoreboard_add_pool(board, "b");
    ck_assert_int_ne(first, second);
    scoreboard_remove_pool(board, first);
    ck_assert_int_eq(scoreboard_add_pool(board, "c"), first);
    ck_assert_str_eq(board->pools[first].name, "c");
}
END_TEST

/* Two workers never write to one cache line. */
START_TEST(slots_share_no_line)
{
    ck_assert_uint_eq(sizeof(struct slot) % SCOREBOARD_LINE, 0);
    ck_assert_uint_eq(offsetof(struct slot, pid) % SCOREBOARD_LINE, 0);
    ck_assert_uint_eq(offsetof(struct scoreboard, slots) % SCOREBOARD_LINE, 0);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("scoreboard");
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, a_taken_slot_is_clean);
    tcase_add_test(tcase, counts_outlive_their_slot);
    tcase_add_test(tcase, children_write_what_the_parent_reads);
    tcase_add_test(tcase, places_for_pools_are_used_again);
    tcase_add_test(tcase, slots_share_no_line);
    return unit_run("scoreboard", tcase);
}
