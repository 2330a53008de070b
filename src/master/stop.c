#include "stop.h"

#include "../base/log.h"
#include "../base/procfs.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* From one check of a group to the next: short at first, once a second later. */
#define CHECK_FIRST (USEC_SECOND / 100)
#define CHECK_MOST  USEC_SECOND

/* A killed process is gone by then, unless we may not kill it, or the kernel holds it. */
#define KILLED_TIMEOUT (5 * USEC_SECOND)

enum group_kind group_of_session(pid_t number, pid_t session)
{
    struct procfs_stat stat;
    if (number <= 1 || (kill(-number, 0) != 0 && errno == ESRCH))
        return GROUP_GONE;
    pid_t found = procfs_find_in_group(number, &stat);
    if (found <= 0)
        return found == 0 ? GROUP_GONE : GROUP_UNKNOWN;
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
                            .check_at = now + CHECK_FIRST};
    groups->first = group;
    return group;
}

enum group_kind process_groups_end(struct groups *groups, pid_t session, pid_t number, int signal,
                                   usec deadline, usec now)
{
    enum group_kind kind = group_of_session(number, session);
    bool own = kind == GROUP_OWN;
    if (!own && kind != GROUP_UNKNOWN)
        return kind;
    struct group *group = groups->first;
    while (group && (group->number != number || group->session != session))
        group = group->next;
    bool known = group;
    if (!known)
        group = add_group(groups, session, number, now);
    /* Out of memory, the group can't be followed until it ends. */
    if (own && (deadline <= now || !group))
        kill(-number, SIGKILL);
    else if (own && !known && signal)
        kill(-number, signal);
    if (!group)
        return kind;
    if (deadline <= now) {
        group->since = group->deadline == USEC_NEVER && known ? group->since : now;
        group->deadline = USEC_NEVER;
    } else {
        group->deadline = known ? clock_earlier(group->deadline, deadline) : deadline;
    }
    group->check_at = clock_earlier(group->check_at, group->deadline);
    return kind;
}

void process_groups_kill(struct groups *groups, usec now)
{
    for (struct group *group = groups->first; group; group = group->next)
        if (group->deadline != USEC_NEVER)
            process_groups_end(groups, group->session, group->number, 0, now, now);
}

/* The group was killed, and still exists. */
static void check_killed(struct groups *groups, struct group *group, const char *pool, usec now)
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

/* False: the group is gone. */
static bool step_group(struct groups *groups, struct group *group, const char *pool, usec now)
{
    if (now < group->check_at)
        return true;
    enum group_kind kind = group_of_session(group->number, group->session);
    if (kind == GROUP_UNKNOWN) {
        group->since = now; /* nothing was sent yet */
        group->check_at = now + CHECK_MOST;
        return true;
    }
    if (kind != GROUP_OWN)
        return false;
    if (now >= group->deadline) {
        kill(-group->number, SIGKILL);
        /* About a program that the worker became, nothing was logged yet; about a late request it
         * was. */
        log_event(group->number == group->session ? LOG_WARNING : LOG_INFO,
                  "pool %s: process group %d, which worker %d left, did not end in time: killed "
                  "pool=%s group=%d",
                  pool, (int)group->number, (int)group->session, pool, (int)group->number);
        group->deadline = USEC_NEVER;
        group->since = now;
    } else if (group->deadline == USEC_NEVER) {
        check_killed(groups, group, pool, now);
    }
    usec span = (now - group->since) / 2;
    span = span < CHECK_FIRST ? CHECK_FIRST : span > CHECK_MOST ? CHECK_MOST : span;
    group->check_at = clock_earlier(now + span, group->deadline);
    return true;
}

usec process_groups_step(struct groups *groups, const char *pool, usec now)
{
    usec next = USEC_NEVER;
    struct group **at = &groups->first;
    while (*at) {
        struct group *group = *at;
        if (step_group(groups, group, pool, now)) {
            next = clock_earlier(next, group->check_at);
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

/* Whether a descriptor of a process is this socket. The link in /proc shows a socket's inode. It is
 * read, never followed: it may lead to a file whose file system (FUSE) does not answer stat(2).
 * Only root sees another user's. */
static bool is_socket(pid_t pid, int fd, const struct stat *socket)
{
    char path[64], wanted[64], found[sizeof wanted];
    snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)pid, fd);
    int length = snprintf(wanted, sizeof wanted, "socket:[%lu]", (unsigned long)socket->st_ino);
    return readlink(path, found, sizeof found) == length &&
           memcmp(found, wanted, (size_t)length) == 0;
}

/* A process may get another parent while we climb, but always one further up: so this ends. The
 * bound is for numbers that are reused meanwhile. */
static bool descends_from(pid_t pid, pid_t master)
{
    struct procfs_stat stat;
    for (int i = 0; i < 64 && pid > 1; i++) {
        if (pid == master || procfs_stat(pid, &stat) != 0) /* or the process ended */
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

/* If the kernel's pids wrapped around, a younger process is missed; the next exit is another
 * chance. */
pid_t process_groups_background(pid_t master, pid_t after, int listener_fd,
                                const struct groups *followed)
{
    struct stat socket;
    DIR *all = fstat(listener_fd, &socket) == 0 ? opendir("/proc") : NULL;
    pid_t found = 0;
    pid_t pid;
    while (all && !found && (pid = procfs_next(all))) {
        if (pid > after && (is_socket(pid, 3, &socket) || is_socket(pid, 0, &socket)) &&
            !descends_from(pid, master) && !is_followed(pid, followed))
            found = pid;
    }
    if (all)
        closedir(all);
    return found;
}

/* From QUIT, which lets a worker end its program, to KILL. */
#define QUIT_TIMEOUT USEC_SECOND

/* From TERM to KILL for a program whose request takes too long; from ABRT to KILL for one that
 * hangs. */
#define PROGRAM_TIMEOUT (5 * USEC_SECOND)

/* A program without notices counts as ready if it, or a chain of such programs, has lived for so
 * long. */
#define READY_AFTER USEC_SECOND

/* Sends a signal, and sets the next, harder one. */
static void send_signal(struct worker *worker, int number, int next_signal, usec deadline)
{
    if (worker->pid) /* not reaped: the pid is not reused */
        kill(worker->pid, number);
    worker->next_signal = next_signal;
    worker->deadline = deadline;
}

/* A killed process stays as long as the kernel holds it, or until its tracer, any process of its
 * user, has waited for it (ptrace(2)). No wait of ours may depend on that. */
static void note_stuck(struct worker *worker)
{
    struct procfs_stat stat;
    const char *pool = worker->conf->name;
    bool traced = procfs_stat(worker->pid, &stat) == 0 && stat.state == 'Z' && stat.threads <= 1;
    worker->stuck = true;
    worker->shown->stuck = 1;
    worker->resources->changed = true;
    log_warning("pool %s: worker %d was killed and does not end: %s pool=%s pid=%d", pool,
                (int)worker->pid, traced ? "another process traces it" : "the kernel holds it",
                pool, (int)worker->pid);
}

/* KILL is repeated, because the binary after an upgrade does not know that it was sent. */
static void send_kill(struct worker *worker, usec now)
{
    if (!worker->killed_at)
        worker->killed_at = now;
    else if (!worker->stuck && now - worker->killed_at >= KILLED_TIMEOUT)
        note_stuck(worker);
    send_signal(worker, SIGKILL, SIGKILL, now + KILLED_TIMEOUT);
}

/* Takes the worker's seats out of the free ones. */
static void set_retiring(struct worker *worker)
{
    worker->role = ROLE_RETIRING;
    seats_retire(worker->slot, worker->seats);
    worker->shown->retiring = 1;
}

void stop_retire(struct worker *worker, usec deadline)
{
    bool told = worker->role == ROLE_RETIRING;
    if (told && worker->cause == DEATH_TIMEOUT) /* its deadline is earlier */
        return;
    set_retiring(worker);
    if (worker->cause == DEATH_WATCHDOG)
        return;
    if (!spawn_is_ready(worker)) /* it obeys once it is ready, which is still due in time */
        deadline = clock_earlier(deadline, worker->deadline);
    if (worker->cause == DEATH_OWN)
        worker->cause = DEATH_RETIRED;
    /* A program is told once, because many take a second signal for another order; its deadline may
     * only come closer. */
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
    if (spawn_is_app(worker)) /* QUIT may mean anything to a program */
        send_kill(worker, now);
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
    if (worker->next_signal == SIGKILL)
        send_kill(worker, now);
    else
        send_signal(worker, worker->next_signal, SIGKILL, now + QUIT_TIMEOUT);
    return worker->deadline;
}

/* A worker of several seats ends a late connection by itself, and keeps the others. If it fails to
 * do so for this long, the whole worker is ended: there is no other way to end that connection. */
#define SEATS_GRACE (5 * USEC_SECOND)

/* A worker of several seats knows only the request_timeout of its start: under a shorter one, its
 * end would take connections along that are not late. A canary's configuration is not in force
 * yet. */
usec stop_request_limit(const struct worker *worker, const struct pool_config *in_force)
{
    bool several = worker->seats > 1, own = several || worker->role == ROLE_CANARY;
    usec limit = (own ? worker->conf : in_force)->request_timeout * USEC_SECOND;
    usec grace = several ? SEATS_GRACE : handler_of(worker->conf->handler)->grace;
    return limit ? limit + grace : 0;
}

usec stop_late_request(struct worker *worker, const struct seats_load *load, usec limit, usec now)
{
    bool stopping = worker->cause == DEATH_TIMEOUT || worker->cause == DEATH_STOPPED;
    pid_t program = handler_of(worker->conf->handler)->runs_programs ? worker->slot->program : 0;
    if (stopping || !spawn_is_ready(worker))
        return now + limit;
    uint64_t number = load->busy ? load->longest->accepted : 0;
    usec due = load->busy ? load->since + limit : now + limit;
    if (due > now)
        return due;
    if (spawn_time(worker, load->longest->since, now) + limit > now ||
        load->longest->accepted != number)
        return now; /* the next request has begun, which is not late */
    set_retiring(worker);
    worker->cause = DEATH_TIMEOUT;
    /* TERM goes to the program's group and to the worker, which ends when its program does. The
     * number of the group is the worker's word: if the group is not in the worker's session, the
     * worker runs no program. Then the worker itself is busy with the request, and can't be asked
     * to leave off. */
    if (process_groups_end(&worker->resources->groups, worker->pid, program, SIGTERM,
                           now + PROGRAM_TIMEOUT, now) == GROUP_OWN)
        send_signal(worker, SIGTERM, SIGQUIT, now + PROGRAM_TIMEOUT + QUIT_TIMEOUT);
    else
        send_signal(worker, SIGQUIT, SIGKILL, now + QUIT_TIMEOUT);
    return now;
}

/* A program hangs: ABRT makes it dump core, if it may. */
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
    /* Not if the program was already told to end. */
    bool watched = notify && worker->role != ROLE_RETIRING && worker->cause == DEATH_OWN;
    if (spawn_is_ready(worker)) {
        if (!watched)
            return USEC_NEVER;
        /* A program that has sent WATCHDOG=1 must go on sending it until it is told to finish. */
        bool started = notify->alive_at && notify->watchdog < USEC_NEVER - notify->alive_at;
        usec due = started ? notify->alive_at + notify->watchdog : USEC_NEVER;
        if (now >= due && now < grace_until)
            return grace_until;
        return now < due && !notify->hung ? due : end_hung(worker, now);
    }
    if (!notify) {
        /* It has no ready_timeout: it lives for READY_AFTER, or ends before. Programs before it
         * that ended in order count. The worker wrote `since` before it became the program. */
        usec began = spawn_time(worker, worker->slot->since, now) - worker->backoff.alive;
        usec due = began + READY_AFTER;
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

/* In the order in which they go. */
enum { GO_UNFORKED, GO_UNREADY, GO_IDLE, GO_BUSY };

/* What stop_sort compares, copied once: workers write to their slots meanwhile, and qsort(3) needs
 * an order that does not change. */
struct candidate {
    struct worker *worker;
    int class;
    int number;
    bool program;
    uint32_t busy; /* connections in hand */
    usec since;
};

/* Of idle workers the one that has been idle longest; of programs, which are numbered, the last. */
static bool goes_before(const struct candidate *a, const struct candidate *b)
{
    if (a->program && b->program)
        return a->number > b->number;
    if (a->class != b->class)
        return a->class < b->class;
    return a->busy != b->busy ? a->busy < b->busy : a->since < b->since;
}

static int compare_candidates(const void *a, const void *b)
{
    return goes_before(a, b) ? -1 : goes_before(b, a);
}

/* Out of memory, the workers stay in their order. */
void stop_sort(struct worker **workers, int count)
{
    struct candidate *candidates = calloc((size_t)count, sizeof *candidates);
    usec now = clock_now();
    if (!candidates)
        return;
    for (int i = 0; i < count; i++) {
        struct worker *w = workers[i];
        struct seats_load load = spawn_load(w, now);
        candidates[i] = (struct candidate){
            .worker = w,
            .class = !w->pid              ? GO_UNFORKED
                     : !spawn_is_ready(w) ? GO_UNREADY
                     : load.busy          ? GO_BUSY
                                          : GO_IDLE,
            .number = w->number,
            .program = spawn_is_app(w),
            .busy = load.busy,
            .since = load.since,
        };
    }
    qsort(candidates, (size_t)count, sizeof *candidates, compare_candidates);
    for (int i = 0; i < count; i++)
        workers[i] = candidates[i].worker;
    free(candidates);
}

/* If the worker became a program, the processes that are left may take as long to finish as the
 * program might have. If the worker started a program, the rest of it is killed, because the
 * connection that it served is gone. */
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
