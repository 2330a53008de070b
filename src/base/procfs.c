#include "procfs.h"

#include "units.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Reads the beginning of a file. The length, or -errno. */
static int read_path(const char *path, char *text, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    ssize_t n = read(fd, text, size - 1);
    int error = n < 0 ? -errno : 0;
    close(fd);
    text[n > 0 ? n : 0] = '\0';
    return error ? error : (int)n;
}

static int read_file(pid_t pid, const char *name, char *text, size_t size)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, name);
    return read_path(path, text, size);
}

const char *procfs_setting(const char *name, char *text, size_t size)
{
    char path[128];
    snprintf(path, sizeof path, "/proc/sys/%s", name);
    if (read_path(path, text, size) < 0)
        text[0] = '\0';
    text[strcspn(text, "\n")] = '\0';
    return text;
}

static usec from_ticks(unsigned long long ticks)
{
    static long a_second;
    if (!a_second)
        a_second = sysconf(_SC_CLK_TCK);
    return (usec)(ticks * (unsigned long long)USEC_SECOND / (unsigned long long)a_second);
}

/* The name stands in brackets, and may contain any character, even brackets. */
static const char *take_command(const char *text, char command[static PROCESS_COMMAND])
{
    const char *begin = strchr(text, '('), *end = strrchr(text, ')');
    if (!begin || !end || end < begin)
        return NULL;
    size_t length = (size_t)(end - begin - 1);
    if (length > PROCESS_COMMAND - 1)
        length = PROCESS_COMMAND - 1;
    memcpy(command, begin + 1, length);
    command[length] = '\0';
    return end + 1;
}

enum { PF_EXITING = 4 }; /* a flag of `stat`; include/linux/sched.h, which isn't for programs */

int procfs_stat(pid_t pid, struct procfs_stat *stat)
{
    char text[1024];
    struct procfs_stat found = {0};
    int parent, group, session, threads, length = read_file(pid, "stat", text, sizeof text);
    unsigned flags;
    unsigned long long user, system, children_user, children_system;
    if (length < 0)
        return length == -ENOENT ? -ESRCH : length;
    const char *rest = take_command(text, found.command);
    if (!rest ||
        sscanf(rest, " %c %d %d %d %*d %*d %u %*u %*u %*u %*u %llu %llu %llu %llu %*d %*d %d",
               &found.state, &parent, &group, &session, &flags, &user, &system, &children_user,
               &children_system, &threads) != 10)
        return -EBADMSG;
    found.exiting = flags & PF_EXITING;
    found.parent = parent;
    found.group = group;
    found.session = session;
    found.threads = threads;
    found.user = from_ticks(user);
    found.system = from_ticks(system);
    found.children_user = from_ticks(children_user);
    found.children_system = from_ticks(children_system);
    *stat = found;
    return 0;
}

bool procfs_exits(pid_t pid)
{
    struct procfs_stat stat;
    return procfs_stat(pid, &stat) == 0 && stat.exiting;
}

/* statm and schedstat both begin with three numbers. */
static int read_three(pid_t pid, const char *file, unsigned long long numbers[static 3])
{
    char text[128];
    int length = read_file(pid, file, text, sizeof text);
    if (length < 0)
        return length;
    return sscanf(text, "%llu %llu %llu", &numbers[0], &numbers[1], &numbers[2]) == 3 ? 0
                                                                                      : -EBADMSG;
}

int procfs_memory(pid_t pid, int64_t *bytes)
{
    unsigned long long pages[3]; /* all, resident, shared: proc(5), statm */
    int error = read_three(pid, "statm", pages);
    if (error == 0)
        *bytes = (int64_t)(pages[1] > pages[2] ? pages[1] - pages[2] : 0) * sysconf(_SC_PAGESIZE);
    return error;
}

int procfs_schedule(pid_t pid, usec *running, usec *waiting)
{
    unsigned long long
        times[3]; /* ns on a processor, ns waiting for one, turns: proc(5), schedstat */
    int error = read_three(pid, "schedstat", times);
    if (error)
        return error;
    *running = (usec)(times[0] / 1000);
    *waiting = (usec)(times[1] / 1000);
    return 0;
}

int procfs_channel(pid_t pid, char *text, size_t size)
{
    int length = read_file(pid, "wchan", text, size);
    if (length < 0)
        return length;
    if (strcmp(text, "0") == 0)
        text[0] = '\0';
    return 0;
}

/* The file says "running", or the number and then the registers; -1 if the process is in the kernel
 * for another reason. */
int procfs_call(pid_t pid, int *number)
{
    char text[256], *end;
    int length = read_file(pid, "syscall", text, sizeof text);
    if (length < 0)
        return length;
    long found = strtol(text, &end, 10);
    *number = end == text || found < 0 ? -1 : (int)found;
    return 0;
}

const char *procfs_call_name(int number)
{
    static const char *const names[] = {
#include "calls.h"
    };
    return number >= 0 && number < (int)(sizeof names / sizeof *names) ? names[number] : NULL;
}

int procfs_children(pid_t pid, pid_t *list, int most)
{
    char name[48], text[2048], *at = text, *end;
    int count = 0;
    snprintf(name, sizeof name, "task/%d/children", (int)pid);
    int length = read_file(pid, name, text, sizeof text);
    if (length < 0)
        return length;
    for (; count < most; at = end) {
        long child = strtol(at, &end, 10);
        if (end == at || *end != ' ') /* the last one may be cut off */
            break;
        list[count++] = (pid_t)child;
    }
    return count;
}

pid_t procfs_next(DIR *all)
{
    const struct dirent *entry;
    uint64_t pid;
    while ((entry = readdir(all)))
        if (digits_read(entry->d_name, INT_MAX, &pid))
            return (pid_t)pid;
    return 0;
}

static int shortage(int error)
{
    return error == -EMFILE || error == -ENFILE || error == -ENOMEM ? error : 0;
}

/* 1, 0 or -errno. A zombie has ended, unless only its first thread has. */
static int is_in(pid_t pid, pid_t group, struct procfs_stat *stat)
{
    int error = procfs_stat(pid, stat);
    if (error)
        return shortage(error);
    return stat->group == group &&
           ((stat->state != 'Z' && stat->state != 'X') || stat->threads > 1);
}

pid_t procfs_find_in_group(pid_t group, struct procfs_stat *stat)
{
    pid_t pid = group;
    int found = is_in(group, group, stat); /* most often the leader lives */
    DIR *folder = found ? NULL : opendir("/proc");
    if (!found && !folder)
        return shortage(-errno);
    while (!found && (pid = procfs_next(folder)))
        found = is_in(pid, group, stat);
    if (folder)
        closedir(folder);
    return found > 0 ? pid : found;
}
