/*
 * model_event - very many connections at a time, each on a fiber of its own, on one thread: the
 * lane.
 *
 * A handler is the same sequential code as in the other models. When its socket has nothing to
 * read, or no room to write, its fiber suspends itself, and the lane resumes another fiber whose
 * socket is ready. The lane registers a socket with epoll, edge-triggered, when a fiber first waits
 * for it; later waits cost no call. Each connection has a seat with a slot, a fiber and a serve.
 *
 * While seats are free, the listeners are in the same epoll set. When all seats are taken, or
 * descriptors run short, the lane leaves the listeners' queues, so that connections wake other
 * workers.
 */
#include "fiber.h"
#include "lane.h"
#include "model.h"
#include "timers.h"
#include "watchdog.h"

#include "../base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    EVENTS = 128, /* from one epoll_wait() */
    ACCEPTS = 16, /* from one listener in one turn, at most: the other listeners get theirs */
    WARM = 64,    /* free seats whose stacks keep their memory; a quarter of the taken ones more */
    STARTS = 256, /* on a stack, before its memory is given back, in case it once was deep */

    /* What an event's number means. Below LISTENER: a seat. */
    LISTENER = 1u << 31, /* from here on: a listener */
    WAKE = UINT32_MAX,   /* the eventfd */
};

struct seat {
    struct serve *serve;
    struct fiber fiber;
    struct waiter waiter;
    struct conn conn;
    struct seat *next; /* in the list of runnable or of free seats */
    uint32_t serial;   /* counts its connections, to tell events of an earlier one */
    uint32_t watched;  /* events that the socket is registered for; 0: not registered */
    uint32_t ready;    /* events that arrived and that no wait has consumed */
    uint32_t wanted;   /* the events that end the fiber's wait; 0: it doesn't wait */
    usec deadline;     /* of the wait */
    bool taken, timed_out;
    bool cold; /* its stack has no memory */
};

struct list {
    struct seat *first, **end;
};

/* The state of a listener. */
struct queue {
    bool pending; /* a connection may be waiting */
    bool blocks;  /* the socket blocks: it is lent to programs, and they decide that */
    int spare;    /* another descriptor of the socket: see release() */
};

static struct model_start setup;
static struct {
    struct seat *seats;
    struct list runnable, free;
    struct timers timers;
    struct fiber self;
    int in_hand, warm;
    int epoll_fd, wake_fd;
    bool queued;          /* the lane is in the listeners' queues */
    bool finishing;       /* it has left them for good, because the worker was told to finish */
    bool broken;          /* foreign code closed the set: no connection can be waited for */
    struct queue *queues; /* by listener */
    int burst;            /* how many connections to accept in one turn */
    int failures;         /* of accept() in a row, for want of resources */
    usec failing_since, retry_at;
    int status;
    volatile sig_atomic_t accepting; /* in accept4() now: the listener's index, plus 1 */
    volatile sig_atomic_t released;  /* from accept4(): the null device took the listener's place */
} lane = {.wake_fd = -1};

static void list_clear(struct list *list)
{
    list->first = NULL;
    list->end = &list->first;
}

static void list_append(struct list *list, struct seat *seat)
{
    seat->next = NULL;
    *list->end = seat;
    list->end = &seat->next;
}

static void list_prepend(struct list *list, struct seat *seat)
{
    seat->next = list->first;
    list->first = seat;
    if (list->end == &list->first)
        list->end = &seat->next;
}

static struct seat *list_take(struct list *list)
{
    struct seat *seat = list->first;
    list->first = seat->next;
    if (!list->first)
        list->end = &list->first;
    return seat;
}

static uint32_t number_of(const struct seat *seat)
{
    return (uint32_t)(seat - lane.seats);
}

/* --- in a connection's fiber ------------------------------------------------------------------ */

static struct seat *seat_of(struct waiter *waiter)
{
    return (struct seat *)((char *)waiter - offsetof(struct seat, waiter));
}

/* Registers the socket, even for no event: epoll reports its end in any case. If it is ready
 * already, epoll reports that, so nothing is missed between the call that failed and this one.
 * Closing a socket removes it from the set. */
static int watch(struct seat *seat, int fd, uint32_t events)
{
    events |= EPOLLHUP | EPOLLERR;
    struct epoll_event event = {
        .events = seat->watched | events | EPOLLRDHUP | EPOLLPRI | EPOLLET,
        .data.u64 = (uint64_t)seat->serial << 32 | number_of(seat),
    };
    int how = seat->watched ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
    if ((seat->watched & events) == events)
        return 0;
    if (epoll_ctl(lane.epoll_fd, how, fd, &event) != 0)
        return -errno;
    seat->watched |= events;
    return 0;
}

/* Waits as struct waiter says. The awaited event and an error are consumed, because they may pass:
 * a module may have the kernel queue errors, such as time stamps. The end of the stream, which
 * comes once, stays ready for each later read. */
static int wait_for_event(struct waiter *waiter, int fd, short events, usec deadline)
{
    struct seat *seat = seat_of(waiter);
    uint32_t wanted = (uint32_t)events | EPOLLHUP | EPOLLERR | (events & POLLIN ? EPOLLRDHUP : 0);
    if (!(seat->ready & wanted)) {
        int error = watch(seat, fd, (uint32_t)events);
        if (error)
            return error;
        seat->wanted = wanted;
        seat->deadline = deadline;
        timers_set(&lane.timers, number_of(seat), deadline);
        fiber_suspend(&seat->fiber);
        waiter->left = WAITER_TURN;
    }
    if (seat->timed_out) {
        seat->timed_out = false;
        return -ETIMEDOUT;
    }
    seat->ready &= ~((uint32_t)events | EPOLLERR);
    return 0;
}

static void yield(struct waiter *waiter)
{
    struct seat *seat = seat_of(waiter);
    list_append(&lane.runnable, seat);
    fiber_suspend(&seat->fiber);
    waiter->left = WAITER_TURN;
}

static void serve_seat(void *argument)
{
    struct seat *seat = argument;
    serve_connection(seat->serve, &seat->conn);
}

/* --- seats ------------------------------------------------------------------------------------ */

/* Shows other workers how many seats are free: before a slot says that its seat is taken, and after
 * it says that it is free. So at least as many are free as are shown. */
static void show_free(void)
{
    uint32_t count = (uint32_t)(setup.worker->count - lane.in_hand);
    atomic_store_explicit(&setup.worker->head->free_seats, count, memory_order_relaxed);
}

/* A seat that was used last is used first, because its stack and slot are in the processor's
 * caches. */
static void free_seat(struct seat *seat)
{
    seat->taken = false;
    seat->serial++;
    lane.in_hand--;
    show_free();
    bool many = lane.warm >= WARM + lane.in_hand / 4;
    if (many || seat->fiber.starts % STARTS == 0)
        fiber_shrink(&seat->fiber);
    seat->cold = many;
    if (many) {
        list_append(&lane.free, seat);
        return;
    }
    lane.warm++;
    list_prepend(&lane.free, seat);
}

/* Gives the connection the first free seat, whose stack is open. */
static void take_seat(int fd, const struct addr *peer)
{
    struct seat *seat = list_take(&lane.free);
    usec limit = seat->serve->pool->request_timeout * USEC_SECOND;
    lane.warm -= !seat->cold;
    lane.in_hand++;
    show_free();
    seat->taken = true;
    seat->timed_out = false;
    seat->watched = seat->ready = seat->wanted = 0;
    seat->waiter.left = WAITER_TURN;
    seat->waiter.stops = peer->sa.sa_family == AF_UNIX;
    seat->conn = (struct conn){
        .fd = fd,
        .peer = *peer,
        .nowait = MSG_DONTWAIT,
        .waiter = &seat->waiter,
        .counted = true,
    };
    if (limit)
        timers_set(&lane.timers, number_of(seat), clock_now() + limit);
    fiber_start(&seat->fiber, serve_seat, seat);
    list_append(&lane.runnable, seat);
}

/* --- listeners -------------------------------------------------------------------------------- */

static void mark_all_pending(void)
{
    for (int i = 0; i < setup.count; i++)
        lane.queues[i].pending = true;
}

/* 0 or -errno. If a connection is waiting already, epoll reports it. */
static int join_queues(void)
{
    for (int i = 0; i < setup.count; i++) {
        struct epoll_event event = {.events = EPOLLIN | EPOLLEXCLUSIVE,
                                    .data.u64 = LISTENER + (unsigned)i};
        if (epoll_ctl(lane.epoll_fd, EPOLL_CTL_ADD, setup.listeners[i], &event) != 0 &&
            errno != EEXIST)
            return -errno;
    }
    lane.queued = true;
    return 0;
}

/* From here on no connection wakes this worker. At a pending listener it was woken for one: if that
 * connection is still waiting, the master must wake another worker. */
static void leave_queues(void)
{
    bool owed = false;
    for (int i = 0; i < setup.count; i++) {
        epoll_ctl(lane.epoll_fd, EPOLL_CTL_DEL, setup.listeners[i], NULL);
        owed |= lane.queues[i].pending;
        lane.queues[i].pending = false;
    }
    lane.queued = false;
    if (owed)
        wakeup_unserved(&setup.worker->seats->wakeup);
}

/* Descriptors or memory are short. The connections in hand go on, and may give some back. */
static void handle_shortage(int error)
{
    usec now = clock_now();
    if (lane.failures == 0)
        lane.failing_since = now;
    lane.status = accept_error_shortage(setup.worker->seats, error, lane.failing_since);
    lane.retry_at = now + accept_error_pause(lane.failures++) * 1000;
}

/* False if the lane should accept no more from this listener for now. */
static bool accept_failed(int listener, int error)
{
    lane.queues[listener].pending = false;
    switch (accept_error_of(error)) {
    case ACCEPT_NONE: lane.failures = 0; break;
    case ACCEPT_BROKEN:
        lane.status = accept_error_broken(setup.worker->seats, "accept", error);
        break;
    case ACCEPT_SHORTAGE:
        setup.worker->seats->slot->errors++;
        lane.queues[listener].pending = true;
        handle_shortage(error);
        break;
    case ACCEPT_TRANSIENT:
        setup.worker->seats->slot->errors++;
        lane.queues[listener].pending = true;
        return true;
    }
    return false;
}

/* Gives up system calls at the first connection, before a byte of it is read. */
static bool may_serve(void)
{
    if (setup.drop_calls)
        lane.status = setup.drop_calls();
    setup.drop_calls = NULL;
    return lane.status == 0;
}

/* Called by signal handlers. Programs that share a listener decide whether it blocks, and a reload
 * to such programs makes it block while we accept there. Then accept4() waits for the next client
 * with all connections in hand, and goes on after a signal (SA_RESTART). The null device in the
 * listener's place makes it fail instead. */
static void release(void)
{
    if (!lane.accepting)
        return;
    dup3(STDIN_FILENO, setup.listeners[lane.accepting - 1], O_CLOEXEC);
    lane.released = true;
}

/* accept4(), which waits for two ticks of the watchdog at most. A connection or -errno. */
static int accept_at(int listener, struct addr *peer)
{
    lane.accepting = listener + 1;
    int fd = accept4(setup.listeners[listener], &peer->sa, &peer->len, SOCK_CLOEXEC);
    int result = fd < 0 ? -errno : fd;
    lane.accepting = 0;
    if (!lane.released)
        return result;
    lane.released = false;
    dup3(lane.queues[listener].spare, setup.listeners[listener], O_CLOEXEC);
    lane.queues[listener].blocks = !fd_is_nonblocking(setup.listeners[listener]);
    watchdog_turn((uint32_t)setup.worker->count); /* or the next wait would not be noticed */
    return fd < 0 ? -EAGAIN : fd;
}

/* Accepts a connection for the first free seat. A listener that blocks is polled first, because it
 * may take two seconds to leave accept4() if another process then takes the connection. */
static bool accept_one(int listener)
{
    struct seat *seat = lane.free.first;
    struct addr peer = {.len = sizeof peer - offsetof(struct addr, sa)};
    struct pollfd input = {.fd = setup.listeners[listener], .events = POLLIN};
    int error = seat->fiber.stack ? 0 : fiber_open(&seat->fiber);
    if (error)
        return accept_failed(listener, -error);
    if (lane.queues[listener].blocks && poll(&input, 1, 0) != 1) {
        lane.queues[listener].blocks = !fd_is_nonblocking(setup.listeners[listener]);
        return accept_failed(listener, EAGAIN);
    }
    int fd = accept_at(listener, &peer);
    if (fd < 0)
        return accept_failed(listener, -fd);
    lane.failures = 0;
    if (!may_serve()) {
        close(fd);
        return false;
    }
    take_seat(fd, &peer);
    return true;
}

/* Accepts as many connections in a turn as arrived lately, because an accept4() that finds none
 * costs a call. If some are left, epoll reports them again. */
static void accept_some(void)
{
    for (int i = 0; i < setup.count; i++) {
        int taken = 0;
        while (taken < lane.burst && lane.queues[i].pending && lane.free.first && accept_one(i))
            taken++;
        if (taken == lane.burst && lane.burst < ACCEPTS)
            lane.burst *= 2;
        else if (taken && taken < lane.burst)
            lane.burst = taken;
        if (lane.queued && lane.free.first && !lane.failures)
            lane.queues[i].pending = false;
    }
}

/* Accepts new connections. A lane that was full is in no queue, so it looks at the listeners by
 * itself until it finds none waiting, and then joins the queues again. */
static void take_connections(void)
{
    bool able = lane.free.first && (!lane.failures || clock_now() >= lane.retry_at);
    if (!lane.queued && able)
        mark_all_pending();
    if (able)
        accept_some();
    bool full = !lane.free.first || lane.failures;
    bool pending = false;
    for (int i = 0; i < setup.count; i++)
        pending |= lane.queues[i].pending;
    if (lane.queued && full)
        leave_queues();
    else if (!lane.queued && !full && !pending && join_queues() != 0) {
        leave_queues(); /* those that it has joined would wake a lane that is full */
        handle_shortage(ENOMEM);
    }
}

/* --- the lane --------------------------------------------------------------------------------- */

static void take_event(const struct epoll_event *event)
{
    uint32_t number = (uint32_t)event->data.u64;
    uint64_t wakes;
    if (number == WAKE) {
        ssize_t n = read(lane.wake_fd, &wakes, sizeof wakes);
        (void)n;
        if (lane.queued)
            mark_all_pending();
        return;
    }
    if (number >= LISTENER) {
        lane.queues[number - LISTENER].pending = true;
        return;
    }
    struct seat *seat = &lane.seats[number];
    if (!seat->taken || seat->serial != event->data.u64 >> 32)
        return;
    seat->ready |= event->events;
    /* Urgent data that arrives after this report is in the next one, which ends a wait. */
    seat->waiter.stops |= (event->events & EPOLLPRI) != 0;
    if (seat->ready & seat->wanted) {
        seat->wanted = 0;
        list_append(&lane.runnable, seat);
    }
}

/* When the connection in hand exceeds request_timeout. */
static usec late_at(const struct serve *serve)
{
    usec limit = serve->pool->request_timeout * USEC_SECOND, began = serve->began;
    return limit && began && began != serve->late ? began + limit : USEC_NEVER;
}

/* The timer of a seat has expired. Its deadline may have been put off since, or the timer may
 * belong to a connection that has ended. */
static void expire(struct seat *seat, usec now)
{
    struct serve *serve = seat->serve;
    if (late_at(serve) <= now) {
        serve->late = serve->began;
        serve_end_late(serve);
    }
    if (seat->wanted && seat->deadline <= now) {
        seat->wanted = 0;
        seat->timed_out = true;
        list_append(&lane.runnable, seat);
    }
    usec next = clock_earlier(seat->wanted ? seat->deadline : USEC_NEVER, late_at(serve));
    if (next != USEC_NEVER)
        timers_set(&lane.timers, number_of(seat), next);
}

/* Resumes each fiber that is runnable now, once. Those that become runnable meanwhile have the next
 * turn. */
static void run_all(void)
{
    struct list turn = lane.runnable;
    if (!turn.first)
        return;
    list_clear(&lane.runnable);
    while (turn.first) {
        struct seat *seat = list_take(&turn);
        watchdog_turn(number_of(seat));
        fiber_resume(&lane.self, &seat->fiber);
        if (seat->fiber.ended)
            free_seat(seat);
    }
    watchdog_turn((uint32_t)setup.worker->count);
}

/* For epoll_wait(), in milliseconds. 0 while fibers are runnable, or the lane still looks at the
 * listeners by itself. */
static int timeout(void)
{
    bool looking = !lane.queued && !lane.finishing && lane.free.first && !lane.failures;
    if (lane.runnable.first || looking)
        return 0;
    usec next = timers_next(&lane.timers);
    if (lane.failures)
        next = clock_earlier(next, lane.retry_at);
    if (next == USEC_NEVER)
        return -1;
    return clock_msec(next - clock_now());
}

static void await_events(int most)
{
    struct epoll_event events[EVENTS];
    if (most)
        watchdog_rest();
    int count = epoll_wait(lane.epoll_fd, events, EVENTS, most);
    if (count < 0 && errno != EINTR) {
        lane.broken = true;
        lane.status = accept_error_broken(setup.worker->seats, "epoll_wait", errno);
    }
    if (most)
        watchdog_work();
    for (int i = 0; i < count; i++)
        take_event(&events[i]);
    if (timers_next(&lane.timers) == USEC_NEVER)
        return;
    usec now = clock_now();
    while (timers_next(&lane.timers) <= now)
        expire(&lane.seats[timers_take(&lane.timers)], now);
}

static void leave_listeners(void)
{
    if (lane.queued)
        leave_queues();
    lane_leave_listeners(setup.listeners, setup.count);
    for (int i = 0; i < setup.count; i++)
        close(lane.queues[i].spare);
}

static int run(void)
{
    watchdog_turn((uint32_t)setup.worker->count);
    watchdog_work();
    while (lane.status == 0 && serve_may_accept(setup.worker->seats)) {
        take_connections();
        run_all();
        await_events(timeout());
    }
    leave_listeners();
    lane.finishing = true;
    lane.failures = 0;
    serve_tell_finishing(setup.worker);
    while (lane.in_hand && !lane.broken) {
        run_all();
        if (lane.in_hand)
            await_events(timeout());
    }
    watchdog_rest();
    serve_close_lane(setup.worker->seats);
    return lane.status;
}

/* --- from start to end ------------------------------------------------------------------------ */

/* Called by a signal handler in the middle of the connection handler's code. So it writes the line
 * to standard error, which the master logs, and uses of stdio only snprintf(), which takes no lock
 * and allocates nothing here. */
static void report_blocker(uint32_t number, int seconds)
{
    char peer[ADDR_TEXT], line[ADDR_TEXT + 256];
    if (number >= (uint32_t)setup.worker->count) {
        release();
        return;
    }
    addr_print_peer(&lane.seats[number].conn.peer, peer);
    int length = snprintf(line, sizeof line,
                          "the handler %s has worked or waited for more than %d s without leaving "
                          "off, on the connection from %s: all others of its worker wait\n",
                          setup.worker->seats->pool->handler->name, seconds, peer);
    ssize_t written = write(STDERR_FILENO, line, (size_t)length);
    (void)written;
}

static void open_seats(void)
{
    list_clear(&lane.free);
    list_clear(&lane.runnable);
    for (int i = 0; i < setup.worker->count; i++) {
        struct seat *seat = &lane.seats[i];
        seat->serve = &setup.worker->seats[i];
        seat->serve->service.lane = setup.worker->seats->service.lane;
        seat->waiter = (struct waiter){
            .wait = wait_for_event,
            .yield = yield,
            .idle = seat->serve->pool->idle_timeout * USEC_SECOND,
        };
        seat->cold = true;
        list_append(&lane.free, seat);
    }
    show_free();
    setup.worker->head->seats = (uint32_t)setup.worker->count;
}

/* 0 or -errno. */
static int open_queues(void)
{
    for (int i = 0; i < setup.count; i++) {
        lane.queues[i].blocks = !fd_is_nonblocking(setup.listeners[i]);
        lane.queues[i].spare = fcntl(setup.listeners[i], F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
        if (lane.queues[i].spare < 0)
            return -errno;
    }
    return 0;
}

/* 0 or -errno. */
static int open_set(void)
{
    struct epoll_event wake = {.events = EPOLLIN, .data.u64 = WAKE};
    lane.wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    lane.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (lane.wake_fd < 0 || lane.epoll_fd < 0 ||
        epoll_ctl(lane.epoll_fd, EPOLL_CTL_ADD, lane.wake_fd, &wake) != 0)
        return -errno;
    return 0;
}

static int open_lane(const struct model_start *start, char *why, size_t size)
{
    setup = *start;
    lane.burst = 1;
    lane.seats = calloc((size_t)start->worker->count, sizeof *lane.seats);
    lane.queues = calloc((size_t)start->count, sizeof *lane.queues);
    int error = lane.seats && lane.queues
                    ? timers_open(&lane.timers, (uint32_t)start->worker->count)
                    : -ENOMEM;
    if (error == 0)
        error = open_queues();
    if (error == 0)
        error = open_set();
    if (error == 0)
        error = watchdog_open(report_blocker);
    if (error) {
        snprintf(why, size, "can't start the event loop: %s", strerror(-error));
        return -1;
    }
    if (serve_open_lane(start->worker->seats, why, size) != 0)
        return -1;
    open_seats();
    return 0;
}

static void wake(void)
{
    wakeup_eventfd(lane.wake_fd);
}

/* Doesn't put the null device over the listeners for good yet. The lane has to remove them from its
 * epoll set first, where the kernel knows a listener by descriptor and file. */
static void stop(const struct model_start *start)
{
    (void)start;
    release();
    wake();
}

const struct model model_event = {
    .open = open_lane,
    .run = run,
    .wake = wake,
    .stop = stop,
};
