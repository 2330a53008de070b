/*
 * seccomp_build - runs while preforkd is built: makes the lists of privileges.c by libseccomp, as
 * programs for the kernel, for the machine that is compiled for: seccomp_build MACHINE.
 *
 * A call whose arguments are looked at is one that the kernel can't let pass by its number alone.
 * So none of those that a connection takes is.
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

/* What serving takes: to wait, to take a connection, its bytes, its end; to write a line of the
 * log, to a syslog daemon that was started again too, and by stdio, which asks what it writes to;
 * to be told to stop; memory; the time, where the kernel tells it by a call; an assertion's last
 * words. Beside them the names that machines of 32 bits have. */
static const char serve[] =
    "accept4 recv recvfrom send sendto shutdown close "
    "read epoll_wait epoll_pwait epoll_ctl poll ppoll ppoll_time64 getsockopt setsockopt fcntl "
    "fcntl64 dup3 "
    "connect write writev fstat fstat64 newfstatat fstatat64 statx lseek _llseek getpid gettid "
    "rt_sigreturn sigreturn rt_sigprocmask rt_sigtimedwait rt_sigtimedwait_time64 restart_syscall "
    "exit exit_group sysinfo "
    "brk munmap mremap madvise futex futex_time64 timer_settime timer_settime64 clock_gettime "
    "clock_gettime64 gettimeofday time";

/* What a report takes besides: to ask the kernel for queues, /proc for processes, libmicrohttpd for
 * HTTP. */
static const char report[] = "bind recvmsg sendmsg sendfile sendfile64 getsockname getpeername "
                             "epoll_create1 eventfd2 getrandom";

static void die(const char *what, int error)
{
    fprintf(stderr, "seccomp_build: %s: %s\n", what, strerror(error));
    exit(1);
}

/* A name that this machine doesn't have is let pass. */
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

/* Sockets to the log alone; a question whether that is a terminal; memory that isn't executable; a
 * signal to end by an assertion, or to wake a thread. Files to read alone. */
static void allow_some(scmp_filter_ctx filter, bool reports)
{
    const scmp_datum_t writing = O_ACCMODE | O_CREAT | O_TRUNC;
    allow_if(filter, "socket", SCMP_A0_64(SCMP_CMP_EQ, AF_UNIX, 0));
    allow_if(filter, "ioctl", SCMP_A1_64(SCMP_CMP_EQ, TCGETS, 0));
    allow_if(filter, "mmap", SCMP_A2_64(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
    allow_if(filter, "mmap2", SCMP_A2_64(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
    allow_if(filter, "mprotect", SCMP_A2_64(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
    allow_if(filter, "tgkill", SCMP_A2_64(SCMP_CMP_EQ, SIGABRT, 0));
    allow_if(filter, "tgkill", SCMP_A2_64(SCMP_CMP_EQ, SIGURG, 0));
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
    seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2); /* a tree: each call is found soon */
    allow_all(filter, serve);
    if (reports)
        allow_all(filter, report);
    allow_some(filter, reports);
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
