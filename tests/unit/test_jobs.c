/* The reload jobs that wait, and the results of the last ones. */
#include "../../src/master/reload.h"
#include "unit.h"

#include <check.h>
#include <string.h>

static struct reload reload;

static void begin(void)
{
    reload = (struct reload){0};
}

START_TEST(jobs_alike_that_wait_are_one)
{
    uint64_t first = reload_ask(&reload, JOB_RELOAD, "");
    ck_assert_uint_eq(first, 1);
    ck_assert_uint_eq(reload_ask(&reload, JOB_RESTART, "web"), 2);
    ck_assert_uint_eq(reload_ask(&reload, JOB_RESTART, "mail"), 3);
    ck_assert_uint_eq(reload_ask(&reload, JOB_DRY_RUN, ""), 4);
    ck_assert_uint_eq(reload_ask(&reload, JOB_RELOAD, ""), first);
    ck_assert_uint_eq(reload_ask(&reload, JOB_RESTART, "mail"), 3);
    ck_assert_uint_eq(reload_ask(&reload, JOB_RESTART, ""), 5);
    ck_assert_int_eq(reload.queued, 5);
}
END_TEST

/* The job under way has read its file already: later changes need another job. */
START_TEST(one_under_way_is_another)
{
    uint64_t first = reload_ask(&reload, JOB_RELOAD, "");
    reload.job = reload.queue[0];
    reload.queued = 0;
    reload.state = RELOAD_CHECKING;
    uint64_t second = reload_ask(&reload, JOB_RELOAD, "");
    ck_assert_uint_eq(second, first + 1);
    ck_assert_uint_eq(reload_ask(&reload, JOB_RELOAD, ""), second);
}
END_TEST

START_TEST(too_many_are_refused)
{
    char pool[16];
    for (int i = 0; i < RELOAD_RESTARTS; i++) {
        snprintf(pool, sizeof pool, "p%d", i);
        ck_assert_uint_eq(reload_ask(&reload, JOB_RESTART, pool), (uint64_t)i + 1);
    }
    ck_assert_uint_eq(reload_ask(&reload, JOB_RESTART, "more"), 0);
    ck_assert_int_eq(reload.queued, RELOAD_RESTARTS);
    ck_assert_uint_eq(reload.last, RELOAD_RESTARTS);
    ck_assert_uint_eq(reload_ask(&reload, JOB_RESTART, "p3"), 4); /* one that waits */
}
END_TEST

/* A signal has no client that could be told to try again. */
START_TEST(a_reload_always_finds_room)
{
    char pool[16];
    for (int i = 0; i < 2 * RELOAD_QUEUE; i++) {
        snprintf(pool, sizeof pool, "p%d", i);
        reload_ask(&reload, JOB_RESTART, pool);
    }
    uint64_t first = reload_ask(&reload, JOB_RELOAD, "");
    ck_assert_uint_ne(first, 0);
    ck_assert_uint_ne(reload_ask(&reload, JOB_DRY_RUN, ""), 0);
    ck_assert_uint_eq(reload_ask(&reload, JOB_RELOAD, ""), first);
    ck_assert_uint_eq(reload_ask(&reload, JOB_RESTART, "more"), 0);
    ck_assert_int_le(reload.queued, RELOAD_QUEUE);
}
END_TEST

START_TEST(a_result_is_there_when_its_job_is_over)
{
    reload.job.number = 6;
    reload.results[6 % RELOAD_RESULTS].number = 6;
    reload.state = RELOAD_ROLLING;
    ck_assert_ptr_null(reload_result(&reload, 6));
    reload.state = RELOAD_NONE;
    ck_assert_ptr_eq(reload_result(&reload, 6), &reload.results[6 % RELOAD_RESULTS]);
    ck_assert_ptr_null(reload_result(&reload, 6 + RELOAD_RESULTS));
    ck_assert_ptr_null(reload_result(&reload, 6 - RELOAD_RESULTS));
    /* The result of an earlier job stays while the next one runs. */
    reload.job.number = 7;
    reload.state = RELOAD_CHECKING;
    ck_assert_ptr_nonnull(reload_result(&reload, 6));
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("jobs");
    tcase_add_checked_fixture(tests, begin, NULL);
    tcase_add_test(tests, jobs_alike_that_wait_are_one);
    tcase_add_test(tests, one_under_way_is_another);
    tcase_add_test(tests, too_many_are_refused);
    tcase_add_test(tests, a_reload_always_finds_room);
    tcase_add_test(tests, a_result_is_there_when_its_job_is_over);
    return unit_run("jobs", tests);
}
