#include "parser.h"

#include "../base/suggest.h"
#include "../base/text.h"
#include "foreign.h"

#include <confuse.h>
#include <stdlib.h>
#include <string.h>

enum place_kind { PLACE_GLOBAL, PLACE_POOL, PLACE_LEAF /* holds no sections */, PLACE_KINDS };

/* The sections that name no handler. */
static const struct handler_section log_section = {.name = "log", .rows = log_rows},
                                    pool_section = {.name = "pool", .rows = pool_rows},
                                    limits_section = {.name = "limits", .rows = limit_rows};

/* A section being read, or the top level of all files. */
struct place {
    enum place_kind kind;
    struct place *next;  /* in the same section */
    struct place *first; /* of the sections in this one */
    const char *name;
    const char *prefix; /* of its faults: "pool web: exec: " */
    const struct option_row *rows;
    void *into;       /* the struct that the rows fill; NULL: the section is only checked */
    const char *file; /* in the arena of config */
    int line;
    int *lines; /* lines and files by row, as in struct origin */
    const char **files;
    struct pool_config *pool; /* NULL outside of pools */
};

struct reader {
    struct config *config;
    struct arena *scratch;
    const struct handler_section *const *sections[PLACE_KINDS]; /* allowed there */
    struct place global;
    struct pool_config **pools; /* the pools of config, writable */
    unsigned unknown;           /* count of unknown options and sections so far */
    unsigned beyond;            /* count of pools for which there is no room */
    const char *beyond_file;    /* of the first of them */
    int beyond_line;
};

#define FAULT(reader, place, line, format, ...)                                                    \
    faults_add(&(reader)->config->faults, (place)->file, line, "%s" format, (place)->prefix,       \
               ##__VA_ARGS__)

static const struct handler_section *find_section(const struct reader *reader, enum place_kind kind,
                                                  const char *name)
{
    const struct handler_section *const *section = reader->sections[kind];
    while (*section && strcmp((*section)->name, name) != 0)
        section++;
    return *section;
}

static bool is_known(const struct reader *reader, enum place_kind kind,
                     const struct option_row *rows, const char *name)
{
    return option_find(rows, name) >= 0 || find_section(reader, kind, name);
}

/* --- options ------------------------------------------------------------------------------- */

/* Where a misplaced name belongs. NULL: the name is known nowhere. */
static const char *right_place(const struct reader *reader, const struct place *place,
                               const char *name)
{
    bool of_pool = place->kind != PLACE_POOL && is_known(reader, PLACE_POOL, pool_rows, name);
    if (of_pool && place->pool)
        return "in the pool itself";
    if (place->kind != PLACE_GLOBAL && is_known(reader, PLACE_GLOBAL, global_rows, name))
        return "outside of all pools";
    return of_pool ? "in a pool" : NULL;
}

/* The sections that have an option of this name, as "exec { } or cgi { }". NULL: there is none. */
static const char *sections_with(const struct reader *reader, const char *name)
{
    const char *found = NULL;
    for (int kind = 0; kind < PLACE_KINDS; kind++)
        for (const struct handler_section *const *s = reader->sections[kind]; *s; s++)
            if (*s != &pool_section && option_find((*s)->rows, name) >= 0)
                found = found ? arena_format(reader->scratch, "%s or %s { }", found, (*s)->name)
                              : arena_format(reader->scratch, "%s { }", (*s)->name);
    return found;
}

static const char *nearest(const struct reader *reader, const struct place *place, const char *name)
{
    struct suggest near;
    suggest_init(&near, name);
    for (const struct option_row *row = place->rows; row->name; row++)
        suggest_offer(&near, row->name);
    for (const struct handler_section *const *s = reader->sections[place->kind]; *s; s++)
        suggest_offer(&near, (*s)->name);
    if (place->kind == PLACE_GLOBAL)
        suggest_offer(&near, "include");
    return near.nearest;
}

/* Which need of a pool this option or section meets. */
static enum need need_of(const struct reader *reader, const char *name)
{
    if (strcmp(name, "listen") == 0)
        return NEED_LISTEN;
    if (strcmp(name, "workers") == 0 || strcmp(name, "max_workers") == 0)
        return NEED_SIZE;
    const struct handler_section *section = find_section(reader, PLACE_POOL, name);
    return section && section != &limits_section ? NEED_HANDLER : NEED_NOTHING;
}

static void fault_unknown(struct reader *reader, const struct place *place,
                          const struct statement *statement)
{
    const char *name = statement->name, *other;
    const struct foreign_word *foreign = foreign_find(name);
    enum need need = NEED_NOTHING;
    const char *kind = statement->kind == STATEMENT_SECTION ? "section" : "option";
    if (strcmp(name, "include") == 0)
        FAULT(reader, place, statement->line, "include is written include(\"PATTERN\")");
    else if (++reader->unknown > FAULTS_MAX) /* a suggestion costs time */
        FAULT(reader, place, statement->line, "unknown %s", kind);
    else if ((other = right_place(reader, place, name)))
        FAULT(reader, place, statement->line, "unknown %s \"%.60s\" here; it belongs %s", kind,
              name, other);
    else if (foreign) {
        FAULT(reader, place, statement->line, "unknown %s \"%.60s\": %s", kind, name,
              foreign->advice);
        need = foreign->need;
    } else if ((other = sections_with(reader, name))) {
        FAULT(reader, place, statement->line, "unknown %s \"%.60s\" here; it belongs in %s", kind,
              name, other);
        bool of_handler = option_find(limit_rows, name) < 0 && option_find(log_rows, name) < 0;
        need = of_handler ? NEED_HANDLER : NEED_NOTHING;
    } else if ((other = nearest(reader, place, name))) {
        FAULT(reader, place, statement->line, "unknown %s \"%.60s\"; did you mean \"%s\"?", kind,
              name, other);
        need = need_of(reader, other);
    } else
        FAULT(reader, place, statement->line, "unknown %s \"%.60s\"", kind, name);
    if (place->kind == PLACE_POOL)
        place->pool->misnamed |= need;
}

static void fault_doubled(struct reader *reader, const struct place *place, const char *what,
                          const struct statement *statement, const char *file, int line)
{
    bool here = strcmp(file, place->file) == 0;
    FAULT(reader, place, statement->line, "%s \"%s\" is doubled; the first is %s%s%d", what,
          statement->name, here ? "in line " : "at ",
          here ? "" : arena_format(reader->scratch, "%s:", file), line);
}

/* Notes a section that is written as an option. It counts as the pool's handler. */
static void fault_section(struct reader *reader, const struct place *place,
                          const struct statement *statement)
{
    const char *name = statement->name;
    FAULT(reader, place, statement->line, "%s is a section: %s { ... }", name,
          strcmp(name, "pool") == 0 ? "pool \"NAME\"" : name);
    if (place->kind == PLACE_POOL)
        place->pool->misnamed |= need_of(reader, name);
}

/* Checks an option. The index of its row if libconfuse may read the value, else -1. */
static int check_option(struct reader *reader, struct place *place,
                        const struct statement *statement)
{
    const char *name = statement->name;
    int line = statement->line, index = option_find(place->rows, name);
    bool list = statement->kind == STATEMENT_LIST;
    if (index < 0 && find_section(reader, place->kind, name))
        fault_section(reader, place, statement);
    else if (index < 0)
        fault_unknown(reader, place, statement);
    else if (place->lines[index])
        fault_doubled(reader, place, "option", statement, place->files[index], place->lines[index]);
    else {
        place->lines[index] = line;
        place->files[index] = place->file;
        if (!statement->spoiled && (!list || place->rows[index].type == OPTION_WORDS))
            return index;
        if (!statement->spoiled)
            FAULT(reader, place, line, "%s takes one value, not a list", name);
    }
    return -1;
}

/* --- sections ------------------------------------------------------------------------------ */

/* `into` is NULL for a section that is only checked; its origin is not kept. */
static void place_init(struct reader *reader, struct place *place, const struct option_row *rows,
                       void *into, struct origin *origin)
{
    size_t count = (size_t)option_count(rows);
    struct arena *arena = reader->config->arena;
    place->rows = rows;
    place->into = into;
    place->lines = arena_take(arena, count * sizeof *place->lines);
    place->files = arena_take(arena, count * sizeof *place->files);
    if (!into)
        return;
    *origin = (struct origin){
        .file = place->file,
        .line = place->line,
        .lines = place->lines,
        .files = place->files,
    };
    option_defaults(rows, into, arena);
}

static void begin_pool(struct reader *reader, struct place *place,
                       const struct statement *statement)
{
    struct config *config = reader->config;
    struct pool_config *pool = arena_take(config->arena, sizeof *pool);
    int shown = statement->title ? (int)strcspn(statement->title, "\n") : 0;
    if (shown == 0)
        FAULT(reader, place, place->line, "a pool needs a name: pool \"NAME\" { ... }");
    place->pool = pool;
    place->prefix = shown ? arena_format(reader->scratch, "pool %.*s: ", shown < 40 ? shown : 40,
                                         statement->title)
                          : "pool: ";
    pool->name = arena_text(config->arena, statement->title ? statement->title : "");
    place_init(reader, place, pool_rows, pool, &pool->origin);
    option_defaults(limit_rows, &pool->limits, config->arena);
    reader->pools[config->pool_count++] = pool;
}

/* If a section is doubled, the first counts and the others are only checked. */
static void begin_handler(struct reader *reader, struct place *place,
                          const struct handler_section *handler, bool doubled)
{
    struct pool_config *pool = place->pool;
    struct origin origin;
    void *into = doubled ? NULL : arena_take(reader->config->arena, handler->size);
    place_init(reader, place, handler->rows, into, &origin);
    if (doubled)
        return;
    if (pool->handler) {
        FAULT(reader, place, place->line, "a second handler: this pool has %s in line %d",
              pool->handler->name, pool->handler_origin.line);
        return;
    }
    pool->handler = handler;
    pool->handler_config = into;
    pool->handler_origin = origin;
}

/* Begins a section other than a pool. */
static void begin_leaf(struct reader *reader, struct place *place,
                       const struct handler_section *section, const struct statement *statement,
                       bool doubled)
{
    struct config *config = reader->config;
    struct pool_config *pool = place->pool;
    if (statement->title)
        FAULT(reader, place, place->line, "%s takes no name before its {", place->name);
    place->prefix = arena_format(reader->scratch, "%s%s: ", place->prefix, place->name);
    if (section == &log_section)
        place_init(reader, place, log_rows, doubled ? NULL : &config->log, &config->log_origin);
    else if (section == &limits_section)
        place_init(reader, place, limit_rows, doubled ? NULL : &pool->limits, &pool->limits_origin);
    else
        begin_handler(reader, place, section, doubled);
}

static void read_place(struct reader *reader, struct place *place, const struct statement *first,
                       bool open);

/* Counts the pools for which there is no room; parser_fill says how many, at the first of them. */
static void note_beyond(struct reader *reader, const struct place *place,
                        const struct statement *statement)
{
    if (reader->beyond++ == 0) {
        reader->beyond_file = place->file;
        reader->beyond_line = statement->line;
    }
}

static void read_section(struct reader *reader, struct place *place,
                         const struct statement *statement, bool open)
{
    const char *name = statement->name;
    const struct handler_section *section = find_section(reader, place->kind, name);
    bool pool = section == &pool_section, full = pool && reader->config->pool_count == POOLS_MAX;
    if (!section && option_find(place->rows, name) >= 0)
        FAULT(reader, place, statement->line, "%s is an option: %s = ...", name, name);
    /* If the section around it was left open, a pool only seems to stand inside. */
    else if (!section && !(open && strcmp(name, "pool") == 0))
        fault_unknown(reader, place, statement);
    else if (full)
        note_beyond(reader, place, statement);
    if (!section || full)
        return;
    const struct place *earlier = pool ? NULL : place->first;
    while (earlier && strcmp(earlier->name, name) != 0)
        earlier = earlier->next;
    if (earlier)
        fault_doubled(reader, place, "section", statement, earlier->file, earlier->line);
    struct place *inner = arena_take(reader->scratch, sizeof *inner);
    *inner = (struct place){
        .kind = pool ? PLACE_POOL : PLACE_LEAF,
        .next = place->first,
        .name = name,
        .prefix = place->prefix,
        .file = place->file,
        .line = statement->line,
        .pool = place->pool,
    };
    place->first = inner;
    if (pool)
        begin_pool(reader, inner, statement);
    else
        begin_leaf(reader, inner, section, statement, earlier != NULL);
    read_place(reader, inner, statement->first, statement->open);
}

/* --- what a pool needs --------------------------------------------------------------------- */

static void fault_no_handler(struct reader *reader, const struct place *place)
{
    char known[256] = "";
    struct text_line line = {.at = known, .room = sizeof known};
    for (const struct handler_section *const *h = reader->sections[PLACE_POOL] + 1; *h; h++)
        text_add(&line, "%s%s", line.length ? ", " : "", (*h)->name);
    FAULT(reader, place, place->line, "no section names the handler; known are %s", known);
}

/* Refuses the options that the handler can't honour, and fills in the handler's defaults for pool
 * options that the file does not set. */
static void apply_handler(struct reader *reader, const struct place *place)
{
    static const char *const reasons[] = {
        [SCOPE_CONNECTIONS] = "its program accepts the connections, and preforkd sees none of them",
        [SCOPE_CLIENT] = "its program waits for the client, not the worker",
    };
    const struct handler_section *handler = place->pool->handler;
    for (int i = 0; pool_rows[i].name; i++)
        if (place->lines[i] && !option_is_honoured(&pool_rows[i], handler))
            FAULT(reader, place, place->lines[i], "the handler %s takes no %s: %s", handler->name,
                  pool_rows[i].name, reasons[pool_rows[i].scope]);
    for (const struct option_default *each = handler->defaults; each && each->name; each++) {
        int index = option_find(pool_rows, each->name);
        if (!place->lines[index])
            option_read(&pool_rows[index], place->pool, &each->value, 1, &reader->config->faults,
                        place->file, place->line);
    }
}

/* Notes what a section lacks. Not for a section inside which the syntax broke. */
static void check_complete(struct reader *reader, const struct place *place)
{
    for (int i = 0; place->rows[i].name; i++)
        if ((place->rows[i].flags & OPTION_REQUIRED) && place->lines[i] == 0 &&
            !(place->kind == PLACE_POOL &&
              place->pool->misnamed & need_of(reader, place->rows[i].name)))
            FAULT(reader, place, place->line, "the option \"%s\" is missing", place->rows[i].name);
    if (place->kind == PLACE_POOL && place->pool->handler)
        apply_handler(reader, place);
    else if (place->kind == PLACE_POOL && !(place->pool->misnamed & NEED_HANDLER))
        fault_no_handler(reader, place);
}

/* --- values, by libconfuse ----------------------------------------------------------------- */

/* libconfuse passes no user data to its error function. */
static struct {
    struct reader *reader;
    const struct place *place;
} errors;

static void note_error(cfg_t *cfg, const char *format, va_list args)
    __attribute__((format(printf, 2, 0)));

static void note_error(cfg_t *cfg, const char *format, va_list args)
{
    char text[256];
    (void)cfg;
    vsnprintf(text, sizeof text, format, args);
    FAULT(errors.reader, errors.place, errors.place->line, "%s", text);
}

static void free_cfg(cfg_t **cfg)
{
    if (*cfg)
        cfg_free(*cfg);
}

/* Fills in an option from the values that libconfuse read. Faults get the section's prefix. */
static void fill_option(struct reader *reader, const struct place *place, int index, cfg_t *cfg)
{
    struct faults found;
    const struct option_row *row = &place->rows[index];
    cfg_opt_t *option = cfg_getopt(cfg, row->name);
    unsigned count = cfg_opt_size(option);
    const char **values = arena_take(reader->scratch, (count + 1) * sizeof *values);
    for (unsigned i = 0; i < count; i++)
        values[i] = cfg_opt_getnstr(option, i);
    faults_init(&found, reader->config->arena);
    option_read(row, place->into, values, (int)count, &found, place->file, place->lines[index]);
    for (const struct fault *fault = found.first; fault; fault = fault->next)
        FAULT(reader, place, fault->line, "%s", fault->text);
}

/* Fills in the options whose `sound` is set, by row. To libconfuse every value is a string, because
 * the rows know types and ranges better. */
static void fill_options(struct reader *reader, const struct place *place, const char *text,
                         const bool *sound)
{
    size_t count = (size_t)option_count(place->rows) + 1;
    cfg_opt_t *table = arena_take(reader->scratch, count * sizeof *table), *at = table;
    for (const struct option_row *row = place->rows; row->name; row++)
        if (row->type == OPTION_WORDS)
            *at++ = (cfg_opt_t)CFG_STR_LIST(row->name, NULL, CFGF_NODEFAULT);
        else
            *at++ = (cfg_opt_t)CFG_STR(row->name, NULL, CFGF_NODEFAULT);
    *at = (cfg_opt_t)CFG_END();
    cfg_t *cfg __attribute__((cleanup(free_cfg))) = cfg_init(table, CFGF_NONE);
    unsigned before = reader->config->faults.count;
    errors.reader = reader;
    errors.place = place;
    if (cfg)
        cfg_set_error_function(cfg, note_error);
    if (cfg && cfg_parse_buf(cfg, text) == CFG_SUCCESS) {
        for (int i = 0; place->rows[i].name; i++)
            if (sound[i])
                fill_option(reader, place, i, cfg);
    } else if (reader->config->faults.count == before)
        FAULT(reader, place, place->line, "libconfuse can't read the options");
}

static void free_text(char **text)
{
    free(*text);
}

/* Reads the statements of a section, or the top level of one file. */
static void read_place(struct reader *reader, struct place *place, const struct statement *first,
                       bool open)
{
    bool *sound = arena_take(reader->scratch, (size_t)option_count(place->rows) + 1);
    char *text __attribute__((cleanup(free_text))) = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    for (const struct statement *s = first; s && out; s = s->next) {
        bool option = s->kind == STATEMENT_VALUE || s->kind == STATEMENT_LIST;
        int index = option ? check_option(reader, place, s) : -1;
        if (s->kind == STATEMENT_SECTION)
            read_section(reader, place, s, open);
        if (index >= 0) {
            sound[index] = true;
            syntax_print(s, out);
        }
    }
    if (!out || fclose(out) != 0) {
        FAULT(reader, place, place->line, "out of memory");
        return;
    }
    if (size && place->into)
        fill_options(reader, place, text, sound);
    if (!open && place != &reader->global)
        check_complete(reader, place);
}

void parser_fill(struct config *config, const struct source *sources,
                 const struct handler_section *const *handlers, struct arena *scratch)
{
    static const struct handler_section *const none[] = {NULL};
    static const struct handler_section *const global[] = {&log_section, &pool_section, NULL};
    size_t count = 0;
    while (handlers[count])
        count++;
    const struct handler_section **inside = arena_take(scratch, (count + 2) * sizeof *inside);
    inside[0] = &limits_section;
    memcpy(inside + 1, handlers, count * sizeof *inside);
    struct reader reader = {
        .config = config,
        .scratch = scratch,
        .sections = {[PLACE_GLOBAL] = global, [PLACE_POOL] = inside, [PLACE_LEAF] = none},
        .global = {.prefix = "", .file = config->file, .line = 1},
        .pools = arena_take(config->arena, POOLS_MAX * sizeof *reader.pools),
    };
    config->pools = (const struct pool_config *const *)reader.pools;
    place_init(&reader, &reader.global, global_rows, config, &config->origin);
    option_defaults(log_rows, &config->log, config->arena);
    for (; sources; sources = sources->next) {
        reader.global.file = arena_text(config->arena, sources->file);
        read_place(&reader, &reader.global, sources->syntax.first, false);
    }
    if (reader.beyond)
        faults_add(&config->faults, reader.beyond_file, reader.beyond_line,
                   "%u pool%s too many: at most %d are possible", reader.beyond,
                   reader.beyond == 1 ? "" : "s", POOLS_MAX);
}
