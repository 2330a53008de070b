/*
 * plan_log - a plan in lines, for people: of a dry_run, and for the log of a reload.
 *
 * Knows not: who gets them.
 * Called by: reload.
 * Runs in:   the master.
 */
#ifndef PREFORKD_MASTER_PLAN_LOG_H
#define PREFORKD_MASTER_PLAN_LOG_H

#include "plan.h"

/* Tells it, a line a pool and a listener: "pool web: resized 4 to 8", "listener [::]:80: kept". */
typedef void plan_loger(void *owner, bool changes, const char *line);
void plans_tell(const struct plans *plans, const struct runtime *runtime, plan_loger *tell,
                void *owner);

#endif
