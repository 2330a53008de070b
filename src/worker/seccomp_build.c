/*
 * seccomp_build MACHINE - prints the lists of system calls for privileges.c, as BPF programs made
 * by libseccomp for the target machine. Runs while preforkd is built.
 *
 * The kernel can pass a call by its number alone only if the list doesn't check the call's
 * arguments. So the list checks none of the calls that serving a connection takes.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <seccomp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

/* The calls that serving takes: wait; accept, read, write and close connections; log, even to a
 * restarted syslog daemon, by stdio, which examines its file, and by kernel_write_now; handle the
 * signal to stop; allocate; read the clock, if the kernel needs a call for that; print a failed
 * assertion. Besides, the names of these calls on 32-bit machines. */
static const char serve[] =
    "accept4 recv recvfrom send sendto shutdown close "
    "read epoll_wait epoll_pwait epoll_ctl poll ppoll ppoll_time64 getsockopt setsockopt fcntl "
    "fcntl64 dup3 "
    "connect write writev pwritev2 "
    "fstat fstat64 newfstatat fstatat64 statx lseek _llseek getpid gettid "
    "rt_sigreturn sigreturn rt_sigprocmask rt_sigtimedwait rt_sigtimedwait_time64 restart_syscall "
    "exit exit_group sysinfo "
    "brk munmap mremap madvise futex futex_time64 timer_settime timer_settime64 clock_gettime "
    "clock_gettime64 gettimeofday time";

/* The further calls that reports take: for queues by sock_diag(7), for processes in /proc, for
 * libmicrohttpd. */
static const char report[] = "bind recvmsg sendmsg sendfile sendfile64 getsockname getpeername "
                             "epoll_create1 eventfd2 getrandom";

static void die(const char *what, int error)
{
    fprintf(stderr, "seccomp_build: %s: %s\n", what, strerror(error));
    exit(1);
}

/* Skips a call that the machine doesn't have. */
static void allow(scmp_filter_ctx filter, const char *name, unsigned count,
                  const struct scmp_arg_cmp *arguments)
{
    int number = seccomp_syscall_resolve_name(name);
    int error = number == __NR_SCMP_ERROR
                    ? 0
                    : seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, number, count, arguments);
    if (error && error != -EDOM)
        die(name, -error);
}

static void allow_all(scmp_filter_ctx filter, const char *names)
{
    char *copy = strdup(names);
    for (char *name = copy ? strtok(copy, " ") : NULL; name; name = strtok(NULL, " "))
        allow(filter, name, 0, NULL);
    free(copy);
}

static void allow_if(scmp_filter_ctx filter, const char *name, struct scmp_arg_cmp argument)
{
    allow(filter, name, 1, &argument);
}

/* Allows sockets only to the log; ioctl() only to ask whether a file is a terminal; memory that
 * isn't executable; signals only to abort, or to wake a thread. A report may open files to read. */
static void allow_restricted(scmp_filter_ctx filter, bool reports)
{
    const scmp_datum_t writing = O_ACCMODE | O_CREAT | O_TRUNC;
    allow_if(filter, "socket", SCMP_A0_64(SCMP_CMP_EQ, AF_UNIX, 0));
    allow_if(filter, "ioctl", SCMP_A1_64(SCMP_CMP_EQ, TCGETS, 0));
    allow_if(filter, "mmap", SCMP_A2_64(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
    allow_if(filter, "mmap2", SCMP_A2_64(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
    allow_if(filter, "mprotect", SCMP_A2_64(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
    allow_if(filter, "tgkill", SCMP_A2_64(SCMP_CMP_EQ, SIGABRT, 0));
    allow_if(filter, "tgkill", SCMP_A2_64(SCMP_CMP_EQ, SIGURG, 0));
    allow_if(filter, "tkill", SCMP_A1_64(SCMP_CMP_EQ, SIGABRT, 0)); /* musl's raise() */
    allow_if(filter, "tkill", SCMP_A1_64(SCMP_CMP_EQ, SIGURG, 0));  /* and pthread_kill() */
    if (!reports)
        return;
    allow_if(filter, "socket", SCMP_A0_64(SCMP_CMP_EQ, AF_NETLINK, 0));
    allow_if(filter, "openat", SCMP_A2_64(SCMP_CMP_MASKED_EQ, writing, O_RDONLY));
    allow_if(filter, "open", SCMP_A1_64(SCMP_CMP_MASKED_EQ, writing, O_RDONLY));
}

static void print(scmp_filter_ctx filter, const char *name)
{
    struct sock_filter program[BPF_MAXINSNS];
    FILE *file = tmpfile();
    int error = file ? seccomp_export_bpf(filter, fileno(file)) : -errno;
    if (error)
        die("can't write a list", -error);
    rewind(file);
    size_t count = fread(program, sizeof *program, BPF_MAXINSNS, file);
    fclose(file);
    printf("static const struct sock_filter %s[] = {\n", name);
    for (size_t i = 0; i < count; i++)
        printf("    {0x%02x, %u, %u, 0x%08x},\n", program[i].code, program[i].jt, program[i].jf,
               program[i].k);
    printf("};\n");
}

static void make(const char *machine, const char *name, bool reports)
{
    uint32_t arch = seccomp_arch_resolve_name(machine);
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
    if (!filter || !arch)
        die(machine, arch ? ENOMEM : EAFNOSUPPORT);
    if (arch != seccomp_arch_native()) {
        int error = seccomp_arch_add(filter, arch);
        error = error ? error : seccomp_arch_remove(filter, seccomp_arch_native());
        if (error)
            die(machine, -error);
    }
    seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2); /* a binary tree, not a list */
    allow_all(filter, serve);
    if (reports)
        allow_all(filter, report);
    allow_restricted(filter, reports);
    print(filter, name);
    seccomp_release(filter);
}

int main(int argc, char **argv)
{
    if (argc != 2)
        die("MACHINE", EINVAL);
    make(argv[1], "serve_list", false);
    make(argv[1], "report_list", true);
    return ferror(stdout) || fflush(stdout) != 0;
}
