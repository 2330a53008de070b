/* Which descriptors stay open, with and without close_range(2), and which a message brings. */
#include "../../src/base/fd.h"
#include "unit.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* The kernel as it is; in a container whose filter refuses close_range(2); one that does not know
 * the call's flag, without /proc. */
enum kernel { NOW, REFUSES, NO_FLAG_NO_PROC, KERNELS };

static enum kernel kernel;

enum {
    LOAD = BPF_LD | BPF_W | BPF_ABS,
    EQUAL = BPF_JMP | BPF_JEQ | BPF_K,
    RETURN = BPF_RET | BPF_K
};

/* Called in a child. */
static void become_that_kernel(void)
{
    struct sock_filter refuses[] = {
        {LOAD, 0, 0, offsetof(struct seccomp_data, nr)},
        {EQUAL, 0, 1, SYS_close_range},
        {RETURN, 0, 0, SECCOMP_RET_ERRNO | EPERM},
        {RETURN, 0, 0, SECCOMP_RET_ALLOW},
    };
    struct sock_filter no_flag_no_proc[] = {
        {LOAD, 0, 0, offsetof(struct seccomp_data, nr)},
        {EQUAL, 0, 1, SYS_openat},
        {RETURN, 0, 0, SECCOMP_RET_ERRNO | ENOENT},
        {EQUAL, 0, 3, SYS_close_range},
        {LOAD, 0, 0, offsetof(struct seccomp_data, args[2])}, /* little-endian */
        {EQUAL, 1, 0, 0},
        {RETURN, 0, 0, SECCOMP_RET_ERRNO | EINVAL},
        {RETURN, 0, 0, SECCOMP_RET_ALLOW},
    };
    struct sock_fprog program = {sizeof refuses / sizeof *refuses, refuses};
    if (kernel == NO_FLAG_NO_PROC)
        program =
            (struct sock_fprog){sizeof no_flag_no_proc / sizeof *no_flag_no_proc, no_flag_no_proc};
    if (kernel != NOW && (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
                          prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0))
        _exit(201);
}

enum { FIRST = 3, COUNT = 40 };

/* Called in a child: opens descriptors from FIRST on. */
static void open_all(void)
{
    for (int fd = FIRST; fd < FIRST + COUNT; fd++)
        dup2(STDERR_FILENO, fd);
}

static int in_child(int (*check)(void))
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        open_all();
        become_that_kernel();
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

/* Unsorted, with a duplicate and one that is not open. Returns the first number in the wrong state,
 * or 0. */
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
    if (fd_shut_at_exec(5, -1) != 0)
        return 200;
    for (int fd = FIRST; fd < FIRST + COUNT; fd++)
        if (fd < 5 ? fcntl(fd, F_GETFD) != 0 : is_open(fd) && !(fcntl(fd, F_GETFD) & FD_CLOEXEC))
            return fd;
    return 0;
}

/* One descriptor must stay open until it is used; the others are closed at once, or by then. */
static int shut_but_for_one(void)
{
    for (int needed = 4; needed < 8; needed++) {
        open_all();
        fcntl(needed, F_SETFD, FD_CLOEXEC);
        if (fd_shut_at_exec(5, needed) != 0)
            return 200;
        for (int fd = FIRST; fd < FIRST + COUNT; fd++)
            if (fd < 5 || fd == needed ? !is_open(fd)
                                       : is_open(fd) && !(fcntl(fd, F_GETFD) & FD_CLOEXEC))
                return fd;
    }
    return 0;
}

START_TEST(keeps_what_is_on_the_list)
{
    kernel = _i;
    ck_assert_int_eq(in_child(keep_some), 0);
    ck_assert_int_eq(in_child(keep_none), 0);
}
END_TEST

START_TEST(shuts_the_others_at_exec)
{
    kernel = _i;
    ck_assert_int_eq(in_child(shut_from_the_fifth), 0);
    ck_assert_int_eq(in_child(shut_but_for_one), 0);
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

static int count_open(void)
{
    int count = 0;
    for (int fd = 0; fd < 1000; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

START_TEST(messages_carry_descriptors)
{
    int ends[2], sent[3], got[4];
    char text[8] = "";
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends), 0);
    for (int i = 0; i < 3; i++)
        sent[i] = memfd_create("sent", 0);
    ck_assert_int_eq(lseek(sent[1], 7, SEEK_SET), 7); /* to know it again */
    int before = count_open();
    ck_assert_int_eq(fd_send(ends[0], "three", 5, sent, 3), 0);
    ck_assert_int_eq(fd_receive(ends[1], text, sizeof text, got, 4), 5);
    ck_assert_str_eq(text, "three");
    ck_assert_int_eq(got[3], -1);
    ck_assert_int_eq(lseek(got[1], 0, SEEK_CUR), 7);
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(fcntl(got[i], F_GETFD), FD_CLOEXEC);
        fd_cleanup(&got[i]);
    }
    /* Fewer are wanted than were sent. */
    ck_assert_int_eq(fd_send(ends[0], "x", 1, sent, 3), 0);
    ck_assert_int_eq(fd_receive(ends[1], text, 1, got, 1), 1);
    ck_assert_int_eq(count_open(), before + 1);
    fd_cleanup(&got[0]);
    /* None was sent. */
    ck_assert_int_eq(fd_send(ends[0], "y", 1, NULL, 0), 0);
    ck_assert_int_eq(fd_receive(ends[1], text, 1, got, 2), 1);
    ck_assert_int_eq(got[0] + got[1], -2);
    ck_assert_int_eq(fd_receive(ends[1], text, 1, got, 2), -EAGAIN);
    close(ends[1]);
    ck_assert_int_eq(fd_send(ends[0], "z", 1, sent, 1), -EPIPE); /* and no signal */
    close(ends[0]);
    for (int i = 0; i < 3; i++)
        close(sent[i]);
}
END_TEST

START_TEST(foreign_messages_bring_no_descriptor)
{
    static const int on = 1;
    int ends[2], sent = memfd_create("sent", 0);
    char text[4];
    struct ucred sender;
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends), 0);
    int before = count_open();
    ck_assert_int_eq(fd_send(ends[0], "one", 3, &sent, 1), 0);
    ck_assert_int_eq(fd_receive_foreign(ends[1], text, sizeof text, NULL), 3);
    ck_assert_mem_eq(text, "one", 3);
    ck_assert_int_eq(setsockopt(ends[1], SOL_SOCKET, SO_PASSCRED, &on, sizeof on), 0);
    ck_assert_int_eq(fd_send(ends[0], "three", 5, &sent, 1), 0);
    ck_assert_int_eq(fd_receive_foreign(ends[1], text, sizeof text, &sender), 5);
    ck_assert_mem_eq(text, "thre", 4);
    ck_assert_int_eq(sender.pid, getpid());
    ck_assert_int_eq(count_open(), before);
    ck_assert_int_eq(fd_receive_foreign(ends[1], text, sizeof text, &sender), -EAGAIN);
    ck_assert_int_eq(sender.pid, 0);
    fd_close_foreign(ends[1]);
    ck_assert_int_eq(count_open(), before - 1);
    close(ends[0]);
    close(sent);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("fd");
    tcase_add_loop_test(tests, keeps_what_is_on_the_list, 0, KERNELS);
    tcase_add_loop_test(tests, shuts_the_others_at_exec, 0, KERNELS);
    tcase_add_test(tests, changes_how_one_blocks);
    tcase_add_test(tests, messages_carry_descriptors);
    tcase_add_test(tests, foreign_messages_bring_no_descriptor);
    return unit_run("fd", tests);
}
