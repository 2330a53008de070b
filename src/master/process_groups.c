#include "process_groups.h"

#include "../base/entry.h"
#include "../base/log.h"
#include "../base/procfs.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

/* Looks at a group that is about to end come soon at first, then once a second. */
#define LOOK_FIRST (USEC_SECOND / 100)
#define LOOK_MOST  USEC_SECOND

/* A killed process is gone by then, unless it may not be killed, or the kernel holds it. */
#define KILLED_TIMEOUT (5 * USEC_SECOND)

enum group_kind group_of_session(pid_t number, pid_t session)
{
    struct procfs_stat stat;
    if (number <= 1 || (kill(-number, 0) != 0 && errno == ESRCH) ||
        procfs_find_in_group(number, &stat) == 0)
        return GROUP_GONE;
    return stat.session == session ? GROUP_OWN : GROUP_FOREIGN;
}

static struct group *add(struct groups *groups, pid_t session, pid_t number, usec now)
{
    struct group *group = calloc(1, sizeof *group);
    if (!group)
        return NULL;
    *group = (struct group){.next = groups->first,
                            .session = session,
                            .number = number,
                            .since = now,
                            .deadline = USEC_NEVER,
                            .look = now + LOOK_FIRST};
    groups->first = group;
    return group;
}

enum group_kind process_groups_end(struct groups *groups, pid_t session, pid_t number, int signal,
                                   usec deadline, usec now)
{
    enum group_kind kind = group_of_session(number, session);
    if (kind != GROUP_OWN)
        return kind;
    struct group *group = groups->first;
    while (group && group->number != number)
        group = group->next;
    bool known = group;
    if (!known)
        group = add(groups, session, number, now);
    if (deadline <= now || !group) /* without memory to follow it, it would be forgotten */
        kill(-number, SIGKILL);
    else if (!known && signal)
        kill(-number, signal);
    if (!group)
        return kind;
    if (deadline <= now) {
        group->since = group->deadline == USEC_NEVER && known ? group->since : now;
        group->deadline = USEC_NEVER;
    } else {
        group->deadline = known ? clock_earlier(group->deadline, deadline) : deadline;
    }
    group->look = clock_earlier(group->look, group->deadline);
    return kind;
}

void process_groups_kill(struct groups *groups, usec now)
{
    for (struct group *group = groups->first; group; group = group->next)
        if (group->deadline != USEC_NEVER)
            process_groups_end(groups, group->session, group->number, 0, now, now);
}

/* A group that was killed, and is still there. */
static void look_at_killed(struct groups *groups, struct group *group, const char *pool, usec now)
{
    struct procfs_stat stat = {.command = "?"};
    pid_t pid = procfs_find_in_group(group->number, &stat);
    bool refused = kill(-group->number, SIGKILL) != 0 && errno == EPERM;
    if (group->stuck || (!refused && now - group->since < KILLED_TIMEOUT))
        return;
    group->stuck = true;
    groups->stuck++;
    log_warning("pool %s: process %d (%s), which worker %d started, can't be ended: %s; its seat "
                "stays taken pool=%s pid=%d group=%d",
                pool, (int)pid, stat.command, (int)group->session,
                refused ? "it runs as another user" : "it was killed and does not end", pool,
                (int)pid, (int)group->number);
}

/* False if nothing is left of it. */
static bool step(struct groups *groups, struct group *group, const char *pool, usec now)
{
    if (now < group->look)
        return true;
    if (group_of_session(group->number, group->session) != GROUP_OWN)
        return false;
    if (now >= group->deadline) {
        kill(-group->number, SIGKILL);
        /* Of what a worker became, this is the first word; of a late request it is the last. */
        log_event(group->number == group->session ? LOG_WARNING : LOG_INFO,
                  "pool %s: process group %d, which worker %d left, did not end in time: killed "
                  "pool=%s group=%d",
                  pool, (int)group->number, (int)group->session, pool, (int)group->number);
        group->deadline = USEC_NEVER;
        group->since = now;
    } else if (group->deadline == USEC_NEVER) {
        look_at_killed(groups, group, pool, now);
    }
    usec span = (now - group->since) / 2;
    span = span < LOOK_FIRST ? LOOK_FIRST : span > LOOK_MOST ? LOOK_MOST : span;
    group->look = clock_earlier(now + span, group->deadline);
    return true;
}

usec process_groups_step(struct groups *groups, const char *pool, usec now)
{
    usec next = USEC_NEVER;
    struct group **at = &groups->first;
    while (*at) {
        struct group *group = *at;
        if (step(groups, group, pool, now)) {
            next = clock_earlier(next, group->look);
            at = &group->next;
            continue;
        }
        if (group->stuck) {
            groups->stuck--;
            log_notice("pool %s: process group %d has ended, its slot is free again pool=%s "
                       "group=%d",
                       pool, (int)group->number, pool, (int)group->number);
        }
        *at = group->next;
        free(group);
    }
    return next;
}

bool process_groups_adopt(struct groups *groups, const struct state_group *saved)
{
    struct group *group = add(groups, (pid_t)saved->session, (pid_t)saved->number, saved->since);
    if (group)
        group->deadline = saved->deadline;
    return group;
}

void process_groups_free(struct groups *groups)
{
    while (groups->first) {
        struct group *next = groups->first->next;
        free(groups->first);
        groups->first = next;
    }
    groups->stuck = 0;
}

/* Whether a descriptor of a process is this socket: what stat(2) says of a link in /proc is what it
 * says of the descriptor. Another user's are not shown to us, unless we are root. */
static bool is_socket(pid_t pid, int fd, const struct stat *socket)
{
    char path[64];
    struct stat its;
    snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)pid, fd);
    if (stat(path, &its) != 0)
        return false;
    struct inode a = inode_of(&its), b = inode_of(socket);
    return inode_equal(&a, &b);
}

/* Parents change while they are followed, but always to one further up: so this ends. The bound is
 * for numbers that were given anew meanwhile. */
static bool descends_from(pid_t pid, pid_t master)
{
    struct procfs_stat stat;
    for (int i = 0; i < 64 && pid > 1; i++) {
        if (pid == master || procfs_stat(pid, &stat) != 0) /* or it ended meanwhile */
            return true;
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

/* If numbers began anew in between, a younger process is missed; the next worker to end is another
 * chance. */
pid_t process_groups_background(pid_t master, pid_t after, int listener_fd,
                                const struct groups *followed)
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
