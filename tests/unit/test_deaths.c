#include "../../src/board/overview.h"
#include "unit.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static struct overview *overview;
static struct death list[SCOREBOARD_DEATHS];
static int fd;

static void set_up(void)
{
    overview = overview_open(&fd);
    ck_assert(overview != NULL);
}

static void tear_down(void)
{
    overview_close(overview, fd);
}

static void write_one(int pid)
{
    struct death death = {.pid = pid, .pool = "web"};
    memset(death.why, 'a' + pid % 26, sizeof death.why - 1);
    memset(death.last, 'a' + pid % 26, sizeof death.last - 1);
    deaths_write(overview, &death);
}

START_TEST(an_empty_ledger)
{
    ck_assert_int_eq(deaths_list(overview, list), 0);
}
END_TEST

/* The last entries are kept, oldest first, however many there were. */
START_TEST(keeps_the_last)
{
    static const int counts[] = {1, 2, 63, 64, 65, 70, 128, 1000};
    for (int pid = 1; pid <= counts[_i]; pid++)
        write_one(pid);
    int kept = counts[_i] < SCOREBOARD_DEATHS ? counts[_i] : SCOREBOARD_DEATHS;
    ck_assert_int_eq(deaths_list(overview, list), kept);
    ck_assert_uint_eq(overview->deaths_written, (unsigned)counts[_i]);
    for (int i = 0; i < kept; i++) {
        ck_assert_int_eq(list[i].pid, counts[_i] - kept + 1 + i);
        ck_assert_uint_eq(list[i].number, (unsigned)list[i].pid);
        ck_assert_str_eq(list[i].pool, "web");
    }
}
END_TEST

/* A torn entry, as a master leaves it that dies while it writes. */
START_TEST(skips_what_is_torn)
{
    for (int pid = 1; pid <= 10; pid++)
        write_one(pid);
    overview->deaths[4].number = 0;
    ck_assert_int_eq(deaths_list(overview, list), 9);
    for (int i = 0; i < 9; i++)
        ck_assert_int_ne(list[i].pid, 4);
    write_one(11);
    ck_assert_int_eq(deaths_list(overview, list), 10);
    overview->deaths[7].number = 8; /* the wrong place for it */
    ck_assert_int_eq(deaths_list(overview, list), 9);
}
END_TEST

/* Only the master writes; but if a master goes wrong, readers stay within bounds. */
START_TEST(bears_hostile_bytes)
{
    memset(overview->deaths, 0xff, sizeof overview->deaths);
    int count = deaths_list(overview, list);
    ck_assert_int_le(count, SCOREBOARD_DEATHS);
    for (int i = 0; i < count; i++) {
        ck_assert_uint_lt(strlen(list[i].pool), sizeof list[i].pool);
        ck_assert_uint_lt(strlen(list[i].why), sizeof list[i].why);
        ck_assert_uint_lt(strlen(list[i].core), sizeof list[i].core);
        ck_assert_uint_lt(strlen(list[i].last), sizeof list[i].last);
    }
    overview->deaths_written = UINT64_MAX - 2;
    for (int pid = 1; pid <= 5; pid++)
        write_one(pid);
    ck_assert_int_le(deaths_list(overview, list), SCOREBOARD_DEATHS);
}
END_TEST

static atomic_bool ended;

static void *write_on(void *unused)
{
    for (int pid = 1; pid <= 20000; pid++)
        write_one(pid);
    ended = true;
    return unused;
}

/* While the master writes, a reader gets only complete entries. */
START_TEST(never_reads_half)
{
    pthread_t writer;
    ck_assert_int_eq(pthread_create(&writer, NULL, write_on, NULL), 0);
    while (!ended) {
        int count = deaths_list(overview, list);
        for (int i = 0; i < count; i++) {
            char expected = (char)('a' + list[i].pid % 26);
            ck_assert_uint_eq(list[i].number, (unsigned)list[i].pid);
            ck_assert_int_eq(list[i].why[0], expected);
            ck_assert_int_eq(list[i].last[sizeof list[i].last - 2], expected);
        }
    }
    pthread_join(writer, NULL);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("deaths");
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, an_empty_ledger);
    tcase_add_loop_test(tcase, keeps_the_last, 0, 8);
    tcase_add_test(tcase, skips_what_is_torn);
    tcase_add_test(tcase, bears_hostile_bytes);
    tcase_add_test(tcase, never_reads_half);
    tcase_set_timeout(tcase, 60);
    return unit_run("deaths", tcase);
}
