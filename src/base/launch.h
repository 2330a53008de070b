/*
 * launch - starts a program by vfork, as fast as the kernel can, and safely. Runs in a worker.
 *
 * The child shares our memory until it executes (clone(2), CLONE_VM | CLONE_VFORK), with its own
 * stack and every signal blocked. So no page table is copied, and no signal handler of ours runs in
 * the child.
 */
#ifndef PREFORKD_BASE_LAUNCH_H
#define PREFORKD_BASE_LAUNCH_H

#include <stdatomic.h>
#include <sys/types.h>

struct launch {
    const char *path;       /* absolute, or relative to `directory` */
    int program;            /* if not 0: a descriptor of the file to run, whatever `path` leads to
                               by now. A script is still run by `path`, because its interpreter
                               needs a name */
    char *const *arguments; /* argv, ended by NULL */
    char *const *environment;
    int directory;     /* the program's working directory; -1: ours */
    int input, output; /* become descriptors 0 and 1 */
    int error;         /* becomes 2; -1: the program gets ours, with O_NONBLOCK cleared. Nothing
                          else is passed on. None of the three is below 3. */
    /* The kernel writes the program's process group here before the program runs, so that a reader
     * can end everything that the program starts. The program leads the group. `group` is for the
     * caller; `shown`, or NULL, is for the master. The caller resets both to 0. */
    _Atomic(pid_t) *group, *shown;
    pid_t caller; /* getpid(), if the caller knows it; otherwise 0 */
};

/* Returns the program's pid, or -errno if it can't be started: then nothing runs. The program gets
 * default signal dispositions and an empty mask, and dies with its caller (PR_SET_PDEATHSIG). For
 * the dispositions, the caller must ignore no signal, and catch only TERM, QUIT, and signals whose
 * handlers may run in the child, in the caller's memory, like the worker's URG. */
pid_t launch_program(const struct launch *launch);

static inline void launch_forget(const struct launch *launch)
{
    *launch->group = 0;
    if (launch->shown)
        *launch->shown = 0;
}

#endif
