#include "../../src/worker/lane.h"
#include "unit.h"

#include <check.h>
#include <errno.h>
#include <sys/resource.h>
#include <unistd.h>

/* What lane_open() returns where so many descriptors are left. */
static int open_with(int descriptors)
{
    struct lane lane = {0};
    struct rlimit before, few;
    int next = dup(STDIN_FILENO);
    close(next);
    getrlimit(RLIMIT_NOFILE, &before);
    few = before;
    few.rlim_cur = (rlim_t)(next + descriptors);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
    int error = lane_open(&lane, /* polls: */ true);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
    return error;
}

START_TEST(a_lack_of_descriptors_is_called_by_its_name)
{
    ck_assert_int_eq(open_with(0), -EMFILE);
    ck_assert_int_eq(open_with(1), -EMFILE);
    ck_assert_int_eq(open_with(2), 0);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("lane");
    tcase_add_test(tests, a_lack_of_descriptors_is_called_by_its_name);
    return unit_run("lane", tests);
}
