#include "watchdog.h"

#include "../base/clock.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>

enum { LOOK_MSEC = 1000, STACK = 128 * 1024 };

static void sleep_until_work(struct watchdog *watchdog)
{
    watchdog->sleeps = true;
    atomic_thread_fence(memory_order_seq_cst);
    if (!watchdog->works)
        while (sem_wait(&watchdog->wake) != 0)
            ;
    watchdog->sleeps = false;
}

/* A turn that lasts from one look to the next is told of, once. */
static void *run(void *argument)
{
    struct watchdog *watchdog = argument;
    uint64_t seen = 0, told = 0;
    usec since = 0;
    sem_post(&watchdog->started);
    for (;;) {
        if (!watchdog->works) {
            sleep_until_work(watchdog);
            seen = 0;
        }
        uint64_t turn = atomic_load_explicit(&watchdog->turn, memory_order_acquire);
        uint32_t number = watchdog->number;
        usec now = clock_now();
        if (turn != seen)
            since = now;
        else if (turn != told && watchdog->works && watchdog->turn == turn) {
            watchdog->tell(number, clock_seconds(now - since));
            told = turn;
        }
        seen = turn;
        poll(NULL, 0, LOOK_MSEC);
    }
    return NULL;
}

int watchdog_open(struct watchdog *watchdog, void (*tell)(uint32_t number, double seconds))
{
    pthread_t id;
    pthread_attr_t attributes;
    sigset_t all, before;
    watchdog->tell = tell;
    sem_init(&watchdog->wake, 0, 0);
    sem_init(&watchdog->started, 0, 0);
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before); /* the signals are the lane's */
    int error = pthread_create(&id, &attributes, run, watchdog);
    while (error == 0 && sem_wait(&watchdog->started) != 0)
        ;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    return -error;
}
