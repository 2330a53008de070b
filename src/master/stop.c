#include "stop.h"

#include "../handlers/handler.h"

#include <signal.h>
#include <stdlib.h>

/* Between QUIT, which lets a worker end its program, and KILL. */
#define QUIT_PATIENCE USEC_SECOND

/* Between TERM and KILL for a program whose request takes too long. */
#define PROGRAM_PATIENCE (5 * USEC_SECOND)

/* A program is told once, since many take a second signal for another order; only its time may grow
 * shorter. */
static void tell_program(struct worker *worker, bool told, usec deadline)
{
    deadline = told ? clock_earlier(deadline, worker->deadline) : deadline;
    if (told)
        worker->deadline = deadline;
    else
        spawn_tell(worker, worker->app_policy.stop_signal, SIGKILL, deadline);
}

void stop_retire(struct worker *worker, usec deadline)
{
    bool told = worker->role == ROLE_RETIRING;
    if (told && worker->cause == DEATH_TIMEOUT) /* its end is nearer */
        return;
    if (worker->cause == DEATH_WATCHDOG) {
        spawn_set_retiring(worker);
        return;
    }
    if (!spawn_is_ready(worker)) /* it still has to get ready in time, so that it can obey */
        deadline = clock_earlier(deadline, worker->deadline);
    spawn_set_retiring(worker);
    if (worker->cause == DEATH_OWN)
        worker->cause = DEATH_RETIRED;
    if (spawn_becomes(worker))
        tell_program(worker, told, deadline);
    else if (!told || deadline != USEC_NEVER)
        spawn_tell(worker, SIGTERM, SIGQUIT, deadline);
}

void stop_abort(struct worker *worker, usec now)
{
    worker->cause = DEATH_WATCHDOG;
    spawn_tell(worker, SIGABRT, SIGKILL, now + PROGRAM_PATIENCE);
}

void stop_stop(struct worker *worker, usec now)
{
    spawn_set_retiring(worker);
    worker->cause = DEATH_STOPPED;
    if (spawn_becomes(worker)) /* QUIT may mean anything to it */
        spawn_tell(worker, SIGKILL, 0, USEC_NEVER);
    else
        spawn_tell(worker, SIGQUIT, SIGKILL, now + QUIT_PATIENCE);
}

/* Its program is told, and it ends with that; where it runs none, the request is its own doing, and
 * it can't be asked to leave off. Which group the program is, the worker says: if that is none of its
 * session's, it runs none. */
static void end_overdue(struct worker *worker, pid_t program, usec now)
{
    struct groups *groups = &worker->resources->groups;
    spawn_set_retiring(worker);
    worker->cause = DEATH_TIMEOUT;
    if (process_groups_end(groups, worker->pid, program, SIGTERM, now + PROGRAM_PATIENCE, now) !=
        GROUP_OWN)
        spawn_tell(worker, SIGQUIT, SIGKILL, now + QUIT_PATIENCE);
    else
        spawn_tell(worker, SIGTERM, SIGQUIT, now + PROGRAM_PATIENCE + QUIT_PATIENCE);
}

usec stop_watch(struct worker *worker, usec limit, usec now)
{
    bool going = worker->cause == DEATH_TIMEOUT || worker->cause == DEATH_STOPPED;
    const struct slot *slot = worker->slot;
    uint64_t number = slot->accepted;
    pid_t program = handler_of(worker->conf->handler)->runs_programs ? slot->program : 0;
    usec due = spawn_since(worker, now) + limit;
    if (going || !spawn_is_ready(worker) || !spawn_is_busy(worker))
        return now + limit;
    if (due > now)
        return due;
    if (slot->accepted != number) /* the next request already, which is not late */
        return now;
    end_overdue(worker, program, now);
    return now;
}

static void tell_harder(struct worker *worker, usec now)
{
    if (worker->cause == DEATH_OWN)
        worker->cause = DEATH_NOT_READY;
    else if (worker->cause == DEATH_RETIRED)
        worker->cause = DEATH_OVERDUE;
    bool last = worker->next_signal == SIGKILL;
    spawn_tell(worker, worker->next_signal, last ? 0 : SIGKILL,
               last ? USEC_NEVER : now + QUIT_PATIENCE);
}

usec stop_step(struct worker *worker, usec now)
{
    if (now >= worker->deadline && worker->next_signal)
        tell_harder(worker, now);
    return worker->deadline;
}

/* Who goes first. */
enum { GO_UNBORN, GO_UNREADY, GO_IDLE, GO_BUSY };

/* What is compared, copied once: workers go on meanwhile, and an order that changes while it is made
 * is none. */
struct going {
    struct worker *worker;
    int class;
    int number;
    bool program;
    usec since;
};

static int class_of(const struct worker *worker)
{
    if (!worker->pid)
        return GO_UNBORN;
    if (!spawn_is_ready(worker))
        return GO_UNREADY;
    return spawn_is_busy(worker) ? GO_BUSY : GO_IDLE;
}

/* Of those that wait, the one that has waited longest; of programs, which are numbered, the last. */
static bool goes_before(const struct going *a, const struct going *b)
{
    if (a->program && b->program)
        return a->number > b->number;
    return a->class != b->class ? a->class < b->class : a->since < b->since;
}

static int compare_going(const void *a, const void *b)
{
    const struct going *x = a, *y = b;
    return goes_before(x, y) ? -1 : goes_before(y, x);
}

/* Without memory for it they stay as they are. */
void stop_sort(struct worker **workers, int count)
{
    struct going *going = calloc((size_t)count, sizeof *going);
    usec now = clock_now();
    for (int i = 0; going && i < count; i++)
        going[i] = (struct going){
            .worker = workers[i],
            .class = class_of(workers[i]),
            .number = workers[i]->number,
            .program = spawn_becomes(workers[i]),
            .since = spawn_since(workers[i], now),
        };
    if (going)
        qsort(going, (size_t)count, sizeof *going, compare_going);
    for (int i = 0; going && i < count; i++)
        workers[i] = going[i].worker;
    free(going);
}
