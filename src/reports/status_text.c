#include "status.h"

#include "../base/units.h"
#include "snapshot.h"

#include <stdlib.h>

static void print_pool(FILE *out, const struct snapshot_pool *pool)
{
    fprintf(out, "pool %s: %s, %d of %d workers ready, %d ", pool->name,
            pool_state_words[pool->state], snapshot_ready(pool), pool->target, pool->seats_busy);
    if (pool->model != MODEL_PROCESS)
        fprintf(out, "of %d connections ", pool->seats);
    fprintf(out, "busy%s%s\n", pool->trouble[0] ? ": " : "", pool->trouble);
}

char *status_text(const struct view *view, usec now)
{
    const struct overview *overview = view->overview;
    char span[UNITS_TEXT], release[TEXT_CLEAN(sizeof overview->release)];
    struct text text;
    struct snapshot *snapshot = snapshot_take(view, NULL);
    if (!snapshot || !text_open(&text)) {
        free(snapshot);
        return NULL;
    }
    text_clean(release, sizeof release, overview->release, sizeof overview->release);
    fprintf(text.out, "preforkd %s, pid %d, up %s, generation %u\n", release, (int)overview->master,
            units_span(snapshot_span(overview->started, now), span), overview->generation);
    for (int i = 0; i < snapshot->count; i++)
        if (snapshot->pools[i].used)
            print_pool(text.out, &snapshot->pools[i]);
    free(snapshot);
    return text_close(&text, true);
}

static void print_death(FILE *out, const struct death *death)
{
    char when[UNITS_TEXT], pool[TEXT_CLEAN(SCOREBOARD_NAME)], why[TEXT_CLEAN(SCOREBOARD_REASON)];
    fprintf(out, "%s pool %s: worker %d %s\n", units_time(death->when, when),
            text_clean(pool, sizeof pool, death->pool, sizeof death->pool), (int)death->pid,
            text_clean(why, sizeof why, death->why, sizeof death->why));
}

char *deaths_text(const struct overview *overview)
{
    struct text text;
    struct death *list = calloc(SCOREBOARD_DEATHS, sizeof *list);
    if (!list || !text_open(&text)) {
        free(list);
        return NULL;
    }
    int count = deaths_list(overview, list);
    if (count == 0)
        fputs("no worker has ended unexpectedly\n", text.out);
    for (int i = 0; i < count; i++)
        print_death(text.out, &list[i]);
    free(list);
    return text_close(&text, true);
}
