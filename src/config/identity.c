#include "identity.h"

#include "../base/units.h"

#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char user_default[] = "preforkd";

/* --- lookups ------------------------------------------------------------------------------- */

/* Reads a user or group ID. The largest number is none: to system calls it means "unchanged". */
static bool read_number(const char *word, unsigned *number)
{
    uint64_t value;
    if (!digits_read(word, (uid_t)-1 - 1, &value))
        return false;
    *number = (unsigned)value;
    return true;
}

static void set_user(struct identity *identity, const struct passwd *entry, uid_t uid,
                     struct arena *arena)
{
    identity->user = entry ? arena_text(arena, entry->pw_name) : arena_format(arena, "%u", uid);
    identity->home = entry ? arena_text(arena, entry->pw_dir) : "/";
    identity->uid = entry ? entry->pw_uid : uid;
    identity->gid = entry ? entry->pw_gid : IDENTITY_NO_GROUP;
}

/* Sets the user's name, number, home and primary group. The group is IDENTITY_NO_GROUP if a number
 * has no entry in passwd(5). False: there is no such user. */
static bool find_user(struct identity *identity, const char *word, struct arena *arena)
{
    unsigned number = 0;
    const struct passwd *entry = getpwnam(word);
    if (!entry && !read_number(word, &number))
        return false;
    set_user(identity, entry ? entry : getpwuid(number), number, arena);
    return true;
}

static void set_group_name(struct identity *identity, struct arena *arena)
{
    const struct group *entry = getgrgid(identity->gid);
    identity->group =
        entry ? arena_text(arena, entry->gr_name) : arena_format(arena, "%u", identity->gid);
}

/* False: there is no such group. */
static bool find_group(struct identity *identity, const char *word, struct arena *arena)
{
    unsigned number;
    const struct group *entry = getgrnam(word);
    if (!entry && !read_number(word, &number))
        return false;
    identity->gid = entry ? entry->gr_gid : number;
    set_group_name(identity, arena);
    return true;
}

/* Sets the supplementary groups. A user without a name has only its primary group. */
static void set_supplementary_groups(struct identity *identity, struct arena *arena)
{
    const struct passwd *entry = getpwuid(identity->uid);
    int count = 1;
    gid_t *groups = arena_take(arena, sizeof *groups);
    *groups = identity->gid;
    if (entry && getpwnam(identity->user)) {
        count = 0;
        getgrouplist(identity->user, identity->gid, NULL, &count);
        groups = arena_take(arena, (size_t)(count + 1) * sizeof *groups);
        if (getgrouplist(identity->user, identity->gid, groups, &count) < 0)
            count = 0;
    }
    identity->groups = groups;
    identity->group_count = count;
}

/* The user and groups of this process. */
static struct identity own_identity(struct arena *arena)
{
    struct identity self = {0};
    set_user(&self, getpwuid(geteuid()), geteuid(), arena);
    self.gid = getegid();
    set_group_name(&self, arena);
    int count = getgroups(0, NULL);
    gid_t *groups = arena_take(arena, (size_t)(count > 0 ? count : 0) * sizeof *groups + 1);
    self.groups = groups;
    self.group_count = count > 0 ? getgroups(count, groups) : 0;
    return self;
}

/* --- the options --------------------------------------------------------------------------- */

/* Whose options are looked up, and what the daemon itself is. */
struct lookup {
    struct config *config;
    const struct pool_config *pool; /* NULL: the global options */
    const struct identity *self;    /* the daemon; without root, every worker keeps it */
    bool root;
};

/* `found` is the name of the user or group, NULL if there is none. False: a fault is noted. */
static bool check_found(const struct lookup *lookup, const char *option, const char *kind,
                        const char *word, const char *found, const char *own, bool allowed)
{
    bool of_workers = lookup->pool && strcmp(option, kind) == 0; /* not socket_user */
    if (!found)
        config_fault(lookup->config, lookup->pool, option, "%s: there is no %s \"%.60s\"%s", option,
                     kind, word,
                     strchr(word, ':') ? "; user and group are two options"
                     : of_workers      ? "; the handler is checked once there is one"
                                       : "");
    else if (!allowed)
        config_fault(lookup->config, lookup->pool, option,
                     "%s: without root it stays %s, and cannot be %s", option, own, found);
    return found && allowed;
}

static bool look_up_user(const struct lookup *lookup, const char *option, const char *word,
                         struct identity *found)
{
    bool known = find_user(found, word, lookup->config->arena);
    return check_found(lookup, option, "user", word, known ? found->user : NULL, lookup->self->user,
                       lookup->root || found->uid == lookup->self->uid);
}

/* Without root, a process can't change its group, but it may give a socket to any group that it is
 * a member of. */
enum { OWN_GROUP = false, ANY_OWN_GROUP = true };

static bool look_up_group(const struct lookup *lookup, const char *option, const char *word,
                          struct identity *found, bool any_own)
{
    const struct identity *self = lookup->self;
    bool known = find_group(found, word, lookup->config->arena);
    bool allowed = lookup->root || found->gid == self->gid;
    for (int i = 0; any_own && i < self->group_count; i++)
        allowed |= self->groups[i] == found->gid;
    return check_found(lookup, option, "group", word, known ? found->group : NULL, self->group,
                       allowed);
}

/* Whether the file sets a user, for the pool or globally. A user that is set, but NULL in config,
 * was wrong. */
static bool sets_user(const struct config *config, const struct pool_config *pool)
{
    return pool_config_sets(pool, "user") || option_is_set(global_rows, &config->origin, "user");
}

/* For a pool that sets no user. A wrong global user is a fault of the global options, a missing
 * default user a fault of the first pool that needs it. */
static bool default_user(const struct lookup *lookup, struct identity *found, bool whole)
{
    struct config *config = lookup->config;
    const char *word = config->user ? config->user : user_default;
    bool wrong = !config->user && option_is_set(global_rows, &config->origin, "user");
    int first = 0;
    if (!wrong && find_user(found, word, config->arena))
        return true;
    while (config->pools[first] != lookup->pool && sets_user(config, config->pools[first]))
        first++;
    if (whole && !sets_user(config, lookup->pool) && config->pools[first] == lookup->pool)
        config_fault(config, lookup->pool, "user",
                     "there is no user \"%s\", the default; create it, or set the option \"user\"",
                     word);
    return false;
}

/* For a pool that sets no group: the global group if the pool has the global user, else the user's
 * primary group. */
static bool default_group(const struct lookup *lookup, struct identity *found)
{
    const char *word = lookup->pool->user ? NULL : lookup->config->group;
    if (word)
        return find_group(found, word, lookup->config->arena);
    if (found->gid == IDENTITY_NO_GROUP)
        config_fault(lookup->config, lookup->pool, "user",
                     "user %s has no entry that says its group: set the option \"group\" too",
                     found->user);
    else
        set_group_name(found, lookup->config->arena);
    return found->gid != IDENTITY_NO_GROUP;
}

static void fill_pool(struct lookup lookup, struct pool_config *pool, bool whole)
{
    struct identity found = {0};
    lookup.pool = pool;
    bool sound = pool->user    ? look_up_user(&lookup, "user", pool->user, &found)
                 : lookup.root ? default_user(&lookup, &found, whole)
                               : true;
    if (pool->group)
        sound &= look_up_group(&lookup, "group", pool->group, &found, OWN_GROUP);
    else if (lookup.root && sound)
        sound = default_group(&lookup, &found);
    if (lookup.root && sound)
        set_supplementary_groups(&found, lookup.config->arena);
    pool->identity = !lookup.root ? *lookup.self : sound ? found : (struct identity){0};
    pool->user = pool->identity.user;
    pool->group = pool->identity.group;
    struct identity user = pool->identity, group = pool->identity;
    if (pool->socket_user)
        look_up_user(&lookup, "socket_user", pool->socket_user, &user);
    if (pool->socket_group)
        look_up_group(&lookup, "socket_group", pool->socket_group, &group, ANY_OWN_GROUP);
    pool->socket_uid = user.uid;
    pool->socket_gid = group.gid;
    pool->socket_user = user.user;
    pool->socket_group = group.group;
}

/* Checks the global options even if no pool needs them. Fills in their defaults if the system has
 * that user. */
static void fill_globals(const struct lookup *lookup)
{
    struct config *config = lookup->config;
    struct identity found = {0}, control = {0};
    if (config->user)
        look_up_user(lookup, "user", config->user, &found);
    else
        find_user(&found, user_default, config->arena);
    if (config->group)
        look_up_group(lookup, "group", config->group, &found, OWN_GROUP);
    else if (found.user && found.gid != IDENTITY_NO_GROUP)
        set_group_name(&found, config->arena);
    if (config->control_group)
        look_up_group(lookup, "control_group", config->control_group, &control, ANY_OWN_GROUP);
    const struct identity *shown = lookup->root ? &found : lookup->self;
    config->user = shown->user ? shown->user : config->user;
    config->group = shown->group ? shown->group : config->group;
    config->control_gid = control.group ? control.gid : IDENTITY_NO_GROUP;
}

void identity_apply(struct config *config, bool whole)
{
    const struct identity self = own_identity(config->arena);
    struct lookup lookup = {.config = config, .self = &self, .root = geteuid() == 0};
    for (int i = 0; i < config->pool_count; i++) {
        config_step(config);
        fill_pool(lookup, config_pool(config, i), whole);
    }
    config_step(config);
    fill_globals(&lookup);
}
