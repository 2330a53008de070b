/* config_load: a room of its own, for it stands on the others of this floor. */
#include "config.h"

#include "parser.h"
#include "rules.h"
#include "source.h"

#include <errno.h>
#include <string.h>

/* As for the configuration itself: the statements, and the text for libconfuse. */
enum { SCRATCH_ROOM = 512 * 1024 * 1024 };

static void close_arena(struct arena **arena)
{
    arena_close(*arena);
}

void config_load(struct config *config, const char *file,
                 const struct handler_section *const *handlers)
{
    bool whole;
    struct arena *scratch __attribute__((cleanup(close_arena))) = arena_open(SCRATCH_ROOM);
    config->file = arena_text(config->arena, file);
    if (!scratch) {
        faults_add(&config->faults, config->file, 0, "out of memory: %s", strerror(errno));
        return;
    }
    struct source *sources = source_read(config->file, scratch, &config->faults, &whole);
    if (!sources)
        return;
    parser_fill(config, sources, handlers, scratch);
    rules_apply(config, whole);
}
