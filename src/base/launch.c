#include "launch.h"

#include "fd.h"
#include "kernel.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdalign.h>
#include <stdbool.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* Shared with the child, which runs in the same memory. */
struct start {
    const struct launch *launch;
    pid_t parent;
    int error; /* errno, if the child could not execute */
};

/* The child only makes system calls, and the kernel has its own stack for execve. */
static alignas(16) char child_stack[32 * 1024];

/* If the program gets our standard error, earlier programs had it too, and may have set O_NONBLOCK,
 * which would lose lines. So clear the flags. */
static bool take_place(const struct launch *launch)
{
    return dup2(launch->input, STDIN_FILENO) >= 0 && dup2(launch->output, STDOUT_FILENO) >= 0 &&
           (launch->error < 0 ? fcntl(STDERR_FILENO, F_SETFL, 0) == 0
                              : dup2(launch->error, STDERR_FILENO) >= 0) &&
           (launch->directory < 0 || fchdir(launch->directory) == 0);
}

/* A script can't be executed by a descriptor that closes at exec: it fails by ENOENT
 * (execveat(2)). */
static void execute(const struct launch *launch)
{
    if (launch->program > 0) {
        kernel_execute(launch->program, launch->arguments, launch->environment);
        if (errno != ENOENT)
            return;
    }
    execve(launch->path, launch->arguments, launch->environment);
}

/* If the parent died before PR_SET_PDEATHSIG, no death signal comes, but getppid() has changed. */
static int child_main(void *argument)
{
    static const struct sigaction fallback = {.sa_handler = SIG_DFL};
    struct start *start = argument;
    const struct launch *launch = start->launch;
    sigset_t none;
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != start->parent)
        _exit(127);
    if (!take_place(launch)) {
        start->error = errno;
        _exit(127);
    }
    start->error = -fd_shut_at_exec(STDERR_FILENO + 1, launch->program > 0 ? launch->program : -1);
    if (start->error)
        _exit(127);
    /* Exec resets handlers, but until then they would run in the shared memory. Reset only the two
     * that do harm there, because each costs a system call. */
    sigaction(SIGTERM, &fallback, NULL);
    sigaction(SIGQUIT, &fallback, NULL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    execute(launch);
    start->error = errno;
    _exit(127);
}

pid_t launch_program(const struct launch *launch)
{
    struct start start = {.launch = launch, .parent = launch->caller ? launch->caller : getpid()};
    sigset_t all, before;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &before);
    int flags = CLONE_VM | CLONE_VFORK | CLONE_PARENT_SETTID | SIGCHLD;
    if (launch->shown)
        flags |= CLONE_CHILD_SETTID; /* in the child's memory, which is ours */
    pid_t pid = clone(child_main, child_stack + sizeof child_stack, flags, &start, launch->group,
                      NULL, launch->shown);
    int error = pid < 0 ? errno : start.error;
    sigprocmask(SIG_SETMASK, &before, NULL);
    if (error == 0)
        return pid;
    launch_forget(launch);
    if (pid > 0)
        waitpid(pid, NULL, 0);
    return -error;
}
