/*
 * plan_tell - a plan in lines, for people: of a rehearsal, and for the log of a reload.
 *
 * Knows not: who gets them.
 * Called by: reload.
 * Runs in:   the master.
 */
#ifndef PREFORKD_MASTER_PLAN_TELL_H
#define PREFORKD_MASTER_PLAN_TELL_H

#include "plan.h"

/* Tells it, a line a pool and a listener: "pool web: resized 4 to 8", "listener [::]:80: kept". */
typedef void plan_teller(void *owner, bool changes, const char *line);
void plans_tell(const struct plans *plans, const struct realm *realm, plan_teller *tell,
                void *owner);

#endif
