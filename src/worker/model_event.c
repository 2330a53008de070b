/*
 * model_event - very many connections at a time: a fiber each, on one thread, the lane.
 *
 * The handler is the same straight code as in the other models. Where its socket has nothing to
 * read, or no room, its fiber leaves off, and the lane goes on with another one, whose socket has.
 * Each socket is registered with epoll once it has to be waited for the first time, by edge: so
 * later waits cost no call. Each connection has a seat, with its slot, its fiber, its serve.
 *
 * Listeners stand in the same set while seats are free. If all are taken, or descriptors wanting,
 * the lane leaves their queues, so that connections wake other workers.
 */
#include "accept_errors.h"
#include "fiber.h"
#include "lane.h"
#include "model.h"
#include "timers.h"
#include "watchdog.h"

#include "../base/fd.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    EVENTS = 128,        /* at one look */
    ACCEPTS = 16,        /* at most, of one listener in one turn: others have theirs */
    WARM = 64,           /* free seats whose stacks keep their memory, and a quarter of the taken */
    STARTS = 256,        /* on a stack, until what once was deep is given back */
    LISTENER = 1u << 31, /* numbers of what epoll tells of: listeners, from here on; */
    WAKE = UINT32_MAX,   /* the eventfd; seats, from 0 on */
};

struct seat {
    struct serve *serve;
    struct fiber fiber;
    struct waiter waiter;
    struct conn conn;
    struct seat *next; /* of those that can go on, or that are free */
    uint32_t serial;   /* of its connections: an event of an earlier one is none of this */
    uint32_t watched;  /* events that its socket is registered for; 0: it is not */
    uint32_t ready;    /* those that came, and were not waited for since */
    uint32_t wanted;   /* while it waits: one of these ends that */
    usec deadline;     /* while it waits */
    bool taken, timed_out;
    bool cold; /* its stack has no memory */
};

struct list {
    struct seat *first, **end;
};

/* Of a listener. */
struct queue {
    bool asked;  /* a connection may wait there */
    bool blocks; /* it is lent to programs, and theirs as far as blocking goes */
};

static struct model_start worker;
static struct {
    struct seat *seats;
    struct list runnable, free;
    struct timers timers;
    struct fiber self;
    int in_hand, warm;
    int epoll_fd, wake_fd;
    bool queued;          /* it stands in the listeners' queues */
    bool left;            /* for good: the worker is told to finish */
    struct queue *queues; /* by listener */
    int burst;            /* how many are accepted in one turn */
    int failures;         /* of accept(), in a row, for want of something */
    usec failing_since, retry_at;
    int status;
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

/* Registers the socket. What is there already comes as an event, so nothing is missed between the
 * call that failed and this one. A closed socket leaves the set by itself. */
static int watch(struct seat *seat, int fd, uint32_t events)
{
    struct epoll_event event = {
        .events = seat->watched | events | EPOLLRDHUP | EPOLLET,
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

/* The end of the stream is one for good: it stays ready, for each later read. */
static int wait_for(struct waiter *waiter, int fd, short events, usec deadline)
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
        fiber_leave(&seat->fiber);
        waiter->left = WAITER_TURN;
    }
    if (seat->timed_out) {
        seat->timed_out = false;
        return -ETIMEDOUT;
    }
    seat->ready &= ~(uint32_t)events;
    return 0;
}

static void yield(struct waiter *waiter)
{
    struct seat *seat = seat_of(waiter);
    list_append(&lane.runnable, seat);
    fiber_leave(&seat->fiber);
    waiter->left = WAITER_TURN;
}

static void serve_seat(void *argument)
{
    struct seat *seat = argument;
    serve_connection(seat->serve, &seat->conn);
}

/* --- seats ------------------------------------------------------------------------------------ */

/* For workers that look whether seats are free. Before the slot says that its seat is taken, and
 * after it says that it is free: so there are never fewer than are shown here. */
static void show_free(void)
{
    uint32_t count = (uint32_t)(worker.life->count - lane.in_hand);
    atomic_store_explicit(&worker.life->head->free_seats, count, memory_order_relaxed);
}

/* Those used last are used first: their stacks and slots are in the processor's caches. */
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

/* The first of the free ones, which has a stack. */
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

static void ask_all(void)
{
    for (int i = 0; i < worker.count; i++)
        lane.queues[i].asked = true;
}

/* 0 or -errno. A connection that waits already comes as an event. */
static int join_queues(void)
{
    for (int i = 0; i < worker.count; i++) {
        struct epoll_event event = {.events = EPOLLIN | EPOLLEXCLUSIVE,
                                    .data.u64 = LISTENER + (unsigned)i};
        if (epoll_ctl(lane.epoll_fd, EPOLL_CTL_ADD, worker.listeners[i], &event) != 0 &&
            errno != EEXIST)
            return -errno;
    }
    lane.queued = true;
    return 0;
}

/* No connection is to wake this worker any more. It was woken for one at a listener that is asked
 * yet: if that is still there, another worker is to be woken. */
static void leave_queues(void)
{
    bool owed = false;
    for (int i = 0; i < worker.count; i++) {
        epoll_ctl(lane.epoll_fd, EPOLL_CTL_DEL, worker.listeners[i], NULL);
        owed |= lane.queues[i].asked;
        lane.queues[i].asked = false;
    }
    lane.queued = false;
    if (owed)
        wakeup_hand_on(&worker.life->seats->wakeup);
}

/* Descriptors or memory are wanting: others go on, and may give some back. */
static void accept_is_short(int error)
{
    usec now = clock_now();
    if (lane.failures == 0)
        lane.failing_since = now;
    lane.status = accept_error_short(worker.life->seats, error, lane.failing_since);
    lane.retry_at = now + accept_error_pause(lane.failures++) * 1000;
}

/* False if no more are to be accepted at this listener for now. */
static bool accept_failed(int listener, int error)
{
    lane.queues[listener].asked = false;
    switch (accept_error_of(error)) {
    case ACCEPT_NOBODY: lane.failures = 0; break;
    case ACCEPT_BROKEN: lane.status = accept_error_broken(worker.life->seats, error); break;
    case ACCEPT_SHORT:
        worker.life->seats->slot->errors++;
        lane.queues[listener].asked = true;
        accept_is_short(error);
        break;
    case ACCEPT_PASSING:
        worker.life->seats->slot->errors++;
        lane.queues[listener].asked = true;
        return true;
    }
    return false;
}

/* A connection of which not a byte was looked at yet: now the worker needs its calls no more. */
static bool may_serve(void)
{
    if (worker.drop_calls)
        lane.status = worker.drop_calls();
    worker.drop_calls = NULL;
    return lane.status == 0;
}

/* Accepts one, for the first free seat. A listener that blocks is looked at first. If another
 * process is faster, it blocks the lane nevertheless, for idle_timeout at most. */
static bool accept_one(int listener)
{
    struct seat *seat = lane.free.first;
    struct addr peer = {.len = sizeof peer - offsetof(struct addr, sa)};
    struct pollfd input = {.fd = worker.listeners[listener], .events = POLLIN};
    int error = seat->fiber.stack ? 0 : fiber_open(&seat->fiber);
    if (error)
        return accept_failed(listener, -error);
    if (lane.queues[listener].blocks && poll(&input, 1, 0) != 1)
        return accept_failed(listener, EAGAIN);
    int fd = accept4(worker.listeners[listener], &peer.sa, &peer.len, SOCK_CLOEXEC);
    if (fd < 0)
        return accept_failed(listener, errno);
    lane.failures = 0;
    take_seat(fd, &peer);
    return may_serve();
}

/* As many as came lately: to find that there is none costs a call, too. What is left behind comes
 * as an event again. */
static void accept_some(void)
{
    for (int i = 0; i < worker.count; i++) {
        int taken = 0;
        while (taken < lane.burst && lane.queues[i].asked && lane.free.first && accept_one(i))
            taken++;
        if (taken == lane.burst && lane.burst < ACCEPTS)
            lane.burst *= 2;
        else if (taken && taken < lane.burst)
            lane.burst = taken;
        if (lane.queued && lane.free.first && !lane.failures)
            lane.queues[i].asked = false;
    }
}

/* The turn of new connections. A lane that was full looks by itself whether one waits, as long as
 * it finds some, and joins the queues again once it finds none. */
static void take_connections(void)
{
    bool fit = lane.free.first && (!lane.failures || clock_now() >= lane.retry_at);
    if (!lane.queued && fit)
        ask_all();
    if (fit)
        accept_some();
    bool full = !lane.free.first || lane.failures;
    bool waits = false;
    for (int i = 0; i < worker.count; i++)
        waits |= lane.queues[i].asked;
    if (lane.queued && full)
        leave_queues();
    else if (!lane.queued && !full && !waits && join_queues() != 0)
        accept_is_short(ENOMEM);
}

/* --- the lane --------------------------------------------------------------------------------- */

static void hear(const struct epoll_event *event)
{
    uint32_t number = (uint32_t)event->data.u64;
    uint64_t wakes;
    if (number == WAKE) {
        ssize_t n = read(lane.wake_fd, &wakes, sizeof wakes);
        (void)n;
        if (lane.queued)
            ask_all();
        return;
    }
    if (number >= LISTENER) {
        lane.queues[number - LISTENER].asked = true;
        return;
    }
    struct seat *seat = &lane.seats[number];
    if (!seat->taken || seat->serial != event->data.u64 >> 32)
        return;
    seat->ready |= event->events;
    if (seat->ready & seat->wanted) {
        seat->wanted = 0;
        list_append(&lane.runnable, seat);
    }
}

/* When the connection in hand takes more than request_timeout. */
static usec late_at(const struct serve *serve)
{
    usec limit = serve->pool->request_timeout * USEC_SECOND, began = serve->began;
    return limit && began && began != serve->late ? began + limit : USEC_NEVER;
}

/* Times were put off meanwhile, or belonged to a connection that has ended. */
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

/* Those that can go on now, one time each: those that come to it meanwhile have the next turn. */
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
    watchdog_turn((uint32_t)worker.life->count);
}

static int timeout(void)
{
    bool looks = !lane.queued && !lane.left && lane.free.first && !lane.failures;
    if (lane.runnable.first || looks)
        return 0;
    usec next = timers_next(&lane.timers);
    if (lane.failures)
        next = clock_earlier(next, lane.retry_at);
    if (next == USEC_NEVER)
        return -1;
    usec left = next - clock_now();
    return left <= 0 ? 0 : left > 3600 * USEC_SECOND ? 3600 * 1000 : (int)((left + 999) / 1000);
}

static void await_events(int most)
{
    struct epoll_event events[EVENTS];
    if (most)
        watchdog_rest();
    int count = epoll_wait(lane.epoll_fd, events, EVENTS, most);
    if (most)
        watchdog_work();
    for (int i = 0; i < count; i++)
        hear(&events[i]);
    if (timers_next(&lane.timers) == USEC_NEVER)
        return;
    usec now = clock_now();
    while (timers_next(&lane.timers) <= now)
        expire(&lane.seats[timers_take(&lane.timers)], now);
}

static int run(void)
{
    while (lane.status == 0 && serve_open(worker.life->seats)) {
        take_connections();
        run_all();
        await_events(timeout());
    }
    if (lane.queued)
        leave_queues();
    lane_leave_listeners(worker.listeners, worker.count);
    lane.left = true;
    lane.failures = 0;
    serve_tell_finishing(worker.life);
    while (lane.in_hand) {
        run_all();
        if (lane.in_hand)
            await_events(timeout());
    }
    watchdog_rest();
    serve_close_lane(worker.life->seats);
    return lane.status;
}

/* --- from start to end ------------------------------------------------------------------------ */

/* By a signal handler, in the middle of the handler's code: so the line goes to standard error, of
 * which the master makes one of the log. Of stdio only what writes into memory is used, which takes
 * no lock and allocates nothing. */
static void tell_of_blocker(uint32_t number, int seconds)
{
    char peer[ADDR_TEXT], line[ADDR_TEXT + 256];
    if (number >= (uint32_t)worker.life->count)
        return;
    addr_print_peer(&lane.seats[number].conn.peer, peer);
    int length = snprintf(line, sizeof line,
                          "the handler %s has worked or waited for more than %d s without leaving "
                          "off, on the connection from %s: all others of its worker wait\n",
                          worker.life->seats->pool->handler->name, seconds, peer);
    ssize_t written = write(STDERR_FILENO, line, (size_t)length);
    (void)written;
}

static void open_seats(void)
{
    list_clear(&lane.free);
    list_clear(&lane.runnable);
    for (int i = 0; i < worker.life->count; i++) {
        struct seat *seat = &lane.seats[i];
        seat->serve = &worker.life->seats[i];
        seat->serve->service.lane = worker.life->seats->service.lane;
        seat->waiter = (struct waiter){
            .wait = wait_for,
            .yield = yield,
            .idle = seat->serve->pool->idle_timeout * USEC_SECOND,
        };
        seat->cold = true;
        list_append(&lane.free, seat);
    }
    show_free();
    worker.life->head->seats = (uint32_t)worker.life->count;
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
    worker = *start;
    lane.burst = 1;
    lane.seats = calloc((size_t)start->life->count, sizeof *lane.seats);
    lane.queues = calloc((size_t)start->count, sizeof *lane.queues);
    int error = lane.seats && lane.queues ? timers_open(&lane.timers, (uint32_t)start->life->count)
                                          : -ENOMEM;
    if (error == 0)
        error = open_set();
    if (error == 0)
        error = watchdog_open(tell_of_blocker);
    if (error) {
        snprintf(why, size, "can't start the event loop: %s", strerror(-error));
        return -1;
    }
    if (serve_open_lane(start->life->seats, why, size) != 0)
        return -1;
    open_seats();
    for (int i = 0; i < worker.count; i++)
        lane.queues[i].blocks = !fd_is_nonblocking(worker.listeners[i]);
    return 0;
}

/* A signal handler's: the lane sees it at its next look, which this begins. */
static void look(void)
{
    static const uint64_t one = 1;
    ssize_t written = lane.wake_fd < 0 ? 0 : write(lane.wake_fd, &one, sizeof one);
    (void)written;
}

/* Not the null device yet: the lane has to take the listeners out of its set, by which the kernel
 * knows them by number and file. It never blocks in accept(). */
static void stop(const struct model_start *start)
{
    (void)start;
    look();
}

const struct model model_event = {
    .open = open_lane,
    .run = run,
    .look = look,
    .stop = stop,
};
