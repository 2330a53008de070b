#include "parser.h"

#include "suggest.h"

#include <confuse.h>
#include <stdlib.h>
#include <string.h>

enum place_kind { PLACE_GLOBAL, PLACE_POOL, PLACE_LEAF /* holds no sections */ };

/* A section as it is read, or the top level of all files. */
struct place {
    enum place_kind kind;
    struct place *next; /* of those in the same section */
    struct place *first;
    const char *name;
    const char *prefix; /* of its faults: "pool web: exec: " */
    const struct option_row *rows;
    void *into; /* the struct that the rows fill */
    const char *file;
    int line;
    int *lines;               /* by row, as in struct origin */
    const char **files;       /* too */
    struct pool_config *pool; /* of a pool, and of what it holds */
};

struct reader {
    struct config *config;
    const struct handler_section *const *handlers;
    struct arena *scratch;
    struct place global;
    struct pool_config **pools; /* those of config, while they are filled */
    unsigned unknown;           /* options and sections so far */
};

#define FAULT(reader, place, line, format, ...)                                                    \
    faults_add(&(reader)->config->faults, (place)->file, line, "%s" format, (place)->prefix,       \
               ##__VA_ARGS__)

/* `into` is NULL, and the origin not kept, of a section that is no more than checked. */
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
        .file = arena_text(arena, place->file),
        .line = place->line,
        .lines = place->lines,
        .files = place->files,
    };
    option_defaults(rows, into, arena);
}

static const struct handler_section *find_handler(const struct reader *reader, const char *name)
{
    for (const struct handler_section *const *h = reader->handlers; *h; h++)
        if (strcmp((*h)->name, name) == 0)
            return *h;
    return NULL;
}

/* --- what may stand where ------------------------------------------------------------------ */

static bool may_hold(const struct reader *reader, enum place_kind kind, const char *section)
{
    if (kind == PLACE_GLOBAL)
        return strcmp(section, "log") == 0 || strcmp(section, "pool") == 0;
    return kind == PLACE_POOL && (strcmp(section, "limits") == 0 || find_handler(reader, section));
}

static const char *nearest(const struct reader *reader, const struct place *place, const char *name)
{
    struct suggest near;
    suggest_init(&near, name);
    for (const struct option_row *row = place->rows; row->name; row++)
        suggest_offer(&near, row->name);
    if (place->kind == PLACE_GLOBAL) {
        suggest_offer(&near, "log");
        suggest_offer(&near, "pool");
        suggest_offer(&near, "include");
    } else if (place->kind == PLACE_POOL) {
        suggest_offer(&near, "limits");
        for (const struct handler_section *const *h = reader->handlers; *h; h++)
            suggest_offer(&near, (*h)->name);
    }
    return near.nearest;
}

/* A name that is known elsewhere: where it belongs. NULL: nowhere. */
static const char *home_of(const struct reader *reader, const struct place *place, const char *name)
{
    enum place_kind kind = place->kind;
    if (kind != PLACE_POOL &&
        (option_find(pool_rows, name) >= 0 || may_hold(reader, PLACE_POOL, name)))
        return kind == PLACE_GLOBAL ? "it belongs into a pool" : "it belongs into the pool itself";
    if (kind != PLACE_GLOBAL &&
        (option_find(global_rows, name) >= 0 || may_hold(reader, PLACE_GLOBAL, name)))
        return "it belongs outside of all pools";
    if (kind == PLACE_POOL && option_find(limit_rows, name) >= 0)
        return "it belongs into limits { }";
    return NULL;
}

static void fault_unknown(struct reader *reader, const struct place *place,
                          const struct statement *statement)
{
    const char *name = statement->name;
    const char *kind = statement->kind == STATEMENT_SECTION ? "section" : "option";
    if (strcmp(name, "include") == 0)
        FAULT(reader, place, statement->line, "include is written include(\"PATTERN\")");
    else if (++reader->unknown > FAULTS_MAX) /* near words cost time */
        FAULT(reader, place, statement->line, "unknown %s", kind);
    else if (home_of(reader, place, name))
        FAULT(reader, place, statement->line, "unknown %s \"%.60s\" here; %s", kind, name,
              home_of(reader, place, name));
    else if (nearest(reader, place, name))
        FAULT(reader, place, statement->line, "unknown %s \"%.60s\"; did you mean \"%s\"?", kind,
              name, nearest(reader, place, name));
    else
        FAULT(reader, place, statement->line, "unknown %s \"%.60s\"", kind, name);
}

/* "set twice": where first. */
static void fault_doubled(struct reader *reader, const struct place *place, const char *what,
                          const char *name, int line, const char *first_file, int first_line)
{
    if (strcmp(first_file, place->file) == 0)
        FAULT(reader, place, line, "%s \"%s\" is doubled; the first is in line %d", what, name,
              first_line);
    else
        FAULT(reader, place, line, "%s \"%s\" is doubled; the first is at %s:%d", what, name,
              first_file, first_line);
}

/* False: libconfuse must not see it. */
static bool check_option(struct reader *reader, struct place *place,
                         const struct statement *statement)
{
    int line = statement->line, index = option_find(place->rows, statement->name);
    if (index < 0 && may_hold(reader, place->kind, statement->name))
        FAULT(reader, place, line, "%s is a section: %s { ... }", statement->name, statement->name);
    else if (index < 0)
        fault_unknown(reader, place, statement);
    else if (place->lines[index])
        fault_doubled(reader, place, "option", statement->name, line, place->files[index],
                      place->lines[index]);
    else {
        place->lines[index] = line;
        place->files[index] = arena_text(reader->config->arena, place->file);
        if (statement->spoiled)
            return false;
        if (statement->kind != STATEMENT_LIST || place->rows[index].type == OPTION_WORDS)
            return true;
        FAULT(reader, place, line, "%s takes one value, not a list", statement->name);
    }
    return false;
}

static void check_missing(struct reader *reader, const struct place *place)
{
    for (int i = 0; place->rows[i].name; i++)
        if ((place->rows[i].flags & OPTION_REQUIRED) && place->lines[i] == 0)
            FAULT(reader, place, place->line, "the option \"%s\" is missing", place->rows[i].name);
}

static void check_refused(struct reader *reader, const struct place *place)
{
    const struct handler_section *handler = place->pool->handler;
    if (!handler || !handler->refused)
        return;
    for (const char *const *name = handler->refused; *name; name++) {
        int index = option_find(pool_rows, *name);
        if (index >= 0 && place->lines[index])
            FAULT(reader, place, place->lines[index], "the handler %s takes no %s", handler->name,
                  *name);
    }
}

/* Of the options that the file leaves open. */
static void fill_defaults(const struct reader *reader, const struct place *place)
{
    const struct handler_section *handler = place->pool->handler;
    const struct option_default *each = handler ? handler->defaults : NULL;
    for (; each && each->name; each++) {
        int index = option_find(pool_rows, each->name);
        if (!place->lines[index])
            option_read(&pool_rows[index], place->pool, &each->value, 1, &reader->config->faults,
                        place->file, place->line);
    }
}

static void check_handler(struct reader *reader, const struct place *place)
{
    char known[256] = "";
    if (place->pool->handler)
        return;
    for (const struct handler_section *const *h = reader->handlers; *h; h++) {
        size_t used = strlen(known);
        snprintf(known + used, sizeof known - used, "%s%s", used ? ", " : "", (*h)->name);
    }
    FAULT(reader, place, place->line, "no section names the handler; known are %s", known);
}

/* --- sections ------------------------------------------------------------------------------ */

static void make_pool(struct reader *reader, struct place *place, const struct statement *statement)
{
    struct config *config = reader->config;
    struct pool_config *pool = arena_take(config->arena, sizeof *pool);
    int shown = statement->title ? (int)strcspn(statement->title, "\n") : 0;
    if (shown == 0)
        FAULT(reader, place, place->line, "a pool needs a name: pool \"NAME\" { ... }");
    place->kind = PLACE_POOL;
    place->pool = pool;
    place->prefix =
        arena_format(reader->scratch, shown ? "pool %.*s: " : "%.*spool: ", shown < 40 ? shown : 40,
                     shown ? statement->title : "");
    pool->name = arena_text(config->arena, statement->title ? statement->title : "");
    place_init(reader, place, pool_rows, pool, &pool->origin);
    option_defaults(limit_rows, &pool->limits, config->arena);
    reader->pools[config->pool_count++] = pool;
}

static void make_handler(struct reader *reader, struct place *place, bool doubled)
{
    const struct handler_section *handler = find_handler(reader, place->name);
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

/* Every section but a pool. */
static void make_leaf(struct reader *reader, struct place *place, const struct statement *statement,
                      bool doubled)
{
    struct config *config = reader->config;
    struct pool_config *pool = place->pool;
    if (statement->title)
        FAULT(reader, place, place->line, "%s takes no name before its {", place->name);
    place->prefix = arena_format(reader->scratch, "%s%s: ", place->prefix, place->name);
    if (!pool)
        place_init(reader, place, log_rows, doubled ? NULL : &config->log, &config->log_origin);
    else if (strcmp(place->name, "limits") == 0)
        place_init(reader, place, limit_rows, doubled ? NULL : &pool->limits, &pool->limits_origin);
    else
        make_handler(reader, place, doubled);
}

static const struct place *find_inner(const struct place *place, const char *name)
{
    for (const struct place *inner = place->first; inner; inner = inner->next)
        if (inner->kind != PLACE_POOL && strcmp(inner->name, name) == 0)
            return inner;
    return NULL;
}

static void check_statements(struct reader *reader, struct place *place, struct syntax *screened,
                             const struct statement *section);

/* Of doubled sections the first counts, the others are checked for what they hold, no more. */
static bool check_section(struct reader *reader, struct place *place, struct syntax *screened,
                          struct statement *statement)
{
    struct place *inner = arena_take(reader->scratch, sizeof *inner);
    const struct place *twin = find_inner(place, statement->name);
    *inner = (struct place){
        .kind = PLACE_LEAF,
        .next = place->first,
        .name = statement->name,
        .prefix = place->prefix,
        .file = place->file,
        .line = statement->line,
        .pool = place->pool,
    };
    if (twin)
        fault_doubled(reader, place, "section", twin->name, inner->line, twin->file, twin->line);
    if (place->kind == PLACE_GLOBAL && strcmp(statement->name, "pool") == 0)
        make_pool(reader, inner, statement);
    else
        make_leaf(reader, inner, statement, twin != NULL);
    place->first = inner;
    statement->place = inner;
    check_statements(reader, inner, screened, statement);
    return twin == NULL;
}

/* Whether this is a section that may stand here. */
static bool check_kind(struct reader *reader, const struct place *place,
                       const struct statement *statement, bool open)
{
    bool pool = strcmp(statement->name, "pool") == 0;
    if (place->kind == PLACE_GLOBAL && pool && reader->config->pool_count == POOLS_MAX)
        FAULT(reader, place, statement->line, "one pool too many: more than %d", POOLS_MAX);
    else if (may_hold(reader, place->kind, statement->name))
        return true;
    else if (option_find(place->rows, statement->name) >= 0)
        FAULT(reader, place, statement->line, "%s is an option: %s = ...", statement->name,
              statement->name);
    else if (!open || !pool) /* in a section left open, what follows only seems to stand inside */
        fault_unknown(reader, place, statement);
    return false;
}

/* `section` is the statement that the place is of; NULL: the top level of a file. */
static void check_statements(struct reader *reader, struct place *place, struct syntax *screened,
                             const struct statement *section)
{
    bool open = section && section->open;
    struct statement *first = section ? section->first : screened->first;
    for (struct statement *s = first; s; s = s->next) {
        bool sound = true;
        if (s->kind == STATEMENT_SECTION)
            sound = check_kind(reader, place, s, open) && check_section(reader, place, screened, s);
        else if (s->kind != STATEMENT_INCLUDE)
            sound = check_option(reader, place, s);
        if (!sound)
            syntax_drop(screened, s);
    }
    if (open || !section)
        return;
    check_missing(reader, place);
    if (place->kind == PLACE_POOL) {
        check_handler(reader, place);
        check_refused(reader, place);
        fill_defaults(reader, place);
    }
}

/* --- values -------------------------------------------------------------------------------- */

static cfg_opt_t *make_table(const struct reader *reader, const struct option_row *rows,
                             enum place_kind kind);

static cfg_opt_t make_section(const struct reader *reader, const char *name,
                              const struct option_row *rows, enum place_kind kind)
{
    return (cfg_opt_t)CFG_SEC(name, make_table(reader, rows, kind), CFGF_MULTI);
}

/* Every value is a string to libconfuse, every section one of many: the rows know better. */
static cfg_opt_t *make_table(const struct reader *reader, const struct option_row *rows,
                             enum place_kind kind)
{
    size_t count = (size_t)option_count(rows) + 3;
    for (const struct handler_section *const *h = reader->handlers; *h; h++)
        count++;
    cfg_opt_t *table = arena_take(reader->scratch, count * sizeof *table), *at = table;
    for (; rows->name; rows++)
        if (rows->type == OPTION_WORDS)
            *at++ = (cfg_opt_t)CFG_STR_LIST(rows->name, NULL, CFGF_NODEFAULT);
        else
            *at++ = (cfg_opt_t)CFG_STR(rows->name, NULL, CFGF_NODEFAULT);
    if (kind == PLACE_GLOBAL) {
        *at++ = make_section(reader, "log", log_rows, PLACE_LEAF);
        *at++ = make_section(reader, "pool", pool_rows, PLACE_POOL);
    } else if (kind == PLACE_POOL) {
        *at++ = make_section(reader, "limits", limit_rows, PLACE_LEAF);
        for (const struct handler_section *const *h = reader->handlers; *h; h++)
            *at++ = make_section(reader, (*h)->name, (*h)->rows, PLACE_LEAF);
    }
    *at = (cfg_opt_t)CFG_END();
    return table;
}

/* The fault of a value names the section that it stands in. */
static void fill_option(struct reader *reader, const struct place *place, cfg_t *cfg,
                        const struct statement *statement)
{
    struct faults found;
    cfg_opt_t *option = cfg_getopt(cfg, statement->name);
    const struct option_row *row = &place->rows[option_find(place->rows, statement->name)];
    unsigned count = option ? cfg_opt_size(option) : 0;
    const char **values = arena_take(reader->scratch, (count + 1) * sizeof *values);
    for (unsigned i = 0; i < count; i++)
        values[i] = cfg_opt_getnstr(option, i);
    faults_init(&found, reader->config->arena);
    option_read(row, place->into, values, (int)count, &found, place->file, statement->line);
    for (const struct fault *fault = found.first; fault; fault = fault->next)
        FAULT(reader, place, fault->line, "%s", fault->text);
}

static void fill_place(struct reader *reader, const struct place *place, cfg_t *cfg,
                       const struct statement *first)
{
    unsigned pools = 0;
    for (const struct statement *s = first; s; s = s->next) {
        if (s->dropped || s->kind == STATEMENT_INCLUDE)
            continue;
        if (s->kind != STATEMENT_SECTION) {
            fill_option(reader, place, cfg, s);
            continue;
        }
        const struct place *inner = s->place;
        cfg_t *section = cfg_getnsec(cfg, s->name, inner->kind == PLACE_POOL ? pools++ : 0);
        if (section)
            fill_place(reader, inner, section, s->first);
    }
}

/* libconfuse tells its errors through a function without a word of ours: whom to tell stands here.
 */
static struct faults *told;

static void note_error(cfg_t *cfg, const char *format, va_list args)
    __attribute__((format(printf, 2, 0)));

static void note_error(cfg_t *cfg, const char *format, va_list args)
{
    char text[256];
    vsnprintf(text, sizeof text, format, args);
    faults_add(told, cfg->filename ? cfg->filename : "", cfg->line, "%s", text);
}

static void free_cfg(cfg_t **cfg)
{
    if (*cfg)
        cfg_free(*cfg);
}

static void close_file(FILE **file)
{
    if (*file)
        fclose(*file);
}

static void fill_file(struct reader *reader, struct source *source, cfg_opt_t *table)
{
    struct faults *faults = &reader->config->faults;
    cfg_t *cfg __attribute__((cleanup(free_cfg))) = cfg_init(table, CFGF_NONE);
    FILE *file __attribute__((cleanup(close_file))) =
        fmemopen(source->screened.text, source->screened.size, "r");
    if (!cfg || !file || !(cfg->filename = strdup(source->file))) {
        faults_add(faults, source->file, 0, "out of memory");
        return;
    }
    told = faults;
    cfg_set_error_function(cfg, note_error);
    unsigned before = faults->count;
    if (cfg_parse_fp(cfg, file) == CFG_SUCCESS)
        fill_place(reader, &reader->global, cfg, source->screened.first);
    else if (faults->count == before)
        faults_add(faults, source->file, cfg->line, "libconfuse can't read this");
}

void parser_fill(struct config *config, struct source *sources,
                 const struct handler_section *const *handlers, struct arena *scratch)
{
    struct reader reader = {
        .config = config,
        .handlers = handlers,
        .scratch = scratch,
        .global = {.prefix = "", .file = config->file, .line = 1},
        .pools = arena_take(config->arena, POOLS_MAX * sizeof *reader.pools),
    };
    config->pools = (const struct pool_config *const *)reader.pools;
    place_init(&reader, &reader.global, global_rows, config, &config->origin);
    option_defaults(log_rows, &config->log, config->arena);
    cfg_opt_t *table = make_table(&reader, global_rows, PLACE_GLOBAL);
    for (struct source *source = sources; source; source = source->next) {
        reader.global.file = source->file;
        check_statements(&reader, &reader.global, &source->screened, NULL);
        if (source->screened.size)
            fill_file(&reader, source, table);
    }
}
