#include "../../src/shared/scoreboard.h"
#include "unit.h"

#include <check.h>
#include <netinet/in.h>
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
    slot->bytes_in = 6;
    slot->bytes_out = 7;
    histogram_count(&slot->service, 1000, 1);
    histogram_count(&slot->wait, 5000, 32);
    uint32_t moves = board->moves;
    scoreboard_give(board, 0, pool);
    slot = scoreboard_take(board, 0, pool);
    ck_assert_uint_eq(slot->accepted, 0);
    ck_assert_uint_eq(histogram_total(&slot->service), 0);
    ck_assert_uint_eq(board->moves, moves + 2);
    slot->accepted = 2;
    histogram_count(&slot->service, 1000, 1);
    scoreboard_give(board, 0, pool);
    ck_assert_uint_eq(board->pools[pool].bytes_in, 6);
    ck_assert_uint_eq(board->pools[pool].bytes_out, 7);
    ck_assert_uint_eq(histogram_total(&board->pools[pool].service), 2);
    ck_assert_uint_eq(board->pools[pool].service.sum, 2000);
    ck_assert_uint_eq(board->pools[pool].wait.sum, 160000);
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
    ck_assert_uint_eq(offsetof(struct slot, service) % SCOREBOARD_LINE, 0);
    ck_assert_uint_eq(offsetof(struct slot, peer), SCOREBOARD_LINE);
    ck_assert_uint_eq(offsetof(struct scoreboard, slots) % SCOREBOARD_LINE, 0);
}
END_TEST

/* Slots 0 to 5 of pool 1 in a ring, all busy with the peer that is written here, of whom each is served
 * as often as it stands there; 6 is another pool's. */
START_TEST(counts_those_of_one_address)
{
    static const struct {
        uint16_t family;
        uint8_t ip[16];
        unsigned wanted;
    } seats[] = {
        {AF_INET, {10, 0, 0, 1}, 3},  {AF_INET, {10, 0, 0, 2}, 1},
        {AF_INET, {10, 0, 0, 1}, 3},  {AF_INET6, {[10] = 0xff, [11] = 0xff, 10, 0, 0, 1}, 3},
        {AF_INET6, {10, 0, 0, 1}, 1}, {AF_UNIX, {0}, 1},
        {AF_INET, {10, 0, 0, 2}, 1},
    };
    enum { COUNT = 6 };
    for (unsigned i = 0; i <= COUNT; i++) {
        struct slot *slot = scoreboard_take(board, (int)i, i < COUNT ? 1 : 2);
        slot->next_seat = i < COUNT ? (i + 1) % COUNT : i;
        slot->state = SLOT_BUSY;
        slot->peer.family = seats[i].family;
        memcpy(slot->peer.ip, seats[i].ip, sizeof slot->peer.ip);
    }
    for (unsigned i = 0; i <= COUNT; i++)
        ck_assert_uint_eq(scoreboard_same_peer(board->slots, i), seats[i].wanted);
    board->slots[2].state = SLOT_IDLE;
    ck_assert_uint_eq(scoreboard_same_peer(board->slots, 0), 2);
    board->slots[1].next_seat = SCOREBOARD_SLOTS; /* garbage ends the walk */
    ck_assert_uint_eq(scoreboard_same_peer(board->slots, 0), 1);
    board->slots[1].next_seat = 1; /* and so does a ring that we aren't in */
    ck_assert_uint_eq(scoreboard_same_peer(board->slots, 0), 1);
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
    tcase_add_test(tcase, counts_those_of_one_address);
    return unit_run("scoreboard", tcase);
}
