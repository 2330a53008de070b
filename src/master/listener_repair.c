#include "listener_repair.h"

#include <errno.h>

/* A pool whose programs shut down each new socket gets one no more often than this: else it would
 * keep the master busy with restarts. */
#define RESTARTS_APART (10 * USEC_SECOND)
#define LOSSES_APART   (10 * USEC_SECOND)

static void tell(const struct pool *pool, struct listener *listener, pid_t pid, const char *then)
{
    unsigned missed;
    if (log_rate_ok(&listener->loss_told, LOSSES_APART, &missed))
        log_warning(
            "pool %s: listener %s was shut down, by shutdown(2) in worker %d or another one "
            "that has it; %s pool=%s listener=%s pid=%d missed=%u",
            pool->name, listener->text, (int)pid, then, pool->name, listener->text, (int)pid,
            missed);
}

/* Whether it must be bound anew. */
static bool mend(const struct pool *pool, struct listener *listener, pid_t pid)
{
    int error = listener_heal(listener, pool->conf->backlog);
    listener->unreachable = error;
    if (!error)
        tell(pool, listener, pid,
             listener->lent ? "it listens again; programs that stopped to accept must be restarted"
                            : "it listens again");
    else if (listener->origin == LISTENER_ACTIVATED)
        tell(pool, listener, pid,
             "it is systemd's, and lost until its .socket unit and preforkd are restarted");
    else
        tell(pool, listener, pid, "it is bound anew, with new workers");
    return error && listener->origin != LISTENER_ACTIVATED;
}

/* A removed pool's listeners are closed, and it is to have no more of them. */
int listeners_heal(struct pool *pool, pid_t pid)
{
    int left = 0;
    for (int i = 0; !pool->removed && i < pool->listener_count; i++)
        if (listener_is_shut(pool->listeners[i]))
            left += mend(pool, pool->listeners[i], pid);
    if (left && !pool->restart_at)
        pool->restart_at = pool->restarted ? pool->restarted + RESTARTS_APART : 1;
    return left;
}

static bool is_lost(const struct pool *pool)
{
    for (int i = 0; i < pool->listener_count; i++)
        if (listener_is_shut(pool->listeners[i]) &&
            pool->listeners[i]->origin != LISTENER_ACTIVATED)
            return true;
    return false;
}

/* What was lost may be there again by then, by a reload. */
bool listener_repair_is_due(struct pool *pool, usec now, usec *next)
{
    if (!pool->restart_at)
        return false;
    if (now < pool->restart_at) {
        *next = clock_earlier(*next, pool->restart_at);
        return false;
    }
    pool->restart_at = 0;
    if (pool->removed || pool->drained || !is_lost(pool))
        return false;
    pool->restarted = now;
    return true;
}
