#include "status.h"

#include "../base/units.h"
#include "../board/deaths.h"
#include "snapshot.h"

#include <stdlib.h>

/* What it did until then. */
static void print_life(FILE *out, const struct death *death)
{
    char age[UNITS_TEXT], user[UNITS_TEXT], system[UNITS_TEXT], memory[UNITS_TEXT];
    fprintf(out, "  age %s%s, %llu served, generation %u\n", units_span(death->age, age),
            death->was_ready ? "" : " and never ready", (unsigned long long)death->served,
            death->generation);
    fprintf(out, "  CPU %s user and %s system, memory %s at its peak\n",
            units_span(death->cpu_user, user), units_span(death->cpu_system, system),
            units_size(death->memory, memory));
}

static void print_death(FILE *out, const struct death *death)
{
    char when[UNITS_TEXT], pool[TEXT_CLEAN(SCOREBOARD_NAME)], text[TEXT_CLEAN(SCOREBOARD_REASON)];
    char peer[ADDR_TEXT];
    fprintf(out, "%s pool %s: worker %d ", units_time(death->when, when),
            text_clean(pool, sizeof pool, death->pool, sizeof death->pool), (int)death->pid);
    fprintf(out, "%s\n", text_clean(text, sizeof text, death->why, sizeof death->why));
    print_life(out, death);
    if (death->core[0])
        fprintf(out, "  core: %s\n",
                text_clean(text, sizeof text, death->core, sizeof death->core));
    if (snapshot_peer(&death->peer, peer)[0])
        fprintf(out, "  serving %s\n", peer);
    if (death->last[0])
        fprintf(out, "  last words: %s\n",
                text_clean(text, sizeof text, death->last, sizeof death->last));
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
        fputs("no worker has died other than by being retired\n", text.out);
    for (int i = 0; i < count; i++)
        print_death(text.out, &list[i]);
    free(list);
    return text_close(&text, true);
}
