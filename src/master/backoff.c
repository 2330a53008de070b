#include "backoff.h"

usec backoff_death(struct backoff *backoff, bool accepted, usec ready_for, bool *grew)
{
    *grew = false;
    backoff->alive = backoff->ready = 0;
    backoff_alive(backoff, accepted, ready_for);
    if (accepted || ready_for >= BACKOFF_EARLY) {
        backoff->early = 0;
        backoff->delay = 0;
        return 0;
    }
    backoff->early++;
    usec delay = 0;
    if (backoff->early >= 2)
        delay = backoff->delay ? clock_earlier(backoff->delay * 2, BACKOFF_MOST) : BACKOFF_FIRST;
    *grew = delay > backoff->delay;
    backoff->delay = delay;
    backoff->degraded = backoff->degraded || delay > 0;
    return delay;
}

void backoff_alive(struct backoff *backoff, bool accepted, usec ready_for)
{
    if (!accepted && ready_for < BACKOFF_HEALED)
        return;
    backoff->early = 0;
    backoff->delay = 0;
    backoff->degraded = false;
}

/* A gap counts a quarter against them: so a program that does nothing but end never gets anywhere,
 * and one that is there for a fifth of the time does. */
usec backoff_orderly(struct backoff *backoff, usec life, usec ready_for)
{
    usec delay = life < BACKOFF_FIRST ? BACKOFF_FIRST - life : 0;
    usec alive = backoff->alive + life - delay / 4;
    backoff->alive = alive < 0 ? 0 : clock_earlier(alive, BACKOFF_EARLY);
    if (ready_for < 0)
        return delay;
    backoff->ready = clock_earlier(backoff->ready + ready_for, BACKOFF_HEALED);
    backoff_alive(backoff, /* accepted: */ false, backoff->ready);
    return delay;
}
