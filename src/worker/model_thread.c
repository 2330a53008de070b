/*
 * model_thread - many connections at a time: each thread runs a lane with a seat of its own, and
 * does what a worker of the process model does. A thread that foreign code ends is replaced.
 *
 * The lanes share nothing but the listeners and a few words of struct worker_state. Each counts in
 * its own slot, without a lock. The main thread serves no connection. It takes the worker's
 * signals, enforces request_timeout, and waits for the lanes to end. Signals drive it: the master
 * and each ending lane send SIGURG, upon which it looks at the shared state again.
 */
#include "lane.h"
#include "model.h"

#include "../base/log.h"
#include "../board/exitcode.h"
#include "../wire/proxy.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STACK = 1024 * 1024 }; /* of a thread; untouched pages cost nothing */

struct thread {
    struct lane lane;
    pthread_t id;
    enum { OPENING, RUNNING, CLOSING } phase;
    int status;                  /* of the lane, once it has run */
    char why[SCOREBOARD_REASON]; /* why the lane can't start; empty: it can */
    _Atomic bool lost;           /* foreign code ended the thread: the lane needs another one */
};

static struct model_start setup;
static struct thread *threads;
static uint8_t (*headers)[PROXY_MAX]; /* by lane; untouched pages cost nothing */
static pthread_t main_thread;
static sem_t started, go;
static _Atomic int serving; /* lanes that have not ended */
static _Atomic int status;  /* the worker's exit status: the first one that is not 0 */
static sigset_t awaited;    /* signals that the main thread waits for */

static _Thread_local struct lane *own_lane; /* NULL in the main thread */
static pthread_key_t foreign_end; /* set while foreign code may end the thread: see lose_thread */

/* --- a lane's thread -------------------------------------------------------------------------- */

/* The main thread sends SIGURG to make a lane look: at its listeners, at the end of the worker, or
 * at a connection that exceeds request_timeout. If the kernel delivers a SIGURG of the master's
 * here, while the main thread isn't waiting, that does as well: a lane looks at its listeners.
 *
 * The signal ends whatever call the lane waits in, or makes accept() look at the queue again
 * (SA_RESTART). The sender writes the news before it sends the signal, so a lane that isn't waiting
 * yet finds it when it is about to. At the end of the worker the news is the null device, which
 * stands in the listener's place, or `stopping` for a lane with a descriptor of its own. */
static void on_sigurg(int number)
{
    int saved = errno;
    (void)number;
    if (own_lane) {
        lane_release(own_lane);
        wakeup_eventfd(own_lane->wake_fd);
        serve_end_late(own_lane->serve);
    }
    errno = saved;
}

/* The main thread may see the last lane end before that lane's signal arrives. The signal is still
 * safe: the main thread lives as long as the process. */
static void end_lane(int exit_status)
{
    int none = 0;
    if (exit_status)
        atomic_compare_exchange_strong(&status, &none, exit_status);
    serving--;
    pthread_kill(main_thread, SIGURG);
}

/* Whether the worker's reason to end is written, which is done once: lanes may fail together. */
static atomic_flag reason_is_given = ATOMIC_FLAG_INIT;

/* A lane that can't start in a worker that serves. */
static void fail_lane(const struct thread *thread)
{
    if (!atomic_flag_test_and_set(&reason_is_given))
        snprintf(setup.worker->head->reason, SCOREBOARD_REASON, "%s", thread->why);
    end_lane(WORKER_CANT_START);
}

/* The main thread lets the lane go on when all of the worker's lanes have started. If one has not,
 * the main thread says why, and the process ends while the others wait here. */
static void await_go(void)
{
    sem_post(&started);
    while (sem_wait(&go) != 0)
        ;
}

static void open_lane(struct thread *thread)
{
    thread->phase = OPENING;
    if (serve_open_lane(thread->lane.serve, thread->why, sizeof thread->why) == 0)
        thread->why[0] = '\0';
    else if (!thread->why[0])
        snprintf(thread->why, sizeof thread->why, "thread can't start");
    await_go();
}

static void run_lane(struct thread *thread)
{
    sigset_t urg;
    sigemptyset(&urg);
    sigaddset(&urg, SIGURG);
    thread->phase = RUNNING;
    pthread_sigmask(SIG_UNBLOCK, &urg, NULL);
    thread->status = lane_run(&thread->lane);
    pthread_sigmask(SIG_BLOCK, &urg, NULL);
    thread->phase = CLOSING;
    serve_close_lane(thread->lane.serve);
}

static void log_lost(const struct lane *lane)
{
    static struct log_rate lost;
    unsigned missed;
    char peer[ADDR_TEXT] = "none";
    const char *pool = lane->serve->pool->name;
    if (!log_rate_ok(&lost, USEC_SECOND, &missed))
        return;
    if (lane->serve->began)
        addr_print_peer(&lane->conn.peer, peer);
    log_warning("pool %s: the handler %s ended its thread, with the connection from %s, which was "
                "closed; another thread takes its place pool=%s peer=%s missed=%u",
                pool, lane->serve->pool->handler->name, peer, pool, peer, missed);
}

/* Foreign code has ended the thread, by pthread_exit(3): the destructor of `foreign_end`. The stack
 * is unwound, so only what lies in struct thread is left of the connection. Once `lost` is set,
 * another thread may have the lane. */
static void lose_thread(void *argument)
{
    struct thread *thread = argument;
    sigset_t urg;
    sigemptyset(&urg);
    sigaddset(&urg, SIGURG);
    pthread_sigmask(SIG_BLOCK, &urg, NULL);
    switch (thread->phase) {
    case OPENING:
        snprintf(thread->why, sizeof thread->why, "lane_start ended its thread");
        await_go();
        fail_lane(thread);
        break;
    case RUNNING:
        log_lost(&thread->lane);
        if (thread->lane.serve->began)
            serve_abandon(thread->lane.serve, &thread->lane.conn);
        thread->lost = true;
        pthread_kill(main_thread, SIGURG);
        break;
    case CLOSING: end_lane(thread->status); break;
    }
}

/* The thread starts with all signals blocked, waits for `go`, and then unblocks SIGURG; one that
 * was sent before is pending until then. */
static void *run_thread(void *argument)
{
    struct thread *thread = argument;
    own_lane = &thread->lane;
    pthread_setspecific(foreign_end, thread);
    open_lane(thread);
    if (!thread->why[0])
        run_lane(thread);
    pthread_setspecific(foreign_end, NULL);
    if (thread->why[0])
        fail_lane(thread);
    else
        end_lane(thread->status);
    return NULL;
}

/* --- the main thread -------------------------------------------------------------------------- */

static int fail(char *why, size_t size, int number, int error)
{
    snprintf(why, size, "can't start thread %d of %d: %s", number + 1, setup.worker->count,
             strerror(error));
    return -1;
}

/* 0 or an errno. The thread inherits a mask that blocks all signals. */
static int start_thread(struct thread *thread)
{
    pthread_attr_t attributes;
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK);
    int error = pthread_create(&thread->id, &attributes, run_thread, thread);
    pthread_attr_destroy(&attributes);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return error;
}

static int open_thread(int number)
{
    struct thread *thread = &threads[number];
    thread->lane.serve = &setup.worker->seats[number];
    thread->lane.listeners = setup.listeners;
    thread->lane.count = setup.count;
    thread->lane.beside_others = setup.polls;
    thread->lane.serve->access_memory.header = headers[number];
    int error = lane_open(&thread->lane, setup.polls);
    return error ? -error : start_thread(thread);
}

static int open_threads(const struct model_start *start, char *why, size_t size)
{
    static const struct sigaction urg = {.sa_handler = on_sigurg, .sa_flags = SA_RESTART};
    int error = 0, opened = 0, count = start->worker->count;
    setup = *start;
    threads = calloc((size_t)count, sizeof *threads);
    headers = calloc((size_t)count, sizeof *headers);
    if (!threads || !headers)
        return fail(why, size, 0, errno);
    main_thread = pthread_self();
    if ((error = pthread_key_create(&foreign_end, lose_thread)) != 0)
        return fail(why, size, 0, error);
    sem_init(&started, 0, 0);
    sem_init(&go, 0, 0);
    sigaction(SIGURG, &urg, NULL);
    serving = count;
    for (; opened < count && error == 0; opened += error == 0)
        if ((error = open_thread(opened)) != 0)
            fail(why, size, opened, error);
    for (int i = 0; i < opened; i++)
        while (sem_wait(&started) != 0)
            ;
    for (int i = 0; i < opened && error == 0; i++)
        if (threads[i].why[0]) {
            snprintf(why, size, "%s", threads[i].why);
            error = -1;
        }
    return error ? -1 : 0;
}

static void stop(const struct model_start *start)
{
    lane_leave_listeners(start->listeners, start->count);
}

/* Makes all lanes accept no further connection. A lane in accept() restarts the call on the null
 * device; a lane that isn't there yet finds the device, which is put there before the signal. */
static void finish(void)
{
    setup.worker->stopping = 1;
    stop(&setup);
    for (int i = 0; i < setup.worker->count; i++)
        pthread_kill(threads[i].id, SIGURG);
}

/* The master says that a connection is waiting that woke no worker. Each time it asks, another idle
 * lane looks. */
static void wake_idle_lane(void)
{
    static unsigned next;
    for (int i = 0; i < setup.worker->count; i++) {
        unsigned number = next++ % (unsigned)setup.worker->count;
        if (setup.worker->seats[number].began == 0) {
            pthread_kill(threads[number].id, SIGURG);
            return;
        }
    }
}

/* Ends connections that exceed request_timeout. Each one's own lane shuts it down, because only
 * that lane knows whether it is still the same connection. If the handler goes on nevertheless, the
 * master ends the worker. Returns the earliest time at which another connection, present or future,
 * can be late. */
static usec end_late(usec now)
{
    usec limit = setup.worker->seats->pool->request_timeout * USEC_SECOND, next = now + limit;
    for (int i = 0; i < setup.worker->count; i++) {
        struct serve *serve = &setup.worker->seats[i];
        usec began = serve->began;
        if (!began || began == serve->late)
            continue;
        if (began + limit > now) {
            next = clock_earlier(next, began + limit);
            continue;
        }
        serve->late = began;
        pthread_kill(threads[i].id, SIGURG);
    }
    return next;
}

/* Gives each lane that lost its thread another one, unless the worker finishes. The old thread is
 * detached: what foreign code does at its very end must not keep this one waiting. */
static void replace_lost_threads(void)
{
    for (int i = 0; i < setup.worker->count; i++) {
        struct thread *thread = &threads[i];
        pthread_t old = thread->id;
        if (!atomic_exchange(&thread->lost, false))
            continue;
        if (!serve_may_accept(thread->lane.serve)) {
            serving--;
            continue;
        }
        int error = start_thread(thread);
        if (error == 0) {
            pthread_detach(old);
            sem_post(&go);
            continue;
        }
        thread->id = old;
        serving--;
        if (!atomic_flag_test_and_set(&reason_is_given))
            fail(setup.worker->head->reason, SCOREBOARD_REASON, i, error);
        status = WORKER_SHORT;
    }
}

/* The next signal; 0 or less if none arrived in time. */
static int await_signal(void)
{
    if (!setup.worker->seats->pool->request_timeout)
        return sigwaitinfo(&awaited, NULL);
    usec now = clock_now(), left = end_late(now) - now;
    struct timespec span = {.tv_sec = left / USEC_SECOND, .tv_nsec = left % USEC_SECOND * 1000};
    return sigtimedwait(&awaited, NULL, &span);
}

/* From here on signals are blocked and taken one by one. A TERM that arrived before was handled,
 * and has set `stopping`. */
static int run(void)
{
    sigemptyset(&awaited);
    sigaddset(&awaited, SIGTERM);
    sigaddset(&awaited, SIGQUIT);
    sigaddset(&awaited, SIGURG);
    pthread_sigmask(SIG_BLOCK, &awaited, NULL);
    int error = setup.drop_calls();
    if (error)
        return error;
    for (int i = 0; i < setup.worker->count; i++)
        sem_post(&go);
    bool finishing = false;
    while (serving) {
        if (!finishing && (setup.worker->stopping || status || setup.worker->left == 0)) {
            finish();
            finishing = true;
            serve_tell_finishing(setup.worker);
        }
        switch (await_signal()) {
        case SIGQUIT: setup.quit(); break;
        case SIGTERM: setup.worker->stopping = 1; break;
        case SIGURG:
            replace_lost_threads();
            wake_idle_lane();
            break;
        }
    }
    for (int i = 0; i < setup.worker->count; i++)
        pthread_join(threads[i].id, NULL); /* at once: each has ended its lane already */
    return status;
}

/* Called only until `open` installs on_sigurg. The lanes look at the listeners when they start. */
static void wake(void)
{
}

const struct model model_thread = {
    .open = open_threads,
    .run = run,
    .wake = wake,
    .stop = stop,
};
