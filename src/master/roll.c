#include "roll.h"

/* Those that had their try are no longer on their way; and the old that died don't come back. */
int roll_allowed(const struct roll *roll)
{
    int some = roll->settled + roll->at_once, missing = roll->target - roll->outdated;
    if (!roll->at_once || !roll->outdated || some > roll->target)
        return roll->target;
    return some > missing ? some : missing;
}

int roll_surplus(const struct roll *roll)
{
    int over = roll->outdated + roll->ready - roll->target;
    if (roll->settled >= roll->target && (roll->ready || !roll->target))
        return roll->outdated;
    if (!roll->at_once || over < 0)
        return 0;
    return over < roll->outdated ? over : roll->outdated;
}
