/*
 * launch - start a program by vfork: as fast as the kernel can, and safely. In a worker.
 *
 * The child shares our memory until it executes (clone(2), CLONE_VM | CLONE_VFORK), on a stack of
 * its own, with every signal blocked: so no page table is copied, and no handler of ours runs in
 * it.
 */
#ifndef PREFORKD_BASE_LAUNCH_H
#define PREFORKD_BASE_LAUNCH_H

#include <stdatomic.h>
#include <sys/types.h>

struct launch {
    const char *path;       /* absolute, or relative to `directory` */
    int program;            /* if it is not 0: a descriptor of what to run instead of what now
                               has this path; of a script, `path` is run all the same, since its
                               interpreter needs a name */
    char *const *arguments; /* argv, ended by NULL */
    char *const *environment;
    int directory;     /* the program's working directory; -1: ours */
    int input, output; /* become descriptors 0 and 1, */
    int error;         /* and 2; -1: it stays ours, which begins without O_NONBLOCK. Nothing else
                          is handed on. None is below 3. */
    /* Where the kernel writes the program's process group, which it leads, before it runs: so that
     * a reader can end all that the program started. The first is the caller's own; the second, or
     * NULL, is the master's. The caller writes zero again. */
    _Atomic(pid_t) *group, *shown;
    pid_t caller; /* getpid(), if the caller knows it; 0: not yet */
};

/* The program's pid; or -errno if it can't be started: nothing runs then. It gets default signal
 * dispositions, an empty mask, and dies with its caller (PR_SET_PDEATHSIG). For the dispositions
 * the caller must do its part: ignore no signal, and catch none but TERM and QUIT, and such as may
 * run in the child, in the caller's memory, as the worker's URG does. */
pid_t launch_program(const struct launch *launch);

static inline void launch_forget(const struct launch *launch)
{
    *launch->group = 0;
    if (launch->shown)
        *launch->shown = 0;
}

#endif
