#include "../../src/board/overview.h"
#include "unit.h"

#include <check.h>
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

static struct overview *overview;
static int fd;

static void set_up(void)
{
    overview = overview_open(&fd);
    ck_assert_ptr_nonnull(overview);
}

static void tear_down(void)
{
    overview_close(overview, fd);
}

START_TEST(places_for_pools_are_used_again)
{
    int first = overview_add_pool(overview, "a");
    int second = overview_add_pool(overview, "b");
    ck_assert_int_ne(first, second);
    uint64_t serial = overview->pools[first].serial;
    overview_remove_pool(overview, first);
    ck_assert_int_eq(overview_add_pool(overview, "c"), first);
    ck_assert_str_eq(overview->pools[first].name, "c");
    ck_assert_uint_gt(overview->pools[first].serial, serial);
    ck_assert_uint_eq(overview->pools_end, 2);
    while (overview->pools_end < SCOREBOARD_POOLS)
        ck_assert_int_ge(overview_add_pool(overview, "d"), 0);
    ck_assert_int_eq(overview_add_pool(overview, "e"), -1);
}
END_TEST

/* Sums never go back: a slot's counts stay with its pool. */
START_TEST(counts_are_added)
{
    struct slot_counts sum = {0}, more = {.accepted = 5, .served = 4, .errors = 3, .bytes_in = 6};
    more.bytes_out = 7;
    more.refused[REFUSED_RATE] = 2;
    histogram_count(&more.service, 1000, 1);
    histogram_count(&more.wait, 5000, 32);
    uint32_t moves = overview->moves;
    overview_begin_move(overview);
    ck_assert_uint_eq(overview->moves, moves + 1);
    slot_counts_add(&sum, &more);
    slot_counts_add(&sum, &more);
    overview_end_move(overview);
    ck_assert_uint_eq(overview->moves, moves + 2);
    ck_assert(sum.accepted == 10 && sum.served == 8 && sum.errors == 6 && sum.bytes_in == 12);
    ck_assert(sum.bytes_out == 14 && sum.refused[REFUSED_RATE] == 4);
    ck_assert_uint_eq(histogram_total(&sum.service), 2);
    ck_assert_uint_eq(sum.wait.sum, 320000);
}
END_TEST

/* Only its creator can write to it. */
START_TEST(readers_read_alone)
{
    const struct overview *read = overview_map(fd);
    ck_assert_ptr_nonnull(read);
    overview->generation = 9;
    ck_assert_uint_eq(read->generation, 9);
    ck_assert_int_eq(mprotect((void *)read, sizeof *read, PROT_READ | PROT_WRITE), -1);
    ck_assert(mmap(NULL, sizeof *read, PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED);
    ck_assert_int_eq(pwrite(fd, "x", 1, 0), -1);
    munmap((void *)read, sizeof *read);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("overview");
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_test(tests, places_for_pools_are_used_again);
    tcase_add_test(tests, counts_are_added);
    tcase_add_test(tests, readers_read_alone);
    return unit_run("overview", tests);
}
