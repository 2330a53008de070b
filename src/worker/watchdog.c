#include "watchdog.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>

/* No fiber's stack has to have room for the handler, nor memory for it afterwards. */
enum { STACK = 64 * 1024 };

struct watchdog watchdog;

static timer_t timer;
static void (*tell_of)(uint32_t number, int seconds);

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

/* A turn that lasts from one tick to the next is told of, once. The lane sets the timer again when
 * it works the next time: it reads `ticks` after it wrote `works`, and this reads `works` first. */
static void on_tick(int number)
{
    static uint64_t seen;
    static bool told;
    int saved = errno;
    (void)number;
    if (!watchdog.works) {
        watchdog.ticks = false;
        set_timer(0);
    } else if (watchdog.turn != seen) {
        seen = watchdog.turn;
        told = false;
    } else if (!told) {
        told = true;
        tell_of(watchdog.number, 1);
    }
    errno = saved;
}

int watchdog_open(void (*tell)(uint32_t number, int seconds))
{
    struct sigaction tick = {.sa_handler = on_tick, .sa_flags = SA_RESTART | SA_ONSTACK};
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGVTALRM};
    stack_t aside = {.ss_sp = malloc(STACK), .ss_size = STACK};
    tell_of = tell;
    sigfillset(&tick.sa_mask);
    if (!aside.ss_sp || sigaltstack(&aside, NULL) != 0 || sigaction(SIGVTALRM, &tick, NULL) != 0 ||
        timer_create(CLOCK_MONOTONIC, &event, &timer) != 0)
        return -errno;
    return 0;
}
