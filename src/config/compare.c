#include "config.h"

#include <stdarg.h>
#include <string.h>

/* The differences so far: their number, and the first of the weightiest kind. */
struct difference {
    enum pool_change change;
    int count;
    char what[200];
};

static void note(struct difference *difference, enum pool_change change, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void note(struct difference *difference, enum pool_change change, const char *format, ...)
{
    va_list args;
    difference->count++;
    if (difference->change >= change)
        return;
    difference->change = change;
    va_start(args, format);
    vsnprintf(difference->what, sizeof difference->what, format, args);
    va_end(args);
}

/* A value for a sentence: without quotes, and cut if it is long. */
static const char *unquoted(const struct option_row *row, const void *section, char text[static 64])
{
    size_t length = option_print(row, section, text, 64);
    char *begin = text[0] == '"' ? text + 1 : text;
    if (length == 0)
        return "none";
    if (length >= 64)
        strcpy(text + 60, "...");
    else if (begin > text)
        text[length - 1] = '\0';
    return begin;
}

static void compare_row(struct difference *difference, const struct option_row *row, bool live,
                        const void *old, const void *new)
{
    char was[64], is[64];
    enum pool_change change = row->flags & OPTION_RESIZE ? POOL_RESIZED
                              : live                     ? POOL_ADJUSTED
                                                         : POOL_REPLACED;
    bool size = strcmp(row->name, "workers") == 0; /* "4 to 8" needs no name */
    if (option_equal(row, old, new))
        return;
    if (row->type == OPTION_WORDS)
        note(difference, change, "%s changed", row->name);
    else
        note(difference, change, "%s%s%s to %s", size ? "" : row->name, size ? "" : " ",
             unquoted(row, old, was), unquoted(row, new, is));
}

static void compare_rows(struct difference *difference, const struct option_row *rows,
                         const void *old, const void *new)
{
    for (; rows->name; rows++)
        compare_row(difference, rows, rows->flags & OPTION_LIVE, old, new);
}

/* Whether the option is not set, and its default changed because the user or the group changed. */
static bool follows_from_user(const char *option, const struct pool_config *old,
                              const struct pool_config *new)
{
    bool user = strcmp(old->user, new->user) != 0, group = strcmp(old->group, new->group) != 0;
    if (pool_config_sets(old, option) || pool_config_sets(new, option))
        return false;
    if (strcmp(option, "group") == 0)
        return user;
    return (user || group) &&
           (strcmp(option, "socket_user") == 0 || strcmp(option, "socket_group") == 0);
}

/* Whether the workers of this pool get a live option only at their start. A worker with several
 * connections times out a late request itself. */
static bool needs_new_worker(const struct pool_config *pool, const char *option)
{
    if (pool->model != MODEL_PROCESS && strcmp(option, "request_timeout") == 0)
        return true;
    for (const char *const *name = pool->handler->not_live; name && *name; name++)
        if (strcmp(*name, option) == 0)
            return true;
    return false;
}

/* A change from a fixed size to one that follows the load, or back, counts as one difference,
 * whatever options it takes. */
static void compare_options(struct difference *difference, const struct pool_config *old,
                            const struct pool_config *new)
{
    bool dynamic = pool_config_is_dynamic(new);
    bool kind_changed = pool_config_is_dynamic(old) != dynamic;
    if (kind_changed && dynamic)
        note(difference, POOL_RESIZED, "%d to %d...%d", old->workers, new->min_workers,
             new->max_workers);
    else if (kind_changed)
        note(difference, POOL_RESIZED, "%d...%d to %d", old->min_workers, old->max_workers,
             new->workers);
    for (const struct option_row *row = pool_rows; row->name; row++) {
        bool live = row->flags & OPTION_LIVE && !needs_new_worker(new, row->name);
        bool size = row->flags & (OPTION_RESIZE | OPTION_DYNAMIC);
        if (!(kind_changed && size) && !follows_from_user(row->name, old, new))
            compare_row(difference, row, live, old, new);
    }
}

/* The path may be the same while the file that workers load was replaced. */
static void compare_handlers(struct difference *difference, const struct pool_config *old,
                             const struct pool_config *new)
{
    if (strcmp(old->handler->name, new->handler->name) != 0) {
        note(difference, POOL_REPLACED, "handler %s to %s", old->handler->name, new->handler->name);
        return;
    }
    compare_rows(difference, new->handler->rows, old->handler_config, new->handler_config);
    bool same_path = old->file && new->file &&strcmp(old->file, new->file) == 0;
    if (same_path && !file_id_equal(&old->file_id, &new->file_id))
        note(difference, POOL_REPLACED, "%s %s changed", new->handler->name, new->file);
}

static bool groups_equal(const struct identity *a, const struct identity *b)
{
    return a->group_count == b->group_count &&
           (a->group_count == 0 ||
            memcmp(a->groups, b->groups, (size_t)a->group_count * sizeof *a->groups) == 0);
}

/* The names may be the same while their entries in passwd(5) or group(5) changed. */
static void compare_identities(struct difference *difference, const struct pool_config *old,
                               const struct pool_config *new)
{
    const struct identity *was = &old->identity, *is = &new->identity;
    bool same = was->uid == is->uid && was->gid == is->gid && groups_equal(was, is) &&
                strcmp(was->home, is->home) == 0;
    bool owned = old->socket_uid == new->socket_uid && old->socket_gid == new->socket_gid;
    if (!same && strcmp(old->user, new->user) == 0 && strcmp(old->group, new->group) == 0)
        note(difference, POOL_REPLACED, "the entry of user %s changed", new->user);
    if (!owned && strcmp(old->socket_user, new->socket_user) == 0 &&
        strcmp(old->socket_group, new->socket_group) == 0)
        note(difference, POOL_ADJUSTED, "the owner of its sockets changed");
}

static bool specs_equal(const struct listen_spec *a, const struct listen_spec *b)
{
    if (a->passed_name || b->passed_name)
        return a->passed_name && b->passed_name && strcmp(a->passed_name, b->passed_name) == 0;
    return a->any_family == b->any_family && addr_equal(&a->addr, &b->addr);
}

/* The words may be the same while a host's addresses changed. The order of the addresses does not
 * count: a lookup may return them in any. */
static void compare_addresses(struct difference *difference, const struct pool_config *old,
                              const struct pool_config *new)
{
    bool same = old->listen_count == new->listen_count;
    for (int i = 0; same && i < new->listen_count; i++) {
        int found = 0;
        while (found < old->listen_count && !specs_equal(&old->listens[found], &new->listens[i]))
            found++;
        same = found < old->listen_count;
    }
    if (!same && option_equal(&pool_rows[option_find(pool_rows, "listen")], old, new))
        note(difference, POOL_REPLACED, "the addresses that listen stands for changed");
}

enum pool_change config_compare(const struct pool_config *old, const struct pool_config *new,
                                char *what, size_t size)
{
    struct difference difference = {.change = POOL_KEPT};
    compare_options(&difference, old, new);
    compare_rows(&difference, limit_rows, &old->limits, &new->limits);
    compare_handlers(&difference, old, new);
    compare_identities(&difference, old, new);
    compare_addresses(&difference, old, new);
    if (difference.count > 1)
        snprintf(what, size, "%s and %d more", difference.what, difference.count - 1);
    else
        snprintf(what, size, "%s", difference.what);
    return difference.change;
}
