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

/* Global, because signal handlers have no argument. Initialised, so that all variables that a
 * worker writes lie together in .data: each page written is a page that workers no longer share. */
static struct serve first_seat = {.fd = -1, .log_level = -1};
static struct worker_state worker = {.seats = &first_seat, .count = 1};
static struct model_start model_start = {.worker = &worker, .drop_calls = drop_calls, .quit = quit};
static const struct model *model = &model_process;

/* By URG the master says that a connection is waiting that woke no worker. A worker in accept()
 * restarts the call (SA_RESTART), and looks at the queue before it waits again. URG harms no
 * process that has no handler for it, such as a program, or a worker whose module removed ours. */
static void on_sigurg(int number)
{
    int saved = errno;
    (void)number;
    model->wake();
    errno = saved;
}

/* TERM: accept no further connection. */
static void on_sigterm(int number)
{
    int saved = errno;
    (void)number;
    worker.stopping = 1;
    model->stop(&model_start);
    errno = saved;
}

/* QUIT, also the death signal of the master: end now, and kill the program that the worker runs. */
static void quit(void)
{
    pid_t group = first_seat.program; /* in private memory: other workers can write to the slot */
    if (group > 1)
        kill(-group, SIGKILL);
    _exit(WORKER_ENDED);
}

static void on_sigquit(int number)
{
    (void)number;
    quit();
}

/* The master's other signals are blocked, not ignored, so that an empty mask alone gives a program
 * clean dispositions. So are PIPE and XFSZ, which a failed write to a client or a log raises. */
static sigset_t blocked;

void worker_prepare(void)
{
    static const int others[] = {SIGHUP,   SIGINT,  SIGUSR1, SIGUSR2, SIGPIPE,
                                 SIGWINCH, SIGTTIN, SIGTTOU, SIGXFSZ};
    sigemptyset(&blocked);
    for (unsigned i = 0; i < sizeof others / sizeof *others; i++)
        sigaddset(&blocked, others[i]);
    privileges_prepare();
}

/* A program starts with the dispositions that the worker leaves (see launch.h). */
static void ignore_none(void)
{
    static const struct sigaction fallback = {.sa_handler = SIG_DFL};
    sigaction(SIGPIPE, &fallback, NULL);
    sigaction(SIGUSR2, &fallback, NULL);
    sigaction(SIGXFSZ, &fallback, NULL);
}

static void take_signals(void)
{
    /* The handlers run on the alternate stack, if there is one: a fiber's stack is small. */
    struct sigaction term = {.sa_handler = on_sigterm, .sa_flags = SA_RESTART | SA_ONSTACK};
    struct sigaction quit = {.sa_handler = on_sigquit, .sa_mask = blocked, .sa_flags = SA_ONSTACK};
    struct sigaction urg = {.sa_handler = on_sigurg, .sa_flags = SA_RESTART | SA_ONSTACK};
    sigaction(SIGURG, &urg, NULL);
    sigaction(SIGTERM, &term, NULL);
    sigaction(SIGQUIT, &quit, NULL);
    if (first_seat.handler->runs_programs)
        ignore_none();
    sigprocmask(SIG_SETMASK, &blocked, NULL);
}

static _Noreturn void give_up(const char *why)
{
    snprintf(worker.head->reason, sizeof worker.head->reason, "%s", why);
    _exit(WORKER_CANT_START);
}

/* How many files a process of the pool may have open. */
static rlim_t most_files(const struct pool_config *pool)
{
    long long own = pool->limits.value[LIMIT_NOFILE];
    if (own == OPTION_UNSET)
        return daemon_first_nofile();
    return own == OPTION_UNLIMITED ? RLIM_INFINITY : (rlim_t)own;
}

/* To leave its listeners a worker puts the null device over them. dup3(2) refuses a number beyond
 * the limit of open files, and the master, whose limit is higher, may have opened them there. */
static void lower_listeners(struct worker_start *start)
{
    rlim_t most = most_files(start->pool);
    for (int i = 0; i < start->listener_count; i++) {
        int fd = start->listeners[i];
        if ((rlim_t)fd < most)
            continue;
        int low = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
        if (low < 0 || (rlim_t)low >= most)
            give_up("its limit nofile leaves no room for its listeners");
        close(fd);
        start->listeners[i] = low;
    }
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
    lower_listeners(start);
}

/* Makes the worker end with its master. Call it after the user is set, which clears the death
 * signal. A master that died before this call sends no signal, but is not the parent any more. */
static void die_with(pid_t master, int number)
{
    prctl(PR_SET_PDEATHSIG, number);
    if (getppid() != master)
        _exit(WORKER_ENDED);
}

/* Spreads max_requests by ± 10 %, so that the workers of a pool are not replaced together. */
static long long with_jitter(int requests, pid_t pid)
{
    unsigned seed = (unsigned)pid * 2654435761u;
    long long spread = requests / 10;
    return requests ? requests - spread + rand_r(&seed) % (2 * spread + 1) : -1;
}

/* If the title was not truncated, its last word changes in place later. The title of a worker with
 * several seats has no such word, because the worker can be busy and idle at once. */
static void show_title(const struct worker_start *start)
{
    size_t shown = daemon_title(start->title);
    char *end = daemon_title_memory() + shown - (sizeof WORKER_TITLE_END - 1);
    if (shown == start->title_length && worker.count == 1)
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
    service->shown = &worker.head->program;
    service->failed_starts = &worker.head->failed_starts;
    service->start_error = &worker.head->start_error;
    service->templates = &worker.head->templates;
    service->listeners = start->listeners;
    service->listener_count = start->listener_count;
    service->file_id = &pool->file_id;
    service->stopping = &worker.stopping;
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

/* Fills in what differs from seat to seat. The mappings are the master's, inherited by the fork. */
static void take_seat(struct serve *serve, const struct worker_start *start, int number)
{
    uint32_t seat = start->seat + (uint32_t)number;
    serve->slot = &start->board->slots[seat];
    serve->fd = -1;
    serve->wakeup = (struct wakeup){
        .board = start->board, .head = start->seat, .seat = seat, .fd = start->wakeup};
    serve->waits_counted = serve->slot->accepted;
    serve->access = access_open(&serve->access_memory, start->pool, start->board, start->limits,
                                seat, serve->handler->refuse != NULL, serve->handler->gives_away);
}

static void prepare_serve(const struct worker_start *start)
{
    const struct pool_config *pool = start->pool;
    int level = pool->log_connections ? LOG_INFO : LOG_DEBUG;
    show_title(start);
    first_seat.log_level = log_wanted(level) ? level : -1;
    first_seat.own_timeouts = start->own_timeouts;
    worker.left = with_jitter(pool->max_requests, getpid());
    prepare_service(&first_seat.service, start);
}

/* Once the handler is ready, copies the first seat to all seats. */
static void open_seats(const struct worker_start *start)
{
    if (worker.count == 1)
        return;
    worker.seats = calloc((size_t)worker.count, sizeof *worker.seats);
    if (!worker.seats)
        give_up("out of memory");
    for (int i = 0; i < worker.count; i++) {
        worker.seats[i] = first_seat;
        take_seat(&worker.seats[i], start, i);
    }
}

/* Shows the seats idle only now, because other workers count idle seats as free. */
static void show_ready(void)
{
    usec now = clock_now();
    for (int i = 0; i < worker.count; i++) {
        worker.seats[i].slot->since = now;
        worker.seats[i].slot->state = SLOT_IDLE;
    }
    worker.head->ready = true;
}

/* Raises the limit, as far as it goes, to have descriptors for all seats. */
static void raise_descriptors(const struct worker_start *start)
{
    rlim_t wanted = (rlim_t)pool_config_files(start->pool, start->listener_count);
    struct rlimit limit;
    if (worker.count == 1 || getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= wanted)
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
    int error = handler->start(&first_seat.service, why, sizeof why);
    if (error && worker.stopping) /* it need not start any more */
        _exit(WORKER_RETIRED);
    if (error)
        give_up(why);
    take_signals(); /* the handler may have changed the dispositions */
}

/* Runs at the first connection, not at the worker's start: loading the list takes longer than the
 * fork, and a worker without a connection has read nothing that could turn it against us. */
static int drop_calls(void)
{
    struct privileges_refusal refusal;
    if (privileges_drop_calls(first_seat.pool, first_seat.handler->calls, &refusal) == 0)
        return 0;
    snprintf(worker.head->reason, sizeof worker.head->reason, "%.*s", SCOREBOARD_REASON - 1,
             refusal.why);
    return WORKER_CANT_START;
}

/* The program leads its session and so its process group. Its ready_timeout begins here. Its death
 * signal is KILL, which no program can ignore. All signals are still blocked, as they were at the
 * start, so that none is lost to a handler of ours. */
static _Noreturn void exec_program(const struct worker_start *start)
{
    char why[SCOREBOARD_REASON];
    ignore_none();
    die_with(start->master, SIGKILL);
    prepare_handler(start);
    worker.head->since = clock_now();
    worker.head->program = getpid();
    wakeup_send(&first_seat.wakeup);
    first_seat.handler->exec(&first_seat.service, why, sizeof why);
    worker.head->program = 0;
    give_up(why);
}

static const struct model *const models[SERVE_MODELS] = {
    [MODEL_PROCESS] = &model_process,
    [MODEL_THREAD] = &model_thread,
    [MODEL_EVENT] = &model_event,
};

/* Sets what the worker consists of, before anything can fail. */
static void take_start(struct worker_start *start)
{
    worker.head = &start->board->slots[start->seat];
    worker.count = start->pool->seats;
    first_seat.worker = &worker;
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
        setsid(); /* it runs foreign programs: their session proves whose processes they are */
    log_enter_child(/* cut_off: */ start->pool->chroot != NULL);
    if (start->log)
        log_configure(start->log->ident, start->log->facility, start->log->level,
                      start->log->format_choice == LOG_FORMAT_JSON);
    take_seat(&first_seat, start, 0);
    /* A worker that reports on all pools can write only to the memory of its own pool. */
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
    wakeup_send(&first_seat.wakeup);
    int status = model->run();
    if (handler->stop)
        handler->stop(&first_seat.service);
    _exit(status);
}
