#include "worker.h"

#include "../base/daemon.h"
#include "../base/fd.h"
#include "../base/log.h"
#include "../board/exitcode.h"
#include "../handlers/program.h"
#include "board_reader.h"
#include "model_process.h"
#include "privileges.h"
#include "serve.h"

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
static struct serve serve;
static struct process_model model;

/* Ends epoll_wait(). What is in the eventfd already does as well: so a failure is none.
 *
 * It is also the handler of URG, by which the master says that a connection waits and no worker was
 * woken for it. A worker in accept() goes on there by itself (SA_RESTART), and looks at the queue
 * before it waits again. URG hurts no process without a handler for it: a program, or a module that
 * took ours away. */
static void wake(int number)
{
    static const uint64_t one = 1;
    int saved = errno;
    ssize_t written = model.wake_fd < 0 ? 0 : write(model.wake_fd, &one, sizeof one);
    (void)number, (void)written;
    errno = saved;
}

/* TERM: take no further connection. accept() on the null device fails at once, whether the signal
 * comes before it or into it, and the socket of the others is untouched; the eventfd does the same
 * for epoll_wait(). */
static void on_term(int number)
{
    int saved = errno;
    serve.stopping = 1;
    for (int i = 0; i < model.count; i++)
        dup3(STDIN_FILENO, model.listeners[i], O_CLOEXEC);
    wake(number);
    errno = saved;
}

/* QUIT, which is also what a dead master sends: end now, with what we run. */
static void on_quit(int number)
{
    pid_t group = serve.program; /* our own memory: others can write to the slot */
    (void)number;
    if (group > 1)
        kill(-group, SIGKILL);
    _exit(WORKER_ENDED);
}

/* The master's signals stay blocked, not ignored: a program then gets clean dispositions by an
 * empty mask alone. */
static sigset_t blocked;

void worker_prepare(void)
{
    static const int others[] = {SIGHUP,  SIGINT,   SIGUSR1, SIGUSR2,
                                 SIGPIPE, SIGWINCH, SIGTTIN, SIGTTOU};
    sigemptyset(&blocked);
    for (unsigned i = 0; i < sizeof others / sizeof *others; i++)
        sigaddset(&blocked, others[i]);
    privileges_prepare();
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
    struct sigaction urge = {.sa_handler = wake, .sa_flags = SA_RESTART};
    sigaction(SIGURG, &urge, NULL);
    sigaction(SIGTERM, &term, NULL);
    sigaction(SIGQUIT, &quit, NULL);
    if (serve.handler->runs_programs)
        ignore_none();
    sigprocmask(SIG_SETMASK, &blocked, NULL);
}

static _Noreturn void give_up(const char *why)
{
    snprintf(serve.slot->reason, sizeof serve.slot->reason, "%s", why);
    _exit(WORKER_CANT_START);
}

static void keep_descriptors(struct worker_start *start)
{
    int *others = start->listeners + start->listener_count;
    int count = log_descriptors(others);
    others[count++] = start->wakeup;
    others[count++] = model.wake_fd;
    others[count++] = start->boards_fd;
    dup2(start->error_fd, STDERR_FILENO);
    if (fd_keep_only(start->listeners, start->listener_count + count) != 0)
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

/* The last word of the title is changed in place, if there was room for all of it. */
static void prepare_serve(const struct worker_start *start)
{
    const struct pool_config *pool = start->pool;
    int level = pool->log_connections ? LOG_INFO : LOG_DEBUG;
    size_t shown = daemon_title(start->title);
    serve.pool = pool;
    if (shown == start->title_length)
        serve.title_word = daemon_title_memory() + shown - (sizeof WORKER_TITLE_END - 1) + 2;
    serve.log_level = log_wanted(level) ? level : -1;
    serve.wait_known = serve.slot->accepted;
    serve.left = with_jitter(pool->max_requests, getpid());
    serve.service.pool = pool->name;
    serve.service.config = pool->handler_config;
    serve.service.program = &serve.program;
    serve.service.shown = &serve.slot->program;
    serve.service.failed_starts = &serve.slot->failed_starts;
    serve.service.start_error = &serve.slot->start_error;
    serve.service.listeners = start->listeners;
    serve.service.listener_count = start->listener_count;
    serve.service.mark = &pool->mark;
    serve.service.stopping = &serve.stopping;
    serve.service.seats = (unsigned)(pool->workers ? pool->workers : pool->max_workers);
    serve.service.idle_timeout = pool->idle_timeout;
    serve.service.request_timeout = pool->request_timeout;
    serve.service.log_level = serve.log_level;
    serve.service.renew = serve_renew;
    serve.service.count_request = serve_count_request;
    serve.service.crowded = serve_crowded;
    serve.service.same_peer = serve_same_peer;
    serve.service.sockets = start->sockets;
    serve.service.generation = start->generation;
    serve.service.number = start->number;
    serve.service.notify = start->notify;
    serve.service.watchdog = start->watchdog;
}

static void prepare_handler(const struct worker_start *start)
{
    char why[SCOREBOARD_REASON];
    const struct handler *handler = serve.handler;
    if (handler->runs_programs || handler->has_environment) {
        serve.service.environment = program_environment(start->pool);
        if (!serve.service.environment)
            give_up("out of memory");
    }
    if (!handler->start)
        return;
    if (handler->start(&serve.service, why, sizeof why) != 0)
        give_up(why);
    take_signals(); /* whatever it did to them */
}

/* Not at the worker's start: to load the list takes longer than the fork, and a worker that has
 * taken no connection has read nothing that could turn it against us. */
static int drop_calls(void)
{
    struct privileges_refusal refusal;
    if (privileges_close(serve.pool, serve.handler->calls, &refusal) == 0)
        return 0;
    snprintf(serve.slot->reason, sizeof serve.slot->reason, "%.*s", SCOREBOARD_REASON - 1,
             refusal.why);
    return WORKER_CANT_START;
}

/* The program leads a group of its own, as it does its session; and the time begins in which it is
 * to become ready. Its death signal is KILL, which a program can't fail to obey. Signals are
 * blocked as they were at the start, so that none is lost to a handler of ours. */
static _Noreturn void exec_program(const struct worker_start *start)
{
    char why[SCOREBOARD_REASON];
    ignore_none();
    die_with(start->master, SIGKILL);
    prepare_handler(start);
    serve.slot->since = clock_now();
    serve.slot->program = getpid();
    wakeup_ring(&serve.wakeup);
    serve.handler->exec(&serve.service, why, sizeof why);
    serve.slot->program = 0;
    give_up(why);
}

_Noreturn void worker_run(struct worker_start *start)
{
    struct privileges_refusal refusal;
    model = (struct process_model){
        .serve = &serve,
        .listeners = start->listeners,
        .count = start->listener_count,
        .first = drop_calls,
        .wake_fd = start->polls ? eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) : -1,
    };
    serve.handler = handler_of(start->pool->handler);
    if (serve.handler->calls == CALLS_ANY)
        setsid(); /* it runs what isn't ours: the session proves whose process that is */
    log_enter_child(/* cut_off: */ start->pool->chroot != NULL);
    if (start->log)
        log_configure(start->log->ident, start->log->facility, start->log->level,
                      start->log->format_choice == LOG_FORMAT_JSON);
    /* What it shares with others of its pool: the master lent it the mappings for the fork. */
    serve.slot = &start->board->slots[start->seat];
    serve.wakeup = (struct wakeup){.board = start->board, .seat = start->seat, .fd = start->wakeup};
    serve.access = access_open(start->pool, start->board, start->limits, start->seat,
                               serve.handler->refuse != NULL, serve.handler->gives_away);
    /* A worker that speaks with strangers about all pools can write to its own pool's memory alone.
     * */
    if (serve.handler->reads_board) {
        serve.service.view = board_reader_open(start->overview_fd, start->boards_fd);
        serve.service.shown_times = start->board->shown;
        if (!serve.service.view)
            give_up("can't map the overview");
    }
    keep_descriptors(start);
    prepare_serve(start);
    if (serve.handler->load && serve.handler->load(refusal.why, sizeof refusal.why) != 0)
        give_up(refusal.why);
    if (privileges_enter(start->pool, serve.handler->calls, &refusal) != 0)
        give_up(refusal.why);
    if (serve.handler->exec)
        exec_program(start);
    take_signals();
    die_with(start->master, SIGQUIT);
    prepare_handler(start);
    serve.slot->since = clock_now();
    serve.slot->ready = true;
    serve.slot->state = SLOT_IDLE;
    wakeup_ring(&serve.wakeup);
    int status = model_process_run(&model);
    if (serve.handler->stop)
        serve.handler->stop(&serve.service);
    _exit(status);
}
