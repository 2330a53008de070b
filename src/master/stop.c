#include "stop.h"

#include <signal.h>
#include <stdlib.h>

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
