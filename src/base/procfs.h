/*
 * procfs - what /proc says about a process, and about the system's settings.
 *
 * No function here waits for the process that it reads. cmdline, environ, maps and smaps would:
 * they take the lock of the process's memory, and a process that hangs in the kernel may hold that
 * lock while it hangs. So the name comes from `stat`, cut to 15 characters, and the memory from
 * `statm`.
 */
#ifndef PREFORKD_BASE_PROCFS_H
#define PREFORKD_BASE_PROCFS_H

#include "clock.h"

#include <dirent.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { PROCESS_COMMAND = 16 };

struct procfs_stat {
    char command[PROCESS_COMMAND];
    char state;   /* a letter, as in proc(5) */
    bool exiting; /* its first thread exits; the kernel closes its descriptors after this begins */
    pid_t parent, group, session;
    int threads;
    usec user, system;                   /* its processor time, in ticks of 10 ms */
    usec children_user, children_system; /* the same of the children that it has waited for */
};

/* Reads the first line of a setting, a file below /proc/sys; "" if it can't be read. Returns
 * `text`. */
const char *procfs_setting(const char *name, char *text, size_t size);

/* 0, or -errno with *stat untouched. -ESRCH: there is no such process, or it is hidden from us. */
int procfs_stat(pid_t pid, struct procfs_stat *stat);

/* Whether the process exits, or has exited and is not reaped yet: the kernel closes its descriptors
 * some time before it counts as ended. False also if that can't be read, as in a chroot without
 * /proc. */
bool procfs_exits(pid_t pid);

/* The process's resident memory in bytes, without file pages and shared mappings. Pages inherited
 * from its parent and not yet written count, although both share them: only smaps could tell. */
int procfs_memory(pid_t pid, int64_t *bytes);

/* The exact time that its first thread has run, and has waited for a processor. */
int procfs_schedule(pid_t pid, usec *running, usec *waiting);

/* The kernel function in which the process sleeps; empty if awake. -EACCES: hidden from us. */
int procfs_channel(pid_t pid, char *text, size_t size);

/* The number of the system call that the process is in; -1: none. -EACCES: hidden from us. */
int procfs_call(pid_t pid, int *number);

/* The name of a system call; NULL if the number is unknown. */
const char *procfs_call_name(int number);

/* Lists at most `most` of its children. Their number, or -errno: -ENOENT if the kernel has no such
 * list. */
int procfs_children(pid_t pid, pid_t *list, int most);

/* The next process of an open /proc; 0: there is no more. */
pid_t procfs_next(DIR *all);

/* Finds a living member of a process group and its stat; 0: there is none, or it is hidden from us;
 * -errno: we are short of descriptors or memory. Looks at every process if the group's leader is
 * gone. */
pid_t procfs_find_in_group(pid_t group, struct procfs_stat *stat);

#endif
