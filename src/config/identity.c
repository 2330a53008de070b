#include "identity.h"

#include <ctype.h>
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char user_default[] = "preforkd";

/* --- lookups ------------------------------------------------------------------------------- */

/* A number as users and groups have them; the last one means "none" to the system's calls. */
static bool read_number(const char *word, unsigned *number)
{
    char *end;
    if (!isdigit((unsigned char)*word))
        return false;
    errno = 0;
    unsigned long value = strtoul(word, &end, 10);
    if (*end || errno || value >= (uid_t)-1)
        return false;
    *number = (unsigned)value;
    return true;
}

static void take_user(struct identity *identity, const struct passwd *entry, uid_t uid,
                      struct arena *arena)
{
    identity->user = entry ? arena_text(arena, entry->pw_name) : arena_format(arena, "%u", uid);
    identity->home = entry ? arena_text(arena, entry->pw_dir) : "/";
    identity->uid = entry ? entry->pw_uid : uid;
    identity->gid = entry ? entry->pw_gid : IDENTITY_NO_GROUP;
}

/* The user's name, number and home, and the user's own group: IDENTITY_NO_GROUP for a number that
 * the system has no name for. False: there is no such user. */
static bool find_user(struct identity *identity, const char *word, struct arena *arena)
{
    unsigned number = 0;
    const struct passwd *entry = getpwnam(word);
    if (!entry && !read_number(word, &number))
        return false;
    take_user(identity, entry ? entry : getpwuid(number), number, arena);
    return true;
}

static void name_group(struct identity *identity, struct arena *arena)
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
    name_group(identity, arena);
    return true;
}

/* The supplementary groups that the system gives. A user without a name is in its own group
 * alone. */
static void list_groups(struct identity *identity, struct arena *arena)
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
    take_user(&self, getpwuid(geteuid()), geteuid(), arena);
    self.gid = getegid();
    name_group(&self, arena);
    int count = getgroups(0, NULL);
    gid_t *groups = arena_take(arena, (size_t)(count > 0 ? count : 0) * sizeof *groups + 1);
    self.groups = groups;
    self.group_count = count > 0 ? getgroups(count, groups) : 0;
    return self;
}

/* --- the options --------------------------------------------------------------------------- */

/* The options of a pool, or the global ones. */
struct asking {
    struct config *config;
    const struct pool_config *pool; /* NULL: the global ones */
    const struct identity *self;    /* the daemon, which without root nothing can leave */
    bool root;
};

/* `found` is the name that a look-up of the word has brought, or NULL. False: a fault is noted. */
static bool judge(const struct asking *asking, const char *option, const char *kind,
                  const char *word, const char *found, const char *own, bool allowed)
{
    if (!found)
        config_fault(asking->config, asking->pool, option, "%s: there is no %s \"%.60s\"%s", option,
                     kind, word, strchr(word, ':') ? "; user and group are two options" : "");
    else if (!allowed)
        config_fault(asking->config, asking->pool, option,
                     "%s: without root it stays %s, and cannot be %s", option, own, found);
    return found && allowed;
}

static bool ask_user(const struct asking *asking, const char *option, const char *word,
                     struct identity *found)
{
    bool known = find_user(found, word, asking->config->arena);
    return judge(asking, option, "user", word, known ? found->user : NULL, asking->self->user,
                 asking->root || found->uid == asking->self->uid);
}

/* Without root a process stays in its group, but may give a socket to any group that it is in: a
 * `member`. */
static bool ask_group(const struct asking *asking, const char *option, const char *word,
                      struct identity *found, bool member)
{
    const struct identity *self = asking->self;
    bool known = find_group(found, word, asking->config->arena);
    bool allowed = asking->root || found->gid == self->gid;
    for (int i = 0; member && i < self->group_count; i++)
        allowed |= self->groups[i] == found->gid;
    return judge(asking, option, "group", word, known ? found->group : NULL, self->group, allowed);
}

enum { ITSELF = false, MEMBER = true };

/* Whether the file sets a user, for the pool or for all: a wrong one, if the value is missing. */
static bool sets_user(const struct config *config, const struct pool_config *pool)
{
    return pool_config_sets(pool, "user") || option_is_set(global_rows, &config->origin, "user");
}

/* For a pool without a user of its own. A global user that is wrong is told with the global
 * options, a missing default at the first pool that needs it. */
static bool default_user(const struct asking *asking, struct identity *found, bool whole)
{
    struct config *config = asking->config;
    const char *word = config->user ? config->user : user_default;
    int first = 0;
    if (find_user(found, word, config->arena))
        return true;
    while (config->pools[first] != asking->pool && sets_user(config, config->pools[first]))
        first++;
    if (whole && !sets_user(config, asking->pool) && config->pools[first] == asking->pool)
        config_fault(config, asking->pool, "user",
                     "there is no user \"%s\", the default; create it, or set the option \"user\"",
                     word);
    return false;
}

/* For a pool without a group of its own. The global group goes with the global user; else it is the
 * user's own group. */
static bool default_group(const struct asking *asking, struct identity *found)
{
    const char *word = asking->pool->user ? NULL : asking->config->group;
    if (word)
        return find_group(found, word, asking->config->arena);
    if (found->gid == IDENTITY_NO_GROUP)
        config_fault(asking->config, asking->pool, "user",
                     "user %s has no entry that says its group: set the option \"group\" too",
                     found->user);
    else
        name_group(found, asking->config->arena);
    return found->gid != IDENTITY_NO_GROUP;
}

static void fill_pool(struct asking asking, struct pool_config *pool, bool whole)
{
    struct identity found = {0};
    asking.pool = pool;
    bool sound = pool->user    ? ask_user(&asking, "user", pool->user, &found)
                 : asking.root ? default_user(&asking, &found, whole)
                               : true;
    if (pool->group)
        sound &= ask_group(&asking, "group", pool->group, &found, ITSELF);
    else if (asking.root && sound)
        sound = default_group(&asking, &found);
    if (asking.root && sound)
        list_groups(&found, asking.config->arena);
    pool->identity = !asking.root ? *asking.self : sound ? found : (struct identity){0};
    pool->user = pool->identity.user;
    pool->group = pool->identity.group;
    struct identity user = pool->identity, group = pool->identity;
    if (pool->socket_user)
        ask_user(&asking, "socket_user", pool->socket_user, &user);
    if (pool->socket_group)
        ask_group(&asking, "socket_group", pool->socket_group, &group, MEMBER);
    pool->socket_uid = user.uid;
    pool->socket_gid = group.gid;
    pool->socket_user = user.user;
    pool->socket_group = group.group;
}

/* The global options themselves, whether a pool needs them or not. Their defaults are filled in if
 * the system has them. */
static void fill_globals(const struct asking *asking)
{
    struct config *config = asking->config;
    struct identity found = {0}, control = {0};
    if (config->user)
        ask_user(asking, "user", config->user, &found);
    else
        find_user(&found, user_default, config->arena);
    if (config->group)
        ask_group(asking, "group", config->group, &found, ITSELF);
    else if (found.user && found.gid != IDENTITY_NO_GROUP)
        name_group(&found, config->arena);
    if (config->control_group)
        ask_group(asking, "control_group", config->control_group, &control, MEMBER);
    const struct identity *shown = asking->root ? &found : asking->self;
    config->user = shown->user ? shown->user : config->user;
    config->group = shown->group ? shown->group : config->group;
    config->control_gid = control.group ? control.gid : IDENTITY_NO_GROUP;
}

void identity_apply(struct config *config, bool whole)
{
    const struct identity self = own_identity(config->arena);
    struct asking asking = {.config = config, .self = &self, .root = geteuid() == 0};
    for (int i = 0; i < config->pool_count; i++)
        fill_pool(asking, config_pool(config, i), whole);
    fill_globals(&asking);
}
