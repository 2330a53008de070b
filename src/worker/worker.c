#include "worker.h"

#include "../base/fd.h"
#include "../base/log.h"
#include "../base/proc.h"
#include "../shared/exitcode.h"
#include "environment.h"
#include "lane.h"
#include "model_process.h"
#include "reader.h"
#include "sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <unistd.h>

/* Signal handlers have no argument to find it by. */
static struct lane lane;
static struct process_model model;

/* Ends epoll_wait(). What is in the eventfd already does as well: so a failure is none. */
static void wake(void)
{
    static const uint64_t one = 1;
    ssize_t written = model.wake_fd < 0 ? 0 : write(model.wake_fd, &one, sizeof one);
    (void)written;
}

/* TERM: take no further connection. accept() on the null device fails at once, whether the signal
 * comes before it or into it, and the socket of the others is untouched; the eventfd does the same
 * for epoll_wait(). */
static void on_term(int number)
{
    int saved = errno;
    (void)number;
    lane.stopping = 1;
    for (int i = 0; i < model.count; i++)
        dup3(STDIN_FILENO, model.listeners[i], O_CLOEXEC);
    wake();
    errno = saved;
}

/* URG, the master's word that a connection waits and nobody was woken for it. One in accept() goes on
 * there by itself (SA_RESTART), and looks at the queue before it waits again. It is a signal that hurts
 * nobody where no handler takes it: a program, or a module that took the handler away. */
static void on_urge(int number)
{
    int saved = errno;
    (void)number;
    wake();
    errno = saved;
}

/* QUIT, which is also what a dead master sends: end now, with what we run. */
static void on_quit(int number)
{
    (void)number;
    pid_t group = lane.program; /* our own memory: what stands in the slot, others can write */
    if (group > 1)
        kill(-group, SIGKILL);
    _exit(WORKER_ENDED);
}

/* The master's signals stay blocked, not ignored: a program then gets clean dispositions by an empty
 * mask alone. */
static sigset_t blocked;

void worker_prepare(void)
{
    static const int others[] = {SIGHUP,  SIGINT,   SIGUSR1, SIGUSR2,
                                 SIGPIPE, SIGWINCH, SIGTTIN, SIGTTOU};
    sigemptyset(&blocked);
    for (unsigned i = 0; i < sizeof others / sizeof *others; i++)
        sigaddset(&blocked, others[i]);
    sandbox_prepare();
}

/* What programs get from us: they start with the dispositions that we leave (see launch.h). */
static void ignore_none(void)
{
    static const struct sigaction fallback = {.sa_handler = SIG_DFL};
    sigaction(SIGPIPE, &fallback, NULL);
    sigaction(SIGUSR2, &fallback, NULL);
}

static void take_signals(void)
{
    struct sigaction term = {.sa_handler = on_term, .sa_flags = SA_RESTART};
    struct sigaction quit = {.sa_handler = on_quit, .sa_mask = blocked};
    struct sigaction urge = {.sa_handler = on_urge, .sa_flags = SA_RESTART};
    sigaction(SIGURG, &urge, NULL);
    sigaction(SIGTERM, &term, NULL);
    sigaction(SIGQUIT, &quit, NULL);
    if (lane.handler->runs_programs)
        ignore_none();
    sigprocmask(SIG_SETMASK, &blocked, NULL);
}

static _Noreturn void give_up(const char *why)
{
    snprintf(lane.slot->reason, sizeof lane.slot->reason, "%s", why);
    _exit(WORKER_CANT_START);
}

static void keep_descriptors(struct worker_birth *birth)
{
    int *others = birth->listeners + birth->listener_count;
    int count = log_descriptors(others);
    others[count++] = birth->bell;
    others[count++] = model.wake_fd;
    others[count++] = birth->boards_fd;
    dup2(birth->error_fd, STDERR_FILENO);
    if (fd_keep_only(birth->listeners, birth->listener_count + count) != 0)
        give_up("can't close the descriptors of others");
}

/* After the user is dropped, which would clear it; a master that died before it sends no signal,
 * but is nobody's parent any more. */
static void die_with(pid_t master, int number)
{
    prctl(PR_SET_PDEATHSIG, number);
    if (getppid() != master)
        _exit(WORKER_ENDED);
}

/* Not all workers of a pool after the same count: ± 10 %. */
static long long with_jitter(int requests, pid_t pid)
{
    unsigned seed = (unsigned)pid * 2654435761u;
    long long spread = requests / 10;
    return requests ? requests - spread + rand_r(&seed) % (2 * spread + 1) : -1;
}

/* Shows the title; where its last word stands, which the lane changes in place. NULL where there is
 * no room for all of it. */
static char *show_title(const struct worker_birth *birth)
{
    size_t shown = proc_title(birth->title);
    if (shown < birth->title_length)
        return NULL;
    return proc_title_memory() + shown - (sizeof WORKER_TITLE_END - 1) + 2;
}

/* What it shares with others of its pool: the master lent it the mappings for the fork. */
static void take_shared(const struct worker_birth *birth)
{
    lane.slot = &birth->board->slots[birth->seat];
    lane.bell = (struct bell){.board = birth->board, .seat = birth->seat, .fd = birth->bell};
    lane.gate = gate_open(birth->pool, birth->board, birth->limits, birth->seat,
                          lane.handler->refuse != NULL, lane.handler->gives_away);
}

static void prepare_lane(const struct worker_birth *birth)
{
    const struct pool_config *pool = birth->pool;
    int level = pool->log_connections ? LOG_INFO : LOG_DEBUG;
    lane.pool = pool;
    lane.title_word = show_title(birth);
    lane.log_level = log_wanted(level) ? level : -1;
    lane.wait_known = lane.slot->accepted;
    lane.left = with_jitter(pool->max_requests, getpid());
    lane.service.pool = pool->name;
    lane.service.config = pool->handler_config;
    lane.service.program = &lane.program;
    lane.service.shown = &lane.slot->program;
    lane.service.failed_starts = &lane.slot->failed_starts;
    lane.service.start_error = &lane.slot->start_error;
    lane.service.listeners = birth->listeners;
    lane.service.listener_count = birth->listener_count;
    lane.service.mark = &pool->mark;
    lane.service.stopping = &lane.stopping;
    lane.service.seats = (unsigned)(pool->workers ? pool->workers : pool->max_workers);
    lane.service.idle_timeout = pool->idle_timeout;
    lane.service.request_timeout = pool->request_timeout;
    lane.service.log_level = lane.log_level;
    lane.service.renew = lane_renew;
    lane.service.count_request = lane_count_request;
    lane.service.crowded = lane_crowded;
    lane.service.same_peer = lane_same_peer;
    lane.service.sockets = birth->sockets;
    lane.service.generation = birth->generation;
    lane.service.number = birth->number;
    lane.service.notify = birth->notify;
    lane.service.watchdog = birth->watchdog;
}

/* Who speaks with strangers about all pools can write of none but its own. */
static void prepare_view(const struct worker_birth *birth)
{
    if (!lane.handler->reads_board)
        return;
    lane.service.view = reader_open(birth->overview_fd, birth->boards_fd);
    lane.service.shown_times = lane.bell.board->shown;
    if (!lane.service.view)
        give_up("can't map the overview");
}

static void prepare_handler(const struct worker_birth *birth)
{
    char why[SCOREBOARD_REASON];
    const struct handler *handler = lane.handler;
    if (handler->runs_programs || handler->has_environment) {
        lane.service.environment = environment_make(birth->pool);
        if (!lane.service.environment)
            give_up("out of memory");
    }
    if (!handler->start)
        return;
    if (handler->start(&lane.service, why, sizeof why) != 0)
        give_up(why);
    take_signals(); /* whatever it did to them */
}

/* Not at its birth: to load the list takes longer than the fork, and who has taken no connection has
 * read nothing that could turn it against us. */
static int close_sandbox(void)
{
    struct sandbox_refusal refusal;
    if (sandbox_close(lane.pool, lane.handler->calls, &refusal) == 0)
        return 0;
    snprintf(lane.slot->reason, sizeof lane.slot->reason, "%.*s", SCOREBOARD_REASON - 1,
             refusal.why);
    return WORKER_CANT_START;
}

static void say_ready(void)
{
    lane.slot->since = clock_now();
    lane.slot->ready = true;
    lane.slot->state = SLOT_IDLE;
    bell_ring(&lane.bell);
}

/* It leads a group of its own, as it does its session; and its time begins, by which it may be ready.
 * Its death signal is KILL: the one that a program can't fail to obey. Signals are blocked as they were
 * at birth, so that none is lost to a handler of ours. */
static _Noreturn void become_program(const struct worker_birth *birth)
{
    char why[SCOREBOARD_REASON];
    ignore_none();
    die_with(birth->master, SIGKILL);
    prepare_handler(birth);
    lane.slot->since = clock_now();
    lane.slot->program = getpid();
    bell_ring(&lane.bell);
    lane.handler->become(&lane.service, why, sizeof why);
    lane.slot->program = 0;
    give_up(why);
}

_Noreturn void worker_run(struct worker_birth *birth)
{
    struct sandbox_refusal refusal;
    model = (struct process_model){
        .lane = &lane,
        .listeners = birth->listeners,
        .count = birth->listener_count,
        .first = close_sandbox,
        .wake_fd = birth->polls ? eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) : -1,
    };
    lane.handler = handler_of(birth->pool->handler);
    if (lane.handler->leads_session)
        setsid(); /* by which the master knows what it runs: see master/groups */
    log_enter_child(/* cut_off: */ birth->pool->chroot != NULL);
    if (birth->log)
        log_configure(birth->log->ident, birth->log->facility, birth->log->level);
    take_shared(birth);
    prepare_view(birth);
    keep_descriptors(birth);
    prepare_lane(birth);
    if (lane.handler->load && lane.handler->load(refusal.why, sizeof refusal.why) != 0)
        give_up(refusal.why);
    if (sandbox_enter(birth->pool, lane.handler->calls, &refusal) != 0)
        give_up(refusal.why);
    if (lane.handler->become)
        become_program(birth);
    take_signals();
    die_with(birth->master, SIGQUIT);
    prepare_handler(birth);
    say_ready();
    int status = model_process_run(&model);
    if (lane.handler->stop)
        lane.handler->stop(&lane.service);
    _exit(status);
}
