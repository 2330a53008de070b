#include "../../src/board/scoreboard.h"
#include "unit.h"

#include <check.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static struct scoreboard *board;
static int fd;

static void set_up(void)
{
    fd = scoreboard_create();
    ck_assert_int_ge(fd, 0);
    board = scoreboard_map(fd, true);
    ck_assert_ptr_nonnull(board);
}

static void tear_down(void)
{
    scoreboard_unmap(board);
    close(fd);
}

/* A worker maps it itself: the parent's mapping isn't inherited. */
START_TEST(children_write_what_the_parent_reads)
{
    struct slot *slot = &board->slots[SCOREBOARD_SLOTS - 1];
    pid_t pid = fork();
    if (pid == 0) {
        struct scoreboard *own = scoreboard_map(fd, true);
        if (own)
            own->slots[SCOREBOARD_SLOTS - 1].accepted = 42;
        _exit(0);
    }
    waitpid(pid, NULL, 0);
    ck_assert_uint_eq(slot->accepted, 42);
}
END_TEST

START_TEST(another_size_is_refused)
{
    int other = memfd_create("x", MFD_CLOEXEC);
    ck_assert_int_eq(ftruncate(other, (off_t)sizeof *board - 1), 0);
    ck_assert_ptr_null(scoreboard_map(other, true));
    ck_assert_int_eq(errno, EPROTO);
    close(other);
    ck_assert_ptr_null(scoreboard_map(-1, false));
    ck_assert_int_eq(errno, EBADF);
}
END_TEST

START_TEST(the_end_is_bounded)
{
    ck_assert_uint_eq(scoreboard_end(board), 0);
    board->end = 7;
    ck_assert_uint_eq(scoreboard_end(board), 7);
    board->end = UINT32_MAX;
    ck_assert_uint_eq(scoreboard_end(board), SCOREBOARD_SLOTS);
}
END_TEST

/* Two workers never write to one cache line. */
START_TEST(slots_share_no_line)
{
    ck_assert_uint_eq(sizeof(struct slot) % SCOREBOARD_LINE, 0);
    ck_assert_uint_eq(offsetof(struct slot, service) % SCOREBOARD_LINE, 0);
    ck_assert_uint_eq(offsetof(struct slot, peer), SCOREBOARD_LINE);
    ck_assert_uint_eq(offsetof(struct scoreboard, slots) % SCOREBOARD_LINE, 0);
}
END_TEST

/* Slots 0 to 5, all busy with this peer, each of which has served the given number; slot 6 is
 * beyond the end. */
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
        {AF_INET, {10, 0, 0, 2}, 2},
    };
    enum { COUNT = 6 };
    for (unsigned i = 0; i <= COUNT; i++) {
        struct slot *slot = &board->slots[i];
        slot->state = SLOT_BUSY;
        slot->peer.family = seats[i].family;
        memcpy(slot->peer.ip, seats[i].ip, sizeof slot->peer.ip);
    }
    board->end = COUNT;
    for (unsigned i = 0; i <= COUNT; i++)
        ck_assert_uint_eq(scoreboard_same_peer(board, i), seats[i].wanted);
    board->slots[2].state = SLOT_IDLE;
    ck_assert_uint_eq(scoreboard_same_peer(board, 0), 2);
    board->end = 0; /* an invalid end stops the search */
    ck_assert_uint_eq(scoreboard_same_peer(board, 0), 1);
    board->end = UINT32_MAX;
    ck_assert_uint_eq(scoreboard_same_peer(board, 1), 2);
}
END_TEST

START_TEST(finds_as_many_idle_as_wanted)
{
    static const struct {
        uint32_t own;
        int wanted;
        bool found;
    } cases[] = {{0, 1, true},
                 {0, 2, true},
                 {0, 3, false},
                 {1, 1, true},
                 {1, 2, false},
                 {3, 1, true},
                 {3, 2, false},
                 {9, 2, true},
                 {0, 0, true},
                 {UINT32_MAX, 2, true},
                 {SCOREBOARD_SLOTS, 3, false}};
    board->end = 5;
    board->slots[1].state = board->slots[3].state = board->slots[4].state = SLOT_IDLE;
    board->slots[4].retiring = 1;
    board->slots[5].state = SLOT_IDLE; /* beyond the end */
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++)
        ck_assert_msg(scoreboard_has_idle(board, cases[i].own, cases[i].own, cases[i].wanted) ==
                          cases[i].found,
                      "case %u", i);
    board->end = UINT32_MAX;
    ck_assert(scoreboard_has_idle(board, 0, 0, 3));
    ck_assert(!scoreboard_has_idle(board, 0, 0, 4));
}
END_TEST

/* Two workers of 1024 seats each, and one of one seat. The pages of other slots can't be read, so
 * the search must not touch them. */
START_TEST(looks_at_one_slot_of_a_worker_that_counts)
{
    enum { SEATS = 1024, FIRST = 4096 / sizeof(struct slot) + 1, ALL = 2 * SEATS + 1 };
    struct slot *heads[] = {&board->slots[0], &board->slots[SEATS]};
    board->end = ALL;
    for (int i = 0; i < 2; i++) {
        heads[i]->seats = SEATS;
        heads[i]->ready = 1;
        char *hidden = (char *)(((uintptr_t)(heads[i] + 1) + 4095) & ~(uintptr_t)4095);
        ck_assert_int_eq(
            mprotect(hidden, (SEATS - FIRST - 8) * sizeof(struct slot) & ~4095ul, PROT_NONE), 0);
    }
    ck_assert(!scoreboard_has_idle(board, 0, 7, 1));
    board->slots[ALL - 1].state = SLOT_IDLE;
    ck_assert(scoreboard_has_idle(board, 0, 7, 1));
    ck_assert(!scoreboard_has_idle(board, SEATS, SEATS + 7, 2));
    heads[0]->free_seats = 1;
    heads[1]->free_seats = 2;
    ck_assert(scoreboard_has_idle(board, SEATS, SEATS + 7, 4));
    ck_assert(!scoreboard_has_idle(board, SEATS, SEATS + 7, 5));
    heads[1]->retiring = 1;
    ck_assert(scoreboard_has_idle(board, 0, 7, 2));
    ck_assert(!scoreboard_has_idle(board, 0, 7, 3));
    heads[0]->ready = 0;
    ck_assert(!scoreboard_has_idle(board, 0, 7, 2));
    heads[0]->ready = 1;
    heads[0]->free_seats = UINT32_MAX; /* a lie: more free seats than seats */
    ck_assert(!scoreboard_has_idle(board, 0, 7, SEATS + 2));
}
END_TEST

/* An impossible number of seats is ignored, and nothing beyond the end is read. */
START_TEST(counts_of_nonsense_are_not_gone_by)
{
    board->end = 3;
    board->slots[0].ready = 1;
    board->slots[0].free_seats = 1;
    board->slots[0].seats = UINT32_MAX;
    board->slots[3].state = SLOT_IDLE;
    ck_assert(!scoreboard_has_idle(board, 2, 2, 1));
    board->slots[1].state = SLOT_IDLE;
    ck_assert(scoreboard_has_idle(board, 2, 2, 1));
    ck_assert(!scoreboard_has_idle(board, 2, 2, 2));
}
END_TEST

START_TEST(a_slot_is_read_whole)
{
    struct slot_counts counts;
    struct slot *slot = &board->slots[3];
    slot->accepted = 5;
    slot->served = 4;
    slot->errors = 3;
    slot->bytes_in = 6;
    slot->bytes_out = 7;
    slot->refused[REFUSED_RATE] = 2;
    histogram_count(&slot->service, 1000, 1);
    histogram_count(&slot->wait, 5000, 32);
    slot_read(slot, &counts);
    ck_assert(counts.accepted == 5 && counts.served == 4 && counts.errors == 3);
    ck_assert(counts.bytes_in == 6 && counts.bytes_out == 7 && counts.refused[REFUSED_RATE] == 2);
    ck_assert_uint_eq(histogram_total(&counts.service), 1);
    ck_assert_uint_eq(counts.service.sum, 1000);
    ck_assert_uint_eq(counts.wait.sum, 160000);
}
END_TEST

/* The most that can be counted in a second more than the age, at one connection per microsecond. */
#define SECOND ((uint64_t)USEC_SECOND)

static const struct {
    usec age;
    struct slot_counts counts;
    bool possible;
} judged[] = {
    {0, {0}, true},
    {-USEC_SECOND, {0}, true},
    {INT64_MIN, {.accepted = SECOND}, true},
    {INT64_MIN, {.accepted = SECOND + 1}, false},
    {0, {.accepted = SECOND, .served = SECOND}, true},
    {USEC_SECOND, {.accepted = 2 * SECOND}, true},
    {USEC_SECOND, {.accepted = 2 * SECOND + 1}, false},
    {USEC_SECOND, {.accepted = UINT64_MAX}, false},
    {USEC_SECOND, {.accepted = 1, .served = 2}, false},
    {USEC_SECOND, {.accepted = 3, .refused = {1, 1, 1}}, true},
    {USEC_SECOND, {.accepted = 3, .refused = {1, 1, 1, 1}}, false},
    {USEC_SECOND, {.errors = 2 * SECOND}, true},
    {USEC_SECOND, {.errors = 2 * SECOND + 1}, false},
    {USEC_SECOND, {.bytes_in = 2 * SECOND << 17, .bytes_out = 2 * SECOND << 17}, true},
    {USEC_SECOND, {.bytes_in = (2 * SECOND << 17) + 1}, false},
    {USEC_SECOND, {.bytes_out = UINT64_MAX}, false},
    {INT64_MAX, {.bytes_out = UINT64_MAX}, true},
    {USEC_SECOND, {.service.classes = {[3] = 2 * SECOND}}, true},
    {USEC_SECOND, {.service.classes = {[3] = 2 * SECOND + 1}}, false},
    {USEC_SECOND, {.service.sum = 4 * SECOND}, true},
    {USEC_SECOND, {.service.sum = 4 * SECOND + 1}, false},
    {USEC_SECOND, {.wait.classes = {2 * SECOND + 1}}, false},
    {USEC_SECOND, {.wait.sum = (uint64_t)1 << 56}, true},
    {USEC_SECOND, {.wait.sum = UINT64_MAX}, false},
};

START_TEST(what_can_have_been_counted)
{
    for (unsigned i = 0; i < sizeof judged / sizeof *judged; i++)
        ck_assert_msg(slot_counts_possible(&judged[i].counts, judged[i].age) == judged[i].possible,
                      "case %u", i);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("scoreboard");
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, children_write_what_the_parent_reads);
    tcase_add_test(tcase, another_size_is_refused);
    tcase_add_test(tcase, the_end_is_bounded);
    tcase_add_test(tcase, slots_share_no_line);
    tcase_add_test(tcase, counts_those_of_one_address);
    tcase_add_test(tcase, finds_as_many_idle_as_wanted);
    tcase_add_test(tcase, looks_at_one_slot_of_a_worker_that_counts);
    tcase_add_test(tcase, counts_of_nonsense_are_not_gone_by);
    tcase_add_test(tcase, a_slot_is_read_whole);
    tcase_add_test(tcase, what_can_have_been_counted);
    return unit_run("scoreboard", tcase);
}
