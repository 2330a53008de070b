#include "speaker.h"

/* Alive for so long, a program is taken for ready that does not say it. */
#define READY_AFTER USEC_SECOND

/* It can't be late: to be alive for as long is sure to come, or not to. */
static usec await_age(struct worker *worker, usec now)
{
    usec since = worker->slot->since; /* its word, from before */
    usec due = (since > worker->born && since < now ? since : worker->born) + READY_AFTER;
    if (worker->role != ROLE_RETIRING)
        worker->deadline = USEC_NEVER;
    if (due > now)
        return due;
    spawn_set_ready(worker, now);
    return USEC_NEVER;
}

usec speaker_tend(struct worker *worker, usec now)
{
    if (!spawn_is_program(worker) || spawn_is_ready(worker))
        return USEC_NEVER;
    return await_age(worker, now);
}
