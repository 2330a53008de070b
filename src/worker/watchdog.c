#include "watchdog.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>

/* The signal handler has a stack of its own: a fiber's might have no room for it, and would keep
 * the memory afterwards. */
enum { STACK = 64 * 1024 };

struct watchdog watchdog;

static timer_t timer;
static void (*report_blocker)(uint32_t number, int seconds);

static void set_timer(time_t seconds)
{
    struct itimerspec every = {.it_value.tv_sec = seconds, .it_interval.tv_sec = seconds};
    timer_settime(timer, 0, &every, NULL);
}

void watchdog_start_ticking(void)
{
    watchdog.ticks = true;
    set_timer(1);
}

/* Reports a turn that lasts from one tick to the next, once. If the lane rests, the timer stops,
 * and the lane starts it again when it works: the lane writes `works` before it reads `ticks`, and
 * this handler reads `works` before it writes `ticks`. */
static void on_tick(int number)
{
    static uint64_t seen;
    static bool reported;
    int saved = errno;
    (void)number;
    if (!watchdog.works) {
        watchdog.ticks = false;
        set_timer(0);
    } else if (watchdog.turn != seen) {
        seen = watchdog.turn;
        reported = false;
    } else if (!reported) {
        reported = true;
        report_blocker(watchdog.number, 1);
    }
    errno = saved;
}

int watchdog_open(void (*report)(uint32_t number, int seconds))
{
    struct sigaction tick = {.sa_handler = on_tick, .sa_flags = SA_RESTART | SA_ONSTACK};
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGVTALRM};
    stack_t stack = {.ss_sp = malloc(STACK), .ss_size = STACK};
    report_blocker = report;
    sigfillset(&tick.sa_mask);
    if (!stack.ss_sp || sigaltstack(&stack, NULL) != 0 || sigaction(SIGVTALRM, &tick, NULL) != 0 ||
        timer_create(CLOCK_MONOTONIC, &event, &timer) != 0)
        return -errno;
    return 0;
}
