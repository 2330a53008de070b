/*
 * procfs - what /proc tells of a process, and of the system's settings.
 *
 * Nothing here waits for the process that is asked about. cmdline, environ, maps and smaps do: they
 * take the lock of its memory, which a process that hangs in the kernel may hold for as long as it
 * hangs. So a process is known by its name of 15 characters in `stat`, and its memory by `statm`.
 */
#ifndef PREFORKD_BASE_PROCFS_H
#define PREFORKD_BASE_PROCFS_H

#include "clock.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { PROCESS_COMMAND = 16 };

struct procfs_stat {
    char command[PROCESS_COMMAND];
    char state; /* a letter, as in proc(5) */
    pid_t parent, group, session;
    int threads;
    usec user, system; /* its processor time, */
    usec children_user,
        children_system; /* and that of those it has waited for; in ticks of 10 ms */
};

/* The first line of a setting, a file below /proc/sys; empty if it can't be read. Returns it. */
const char *procfs_setting(const char *name, char *text, size_t size);

/* 0, or -errno: outputs are untouched then. -ESRCH: there is none, or it can't be seen. */
int procfs_stat(pid_t pid, struct procfs_stat *stat);

/* Its pages in memory that are no file's and not shared by intention, in bytes. What it has from
 * its parent, unchanged, counts here, though both share it: only smaps knows that. */
int procfs_memory(pid_t pid, int64_t *bytes);

/* Its first thread's time on a processor, and ready for one: exact. */
int procfs_schedule(pid_t pid, usec *running, usec *waiting);

/* Where in the kernel it sleeps: a function's name; empty if it doesn't. -EACCES: not shown to
 * us. */
int procfs_channel(pid_t pid, char *text, size_t size);

/* The number of the system call that it is in; -1 if it is in none. -EACCES: not shown to us. */
int procfs_call(pid_t pid, int *number);

/* The name of a system call; NULL if we know none. */
const char *procfs_call_name(int number);

/* Its children, `most` at most: how many, or -errno: -ENOENT if the kernel keeps no such list. */
int procfs_children(pid_t pid, pid_t *list, int most);

/* A living member of a process group, with what is known of it; 0: there is none, or none that is
 * shown to us. Looks at every process, if the group's leader is gone. */
pid_t procfs_find_in_group(pid_t group, struct procfs_stat *stat);

#endif
