#include "stop.h"

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

static struct group *add_group(struct groups *groups, pid_t session, pid_t number, usec now)
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
        group = add_group(groups, session, number, now);
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
static bool step_group(struct groups *groups, struct group *group, const char *pool, usec now)
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
        if (step_group(groups, group, pool, now)) {
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
    struct group *group =
        add_group(groups, (pid_t)saved->session, (pid_t)saved->number, saved->since);
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

/* Between QUIT, which lets a worker end its program, and KILL. */
#define QUIT_TIMEOUT USEC_SECOND

/* Between TERM and KILL for a program whose request takes too long. */
#define PROGRAM_TIMEOUT (5 * USEC_SECOND)

/* Alive for so long, a program that does not say so is taken for ready; or several, one after
 * another. */
#define READY_AFTER USEC_SECOND

/* Notes when a harder signal is due. */
static void send_signal(struct worker *worker, int number, int next_signal, usec deadline)
{
    if (worker->pid) /* not reaped: the number is still its own */
        kill(worker->pid, number);
    worker->next_signal = next_signal;
    worker->deadline = deadline;
}

/* It is to be no free seat any more, whatever it is doing. */
static void set_retiring(struct worker *worker)
{
    worker->role = ROLE_RETIRING;
    seats_retire(worker->slot, worker->seats);
    worker->shown->retiring = 1;
}

void stop_retire(struct worker *worker, usec deadline)
{
    bool told = worker->role == ROLE_RETIRING;
    if (told && worker->cause == DEATH_TIMEOUT) /* its end is nearer */
        return;
    set_retiring(worker);
    if (worker->cause == DEATH_WATCHDOG)
        return;
    if (!spawn_is_ready(worker)) /* it still has to get ready in time, so that it can obey */
        deadline = clock_earlier(deadline, worker->deadline);
    if (worker->cause == DEATH_OWN)
        worker->cause = DEATH_RETIRED;
    /* A program is told once, since many take a second signal for another order; only its time may
     * grow shorter. */
    if (spawn_is_app(worker) && told)
        worker->deadline = clock_earlier(deadline, worker->deadline);
    else if (spawn_is_app(worker))
        send_signal(worker, worker->app_policy.stop_signal, SIGKILL, deadline);
    else if (!told || deadline != USEC_NEVER)
        send_signal(worker, SIGTERM, SIGQUIT, deadline);
}

void stop_now(struct worker *worker, usec now)
{
    set_retiring(worker);
    worker->cause = DEATH_STOPPED;
    if (spawn_is_app(worker)) /* QUIT may mean anything to it */
        send_signal(worker, SIGKILL, 0, USEC_NEVER);
    else
        send_signal(worker, SIGQUIT, SIGKILL, now + QUIT_TIMEOUT);
}

usec stop_step(struct worker *worker, usec now)
{
    if (now < worker->deadline || !worker->next_signal)
        return worker->deadline;
    if (worker->cause == DEATH_OWN)
        worker->cause = DEATH_NOT_READY;
    else if (worker->cause == DEATH_RETIRED)
        worker->cause = DEATH_OVERDUE;
    bool last = worker->next_signal == SIGKILL;
    send_signal(worker, worker->next_signal, last ? 0 : SIGKILL,
                last ? USEC_NEVER : now + QUIT_TIMEOUT);
    return worker->deadline;
}

usec stop_watch(struct worker *worker, const struct seats_load *load, usec limit, usec now)
{
    bool going = worker->cause == DEATH_TIMEOUT || worker->cause == DEATH_STOPPED;
    pid_t program = handler_of(worker->conf->handler)->runs_programs ? worker->slot->program : 0;
    if (going || !spawn_is_ready(worker))
        return now + limit;
    uint64_t number = load->busy ? load->longest->accepted : 0;
    usec due = load->busy ? load->since + limit : now + limit;
    if (due > now)
        return due;
    if (spawn_time(worker, load->longest->since, now) + limit > now ||
        load->longest->accepted != number)
        return now; /* the next request already, which is not late */
    set_retiring(worker);
    worker->cause = DEATH_TIMEOUT;
    /* Its program is told, and the worker ends with that. Which group the program is, the worker
     * says: if that is none of its session's, it runs none. Then the request is its own doing, and
     * it can't be asked to leave off. */
    if (process_groups_end(&worker->resources->groups, worker->pid, program, SIGTERM,
                           now + PROGRAM_TIMEOUT, now) == GROUP_OWN)
        send_signal(worker, SIGTERM, SIGQUIT, now + PROGRAM_TIMEOUT + QUIT_TIMEOUT);
    else
        send_signal(worker, SIGQUIT, SIGKILL, now + QUIT_TIMEOUT);
    return now;
}

/* A program hangs: it is to leave a core behind, if it may. */
static usec end_hung(struct worker *worker, usec now)
{
    worker->hung = worker->notify->hung;
    worker->cause = DEATH_WATCHDOG;
    send_signal(worker, SIGABRT, SIGKILL, now + PROGRAM_TIMEOUT);
    return USEC_NEVER;
}

usec stop_watch_program(struct worker *worker, usec grace_until, usec now)
{
    const struct notify *notify = worker->notify;
    if (!spawn_is_program(worker))
        return USEC_NEVER;
    /* None is told twice, nor for this if it is told to go anyway. */
    bool watched = notify && worker->role != ROLE_RETIRING && worker->cause == DEATH_OWN;
    if (spawn_is_ready(worker)) {
        if (!watched)
            return USEC_NEVER;
        /* A program that gave signs of life has to go on with it, at least until it is told to
         * go. */
        bool gives_signs = notify->alive_at && notify->watchdog < USEC_NEVER - notify->alive_at;
        usec due = gives_signs ? notify->alive_at + notify->watchdog : USEC_NEVER;
        if (now >= due && now < grace_until)
            return grace_until;
        return now < due && !notify->hung ? due : end_hung(worker, now);
    }
    if (!notify) {
        /* It can't be late: to be alive for as long is sure to come, or not to. */
        usec before = worker->backoff.alive; /* of programs before it that ended in order */
        usec due = spawn_time(worker, worker->slot->since, now) + READY_AFTER -
                   before; /* its word, from before */
        if (worker->role != ROLE_RETIRING)
            worker->deadline = USEC_NEVER;
        if (due > now)
            return due;
    } else if (!notify->ready) {
        return notify->hung && watched ? end_hung(worker, now) : USEC_NEVER;
    }
    worker->slot->since = now;
    worker->slot->state = SLOT_IDLE;
    worker->slot->ready = true;
    return now;
}

/* What the worker ran goes on without it. Of a program that it became, the processes that are left
 * may finish as long as it might have; of one that it started the rest is killed, as the connection
 * that it served is gone. */
void stop_leftovers(struct worker *worker, usec now)
{
    usec grace = worker->conf->graceful_timeout * USEC_SECOND, deadline = now;
    pid_t group = worker->slot->program;
    int signal = SIGKILL;
    worker->was_program = spawn_is_program(worker);
    worker->slot->program = 0;
    if (worker->was_program) {
        bool told = worker->role == ROLE_RETIRING;
        bool killed = worker->cause != DEATH_OWN && worker->cause != DEATH_RETIRED;
        group = worker->pid;
        signal = told ? 0 : worker->app_policy.stop_signal;
        if (!killed)
            deadline = told && worker->deadline != USEC_NEVER ? worker->deadline : now + grace;
    }
    enum group_kind kind =
        process_groups_end(&worker->resources->groups, worker->pid, group, signal, deadline, now);
    worker->left_group = kind == GROUP_OWN;
    if (kind == GROUP_FOREIGN)
        spawn_warn_broken(worker, "a process group that no worker of it runs");
}

/* Which class goes first. */
enum { GO_UNBORN, GO_UNREADY, GO_IDLE, GO_BUSY };

/* What is compared, copied once: workers go on meanwhile, and an order that changes while it is
 * made is none. */
struct going {
    struct worker *worker;
    int class;
    int number;
    bool program;
    uint32_t busy; /* connections in hand */
    usec since;
};

/* Of idle workers the one that has waited longest; of programs, which are numbered, the last. */
static bool goes_before(const struct going *a, const struct going *b)
{
    if (a->program && b->program)
        return a->number > b->number;
    if (a->class != b->class)
        return a->class < b->class;
    return a->busy != b->busy ? a->busy < b->busy : a->since < b->since;
}

static int compare_going(const void *a, const void *b)
{
    return goes_before(a, b) ? -1 : goes_before(b, a);
}

/* Without memory for it the workers stay in their order. */
void stop_sort(struct worker **workers, int count)
{
    struct going *going = calloc((size_t)count, sizeof *going);
    usec now = clock_now();
    for (int i = 0; going && i < count; i++) {
        struct worker *w = workers[i];
        struct seats_load load = spawn_load(w, now);
        going[i] = (struct going){
            .worker = w,
            .class = !w->pid              ? GO_UNBORN
                     : !spawn_is_ready(w) ? GO_UNREADY
                     : load.busy          ? GO_BUSY
                                          : GO_IDLE,
            .number = w->number,
            .program = spawn_is_app(w),
            .busy = load.busy,
            .since = load.since,
        };
    }
    if (going)
        qsort(going, (size_t)count, sizeof *going, compare_going);
    for (int i = 0; going && i < count; i++)
        workers[i] = going[i].worker;
    free(going);
}
