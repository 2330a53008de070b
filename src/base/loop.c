#include "loop.h"

#include <errno.h>
#include <limits.h>
#include <unistd.h>

int loop_open(struct loop *loop, const sigset_t *signals)
{
    *loop = (struct loop){.epoll_fd = epoll_create1(EPOLL_CLOEXEC), .signal_fd = -1};
    if (loop->epoll_fd < 0)
        return -errno;
    sigprocmask(SIG_BLOCK, signals, NULL);
    loop->signal_fd = signalfd(-1, signals, SFD_CLOEXEC | SFD_NONBLOCK);
    struct epoll_event event = {.events = EPOLLIN};
    if (loop->signal_fd < 0 ||
        epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, loop->signal_fd, &event) != 0) {
        int error = -errno;
        loop_close(loop);
        return error;
    }
    return 0;
}

void loop_close(struct loop *loop)
{
    if (loop->signal_fd >= 0)
        close(loop->signal_fd);
    if (loop->epoll_fd >= 0)
        close(loop->epoll_fd);
    loop->signal_fd = loop->epoll_fd = -1;
}

static int add(struct loop *loop, struct loop_watch *watch, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = watch};
    return epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, watch->fd, &event) == 0 ? 0 : -errno;
}

int loop_add(struct loop *loop, struct loop_watch *watch)
{
    return add(loop, watch, EPOLLIN);
}

int loop_add_edge(struct loop *loop, struct loop_watch *watch)
{
    return add(loop, watch, EPOLLIN | EPOLLET);
}

void loop_change(struct loop *loop, struct loop_watch *watch, enum loop_interest interest)
{
    static const uint32_t events[] = {
        [LOOP_INPUT] = EPOLLIN, [LOOP_ROOM_FOR_OUTPUT] = EPOLLOUT, [LOOP_HANGUP] = 0};
    struct epoll_event event = {.events = events[interest], .data.ptr = watch};
    epoll_ctl(loop->epoll_fd, EPOLL_CTL_MOD, watch->fd, &event);
}

void loop_remove(struct loop *loop, struct loop_watch *watch)
{
    epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, watch->fd, NULL);
    for (int i = 0; i < loop->batch_count; i++)
        if (loop->batch[i].data.ptr == watch)
            loop->batch[i].data.ptr = NULL;
}

/* Milliseconds until the deadline, rounded up, so that the loop never wakes too early. */
static int timeout_msec(usec deadline)
{
    if (deadline == USEC_NEVER)
        return -1;
    usec left = deadline - clock_now();
    if (left <= 0)
        return 0;
    usec msec = (left + 999) / 1000;
    return msec > INT_MAX ? INT_MAX : (int)msec;
}

void loop_wait(struct loop *loop, usec deadline)
{
    int n = epoll_wait(loop->epoll_fd, loop->batch, LOOP_BATCH, timeout_msec(deadline));
    loop->batch_count = n > 0 ? n : 0;
    for (int i = 0; i < loop->batch_count; i++) {
        struct loop_watch *watch = loop->batch[i].data.ptr;
        if (watch)
            watch->ready(watch->owner);
    }
    loop->batch_count = 0;
}

int loop_signal(struct loop *loop, struct signalfd_siginfo *info)
{
    ssize_t n = read(loop->signal_fd, info, sizeof *info);
    return n == (ssize_t)sizeof *info ? (int)info->ssi_signo : 0;
}
