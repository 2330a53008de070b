/*
 * model_thread - many connections at a time: a lane each, a thread that does what a worker of the
 * process model does, with a seat of its own.
 *
 * The lanes share nothing but the listeners and a few words of struct life: so they count without a
 * lock, each in its own slot. The main thread serves nobody. It takes the worker's signals, sees to
 * request_timeout, and waits for the lanes' end. It learns of everything by a signal: URG comes of
 * the master, and of each lane that ends; then it looks at what is there.
 */
#include "lane.h"
#include "model.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STACK = 1024 * 1024 }; /* of a thread: pages that are never touched cost nothing */

struct thread {
    struct lane lane;
    pthread_t id;
    char why[SCOREBOARD_REASON]; /* of a start that failed; else empty */
};

static struct model_start worker;
static struct thread *threads;
static pthread_t main_thread;
static sem_t started, go;
static _Atomic int serving; /* lanes that have not ended */
static _Atomic int status;  /* the worker's; the first that is not 0 */
static sigset_t taken;      /* by the main thread, while it waits */

static _Thread_local struct lane *own; /* NULL in the main thread */

/* --- a lane's thread -------------------------------------------------------------------------- */

/* URG, of the main thread: look at the queue, at the end of the worker's life, or at the time that
 * the connection in hand takes. One that came of the master while the main thread was not waiting
 * is as good here: a lane looks at the queue.
 *
 * It ends whatever the lane waits in, or has accept() look again (SA_RESTART). What the lane is to
 * see is written before the signal is sent: so a lane that is not waiting yet sees it when it
 * comes to that. At the end of the life that is the null device over its listener. */
static void on_urge(int number)
{
    int saved = errno;
    (void)number;
    if (own) {
        lane_wake(own);
        serve_end_late(own->serve);
    }
    errno = saved;
}

/* The last one to end may be seen by the main thread before its signal comes: that one is then sent
 * to a thread that is there as long as the process. */
static void end_lane(int its_status)
{
    int none = 0;
    if (its_status)
        atomic_compare_exchange_strong(&status, &none, its_status);
    serving--;
    pthread_kill(main_thread, SIGURG);
}

/* Waits for the word without a signal that could disturb it; then URG may come, which was kept for
 * it. */
static void *run_thread(void *argument)
{
    struct thread *thread = argument;
    sigset_t urge;
    own = &thread->lane;
    if (serve_open_lane(own->serve, thread->why, sizeof thread->why) == 0)
        thread->why[0] = '\0';
    else if (!thread->why[0])
        snprintf(thread->why, sizeof thread->why, "thread can't start");
    sem_post(&started);
    while (sem_wait(&go) != 0)
        ;
    sigemptyset(&urge);
    sigaddset(&urge, SIGURG);
    pthread_sigmask(SIG_UNBLOCK, &urge, NULL);
    int its_status = lane_run(own);
    pthread_sigmask(SIG_BLOCK, &urge, NULL);
    serve_close_lane(own->serve);
    end_lane(its_status);
    return NULL;
}

/* --- the main thread -------------------------------------------------------------------------- */

static int fail(char *why, size_t size, int number, int error)
{
    snprintf(why, size, "can't start thread %d of %d: %s", number + 1, worker.life->count,
             strerror(error));
    return -1;
}

static int open_thread(int number, const pthread_attr_t *attributes)
{
    struct thread *thread = &threads[number];
    thread->lane.serve = &worker.life->seats[number];
    thread->lane.listeners = worker.listeners;
    thread->lane.count = worker.count;
    int error = lane_open(&thread->lane, worker.polls);
    return error ? -error : pthread_create(&thread->id, attributes, run_thread, thread);
}

static int open_threads(const struct model_start *start, char *why, size_t size)
{
    static const struct sigaction urge = {.sa_handler = on_urge, .sa_flags = SA_RESTART};
    pthread_attr_t attributes;
    sigset_t all, before;
    int error = 0, count = start->life->count;
    worker = *start;
    threads = calloc((size_t)count, sizeof *threads);
    if (!threads)
        return fail(why, size, 0, errno);
    main_thread = pthread_self();
    sem_init(&started, 0, 0);
    sem_init(&go, 0, 0);
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK);
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before); /* for the threads, which keep it */
    for (int i = 0; i < count && error == 0; i++)
        if ((error = open_thread(i, &attributes)) != 0)
            fail(why, size, i, error);
        else
            serving++;
    for (int i = 0; i < serving; i++)
        while (sem_wait(&started) != 0)
            ;
    sigaction(SIGURG, &urge, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    for (int i = 0; i < serving && error == 0; i++)
        if (threads[i].why[0]) {
            snprintf(why, size, "%s", threads[i].why);
            error = -1;
        }
    return error ? -1 : 0;
}

/* Wakes each lane to what is written by now. */
static void wake_all(void)
{
    for (int i = 0; i < worker.life->count; i++)
        pthread_kill(threads[i].id, SIGURG);
}

static void stop(const struct model_start *start)
{
    lane_leave_listeners(start->listeners, start->count);
}

/* No lane takes another connection. A lane in accept() restarts it on the null device; if it was
 * not there yet, it finds the device, which was put there first. */
static void finish(void)
{
    worker.life->stopping = 1;
    stop(&worker);
    wake_all();
}

/* The master has a connection that waits, and no worker woke for it: one lane after the other
 * looks, as the master asks again. */
static void pass_on(void)
{
    static int next;
    for (int i = 0; i < worker.life->count; i++) {
        int number = next++ % worker.life->count;
        if (worker.life->seats[number].began == 0) {
            pthread_kill(threads[number].id, SIGURG);
            return;
        }
    }
}

/* Ends the connections that take more than request_timeout: each by its own lane, which knows
 * whether it is still the same one. If its handler goes on nevertheless, the master ends the
 * worker. Returns when the next one can be late, of those that are there and those that may
 * come. */
static usec end_late(usec now)
{
    usec limit = worker.life->seats->pool->request_timeout * USEC_SECOND, next = now + limit;
    for (int i = 0; i < worker.life->count; i++) {
        struct serve *serve = &worker.life->seats[i];
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

/* The next signal; 0 if none came in time. */
static int await_signal(void)
{
    if (!worker.life->seats->pool->request_timeout)
        return sigwaitinfo(&taken, NULL);
    usec now = clock_now(), left = end_late(now) - now;
    struct timespec span = {.tv_sec = left / USEC_SECOND, .tv_nsec = left % USEC_SECOND * 1000};
    return sigtimedwait(&taken, NULL, &span);
}

/* Signals are kept from here on, and taken one by one. One that came before was handled, and its
 * mark is seen: TERM's. */
static int run(void)
{
    sigemptyset(&taken);
    sigaddset(&taken, SIGTERM);
    sigaddset(&taken, SIGQUIT);
    sigaddset(&taken, SIGURG);
    pthread_sigmask(SIG_BLOCK, &taken, NULL);
    int error = worker.drop_calls();
    if (error)
        return error;
    for (int i = 0; i < worker.life->count; i++)
        sem_post(&go);
    bool finishing = false;
    while (serving) {
        if (!finishing && (worker.life->stopping || status || worker.life->left == 0)) {
            finish();
            finishing = true;
            serve_tell_finishing(worker.life);
        }
        switch (await_signal()) {
        case SIGQUIT: worker.quit(); break;
        case SIGTERM: worker.life->stopping = 1; break;
        case SIGURG: pass_on(); break;
        }
    }
    for (int i = 0; i < worker.life->count; i++)
        pthread_join(threads[i].id, NULL); /* each has counted itself out: this takes no time */
    return status;
}

/* The main thread is not waiting yet: nobody was accepted, and the lanes look anyway. */
static void look(void)
{
}

const struct model model_thread = {
    .open = open_threads,
    .run = run,
    .look = look,
    .stop = stop,
};
