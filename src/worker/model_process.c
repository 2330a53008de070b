#include "model_process.h"

#include "../base/fd.h"
#include "../base/log.h"
#include "../shared/exitcode.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    PAUSE_FIRST_MSEC = 10, /* after an accept() that failed for want of something */
    PAUSE_MOST_MSEC = 500,
};

/* What accept() says of a connection that is gone already, or of the network beneath it: nothing is
 * wrong with the listener (accept(2)). */
static bool is_passing(int error)
{
    switch (error) {
    case ECONNABORTED:
    case EPROTO:
    case ECONNRESET:
    case ETIMEDOUT:
    case ENOPROTOOPT:
    case EHOSTDOWN:
    case ENONET:
    case EHOSTUNREACH:
    case EOPNOTSUPP:
    case ENETUNREACH: return true;
    default: return false;
    }
}

static bool is_no_listener(int error)
{
    return error == EBADF || error == EINVAL || error == ENOTSOCK || error == EFAULT;
}

/* Descriptors or memory are wanting, or a firewall says no: longer each time in a row, and not all
 * workers in step. */
static void pause_awhile(const struct lane *lane, int error, int in_a_row)
{
    static struct log_rate said;
    unsigned missed;
    int most = PAUSE_FIRST_MSEC << (in_a_row < 6 ? in_a_row : 6);
    if (most > PAUSE_MOST_MSEC)
        most = PAUSE_MOST_MSEC;
    if (log_rate_ok(&said, 60 * USEC_SECOND, &missed))
        log_warning("pool %s: can't accept connections for now: %s pool=%s errno=%d missed=%u",
                    lane->pool->name, strerror(error), lane->pool->name, error, missed);
    unsigned seed = (unsigned)clock_now() ^ (unsigned)getpid();
    poll(NULL, 0, most / 2 + rand_r(&seed) % (most / 2 + 1));
}

/* The listener has no connection for us: either its time-out passed, which is meant for
 * connections, or somebody who shares it made it non-blocking. Then accept() would spin. */
static void wait_readable(int listener)
{
    struct pollfd input = {.fd = listener, .events = POLLIN};
    if (fd_is_nonblocking(listener))
        poll(&input, 1, -1);
}

/* What is to be done about a failed accept(): 0 to go on, or the worker's exit status. */
static int accept_failed(const struct process_model *model, int listener, int error, int *in_a_row)
{
    struct lane *lane = model->lane;
    if (lane->stopping || error == EINTR)
        return 0;
    if (error == EAGAIN) {
        if (model->wake_fd < 0)
            wait_readable(listener);
        return 0;
    }
    if (is_no_listener(error)) {
        snprintf(lane->slot->reason, sizeof lane->slot->reason, "accept: %s", strerror(error));
        return WORKER_LISTENER;
    }
    lane->slot->errors++;
    if (!is_passing(error))
        pause_awhile(lane, error, (*in_a_row)++);
    return 0;
}

/* Takes one connection where there is one, and serves it. 0 to go on, or an exit status. */
static int serve_one(const struct process_model *model, int listener)
{
    static int in_a_row;
    static bool begun;
    struct conn conn;
    conn.peer.len = sizeof conn.peer - offsetof(struct addr, sa);
    conn.fd = accept4(listener, &conn.peer.sa, &conn.peer.len, SOCK_CLOEXEC);
    if (conn.fd < 0)
        return accept_failed(model, listener, errno, &in_a_row);
    int status = begun ? 0 : model->first();
    if (status)
        return status;
    begun = true;
    in_a_row = 0;
    conn.in = conn.out = 0;
    conn.proxied = false;
    conn.counted = true;
    conn.has_status = false;
    lane_serve(model->lane, &conn);
    return 0;
}

static int run_blocking(const struct process_model *model)
{
    int status = 0;
    while (status == 0 && lane_open(model->lane))
        status = serve_one(model, model->listeners[0]);
    return status;
}

static int poll_set(const struct process_model *model)
{
    int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = model->wake_fd};
    int error = epoll_ctl(epoll_fd, EPOLL_CTL_ADD, model->wake_fd, &event);
    for (int i = 0; error == 0 && i < model->count; i++) {
        event = (struct epoll_event){.events = EPOLLIN | EPOLLEXCLUSIVE,
                                     .data.fd = model->listeners[i]};
        error = epoll_ctl(epoll_fd, EPOLL_CTL_ADD, model->listeners[i], &event);
    }
    return error == 0 ? epoll_fd : -errno;
}

/* One event at a time: what else is ready is another worker's to take while we serve. */
static int run_polling(const struct process_model *model)
{
    int epoll_fd = poll_set(model);
    int status = 0;
    if (!lane_open(model->lane)) /* told to stop by now: then a listener may be the null device */
        return 0;
    if (epoll_fd < 0) {
        snprintf(model->lane->slot->reason, SCOREBOARD_REASON, "epoll: %s", strerror(-epoll_fd));
        return WORKER_CANT_START;
    }
    while (status == 0 && lane_open(model->lane)) {
        struct epoll_event event;
        int n = epoll_wait(epoll_fd, &event, 1, -1);
        if (n == 1 && event.data.fd != model->wake_fd)
            status = serve_one(model, event.data.fd);
    }
    return status;
}

int model_process_run(const struct process_model *model)
{
    return model->wake_fd < 0 ? run_blocking(model) : run_polling(model);
}
