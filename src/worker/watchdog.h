/*
 * watchdog - sees that a handler keeps an event lane for itself: because it computes, or waits in a
 * call that the lane knows nothing of. It is named in the log; what is to be done about it is
 * request_timeout's.
 *
 * A timer ticks once a second while the lane has work, by VTALRM, and stops while the lane waits.
 * So the lane reads no clock. It is no thread: with a second one each call of the lane's would cost
 * more, in the kernel by counting who has the descriptors, in libc by being ready to be cancelled.
 * A handler that blocks the signal is not seen. In a worker of the event model, one in a process.
 */
#ifndef PREFORKD_WORKER_WATCHDOG_H
#define PREFORKD_WORKER_WATCHDOG_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* Written and read on one thread: by the lane, and by the signal handler that interrupts it. */
struct watchdog {
    _Atomic uint64_t turn;   /* grows whenever the lane takes its turn, or a connection has it */
    _Atomic uint32_t number; /* which one; at its end, that no other can have, the lane itself */
    _Atomic bool works;      /* the lane, or one of its connections; else it waits for events */
    _Atomic bool ticks;      /* the timer */
};

extern struct watchdog watchdog;

/* Makes the timer. `tell` is called by a signal handler, in the middle of anything. 0 or -errno. */
int watchdog_open(void (*tell)(uint32_t number, int seconds));

void watchdog_start_ticking(void);

static inline void watchdog_turn(uint32_t number)
{
    uint64_t turn = atomic_load_explicit(&watchdog.turn, memory_order_relaxed);
    atomic_store_explicit(&watchdog.number, number, memory_order_relaxed);
    atomic_store_explicit(&watchdog.turn, turn + 1, memory_order_relaxed);
}

/* The lane is about to wait. */
static inline void watchdog_rest(void)
{
    atomic_store_explicit(&watchdog.works, false, memory_order_relaxed);
}

/* The lane has work. A tick that comes between the two lines finds that it works, and goes on. */
static inline void watchdog_work(void)
{
    atomic_store_explicit(&watchdog.works, true, memory_order_relaxed);
    atomic_signal_fence(memory_order_seq_cst);
    if (!atomic_load_explicit(&watchdog.ticks, memory_order_relaxed))
        watchdog_start_ticking();
}

#endif
