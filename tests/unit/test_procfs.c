#include "../../src/base/procfs.h"
#include "unit.h"

#include <check.h>
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static pid_t child;
static int alive[2]; /* the child's end tells when its name is set */

/* A child whose name imitates the end of its own field. */
static void set_up(void)
{
    char byte;
    ck_assert_int_eq(pipe(alive), 0);
    child = fork();
    if (child == 0) {
        prctl(PR_SET_NAME, "a) R (b 1 2 3");
        if (write(alive[1], "x", 1) != 1)
            _exit(1);
        for (;;)
            pause();
    }
    ck_assert_int_eq(read(alive[0], &byte, 1), 1);
}

static void tear_down(void)
{
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
}

START_TEST(who_it_is)
{
    struct procfs_stat stat;
    do
        ck_assert_int_eq(procfs_stat(child, &stat), 0);
    while (stat.state == 'R'); /* on its way into pause() */
    ck_assert_str_eq(stat.command, "a) R (b 1 2 3");
    ck_assert_int_eq(stat.state, 'S');
    ck_assert(!stat.exiting);
    ck_assert_int_eq(stat.parent, getpid());
    ck_assert(stat.user >= 0 && stat.user < USEC_SECOND);
}
END_TEST

START_TEST(where_it_is)
{
    int number = -1;
    char channel[64];
    struct procfs_stat stat;
    do
        ck_assert_int_eq(procfs_stat(child, &stat), 0);
    while (stat.state == 'R');
    int error = procfs_call(child, &number);
    if (error == 0)
        ck_assert_str_eq(procfs_call_name(number), "pause");
    else
        ck_assert(error == -EPERM || error == -EACCES || error == -ENOENT);
    ck_assert_int_eq(procfs_channel(child, channel, sizeof channel), 0);
    ck_assert_ptr_null(procfs_call_name(-1));
    ck_assert_ptr_null(procfs_call_name(100000));
    ck_assert_str_eq(procfs_call_name(SYS_accept4), "accept4");
}
END_TEST

START_TEST(whose_children)
{
    pid_t list[4] = {0};
    int count = procfs_children(getpid(), list, 4);
    if (count != -ENOENT) {
        ck_assert_int_eq(count, 1);
        ck_assert_int_eq(list[0], child);
        ck_assert_int_eq(procfs_children(getpid(), list, 0), 0);
        ck_assert_int_eq(procfs_children(child, list, 4), 0);
    }
}
END_TEST

START_TEST(what_it_takes)
{
    int64_t before, after;
    usec running = -1, waiting = -1;
    enum { MORE = 8 * 1024 * 1024 };
    ck_assert_int_eq(procfs_memory(getpid(), &before), 0);
    volatile char *more = malloc(MORE);
    for (int i = 0; i < MORE; i += 1024)
        more[i] = 1;
    ck_assert_int_eq(procfs_memory(getpid(), &after), 0);
    ck_assert_int_gt(after, before + MORE / 2);
    free((void *)more);
    if (procfs_schedule(getpid(), &running, &waiting) == 0)
        ck_assert(running > 0 && waiting >= 0);
}
END_TEST

START_TEST(settings)
{
    char text[64] = "?";
    ck_assert_str_eq(procfs_setting("kernel/ostype", text, sizeof text), "Linux");
    ck_assert_str_eq(procfs_setting("kernel/no-such-setting", text, sizeof text), "");
}
END_TEST

/* A worker's memory is what it does not share, or each worker would count the scoreboards. */
START_TEST(what_it_shares_is_left_out)
{
    int64_t before, after;
    enum { MORE = 8 * 1024 * 1024 };
    char *shared = mmap(NULL, MORE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert(shared != MAP_FAILED);
    ck_assert_int_eq(procfs_memory(getpid(), &before), 0);
    memset(shared, 1, MORE);
    ck_assert_int_eq(procfs_memory(getpid(), &after), 0);
    ck_assert_int_lt(after, before + MORE / 2);
    munmap(shared, MORE);
}
END_TEST

/* More text than is read from the kernel: the last number may lack digits, and would be another
 * process. */
START_TEST(more_children_than_are_read)
{
    enum { MANY = 600 };
    static pid_t list[MANY + 1], made[MANY];
    for (int i = 0; i < MANY; i++) {
        made[i] = fork();
        while (made[i] == 0)
            pause();
    }
    int count = procfs_children(getpid(), list, MANY + 1);
    for (int i = 0; i < count; i++) {
        bool ours = list[i] == child;
        for (int k = 0; k < MANY; k++)
            ours = ours || list[i] == made[k];
        ck_assert_msg(ours, "%d is no child of ours", (int)list[i]);
    }
    ck_assert(count == -ENOENT || (count > 100 && count <= MANY + 1));
    for (int i = 0; i < MANY; i++) {
        kill(made[i], SIGKILL);
        waitpid(made[i], NULL, 0);
    }
}
END_TEST

/* A zombie keeps its group's number, but can't be signalled any more. */
START_TEST(zombies_are_in_no_group)
{
    siginfo_t info;
    struct procfs_stat stat;
    pid_t pid = fork();
    if (pid == 0)
        _exit(setpgid(0, 0));
    ck_assert_int_eq(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
    ck_assert_int_eq(procfs_stat(pid, &stat), 0);
    ck_assert(stat.exiting);
    ck_assert_int_eq(stat.group, pid);
    ck_assert_int_eq(procfs_find_in_group(pid, &stat), 0);
    ck_assert_int_eq(setpgid(child, child), 0);
    ck_assert_int_eq(procfs_find_in_group(child, &stat), child);
    waitpid(pid, NULL, 0);
}
END_TEST

START_TEST(nobody)
{
    struct procfs_stat stat = {.state = 'x'};
    int64_t bytes = 7;
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    ck_assert_int_eq(procfs_stat(child, &stat), -ESRCH);
    ck_assert_int_eq(procfs_memory(child, &bytes), -ENOENT);
    ck_assert(stat.state == 'x' && bytes == 7);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("process");
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_test(tests, who_it_is);
    tcase_add_test(tests, where_it_is);
    tcase_add_test(tests, whose_children);
    tcase_add_test(tests, what_it_takes);
    tcase_add_test(tests, settings);
    tcase_add_test(tests, what_it_shares_is_left_out);
    tcase_add_test(tests, more_children_than_are_read);
    tcase_add_test(tests, zombies_are_in_no_group);
    tcase_add_test(tests, nobody);
    return unit_run("process", tests);
}
