#include "backoff.h"

static usec next_delay(const struct backoff *backoff)
{
    if (backoff->early < 2)
        return 0;
    if (backoff->delay == 0)
        return BACKOFF_FIRST;
    return clock_earlier(backoff->delay * 2, BACKOFF_MOST);
}

usec backoff_death(struct backoff *backoff, bool accepted, usec ready_for, bool *grew)
{
    *grew = false;
    backoff_alive(backoff, accepted, ready_for);
    if (accepted || ready_for >= BACKOFF_EARLY) {
        backoff->early = 0;
        backoff->delay = 0;
        return 0;
    }
    backoff->early++;
    usec delay = next_delay(backoff);
    *grew = delay > backoff->delay;
    backoff->delay = delay;
    backoff->degraded = backoff->degraded || delay > 0;
    return delay;
}

void backoff_alive(struct backoff *backoff, bool accepted, usec ready_for)
{
    if (!accepted && ready_for < BACKOFF_HEALED)
        return;
    *backoff = (struct backoff){0};
}
