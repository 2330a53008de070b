#include "../../src/reports/procstat.h"
#include "unit.h"
#include "unit_view.h"

#include <check.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MANY = PROCSTAT_A_LOOK + 50 };

static pid_t child;
static struct procstat figures;

static void set_up(void)
{
    view_set_up();
    child = fork();
    while (child == 0)
        pause();
    figures = (struct procstat){.processes = true};
}

static void tear_down(void)
{
    procstat_done(&figures);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    view_tear_down();
}

static void add(int slot, pid_t pid)
{
    overview->workers[slot] = (struct overview_worker){.pid = pid,
                                                       .state = SLOT_STARTING,
                                                       .seat = (uint32_t)slot,
                                                       .seats = 1,
                                                       .serial = SERIAL,
                                                       .born = slot + 1};
    overview->workers_end = (uint32_t)slot + 1;
}

START_TEST(all_are_read_in_turns)
{
    int known = 0, looks = 0;
    for (int i = 0; i < MANY; i++)
        add(2 * i, child); /* every other slot is free */
    while (known < MANY && ++looks < 10 * MANY) {
        int before = known;
        known = 0;
        procstat_look(&figures, &view, 1000 + looks);
        for (int i = 0; i < MANY; i++)
            known += procstat_process(&figures, overview, 2 * i) != NULL;
        ck_assert_int_le(known, before + PROCSTAT_A_LOOK);
        ck_assert_int_gt(known, before);
    }
    ck_assert_int_gt(looks, 1);
    const struct procstat_process *last = procstat_process(&figures, overview, 2 * (MANY - 1));
    ck_assert_int_eq(last->read_at, 1000 + looks);
    ck_assert_int_gt(last->memory, 0);
    ck_assert_ptr_null(procstat_process(&figures, overview, 1));
    ck_assert_ptr_null(procstat_process(&figures, overview, 2 * MANY));
}
END_TEST

START_TEST(a_successor_is_another)
{
    add(0, child);
    procstat_look(&figures, &view, 1);
    ck_assert_ptr_nonnull(procstat_process(&figures, overview, 0));
    overview->workers[0].born++;
    ck_assert_ptr_null(procstat_process(&figures, overview, 0));
    procstat_look(&figures, &view, 2);
    ck_assert_ptr_nonnull(procstat_process(&figures, overview, 0));
}
END_TEST

/* What /proc doesn't show is hidden, not 0; an invalid number is no process. */
START_TEST(who_is_not_shown)
{
    add(0, 1 << 30);
    add(1, -1);
    add(2, 1);
    procstat_look(&figures, &view, 5);
    ck_assert_int_eq(procstat_process(&figures, overview, 0)->read_at, -1);
    ck_assert_ptr_null(procstat_process(&figures, overview, 1));
    ck_assert_ptr_null(procstat_process(&figures, overview, 2));
}
END_TEST

/* A program is a child of its worker, whatever the worker says. */
START_TEST(whose_program)
{
    add(0, getpid());
    procstat_look(&figures, &view, 1);
    int64_t alone = procstat_process(&figures, overview, 0)->memory;
    board->slots[0].program = child;
    procstat_look(&figures, &view, 2);
    ck_assert_int_gt(procstat_process(&figures, overview, 0)->memory, alone);
    enum { MUCH = 16 * 1024 * 1024 };
    volatile char *much = malloc(MUCH);
    for (int i = 0; i < MUCH; i += 1024)
        much[i] = 1;
    add(1, child);
    procstat_look(&figures, &view, 3);
    alone = procstat_process(&figures, overview, 1)->memory;
    board->slots[1].program = getpid(); /* the test's parent, which has used more */
    procstat_look(&figures, &view, 4);
    ck_assert_int_lt(procstat_process(&figures, overview, 1)->memory, alone + MUCH / 2);
    free((void *)much);
}
END_TEST

START_TEST(not_asked_for)
{
    figures.processes = false;
    add(0, child);
    procstat_look(&figures, &view, 1);
    ck_assert_ptr_null(procstat_process(&figures, overview, 0));
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("figures");
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_test(tests, all_are_read_in_turns);
    tcase_add_test(tests, a_successor_is_another);
    tcase_add_test(tests, who_is_not_shown);
    tcase_add_test(tests, whose_program);
    tcase_add_test(tests, not_asked_for);
    return unit_run("figures", tests);
}
