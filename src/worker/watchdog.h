/*
 * watchdog - notices a handler that blocks the event lane, because it computes, or waits in a call
 * that the lane doesn't know of. The watchdog only reports it; request_timeout acts. The lane
 * itself may block in accept4(), and then uses the report to get out.
 *
 * A timer sends VTALRM once a second while the lane works, and stops while the lane waits, so the
 * lane need not read the clock. It is not a thread, because with a second thread each of the lane's
 * calls would cost more: the kernel would count references to descriptors, and libc would prepare
 * for cancellation. A handler that blocks the signal goes unnoticed. Runs in a worker of the event
 * model, one in a process.
 */
#ifndef PREFORKD_WORKER_WATCHDOG_H
#define PREFORKD_WORKER_WATCHDOG_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* One thread writes and reads this: the lane, and the signal handler that interrupts it. */
struct watchdog {
    _Atomic uint64_t turn;   /* grows whenever a connection, or the lane itself, takes its turn */
    _Atomic uint32_t number; /* the connection's seat; the number of seats: the lane itself */
    _Atomic bool works;      /* the lane or a connection runs; false: the lane waits for events */
    _Atomic bool ticks;      /* the timer runs */
};

extern struct watchdog watchdog;

/* Makes the timer. The signal handler calls `report`, which must be async-signal-safe. 0 or
 * -errno. */
int watchdog_open(void (*report)(uint32_t number, int seconds));

void watchdog_start_ticking(void);

static inline void watchdog_turn(uint32_t number)
{
    uint64_t turn = atomic_load_explicit(&watchdog.turn, memory_order_relaxed);
    atomic_store_explicit(&watchdog.number, number, memory_order_relaxed);
    atomic_store_explicit(&watchdog.turn, turn + 1, memory_order_relaxed);
}

/* The lane is about to wait for events. */
static inline void watchdog_rest(void)
{
    atomic_store_explicit(&watchdog.works, false, memory_order_relaxed);
}

/* The lane is about to work. A tick between the store and the load finds `works` set, and leaves
 * the timer running. */
static inline void watchdog_work(void)
{
    atomic_store_explicit(&watchdog.works, true, memory_order_relaxed);
    atomic_signal_fence(memory_order_seq_cst);
    if (!atomic_load_explicit(&watchdog.ticks, memory_order_relaxed))
        watchdog_start_ticking();
}

#endif
