/*
 * older - runs a program as on an older kernel, or under a container's filter of system calls.
 *
 *     older [NAME=ERROR ...] PROGRAM [ARGUMENT ...]
 *
 * Each NAME fails with ERROR for the program and all that it starts: ENOSYS, EPERM or EINVAL.
 * EINVAL is for calls that later got a flag: they fail if the flag is given.
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    LOAD = BPF_LD | BPF_W | BPF_ABS,
    EQUAL = BPF_JMP | BPF_JEQ | BPF_K,
    AND = BPF_ALU | BPF_AND | BPF_K
};

struct call {
    const char *name;
    int number;
    int argument; /* the argument with the later flag */
    unsigned flag, mask;
};

/* Calls of src/ or the C library, with the kernel that introduced them. */
static const struct call calls[] = {
    {"pidfd_open", SYS_pidfd_open, 0, 0, 0},             /* 5.3 */
    {"clone3", SYS_clone3, 0, 0, 0},                     /* 5.3 */
    {"openat2", SYS_openat2, 0, 0, 0},                   /* 5.6 */
    {"faccessat2", SYS_faccessat2, 0, 0, 0},             /* 5.8 */
    {"close_range", SYS_close_range, 2, 1 << 2, 1 << 2}, /* 5.9; CLOSE_RANGE_CLOEXEC: 5.11 */
    {"epoll_pwait2", 441, 0, 0, 0},                      /* 5.11 */
    {"futex_waitv", 449, 0, 0, 0},                       /* 5.16 */
    {"fchmodat2", 452, 0, 0, 0},                         /* 6.6 */
    {"statx", SYS_statx, 0, 0, 0},                       /* 4.11 */
    {"rseq", SYS_rseq, 0, 0, 0},                         /* 4.18 */
    {"preadv2", SYS_preadv2, 0, 0, 0},                   /* 4.6; of an eventfd, RWF_NOWAIT: 5.8 */
    {"execveat", SYS_execveat, 0, 0, 0},                 /* 3.19 */
    {"memfd_create", SYS_memfd_create, 1, 0x18, 0x18},   /* MFD_EXEC, MFD_NOEXEC_SEAL: 6.3 */
    {"madvise", SYS_madvise, 2, 102, ~0u},               /* MADV_GUARD_INSTALL: 6.13 */
};

static const struct {
    const char *name;
    int number;
} errors[] = {{"ENOSYS", ENOSYS}, {"EPERM", EPERM}, {"EINVAL", EINVAL}};

static struct sock_filter filter[BPF_MAXINSNS];
static unsigned short length;

static void add(unsigned short code, unsigned char if_equal, unsigned char if_not, unsigned value)
{
    if (length == BPF_MAXINSNS)
        exit(2);
    filter[length++] = (struct sock_filter){code, if_equal, if_not, value};
}

/* The number of the call is loaded before this and after it. */
static void fail(const struct call *call, int error)
{
    unsigned answer = SECCOMP_RET_ERRNO | (unsigned)error;
    if (error != EINVAL) {
        add(EQUAL, 0, 1, (unsigned)call->number);
        add(BPF_RET | BPF_K, 0, 0, answer);
        return;
    }
    add(EQUAL, 0, 5, (unsigned)call->number);
    add(LOAD, 0, 0,
        (unsigned)(offsetof(struct seccomp_data, args[0]) + 8 * (size_t)call->argument));
    add(AND, 0, 0, call->mask);
    add(EQUAL, 0, 1, call->flag);
    add(BPF_RET | BPF_K, 0, 0, answer);
    add(BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW);
}

static int find(const char *text, int *error)
{
    const char *equals = strchr(text, '=');
    if (!equals)
        return -1;
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
        if (strcmp(errors[i].name, equals + 1) == 0)
            *error = errors[i].number;
    for (int i = 0; i < (int)(sizeof calls / sizeof *calls); i++)
        if (strncmp(calls[i].name, text, (size_t)(equals - text)) == 0 &&
            calls[i].name[equals - text] == '\0')
            return i;
    return -1;
}

int main(int argc, char **argv)
{
    int at = 1;
    add(LOAD, 0, 0, offsetof(struct seccomp_data, nr));
    for (; at < argc && strchr(argv[at], '='); at++) {
        int error = 0, call = find(argv[at], &error);
        if (call < 0 || !error || (error == EINVAL && !calls[call].mask)) {
            fprintf(stderr, "older: %s is no call of the table, or no error of it\n", argv[at]);
            return 2;
        }
        fail(&calls[call], error);
    }
    add(BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW);
    struct sock_fprog program = {.len = length, .filter = filter};
    if (geteuid() != 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return 2;
    if (at >= argc || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) {
        fprintf(stderr, "older: usage, or no filter: %s\n", strerror(errno));
        return 2;
    }
    execvp(argv[at], argv + at);
    fprintf(stderr, "older: %s: %s\n", argv[at], strerror(errno));
    return 127;
}
