#include "roll.h"

static int greater(int a, int b)
{
    return a > b ? a : b;
}

/* Those that had their try are no longer on their way; and the old that died don't come back. */
int roll_allowed(const struct roll *roll)
{
    int missing = roll->target - roll->stale;
    if (!roll->stale)
        return roll->target;
    if (roll->halted)
        return greater(roll->stayed < roll->target ? roll->stayed : roll->target, missing);
    int some = roll->tried + roll->at_once;
    if (!roll->at_once || some > roll->target)
        return roll->target;
    return greater(some, missing);
}

int roll_surplus(const struct roll *roll)
{
    int over = roll->stale + roll->stayed - roll->target;
    bool all_tried = roll->tried >= roll->target;
    if (!roll->target || (all_tried && roll->stayed && !roll->halted))
        return roll->stale;
    if ((!roll->at_once && !roll->halted) || over < 0)
        return 0;
    return over < roll->stale ? over : roll->stale;
}

bool roll_is_over(const struct roll *roll)
{
    return (roll->halted && roll->stale) ||
           (roll->tried >= roll->target && (!roll->stale || !roll->stayed));
}
