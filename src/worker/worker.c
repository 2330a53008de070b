#include "worker.h"

#include "../base/daemon.h"
#include "../base/fd.h"
#include "../base/log.h"
#include "../board/exitcode.h"
#include "../handlers/program.h"
#include "board_reader.h"
#include "model.h"
#include "privileges.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

static int drop_calls(void);
static void quit(void);

/* Signal handlers have no argument to find it by. With values to begin with, so that all that a
 * worker writes stands together: each page of it is one that no two workers share. */
static struct serve first_seat = {.fd = -1, .log_level = -1};
static struct life life = {.seats = &first_seat, .count = 1};
static struct model_start model_start = {.life = &life, .drop_calls = drop_calls, .quit = quit};
static const struct model *model = &model_process;

/* URG, by which the master says that a connection waits and no worker was woken for it. A worker in
 * accept() goes on there by itself (SA_RESTART), and looks at the queue before it waits again. URG
 * hurts no process without a handler for it: a program, or a module that took ours away. */
static void on_urge(int number)
{
    int saved = errno;
    (void)number;
    model->look();
    errno = saved;
}

/* TERM: take no further connection. */
static void on_term(int number)
{
    int saved = errno;
    (void)number;
    life.stopping = 1;
    model->stop(&model_start);
    errno = saved;
}

/* QUIT, which is also what a dead master sends: end now, with what we run. */
static void quit(void)
{
    pid_t group = first_seat.program; /* our own memory: others can write to the slot */
    if (group > 1)
        kill(-group, SIGKILL);
    _exit(WORKER_ENDED);
}

static void on_quit(int number)
{
    (void)number;
    quit();
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
    /* On a stack of their own, if there is one: a fiber's is small. */
    struct sigaction term = {.sa_handler = on_term, .sa_flags = SA_RESTART | SA_ONSTACK};
    struct sigaction quit = {.sa_handler = on_quit, .sa_mask = blocked, .sa_flags = SA_ONSTACK};
    struct sigaction urge = {.sa_handler = on_urge, .sa_flags = SA_RESTART | SA_ONSTACK};
    sigaction(SIGURG, &urge, NULL);
    sigaction(SIGTERM, &term, NULL);
    sigaction(SIGQUIT, &quit, NULL);
    if (first_seat.handler->runs_programs)
        ignore_none();
    sigprocmask(SIG_SETMASK, &blocked, NULL);
}

static _Noreturn void give_up(const char *why)
{
    snprintf(life.head->reason, sizeof life.head->reason, "%s", why);
    _exit(WORKER_CANT_START);
}

static void keep_descriptors(struct worker_start *start)
{
    int *others = start->listeners + start->listener_count;
    int count = log_descriptors(others);
    others[count++] = start->wakeup;
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

/* The last word of the title is changed in place, if there was room for all of it. A worker with
 * many seats has none: it is busy and idle at once. */
static void show_title(const struct worker_start *start)
{
    size_t shown = daemon_title(start->title);
    char *end = daemon_title_memory() + shown - (sizeof WORKER_TITLE_END - 1);
    if (shown == start->title_length && life.count == 1)
        first_seat.title_word = end + 2;
    else if (shown == start->title_length)
        memset(end, 0, sizeof WORKER_TITLE_END - 1);
}

static void prepare_service(struct service *service, const struct worker_start *start)
{
    const struct pool_config *pool = start->pool;
    service->pool = pool->name;
    service->model = pool->model;
    service->config = pool->handler_config;
    service->program = &first_seat.program;
    service->shown = &life.head->program;
    service->failed_starts = &life.head->failed_starts;
    service->start_error = &life.head->start_error;
    service->templates = &life.head->templates;
    service->listeners = start->listeners;
    service->listener_count = start->listener_count;
    service->file_id = &pool->file_id;
    service->stopping = &life.stopping;
    service->seats = (unsigned)pool_config_most_seats(pool);
    service->idle_timeout = pool->idle_timeout;
    service->request_timeout = pool->request_timeout;
    service->log_level = first_seat.log_level;
    service->renew = serve_renew;
    service->count_request = serve_count_request;
    service->crowded = serve_crowded;
    service->same_peer = serve_same_peer;
    service->sockets = start->sockets;
    service->generation = start->generation;
    service->number = start->number;
    service->notify = start->notify;
    service->watchdog = start->watchdog;
}

/* A seat's own: what it shares with others of its pool, the master lent it the mappings for the
 * fork. */
static void take_seat(struct serve *serve, const struct worker_start *start, int number)
{
    uint32_t seat = start->seat + (uint32_t)number;
    serve->slot = &start->board->slots[seat];
    serve->fd = -1;
    serve->wakeup = (struct wakeup){
        .board = start->board, .head = start->seat, .seat = seat, .fd = start->wakeup};
    serve->wait_known = serve->slot->accepted;
    serve->access = access_open(&serve->its_access, start->pool, start->board, start->limits, seat,
                                serve->handler->refuse != NULL, serve->handler->gives_away);
}

static void prepare_serve(const struct worker_start *start)
{
    const struct pool_config *pool = start->pool;
    int level = pool->log_connections ? LOG_INFO : LOG_DEBUG;
    show_title(start);
    first_seat.log_level = log_wanted(level) ? level : -1;
    life.left = with_jitter(pool->max_requests, getpid());
    prepare_service(&first_seat.service, start);
}

/* With the handler ready: each seat has what the first one has. */
static void open_seats(const struct worker_start *start)
{
    if (life.count == 1)
        return;
    life.seats = calloc((size_t)life.count, sizeof *life.seats);
    if (!life.seats)
        give_up("out of memory");
    for (int i = 0; i < life.count; i++) {
        life.seats[i] = first_seat;
        take_seat(&life.seats[i], start, i);
    }
}

/* Each seat is one that a connection may find: only now, since others may count on it. */
static void show_ready(void)
{
    usec now = clock_now();
    for (int i = 0; i < life.count; i++) {
        life.seats[i].slot->since = now;
        life.seats[i].slot->state = SLOT_IDLE;
    }
    life.head->ready = true;
}

/* Descriptors for all seats, as far as the limit can be raised. */
static void raise_descriptors(const struct worker_start *start)
{
    int own = start->polls && start->pool->model == MODEL_THREAD ? 3 : 1; /* of a seat */
    rlim_t wanted = (rlim_t)(own * life.count + start->listener_count + WORKER_DESCRIPTORS);
    struct rlimit limit;
    if (life.count == 1 || getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= wanted)
        return;
    limit.rlim_cur = wanted < limit.rlim_max ? wanted : limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

static void prepare_handler(const struct worker_start *start)
{
    char why[SCOREBOARD_REASON];
    const struct handler *handler = first_seat.handler;
    if (handler->runs_programs || handler->has_environment) {
        first_seat.service.environment = program_environment(start->pool);
        if (!first_seat.service.environment)
            give_up("out of memory");
    }
    if (!handler->start)
        return;
    if (handler->start(&first_seat.service, why, sizeof why) != 0)
        give_up(why);
    take_signals(); /* whatever it did to them */
}

/* Not at the worker's start: to load the list takes longer than the fork, and a worker that has
 * taken no connection has read nothing that could turn it against us. */
static int drop_calls(void)
{
    struct privileges_refusal refusal;
    if (privileges_close(first_seat.pool, first_seat.handler->calls, &refusal) == 0)
        return 0;
    snprintf(life.head->reason, sizeof life.head->reason, "%.*s", SCOREBOARD_REASON - 1,
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
    life.head->since = clock_now();
    life.head->program = getpid();
    wakeup_ring(&first_seat.wakeup);
    first_seat.handler->exec(&first_seat.service, why, sizeof why);
    life.head->program = 0;
    give_up(why);
}

static const struct model *const models[SERVE_MODELS] = {
    [MODEL_PROCESS] = &model_process,
    [MODEL_THREAD] = &model_thread,
    [MODEL_EVENT] = &model_event,
};

/* What the worker is made of, before anything of it can fail. */
static void take_start(struct worker_start *start)
{
    life.head = &start->board->slots[start->seat];
    life.count = start->pool->seats;
    first_seat.life = &life;
    first_seat.pool = start->pool;
    first_seat.handler = handler_of(start->pool->handler);
    model = models[start->pool->model];
    model_start.listeners = start->listeners;
    model_start.count = start->listener_count;
    model_start.polls = start->polls;
}

_Noreturn void worker_run(struct worker_start *start)
{
    struct privileges_refusal refusal;
    char why[SCOREBOARD_REASON];
    take_start(start);
    const struct handler *handler = first_seat.handler;
    if (handler->calls == CALLS_ANY)
        setsid(); /* it runs what isn't ours: the session proves whose process that is */
    log_enter_child(/* cut_off: */ start->pool->chroot != NULL);
    if (start->log)
        log_configure(start->log->ident, start->log->facility, start->log->level,
                      start->log->format_choice == LOG_FORMAT_JSON);
    take_seat(&first_seat, start, 0);
    /* A worker that speaks with strangers about all pools can write to its own pool's memory alone.
     * */
    if (handler->reads_board) {
        first_seat.service.view = board_reader_open(start->overview_fd, start->boards_fd);
        first_seat.service.shown_times = start->board->shown;
        if (!first_seat.service.view)
            give_up("can't map the overview");
    }
    keep_descriptors(start);
    prepare_serve(start);
    if (handler->load && handler->load(refusal.why, sizeof refusal.why) != 0)
        give_up(refusal.why);
    if (privileges_enter(start->pool, handler->calls, &refusal) != 0)
        give_up(refusal.why);
    if (handler->exec)
        exec_program(start);
    take_signals();
    die_with(start->master, SIGQUIT);
    raise_descriptors(start);
    prepare_handler(start);
    open_seats(start);
    if (model->open(&model_start, why, sizeof why) != 0)
        give_up(why);
    show_ready();
    wakeup_ring(&first_seat.wakeup);
    int status = model->run();
    if (handler->stop)
        handler->stop(&first_seat.service);
    _exit(status);
}
