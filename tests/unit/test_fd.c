/* Which descriptors stay, by close_range(2) and without it. */
#include "../../src/base/fd.h"
#include "unit.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static bool refused;

/* As where a container's filter does not know it. */
int close_range(unsigned first, unsigned last, int flags)
{
    if (!refused)
        return (int)syscall(SYS_close_range, first, last, flags);
    errno = EPERM;
    return -1;
}

enum { FIRST = 3, COUNT = 40 };

/* In a child: all that are open there have a number from FIRST on. */
static void open_all(void)
{
    int null = open("/dev/null", O_RDONLY);
    for (int fd = FIRST; fd < FIRST + COUNT; fd++)
        if (fd != null)
            dup2(null, fd);
}

static int in_child(int (*check)(void))
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        open_all();
        _exit(check());
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static bool is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

/* In no order, one twice, and one that is not there. The number of the first that is not as it
 * should be; 0: none. */
static int keep_some(void)
{
    static const int kept[] = {20, 4, -1, FIRST + COUNT - 1, 5, 20, 1};
    if (fd_keep_only(kept, sizeof kept / sizeof *kept) != 0)
        return 200;
    for (int fd = 0; fd < FIRST + COUNT + 5; fd++) {
        bool wanted = fd < FIRST || fd == 4 || fd == 5 || fd == 20 || fd == FIRST + COUNT - 1;
        if (is_open(fd) != wanted && fd >= FIRST)
            return fd;
    }
    return 0;
}

static int keep_none(void)
{
    if (fd_keep_only(NULL, 0) != 0)
        return 200;
    for (int fd = FIRST; fd < FIRST + COUNT; fd++)
        if (is_open(fd))
            return fd;
    return 0;
}

static int shut_from_the_fifth(void)
{
    if (fd_shut_at_exec(5) != 0)
        return 200;
    for (int fd = FIRST; fd < FIRST + COUNT; fd++)
        if ((fcntl(fd, F_GETFD) & FD_CLOEXEC) != (fd >= 5 ? FD_CLOEXEC : 0))
            return fd;
    return 0;
}

START_TEST(keeps_what_is_on_the_list)
{
    refused = _i;
    ck_assert_int_eq(in_child(keep_some), 0);
    ck_assert_int_eq(in_child(keep_none), 0);
}
END_TEST

START_TEST(shuts_the_others_at_exec)
{
    refused = _i;
    ck_assert_int_eq(in_child(shut_from_the_fifth), 0);
}
END_TEST

START_TEST(changes_how_one_blocks)
{
    int ends[2];
    ck_assert_int_eq(pipe(ends), 0);
    ck_assert(!fd_is_nonblocking(ends[0]));
    ck_assert_int_eq(fd_set_nonblocking(ends[0], true), 0);
    ck_assert(fd_is_nonblocking(ends[0]) && !fd_is_nonblocking(ends[1]));
    ck_assert_int_eq(fd_set_nonblocking(ends[0], false), 0);
    ck_assert(!fd_is_nonblocking(ends[0]));
    ck_assert_int_eq(fd_set_inherited(ends[0], false), 0);
    ck_assert_int_eq(fcntl(ends[0], F_GETFD), FD_CLOEXEC);
    ck_assert_int_eq(fd_set_inherited(ends[0], true), 0);
    ck_assert_int_eq(fcntl(ends[0], F_GETFD), 0);
    fd_cleanup(&ends[0]);
    ck_assert_int_eq(ends[0], -1);
    fd_cleanup(&ends[0]);
    ck_assert_int_eq(fd_set_nonblocking(-1, true), -EBADF);
    ck_assert_int_eq(fd_set_inherited(-1, true), -EBADF);
    ck_assert(!fd_is_nonblocking(-1));
    close(ends[1]);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("fd");
    tcase_add_loop_test(tests, keeps_what_is_on_the_list, 0, 2);
    tcase_add_loop_test(tests, shuts_the_others_at_exec, 0, 2);
    tcase_add_test(tests, changes_how_one_blocks);
    return unit_run("fd", tests);
}
