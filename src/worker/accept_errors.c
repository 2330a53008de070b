#include "accept_errors.h"

#include "../base/log.h"
#include "../board/exitcode.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    PAUSE_FIRST_MSEC = 10,
    PAUSE_MOST_MSEC = 500,
};

/* After so long without a connection accepted, a new process is tried. */
#define SHORT_TIMEOUT (10 * USEC_SECOND)

/* The passing ones are those that accept(2) names. */
enum accept_error accept_error_of(int error)
{
    switch (error) {
    case EAGAIN:
    case EINTR: return ACCEPT_NOBODY;
    case ECONNABORTED:
    case EPROTO:
    case ECONNRESET:
    case ETIMEDOUT:
    case ENOPROTOOPT:
    case EHOSTDOWN:
    case ENONET:
    case EHOSTUNREACH:
    case EOPNOTSUPP:
    case ENETUNREACH: return ACCEPT_PASSING;
    case EBADF:
    case EINVAL:
    case ENOTSOCK:
    case EFAULT: return ACCEPT_BROKEN;
    default: return ACCEPT_SHORT;
    }
}

int accept_error_pause(int in_a_row)
{
    int most = PAUSE_FIRST_MSEC << (in_a_row < 6 ? in_a_row : 6);
    if (most > PAUSE_MOST_MSEC)
        most = PAUSE_MOST_MSEC;
    unsigned seed = (unsigned)clock_now() ^ (unsigned)getpid();
    return most / 2 + rand_r(&seed) % (most / 2 + 1);
}

int accept_error_short(const struct serve *serve, int error, usec since)
{
    static struct log_rate said;
    unsigned missed;
    bool for_all = error == ENFILE || error == ENOBUFS || error == ENOMEM; /* in this machine */
    if (log_rate_ok(&said, 60 * USEC_SECOND, &missed))
        log_warning("pool %s: can't accept connections for now: %s pool=%s errno=%d missed=%u",
                    serve->pool->name, strerror(error), serve->pool->name, error, missed);
    if (for_all || clock_now() - since <= SHORT_TIMEOUT || !serve_all_free(serve->life))
        return 0;
    snprintf(serve->life->head->reason, SCOREBOARD_REASON, "%s", strerror(error));
    return WORKER_SHORT;
}

int accept_error_broken(const struct serve *serve, int error)
{
    snprintf(serve->life->head->reason, SCOREBOARD_REASON, "accept: %s", strerror(error));
    return WORKER_LISTENER;
}
