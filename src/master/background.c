#include "background.h"

#include "../base/procfs.h"

#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Whether a descriptor of a process is this socket: what stat(2) says of a link in /proc is what it
 * says of the descriptor. Another user's are not shown to us, unless we are root. */
static bool is_socket(pid_t pid, int fd, const struct stat *socket)
{
    char path[64];
    struct stat its;
    snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)pid, fd);
    return stat(path, &its) == 0 && its.st_dev == socket->st_dev && its.st_ino == socket->st_ino;
}

/* Parents change while they are followed, but always to one further up: so this ends. The bound is for
 * numbers that were given anew meanwhile. */
static bool descends_from(pid_t pid, pid_t master)
{
    struct procfs_stat stat;
    for (int i = 0; i < 64 && pid > 1; i++) {
        if (pid == master)
            return true;
        if (procfs_stat(pid, &stat) != 0)
            return true; /* it ended meanwhile: nobody's stray */
        pid = stat.parent;
    }
    return false;
}

static bool is_followed(pid_t pid, const struct groups *followed)
{
    struct procfs_stat stat;
    const struct group *group = procfs_stat(pid, &stat) == 0 ? followed->first : NULL;
    while (group && group->session != stat.session)
        group = group->next;
    return group;
}

/* Where numbers began anew in between, a younger one is missed; the next to end is another chance. */
pid_t background_find(pid_t master, pid_t after, int listener_fd, const struct groups *followed)
{
    struct stat socket;
    DIR *all = fstat(listener_fd, &socket) == 0 ? opendir("/proc") : NULL;
    pid_t found = 0;
    struct dirent *entry;
    while (all && !found && (entry = readdir(all))) {
        pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);
        if (pid > after && (is_socket(pid, 3, &socket) || is_socket(pid, 0, &socket)) &&
            !descends_from(pid, master) && !is_followed(pid, followed))
            found = pid;
    }
    if (all)
        closedir(all);
    return found;
}
