#include "mourning.h"

#include "../base/log.h"
#include "../shared/deaths.h"

/* A plain retirement is counted; every other end has its entry in the ledger, unless a stop asked
 * for it. */
static void record(struct overview *overview, int place, const struct obituary *obituary)
{
    struct death death;
    if (obituary_is_expected(obituary)) {
        overview->pools[place].retirements++;
        return;
    }
    overview->pools[place].deaths++;
    obituary_record(obituary, clock_real(), &death);
    deaths_write(overview, &death);
}

void mourning_begin(struct worker *worker, struct overview *overview, struct obituary *obituary)
{
    lines_close(&worker->lines);
    spawn_obituary(worker, obituary);
    record(overview, worker->resources->place, obituary);
    worker->mourned = true;
}

void mourning_set_respawn(struct worker *worker, struct obituary *obituary, usec now)
{
    usec ready_for = worker->was_ready ? worker->died - worker->ready_at : -1;
    bool accepted = spawn_has_accepted(worker);
    obituary->replaced = true;
    obituary->delay = backoff_death(&worker->backoff, accepted, ready_for, &obituary->delay_grew);
    worker->respawn_at = now + obituary->delay;
}

void mourning_end(const struct obituary *obituary)
{
    char text[LOG_LINE_MAX];
    obituary_print(obituary, text, sizeof text);
    log_event(obituary_level(obituary), "%s", text);
}
