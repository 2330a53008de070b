/*
 * watchdog - sees that a handler keeps an event lane for itself: because it computes, or waits in a
 * call that the lane knows nothing of. It is named in the log; what is to be done about it is
 * request_timeout's.
 *
 * A thread of its own, which looks once a second while the lane has work, and sleeps while the lane
 * does. The lane writes here, and reads no clock. In a worker of the event model.
 */
#ifndef PREFORKD_WORKER_WATCHDOG_H
#define PREFORKD_WORKER_WATCHDOG_H

#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct watchdog {
    _Atomic uint64_t turn;   /* grows whenever the lane takes its turn, or a connection has it */
    _Atomic uint32_t number; /* which one; at its end, that no other can have, the lane itself */
    _Atomic bool works;      /* the lane, or one of its connections; else it waits for events */
    _Atomic bool sleeps;     /* the thread, until it is woken */
    sem_t wake, started;
    void (*tell)(uint32_t number, double seconds); /* called in the thread */
};

/* Starts the thread, and returns once it makes no system call more of a start: a list of calls may be
 * loaded then. 0 or -errno. */
int watchdog_open(struct watchdog *watchdog, void (*tell)(uint32_t number, double seconds));

static inline void watchdog_turn(struct watchdog *watchdog, uint32_t number)
{
    uint64_t turn = atomic_load_explicit(&watchdog->turn, memory_order_relaxed);
    atomic_store_explicit(&watchdog->number, number, memory_order_relaxed);
    atomic_store_explicit(&watchdog->turn, turn + 1, memory_order_release);
}

/* The lane is about to wait. */
static inline void watchdog_rest(struct watchdog *watchdog)
{
    atomic_store_explicit(&watchdog->works, false, memory_order_relaxed);
}

/* The lane has work. Either it sees here that the thread sleeps, or the thread, which looks again
 * after it said so, sees that the lane works. If the thread were dead, the process would be. */
static inline void watchdog_work(struct watchdog *watchdog)
{
    atomic_store_explicit(&watchdog->works, true, memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst);
    if (atomic_load_explicit(&watchdog->sleeps, memory_order_relaxed)) {
        atomic_store_explicit(&watchdog->sleeps, false, memory_order_relaxed);
        sem_post(&watchdog->wake);
    }
}

#endif
