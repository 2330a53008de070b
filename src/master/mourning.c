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

/* Whether it ended by its own doing, and not in order, before it had stayed ready as long as it was to.
 */
static bool is_failure(const struct worker *worker, const struct obituary *obituary)
{
    bool asked = worker->cause == DEATH_RETIRED || worker->cause == DEATH_OVERDUE ||
                 worker->cause == DEATH_STOPPED || worker->cause == DEATH_TIMEOUT;
    return worker->role != ROLE_RETIRING && !asked && !worker->stayed &&
           worker->conf->min_ready_time > 0 && !obituary_is_orderly(obituary);
}

void mourning_begin(struct worker *worker, struct overview *overview, struct obituary *obituary)
{
    lines_close(&worker->lines);
    spawn_obituary(worker, obituary);
    obituary->ended_early = is_failure(worker, obituary);
    worker->expected = obituary_is_orderly(obituary);
    record(overview, worker->resources->place, obituary);
    worker->mourned = true;
}

/* A successor of one that was ready is so too, unless it is to say that by itself. */
static void set_orderly(struct worker *worker, struct obituary *obituary, usec ready_for, usec now)
{
    usec patience = worker->conf->ready_timeout * USEC_SECOND;
    usec life = worker->died - worker->born;
    bool ready = worker->was_ready || worker->continues;
    obituary->delay = backoff_orderly(&worker->backoff, life, ready_for);
    worker->continues = ready && !worker->terms.notifies;
    worker->late = worker->trying_since && now - worker->trying_since >= patience;
}

void mourning_set_respawn(struct worker *worker, struct obituary *obituary, usec now)
{
    usec ready_for = worker->was_ready ? worker->died - worker->ready_at : -1;
    bool accepted = spawn_has_accepted(worker);
    obituary->replaced = true;
    if (obituary_is_orderly(obituary)) {
        set_orderly(worker, obituary, ready_for, now);
    } else {
        worker->continues = worker->late = worker->stayed = false;
        obituary->delay =
            backoff_death(&worker->backoff, accepted, ready_for, &obituary->delay_grew);
    }
    worker->respawn_at = now + obituary->delay;
}

void mourning_end(const struct obituary *obituary)
{
    char text[LOG_LINE_MAX];
    obituary_print(obituary, text, sizeof text);
    log_event(obituary_level(obituary), "%s", text);
}
