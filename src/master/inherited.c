#include "inherited.h"

#include "../base/fd.h"
#include "../base/log.h"
#include "../base/procfs.h"
#include "../base/sysd.h"

#include <dirent.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static bool is_file(int fd, const char *path)
{
    struct stat open_file, file;
    return path && fstat(fd, &open_file) == 0 && stat(path, &file) == 0 &&
           S_ISREG(open_file.st_mode) && open_file.st_dev == file.st_dev &&
           open_file.st_ino == file.st_ino;
}

static bool is_logs(int fd)
{
    int fds[2];
    int count = log_descriptors(fds);
    for (int i = 0; i < count; i++)
        if (fds[i] == fd)
            return true;
    return false;
}

/* Whether its path leads to it still, nobody can tell us: so the path is left alone. */
static struct listener *take_listener(int fd)
{
    char why[100];
    int only_v6 = 1;
    socklen_t length = sizeof only_v6;
    getsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only_v6, &length); /* fails on all others */
    struct listener_facts facts = {.origin = LISTENER_BOUND, .any_family = !only_v6};
    struct listener *listener = listener_revive(fd, &facts, why, sizeof why);
    if (!listener)
        return NULL;
    listener->asked = listener->bound;
    return listener;
}

/* Those stay where they are: their names are known. */
static bool is_systemds(int fd)
{
    for (int i = 0; i < sysd_socket_count(); i++)
        if (sysd_socket(i)->fd == fd)
            return true;
    return false;
}

static void take_one(struct inherited *inherited, int fd, const char *pidfile)
{
    if (is_systemds(fd))
        return;
    struct listener *listener = take_listener(fd);
    fd_set_inherited(fd, false);
    if (listener) {
        listener->next = inherited->listeners;
        inherited->listeners = listener;
    } else if (inherited->pidfile_fd < 0 && is_file(fd, pidfile)) {
        inherited->pidfile_fd = fd;
    } else if (!is_logs(fd)) {
        close(fd);
    }
}

void inherited_take(struct inherited *inherited, const char *pidfile)
{
    *inherited = (struct inherited){.pidfile_fd = -1};
    DIR *folder = opendir("/proc/self/fd");
    struct dirent *entry;
    while (folder && (entry = readdir(folder))) {
        int fd = atoi(entry->d_name);
        if (fd > STDERR_FILENO && fd != dirfd(folder))
            take_one(inherited, fd, pidfile);
    }
    if (folder)
        closedir(folder);
}

void inherited_find_control(struct inherited *inherited, const char *path)
{
    struct listener **at = &inherited->listeners;
    for (; *at; at = &(*at)->next) {
        struct listener *listener = *at;
        if (strncmp(listener->text, "unix:", 5) != 0 || strcmp(listener->text + 5, path) != 0)
            continue;
        *at = listener->next;
        listener->next = NULL;
        inherited->control = listener;
        return;
    }
}

void inherited_retire_children(void)
{
    DIR *folder = opendir("/proc");
    struct dirent *entry;
    struct procfs_stat stat;
    pid_t self = getpid();
    int count = 0;
    while (folder && (entry = readdir(folder))) {
        pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);
        if (pid <= 0 || procfs_stat(pid, &stat) != 0 || stat.parent != self)
            continue;
        kill(pid, SIGTERM);
        count++;
    }
    if (folder)
        closedir(folder);
    log_notice("upgrade: %d workers of the program before were told to finish workers=%d", count,
               count);
}
