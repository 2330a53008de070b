#include "mourning.h"

#include "../base/log.h"
#include "../shared/deaths.h"

/* A plain retirement is counted; every other end has its entry in the ledger, unless a stop asked
 * for it. */
static void record(struct scoreboard *board, int board_pool, const struct obituary *obituary)
{
    struct death death;
    if (obituary_is_expected(obituary)) {
        board->pools[board_pool].retirements++;
        return;
    }
    board->pools[board_pool].deaths++;
    obituary_record(obituary, clock_real(), &death);
    deaths_write(board, &death);
}

void mourning_begin(struct worker *worker, struct scoreboard *board, struct obituary *obituary)
{
    lines_close(&worker->lines);
    spawn_obituary(worker, obituary);
    record(board, worker->board_pool, obituary);
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
