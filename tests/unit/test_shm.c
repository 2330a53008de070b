#include "../../src/base/fd.h"
#include "unit.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SIZE = 8192, NOBODY = 65534 };

static int fd;
static char *memory;

static void set_up(void)
{
    fd = shm_create("test", SIZE);
    ck_assert_int_ge(fd, 0);
    memory = shm_map(fd, SIZE, true);
    ck_assert_ptr_nonnull(memory);
}

static void tear_down(void)
{
    munmap(memory, SIZE);
    close(fd);
}

START_TEST(its_size_stays)
{
    ck_assert_int_eq(ftruncate(fd, SIZE - 4096), -1);
    ck_assert_int_eq(errno, EPERM);
    ck_assert_int_eq(ftruncate(fd, SIZE + 4096), -1);
    ck_assert_int_eq(errno, EPERM);
    ck_assert_int_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
}
END_TEST

/* Of the wrong size, or without the seal against shrinking. */
START_TEST(what_it_is_not)
{
    ck_assert_ptr_null(shm_map(fd, SIZE + 1, false));
    ck_assert_int_eq(errno, EPROTO);
    int other = memfd_create("x", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    ck_assert_int_eq(ftruncate(other, SIZE), 0);
    ck_assert_ptr_null(shm_map(other, SIZE, false));
    ck_assert_int_eq(errno, EPROTO);
    close(other);
    other = open("/tmp", O_RDWR | O_TMPFILE | O_CLOEXEC, 0600); /* it can't be sealed */
    ck_assert_int_ge(other, 0);
    ck_assert_int_eq(ftruncate(other, SIZE), 0);
    ck_assert_ptr_null(shm_map(other, SIZE, false));
    ck_assert_int_eq(errno, EPROTO);
    close(other);
    ck_assert_ptr_null(shm_map(-1, SIZE, false));
    ck_assert_int_eq(errno, EBADF);
}
END_TEST

START_TEST(a_reader_reads_alone)
{
    int reader = shm_reader(fd);
    ck_assert_int_ge(reader, 0);
    memory[7] = 'x';
    ck_assert_ptr_null(shm_map(reader, SIZE, true));
    ck_assert_int_eq(errno, EACCES);
    char *read = shm_map(reader, SIZE, false);
    ck_assert_ptr_nonnull(read);
    ck_assert_int_eq(read[7], 'x');
    ck_assert_int_eq(mprotect(read, SIZE, PROT_READ | PROT_WRITE), -1);
    ck_assert_int_eq(pwrite(reader, "y", 1, 7), -1);
    munmap(read, SIZE);
    close(reader);
}
END_TEST

/* After sealing no new writable mapping is possible; the first one stays. */
START_TEST(sealed)
{
    ck_assert_int_eq(shm_seal(fd), 0);
    ck_assert_ptr_null(shm_map(fd, SIZE, true));
    ck_assert_int_eq(errno, EPERM);
    ck_assert_int_eq(pwrite(fd, "y", 1, 0), -1);
    ck_assert_int_eq(shm_seal(fd), -EPERM);
    memory[0] = 'z';
    const char *read = shm_map(fd, SIZE, false);
    ck_assert_ptr_nonnull(read);
    ck_assert_int_eq(read[0], 'z');
    munmap((void *)read, SIZE);
}
END_TEST

START_TEST(a_child_has_no_mapping)
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        signal(SIGSEGV, SIG_DFL);
        memory[0] = 1;
        _exit(0);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
}
END_TEST

/* Another user with the reader's descriptor can't reopen it for writing. */
START_TEST(nobody_opens_it_anew)
{
    int status, reader = shm_reader(fd);
    char path[40];
    if (geteuid() != 0) {
        close(reader);
        return;
    }
    snprintf(path, sizeof path, "/proc/self/fd/%d", reader);
    pid_t pid = fork();
    if (pid == 0) {
        if (setresgid(NOBODY, NOBODY, NOBODY) != 0 || setresuid(NOBODY, NOBODY, NOBODY) != 0)
            _exit(2);
        _exit(open(path, O_RDWR) < 0 && errno == EACCES ? 0 : 1);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
    close(reader);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("memory");
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_test(tests, its_size_stays);
    tcase_add_test(tests, what_it_is_not);
    tcase_add_test(tests, a_reader_reads_alone);
    tcase_add_test(tests, sealed);
    tcase_add_test(tests, a_child_has_no_mapping);
    tcase_add_test(tests, nobody_opens_it_anew);
    return unit_run("memory", tests);
}
